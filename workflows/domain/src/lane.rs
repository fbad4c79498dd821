//! A lane as the workflow knows it: enough to start, wake and show it, without bodies.

use crate::ids::DestinationId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Pending deliveries of one purchase to one destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Lane {
    /// Id of the destination.
    pub destination_id: DestinationId,
    /// Sequence number of the latest delivery in the lane.
    pub last_seq: i64,
    /// Whether the last attempt failed.
    pub failing: bool,
}
