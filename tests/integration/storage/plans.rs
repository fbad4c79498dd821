//! No question of the hot path or the sweep reads a whole table.

use super::world::{Raw, World, story};
use diesel::{QueryableByName, RunQueryDsl};

#[derive(QueryableByName)]
struct Step {
    #[diesel(sql_type = diesel::sql_types::Text)]
    detail: String,
}

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = diesel::sql_types::Text, column_name = "QUERY PLAN")]
    text: String,
}

const OPEN: &str = "outcome IS NULL AND waiting_topic_id IS NULL";
const WAITS: &str = "NOT EXISTS (SELECT 1 FROM purchases p WHERE p.collapse_key = n.collapse_key
     AND p.waits_through >= n.seq)";

/// The ledger's list of deliveries in one status.
fn delivery_list(status: &str) -> String {
    format!(
        "SELECT seq, id, event_id, event_type, collapse_key, destination_id, revision, status, attempts, next_due_at,
         last_error, finished_at, created_at FROM deliveries WHERE seq < 7 AND status = '{status}'
         ORDER BY seq DESC LIMIT 9"
    )
}

/// The statements behind people's queries.
fn questions_of_people() -> Vec<(String, &'static str)> {
    vec![
        (
            "SELECT DISTINCT collapse_key FROM notifications WHERE receipt_id = 'r' AND outcome IS NULL
             AND collapse_key IS NOT NULL ORDER BY collapse_key LIMIT 9"
                .to_owned(),
            "notifications_receipt",
        ),
        (
            "SELECT outcome, COUNT(*) FROM notifications WHERE store_type = 'IMPORTED' AND platform_id = 'p'
             GROUP BY outcome ORDER BY outcome"
                .to_owned(),
            "notifications_imported",
        ),
        (
            "SELECT collapse_key FROM purchases WHERE app_id = 'a' AND collapse_key > 'k' ORDER BY collapse_key LIMIT 9"
                .to_owned(),
            "purchases_app",
        ),
        (
            "SELECT term_sku FROM purchases WHERE app_id = 'a' AND product_id = 's' LIMIT 9".to_owned(),
            "purchases_product",
        ),
        ("UPDATE purchases SET next_wake_at = 1 WHERE user_id = 'u'".to_owned(), "purchases_user"),
        (delivery_list("dead"), "deliveries_dead"),
        (delivery_list("pending"), "deliveries_owed"),
        (delivery_list("waiting"), "deliveries_unnamed"),
        (delivery_list("skipped"), "deliveries_skipped"),
        (
            "UPDATE deliveries SET status = 'pending' WHERE status = 'waiting'
             AND collapse_key IN (SELECT collapse_key FROM purchases WHERE user_id = 'u')"
                .to_owned(),
            "deliveries_waiting",
        ),
        (
            "UPDATE deliveries SET status = 'pending' WHERE destination_id = 'd' AND status = 'waiting'".to_owned(),
            "deliveries_of_destination",
        ),
    ]
}

