//! The conditions of the partial indexes over waiting rows: one for each index, used only by its statements.
//!
//! PostgreSQL may serve a statement by any partial index whose predicate the statement implies, even without the
//! index's key. According to the statistics of a quiet time such an index is empty, so a full scan of it seems
//! cheapest, but reads all rows that have begun to wait since. So the predicate of each of these indexes is `status IN
//! ('pending', 'its own word')`, with a word that no row has. A statement with the same condition implies this
//! predicate, and that of no other index. `status = 'pending'`, as in release 0.1.0, implies the predicates of all; no
//! statement contains it any more. On SQLite the predicate is `status = 'pending' OR status IN (…)`, because there
//! `status = 'pending'` would not imply the list.
//!
//! A condition `…_BY_KEY` is for rows that are found by a unique key: it implies the predicate of no partial index.

pub const PENDING_BY_KEY: &str = "IN ('pending', 'by key')";
/// `deliveries_pending_of_lane (collapse_key, destination_id, seq)`
pub const PENDING_OF_LANE: &str = "IN ('pending', 'of lane')";
/// `deliveries_pending_of_destination (destination_id, seq)`
pub const PENDING_OF_DESTINATION: &str = "IN ('pending', 'of destination')";
/// `deliveries_pending_due (destination_id, next_due_at)`, and for claims `claims_pending_due (platform_id, due_at)`
pub const PENDING_DUE: &str = "IN ('pending', 'due')";
/// `deliveries_pending_tried (destination_id, tried_at)`: deliveries that were tried before a destination recovered are
/// due since the recovery.
pub const PENDING_TRIED: &str = "IN ('pending', 'tried')";
/// `deliveries_pending_in_order (seq)`, for lists.
pub const PENDING_IN_ORDER: &str = "IN ('pending', 'in order')";

pub const WAITING_BY_KEY: &str = "IN ('waiting', 'by key')";
/// `deliveries_unnamed_of_lane (collapse_key, destination_id, seq)`
pub const WAITING_OF_LANE: &str = "IN ('waiting', 'of lane')";
/// `deliveries_unnamed_of_destination (destination_id, seq)`
pub const WAITING_OF_DESTINATION: &str = "IN ('waiting', 'of destination')";
/// `deliveries_unnamed_in_time (created_at)`, for those that waited too long.
pub const WAITING_SINCE: &str = "IN ('waiting', 'since')";
/// `deliveries_unnamed_in_order (seq)`, for lists.
pub const WAITING_IN_ORDER: &str = "IN ('waiting', 'in order')";

pub const FAILED_BY_KEY: &str = "IN ('failed', 'by key')";
/// `deliveries_failed_to_destination (destination_id, seq)`
pub const FAILED_OF_DESTINATION: &str = "IN ('failed', 'of destination')";
/// `deliveries_failed_in_order (seq)`, for lists and redeliveries.
pub const FAILED_IN_ORDER: &str = "IN ('failed', 'in order')";
/// `deliveries_skipped_to_destination (destination_id, seq)`
pub const SKIPPED_OF_DESTINATION: &str = "IN ('skipped', 'of destination')";
/// `deliveries_skipped_in_order (seq)`, for lists.
pub const SKIPPED_IN_ORDER: &str = "IN ('skipped', 'in order')";

/// `claims_pending_of_network (platform_id, network, created_at, status)`
pub const PENDING_OF_NETWORK: &str = "IN ('pending', 'of network')";
/// For refused claims that are found by their key; implies no partial index.
pub const REFUSED_BY_KEY: &str = "IN ('refused', 'by key')";

/// `device_deliveries_of_batch (batch_id)`. The only other index over pending device events needs no word: a statement
/// without a batch does not imply this one's predicate.
pub const PENDING_OF_BATCH: &str = "IN ('pending', 'of batch')";

/// A notification without an outcome, for statements that find it by its number.
pub const OPEN_BY_KEY: &str = "|| '' IS NULL";
/// `notifications_open_of_key (collapse_key, seq)`.
pub const OPEN_OF_KEY: &str = "(outcome IS NULL OR outcome = 'of key')";
/// [`OPEN_OF_KEY`], of the notification `n`.
pub const OPEN_OF_KEY_N: &str = "(n.outcome IS NULL OR n.outcome = 'of key')";
/// [`OPEN_OF_KEY`], of the notification `m`.
pub const OPEN_OF_KEY_M: &str = "(m.outcome IS NULL OR m.outcome = 'of key')";
/// `notifications_open_in_order (seq)`, of the open notification `n`, which waits for nothing.
pub const OPEN_IN_ORDER: &str = "(n.outcome IS NULL OR n.outcome = 'in order') AND n.waiting_topic_id IS NULL AND n.waits_since IS NULL";
/// `notifications_open_due`, of the open notification `n`, whose `wakes` must be NULL. The index contains the end of
/// the window.
pub const OPEN_DUE: &str = "(n.outcome IS NULL OR n.outcome = 'due') AND n.waiting_topic_id IS NULL AND n.waits_since IS NULL";
/// `notifications_open_woken (sweep_at)`, of the open notification `n`, whose `wakes` must not be NULL.
pub const OPEN_WOKEN: &str = "(n.outcome IS NULL OR n.outcome = 'woken') AND n.waiting_topic_id IS NULL AND n.waits_since IS NULL";
/// `notifications_open_of_receipt (receipt_id)`.
pub const OPEN_OF_STORE_ID: &str = "(outcome IS NULL OR outcome = 'of receipt')";
/// [`OPEN_OF_STORE_ID`], of the notification `n`.
pub const OPEN_OF_STORE_ID_N: &str = "(n.outcome IS NULL OR n.outcome = 'of receipt')";
/// `notifications_named (seq)`: a notification that has ended, and may still name a customer.
pub const FINISHED_WITH_NAMES: &str =
    "outcome || '' IS NOT NULL AND (app_user_id IS NOT NULL OR body <> '{}')";
/// `notifications_open_of_topic (waiting_topic_id, seq)`, of a notification whose topic must not be NULL.
pub const OPEN_OF_TOPIC: &str = "(outcome IS NULL OR outcome = 'of topic')";

/// `purchases_held_of_app (app_id, held_until)`, of the purchase `p`. `held_until > ?` implies the predicate of
/// `purchases_held`, which has the purchases of all apps; this condition does not.
pub const IS_HELD_OF_APP: &str = "COALESCE(p.held_until, 0) > 0";

// Indexes over all rows of an app, for lists. Each has a condition that is always true, so that only statements that
// repeat it use the index: without statistics SQLite prefers the smallest index for every statement.

/// `deliveries_to_destination (destination_id, seq)`
pub const LISTED: &str = "seq + 0 > 0";
/// `device_events_of_platform (platform_id, seq)`, of the event `e`.
pub const LISTED_E: &str = "e.seq + 0 > 0";
/// `notifications_of_platform (platform_id, seq)`, of the notification `n`.
pub const LISTED_N: &str = "n.seq + 0 > 0";
/// `alarms_of_app (app_id, last_at, seq)`
pub const LISTED_ALARM: &str = "length(app_id) > 0";
