//! During a transaction with an old snapshot, such as a dump, PostgreSQL removes no dead row versions. Reads of a queue
//! from its low mark pass over few of them.

use super::statements::{Line, numbered, unlisted};
use super::world::{BEGINNING, Raw, World};
use diesel::RunQueryDsl;
use diesel::connection::SimpleConnection;
use domain::{DestinationId, Timestamp};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use storage::{DestinationNeed, statements};
use system_tests::postgres::PgConnection;
use system_tests::wait;
use system_tests::world::SOON;

/// Maximum number of pages that a read from a low mark may touch: some tenths of a millisecond.
const PAGES: i64 = 250;
/// Number of rows that leave each queue during the snapshot.
const LEFT: i64 = 200_000;

static NOW: AtomicI64 = AtomicI64::new(BEGINNING);

fn clock() -> Timestamp {
    Timestamp::from_micros(NOW.load(Ordering::SeqCst))
}

/// Returns a session that continues to see the current state of the database.
fn snapshot(world: &World) -> Raw {
    let mut raw = world.raw();
    raw.run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT COUNT(*) FROM apps");
    raw
}

/// Adds rows to the queues that became due in the last two minutes, and makes them leave the queues.
fn leave_queues(raw: &mut Raw, world: &World, destination: DestinationId, now: i64) {
    let (platform, app) = (world.platform.id, world.app.id);
    raw.run("SET session_replication_role = replica");
    raw.run(&format!(
        "INSERT INTO deliveries (id, destination_id, event_id, n, event_type, collapse_key, revision, status, attempts,
            next_due_at, created_at)
        SELECT 'd' || i, '{destination}', 'e' || i, 0, 'purchase.updated', 'k' || i, 1, 'pending', 0,
            {now} - 120000000 + i, i FROM generate_series(1, {LEFT}) i;
        UPDATE deliveries SET status = 'delivered', finished_at = 1 WHERE id LIKE 'd%' AND event_id LIKE 'e%';
        INSERT INTO notifications (platform_id, message_id, receipt_id, collapse_key, store_type, body, accepted_at, due_at,
            duplicate_key)
        SELECT '{platform}', 'm' || i, 'r' || i, 'k' || i, 'T', '{{}}', i, {now} - 120000000 + i, i
        FROM generate_series(1, {LEFT}) i;
        UPDATE notifications SET outcome = 'settled', finished_at = 1 WHERE outcome IS NULL;
        INSERT INTO purchases (collapse_key, platform_id, app_id, receipt_id, revision, digest, state, environment, purchase,
            verify_attempts, settling, fingerprint, next_wake_at, created_at, updated_at)
        SELECT 'k' || i, '{platform}', '{app}', 'r' || i, 1, '', 'active', 'production', '{{}}', 0, 1, '',
            {now} - 120000000 + i, 1, 1 FROM generate_series(1, {LEFT}) i;
        UPDATE purchases SET next_wake_at = NULL;
        ANALYZE"
    ));
}

/// Returns the statement at this place that contains `part`, with these values.
fn statement(place: &str, part: &str, values: &[&str]) -> String {
    let found = statements()
        .into_iter()
        .find(|one| one.place.contains(place) && one.text.contains(part));
    let text = unlisted(
        &found
            .unwrap_or_else(|| panic!("no statement of {place} has `{part}`"))
            .text,
    );
    let parts: Vec<&str> = text.split('?').collect();
    assert_eq!(parts.len(), values.len() + 1, "{text}");
    let values = values.iter().copied().chain([""]);
    parts
        .into_iter()
        .zip(values)
        .map(|(part, value)| format!("{part}{value}"))
        .collect()
}

