//! What a purchase costs in bytes, by table and index, filled through the functions of the store. The bounds are those
//! of `activities/storage/README.md`; `SETTLE_PURCHASES` sets the number of purchases of the first story, whose tables
//! `--nocapture` prints.

use super::aging::DAY_MS;
use super::sending::{lease, must_send};
use super::world::{Report, World, happened, record, reported, story};
use domain::{DestinationId, NotificationKind, TransitionKind};
use futures::{StreamExt, stream};
use std::collections::BTreeMap;
use storage::Verdict;
use system_tests::wait;
use system_tests::world::SOON;
use tokio::time::Instant;

/// Number of purchases whose life goes on at the same time.
const AT_ONCE: usize = 8;

/// The purchases to fill in: each has this number of settlings of this number of notifications, and one transition in
/// each settling.
#[derive(Clone, Copy)]
struct Life {
    purchases: usize,
    settlings: usize,
    notifications: usize,
}

/// The bytes of each table and index, by the name of the table and its own.
type Sizes = BTreeMap<(String, String), i64>;

const OF_SQLITE: &str = "SELECT COALESCE(m.tbl_name, s.name) || ' ' || s.name || ' ' || SUM(s.pgsize) AS value
    FROM dbstat s LEFT JOIN sqlite_schema m ON m.name = s.name GROUP BY s.name, m.tbl_name";

const OF_POSTGRES: &str = "SELECT COALESCE(t.relname, c.relname) || ' ' || c.relname || ' '
        || CASE WHEN c.relkind = 'i' THEN pg_relation_size(c.oid) ELSE pg_table_size(c.oid) END AS value
    FROM pg_class c
    LEFT JOIN pg_index i ON i.indexrelid = c.oid
    LEFT JOIN pg_class t ON t.oid = i.indrelid
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'i')";

const TABLES: &str = "SELECT relname AS value FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'";

/// A transaction id after everything that was deleted until now.
const DELETED_BEFORE: &str = "SELECT pg_current_xact_id()::text AS value";

/// Whether no transaction of the server is older: a vacuum keeps what the oldest of any database may see, since its own
/// snapshot begins there.
fn is_removable(before: &str) -> String {
    format!(
        "SELECT COUNT(*) AS value FROM pg_snapshot_xmin(pg_current_snapshot()) oldest
            WHERE oldest > '{before}'::xid8 AND NOT EXISTS (SELECT 1 FROM pg_stat_activity
                WHERE datname = current_database() AND pid <> pg_backend_pid()
                AND age(backend_xmin) >= age('{before}'::xid8::xid))"
    )
}

/// Lets the server analyze nothing by itself, which could keep deleted rows alive.
fn end_autovacuum(world: &World) {
    let mut raw = world.raw();
    for table in raw.texts(TABLES) {
        raw.run(&format!("ALTER TABLE {table} SET (autovacuum_enabled = FALSE)"));
    }
}

/// Everything that is stored, without gaps.
async fn sizes(world: &World) -> Sizes {
    if world.is_postgres() {
        let before = world.raw().texts(DELETED_BEFORE).remove(0);
        wait::until(SOON, "the end of older transactions", async || match world.raw().number(&is_removable(&before)) {
            1 => Ok(()),
            _ => Err("there are some".to_owned()),
        })
        .await;
    }
    let mut raw = world.raw();
    let (vacuum, select) = if world.is_postgres() { ("VACUUM FULL", OF_POSTGRES) } else { ("VACUUM", OF_SQLITE) };
    raw.run(vacuum);
    let part = |line: String| {
        let columns: Vec<&str> = line.split(' ').collect();
        let [of_table, name, bytes] = columns[..] else { panic!("{line}") };
        ((of_table.to_owned(), name.to_owned()), bytes.parse().unwrap())
    };
    raw.texts(select).into_iter().map(part).collect()
}

/// What one purchase adds to each table and index, in bytes, from the largest table to the smallest.
struct Cost(Vec<(String, String, i64)>);

impl Cost {
    async fn of(world: &World, empty: &Sizes, purchases: usize) -> Self {
        let purchases = i64::try_from(purchases).unwrap();
        let added = |(names, bytes): (&(String, String), &i64)| {
            let bytes = (bytes - empty.get(names).copied().unwrap_or(0)) / purchases;
            (names.0.clone(), names.1.clone(), bytes)
        };
        let mut parts: Vec<_> = sizes(world).await.iter().map(added).filter(|(.., bytes)| *bytes > 0).collect();
        parts.sort_by(|a, b| (&a.0, -a.2).cmp(&(&b.0, -b.2)));
        Self(parts)
    }

