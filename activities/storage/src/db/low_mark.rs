//! The positions at which this process begins to read queues.
//!
//! The rows of a queue are read in the order of a time, and later leave the queue. While a transaction holds an old
//! snapshot, as a dump does, PostgreSQL removes none of the rows that left, and a read from the beginning walks all of
//! them. So while such reads are slow, most reads begin at a low mark: at the first row that the last read could take,
//! but at least `LAG` before that read.
//!
//! No row below a mark is lost. A read from the beginning finds the rows that were added, became free or were committed
//! late below it. The next such read follows after `SHARE` times the duration of the last one, and after `LONGEST` at
//! the latest.

use crate::error::Error;
use domain::{DestinationId, Timestamp};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Maximum time between the time in a row and the commit of its transaction, for most rows.
const LAG: Duration = Duration::from_secs(5);
/// A read from the beginning that takes this long is slow: a healthy database is faster.
pub const SLOW: Duration = Duration::from_millis(5);
/// Number of slow reads in a row after which a mark is used; a busy machine has a few slow reads anyway.
const SLOW_READS: u32 = 3;
/// Reads from the beginning take at most one part in `SHARE` of the time.
const SHARE: u32 = 20;
const LONGEST: Duration = Duration::from_secs(300);
/// Maximum number of parts of a queue that are read from the beginning apart from the others.
const MAX_APART: usize = 500;

/// A queue whose rows are read in the order of a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Queue {
    pub name: &'static str,
    pub destination: Option<DestinationId>,
}

impl Queue {
    pub const fn of_all(name: &'static str) -> Self {
        Self {
            name,
            destination: None,
        }
    }
}

/// The position at which a read of a queue begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beginning {
    /// The rows before this time are left out.
    pub from: Timestamp,
    /// The ids of the parts of the queue that are read from the beginning nevertheless; one empty text if there are
    /// none.
    pub apart: Vec<String>,
}

/// Result of reading a queue.
pub struct QueueRead<T> {
    pub rows: T,
    /// The time of the first row that the read could take; without such a row, the time up to which it read.
    pub first: Timestamp,
    /// The ids of the parts of the queue in which something was found, if it was read part by part.
    pub apart: Vec<String>,
}

/// The marks of all queues.
#[derive(Debug)]
pub struct LowMarks {
    /// A read from the beginning that takes this long is slow.
    slow: Duration,
    of_queues: Mutex<BTreeMap<Queue, Mark>>,
}

#[derive(Debug, Clone)]
struct Mark {
    from: Timestamp,
    apart: Vec<String>,
    /// Number of slow reads from the beginning in a row.
    slow_reads: u32,
    /// The time from which the next read begins at the beginning of the queue.
    whole_at: Instant,
}

impl LowMarks {
    pub fn new(slow: Duration) -> Self {
        Self {
            slow,
            of_queues: Mutex::default(),
        }
    }

    /// Returns marks that are never used.
    pub fn unused() -> Self {
        Self::new(Duration::MAX)
    }