/// The statements of the audit for each row, and of redeliveries.
fn questions_of_accounting() -> Vec<(String, &'static str)> {
    let statements = [
        (
            "SELECT COUNT(DISTINCT e.user_revision), MAX(e.user_revision) FROM events e WHERE e.user_id = 'u'",
            "events_of_user",
        ),
        (
            "SELECT COUNT(*) FROM events e WHERE e.collapse_key = 'k' AND e.event_type = 'purchase.updated'",
            "events_of_key",
        ),
        (
            "SELECT COUNT(*) FROM notifications n WHERE n.collapse_key = 'k' AND n.outcome = 'settled'
             AND n.revision = 7",
            "notifications_of_key",
        ),
        (
            "SELECT MAX(d.revision) FROM deliveries d WHERE d.collapse_key = 'k' AND d.destination_id = 'd'
             AND d.event_type = 'purchase.updated' AND (d.status = 'delivered' OR EXISTS (SELECT 1 FROM attempts a
             WHERE a.delivery_id = d.id AND a.class = 'success'))",
            "deliveries_of_key",
        ),
        (
            "SELECT e.id FROM events e JOIN purchases p ON p.collapse_key = e.collapse_key
             WHERE (e.created_at, e.seq) > (7, 7) AND e.created_at < 9 AND p.app_id || '' = 'a'
             ORDER BY e.created_at, e.seq LIMIT 9",
            "events_created",
        ),
        (
            "SELECT d.id FROM deliveries d WHERE d.status = 'dead' AND d.seq > 7 AND d.seq <= 9 ORDER BY d.seq LIMIT 9",
            "deliveries_dead",
        ),
        (
            "SELECT pruned_at FROM events WHERE collapse_key = 'k' AND (id = 'e' OR (revision = 7
             AND event_type = 'purchase.updated')) ORDER BY seq",
            "events_of_key",
        ),
        (
            "SELECT 1 FROM deliveries d WHERE d.collapse_key = 'k' AND d.revision = 7
             AND d.status IN ('pending', 'waiting')",
            "deliveries_of_key",
        ),
        (
            "SELECT event_id FROM deliveries WHERE collapse_key = 'k' AND destination_id = 'd' AND status || '' = 'dead'
             AND event_type <> 'purchase.updated' ORDER BY seq",
            "deliveries_of_key",
        ),
        (
            "DELETE FROM pages WHERE (run, cursor) IN (SELECT run, cursor FROM pages WHERE at < 7 ORDER BY at LIMIT 9)",
            "pages_at",
        ),
        ("SELECT kind, usd FROM payments p WHERE p.event_id = 'e' OR p.other_event_id = 'e'", "payments_event"),
        ("SELECT kind, usd FROM payments p WHERE p.event_id = 'e' OR p.other_event_id = 'e'", "payments_other_event"),
    ];
    statements.into_iter().map(|(text, index)| (text.to_owned(), index)).collect()
}

/// The statements about lines of sales reports.
fn questions_of_sales() -> Vec<(String, &'static str)> {
    let statements = [
        (
            "SELECT s.transaction_id, r.usd FROM sales s LEFT JOIN rates r ON r.app_id = s.app_id
             AND r.currency = s.currency AND r.day = s.day WHERE s.app_id = 'a' AND s.receipt_id = 'r'
             ORDER BY s.sold_at, s.transaction_id, s.kind",
            "sales_receipt",
        ),
        (
            "SELECT DISTINCT p.collapse_key FROM sales s JOIN purchases p ON p.receipt_id = s.receipt_id
             AND p.app_id = s.app_id WHERE s.app_id = 'a' AND s.currency = 'EUR' AND s.day = '2027-01-10'",
            "sales_day",
        ),
    ];
    statements.into_iter().map(|(text, index)| (text.to_owned(), index)).collect()
}

const NOT_LEASED: &str = "NOT EXISTS (SELECT 1 FROM lanes l WHERE l.destination_id = d.destination_id
     AND l.collapse_key = d.collapse_key AND l.lease_until > 7)";
const USER_IS_FREE: &str = "NOT EXISTS (SELECT 1 FROM purchases p JOIN platforms f ON f.id = p.platform_id
     JOIN user_lanes u ON u.destination_id = d.destination_id AND u.user_id = p.user_id AND u.environment = CASE WHEN f.environment = 'sandbox' THEN f.environment ELSE COALESCE(p.environment, f.environment) END
     WHERE p.collapse_key = d.collapse_key AND (u.lease_until > 7 OR u.paused_until > 7))";

/// What a destination is owed that no newer state stands for.
const NEWS: &str = "SELECT seq FROM deliveries WHERE destination_id = 'd' AND status IN ('pending', 'waiting')
     AND event_type <> 'purchase.updated' AND event_type LIKE 'user.%' AND seq > 7 ORDER BY seq LIMIT 9";

