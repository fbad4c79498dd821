//! Watches whether workers poll Temporal: without one, nothing is settled and no event is sent. Each serving process
//! watches, since it may be the only one left.

use activities::engine::{Engine, Polls};
use api::workers::Workers;
use metrics::gauge;
use std::time::Duration;
use storage::{Store, chain};
use tokio::time::{Instant, sleep};

/// Time between two requests to Temporal.
const EVERY: Duration = Duration::from_secs(5);
/// Time without a poll after which a worker counts as gone. A worker polls again after at most a minute. Temporal still
/// lists a worker for some minutes after it died, and after its own restart may list none until the next poll.
const SILENT: Duration = Duration::from_secs(65);
/// The kind of the alarm.
const KIND: &str = "no_worker";
const DETAIL: &str = "no worker polls Temporal: notifications are stored, but nothing is settled, and no event is sent but \
     emails about alarms; start `settle worker`, or `settle run`";
const CLOSED: &str = "a worker polls Temporal again";

/// Queries Temporal repeatedly, as long as the process runs.
pub fn watch(workers: Workers, store: Store, engine: Engine) {
    let mut watch = Watch::new(workers);
    tokio::spawn(async move {
        loop {
            sleep(EVERY).await;
            let polls = engine.polls().await.ok();
            watch.step(polls, Instant::now(), &store).await;
        }
    });
}

/// The state of the watch: Temporal's earlier responses, and the alarm.
#[derive(Debug)]
pub struct Watch {
    workers: Workers,
    seen: Seen,
    /// Whether the alarm was last raised or closed; `None` before either.
    is_raised: Option<bool>,
}

impl Watch {
    pub const fn new(workers: Workers) -> Self {
        Self {
            workers,
            seen: Seen::new(),
            is_raised: None,
        }
    }

    /// Records a response from Temporal, and raises or closes the alarm. `None` means that Temporal does not respond,
    /// which is a problem of its own and does not change the alarm.
    pub async fn step(&mut self, polls: Option<Polls>, now: Instant, store: &Store) {
        let number = self.seen.number(polls, now);
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

/// When workers polled. Times of Temporal's clock are compared only with each other.
#[derive(Debug, Clone, Copy)]
struct Seen {
    last_at: Option<i64>,
    /// When this process first saw the latest poll; `None` before the first poll.
    moved_at: Option<Instant>,
    /// When Temporal last began to respond to this process; `None` while it does not respond.
    answers_since: Option<Instant>,
}

impl Seen {
    const fn new() -> Self {
        Self {
            last_at: None,
            moved_at: None,
            answers_since: None,
        }
    }

    /// Returns the number of workers that poll; `None` while it is unknown. A worker that ran during an outage of
    /// Temporal is counted from its next poll.
    fn number(&mut self, polls: Option<Polls>, now: Instant) -> Option<usize> {
        let Some(polls) = polls else {
            self.answers_since = None;
            return None;
        };
        let answers_since = *self.answers_since.get_or_insert(now);
        if polls.last_at > self.last_at {
            (self.last_at, self.moved_at) = (polls.last_at, Some(now));
        }
        let is_silent = |since: Instant| now.duration_since(since) >= SILENT;
        match self.moved_at {
            Some(at) if polls.last_at.is_some() && !is_silent(at) => Some(polls.workers),
            _ if is_silent(answers_since) => Some(0),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_died_is_missed_although_temporal_lists_it() {
        let began = Instant::now();
        let mut seen = Seen::new();
        let mut number = |workers: usize, last_at: Option<i64>, seconds: u64| {
            seen.number(
                Some(Polls { workers, last_at }),
                began + Duration::from_secs(seconds),
            )
        };
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

    #[test]
    fn an_outage_of_temporal_makes_no_worker_missing() {
        let began = Instant::now();
        let mut seen = Seen::new();
        let listed = |last_at: Option<i64>| {
            Some(Polls {
                workers: usize::from(last_at.is_some()),
                last_at,
            })
        };
        let mut number = |polls: Option<Polls>, seconds| {
            seen.number(polls, began + Duration::from_secs(seconds))
        };
        assert_eq!(number(None, 100), None, "Temporal starts later");
        assert_eq!(number(listed(None), 105), None, "a worker may start");
        assert_eq!(number(listed(None), 169), None);
        assert_eq!(number(listed(None), 170), Some(0));
        assert_eq!(number(listed(Some(1_000)), 175), Some(1));
        assert_eq!(number(None, 180), None, "an outage");
        assert_eq!(
            number(listed(Some(1_000)), 500),
            None,
            "the worker ran meanwhile"
        );
        assert_eq!(
            number(listed(None), 564),
            None,
            "a restarted server lists none"
        );
        assert_eq!(number(listed(None), 565), Some(0));
    }
}
