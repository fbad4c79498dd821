//! One request of a lane: claim, send, finish. What follows is up to whoever makes it: a purchase's run in `deliver`,
//! a destination's in `tend`.

use crate::destinations::{Config, Invalid};
use crate::http::{Reply, Request};
use crate::outcome::{Outcome, Tried};
use crate::{Doing, bodies};
use domain::{CollapseKey, DeliveryId, DestinationId, Timestamp};
use std::sync::Arc;
use std::time::Duration;
use storage::{
    Attempt, Batch, Claim, Claimed, EndpointSignal, Error, EventResult, Finish, FinishResult, LaneState, Mode, Verdict,
    fault,
};
use tokio::time::Instant;

/// How long an attempt has the lane for itself: the wait for its turn, the HTTP time-out and a margin.
pub const LEASE_MS: i64 = 20_000;
/// How long after the claim the request may still be started, so that it ends within the lease.
const LATEST_START: Duration = Duration::from_secs(4);
/// How soon what was not sent in time is attempted again.
pub const LATE_MS: i64 = 1_000;
/// How soon settings that make no request are looked at again.
const UNUSABLE_MS: i64 = 600_000;
/// As many events in one request as the destination takes.
pub const MOST: i64 = i64::MAX;

/// Who attempts which lane.
#[derive(Debug, Clone)]
pub struct Turn {
    /// The purchase.
    pub key: CollapseKey,
    /// Whom we tell.
    pub destination: DestinationId,
    /// What tells this attempt from every other one, for the lease.
    pub token: String,
    /// Who asks.
    pub mode: Mode,
    /// At most so many events in the request.
    pub at_most: i64,
}

/// What came of an attempt.
#[derive(Debug)]
pub enum Attempted {
    /// It was made, and this is left.
    Made(Made),
    /// Nothing is due yet.
    Wait {
        /// Milliseconds until something is.
        ms: i64,
        /// Why the last attempt of what waits failed.
        last_error: Option<String>,
    },
    /// Another one has the lane.
    Leased {
        /// Milliseconds until that ends.
        ms: i64,
    },
    /// A request about the lane's user is in flight for another purchase.
    UserBusy {
        /// The newest sequence number recorded in the lane.
        last_seq: i64,
        /// Milliseconds until asking again makes sense.
        ms: i64,
    },
    /// The destination cannot take it now.
    Owed {
        /// The newest sequence number recorded in the lane.
        last_seq: i64,
        /// Milliseconds until asking again makes sense.
        ms: i64,
    },
    /// Nothing is pending, or nothing may be sent.
    Closed {
        /// The newest sequence number recorded in the lane.
        last_seq: i64,
    },
    /// The lease was lost, or too old to cover the request: none was made, and the lease is given back.
    Late,
}

/// An attempt that was made.
#[derive(Debug)]
pub struct Made {
    /// What is left in the lane.
    pub finished: LaneState,
    /// Why an event of it has to be sent again, if one has.
    pub again: Option<String>,
    /// At most so many events in the lane's next request.
    pub at_most: Option<i64>,
    /// Whether it told of another destination: no purchase's run attempts such a lane.
    pub is_for_operators: bool,
}

/// The clock that stamps rows, and so the first attempt: what it showed at the claim, and what has passed since. The
/// worker's own may be another.
#[derive(Clone, Copy)]
struct Clock {
    at: Timestamp,
    claimed_at: Instant,
}

impl Clock {
    fn now(self) -> Timestamp {
        self.at.plus_millis(i64::try_from(self.claimed_at.elapsed().as_millis()).unwrap_or(i64::MAX))
    }
}

/// How a request went, before it is kept.
struct Sent {
    judged: Vec<EventResult>,
    reply: Option<Reply>,
    endpoint_signal: EndpointSignal,
    lane_pause_ms: Option<i64>,
    user_pause_ms: Option<i64>,
    at_most: Option<i64>,
    alarm: Option<String>,
    patience_ms: i64,
}

