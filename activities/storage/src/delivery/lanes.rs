//! Lanes. A lane is the queue of one purchase for one destination, with two tracks: the latest `purchase.updated`, and
//! all other events in order. At most one request of a lane is in flight.

use crate::delivery::class::AttemptClass;
use crate::settings::destinations::Destination;
use crate::settling::payments::Earned;
use db::statement::stored;
use domain::{CollapseKey, DeliveryId, DestinationId, Environment, EventId, Timestamp, UserId};
use secrecy::SecretString;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneKey {
    pub key: CollapseKey,
    pub destination: DestinationId,
}

stored! {
    /// The run that makes an attempt, and for which purpose.
    pub enum Mode {
        /// The purchase's run. It sends nothing while the breaker is open, and when the rate or concurrency is
        /// exhausted.
        Lane = "lane",
        /// The destination's run, which delivers the backlog under the same limits.
        Drain = "drain",
        /// The destination's run, which sends a probe although the breaker is open. A probe uses up no step of the
        /// retry schedule.
        Probe = "probe",
    }
}

/// Renders an event for a destination when it is first sent; later attempts reuse this body.
pub type Render = Arc<dyn Fn(&Destination, &Unsent) -> Rendered + Send + Sync>;

/// A lease of a lane, for one request.
#[derive(Clone)]
pub struct Lease {
    pub key: CollapseKey,
    pub destination: DestinationId,
    /// The token that identifies the lease.
    pub token: String,
    /// How long the lane is leased.
    pub duration: Duration,
    /// The run that makes the attempt.
    pub mode: Mode,
    /// Maximum number of events in the request; the destination's own maximum applies too.
    pub at_most: i64,
    /// Renders the bodies of events that are sent for the first time.
    pub render: Render,
}

impl Lease {
    pub(crate) const fn lane(&self) -> LaneKey {
        LaneKey {
            key: self.key,
            destination: self.destination,
        }
    }
}

/// An event that was never sent to a destination, with everything that its body may be rendered from.
#[derive(Debug, Clone)]
pub struct Unsent {
    pub event_id: EventId,
    pub event_type: String,
    pub collapse_key: CollapseKey,
    /// The purchase's revision that the event announces.
    pub revision: i64,
    pub created_at: Timestamp,
    /// When the change happened by the store's clock, if known.
    pub occurred_at: Option<Timestamp>,
    /// Stored body of the event, with the user's state that the destination's filter selects.
    pub body: serde_json::Value,
    /// The user that the event was recorded for; if there was none, the user who owns the purchase now.
    pub user_id: Option<UserId>,
    /// The first user who owned the purchase. It is the same in all events of the purchase, even if that user was
    /// merged into another.
    pub first_user_id: Option<UserId>,
    /// The revision of the user's state in the event; `None` without a state.
    pub user_revision: Option<i64>,
    /// The user's state over all purchases in this environment, with the fields of a `user.*` event's body. Null for an
    /// event without a state, and if the event was recorded in another environment.
    pub user_state: serde_json::Value,
    /// More attributes of the user in this environment, by name. Null if `user_state` is null, and if none were stored.
    pub user_profile: serde_json::Value,
    /// The customer's external id as currently known.
    pub external_id: Option<String>,
    /// The app's own id of the customer's device in its analytics. It is the same in all deliveries of the event to the
    /// destination, even if another id becomes known later. `None` if the destination does not get requests user by
    /// user.
    pub analytics_device_id: Option<String>,
    /// The `data` of the purchase in this revision; null for an event that is not about a purchase.
    pub data: serde_json::Value,
    /// The store, as in `platforms.store`; empty for an event that is not about a purchase.
    pub store: String,
    /// The environment in which the event is sent.
    pub environment: Environment,
    /// All `user.*` events of the same revision in order, this one included, whether the destination chose them or not.
    pub siblings: Vec<Sibling>,
    /// The latest revision of the purchase that the destination acknowledged.
    pub acked_revision: Option<i64>,
    /// The ledger entry that the event announces. `None` for all other events, and if the destination does not get
    /// requests user by user.
    pub earned: Option<Earned>,
}

