//! `verify`: queries the store about a purchase, once.
//!
//! It never waits for the store to recover: it returns the time of the next query, so that the workflow handles signals
//! meanwhile. The description of a failure, here and in the Temporal UI, holds no secret, no customer and no URL.

use crate::Context;
use crate::http::Http;
use crate::pace::{Pace, Permit};
use domain::{CollapseKey, Parked, PlatformId, Timestamp, UnknownReceipts, Verification};
use protocols::http::Rules;
use protocols::stores::{Answer, Receipt, Retry, Settings, Store};
use std::time::Duration;
use storage::{Error, StoreQuery, Unanswered};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use workflows::activities::Verified;

/// Maximum number of requests to stores in flight, so that a store that hangs leaves slots for other activities.
const IN_FLIGHT: usize = 20;
/// How long to wait for one of these: with the wait for a permit and the request it fits into one run.
const WAIT: Duration = Duration::from_millis(500);
/// The wait after the first failure, in milliseconds; it doubles with each.
const FIRST_MS: i64 = 2_000;
/// The longest wait between two queries, in milliseconds.
const LONGEST_MS: i64 = 60_000;
/// Mean wait after a query without a permit, in milliseconds.
const PERMIT_MS: i64 = 4_000;

/// Verifies purchases with their stores, for this process.
#[derive(Debug)]
pub struct Verifier {
    settings: Settings,
    pace: Pace,
    in_flight: Semaphore,
    /// The sender for addresses that the operator chose.
    open: Option<Http>,
}

impl Verifier {
    /// A verifier with these settings.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            pace: Pace::new(settings.per_second()),
            in_flight: Semaphore::new(IN_FLIGHT),
            open: settings.has_chosen_address().then(|| Http::new(Rules::open())),
            settings,
        }
    }
}

/// Queries the store once; returns the verification, or the time of the next query.
pub async fn verify(context: &Context, key: CollapseKey) -> Result<Verified, Error> {
    let Some(known) = context.store.store_query(key).await? else { return Ok(verified(Verification::Unverifiable)) };
    let Some(store) = context.verifier.settings.of(&known.store, known.platform_id) else {
        return Ok(verified(Verification::Unverifiable));
    };
    let platform = known.platform_id;
    let answer = match attempt(context, store, &known).await? {
        Attempt::Answer(answer) => answer,
        Attempt::RateLimited => {
            count("no_turn");
            let again_ms = spread(PERMIT_MS, (context.random)());
            return query_later(context, key, again_ms, "other purchases of this platform are queried first").await;
        }
    };
    let label = label(&answer);
    count(label);
    tracing::info!(collapse_key = %key, platform.id = %platform, answer = label, "queried the store about a purchase");
    match answer {
        Answer::Verification(verification) => {
            let verification = match (verification, known.unknown_receipts) {
                (Verification::Parked(Parked::UnknownReceipt), UnknownReceipts::Believe) => {
                    Verification::Parked(Parked::Believable)
                }
                (verification, _) => verification,
            };
            if matches!(verification, Verification::Parked(_)) {
                context.store.verify_answered(key).await?;
            }
            Ok(verified(verification))
        }
        Answer::Refused => refuse_secret(context, key, &known).await,
        Answer::Retry(retry) => record_failure(context, (key, platform, store), &retry).await,
    }
}

enum Attempt {
    Answer(Answer),
    /// No request was sent, for reasons of our own.
    RateLimited,
}

