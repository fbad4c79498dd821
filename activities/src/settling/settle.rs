//! `settle`: loads what a settling needs; unless the store must be queried first, also decides and records. The history
//! contains only what the workflow needs for its decisions, and no customer ids of the store, since anyone with access
//! to Temporal can read it.

use crate::Context;
use crate::spans::Settling;
use domain::Verification;
use domain::settling::Readiness;
use storage::{Counted, Error, Series, Store};
use workflows::activities::{Loaded, MAX_PER_SETTLING, Record, Recorded, Settle, Settled};

/// Which attempt of `settle` this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// The attempt within the workflow task.
    First,
    /// An attempt after one whose record may already be committed or still in progress. It waits for that record, finds
    /// nothing left to settle, and returns the lanes that the record opened.
    Repeated,
}

/// Loads a purchase, and settles what can be settled without the store.
pub async fn settle(context: &Context, input: Settle, attempt: Attempt) -> Result<Settled, Error> {
    let trace = Settling::find(&context.store, input.collapse_key).await;
    let span = trace.activity("RunActivity:settle");
    span.within(decide(context, input, attempt, &trace)).await
}

async fn decide(
    context: &Context,
    input: Settle,
    attempt: Attempt,
    trace: &Settling,
) -> Result<Settled, Error> {
    let loaded = load(&context.store, &input, attempt).await?;
    match input.start.readiness(&loaded) {
        Readiness::Ready if loaded.verify => Ok(Settled {
            loaded,
            recorded: None,
        }),
        Readiness::Ready => {
            let decided = Record::decided(input.collapse_key, &loaded, &Verification::Unverifiable);
            let recorded = write(context, decided, trace).await?;
            Ok(Settled {
                loaded: loaded.without_bodies(),
                recorded: Some(recorded),
            })
        }
        Readiness::Held | Readiness::Quiet | Readiness::Early | Readiness::Idle => Ok(Settled {
            loaded: loaded.without_bodies(),
            recorded: None,
        }),
    }
}

/// Records a decision of the workflow.
pub async fn record(context: &Context, decided: Record) -> Result<Recorded, Error> {
    let trace = Settling::find(&context.store, decided.collapse_key).await;
    let span = trace.activity("RunActivity:record");
    span.within(write(context, decided, &trace)).await
}

/// Records a decision, whose events belong to the trace of the settling. Adds the destinations that recently responded
/// promptly to this worker.
async fn write(context: &Context, decided: Record, trace: &Settling) -> Result<Recorded, Error> {
    let traceparent = trace.context().map(|context| context.to_string());
    let mut recorded = context
        .store
        .record(Record {
            traceparent,
            ..decided
        })
        .await?;
    if let Recorded::Done {
        lanes,
        prompt: answered,
        ..
    } = &mut recorded
    {
        trace.finish();
        *answered = context
            .local_attempts
            .among(lanes.iter().map(|lane| lane.destination_id));
    }
    Ok(recorded)
}

async fn load(store: &Store, input: &Settle, attempt: Attempt) -> Result<Loaded, Error> {
    let (key, through) = (input.collapse_key, input.start.through);
    let mut loaded = match attempt {
        Attempt::First => store.load(key, through, MAX_PER_SETTLING).await?,
        Attempt::Repeated => {
            store
                .load_after_record(key, through, MAX_PER_SETTLING)
                .await?
        }
    };
    fail::fail_point!("load.after", |_| std::process::abort());
    if let Some(late) = loaded.late.filter(|_| loaded.held.is_none()) {
        metrics::histogram!("settle_settling_lag_seconds").record(late);
        store.count_timed(
            Series::Lag,
            Counted {
                app: loaded.app_id,
                destination: None,
            },
            late,
        );
    }
    for (_, notification) in &mut loaded.notifications {
        notification.app_user_id = None;
    }
    Ok(loaded)
}
