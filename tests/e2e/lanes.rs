//! Lanes: events pending for a destination arrive, only the latest state of each purchase, despite failures of that
//! destination or a worker.

use serde_json::{Value, json};
use std::time::Duration;
use system_tests::receiver::{Received, Receiver, Reply};
use system_tests::runs;
use system_tests::wait;
use system_tests::world::{SOON, Setting, World};
use temporalio_common::protos::temporal::api::enums::v1::{EventType, WorkflowExecutionStatus};
use temporalio_common::protos::temporal::api::workflow::v1::PendingActivityInfo;

/// The second back-off of a delivery lasts four to six minutes: an earlier attempt means that the back-off was
/// cancelled.
const BEFORE_THE_BACK_OFF_ENDS: Duration = Duration::from_secs(60);
const SECOND_BACK_OFF: Duration = Duration::from_secs(240);
/// Tolerance for times that the database and the engine round.
const ROUNDING: Duration = Duration::from_secs(1);
/// Maximum number of purchases until one is attempted within its task: after an answer that took a second, such as on a
/// stalled machine, the next attempt is not.
const PURCHASES: usize = 20;
const FAILING: Reply = Reply::Status(500);
const WELL: Reply = Reply::Status(200);

fn quick() -> Setting {
    Setting {
        window_seconds: 1,
        ..Setting::default()
    }
}

/// Waits until the run's `deliver` activity has failed at least once and waits for another attempt, and returns it.
async fn wait_backing_off(world: &World, receipt_id: &str) -> PendingActivityInfo {
    let workflow = world.workflow(receipt_id);
    wait::until(SOON, "a delivery that backs off", async || {
        let pending = world.temporal.pending_activities(&workflow).await;
        let is_waiting = |one: &PendingActivityInfo| one.attempt >= 2 && one.last_failure.is_some();
        pending
            .iter()
            .find(|one| is_waiting(one))
            .cloned()
            .ok_or_else(|| format!("{pending:?}"))
    })
    .await
}

/// Waits until two attempts about a receipt's purchase have failed, so that the next one is minutes away.
async fn wait_long_back_off(world: &World, receipt_id: &str) -> Vec<Received> {
    let received = world.wait_received(receipt_id, 2).await;
    wait::until(SOON, "the second failure in the database", async || {
        let deliveries = world.deliveries(receipt_id).await;
        let attempts = deliveries
            .iter()
            .filter_map(|one| one["attempts"].as_i64())
            .max()
            .unwrap_or_default();
        if attempts >= 2 {
            Ok(())
        } else {
            Err(format!("{deliveries:?}"))
        }
    })
    .await;
    received
}

/// Checks that the engine waits, after the second failure, until the time at which the delivery is due in the database.
async fn check_next_attempt(world: &World, receipt_id: &str) {
    let due = world.deliveries(receipt_id).await[0]["next_due_at"]
        .as_str()
        .expect("a time")
        .to_owned();
    let workflow = world.workflow(receipt_id);
    let (failed_at, next_at) = wait::until(SOON, "the time of the next attempt", async || {
        let pending = world.temporal.pending_activities(&workflow).await;
        let one = pending.first().ok_or("none")?;
        let times = one
            .last_attempt_complete_time
            .as_ref()
            .zip(one.next_attempt_schedule_time.as_ref());
        times
            .map(|(failed, next)| (since_1970(failed), since_1970(next)))
            .ok_or_else(|| format!("{one:?}"))
    })
    .await;
    let due = due
        .parse::<domain::Timestamp>()
        .expect("a time")
        .micros()
        .unsigned_abs();
    assert!(
        next_at + ROUNDING >= Duration::from_micros(due),
        "attempted at {next_at:?}, due at {due} µs"
    );
    assert!(
        next_at - failed_at + ROUNDING >= SECOND_BACK_OFF,
        "{:?} after the failure",
        next_at - failed_at
    );
}

fn since_1970(time: &prost_types::Timestamp) -> Duration {
    Duration::new(time.seconds.unsigned_abs(), time.nanos.unsigned_abs())
}

/// Returns the statuses of a receipt's purchase's deliveries to one destination, by revision.
async fn statuses(world: &World, receipt_id: &str, destination_id: &str) -> Vec<(i64, String)> {
    let deliveries = world.deliveries(receipt_id).await;
    let of_it = deliveries
        .iter()
        .filter(|one| one["destination_id"] == destination_id);
    let mut statuses: Vec<_> = of_it
        .map(|one| {
            (
                one["revision"].as_i64().unwrap_or_default(),
                one["status"].as_str().unwrap_or_default().to_owned(),
            )
        })
        .collect();
    statuses.sort();
    statuses
}

