//! Every name that the engine knows us by, and what a workflow may ask of the outside world.
//!
//! All of them are public for ever: a renamed activity strands every open run.

use domain::CollapseKey;

/// Task queue of workflows and of the activities that only touch storage.
pub const TASK_QUEUE: &str = "settle";
/// Task queue of `deliver`: its own slots, so that a hanging destination starves nobody.
pub const DELIVER_QUEUE: &str = "settle-deliver";
/// Workflow type of a purchase.
pub const PURCHASE: &str = "purchase";
/// Workflow type, and fixed id, of the sweep.
pub const SWEEP: &str = "sweep";
/// Signal: new rows in the inbox.
pub const NOTIFIED: &str = "notified";
/// Signal: look at the purchase now.
pub const WAKE: &str = "wake";
/// Signal: settle now.
pub const FLUSH: &str = "flush";
/// Signal: stop settling.
pub const HOLD: &str = "hold";
/// Signal: end a hold.
pub const RELEASE: &str = "release";
/// Signal: throw away what waits.
pub const DISCARD: &str = "discard";
/// Signal: send the newest state again.
pub const REDELIVER: &str = "redeliver";
/// Query: what the purchase is waiting for.
pub const STATUS: &str = "status";

/// The workflow id of a purchase.
#[must_use]
pub fn workflow_id(key: CollapseKey) -> String {
    format!("{PURCHASE}/{key}")
}

/// The purchase that a workflow id names: the inverse of [`workflow_id`].
#[must_use]
pub fn collapse_key(workflow_id: &str) -> Option<CollapseKey> {
    workflow_id.strip_prefix(PURCHASE)?.strip_prefix('/')?.parse().ok()
}
