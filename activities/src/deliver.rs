//! `deliver`: attempts what a lane owes. One failed attempt ends a run of the activity, and Temporal
//! runs it again when the next one is due; successes go on to the next delivery of the lane.

use crate::Doing;
use crate::destinations::Config;
use crate::failure::Failed;
use crate::http::Reply;
use crate::outcome::Verdict;
use std::time::Duration;
use storage::{Attempt, Claimed, Finish, Finished, fault};
use temporalio_sdk::activities::ActivityInfo;
use tokio::time::Instant;
use workflows::asks::{Deliver, Delivered};

/// How long an attempt has the lane for itself: the HTTP time-out and a margin.
const LEASE: Duration = Duration::from_secs(20);
/// How long after the claim the request may still be started, so that it ends within the lease.
const LATEST_START: Duration = Duration::from_secs(4);
/// How soon settings that make no request are looked at again.
const UNUSABLE_MS: i64 = 600_000;
/// After this long, what is left goes to a fresh run, so that no attempt is cut off by its time-out.
const ENOUGH: Duration = Duration::from_secs(8);

/// What tells this attempt from every other one, for the lease.
pub fn token(info: &ActivityInfo) -> String {
    let run = info.workflow_run_id.as_deref().unwrap_or_default();
    format!("{run}/{}/{}", info.activity_id, info.attempt)
}

/// Attempts what is due, until the lane is closed, something fails or has to wait.
pub async fn deliver(doing: &Doing, token: &str, lane: &Deliver) -> Result<Delivered, Failed> {
    if fault::is_planted("deliver.start_twice") {
        // As if a worker that was given up for lost were still at it.
        let other = format!("{token}/other");
        return tokio::join!(attempts(doing, token, lane), attempts(doing, &other, lane)).0;
    }
    attempts(doing, token, lane).await
}

async fn attempts(doing: &Doing, token: &str, lane: &Deliver) -> Result<Delivered, Failed> {
    let began = Instant::now();
    loop {
        let claimed_at = Instant::now();
        let lease_ms = i64::try_from(LEASE.as_millis()).unwrap_or(i64::MAX);
        let claimed = doing.store.claim(lane.collapse_key, lane.destination_id, token, lease_ms).await?;
        let attempt = match claimed {
            Claimed::Send(attempt) => attempt,
            Claimed::Closed { last_seq } => return Ok(Delivered { last_seq, more: false }),
            Claimed::Leased { ms } => return Err(Failed::wait(ms, "another attempt is still in flight".to_owned())),
            Claimed::Wait { ms, last_error } => {
                return Err(Failed::wait(ms, last_error.unwrap_or_else(|| "not due yet".to_owned())));
            }
        };
        let (verdict, finished) = attempt_once(doing, token, &attempt, claimed_at).await?;
        match (verdict, finished) {
            (_, Finished::Closed { last_seq }) => return Ok(Delivered { last_seq, more: false }),
            (Verdict::Retry { message, .. }, Finished::Wait { ms }) => return Err(Failed::wait(ms, message)),
            (Verdict::Retry { message, .. }, Finished::More) => return Err(Failed::wait(1, message)),
            (_, Finished::Wait { ms }) => {
                return Err(Failed::wait(ms, "the lane's other track waits for its next attempt".to_owned()));
            }
            (_, Finished::More) if began.elapsed() > ENOUGH => return Ok(Delivered { last_seq: 0, more: true }),
            (_, Finished::More) => {}
        }
    }
}

async fn attempt_once(
    doing: &Doing,
    token: &str,
    attempt: &Attempt,
    claimed_at: Instant,
) -> Result<(Verdict, Finished), Failed> {
    let started_at = (doing.clock)();
    let began = Instant::now();
    let (reply, verdict) = send(doing, token, attempt, claimed_at).await?;
    fail::fail_point!("deliver.after_send", |_| std::process::abort());
    let latency_ms = i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX);
    let (status, response) = match reply {
        Some(Reply::Answer { status, body, .. }) => (Some(i32::from(status)), Some(body)),
        _ => (None, None),
    };
    let (class, error) = explained(&verdict);
    let finish = Finish {
        delivery_id: attempt.delivery_id,
        token: token.to_owned(),
        started_at,
        latency_ms,
        status,
        class: class.to_owned(),
        error,
        response,
        verdict: kept(&verdict),
    };
    let finished = doing.store.finish(finish).await?;
    fail::fail_point!("deliver.after_finish", |_| std::process::abort());
    let outcome = word(&verdict);
    metrics::counter!("settle_deliveries_total", "outcome" => outcome).increment(1);
    tracing::info!(
        event.id = %attempt.event_id,
        destination.id = %attempt.destination.id,
        attempt = attempt.number,
        latency_ms,
        class,
        outcome,
        "attempted a delivery"
    );
    Ok((verdict, finished))
}

/// Sends, unless the lease was lost or is too old to cover the request. Settings that make no request
/// are a failure like any other: they can be mended while the delivery waits.
async fn send(
    doing: &Doing,
    token: &str,
    attempt: &Attempt,
    claimed_at: Instant,
) -> Result<(Option<Reply>, Verdict), Failed> {
    let kind = &attempt.destination.kind;
    let reused = fault::is_planted("deliver.reuse_webhook_id").then(|| attempt.destination.id.to_string());
    let webhook_id = reused.unwrap_or_else(|| attempt.delivery_id.to_string());
    let ready = Config::parse(kind, &attempt.destination.settings, doing.allow_http).and_then(|config| {
        let request = config.request(&attempt.secret, &webhook_id, (doing.clock)(), &attempt.body)?;
        Ok((config, request))
    });
    let (config, request) = match ready {
        Ok(ready) => ready,
        Err(invalid) => {
            let message = invalid.to_string();
            return Ok((None, Verdict::Retry { delay_ms: UNUSABLE_MS, class: "invalid_settings", message }));
        }
    };
    fail::fail_point!("deliver.before_send", |_| std::process::abort());
    let mine = doing.store.holds_lease(attempt.delivery_id, token).await?;
    if !mine || claimed_at.elapsed() > LATEST_START {
        return Err(Failed::wait(1000, "the lease of this attempt ran out before it was sent".to_owned()));
    }
    let reply = doing.http.send(request).await;
    let verdict = config.outcome(&reply, attempt.number, (doing.random)());
    Ok((Some(reply), verdict))
}

fn explained(verdict: &Verdict) -> (&'static str, Option<String>) {
    match verdict {
        Verdict::Delivered => ("success", None),
        Verdict::Retry { class, message, .. } | Verdict::Dead { class, message } => (class, Some(message.clone())),
    }
}

const fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Delivered => "delivered",
        Verdict::Retry { .. } => "retry",
        Verdict::Dead { .. } => "dead",
    }
}

const fn kept(verdict: &Verdict) -> storage::Verdict {
    match verdict {
        Verdict::Delivered => storage::Verdict::Delivered,
        Verdict::Retry { delay_ms, .. } => storage::Verdict::Retry { delay_ms: *delay_ms },
        Verdict::Dead { .. } => storage::Verdict::Dead,
    }
}