    fn total(&self) -> i64 {
        self.0.iter().map(|(.., bytes)| bytes).sum()
    }

    /// Prints the parts, and checks the sum of them.
    fn check(&self, title: &str, at_most: i64) {
        println!("{title}: {} bytes for each purchase, at most {at_most}", self.total());
        for (table, name, bytes) in &self.0 {
            println!("  {bytes:>7}  {table}{}", if table == name { String::new() } else { format!(": {name}") });
        }
        assert!(self.total() <= at_most, "{title}: {} bytes, at most {at_most} are allowed", self.total());
    }
}

/// An id as long as the store's own, which nothing compresses.
fn receipt(world: &World, number: usize) -> String {
    let noise = |part: &str| world.key(&format!("{part}{number}")).to_string().replace('-', "");
    format!("{}{}=:1:11", noise("a"), &noise("b")[..11])
}

/// Lets a purchase live: each of its settlings is announced and delivered.
async fn live(world: &World, hook: DestinationId, number: usize, life: Life) {
    let receipt = receipt(world, number);
    let key = world.key(&receipt);
    let customer = world.key(&format!("c{number}")).to_string();
    for settling in 0..life.settlings {
        for notification in 0..life.notifications {
            let place = settling * life.notifications + notification;
            let message = world.key(&format!("m{number}/{place}")).to_string();
            let kind = NotificationKind::Renewed;
            let report = Report { kind, customer: Some(&customer), related: None };
            let at_ms = i64::try_from(place + 1).unwrap() * 1000;
            let mut notification = reported(world.platform.id, &message, &receipt, at_ms, report);
            "SUBSCRIPTION_RENEWED".clone_into(&mut notification.store_type);
            world.accept(notification).await;
        }
        let what = if settling == 0 { TransitionKind::Purchased } else { TransitionKind::Renewed };
        world.done(happened(record(key, &world.load(key).await), &[what])).await;
        for _ in 0..2 {
            let sent = must_send(&world.store, lease(key, hook, &format!("{key}/{settling}"))).await;
            world.finish(&sent, Verdict::Delivered).await;
        }
    }
}

/// Fills in purchases, checks what each costs, and what of it is left after the retention.
async fn check(world: &World, life: Life, [at_most, at_most_left]: [i64; 2]) {
    let hook = world.destination("hook").await.id;
    if world.is_postgres() {
        end_autovacuum(world);
    }
    let empty = sizes(world).await;
    let all = (0..life.purchases).map(|number| live(world, hook, number, life));
    stream::iter(all).buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
    let Life { purchases, settlings, notifications } = life;
    let title = format!("{purchases} purchases of {settlings} x {notifications} notifications");
    Cost::of(world, &empty, purchases).await.check(&title, at_most);
    world.age(100 * DAY_MS);
    let before = world.store.now().await.unwrap().plus_millis(-90 * DAY_MS);
    let (began, mut rows) = (Instant::now(), 0);
    loop {
        match world.store.prune(before, 1000).await.unwrap() {
            0 => break,
            pruned => rows += pruned,
        }
    }
    println!("{rows} rows were pruned in {:?}", began.elapsed());
    assert_eq!(world.broken(1000).await, []);
    Cost::of(world, &empty, purchases).await.check(&format!("{title}, after the retention"), at_most_left);
}

/// The number that a person sets, or a small one.
fn purchases() -> usize {
    #[expect(clippy::disallowed_methods, reason = "a person sets it for this test alone, as SETTLE_TEST_SEED")]
    let chosen = std::env::var("SETTLE_PURCHASES").ok();
    chosen.map_or(200, |number| number.parse().expect("SETTLE_PURCHASES is a number"))
}

story! {
    async fn a_purchase_stays_within_its_bytes(world: World) {
        let bounds = if world.is_postgres() { [15_000, 13_000] } else { [15_500, 13_000] };
        check(&world, Life { purchases: purchases(), settlings: 1, notifications: 5 }, bounds).await;
    }
}

story! {
    async fn a_year_of_a_purchase_stays_within_its_bytes(world: World) {
        let bounds = if world.is_postgres() { [130_000, 90_000] } else { [110_000, 64_000] };
        check(&world, Life { purchases: 20, settlings: 12, notifications: 3 }, bounds).await;
    }
}