/// The statements of a destination's own run.
fn questions_of_destinations() -> Vec<(String, &'static str)> {
    let lanes = |condition: &str, order: &str| {
        format!(
            "SELECT d.collapse_key FROM deliveries d WHERE d.destination_id = 'd' AND d.status = 'pending'
             AND {condition} AND {NOT_LEASED} AND {USER_IS_FREE} ORDER BY {order} LIMIT 9"
        )
    };
    vec![
        (lanes("d.next_due_at <= 7", "d.next_due_at"), "deliveries_due"),
        (lanes("d.tried_at < 7", "d.tried_at"), "deliveries_tried"),
        (
            "SELECT tried_at FROM deliveries WHERE destination_id = 'd' AND status = 'pending' AND tried_at > 7
             AND tried_at <= 9 ORDER BY tried_at LIMIT 9"
                .to_owned(),
            "deliveries_tried",
        ),
        (
            "SELECT DISTINCT collapse_key FROM deliveries WHERE destination_id = 'd' AND status = 'pending'
             AND tried_at > 7 AND tried_at <= 9 AND next_due_at > 11"
                .to_owned(),
            "deliveries_tried",
        ),
        (lanes("d.collapse_key <> 'k'", "d.seq DESC"), "deliveries_of_destination"),
        (
            "SELECT seq FROM deliveries WHERE destination_id = 'd' AND status = 'pending' LIMIT 9".to_owned(),
            "deliveries_of_destination",
        ),
        (NEWS.to_owned(), "deliveries_news"),
        (
            format!(
                "UPDATE deliveries SET status = 'skipped' WHERE seq IN ({NEWS}) AND status IN ('pending', 'waiting')
                 AND NOT EXISTS (SELECT 1 FROM lanes l WHERE l.destination_id = deliveries.destination_id
                 AND l.collapse_key = deliveries.collapse_key AND l.lease_token IS NOT NULL AND l.lease_until > 7)"
            ),
            "deliveries_news",
        ),
        (
            "SELECT created_at FROM deliveries WHERE destination_id = 'd' AND status = 'pending' ORDER BY seq LIMIT 1"
                .to_owned(),
            "deliveries_of_destination",
        ),
    ]
}

/// The newest state that a destination may have of a user.
const SENT: &str = "SELECT e.user_revision FROM events e WHERE e.user_id = 'u' AND e.user_revision <= 7
     AND e.user_revision > 3 AND EXISTS (SELECT 1 FROM deliveries d WHERE d.event_id = e.id AND d.destination_id = 'd'
     AND d.environment = 'production' AND (d.status = 'delivered' OR EXISTS (SELECT 1 FROM attempts a
     WHERE a.delivery_id = d.id AND a.status IS NULL))) ORDER BY e.user_revision DESC LIMIT 1";

