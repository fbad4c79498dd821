//! Filled tables: each table that grows has a hundred thousand rows, and both databases have analysed them.
//! Alternatively, like at the beginning of an incident: nothing was waiting when they were analysed, and a hundred
//! thousand rows have been waiting since.

use super::world::{BEGINNING, Raw, World};

/// Number of rows per table.
const ROWS: i64 = 100_000;
/// The rows whose values are inserted into statements: among the rows that all tables have, and among those waiting
/// since the analysis of a quiet night.
pub const ROW: i64 = 50_000;
pub const WAITING_ROW: i64 = ROWS + ROW;
/// The filled tables, none of which may be read completely.
pub const FILLED: [&str; 26] = [
    "platforms",
    "users",
    "purchases",
    "notifications",
    "events",
    "deliveries",
    "attempts",
    "lanes",
    "leases",
    "user_lanes",
    "user_leases",
    "replacements",
    "payments",
    "sales",
    "pages",
    "devices",
    "claims",
    "device_sessions",
    "device_events",
    "device_deliveries",
    "duties",
    "alarms",
    "arrivals",
    "minutes",
    "sign_ins",
    "sign_in_links",
];

/// Nearly all bodies were pruned, including those of many rows after [`ROW`].
const PRUNED_AT: &str = "CASE WHEN i % 1000 > 1 AND i < 90000 THEN i END";

/// Proportion of rows that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    /// One in a hundred; some have failed.
    Few,
    /// None; all are finished.
    None,
    All,
}

impl Waiting {
    /// Returns the SQL value of a column, given its value in finished and in waiting rows.
    fn of(self, finished: &str, waiting: &str) -> String {
        match self {
            Self::Few => format!("CASE WHEN i % 100 = 0 THEN {waiting} ELSE {finished} END"),
            Self::None => finished.to_owned(),
            Self::All => waiting.to_owned(),
        }
    }
}

/// Fills the tables with a user, a purchase, a notification, an event and a delivery for each number.
pub fn fill(raw: &mut Raw, world: &World) {
    let names = filled(raw, world);
    insert(raw, &names, (1, ROWS), Waiting::Few, &FILLED);
    raw.run("ANALYZE");
}

/// The tables with rows that can wait, and the tables that those refer to.
const INCIDENT: [&str; 10] = [
    "users",
    "purchases",
    "notifications",
    "events",
    "deliveries",
    "devices",
    "claims",
    "device_sessions",
    "device_events",
    "device_deliveries",
];

/// Fills the tables of PostgreSQL like [`fill`], and analyses them while nothing waits. Then a hundred thousand waiting
/// rows are added to each queue.
pub fn fill_after_a_quiet_night(raw: &mut Raw, world: &World) {
    let names = filled(raw, world);
    insert(raw, &names, (1, ROWS), Waiting::None, &FILLED);
    long_history(raw, &names);
    raw.run("VACUUM ANALYZE");
    insert(raw, &names, (ROWS + 1, 2 * ROWS), Waiting::All, &INCIDENT);
}

/// Number of earlier notifications of the purchase of [`WAITING_ROW`].
const HISTORY: i64 = 10_000;

fn long_history(raw: &mut Raw, names: &Names) {
    let first = 10 * ROWS;
    raw.run(&format!(
        "INSERT INTO notifications (platform_id, message_id, receipt_id, collapse_key, store_type, body, accepted_at,
            due_at, duplicate_key, outcome, revision, finished_at, pruned_at)
         WITH RECURSIVE numbers(i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM numbers WHERE i < {first} + {HISTORY})
         SELECT '{}', 'm' || i, 'r{WAITING_ROW}', 'k{WAITING_ROW}', 'T', '{{}}', i, i, i, 'settled', 1, i, i FROM numbers",
        names.platform
    ));
}

/// SQL expressions for the ids of a row's app, platform and destination.
struct Names {
    app: String,
    platform: String,
    destination: String,
}

