//! The rows of two tenants, one of which has lost its own.

use super::super::world::{Raw, World};
use super::OTHERS;
use domain::AppId;
use std::fmt::Display;
use uuid::Uuid;

/// Ids of the first tenant, for its rows.
struct Tenants {
    app: String,
    platform: String,
    destination: String,
}

/// Inserts rows: the first half for the tenant, the second for another.
fn insert(raw: &mut Raw, table: &str, columns: &str, values: impl Display) {
    raw.run(&format!(
        "INSERT INTO {table} ({columns}) WITH RECURSIVE numbers(i) AS (SELECT 1 UNION ALL SELECT i + 1
         FROM numbers WHERE i < {}) SELECT {values} FROM numbers",
        2 * OTHERS
    ));
}

/// Like in `filling`: makes `ANALYZE` read all rows, and turns automatic analysis off.
fn analyse_every_row(raw: &mut Raw) {
    let database = raw
        .texts("SELECT quote_ident(current_database()) AS value")
        .concat();
    raw.run(&format!(
        "ALTER DATABASE {database} SET default_statistics_target = {}",
        2 * OTHERS / 300 + 1
    ));
    // Reading tables as small as these completely may be cheaper than reading all the rows that the tenant had. A plan
    // that must do so nevertheless would become so expensive that it would be compiled.
    raw.run(&format!(
        "ALTER DATABASE {database} SET enable_seqscan = off"
    ));
    raw.run(&format!("ALTER DATABASE {database} SET jit = off"));
    for table in raw.texts("SELECT relname AS value FROM pg_stat_user_tables") {
        raw.run(&format!(
            "ALTER TABLE {table} SET (autovacuum_enabled = FALSE)"
        ));
    }
}

pub async fn fill(world: &World) {
    let other = world.store.new_app("other").await.unwrap().id;
    let (app, platform, destination) = (world.app.id, world.platform.id, Uuid::from_u128(7));
    let mut raw = world.raw();
    if world.is_postgres() {
        analyse_every_row(&mut raw);
    }
    raw.run(&format!(
        "INSERT INTO platforms (id, app_id, store, name, package_name, environment, window_ms, product_ref,
             flush_on_revoke, unknown_receipts, device_events_per_day, device_bytes_per_day, new_devices_per_day,
             new_users_per_day, ingress_hash, ingress_key, publishable_key, created_at)
         VALUES ('other', '{other}', 'amazon', 'other', 'x', 'production', 1, 'parent', FALSE, 'park', 1, 1, 1, 1, 'i',
             'v1:i', 'pk', 1)"
    ));
    for (id, app) in [(destination.to_string(), app), ("other".to_owned(), other)] {
        raw.run(&format!(
            "INSERT INTO destinations (id, app_id, kind, name, events, wildcards, filter, settings, secret, per_user,
                 per_request, concurrency, enabled, state, since, created_at)
             VALUES ('{id}', '{app}', 'webhook', 'hook', '[]', 'everything', '{{}}', '{{}}', '', FALSE, 1, 1, TRUE,
                 'healthy', 1, 1)"
        ));
    }
    let either = |own: &dyn Display, other: &dyn Display| {
        format!("CASE WHEN i <= {OTHERS} THEN '{own}' ELSE '{other}' END")
    };
    let (of_app, on) = (either(&app, &other), either(&platform, &"other"));
    let to = either(&destination, &"other");
    insert_purchases(&mut raw, &of_app, &on);
    insert_deliveries(&mut raw, &of_app, &to);
    insert(
        &mut raw,
        "device_events",
        "id, platform_id, device_id, client_id, event_type, environment, occurred_at, body, created_at",
        format!(
            "'e' || i, {on}, 'h' || i, 'c' || i, 'device.impression', 'production', i, '{{}}', i"
        ),
    );
    let status = "CASE i % 3 WHEN 0 THEN 'failed' WHEN 1 THEN 'skipped' ELSE 'delivered' END";
    insert(
        &mut raw,
        "device_deliveries",
        "destination_id, event_seq, device_id, status, attempts, next_due_at",
        format!("{to}, i, 'h' || i, {status}, 1, i"),
    );
    let open = "CASE WHEN i % 2 = 0 THEN i END";
    insert(
        &mut raw,
        "alarms",
        "id, at, last_at, times, app_id, kind, detail, acknowledged_at",
        format!("'e' || i, i, i, 1, {of_app}, 'k', 'd' || i, {open}"),
    );
    insert(
        &mut raw,
        "audit_log",
        "id, at, actor, operation, app_id, subject, old_fields, new_fields",
        format!("'e' || i, i, 'n', 'app.update', '{other}', 's', '{{}}', '{{}}'"),
    );
    insert_of_other(&mut raw, &other);
    drop(raw);
    let tenants = Tenants {
        app: app.to_string(),
        platform: platform.to_string(),
        destination: destination.to_string(),
    };
    forget_own(world, &tenants);
}

