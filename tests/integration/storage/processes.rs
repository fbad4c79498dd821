//! Heartbeats of processes: the first platform of a store waits until every live process knows the store.

use super::world::{Raw, World, new_platform, story};
use storage::{Error, NewPlatform, Platform, Process, Store};
use uuid::Uuid;

/// A store that only these tests know.
const PROOF: &str = "proof";
/// The number of the heartbeats' advisory lock on PostgreSQL.
const LOCK: u64 = 0x7b0c_5f0e_93d1_4a52 ^ 0x8c36_e1d4_0f2a_9b67;

fn process(number: u128, stores: &[&str]) -> Process {
    Process {
        id: Uuid::from_u128(number),
        role: "worker".to_owned(),
        version: "0.1.1".to_owned(),
        host: format!("{number}@host"),
        stores: stores.iter().map(|store| (*store).to_owned()).collect(),
    }
}

fn of_proof(world: &World, name: &str) -> NewPlatform {
    NewPlatform {
        store: PROOF.to_owned(),
        ..new_platform(&world.app, name)
    }
}

async fn connect(world: &World, name: &str) -> Result<Platform, Error> {
    world.store.new_platform(of_proof(world, name)).await
}

/// Returns the detail of a refusal.
fn refused(result: Result<Platform, Error>) -> String {
    match result {
        Err(Error::Conflict { detail, .. }) => detail,
        other => panic!("not refused: {other:?}"),
    }
}

fn number_of_signs(world: &World) -> i64 {
    world
        .raw()
        .number("SELECT COUNT(*) AS value FROM processes")
}

story! {
    async fn the_first_platform_waits_for_processes_unaware_of_its_store(world: World) {
        let (old, new) = (process(1, &["amazon"]), process(2, &["amazon", PROOF]));
        world.store.sign_of_life(new).await.unwrap();
        world.second_process().await.sign_of_life(old.clone()).await.unwrap();
        let detail = refused(connect(&world, "one").await);
        assert!(detail.contains("do not know: worker 0.1.1 at 1@host. Upgrade or stop them"), "{detail}");
        let known = new_platform(&world.app, "known");
        world.store.new_platform(known).await.expect("every process knows this store");
        assert!(!world.store.has_platform_of(PROOF).await.unwrap());
        world.store.remove_process(old.id).await.unwrap();
        let first = connect(&world, "one").await.expect("every live process knows it");
        world.store.sign_of_life(old).await.unwrap();
        connect(&world, "two").await.expect("it is not the first one");
        world.store.delete_platform(first.id).await.unwrap();
        world.raw().run("DELETE FROM platforms WHERE store = 'proof' AND deleted_at IS NULL");
        connect(&world, "three").await.expect("a deleted one was the first");
    }
}

story! {
    async fn a_process_that_crashed_is_forgotten_after_a_minute(world: World) {
        let (crashed, live) = (process(1, &["amazon"]), process(2, &["amazon", PROOF]));
        for one in [&crashed, &live] {
            world.store.sign_of_life(one.clone()).await.unwrap();
        }
        world.pass(30_000);
        assert_eq!(world.store.forget_processes().await.unwrap(), 0);
        refused(connect(&world, "one").await);
        world.store.sign_of_life(crashed).await.unwrap();
        assert_eq!(number_of_signs(&world), 2, "a renewed sign stays one");
        world.pass(30_000);
        refused(connect(&world, "one").await);
        world.pass(31_000);
        connect(&world, "one").await.expect("neither lives");
        assert_eq!(world.store.forget_processes().await.unwrap(), 2);
        assert_eq!(number_of_signs(&world), 0);
    }
}

story! {
    async fn of_two_first_platforms_at_once_neither_passes_the_check(world: World) {
        let second: Store = world.second_process().await;
        world.store.sign_of_life(process(1, &["amazon"])).await.unwrap();
        let both = || async {
            tokio::join!(connect(&world, "one"), second.new_platform(of_proof(&world, "two")))
        };
        let (one, other) = both().await;
        refused(one);
        refused(other);
        world.store.remove_process(Uuid::from_u128(1)).await.unwrap();
        let (one, other) = both().await;
        assert!(one.is_ok() && other.is_ok(), "{one:?} {other:?}");
    }
}

story! {
    async fn a_process_that_starts_meanwhile_is_seen(world: World) {
        let Raw::Postgres(_) = world.raw() else {
            // On SQLite, only one transaction writes at a time.
            return;
        };
        let mut starting = world.raw();
        starting.run(&format!("
            BEGIN;
            SELECT pg_advisory_xact_lock_shared({});
            INSERT INTO processes (id, role, version, host, stores, seen_at)
            SELECT 'starting', 'serve', '0.1.1', '7@host', '[]', CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT);
        ", LOCK.cast_signed()));
        let store = world.store.clone();
        let new = of_proof(&world, "one");
        let created = tokio::spawn(async move { store.new_platform(new).await });
        world.wait_for_locks(1).await;
        starting.run("COMMIT");
        let detail = refused(created.await.unwrap());
        assert!(detail.contains("serve 0.1.1 at 7@host"), "{detail}");
    }
}
