//! Lanes: at most one attempt in flight per destination and purchase, over two tracks.

use crate::db::statement::stored;
use crate::delivery::class::AttemptClass;
use crate::settings::destinations::Destination;
use crate::settling::payments::Earned;
use domain::{CollapseKey, DeliveryId, DestinationId, Environment, EventId, Timestamp, UserId};
use secrecy::SecretString;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// What names a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneKey {
    /// The purchase.
    pub key: CollapseKey,
    /// The destination.
    pub destination: DestinationId,
}

stored! {
    /// The run that makes an attempt.
    pub enum Mode {
        /// The purchase's own run. It stops at an open breaker and at a limit that is used up.
        Lane = "lane",
        /// The destination's run, which delivers what is owed.
        Drain = "drain",
        /// The destination's run, which tries an open breaker. What fails uses up no step of the schedule.
        Probe = "probe",
    }
}

/// Renders an event for a destination, when it is first sent; the body is frozen then.
pub type Render = Arc<dyn Fn(&Destination, &Unsent) -> Rendered + Send + Sync>;

/// The request for a lane, and for how long.
#[derive(Clone)]
pub struct Claim {
    /// The purchase.
    pub key: CollapseKey,
    /// The destination.
    pub destination: DestinationId,
    /// The token that identifies the claim.
    pub token: String,
    /// How long the lease lasts.
    pub lease: Duration,
    /// The run that makes the attempt.
    pub mode: Mode,
    /// Maximum number of events in the request; the destination's own bound holds too.
    pub at_most: i64,
    /// How a body is made.
    pub render: Render,
}

impl Claim {
    /// The lane that it claims.
    pub(crate) const fn lane(&self) -> LaneKey {
        LaneKey { key: self.key, destination: self.destination }
    }
}

/// An event that was not sent to a destination yet, with everything that its body may be rendered from.
#[derive(Debug, Clone)]
pub struct Unsent {
    /// The event.
    pub event_id: EventId,
    /// Its type.
    pub event_type: String,
    /// The purchase.
    pub collapse_key: CollapseKey,
    /// The purchase's revision that it announces.
    pub revision: i64,
    /// When it was recorded.
    pub created_at: Timestamp,
    /// When it happened by the store, where that is known.
    pub occurred_at: Option<Timestamp>,
    /// Its body before it is rendered for a destination.
    pub body: serde_json::Value,
    /// The user who owned the purchase when it was recorded, or else its owner.
    pub user_id: Option<UserId>,
    /// The first owner of the purchase: the same in all its events, whichever user that one joins.
    pub first_user_id: Option<UserId>,
    /// Which of the user's revisions it carries.
    pub user_revision: Option<i64>,
    /// The user's state over their purchases in this environment, with the fields of a `user.*` event's body; null for
    /// an event without a state, and where the purchase was of another environment when it was recorded.
    pub user_state: serde_json::Value,
    /// More attributes of the user in this environment, by their names; null where `user_state` is, and where no
    /// integration keeps them.
    pub user_profile: serde_json::Value,
    /// The customer's own id, as it is known now.
    pub external_id: Option<String>,
    /// The `data` of the purchase in this revision; null for what is not about a purchase.
    pub data: serde_json::Value,
    /// The store, such as in `platforms.store`; empty for what is not about a purchase.
    pub store: String,
    /// The environment of the purchase; that of money for what is not about one.
    pub environment: Environment,
    /// All `user.*` events of the same revision, this one too, in their order, whether or not they were chosen.
    pub siblings: Vec<Sibling>,
    /// The newest revision of the purchase that the destination acknowledged.
    pub acked_revision: Option<i64>,
    /// The entry of the ledger that it announces to a destination that counts; `None` for all other events.
    pub earned: Option<Earned>,
}

/// An event of the same revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sibling {
    /// The event.
    pub event_id: EventId,
    /// Its type.
    pub event_type: String,
    /// When it was first owed to the destination, as the place among all deliveries; `None` if it never was. Once set,
    /// it stays.
    pub owed_seq: Option<i64>,
}

