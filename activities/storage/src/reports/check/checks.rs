//! The tables that are checked, and their rules, each with the condition for rows that break it.
//!
//! A rule is checked by one statement, which sees the database as of one moment. So rows that are written during the
//! check never appear broken.

use super::range::{
    DELIVERIES, DESTINATIONS, DEVICE_EVENTS, EVENTS, KeyKind, LANES, NOTIFICATIONS, PURCHASES,
    USERS,
};
use super::{By, Check, Table, acceptance, periods, queued};
use db::sql::{Sql, clause, statement};

/// Declares the rules of a table: `name: "the rule", "the condition for rows that break it";`. The condition is `(hot
/// "index", "…")` if a test checks that it uses this index, and `(by function)` if one statement for both databases is
/// not enough.
macro_rules! checks {
    ($list:ident: $($name:ident: $description:literal, $how:tt;)*) => {
        &[$(Check { name: stringify!($name), description: $description, by: checks!(@ $list $how) }),*]
    };
    (@ $list:ident (by $code:path)) => { By::Code($code) };
    (@ $list:ident (hot $index:literal, $condition:literal)) => {
        By::Clause(clause!(&[$list], hot $index, $condition))
    };
    (@ $list:ident $condition:literal) => { By::Clause(clause!(&[$list], $condition)) };
}

