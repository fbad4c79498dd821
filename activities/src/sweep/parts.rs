//! The parts of a sweep. Each has a turn and a time of its own: one that fails or takes too long ends alone, and stops no
//! other. What a part leaves undone, its next turn finds in the database again.

use futures::future::BoxFuture;
use std::time::Duration;
use storage::{Error, fault};
use tokio::time::{Instant, timeout};
use workflows::activities::Swept;

/// A part of the sweep, which needs a context.
pub struct Part<C> {
    /// Its name in logs.
    pub name: &'static str,
    /// How long it may begin further steps.
    pub steps: Duration,
    /// After this time it is abandoned.
    pub budget: Duration,
    pub run: Run<C>,
}

/// What a part does, with the time after which it begins no step.
pub type Run<C> = for<'c> fn(&'c C, Instant) -> BoxFuture<'c, Result<Swept, Error>>;

/// Why a part did not end by itself.
#[derive(Debug)]
pub enum PartFailure {
    Storage(Error),
    TookTooLong,
}

impl<C> Part<C> {
    /// Takes its turn.
    ///
    /// # Errors
    /// It failed or took too long, which is logged.
    pub async fn take(&self, context: &C) -> Result<Swept, PartFailure> {
        let until = Instant::now() + self.steps;
        let (failure, why) = match timeout(self.budget, self.run_or_fail(context, until)).await {
            Ok(Ok(swept)) => return Ok(swept),
            Ok(Err(error)) => {
                let why = storage::chain(&error);
                (PartFailure::Storage(error), why)
            }
            Err(_) => (PartFailure::TookTooLong, "it took too long".to_owned()),
        };
        tracing::warn!(part = self.name, error = why, "a part of the sweep failed; the next sweep tries again");
        Err(failure)
    }

    async fn run_or_fail(&self, context: &C, until: Instant) -> Result<Swept, Error> {
        if fault::is_planted_for("sweep.hang", self.name) {
            std::future::pending::<()>().await;
        }
        if fault::is_planted_for("sweep.fail", self.name) {
            return Err(Error::Unsuitable("a test planted this".to_owned()));
        }
        (self.run)(context, until).await
    }
}

/// Lets the parts take their turns, in each round another one first. A part has no turn if its budget exceeds the time
/// until the deadline: it is among the first in a later round.
pub async fn take_turns<C>(parts: &[Part<C>], round: u32, context: &C, deadline: Instant) -> Swept {
    let mut swept = Swept::default();
    let first = usize::try_from(round).unwrap_or(0).checked_rem(parts.len()).unwrap_or(0);
    for part in parts.iter().cycle().skip(first).take(parts.len()) {
        if Instant::now() + part.budget > deadline {
            tracing::debug!(part = part.name, "a part of the sweep had no turn; a later sweep gives it one");
            swept.more = true;
        } else if let Ok(found) = part.take(context).await {
            swept.woken += found.woken;
            swept.more |= found.more;
        }
    }
    swept
}

/// Repeats a step, which returns the number of what it did, until nothing is left or the time is over.
///
/// # Errors
/// The step failed.
pub async fn repeat<F>(until: Instant, mut step: impl FnMut() -> F + Send) -> Result<Swept, Error>
where
    F: Future<Output = Result<usize, Error>> + Send,
{
    loop {
        if step().await? == 0 {
            return Ok(Swept::default());
        }
        if Instant::now() >= until {
            return Ok(Swept { woken: 0, more: true });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use std::sync::Mutex;

    const HOUR: Duration = Duration::from_secs(3600);
    const SHORT: Duration = Duration::from_millis(50);

    /// The parts that had a turn, in order.
    #[derive(Default)]
    struct Log(Mutex<Vec<&'static str>>);

    impl Log {
        fn note(&self, name: &'static str) {
            self.0.lock().unwrap().push(name);
        }

        fn take(&self) -> Vec<&'static str> {
            std::mem::take(&mut self.0.lock().unwrap())
        }
    }

    async fn done(log: &Log, name: &'static str) -> Result<Swept, Error> {
        log.note(name);
        Ok(Swept { woken: 1, more: false })
    }

    async fn fails(log: &Log) -> Result<Swept, Error> {
        log.note("fails");
        Err(Error::Unsuitable("planted".to_owned()))
    }

    async fn hangs(log: &Log) -> Result<Swept, Error> {
        log.note("hangs");
        std::future::pending().await
    }

    const PARTS: [Part<Log>; 4] = [
        Part { name: "a", steps: HOUR, budget: HOUR, run: |log, _| done(log, "a").boxed() },
        Part { name: "fails", steps: HOUR, budget: HOUR, run: |log, _| fails(log).boxed() },
        Part { name: "hangs", steps: SHORT, budget: SHORT, run: |log, _| hangs(log).boxed() },
        Part { name: "b", steps: HOUR, budget: HOUR, run: |log, _| done(log, "b").boxed() },
    ];

    #[tokio::test]
    async fn a_part_that_fails_or_hangs_stops_no_other() {
        let log = Log::default();
        for (round, order) in [(0, ["a", "fails", "hangs", "b"]), (5, ["fails", "hangs", "b", "a"])] {
            let swept = take_turns(&PARTS, round, &log, Instant::now() + HOUR * 2).await;
            assert_eq!(log.take(), order);
            assert_eq!((swept.woken, swept.more), (2, false));
        }
    }

    #[tokio::test]
    async fn a_part_that_the_deadline_leaves_without_a_turn_is_tried_again_soon() {
        let log = Log::default();
        let swept = take_turns(&PARTS, 0, &log, Instant::now() + HOUR / 2).await;
        assert_eq!(log.take(), ["hangs"], "no other part has the time");
        assert!(swept.more);
    }

    #[tokio::test]
    async fn a_step_is_repeated_until_nothing_is_left_or_the_time_is_over() {
        let mut left = 3;
        let swept = repeat(Instant::now() + HOUR, || {
            left -= 1;
            std::future::ready(Ok(left))
        });
        assert!(!swept.await.unwrap().more);
        assert_eq!(left, 0);
        assert!(repeat(Instant::now(), || std::future::ready(Ok(1))).await.unwrap().more);
    }
}
