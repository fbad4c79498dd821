//! `verify`: queries the store about a purchase once.
//!
//! If the store does not respond, the activity returns the time of the next query instead of waiting; the workflow
//! sleeps until then and handles signals meanwhile. No description of a failure, in a log or in the Temporal UI,
//! contains a secret, a user id or a URL.

use crate::dependencies::Context;
use crate::settling::query::{self, count, label, raise_alarm};
use crate::spans::Settling;
use domain::duty::{self, Acknowledgement};
use domain::stores::Evidence;
use domain::time::{MINUTE, duration, millis};
use domain::{CollapseKey, Parked, StorePolicy, Timestamp, UnknownReceipts, Verification};
use protocols::stores::{AccessRefusal, Answer, CustomerName, Retry, StoreProtocol, Subject};
use std::time::Duration;
use storage::{Error, StoreQuery, Unanswered};
use workflows::activities::Verified;

/// The wait after the first failure, which doubles with each further one.
const FIRST_RETRY: Duration = Duration::from_secs(2);
/// Maximum wait between two queries, before jitter is applied.
const MAX_RETRY_WAIT: Duration = MINUTE;
/// Mean wait before a query that got no permit is repeated.
const NO_PERMIT_RETRY: Duration = Duration::from_secs(4);

/// Queries the store once. Returns the verification, or the time of the next query.
pub async fn verify(context: &Context, key: CollapseKey) -> Result<Verified, Error> {
    let span = Settling::find(&context.store, key)
        .await
        .activity("RunActivity:verify");
    span.within(query(context, key)).await
}

async fn query(context: &Context, key: CollapseKey) -> Result<Verified, Error> {
    let Some(known) = context.store.store_query(key).await? else {
        return Ok(Verified::of(
            StorePolicy::default(),
            Verification::Unverifiable,
        ));
    };
    let store = context.verifier.stores.of(&known.store);
    let store = store.map_err(unknown)?;
    Query {
        context,
        key,
        known: &known,
        store,
        subject: query::subject(&known),
    }
    .run()
    .await
}

struct Query<'a> {
    context: &'a Context,
    key: CollapseKey,
    known: &'a StoreQuery,
    store: &'a dyn StoreProtocol,
    subject: Subject,
}

