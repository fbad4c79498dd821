//! What people see of a destination's run: the query `status` and the current details.

use super::state::State;
use crate::activities::Supervision;
use domain::{DestinationId, Timestamp};
use serde::{Deserialize, Serialize};

/// The answer to the query `status`, and the result of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Which destination.
    pub destination_id: Option<DestinationId>,
    /// What the run has to do with it.
    pub state: Supervision,
    /// Whether it is being done at the moment.
    pub is_busy: bool,
    /// When it is looked at again; absent when that is not known yet, or not needed.
    pub next_check_at: Option<Timestamp>,
    /// How many deliveries were owed at the last look, as far as they were counted.
    pub owed: i64,
    /// What the last look said.
    pub message: Option<String>,
    /// The last thing that could not be read or done.
    pub noted: Option<String>,
    /// How many runs this one was continued through.
    pub continued: u32,
}

impl Status {
    /// What `state` amounts to.
    #[must_use]
    pub fn of(destination_id: Option<DestinationId>, state: &State) -> Self {
        let next_check_at = if state.is_supervising { None } else { state.until.map(Timestamp::from_micros) };
        Self {
            destination_id,
            state: state.last.state,
            is_busy: state.is_supervising,
            next_check_at,
            owed: state.last.owed,
            message: state.last.message.clone(),
            noted: state.noted.clone(),
            continued: state.continued,
        }
    }

    /// A short text for the Temporal UI. Setting it costs no event.
    #[must_use]
    pub fn details(&self) -> String {
        let what = match self.state {
            Supervision::Rest => "nothing is owed that could be sent",
            Supervision::Drain => "delivering what is owed",
            Supervision::Pause => "left alone, as it asked",
            Supervision::Probe => "its breaker is open: one delivery is tried, all others wait",
        };
        let mut lines = vec![what.to_owned()];
        if self.is_busy {
            lines.push("at work".to_owned());
        }
        lines.extend(self.next_check_at.map(|at| format!("looked at again at {at}")));
        if self.owed > 0 {
            lines.push(format!("owed at the last look: {}", self.owed));
        }
        lines.extend(self.message.clone());
        lines.extend(self.noted.iter().map(|noted| format!("noted: {noted}")));
        lines.join("\n")
    }
}
