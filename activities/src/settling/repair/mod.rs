//! Repairs: reads from the stores, apart from purchases, what notifications did not report. What is found is accepted
//! like a store's message, with that message's id or one that follows from it, so that a repetition has no effect.
//!
//! The sweep starts tasks that take the due repairs, so that a store that does not respond delays neither the sweep nor
//! other platforms. A run takes its pass a part further and stores its place; after a crash, another run repeats one
//! part. Repairs use a small part of the platform's rate and of the process's concurrent requests, so that they never
//! delay the verification of purchases.

mod history;
pub mod pace;
mod ranges;

use crate::dependencies::Context;
use crate::failing::Work;
use crate::failure::Failed;
use crate::settling::claims::notified;
use crate::settling::query::{self, raise_alarm};
use domain::PlatformId;
use domain::time::{DAY, HOUR, MINUTE};
use pace::Pace;
use protocols::stores::{
    Answer, RepairOutcome, RepairPage, RepairTask, Retry, StoreProtocol, Subject,
};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use storage::{Error, Open, OrderPlace, RepairKind, RepairLease, StoreQuery};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use workflows::activities::Swept;

/// Maximum number of repairs that run at the same time in a process. Each has at most one request in flight.
pub const CONCURRENT: usize = 4;
/// Duration after which a run ends; the next one continues its pass.
const RUN: Duration = MINUTE;
/// Time after which a run without progress counts as lost.
const LEASE: Duration = MINUTE.saturating_mul(10);

/// Maximum time between two passes over the list of voided payments.
const VOIDS_EVERY: Duration = HOUR.saturating_mul(4);
/// How far a pass over that list goes back before the beginning of the last one.
const OVERLAP: Duration = DAY;
/// How far the first pass goes back. The store itself may list less.
const REACH: Duration = DAY.saturating_mul(30);
/// Maximum time between two passes over orders, so that each day has one and each order is read within a day.
const ORDERS_EVERY: Duration = HOUR.saturating_mul(20);
/// Number of orders of a part, which is what one request reads.
const PAGE: i64 = 16;

/// The wait after the first failure, which doubles with each further one.
const FIRST_RETRY: Duration = MINUTE;
const MAX_RETRY: Duration = HOUR;
/// How long until a platform without usable credentials is examined again.
const UNUSABLE_RETRY: Duration = HOUR;
/// How long until a run follows one that got no turn in this process.
const BUSY_RETRY: Duration = MINUTE;
/// How long until a pass begins again whose page is no longer there.
const RESTART_WAIT: Duration = MINUTE.saturating_mul(15);

/// The alarm about a list with entries that cannot be parsed.
const UNREADABLE: &str = "the store lists voided payments in a form that this version of settle cannot read: only \
     notifications report them";

/// The alarm about orders that cannot be parsed.
const UNREADABLE_ORDERS: &str = "the store shows recorded orders in a form that this version of settle cannot read: only \
     notifications report their refunds";

/// The alarm about a list whose first page the store refuses.
const NOT_LISTED: &str =
    "the store refuses to list voided payments (HTTP 400): only notifications report them";

/// The alarm about a history with entries that cannot be parsed.
const UNREADABLE_HISTORY: &str = "the store lists past notifications in a form that this version of settle cannot \
     read: those that it could not deliver are not found";

/// The alarm about a history whose first page the store refuses.
const NO_HISTORY: &str =
    "the store refuses to list past notifications: those that it could not deliver are not found";

/// The alarm about a request for a test notification whose refusal has no known reason.
const NO_TEST: &str = "the store refuses to send a test notification, for a reason that this version of settle does \
     not know";

/// Starts tasks that take the due repairs, as many as may run.
pub async fn start(context: &Context) -> Result<Swept, Failed> {
    loop {
        let slots = Arc::clone(&context.verifier.repairs);
        let Ok(slot) = slots.try_acquire_owned() else {
            return Ok(Swept::default());
        };
        let Some(first) = take(context).await? else {
            return Ok(Swept::default());
        };
        spawn(context, slot, first);
    }
}

/// Starts tasks that take the repairs of a platform for which a person waits. If too many repairs run, the sweep starts
/// them.
pub async fn start_requested(context: &Context, platform: PlatformId) -> Result<(), Error> {
    loop {
        let slots = Arc::clone(&context.verifier.repairs);
        let Ok(slot) = slots.try_acquire_owned() else {
            return Ok(());
        };
        let lease = context.store.lease_requested_repair(platform, LEASE);
        let Some(first) = lease.await? else {
            return Ok(());
        };
        spawn(context, slot, first);
    }
}

