//! A clock that a test moves by hand: the program reads by how much it is ahead from a file.

use super::folder::Folder;
use domain::Timestamp;
use std::path::PathBuf;

/// The clock of the processes that are started with [`Clock::fail_point`].
pub struct Clock {
    folder: Folder,
}

impl Clock {
    /// A clock that shows `now` and goes on from there.
    ///
    /// # Panics
    /// When its file cannot be written.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        let clock = Self { folder: Folder::new("clock") };
        clock.set(now);
        clock
    }

    /// The value of `FAILPOINTS` that makes a process go by it.
    #[must_use]
    pub fn fail_point(&self) -> String {
        format!("clock.moved=return({})", self.file().display())
    }

    /// Moves it.
    ///
    /// # Panics
    /// When its file cannot be written.
    pub fn set(&self, now: Timestamp) {
        let ahead = now.millis_since(api::clock::now());
        let new = self.folder.path().join("new");
        std::fs::write(&new, ahead.to_string()).expect("the clock's file");
        // In one step, so that nobody reads half a number.
        std::fs::rename(&new, self.file()).expect("the clock's file");
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("ahead_ms")
    }
}
