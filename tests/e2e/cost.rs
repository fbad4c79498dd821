//! The cost of a window in Temporal: the number of events in a run's history. They load a cluster, and Temporal Cloud
//! bills them as actions, so the cost must not grow with the number of notifications in a burst.

use std::collections::BTreeSet;
use system_tests::runs;
use system_tests::rvs::Receipt;
use system_tests::wait;
use system_tests::world::{SOON, Setting, World};
use temporalio_common::protos::temporal::api::enums::v1::EventType;
use temporalio_common::protos::temporal::api::history::v1::HistoryEvent;
use temporalio_common::protos::temporal::api::history::v1::history_event::Attributes;

/// Maximum number of history events for one notification, settled and delivered in two workflow tasks.
const MAX_OF_ONE: usize = 14;
/// Maximum number of history events for 10 or 100 notifications, if the window ends with the first notification's
/// timer.
const MAX_OF_BURST: usize = 22;

/// Number of actions for a purchase with one notification, if the store is queried: signal, timer, local activities,
/// the query, local activities, search attributes.
const QUERIED: usize = 6;
/// Maximum number of such actions: if the first timer fires before the end, a second one, with its own local activities
/// and search attributes, waits for the rest of the window; and the query may be retried.
const MAX_QUERIED: usize = 10;

/// Maximum number of purchases until one is attempted within its task: after an answer that took a second, such as on a
/// stalled machine, the next attempt is a separate activity.
const PURCHASES: usize = 20;

/// Number of history events that a second timer adds. It waits for the rest of the window if the first one fired before
/// the end, and updating the search attributes may need a separate workflow task.
const SECOND_TIMER: usize = 8;

fn count(history: &[HistoryEvent], wanted: EventType) -> usize {
    history
        .iter()
        .filter(|event| event.event_type() == wanted)
        .count()
}

/// Returns the number of actions that Temporal Cloud bills for a run (<https://docs.temporal.io/cloud/actions>): each
/// signal, with or without a start; each timer, upsert, activity and repeated attempt; and one for all local activities
/// of a workflow task.
fn actions(history: &[HistoryEvent]) -> usize {
    let billed = [
        EventType::WorkflowExecutionSignaled,
        EventType::TimerStarted,
        EventType::UpsertWorkflowSearchAttributes,
        EventType::ActivityTaskScheduled,
    ];
    let task = |event: &HistoryEvent| match event.attributes.as_ref()? {
        Attributes::MarkerRecordedEventAttributes(marker) => {
            Some(marker.workflow_task_completed_event_id)
        }
        _ => None,
    };
    let with_local: BTreeSet<i64> = history.iter().filter_map(task).collect();
    let retries = |event: &HistoryEvent| match event.attributes.as_ref()? {
        Attributes::ActivityTaskStartedEventAttributes(started) => {
            usize::try_from(started.attempt - 1).ok()
        }
        _ => None,
    };
    let retries: usize = history.iter().filter_map(retries).sum();
    billed
        .into_iter()
        .map(|kind| count(history, kind))
        .sum::<usize>()
        + with_local.len()
        + retries
}

/// Returns the number of actions for purchases counted by the process, without queries, which are in no history.
async fn metered(world: &World) -> Result<usize, String> {
    let page = world.api.try_get("/metrics").await?;
    let page = page.body.as_str().unwrap_or_default();
    let lines = page
        .lines()
        .filter(|line| line.starts_with("settle_temporal_actions_total{"));
    let of_purchases = lines.filter(|line| {
        line.contains("workflow=\"purchase\"") && !line.contains("action=\"query\"")
    });
    let number = |line: &str| line.rsplit(' ').next().unwrap_or_default().parse::<usize>();
    of_purchases
        .map(|line| number(line).map_err(|error| format!("{line}: {error}")))
        .sum()
}

/// Returns whether a workflow task was lost: its commands are counted again in the next one.
fn has_lost_tasks(history: &[HistoryEvent]) -> bool {
    let lost = [
        EventType::WorkflowTaskTimedOut,
        EventType::WorkflowTaskFailed,
    ];
    lost.into_iter().any(|kind| count(history, kind) > 0)
}

/// Waits until the process has counted a history's actions, in addition to `before`.
async fn wait_metered(world: &World, before: usize, history: &[HistoryEvent]) {
    wait::until(SOON, "the actions of the history", async || {
        let metered = metered(world).await? - before;
        if metered == actions(history) {
            return Ok(());
        }
        Err(format!(
            "{metered} metered, {} in the history: {:#?}",
            actions(history),
            runs::summary(history)
        ))
    })
    .await;
}

/// Returns the number of events, without those of moving the time forward, which only tests do, and those of workflow
/// tasks that timed out on a machine that stalled for ten seconds: each is scheduled and started again.
fn cost(history: &[HistoryEvent]) -> usize {
    let forwards = [
        EventType::WorkflowExecutionOptionsUpdated,
        EventType::WorkflowExecutionTimeSkippingTransitioned,
    ];
    let forwards: usize = forwards.into_iter().map(|kind| count(history, kind)).sum();
    history.len() - forwards - 3 * count(history, EventType::WorkflowTaskTimedOut)
}

