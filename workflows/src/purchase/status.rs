//! The query `status` of a purchase's run, and its current details for the Temporal UI.

use super::state::State;
use domain::{CollapseKey, DestinationId, Timestamp};
use serde::{Deserialize, Serialize};

/// The answer to the query `status`, and the result of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    pub collapse_key: Option<CollapseKey>,
    /// When the window ends; absent if none is open.
    pub window_ends_at: Option<Timestamp>,
    /// Number of notifications signalled since the last settling.
    pub pending: i64,
    /// When the hold ends; absent if the purchase is not on hold.
    pub held_until: Option<Timestamp>,
    /// The next query of the store; absent if nothing waits for it.
    #[serde(default)]
    pub verification: Option<PendingVerification>,
    pub state: String,
    pub revision: i64,
    pub lanes: Vec<LaneStatus>,
    /// The last signal that could not be read or request that failed.
    pub noted: Option<String>,
    /// Number of earlier runs that this run continues.
    pub continued: u32,
}

/// The next query of the store, after one that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingVerification {
    pub why: String,
    /// When the store is queried again.
    pub next_query_at: Timestamp,
}

/// A lane with pending deliveries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneStatus {
    pub destination_id: DestinationId,
    pub failing: bool,
}

impl Status {
    pub fn of(collapse_key: Option<CollapseKey>, state: &State) -> Self {
        Self {
            collapse_key,
            window_ends_at: state.window_ends(),
            pending: state.pending,
            held_until: state.hold,
            verification: state
                .pending_query
                .as_ref()
                .map(|query| PendingVerification {
                    why: query.why.clone(),
                    next_query_at: query.until,
                }),
            state: state.current.state_name().to_owned(),
            revision: state.current.revision,
            lanes: state
                .lanes
                .iter()
                .map(|(id, lane)| LaneStatus {
                    destination_id: *id,
                    failing: lane.failing,
                })
                .collect(),
            noted: state.noted.clone(),
            continued: state.continued,
        }
    }

    /// Returns a short text for the Temporal UI. Setting it costs no event.
    pub fn details(&self) -> String {
        let mut lines = vec![format!("{}, revision {}", self.state, self.revision)];
        if let Some(until) = self.held_until {
            lines.push(format!("held until {until}"));
        } else if let Some(end) = self.window_ends_at {
            lines.push(format!("{} waiting; quiet window ends {end}", self.pending));
        }
        if let Some(pending) = &self.verification {
            lines.push(format!(
                "verification: {}; queried again at {}",
                pending.why, pending.next_query_at
            ));
        }
        for lane in &self.lanes {
            let how = if lane.failing {
                "failing, retried"
            } else {
                "delivering"
            };
            lines.push(format!("destination {}: {how}", lane.destination_id));
        }
        lines.extend(self.noted.iter().map(|noted| format!("noted: {noted}")));
        lines.join("\n")
    }
}
