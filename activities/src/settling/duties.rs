//! Attempts the due duties of a platform: acknowledges purchases to their store. The activity `verify_claims` does this
//! beside the platform's claims, so a duty does not wait for the quiet window of its purchase.
//!
//! An attempt checks the purchase first, within the platform's rate. If the process is lost between the store's answer
//! and its record, the next attempt finds the purchase acknowledged. What the acknowledgement removes at the store, the
//! customer of a purchase outside the app, is stored before.

use crate::dependencies::Context;
use crate::failing::Work;
use crate::settling::query::{self, count, label, raise_alarm};
use domain::duty::{self, Acknowledgement};
use domain::time::{HOUR, MINUTE};
use domain::{PlatformId, Snapshot, StorePolicy, Verification};
use futures::future::join_all;
use protocols::stores::{
    AccessRefusal, AcknowledgeAnswer, Answer, CustomerName, Retry, StoreProtocol, Subject,
};
use std::time::Duration;
use storage::{DutyAttempt, DutyResult, Error, LeasedDuty, StoreQuery};

/// Number of duties of a platform that are attempted concurrently.
const PAGE: i64 = 8;
/// How long a lease lasts, after which another attempt begins: longer than two checks and a request.
const LEASE: Duration = MINUTE;
/// The wait after the first failure, which doubles with each further one.
const FIRST_RETRY: Duration = Duration::from_secs(2);
/// Maximum wait between two attempts, before jitter is applied.
const MAX_RETRY_WAIT: Duration = MINUTE.saturating_mul(10);
/// Maximum wait between two attempts while the store does not know the purchase.
const MAX_UNKNOWN_WAIT: Duration = HOUR;
/// Number of attempts after which a purchase that the store does not know is given up: after more than a day.
const UNKNOWN_ATTEMPTS: i64 = 40;
/// How long until a duty is attempted again if the process was busy.
const BUSY_RETRY: Duration = Duration::from_secs(3);

/// The attempts of a page.
#[derive(Debug, Default)]
pub struct Attempts {
    pub number: usize,
    /// How long until the next duty is due.
    pub next_due_in: Option<Duration>,
}

/// Attempts a page of due duties.
///
/// # Errors
/// Storage failed. The duties are attempted again after their lease.
pub async fn attempt_due(context: &Context, platform: PlatformId) -> Result<Attempts, Error> {
    let page = context.store.lease_duties(platform, LEASE, PAGE).await?;
    let leased = page.leased.iter();
    let attempts = leased.map(|duty| attempt(context, *duty));
    for result in join_all(attempts).await {
        result?;
    }
    Ok(Attempts {
        number: page.leased.len(),
        next_due_in: page.next_due_in,
    })
}

/// Attempts a duty and stores the result. If the database refuses something, the duty is postponed, so that it delays
/// no other.
async fn attempt(context: &Context, duty: LeasedDuty) -> Result<(), Error> {
    let result = match find_and_attempt(context, duty).await {
        Err(error) if error.is_permanent() => {
            let why = storage::chain(&error);
            tracing::error!(collapse_key = %duty.collapse_key, error = why, "a duty cannot be attempted");
            context
                .note_part(Work::Claims(duty.platform_id), "verify_claims", &error)
                .await;
            DutyAttempt::Failed(MAX_RETRY_WAIT, "the database refuses it".to_owned())
        }
        attempted => attempted?,
    };
    context.store.finish_duty(duty, result).await?;
    fail::fail_point!("duties.after_finish", |_| std::process::abort());
    Ok(())
}

async fn find_and_attempt(context: &Context, duty: LeasedDuty) -> Result<DutyAttempt, Error> {
    let known = context.store.store_query(duty.collapse_key).await?;
    let found = known
        .as_ref()
        .and_then(|known| Some((known, context.verifier.stores.of(&known.store).ok()?)));
    let Some((known, store)) = found else {
        let why = "the store cannot be queried about the purchase";
        return Ok(DutyAttempt::Failed(MAX_RETRY_WAIT, why.to_owned()));
    };
    Attempt {
        context,
        duty,
        known,
        store,
        subject: query::subject(known),
    }
    .run()
    .await
}

