//! One request for one lane: leases the lane, sends its due events, and records the result. The caller decides what
//! follows: a purchase's run in `deliver`, a destination's run in `supervise`.

use crate::delivery::bodies;
use crate::delivery::chart_counts::Counts;
use crate::dependencies::Context;
use crate::spans;
use domain::time::millis;
use domain::{CollapseKey, DeliveryId, DestinationId, Timestamp};
use protocols::destinations::{self, Connector, Exchange, Invalid};
use protocols::outgoing::{AnswerRecord, Outgoing};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use storage::{
    Attempt, AttemptClass, Batch, DeliveryResult, EndpointSignal, Error, EventResult, Finish,
    FinishResult, Idle, LaneState, Lease, LeaseResult, Mode, Verdict, fault,
};
use tokio::time::Instant;

/// How long an attempt leases its lane: the wait for the rate limit, the HTTP timeout and a margin.
pub const LEASE: Duration = Duration::from_secs(20);
/// Latest start of the request after the beginning of its lease, so that the request ends within the lease.
const LATEST_START: Duration = Duration::from_secs(4);
/// How long after its beginning a lease is trusted without checking the database, if both clocks of this machine agree.
/// While a machine is suspended, its monotonic clock may stop, and its wall clock may be set. Two cases remain
/// undetected: all clocks of the machine stopped, or the database's clock was set forward by the length of the lease.
const CERTAIN: Duration = Duration::from_secs(1);
/// Wait before the next attempt when the lease expired before the request.
pub const LEASE_RETRY: Duration = Duration::from_secs(1);
/// Wait before the next attempt when no request can be built from the destination's settings.
const INVALID_SETTINGS_RETRY: Duration = Duration::from_secs(600);
/// Value of [`Lease::at_most`] without a limit: only the destination's own `per_request` applies.
pub const NO_LIMIT: i64 = i64::MAX;

#[derive(Debug)]
pub enum AttemptResult {
    /// The attempt has a recorded result. Either a request was sent, or none could be sent because the settings are
    /// unusable or no event may be sent any more.
    Completed(Completed),
    Idle(Idle),
    /// The lease had expired or would have expired during the request, so nothing was sent and the lease was released.
    LeaseExpired,
}

/// An attempt with a recorded result.
#[derive(Debug)]
pub struct Completed {
    /// The attempt that follows, if its lane was leased when this one was recorded.
    pub next: Option<Turn>,
    pub lane: LaneState,
    /// The error of the first event that must be retried; `None` if no event must be.
    pub retry_reason: Option<String>,
    /// Maximum number of events in the lane's next request; `None` without a limit.
    pub at_most: Option<i64>,
    /// Whether all events of the attempt are about another destination. Only the destination's run attempts such a
    /// lane, since it belongs to no purchase.
    pub is_for_operators: bool,
}

/// A turn of a lane: its lease is still to be taken, or was taken when the previous request was recorded.
pub struct Turn {
    pub lease: Lease,
    /// When the lease was requested, by this machine's wall clock, and its result.
    leased: Option<(Timestamp, LeaseResult)>,
}

impl Turn {
    /// Creates a turn whose lease is still to be taken.
    pub const fn new(lease: Lease) -> Self {
        Self {
            lease,
            leased: None,
        }
    }
}

impl fmt::Debug for Turn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Turn")
            .field("leased", &self.leased)
            .finish_non_exhaustive()
    }
}

/// Whether another attempt may follow in the same lane, and the token for it.
pub struct Next<'a> {
    /// Identifies the next holder of the lease.
    pub token: String,
    /// Whether another attempt is wanted, checked at the end of the current one.
    pub is_wanted: &'a (dyn Fn() -> bool + Sync),
}

impl Next<'_> {
    /// Returns the lease to take after a request with this result. An event that must be retried ends the series,
    /// unless the next request has fewer events: only this series knows the limit.
    fn lease(self, lease: &Lease, result: &DeliveryResult) -> Option<Lease> {
        let follows = result.at_most.is_some() || retry_reason(&result.events).is_none();
        let at_most = result.at_most.unwrap_or(NO_LIMIT);
        (follows && (self.is_wanted)()).then(|| Lease {
            token: self.token,
            at_most,
            ..lease.clone()
        })
    }
}

/// An estimate of the database's clock, since the worker's own may differ: the database's time at the beginning of the
/// lease, plus the time that has passed since. It also knows how much time has passed since then by each of the
/// worker's clocks.
#[derive(Clone, Copy)]
struct Clock {
    /// When the lease began, by the database's clock.
    leased_at_db: Timestamp,
    /// When the lease began, by this process's monotonic clock.
    leased_at: Instant,
    /// A time just before the lease began, by this machine's wall clock.
    requested_at: Timestamp,
}

