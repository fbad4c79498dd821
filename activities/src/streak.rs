//! Number and duration of the consecutive failures of an activity in this process. Temporal's attempt number is
//! different: it also counts attempts that waited for an endpoint, and those of other processes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Maximum number of streaks that a process stores.
const MAX_STREAKS: usize = 10_000;
/// Time without a further failure after which a streak is removed, because another process continues the activity.
const FORGOTTEN: Duration = Duration::from_secs(3_600);

/// Consecutive failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Streak {
    /// Number of failures, from 1.
    pub count: u32,
    /// Time since the first failure.
    pub age: Duration,
    /// Whether another activity succeeded in the meantime.
    pub others_succeed: bool,
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    first: Instant,
    last: Instant,
}

/// The streaks of all activities, by activity and work.
#[derive(Debug, Clone, Default)]
pub struct Streaks(Arc<Mutex<Remembered>>);

#[derive(Debug, Default)]
struct Remembered {
    failing: HashMap<String, Failures>,
    succeeded: Option<Instant>,
}

impl Streaks {
    pub fn succeeded(&self, activity: impl FnOnce() -> String, now: Instant) {
        let mut state = self.state();
        state.succeeded = Some(now);
        if !state.failing.is_empty() {
            state.failing.remove(&activity());
        }
    }

    /// Records a failure. Beyond the maximum number of streaks, each failure counts as the first.
    pub fn failed(&self, activity: String, now: Instant) -> Streak {
        let mut state = self.state();
        if state.failing.len() >= MAX_STREAKS {
            state
                .failing
                .retain(|_, one| now.duration_since(one.last) < FORGOTTEN);
        }
        let is_new = Failures {
            count: 0,
            first: now,
            last: now,
        };
        let mut failures = state.failing.get(&activity).copied().unwrap_or(is_new);
        if now.duration_since(failures.last) >= FORGOTTEN {
            failures = is_new;
        }
        failures = Failures {
            count: failures.count.saturating_add(1),
            last: now,
            ..failures
        };
        if state.failing.len() < MAX_STREAKS || state.failing.contains_key(&activity) {
            state.failing.insert(activity, failures);
        }
        let others_succeed = state.succeeded.is_some_and(|at| at > failures.first);
        Streak {
            count: failures.count,
            age: now.duration_since(failures.first),
            others_succeed,
        }
    }

    fn state(&self) -> MutexGuard<'_, Remembered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_success_ends_the_streak_of_its_activity_alone() {
        let (streaks, began) = (Streaks::default(), Instant::now());
        let at = |seconds| began + Duration::from_secs(seconds);
        let failed = |activity: &str, seconds| streaks.failed(activity.to_owned(), at(seconds));
        let first = Streak {
            count: 1,
            age: Duration::ZERO,
            others_succeed: false,
        };
        assert_eq!(failed("a", 1), first);
        assert_eq!(failed("b", 2), first);
        streaks.succeeded(|| "b".to_owned(), at(3));
        let second = Streak {
            count: 2,
            age: Duration::from_secs(3),
            others_succeed: true,
        };
        assert_eq!(failed("a", 4), second);
        assert_eq!(failed("b", 5), first, "its success was before");
    }

    #[test]
    fn a_streak_is_forgotten_after_an_hour() {
        let (streaks, began) = (Streaks::default(), Instant::now());
        assert_eq!(streaks.failed("a".to_owned(), began).count, 1);
        assert_eq!(
            streaks
                .failed("a".to_owned(), began + FORGOTTEN - Duration::from_secs(1))
                .count,
            2
        );
        assert_eq!(
            streaks.failed("a".to_owned(), began + FORGOTTEN * 2).count,
            1
        );
    }

    #[test]
    fn a_process_remembers_so_many() {
        let (streaks, now) = (Streaks::default(), Instant::now());
        for number in 0..=MAX_STREAKS {
            streaks.failed(number.to_string(), now);
        }
        assert_eq!(streaks.failed("0".to_owned(), now).count, 2);
        assert_eq!(
            streaks.failed(MAX_STREAKS.to_string(), now).count,
            1,
            "there was no room"
        );
        assert_eq!(streaks.failed("late".to_owned(), now + FORGOTTEN).count, 1);
        assert_eq!(
            streaks.failed("late".to_owned(), now + FORGOTTEN).count,
            2,
            "the others are forgotten"
        );
    }
}