impl Query<'_> {
    async fn run(&self) -> Result<Verified, Error> {
        let Some(answer) = self.attempt().await? else {
            count("no_turn");
            return self
                .later(
                    self.spread(NO_PERMIT_RETRY),
                    "other purchases of this platform are queried first",
                )
                .await;
        };
        let (platform, label) = (self.known.platform_id, label(&answer));
        count(label);
        tracing::info!(collapse_key = %self.key, platform.id = %platform, answer = label, "queried the store about a purchase");
        match answer {
            // An answer without a customer does not remove the stored one: a store may hide the account for a while,
            // and the purchase must not lose its owner. Only an answer that names another customer replaces it.
            Answer::Verification(verification) => self.answered(verification).await,
            // The run only learns that the store answered.
            Answer::Named(verification, CustomerName(name)) => {
                let (context, subject) = (self.context, &self.subject);
                query::note_customer(context, self.store, subject, self.key, &name).await?;
                self.answered(verification).await
            }
            Answer::Refused(refusal) => self.refuse_secret(refusal).await,
            Answer::Retry(retry) => self.record_failure(&retry).await,
        }
    }

    /// Sends the query. Returns the store's answer, or `None` if no request was sent because this process sends too
    /// many.
    async fn attempt(&self) -> Result<Option<Answer>, Error> {
        query::send(self.context, self.store, &self.subject).await
    }

    /// Returns the verification. If the platform's setting allows it, a purchase that the store does not know is
    /// believed.
    async fn answered(&self, verification: Verification) -> Result<Verified, Error> {
        self.require_acknowledgement(&verification).await?;
        let verification = match (verification, self.known.unknown_receipts) {
            (Verification::Parked(Parked::UnknownReceipt), UnknownReceipts::Believe) => {
                Verification::Parked(Parked::Believable)
            }
            (verification, _) => verification,
        };
        if matches!(verification, Verification::Parked(_)) {
            self.context.store.verify_answered(self.key).await?;
        }
        self.verified(verification)
    }

    /// Makes the acknowledgement of the purchase due if settle does it and the answer shows none, since not every
    /// purchase has a notification that causes the duty.
    async fn require_acknowledgement(&self, verification: &Verification) -> Result<(), Error> {
        let Verification::Verified(shown) = verification else {
            return Ok(());
        };
        let policy = StorePolicy::of(&self.known.store).ok();
        let acknowledgement = policy.and_then(|policy| duty::acknowledgement(&policy, shown));
        let Some(Acknowledgement::Due(deadline)) = acknowledgement else {
            return Ok(());
        };
        if self.store.acknowledgement(&self.subject, shown).is_none() {
            return Ok(());
        }
        let (context, platform) = (self.context, self.known.platform_id);
        let store = &context.store;
        if store
            .require_acknowledgement(platform, self.key, deadline)
            .await?
        {
            context.engine.verify_claims(platform);
        }
        Ok(())
    }

    /// Records that the store refused the credentials, so that they are not used again. If others were set in the
    /// meantime, queries again; if the store signs what its notifications show, checks that without credentials.
    async fn refuse_secret(&self, refusal: AccessRefusal) -> Result<Verified, Error> {
        let (store, platform) = (&self.context.store, self.known.platform_id);
        let is_new = store
            .refuse_secret(self.known, query::credential_refusal(refusal))
            .await?;
        if is_new {
            tracing::warn!(platform.id = %platform, "the store refuses the platform's credentials; they are not used again");
        }
        let policy = StorePolicy::of(&self.known.store).map_err(unknown)?;
        let why = match policy.evidence {
            Evidence::Read => (!is_new).then_some("other credentials were set meanwhile"),
            // Without credentials, a further query would be refused likewise.
            Evidence::Signed => {
                let is_refused = self.known.has_credential();
                is_refused.then_some("the next check does without the refused credentials")
            }
        };
        if let Some(why) = why
            && store.store_query(self.key).await?.is_some()
        {
            return self.later(self.spread(FIRST_RETRY), why).await;
        }
        self.verified(Verification::Unverifiable)
    }

    /// Counts the failure. Further queries follow until `give_up_after` has passed since the first failure; then the
    /// settling continues without the store.
    async fn record_failure(&self, retry: &Retry) -> Result<Verified, Error> {
        let store = &self.context.store;
        if retry.is_strange {
            raise_alarm(
                self.context,
                self.known.platform_id,
                "verification_strange",
                &retry.why,
            )
            .await;
        }
        let unanswered = store.verify_failed(self.key, &retry.why).await?;
        let outage = Outage {
            unanswered,
            now: store.now().await?,
        };
        match next_query_in(
            outage,
            self.store.give_up_after(),
            retry.retry_after,
            (self.context.random)(),
        ) {
            Some(wait) => {
                self.later(
                    wait,
                    &format!("{} (attempt {})", retry.why, unanswered.attempts),
                )
                .await
            }
            None => {
                let since = unanswered.since;
                Ok(Verified {
                    why: Some(retry.why.clone()),
                    ..self.verified(Verification::Unreachable { since })?
                })
            }
        }
    }

    /// Schedules the next query and returns its time. The purchase's run waits for it; if that run is lost, the sweep
    /// starts another one. If a recheck was requested in the meantime, the next query follows soon, since settings may
    /// have changed.
    async fn later(&self, wait: Duration, why: &str) -> Result<Verified, Error> {
        let (store, settling) = (&self.context.store, self.known.settling);
        let (next_query_in, why) = if store.schedule_query(self.key, settling, wait).await? {
            (wait, why)
        } else {
            (
                self.spread(FIRST_RETRY).min(wait),
                "another query was requested meanwhile",
            )
        };
        Ok(Verified::again_in(next_query_in, why.to_owned()))
    }

    fn verified(&self, verification: Verification) -> Result<Verified, Error> {
        let policy = StorePolicy::of(&self.known.store).map_err(unknown)?;
        Ok(Verified::of(policy, verification))
    }

    fn spread(&self, wait: Duration) -> Duration {
        spread(wait, (self.context.random)())
    }
}