impl Clock {
    /// Whether the lease can be trusted without checking the database. `wall` is the time of this machine's wall clock.
    fn is_certain(self, wall: Timestamp) -> bool {
        let passed_ms = wall.millis_since(self.requested_at);
        self.leased_at.elapsed() < CERTAIN && (0..millis(CERTAIN)).contains(&passed_ms)
    }

    fn now(self) -> Timestamp {
        self.leased_at_db
            .plus_millis(i64::try_from(self.leased_at.elapsed().as_millis()).unwrap_or(i64::MAX))
    }
}

/// The result of a request, before it is recorded.
struct UnrecordedResult {
    result: DeliveryResult,
    /// `None` if no request was sent, or none was answered.
    answer: Option<AnswerRecord>,
    /// How long the destination may go without a success before it is disabled.
    disable_after: Duration,
}

/// Returns a lease for as many events as the destination accepts in one request. `token` identifies the holder of the
/// lease.
pub fn lease(key: CollapseKey, destination: DestinationId, token: String, mode: Mode) -> Lease {
    let render = Arc::new(bodies::render);
    Lease {
        key,
        destination,
        token,
        duration: LEASE,
        mode,
        at_most: NO_LIMIT,
        render,
    }
}

/// Leases the lane, unless `turn` contains a lease already, sends its due events and records the result. Takes the next
/// lease together with the record, if another attempt may follow.
pub async fn attempt(
    context: &Context,
    turn: Turn,
    next: Option<Next<'_>>,
) -> Result<AttemptResult, Error> {
    let Turn { lease, mut leased } = turn;
    let (requested_at, batch) = loop {
        let (requested_at, leased) = match leased.take() {
            Some(leased) => leased,
            None => ((context.clock)(), context.store.lease(lease.clone()).await?),
        };
        match leased {
            LeaseResult::Send(batch) => break (requested_at, *batch),
            LeaseResult::Idle(idle) => return Ok(AttemptResult::Idle(idle)),
            LeaseResult::Undeliverable { events, queued_for } => {
                publish_operator_events(context, lease.destination, events, queued_for)
            }
        }
    };
    let span = spans::attempt(&lease, &batch);
    span.within(carry_out(context, &lease, requested_at, batch, next))
        .await
}

/// Sends the events of a leased lane and records the result.
async fn carry_out(
    context: &Context,
    lease: &Lease,
    requested_at: Timestamp,
    batch: Batch,
    next: Option<Next<'_>>,
) -> Result<AttemptResult, Error> {
    let is_for_operators = batch
        .attempts
        .iter()
        .all(|attempt| domain::event::is_for_operators(&attempt.event_type));
    let began = Instant::now();
    let leased_at = batch.leased_at;
    let clock = Clock {
        leased_at_db: batch.lease_until.minus(LEASE),
        leased_at,
        requested_at,
    };
    let started_at = clock.now();
    let in_flight = context
        .in_flight
        .begin(lease.destination, lease.key, batch.user)
        .await;
    let sent = match &in_flight {
        Some(_) => send(context, lease, &batch, clock).await?,
        None => {
            tracing::warn!(
                destination.id = %lease.destination,
                "a lease was over while its request was still in flight: the database's clock went forward"
            );
            None
        }
    };
    let Some(sent) = sent else {
        let unsent_events = batch.attempts.iter().map(lease_expired).collect();
        context
            .store
            .finish(finish(
                lease,
                unsent(unsent_events),
                started_at,
                Duration::ZERO,
            ))
            .await?;
        return Ok(AttemptResult::LeaseExpired);
    };
    fail::fail_point!("deliver.after_send", |_| std::process::abort());
    let latency = began.elapsed();
    context
        .local_attempts
        .note(lease.destination, &sent.result.endpoint_signal, latency);
    let (retry_reason, at_most) = (retry_reason(&sent.result.events), sent.result.at_most);
    let next = next.and_then(|next| next.lease(lease, &sent.result));
    let finish = finish(lease, sent, started_at, latency);
    log_results(context, &finish, &batch);
    let (
        FinishResult {
            lane,
            queued_for,
            operator_events,
        },
        next,
    ) = record(context, finish, next).await?;
    fail::fail_point!("deliver.after_finish", |_| std::process::abort());
    publish_operator_events(context, lease.destination, operator_events, queued_for);
    Ok(AttemptResult::Completed(Completed {
        next,
        lane,
        retry_reason,
        at_most,
        is_for_operators,
    }))
}

