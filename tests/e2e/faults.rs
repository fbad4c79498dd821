//! Shows that each check can fail: with a fault planted in the real program, it reports the broken invariant by name,
//! and without the fault, the same scenario passes.

use std::time::Duration;
use system_tests::postgres;
use system_tests::process::Backend;
use system_tests::receiver::{Receiver, Reply};
use system_tests::runs;
use system_tests::wait;
use system_tests::world::{SOON, Setting, World};
use temporalio_common::protos::temporal::api::enums::v1::EventType;
use workflows::contract;

const BOUGHT: &str = "SUBSCRIPTION_PURCHASED";
const STOPPED: &str = "SUBSCRIPTION_AUTO_RENEWAL_OFF";
const ONE: &str = "one";

/// With a fault, the time after which missing work counts as lost; the sweep repairs nothing before it is 15 s late.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait for a second attempt that must not happen; it would happen at once.
const SECOND_ATTEMPT: Duration = Duration::from_secs(3);
/// Longer than the time between two sweeps.
const SWEEP_SECONDS: i64 = 31;

async fn world(backend: Backend, faults: &str) -> World {
    let variables = vec![("FAILPOINTS".to_owned(), faults.to_owned())];
    World::start(Setting {
        backend,
        window_seconds: 1,
        variables,
        ..Setting::default()
    })
    .await
}

/// Returns the time limit for work that these faults may prevent.
fn timeout(faults: &str) -> Duration {
    if faults.is_empty() { SOON } else { TIMEOUT }
}

/// Finishes a scenario: returns the violation found during it, or else the result of the final check.
async fn end(mut world: World, found: Result<(), String>) -> Result<(), String> {
    let timeout = if found.is_ok() { SOON } else { Duration::ZERO };
    let verdict = world.verdict(timeout).await;
    found.and(verdict)
}

/// Checks that the scenario passes without the fault, and with it reports this invariant.
fn noticed(invariant: &str, without: &Result<(), String>, with: Result<(), String>) {
    assert_eq!(*without, Ok(()), "without the fault");
    let reported = with.expect_err("the planted fault went unseen");
    println!("noticed: {}", reported.lines().next().unwrap_or_default());
    assert!(
        reported.starts_with(invariant),
        "{invariant} is broken, and this was reported: {reported}"
    );
}

/// A notification arrives during the delivery of the previous revision. The run was signalled, so it may not end before
/// that notification has its outcome.
async fn news_during_a_delivery(faults: &str) -> Result<(), String> {
    let mut world = world(Backend::Sqlite, faults).await;
    let found = send_during_a_delivery(&mut world).await;
    end(world, found).await
}