/// All tables that are checked, in the order of the check.
pub const TABLES: &[Table] = &[
    Table {
        name: "acceptances",
        key: KeyKind::Number,
        keys: statement!(
            "SELECT CAST(seq AS TEXT) AS value FROM acceptances WHERE seq > ? ORDER BY seq LIMIT ?"
        ),
        checks: ACCEPTANCES_CHECKS,
    },
    Table {
        name: "notifications",
        key: KeyKind::Number,
        keys: statement!(
            "SELECT CAST(seq AS TEXT) AS value FROM notifications WHERE seq > ? ORDER BY seq LIMIT ?"
        ),
        checks: NOTIFICATIONS_CHECKS,
    },
    Table {
        name: "purchases",
        key: KeyKind::Text,
        keys: statement! {"
            SELECT collapse_key AS value FROM purchases WHERE collapse_key > ? ORDER BY collapse_key LIMIT ?
        "},
        checks: PURCHASES_CHECKS,
    },
    Table {
        name: "users",
        key: KeyKind::Text,
        keys: statement!("SELECT id AS value FROM users WHERE id > ? ORDER BY id LIMIT ?"),
        checks: USERS_CHECKS,
    },
    Table {
        name: "events",
        key: KeyKind::Number,
        keys: statement!(
            "SELECT CAST(seq AS TEXT) AS value FROM events WHERE seq > ? ORDER BY seq LIMIT ?"
        ),
        checks: EVENTS_CHECKS,
    },
    Table {
        name: "deliveries",
        key: KeyKind::Number,
        keys: statement!(
            "SELECT CAST(seq AS TEXT) AS value FROM deliveries WHERE seq > ? ORDER BY seq LIMIT ?"
        ),
        checks: DELIVERIES_CHECKS,
    },
    Table {
        name: "lanes",
        key: KeyKind::Pair,
        keys: statement! {"
            SELECT destination_id || '_' || collapse_key AS value
            FROM lanes
            WHERE (destination_id, collapse_key) > (?, ?)
            ORDER BY destination_id, collapse_key
            LIMIT ?
        "},
        checks: LANES_CHECKS,
    },
    Table {
        name: "destinations",
        key: KeyKind::Text,
        keys: statement!("SELECT id AS value FROM destinations WHERE id > ? ORDER BY id LIMIT ?"),
        checks: DESTINATIONS_CHECKS,
    },
    Table {
        name: "device_events",
        key: KeyKind::Number,
        keys: statement!(
            "SELECT CAST(seq AS TEXT) AS value FROM device_events WHERE seq > ? ORDER BY seq LIMIT ?"
        ),
        checks: DEVICE_EVENTS_CHECKS,
    },
];

const ACCEPTANCES_CHECKS: &[Check] = checks! {ACCEPTANCES:
    accepted_is_stored: "every notification that was accepted is still there, with any outcome",
        (by acceptance::accepted_are_stored);
};

const BROKEN_NOTIFICATIONS: Sql = statement! {"
    SELECT n.message_id AS value
    FROM notifications n
    WHERE {NOTIFICATIONS} AND ({{which}})
    ORDER BY n.seq
"};

const NOTIFICATIONS_CHECKS: &[Check] = checks! {BROKEN_NOTIFICATIONS:
    stored_was_accepted: "every notification is noted as accepted",
        (by acceptance::stored_were_accepted);
    an_outcome_has_a_time: "what has an outcome ended at a time, and nothing else did",
        "(n.outcome IS NULL) <> (n.finished_at IS NULL)";
    an_outcome_names_a_revision: "what was settled, with a change or without, names a revision that its purchase has \
        reached",
        "n.outcome IN ('settled', 'no_change')
            AND (n.revision IS NULL OR NOT EXISTS (SELECT 1 FROM purchases p
                WHERE p.collapse_key = n.collapse_key AND p.revision >= n.revision))";
    settled_was_announced: "the revision in which a notification was settled has its event",
        "n.outcome = 'settled'
            AND NOT EXISTS (SELECT 1 FROM events e WHERE e.collapse_key = n.collapse_key
                AND e.event_type = 'purchase.updated' AND e.revision = n.revision)";
    a_topic_can_be_approved: "what waits for a topic names one that exists",
        "n.outcome || '' IS NULL AND n.waiting_topic_id IS NOT NULL
            AND NOT EXISTS (SELECT 1 FROM topics t WHERE t.id = n.waiting_topic_id)";
};

const BROKEN_PURCHASES: Sql = statement! {"
    SELECT p.collapse_key AS value
    FROM purchases p
    WHERE {PURCHASES} AND ({{which}})
    ORDER BY p.collapse_key
"};

const PURCHASES_CHECKS: &[Check] = checks! {BROKEN_PURCHASES:
    revisions_were_announced: "a purchase has one purchase.updated for each of its revisions, from 1 on without a gap",
        (hot "events_of_key", "NOT EXISTS (SELECT 1 FROM (SELECT COUNT(*) AS announced,
            COUNT(DISTINCT e.revision) AS revisions, COALESCE(MIN(e.revision), 1) AS first,
            COALESCE(MAX(e.revision), 0) AS last FROM events e
            WHERE e.collapse_key = p.collapse_key AND e.event_type = 'purchase.updated') x
            WHERE x.announced = p.revision AND x.revisions = p.revision AND x.first = 1
            AND x.last = p.revision)");
    an_owner_exists: "the owner of a purchase is a user of its app",
        "p.user_id IS NOT NULL
            AND NOT EXISTS (SELECT 1 FROM users u WHERE u.id = p.user_id AND u.app_id = p.app_id)";
    the_ledger_is_whole: "a purchase has as many entries in its ledger as were written",
        "p.payments <> (SELECT COUNT(*) FROM payments m WHERE m.collapse_key = p.collapse_key)";
    each_payment_adds_up: "for a store that shows each payment, the entries of a transaction add up to its price less what \
        was returned, as far as that is known in USD",
        (by periods::differing);
};

const BROKEN_USERS: Sql = statement! {"
    SELECT u.id AS value
    FROM users u
    WHERE {USERS} AND ({{which}})
    ORDER BY u.id
"};

const USERS_CHECKS: &[Check] = checks! {BROKEN_USERS:
    user_revisions_were_announced: "each revision of a user was announced by at least one event, from 1 on without a \
        gap; not checked while a customer of the app is being erased",
        (hot "events_of_user", "NOT EXISTS (SELECT 1 FROM (SELECT COUNT(DISTINCT e.user_revision) AS revisions,
            COALESCE(MIN(e.user_revision), 1) AS first, COALESCE(MAX(e.user_revision), 0) AS last
            FROM events e WHERE e.user_id = u.id) x
            WHERE x.revisions = u.revision AND x.first = 1 AND x.last = u.revision)
            AND NOT EXISTS (SELECT 1 FROM erasures g WHERE g.app_id = u.app_id AND g.removed_at IS NULL)");
};

const BROKEN_EVENTS: Sql = statement! {"
    SELECT e.id AS value
    FROM events e
    WHERE {EVENTS} AND ({{which}})
    ORDER BY e.seq
"};

const EVENTS_CHECKS: &[Check] = checks! {BROKEN_EVENTS:
    an_event_is_of_something: "an event announces a revision that its purchase has reached, or is about a destination \
        that exists, about an alarm, or about a user who was erased",
        "NOT EXISTS (SELECT 1 FROM purchases p WHERE p.collapse_key = e.collapse_key
                AND p.revision >= e.revision)
            AND NOT EXISTS (SELECT 1 FROM destinations x WHERE x.id = e.collapse_key
                AND e.event_type LIKE 'destination.%')
            AND NOT EXISTS (SELECT 1 FROM users u WHERE u.id = e.collapse_key
                AND e.event_type = 'user.erased')
            AND e.event_type NOT LIKE 'alarm.%'";
    a_user_event_names_its_user: "a user.* event, and a profile, names a user and a revision that they reached; a \
        user.erased has no revision",
        "(e.event_type LIKE 'user.%' OR e.event_type = 'profile.updated')
            AND NOT EXISTS (SELECT 1 FROM users u WHERE u.id = e.user_id
                AND (u.revision >= e.user_revision OR e.event_type = 'user.erased'))";
    coalesced_adds_up: "a purchase.updated counts exactly the store's notifications that were settled in its revision",
        (by queued::coalesced);
    an_event_was_queued: "an event has a delivery to each destination that existed then and chose it; not checked in \
        the first and last minute, nor of what is older than the destination's present choice",
        (by queued::queued);
    an_adjustment_is_booked_and_queued: "a revenue.adjusted is in a ledger, and was queued for each destination that \
        counts and that the payment was queued for before",
        "e.event_type = 'revenue.adjusted'
            AND (NOT EXISTS (SELECT 1 FROM payments p WHERE p.event_id = e.id) OR EXISTS (SELECT 1
                FROM payments p JOIN payments m ON m.collapse_key = p.collapse_key
                AND m.number = p.number AND m.entry = 0 JOIN deliveries d ON (d.event_id = m.event_id
                OR d.event_id = m.other_event_id)
                AND d.created_at < e.created_at JOIN destinations x ON x.id = d.destination_id
                WHERE p.event_id = e.id AND x.per_user AND x.deleted_at IS NULL AND NOT EXISTS
                (SELECT 1 FROM deliveries o WHERE o.event_id = e.id
                AND o.destination_id = d.destination_id)))";
};

const BROKEN_DELIVERIES: Sql = statement! {"
    SELECT d.id AS value
    FROM deliveries d
    WHERE {DELIVERIES} AND ({{which}})
    ORDER BY d.seq
"};

const DELIVERIES_CHECKS: &[Check] = checks! {BROKEN_DELIVERIES:
    a_delivery_has_its_event: "a delivery's event exists, with its type and revision",
        "NOT EXISTS (SELECT 1 FROM events e WHERE e.id = d.event_id
            AND e.event_type = d.event_type AND e.revision = d.revision
            AND e.collapse_key = d.collapse_key)";
    a_status_fits: "a delivery is pending, or ended at a time: one of the two (I2)",
        "d.status NOT IN ('pending', 'waiting', 'delivered', 'superseded', 'skipped', 'failed')
            OR (d.status IN ('pending', 'waiting')) <> (d.finished_at IS NULL)";
    nothing_is_pending_for_the_deleted: "nothing is pending for a destination that was deleted ten minutes ago or \
        earlier",
        (by queued::to_deleted);
    delivered_was_answered: "what is delivered has an attempt that was answered with success, until the retention",
        "d.status = 'delivered' AND d.pruned_at IS NULL
            AND NOT EXISTS (SELECT 1 FROM attempts a WHERE a.delivery_id = d.id
                AND a.finished_at IS NOT NULL AND a.status BETWEEN 200 AND 299)";
    acknowledged_is_recorded: "the acknowledged revision of a lane is at least that of each purchase.updated \
        delivered in it (I3)",
        "d.status = 'delivered' AND d.event_type = 'purchase.updated'
            AND NOT EXISTS (SELECT 1 FROM lanes l WHERE l.destination_id = d.destination_id
                AND l.collapse_key = d.collapse_key AND l.acked_revision >= d.revision)";
    a_users_state_is_recorded: "where requests are made user by user, the acknowledged state of a user in an \
        environment is at least each one delivered; that of a customer who was erased is not known",
        "d.status = 'delivered' AND EXISTS (SELECT 1 FROM events e JOIN destinations x ON x.id = d.destination_id
            WHERE e.id = d.event_id AND x.per_user AND e.user_revision IS NOT NULL
            AND NOT EXISTS (SELECT 1 FROM user_lanes l WHERE l.destination_id = d.destination_id
                AND l.user_id = e.user_id AND l.environment = d.environment
                AND l.acked_revision >= e.user_revision)
            AND NOT EXISTS (SELECT 1 FROM erasures g WHERE g.user_id = e.user_id)
            AND NOT EXISTS (SELECT 1 FROM erasures g WHERE g.app_id = x.app_id AND g.removed_at IS NULL))";
    superseded_by_a_newer: "what was superseded has a newer purchase.updated in its lane; a profile, a newer state of \
        its user, or of the one that an anonymous user became",
        "d.status = 'superseded'
            AND NOT (d.event_type = 'profile.updated' AND EXISTS (SELECT 1
                FROM events e JOIN events m ON m.seq > e.seq AND m.user_revision IS NOT NULL
                WHERE e.id = d.event_id AND (m.user_id = e.user_id
                    OR (m.collapse_key = e.collapse_key
                        AND (SELECT u.external_id FROM users u WHERE u.id = e.user_id) IS NULL))))
            AND NOT EXISTS (SELECT 1 FROM deliveries m WHERE m.collapse_key = d.collapse_key
                AND m.destination_id = d.destination_id AND m.seq > d.seq
                AND m.event_type = 'purchase.updated' AND m.revision >= d.revision)";
    attempts_are_recorded: "every attempt that was begun is kept until the retention removes it, and there is no other",
        "d.attempts < (SELECT COUNT(*) FROM attempts a WHERE a.delivery_id = d.id)
            OR (d.pruned_at IS NULL
                AND d.attempts > (SELECT COUNT(*) FROM attempts a WHERE a.delivery_id = d.id))";
    an_end_frees_the_body: "what ended keeps no body: it is never sent again",
        "d.finished_at IS NOT NULL AND d.body IS NOT NULL";
    redeliveries_are_numbered: "an event that was queued again was queued before",
        "d.n > 0
            AND NOT EXISTS (SELECT 1 FROM deliveries m WHERE m.event_id = d.event_id
                AND m.destination_id = d.destination_id AND m.n = d.n - 1)";
    revenue_is_in_the_ledger: "the revenue of a delivery is an entry of the ledger",
        "d.revenue IS NOT NULL
            AND NOT EXISTS (SELECT 1 FROM payments p WHERE p.event_id = d.event_id AND p.usd = d.revenue)
            AND NOT EXISTS (SELECT 1 FROM payments p WHERE p.other_event_id = d.event_id
                AND p.usd = d.revenue)";
    an_end_has_a_reason: "a delivery that failed, was skipped or waits has a reason",
        "d.status IN ('failed', 'skipped', 'waiting') AND d.last_error IS NULL";
};

const BROKEN_LANES: Sql = statement! {"
    SELECT l.destination_id || ' ' || l.collapse_key AS value
    FROM lanes l
    WHERE {LANES} AND ({{which}})
    ORDER BY l.destination_id, l.collapse_key
"};

const LANES_CHECKS: &[Check] = checks! {BROKEN_LANES:
    acknowledged_was_delivered: "the acknowledged revision of a lane is the latest purchase.updated that was answered \
        with success",
        (hot "deliveries_of_key", "COALESCE(l.acked_revision, 0) <> COALESCE((SELECT MAX(d.revision) FROM deliveries d
            WHERE d.collapse_key = l.collapse_key AND d.destination_id = l.destination_id
            AND d.event_type = 'purchase.updated' AND (d.status = 'delivered' OR EXISTS
            (SELECT 1 FROM attempts a WHERE a.delivery_id = d.id AND a.class = 'success'))), 0)");
};

const BROKEN_DESTINATIONS: Sql = statement! {"
    SELECT d.id AS value
    FROM destinations d
    WHERE {DESTINATIONS} AND ({{which}})
    ORDER BY d.id
"};

const DESTINATIONS_CHECKS: &[Check] = checks! {BROKEN_DESTINATIONS:
    a_destination_has_its_places: "a destination has a place for each request that it takes at once, and one for its probe",
        (hot "leases_pkey or sqlite_autoindex_leases", "(SELECT COUNT(*) FROM leases l
            WHERE l.destination_id = d.id AND l.place < d.concurrency) <> d.concurrency + 1");
    a_lane_has_one_lease: "at most one place of a destination is leased to a purchase",
        (hot "leases_of_lane", "EXISTS (SELECT 1 FROM leases l WHERE l.destination_id = d.id
            AND l.collapse_key IS NOT NULL GROUP BY l.collapse_key HAVING COUNT(*) > 1)");
};

const BROKEN_DEVICE_EVENTS: Sql = statement! {"
    SELECT e.id AS value
    FROM device_events e
    WHERE {DEVICE_EVENTS} AND ({{which}})
    ORDER BY e.seq
"};

const DEVICE_EVENTS_CHECKS: &[Check] = checks! {BROKEN_DEVICE_EVENTS:
    a_device_event_was_queued: "an event of a device was queued for each destination that existed then and chose it; \
        not checked in the first and last minute, nor of what is older than the destination's present choice",
        (by queued::of_devices);
    a_device_status_fits: "an event of a device is pending, or ended at a time: one of the two",
        "EXISTS (SELECT 1 FROM device_deliveries d WHERE d.event_seq = e.seq
            AND (d.status NOT IN ('pending', 'delivered', 'skipped', 'failed')
                OR (d.status = 'pending') <> (d.finished_at IS NULL)))";
    a_delivered_device_event_was_answered: "an event of a device that is delivered was answered with success",
        "EXISTS (SELECT 1 FROM device_deliveries d WHERE d.event_seq = e.seq AND d.status = 'delivered'
            AND COALESCE(d.last_status, 0) NOT BETWEEN 200 AND 299)";
};
