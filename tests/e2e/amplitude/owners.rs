//! The owner of an entitlement: random reports, logins, logouts and names of two customers on two devices, before and
//! after the purchase is announced. In the end exactly one person has the entitlement, and all sources name the same
//! one.

use super::KEY;
use super::minutes::{Life, Minutes, Step};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use system_tests::amplitude::Fault;
use system_tests::random::Random;
use system_tests::wait;
use system_tests::world::SOON;

const SEED: u64 = 28;
const LIVES: u32 = 60;
/// The seconds between two steps.
const GAPS: [u64; 3] = [0, 5, 10];

/// Returns a random life. The purchase is notified or reported at some time, and no window ends before that.
fn life(number: u32, random: &mut Random) -> Life {
    let mut time = Duration::ZERO;
    let mut steps = Vec::new();
    for _ in 0..3 + random.below(8) {
        steps.push((time, step(random)));
        time += Duration::from_secs(
            GAPS[usize::from(random.percent(67)) + usize::from(random.percent(33))],
        );
    }
    steps.push((
        time,
        if random.percent(50) {
            Step::Notified
        } else {
            Step::Reported(0)
        },
    ));
    let is_known =
        |(_, step): &(Duration, Step)| matches!(step, Step::Notified | Step::Reported(_));
    let first = steps.iter().position(is_known).unwrap_or_default();
    let (before, after) = steps.split_at(first);
    let before = before.iter().filter(|(_, step)| *step != Step::Settled);
    Life::new(number, before.chain(after).copied().collect())
}

fn step(random: &mut Random) -> Step {
    let mut one_of_two = || usize::from(random.percent(40));
    let (device, customer) = (one_of_two(), one_of_two());
    match random.below(13) {
        0 | 1 => Step::Notified,
        2 | 3 => Step::Reported(device),
        4 | 5 => Step::LoggedIn(device, customer),
        6 => Step::LoggedOut(device),
        7 => Step::Named(customer),
        8 | 9 => Step::Introduced(customer),
        _ => Step::Settled,
    }
}

/// Returns the users who have a purchase's entitlement according to the latest states at the webhook.
fn holders(own: &Minutes, life: &Life) -> Vec<String> {
    let mut newest = BTreeMap::<String, Value>::new();
    for one in own
        .world()
        .receiver
        .all()
        .into_iter()
        .filter(|one| one.event_type().starts_with("user."))
    {
        let user = super::text(&one.body["user_id"]);
        let is_older =
            |known: &Value| known["user_revision"].as_i64() < one.body["user_revision"].as_i64();
        if newest.get(&user).is_none_or(is_older) {
            newest.insert(user, one.body);
        }
    }
    let wanted = json!(life.entitlement());
    let has = |body: &Value| {
        body["active_entitlements"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|one| one["entitlement_ref_id"] == wanted)
    };
    newest
        .into_iter()
        .filter(|(_, body)| has(body))
        .map(|(user, _)| user)
        .collect()
}

/// Checks that settle, the webhook and Amplitude name the same single owner.
async fn check(own: &Minutes, life: &Life) -> Result<(), String> {
    let (world, receipt) = (own.world(), life.receipt_id());
    let path = format!("/v1/apps/{}/customers?receipt_id={receipt}", world.app_id);
    let owner = world.api.try_get(&path).await?.body;
    let holders = holders(own, life);
    if holders.len() != 1 || json!(holders[0]) != owner["user_id"] {
        return Err(format!(
            "{:?} is {owner}'s, and the webhook has it with {holders:?}",
            life.steps
        ));
    }
    let persons = own.persons(life);
    match &persons[..] {
        [one] if json!(one.user_id) == owner["external_id"] => Ok(()),
        _ => Err(format!(
            "{:?} is {owner}'s, and Amplitude has it with {persons:#?}",
            life.steps
        )),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_quiet_an_entitlement_is_with_exactly_one_person() {
    let seed = Random::seed(SEED);
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let lives: Vec<Life> = (1..=LIVES)
        .map(|number| life(number, &mut random))
        .collect();
    let mut own = Minutes::start(&lives).await;
    own.live(&lives).await;
    own.settle_all(&lives).await;
    let all_agree = async || {
        for life in &lives {
            check(&own, life).await?;
        }
        Ok(())
    };
    wait::until(SOON, "one owner of each", all_agree).await;
    own.drain().await;
    all_agree()
        .await
        .expect("one owner of each, when nothing is pending");
    own.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn guests_who_are_one_customer_are_one_person() {
    let bought = || vec![(Duration::ZERO, Step::Notified)];
    let [one, other] = [1, 2].map(|number| Life::new(number, bought()));
    // The second buyer has two purchases, and becomes a customer who is already known.
    let third = Life::of_buyer(3, bought(), &other);
    let lives = [one, other, third];
    let mut own = Minutes::start(&lives).await;
    own.live(&lives).await;
    own.settle_all(&lives).await;
    own.drain().await;
    let nameless = own.amplitude.profiles(KEY);
    assert_eq!(
        (
            nameless.len(),
            nameless.iter().all(|one| one.user_id.is_none())
        ),
        (2, true),
        "{nameless:#?}"
    );
    // The next two requests about her fail at first.
    own.amplitude
        .script([Fault::Status(500), Fault::Status(500)]);
    let anna = lives[0].customer(0);
    for life in &lives[..2] {
        own.name(&life.naming(anna, Some("her-own-device"))).await;
    }
    let both_failed = async || {
        let failed = own
            .amplitude
            .requests()
            .iter()
            .filter(|one| one.status == Some(500))
            .count();
        if failed == 2 {
            Ok(())
        } else {
            Err(format!("{failed} requests failed"))
        }
    };
    wait::until(SOON, "two requests that fail", both_failed).await;
    // Both may have been attempts of the same event, whose next one is minutes away.
    own.calendar.skip(Duration::from_mins(5), &[]).await;
    own.amplitude.set(own.calendar.now());
    let is_one = async || {
        let all = own.amplitude.profiles(KEY);
        let has = lives.iter().all(|life| own.persons(life).len() == 1);
        if has && all.len() == 1 && all[0].user_id.as_deref() == Some(anna) {
            Ok(())
        } else {
            Err(format!("{all:#?}"))
        }
    };
    wait::until(SOON, "one person with everything", is_one).await;
    own.drain().await;
    is_one().await.expect("one person, when nothing is pending");
    own.finish().await;
}
