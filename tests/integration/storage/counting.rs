//! Counters for charts, and counts of the answers to stores: summed over processes, bounded, and never blocking.

use super::world::{World, story};
use domain::{DestinationId, Timestamp};
use std::sync::atomic::Ordering;
use std::time::Duration;
use storage::{Counted, Page, Series, SeriesFilter, Store, Sum};
use uuid::Uuid;

const MINUTE: i64 = 60_000_000;

fn now(world: &World) -> Timestamp {
    Timestamp::from_micros(world.now.load(Ordering::SeqCst))
}

/// Returns the sums of a series up to now, with their minutes counted from the first.
async fn sums(world: &World, store: &Store, filter: SeriesFilter) -> Vec<(i64, Sum)> {
    let found = store
        .minutes(SeriesFilter {
            until: now(world),
            ..filter
        })
        .await
        .unwrap();
    assert!(
        found.len() <= 1,
        "one series of one destination or of all: {found:?}"
    );
    let first = super::world::BEGINNING / MINUTE;
    found
        .into_values()
        .flatten()
        .map(|(at, sum)| (at.micros() / MINUTE - first, sum))
        .collect()
}

fn all(series: Series) -> SeriesFilter {
    let zero = Timestamp::from_micros(0);
    SeriesFilter {
        series: vec![series],
        app: None,
        destinations: Vec::new(),
        from: zero,
        until: zero,
    }
}

fn times(sums: &[(i64, Sum)]) -> Vec<(i64, i64)> {
    sums.iter()
        .map(|(minute, sum)| (*minute, sum.times))
        .collect()
}

story! {
    async fn processes_add_up_the_same_minutes(world: World) {
        let other = world.second_process().await;
        let (app, destination) = (world.app.id, DestinationId::new(Uuid::from_u128(7)));
        let of = Counted { app: Some(app), destination: Some(destination) };
        for (store, took) in [(&world.store, 5), (&other, 30), (&world.store, 10)] {
            store.count(Series::Accepted, app);
            store.count(Series::Delivered, of);
            store.count_timed(Series::Latency, of, Duration::from_millis(took));
        }
        world.store.count(Series::Refused, Counted::default());
        world.now.fetch_add(MINUTE, Ordering::SeqCst);
        world.store.count(Series::Accepted, app);
        other.write_minutes().await.unwrap();
        world.store.write_minutes().await.unwrap();
        world.store.write_minutes().await.unwrap();
        for store in [&world.store, &other] {
            assert_eq!(times(&sums(&world, store, all(Series::Accepted)).await), [(0, 3), (1, 1)]);
            let latency = sums(&world, store, SeriesFilter { destinations: vec![destination], ..all(Series::Latency) }).await;
            assert_eq!(latency, [(0, Sum { times: 3, total_ms: 45, longest_ms: 30 })]);
            let of_app = SeriesFilter { app: Some(app), ..all(Series::Refused) };
            assert_eq!(sums(&world, store, of_app).await, [], "what has no app is no app's");
            assert_eq!(times(&sums(&world, store, all(Series::Refused)).await), [(0, 1)]);
        }
        world.store.count(Series::Accepted, app);
        assert_eq!(times(&sums(&world, &world.store, all(Series::Accepted)).await), [(0, 3), (1, 2)], "not written yet");
        let totals = world.store.totals(&[Series::Accepted, Series::Refused], now(&world).plus_millis(-60_000)).await.unwrap();
        assert_eq!(totals, [(Series::Accepted, 5), (Series::Refused, 1)].into());
        let totals = world.store.totals(&[Series::Accepted, Series::Refused], now(&world)).await.unwrap();
        assert_eq!(totals, [(Series::Accepted, 2)].into(), "of the last minute, not written yet in part");
        let late = SeriesFilter { from: now(&world), ..all(Series::Accepted) };
        assert_eq!(times(&sums(&world, &world.store, late).await), [(1, 2)]);
    }
}