/// The statements of a claim, and of operators' events.
fn questions_of_claims() -> Vec<(String, &'static str)> {
    let statements = [
        (
            "SELECT id FROM deliveries WHERE collapse_key = 'k' AND destination_id = 'd' AND status = 'pending'
             AND event_type <> 'purchase.updated' AND seq + 0 > 7 ORDER BY seq LIMIT 9",
            "deliveries_pending",
        ),
        (
            "SELECT id FROM deliveries WHERE collapse_key = 'k' AND destination_id = 'd' AND status = 'pending'
             AND event_type <> 'purchase.updated' ORDER BY seq LIMIT 1",
            "deliveries_pending",
        ),
        (
            "UPDATE deliveries SET next_due_at = 9 WHERE collapse_key = 'k' AND destination_id = 'd'
             AND status = 'pending' AND (next_due_at + 0 <= 7 OR tried_at + 0 < 3)",
            "deliveries_pending",
        ),
        (
            "UPDATE deliveries SET next_due_at = 7 WHERE collapse_key = 'k' AND destination_id = 'd'
             AND status = 'pending' AND next_due_at + 0 = 9 AND next_due_at + 0 > 7",
            "deliveries_pending",
        ),
        (
            "SELECT COUNT(*) FROM lanes WHERE destination_id = 'd' AND lease_token IS NOT NULL AND lease_until > 7",
            "lanes_leased",
        ),
        (
            "SELECT e.id, MIN(d.seq) FROM events e LEFT JOIN deliveries d ON d.event_id = e.id AND d.destination_id = 'd'
             WHERE e.collapse_key = 'k' AND e.revision = 7 AND e.event_type <> 'purchase.updated'
             GROUP BY e.seq, e.id, e.event_type ORDER BY e.seq",
            "events_of_key",
        ),
        (
            "SELECT body FROM events WHERE collapse_key = 'k' AND event_type = 'purchase.updated' AND seq > 7
             ORDER BY seq LIMIT 1",
            "events_of_key",
        ),
        (
            "SELECT revision FROM events WHERE collapse_key = 'd' AND event_type = 'destination.failing'
             ORDER BY seq DESC LIMIT 1",
            "events_of_key",
        ),
        (
            "SELECT e.body FROM events e LEFT JOIN purchases p ON p.collapse_key = e.collapse_key
             LEFT JOIN platforms f ON f.id = p.platform_id LEFT JOIN users u ON u.id = e.user_id
             LEFT JOIN users o ON o.id = p.user_id WHERE e.id = 'e'",
            "events_id",
        ),
        (
            "SELECT e.user_revision, t.sent_revision FROM events e LEFT JOIN user_lanes t ON t.destination_id = 'd'
             AND t.user_id = e.user_id AND t.environment = 'production' LEFT JOIN user_lanes o
             ON o.destination_id = 'd' AND o.user_id = 'u' AND o.environment = 'production' WHERE e.id = 'e'",
            "events_id",
        ),
        (SENT, "events_of_user"),
        (SENT, "deliveries_event"),
    ];
    statements.into_iter().map(|(question, index)| (question.to_owned(), index)).collect()
}

/// The statements of the sweep.
fn questions_of_sweeps() -> Vec<(String, &'static str)> {
    vec![
        (
            "SELECT n.collapse_key FROM notifications n WHERE n.outcome IS NULL AND n.waiting_topic_id IS NULL
                 AND n.due_at < 7 AND NOT EXISTS (SELECT 1 FROM notifications m
                 WHERE m.collapse_key = n.collapse_key AND m.outcome IS NULL AND m.waiting_topic_id IS NULL
                 AND m.seq + 0 > n.seq) AND NOT EXISTS (SELECT 1 FROM purchases p
                 WHERE p.collapse_key = n.collapse_key AND (p.held_until > 7 OR p.waits_through >= n.seq))
                 ORDER BY n.due_at LIMIT 9"
                .to_owned(),
            "notifications_due",
        ),
        (
            format!(
                "SELECT DISTINCT n.collapse_key FROM notifications n WHERE {OPEN} AND n.cap_at IS NOT NULL
                 AND n.cap_at < 7 AND NOT EXISTS (SELECT 1 FROM purchases p WHERE p.collapse_key = n.collapse_key
                 AND (p.held_until > 7 OR p.waits_through >= n.seq)) LIMIT 9"
            ),
            "notifications_cap",
        ),
        (
            format!(
                "SELECT d.collapse_key FROM deliveries d WHERE d.status = 'pending' AND d.next_due_at < 7
                 AND {NOT_LEASED} AND d.destination_id = 'd' ORDER BY d.next_due_at LIMIT 1"
            ),
            "deliveries_due",
        ),
        (
            format!(
                "SELECT d.collapse_key FROM deliveries d WHERE d.status = 'pending' AND d.tried_at < 7
                 AND {NOT_LEASED} AND d.destination_id = 'd' ORDER BY d.tried_at LIMIT 1"
            ),
            "deliveries_tried",
        ),
        (
            "SELECT collapse_key FROM purchases WHERE next_wake_at IS NOT NULL AND next_wake_at <= 7
             AND (wake_tried_at IS NULL OR wake_tried_at <= next_wake_at OR wake_tried_at <= 7)
             AND (held_until IS NULL OR held_until <= 7) AND platform_id = 'p' ORDER BY next_wake_at LIMIT 9"
                .to_owned(),
            "purchases_wake",
        ),
        (
            "SELECT collapse_key FROM purchases WHERE (waits_for IS NOT NULL OR waits_through IS NOT NULL)
             AND next_wake_at <= 7 AND (wake_tried_at IS NULL OR wake_tried_at <= next_wake_at OR wake_tried_at <= 7)
             AND (held_until IS NULL OR held_until <= 7) AND platform_id = 'p' ORDER BY next_wake_at LIMIT 9"
                .to_owned(),
            "purchases_waiting",
        ),
    ]
}

