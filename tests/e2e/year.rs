//! A year of a monthly subscription, on a clock that the test moves: a trial, a recovery in the grace period, a change
//! of plan, a cancellation, a resumption, a deferred change, an expiry. Once with every notification and once with a
//! third of them lost: the scheduled checks lead to the same list of events, each once and in order.

use std::collections::BTreeSet;
use system_tests::calendar::{Calendar, Step};
use system_tests::random::Random;
use system_tests::sns::Rtn;
use system_tests::subscription::{Subscription, at};
use system_tests::wait;
use system_tests::world::{SOON, World};

/// The expected events of the year's first receipt, and of its second.
const FIRST: [&str; 8] = [
    "user.journey.trial.started",
    "user.subscription.purchased",
    "user.journey.trial.converted",
    "user.subscription.renewed",
    "user.subscription.renewed",
    "user.subscription.in_grace_period",
    "user.subscription.renewal_in_grace_period",
    "user.subscription.renewed",
];
const SECOND: [&str; 13] = [
    "user.subscription.sku_change",
    "user.subscription.renewed",
    "user.subscription.cancelled",
    "user.subscription.resumed",
    "user.subscription.renewed",
    "user.subscription.pending_sku_change",
    "user.subscription.renewed",
    "user.subscription.sku_change",
    "user.subscription.renewed",
    "user.subscription.renewed",
    "user.subscription.renewed",
    "user.subscription.cancelled",
    "user.subscription.expired",
];

/// Two days after the last step: an expiry without a notification is announced two hours late.
const END: &str = "2028-01-02T10:00";

/// The seed of `cargo test`.
const SEED: u64 = 40_702;

/// Returns the steps of one customer's year.
fn year(name: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut step = |time: &str, shown: &[&Subscription], notifications: Vec<Rtn>| {
        steps.push(Step {
            at: at(time),
            shown: shown.iter().copied().cloned().collect(),
            notifications,
        });
    };
    let (one, two) = (format!("{name}-1"), format!("{name}-2"));
    let (mut old, notifications) = Subscription::begin(
        &one,
        &format!("amzn1.account.{name}"),
        at("2027-01-31T10:00"),
        Some(14),
    );
    step("2027-01-31T10:00", &[&old], notifications);
    for time in ["2027-02-14T10:00", "2027-03-14T10:00"] {
        let notifications = old.renew(at(time));
        step(time, &[&old], notifications);
    }
    let notifications = old.fail_payment(at("2027-04-14T10:00"));
    step("2027-04-14T10:00", &[&old], notifications);
    for time in ["2027-04-17T08:00", "2027-05-14T10:00"] {
        let notifications = old.renew(at(time));
        step(time, &[&old], notifications);
    }
    let (mut new, notifications) = old.change(&two, "platinum.monthly", at("2027-05-31T10:00"));
    step("2027-05-31T10:00", &[&old, &new], notifications);
    let notifications = new.renew(at("2027-06-30T10:00"));
    step("2027-06-30T10:00", &[&new], notifications);
    let notifications = new.switch_off(at("2027-07-05T09:00"));
    step("2027-07-05T09:00", &[&new], notifications);
    let notifications = new.switch_on(at("2027-07-08T09:00"));
    step("2027-07-08T09:00", &[&new], notifications);
    let notifications = new.renew(at("2027-07-31T10:00"));
    step("2027-07-31T10:00", &[&new], notifications);
    let notifications = new.defer("silver.monthly", at("2027-08-10T12:00"));
    step("2027-08-10T12:00", &[&new], notifications);
    for time in [
        "2027-08-31T10:00",
        "2027-09-30T10:00",
        "2027-10-31T10:00",
        "2027-11-30T10:00",
    ] {
        let notifications = new.renew(at(time));
        step(time, &[&new], notifications);
    }
    let notifications = new.switch_off(at("2027-12-01T09:00"));
    step("2027-12-01T09:00", &[&new], notifications);
    step(
        "2027-12-21T09:00",
        &[&new],
        new.remind(at("2027-12-21T09:00")),
    );
    let notifications = new.expire(at("2027-12-31T10:00"));
    step("2027-12-31T10:00", &[&new], notifications);
    steps
}

/// Removes a third of the notifications and returns their names. The first one of a receipt is never removed, and
/// neither are both of a pair whose changes cancel each other out.
fn lose(steps: &mut Vec<Step>, seed: u64) -> Vec<String> {
    let all: usize = steps.iter().map(|step| step.notifications.len()).sum();
    let tries = (0..).map(|number| {
        let mut left = steps.clone();
        let lost = lose_some(&mut left, &mut Random::new(seed.wrapping_add(number)));
        (left, lost)
    });
    let (left, lost) = tries
        .into_iter()
        .find(|(_, lost)| lost.len() == all / 3)
        .expect("there are endless attempts");
    *steps = left;
    lost
}

fn lose_some(steps: &mut [Step], random: &mut Random) -> Vec<String> {
    const PAIRS: [[&str; 2]; 2] = [
        [
            "SUBSCRIPTION_IN_GRACE_PERIOD",
            "SUBSCRIPTION_OUT_OF_GRACE_PERIOD",
        ],
        [
            "SUBSCRIPTION_AUTO_RENEWAL_OFF",
            "SUBSCRIPTION_AUTO_RENEWAL_ON",
        ],
    ];
    let (mut begun, mut gone, mut lost) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
    for step in steps {
        let when = step.at;
        step.notifications.retain(|rtn| {
            let is_first = begun.insert(rtn.receipt_id.clone());
            let is_second_half = PAIRS
                .iter()
                .any(|[begin, end]| rtn.kind == *end && gone.contains(begin));
            if is_first || is_second_half || random.below(3) > 0 {
                return true;
            }
            gone.extend(
                PAIRS
                    .iter()
                    .map(|[begin, _]| *begin)
                    .filter(|begin| rtn.kind == *begin),
            );
            lost.push(format!("{} of {when}", rtn.kind));
            false
        });
    }
    lost
}

#[tokio::test]
async fn a_year_is_announced_in_order_despite_lost_notifications() {
    let seed = Random::seed(SEED);
    let mut calendar = Calendar::start(at("2027-01-31T10:00")).await;
    let (complete, mut half_lost) = (year("complete"), year("half-lost"));
    let lost = lose(&mut half_lost, seed);
    println!("seed {seed}, lost: {}", lost.join(", "));
    calendar
        .live(complete.into_iter().chain(half_lost).collect())
        .await;
    calendar.pass_until(at(END)).await;
    for receipt in ["complete-1", "half-lost-1"] {
        check(
            &calendar.world,
            receipt,
            &FIRST,
            &format!("seed {seed}, lost: {lost:?}"),
        )
        .await;
    }
    for receipt in ["complete-2", "half-lost-2"] {
        check(
            &calendar.world,
            receipt,
            &SECOND,
            &format!("seed {seed}, lost: {lost:?}"),
        )
        .await;
    }
    calendar.world.finish().await;
}

/// Waits for the expected number of events, and checks that they are the expected ones, in this order.
async fn check(world: &World, receipt_id: &str, expected: &[&str], of: &str) {
    let what = format!("the {} events of {receipt_id}; {of}", expected.len());
    let types = wait::until(SOON, &what, async || {
        let types = world.receiver.event_types(receipt_id);
        if types.len() >= expected.len() {
            Ok(types)
        } else {
            Err(format!("{types:?}"))
        }
    })
    .await;
    assert_eq!(types, expected, "{receipt_id}; {of}");
}