/// Claims the lane, sends what is due in it and keeps how that went.
pub async fn attempt(doing: &Doing, turn: &Turn) -> Result<Attempted, Error> {
    let batch = loop {
        match doing.store.claim(claim(turn)).await? {
            Claimed::Send(batch) => break *batch,
            Claimed::Wait { ms, last_error } => return Ok(Attempted::Wait { ms, last_error }),
            Claimed::Leased { ms } => return Ok(Attempted::Leased { ms }),
            Claimed::UserBusy { last_seq, ms } => return Ok(Attempted::UserBusy { last_seq, ms }),
            Claimed::Owed { last_seq, ms } => return Ok(Attempted::Owed { last_seq, ms }),
            Claimed::Closed { last_seq } => return Ok(Attempted::Closed { last_seq }),
            Claimed::Undeliverable { events, owing } => tell_operators(doing, turn, (events, owing)),
        }
    };
    let is_for_operators = batch.attempts.iter().all(|attempt| domain::event::is_for_operators(&attempt.event_type));
    let began = Instant::now();
    let claimed_at = batch.claimed_at;
    let clock = Clock { at: batch.lease_until.plus_millis(-LEASE_MS), claimed_at };
    let started_at = clock.now();
    let Some(sent) = send(doing, turn, &batch, clock).await? else {
        let late = batch.attempts.iter().map(late).collect();
        doing.store.finish(finish(turn, unsent(late), (started_at, 0))).await?;
        return Ok(Attempted::Late);
    };
    fail::fail_point!("deliver.after_send", |_| std::process::abort());
    let latency_ms = i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX);
    let made = (again(&sent.judged), sent.at_most);
    let finish = finish(turn, sent, (started_at, latency_ms));
    tell(&finish, &batch);
    let FinishResult { lane: finished, owing, operator_events: told } = doing.store.finish(finish).await?;
    fail::fail_point!("deliver.after_finish", |_| std::process::abort());
    tell_operators(doing, turn, (told, owing));
    let (again, at_most) = made;
    Ok(Attempted::Made(Made { finished, again, at_most, is_for_operators }))
}

/// Counts and logs what was recorded about the destination, and has it delivered to whom it is owed.
fn tell_operators(doing: &Doing, turn: &Turn, (events, owing): (Vec<&'static str>, Vec<DestinationId>)) {
    for event in events {
        tracing::warn!(destination.id = %turn.destination, event, "operators are told of a destination");
        let destination = turn.destination.to_string();
        metrics::counter!("settle_destination_events_total", "destination" => destination, "event" => event)
            .increment(1);
    }
    for other in owing {
        doing.engine.tend(other);
    }
}

fn claim(turn: &Turn) -> Claim {
    Claim {
        key: turn.key,
        destination: turn.destination,
        token: turn.token.clone(),
        lease_ms: LEASE_MS,
        mode: turn.mode,
        at_most: turn.at_most,
        render: Arc::new(bodies::render),
    }
}

/// Sends, unless the lease was lost or is too old to cover the request. Settings that make no request are a failure
/// like any other: they can be mended while the delivery waits. What can never be sent ends.
async fn send(doing: &Doing, turn: &Turn, batch: &Batch, clock: Clock) -> Result<Option<Sent>, Error> {
    let ready = Config::ready(&batch.destination, &batch.secret, &doing.allowed);
    let config = match ready {
        Ok(config) => config,
        Err(invalid) => return Ok(Some(unusable(&batch.attempts, &invalid))),
    };
    let (lost, fresh) = sorted(&config, &batch.attempts, clock.at);
    if fresh.is_empty() {
        return Ok(Some(unsent(lost)));
    }
    let request = match request(doing, &config, batch, &fresh) {
        Ok(request) => request,
        Err(invalid) => return Ok(Some(unusable(&batch.attempts, &invalid))),
    };
    tokio::time::sleep(Duration::from_millis(u64::try_from(batch.start_in_ms).unwrap_or(0))).await;
    fail::fail_point!("deliver.before_send", |_| std::process::abort());
    let mine = doing.store.holds_lease(turn.key, turn.destination, &turn.token).await?;
    if !mine || clock.claimed_at.elapsed() > LATEST_START {
        return Ok(None);
    }
    let reply = doing.http.send(request).await;
    let mut sent = heard(&config, (&fresh, &reply), ((doing.random)(), clock));
    sent.judged.extend(lost);
    sent.reply = Some(redacted(&config, reply));
    Ok(Some(sent))
}

/// What a reply means for each of these events.
fn heard(config: &Config, (fresh, reply): (&[Attempt], &Reply), (jitter, clock): (f64, Clock)) -> Sent {
    let tried: Vec<Tried<'_>> = fresh.iter().map(tried).collect();
    let outcome = config.outcome(reply, &tried, (jitter, clock.now()));
    judged(fresh, (outcome, config.patience_ms()))
}

fn request(doing: &Doing, config: &Config, batch: &Batch, fresh: &[Attempt]) -> Result<Request, Invalid> {
    let at = (doing.clock)();
    if fault::is_planted("deliver.reuse_webhook_id") {
        let delivery_id = DeliveryId::new(batch.destination.id.uuid());
        let reused: Vec<_> = fresh.iter().map(|attempt| Attempt { delivery_id, ..attempt.clone() }).collect();
        return config.request(at, &reused);
    }
    config.request(at, fresh)
}

const fn tried(attempt: &Attempt) -> Tried<'_> {
    Tried {
        event_type: attempt.event_type.as_str(),
        body: attempt.body.as_str(),
        number: attempt.number,
        refusals: attempt.refusals,
        first_tried_at: attempt.first_tried_at,
    }
}

