//! No question of a lane, of the sweep or of a redelivery reads a whole table. These are copies of statements that are not
//! constants yet; the others are explained in `statements.rs`.

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

/// The statements of the audit for each row, and of redeliveries.
fn questions_of_accounting() -> Vec<(String, &'static str)> {
    let statements = [
        (
            "SELECT id FROM deliveries WHERE collapse_key = 'k' AND destination_id = 'd' AND status = 'pending'
             AND event_type = 'purchase.updated' ORDER BY seq DESC LIMIT 1",
            "deliveries_pending",
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
    ];
    statements.into_iter().map(|(text, index)| (text.to_owned(), index)).collect()
}

const NOT_LEASED: &str = "NOT EXISTS (SELECT 1 FROM lanes l WHERE l.destination_id = d.destination_id
     AND l.collapse_key = d.collapse_key AND l.lease_until > 7)";
const USER_IS_FREE: &str = "NOT EXISTS (SELECT 1 FROM purchases p JOIN platforms f ON f.id = p.platform_id
     JOIN user_lanes u ON u.destination_id = d.destination_id AND u.user_id = p.user_id AND u.environment = CASE WHEN f.environment = 'sandbox' THEN f.environment ELSE COALESCE(p.environment, f.environment) END
     WHERE p.collapse_key = d.collapse_key AND (u.lease_until > 7 OR u.paused_until > 7))";

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
            "SELECT DISTINCT n.collapse_key FROM notifications n WHERE n.outcome IS NULL AND n.waiting_topic_id IS NULL AND n.cap_at IS NOT NULL
                 AND n.cap_at < 7 AND NOT EXISTS (SELECT 1 FROM purchases p WHERE p.collapse_key = n.collapse_key
                 AND (p.held_until > 7 OR p.waits_through >= n.seq)) LIMIT 9"
                .to_owned(),
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

/// All of them.
fn all() -> impl Iterator<Item = (String, &'static str)> {
    let lanes = questions_of_destinations().into_iter().chain(questions_of_claims());
    questions_of_sweeps().into_iter().chain(lanes).chain(questions_of_accounting())
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