struct Attempt<'a> {
    context: &'a Context,
    duty: LeasedDuty,
    known: &'a StoreQuery,
    store: &'a dyn StoreProtocol,
    subject: Subject,
}

/// A purchase as a check shows it, with its customer.
struct Checked {
    shown: Box<Snapshot>,
    customer: Option<CustomerName>,
}

impl Attempt<'_> {
    async fn run(&self) -> Result<DutyAttempt, Error> {
        let Checked { shown, customer } = match self.check().await? {
            Ok(checked) => checked,
            Err(attempt) => return Ok(attempt),
        };
        match self.acknowledgement(&shown) {
            Some(Acknowledgement::Due(_)) => {
                if let Some(CustomerName(name)) = customer {
                    let (store, key) = (self.store, self.duty.collapse_key);
                    query::note_customer(self.context, store, &self.subject, key, &name).await?;
                }
                self.acknowledge(&shown).await
            }
            Some(Acknowledgement::Done) => Ok(DutyAttempt::Closed(DutyResult::Found)),
            Some(Acknowledgement::Over) => Ok(DutyAttempt::Closed(DutyResult::Over)),
            Some(Acknowledgement::Early) | None => Ok(DutyAttempt::Idle),
        }
    }

    /// Returns the acknowledgement of the purchase; `None` if the store needs none, or does not show it.
    fn acknowledgement(&self, shown: &Snapshot) -> Option<Acknowledgement> {
        let policy = StorePolicy::of(&self.known.store).ok()?;
        duty::acknowledgement(&policy, shown)
    }

    /// Checks the purchase with the store. The inner error is the result of the attempt.
    async fn check(&self) -> Result<Result<Checked, DutyAttempt>, Error> {
        let Some(answer) = query::send(self.context, self.store, &self.subject).await? else {
            return Ok(Err(busy()));
        };
        count(label(&answer));
        let (verification, customer) = match answer {
            Answer::Verification(verification) => (verification, None),
            Answer::Named(verification, customer) => (verification, Some(customer)),
            Answer::Refused(refusal) => return self.refuse_secret(refusal).await.map(Err),
            Answer::Retry(retry) => return Ok(Err(self.postpone(&retry).await)),
        };
        Ok(match verification {
            Verification::Verified(shown) => Ok(Checked { shown, customer }),
            Verification::Gone | Verification::Parked(_) => Err(self.unknown()),
            Verification::Unverifiable | Verification::Unreachable { .. } => {
                let why = "the store was not queried about the purchase";
                Err(DutyAttempt::Failed(MAX_RETRY_WAIT, why.to_owned()))
            }
        })
    }

    async fn acknowledge(&self, shown: &Snapshot) -> Result<DutyAttempt, Error> {
        let (context, subject) = (self.context, &self.subject);
        let Some((request, bucket)) = self.store.acknowledgement(subject, shown) else {
            return Ok(DutyAttempt::Left);
        };
        fail::fail_point!("duties.before_call", |_| std::process::abort());
        let answer = query::acknowledge(context, self.store, subject, *request, bucket).await?;
        fail::fail_point!("duties.after_call", |_| std::process::abort());
        Ok(match answer {
            None => busy(),
            Some(AcknowledgeAnswer::Done) => {
                let (key, platform) = (self.duty.collapse_key, self.duty.platform_id);
                tracing::info!(collapse_key = %key, platform.id = %platform, "acknowledged a purchase to the store");
                DutyAttempt::Closed(DutyResult::Settle)
            }
            Some(AcknowledgeAnswer::Unclear) => self.check_again().await?,
            Some(AcknowledgeAnswer::Refused) => DutyAttempt::Refused(HOUR),
            Some(AcknowledgeAnswer::Retry(retry)) => self.postpone(&retry).await,
        })
    }

    /// Returns the result after an unclear answer: the purchase may be acknowledged already.
    async fn check_again(&self) -> Result<DutyAttempt, Error> {
        let checked = match self.check().await? {
            Ok(checked) => checked,
            Err(attempt) => return Ok(attempt),
        };
        Ok(match self.acknowledgement(&checked.shown) {
            Some(Acknowledgement::Done) => DutyAttempt::Closed(DutyResult::Found),
            Some(Acknowledgement::Over) => DutyAttempt::Closed(DutyResult::Over),
            Some(Acknowledgement::Early) | None => DutyAttempt::Idle,
            Some(Acknowledgement::Due(_)) => {
                let why = "the store does not accept the acknowledgement of the purchase";
                DutyAttempt::Failed(self.wait(MAX_RETRY_WAIT), why.to_owned())
            }
        })
    }

    /// Returns the result for a purchase that the store does not know, perhaps because it is new.
    fn unknown(&self) -> DutyAttempt {
        if self.duty.attempts >= UNKNOWN_ATTEMPTS {
            return DutyAttempt::Closed(DutyResult::Unknown);
        }
        let why = "the store does not know the purchase";
        DutyAttempt::Failed(self.wait(MAX_UNKNOWN_WAIT), why.to_owned())
    }

    /// Records that the store refused the credentials. The duty waits for others.
    async fn refuse_secret(&self, refusal: AccessRefusal) -> Result<DutyAttempt, Error> {
        let refusal = query::credential_refusal(refusal);
        if self
            .context
            .store
            .refuse_secret(self.known, refusal)
            .await?
        {
            tracing::warn!(platform.id = %self.duty.platform_id, "the store refuses the platform's credentials; they are not used again");
        }
        let why = "the store refuses the platform's credentials";
        Ok(DutyAttempt::Failed(BUSY_RETRY, why.to_owned()))
    }

    /// Returns the result of a failed request.
    async fn postpone(&self, retry: &Retry) -> DutyAttempt {
        if retry.is_strange {
            let platform = self.duty.platform_id;
            raise_alarm(self.context, platform, "verification_strange", &retry.why).await;
        }
        let wait = self.wait(MAX_RETRY_WAIT);
        let wait = retry
            .retry_after
            .map_or(wait, |after| wait.max(after.min(HOUR)));
        DutyAttempt::Failed(wait, retry.why.clone())
    }

    /// Returns the wait after a failed attempt, which doubles up to `longest`, with jitter of up to 50 % either way.
    fn wait(&self, longest: Duration) -> Duration {
        let jitter = (self.context.random)().clamp(0.0, 1.0);
        doubled(self.duty.attempts, longest).mul_f64(0.5 + jitter)
    }
}