/// The result of rendering a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rendered {
    /// This body, in every attempt. It carries no amount.
    Body(String),
    /// This body, in every attempt, and the amount in it.
    Revenue {
        /// The body.
        body: String,
        /// The amount in the body, in USD, as a decimal.
        usd: String,
    },
    /// It waits until the customer is named.
    Wait {
        /// Why.
        why: String,
    },
    /// The destination is not to get it.
    Skip {
        /// Why.
        why: String,
    },
    /// It cannot be sent: what a person set is wrong.
    Refuse {
        /// What is wrong, without the value.
        why: String,
    },
}

/// The result of a claim.
#[derive(Debug)]
pub enum Claimed {
    /// Send this; the lane is leased to the claimer.
    Send(Box<Batch>),
    /// Nothing can be sent now.
    Idle(Idle),
    /// A delivery ended as dead because it cannot be sent, and operators are notified of it: this claim goes no
    /// further, and the next one continues.
    Undeliverable {
        /// The types of the events about the destination that were recorded, whichever destinations are owed them.
        events: Vec<&'static str>,
        /// Other destinations that are owed these events, each once.
        owing: Vec<DestinationId>,
    },
}

/// Why nothing of a lane can be sent now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Idle {
    /// Nothing is due yet.
    Wait {
        /// How long until something is.
        wait: Duration,
        /// Why the last attempt of what waits failed.
        last_error: Option<String>,
    },
    /// Another claimer has the lane.
    Leased {
        /// How long until its lease ends.
        wait: Duration,
    },
    /// A request about the lane's user is in flight for another purchase.
    UserBusy {
        /// The newest sequence number recorded in the lane.
        last_seq: i64,
        /// How long until claiming again makes sense, at least a millisecond.
        wait: Duration,
    },
    /// The destination cannot take it now: its breaker is open, it asked for a pause, or its limits are used up.
    /// What is owed is delivered by the destination's own run.
    Owed {
        /// The newest sequence number recorded in the lane.
        last_seq: i64,
        /// How long until claiming again makes sense, at least a millisecond.
        wait: Duration,
    },
    /// Nothing is pending, or the destination is disabled or deleted.
    Closed {
        /// The newest sequence number recorded in the lane.
        last_seq: i64,
    },
}

/// One request, ready to be sent: an event, or several of one lane where the destination takes them.
#[derive(Debug)]
pub struct Batch {
    /// When its lease began, by the clock of this process.
    pub claimed_at: Instant,
    /// The destination.
    pub destination: Destination,
    /// The destination's secrets.
    pub secret: SecretString,
    /// Its events, in order; at least one.
    pub attempts: Vec<Attempt>,
    /// How long to wait before it is sent, to keep the destination's rate; at most two seconds.
    pub start_in: Duration,
    /// When the lease ends, by the clock that stamps rows.
    pub lease_until: Timestamp,
}

/// One attempt of a delivery, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The delivery, and the `webhook-id`.
    pub delivery_id: DeliveryId,
    /// The event.
    pub event_id: EventId,
    /// The event's type.
    pub event_type: String,
    /// The purchase's revision that the event announces.
    pub revision: i64,
    /// Which step of the schedule it is, from 1: one more than the attempts that were finished and counted. Not
    /// counted are probes, unusable settings, a lease that was lost before the request, and a worker that died, even
    /// if it died after its request: the schedule rather grants an attempt too many than loses one.
    pub number: i64,
    /// How often the destination refused it: [`domain::attempt::is_refusal`].
    pub refusals: i64,
    /// When it was attempted first.
    pub first_tried_at: Option<Timestamp>,
    /// Whether the destination acknowledged a newer state of its user meanwhile.
    pub is_stale: bool,
    /// The body, the same in every attempt.
    pub body: String,
    /// The trace it belongs to.
    pub traceparent: Option<String>,
}