fn spawn(context: &Context, slot: OwnedSemaphorePermit, first: RepairLease) {
    let context = context.clone();
    tokio::spawn(async move {
        work(&context, first).await;
        drop(slot);
    });
}

/// Takes a due repair; `None` if there is none.
async fn take(context: &Context) -> Result<Option<RepairLease>, Error> {
    let offered = context.verifier.stores.repairs();
    let limit = i64::try_from(CONCURRENT).unwrap_or(1);
    for due in context.store.due_repairs(offered, limit).await? {
        let lease = context.store.lease_repair(due, LEASE).await?;
        if lease.is_some() {
            return Ok(lease);
        }
    }
    Ok(None)
}

/// Runs a repair, and then others that are due, until that has taken long enough. A failure to take the next one is
/// left to the sweep, which reports it.
async fn work(context: &Context, first: RepairLease) {
    let began = Instant::now();
    let mut next = Some(first);
    while let Some(lease) = next {
        run(context, lease).await;
        let is_over = began.elapsed() > RUN || context.stopping.load(Ordering::Relaxed);
        next = if is_over {
            None
        } else {
            take(context).await.ok().flatten()
        };
    }
}

/// Runs a repair. A failure of storage leaves it to the run after its lease.
async fn run(context: &Context, lease: RepairLease) {
    let platform = lease.platform_id;
    let Err(error) = repair(context, lease).await else {
        return;
    };
    let cause = storage::chain(&error);
    tracing::warn!(platform.id = %platform, error = cause, "a repair of a platform failed; it is tried again");
    if error.is_permanent() {
        context.note_part(Work::Sweep, "repairs", &error).await;
    }
}

async fn repair(context: &Context, lease: RepairLease) -> Result<(), Error> {
    let Some(known) = context.store.platform_query(lease.platform_id).await? else {
        let why = "the platform has no usable credentials";
        return fail(context, &lease, UNUSABLE_RETRY, why).await;
    };
    // A platform of a store that only another release knows.
    let Ok(store) = context.verifier.stores.of(&known.store) else {
        return Ok(());
    };
    let run = RepairRun {
        context,
        store,
        subject: query::subject(&known),
        known,
        lease,
        pace: Pace::default(),
        began: Instant::now(),
    };
    match run.lease.kind {
        RepairKind::Voids => run.voids().await,
        RepairKind::Orders => run.orders().await,
        RepairKind::Notifications => run.notifications().await,
        RepairKind::Test => run.test().await,
    }
}

/// Ends a run that failed. A test is not requested again: the person who waits for it is shown why.
async fn fail(
    context: &Context,
    lease: &RepairLease,
    wait: Duration,
    why: &str,
) -> Result<(), Error> {
    let store = &context.store;
    match lease.kind {
        RepairKind::Test => store.restart_repair(lease, wait, why).await?,
        RepairKind::Voids | RepairKind::Orders | RepairKind::Notifications => {
            store.postpone_repair(lease, wait, why).await?
        }
    };
    Ok(())
}

/// A run of a repair.
struct RepairRun<'a> {
    context: &'a Context,
    store: &'a dyn StoreProtocol,
    known: StoreQuery,
    subject: Subject,
    lease: RepairLease,
    pace: Pace,
    began: Instant,
}