/// Sends a notification during the delivery of the previous revision, and returns the work that the run left undone.
async fn send_during_a_delivery(world: &mut World) -> Result<(), String> {
    world.receiver.answer_next(1, &Reply::Hang);
    let first = world.send(BOUGHT, ONE).await;
    world.wait_received(ONE, 1).await;
    let second = world.send(STOPPED, ONE).await;
    world.wait_notified(ONE, 2).await;
    world.receiver.release();
    world.left_behind(ONE, &[first, second]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_ends_without_a_last_check_is_noticed() {
    let without = news_during_a_delivery("").await;
    let with = news_during_a_delivery("run.skip_drain=return").await;
    noticed("I1", &without, with);
}

/// Two attempts are started for one delivery, as if a worker that is considered lost were still running.
async fn two_attempts(faults: &str) -> Result<(), String> {
    let mut world = world(
        Backend::Sqlite,
        &format!("deliver.start_twice=return;{faults}"),
    )
    .await;
    world.receiver.answer_next(2, &Reply::Hang);
    world.send(BOUGHT, ONE).await;
    let key = world.key(ONE).to_string();
    world.wait_received(ONE, 1).await;
    // Waits for both; without the fault, there is only one.
    let timeout = if faults.is_empty() {
        SECOND_ATTEMPT
    } else {
        SOON
    };
    drop(
        wait::within(timeout, "a second attempt", async || {
            if world.receiver.about(&key).len() > 1 {
                Ok(())
            } else {
                Err("one".to_owned())
            }
        })
        .await,
    );
    world.receiver.release();
    end(world, Ok(())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_is_ignored_is_noticed() {
    let without = two_attempts("").await;
    let with = two_attempts("lease.ignored=return").await;
    noticed("I7", &without, with);
}

async fn one_delivery(faults: &str) -> Result<(), String> {
    let mut world = world(Backend::Sqlite, faults).await;
    let only = world.send(BOUGHT, ONE).await;
    let found = world.left_behind(ONE, &[only]).await;
    end(world, found).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_missing_in_a_record_is_noticed_before_the_sweep() {
    let without = one_delivery("").await;
    let with = one_delivery("record.forget_lane=return").await;
    noticed("I5", &without, with);
}

/// A notification that the run forgot is made a minute late, so that the sweep settles it. Everything arrives, but the
/// end of the test must still report that the sweep had to help.
async fn rescued(faults: &str) -> Result<(), String> {
    let mut world = world(Backend::Postgres, faults).await;
    if send_during_a_delivery(&mut world).await.is_err() {
        let a_minute_ago =
            "UPDATE notifications SET due_at = due_at - 60000000 WHERE outcome IS NULL";
        postgres::execute(world.installation.database(), a_minute_ago)
            .expect("the notification is late");
        sweep_once(&world).await;
    }
    end(world, Ok(())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purchase_that_only_the_sweep_settled_is_noticed() {
    let without = rescued("").await;
    let with = rescued("run.skip_drain=return").await;
    noticed("a lost wake-up", &without, with);
}

/// An erased lane is made a minute late, and the sweep runs once more: it must find the lane.
async fn swept(faults: &str) -> Result<(), String> {
    let mut world = world(
        Backend::Postgres,
        &format!("record.forget_lane=return;{faults}"),
    )
    .await;
    world.let_sweep_help("its record erases the lane");
    let timeout = timeout(faults);
    let only = world.send(BOUGHT, ONE).await;
    let erased = world.left_behind(ONE, &[only]).await;
    assert!(erased.is_err(), "the lane was not erased");
    let a_minute_ago = "UPDATE deliveries SET next_due_at = next_due_at - 60000000";
    postgres::execute(world.installation.database(), a_minute_ago).expect("the delivery is late");
    sweep_once(&world).await;
    let verdict = world.verdict(timeout).await;
    // The destination's own run delivers it, so that the purchase's run does not show when the delivery is recorded.
    let noted = wait::within(timeout, "the end of the delivery", async || {
        let deliveries = world.deliveries(ONE).await;
        let pending = deliveries.iter().find(|one| one["status"] == "pending");
        pending.map_or(Ok(()), |pending| Err(pending.to_string()))
    });
    verdict.and(noted.await.map_err(|late| format!("I5: {late}")))
}

async fn sweep_once(world: &World) {
    let before = sweeps(world).await;
    world
        .temporal
        .fast_forward(contract::SWEEP, SWEEP_SECONDS)
        .await;
    wait::until(SOON, "a sweep", async || {
        let seen = sweeps(world).await;
        if seen > before {
            Ok(())
        } else {
            Err(format!("{seen} of them"))
        }
    })
    .await;
}

async fn sweeps(world: &World) -> usize {
    runs::times(
        &world.temporal.history(contract::SWEEP).await,
        EventType::ActivityTaskCompleted,
    )
    .len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_that_ignores_lanes_is_noticed() {
    let without = swept("").await;
    let with = swept("sweep.forget_lanes=return").await;
    noticed("I5", &without, with);
}

/// Another destination subscribes to the users' events. With the fault, no run delivers its lane, and the sweep does
/// not find it.
async fn an_event_of_a_user(is_erased: bool) -> Result<(), String> {
    let mut world = world(Backend::Sqlite, "").await;
    let own = Receiver::start().await;
    let id = world.add_destination(&own, &["user.*".to_owned()]).await;
    let mut timeout = SOON;
    if is_erased {
        let faults = format!("record.forget_lane/{id}=return;sweep.forget_lanes=return");
        world.start_with(&[("FAILPOINTS", &faults)]).await;
        timeout = TIMEOUT;
    }
    world.send(BOUGHT, ONE).await;
    world.wait_acked(ONE, 1).await;
    world.wait_asleep(ONE).await;
    world.verdict(timeout).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_never_delivered_is_noticed() {
    let without = an_event_of_a_user(false).await;
    let with = an_event_of_a_user(true).await;
    let named = with
        .as_ref()
        .is_err_and(|pending| pending.contains("user.subscription.purchased"));
    assert!(named, "the event that is pending is named: {with:?}");
    noticed("pending", &without, with);
}

/// Two revisions are settled, each acknowledged before the next.
async fn two_revisions(faults: &str) -> Result<(), String> {
    let mut world = world(Backend::Sqlite, faults).await;
    for (kind, revision) in [(BOUGHT, 1), (STOPPED, 2)] {
        world.send(kind, ONE).await;
        world.wait_acked(ONE, revision).await;
    }
    end(world, Ok(())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_id_that_is_used_for_two_bodies_is_noticed() {
    let without = two_revisions("").await;
    let with = two_revisions("deliver.reuse_webhook_id=return").await;
    noticed("I4", &without, with);
}

/// Two events are recorded; with the fault, the second has the id of the first.
async fn two_events(faults: &str) -> Result<(), String> {
    let mut world = world(Backend::Sqlite, faults).await;
    world.send(BOUGHT, ONE).await;
    world.wait_acked(ONE, 1).await;
    let recorded = world.events(ONE).await;
    world.send(STOPPED, ONE).await;
    let timeout = if faults.is_empty() {
        SOON
    } else {
        wait_refused(&world).await
    };
    let verdict = world.verdict(timeout).await;
    let after = world.events(ONE).await;
    assert_eq!(
        after.last(),
        recorded.last(),
        "an announced event has changed"
    );
    if verdict.is_err() {
        assert_eq!(
            after.len(),
            1,
            "two events were recorded under one id: {after:?}"
        );
        return verdict;
    }
    world.check_revisions(ONE, 2).await
}

/// Waits until the database has refused an event. Returns zero as the time limit, since nothing else remains to be
/// waited for.
async fn wait_refused(world: &World) -> Duration {
    let workflow = world.workflow(ONE);
    wait::until(SOON, "the error of the database", async || {
        let pending = world.temporal.pending_activities(&workflow).await;
        let refused = pending
            .iter()
            .filter_map(|one| one.last_failure.as_ref())
            .map(|why| why.message.as_str());
        let refused: Vec<_> = refused.collect();
        if refused.iter().any(|why| why.contains("events.id")) {
            Ok(())
        } else {
            Err(format!("{refused:?}"))
        }
    })
    .await;
    Duration::ZERO
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reused_event_id_is_refused_by_the_ledger_and_noticed() {
    let without = two_events("").await;
    let with = two_events("record.reuse_event_id=return").await;
    noticed("I1", &without, with);
}

/// A payment fails, and a destination receives the user's events.
async fn grace(faults: &str) -> Result<(), String> {
    let mut world = world(Backend::Sqlite, faults).await;
    let own = Receiver::start().await;
    world.add_destination(&own, &["user.*".to_owned()]).await;
    for kind in [BOUGHT, "SUBSCRIPTION_IN_GRACE_PERIOD"] {
        world.send(kind, ONE).await;
        let count = own.all().len();
        wait::until(SOON, "an event of the user", async || {
            if own.all().len() > count {
                Ok(())
            } else {
                Err(format!("{count} so far"))
            }
        })
        .await;
    }
    let found = own.check_user_states();
    end(world, found).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_whose_state_is_stale_is_noticed() {
    let without = grace("").await;
    let with = grace("record.stale_user=return").await;
    noticed("stale", &without, with);
}
