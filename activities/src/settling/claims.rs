//! `verify_claims`: verifies the purchases that the devices on a platform claim. One run takes the due claims page by
//! page, until it has run for a while or none is due soon. Before each page, and while one takes long, it attempts the
//! platform's due duties, so that a store that does not respond about a claim delays no duty. Beside both, it starts a
//! requested query of the platform's store.
//!
//! A claim of a known purchase costs no query. A claim of another purchase costs at most one, unless the store did not
//! respond, and only a few claims of one purchase may be refused within an hour. The queries use only a part of the
//! platform's rate: anyone with the publishable key can claim any purchase, and must not be able to delay the
//! verification of purchases. Due claims exist only in storage.

use crate::dependencies::Context;
use crate::failing::Work;
use crate::failure::Failed;
use crate::heartbeat::Heartbeats;
use crate::settling::duties;
use crate::settling::query::{self, count, label, raise_alarm};
use crate::settling::repair;
use domain::device::claim::ClaimReason;
use domain::{CollapseKey, DevicePlace, Parked, PlatformId, Verification};
use futures::StreamExt;
use protocols::stores::{AccessRefusal, Answer, CustomerName};
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use storage::{ClaimAnswer, ClaimResult, ClaimStep, Error, Open, StoreQuery};
use temporalio_sdk::activities::ActivityContext;
use tokio::sync::{Mutex, Notify};
use tokio::time::{Instant, timeout};
use workflows::activities::{VerifiedClaims, VerifyClaims};
use workflows::options::CLAIMS_BUDGET;
use workflows::signal::{Notified, Signal};

/// Number of claims in a page. A new network waits for the end of the current page.
const PAGE: i64 = 10;
/// Maximum number of claims of a platform that are checked concurrently.
const CONCURRENT: usize = 4;
/// Claims use one part in this many of the platform's query rate.
const SHARE: u32 = 5;
/// A run ends if no claim is due within this time; the sweep starts another one.
const IDLE_LIMIT: Duration = Duration::from_secs(45);
/// Maximum sleep between two pages, since another claim may become due meanwhile, and between two attempts of duties.
const LONGEST_SLEEP: Duration = Duration::from_secs(2);
/// How long until a claim is queried again if the process was busy.
const BUSY_RETRY: Duration = Duration::from_secs(5);
/// Time between two heartbeats to Temporal.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(4);

#[derive(Default)]
pub struct ClaimsRun {
    /// Whether the run begins nothing more, because it was cancelled or Temporal considers it lost.
    is_halted: AtomicBool,
    /// The earliest time of the next query.
    next_query: Mutex<Option<Instant>>,
}

/// Verifies claims until the run has taken long enough, the worker stops, or no claim is due soon. Meanwhile, starts a
/// requested query of the store, since the signal of that request begins no run beside this one.
///
/// # Errors
/// Storage failed: Temporal begins the next run.
pub async fn verify_claims(
    context: &Context,
    run: &ClaimsRun,
    input: &VerifyClaims,
) -> Result<VerifiedClaims, Failed> {
    let platform = input.platform_id;
    start_requested(context, platform).await?;
    let verifying = verify_due(context, run, input);
    let start = || start_requested(context, platform);
    let (verified, started) = repeat_during(verifying, LONGEST_SLEEP, start).await;
    let verified = verified?;
    started?;
    Ok(verified)
}

/// Starts the requested query of a platform's store, if there is one. It has a lease, so that no other run sends it too.
/// Returns the number of claims and duties that were examined, which is none.
async fn start_requested(context: &Context, platform: PlatformId) -> Result<usize, Error> {
    repair::start_requested(context, platform).await?;
    Ok(0)
}

async fn verify_due(
    context: &Context,
    run: &ClaimsRun,
    input: &VerifyClaims,
) -> Result<VerifiedClaims, Failed> {
    let began = Instant::now();
    let (mut examined, mut idle_since, mut network) = (0, began, input.network.clone());
    loop {
        if run.is_over(context) || began.elapsed() > CLAIMS_BUDGET {
            return Ok(VerifiedClaims {
                examined,
                is_idle: false,
                network,
            });
        }
        let duties = duties::attempt_due(context, input.platform_id).await?;
        examined += duties.number;
        let Some(page) = context
            .store
            .due_claims(input.platform_id, &network, PAGE)
            .await?
        else {
            return Ok(VerifiedClaims {
                examined,
                is_idle: true,
                network,
            });
        };
        if duties.number > 0 {
            idle_since = Instant::now();
        } else if page.due.is_empty() {
            let next_due_in = [page.next_due_in, duties.next_due_in];
            let next_due_in = next_due_in.into_iter().flatten().min();
            let is_due_soon = next_due_in.is_some_and(|wait| wait <= IDLE_LIMIT);
            if !is_due_soon && idle_since.elapsed() > LONGEST_SLEEP {
                return Ok(VerifiedClaims {
                    examined,
                    is_idle: true,
                    network,
                });
            }
            let sleep = next_due_in.unwrap_or(LONGEST_SLEEP);
            tokio::time::sleep(sleep.clamp(Duration::from_millis(1), LONGEST_SLEEP)).await;
            continue;
        }
        if page.due.is_empty() {
            continue;
        }
        network = page.network;
        let examining = examine_all(context, run, page.due);
        let attempt = || attempt_duties(context, run, input.platform_id);
        let (results, attempted) = repeat_during(examining, LONGEST_SLEEP, attempt).await;
        examined += attempted?;
        for result in results {
            result?;
            examined += 1;
        }
        idle_since = Instant::now();
    }
}