/// Inserts the apps and destinations of the rows.
fn filled(raw: &mut Raw, world: &World) -> Names {
    let (app, platform, destination) = (world.app.id, world.platform.id, destination(world));
    let (other_app, other_destination) = ("another", "another");
    raw.run("INSERT INTO apps (id, name, created_at) VALUES ('another', 'another', 1)");
    for id in [destination.as_str(), other_destination] {
        raw.run(&format!(
            "INSERT INTO destinations (id, app_id, kind, name, events, wildcards, filter, settings, secret, per_user,
            per_request, concurrency, enabled, state, since, created_at)
         VALUES ('{id}', '{app}', 'webhook', '{id}', '[]', 'everything', '{{}}', '{{}}', '', FALSE, 1, 1,
            TRUE, 'healthy', 1, 1)"
        ));
    }
    let destination =
        format!("CASE WHEN i % 1000 < 500 THEN '{destination}' ELSE '{other_destination}' END");
    let app = format!("CASE WHEN i % 100 = 0 THEN '{app}' ELSE '{other_app}' END");
    if let Raw::Postgres(_) = raw {
        analyse_every_row(raw);
    }
    Names {
        app,
        platform: platform.to_string(),
        destination,
    }
}

/// Inserts the rows with these numbers.
fn insert(
    raw: &mut Raw,
    names: &Names,
    (first, last): (i64, i64),
    waiting: Waiting,
    into: &[&str],
) {
    let Names {
        app,
        platform,
        destination,
    } = names;
    let tables = purchases(app, platform, waiting)
        .into_iter()
        .chain(deliveries(app, destination, waiting));
    let tables = tables.chain(money(app));
    let all = tables
        .chain(counts(app))
        .chain(devices(platform, destination, waiting));
    for (table, columns, values) in all.filter(|(table, ..)| into.contains(table)) {
        raw.run(&format!(
            "INSERT INTO {table} ({columns}) WITH RECURSIVE numbers(i) AS (SELECT {first} UNION ALL SELECT i + 1
             FROM numbers WHERE i < {last}) SELECT {values} FROM numbers"
        ));
    }
}

/// Makes `ANALYZE` read all rows instead of a sample, which would now and then lead to a different plan: the server
/// reads 300 rows per unit of the target. Turns automatic analysis off.
fn analyse_every_row(raw: &mut Raw) {
    raw.run(&format!(
        "SET default_statistics_target = {}",
        ROWS / 300 + 1
    ));
    for table in FILLED {
        raw.run(&format!(
            "ALTER TABLE {table} SET (autovacuum_enabled = FALSE)"
        ));
    }
}

/// A table, its columns, and their values for the number `i`.
type Rows = (&'static str, &'static str, String);

/// Returns the rows of purchases and their notifications.
fn purchases(app: &str, platform: &str, waiting: Waiting) -> Vec<Rows> {
    let outcome = waiting.of("'settled'", "NULL");
    vec![
        (
            "platforms",
            "id, app_id, store, name, package_name, environment, window_ms, product_ref, flush_on_revoke,
                unknown_receipts, device_events_per_day, device_bytes_per_day, new_devices_per_day, new_users_per_day,
                ingress_hash, ingress_key, old_ingress_hash, old_ingress_until, publishable_key, created_at",
            format!(
                "'f' || i, {app}, 'amazon', 'f' || i, 'x', 'production', 1, 'parent', FALSE, 'park', i, i, i, i,
                'i' || i, 'v1:' || i, 'o' || i, i, 'pk' || i, i"
            ),
        ),
        ("users", "id, app_id, external_id, revision, created_at", format!("'u' || i, {app}, 'x' || i, 1, i")),
        (
            "purchases",
            "collapse_key, platform_id, app_id, receipt_id, user_id, revision, digest, state, environment, purchase,
                term_sku, product_id, waits_for, waits_through, verify_attempts, settling, fingerprint,
                next_wake_at, created_at, updated_at",
            format!(
                "'k' || i, '{platform}', {app}, 'r' || i, 'u' || i, 1, '', 'active',
                CASE WHEN i % 100 = 0 THEN 'sandbox' ELSE 'production' END, '{{}}', 's' || (i % 1000),
                'p' || (i % 1000), CASE WHEN i % 1000 = 0 THEN 'parked' END,
                CASE WHEN i % 1000 = 0 THEN i END, 0, 1, '', {BEGINNING} + i, i, i"
            ),
        ),
        (
            "notifications",
            "platform_id, message_id, receipt_id, collapse_key, store_type, body, accepted_at, due_at, duplicate_key,
                outcome, revision, finished_at, pruned_at",
            format!("'{platform}', 'm' || i, 'r' || i, 'k' || i, 'T', '{{}}', i, i, i, {outcome}, 1, i, {PRUNED_AT}"),
        ),
    ]
}

