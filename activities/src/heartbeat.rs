//! Sends the heartbeats of long activities.

use crate::actions::{Action, Actions};
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use temporalio_sdk::activities::ActivityContext;
use tokio::time::Instant;

/// Time between two heartbeats of an activity that sends to destinations.
const INTERVAL: Duration = Duration::from_secs(4);
/// Maximum time for which the SDK delays heartbeats.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The heartbeats of one attempt.
pub struct Heartbeats<'a> {
    ctx: &'a ActivityContext,
    actions: &'a Actions,
    throttle: Throttle,
}

impl<'a> Heartbeats<'a> {
    pub fn new(ctx: &'a ActivityContext, actions: &'a Actions) -> Self {
        Self {
            ctx,
            actions,
            throttle: Throttle::new(ctx.info().heartbeat_timeout.unwrap_or_default()),
        }
    }

    /// Sends a heartbeat, and counts it unless the SDK delays it.
    pub async fn send(&mut self) {
        if let Err(error) = self.ctx.record_heartbeat(()).await {
            tracing::debug!(error = %error, "a heartbeat was not sent");
        } else if self.throttle.passes(Instant::now()) {
            let workflow = self.ctx.info().workflow_type.as_deref().unwrap_or_default();
            self.actions.count(workflow, Action::Heartbeat);
        }
    }
}

/// Predicts which heartbeats the SDK sends to Temporal: the first, and then one in every four fifths of the timeout
/// (<https://docs.temporal.io/encyclopedia/detecting-activity-failures#throttling>).
struct Throttle {
    pause: Duration,
    until: Option<Instant>,
}

impl Throttle {
    fn new(timeout: Duration) -> Self {
        Self {
            pause: (timeout * 4 / 5).min(LONGEST_PAUSE),
            until: None,
        }
    }

    fn passes(&mut self, now: Instant) -> bool {
        let passes = self.until.is_none_or(|until| until <= now);
        if passes {
            self.until = Some(now + self.pause);
        }
        passes
    }
}

/// Sends heartbeats forever. When the activity is cancelled, sets `is_halted`, so that it begins no further request and
/// finishes those in flight.
pub async fn send(mut heartbeats: Heartbeats<'_>, is_halted: &AtomicBool) -> Infallible {
    loop {
        heartbeats.send().await;
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            () = heartbeats.ctx.cancelled(), if !is_halted.load(Ordering::Relaxed) => {
                is_halted.store(true, Ordering::Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_heartbeats_that_reach_temporal_count() {
        let (began, mut throttle) = (Instant::now(), Throttle::new(Duration::from_secs(15)));
        let sent = (0..60)
            .step_by(4)
            .filter(|second| throttle.passes(began + Duration::from_secs(*second)));
        assert_eq!(sent.collect::<Vec<_>>(), [0, 12, 24, 36, 48]);
    }
}