/// Examines claims, a few at a time. Begins none once the run is over.
async fn examine_all(
    context: &Context,
    run: &ClaimsRun,
    due: Vec<(DevicePlace, CollapseKey)>,
) -> Vec<Result<(), Error>> {
    let due = due.into_iter().take_while(|_| !run.is_over(context));
    futures::stream::iter(due)
        .map(|(place, key)| {
            Claim {
                context,
                run,
                place,
                key,
            }
            .examine_or_postpone()
        })
        .buffer_unordered(CONCURRENT)
        .collect()
        .await
}

/// Attempts the due duties of a platform, unless the run is over. Returns their number.
async fn attempt_duties(
    context: &Context,
    run: &ClaimsRun,
    platform: PlatformId,
) -> Result<usize, Error> {
    if run.is_over(context) {
        return Ok(0);
    }
    Ok(duties::attempt_due(context, platform).await?.number)
}

/// Does some work, and meanwhile repeats attempts with a pause before each. Returns the results of both: of the
/// attempts, their sum.
async fn repeat_during<T, F: Future<Output = Result<usize, Error>>>(
    work: impl Future<Output = T>,
    pause: Duration,
    mut attempt: impl FnMut() -> F,
) -> (T, Result<usize, Error>) {
    let is_done = Notify::new();
    let work = async {
        let done = work.await;
        is_done.notify_one();
        done
    };
    let attempts = async {
        let mut number = 0;
        while timeout(pause, is_done.notified()).await.is_err() {
            number += attempt().await?;
        }
        Ok::<usize, Error>(number)
    };
    tokio::join!(work, attempts)
}

impl ClaimsRun {
    fn is_over(&self, context: &Context) -> bool {
        self.is_halted.load(Ordering::Relaxed) || context.stopping.load(Ordering::Relaxed)
    }

    /// Sends heartbeats to Temporal forever. When the activity is cancelled, halts the run, which then finishes the
    /// queries in flight.
    pub async fn send_heartbeats(
        &self,
        ctx: &ActivityContext,
        mut heartbeats: Heartbeats<'_>,
    ) -> Infallible {
        loop {
            heartbeats.send().await;
            tokio::select! {
                () = tokio::time::sleep(HEARTBEAT_INTERVAL) => {}
                () = ctx.cancelled(), if !self.is_halted.load(Ordering::Relaxed) => {
                    self.is_halted.store(true, Ordering::Relaxed);
                }
            }
        }
    }

    /// Waits for the next query slot of this run.
    async fn take_place(&self, per_second: u32) {
        let interval = Duration::from_secs(1) * SHARE / per_second.max(1);
        let at = {
            let mut next = self.next_query.lock().await;
            let at = next.unwrap_or_else(Instant::now).max(Instant::now());
            *next = Some(at + interval);
            at
        };
        tokio::time::sleep_until(at).await;
    }
}

struct Claim<'a> {
    context: &'a Context,
    run: &'a ClaimsRun,
    place: DevicePlace,
    key: CollapseKey,
}

