//! What a settling costs the engine, counted in the server's own history. Events are what Temporal Cloud bills and
//! what limits a cluster, so the cost must not grow with the notifications of a burst.

use std::time::Duration;
use system_tests::world::{Setting, World};
use temporalio_common::protos::temporal::api::enums::v1::EventType;
use temporalio_common::protos::temporal::api::history::v1::HistoryEvent;
use tokio::time::Instant;

/// The most that one notification may cost, settled and delivered.
const ONE: usize = 20;
/// The most that a hundred notifications within ten seconds may cost.
const HUNDRED: usize = 30;

/// What takes longer to send, as on a busy machine, ends later than the timer of its first one: the rest is slept out by
/// another timer, of which the search attributes may be a task of their own.
const MOMENT: Duration = Duration::from_secs(1);
/// What that costs.
const SLEPT_OUT: usize = 8;

fn count(history: &[HistoryEvent], wanted: EventType) -> usize {
    history.iter().filter(|event| event.event_type() == wanted).count()
}

/// All events but those that moving the time forward adds, which no run outside tests has.
fn cost(history: &[HistoryEvent]) -> usize {
    let forwards = [EventType::WorkflowExecutionOptionsUpdated, EventType::WorkflowExecutionTimeSkippingTransitioned];
    history.len() - forwards.into_iter().map(|kind| count(history, kind)).sum::<usize>()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_costs_the_engine_little_more_than_one_notification() {
    let mut world = World::start(Setting::default()).await;
    println!("{:>13} {:>7} {:>14} {:>7} {:>8}", "notifications", "events", "workflow tasks", "timers", "signals");
    let mut costs = Vec::new();
    for notifications in [1, 10, 100, 1000] {
        let receipt_id = format!("burst-{notifications}");
        let began = Instant::now();
        for number in 0..notifications {
            let kind = if number % 2 == 0 { "SUBSCRIPTION_AUTO_RENEWAL_OFF" } else { "SUBSCRIPTION_AUTO_RENEWAL_ON" };
            world.send(kind, &receipt_id).await;
        }
        let spread = began.elapsed();
        world.wait_notified(&receipt_id, notifications).await;
        world.pass(&receipt_id, 140).await;
        world.wait_received(&receipt_id, 1).await;
        world.wait_asleep(&receipt_id).await;
        let history = world.temporal.history(&world.workflow(&receipt_id)).await;
        println!(
            "{notifications:>13} {:>7} {:>14} {:>7} {:>8}",
            cost(&history),
            count(&history, EventType::WorkflowTaskCompleted),
            count(&history, EventType::TimerStarted),
            count(&history, EventType::WorkflowExecutionSignaled),
        );
        costs.push((notifications, spread, history));
    }
    for (notifications, spread, history) in costs {
        let most = if notifications == 1 { ONE } else { HUNDRED };
        let most = if spread > MOMENT { most + SLEPT_OUT } else { most };
        let cost = cost(&history);
        let limited = notifications <= 100;
        assert!(
            !limited || cost <= most,
            "{notifications}: {cost} events: {:#?}",
            system_tests::runs::summary(&history)
        );
    }
    world.finish().await;
}