async fn attempt(context: &Context, store: Store<'_>, known: &StoreQuery) -> Result<Attempt, Error> {
    let (verifier, platform) = (&context.verifier, known.platform_id);
    let receipt = Receipt {
        environment: known.environment,
        app_user_id: known.app_user_id.clone(),
        receipt_id: known.receipt_id.clone(),
        secret: known.secret.clone(),
    };
    let request = match store.request(&receipt) {
        Ok(request) => request,
        Err(answer) => return Ok(Attempt::Answer(answer)),
    };
    let Ok(Ok(_slot)) = tokio::time::timeout(WAIT, verifier.in_flight.acquire()).await else {
        return Ok(Attempt::RateLimited);
    };
    match verifier.pace.reserve(platform, Instant::now()) {
        Permit::At(at) => tokio::time::sleep_until(at).await,
        Permit::Later => return Ok(Attempt::RateLimited),
        Permit::Paused(until) => return Ok(Attempt::Answer(Answer::Retry(paused(until)))),
    }
    // The database's clock, since the time is compared with those of rows.
    let at = context.store.now().await?;
    let http = verifier.open.as_ref().filter(|_| store.is_at_chosen_address()).unwrap_or(&context.http);
    let began = Instant::now();
    let reply = http.send(request).await;
    metrics::histogram!("settle_verification_seconds").record(began.elapsed());
    let answer = store.answer(&reply, &receipt, at);
    Ok(Attempt::Answer(match answer {
        Answer::Retry(retry) if retry.is_throttled => {
            let until = verifier.pace.pause(platform, (Instant::now(), retry.retry_after), (context.random)());
            Answer::Retry(Retry { retry_after: Some(until.duration_since(Instant::now())), ..retry })
        }
        Answer::Retry(retry) => Answer::Retry(retry),
        other => {
            verifier.pace.answered(platform);
            other
        }
    }))
}

/// The answer for other purchases of a platform that the store throttles. It counts as a failure: patience must end for
/// them too.
fn paused(until: Instant) -> Retry {
    let retry_after = Some(until.duration_since(Instant::now()));
    Retry { retry_after, ..Retry::new("paused", "the store throttled our requests a moment ago") }
}

async fn refuse_secret(context: &Context, key: CollapseKey, known: &storage::StoreQuery) -> Result<Verified, Error> {
    let platform = known.platform_id;
    if context.store.refuse_secret(known).await? {
        metrics::counter!("settle_alarms_total", "kind" => "secret_refused").increment(1);
        tracing::warn!(platform.id = %platform, "the store refuses the platform's shared secret; it is not used again");
    } else if context.store.store_query(key).await?.is_some() {
        let again_ms = spread(FIRST_MS, (context.random)());
        return query_later(context, key, again_ms, "another shared secret was set meanwhile").await;
    }
    Ok(verified(Verification::Unverifiable))
}

/// Counts the failure: another query follows while patience lasts, then the settling goes on without the store.
async fn record_failure(
    context: &Context,
    (key, platform, store): (CollapseKey, PlatformId, Store<'_>),
    retry: &Retry,
) -> Result<Verified, Error> {
    if retry.is_strange {
        raise_alarm(context, platform, "verification_strange", &retry.why).await;
    }
    let unanswered = context.store.verify_failed(key).await?;
    let failures = Failures { unanswered, now: context.store.now().await? };
    let Some(again_ms) = next_query_ms(failures, store.patience(), retry.retry_after, (context.random)()) else {
        return Ok(Verified {
            why: Some(retry.why.clone()),
            ..verified(Verification::Unreachable { since: unanswered.since })
        });
    };
    query_later(context, key, again_ms, &format!("{} (attempt {})", retry.why, unanswered.attempts)).await
}

/// How long and how often the store did not answer.
#[derive(Debug, Clone, Copy)]
struct Failures {
    unanswered: Unanswered,
    now: Timestamp,
}

/// Milliseconds to the next query; `None` when patience is over. The last query is at its end.
fn next_query_ms(failures: Failures, patience: Duration, retry_after: Option<Duration>, jitter: f64) -> Option<i64> {
    let patience_ms = millis(patience);
    let left = patience_ms.saturating_sub(failures.now.millis_since(failures.unanswered.since).max(0));
    let doublings = u32::try_from(failures.unanswered.attempts.saturating_sub(1).clamp(0, 10)).unwrap_or(0);
    let wait = spread(FIRST_MS.saturating_mul(1 << doublings).min(LONGEST_MS), jitter);
    // A little later than the store's time, so that not all queries come at once.
    let retry_after = retry_after.map_or(0, |retry_after| millis(retry_after).saturating_add(wait / 4));
    (left > 0).then(|| wait.max(retry_after).min(left).max(1))
}

/// Raises an alarm; a failure to store it is only logged.
async fn raise_alarm(context: &Context, platform: PlatformId, kind: &'static str, detail: &str) {
    metrics::counter!("settle_alarms_total", "kind" => kind).increment(1);
    tracing::warn!(platform.id = %platform, kind, "{detail}");
    if let Err(error) = context.store.alarm(Some(platform), kind, detail).await {
        tracing::warn!(platform.id = %platform, kind, %error, "an alarm was not stored");
    }
}

const fn verified(verification: Verification) -> Verified {
    Verified { verification: Some(verification), next_query_ms: 0, why: None }
}

/// Schedules the next query: by the run that waits for it, or by the sweep if that run is lost.
async fn query_later(context: &Context, key: CollapseKey, again_ms: i64, why: &str) -> Result<Verified, Error> {
    context.store.schedule_query(key, Duration::from_millis(again_ms.unsigned_abs())).await?;
    Ok(Verified { verification: None, next_query_ms: again_ms, why: Some(why.to_owned()) })
}

fn label(answer: &Answer) -> &'static str {
    match answer {
        Answer::Verification(Verification::Verified(_)) => "verified",
        Answer::Verification(Verification::Gone) => "gone",
        Answer::Verification(Verification::Parked(Parked::UnknownReceipt | Parked::Believable)) => "unknown_receipt",
        Answer::Verification(Verification::Parked(Parked::WrongCustomer)) => "wrong_customer",
        Answer::Verification(Verification::Unverifiable | Verification::Unreachable { .. }) => "unverifiable",
        Answer::Refused => "secret_refused",
        Answer::Retry(retry) => retry.class,
    }
}

