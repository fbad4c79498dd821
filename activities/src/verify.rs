//! `verify`: queries the store about a purchase, once.
//!
//! It never waits for the store to recover: it returns the time of the next query, so that the workflow handles signals
//! meanwhile. The description of a failure, here and in the Temporal UI, holds no secret, no customer and no URL.

use crate::dependencies::Context;
use crate::pace::{Permit, Throttle};
use domain::time::MINUTE;
use domain::{CollapseKey, Parked, PlatformId, Timestamp, UnknownReceipts, Verification};
use protocols::stores::{Answer, Receipt, Retry, Store};
use std::time::Duration;
use storage::{Error, StoreQuery, Unanswered};
use tokio::time::Instant;
use workflows::activities::Verified;

/// How long to wait for a place among the requests in flight: with the wait for a permit and the request it fits into one run.
const WAIT: Duration = Duration::from_millis(500);
/// The wait after the first failure; it doubles with each.
const FIRST: Duration = Duration::from_secs(2);
/// The longest wait between two queries.
const LONGEST: Duration = MINUTE;
/// Mean wait after a query without a permit.
const PERMIT: Duration = Duration::from_secs(4);

/// Queries the store once; returns the verification, or the time of the next query.
pub async fn verify(context: &Context, key: CollapseKey) -> Result<Verified, Error> {
    let Some(known) = context.store.store_query(key).await? else { return Ok(verified(Verification::Unverifiable)) };
    match context.verifier.settings.of(&known.store, known.platform_id) {
        Some(store) => Query { context, key, known: &known, store }.run().await,
        None => Ok(verified(Verification::Unverifiable)),
    }
}

/// One query of a store.
struct Query<'a> {
    context: &'a Context,
    key: CollapseKey,
    known: &'a StoreQuery,
    store: Store<'a>,
}

impl Query<'_> {
    async fn run(&self) -> Result<Verified, Error> {
        let Some(answer) = self.attempt().await? else {
            count("no_turn");
            return self.later(self.spread(PERMIT), "other purchases of this platform are queried first").await;
        };
        let (platform, label) = (self.known.platform_id, label(&answer));
        count(label);
        tracing::info!(collapse_key = %self.key, platform.id = %platform, answer = label, "queried the store about a purchase");
        match answer {
            Answer::Verification(verification) => self.answered(verification).await,
            Answer::Refused => self.refuse_secret().await,
            Answer::Retry(retry) => self.record_failure(&retry).await,
        }
    }

    /// The store's answer; `None` when no request was sent, for reasons of our own.
    async fn attempt(&self) -> Result<Option<Answer>, Error> {
        let (verifier, platform) = (&self.context.verifier, self.known.platform_id);
        let receipt = Receipt {
            environment: self.known.environment,
            app_user_id: self.known.app_user_id.clone(),
            receipt_id: self.known.receipt_id.clone(),
            secret: self.known.secret.clone(),
        };
        let request = match self.store.request(&receipt) {
            Ok(request) => request,
            Err(answer) => return Ok(Some(answer)),
        };
        let Ok(Ok(_slot)) = tokio::time::timeout(WAIT, verifier.in_flight.acquire()).await else { return Ok(None) };
        match verifier.pace.reserve(platform, Instant::now()) {
            Permit::At(at) => tokio::time::sleep_until(at).await,
            Permit::Later => return Ok(None),
            Permit::Paused(until) => return Ok(Some(Answer::Retry(paused(until)))),
        }
        // The database's clock, since the time is compared with those of rows.
        let at = self.context.store.now().await?;
        let http = verifier.open.as_ref().filter(|_| self.store.is_at_chosen_address()).unwrap_or(&self.context.http);
        let began = Instant::now();
        let reply = http.send(request).await;
        metrics::histogram!("settle_verification_seconds").record(began.elapsed());
        Ok(Some(match self.store.answer(&reply, &receipt, at) {
            Answer::Retry(retry) if retry.is_throttled => {
                let (at, jitter) = (Instant::now(), (self.context.random)());
                let throttle = Throttle { at, retry_after: retry.retry_after, jitter };
                let until = verifier.pace.pause(platform, throttle);
                Answer::Retry(Retry { retry_after: Some(until.duration_since(Instant::now())), ..retry })
            }
            Answer::Retry(retry) => Answer::Retry(retry),
            answer => {
                verifier.pace.answered(platform);
                answer
            }
        }))
    }

    async fn answered(&self, verification: Verification) -> Result<Verified, Error> {
        let verification = match (verification, self.known.unknown_receipts) {
            (Verification::Parked(Parked::UnknownReceipt), UnknownReceipts::Believe) => {
                Verification::Parked(Parked::Believable)
            }
            (verification, _) => verification,
        };
        if matches!(verification, Verification::Parked(_)) {
            self.context.store.verify_answered(self.key).await?;
        }
        Ok(verified(verification))
    }

    async fn refuse_secret(&self) -> Result<Verified, Error> {
        let (store, platform) = (&self.context.store, self.known.platform_id);
        if store.refuse_secret(self.known).await? {
            metrics::counter!("settle_alarms_total", "kind" => "secret_refused").increment(1);
            tracing::warn!(platform.id = %platform, "the store refuses the platform's shared secret; it is not used again");
        } else if store.store_query(self.key).await?.is_some() {
            return self.later(self.spread(FIRST), "another shared secret was set meanwhile").await;
        }
        Ok(verified(Verification::Unverifiable))
    }

    /// Counts the failure: another query follows while patience lasts, then the settling goes on without the store.
    async fn record_failure(&self, retry: &Retry) -> Result<Verified, Error> {
        let store = &self.context.store;
        if retry.is_strange {
            raise_alarm(self.context, self.known.platform_id, "verification_strange", &retry.why).await;
        }
        let unanswered = store.verify_failed(self.key).await?;
        let failures = Failures { unanswered, now: store.now().await? };
        match next_query_in(failures, self.store.patience(), retry.retry_after, (self.context.random)()) {
            Some(wait) => self.later(wait, &format!("{} (attempt {})", retry.why, unanswered.attempts)).await,
            None => Ok(Verified {
                why: Some(retry.why.clone()),
                ..verified(Verification::Unreachable { since: unanswered.since })
            }),
        }
    }

    /// Schedules the next query: by the run that waits for it, or by the sweep if that run is lost.
    async fn later(&self, wait: Duration, why: &str) -> Result<Verified, Error> {
        self.context.store.schedule_query(self.key, wait).await?;
        Ok(Verified { verification: None, next_query_in: wait, why: Some(why.to_owned()) })
    }

    fn spread(&self, wait: Duration) -> Duration {
        spread(wait, (self.context.random)())
    }
}

