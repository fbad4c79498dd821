//! Sends the signals of the plan, as many concurrently as the limit allows.

use super::limit::{Call, Limit};
use super::plan::PlannedAction;
use super::{EngineError, Shared};
use domain::CollapseKey;
use metrics::{counter, gauge};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout};
use traces::{Span, SpanKind};
use workflows::contract::workflow_id;
use workflows::signal::{Admin, Signal};

/// Time after which a call counts as unanswered.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long after its start a process may be without a connection before a warning is logged, in milliseconds.
const STARTING_MS: i64 = 10_000;

/// The running calls to Temporal.
struct Calls {
    shared: Arc<Shared>,
    running: JoinSet<Over>,
    limit: Limit,
}

/// A finished call, with its times since the start of the process.
struct Over {
    began_at: Duration,
    answered_at: Duration,
    answer: Result<(), EngineError>,
}

pub(super) async fn run(shared: Arc<Shared>) {
    let mut calls = Calls {
        shared,
        running: JoinSet::new(),
        limit: Limit::new(),
    };
    calls.show();
    loop {
        match calls.next() {
            PlannedAction::Signal(key, notified) => {
                let through = notified.through;
                calls.begin(key, Signal::Notified(notified), through);
            }
            PlannedAction::Flush(key, through) => {
                calls.begin(key, Signal::Flush(author()), through)
            }
            PlannedAction::Sleep(until) => {
                let until = calls.shared.began + Duration::from_millis(until.unsigned_abs());
                tokio::select! {
                    () = sleep_until(until) => {}
                    () = calls.change() => {}
                }
            }
            PlannedAction::Idle => calls.change().await,
        }
    }
}

impl Calls {
    /// Returns the next step of the plan; [`PlannedAction::Idle`] while the maximum number of calls is running.
    fn next(&self) -> PlannedAction {
        if self.running.len() < self.limit.calls() {
            self.shared.plan().next(self.shared.now_ms())
        } else {
            PlannedAction::Idle
        }
    }

    fn begin(&mut self, key: CollapseKey, signal: Signal, through: i64) {
        self.running
            .spawn(traced(self.shared.clone(), key, signal, through));
    }

    /// Waits until the plan has changed or a call has finished.
    async fn change(&mut self) {
        let running = self.running.len();
        tokio::select! {
            () = self.shared.plan_changed.notified() => {}
            Some(over) = self.running.join_next() => {
                if let Ok(Over { began_at, answered_at, answer }) = over {
                    let is_full = running >= self.limit.calls();
                    let was_awaited = is_full && self.shared.plan().has_due(self.shared.now_ms());
                    self.follow(Call { began_at, answered_at, was_awaited }, &answer);
                }
            }
        }
    }

    fn follow(&mut self, call: Call, answer: &Result<(), EngineError>) {
        match answer {
            Ok(()) => self.limit.taken(call),
            Err(EngineError::Exhausted(_)) => self.limit.refused(call),
            // These results show nothing about how many calls Temporal can take.
            Err(EngineError::Unavailable(_) | EngineError::Rejected(_)) => {}
        }
        self.show();
    }

    #[expect(clippy::cast_precision_loss, reason = "a small number of calls")]
    fn show(&self) {
        gauge!("settle_dispatch_limit").set(self.limit.calls() as f64);
    }
}

/// Returns the author and reason of a flush caused by the platform's `flush_on_revoke`.
fn author() -> Admin {
    Admin {
        by: Some("settle".to_owned()),
        reason: Some("the platform's flush_on_revoke".to_owned()),
        key_id: None,
    }
}

/// Sends the signal, with a span in the trace of the first notification that it covers.
async fn traced(shared: Arc<Shared>, key: CollapseKey, signal: Signal, through: i64) -> Over {
    let trace = shared.plan().trace(key).filter(|_| traces::is_on());
    let span = match trace {
        Some(trace) => Span::of(
            &[trace],
            "SignalWithStartWorkflow:purchase",
            SpanKind::Client,
        ),
        None => Span::none(),
    };
    span.describe(|span| {
        span.set("rpc.system.name", "grpc");
        span.set(
            "rpc.method",
            "temporal.api.workflowservice.v1.WorkflowService/SignalWithStartWorkflowExecution",
        );
        span.set("temporalWorkflowID", workflow_id(key));
    });
    span.within(call(shared, key, signal, through)).await
}

async fn call(shared: Arc<Shared>, key: CollapseKey, signal: Signal, through: i64) -> Over {
    fail::fail_point!("dispatch.before_signal", |_| std::process::abort());
    let began_at = shared.began.elapsed();
    let answer = timeout(TIMEOUT, shared.engine.signal(key, signal)).await;
    let answered_at = shared.began.elapsed();
    let answer = answer.unwrap_or_else(|_| {
        Err(EngineError::Unavailable(format!(
            "no answer in {} s",
            TIMEOUT.as_secs()
        )))
    });
    if let Err(error) = &answer {
        let class = if matches!(error, EngineError::Rejected(_)) {
            "rejected"
        } else {
            "unavailable"
        };
        traces::fail_current(class);
    }
    record(&shared, key, through, &answer);
    shared.room_freed.notify_one();
    Over {
        began_at,
        answered_at,
        answer,
    }
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
        Err(EngineError::Unavailable(reason) | EngineError::Exhausted(reason)) => {
            // A process that has just started is not connected yet.
            if plan.failed(now, key) && now >= STARTING_MS {
                tracing::warn!(
                    reason,
                    "Temporal does not answer; signals are sent again until it does"
                );
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