/// Returns whether the first timer fired before the end of the window. When its time was moved forward, Temporal's dev
/// server fires the timer up to a second late; a burst that takes longer to send, or any burst on a busy machine, ends
/// its window even later.
fn fired_early(history: &[HistoryEvent]) -> bool {
    let Some((at, last)) = runs::notified(history).pop() else {
        return false;
    };
    let known = runs::tasks(history).into_iter().find(|time| *time >= at);
    let end = known.map(|known| known + last.quiet);
    runs::times(history, EventType::TimerFired)
        .first()
        .is_some_and(|fired| end.is_some_and(|end| *fired < end))
}

/// Sends this number of notifications of a new purchase, and prints their cost. Returns the run's history.
async fn burst(world: &mut World, receipt_id: &str, notifications: i64) -> Vec<HistoryEvent> {
    let mut last = String::new();
    for number in 0..notifications {
        let kind = if number % 2 == 0 {
            "SUBSCRIPTION_AUTO_RENEWAL_OFF"
        } else {
            "SUBSCRIPTION_AUTO_RENEWAL_ON"
        };
        last = world.send(kind, receipt_id).await;
    }
    world.wait_notified(receipt_id, notifications).await;
    world.pass(receipt_id, 140).await;
    world.settle(receipt_id, &last).await;
    world.wait_received(receipt_id, 1).await;
    world.wait_asleep(receipt_id).await;
    let history = world.temporal.history(&world.workflow(receipt_id)).await;
    println!(
        "{notifications:>13} {:>7} {:>14} {:>7} {:>8} {:>8}",
        cost(&history),
        count(&history, EventType::WorkflowTaskCompleted),
        count(&history, EventType::TimerStarted),
        count(&history, EventType::WorkflowExecutionSignaled),
        actions(&history),
    );
    history
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_costs_the_engine_little_more_than_one_notification() {
    let mut world = World::start(Setting::default()).await;
    println!(
        "{:>13} {:>7} {:>14} {:>7} {:>8} {:>8}",
        "notifications", "events", "workflow tasks", "timers", "signals", "actions"
    );
    // Only a destination that answered promptly gets its next first attempt within a workflow task.
    world.send("SUBSCRIPTION_PURCHASED", "first").await;
    world.pass("first", 140).await;
    world.wait_received("first", 1).await;
    let mut costs = Vec::new();
    for notifications in [1, 10, 100, 1000] {
        let is_limited = notifications <= 100;
        for number in 0..PURCHASES {
            let history = burst(
                &mut world,
                &format!("burst-{notifications}-{number}"),
                notifications,
            )
            .await;
            if !is_limited || count(&history, EventType::ActivityTaskScheduled) == 0 {
                costs.extend(is_limited.then_some((notifications, history)));
                break;
            }
        }
    }
    assert_eq!(
        costs.len(),
        3,
        "one of {PURCHASES} purchases of each kind is attempted within its task"
    );
    for (notifications, history) in costs {
        let max = if notifications == 1 {
            MAX_OF_ONE
        } else {
            MAX_OF_BURST
        };
        let max = if fired_early(&history) {
            max + SECOND_TIMER
        } else {
            max
        };
        let cost = cost(&history);
        assert!(
            cost <= max,
            "{notifications}: {cost} events: {:#?}",
            runs::summary(&history)
        );
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_meter_counts_the_actions_of_a_purchases_history() {
    let mut world = World::start(Setting::default()).await;
    let mut compared = BTreeSet::new();
    for number in 0..PURCHASES {
        let before = metered(&world).await.expect("the metrics");
        // The first attempt at a new destination is an activity; later ones are within the workflow task.
        let notifications = if number % 2 == 0 { 1 } else { 10 };
        let history = burst(&mut world, &format!("metered-{number}"), notifications).await;
        if has_lost_tasks(&history) {
            continue;
        }
        wait_metered(&world, before, &history).await;
        compared.insert((
            count(&history, EventType::ActivityTaskScheduled) > 0,
            notifications,
        ));
        if compared.len() > 2 {
            break;
        }
    }
    assert!(
        compared.iter().any(|(has_activity, _)| *has_activity),
        "one with an activity was compared: {compared:?}"
    );
    assert!(
        compared
            .iter()
            .any(|(_, notifications)| *notifications == 10),
        "a burst was compared: {compared:?}"
    );
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_of_the_store_costs_at_least_two_more_actions() {
    let mut world = World::start(Setting {
        window_seconds: 1,
        rvs: true,
        ..Setting::default()
    })
    .await;
    let mut queried = None;
    for number in 0..PURCHASES {
        let before = metered(&world).await.expect("the metrics");
        let receipt_id = format!("queried-{number}");
        world.rvs().know(
            &receipt_id,
            Receipt::subscription(api::clock::now().plus_millis(-3_600_000)),
        );
        world.send("SUBSCRIPTION_PURCHASED", &receipt_id).await;
        world.wait_received(&receipt_id, 1).await;
        world.wait_asleep(&receipt_id).await;
        let history = world.temporal.history(&world.workflow(&receipt_id)).await;
        if has_lost_tasks(&history) {
            continue;
        }
        wait_metered(&world, before, &history).await;
        // The query is its only activity: the first attempt was within the workflow task.
        if count(&history, EventType::ActivityTaskScheduled) == 1 {
            queried = Some(history);
            break;
        }
    }
    let history = queried.expect("a purchase that was attempted within its task");
    let billed = actions(&history);
    println!("one notification, with a query of the store: {billed} actions");
    assert!(
        (QUERIED..=MAX_QUERIED).contains(&billed),
        "{billed} actions: {:#?}",
        runs::summary(&history)
    );
    world.finish().await;
}
