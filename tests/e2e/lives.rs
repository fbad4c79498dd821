//! Fifty random lives of subscriptions in one world. In half of them notifications are lost, late, repeated and out of
//! order; nevertheless each notification has one outcome, and the receiver's newest revision agrees with Amazon in the
//! end.

use domain::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;
use system_tests::calendar::{Calendar, Step};
use system_tests::random::Random;
use system_tests::sns::Rtn;
use system_tests::subscription::{Subscription, at};
use system_tests::wait;
use system_tests::world::{SOON, World};

const START: &str = "2027-03-01T10:00";
const DAY_MS: i64 = 86_400_000;
/// Days between two steps, so that steps of different lives coincide.
const STRIDE: i64 = 3;
const DAYS: i64 = 48;
/// The last day: late enough for the weekly check to find a notification that was lost near the end.
const END: i64 = DAYS + 16;

fn day(number: i64) -> Timestamp {
    at(START).plus_millis(number * DAY_MS)
}

/// Returns the end of the test, a few hours after every term that ends on the last day.
fn end() -> Timestamp {
    day(END).plus_millis(5 * 3_600_000)
}

/// A life: its steps, its receipts as Amazon shows them in the end, and the expected events of each receipt.
#[derive(Default)]
struct Life {
    steps: Vec<Step>,
    receipts: Vec<Subscription>,
    expected: BTreeMap<String, Vec<&'static str>>,
    /// The arriving notifications, for error messages.
    sent: Vec<String>,
}

