//! The parts of the sweep that signal other runs than those of purchases, and those that expire and end old records.

use super::parts::repeat;
use crate::dependencies::Context;
use crate::engine::Engine;
use crate::failing::Work;
use crate::failure::Failed;
use domain::{DestinationId, Timestamp, TransferId};
use std::collections::BTreeMap;
use storage::{AnnouncedTransfers, Error, chain};
use tokio::time::Instant;
use workflows::activities::Swept;

/// Approximate maximum number of deliveries to deleted destinations that one sweep ends.
const MAX_CLOSED: i64 = 2000;
/// Approximate maximum number of waiting deliveries that one sweep reconsiders after a destination's settings changed.
const MAX_RECONSIDERED: i64 = 2000;
/// Maximum number of deliveries that one transaction gives up because their customer has no external id.
const ABANDONED_AT_ONCE: i64 = 500;
/// Approximate maximum number of purchases that one sweep scans after a change of settings.
const MAX_SCANNED: i64 = 10_000;
/// Number of sessions that one transaction ends.
const SESSIONS_AT_ONCE: i64 = 200;
/// Maximum number of alarms about which one sweep records events.
pub const ALARMS_AT_ONCE: i64 = 100;
/// Number of duties about which one transaction raises alarms, or that it closes.
const WARNED_AT_ONCE: i64 = 100;
/// Number of platforms whose refused credentials one sweep uses again.
const PLATFORMS_AT_ONCE: i64 = 100;
/// Number of refused claims that one sweep removes.
const CLAIMS_AT_ONCE: i64 = 1000;

/// Makes due what was stored before the clock was set back. The next sweep finds it.
pub async fn make_stored_ahead_due(context: &Context) -> Result<Swept, Failed> {
    context.store.make_stored_ahead_due().await?;
    Ok(Swept::default())
}

/// Signals the runs of late destinations.
pub async fn start_late(context: &Context) -> Result<Swept, Failed> {
    let late = context.store.late_destinations().await?;
    signal_destinations(&context.engine, &late.destinations, "lane", late.at);
    signal_destinations(&context.engine, &late.in_backoff, "cancel_backoff", late.at);
    Ok(Swept {
        woken: late.destinations.len() + late.in_backoff.len(),
        more: false,
    })
}

/// Signals the runs of destinations, and starts those that do not exist.
fn signal_destinations(
    engine: &Engine,
    found: &[DestinationId],
    why: &'static str,
    read_at: Timestamp,
) {
    for id in found {
        metrics::counter!("settle_sweep_findings_total", "why" => why).increment(1);
        tracing::debug!(destination.id = %id, why, %read_at, "signals an overdue destination");
        engine.supervise(*id);
    }
}

/// Starts the streams of destinations with pending device events, if no run is open.
pub async fn start_streams(context: &Context) -> Result<Swept, Failed> {
    context
        .store
        .streams_pending()
        .await?
        .into_iter()
        .for_each(|id| context.engine.stream(id));
    Ok(Swept::default())
}

/// Starts the verification of claims for platforms on which some are due, and removes refused claims.
pub async fn start_claims(context: &Context) -> Result<Swept, Failed> {
    let due = context.store.platforms_with_due_claims().await?;
    due.into_iter()
        .for_each(|id| context.engine.verify_claims(id));
    context.store.forget_refused_claims(CLAIMS_AT_ONCE).await?;
    Ok(Swept::default())
}

/// Starts the attempts of duties for platforms on which some are due, raises alarms about those that are open shortly
/// before their deadline, and then closes those that nothing else ends: a deadline that passed during an outage also has
/// its alarm.
pub async fn attempt_duties(context: &Context, until: Instant) -> Result<Swept, Failed> {
    let due = context.store.platforms_with_due_duties().await?;
    due.into_iter()
        .for_each(|id| context.engine.verify_claims(id));
    repeat(until, || context.store.warn_of_duties(WARNED_AT_ONCE)).await?;
    repeat(until, || context.store.close_missed_duties(WARNED_AT_ONCE)).await
}

/// Retries credentials that a store refused because of a missing right.
pub async fn retry_refused_secrets(context: &Context) -> Result<Swept, Failed> {
    let retried = context
        .store
        .retry_refused_secrets(PLATFORMS_AT_ONCE)
        .await?;
    if retried > 0 {
        tracing::info!(retried, "refused credentials are used again");
    }
    Ok(Swept::default())
}

/// Schedules rechecks of the purchases that a change of settings affects. If there are any, the next sweep follows at
/// once and wakes the first of them.
pub async fn schedule_rechecks(context: &Context) -> Result<Swept, Failed> {
    let scanned = context.store.continue_rechecks(MAX_SCANNED).await?;
    if scanned > 0 {
        tracing::info!(
            scanned,
            "scheduled rechecks of purchases after a change of settings"
        );
    }
    Ok(Swept {
        woken: 0,
        more: scanned > 0,
    })
}

