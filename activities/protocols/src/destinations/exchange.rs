//! A request with its reply, for a kind of destination to judge.

use crate::outgoing::Incoming;
use domain::Timestamp;
use storage::Attempt;

/// One request with its reply, to be judged. `R` is the reply of one protocol, or of any.
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
    /// This, with the reply as one of the protocol over which the kind sends.
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
