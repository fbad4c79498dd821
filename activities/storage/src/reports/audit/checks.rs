//! The rules, each with the statement that finds what breaks it.
//!
//! One statement sees one moment, so that rows written meanwhile never look broken.

use super::walk::{DELIVERIES, EVENTS, LANES, NOTIFICATIONS, PURCHASES, USERS};
use super::{Check, Rule, acceptance, owed};
use crate::db::sql::statement;

const fn rule(of: &'static str, name: &'static str, description: &'static str) -> Rule {
    Rule { name, description, of }
}

/// The rules, those of a table together, and how each is checked.
pub const CHECKS: &[(Rule, Check)] = &[
    (
        rule(
            "acceptances",
            "accepted_is_stored",
            "every notification that was accepted is still there, with any outcome",
        ),
        Check::Code(acceptance::accepted_are_stored),
    ),
    (
        rule("notifications", "stored_was_accepted", "every notification is noted as accepted"),
        Check::Code(acceptance::stored_were_accepted),
    ),
    (
        rule("notifications", "an_outcome_has_a_time", "what has an outcome ended at a time, and nothing else did"),
        Check::Text(statement! {"
            SELECT n.message_id AS value
            FROM notifications n
            WHERE {NOTIFICATIONS} AND (n.outcome IS NULL) <> (n.finished_at IS NULL)
            ORDER BY n.seq
        "}),
    ),
    (
        rule(
            "notifications",
            "an_outcome_names_a_revision",
            "what was settled, with a change or without, names a revision that its purchase has reached",
        ),
        Check::Text(statement! {"
            SELECT n.message_id AS value
            FROM notifications n
            WHERE {NOTIFICATIONS} AND n.outcome IN ('settled', 'no_change')
                AND (n.revision IS NULL OR NOT EXISTS (SELECT 1 FROM purchases p
                    WHERE p.collapse_key = n.collapse_key AND p.revision >= n.revision))
            ORDER BY n.seq
        "}),
    ),
    (
        rule(
            "notifications",
            "settled_was_announced",
            "the revision in which a notification was settled has its event",
        ),
        Check::Text(statement! {"
            SELECT n.message_id AS value
            FROM notifications n
            WHERE {NOTIFICATIONS} AND n.outcome = 'settled'
                AND NOT EXISTS (SELECT 1 FROM events e WHERE e.collapse_key = n.collapse_key
                    AND e.event_type = 'purchase.updated' AND e.revision = n.revision)
            ORDER BY n.seq
        "}),
    ),
    (
        rule("notifications", "a_topic_can_be_approved", "what waits for a topic names one that exists"),
        Check::Text(statement! {"
            SELECT n.message_id AS value
            FROM notifications n
            WHERE {NOTIFICATIONS} AND n.outcome IS NULL AND n.waiting_topic_id IS NOT NULL
                AND NOT EXISTS (SELECT 1 FROM topics t WHERE t.id = n.waiting_topic_id)
            ORDER BY n.seq
        "}),
    ),
    (
        rule(
            "purchases",
            "revisions_were_announced",
            "a purchase has one purchase.updated for each of its revisions, from 1 on without a gap",
        ),
        Check::Text(statement! {hot "events_of_key", "
            SELECT p.collapse_key AS value
            FROM purchases p
            WHERE {PURCHASES}
                AND NOT EXISTS (SELECT 1 FROM (SELECT COUNT(*) AS announced,
                    COUNT(DISTINCT e.revision) AS revisions, COALESCE(MIN(e.revision), 1) AS first,
                    COALESCE(MAX(e.revision), 0) AS last FROM events e
                    WHERE e.collapse_key = p.collapse_key AND e.event_type = 'purchase.updated') x
                    WHERE x.announced = p.revision AND x.revisions = p.revision AND x.first = 1
                    AND x.last = p.revision)
            ORDER BY p.collapse_key
        "}),
    ),
    (
        rule("purchases", "an_owner_exists", "the owner of a purchase is a user of its app"),
        Check::Text(statement! {"
            SELECT p.collapse_key AS value
            FROM purchases p
            WHERE {PURCHASES} AND p.user_id IS NOT NULL
                AND NOT EXISTS (SELECT 1 FROM users u WHERE u.id = p.user_id AND u.app_id = p.app_id)
            ORDER BY p.collapse_key
        "}),
    ),
    (
        rule("purchases", "the_ledger_is_whole", "a purchase has as many entries in its ledger as were written"),
        Check::Text(statement! {"
            SELECT p.collapse_key AS value
            FROM purchases p
            WHERE {PURCHASES}
                AND p.payments <> (SELECT COUNT(*) FROM payments m WHERE m.collapse_key = p.collapse_key)
            ORDER BY p.collapse_key
        "}),
    ),
    (
        rule(
            "users",
            "user_revisions_were_announced",
            "each revision of a user was announced by at least one event, from 1 on without a gap",
        ),
        Check::Text(statement! {hot "events_of_user", "
            SELECT u.id AS value
            FROM users u
            WHERE {USERS}
                AND NOT EXISTS (SELECT 1 FROM (SELECT COUNT(DISTINCT e.user_revision) AS revisions,
                    COALESCE(MIN(e.user_revision), 1) AS first, COALESCE(MAX(e.user_revision),
                    0) AS last FROM events e WHERE e.user_id = u.id) x WHERE x.revisions = u.revision
                    AND x.first = 1 AND x.last = u.revision)
            ORDER BY u.id
        "}),
    ),
    (
        rule(
            "events",
            "an_event_is_of_something",
            "an event announces a revision that its purchase has reached, or is about a destination that exists",
        ),
        Check::Text(statement! {"
            SELECT e.id AS value
            FROM events e
            WHERE {EVENTS}
                AND NOT EXISTS (SELECT 1 FROM purchases p WHERE p.collapse_key = e.collapse_key
                    AND p.revision >= e.revision)
                AND NOT EXISTS (SELECT 1 FROM destinations x WHERE x.id = e.collapse_key
                    AND e.event_type LIKE 'destination.%')
            ORDER BY e.seq
        "}),
    ),
    (
        rule(
            "events",
            "a_user_event_names_its_user",
            "a user.* event, and a profile, names a user and a revision that they reached",
        ),
        Check::Text(statement! {"
            SELECT e.id AS value
            FROM events e
            WHERE {EVENTS} AND (e.event_type LIKE 'user.%' OR e.event_type = 'profile.updated')
                AND NOT EXISTS (SELECT 1 FROM users u WHERE u.id = e.user_id AND u.revision >= e.user_revision)
            ORDER BY e.seq
        "}),
    ),
    (
        rule(
            "events",
            "coalesced_adds_up",
            "a purchase.updated counts exactly the notifications that were settled in its revision",
        ),
        Check::Code(owed::coalesced),
    ),
    (
        rule(
            "events",
            "an_event_was_owed",
            "an event has a delivery to each destination that existed then and chose it; not checked in the first and \
             last minute, nor of what is older than the destination's present choice",
        ),
        Check::Code(owed::owed),
    ),
    (
        rule(
            "events",
            "an_adjustment_is_booked_and_owed",
            "a revenue.adjusted is in a ledger, and owed to each destination that counts and was owed the payment before",
        ),
        Check::Text(statement! {"
            SELECT e.id AS value
            FROM events e
            WHERE {EVENTS} AND e.event_type = 'revenue.adjusted'
                AND (NOT EXISTS (SELECT 1 FROM payments p WHERE p.event_id = e.id) OR EXISTS (SELECT 1
                    FROM payments p JOIN payments m ON m.collapse_key = p.collapse_key
                    AND m.number = p.number AND m.entry = 0 JOIN deliveries d ON (d.event_id = m.event_id
                    OR d.event_id = m.other_event_id)
                    AND d.created_at < e.created_at JOIN destinations x ON x.id = d.destination_id
                    WHERE p.event_id = e.id AND x.per_user AND x.deleted_at IS NULL AND NOT EXISTS
                    (SELECT 1 FROM deliveries o WHERE o.event_id = e.id
                    AND o.destination_id = d.destination_id)))
            ORDER BY e.seq
        "}),
    ),
    (
        rule("deliveries", "a_delivery_has_its_event", "a delivery's event exists, with its type and revision"),
        Check::Text(statement! {"
            SELECT d.id AS value
            FROM deliveries d
            WHERE {DELIVERIES}
                AND NOT EXISTS (SELECT 1 FROM events e WHERE e.id = d.event_id
                    AND e.event_type = d.event_type AND e.revision = d.revision
                    AND e.collapse_key = d.collapse_key)
            ORDER BY d.seq
        "}),
    ),
    (
        rule("deliveries", "a_status_fits", "a delivery is owed, or ended at a time: one of the two (I2)"),
        Check::Text(statement! {"
            SELECT d.id AS value
            FROM deliveries d
            WHERE {DELIVERIES}
                AND (d.status NOT IN ('pending', 'waiting', 'delivered', 'superseded', 'skipped',
                    'dead') OR (d.status IN ('pending', 'waiting')) <> (d.finished_at IS NULL))
            ORDER BY d.seq
        "}),
    ),
    (
        rule(
            "deliveries",
            "nothing_is_owed_to_the_deleted",
            "nothing is owed to a destination that was deleted ten minutes ago or earlier",
        ),
        Check::Code(owed::to_deleted),
    ),
    (
        rule("deliveries", "delivered_was_answered", "what is delivered has an attempt that was answered with success"),
        Check::Text(statement! {"
            SELECT d.id AS value
            FROM deliveries d
            WHERE {DELIVERIES} AND d.status = 'delivered'
                AND NOT EXISTS (SELECT 1 FROM attempts a WHERE a.delivery_id = d.id
                    AND a.finished_at IS NOT NULL AND a.status BETWEEN 200 AND 299)
            ORDER BY d.seq
        "}),
    ),
    (
        rule(
            "deliveries",
            "acknowledged_is_recorded",
            "the acknowledged revision of a lane is at least that of each purchase.updated delivered in it (I3)",
        ),
        Check::Text(statement! {"
            SELECT d.id AS value
            FROM deliveries d
            WHERE {DELIVERIES} AND d.status = 'delivered' AND d.event_type = 'purchase.updated'
                AND NOT EXISTS (SELECT 1 FROM lanes l WHERE l.destination_id = d.destination_id
                    AND l.collapse_key = d.collapse_key AND l.acked_revision >= d.revision)
            ORDER BY d.seq
        "}),
    ),
    (
        rule(
            "deliveries",
            "a_users_state_is_recorded",
            "where requests are made user by user, the acknowledged state of a user in an environment is at least each one \
             delivered",
        ),
        Check::Text(statement! {"
            SELECT d.id AS value
            FROM deliveries d
            JOIN events e ON e.id = d.event_id
            JOIN destinations x ON x.id = d.destination_id
            WHERE {DELIVERIES} AND d.status = 'delivered' AND x.per_user AND e.user_revision IS NOT NULL
                AND NOT EXISTS (SELECT 1 FROM user_lanes l WHERE l.destination_id = d.destination_id
                    AND l.user_id = e.user_id AND l.environment = d.environment
                    AND l.acked_revision >= e.user_revision)
            ORDER BY d.seq
        "}),
    ),
    (
        rule(
            "deliveries",
            "superseded_by_a_newer",
            "what was superseded has a newer purchase.updated in its lane; a profile, a newer state of a user",
        ),
        Check::Text(statement! {"
            SELECT d.id AS value
            FROM deliveries d
            WHERE {DELIVERIES} AND d.status = 'superseded'
                AND NOT (d.event_type = 'profile.updated' AND EXISTS (SELECT 1
                    FROM events e JOIN events m ON m.seq > e.seq AND m.user_revision IS NOT NULL
                    WHERE e.id = d.event_id AND (m.user_id = e.user_id OR m.collapse_key = e.collapse_key)))
                AND NOT EXISTS (SELECT 1 FROM deliveries m WHERE m.collapse_key = d.collapse_key
                    AND m.destination_id = d.destination_id AND m.seq > d.seq
                    AND m.event_type = 'purchase.updated' AND m.revision >= d.revision)
            ORDER BY d.seq
        "}),
    ),
    (
        rule("deliveries", "attempts_are_recorded", "every attempt that was begun is kept"),
        Check::Text(statement! {"
            SELECT d.id AS value
            FROM deliveries d
            WHERE {DELIVERIES}
                AND d.attempts <> (SELECT COUNT(*) FROM attempts a WHERE a.delivery_id = d.id)
            ORDER BY d.seq
        "}),
    ),
    (
        rule("deliveries", "redeliveries_are_numbered", "an event that was owed again was owed before"),
        Check::Text(statement! {"
            SELECT d.id AS value
            FROM deliveries d
            WHERE {DELIVERIES} AND d.n > 0
                AND NOT EXISTS (SELECT 1 FROM deliveries m WHERE m.event_id = d.event_id
                    AND m.destination_id = d.destination_id AND m.n = d.n - 1)
            ORDER BY d.seq
        "}),
    ),
    (
        rule("deliveries", "revenue_is_in_the_ledger", "the revenue of a delivery is an entry of the ledger"),
        Check::Text(statement! {"
            SELECT d.id AS value
            FROM deliveries d
            WHERE {DELIVERIES} AND d.revenue IS NOT NULL
                AND NOT EXISTS (SELECT 1 FROM payments p WHERE p.event_id = d.event_id AND p.usd = d.revenue)
                AND NOT EXISTS (SELECT 1 FROM payments p WHERE p.other_event_id = d.event_id
                    AND p.usd = d.revenue)
            ORDER BY d.seq
        "}),
    ),
    (
        rule("deliveries", "an_end_has_a_reason", "a delivery that is dead, skipped or waiting has a reason"),
        Check::Text(statement! {"
            SELECT d.id AS value
            FROM deliveries d
            WHERE {DELIVERIES} AND d.status IN ('dead', 'skipped', 'waiting') AND d.last_error IS NULL
            ORDER BY d.seq
        "}),
    ),
    (
        rule(
            "lanes",
            "acknowledged_was_delivered",
            "the acknowledged revision of a lane is the newest purchase.updated that was answered with success",
        ),
        Check::Text(statement! {"
            SELECT l.destination_id || ' ' || l.collapse_key AS value
            FROM lanes l
            WHERE {LANES}
                AND COALESCE(l.acked_revision, 0) <> COALESCE((SELECT MAX(d.revision) FROM deliveries d
                    WHERE d.collapse_key = l.collapse_key AND d.destination_id = l.destination_id
                    AND d.event_type = 'purchase.updated' AND (d.status = 'delivered' OR EXISTS
                    (SELECT 1 FROM attempts a WHERE a.delivery_id = d.id AND a.class = 'success'))), 0)
            ORDER BY l.destination_id, l.collapse_key
        "}),
    ),
];