story! {
    async fn what_could_not_be_written_waits_for_the_next_time(world: World) {
        world.store.count(Series::Accepted, world.app.id);
        world.store.count_arrival(world.platform.id, "");
        world.raw().run("ALTER TABLE minutes RENAME TO away; ALTER TABLE arrivals RENAME TO gone");
        assert!(world.store.write_minutes().await.is_err());
        assert!(world.store.write_arrivals().await.is_err());
        world.raw().run("ALTER TABLE away RENAME TO minutes; ALTER TABLE gone RENAME TO arrivals");
        world.store.count(Series::Accepted, world.app.id);
        world.store.write_minutes().await.unwrap();
        world.store.write_arrivals().await.unwrap();
        assert_eq!(times(&sums(&world, &world.store, all(Series::Accepted)).await), [(0, 2)]);
        assert_eq!(world.store.arrivals(world.platform.id).await.unwrap()[0].times, 1);
        assert_eq!(world.count("minutes"), 1);
    }
}

story! {
    async fn minutes_older_than_the_limit_are_removed(world: World) {
        let begin = now(&world);
        for _ in 0..150 {
            world.store.count(Series::Accepted, world.app.id);
            world.now.fetch_add(MINUTE, Ordering::SeqCst);
        }
        world.store.write_minutes().await.unwrap();
        let before = Timestamp::from_micros(begin.micros() + 100 * MINUTE);
        assert_eq!(world.store.forget_minutes(before).await.unwrap(), 100);
        assert_eq!(world.store.forget_minutes(before).await.unwrap(), 0);
        assert_eq!(sums(&world, &world.store, all(Series::Accepted)).await[0].0, 100);
    }
}

story! {
    async fn a_platform_has_one_row_for_each_answer(world: World) {
        let (store, platform) = (&world.store, world.platform.id);
        let first = now(&world);
        for _ in 0..3 {
            store.count_arrival(platform, "");
            store.count_arrival(platform, "topic was rejected");
            store.write_arrivals().await.unwrap();
            world.now.fetch_add(MINUTE, Ordering::SeqCst);
        }
        let other = world.second_process().await;
        other.count_arrival(platform, "topic was rejected");
        other.write_arrivals().await.unwrap();
        let found = store.arrivals(platform).await.unwrap();
        let shown: Vec<_> = found.iter().map(|one| (one.reason.as_str(), one.times)).collect();
        assert_eq!(shown, [("", 3), ("topic was rejected", 4)]);
        assert!(found.iter().all(|one| one.first_at == first), "{found:?}");
        assert_eq!(found[1].last_at, now(&world));
        assert_eq!(world.count("arrivals"), 2);
    }
}

story! {
    async fn an_acknowledged_alarm_is_open_again_when_it_is_raised_again(world: World) {
        let store = &world.store;
        for (platform, detail) in [(Some(world.platform.id), "one"), (None, "two")] {
            store.alarm(platform, "odd", detail).await.unwrap();
        }
        let open = async || {
            let filter = storage::AlarmFilter { open: Some(true), ..Default::default() };
            let found = store.alarms_of(filter, Page::default()).await.unwrap().items;
            found.into_iter().map(|alarm| alarm.detail).collect::<Vec<_>>()
        };
        assert_eq!(open().await.len(), 2);
        let all = store.alarms(Page::default()).await.unwrap().items;
        let one = all.iter().find(|alarm| alarm.detail == "one").unwrap();
        let seen = store.acknowledge_alarm(one.id, "known", None).await.unwrap();
        assert_eq!((seen.note.as_deref(), seen.count), (Some("known"), 1));
        assert_eq!(store.one_alarm(one.id).await.unwrap(), seen);
        assert_eq!(open().await, ["two"]);
        let of_app = storage::AlarmFilter { app_id: Some(world.app.id), ..Default::default() };
        assert_eq!(store.alarms_of(of_app, Page::default()).await.unwrap().items, [seen]);
        store.alarm(Some(world.platform.id), "odd", "one").await.unwrap();
        let again = store.one_alarm(one.id).await.unwrap();
        assert_eq!((again.count, again.acknowledged_at, again.note), (2, None, None));
        assert_eq!(open().await.len(), 2);
        let before = domain::Timestamp::from_micros(1);
        for (seen, is_refused) in [(before, true), (again.last_at, false), (again.last_at, true)] {
            let result = store.acknowledge_alarm(one.id, "of what I saw", Some(seen)).await;
            assert_eq!(matches!(&result, Err(storage::Error::Conflict { .. })), is_refused, "{seen}: {result:?}");
        }
        let nobody = domain::AlarmId::of(None, "odd", "nothing");
        assert!(matches!(store.acknowledge_alarm(nobody, "x", None).await, Err(storage::Error::Missing { .. })));
    }
}
