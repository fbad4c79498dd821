//! `settle`: loads what a settling needs, and, unless the store must be queried first, decides and records it. Only what
//! the workflow decides about itself goes into its history: without the store's user ids, since everybody with access to
//! Temporal can read it.

use crate::Context;
use crate::spans::Settling;
use domain::settling::Readiness;
use domain::{CollapseKey, Verification};
use protocols::stores::check_known;
use storage::{Counted, Error, Series, Store, chain};
use workflows::activities::{Loaded, MAX_PER_SETTLING, Record, Recorded, Settle, Settled};

/// The failure of a settling that raises an alarm. So does each further one, since an attempt that is lost with its worker,
/// or takes too long, raises none.
const FAILURES: u32 = 5;
/// While the database is not available, which has alarms of its own, only each failure of this number raises one.
const FAILURES_WITHOUT_DATABASE: u32 = 20;
/// That alarm. It names no purchase, so that there is one such alarm, which is counted.
const FAILS: &str = "a purchase cannot be settled and is retried: its stored data is unreadable, or the database \
     refuses it; the log names the purchase and the reason";

/// Which attempt of `settle` this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// The one within the workflow task.
    First,
    /// One after an attempt whose record may be committed, or still be on its way. It waits for that record, finds
    /// nothing left to settle, and returns the lanes that the record opened.
    Repeated,
}

/// Loads, and settles what may be settled without the store.
pub async fn settle(context: &Context, input: Settle, attempt: Attempt) -> Result<Settled, Error> {
    let trace = Settling::find(&context.store, input.collapse_key).await;
    let span = trace.activity("RunActivity:settle");
    span.within(decide(context, input, attempt, &trace)).await
}

/// Logs the failure of a settling, and raises the alarm that it keeps failing if this was one failure too many. What is
/// stored of it may be of another version of settle, so nothing is given up: the version that can read it settles it.
pub async fn note_failure(store: &Store, key: CollapseKey, attempt: u32, error: &Error) {
    if !is_too_many(attempt, error) {
        tracing::debug!(collapse_key = %key, attempt, error = chain(error), "a settling failed, and is tried again");
        return;
    }
    tracing::error!(collapse_key = %key, error = chain(error), "a settling keeps failing");
    if let Err(error) = store.alarm(None, "settling_fails", FAILS).await {
        tracing::warn!(error = %error, "the alarm about a settling that keeps failing was not stored");
    }
}

const fn is_too_many(attempt: u32, error: &Error) -> bool {
    match error {
        Error::Unavailable(_) => attempt.is_multiple_of(FAILURES_WITHOUT_DATABASE),
        _ => attempt >= FAILURES,
    }
}

async fn decide(context: &Context, input: Settle, attempt: Attempt, trace: &Settling) -> Result<Settled, Error> {
    let loaded = load(&context.store, &input, attempt).await?;
    match input.start.readiness(&loaded) {
        Readiness::Ready if loaded.verify => Ok(Settled { loaded, recorded: None }),
        Readiness::Ready => {
            let decided = Record::decided(input.collapse_key, &loaded, &Verification::Unverifiable);
            let recorded = write(context, decided, trace).await?;
            Ok(Settled { loaded: loaded.without_bodies(), recorded: Some(recorded) })
        }
        Readiness::Held | Readiness::Quiet | Readiness::Early | Readiness::Idle => {
            Ok(Settled { loaded: loaded.without_bodies(), recorded: None })
        }
    }
}

/// Records a decision of the workflow.
pub async fn record(context: &Context, decided: Record) -> Result<Recorded, Error> {
    let trace = Settling::find(&context.store, decided.collapse_key).await;
    let span = trace.activity("RunActivity:record");
    span.within(write(context, decided, &trace)).await
}

/// Records a decision, whose events belong to the trace of the settling. Adds the destinations that answered this worker
/// promptly lately.
async fn write(context: &Context, decided: Record, trace: &Settling) -> Result<Recorded, Error> {
    let traceparent = trace.context().map(|context| context.to_string());
    let mut recorded = context.store.record(Record { traceparent, ..decided }).await?;
    if let Recorded::Done { lanes, prompt: answered, .. } = &mut recorded {
        trace.finish();
        *answered = context.prompt.among(lanes.iter().map(|lane| lane.destination_id));
    }
    Ok(recorded)
}

async fn load(store: &Store, input: &Settle, attempt: Attempt) -> Result<Loaded, Error> {
    let (key, through) = (input.collapse_key, input.start.through);
    let mut loaded = match attempt {
        Attempt::First => store.load(key, through, MAX_PER_SETTLING).await?,
        Attempt::Repeated => store.load_after_record(key, through, MAX_PER_SETTLING).await?,
    };
    fail::fail_point!("load.after", |_| std::process::abort());
    if let Some(store) = &loaded.store {
        check_known(store).map_err(|cause| Error::Corrupt { what: cause.to_string(), source: None })?;
    }
    if let Some(late) = loaded.late.filter(|_| loaded.held.is_none()) {
        metrics::histogram!("settle_settling_lag_seconds").record(late);
        store.count_timed(Series::Lag, Counted { app: loaded.app_id, destination: None }, late);
    }
    for (_, notification) in &mut loaded.notifications {
        notification.app_user_id = None;
    }
    Ok(loaded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn failures_from_the_fifth_on_are_too_many() {
        let unreadable = Error::Corrupt { what: "a row".to_owned(), source: None };
        let unavailable = Error::Unavailable(Arc::new(std::fmt::Error));
        let too_many = |error| (1..=41).filter(|attempt| is_too_many(*attempt, error)).collect::<Vec<u32>>();
        assert_eq!(too_many(&unreadable), (5..=41).collect::<Vec<_>>());
        assert_eq!(too_many(&unavailable), [20, 40]);
    }
}
