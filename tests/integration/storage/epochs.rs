//! The epoch: after it was raised, by an admin or because PostgreSQL's lineage changed, no id is used a second time.

use super::operator_events::{about, chooses, fails};
use super::sending::Sent;
use super::world::{World, record, story};
use domain::ids::ProfileScope;
use domain::user::{Attributes, PROFILE_UPDATED};
use domain::{
    CollapseKey, DeliveryId, Environment, EventId, RedeliverySelector, TransitionKind, UserId,
};
use storage::{Mode, Page, Recorded, Run, Store, Verdict};
use system_tests::wait;
use system_tests::world::SOON;

/// A failover: the stored lineage is that of another server.
const FAIL_OVER: &str = "UPDATE installation SET lineage = '1/00000001'";

/// Returns the ids of all events of a type, in the order of recording.
fn ids(world: &World, event_type: &str) -> Vec<String> {
    world.raw().texts(&format!(
        "SELECT id AS value FROM events WHERE event_type = '{event_type}' ORDER BY seq"
    ))
}

fn state_id(key: CollapseKey, epoch: i64, revision: i64) -> String {
    EventId::of(key, epoch, revision, "purchase.updated", 0).to_string()
}

/// Returns the number of times that each alarm about a raised epoch was raised.
async fn alarms(world: &World) -> Vec<i64> {
    let all = world.store.alarms(Page::default()).await.unwrap().items;
    all.into_iter()
        .filter(|alarm| alarm.kind == "epoch_raised")
        .map(|alarm| alarm.count)
        .collect()
}

story! { synced
    async fn a_raised_epoch_is_in_all_further_ids(world: World) {
        let (key, other) = (world.key("r1"), world.second_process().await);
        world.revise("r1", 1).await;
        let raised = world.store.raise_epoch().await.unwrap();
        assert!(raised > 1, "{raised}");
        // Another process started before the epoch was raised.
        world.notify("m2", "r1", 2).await;
        let loaded = other.load(key, i64::MAX, 500).await.unwrap();
        assert!(matches!(other.record(record(key, &loaded)).await.unwrap(), Recorded::Done { revision: 2, .. }));
        assert_eq!(ids(&world, "purchase.updated"), [state_id(key, 1, 1), state_id(key, raised, 2)]);
        let again = world.store.raise_epoch().await.unwrap();
        assert!(again > raised, "also within a second: {again}");
        assert_eq!(other.epoch().await.unwrap(), again);
        assert!(alarms(&world).await.is_empty(), "an admin did it");
    }
}

story! { synced
    async fn profiles_and_operators_events_have_the_epoch_too(world: World) {
        let failing = chooses(&world, "failing", &["purchase.updated"]).await;
        chooses(&world, "operators", &["destination.*"]).await;
        world.keeping("analytics", Attributes::Documented).await;
        let raised = world.store.raise_epoch().await.unwrap();
        for number in 0..10 {
            fails(&world, number, failing).await;
        }
        let id = EventId::of(about(failing), raised, 1, "destination.failing", 0).to_string();
        assert_eq!(ids(&world, "destination.failing"), [id]);
        world.happen("bought", 1, &[TransitionKind::Purchased]).await;
        world.entitle("gold").await;
        world.resettle(world.key("bought")).await;
        let of_profile = |column: &str| {
            let text = format!("SELECT CAST({column} AS TEXT) AS value FROM events WHERE event_type = '{PROFILE_UPDATED}' ORDER BY seq");
            world.raw().texts(&text).pop().unwrap()
        };
        let user: UserId = of_profile("user_id").parse().unwrap();
        let revision: i64 = of_profile("user_revision").parse().unwrap();
        let scope = ProfileScope { environment: Environment::Production, platforms: &[] };
        assert_eq!(of_profile("id"), EventId::of_profile(user, raised, revision, scope).to_string());
    }
}

/// Redelivers the latest state of a purchase to a destination, and returns the `webhook-id`.
async fn redelivered(world: &World, key: CollapseKey, to: domain::DestinationId) -> DeliveryId {
    let event: EventId = ids(world, "purchase.updated")
        .pop()
        .unwrap()
        .parse()
        .unwrap();
    let again = RedeliverySelector::Event(event).to(to);
    let requeued = world
        .store
        .resend(again, Page::default(), Run::Real)
        .await
        .unwrap()
        .requeued;
    assert_eq!(requeued.pending, 1);
    world.attempt(key, to, "again").await.delivery_id
}