fn count(answer: &'static str) {
    metrics::counter!("settle_verifications_total", "answer" => answer).increment(1);
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// A wait from half of `ms` to half more, by `jitter` from 0 to 1.
fn spread(ms: i64, jitter: f64) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "from 0 to 1000, and a float cast saturates")]
    let thousandths = (jitter.clamp(0.0, 1.0) * 1000.0) as i64;
    ms.saturating_mul(thousandths.saturating_add(500)) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;
    const PATIENCE: Duration = Duration::from_secs(900);

    fn failures(attempts: i64, elapsed_ms: i64) -> Failures {
        let since = Timestamp::from_millis(1_700_000_000_000);
        Failures { unanswered: Unanswered { since, attempts }, now: since.plus_millis(elapsed_ms) }
    }

    #[test]
    fn waits_double_from_two_seconds_to_a_minute() {
        let wait = |attempts| next_query_ms(failures(attempts, 0), PATIENCE, None, 0.5);
        let expected = [2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000].map(Some);
        assert_eq!([1, 2, 3, 4, 5, 6, i64::MAX].map(wait), expected);
    }

    #[test]
    fn the_last_query_is_at_the_end_of_patience() {
        let wait = |elapsed_ms| next_query_ms(failures(9, elapsed_ms), PATIENCE, None, 0.5);
        assert_eq!(wait(899_000), Some(1_000));
        assert_eq!(wait(899_999), Some(1));
        assert_eq!(wait(900_000), None);
        assert_eq!(wait(9_000_000), None);
        assert_eq!(wait(-60_000), Some(60_000), "a clock that went back gives no more than patience");
    }

    #[test]
    fn retry_after_is_honoured_within_patience() {
        let wait = |seconds| next_query_ms(failures(1, 0), PATIENCE, Some(Duration::from_secs(seconds)), 0.5);
        assert_eq!(wait(10), Some(10_500));
        assert_eq!(wait(3_600), Some(900_000));
        assert_eq!(wait(0), Some(2_000));
    }

    #[test]
    fn waits_are_spread_by_half_either_way() {
        assert_eq!([0.0, 0.5, 1.0, 7.0].map(|jitter| spread(2_000, jitter)), [1_000, 2_000, 3_000, 3_000]);
    }
}