/// Announces the purchases of large transfers. If there are any, the next sweep follows at once and wakes the first of
/// them. A transfer that cannot be announced delays only other transfers of its two users.
///
/// # Errors
/// Nothing was announced, for a temporary reason.
pub async fn announce_transfers(context: &Context, until: Instant) -> Result<Swept, Failed> {
    let (number, failed) = announce_all(until, || context.store.announce_transfers()).await?;
    if number > 0 {
        tracing::info!(number, "announced purchases of large transfers");
    }
    let mut passing = None;
    for (id, error) in failed {
        let cause = chain(&error);
        tracing::warn!(transfer.id = %id, error = cause, "a transfer was not announced; the next sweep tries again");
        if matches!(error, Error::Unavailable(_)) {
            passing = Some(error);
        } else {
            context
                .note_part(Work::Transfer(id), "transfers", &error)
                .await;
        }
    }
    match passing.filter(|_| number == 0) {
        Some(error) => Err(error.into()),
        None => Ok(Swept {
            woken: 0,
            more: number > 0,
        }),
    }
}

/// Repeats rounds of announcements until one announces nothing or the time is exhausted. Returns the number of
/// purchases, and the transfers that failed.
async fn announce_all<F>(
    until: Instant,
    mut round: impl FnMut() -> F + Send,
) -> Result<(usize, BTreeMap<TransferId, Error>), Error>
where
    F: Future<Output = Result<AnnouncedTransfers, Error>> + Send,
{
    let (mut all, mut failing) = (0, BTreeMap::new());
    loop {
        let AnnouncedTransfers { number, failed } = round().await?;
        all += number;
        failing.extend(failed);
        if number == 0 || Instant::now() >= until {
            return Ok((all, failing));
        }
    }
}

/// Records events about the alarms that were opened or closed, and starts their deliveries.
pub async fn announce_alarms(context: &Context) -> Result<Swept, Failed> {
    let queued_for = context
        .store
        .announce_alarms(ALARMS_AT_ONCE, context.dashboard.clone())
        .await?;
    queued_for
        .into_iter()
        .for_each(|id| context.engine.supervise(id));
    Ok(Swept::default())
}

/// Expires topics that waited too long for approval.
pub async fn expire_topics(context: &Context) -> Result<Swept, Failed> {
    context
        .store
        .expire_topics(context.store.now().await?)
        .await?;
    Ok(Swept::default())
}

/// Ends device sessions that had no event for half an hour.
pub async fn end_sessions(context: &Context, until: Instant) -> Result<Swept, Failed> {
    repeat(until, || context.store.end_idle_sessions(SESSIONS_AT_ONCE)).await
}

/// Reconsiders waiting deliveries after a change of their destination's settings, and ends pending deliveries to
/// deleted destinations. The next sweep finds those that are due and signals the runs of their destinations.
pub async fn reconsider(context: &Context) -> Result<Swept, Failed> {
    let reconsidered = context.store.reconsider_left(MAX_RECONSIDERED).await?;
    if reconsidered > 0 {
        tracing::info!(
            reconsidered,
            "reconsidered waiting deliveries after a change of settings"
        );
    }
    let closed = context.store.end_deleted_pending(MAX_CLOSED).await?;
    if closed > 0 {
        tracing::info!(closed, "closed deliveries to deleted destinations");
    }
    Ok(Swept::default())
}

/// Gives up deliveries that waited too long for the external id of their customer.
pub async fn give_up(context: &Context, until: Instant) -> Result<Swept, Failed> {
    repeat(until, || async {
        let number = context.store.give_up_unnamed(ABANDONED_AT_ONCE).await?;
        if number > 0 {
            let count = u64::try_from(number).unwrap_or(0);
            metrics::counter!("settle_deliveries_given_up_total", "why" => "no_login")
                .increment(count);
            tracing::info!(
                number,
                "gave up deliveries whose customer has no external id after 30 days"
            );
        }
        Ok(number)
    })
    .await?;
    Ok(Swept::default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use uuid::Uuid;

    const HOUR: Duration = Duration::from_secs(3600);

    fn failing() -> (TransferId, Error) {
        (
            TransferId::new(Uuid::max()),
            Error::Unsuitable("planted".to_owned()),
        )
    }

    #[tokio::test]
    async fn a_transfer_that_fails_ends_no_round_of_the_others() {
        let mut left = vec![0, 50, 100];
        let rounds = announce_all(Instant::now() + HOUR, || {
            let number = left.pop().unwrap_or_default();
            std::future::ready(Ok(AnnouncedTransfers {
                number,
                failed: vec![failing()],
            }))
        });
        let (number, failed) = rounds.await.unwrap();
        assert_eq!(
            (number, failed.into_keys().collect::<Vec<_>>()),
            (150, vec![failing().0])
        );
        let rounds = announce_all(Instant::now(), || {
            std::future::ready(Ok(AnnouncedTransfers {
                number: 100,
                failed: Vec::new(),
            }))
        });
        assert_eq!(rounds.await.unwrap().0, 100, "the time is over");
    }
}
