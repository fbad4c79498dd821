//! The public names of the workflows: types, task queues, signals, queries and workflow ids.
//!
//! They never change once released, because renaming an activity strands every open run. Activities are named in
//! [`crate::activities`].

use domain::{CollapseKey, DestinationId, PlatformId};

/// Task queue of workflows and of all activities except those of [`DELIVER_QUEUE`].
pub const TASK_QUEUE: &str = "settle";
/// Task queue of `deliver`, `supervise`, `stream`, `test` and `verify_claims`. Its slots are separate, so that neither
/// a destination that hangs nor a long activity delays anything else.
pub const DELIVER_QUEUE: &str = "settle-deliver";
pub const PURCHASE: &str = "purchase";
/// Workflow type of a destination with pending deliveries.
pub const DESTINATION: &str = "destination";
/// Workflow type of a destination's stream of device events.
pub const STREAM: &str = "stream";
/// Workflow type of the claims of the devices on a platform.
pub const CLAIMS: &str = "claims";
/// Workflow type, and fixed id, of the sweep.
pub const SWEEP: &str = "sweep";
/// Signal: the inbox has new rows.
pub const NOTIFIED: &str = "notified";
/// Signal: load the purchase now. A window that has not ended stays open.
pub const WAKE: &str = "wake";
/// Signal: settle now, ignoring the window.
pub const FLUSH: &str = "flush";
pub const HOLD: &str = "hold";
pub const RELEASE: &str = "release";
pub const DISCARD: &str = "discard";
/// Signal: send again. A purchase sends its latest state; a destination's run sends the deliveries that failed.
pub const REDELIVER: &str = "redeliver";
/// Signal to a purchase: stop waiting for the next attempt of a lane.
pub const CANCEL_BACKOFF: &str = "cancel_backoff";
/// Signal to a destination: some deliveries are attempted by no purchase's run. To a stream or to claims: storage may
/// have new rows.
pub const PENDING: &str = "pending";
/// Signal to a destination: enable it.
pub const ENABLE: &str = "enable";
/// Signal to a destination: disable it.
pub const DISABLE: &str = "disable";
/// Signal to a destination: send a probe now although its breaker is open.
pub const PROBE: &str = "probe";
/// Signal to a destination: send it the latest state of purchases; by default only of those whose latest state it has
/// not acknowledged.
pub const REPLAY: &str = "replay";
/// Signal to a destination: test the connection with a request that contains no event.
pub const TEST: &str = "test";
/// Query: what a run is waiting for.
pub const STATUS: &str = "status";

/// Returns the workflow id of a purchase.
pub fn workflow_id(key: CollapseKey) -> String {
    format!("{PURCHASE}/{key}")
}

/// Returns the purchase that a workflow id names; the inverse of [`workflow_id`].
pub fn collapse_key(workflow_id: &str) -> Option<CollapseKey> {
    workflow_id
        .strip_prefix(PURCHASE)?
        .strip_prefix('/')?
        .parse()
        .ok()
}

/// Returns the workflow id of a destination.
pub fn destination_workflow_id(id: DestinationId) -> String {
    format!("{DESTINATION}/{id}")
}

/// Returns the destination that a workflow id names; the inverse of [`destination_workflow_id`].
pub fn destination_id(workflow_id: &str) -> Option<DestinationId> {
    workflow_id
        .strip_prefix(DESTINATION)?
        .strip_prefix('/')?
        .parse()
        .ok()
}

/// Returns the workflow id of a destination's stream.
pub fn stream_workflow_id(id: DestinationId) -> String {
    format!("{STREAM}/{id}")
}

/// Returns the destination whose stream a workflow id names; the inverse of [`stream_workflow_id`].
pub fn stream_destination_id(workflow_id: &str) -> Option<DestinationId> {
    workflow_id
        .strip_prefix(STREAM)?
        .strip_prefix('/')?
        .parse()
        .ok()
}

/// Returns the workflow id of the claims of the devices on a platform.
pub fn claims_workflow_id(id: PlatformId) -> String {
    format!("{CLAIMS}/{id}")
}

/// Returns the platform that a workflow id of claims names; the inverse of [`claims_workflow_id`].
pub fn claims_platform_id(workflow_id: &str) -> Option<PlatformId> {
    workflow_id
        .strip_prefix(CLAIMS)?
        .strip_prefix('/')?
        .parse()
        .ok()
}
