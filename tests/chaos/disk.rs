//! A disk that is slow or full, made by `strace`: it delays the system calls of running processes, or lets them fail.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use system_tests::reaper::Watched;
use system_tests::wait;

/// How long each sync takes on a slow disk.
const SLOW_MICROS: u32 = 250_000;
/// Time limit for `strace` to let go of the processes.
const RELEASED: Duration = Duration::from_secs(10);

/// Whether `strace` is installed.
pub fn is_possible() -> bool {
    Command::new("strace").arg("-V").output().is_ok_and(|output| output.status.success())
}

/// A running `strace`, which ends when it is dropped.
pub struct Injected(Watched);

impl Injected {
    /// Makes every sync of these processes slow.
    pub fn slow(processes: &[u32]) -> Option<Self> {
        let inject = format!("inject=fsync,fdatasync:delay_enter={SLOW_MICROS}");
        Self::begin(processes, &["-e", &inject])
    }

    /// Makes every write of these processes to the files of this database fail, as on a full disk.
    pub fn full(processes: &[u32], file: &Path) -> Option<Self> {
        let file = file.display().to_string();
        let log = format!("{file}-wal");
        let inject = "inject=write,pwrite64,fallocate,ftruncate:error=ENOSPC";
        Self::begin(processes, &["-P", &file, "-P", &log, "-e", inject])
    }

    fn begin(processes: &[u32], what: &[&str]) -> Option<Self> {
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-o", "/dev/null"]).args(what);
        for process in processes {
            strace.args(["-p", &process.to_string()]);
        }
        strace.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Watched::spawn(&mut strace).ok().map(Self)
    }
}

impl Drop for Injected {
    /// Lets go of the processes: they go on by themselves.
    fn drop(&mut self) {
        if self.0.exit_status().is_none() {
            self.0.signal("TERM");
        }
        let end = wait::until_blocking(RELEASED, "the end of strace", || {
            self.0.exit_status().map(drop).ok_or_else(|| "it runs".to_owned())
        });
        drop(end);
    }
}
