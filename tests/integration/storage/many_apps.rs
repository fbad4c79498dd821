//! The sweep's number of statements does not grow with the number of apps and platforms, and none of these delays the
//! others' turn.

use super::operator_events::chooses;
use super::world::{BEGINNING, World, new_destination, story};
use domain::{CollapseKey, PlatformId, Timestamp};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use storage::{AlarmFilter, EventFilter, Page, Quota};

const MANY: usize = 10_000;
/// The quota of a worker that may query each store ten times per second.
const STEP: Quota = Quota {
    per_store: 8,
    unfollowed: 80,
    others: 50,
};

static NOW: AtomicI64 = AtomicI64::new(BEGINNING);

fn now() -> Timestamp {
    Timestamp::from_micros(NOW.load(Ordering::SeqCst))
}

/// The beginning of the ids of numbered rows.
const IDS: &str = "00000000-0000-4000-8000-1";

fn numbers(count: usize) -> String {
    format!(
        "WITH RECURSIVE numbers(i, id) AS (SELECT 1, '{IDS}' || (10000000000 + 1) UNION ALL
             SELECT i + 1, '{IDS}' || (10000000000 + i + 1) FROM numbers WHERE i < {count})"
    )
}

impl World {
    /// Inserts numbered platforms.
    pub fn seed_platforms(&self, count: usize) {
        self.raw().run(&format!(
            "INSERT INTO platforms (id, app_id, store, name, package_name, environment, window_ms, product_ref,
                 flush_on_revoke, unknown_receipts, device_events_per_day, device_bytes_per_day, new_devices_per_day,
                 new_users_per_day, ingress_hash, ingress_key, publishable_key, created_at)
             {} SELECT id, '{}', 'amazon', id, 'x', 'production', 1, 'parent', FALSE, 'park', 1, 1, 1, 1, id, id, id, 1
             FROM numbers",
            numbers(count),
            self.app.id
        ));
    }

    /// Inserts numbered purchases whose next check is due, the first for the longest time. `platform` is SQL that may
    /// use `id`.
    fn seed_checks(&self, count: usize, platform: &str, prefix: &str) {
        self.raw().run(&format!(
            "INSERT INTO purchases (collapse_key, platform_id, app_id, receipt_id, revision, digest, state, environment,
                 purchase, verify_attempts, settling, fingerprint, urgency, next_wake_at, created_at, updated_at)
             {} SELECT '{prefix}' || SUBSTR(id, 9), {platform}, '{}', '{prefix}' || i, 1, '', 'active', 'production', '{{}}', 0,
                 1, '', 'calendar', i, 1, 1 FROM numbers",
            numbers(count), self.app.id
        ));
    }

    /// Takes a step of the sweep whose signals are all accepted, and records its wakes.
    async fn wake_step(&self, quota: Quota) -> storage::Overdue {
        let found = self.store.overdue(quota).await.unwrap();
        self.store.note_waking(found.clone()).await.unwrap();
        self.store
            .note_woken(found.clone(), found.found.clone())
            .await
            .unwrap();
        found
    }
}

