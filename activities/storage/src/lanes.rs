//! Lanes: at most one attempt in flight per destination and purchase, over two tracks.

use crate::connection::AnyConnection;
use crate::statement::{row, sql};
use crate::{Destination, Error, Store, claim, fault, finish};
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
    /// Which attempt of this delivery it is, from 1: one more than those that finished with a request sent. Not
    /// counted are unusable settings, a lease that was lost before the request, and a worker that died, even if
    /// it died after its request: the schedule rather grants an attempt too many than loses one.
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

row! {
    struct OpenLane {
        destination_id: DestinationId,
        last_seq: i64,
        failing: i64,
    }
}

row! {
    struct Lease {
        lease_until: Timestamp,
    }
}

impl Store {
    /// The open lanes of a purchase, of enabled destinations.
    pub async fn lanes(&self, key: CollapseKey) -> Result<Vec<Lane>, Error> {
        self.read(move |connection| open(connection, key)).await
    }

    /// Leases a lane for one attempt, if something in it is due and nobody else has it.
    #[expect(clippy::too_many_arguments, reason = "four words that read well at the call, and the store")]
    pub async fn claim(
        &self,
        key: CollapseKey,
        destination: DestinationId,
        token: &str,
        lease_ms: i64,
    ) -> Result<Claimed, Error> {
        let (token, secrets) = (token.to_owned(), self.secrets.clone());
        self.write(move |write| {
            claim::claim(write, &secrets, &claim::Claim { key, destination, token: &token, lease_ms })
        })
        .await
    }

    /// Records how an attempt went and reads the lane again, in one transaction.
    pub async fn finish(&self, finish: Finish) -> Result<Finished, Error> {
        self.write(move |write| finish::finish(write, &finish)).await
    }

    /// Whether the claimer with this token may still send this delivery.
    pub async fn holds_lease(&self, delivery: DeliveryId, token: &str) -> Result<bool, Error> {
        let (clock, token) = (self.clock, token.to_owned());
        self.read(move |connection| {
            let now = connection.now(clock)?;
            let lease: Option<Lease> = sql("SELECT l.lease_until FROM deliveries d JOIN lanes l \
                 ON l.destination_id = d.destination_id AND l.collapse_key = d.collapse_key \
                 WHERE d.id = ? AND l.lease_delivery_id = d.id AND l.lease_token = ?")
            .bind(delivery)
            .bind(token)
            .first(connection)?;
            Ok(fault::is_planted("lease.ignored") || lease.is_some_and(|lease| lease.lease_until > now))
        })
        .await
    }
}

/// The open lanes of a purchase, of enabled destinations.
pub fn open(connection: &mut AnyConnection, key: CollapseKey) -> Result<Vec<Lane>, Error> {
    let lanes: Vec<OpenLane> = sql("SELECT d.destination_id, MAX(d.seq) AS last_seq, \
         COUNT(d.last_error) AS failing FROM deliveries d JOIN destinations x ON x.id = d.destination_id \
         WHERE d.collapse_key = ? AND d.status = 'pending' AND x.enabled AND x.deleted_at IS NULL \
         GROUP BY d.destination_id ORDER BY d.destination_id")
    .bind(key)
    .all(connection)?;
    let lane =
        |row: OpenLane| Lane { destination_id: row.destination_id, last_seq: row.last_seq, failing: row.failing > 0 };
    Ok(lanes.into_iter().map(lane).collect())
}
