//! What a request came to, in words that do not depend on the destination.

use domain::Timestamp;
pub use storage::{EndpointSignal, Verdict};

/// What an attempt is judged by, for each event of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried<'a> {
    /// The event's type.
    pub event_type: &'a str,
    /// Its body, as it is kept.
    pub body: &'a str,
    /// Which step of the schedule it is, from 1.
    pub number: i64,
    /// How often the destination refused it for good before.
    pub refusals: i64,
    /// When it was attempted first; `None` when that is this attempt.
    pub first_tried_at: Option<Timestamp>,
}

/// What a request came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// One for each event of the request, in its order.
    pub events: Vec<Judged>,
    /// What it says of the destination as a whole.
    pub endpoint_signal: EndpointSignal,
    /// For how long the destination wants to hear nothing of this purchase, in milliseconds.
    pub lane_pause_ms: Option<i64>,
    /// For how long the destination wants to hear nothing of this user, in milliseconds.
    pub user_pause_ms: Option<i64>,
    /// At most so many events in the next request of this lane.
    pub at_most: Option<i64>,
    /// What a person should know, without secrets.
    pub alarm: Option<String>,
}

impl Outcome {
    /// The same where the destination asked for a wait: the purchase is left alone for as long, but no longer than the
    /// first of the events that are tried again waits.
    #[must_use]
    pub fn asked(self, asked_ms: Option<i64>) -> Self {
        let wait_ms = |one: &Judged| match one.verdict {
            Verdict::Retry { delay_ms } => Some(delay_ms),
            Verdict::Delivered | Verdict::Dead => None,
        };
        let soonest_ms = self.events.iter().filter_map(wait_ms).min();
        let lane_pause_ms = soonest_ms.zip(asked_ms).map(|(wait_ms, asked_ms)| wait_ms.min(asked_ms));
        Self { lane_pause_ms: lane_pause_ms.filter(|ms| *ms > 0), ..self }
    }
}

/// What a request came to for one of its events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// What becomes of it.
    pub verdict: Verdict,
    /// A stable word for how it went; `success` when it was delivered.
    pub class: &'static str,
    /// What a person reads when it failed, without secrets.
    pub message: Option<String>,
    /// Whether it used up a step of the schedule.
    pub counts: bool,
}