async fn wait_statuses(
    world: &World,
    receipt_id: &str,
    destination_id: &str,
    wanted: &[(i64, &str)],
) {
    wait::until(SOON, &format!("deliveries {wanted:?}"), async || {
        let seen = statuses(world, receipt_id, destination_id).await;
        let seen: Vec<_> = seen
            .iter()
            .map(|(revision, status)| (*revision, status.as_str()))
            .collect();
        if seen == wanted {
            Ok(())
        } else {
            Err(format!("{seen:?}"))
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_delivery_shows_its_attempts_in_the_engine() {
    let mut world = World::start(quick()).await;
    world.receiver.answer(FAILING);
    world.send("SUBSCRIPTION_PURCHASED", "failing").await;
    wait_long_back_off(&world, "failing").await;
    let pending = wait_backing_off(&world, "failing").await;
    let kind = pending
        .activity_type
        .as_ref()
        .map(|kind| kind.name.as_str());
    assert_eq!(kind, Some("deliver"), "{pending:?}");
    let failure = pending
        .last_failure
        .as_ref()
        .map(|failure| failure.message.as_str())
        .unwrap_or_default();
    assert!(failure.contains("the endpoint answered 500"), "{failure}");
    check_next_attempt(&world, "failing").await;
    let status = world
        .wait_status("failing", "a failing lane", |status| {
            status["lanes"][0]["failing"] == true
        })
        .await;
    assert_eq!(
        status["lanes"][0]["destination_id"],
        world.destination_id.as_str(),
        "{status}"
    );
    world.receiver.answer(WELL);
    world.resend("failing").await;
    world.wait_acked("failing", 1).await;
    let received = world.wait_received("failing", 3).await;
    for request in &received {
        assert_eq!(
            Some(&request.webhook_id),
            received.first().map(|first| &first.webhook_id),
            "one id for all attempts"
        );
        assert_eq!(
            Some(&request.raw),
            received.first().map(|first| &first.raw),
            "the same bytes in all attempts"
        );
    }
    wait_statuses(
        &world,
        "failing",
        &world.destination_id,
        &[(1, "delivered")],
    )
    .await;
    world.finish().await;
}

/// A destination whose share of the worker's slots is used up: its own run delivers due events, and failed deliveries
/// wait for their next attempt in the purchase's run, as always.
#[tokio::test(flavor = "multi_thread")]
async fn lanes_without_a_slot_are_delivered_by_the_destinations_run() {
    let variables = vec![("FAILPOINTS".to_owned(), "slots.none=return".to_owned())];
    let mut world = World::start(Setting {
        variables,
        ..quick()
    })
    .await;
    world.receiver.answer_next(1, &FAILING);
    world.send("SUBSCRIPTION_PURCHASED", "crowded").await;
    let pending = wait_backing_off(&world, "crowded").await;
    let failure = pending
        .last_failure
        .as_ref()
        .map(|failure| failure.message.as_str())
        .unwrap_or_default();
    assert!(failure.contains("the endpoint answered 500"), "{failure}");
    world.wait_acked("crowded", 1).await;
    world.wait_asleep("crowded").await;
    assert_eq!(
        world.wait_received("crowded", 2).await.len(),
        2,
        "one failure and one success"
    );
    wait_statuses(
        &world,
        "crowded",
        &world.destination_id,
        &[(1, "delivered")],
    )
    .await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_between_attempts_loses_nothing() {
    let mut world = World::start(quick()).await;
    // With this schedule, the next attempt is not minutes away, however many attempts fail before the worker is killed.
    world.set_schedule(&[5; 40]).await;
    world.receiver.answer(FAILING);
    world.send("SUBSCRIPTION_PURCHASED", "killed").await;
    wait_backing_off(&world, "killed").await;
    world.kill9();
    world.receiver.answer(WELL);
    world.restart().await;
    world.wait_acked("killed", 1).await;
    world.wait_asleep("killed").await;
    let received = world.wait_received("killed", 2).await;
    let acked: Vec<_> = received
        .iter()
        .filter(|request| request.is_acked())
        .collect();
    assert_eq!(acked.len(), 1, "acknowledged once");
    assert!(
        received
            .iter()
            .all(|request| Some(&request.raw) == received.first().map(|first| &first.raw))
    );
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_revision_supersedes_the_older_and_wakes_the_lane() {
    let mut world = World::start(quick()).await;
    world.receiver.answer(FAILING);
    world.send("SUBSCRIPTION_PURCHASED", "newer").await;
    wait_long_back_off(&world, "newer").await;
    world.receiver.answer(WELL);
    world.send("SUBSCRIPTION_AUTO_RENEWAL_OFF", "newer").await;
    let key = world.key("newer").to_string();
    let received = world
        .receiver
        .wait_for(&key, 3, BEFORE_THE_BACK_OFF_ENDS)
        .await;
    let revisions: Vec<_> = received
        .iter()
        .map(|request| (request.revision(), request.is_acked()))
        .collect();
    assert_eq!(revisions, [(1, false), (1, false), (2, true)]);
    let last = received
        .last()
        .map(|request| request.body["attributes"].clone())
        .unwrap_or_default();
    assert_eq!(last["previous_acked_revision"], Value::Null, "{last}");
    wait_statuses(
        &world,
        "newer",
        &world.destination_id,
        &[(1, "superseded"), (2, "delivered")],
    )
    .await;
    world.wait_asleep("newer").await;
    assert_eq!(
        world.receiver.all().len(),
        3,
        "the older revision was not sent again"
    );
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_destination_delays_no_other() {
    let mut world = World::start(quick()).await;
    let other = Receiver::start().await;
    let other_id = world
        .add_destination(&other, &["purchase.updated".to_owned()])
        .await;
    world.receiver.answer(Reply::Hang);
    world.send("SUBSCRIPTION_PURCHASED", "both").await;
    let key = world.key("both").to_string();
    other.wait_for(&key, 1, SOON).await;
    wait_statuses(&world, "both", &other_id, &[(1, "delivered")]).await;
    world.send("SUBSCRIPTION_AUTO_RENEWAL_OFF", "both").await;
    wait_statuses(
        &world,
        "both",
        &other_id,
        &[(1, "delivered"), (2, "delivered")],
    )
    .await;
    assert!(
        world.receiver.revisions(&key).is_empty(),
        "the hanging one has acknowledged nothing yet"
    );
    assert_eq!(other.revisions(&key), [1, 2]);
    world.receiver.answer(WELL);
    world.receiver.release();
    world.wait_acked("both", 2).await;
    other.check();
    world.finish().await;
}

/// Sends signals until the run has been continued as a new one.
async fn signal_until_continued(world: &World, receipt_id: &str) {
    let workflow = world.workflow(receipt_id);
    let admin = json!({ "by": "tests", "reason": "a long history" });
    wait::until(10 * SOON, "a continued run", async || {
        // With a hundred buffered signals the server would fail the workflow task in progress.
        let signals = (0..50).map(|_| {
            world
                .temporal
                .signal(&workflow, workflows::contract::FLUSH, &admin)
        });
        futures::future::join_all(signals)
            .await
            .into_iter()
            .collect::<Result<Vec<_>, _>>()?;
        match world.status(receipt_id).await?["continued"].as_i64() {
            Some(1..) => Ok(()),
            other => Err(format!("continued {other:?}")),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_run_continues_as_new_with_its_hold_and_lanes() {
    let mut world = World::start(quick()).await;
    world.receiver.answer(FAILING);
    world.send("SUBSCRIPTION_PURCHASED", "long").await;
    wait_long_back_off(&world, "long").await;
    world
        .act("long", "hold", &json!({ "reason": "a test" }))
        .await;
    world
        .wait_status("long", "a hold", |status| status["held_until"].is_string())
        .await;
    let message_id = world.send("SUBSCRIPTION_AUTO_RENEWAL_OFF", "long").await;
    signal_until_continued(&world, "long").await;

    let status = world
        .wait_status("long", "a failing lane", |status| {
            status["lanes"][0]["failing"] == true
        })
        .await;
    assert!(status["held_until"].is_string(), "{status}");
    wait_backing_off(&world, "long").await;
    let workflow = world.workflow("long");
    let history = world.temporal.history(&workflow).await;
    assert!(
        runs::recorded(&history).is_empty(),
        "a flush went through the hold"
    );
    wait::until(SOON, "the continued run in the list", async || {
        let states: Vec<_> = world
            .temporal
            .runs(&workflow)
            .await
            .iter()
            .map(|run| run.status())
            .collect();
        let continued = WorkflowExecutionStatus::ContinuedAsNew;
        if states.contains(&continued) {
            Ok(())
        } else {
            Err(format!("{states:?}"))
        }
    })
    .await;
    assert_eq!(runs::failures(&history), Vec::<String>::new());
    assert_eq!(
        world.receiver.all().len(),
        2,
        "no additional attempt was made"
    );

    world.receiver.answer(WELL);
    world.act("long", "release", &json!({})).await;
    world.wait_outcome(&message_id).await;
    world.wait_acked("long", 2).await;
    wait_statuses(
        &world,
        "long",
        &world.destination_id,
        &[(1, "superseded"), (2, "delivered")],
    )
    .await;
    world.finish().await;
}

/// Returns the number of executions of `deliver` in a history: within a workflow task, and as an activity.
async fn delivers(world: &World, receipt_id: &str) -> (usize, usize) {
    let history = world.temporal.history(&world.workflow(receipt_id)).await;
    let scheduled = history
        .iter()
        .filter(|event| event.event_type() == EventType::ActivityTaskScheduled)
        .count();
    (runs::done(&history, "deliver").len(), scheduled)
}

/// One attempt, which ended within the task.
const WITHIN: (usize, usize) = (1, 0);
/// An attempt within the task, and the activity that continued it.
const BOTH: (usize, usize) = (1, 1);
/// Only an activity: the destination was not prompt.
const ACTIVITY: (usize, usize) = (0, 1);

/// Sends a notification of a new purchase, and waits until it is delivered and its run has ended.
async fn bought(world: &mut World, receipt_id: &str) -> (usize, usize) {
    world.send("SUBSCRIPTION_PURCHASED", receipt_id).await;
    world.wait_acked(receipt_id, 1).await;
    world.wait_asleep(receipt_id).await;
    delivers(world, receipt_id).await
}

/// Delivers new purchases until one is attempted only within its task.
async fn make_prompt(world: &mut World, name: &str) {
    for number in 0..PURCHASES {
        if bought(world, &format!("{name}-{number}")).await == WITHIN {
            return;
        }
    }
    panic!("none of {PURCHASES} purchases was attempted within its task alone");
}

/// Delivers a purchase whose request hangs until an activity waits for it.
async fn hangs(world: &mut World, receipt_id: &str) -> (usize, usize) {
    world.receiver.answer_next(1, &Reply::Hang);
    world.send("SUBSCRIPTION_PURCHASED", receipt_id).await;
    let workflow = world.workflow(receipt_id);
    wait::until(
        SOON,
        "the activity that waits for the attempt",
        async || {
            let pending = world.temporal.pending_activities(&workflow).await;
            if pending.is_empty() {
                Err("none".to_owned())
            } else {
                Ok(())
            }
        },
    )
    .await;
    world.wait_received(receipt_id, 1).await;
    world.receiver.release();
    world.wait_acked(receipt_id, 1).await;
    world.wait_asleep(receipt_id).await;
    assert_eq!(
        world.wait_received(receipt_id, 1).await.len(),
        1,
        "one request"
    );
    delivers(world, receipt_id).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_destination_is_attempted_within_the_task() {
    let mut world = World::start(quick()).await;
    assert_eq!(
        bought(&mut world, "first").await,
        ACTIVITY,
        "nothing is known of it yet"
    );
    for number in 0..PURCHASES {
        make_prompt(&mut world, &format!("prompt-{number}")).await;
        // An attempt that outlasts its task is finished by the activity, not repeated.
        if hangs(&mut world, &format!("slow-{number}")).await == BOTH {
            assert_eq!(
                bought(&mut world, "after").await,
                ACTIVITY,
                "it was not prompt the last time"
            );
            return world.finish().await;
        }
    }
    panic!("none of {PURCHASES} attempts outlasted its task");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_destination_that_fails_is_retried_visibly() {
    let mut world = World::start(quick()).await;
    for number in 0..PURCHASES {
        make_prompt(&mut world, &format!("prompt-{number}")).await;
        let receipt_id = format!("failing-{number}");
        world.receiver.answer(FAILING);
        world.send("SUBSCRIPTION_PURCHASED", &receipt_id).await;
        wait_backing_off(&world, &receipt_id).await;
        let attempted = delivers(&world, &receipt_id).await;
        world.receiver.answer(WELL);
        world.resend(&receipt_id).await;
        world.wait_acked(&receipt_id, 1).await;
        if attempted == BOTH {
            return world.finish().await;
        }
        assert_eq!(
            attempted.0, 0,
            "{receipt_id} was attempted within its task, and then: {attempted:?}"
        );
    }
    panic!("none of {PURCHASES} purchases was attempted within its task first");
}

/// An attempt within the task that returns nothing in time, such as on a stalled machine. In a replay, the engine
/// reports the timeout in a different form, which [`World::finish`] would detect.
#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_within_the_task_that_times_out_replays() {
    let stands_still = (
        "FAILPOINTS".to_owned(),
        "deliver.stand_still=1*return->off".to_owned(),
    );
    let mut world = World::start(Setting {
        variables: vec![stands_still],
        ..quick()
    })
    .await;
    for number in 0..PURCHASES {
        let receipt_id = format!("late-{number}");
        bought(&mut world, &receipt_id).await;
        let history = world.temporal.history(&world.workflow(&receipt_id)).await;
        if runs::has_timed_out_within_task(&history) {
            return world.finish().await;
        }
    }
    panic!("no attempt of {PURCHASES} within a task timed out");
}