/// Returns the result if no request was sent, because this process sends too many.
fn busy() -> DutyAttempt {
    let why = "other requests to the store are sent first";
    DutyAttempt::Failed(BUSY_RETRY, why.to_owned())
}

fn doubled(attempts: i64, longest: Duration) -> Duration {
    let doublings = u32::try_from(attempts.saturating_sub(1).clamp(0, 16)).unwrap_or(0);
    FIRST_RETRY.saturating_mul(1_u32 << doublings).min(longest)
}

#[cfg(test)]
mod tests {
    use super::{FIRST_RETRY, MAX_RETRY_WAIT, MAX_UNKNOWN_WAIT, UNKNOWN_ATTEMPTS, doubled};
    use domain::time::DAY;
    use std::time::Duration;

    #[test]
    fn waits_double_from_two_seconds_up_to_the_longest() {
        let wait = |attempts| doubled(attempts, MAX_RETRY_WAIT);
        assert_eq!(
            [0, 1, 2, 3].map(wait),
            [2, 2, 4, 8].map(Duration::from_secs)
        );
        assert_eq!([10, i64::MAX].map(wait), [MAX_RETRY_WAIT; 2]);
    }

    #[test]
    fn a_testers_minutes_allow_several_attempts() {
        let passed: Duration = (1..=6)
            .map(|attempt| doubled(attempt, MAX_RETRY_WAIT))
            .sum();
        assert!(passed > FIRST_RETRY * 60 && passed < Duration::from_secs(180));
    }

    #[test]
    fn an_unknown_purchase_is_tried_for_more_than_a_day() {
        let attempts = 1..UNKNOWN_ATTEMPTS;
        let passed: Duration = attempts
            .map(|number| doubled(number, MAX_UNKNOWN_WAIT))
            .sum();
        // Jitter halves it at most.
        assert!(passed / 2 > DAY / 2 && passed > DAY, "{passed:?}");
    }
}