/// Records the result of a request and takes the next lease. If that fails, the request is recorded alone, since an
/// event that comes next may be the cause. The next lease is then taken with the same token, because the first attempt
/// may have taken it and its result was lost.
async fn record(
    context: &Context,
    finish: Finish,
    next: Option<Lease>,
) -> Result<(FinishResult, Option<Turn>), Error> {
    let Some(lease) = next else {
        return Ok((context.store.finish(finish).await?, None));
    };
    let requested_at = (context.clock)();
    match context
        .store
        .finish_and_lease(finish.clone(), lease.clone())
        .await
    {
        Ok((finished, leased)) => {
            let leased = leased.map(|leased| Turn {
                lease,
                leased: Some((requested_at, leased)),
            });
            Ok((finished, leased))
        }
        Err(error) => {
            tracing::debug!(error = %error, "what follows a request was not leased with its record");
            let finished = context.store.finish(finish).await?;
            let next = (finished.lane == LaneState::More).then(|| Turn::new(lease));
            Ok((finished, next))
        }
    }
}

/// Counts and logs the events about the destination. Signals the runs of the destinations for which these events are
/// pending.
pub fn publish_operator_events(
    context: &Context,
    destination: DestinationId,
    events: Vec<&'static str>,
    queued_for: Vec<DestinationId>,
) {
    for event in events {
        tracing::warn!(destination.id = %destination, event, "recorded an event about a destination");
        let name = destination.to_string();
        metrics::counter!("settle_destination_events_total", "destination" => name, "event" => event).increment(1);
    }
    for other in queued_for {
        context.engine.supervise(other);
    }
}

/// Sends the events. Returns `None` if the lease has expired or would expire during the request. With unusable
/// settings, nothing is sent and the events are retried later, since an admin may correct the settings in the meantime.
/// Such an attempt uses no step of the schedule and does not count against the destination. Events that can never be
/// sent fail permanently.
async fn send(
    context: &Context,
    lease: &Lease,
    batch: &Batch,
    clock: Clock,
) -> Result<Option<UnrecordedResult>, Error> {
    let ready = destinations::ready(
        &batch.destination,
        &batch.secret,
        &context.allowed_addresses,
    );
    let connector = match ready {
        Ok(connector) => connector,
        Err(invalid) => return Ok(Some(unusable(&batch.attempts, &invalid))),
    };
    let (unsendable, sendable) = partition(connector.as_ref(), &batch.attempts, clock.leased_at_db);
    if sendable.is_empty() {
        return Ok(Some(unsent(unsendable)));
    }
    let request = match request(context, connector.as_ref(), batch, &sendable) {
        Ok(request) => request,
        Err(invalid) => return Ok(Some(unusable(&batch.attempts, &invalid))),
    };
    tokio::time::sleep(batch.start_in).await;
    fail::fail_point!("deliver.before_send", |_| std::process::abort());
    let is_holder = clock.is_certain((context.clock)())
        || context
            .store
            .holds_lease(lease.key, lease.destination, &lease.token)
            .await?;
    if !is_holder || clock.leased_at.elapsed() > LATEST_START {
        return Ok(None);
    }
    let reply = spans::request(request.of(batch.destination.app_id), |mut request| {
        if connector.takes_trace() {
            spans::propagate(&mut request);
        }
        context.http.deliver(request)
    })
    .await;
    if let Some(alarm) = connector.volume_alarm()
        && let Some(detail) = context
            .volume
            .count(batch.destination.app_id, alarm, clock.now())
    {
        // The request was made, so it is recorded even if raising the alarm fails.
        let raised = context
            .store
            .alarm(batch.destination.id, alarm.alarm, &detail);
        drop(raised.await);
    }
    let exchange = Exchange {
        events: &sendable,
        reply: &reply,
        at: clock.now(),
        jitter: (context.random)(),
    };
    let mut result = connector.judge(exchange);
    result.events.extend(unsendable);
    Ok(Some(UnrecordedResult {
        result,
        answer: reply.record(|text| connector.redact(text)),
        disable_after: connector.disable_after(),
    }))
}

fn request(
    context: &Context,
    connector: &dyn Connector,
    batch: &Batch,
    events: &[Attempt],
) -> Result<Outgoing, Invalid> {
    let at = (context.clock)();
    if fault::is_planted("deliver.reuse_webhook_id") {
        let delivery_id = DeliveryId::new(batch.destination.id.uuid());
        let reused: Vec<_> = events
            .iter()
            .map(|attempt| Attempt {
                delivery_id,
                ..attempt.clone()
            })
            .collect();
        return connector.request(at, &reused);
    }
    connector.request(at, events)
}

/// The reason given for an expired event that is not sent.
pub const EXPIRED: &str = "so long after its first attempt a repetition could be counted twice";

/// Whether the destination no longer accepts the event, because too much time has passed since its first attempt.
pub fn is_event_expired(
    first: Option<Timestamp>,
    gives_up_after: Option<Duration>,
    now: Timestamp,
) -> bool {
    first
        .zip(gives_up_after)
        .is_some_and(|(first, after)| now >= first.plus(after))
}

