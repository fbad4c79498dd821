//! One request with its reply, as a kind of destination judges it.

use crate::http::Reply;
use domain::Timestamp;
use storage::Attempt;

/// One request with its reply, to be judged.
#[derive(Debug, Clone, Copy)]
pub struct Exchange<'a> {
    /// The events of the request, in its order.
    pub events: &'a [Attempt],
    pub reply: &'a Reply,
    /// The current time by the database's clock.
    pub at: Timestamp,
    /// A random number from 0 to 1, which spreads retries.
    pub jitter: f64,
}