impl Claim<'_> {
    /// Checks the claim. If the database refuses to change it, the failure is recorded and the claim postponed, so that
    /// it delays no other.
    async fn examine_or_postpone(self) -> Result<(), Error> {
        let Self {
            context,
            place,
            key,
            ..
        } = self;
        match self.examine().await {
            Err(error) if error.is_permanent() => {
                let why = storage::chain(&error);
                tracing::error!(collapse_key = %key, error = why, "a claim cannot be verified");
                context
                    .note_part(Work::Claims(place.platform), "verify_claims", &error)
                    .await;
                context.store.note_claim_failure(place, key, &why).await
            }
            examined => examined,
        }
    }

    async fn examine(&self) -> Result<(), Error> {
        let Self {
            context,
            place,
            key,
            ..
        } = self;
        match context.store.examine_claim(*place, *key).await? {
            ClaimStep::Done(_) => {}
            ClaimStep::Reported(open) => self.signal(notified(open)).await,
            ClaimStep::Recheck => self.signal(Signal::Wake).await,
            ClaimStep::Query => self.query().await?,
        }
        Ok(())
    }

    async fn query(&self) -> Result<(), Error> {
        let Self {
            context,
            place,
            key,
            ..
        } = *self;
        let Some(known) = context.store.claim_query(place, key).await? else {
            return Ok(());
        };
        let refusals = &context.verifier.claim_refusals;
        let reservation = match refusals.reserve(key, Instant::now()) {
            Ok(reservation) => reservation,
            Err(wait) => {
                let later = ClaimAnswer::Later(wait);
                let finished = context.store.finish_claim(place, key, later).await;
                return finished.map(drop);
            }
        };
        let answer = self.query_store(&known).await;
        if !matches!(&answer, Ok(Some(answer)) if is_refusal(answer)) {
            refusals.release(reservation);
        }
        let Some(answer) = answer? else {
            return context
                .store
                .finish_claim(place, key, ClaimAnswer::Unanswered(BUSY_RETRY))
                .await
                .map(drop);
        };
        let label = label(&answer);
        count(label);
        tracing::info!(collapse_key = %key, platform.id = %place.platform, answer = label, "queried the store about a claim");
        fail::fail_point!("claims.after_query", |_| std::process::abort());
        let answer = match answer {
            Answer::Verification(verification) => judged(verification, None),
            Answer::Named(verification, CustomerName(name)) => judged(verification, Some(name)),
            Answer::Refused(refusal) => {
                refuse_secret(context, &known, refusal).await?;
                // The claim waits for other credentials, and has not been decided.
                return Ok(());
            }
            Answer::Retry(retry) => {
                if retry.is_strange {
                    raise_alarm(context, place.platform, "verification_strange", &retry.why).await;
                }
                ClaimAnswer::Unanswered(retry.retry_after.unwrap_or_default())
            }
        };
        match context.store.finish_claim(place, key, answer).await? {
            ClaimResult::Reported(open) => self.signal(notified(open)).await,
            ClaimResult::Verified => self.signal(Signal::Wake).await,
            ClaimResult::NotVerified => {}
        }
        Ok(())
    }

    /// Queries the store. Returns `None` if no request was sent, since this process sends too many or does not know the
    /// store.
    async fn query_store(&self, known: &StoreQuery) -> Result<Option<Answer>, Error> {
        let Ok(store) = self.context.verifier.stores.of(&known.store) else {
            return Ok(None);
        };
        self.run.take_place(store.per_second()).await;
        query::send(self.context, store, &query::subject(known)).await
    }

    /// Signals the run of the purchase. If Temporal is unavailable, the sweep finds the purchase.
    async fn signal(&self, signal: Signal) {
        if let Err(error) = self.context.engine.signal(self.key, signal).await {
            tracing::debug!(collapse_key = %self.key, error = %error, "a purchase was not signalled; the sweep wakes it");
        }
    }
}

/// Returns the signal for a claim or a finding that became a notification of its purchase.
pub const fn notified(
    Open {
        seq: through,
        quiet,
        cap,
        ..
    }: Open,
) -> Signal {
    Signal::Notified(Notified {
        through,
        quiet,
        cap,
        count: 1,
    })
}

/// Whether the store refuses the claim.
const fn is_refusal(answer: &Answer) -> bool {
    match answer {
        Answer::Verification(verification) | Answer::Named(verification, _) => {
            matches!(verification, Verification::Gone | Verification::Parked(_))
        }
        Answer::Refused(_) | Answer::Retry(_) => false,
    }
}

/// Returns what an answer means for a claim.
fn judged(verification: Verification, customer: Option<String>) -> ClaimAnswer {
    match verification {
        Verification::Verified(snapshot) => ClaimAnswer::Confirmed { snapshot, customer },
        Verification::Gone => ClaimAnswer::Refused(ClaimReason::Invalid),
        Verification::Parked(Parked::WrongCustomer) => {
            ClaimAnswer::Refused(ClaimReason::WrongCustomer)
        }
        Verification::Parked(Parked::UnknownReceipt | Parked::Believable) => {
            ClaimAnswer::Refused(ClaimReason::UnknownReceipt)
        }
        Verification::Unverifiable | Verification::Unreachable { .. } => {
            ClaimAnswer::Unanswered(Duration::ZERO)
        }
    }
}

/// Records that the store refused the credentials: they are not used again, and the platform's claims wait for others.
async fn refuse_secret(
    context: &Context,
    known: &StoreQuery,
    refusal: AccessRefusal,
) -> Result<(), Error> {
    let platform: PlatformId = known.platform_id;
    if context
        .store
        .refuse_secret(known, query::credential_refusal(refusal))
        .await?
    {
        tracing::warn!(platform.id = %platform, "the store refuses the platform's credentials; they are not used again");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::ready;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn duties_are_attempted_while_claims_are_examined() {
        let (sender, receiver) = oneshot::channel::<()>();
        let (mut sender, mut attempts) = (Some(sender), 0);
        // The store responds about the claims after the second attempt.
        let attempt = || {
            attempts += 1;
            if attempts == 2
                && let Some(sender) = sender.take()
            {
                sender.send(()).unwrap();
            }
            ready(Ok(1))
        };
        let (examined, attempted) =
            repeat_during(receiver, Duration::from_millis(1), attempt).await;
        examined.unwrap();
        assert!(attempted.unwrap() >= 2);
    }

    #[tokio::test]
    async fn claims_that_are_examined_at_once_wait_for_no_attempt() {
        let attempt = || ready(Ok(1));
        let (examined, attempted) =
            repeat_during(ready(7), Duration::from_secs(3600), attempt).await;
        assert_eq!((examined, attempted.unwrap()), (7, 0));
    }
}