/// Returns the rows of events and deliveries.
fn deliveries(app: &str, destination: &str, waiting: Waiting) -> Vec<Rows> {
    let finished = "CASE i % 100 WHEN 2 THEN 'failed' WHEN 3 THEN 'skipped' ELSE 'delivered' END";
    let status = match waiting {
        Waiting::Few => {
            format!("CASE i % 100 WHEN 0 THEN 'pending' WHEN 1 THEN 'waiting' ELSE {finished} END")
        }
        Waiting::None => finished.to_owned(),
        Waiting::All => "CASE WHEN i % 3 = 1 THEN 'waiting' ELSE 'pending' END".to_owned(),
    };
    let tried_at = if waiting == Waiting::All {
        "CASE WHEN i % 10 = 0 THEN i END"
    } else {
        "i"
    };
    let finished_at = format!("CASE WHEN {status} NOT IN ('pending', 'waiting') THEN i END");
    let event_type =
        "CASE WHEN i % 3 = 0 THEN 'user.subscription.renewed' ELSE 'purchase.updated' END";
    vec![
        (
            "events",
            "id, collapse_key, app_id, event_type, revision, user_id, user_revision, environment, body, created_at,
                pruned_at",
            format!(
                "'e' || i, 'k' || i, {app}, {event_type}, 1, 'u' || i, 1,
                CASE WHEN i % 1000 = 0 THEN 'sandbox' ELSE 'production' END, '{{}}', i, {PRUNED_AT}"
            ),
        ),
        (
            "deliveries",
            "id, destination_id, event_id, n, event_type, collapse_key, revision, status, attempts, next_due_at,
                tried_at, created_at, finished_at, pruned_at",
            format!(
                "'d' || i, {destination}, 'e' || i, 0, {event_type}, 'k' || i, 1, {status}, 1, i, {tried_at}, i,
                {finished_at}, {PRUNED_AT}"
            ),
        ),
        (
            "attempts",
            "delivery_id, number, token, mode, counts, started_at, status, class",
            "'d' || i, 1, 't' || i, 'lane', TRUE, i, 200, 'success'".to_owned(),
        ),
        ("lanes", "destination_id, collapse_key", format!("{destination}, 'k' || i")),
        (
            "leases",
            "destination_id, place, collapse_key, lease_token, lease_until",
            format!(
                "CASE WHEN i % 100 = 0 THEN {destination} ELSE 'd' || (i % 1000) END, 1000 + i,
                CASE WHEN i % 1000 = 0 THEN 'k' || i END,
                CASE WHEN i % 1000 = 0 THEN 't' || i END, CASE WHEN i % 1000 = 0 THEN i ELSE 0 END"
            ),
        ),
        (
            "user_leases",
            "destination_id, user_id, lease_token, lease_until",
            format!("{destination}, 'u' || i, 't' || i, i"),
        ),
        ("user_lanes", "destination_id, user_id, environment", format!("{destination}, 'u' || i, 'production'")),
    ]
}

/// Returns the rows about money and other details of purchases.
fn money(app: &str) -> Vec<Rows> {
    vec![
        ("pages", "run, cursor, request_digest, answer, at", "'n' || (i % 10), 'c' || i, 'd', '{}', i".to_owned()),
        ("replacements", "old_key, new_key, created_at", "'o' || i, 'k' || i, i".to_owned()),
        (
            "payments",
            "collapse_key, number, entry, app_id, environment, kind, event_id, other_event_id, occurred_at, source,
                currency, priced_on, store_transaction, created_at",
            format!(
                "'k' || i, 1, 0, {app}, 'production', 'initial', 'e' || i, 'o' || i, i, 'store',
                'EUR', 'day' || (i % 1000), 'g' || i, i"
            ),
        ),
        (
            "sales",
            "app_id, transaction_id, kind, returned_at, receipt_id, sku, price, currency, sold_at, day, created_at",
            format!("{app}, 't' || i, 'charge', 0, 'r' || i, 's', '1', 'EUR', i, 'day' || (i % 1000), i"),
        ),
    ]
}

