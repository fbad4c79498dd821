//! Watches that workers poll Temporal: without one nothing is settled and no event is sent. Each process that serves
//! watches, since it may be the only one that is left.

use crate::workers::Workers;
use activities::engine::{Engine, Polls};
use metrics::gauge;
use std::time::Duration;
use storage::{Store, chain};
use tokio::time::{Instant, sleep};

/// Time between two questions to Temporal.
const EVERY: Duration = Duration::from_secs(5);
/// A worker polls again after a minute at the latest. Temporal lists one that died for some minutes more.
const SILENT: Duration = Duration::from_secs(65);
/// Time after a start in which workers may begin.
const STARTING: Duration = Duration::from_secs(30);
/// The kind of the alarm.
const KIND: &str = "no_worker";
const DETAIL: &str = "no worker polls Temporal: notifications are stored, but nothing is settled, and no event is sent but \
     emails about alarms; start `settle worker`, or `settle run`";
const CLOSED: &str = "a worker polls Temporal again";

/// Asks Temporal again and again, as long as the process runs.
pub fn watch(workers: Workers, store: Store, engine: Engine) {
    let mut watch = Watch::new(workers, Instant::now());
    tokio::spawn(async move {
        loop {
            sleep(EVERY).await;
            let polls = engine.polls().await.ok();
            watch.step(polls, Instant::now(), &store).await;
        }
    });
}

/// What Temporal answered before.
#[derive(Debug)]
pub struct Watch {
    workers: Workers,
    seen: Seen,
    /// Whether the alarm was raised or closed last; `None` before the first time.
    is_raised: Option<bool>,
}

impl Watch {
    pub const fn new(workers: Workers, now: Instant) -> Self {
        Self {
            workers,
            seen: Seen::new(now),
            is_raised: None,
        }
    }

    /// Notes an answer of Temporal, and raises or closes the alarm; `None`: it does not answer, and that is what is wrong.
    pub async fn step(&mut self, polls: Option<Polls>, now: Instant, store: &Store) {
        let number = polls.and_then(|polls| self.seen.number(polls, now));
        self.workers.set(number);
        let Some(number) = number else { return };
        gauge!("settle_workers").set(f64::from(u32::try_from(number).unwrap_or(u32::MAX)));
        let is_missing = number == 0;
        if self.is_raised == Some(is_missing) {
            return;
        }
        let noted = match is_missing {
            true => store.alarm(None, KIND, DETAIL).await,
            false => store.close_alarm(None, KIND, DETAIL, CLOSED).await,
        };
        match noted {
            Ok(()) => self.is_raised = Some(is_missing),
            Err(error) => tracing::warn!(
                error = chain(&error),
                "the alarm about missing workers was not stored"
            ),
        }
        if is_missing {
            tracing::error!(
                "no worker polls Temporal: nothing is settled or sent until one is started"
            );
        }
    }
}

/// When workers polled. Temporal's clock is compared with itself alone.
#[derive(Debug, Clone, Copy)]
struct Seen {
    last_at: Option<i64>,
    /// When a poll was seen that was none before.
    moved_at: Instant,
    began: Instant,
}

impl Seen {
    const fn new(now: Instant) -> Self {
        Self {
            last_at: None,
            moved_at: now,
            began: now,
        }
    }

    /// The number of workers that poll; `None` while that is not known.
    fn number(&mut self, polls: Polls, now: Instant) -> Option<usize> {
        if polls.last_at > self.last_at {
            (self.last_at, self.moved_at) = (polls.last_at, now);
        }
        let is_silent = polls.last_at.is_none() || now.duration_since(self.moved_at) >= SILENT;
        match is_silent {
            false => Some(polls.workers),
            true if now.duration_since(self.began) < STARTING => None,
            true => Some(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_died_is_missed_although_temporal_lists_it() {
        let began = Instant::now();
        let mut seen = Seen::new(began);
        let mut number = |workers: usize, last_at: Option<i64>, seconds: u64| {
            seen.number(
                Polls { workers, last_at },
                began + Duration::from_secs(seconds),
            )
        };
        assert_eq!(number(0, None, 10), None, "it may start");
        assert_eq!(number(0, None, 30), Some(0));
        assert_eq!(number(2, Some(1_000), 40), Some(2));
        assert_eq!(number(2, Some(1_060), 100), Some(2));
        assert_eq!(number(2, Some(1_060), 164), Some(2));
        assert_eq!(
            number(2, Some(1_060), 165),
            Some(0),
            "nobody polled for longer than a poll lasts"
        );
        assert_eq!(number(1, Some(1_140), 170), Some(1));
    }
}
