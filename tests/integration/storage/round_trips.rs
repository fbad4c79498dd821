//! The number of round trips to PostgreSQL per purchase, counted by a proxy; and a check that no purpose of the writer
//! waits for another.

use super::sending::{Sent, finish, lease, must_send};
use super::world::{BEGINNING, Raw, World, happened, record, renewal};
use domain::{Timestamp, TransitionKind};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use storage::{
    Accepted, Error, LaneState, LeaseResult, PlatformChange, PlatformSettings, SERIES,
    SeriesFilter, Verdict,
};
use system_tests::world::SOON;

/// Number of purchases. Each of the writer's threads prepares its statements with the first ones.
const PURCHASES: i64 = 24;
/// Maximum number of round trips of each call, for a purchase by a new user with two events and two webhooks. `finish`
/// and `lease` are a lane's last finish and first lease, `both` are those in between. No caller waits for the last
/// round trip of a load.
const MOST: [(&str, u64); 6] = [
    ("accept", 3),
    ("load", 3),
    ("record", 7),
    ("lease", 3),
    ("finish", 3),
    ("both", 5),
];

static NOW: AtomicI64 = AtomicI64::new(BEGINNING);

fn now() -> Timestamp {
    Timestamp::from_micros(NOW.load(Ordering::SeqCst))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_takes_few_round_trips_to_postgres() {
    let (world, distance) = World::postgres_at_a_distance(now, &NOW, Duration::ZERO).await;
    let hooks = [
        world.destination("one").await.id,
        world.destination("two").await.id,
    ];
    let mut least: BTreeMap<&str, u64> = BTreeMap::new();
    let mut count = |name: &'static str, before: u64| {
        let trips = distance.trips() - before;
        least
            .entry(name)
            .and_modify(|least| *least = trips.min(*least))
            .or_insert(trips);
    };
    for number in 1..=PURCHASES {
        let receipt = format!("receipt-{number}");
        let key = world.key(&receipt);
        let before = distance.trips();
        world
            .notify(&format!("message-{number}"), &receipt, number * 1000)
            .await;
        count("accept", before);
        let before = distance.trips();
        let loaded = world.load(key).await;
        count("load", before);
        let before = distance.trips();
        world
            .done(happened(record(key, &loaded), &[TransitionKind::Renewed]))
            .await;
        count("record", before);
        for to in hooks {
            let token = |turn: i64| format!("{number}-{to}-{turn}");
            let before = distance.trips();
            let mut sent = must_send(&world.store, lease(key, to, &token(0))).await;
            count("lease", before);
            let before = distance.trips();
            let next = lease(key, to, &token(1));
            let (_, leased) = world
                .store
                .finish_and_lease(finish(&sent, Verdict::Delivered), next)
                .await
                .unwrap();
            count("both", before);
            let Some(LeaseResult::Send(batch)) = leased else {
                panic!("{leased:?}")
            };
            sent = Sent {
                batch,
                token: token(1),
                ..sent
            };
            let before = distance.trips();
            let done = world
                .store
                .finish(finish(&sent, Verdict::Delivered))
                .await
                .unwrap();
            count("finish", before);
            assert!(matches!(done.lane, LaneState::Closed { .. }), "{done:?}");
        }
    }
    eprintln!("round trips: {least:?}");
    let last = format!("receipt-{PURCHASES}");
    world
        .notify("one more", &last, (PURCHASES + 1) * 1000)
        .await;
    distance.allow_each(Some(2));
    let loaded = tokio::time::timeout(SOON, world.load(world.key(&last))).await;
    distance.allow_each(None);
    assert!(
        loaded.is_ok(),
        "a load waits for the end of its transaction"
    );
    for (name, most) in MOST {
        assert!(
            least[name] <= most,
            "{name} takes {} round trips: {least:?}",
            least[name]
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_overview_costs_the_same_with_any_number_of_destinations() {
    let overview = async |world: &World| {
        let ids = world
            .store
            .overview(None)
            .await
            .unwrap()
            .destinations
            .iter()
            .map(|one| one.destination.id)
            .collect();
        let zero = Timestamp::from_micros(0);
        let series = SERIES.to_vec();
        let filter = SeriesFilter {
            series,
            app: None,
            destinations: ids,
            from: zero,
            until: zero,
        };
        world.store.minutes(filter).await.unwrap();
    };
    costs_the_same_with_any_number_of_destinations(overview).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_figures_cost_the_same_with_any_number_of_destinations() {
    costs_the_same_with_any_number_of_destinations(async |world: &World| {
        world.store.figures().await.unwrap();
    })
    .await;
}

async fn costs_the_same_with_any_number_of_destinations(read: impl AsyncFn(&World)) {
    let (world, distance) = World::postgres_at_a_distance(now, &NOW, Duration::ZERO).await;
    let mut trips = Vec::new();
    for name in ["a", "b", "c", "d", "e"] {
        world.destination(name).await;
        let mut least = u64::MAX;
        // A connection's first call prepares the statements.
        for _ in 0..PURCHASES {
            let before = distance.trips();
            read(&world).await;
            least = least.min(distance.trips() - before);
        }
        trips.push(least);
    }
    assert!(trips.iter().all(|count| *count == trips[0]), "{trips:?}");
}

/// Repeats `write` while it waits too long for a lock, and returns its other result.
async fn tried_again<T, F: Future<Output = Result<T, Error>>>(
    write: impl Fn() -> F,
) -> Result<T, Error> {
    loop {
        match write().await {
            Err(Error::Unavailable(_) | Error::Raced(_)) => {}
            result => return result,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_admin_call_and_no_record_stands_before_accept() {
    let world = World::postgres(now, &NOW).await;
    world.notify("first", "receipt", 1000).await;
    let key = world.key("receipt");
    let settling = record(key, &world.load(key).await);
    let Raw::Postgres(mut held) = world.raw() else {
        panic!("a session with PostgreSQL")
    };
    diesel::connection::SimpleConnection::batch_execute(
        &mut *held,
        "BEGIN; SELECT 1 FROM platforms FOR NO KEY UPDATE",
    )
    .unwrap();
    let (store, id) = (world.store.clone(), world.platform.id);
    // On a busy machine, one may have waited too long for its lock before the other waits; it is retried.
    let admin = tokio::spawn(tried_again(move || {
        let store = store.clone();
        let rename = |settings: &mut PlatformSettings| settings.name = "renamed".to_owned();
        async move {
            store
                .update_platform(id, PlatformChange::default(), rename)
                .await
        }
    }));
    let store = world.store.clone();
    let recorded = tokio::spawn(tried_again(move || {
        let (store, settling) = (store.clone(), settling.clone());
        async move { store.record(settling).await }
    }));
    world.wait_for_locks(2).await;
    let accepted = world
        .store
        .accept(vec![renewal(world.platform.id, "second", "receipt", 2000)])
        .await
        .unwrap();
    assert!(
        matches!(accepted[..], [Accepted::New { .. }]),
        "{accepted:?}"
    );
    world.store.ping().await.unwrap();
    assert!(
        !admin.is_finished() && !recorded.is_finished(),
        "both still wait"
    );
    drop(held);
    admin.await.unwrap().unwrap();
    recorded.await.unwrap().unwrap();
}