fn is_too_late(first: Option<Timestamp>, gives_up_after_ms: Option<i64>, now: Timestamp) -> bool {
    first.zip(gives_up_after_ms).is_some_and(|(first, after_ms)| now.millis_since(first) >= after_ms)
}

/// What can never be sent, or not any more, with the reason; and the rest, which is sent.
fn sorted(config: &Config, attempts: &[Attempt], now: Timestamp) -> (Vec<EventResult>, Vec<Attempt>) {
    let (mut lost, mut fresh) = (Vec::new(), Vec::new());
    for attempt in attempts {
        if let Some(why) = config.lacks_key(attempt) {
            lost.push(dead(attempt, "no_key", why));
        } else if is_too_late(attempt.first_tried_at, config.gives_up_after_ms(), now) {
            let why = "sent again so long after its first attempt, it could be counted twice";
            lost.push(dead(attempt, "too_late", why.to_owned()));
        } else {
            fresh.push(attempt.clone());
        }
    }
    (lost, fresh)
}

fn dead(attempt: &Attempt, class: &str, why: String) -> EventResult {
    let (class, error) = (class.to_owned(), Some(why));
    EventResult { delivery_id: attempt.delivery_id, class, error, counts: false, verdict: Verdict::Dead }
}

/// It is attempted again soon, by whoever comes first.
fn late(attempt: &Attempt) -> EventResult {
    EventResult {
        delivery_id: attempt.delivery_id,
        class: "late".to_owned(),
        error: Some("its turn came when the lease was over or too old to cover the request".to_owned()),
        counts: false,
        verdict: Verdict::Retry { delay_ms: LATE_MS },
    }
}

fn unusable(attempts: &[Attempt], invalid: &Invalid) -> Sent {
    let judge = |attempt: &Attempt| EventResult {
        delivery_id: attempt.delivery_id,
        class: "invalid_settings".to_owned(),
        error: Some(invalid.to_string()),
        counts: false,
        verdict: Verdict::Retry { delay_ms: UNUSABLE_MS },
    };
    unsent(attempts.iter().map(judge).collect())
}

/// Nothing was sent, so nothing is known of the destination.
fn unsent(judged: Vec<EventResult>) -> Sent {
    let (lane_pause_ms, user_pause_ms, at_most, alarm) = (None, None, None, None);
    let (endpoint_signal, patience_ms) = (EndpointSignal::Neutral, i64::MAX);
    Sent { judged, reply: None, endpoint_signal, lane_pause_ms, user_pause_ms, at_most, alarm, patience_ms }
}