/// Executes a statement in a session configured like the readers'; returns the number of touched pages, and the plan.
fn touched(connection: &mut PgConnection, text: &str) -> (i64, String) {
    connection
        .batch_execute("BEGIN; SET LOCAL plan_cache_mode = force_generic_plan")
        .unwrap();
    connection
        .batch_execute(&format!("PREPARE a_statement AS {}", numbered(text)))
        .expect(text);
    let explain = "EXPLAIN (ANALYZE, BUFFERS) EXECUTE a_statement";
    let lines: Vec<Line> = diesel::sql_query(explain).load(connection).expect(text);
    connection
        .batch_execute("ROLLBACK; DEALLOCATE a_statement")
        .unwrap();
    let lines: Vec<String> = lines.into_iter().map(|line| line.text).collect();
    let buffers = lines
        .iter()
        .find_map(|line| line.trim().strip_prefix("Buffers: shared "))
        .unwrap_or_default();
    let pages = |kind: &str| {
        buffers
            .split(' ')
            .find_map(|part| part.strip_prefix(kind)?.parse::<i64>().ok())
    };
    let time = lines
        .iter()
        .find_map(|line| line.strip_prefix("Execution Time: "))
        .unwrap_or_default();
    (
        pages("hit=").unwrap_or(0) + pages("read=").unwrap_or(0),
        time.to_owned(),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_is_read_from_its_low_mark() {
    let mut world = World::postgres(clock, &NOW).await;
    // Every read from the beginning counts as slow, so that a low mark is set.
    world.store = world.store.clone().with_low_marks(Duration::ZERO);
    let hook = world.destination("hook").await.id;
    let (old, now) = (snapshot(&world), world.store.now().await.unwrap().micros());
    let mut raw = world.raw();
    leave_queues(&mut raw, &world, hook, now);
    let Raw::Postgres(connection) = &mut raw else {
        unreachable!("it is PostgreSQL")
    };
    let (id, at, earliest) = (
        format!("'{hook}'"),
        now.to_string(),
        Timestamp::EARLIEST.micros().to_string(),
    );
    let (id, at, mark) = (id.as_str(), at.as_str(), (now - 5_000_000).to_string());
    let queues = |from| {
        let planned = [at, "''", from, at, "''", from, at, "''", from];
        [
            (
                "due",
                statement(
                    "/free_lanes.rs",
                    "AND d.next_due_at >= ?",
                    &[id, at, at, from, at, at, "10"],
                ),
            ),
            (
                "late",
                statement(
                    "/late.rs",
                    "AS from_at",
                    &["''", from, at, at, at, at, at, at, at, at],
                ),
            ),
            (
                "fresh",
                statement("/unsettled.rs", "AND wakes IS NULL", &[at, from, "10"]),
            ),
            (
                "planned",
                statement(
                    "/wakes.rs",
                    "string_agg(id || ' ' || CASE WHEN deleted_at IS NULL",
                    &planned,
                ),
            ),
        ]
    };
    let mut broken = Vec::new();
    for ((name, whole), (_, marked)) in queues(&earliest).into_iter().zip(queues(&mark)) {
        let ((before, slow), (pages, quick)) =
            (touched(connection, &whole), touched(connection, &marked));
        println!(
            "{name}: {before} pages in {slow} from the beginning, {pages} in {quick} from the mark"
        );
        if pages > PAGES {
            broken.push(format!("{name} touches {pages} pages\n{marked}"));
        }
    }
    super::statements::report(broken);
    // A few reads start from the beginning; later ones start from the mark.
    for _ in 0..6 {
        assert_eq!(
            world.store.destination_need(hook, 10).await.unwrap(),
            DestinationNeed::Rest
        );
        assert_eq!(
            world.store.late_destinations().await.unwrap().destinations,
            []
        );
        assert_eq!(world.store.due(10).await.unwrap(), []);
    }
    // A row inserted below the mark is found by the next read from the beginning.
    world.revise("r1", 1).await;
    let key = world.key("r1");
    world.raw().run(&format!(
        "UPDATE deliveries SET next_due_at = {now} - 110000000 WHERE collapse_key = '{key}'"
    ));
    wait::until(SOON, "what is below the mark", async || {
        let late = world.store.late_destinations().await.unwrap().destinations;
        let need = world.store.destination_need(hook, 10).await.unwrap();
        if late == [hook] && matches!(&need, DestinationNeed::Drain { keys, .. } if *keys == [key])
        {
            return Ok(());
        }
        Err(format!("{late:?} {need:?}"))
    })
    .await;
    drop(old);
}