/// The results of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finish {
    /// The purchase.
    pub key: CollapseKey,
    /// The destination.
    pub destination: DestinationId,
    /// The token that the lane was claimed with.
    pub token: String,
    /// The run that made it.
    pub mode: Mode,
    /// When the attempt began.
    pub started_at: Timestamp,
    /// How long it took.
    pub latency: Duration,
    /// The status of the answer, when there was one.
    pub status: Option<i32>,
    /// Some headers of the answer.
    pub headers: Vec<(String, String)>,
    /// The beginning of the answer.
    pub response: Option<String>,
    /// What it came to.
    pub result: DeliveryResult,
    /// After how long without a success it is disabled.
    pub patience: Duration,
}

impl Finish {
    /// The lane that was claimed.
    pub(crate) const fn lane(&self) -> LaneKey {
        LaneKey { key: self.key, destination: self.destination }
    }
}

/// The result of a request, independent of the destination's kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryResult {
    /// One for each event of the request, in its order.
    pub events: Vec<EventResult>,
    /// What it shows of the destination as a whole.
    pub endpoint_signal: EndpointSignal,
    /// How long the destination wants no request for this purchase.
    pub lane_pause: Option<Duration>,
    /// How long the destination wants no request for this user.
    pub user_pause: Option<Duration>,
    /// Maximum number of events in the next request of this lane.
    pub at_most: Option<i64>,
    /// An alarm for operators, without secrets.
    pub alarm: Option<String>,
}

impl DeliveryResult {
    /// This result with the destination's `Retry-After`: the lane pauses for that time, but no longer than until the first
    /// retry of an event.
    #[must_use]
    pub fn with_retry_after(self, retry_after: Option<Duration>) -> Self {
        let delay = |one: &EventResult| match one.verdict {
            Verdict::Retry { delay } => Some(delay),
            Verdict::Delivered | Verdict::Dead => None,
        };
        let soonest = self.events.iter().filter_map(delay).min();
        let lane_pause = soonest.zip(retry_after).map(|(soonest, retry_after)| soonest.min(retry_after));
        Self { lane_pause: lane_pause.filter(|pause| !pause.is_zero()), ..self }
    }
}

/// The result of a request for one of its events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventResult {
    /// The delivery.
    pub delivery_id: DeliveryId,
    /// What follows for it.
    pub verdict: Verdict,
    /// How it went; a success when it was delivered.
    pub class: AttemptClass,
    /// A sentence for people when it failed, without secrets.
    pub error: Option<String>,
    /// Whether the attempt counts as a step of the schedule.
    pub counts: bool,
}

/// What follows for a delivery after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The destination acknowledged it.
    Delivered,
    /// Try again.
    Retry {
        /// How long from now.
        delay: Duration,
    },
    /// Never try again.
    Dead,
}

/// What one request shows about its endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndpointSignal {
    /// The endpoint answered successfully.
    Success,
    /// The endpoint did not answer successfully.
    Failure {
        /// How long it pauses requests, if it does.
        pause: Option<Duration>,
    },
    /// It shows nothing about the endpoint.
    Neutral,
    /// The endpoint takes no requests any more.
    Gone {
        /// Why.
        reason: String,
    },
}

/// What is left in a lane after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LaneState {
    /// Something is due.
    More,
    /// Something will be due.
    Wait {
        /// How long from now, at least a millisecond.
        wait: Duration,
    },
    /// Something is owed that the destination cannot take now.
    Owed {
        /// The newest sequence number recorded in the lane.
        last_seq: i64,
    },
    /// Nothing is pending, or the destination is disabled or deleted.
    Closed {
        /// The newest sequence number recorded in the lane.
        last_seq: i64,
    },
}

/// What is left in a lane, and the operators' events that were recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishResult {
    /// The state of the lane.
    pub lane: LaneState,
    /// Other destinations that are owed an event about this one, each once.
    pub owing: Vec<DestinationId>,
    /// The types of the events about the destination that were recorded, whichever destinations are owed them.
    pub operator_events: Vec<&'static str>,
}