/// An event of the same revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sibling {
    pub event_id: EventId,
    pub event_type: String,
    /// The sequence number of the event's first delivery to the destination; `None` if it was never queued for it.
    /// Never changes once set.
    pub queued_seq: Option<i64>,
}

/// The result of rendering a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rendered {
    Body(String),
    /// A body with an amount of money.
    Revenue {
        body: String,
        /// The amount in the body, in USD, as a decimal.
        usd: String,
    },
    /// The delivery waits until the customer's external id is set.
    Wait {
        why: String,
    },
    /// The delivery is skipped: the destination must not get the event.
    Skip {
        why: String,
    },
    /// The event cannot be sent, because a setting that an operator entered is wrong.
    Refuse {
        /// The error, without the value of the setting.
        why: String,
    },
}

#[derive(Debug)]
pub enum LeaseResult {
    /// The request to send; the lane is leased.
    Send(Box<Batch>),
    Idle(Idle),
    /// A delivery that can never be sent was ended as failed, and operator events were recorded. Lease again to
    /// continue with the next delivery.
    Undeliverable {
        /// The types of the events about the destination that were recorded, even if no destination gets them.
        events: Vec<&'static str>,
        /// Other destinations for which these events were queued, each once.
        queued_for: Vec<DestinationId>,
    },
}

/// Why nothing of a lane can be sent now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Idle {
    /// No delivery is due yet, or the lane's user is paused.
    Wait {
        /// How long until a delivery is due, or until the pause ends.
        wait: Duration,
        /// The last error of the waiting delivery, or the information that the user is paused.
        last_error: Option<String>,
    },
    Leased {
        /// How long until the current lease ends; a short time if the lane is only locked.
        wait: Duration,
    },
    /// A request about the lane's user is in flight for another purchase.
    UserBusy {
        /// The newest sequence number recorded in the lane.
        last_seq: i64,
        /// How long until leasing again makes sense, at least a millisecond.
        wait: Duration,
    },
    /// The destination cannot take a request now: its breaker is open, it is paused, or its rate or concurrency is
    /// exhausted. The destination's own run will deliver what is pending in the lane.
    Pending {
        /// The newest sequence number recorded in the lane.
        last_seq: i64,
        /// How long until leasing again makes sense, at least a millisecond.
        wait: Duration,
    },
    /// The lane is closed: no delivery is pending, or the destination is disabled or deleted. The lane of a disabled
    /// destination can still have pending deliveries.
    Closed {
        /// The newest sequence number recorded in the lane.
        last_seq: i64,
    },
}

/// One request of a lane, ready to be sent, with one event or several.
#[derive(Debug)]
pub struct Batch {
    /// When the lease began, by the clock of this process.
    pub leased_at: Instant,
    pub destination: Destination,
    pub secret: SecretString,
    /// Attempts of the request's events, in order; at least one.
    pub attempts: Vec<Attempt>,
    /// The user of all events in the request; `None` if the destination does not get requests user by user.
    pub user: Option<UserId>,
    /// How long to wait before sending the request, to keep the destination's rate; at most two seconds.
    pub start_in: Duration,
    /// When the lease ends, by the database's clock.
    pub lease_until: Timestamp,
}

/// One attempt of a delivery, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The delivery; its id is sent as the `webhook-id`.
    pub delivery_id: DeliveryId,
    pub event_id: EventId,
    pub event_type: String,
    /// The purchase's revision that the event announces.
    pub revision: i64,
    /// The step of the retry schedule, from 1: one more than the number of counted attempts. Not counted are: probes;
    /// attempts before their time, after a recovery or a retry requested by an admin; attempts with unusable settings,
    /// or whose lease was lost before the request; attempts whose failure was not about this event; and attempts whose
    /// worker crashed, even after the request. So the schedule may grant one attempt too many, but never loses one.
    pub number: i64,
    /// Number of counted attempts in which the destination refused this event: [`AttemptClass::Refused`].
    pub refusals: i64,
    pub first_tried_at: Option<Timestamp>,
    /// Whether the destination may have a newer state of the user than this event carries: a newer state was sent, with
    /// or without a response, or any state of another user who owns the purchase now.
    pub is_stale: bool,
    /// The body, identical in every attempt.
    pub body: String,
    /// The W3C trace context of the event.
    pub traceparent: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finish {
    pub key: CollapseKey,
    pub destination: DestinationId,
    /// The token of the lane's lease.
    pub token: String,
    /// The run that made the request.
    pub mode: Mode,
    pub started_at: Timestamp,
    pub latency: Duration,
    /// The status of the response, if there was one.
    pub status: Option<i32>,
    /// The recorded headers of the response.
    pub headers: Vec<(String, String)>,
    /// The beginning of the response's body.
    pub response: Option<String>,
    /// The verdicts on the events, and the effect on the destination.
    pub result: DeliveryResult,
    /// The destination is disabled after this time without a success.
    pub disable_after: Duration,
}

