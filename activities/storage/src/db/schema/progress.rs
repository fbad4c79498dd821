//! Progress of a running migration, for display.

use std::fmt;
use std::time::Duration;

/// Progress of a running migration; displayed as one sentence.
#[derive(Debug, Clone)]
pub enum Progress {
    /// Another process migrates this database; this one begins after it.
    Queued,
    /// A step needs a lock that other sessions hold, or was in a deadlock with one. It is tried again after `wait`.
    Blocked {
        name: String,
        is_deadlock: bool,
        attempt: u32,
        attempts: u32,
        wait: Duration,
    },
    /// The number of rows that a step has changed since it began, and roughly how many are left.
    Rows {
        name: String,
        changed: i64,
        left: i64,
        took: Duration,
    },
    /// A step is applied. `changed` is the number of changed rows, if the step counts them.
    Applied {
        name: String,
        changed: Option<i64>,
        took: Duration,
    },
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Queued => {
                f.write_str("another `settle migrate` is running: waiting until it is done")
            }
            Self::Blocked {
                name,
                is_deadlock,
                attempt,
                attempts,
                wait,
            } => {
                let why = match is_deadlock {
                    true => "deadlock with another session",
                    false => "other sessions hold a lock that it needs",
                };
                write!(
                    f,
                    "{name}: {why} (attempt {attempt} of {attempts}), again in {:.1} s",
                    wait.as_secs_f64()
                )
            }
            Self::Rows {
                name,
                changed,
                left,
                took,
            } => {
                write!(
                    f,
                    "{name}: {changed} rows changed, {left} left, {} a second",
                    rate(*changed, *took)
                )
            }
            Self::Applied {
                name,
                changed: Some(changed),
                took,
            } => {
                let (seconds, rate) = (took.as_secs_f64(), rate(*changed, *took));
                write!(
                    f,
                    "{name}: applied in {seconds:.1} s, {changed} rows, {rate} a second"
                )
            }
            Self::Applied {
                name,
                changed: None,
                took,
            } => write!(f, "{name}: applied in {:.1} s", took.as_secs_f64()),
        }
    }
}

/// Returns the number of rows per second, rounded down.
fn rate(rows: i64, took: Duration) -> i64 {
    let millis = i64::try_from(took.as_millis()).unwrap_or(i64::MAX).max(1);
    rows.saturating_mul(1000) / millis
}
