//! What people see of a run: the query `status` and the current details.

use super::state::State;
use domain::{CollapseKey, DestinationId, Timestamp};
use serde::{Deserialize, Serialize};

/// The answer to the query `status`, and the result of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Which purchase.
    pub collapse_key: Option<CollapseKey>,
    /// When the window ends; absent when none is open.
    pub window_ends_at: Option<Timestamp>,
    /// How many notifications this run was told of since the last settling.
    pub pending: i64,
    /// When the hold ends; absent when it is not held.
    pub held_until: Option<Timestamp>,
    /// That the store could not be asked yet; absent when nothing waits for it.
    #[serde(default)]
    pub verification: Option<PendingVerification>,
    /// The purchase's state.
    pub state: String,
    /// The purchase's revision.
    pub revision: i64,
    /// Lanes that have something pending.
    pub lanes: Vec<Lane>,
    /// The last thing that could not be read or done.
    pub noted: Option<String>,
    /// How many runs this one was continued through.
    pub continued: u32,
}

/// That the store could not be asked yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingVerification {
    /// Why.
    pub why: String,
    /// When it is asked again.
    pub next_query_at: Timestamp,
}

/// A lane that has something pending.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lane {
    /// To whom.
    pub destination_id: DestinationId,
    /// Whether its last attempt failed.
    pub failing: bool,
}

impl Status {
    /// What `state` amounts to.
    #[must_use]
    pub fn of(collapse_key: Option<CollapseKey>, state: &State) -> Self {
        Self {
            collapse_key,
            window_ends_at: state.window_ends().map(Timestamp::from_micros),
            pending: state.pending,
            held_until: state.hold.map(Timestamp::from_micros),
            verification: state.pending_query.as_ref().map(|query| PendingVerification {
                why: query.why.clone(),
                next_query_at: Timestamp::from_micros(query.until),
            }),
            state: state.current.state_name().to_owned(),
            revision: state.current.revision,
            lanes: state.lanes.iter().map(|(id, lane)| Lane { destination_id: *id, failing: lane.failing }).collect(),
            noted: state.noted.clone(),
            continued: state.continued,
        }
    }

    /// A short text for the Temporal UI. Setting it costs no event.
    #[must_use]
    pub fn details(&self) -> String {
        let mut lines = vec![format!("{}, revision {}", self.state, self.revision)];
        if let Some(until) = self.held_until {
            lines.push(format!("held until {until}"));
        } else if let Some(end) = self.window_ends_at {
            lines.push(format!("{} waiting; quiet window ends {end}", self.pending));
        }
        if let Some(waits) = &self.verification {
            lines.push(format!("verification: {}; asked again at {}", waits.why, waits.next_query_at));
        }
        for lane in &self.lanes {
            let how = if lane.failing { "failing, retried" } else { "delivering" };
            lines.push(format!("destination {}: {how}", lane.destination_id));
        }
        lines.extend(self.noted.iter().map(|noted| format!("noted: {noted}")));
        lines.join("\n")
    }
}