fn judged(attempts: &[Attempt], (outcome, patience_ms): (Outcome, i64)) -> Sent {
    let judge = |(attempt, event): (&Attempt, crate::outcome::Judged)| EventResult {
        delivery_id: attempt.delivery_id,
        class: event.class.to_owned(),
        error: event.message,
        counts: event.counts,
        verdict: event.verdict,
    };
    Sent {
        judged: attempts.iter().zip(outcome.events).map(judge).collect(),
        reply: None,
        endpoint_signal: outcome.endpoint_signal,
        lane_pause_ms: outcome.lane_pause_ms,
        user_pause_ms: outcome.user_pause_ms,
        at_most: outcome.at_most,
        alarm: outcome.alarm,
        patience_ms,
    }
}

/// The answer without our secrets in it.
fn redacted(config: &Config, reply: Reply) -> Reply {
    match reply {
        Reply::Answer { status, retry_after, headers, body } => Reply::Answer {
            status,
            retry_after,
            headers: headers.into_iter().map(|(name, value)| (name, config.redact(&value))).collect(),
            body: config.redact(&body),
        },
        failure @ Reply::Failure { .. } => failure,
    }
}

/// Why the first event that is to be sent again has to be.
fn again(judged: &[EventResult]) -> Option<String> {
    let retried = judged.iter().find(|one| matches!(one.verdict, Verdict::Retry { .. }))?;
    Some(retried.error.clone().unwrap_or_else(|| retried.class.clone()))
}

fn finish(turn: &Turn, sent: Sent, (started_at, latency_ms): (Timestamp, i64)) -> Finish {
    let (status, headers, response) = match sent.reply {
        Some(Reply::Answer { status, headers, body, .. }) => (Some(i32::from(status)), headers, Some(body)),
        _ => (None, Vec::new(), None),
    };
    Finish {
        key: turn.key,
        destination: turn.destination,
        token: turn.token.clone(),
        mode: turn.mode,
        started_at,
        latency_ms,
        status,
        headers,
        response,
        results: sent.judged,
        endpoint_signal: sent.endpoint_signal,
        lane_pause_ms: sent.lane_pause_ms,
        user_pause_ms: sent.user_pause_ms,
        patience_ms: sent.patience_ms,
        alarm: sent.alarm,
    }
}

