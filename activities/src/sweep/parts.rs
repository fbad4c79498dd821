//! The parts of a sweep. Each has its own turn and time: a part that fails or takes too long ends alone and stops no
//! other. Its next turn finds the unfinished work in the database.

use crate::failure::Failed;
use futures::future::BoxFuture;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use storage::{Error, fault};
use tokio::time::{Instant, timeout};
use workflows::activities::Swept;

/// Time until Temporal repeats an unfinished sweep.
pub const RETRY: Duration = Duration::from_secs(1);

/// A part of the sweep, which needs a context.
pub struct Part<C> {
    /// Name of the part in logs.
    pub name: &'static str,
    /// How long the part may begin further steps.
    pub steps: Duration,
    /// Time after which the part is abandoned.
    pub budget: Duration,
    pub run: Run<C>,
}

/// The function of a part. Its second argument is the time after which it begins no step.
pub type Run<C> = for<'c> fn(&'c C, Instant) -> BoxFuture<'c, Result<Swept, Failed>>;

/// Number of consecutive temporary failures of a part, in one process, that raises an alarm.
const IN_A_ROW: u32 = 3;

/// The parts that failed in their last turn in this process, each with the number of consecutive failures.
#[derive(Debug, Default)]
pub struct Streaks(Mutex<BTreeMap<&'static str, u32>>);

impl Streaks {
    /// Records how a turn of a part ended. Returns whether to raise an alarm, which every third consecutive failure
    /// does.
    pub fn note(&self, part: &'static str, taken: &Result<Swept, Failed>) -> bool {
        let mut streaks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Err(failed) = taken else {
            streaks.remove(part);
            return false;
        };
        let count = streaks.entry(part).or_default();
        *count += 1;
        count.is_multiple_of(IN_A_ROW) && failed.may_pass()
    }
}

impl<C> Part<C> {
    /// Gives the part its turn.
    ///
    /// # Errors
    /// The part failed or took too long, which is logged.
    pub async fn take(&self, context: &C) -> Result<Swept, Failed> {
        let until = Instant::now() + self.steps;
        let too_long = |_| {
            Err(Failed::Later {
                wait: RETRY,
                why: format!("{} took too long", self.name),
            })
        };
        let taken = timeout(self.budget, self.run_or_fail(context, until))
            .await
            .unwrap_or_else(too_long);
        if let Err(failed) = &taken {
            let error = failed.why();
            tracing::warn!(
                part = self.name,
                error,
                "a part of the sweep failed; the next sweep tries again"
            );
        }
        taken
    }

    async fn run_or_fail(&self, context: &C, until: Instant) -> Result<Swept, Failed> {
        if fault::is_planted_for("sweep.hang", self.name) {
            std::future::pending::<()>().await;
        }
        if fault::is_planted_for("sweep.fail", self.name) {
            return Err(Failed::Storage(Error::Unsuitable(
                "a test planted this".to_owned(),
            )));
        }
        (self.run)(context, until).await
    }
}

/// Gives the parts their turns, beginning with another one in each round. A part gets no turn if its budget exceeds the
/// time until the deadline; in a later round it is among the first. Returns the sum of their results, and how the turn
/// of each ended.
pub async fn take_turns<C>(
    parts: &[Part<C>],
    round: u32,
    context: &C,
    deadline: Instant,
) -> (Swept, Vec<(&'static str, Result<Swept, Failed>)>) {
    let (mut swept, mut turns) = (Swept::default(), Vec::with_capacity(parts.len()));
    let first = usize::try_from(round)
        .unwrap_or(0)
        .checked_rem(parts.len())
        .unwrap_or(0);
    for part in parts.iter().cycle().skip(first).take(parts.len()) {
        if Instant::now() + part.budget > deadline {
            tracing::debug!(
                part = part.name,
                "a part of the sweep had no turn; a later sweep gives it one"
            );
            swept.more = true;
            continue;
        }
        let taken = part.take(context).await;
        if let Ok(found) = &taken {
            swept.woken += found.woken;
            swept.more |= found.more;
        }
        turns.push((part.name, taken));
    }
    (swept, turns)
}

/// Repeats a step, which returns the number of items that it changed, until nothing is left or the time is exhausted.
///
/// # Errors
/// The step failed.
pub async fn repeat<F>(until: Instant, mut step: impl FnMut() -> F + Send) -> Result<Swept, Failed>
where
    F: Future<Output = Result<usize, Error>> + Send,
{
    loop {
        if step().await? == 0 {
            return Ok(Swept::default());
        }
        if Instant::now() >= until {
            return Ok(Swept {
                woken: 0,
                more: true,
            });
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

    /// Records the parts that had a turn, in order.
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

    async fn done(log: &Log, name: &'static str) -> Result<Swept, Failed> {
        log.note(name);
        Ok(Swept {
            woken: 1,
            more: false,
        })
    }

    async fn fails(log: &Log) -> Result<Swept, Failed> {
        log.note("fails");
        Err(Failed::Storage(Error::Unsuitable("planted".to_owned())))
    }

    async fn hangs(log: &Log) -> Result<Swept, Failed> {
        log.note("hangs");
        std::future::pending().await
    }

    const PARTS: [Part<Log>; 4] = [
        Part {
            name: "a",
            steps: HOUR,
            budget: HOUR,
            run: |log, _| done(log, "a").boxed(),
        },
        Part {
            name: "fails",
            steps: HOUR,
            budget: HOUR,
            run: |log, _| fails(log).boxed(),
        },
        Part {
            name: "hangs",
            steps: SHORT,
            budget: SHORT,
            run: |log, _| hangs(log).boxed(),
        },
        Part {
            name: "b",
            steps: HOUR,
            budget: HOUR,
            run: |log, _| done(log, "b").boxed(),
        },
    ];

    #[tokio::test]
    async fn a_part_that_fails_or_hangs_stops_no_other() {
        let log = Log::default();
        for (round, order) in [
            (0, ["a", "fails", "hangs", "b"]),
            (5, ["fails", "hangs", "b", "a"]),
        ] {
            let (swept, turns) = take_turns(&PARTS, round, &log, Instant::now() + HOUR * 2).await;
            assert_eq!(log.take(), order);
            let failed = turns
                .iter()
                .filter(|(_, taken)| taken.is_err())
                .map(|(part, _)| *part);
            assert_eq!(failed.collect::<Vec<_>>(), ["fails", "hangs"]);
            assert_eq!((swept.woken, swept.more), (2, false));
        }
    }

    #[tokio::test]
    async fn a_part_without_a_turn_is_tried_again_soon() {
        let log = Log::default();
        let (swept, _) = take_turns(&PARTS, 0, &log, Instant::now() + HOUR / 2).await;
        assert_eq!(log.take(), ["hangs"], "no other part has the time");
        assert!(swept.more);
    }

    #[test]
    fn a_part_that_keeps_failing_is_worth_an_alarm_each_third_time() {
        let streaks = Streaks::default();
        let passing = || {
            Err(Failed::Later {
                wait: RETRY,
                why: "late".to_owned(),
            })
        };
        let noted = |number, taken: &dyn Fn() -> Result<Swept, Failed>| {
            (0..number)
                .map(|_| streaks.note("a", &taken()))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            noted(7, &passing),
            [false, false, true, false, false, true, false]
        );
        assert_eq!(noted(1, &|| Ok(Swept::default())), [false]);
        assert_eq!(noted(3, &passing), [false, false, true], "another series");
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
        assert!(
            repeat(Instant::now(), || std::future::ready(Ok(1)))
                .await
                .unwrap()
                .more
        );
    }
}
