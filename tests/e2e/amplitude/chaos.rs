//! Random faults: every event is still counted once, except those that Amplitude permanently refused, and every profile
//! ends with the latest state.

use super::{Analysts, HOUR, KEY, failed_events};
use domain::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;
use system_tests::amplitude::{Chaos, Fault};
use system_tests::calendar::Step;
use system_tests::random::Random;
use system_tests::sns::Rtn;
use system_tests::subscription::Subscription;
use system_tests::wait;
use system_tests::world::SOON;

/// The seed of `cargo test`.
const SEED: u64 = 20_518;
/// Number of schedules of faults, one per seed.
const SEEDS: u64 = 3;
/// Number of customers in each schedule.
const CUSTOMERS: usize = 5;
/// Number of days in each schedule.
const DAYS: usize = 2;
const DAY_MS: i64 = 86_400_000;
/// Percentage of an event's attempts that get a fault.
const PERCENT: u64 = 60;
/// Maximum number of an event's attempts that may get a fault.
const MAX_PER_EVENT: usize = 3;

/// Returns an event's name, which is the same in every run of a seed: its user, its type and its time.
fn name(event: &Value) -> String {
    format!(
        "{} {} {}",
        event["user_id"], event["event_type"], event["time"]
    )
}

/// Subscriptions of a few customers over a few days, with random faults; some customers are named between the days.
/// At the end of each day everything queued has arrived, or has failed because Amplitude refused it.
pub async fn faults_by_chance_cost_nothing(own: &mut Analysts) {
    let first = Random::seed(SEED);
    println!("seeds {first} and on; SETTLE_TEST_SEED={first} gives them again");
    for seed in first..first + SEEDS {
        let before = own.amplitude.requests().len();
        own.amplitude
            .disturb(Chaos::new(seed, PERCENT, MAX_PER_EVENT, name).with_one_mute());
        let mut random = Random::new(seed);
        let mut customers = begin(own, seed, &mut random).await;
        for day in 0..DAYS {
            if day > 0 {
                name_more(own, seed).await;
                // A jump of the clock would end leases early, so the rechecks that naming causes have to end first.
                own.calendar.pass_until(own.now().plus_millis(1000)).await;
                own.drain(HOUR).await;
                let at = own.now().plus_millis(DAY_MS);
                own.live(
                    customers
                        .iter_mut()
                        .flat_map(|one| go_on(one, at, &mut random))
                        .collect(),
                )
                .await;
            }
            own.drain(HOUR).await;
        }
        own.amplitude.answer_truly();
        let failed = failed_events(own.world(), &own.id).await;
        let blamed = own.amplitude.blamed();
        assert!(
            failed.is_subset(&blamed),
            "seed {seed}: given up: {failed:?}, of which Amplitude refused only {blamed:?}"
        );
        let counted = own.same_events_but(KEY, &failed).await;
        let users = own.newest_profiles_but(KEY, &failed);
        let requests = own.amplitude.requests().split_off(before);
        println!(
            "seed {seed}: {counted} events, {users} users, {} failed by now, answers {:?}",
            failed.len(),
            answers(&requests)
        );
    }
}

/// Names one customer, and gives another one the external id of the first.
async fn name_more(own: &Analysts, seed: u64) {
    own.name(&customer(seed, 1), &external_id(seed, 1)).await;
    own.name(&customer(seed, 3), &external_id(seed, 0)).await;
}

fn customer(seed: u64, number: usize) -> String {
    format!("amzn1.account.{seed}-{number}")
}

fn external_id(seed: u64, number: usize) -> String {
    format!("seed{seed}-customer{number}")
}