/// Splits the events. Returns the results of those that can never be sent, and the events to send.
fn partition(
    connector: &dyn Connector,
    attempts: &[Attempt],
    now: Timestamp,
) -> (Vec<EventResult>, Vec<Attempt>) {
    let (mut unsendable, mut sendable) = (Vec::new(), Vec::new());
    for attempt in attempts {
        if let Some(why) = connector.lacks_key(attempt) {
            unsendable.push(failed(attempt, AttemptClass::NoKey, why));
        } else if is_event_expired(attempt.first_tried_at, connector.gives_up_after(), now) {
            unsendable.push(failed(attempt, AttemptClass::TooLate, EXPIRED.to_owned()));
        } else {
            sendable.push(attempt.clone());
        }
    }
    (unsendable, sendable)
}

fn failed(attempt: &Attempt, class: AttemptClass, why: String) -> EventResult {
    EventResult {
        delivery_id: attempt.delivery_id,
        class,
        error: Some(why),
        counts: false,
        verdict: Verdict::Failed,
    }
}

/// Returns the result of an event whose request was not sent because the lease expired. The next lease retries it.
fn lease_expired(attempt: &Attempt) -> EventResult {
    EventResult {
        delivery_id: attempt.delivery_id,
        class: AttemptClass::Late,
        error: Some("the lease was over or too old to cover the request".to_owned()),
        counts: false,
        verdict: Verdict::Retry { delay: LEASE_RETRY },
    }
}

/// Returns the results of a request that cannot be built from the destination's settings.
fn unusable(attempts: &[Attempt], invalid: &Invalid) -> UnrecordedResult {
    let judge = |attempt: &Attempt| EventResult {
        delivery_id: attempt.delivery_id,
        class: AttemptClass::InvalidSettings,
        error: Some(invalid.to_string()),
        counts: false,
        verdict: Verdict::Retry {
            delay: INVALID_SETTINGS_RETRY,
        },
    };
    unsent(attempts.iter().map(judge).collect())
}

/// Returns the results of events that were not sent and therefore show nothing about the destination.
fn unsent(events: Vec<EventResult>) -> UnrecordedResult {
    let (lane_pause, user_pause, at_most, alarm) = (None, None, None, None);
    let endpoint_signal = EndpointSignal::Neutral;
    let result = DeliveryResult {
        events,
        endpoint_signal,
        lane_pause,
        user_pause,
        at_most,
        alarm,
    };
    UnrecordedResult {
        result,
        answer: None,
        disable_after: Duration::MAX,
    }
}

/// Returns the error of the first event that must be retried or, without an error, its class.
fn retry_reason(results: &[EventResult]) -> Option<String> {
    let retried = results
        .iter()
        .find(|one| matches!(one.verdict, Verdict::Retry { .. }))?;
    Some(
        retried
            .error
            .clone()
            .unwrap_or_else(|| retried.class.as_str().to_owned()),
    )
}

fn finish(
    lease: &Lease,
    sent: UnrecordedResult,
    started_at: Timestamp,
    latency: Duration,
) -> Finish {
    let (status, headers, response) = match sent.answer {
        Some(AnswerRecord {
            status,
            headers,
            body,
        }) => (Some(i32::from(status)), headers, Some(body)),
        None => (None, Vec::new(), None),
    };
    Finish {
        key: lease.key,
        destination: lease.destination,
        token: lease.token.clone(),
        mode: lease.mode,
        started_at,
        latency,
        status,
        headers,
        response,
        result: sent.result,
        disable_after: sent.disable_after,
    }
}

/// Counts and logs the result of each event.
fn log_results(context: &Context, finish: &Finish, batch: &Batch) {
    let counts = Counts {
        store: &context.store,
        destination: &batch.destination,
    };
    if finish.status.is_some() {
        counts.request(finish.latency);
    }
    for result in &finish.result.events {
        let outcome = match result.verdict {
            Verdict::Delivered => "delivered",
            Verdict::Retry { .. } => "retry",
            Verdict::Failed => "failed",
        };
        metrics::counter!("settle_deliveries_total", "outcome" => outcome).increment(1);
        spans::note_outcome(outcome);
        counts.attempt(matches!(result.verdict, Verdict::Delivered));
        let Some(attempt) = batch
            .attempts
            .iter()
            .find(|one| one.delivery_id == result.delivery_id)
        else {
            continue;
        };
        tracing::info!(
            event.id = %attempt.event_id,
            destination.id = %finish.destination,
            attempt = attempt.number,
            latency_ms = millis(finish.latency),
            class = result.class.as_str(),
            mode = finish.mode.as_str(),
            outcome,
            "attempted a delivery"
        );
    }
}

#[cfg(test)]
mod tests;