impl Life {
    fn happened(
        &mut self,
        now: Timestamp,
        shown: Vec<Subscription>,
        notifications: Vec<Rtn>,
        events: &[&'static str],
    ) {
        let about = shown
            .last()
            .map(|one| one.receipt_id.clone())
            .unwrap_or_default();
        self.expected.entry(about).or_default().extend(events);
        self.steps.push(Step {
            at: now,
            shown,
            notifications,
        });
    }
}

const RENEWED: [&str; 1] = ["user.subscription.renewed"];
const RECOVERED: [&str; 1] = ["user.subscription.renewal_in_grace_period"];
const CONVERTED: [&str; 2] = ["user.journey.trial.converted", "user.subscription.renewed"];
const BOUGHT: [&str; 1] = ["user.subscription.purchased"];
const TRIED: [&str; 2] = ["user.journey.trial.started", "user.subscription.purchased"];
const EXPIRED: [&str; 1] = ["user.subscription.expired"];
const NOT_CONVERTED: [&str; 2] = [
    "user.journey.trial.did_not_convert",
    "user.subscription.expired",
];

fn live(name: &str, random: &mut Random) -> Life {
    let first_day = STRIDE * i64::try_from(random.below(2)).unwrap_or(0);
    let trial = random.percent(40).then_some(6);
    let (mut current, notifications) =
        Subscription::begin(&format!("{name}-1"), name, day(first_day), trial);
    let mut life = Life::default();
    let begun: &[&str] = if trial.is_some() { &TRIED } else { &BOUGHT };
    life.happened(day(first_day), vec![current.clone()], notifications, begun);
    let mut in_grace = false;
    for number in (1..)
        .map(|turn| first_day + turn * STRIDE)
        .take_while(|number| *number < DAYS)
    {
        let now = day(number);
        let is_over = now >= current.ends_at();
        if is_over && (!current.renews() || (in_grace && random.percent(30))) {
            let events: &[&str] = if current.is_in_trial() {
                &NOT_CONVERTED
            } else {
                &EXPIRED
            };
            let notifications = current.expire(now);
            life.happened(now, vec![current.clone()], notifications, events);
            life.receipts.push(current);
            return life;
        }
        if is_over && !in_grace && !current.is_in_trial() && random.percent(30) {
            in_grace = true;
            let notifications = current.fail_payment(now);
            life.happened(
                now,
                vec![current.clone()],
                notifications,
                &["user.subscription.in_grace_period"],
            );
        } else if is_over {
            renew(&mut life, &mut current, now, std::mem::take(&mut in_grace));
        } else if !current.renews() && random.percent(30) {
            let notifications = current.switch_on(now);
            life.happened(
                now,
                vec![current.clone()],
                notifications,
                &["user.subscription.resumed"],
            );
        } else if current.renews() && random.percent(12) {
            let notifications = current.switch_off(now);
            life.happened(
                now,
                vec![current.clone()],
                notifications,
                &["user.subscription.cancelled"],
            );
        } else if current.renews() && !current.is_in_trial() && random.percent(6) {
            let number = life.receipts.len() + 2;
            let (new, notifications) =
                current.change(&format!("{name}-{number}"), "platinum.monthly", now);
            let shown = vec![current.clone(), new.clone()];
            life.happened(now, shown, notifications, &["user.subscription.sku_change"]);
            life.receipts.push(std::mem::replace(&mut current, new));
        }
    }
    if in_grace {
        renew(&mut life, &mut current, day(DAYS), true);
    }
    // The subscription still ends before the end of the test, and no notification reports that.
    if !current.renews() && current.ends_at() < end() {
        let events: &[&str] = if current.is_in_trial() {
            &NOT_CONVERTED
        } else {
            &EXPIRED
        };
        life.expected
            .entry(current.receipt_id.clone())
            .or_default()
            .extend(events);
    }
    life.receipts.push(current);
    life
}

fn renew(life: &mut Life, current: &mut Subscription, now: Timestamp, in_grace: bool) {
    let events: &[&str] = match (current.is_in_trial(), in_grace) {
        (true, _) => &CONVERTED,
        (false, true) => &RECOVERED,
        (false, false) => &RENEWED,
    };
    let notifications = current.renew(now);
    life.happened(now, vec![current.clone()], notifications, events);
}

/// Loses a tenth of the notifications, delays some by one or two strides and repeats some. The first notification of
/// a receipt always arrives in time.
fn disturb(steps: &mut Vec<Step>, random: &mut Random) {
    let mut begun = Vec::new();
    let mut late = Vec::new();
    for step in steps.iter_mut() {
        let mut notifications = Vec::new();
        for rtn in std::mem::take(&mut step.notifications) {
            let is_first = !begun.contains(&rtn.receipt_id);
            begun.push(rtn.receipt_id.clone());
            if is_first {
                notifications.push(rtn);
                continue;
            }
            match random.below(100) {
                0..10 => {}
                10..25 => {
                    let strides = 1 + i64::try_from(random.below(2)).unwrap_or(0);
                    late.push(Step {
                        at: step.at.plus_millis(strides * STRIDE * DAY_MS),
                        shown: Vec::new(),
                        notifications: vec![rtn],
                    });
                }
                25..45 => notifications.extend([rtn.clone(), rtn]),
                _ => notifications.push(rtn),
            }
        }
        step.notifications = notifications;
    }
    steps.extend(late);
}

#[tokio::test]
async fn fifty_random_lives_end_with_what_the_store_shows() {
    const SEED: u64 = 30_607;
    const LIVES: usize = 50;
    live_all(Random::seed(SEED), LIVES, Duration::ZERO).await;
}

/// Runs `lives_of_seed` lives of a seed; a smaller number runs the first of the same lives. Amazon shows each group of
/// fields after a random delay of up to `lag`. `tests/explore` calls this with new seeds.
pub async fn live_all(seed: u64, lives_of_seed: usize, lag: Duration) {
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let mut calendar = Calendar::start(at(START)).await;
    if !lag.is_zero() {
        calendar.lag(Random::new(!seed), lag);
    }
    let (mut steps, mut lives) = (Vec::new(), Vec::new());
    for number in 0..lives_of_seed {
        let mut life = live(&format!("life-{number}"), &mut random);
        let mut own = std::mem::take(&mut life.steps);
        let arrives = number % 2 == 0;
        if !arrives {
            disturb(&mut own, &mut random);
        }
        life.sent = own
            .iter()
            .flat_map(|step| step.notifications.iter().map(|rtn| sent(rtn, step.at)))
            .collect();
        steps.extend(own);
        lives.push((life, arrives));
    }
    calendar.live(steps).await;
    calendar.pass_until(end()).await;
    let world = calendar.world;
    let mut count = 0;
    for (life, arrives) in &lives {
        for receipt in &life.receipts {
            let expected = life
                .expected
                .get(&receipt.receipt_id)
                .cloned()
                .unwrap_or_default();
            let case = format!("seed {seed}, sent {:#?}", life.sent);
            count += check(&world, receipt, &expected, *arrives, &case).await;
        }
    }
    println!("{count} events of {lives_of_seed} lives");
    world.finish().await;
}

/// Returns a description of a notification and its arrival, for error messages.
fn sent(rtn: &Rtn, at: Timestamp) -> String {
    format!("{at}: {} of {}, {}", rtn.kind, rtn.receipt_id, rtn.at)
}

/// Checks that the last announced state is what Amazon shows. If every notification arrived, the events are exactly the
/// expected ones; if some were lost, no event may be announced too often. Returns the number of events.
async fn check(
    world: &World,
    receipt: &Subscription,
    expected: &[&str],
    arrives: bool,
    case: &str,
) -> usize {
    let id = &receipt.receipt_id;
    let runs = receipt.shown["cancelDate"]
        .as_i64()
        .is_none_or(|date| date > end().micros() / 1000);
    wait::until(
        SOON,
        &format!("{case}: is_active {runs} of {}", receipt.shown),
        async || {
            let newest = world.newest_acked(id);
            if newest["data"]["is_active"] == runs {
                Ok(())
            } else {
                Err(newest.to_string())
            }
        },
    )
    .await;
    if arrives {
        wait::until(
            SOON,
            &format!("{case}: the events {expected:?} of {id}"),
            async || {
                let announced = world.receiver.event_types(id);
                if announced == expected {
                    Ok(())
                } else {
                    Err(format!("{announced:?}"))
                }
            },
        )
        .await;
    }
    let announced = world.receiver.event_types(id);
    let announced: Vec<&str> = announced.iter().map(String::as_str).collect();
    if let Some(event) = too_often(&announced, expected) {
        panic!(
            "{case}: {id} announced {announced:?}, and {expected:?} happened: {event} is too much"
        );
    }
    announced.len()
}

/// Returns an event that was announced more often than it happened. A recovery also counts as a plain renewal: if the
/// grace period was never reported or shown, only `SUBSCRIPTION_RENEWED` reports the payment, which Amazon sends for
/// both.
fn too_often<'a>(announced: &[&'a str], happened: &[&str]) -> Option<&'a str> {
    let times = |all: &[&str], of: &[&str]| all.iter().filter(|one| of.contains(one)).count();
    let payments = [RENEWED[0], RECOVERED[0]];
    announced.iter().copied().find(|event| {
        let same = [*event];
        let alike: &[&str] = if *event == RENEWED[0] {
            &payments
        } else {
            &same
        };
        times(announced, alike) > times(happened, alike)
    })
}

