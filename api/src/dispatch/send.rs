//! Sends the signals of the plan, a few calls at a time.

use super::plan::Step;
use super::{EngineError, Shared};
use domain::CollapseKey;
use metrics::counter;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout};
use traces::{Span, SpanKind};
use workflows::contract::workflow_id;
use workflows::signal::{Admin, Signal};

/// Maximum number of concurrent calls to Temporal.
const CONCURRENCY: usize = 4;
/// How long one call may take before it counts as unanswered.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Runs until it is aborted.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut calls = JoinSet::new();
    loop {
        let step = if calls.len() < CONCURRENCY { shared.plan().next(shared.now_ms()) } else { Step::Idle };
        match step {
            Step::Signal(key, notified) => {
                let through = notified.through;
                calls.spawn(traced(shared.clone(), key, Signal::Notified(notified), through));
            }
            Step::Flush(key, through) => {
                calls.spawn(traced(shared.clone(), key, Signal::Flush(author()), through));
            }
            Step::Sleep(until) => {
                let until = shared.began + Duration::from_millis(until.unsigned_abs());
                tokio::select! {
                    () = sleep_until(until) => {}
                    () = shared.plan_changed.notified() => {}
                    Some(_) = calls.join_next() => {}
                }
            }
            Step::Idle => {
                tokio::select! {
                    () = shared.plan_changed.notified() => {}
                    Some(_) = calls.join_next() => {}
                }
            }
        }
    }
}

/// The author and reason of a flush that the platform's `flush_on_revoke` causes.
fn author() -> Admin {
    Admin { by: Some("settle".to_owned()), reason: Some("the platform's flush_on_revoke".to_owned()), key_id: None }
}

/// Sends the signal in a span of the trace of the first notification that it covers.
async fn traced(shared: Arc<Shared>, key: CollapseKey, signal: Signal, through: i64) {
    let trace = shared.plan().trace(key).filter(|_| traces::is_on());
    let span = match trace {
        Some(trace) => Span::of(&[trace], "SignalWithStartWorkflow:purchase", SpanKind::Client),
        None => Span::none(),
    };
    span.describe(|span| {
        span.set("rpc.system.name", "grpc");
        span.set("rpc.method", "temporal.api.workflowservice.v1.WorkflowService/SignalWithStartWorkflowExecution");
        span.set("temporalWorkflowID", workflow_id(key));
    });
    span.within(call(shared, key, signal, through)).await;
}

async fn call(shared: Arc<Shared>, key: CollapseKey, signal: Signal, through: i64) {
    fail::fail_point!("dispatch.before_signal", |_| std::process::abort());
    let answer = timeout(TIMEOUT, shared.engine.signal(key, signal)).await;
    let answer =
        answer.unwrap_or_else(|_| Err(EngineError::Unavailable(format!("no answer in {} s", TIMEOUT.as_secs()))));
    if let Err(error) = &answer {
        let class = if matches!(error, EngineError::Unavailable(_)) { "unavailable" } else { "rejected" };
        traces::fail_current(class);
    }
    record(&shared, key, through, &answer);
    shared.room_freed.notify_one();
}

/// Passes the result of a call to the plan.
fn record(shared: &Shared, key: CollapseKey, through: i64, answer: &Result<(), EngineError>) {
    let now = shared.now_ms();
    let mut plan = shared.plan();
    match answer {
        Ok(()) => {
            plan.sent(now, key, through);
            counter!("settle_dispatch_signals_total", "result" => "sent").increment(1);
        }
        Err(EngineError::Unavailable(reason)) => {
            if plan.failed(now, key) {
                tracing::warn!(reason, "Temporal does not answer; signals are sent again until it does");
            }
            counter!("settle_dispatch_signals_total", "result" => "unavailable").increment(1);
            tracing::debug!(collapse_key = %key, reason, "Temporal did not take a signal; it is sent again");
        }
        Err(EngineError::Rejected(reason)) => {
            plan.refused(key);
            counter!("settle_dispatch_signals_total", "result" => "rejected").increment(1);
            tracing::error!(collapse_key = %key, reason, "Temporal rejected a signal; the sweep signals the purchase later");
        }
    }
}
