//! Lanes: at most one attempt in flight per destination and purchase, over two tracks.

use crate::{Destination, Error, Store};
use domain::{CollapseKey, DeliveryId, DestinationId, EventId, Lane, Timestamp};
use secrecy::SecretString;

/// What a claimer is to do with a lane.
#[derive(Debug)]
pub enum Claimed {
    /// Send this; the lane is leased to the claimer.
    Send(Box<Attempt>),
    /// Nothing is due yet.
    Wait {
        /// Milliseconds until something is.
        ms: i64,
        /// Why the last attempt of what waits failed.
        last_error: Option<String>,
    },
    /// Another claimer has the lane.
    Leased {
        /// Milliseconds until its lease ends.
        ms: i64,
    },
    /// Nothing is pending, or the destination is disabled or deleted.
    Closed {
        /// The newest sequence number recorded in the lane.
        last_seq: i64,
    },
}

/// One attempt of a delivery, ready to be sent.
#[derive(Debug)]
pub struct Attempt {
    /// The delivery, and the `webhook-id`.
    pub delivery_id: DeliveryId,
    /// The event.
    pub event_id: EventId,
    /// The event's type.
    pub event_type: String,
    /// The purchase's revision that the event tells.
    pub revision: i64,
    /// Which attempt of this delivery it is, from 1.
    pub number: i64,
    /// The body, the same in every attempt.
    pub body: String,
    /// Whom to send it to.
    pub destination: Destination,
    /// The destination's secret.
    pub secret: SecretString,
    /// When the lease ends, by the clock that stamps rows.
    pub lease_until: Timestamp,
    /// The trace it belongs to.
    pub traceparent: Option<String>,
}

/// How an attempt went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finish {
    /// The delivery.
    pub delivery_id: DeliveryId,
    /// The token that the lane was claimed with.
    pub token: String,
    /// When the attempt began.
    pub started_at: Timestamp,
    /// How long it took, in milliseconds.
    pub latency_ms: i64,
    /// The status of the answer, when there was one.
    pub status: Option<i32>,
    /// A stable word for how it went.
    pub class: String,
    /// What went wrong, for people.
    pub error: Option<String>,
    /// The beginning of the answer.
    pub response: Option<String>,
    /// What follows from it.
    pub verdict: Verdict,
}

/// What follows from an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The destination acknowledged it.
    Delivered,
    /// Try again.
    Retry {
        /// In so many milliseconds.
        delay_ms: i64,
    },
    /// Never try again.
    Dead,
}

/// What is left in a lane after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finished {
    /// Something is due.
    More,
    /// Something will be due.
    Wait {
        /// In so many milliseconds.
        ms: i64,
    },
    /// Nothing is pending, or the destination is disabled or deleted.
    Closed {
        /// The newest sequence number recorded in the lane.
        last_seq: i64,
    },
}

impl Store {
    /// The open lanes of a purchase, of enabled destinations.
    pub async fn lanes(&self, key: CollapseKey) -> Result<Vec<Lane>, Error> {
        todo!()
    }

    /// Leases a lane for one attempt, if something in it is due and nobody else has it.
    pub async fn claim(
        &self,
        key: CollapseKey,
        destination: DestinationId,
        token: &str,
        lease_ms: i64,
    ) -> Result<Claimed, Error> {
        todo!()
    }

    /// Records how an attempt went and reads the lane again, in one transaction.
    pub async fn finish(&self, finish: Finish) -> Result<Finished, Error> {
        todo!()
    }

    /// Whether the claimer with this token may still send this delivery.
    pub async fn holds_lease(&self, delivery: DeliveryId, token: &str) -> Result<bool, Error> {
        todo!()
    }
}