/// Here IN_GRACE_PERIOD is lost, RENEWED arrives in time and OUT_OF_GRACE_PERIOD six days late, as in `life-3-1` of the
/// seed 1875154959. The payment is one event, a plain renewal, and the late notification announces nothing.
#[tokio::test]
async fn a_recovery_from_an_unreported_grace_is_one_payment() {
    const ID: &str = "late-recovery";
    let time = |text| at(text);
    let mut calendar = Calendar::start(time("2027-03-04T10:00")).await;
    let (mut shown, notifications) = Subscription::begin(ID, ID, time("2027-03-04T10:00"), Some(6));
    let mut steps = vec![Step {
        at: time("2027-03-04T10:00"),
        shown: vec![shown.clone()],
        notifications,
    }];
    let notifications = shown.renew(time("2027-03-10T10:00"));
    steps.push(Step {
        at: time("2027-03-10T10:00"),
        shown: vec![shown.clone()],
        notifications,
    });
    drop(shown.fail_payment(time("2027-04-12T10:00")));
    steps.push(Step {
        at: time("2027-04-12T10:00"),
        shown: vec![shown.clone()],
        notifications: Vec::new(),
    });
    let [renewed, recovered] =
        <[Rtn; 2]>::try_from(shown.renew(time("2027-04-15T10:00"))).expect("two notifications");
    let notifications = vec![renewed.clone(), renewed];
    steps.push(Step {
        at: time("2027-04-15T10:00"),
        shown: vec![shown],
        notifications,
    });
    steps.push(Step {
        at: time("2027-04-21T10:00"),
        shown: Vec::new(),
        notifications: vec![recovered],
    });
    calendar.live(steps).await;
    let world = calendar.world;
    let expected = [TRIED.as_slice(), &CONVERTED, &RENEWED].concat();
    wait::until(SOON, "one event of each payment", async || {
        let announced = world.receiver.event_types(ID);
        if announced == expected {
            Ok(())
        } else {
            Err(format!("{announced:?}"))
        }
    })
    .await;
    assert_eq!(world.newest_acked(ID)["data"]["billing_cycles"], 2);
    world.finish().await;
}