/// Counts and logs how each event fared.
fn tell(finish: &Finish, batch: &Batch) {
    for judged in &finish.results {
        let outcome = match judged.verdict {
            Verdict::Delivered => "delivered",
            Verdict::Retry { .. } => "retry",
            Verdict::Dead => "dead",
        };
        metrics::counter!("settle_deliveries_total", "outcome" => outcome).increment(1);
        let Some(attempt) = batch.attempts.iter().find(|one| one.delivery_id == judged.delivery_id) else { continue };
        tracing::info!(
            event.id = %attempt.event_id,
            destination.id = %finish.destination,
            attempt = attempt.number,
            latency_ms = finish.latency_ms,
            class = judged.class,
            mode = finish.mode.as_str(),
            outcome,
            "attempted a delivery"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::destinations::{Allowed, webhook};
    use domain::AppId;
    use domain::event::Wildcards;
    use serde_json::json;
    use storage::{Destination, Filter};
    use uuid::Uuid;

    fn config() -> Config {
        let fields = json!({ "url": "https://example.com/hook" });
        let made = Config::make(webhook::KIND, fields.as_object().unwrap(), &Allowed::default(), [7; 32]).unwrap();
        let destination = Destination {
            id: DestinationId::new(Uuid::nil()),
            app_id: AppId::new(Uuid::nil()),
            kind: webhook::KIND.to_owned(),
            name: String::new(),
            events: vec!["*".to_owned()],
            wildcards: Wildcards::Everything,
            filter: Filter::default(),
            settings: made.settings,
            per_user: false,
            per_request: 1,
            profile: None,
            rate: None,
            concurrency: 32,
            schedule: None,
            enabled: true,
            state: "healthy".to_owned(),
            reason: None,
            since: Timestamp::default(),
            created_at: Timestamp::default(),
        };
        Config::ready(&destination, &made.secret, &Allowed::default()).unwrap()
    }

    fn attempt(number: u8) -> Attempt {
        Attempt {
            delivery_id: DeliveryId::new(Uuid::from_bytes([number; 16])),
            event_id: domain::EventId::new(Uuid::nil()),
            event_type: "user.subscription.renewed".to_owned(),
            revision: 1,
            number: 1,
            refusals: 0,
            first_tried_at: None,
            is_stale: false,
            body: String::new(),
            traceparent: None,
        }
    }

    #[test]
    fn an_event_is_given_up_only_where_its_destination_does_and_counts_from_its_first_attempt() {
        let at = |ms| Timestamp::default().plus_millis(ms);
        assert!(!is_too_late(None, Some(1000), at(5000)), "never attempted");
        assert!(!is_too_late(Some(at(0)), None, at(i64::MAX / 2000)), "never given up");
        assert!(!is_too_late(Some(at(0)), Some(1000), at(999)));
        assert!(is_too_late(Some(at(0)), Some(1000), at(1000)));
    }

    #[test]
    fn the_time_of_an_attempt_is_the_databases_at_the_claim_and_goes_on() {
        let claimed_at = Instant::now().checked_sub(Duration::from_secs(3)).unwrap();
        let passed_ms = Clock { at: Timestamp::default(), claimed_at }.now().millis_since(Timestamp::default());
        assert!((3_000..63_000).contains(&passed_ms), "{passed_ms}");
    }

    #[test]
    fn what_is_answered_is_told_with_the_patience_of_the_destinations_kind() {
        let clock = Clock { at: Timestamp::default(), claimed_at: Instant::now() };
        let reply = Reply::Answer { status: 500, retry_after: None, headers: Vec::new(), body: String::new() };
        let sent = heard(&config(), (&[attempt(1)], &reply), (0.5, clock));
        assert_eq!(
            (sent.endpoint_signal, sent.patience_ms),
            (EndpointSignal::Failure { pause_ms: None }, 5 * 24 * 3_600_000)
        );
    }

    #[test]
    fn settings_that_make_no_request_use_up_nothing_and_say_nothing_of_the_destination() {
        let sent = unusable(&[attempt(1), attempt(2)], &Invalid::new("secret", "one that signs"));
        assert_eq!(sent.endpoint_signal, EndpointSignal::Neutral);
        assert!(sent.judged.iter().all(|one| one.class == "invalid_settings" && !one.counts));
        assert_eq!(again(&sent.judged).as_deref(), Some("`secret`: expected one that signs"));
    }

    #[test]
    fn what_came_too_late_uses_up_nothing_and_is_attempted_again_soon() {
        let sent = unsent(vec![late(&attempt(1))]);
        assert_eq!((sent.endpoint_signal, sent.patience_ms), (EndpointSignal::Neutral, i64::MAX));
        let told: Vec<_> = sent.judged.iter().map(|one| (one.class.as_str(), one.counts, one.verdict)).collect();
        assert_eq!(told, [("late", false, Verdict::Retry { delay_ms: 1_000 })]);
    }

    #[test]
    fn each_event_of_a_request_is_judged_on_its_own() {
        let judge = |class, verdict| crate::outcome::Judged { verdict, class, message: None, counts: true };
        let retry = Verdict::Retry { delay_ms: 7 };
        let events = vec![judge("success", Verdict::Delivered), judge("throttled", retry)];
        let (lane_pause_ms, user_pause_ms, at_most, alarm) = (Some(7), Some(30_000), Some(1), None);
        let outcome =
            Outcome { events, endpoint_signal: EndpointSignal::Success, lane_pause_ms, user_pause_ms, at_most, alarm };
        let sent = judged(&[attempt(1), attempt(2)], (outcome, 9));
        let verdicts: Vec<_> = sent.judged.iter().map(|one| (one.delivery_id, one.verdict)).collect();
        assert_eq!(verdicts, [(attempt(1).delivery_id, Verdict::Delivered), (attempt(2).delivery_id, retry)]);
        assert_eq!(again(&sent.judged).as_deref(), Some("throttled"));
        assert_eq!((sent.user_pause_ms, sent.at_most, sent.patience_ms), (Some(30_000), Some(1), 9));
    }
}