/// Amplitude accepts an event and never answers: settle gives the request up after fifteen seconds and sends the event
/// again, and it is counted once.
pub async fn what_was_never_answered_is_sent_again_and_counted_once(own: &mut Analysts) {
    let (repeated, failed) = (
        own.amplitude.repeated(KEY),
        failed_events(own.world(), &own.id).await,
    );
    own.name("amzn1.account.MUTE", "mute@shop").await;
    // Meanwhile, the other customers' subscriptions may change too.
    own.amplitude.script_for("mute@shop", Fault::Mute);
    own.buy("mute-1", "amzn1.account.MUTE").await;
    wait::until(SOON, "a request that was given up", async || {
        let classes = classes(own, "mute-1").await;
        if classes.iter().any(|one| one == &["timeout"]) {
            Ok(())
        } else {
            Err(format!("{classes:?}"))
        }
    })
    .await;
    own.drain(HOUR).await;
    own.same_events_but(KEY, &failed).await;
    own.newest_profiles_but(KEY, &failed);
    assert_eq!(
        failed_events(own.world(), &own.id).await,
        failed,
        "no event is given up"
    );
    assert!(
        own.amplitude.repeated(KEY) > repeated,
        "the unanswered request was repeated"
    );
    let classes = classes(own, "mute-1").await;
    assert!(
        classes.iter().any(|one| one == &["timeout", "success"]),
        "{classes:?}"
    );
}

/// Returns the classes of the attempts of each delivery of a receipt.
pub async fn classes(own: &Analysts, receipt_id: &str) -> Vec<Vec<Value>> {
    let mut all = Vec::new();
    for delivery in own
        .world()
        .deliveries(receipt_id)
        .await
        .iter()
        .filter(|one| one["destination_id"] == *own.id)
    {
        let path = format!(
            "/v1/deliveries/{}/attempts",
            delivery["id"].as_str().unwrap_or_default()
        );
        let attempts = own.world().api.all(&path).await;
        all.push(
            attempts
                .iter()
                .map(|one| one["class"].clone())
                .filter(|class| !class.is_null())
                .collect(),
        );
    }
    all
}

/// Starts one or two subscriptions for every customer; every second customer is named from the start.
async fn begin(own: &mut Analysts, seed: u64, random: &mut Random) -> Vec<Vec<Subscription>> {
    let (mut customers, mut steps, now) = (Vec::new(), Vec::new(), own.now());
    for number in 0..CUSTOMERS {
        let customer = customer(seed, number);
        if number % 2 == 0 {
            own.name(&customer, &external_id(seed, number)).await;
        }
        let mut receipts = Vec::new();
        for place in 0..=random.below(2) {
            let trial = random.percent(50).then_some(1);
            let (mut new, notifications) =
                Subscription::begin(&format!("{seed}-{number}-{place}"), &customer, now, trial);
            if place > 0 {
                new.shown["termSku"] = "platinum.monthly".into();
            }
            steps.push(Step {
                at: now,
                shown: vec![new.clone()],
                notifications,
            });
            receipts.push(new);
        }
        customers.push(receipts);
    }
    own.live(steps).await;
    customers
}

/// Returns random changes of a customer's subscriptions on one day.
fn go_on(receipts: &mut [Subscription], at: Timestamp, random: &mut Random) -> Vec<Step> {
    let mut steps = Vec::new();
    for one in receipts
        .iter_mut()
        .filter(|one| one.shown["cancelReason"] != 4)
    {
        let notifications: Vec<Rtn> = match random.below(4) {
            _ if one.is_in_trial() && one.ends_at() <= at => one.renew(at),
            0 if one.renews() => one.switch_off(at),
            1 if !one.renews() && one.ends_at() > at => one.switch_on(at),
            2 if one.renews() && !one.is_in_trial() => one.renew(at),
            _ => continue,
        };
        steps.push(Step {
            at,
            shown: vec![one.clone()],
            notifications,
        });
    }
    steps
}

/// Returns the number of requests by the status of their answer; 0 for dropped connections.
fn answers(requests: &[system_tests::amplitude::Exchange]) -> BTreeMap<u16, usize> {
    let mut answers = BTreeMap::new();
    for exchange in requests {
        *answers.entry(exchange.status.unwrap_or(0)).or_default() += 1;
    }
    answers
}
