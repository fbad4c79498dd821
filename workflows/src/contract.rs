//! Every name that the engine knows us by, and what a workflow may ask of the outside world.
//!
//! All of them are public for ever: a renamed activity strands every open run.

use domain::{CollapseKey, DestinationId};

/// Task queue of workflows and of the activities that only touch storage.
pub const TASK_QUEUE: &str = "settle";
/// Task queue of `deliver` and `tend`: its own slots, so that a hanging destination starves nobody.
pub const DELIVER_QUEUE: &str = "settle-deliver";
/// Workflow type of a purchase.
pub const PURCHASE: &str = "purchase";
/// Workflow type of a destination that owes.
pub const DESTINATION: &str = "destination";
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
/// Signal: send again. To a purchase its newest state, to a destination what it did not take.
pub const REDELIVER: &str = "redeliver";
/// Signal: the lane of a destination is not to wait for its next attempt.
pub const CANCEL_BACKOFF: &str = "cancel_backoff";
/// Signal to a destination: something is owed that its lanes do not deliver themselves.
pub const OWED: &str = "owed";
/// Signal to a destination: switch it on.
pub const ENABLE: &str = "enable";
/// Signal to a destination: switch it off.
pub const DISABLE: &str = "disable";
/// Signal to a destination: try an open breaker now.
pub const PROBE: &str = "probe";
/// Signal to a destination: owe it the newest states that it lacks.
pub const REPLAY: &str = "replay";
/// Signal to a destination: try the connection with a request that tells no event.
pub const TEST: &str = "test";
/// Query: what the run is waiting for.
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

/// The workflow id of a destination.
#[must_use]
pub fn destination_workflow_id(id: DestinationId) -> String {
    format!("{DESTINATION}/{id}")
}

/// The destination that a workflow id names: the inverse of [`destination_workflow_id`].
#[must_use]
pub fn destination_id(workflow_id: &str) -> Option<DestinationId> {
    workflow_id.strip_prefix(DESTINATION)?.strip_prefix('/')?.parse().ok()
}
