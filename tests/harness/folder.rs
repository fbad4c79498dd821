//! Temporary folders, which are removed unless the test fails.

use super::reaper;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A folder that is removed when dropped, unless the test failed: then its path is printed to standard error.
pub struct Folder(PathBuf);

impl Folder {
    /// Returns an empty folder under the system's folder for temporary files.
    ///
    /// # Panics
    /// When the folder cannot be created.
    pub fn new(name: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!(
            "settle-test-{}-{number}-{name}",
            std::process::id()
        ));
        std::fs::create_dir_all(&folder).expect("a folder for the test");
        Self(folder)
    }

    /// Returns a folder that is removed when the test process ends.
    pub fn of_process(name: &str) -> PathBuf {
        let folder = std::mem::ManuallyDrop::new(Self::new(name)).0.clone();
        reaper::remove_at_end(&folder);
        folder
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the test's files are kept in {}", self.0.display());
        } else {
            drop(std::fs::remove_dir_all(&self.0));
        }
    }
}
