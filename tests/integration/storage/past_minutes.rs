//! Old counts are rolled up to hours and removed, a bounded number at a time.

use super::world::{BEGINNING, World, story};
use domain::{AppId, DestinationId, Timestamp};
use std::collections::BTreeMap;
use storage::{Counting, SERIES, Series, SeriesFilter, Store, Sum};
use uuid::Uuid;

const MINUTE: i64 = 60_000_000;
const HOUR: i64 = 60 * MINUTE;
/// The beginning of an hour, in microseconds since 1970.
const FIRST: i64 = BEGINNING / HOUR * HOUR;
/// Maximum number of rows of a series in one transaction.
const MOST: usize = 5_000;

fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros)
}

/// Fills `hours` with a row for each minute, app and destination.
fn fill(world: &World, series: Series, hours: i64, apps: u128) {
    let mut raw = world.raw();
    let series = series.as_str();
    for app in 0..apps {
        let (app, destination) = (
            AppId::new(Uuid::from_u128(app)),
            DestinationId::new(Uuid::from_u128(app)),
        );
        raw.run(&format!(
            "WITH RECURSIVE n (number) AS (SELECT 0 UNION ALL SELECT number + 1 FROM n WHERE number < {})
             INSERT INTO minutes (series, at, app_id, destination_id, times, total_ms, longest_ms)
             SELECT '{series}', {FIRST} + number * CAST({MINUTE} AS BIGINT), '{app}', d.id, number % 7 + 1, number, number % 59
             FROM n CROSS JOIN (SELECT '' AS id UNION ALL SELECT '{destination}' AS id) d",
            hours * 60 - 1
        ));
    }
}

/// Returns the sums of each hour, for all destinations together and for one.
async fn by_hour(store: &Store, until: i64) -> BTreeMap<(Counting, i64), Sum> {
    let mut sums: BTreeMap<(Counting, i64), Sum> = BTreeMap::new();
    for destinations in [Vec::new(), vec![DestinationId::new(Uuid::from_u128(1))]] {
        let filter = SeriesFilter {
            series: SERIES.to_vec(),
            app: None,
            destinations,
            from: at(0),
            until: at(until),
        };
        for (counting, minutes) in store.minutes(filter).await.unwrap() {
            for (at, sum) in minutes {
                sums.entry((counting, at.micros() / HOUR))
                    .or_default()
                    .add(sum);
            }
        }
    }
    sums
}

async fn roll_up_all(store: &Store, before: i64) -> Vec<usize> {
    let mut rolled = Vec::new();
    loop {
        match store.roll_up_minutes(at(before)).await.unwrap() {
            0 => return rolled,
            rows => rolled.push(rows),
        }
    }
}

story! {
    async fn minutes_are_rolled_up_to_hours_with_the_same_sums(world: World) {
        for series in [Series::Latency, Series::Accepted] {
            fill(&world, series, 4, 40);
        }
        let (end, before) = (FIRST + 5 * HOUR, FIRST + 3 * HOUR + 30 * MINUTE);
        let sums = by_hour(&world.store, end).await;
        let totals = world.store.totals(&SERIES, at(0)).await.unwrap();
        let rolled = roll_up_all(&world.store, before).await;
        assert_eq!(rolled.iter().sum::<usize>(), 2 * 3 * 59 * 80, "the first minute of an hour has its sum");
        assert!(rolled.iter().all(|rows| *rows <= 2 * MOST) && rolled.len() > 2, "{rolled:?}");
        assert_eq!(by_hour(&world.store, end).await, sums);
        assert_eq!(world.store.totals(&SERIES, at(0)).await.unwrap(), totals);
        assert_eq!(world.count("minutes"), 2 * (3 + 60) * 80, "the hour that has not ended is as it was");
        // Counts that are added late to a rolled-up hour are rolled up with the next hour.
        world.raw().run(&format!(
            "INSERT INTO minutes VALUES ('latency', {FIRST} + 7 * CAST({MINUTE} AS BIGINT), '', '', 1, 100, 100)"
        ));
        let sums = by_hour(&world.store, end).await;
        assert_eq!(roll_up_all(&world.store, before).await, [0_usize; 0], "once an hour it looks from the beginning");
        let rolled = roll_up_all(&world.store, before + HOUR).await;
        assert_eq!(rolled.iter().sum::<usize>(), 2 * 59 * 80 + 1);
        assert_eq!(by_hour(&world.store, end).await, sums);
    }
}

story! {
    async fn processes_that_roll_up_at_once_or_stop_lose_nothing(world: World) {
        fill(&world, Series::Delivered, 2, 60);
        let (end, other) = (FIRST + 2 * HOUR, world.second_process().await);
        let sums = by_hour(&world.store, end).await;
        // No state is carried from one transaction to the next: a process that stops after one leaves exactly this
        // situation.
        world.store.roll_up_minutes(at(end)).await.unwrap();
        assert_eq!(by_hour(&world.store, end).await, sums);
        let both = futures::future::join(roll_up_all(&world.store, end), roll_up_all(&other, end));
        both.await;
        assert_eq!(by_hour(&world.store, end).await, sums);
        assert_eq!(world.count("minutes"), 2 * 120);
    }
}

story! {
    async fn old_counts_are_removed_in_bounded_pieces(world: World) {
        fill(&world, Series::Failed, 2, 60);
        fill(&world, Series::Refused, 1, 1);
        let before = at(FIRST + 2 * HOUR);
        let mut removed = Vec::new();
        while removed.last() != Some(&0) {
            removed.push(world.store.forget_minutes(before).await.unwrap());
        }
        assert_eq!(removed, [MOST + 120, MOST, 2 * 7_200 - 2 * MOST, 0]);
        assert_eq!(world.count("minutes"), 0);
    }
}