story! { synced
    async fn a_redelivery_after_a_restore_has_an_id_of_its_own(world: World) {
        let (key, to) = (world.key("r1"), world.destination("hook").await.id);
        world.revise("r1", 1).await;
        let sent: Sent = world.attempt(key, to, "first").await;
        assert_eq!(sent.mode, Mode::Lane);
        world.finish(&sent, Verdict::Delivered).await;
        let (first, epoch) = (sent.event_id, world.store.raise_epoch().await.unwrap());
        // The first redelivery that the backup knows of; later ones may have been sent after it.
        let again = redelivered(&world, key, to).await;
        assert_eq!(again, DeliveryId::in_epoch(to, first, epoch, 1));
        assert_ne!(again, DeliveryId::of(to, first, 1));
    }
}

/// Records a purchase's open notifications in a separate task.
async fn recording(store: &Store, key: CollapseKey) -> tokio::task::JoinHandle<Recorded> {
    let record = record(key, &store.load(key, i64::MAX, 500).await.unwrap());
    let store = store.clone();
    tokio::spawn(async move { store.record(record).await.unwrap() })
}

story! { synced
    async fn two_processes_raise_the_epoch_once_after_a_failover(world: World) {
        if !world.is_postgres() {
            return;
        }
        let workers = [world.store.clone(), world.second_process().await];
        let keys = ["r1", "r2"].map(|receipt| world.key(receipt));
        for receipt in ["r1", "r2"] {
            world.notify(receipt, receipt, 1).await;
        }
        let mut raw = world.raw();
        raw.run(FAIL_OVER);
        // Both have read the other lineage before either can raise the epoch.
        raw.run("BEGIN; SELECT epoch FROM installation FOR UPDATE");
        let records = [recording(&workers[0], keys[0]).await, recording(&workers[1], keys[1]).await];
        wait::until(SOON, "two that wait for the installation", async || {
            match world.waiting_sessions() {
                2 => Ok(()),
                other => Err(other.to_string()),
            }
        })
        .await;
        raw.run("COMMIT");
        for record in records {
            assert!(matches!(record.await.unwrap(), Recorded::Done { revision: 1, .. }));
        }
        let epoch = world.store.epoch().await.unwrap();
        assert!(epoch > 1, "{epoch}");
        let mut expected = keys.map(|key| state_id(key, epoch, 1));
        let mut recorded = ids(&world, "purchase.updated");
        expected.sort();
        recorded.sort();
        assert_eq!(recorded, expected);
        assert_eq!(alarms(&world).await, [1], "raised once");
        let same = "SELECT COUNT(*) AS value FROM installation WHERE lineage = settle_lineage()";
        assert_eq!(raw.number(same), 1, "the new lineage is stored");
        world.revise("r1", 2).await;
        assert_eq!(world.store.epoch().await.unwrap(), epoch);
    }
}

story! { synced
    async fn a_process_that_starts_after_a_failover_raises_the_epoch(world: World) {
        if !world.is_postgres() {
            return;
        }
        assert_eq!(world.store.epoch().await.unwrap(), 1);
        world.raw().run(FAIL_OVER);
        let started = world.second_process().await;
        assert_eq!(alarms(&world).await, [1]);
        assert!(started.epoch().await.unwrap() > 1);
        world.second_process().await;
        assert_eq!(alarms(&world).await, [1]);
    }
}

story! { synced
    async fn a_server_that_hides_its_timeline_raises_nothing(world: World) {
        if !world.is_postgres() {
            return;
        }
        let mut raw = world.raw();
        let shown = raw.texts("SELECT settle_lineage() AS value").remove(0);
        let (system, timeline) = shown.split_once('/').unwrap();
        assert!(system.parse::<u64>().is_ok() && timeline.len() == 8, "{shown}");
        raw.run("CREATE OR REPLACE FUNCTION settle_lineage() RETURNS TEXT LANGUAGE sql AS 'SELECT NULL::TEXT'");
        raw.run(FAIL_OVER);
        let started = world.second_process().await;
        world.revise("r1", 1).await;
        assert_eq!((started.epoch().await.unwrap(), world.store.epoch().await.unwrap()), (1, 1));
        assert!(alarms(&world).await.is_empty());
        assert!(started.raise_epoch().await.unwrap() > 1, "an admin can");
    }
}