/// Inserts rows of kinds that the tenant never had.
fn insert_of_other(raw: &mut Raw, other: &AppId) {
    for (table, columns, values) in [
        (
            "sign_ins",
            "id, hash, name, role, app_id, token_hash, created_at, used_at, expires_at",
            format!("'s' || i, 'h' || i, 'n', 'read', '{other}', 't', i, i, i"),
        ),
        (
            "api_keys",
            "id, name, folded_name, role, app_id, hash, created_at",
            format!("'a' || i, 'n' || i, 'n' || i, 'read', '{other}', 'h' || i, i"),
        ),
        (
            "minutes",
            "series, at, app_id, destination_id, times, total_ms, longest_ms",
            format!("'accepted', i, '{other}', '', 1, 1, 1"),
        ),
        // These lie between the tenant's two purchases.
        (
            "payments",
            "collapse_key, number, entry, app_id, environment, kind, event_id, occurred_at, source, created_at",
            format!("'5' || i, 1, 0, '{other}', 'production', 'initial', 'e' || i, i, 'store', i"),
        ),
    ] {
        insert(raw, table, columns, values);
    }
}

fn insert_purchases(raw: &mut Raw, of_app: &str, on: &str) {
    insert(
        raw,
        "users",
        "id, app_id, external_id, revision, created_at",
        format!("'u' || i, {of_app}, 'x' || i, 1, i"),
    );
    insert(
        raw,
        "purchases",
        "collapse_key, platform_id, app_id, receipt_id, app_user_id, user_id, revision, digest, state, environment,
            purchase, verify_attempts, settling, fingerprint, held_until, waits_for, unverified_since, created_at,
            updated_at",
        format!(
            "'k' || i, {on}, {of_app}, 'r', 'x', 'u' || i, 1, '', 'active', 'production', '{{}}', 0, 1, '',
            CASE WHEN i % 2 = 0 THEN 4000000000000000 END, CASE WHEN i % 5 = 0 THEN 'parked' END,
            CASE WHEN i % 5 = 0 THEN 1 END, i, i"
        ),
    );
    insert(
        raw,
        "notifications",
        "platform_id, message_id, receipt_id, collapse_key, store_type, body, accepted_at, due_at, duplicate_key,
            outcome, revision, finished_at",
        format!(
            "{on}, 'm' || i, 'r', 'k' || i, 'T', '{{}}', i, i, i,
            CASE i % 4 WHEN 0 THEN 'refused' WHEN 1 THEN 'settled' WHEN 2 THEN 'unknown' END, 1, i"
        ),
    );
}

fn insert_deliveries(raw: &mut Raw, of_app: &str, to: &str) {
    insert(
        raw,
        "events",
        "id, collapse_key, app_id, event_type, revision, user_id, user_revision, environment, body, created_at",
        format!(
            "'e' || i, 'k' || i, {of_app}, 'purchase.updated', 1, 'u' || i, 1,
            CASE WHEN i % 2 = 0 THEN 'sandbox' ELSE 'production' END, '{{}}', i"
        ),
    );
    insert(
        raw,
        "deliveries",
        "id, destination_id, event_id, n, event_type, collapse_key, revision, status, attempts, next_due_at, tried_at,
            created_at, finished_at",
        format!(
            "'d' || i, {to}, 'e' || i, 0, 'purchase.updated', 'k' || i, 1,
            CASE i % 6 WHEN 0 THEN 'pending' WHEN 1 THEN 'waiting' WHEN 2 THEN 'failed' WHEN 3 THEN 'skipped'
                WHEN 4 THEN 'superseded' ELSE 'delivered' END, 1, i, i, i, i"
        ),
    );
}

/// Deletes the tenant's rows after the analysis: according to the statistics, half of all rows are the tenant's.
fn forget_own(world: &World, tenants: &Tenants) {
    let mut raw = world.raw();
    if world.is_postgres() {
        raw.run("ANALYZE");
    }
    let Tenants {
        app,
        platform,
        destination,
    } = tenants;
    for (table, column, own) in [
        ("device_deliveries", "destination_id", destination),
        ("device_events", "platform_id", platform),
        ("deliveries", "destination_id", destination),
        ("events", "app_id", app),
        ("notifications", "platform_id", platform),
        ("purchases", "app_id", app),
        ("users", "app_id", app),
        ("alarms", "app_id", app),
    ] {
        raw.run(&format!("DELETE FROM {table} WHERE {column} = '{own}'"));
    }
    if world.is_postgres() {
        raw.run("VACUUM");
    }
}