/// How long and how often the store has not answered about a purchase.
#[derive(Debug, Clone, Copy)]
struct Outage {
    unanswered: Unanswered,
    now: Timestamp,
}

/// Returns how long until the next query; `None` if `give_up_after` has passed. The last query is made exactly at its
/// end.
fn next_query_in(
    outage: Outage,
    give_up_after: Duration,
    retry_after: Option<Duration>,
    jitter: f64,
) -> Option<Duration> {
    let left = give_up_after.saturating_sub(outage.now.since(outage.unanswered.since));
    let doublings =
        u32::try_from(outage.unanswered.attempts.saturating_sub(1).clamp(0, 10)).unwrap_or(0);
    let wait = spread((FIRST_RETRY * (1 << doublings)).min(MAX_RETRY_WAIT), jitter);
    // A random time is added to the `Retry-After`, so that the queries of all purchases do not arrive at once.
    let retry_after = retry_after.map_or(Duration::ZERO, |retry_after| {
        retry_after.saturating_add(wait / 4)
    });
    // Whole milliseconds, like the workflow's timer, which must not fire before the time in storage.
    (!left.is_zero()).then(|| duration(millis(wait.max(retry_after).min(left)).max(1)))
}

fn unknown(cause: impl std::fmt::Display) -> Error {
    Error::Corrupt {
        what: cause.to_string(),
        source: None,
    }
}

/// Applies jitter of up to 50 % either way to a wait, rounded to whole milliseconds. `jitter` is from 0 to 1.
fn spread(wait: Duration, jitter: f64) -> Duration {
    duration(millis(wait.mul_f64(0.5 + jitter.clamp(0.0, 1.0))))
}

#[cfg(test)]
mod tests {
    use super::*;
    const GIVE_UP_AFTER: Duration = Duration::from_secs(900);

    fn outage(attempts: i64, elapsed_ms: i64) -> Outage {
        let since = Timestamp::from_millis(1_700_000_000_000);
        Outage {
            unanswered: Unanswered { since, attempts },
            now: since.plus_millis(elapsed_ms),
        }
    }

    #[test]
    fn waits_double_from_two_seconds_to_a_minute() {
        let wait = |attempts| next_query_in(outage(attempts, 0), GIVE_UP_AFTER, None, 0.5);
        let expected = [2, 4, 8, 16, 32, 60, 60].map(|seconds| Some(Duration::from_secs(seconds)));
        assert_eq!([1, 2, 3, 4, 5, 6, i64::MAX].map(wait), expected);
    }

    #[test]
    fn the_last_query_is_at_the_end_of_patience() {
        let wait = |elapsed_ms| next_query_in(outage(9, elapsed_ms), GIVE_UP_AFTER, None, 0.5);
        assert_eq!(wait(899_000), Some(Duration::from_secs(1)));
        assert_eq!(wait(899_999), Some(Duration::from_millis(1)));
        assert_eq!(wait(900_000), None);
        assert_eq!(wait(9_000_000), None);
        assert_eq!(
            wait(-60_000),
            Some(MINUTE),
            "a clock that went back gives no more than patience"
        );
    }

    #[test]
    fn retry_after_is_honoured_within_patience() {
        let wait = |seconds| {
            next_query_in(
                outage(1, 0),
                GIVE_UP_AFTER,
                Some(Duration::from_secs(seconds)),
                0.5,
            )
        };
        assert_eq!(wait(10), Some(Duration::from_millis(10_500)));
        assert_eq!(wait(3_600), Some(GIVE_UP_AFTER));
        assert_eq!(wait(0), Some(FIRST_RETRY));
    }

    #[test]
    fn waits_are_spread_by_half_either_way() {
        assert_eq!(
            [0.0, 0.5, 1.0, 7.0].map(|jitter| spread(FIRST_RETRY, jitter).as_millis()),
            [1_000, 2_000, 3_000, 3_000]
        );
    }
}
