//! The public names of the workflows: types, task queues, signals, queries and workflow ids.
//!
//! They never change once released: a renamed activity strands every open run. Activities are named in
//! [`crate::activities`].

use domain::{CollapseKey, DestinationId, PlatformId};

/// Task queue of workflows and of all activities except those of [`DELIVER_QUEUE`].
pub const TASK_QUEUE: &str = "settle";
/// Task queue of `deliver`, `supervise`, `stream`, `test` and `verify_claims`, with slots of its own: a destination that
/// hangs, or a long activity, delays nothing else.
pub const DELIVER_QUEUE: &str = "settle-deliver";
pub const PURCHASE: &str = "purchase";
/// Workflow type of a destination with pending deliveries.
pub const DESTINATION: &str = "destination";
/// Workflow type of a destination's stream of device events.
pub const STREAM: &str = "stream";
/// Workflow type of the claims of a platform's devices.
pub const CLAIMS: &str = "claims";
/// Workflow type, and fixed id, of the sweep.
pub const SWEEP: &str = "sweep";
/// Signal: new rows in the inbox.
pub const NOTIFIED: &str = "notified";
/// Signal: load the purchase now. A window that has not ended stays open.
pub const WAKE: &str = "wake";
/// Signal: settle now, ignoring the window.
pub const FLUSH: &str = "flush";
pub const HOLD: &str = "hold";
pub const RELEASE: &str = "release";
pub const DISCARD: &str = "discard";
/// Signal: send again. To a purchase: its newest state; to a destination: the deliveries that failed.
pub const REDELIVER: &str = "redeliver";
/// Signal to a purchase: stop waiting for the next attempt of a lane.
pub const CANCEL_BACKOFF: &str = "cancel_backoff";
/// Signal to a destination: there are deliveries that no purchase's run attempts; to a stream or to claims: there is
/// something new in storage.
pub const PENDING: &str = "pending";
/// Signal to a destination: enable it.
pub const ENABLE: &str = "enable";
/// Signal to a destination: disable it.
pub const DISABLE: &str = "disable";
/// Signal to a destination: send a probe now although its breaker is open.
pub const PROBE: &str = "probe";
/// Signal to a destination: send it the newest state of purchases; by default only those that it has not acknowledged.
pub const REPLAY: &str = "replay";
/// Signal to a destination: test the connection with a request that carries no event.
pub const TEST: &str = "test";
/// Query: what the run is waiting for.
pub const STATUS: &str = "status";

/// The workflow id of a purchase.
pub fn workflow_id(key: CollapseKey) -> String {
    format!("{PURCHASE}/{key}")
}

/// The purchase that a workflow id names: the inverse of [`workflow_id`].
pub fn collapse_key(workflow_id: &str) -> Option<CollapseKey> {
    workflow_id
        .strip_prefix(PURCHASE)?
        .strip_prefix('/')?
        .parse()
        .ok()
}

/// The workflow id of a destination.
pub fn destination_workflow_id(id: DestinationId) -> String {
    format!("{DESTINATION}/{id}")
}

/// The destination that a workflow id names: the inverse of [`destination_workflow_id`].
pub fn destination_id(workflow_id: &str) -> Option<DestinationId> {
    workflow_id
        .strip_prefix(DESTINATION)?
        .strip_prefix('/')?
        .parse()
        .ok()
}

/// The workflow id of a destination's stream.
pub fn stream_workflow_id(id: DestinationId) -> String {
    format!("{STREAM}/{id}")
}

/// The destination whose stream a workflow id names: the inverse of [`stream_workflow_id`].
pub fn stream_destination_id(workflow_id: &str) -> Option<DestinationId> {
    workflow_id
        .strip_prefix(STREAM)?
        .strip_prefix('/')?
        .parse()
        .ok()
}

/// The workflow id of the claims of a platform's devices.
pub fn claims_workflow_id(id: PlatformId) -> String {
    format!("{CLAIMS}/{id}")
}

/// The platform that a workflow id of claims names: the inverse of [`claims_workflow_id`].
pub fn claims_platform_id(workflow_id: &str) -> Option<PlatformId> {
    workflow_id
        .strip_prefix(CLAIMS)?
        .strip_prefix('/')?
        .parse()
        .ok()
}
