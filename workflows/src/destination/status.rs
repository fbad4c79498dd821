//! The query `status` of a destination's run, and its current details for the Temporal UI.

use super::state::State;
use crate::activities::Supervision;
use domain::{DestinationId, Timestamp};
use serde::{Deserialize, Serialize};

/// The answer to the query `status`, and the result of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    pub destination_id: Option<DestinationId>,
    pub state: Supervision,
    /// Whether `supervise` is running.
    pub is_busy: bool,
    /// When the next check is due; absent if that is not known yet, or no check is needed.
    pub next_check_at: Option<Timestamp>,
    /// Number of deliveries pending at the last check, up to the counting limit.
    pub pending: i64,
    /// The last error of the destination.
    pub message: Option<String>,
    /// The last signal that could not be read, failed request, or result of a test.
    pub noted: Option<String>,
    /// Number of earlier runs that this run continues.
    pub continued: u32,
}

impl Status {
    pub fn of(destination_id: Option<DestinationId>, state: &State) -> Self {
        let next_check_at = if state.is_supervising {
            None
        } else {
            state.until
        };
        Self {
            destination_id,
            state: state.last.state,
            is_busy: state.is_supervising,
            next_check_at,
            pending: state.last.pending,
            message: state.last.message.clone(),
            noted: state.noted.clone(),
            continued: state.continued,
        }
    }

    /// Returns a short text for the Temporal UI. Setting it costs no event.
    pub fn details(&self) -> String {
        let what = match self.state {
            Supervision::Rest => "nothing that could be sent is pending",
            Supervision::Drain => "delivering what is pending",
            Supervision::Pause => "paused at its own request",
            Supervision::Probe => "its breaker is open: one delivery is probed, all others wait",
        };
        let mut lines = vec![what.to_owned()];
        if self.is_busy {
            lines.push("running now".to_owned());
        }
        lines.extend(self.next_check_at.map(|at| format!("next check at {at}")));
        if self.pending > 0 {
            lines.push(format!("pending at the last check: {}", self.pending));
        }
        lines.extend(self.message.clone());
        lines.extend(self.noted.iter().map(|noted| format!("noted: {noted}")));
        lines.join("\n")
    }
}
