//! Logs a full disk at most once a minute.

use std::fmt::Debug;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Minimum time between two log lines about a full disk.
const EVERY: Duration = Duration::from_secs(60);
/// Phrases about a full disk in messages of SQLite, PostgreSQL, the operating system and settle.
const SIGNS: [&str; 4] = [
    "disk is full",
    "is the disk full",
    "No space left on device",
    "could not extend file",
];

/// A layer that drops warnings and errors about a full disk if one was logged within the last minute. All other lines
/// pass.
#[derive(Default)]
pub struct FullDisk {
    passed_at: Mutex<Option<Instant>>,
}

impl FullDisk {
    /// Returns whether a line about a full disk may pass now, and if so, blocks further ones for a minute.
    fn is_due(&self, now: Instant) -> bool {
        let mut passed_at = self
            .passed_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let is_due = passed_at.is_none_or(|passed_at| now.duration_since(passed_at) >= EVERY);
        if is_due {
            *passed_at = Some(now);
        }
        is_due
    }
}

impl<S: Subscriber> Layer<S> for FullDisk {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        if *event.metadata().level() > Level::WARN {
            return true;
        }
        let mut signs = Signs::default();
        event.record(&mut signs);
        !signs.is_found || self.is_due(Instant::now())
    }
}

/// Searches the fields of a log event for one of [`SIGNS`].
#[derive(Default)]
struct Signs {
    is_found: bool,
}

impl Visit for Signs {
    fn record_str(&mut self, _: &Field, value: &str) {
        self.is_found = self.is_found || SIGNS.iter().any(|sign| value.contains(sign));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::{EVERY, FullDisk};
    use tokio::time::Instant;

    #[test]
    fn a_full_disk_passes_once_a_minute() {
        let (disk, now) = (FullDisk::default(), Instant::now());
        assert!(disk.is_due(now));
        assert!(!disk.is_due(now + EVERY / 2));
        assert!(disk.is_due(now + EVERY));
        assert!(!disk.is_due(now + EVERY));
    }
}