/// The answer for other purchases of a platform that the store throttles. It counts as a failure: patience must end for
/// them too.
fn paused(until: Instant) -> Retry {
    let retry_after = Some(until.duration_since(Instant::now()));
    Retry { retry_after, ..Retry::new("paused", "the store throttled our requests a moment ago") }
}

/// How long and how often the store did not answer.
#[derive(Debug, Clone, Copy)]
struct Failures {
    unanswered: Unanswered,
    now: Timestamp,
}

/// How long until the next query; `None` when patience is over. The last query is at its end.
fn next_query_in(
    failures: Failures,
    patience: Duration,
    retry_after: Option<Duration>,
    jitter: f64,
) -> Option<Duration> {
    let left = patience.saturating_sub(failures.now.since(failures.unanswered.since));
    let doublings = u32::try_from(failures.unanswered.attempts.saturating_sub(1).clamp(0, 10)).unwrap_or(0);
    let wait = spread((FIRST * (1 << doublings)).min(LONGEST), jitter);
    // A little later than the store's time, so that not all queries come at once.
    let retry_after = retry_after.map_or(Duration::ZERO, |retry_after| retry_after.saturating_add(wait / 4));
    (!left.is_zero()).then(|| wait.max(retry_after).min(left).max(Duration::from_millis(1)))
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
    Verified { verification: Some(verification), next_query_in: Duration::ZERO, why: None }
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

/// A wait from half of it to half more, by `jitter` from 0 to 1.
fn spread(wait: Duration, jitter: f64) -> Duration {
    wait.mul_f64(0.5 + jitter.clamp(0.0, 1.0))
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
        let wait = |attempts| next_query_in(failures(attempts, 0), PATIENCE, None, 0.5);
        let expected = [2, 4, 8, 16, 32, 60, 60].map(|seconds| Some(Duration::from_secs(seconds)));
        assert_eq!([1, 2, 3, 4, 5, 6, i64::MAX].map(wait), expected);
    }

    #[test]
    fn the_last_query_is_at_the_end_of_patience() {
        let wait = |elapsed_ms| next_query_in(failures(9, elapsed_ms), PATIENCE, None, 0.5);
        assert_eq!(wait(899_000), Some(Duration::from_secs(1)));
        assert_eq!(wait(899_999), Some(Duration::from_millis(1)));
        assert_eq!(wait(900_000), None);
        assert_eq!(wait(9_000_000), None);
        assert_eq!(wait(-60_000), Some(MINUTE), "a clock that went back gives no more than patience");
    }

    #[test]
    fn retry_after_is_honoured_within_patience() {
        let wait = |seconds| next_query_in(failures(1, 0), PATIENCE, Some(Duration::from_secs(seconds)), 0.5);
        assert_eq!(wait(10), Some(Duration::from_millis(10_500)));
        assert_eq!(wait(3_600), Some(PATIENCE));
        assert_eq!(wait(0), Some(FIRST));
    }

    #[test]
    fn waits_are_spread_by_half_either_way() {
        assert_eq!([0.0, 0.5, 1.0, 7.0].map(|jitter| spread(FIRST, jitter).as_millis()), [1_000, 2_000, 3_000, 3_000]);
    }
}