impl Finish {
    pub(crate) const fn lane(&self) -> LaneKey {
        LaneKey {
            key: self.key,
            destination: self.destination,
        }
    }
}

/// The result of a request, independent of the destination's kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryResult {
    /// Results of the request's events, in the request's order.
    pub events: Vec<EventResult>,
    /// Effect of the request on the health of the destination.
    pub endpoint_signal: EndpointSignal,
    /// How long the destination wants no further request of this lane.
    pub lane_pause: Option<Duration>,
    /// How long the destination wants no further request about this user.
    pub user_pause: Option<Duration>,
    /// Maximum number of events in the next request of this lane.
    pub at_most: Option<i64>,
    /// An alarm for operators, without secrets.
    pub alarm: Option<String>,
}

impl DeliveryResult {
    /// Adds the destination's `Retry-After`: the lane pauses for that time, but no longer than until the first retry of
    /// an event. Without an event to retry, the lane does not pause.
    #[must_use]
    pub fn with_retry_after(self, retry_after: Option<Duration>) -> Self {
        let delay = |one: &EventResult| match one.verdict {
            Verdict::Retry { delay } => Some(delay),
            Verdict::Delivered | Verdict::Failed => None,
        };
        let soonest = self.events.iter().filter_map(delay).min();
        let lane_pause = soonest
            .zip(retry_after)
            .map(|(soonest, retry_after)| soonest.min(retry_after));
        Self {
            lane_pause: lane_pause.filter(|pause| !pause.is_zero()),
            ..self
        }
    }
}

/// The result of a request for one of its events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventResult {
    pub delivery_id: DeliveryId,
    pub verdict: Verdict,
    pub class: AttemptClass,
    /// Why the attempt failed, for people and without secrets.
    pub error: Option<String>,
    /// Whether the attempt counts as a step of the retry schedule.
    pub counts: bool,
}

/// The verdict on a delivery after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Delivered,
    Retry { delay: Duration },
    Failed,
}

/// What the result of a request shows about the health of the destination's endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndpointSignal {
    Success,
    /// The endpoint did not respond successfully.
    Failure {
        /// How long the endpoint wants no requests at all, if its `Retry-After` applies to all.
        pause: Option<Duration>,
    },
    /// The result shows nothing about the endpoint.
    Neutral,
    /// The endpoint refused all further requests, by a 410 or because it does not know the API key: the destination is
    /// disabled.
    Gone {
        reason: String,
    },
}

/// The state of a lane after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LaneState {
    More,
    /// The next delivery is due later.
    Wait {
        /// Time from now, at least a millisecond.
        wait: Duration,
    },
    /// A delivery is pending that the destination cannot take now. The destination's own run will deliver it.
    Pending {
        /// The newest sequence number recorded in the lane.
        last_seq: i64,
    },
    /// The lane is closed, see [`Idle::Closed`]: no delivery is pending, or the destination is disabled or deleted.
    Closed {
        /// The newest sequence number recorded in the lane.
        last_seq: i64,
    },
}

/// The state of a lane after a request, and the recorded operator events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishResult {
    pub lane: LaneState,
    /// Other destinations for which an event about this one was queued, each once.
    pub queued_for: Vec<DestinationId>,
    /// The types of the events about the destination that were recorded, even if no destination gets them.
    pub operator_events: Vec<&'static str>,
}