/// Returns the rows of counters, alarms and sessions.
fn counts(app: &str) -> Vec<Rows> {
    vec![
        (
            "minutes",
            "series, at, app_id, destination_id, times, total_ms, longest_ms",
            format!(
                "CASE WHEN i % 6 = 0 THEN 'accepted' ELSE 'lag' || (i % 6) END, i, {app},
                CASE WHEN i % 100 = 1 THEN 'another' ELSE '' END, 1, 1, 1"
            ),
        ),
        (
            "sign_ins",
            "id, hash, name, role, token_hash, created_at, used_at, expires_at",
            "'e' || i, 'hash' || i, 'n', 'read', 't', i, i, i".to_owned(),
        ),
        (
            "sign_in_links",
            "hash, name, role, token_hash, lifetime_ms, created_at, expires_at",
            "'hash' || i, 'n', 'read', 't', 1, i, i".to_owned(),
        ),
        (
            "arrivals",
            "platform_id, reason, times, first_at, last_at",
            "'f' || i, 'r' || i, 1, i, i".to_owned(),
        ),
        (
            "alarms",
            "id, at, last_at, times, kind, detail, acknowledged_at",
            "'e' || i, i, i, 1, 'k', 'd' || i, CASE WHEN i % 100 > 0 THEN i END".to_owned(),
        ),
    ]
}

fn devices(platform: &str, destination: &str, waiting: Waiting) -> Vec<Rows> {
    let closed_at = waiting.of("i", "NULL");
    let status = waiting.of("'delivered'", "'pending'");
    let of_claim = match waiting {
        Waiting::Few => {
            "CASE i % 20 WHEN 0 THEN 'pending' WHEN 1 THEN 'refused' ELSE 'verified' END"
        }
        Waiting::None => "CASE i % 20 WHEN 1 THEN 'refused' ELSE 'verified' END",
        Waiting::All => "'pending'",
    };
    vec![
        ("devices", "platform_id, id, device, created_at, seen_at", format!("'{platform}', 'h' || i, '{{}}', i, i")),
        // One in ten of the waiting rows is due: if half were, another index would be as cheap for PostgreSQL.
        (
            "claims",
            "platform_id, device_id, collapse_key, receipt_id, app_user_id, status, kind, occurred_at, attempts, due_at,
                created_at, verified_at, network",
            format!(
                "CASE WHEN i % 100 = 0 THEN '{platform}' ELSE 'f1' END, 'h' || i, 'k' || i, 'r' || i, 'x',
                {of_claim}, 'present', i, 0, i * 5, i, i,
                'n' || (i / 100 % 50)"
            ),
        ),
        (
            "duties",
            "id, kind, platform_id, collapse_key, created_at, answer_by, due_at, warn_at, done_at",
            format!(
                "'e' || i, 'acknowledge', CASE WHEN i % 100 = 0 THEN '{platform}' ELSE 'f1' END, 'k' || i, i, i,
                {}, {}, {closed_at}",
                waiting.of("NULL", "i * 5"),
                waiting.of("NULL", "i * 5")
            ),
        ),
        (
            "device_sessions",
            "platform_id, device_id, id, last_event_at, due_at, closed_at",
            format!("'{platform}', 'h' || i, 'e' || i, i, i, {closed_at}"),
        ),
        (
            "device_events",
            "id, platform_id, device_id, client_id, event_type, environment, occurred_at, body, created_at",
            format!("'e' || i, '{platform}', 'h' || i, 'c' || i, 'device.impression', 'production', i, '{{}}', i"),
        ),
        (
            "device_deliveries",
            "destination_id, event_seq, device_id, status, attempts, next_due_at",
            format!("{destination}, i, 'h' || i, {status}, 1, i"),
        ),
    ]
}

fn destination(world: &World) -> String {
    world.app.id.to_string().chars().rev().collect()
}

