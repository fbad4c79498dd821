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

/// The same for what people ask.
fn asked_by_people() -> Vec<(String, &'static str)> {
    vec![
        (
            "SELECT DISTINCT collapse_key FROM notifications WHERE receipt_id = 'r' AND outcome IS NULL
             AND collapse_key IS NOT NULL ORDER BY collapse_key LIMIT 9"
                .to_owned(),
            "notifications_receipt",
        ),
        (
            "SELECT outcome, COUNT(*) FROM notifications WHERE said = 'IMPORTED' AND platform_id = 'p'
             GROUP BY outcome ORDER BY outcome"
                .to_owned(),
            "notifications_imported",
        ),
        (
            "SELECT collapse_key FROM purchases WHERE app_id = 'a' AND collapse_key > 'k' ORDER BY collapse_key LIMIT 9"
                .to_owned(),
            "purchases_app",
        ),
        ("SELECT COUNT(*) FROM purchases WHERE app_id = 'a' AND term_sku = 's'".to_owned(), "purchases_term_sku"),
        (
            "SELECT term_sku, COUNT(*) FROM purchases WHERE app_id = 'a' AND product_id = 's' GROUP BY term_sku".to_owned(),
            "purchases_product",
        ),
        ("UPDATE purchases SET next_wake_at = 1 WHERE user_id = 'u'".to_owned(), "purchases_user"),
        (delivery_list("dead"), "deliveries_dead"),
        (delivery_list("pending"), "deliveries_owed"),
    ]
}

/// What the sweep asks.
fn asked_by_sweeps() -> Vec<(String, &'static str)> {
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
            "SELECT d.collapse_key FROM deliveries d WHERE d.status = 'pending' AND d.next_due_at < 7
             AND NOT EXISTS (SELECT 1 FROM lanes l WHERE l.destination_id = d.destination_id
             AND l.collapse_key = d.collapse_key AND l.lease_until > 7) AND d.destination_id = 'd'
             ORDER BY d.next_due_at LIMIT 9"
                .to_owned(),
            "deliveries_due",
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

/// What a settling asks beside: owners, links and the catalogue.
fn asked_by_settlings() -> Vec<(String, &'static str)> {
    let asked = [
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
        ("UPDATE replacements SET real_at = 7 WHERE new_key = 'k' AND real_at IS NULL", "replacements_new"),
        ("UPDATE purchases SET next_wake_at = 7 WHERE platform_id = 'p' AND waits_for = 'parked'", "purchases_waiting"),
        (
            "SELECT p.collapse_key FROM purchases p WHERE p.user_id IN
             (SELECT u.id FROM users u WHERE u.external_id = 'e')",
            "users_external",
        ),
    ];
    asked.into_iter().map(|(question, index)| (question.to_owned(), index)).collect()
}

/// All of them.
fn all() -> impl Iterator<Item = (String, &'static str)> {
    let others = asked_by_people().into_iter().chain(asked_by_sweeps()).chain(asked_by_settlings());
    questions().into_iter().chain(others)
}

/// Each question as `storage` asks it, and the index that must answer it.
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
            "SELECT seq FROM notifications WHERE message_id = 'm' AND receipt_id = 'r' AND platform_id = 'p'"
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
        for table in ["notifications", "purchases", "deliveries", "replacements", "users"] {
            assert!(!plan.contains(&format!("Seq Scan on {table}")), "{question}\n{plan}");
        }
    }
}
