//! A copy of an installation's SQLite database, which can be put back later.

use super::process::Installation;
use std::io;
use std::path::PathBuf;

/// The contents of the database's files: the database, its log, and the log's index.
pub struct Backup([Option<Vec<u8>>; 3]);

impl Backup {
    /// Copies the database of an installation on SQLite, while no process runs.
    pub fn of(installation: &Installation) -> Self {
        Self(files(installation).map(|file| std::fs::read(file).ok()))
    }

    /// Puts the copy back, while no process runs. The epoch stays that of the copy.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn restore(&self, installation: &Installation) -> io::Result<()> {
        let Self(contents) = self;
        for (file, content) in files(installation).iter().zip(contents) {
            match content {
                Some(content) => std::fs::write(file, content)?,
                None => drop(std::fs::remove_file(file)),
            }
        }
        Ok(())
    }
}

fn files(installation: &Installation) -> [PathBuf; 3] {
    let database = installation.database();
    ["", "-wal", "-shm"].map(|end| PathBuf::from(format!("{database}{end}")))
}