/// Returns the column with which the next `?` of a statement is compared, or the first of several.
fn column(before: &str) -> &str {
    let several = before.rsplit_once(") ");
    let several =
        several.filter(|(_, values)| values.starts_with(['<', '>']) && !values.contains(" THEN "));
    let compared = match several {
        Some((columns, values)) => {
            let opened = columns
                .rmatch_indices('(')
                .find(|(at, _)| !columns[..*at].ends_with("CAST"));
            let columns = opened.map_or("", |(at, _)| &columns[at + 1..]);
            columns
                .split(", ")
                .nth(values.matches(',').count())
                .unwrap_or_default()
        }
        None => before
            .trim_end_matches("NOT IN (")
            .trim_end_matches("IN (")
            .trim_end_matches([' ', '=', '<', '>']),
    };
    let compared = compared
        .trim_end_matches("+ 0")
        .trim_end_matches("|| ''")
        .trim_end_matches(" -")
        .trim_end();
    compared
        .rsplit(|letter: char| !letter.is_alphanumeric() && letter != '_')
        .next()
        .unwrap_or_default()
}

/// Returns the value for the next `?` of a statement.
pub fn value(before: &str, world: &World, row: i64) -> String {
    let before = before.trim_end();
    if before.ends_with("LIMIT") {
        return "100".to_owned();
    }
    // The lower bound of a walk is far below.
    if before.ends_with("seq >=") || before.ends_with("seq + 0 >=") || before.ends_with("OFFSET") {
        return "1".to_owned();
    }
    // The end of a range is above its beginning.
    let row = if before.ends_with("<=") || before.ends_with("place <") {
        row + 2_500
    } else {
        row
    };
    let text = |prefix: &str| format!("'{prefix}{row}'");
    match column(before) {
        "app_id" => format!("'{}'", world.app.id),
        "platform_id" => format!("'{}'", world.platform.id),
        "destination_id" => format!("'{}'", destination(world)),
        "collapse_key" | "old_key" | "new_key" => text("k"),
        "receipt_id" => text("r"),
        "message_id" => text("m"),
        "event_id" | "other_event_id" | "id" => text("e"),
        "delivery_id" => text("d"),
        "user_id" => text("u"),
        "app_user_id" | "answered_customer" => "'x'".to_owned(),
        "store" => "'amazon'".to_owned(),
        "external_id" => text("x"),
        "analytics_device_id" => text("a"),
        "network" => "'n1'".to_owned(),
        "term_sku" => "'s1'".to_owned(),
        "product_id" => "'p1'".to_owned(),
        "day" | "priced_on" => "'day1'".to_owned(),
        "currency" => "'EUR'".to_owned(),
        "store_transaction" => text("g"),
        "environment" => "'sandbox'".to_owned(),
        // Here `status` is an HTTP status, not a delivery's.
        "status" if before.ends_with('(') => "408".to_owned(),
        "last_error" | "store_type" | "event_type" | "status" => "'pending'".to_owned(),
        "token" | "lease_token" => text("t"),
        "ingress_hash" => text("i"),
        "old_ingress_hash" => text("o"),
        "hash" => text("hash"),
        "publishable_key" => text("pk"),
        "device_id" => text("h"),
        "urgency" => "'calendar'".to_owned(),
        "state" => "'active'".to_owned(),
        "series" => "'accepted'".to_owned(),
        "outcome" => "'refused'".to_owned(),
        // The upper bound of a computed time.
        "" if before
            .trim_end_matches([' ', '=', '<', '>'])
            .ends_with("due_at END)") =>
        {
            row.to_string()
        }
        // A low mark.
        "ELSE" => row.to_string(),
        "usd" => "'1'".to_owned(),
        "" => text("k"),
        "unverified_since" | "waits_since" | "due_since" | "seq" | "event_seq" | "number"
        | "place" | "at" | "duplicate_key" => row.to_string(),
        column if column.ends_with("revision") => row.to_string(),
        column if column.ends_with("_at") || column.ends_with("_until") => row.to_string(),
        column => panic!("no value is known for `{column}`, the end of: {before}"),
    }
}