    /// Reads a queue from its mark, or from the beginning. `now` is the time by the database's clock.
    pub fn read<T>(
        &self,
        queue: Queue,
        now: Timestamp,
        read: impl FnOnce(&Beginning) -> Result<QueueRead<T>, Error>,
    ) -> Result<T, Error> {
        let began = Instant::now();
        let mark = self
            .all()
            .get(&queue)
            .cloned()
            .unwrap_or_else(|| Mark::none(began));
        let start = mark.start(now, began);
        let found = read(&start);
        let took = began.elapsed();
        let is_whole = start.from == Timestamp::EARLIEST;
        let mark = match &found {
            Ok(found) => {
                let mark = mark.moved(found.first, &found.apart, now);
                if is_whole {
                    mark.after_whole(began, took, self.slow)
                } else {
                    mark
                }
            }
            Err(_) if is_whole => Mark {
                whole_at: began + LONGEST,
                ..mark
            },
            Err(_) => mark,
        };
        self.all().insert(queue, mark);
        found.map(|found| found.rows)
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<Queue, Mark>> {
        self.of_queues
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mark {
    const fn none(at: Instant) -> Self {
        Self {
            from: Timestamp::EARLIEST,
            apart: Vec::new(),
            slow_reads: 0,
            whole_at: at,
        }
    }

    /// Returns where a read begins. If the clock was set back since the last read, that is before the rows stored
    /// since.
    fn start(&self, now: Timestamp, at: Instant) -> Beginning {
        let is_used = self.slow_reads >= SLOW_READS && at < self.whole_at;
        let from = if is_used {
            self.from.min(now.minus(LAG))
        } else {
            Timestamp::EARLIEST
        };
        let apart = if self.apart.is_empty() {
            vec![String::new()]
        } else {
            self.apart.clone()
        };
        Beginning { from, apart }
    }

    /// Returns the mark after a read whose [`QueueRead::first`] is `first`.
    fn moved(self, first: Timestamp, apart: &[String], now: Timestamp) -> Self {
        let from = first.min(now.minus(LAG));
        if apart.len() > MAX_APART {
            return Self {
                from: Timestamp::EARLIEST,
                apart: Vec::new(),
                ..self
            };
        }
        Self {
            from,
            apart: apart.to_vec(),
            ..self
        }
    }

    /// Returns the mark after a read from the beginning that took this long.
    fn after_whole(self, at: Instant, took: Duration, slow: Duration) -> Self {
        let slow_reads = if took < slow {
            0
        } else {
            self.slow_reads.saturating_add(1)
        };
        Self {
            slow_reads,
            whole_at: at + took.saturating_mul(SHARE).min(LONGEST),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);
    const TOOK: Duration = Duration::from_millis(20);

    /// Returns the mark after this number of slow reads from the beginning that found no rows.
    fn slow(reads: u32, at: Instant) -> Mark {
        (0..reads).fold(Mark::none(at), |mark, _| {
            mark.moved(NOW, &[], NOW).after_whole(at, TOOK, SLOW)
        })
    }

    #[test]
    fn only_slow_reads_have_a_mark() {
        let at = Instant::now();
        assert_eq!(slow(2, at).start(NOW, at).from, Timestamp::EARLIEST);
        let mark = slow(3, at);
        assert_eq!(mark.start(NOW, at).from, NOW.minus(LAG));
        let quick = mark.after_whole(at, SLOW / 2, SLOW);
        assert_eq!(quick.start(NOW, at).from, Timestamp::EARLIEST);
    }

    #[test]
    fn a_read_from_the_beginning_comes_after_twenty_times_as_long() {
        let at = Instant::now();
        let mark = slow(3, at);
        let (before, then) = (at + TOOK * SHARE - TOOK, at + TOOK * SHARE);
        assert_eq!(mark.start(NOW, before).from, NOW.minus(LAG));
        assert_eq!(mark.start(NOW, then).from, Timestamp::EARLIEST);
        let long = mark.after_whole(at, LONGEST, SLOW);
        assert_eq!(long.start(NOW, at + LONGEST).from, Timestamp::EARLIEST);
    }

    #[test]
    fn a_mark_is_below_what_waits_and_follows_a_clock_set_back() {
        let at = Instant::now();
        let waiting = NOW.minus(Duration::from_secs(3600));
        assert_eq!(
            slow(3, at).moved(waiting, &[], NOW).start(NOW, at).from,
            waiting
        );
        let set_back = NOW.minus(Duration::from_secs(60));
        assert_eq!(slow(3, at).start(set_back, at).from, set_back.minus(LAG));
    }

    #[test]
    fn a_failed_read_from_the_beginning_is_repeated_late() {
        let marks = LowMarks::new(SLOW);
        let queue = Queue::of_all("failing");
        let from = |fails: bool| {
            let mut begun = None;
            let found = marks.read(queue, NOW, |start| {
                begun = Some(start.from);
                let read = QueueRead {
                    rows: (),
                    first: NOW,
                    apart: Vec::new(),
                };
                if fails {
                    Err(Error::Unsuitable("planted".to_owned()))
                } else {
                    Ok(read)
                }
            });
            assert_eq!(found.is_err(), fails);
            begun
        };
        marks
            .all()
            .insert(queue, slow(3, Instant::now()).moved(NOW, &[], NOW));
        marks.all().get_mut(&queue).expect("a mark").whole_at = Instant::now();
        assert_eq!(from(true), Some(Timestamp::EARLIEST));
        assert_eq!(
            from(false),
            Some(NOW.minus(LAG)),
            "it may have taken too long"
        );
    }

    #[test]
    fn unused_marks_stay_so() {
        let at = Instant::now();
        let mark = Mark::none(at).after_whole(at, LONGEST, LowMarks::unused().slow);
        assert_eq!(
            (0..5)
                .fold(mark, |mark, _| mark.after_whole(at, LONGEST, Duration::MAX))
                .slow_reads,
            0
        );
    }

    #[test]
    fn many_parts_with_something_due_are_read_from_the_beginning() {
        let at = Instant::now();
        let parts = |count: usize| (0..count).map(|part| part.to_string()).collect::<Vec<_>>();
        let few = slow(3, at).moved(NOW, &parts(2), NOW).start(NOW, at);
        assert_eq!((few.from, few.apart), (NOW.minus(LAG), parts(2)));
        let many = slow(3, at)
            .moved(NOW, &parts(MAX_APART + 1), NOW)
            .start(NOW, at);
        assert_eq!(many.from, Timestamp::EARLIEST);
    }
}
