//! A clock that a test moves. The program reads from a file how far the clock is ahead of real time.

use super::folder::Folder;
use domain::Timestamp;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// The clock of all processes that are started with [`Clock::fail_point`].
pub struct Clock {
    folder: Folder,
    ahead_ms: Arc<AtomicI64>,
}

impl Clock {
    /// Returns a clock that shows `now` and keeps running from there.
    pub fn new(now: Timestamp) -> Self {
        let clock = Self {
            folder: Folder::new("clock"),
            ahead_ms: Arc::default(),
        };
        clock.set(now);
        clock
    }

    /// Returns the value of `FAILPOINTS` that makes a process use this clock.
    pub fn fail_point(&self) -> String {
        format!("clock.moved=return({})", self.file().display())
    }

    pub fn now(&self) -> Timestamp {
        api::clock::now().plus_millis(self.ahead_ms.load(Ordering::Relaxed))
    }

    /// A function that returns the clock's time, for a fake that uses the same clock.
    pub fn reader(&self) -> impl Fn() -> Timestamp + Send + Sync + 'static {
        let ahead_ms = Arc::clone(&self.ahead_ms);
        move || api::clock::now().plus_millis(ahead_ms.load(Ordering::Relaxed))
    }

    /// Moves the clock forward to `now`, never back. It keeps running from there.
    pub fn set(&self, now: Timestamp) {
        // One millisecond more, so that rounding never leaves the clock microseconds before `now`.
        let ahead = now.millis_since(api::clock::now()).saturating_add(1);
        self.write(self.ahead_ms.fetch_max(ahead, Ordering::Relaxed).max(ahead));
    }

    /// Sets how far the clock is ahead of real time; a lower value than before sets it back.
    pub fn set_ahead(&self, ahead: Duration) {
        let ahead = i64::try_from(ahead.as_millis()).unwrap_or(i64::MAX);
        self.ahead_ms.store(ahead, Ordering::Relaxed);
        self.write(ahead);
    }

    fn write(&self, ahead: i64) {
        let new = self.folder.path().join("new");
        std::fs::write(&new, ahead.to_string()).expect("the clock's file");
        // Renaming is atomic, so that no process reads a partly written number.
        std::fs::rename(&new, self.file()).expect("the clock's file");
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("ahead_ms")
    }
}