fn platform(number: usize) -> PlatformId {
    format!("{IDS}{:011}", 10_000_000_000 + number)
        .parse()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sweep_of_ten_thousand_platforms_takes_few_statements() {
    let (world, distance) = World::postgres_at_a_distance(now, &NOW, Duration::ZERO).await;
    world.seed_platforms(MANY);
    world.seed_checks(MANY, "id", "0000000a");
    // The deadline of a duty on each platform has just passed.
    world.raw().run(&format!(
        "INSERT INTO duties (id, kind, platform_id, collapse_key, created_at, answer_by)
         SELECT id, 'acknowledge', id, id, 1, (SELECT created_at FROM platforms WHERE id = '{}') FROM platforms",
        world.platform.id
    ));
    world.raw().run("ANALYZE");
    let mut lost = BTreeSet::new();
    for number in 0..5 {
        world
            .notify(&format!("m{number}"), &format!("lost{number}"), 1)
            .await;
        lost.insert(world.key(&format!("lost{number}")));
    }
    world.raw().run("UPDATE notifications SET due_at = due_at - 1200000000, accepted_at = accepted_at - 1200000000");
    let before = distance.trips();
    let found = world.wake_step(STEP).await;
    world.store.late_destinations().await.unwrap();
    world.store.streams_pending().await.unwrap();
    world.store.platforms_with_due_claims().await.unwrap();
    assert_eq!(world.store.close_missed_duties(100).await.unwrap(), 0);
    world.store.announce_alarms(100, None).await.unwrap();
    let trips = distance.trips() - before;
    assert!(trips < 100, "{trips} round trips");
    let unsettled = found
        .found
        .iter()
        .filter(|due| due.why == storage::DueReason::Unsettled)
        .map(|due| due.collapse_key);
    assert_eq!(unsettled.collect::<BTreeSet<_>>(), lost);
    assert!(found.more, "{}", found.found.len());
    let mut keys: BTreeSet<CollapseKey> = found.found.iter().map(|due| due.collapse_key).collect();
    for _ in 0..2 {
        keys.extend(
            world
                .wake_step(STEP)
                .await
                .found
                .iter()
                .map(|due| due.collapse_key),
        );
    }
    assert_eq!(
        keys.len(),
        MANY + lost.len(),
        "those that wait longest come first, and no platform is left out"
    );
}

story! {
    async fn a_platform_with_many_due_purchases_stops_no_other(world: World) {
        world.seed_platforms(50);
        world.seed_checks(3_000, &format!("'{}'", platform(1)), "0000000a");
        world.seed_checks(50, "id", "0000000b");
        let found = world.wake_step(Quota::of(1_000)).await;
        let others: Vec<CollapseKey> = (2..=50).map(|number| {
            format!("0000000b{}", &platform(number).to_string()[8..]).parse().unwrap()
        }).collect();
        let first: BTreeSet<CollapseKey> = found.found.iter().take(50).map(|due| due.collapse_key).collect();
        assert!(others.iter().all(|key| first.contains(key)), "one of each platform in turn");
        assert_eq!(found.found.len(), 100 + 49, "each platform has an equal part of what is read at once");
        assert!(found.more);
        world.raw().run(&format!("UPDATE platforms SET deleted_at = 1 WHERE id = '{}'", platform(1)));
        assert_eq!(world.wake_step(Quota::of(1_000)).await.found, [], "nothing of a deleted platform waits for its store");
    }
}

/// Returns the number of events about alarms of this type, and the number of apps that have one.
async fn announced(world: &World, event_type: &str) -> (usize, usize) {
    let filter = EventFilter {
        types: vec![event_type.to_owned()],
        ..EventFilter::default()
    };
    let (mut all, mut page) = (
        Vec::new(),
        Page {
            limit: 1_000,
            ..Page::default()
        },
    );
    loop {
        let found = world
            .store
            .events(filter.clone(), page.clone())
            .await
            .unwrap();
        all.extend(found.items);
        let Some(cursor) = found.next_cursor else {
            break;
        };
        page.cursor = Some(cursor);
    }
    let apps: BTreeSet<String> = all
        .iter()
        .map(|one| one.body["app_id"].to_string())
        .collect();
    (all.len(), apps.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alarm_that_no_app_chose_is_marked_at_once() {
    let (world, distance) = World::postgres_at_a_distance(now, &NOW, Duration::ZERO).await;
    world.raw().run(&format!(
        "INSERT INTO apps (id, name, created_at) {} SELECT id, id, 1 FROM numbers",
        numbers(MANY)
    ));
    for detail in ["one", "two", "three"] {
        world.store.alarm(None, "odd", detail).await.unwrap();
    }
    let before = distance.trips();
    assert_eq!(
        world.store.announce_alarms(100, None).await.unwrap(),
        [].into()
    );
    let trips = distance.trips() - before;
    assert!(trips < 20, "{trips} round trips");
    chooses(&world, "pager", &["alarm.*"]).await;
    assert_eq!(
        world.store.announce_alarms(100, None).await.unwrap(),
        [].into(),
        "they were announced to nobody"
    );
}

story! {
    async fn an_alarm_of_no_app_is_announced_to_some_apps_at_a_time(world: World) {
        for number in 0..120 {
            let app = world.store.new_app(&format!("app {number}")).await.unwrap();
            let mut new = new_destination(&app, &format!("pager {number}"));
            new.common.events = vec!["alarm.*".to_owned()];
            world.store.new_destination(new).await.unwrap();
        }
        world.store.alarm(None, "odd", "all is odd").await.unwrap();
        assert_eq!(world.store.announce_alarms(100, None).await.unwrap().len(), 120);
        assert_eq!(announced(&world, "alarm.opened").await, (120, 120));
        assert_eq!(world.store.announce_alarms(100, None).await.unwrap(), [].into());
        // As if a process had died after the first hundred apps, and the alarm had been reopened meanwhile.
        let open = AlarmFilter { open: Some(true), ..AlarmFilter::default() };
        let alarm = world.store.alarms_of(open, Page::default()).await.unwrap().items.remove(0);
        world.store.acknowledge_alarm(alarm.id, "seen", None).await.unwrap();
        let through = world.raw().texts(
            "SELECT id AS value FROM apps WHERE name LIKE 'app %' ORDER BY id LIMIT 1 OFFSET 99").remove(0);
        world.raw().run(&format!("UPDATE alarms SET announced_open = FALSE, announced_through = '{through}'"));
        world.store.alarm(None, "odd", "all is odd").await.unwrap();
        assert_eq!(world.store.announce_alarms(100, None).await.unwrap().len(), 20, "the rest hear that it was closed");
        assert_eq!(announced(&world, "alarm.closed").await, (20, 20));
        assert_eq!(world.store.announce_alarms(100, None).await.unwrap().len(), 120, "then all that it is open again");
        assert_eq!(announced(&world, "alarm.opened").await, (240, 120));
        assert_eq!(world.broken(1000).await, []);
    }
}
