//! The result of a request, independent of the destination's kind.

use domain::Timestamp;
pub use storage::{EndpointSignal, Verdict};

/// One event of a request, with what its verdict depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventAttempt<'a> {
    /// The event's type.
    pub event_type: &'a str,
    /// Its body, as it is stored.
    pub body: &'a str,
    /// The step of the schedule, from 1.
    pub number: i64,
    /// How often the destination refused the event before.
    pub refusals: i64,
    /// When the first attempt was; `None` when this is the first.
    pub first_tried_at: Option<Timestamp>,
}

/// The result of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryResult {
    /// One for each event of the request, in its order.
    pub events: Vec<EventVerdict>,
    /// What it shows of the destination as a whole.
    pub endpoint_signal: EndpointSignal,
    /// How long the destination wants no request for this purchase, in milliseconds.
    pub lane_pause_ms: Option<i64>,
    /// How long the destination wants no request for this user, in milliseconds.
    pub user_pause_ms: Option<i64>,
    /// Maximum number of events in the next request of this lane.
    pub at_most: Option<i64>,
    /// An alarm for operators, without secrets.
    pub alarm: Option<String>,
}

impl DeliveryResult {
    /// This result with the destination's `Retry-After`: the lane pauses for that time, but no longer than until the first
    /// retry of an event.
    #[must_use]
    pub fn with_retry_after(self, retry_after_ms: Option<i64>) -> Self {
        let wait_ms = |one: &EventVerdict| match one.verdict {
            Verdict::Retry { delay_ms } => Some(delay_ms),
            Verdict::Delivered | Verdict::Dead => None,
        };
        let soonest_ms = self.events.iter().filter_map(wait_ms).min();
        let lane_pause_ms = soonest_ms.zip(retry_after_ms).map(|(wait_ms, retry_after_ms)| wait_ms.min(retry_after_ms));
        Self { lane_pause_ms: lane_pause_ms.filter(|ms| *ms > 0), ..self }
    }
}

/// The result of a request for one of its events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventVerdict {
    /// Whether it is delivered, retried or dead.
    pub verdict: Verdict,
    /// A stable name of the result; `success` when it was delivered.
    pub class: &'static str,
    /// A sentence for people when it failed, without secrets.
    pub message: Option<String>,
    /// Whether the attempt counts as a step of the schedule.
    pub counts: bool,
}
