//! A lane as the workflow knows it: enough to start, wake and show it, without bodies.

use crate::ids::DestinationId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The pending deliveries of one purchase to one destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Lane {
    /// The destination.
    pub destination_id: DestinationId,
    /// The sequence number of the newest delivery recorded in it.
    pub last_seq: i64,
    /// Whether its last attempt failed.
    pub failing: bool,
}