/// The statements of a batch of rechecks.
fn questions_of_rechecks() -> Vec<(String, &'static str)> {
    let listed = |column: &str| {
        format!(
            "EXISTS (SELECT 1 FROM recheck_skus s WHERE s.app_id = purchases.app_id AND s.sku = purchases.{column})"
        )
    };
    let which = [
        "platform_id = 'p' AND waits_for = 'parked'".to_owned(),
        "platform_id = 'p' AND (product_id IS NULL OR waits_for = 'parked')".to_owned(),
        "platform_id = 'p' AND term_sku IS NOT NULL AND product_id IS NOT NULL AND term_sku <> product_id".to_owned(),
        "platform_id = 'p' AND (state IN ('trial', 'trial_off', 'active', 'off', 'grace') OR product_id IS NULL
             OR waits_for IS NOT NULL OR waits_through IS NOT NULL OR updated_at >= 7)"
            .to_owned(),
        "platform_id = 'p' AND unverified_since <= 7".to_owned(),
        format!("({} OR {})", listed("term_sku"), listed("product_id")),
    ];
    let range = "app_id = 'a' AND collapse_key > 'k' AND collapse_key <= 'l'";
    let batches = which.map(|which| format!("UPDATE purchases SET next_wake_at = 7 WHERE {range} AND {which}"));
    let few = |which: &str| format!("SELECT 1 FROM purchases WHERE {which} LIMIT 9");
    let mut statements: Vec<_> = batches.into_iter().map(|question| (question, "purchases_app")).collect();
    statements.extend([
        (few("app_id = 'a' AND term_sku = 's'"), "purchases_term_sku"),
        (few("app_id = 'a' AND product_id = 's'"), "purchases_product"),
        (few("platform_id = 'p' AND (waits_for IS NOT NULL OR waits_through IS NOT NULL)"), "purchases_waiting"),
    ]);
    statements
}

/// The other statements of a settling: owners, links and the catalogue.
fn questions_of_settlings() -> Vec<(String, &'static str)> {
    let statements = [
        (
            "SELECT app_user_id FROM notifications WHERE collapse_key = 'k' AND outcome IS NULL
             AND waiting_topic_id IS NULL AND app_user_id IS NOT NULL ORDER BY seq + 0 DESC LIMIT 1",
            "notifications_of_key",
        ),
        (
            "SELECT p.purchase FROM purchases p JOIN platforms f ON f.id = p.platform_id
             LEFT JOIN replacements r ON r.old_key = p.collapse_key WHERE p.user_id = 'u' ORDER BY p.collapse_key",
            "purchases_user",
        ),
        (
            "SELECT p.purchase FROM replacements r JOIN purchases p ON p.collapse_key = r.old_key WHERE r.new_key = 'k'
             ORDER BY r.created_at DESC, r.old_key LIMIT 1",
            "replacements_new",
        ),
        ("UPDATE replacements SET real_at = 7 WHERE new_key = 'k' AND real_at IS NULL", "replacements_new"),
        ("UPDATE purchases SET next_wake_at = 7 WHERE platform_id = 'p' AND waits_for = 'parked'", "purchases_waiting"),
        (
            "SELECT p.collapse_key FROM purchases p WHERE p.user_id IN
             (SELECT u.id FROM users u WHERE u.external_id = 'e')",
            "users_external",
        ),
    ];
    statements.into_iter().map(|(question, index)| (question.to_owned(), index)).collect()
}

