//! A request with its reply, for a kind of destination to judge.

use super::schedule::{Schedule, Step};
use crate::outgoing::Incoming;
use domain::Timestamp;
use domain::time::duration;
use storage::{Attempt, AttemptClass, DeliveryResult, EndpointSignal, EventResult, Verdict};

/// One request with its reply, to be judged. `R` is the reply of one protocol, or [`Incoming`] for any.
#[derive(Debug)]
pub struct Exchange<'a, R = Incoming> {
    /// The events of the request, in its order.
    pub events: &'a [Attempt],
    pub reply: &'a R,
    /// The current time by the database's clock.
    pub at: Timestamp,
    /// A random number from 0 to 1, which spreads retries.
    pub jitter: f64,
}

impl<'a> Exchange<'a> {
    /// Returns this exchange with `reply`, which is of the protocol over which the kind sends.
    pub fn over<'b, R>(&self, reply: &'b R) -> Exchange<'b, R>
    where
        'a: 'b,
    {
        Exchange {
            events: self.events,
            reply,
            at: self.at,
            jitter: self.jitter,
        }
    }
}

impl<R> Exchange<'_, R> {
    /// Returns a result with one class for all events of the request: each is delivered, failed because it is refused,
    /// or retried until the schedule ends.
    pub fn judged(
        &self,
        schedule: &Schedule,
        class: AttemptClass,
        error: Option<String>,
        endpoint_signal: EndpointSignal,
    ) -> DeliveryResult {
        let judge = |event: &Attempt| {
            let step = Step {
                number: event.number,
                first_tried_at: event.first_tried_at,
                at: self.at,
            };
            let verdict = match (class, schedule.wait_ms(step, None, self.jitter)) {
                (AttemptClass::Success, _) => Verdict::Delivered,
                (AttemptClass::Refused, _) | (_, None) => Verdict::Failed,
                (_, Some(wait_ms)) => Verdict::Retry {
                    delay: duration(wait_ms),
                },
            };
            EventResult {
                delivery_id: event.delivery_id,
                verdict,
                class,
                error: error.clone(),
                counts: true,
            }
        };
        DeliveryResult {
            events: self.events.iter().map(judge).collect(),
            endpoint_signal,
            lane_pause: None,
            user_pause: None,
            at_most: None,
            alarm: None,
        }
    }
}