impl RepairRun<'_> {
    /// Reads the list of voided payments.
    async fn voids(mut self) -> Result<(), Error> {
        let (began_at, through) = (self.lease.began_at, self.lease.repaired_through);
        let since = through.map_or(began_at.minus(REACH), |through| through.minus(OVERLAP));
        let task = |page| RepairTask::Voids {
            since,
            began_at,
            page,
        };
        if self.list(task, UNREADABLE).await? {
            self.finish(VOIDS_EVERY).await?;
        }
        Ok(())
    }

    /// Reads the store's history of notifications.
    async fn notifications(mut self) -> Result<(), Error> {
        let began_at = self.lease.began_at;
        let part = history::of_pass(began_at, self.lease.repaired_through);
        let task = |page| RepairTask::Notifications {
            since: part.since,
            began_at,
            page,
            only_failures: part.only_failures,
        };
        if self.list(task, UNREADABLE_HISTORY).await? {
            let now = self.context.store.now().await?;
            self.finish(history::wait(began_at, now)).await?;
        }
        Ok(())
    }

    /// Requests a test notification.
    async fn test(mut self) -> Result<(), Error> {
        if self.part(&RepairTask::Test).await?.is_some() {
            // It is due again only once it is requested again.
            self.finish(Duration::ZERO).await?;
        }
        Ok(())
    }

    /// Reads a list, page by page: `task` returns that of a page. Returns whether the pass is complete; if not, the run
    /// has ended. `unreadable` is the alarm about entries that cannot be parsed.
    async fn list(
        &mut self,
        task: impl Fn(Option<String>) -> RepairTask + Send + Sync,
        unreadable: &str,
    ) -> Result<bool, Error> {
        loop {
            let page = task(self.lease.place.clone());
            let Some(found) = self.part(&page).await? else {
                return Ok(false);
            };
            if found.unreadable > 0 {
                let platform = self.lease.platform_id;
                raise_alarm(self.context, platform, "verification_strange", unreadable).await;
            }
            let Some(next) = found.next else {
                return Ok(true);
            };
            if !self.advance(next).await? {
                return Ok(false);
            }
        }
    }

    /// Reads the orders of recent payments, a few at a time.
    async fn orders(mut self) -> Result<(), Error> {
        let (began_at, through) = (self.lease.began_at, self.lease.repaired_through);
        for range in ranges::of_pass(began_at, through) {
            loop {
                let place = self.lease.place.as_deref();
                let place: Option<OrderPlace> = place.and_then(|place| place.parse().ok());
                if place.as_ref().is_some_and(|place| place.at >= range.end) {
                    break;
                }
                let after = place.unwrap_or_else(|| OrderPlace::before(range.start));
                let platform = self.lease.platform_id;
                let store = &self.context.store;
                let orders = store.recorded_orders(platform, range.clone(), after, PAGE);
                let orders = orders.await?;
                let Some(last) = orders.last().map(OrderPlace::after) else {
                    break;
                };
                let Some(found) = self.part(&RepairTask::Orders(orders)).await? else {
                    return Ok(());
                };
                if found.unreadable > 0 {
                    let text = UNREADABLE_ORDERS;
                    raise_alarm(self.context, platform, "verification_strange", text).await;
                }
                if !self.advance(last.to_string()).await? {
                    return Ok(());
                }
            }
        }
        self.finish(ORDERS_EVERY).await
    }

    /// Takes a part of the pass, and accepts what it found. Returns `None` if the run has ended.
    async fn part(&mut self, task: &RepairTask) -> Result<Option<RepairPage>, Error> {
        let (context, store) = (self.context, self.store);
        let subject = &self.subject;
        let outcome = query::repair(context, store, subject, task, &mut self.pace).await?;
        let why = match outcome {
            Some(RepairOutcome::Found(mut found)) => {
                self.accept(&mut found).await?;
                return Ok(Some(found));
            }
            Some(RepairOutcome::Restart) => {
                self.restart().await?;
                return Ok(None);
            }
            Some(RepairOutcome::Declined(why)) => why,
            Some(RepairOutcome::Failed(Answer::Retry(retry))) => {
                self.postpone(&retry).await?;
                return Ok(None);
            }
            Some(RepairOutcome::Failed(Answer::Refused(refusal))) => {
                let platform = self.lease.platform_id;
                let store = &self.context.store;
                if store
                    .refuse_secret(&self.known, query::credential_refusal(refusal))
                    .await?
                {
                    tracing::warn!(platform.id = %platform, "the store refuses the platform's credentials; they are not used again");
                }
                refusal.why
            }
            Some(RepairOutcome::Failed(Answer::Verification(_) | Answer::Named(..))) => {
                "the store's answer is about a purchase"
            }
            None => {
                let why = "other requests of this platform come first";
                let store = &self.context.store;
                store.postpone_repair(&self.lease, BUSY_RETRY, why).await?;
                return Ok(None);
            }
        };
        fail(context, &self.lease, UNUSABLE_RETRY, why).await?;
        Ok(None)
    }

    /// Stores what was found, and signals its purchases. If Temporal is unavailable, the sweep finds them.
    async fn accept(&self, found: &mut RepairPage) -> Result<(), Error> {
        let (context, platform) = (self.context, self.lease.platform_id);
        let mut notifications = std::mem::take(&mut found.notifications);
        if notifications.is_empty() {
            return Ok(());
        }
        if self.lease.kind == RepairKind::Notifications {
            // The store may list the newest one first.
            notifications.sort_by_key(|found| found.notification.store_time);
        }
        fail::fail_point!(
            &format!("repairs.after_answer/{}", self.lease.kind.as_str()),
            |_| std::process::abort()
        );
        let open: Vec<Open> = context
            .store
            .accept_repaired(platform, notifications)
            .await?;
        fail::fail_point!(
            &format!("repairs.after_accept/{}", self.lease.kind.as_str()),
            |_| std::process::abort()
        );
        if !open.is_empty() {
            let number = open.len();
            tracing::info!(platform.id = %platform, number, "a repair found what no notification reported");
        }
        for row in open {
            let key = row.collapse_key;
            if let Err(error) = context.engine.signal(key, notified(row)).await {
                tracing::debug!(collapse_key = %key, error = %error, "a purchase was not signalled; the sweep wakes it");
            }
        }
        Ok(())
    }

    /// Stores the place up to which the pass is complete. Returns whether the run goes on.
    async fn advance(&mut self, place: String) -> Result<bool, Error> {
        self.lease.place = Some(place.clone());
        self.lease.failures = 0;
        let store = &self.context.store;
        let is_over = self.began.elapsed() > RUN || self.context.stopping.load(Ordering::Relaxed);
        if is_over {
            store.release_repair(&self.lease).await?;
            return Ok(false);
        }
        store.advance_repair(&self.lease, place, LEASE).await
    }

    /// Ends a pass that is complete.
    async fn finish(&self, every: Duration) -> Result<(), Error> {
        let wait = every.mul_f64(0.9 + 0.1 * (self.context.random)().clamp(0.0, 1.0));
        let finished = self.context.store.finish_repair(&self.lease, wait).await;
        finished.map(drop)
    }

    /// Ends the run because the page is no longer there. The store never refuses the first one for that reason.
    async fn restart(&self) -> Result<(), Error> {
        if self.lease.place.is_none() {
            let text = match self.lease.kind {
                RepairKind::Notifications => NO_HISTORY,
                RepairKind::Voids | RepairKind::Orders => NOT_LISTED,
                RepairKind::Test => NO_TEST,
            };
            let platform = self.lease.platform_id;
            raise_alarm(self.context, platform, "verification_strange", text).await;
        }
        let (store, why) = (&self.context.store, "the store no longer knows the page");
        let restarted = store.restart_repair(&self.lease, RESTART_WAIT, why).await;
        restarted.map(drop)
    }

    /// Ends the run because the store did not answer.
    async fn postpone(&self, retry: &Retry) -> Result<(), Error> {
        if retry.is_strange {
            let platform = self.lease.platform_id;
            raise_alarm(self.context, platform, "verification_strange", &retry.why).await;
        }
        let wait = self.retry(retry.retry_after);
        fail(self.context, &self.lease, wait, &retry.why).await
    }

    fn retry(&self, retry_after: Option<Duration>) -> Duration {
        retry_in(self.lease.failures, retry_after, (self.context.random)())
    }
}

/// Returns the wait after a failure that follows this many others. `jitter` is from 0 to 1.
fn retry_in(failures: i64, retry_after: Option<Duration>, jitter: f64) -> Duration {
    let doublings = u32::try_from(failures.clamp(0, 10)).unwrap_or(0);
    let wait = (FIRST_RETRY * (1 << doublings)).min(MAX_RETRY);
    let wait = wait.mul_f64(0.5 + jitter.clamp(0.0, 1.0));
    retry_after.map_or(wait, |retry_after| retry_after.min(DAY).max(wait))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_repair_waits_longer_each_time_or_for_retry_after() {
        let minutes = |failures| retry_in(failures, None, 0.5).as_secs() / 60;
        assert_eq!(
            [0, 1, 2, 5, 6, i64::MAX].map(minutes),
            [1, 2, 4, 32, 60, 60]
        );
        assert_eq!(retry_in(0, Some(HOUR * 2), 0.5), HOUR * 2);
        assert_eq!(retry_in(0, Some(Duration::ZERO), 0.0), MINUTE / 2);
        assert_eq!(retry_in(0, Some(Duration::MAX), 0.5), DAY);
    }
}
