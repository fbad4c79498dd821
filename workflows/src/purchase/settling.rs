//! Settling: load, verify if `load` requires it, decide, record. Commands after `load` and `verify` depend on their
//! outputs, commands after `record` on its output, never on what was decided in between, so that rules can change while
//! runs are open.

use super::Purchase;
use super::state::{SettlingMode, SettlingStart};
use crate::activities::{Activities, Load, Loaded, Record, Recorded, Verify};
use crate::options;
use crate::run::{execute, why, workflow_time};
use domain::{CollapseKey, Parked, SettlingContext, Verification};
use temporalio_common::error::ActivityExecutionError;
use temporalio_workflow::WorkflowContext;

/// Settles what the mode covers, in rounds.
pub async fn settle(ctx: &WorkflowContext<Purchase>, key: CollapseKey, mut mode: SettlingMode) {
    let mut last_round = Vec::new();
    loop {
        let now = workflow_time(ctx);
        let start = ctx.state_mut(|purchase| purchase.state.begin(mode, now));
        let loaded = match execute(ctx, || Activities::load, Load { collapse_key: key, through: start.through }).await {
            Ok(loaded) => loaded,
            Err(error) => return note(ctx, &error),
        };
        let now = workflow_time(ctx);
        if !ctx.state_mut(|purchase| purchase.state.loaded(&loaded, start, now)) {
            return;
        }
        // The last round left the same notifications open: they wait for something, and another round changes nothing.
        let round: Vec<i64> = loaded.notifications.iter().map(|(seq, _)| *seq).collect();
        if !round.is_empty() && round == last_round {
            return;
        }
        let verification = if loaded.verify { verify(ctx, key, start).await } else { Some(Verification::Unverifiable) };
        let Some(verification) = verification else { return };
        let more = loaded.more;
        match execute(ctx, || Activities::record, decide(key, loaded, &verification)).await {
            Ok(Recorded::Moved) => {}
            Ok(Recorded::Done { revision, state, lanes, prompt }) => {
                ctx.state_mut(|purchase| {
                    purchase.state.current.revision = revision;
                    purchase.state.current.state = Some(state);
                    purchase.state.opened(&lanes);
                    purchase.state.answered_promptly(&prompt);
                });
                if !more {
                    return;
                }
                // The window of the notifications that did not fit into one settling is over too.
                mode = SettlingMode::Flush;
                last_round = round;
            }
            Err(error) => return note(ctx, &error),
        }
    }
}

/// Queries the store; `None` when nothing may be decided now: the store is queried again later, or
/// a hold came meanwhile.
async fn verify(ctx: &WorkflowContext<Purchase>, key: CollapseKey, start: SettlingStart) -> Option<Verification> {
    let input = Verify { collapse_key: key };
    let verified = match ctx.execute_activity(Activities::verify, input, options::verify()).await {
        Ok(verified) => verified,
        Err(error) => {
            note(ctx, &error);
            return None;
        }
    };
    let now = workflow_time(ctx);
    ctx.state_mut(|purchase| purchase.state.verified(verified, start, now))
}

fn decide(key: CollapseKey, loaded: Loaded, verification: &Verification) -> Record {
    let context = SettlingContext { verification, is_replaced: loaded.is_replaced, now: loaded.now };
    let decision = domain::decide(&loaded.purchase, &loaded.notifications, context);
    let is_believed = *verification == Verification::Parked(Parked::Believable) && decision.purchase.is_believed();
    Record {
        collapse_key: key,
        settling: loaded.settling.saturating_add(1),
        revision: loaded.revision,
        seqs: loaded.notifications.iter().map(|(seq, _)| *seq).collect(),
        decision,
        is_replaced: loaded.is_replaced,
        is_queried: loaded.verify,
        is_answer: verification.is_answer(),
        is_real: verification.is_real() || is_believed,
        traceparent: None,
    }
}

/// Upserts the search attributes if others than the revision changed, and the details, which cost nothing.
pub fn show(ctx: &WorkflowContext<Purchase>, key: CollapseKey) {
    let upsert = ctx.state_mut(|purchase| {
        let state = &mut purchase.state;
        state.current.held = state.hold.is_some();
        let worth_an_event = state.current.differs_visibly(&state.upserted) && state.current.app_id.is_some();
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