/// All of them.
fn all() -> impl Iterator<Item = (String, &'static str)> {
    let others = questions_of_people()
        .into_iter()
        .chain(questions_of_sweeps())
        .chain(questions_of_settlings())
        .chain(questions_of_rechecks());
    let lanes = questions_of_destinations().into_iter().chain(questions_of_claims());
    questions().into_iter().chain(others).chain(lanes).chain(questions_of_accounting()).chain(questions_of_sales())
}

/// Each statement as `storage` runs it, and the index that must serve it.
fn questions() -> Vec<(String, &'static str)> {
    vec![
        (
            format!(
                "SELECT seq, body FROM notifications WHERE collapse_key = 'k' AND {OPEN} ORDER BY seq + 0 LIMIT 500"
            ),
            "notifications_of_key",
        ),
        (
            format!("SELECT n.seq FROM notifications n WHERE {OPEN} AND n.seq > 7 AND {WAITS} ORDER BY n.seq LIMIT 9"),
            "notifications_open",
        ),
        (
            format!("SELECT n.accepted_at FROM notifications n WHERE {OPEN} AND {WAITS} ORDER BY n.seq LIMIT 1"),
            "notifications_open",
        ),
        (
            "SELECT id FROM deliveries WHERE collapse_key = 'k' AND destination_id = 'd' AND status = 'pending'
             AND event_type = 'purchase.updated' ORDER BY seq DESC LIMIT 1"
                .to_owned(),
            "deliveries_pending",
        ),
        (
            "SELECT seq FROM notifications WHERE message_id = 'm' AND receipt_id = 'r' AND store_type = 's' AND platform_id = 'p'"
                .to_owned(),
            "notifications_identity",
        ),
        (
            "SELECT message_id FROM notifications WHERE collapse_key = 'k' AND fold_key = 'f'".to_owned(),
            "notifications_of_key",
        ),
        ("SELECT id FROM platforms WHERE deleted_at IS NULL AND ingress_key = 'i'".to_owned(), "platforms_ingress_key"),
    ]
}

story! {
    async fn every_frequent_question_is_answered_by_its_index(world: World) {
        let Raw::Sqlite(mut connection) = world.raw() else { return on_postgres_with_scans_forbidden(&world) };
        for (question, index) in all() {
            let steps: Vec<Step> = diesel::sql_query(format!("EXPLAIN QUERY PLAN {question}")).load(&mut connection).unwrap();
            let plan: Vec<_> = steps.into_iter().map(|step| step.detail).collect();
            assert!(plan.iter().any(|step| step.contains(&format!("INDEX {index}"))), "{question}\n{plan:#?}");
            for step in plan.iter().filter(|step| step.starts_with("SCAN ")) {
                // Walking an index from its oldest end is no scan of a table.
                assert!(step.contains("INDEX"), "{question}\n{plan:#?}");
            }
        }
    }
}

/// A planner scans tables that are empty; forbidden to, it shows whether an index can answer.
fn on_postgres_with_scans_forbidden(world: &World) {
    let Raw::Postgres(mut connection) = world.raw() else { return };
    diesel::sql_query("SET enable_seqscan = off").execute(&mut connection).unwrap();
    for (question, _) in all() {
        let lines: Vec<Line> = diesel::sql_query(format!("EXPLAIN {question}")).load(&mut connection).unwrap();
        let plan = lines.into_iter().map(|line| line.text).collect::<Vec<_>>().join("\n");
        for table in
            ["notifications", "purchases", "deliveries", "replacements", "users", "events", "lanes", "user_lanes"]
        {
            assert!(!plan.contains(&format!("Seq Scan on {table}")), "{question}\n{plan}");
        }
    }
}
