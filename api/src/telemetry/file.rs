//! A log file of bounded size.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tracing_subscriber::fmt::MakeWriter;

/// Size at which the file is renamed, replacing the previous one, and a new file is begun.
const MAX_BYTES: u64 = 16 * 1024 * 1024;
/// Extension of the previous file.
const BEFORE: &str = "log.1";

/// A log file that only its owner can read, with rotation to one previous file.
pub struct LogFile(Mutex<Written>);

struct Written {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl LogFile {
    /// Opens this file and appends to it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = opened(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self(Mutex::new(Written {
            path: path.to_owned(),
            file,
            bytes,
        })))
    }
}

fn opened(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
}

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes >= MAX_BYTES {
            std::fs::rename(&self.path, self.path.with_extension(BEFORE))?;
            (self.file, self.bytes) = (opened(&self.path)?, 0);
        }
        let written = self.file.write(bytes)?;
        self.bytes += u64::try_from(written).unwrap_or_default();
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The log file, locked for one line.
pub struct Line<'a>(MutexGuard<'a, Written>);

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl<'a> MakeWriter<'a> for LogFile {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::{LogFile, MAX_BYTES};
    use std::io::Write;
    use tracing_subscriber::fmt::MakeWriter;

    #[test]
    fn a_full_file_becomes_the_one_before() {
        let folder =
            std::env::temp_dir().join(format!("settle-log-{}", crate::clock::random_uuid()));
        std::fs::create_dir(&folder).expect("a folder");
        let path = folder.join("settle.log");
        let full = std::fs::File::create(&path).expect("a file");
        full.set_len(MAX_BYTES).expect("its size");
        let log = LogFile::open(&path).expect("a log");
        log.make_writer()
            .write_all(b"one\n")
            .expect("it is written");
        log.make_writer()
            .write_all(b"two\n")
            .expect("it is written");
        let read = std::fs::read_to_string(&path).expect("the new file");
        let before = std::fs::metadata(folder.join("settle.log.1"))
            .expect("the one before")
            .len();
        std::fs::remove_dir_all(&folder).expect("it is removed");
        assert_eq!((read.as_str(), before), ("one\ntwo\n", MAX_BYTES));
    }
}
