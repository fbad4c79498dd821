//! Fifty random lives of subscriptions on one world: notifications are lost, late, repeated and out of order, and yet
//! each has one outcome, the receiver ends with the newest revision, and that one says what Amazon shows.

use domain::Timestamp;
use std::collections::BTreeMap;
use system_tests::calendar::{Calendar, Step};
use system_tests::clock::Clock;
use system_tests::random::Random;
use system_tests::subscription::{Subscription, at};
use system_tests::world::{Setting, World};

const LIVES: usize = 50;
const START: &str = "2027-03-01T10:00";
const DAY_MS: i64 = 86_400_000;
/// Things happen on every so manieth day only, so that the lives share their steps.
const STRIDE: i64 = 3;
const DAYS: i64 = 66;

fn day(number: i64) -> Timestamp {
    at(START).plus_millis(number * DAY_MS)
}

/// One life: its steps, and what Amazon shows of its receipts in the end.
fn life(name: &str, random: &mut Random) -> (Vec<Step>, Vec<Subscription>) {
    let first_day = STRIDE * i64::try_from(random.below(2)).unwrap_or(0);
    let trial = random.percent(40).then_some(6);
    let (mut current, told) = Subscription::begin(&format!("{name}-1"), name, day(first_day), trial);
    let mut steps = vec![Step { at: day(first_day), shown: vec![current.clone()], told }];
    let (mut ended, mut in_grace, mut receipts) = (Vec::new(), false, 1);
    for number in (1..).map(|turn| first_day + turn * STRIDE).take_while(|number| *number < DAYS) {
        let now = day(number);
        let is_over = now >= current.ends_at();
        let mut shown = Vec::new();
        let told = match () {
            () if is_over && (!current.renews() || (in_grace && random.percent(30))) => {
                let told = current.expire(now);
                steps.push(Step { at: now, shown: vec![current.clone()], told });
                ended.push(current);
                return (steps, ended);
            }
            () if is_over && !in_grace && random.percent(30) => {
                in_grace = true;
                current.fail_payment(now)
            }
            () if is_over => {
                in_grace = false;
                current.renew(now)
            }
            () if !current.renews() && random.percent(30) => current.switch_on(now),
            () if current.renews() && random.percent(12) => current.switch_off(now),
            () if current.renews() && !current.is_in_trial() && random.percent(6) => {
                receipts += 1;
                let (new, told) = current.change(&format!("{name}-{receipts}"), "platinum.monthly", now);
                shown.push(current.clone());
                ended.push(std::mem::replace(&mut current, new));
                told
            }
            () => continue,
        };
        shown.push(current.clone());
        steps.push(Step { at: now, shown, told });
    }
    if in_grace {
        let told = current.renew(day(DAYS));
        steps.push(Step { at: day(DAYS), shown: vec![current.clone()], told });
    }
    ended.push(current);
    (steps, ended)
}

/// Loses one in ten, delays some by a stride or two and repeats some; the first word of a receipt arrives in time.
fn disturb(steps: &mut Vec<Step>, random: &mut Random) {
    let mut begun = Vec::new();
    let mut late = Vec::new();
    for step in steps.iter_mut() {
        let mut told = Vec::new();
        for rtn in std::mem::take(&mut step.told) {
            let is_first = !begun.contains(&rtn.receipt_id);
            begun.push(rtn.receipt_id.clone());
            if is_first {
                told.push(rtn);
                continue;
            }
            match random.below(100) {
                0..10 => {}
                10..25 => {
                    let strides = 1 + i64::try_from(random.below(2)).unwrap_or(0);
                    late.push(Step {
                        at: step.at.plus_millis(strides * STRIDE * DAY_MS),
                        shown: Vec::new(),
                        told: vec![rtn],
                    });
                }
                25..45 => told.extend([rtn.clone(), rtn]),
                _ => told.push(rtn),
            }
        }
        step.told = told;
    }
    steps.extend(late);
}

#[tokio::test]
async fn fifty_random_lives_end_with_what_the_store_shows() {
    let seed = Random::seed();
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let clock = Clock::new(at(START));
    let setting = Setting {
        window_seconds: 1,
        events: vec!["*".to_owned()],
        rvs: true,
        variables: [("FAILPOINTS", clock.fail_point()), ("SETTLE_AMAZON_RVS_PER_SECOND", "1000".to_owned())]
            .map(|(name, value)| (name.to_owned(), value))
            .to_vec(),
        ..Setting::default()
    };
    let mut calendar = Calendar::new(World::start(setting).await, clock, at(START));
    let (mut steps, mut receipts) = (Vec::new(), Vec::new());
    for number in 0..LIVES {
        let (mut own, ends) = life(&format!("life-{number}"), &mut random);
        disturb(&mut own, &mut random);
        steps.extend(own);
        receipts.extend(ends);
    }
    calendar.live(steps).await;
    // What was lost near the end is found by the next weekly wake.
    calendar.pass_until(day(DAYS + 16)).await;
    let world = calendar.world;
    let mut count = BTreeMap::<String, usize>::new();
    for receipt in &receipts {
        let newest = world.newest_told(&receipt.receipt_id);
        let runs = receipt.shown["cancelReason"].is_null() || receipt.shown["cancelDate"].as_i64() > Some(end_ms());
        assert_eq!(newest["data"]["is_active"], runs, "seed {seed}: {} {newest}", receipt.shown);
        for event in world.receiver.told(&receipt.receipt_id) {
            let once = ["expired", "purchased", "started", "converted", "did_not_convert"];
            let is_once = once.iter().any(|name| event.ends_with(&format!(".{name}")));
            let times = count.entry(format!("{} {event}", receipt.receipt_id)).or_default();
            *times += 1;
            assert!(!is_once || *times == 1, "seed {seed}: {event} twice for {}", receipt.receipt_id);
        }
    }
    println!("{} receipts, {} events", receipts.len(), count.values().sum::<usize>());
    world.finish().await;
}

fn end_ms() -> i64 {
    day(DAYS + 16).micros() / 1000
}
