//! Settling: one activity loads, decides and records. If the store must be queried first, the activity only loads; then
//! `verify`, the decision and `record` follow. Commands after an activity depend on its output, never on what was
//! decided in between, so that rules can change while runs are open.

use super::Purchase;
use crate::activities::{
    Activities, Loaded, Record, Recorded, Settle, SettlingMode, SettlingStart, Verify,
};
use crate::options;
use crate::run::{Interruptible, execute, execute_regular, must_end_run, why, workflow_time};
use domain::{CollapseKey, Verification};
use temporalio_common::error::ActivityExecutionError;
use temporalio_workflow::WorkflowContext;

/// Settles the notifications that the mode covers, in rounds. If a settling fails, an admin's request or the end of the
/// run interrupts it; requests are executed before the next round.
pub async fn settle(ctx: &WorkflowContext<Purchase>, key: CollapseKey, mut mode: SettlingMode) {
    let mut last_round = Vec::new();
    loop {
        let now = workflow_time(ctx);
        let start = ctx.state_mut(|purchase| purchase.state.begin(mode, now));
        let flushes = ctx.state_mut(|purchase| std::mem::take(&mut purchase.state.flushes));
        let input = Settle {
            collapse_key: key,
            start,
            flushes: flushes.clone(),
        };
        let settled = match execute(ctx, || Activities::settle, input, is_urgent).await {
            Ok(Some(settled)) => settled,
            Ok(None) => return ctx.state_mut(|purchase| purchase.state.interrupted(mode, flushes)),
            Err(error) => return note(ctx, &error),
        };
        let loaded = settled.loaded;
        let now = workflow_time(ctx);
        let is_ready = ctx.state_mut(|purchase| purchase.state.loaded(&loaded, start, now));
        let more = loaded.more;
        let round: Vec<i64> = loaded.notifications.iter().map(|(seq, _)| *seq).collect();
        let recorded = match settled.recorded {
            Some(recorded) => Some(recorded),
            // The last round left the same notifications open. They wait for something, so another round would change
            // nothing.
            None if !is_ready || (!round.is_empty() && round == last_round) => None,
            None => verify_and_record(ctx, &loaded, Verify { collapse_key: key }, start).await,
        };
        let Some(recorded) = recorded else { return };
        let is_done = ctx.state_mut(|purchase| purchase.state.recorded(recorded));
        // A hold that arrived meanwhile stops further rounds; the end of the hold settles the rest.
        if (is_done && !more) || ctx.state(|purchase| purchase.state.hold.is_some()) {
            return;
        }
        if is_done {
            // The window has also ended for the notifications that did not fit into one settling.
            mode = SettlingMode::Flush;
            last_round = round;
        }
        if must_end_run(ctx) || ctx.state(is_urgent) {
            return ctx.state_mut(|purchase| purchase.state.interrupted(mode, Vec::new()));
        }
    }
}

/// Queries the store, decides and records. Returns `None` if nothing is recorded now.
async fn verify_and_record(
    ctx: &WorkflowContext<Purchase>,
    loaded: &Loaded,
    input: Verify,
    start: SettlingStart,
) -> Option<Recorded> {
    let key = input.collapse_key;
    let verification = if loaded.verify {
        verify(ctx, input, start).await?
    } else {
        Verification::Unverifiable
    };
    let record = Record::decided(key, loaded, &verification);
    finished(
        ctx,
        execute(ctx, || Activities::record, record, is_urgent).await,
        start,
    )
}

/// Queries the store. Returns `None` if nothing may be decided now: the store must be queried again later, or a hold
/// arrived in the meantime.
async fn verify(
    ctx: &WorkflowContext<Purchase>,
    input: Verify,
    start: SettlingStart,
) -> Option<Verification> {
    let query = Interruptible {
        options: options::verify,
        is_urgent,
    };
    let result = execute_regular(ctx, || Activities::verify, input, query).await;
    let verified = finished(ctx, result, start)?;
    let now = workflow_time(ctx);
    ctx.state_mut(|purchase| purchase.state.verified(verified, start, now))
}

/// Returns the output of an activity that succeeded; otherwise, applies the interruption or the failure to the state.
fn finished<T>(
    ctx: &WorkflowContext<Purchase>,
    result: Result<Option<T>, ActivityExecutionError>,
    start: SettlingStart,
) -> Option<T> {
    match result {
        Ok(Some(output)) => return Some(output),
        Ok(None) => ctx.state_mut(|purchase| purchase.state.interrupted(start.mode, Vec::new())),
        Err(error) => note(ctx, &error),
    }
    None
}

/// Whether a request must be executed before a settling continues.
fn is_urgent(purchase: &Purchase) -> bool {
    purchase.state.has_request()
}

/// Upserts the search attributes if any other than the revision changed, and sets the details, which cost no event.
pub fn show(ctx: &WorkflowContext<Purchase>, key: CollapseKey) {
    let upsert = ctx.state_mut(|purchase| {
        let state = &mut purchase.state;
        state.current.held = state.hold.is_some();
        let worth_an_event =
            state.current.differs_visibly(&state.upserted) && state.current.app_id.is_some();
        worth_an_event.then(|| {
            state.upserted = state.current.clone();
            state.upserted.upsert(key, &purchase.left_out)
        })
    });
    if let Some(attributes) = upsert.filter(|attributes| !attributes.is_empty()) {
        ctx.upsert_search_attributes(attributes);
    }
    ctx.set_current_details(ctx.state(|purchase| purchase.current_status().details()));
}

fn note(ctx: &WorkflowContext<Purchase>, error: &ActivityExecutionError) {
    ctx.state_mut(|purchase| purchase.state.noted = Some(format!("settling: {}", why(error))));
}
