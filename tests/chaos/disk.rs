//! A slow or full disk, simulated by `strace`, which delays the system calls of running processes or makes them fail.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use system_tests::reaper::Watched;
use system_tests::wait;

/// How long each sync takes on a slow disk.
const SLOW_MICROS: u32 = 250_000;
/// Time limit for `strace` to attach.
const ATTACHED: Duration = Duration::from_secs(5);
/// Time limit for `strace` to detach from the processes.
const RELEASED: Duration = Duration::from_secs(10);

/// Returns whether `strace` is installed, and may trace a process that it did not start.
pub async fn is_possible() -> bool {
    let mut idle = Command::new("cat");
    let Ok(idle) = Watched::spawn(idle.stdin(Stdio::piped()).stdout(Stdio::null())) else {
        return false;
    };
    Injected::slow(&[idle.id()]).await.is_some()
}

/// Returns whether another process traces this one; `None` if it is gone.
fn is_traced(process: u32) -> Option<bool> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let tracer = status
        .lines()
        .find_map(|line| line.strip_prefix("TracerPid:"))?;
    Some(tracer.trim() != "0")
}

/// A running `strace`, which ends when this is dropped.
pub struct Injected(Watched);

impl Injected {
    /// Makes every sync of these processes slow; `None` if they cannot be traced.
    pub async fn slow(processes: &[u32]) -> Option<Self> {
        let inject = format!("inject=fsync,fdatasync:delay_enter={SLOW_MICROS}");
        Self::begin(processes, &["-e", &inject]).await
    }

    /// Makes every write of these processes to the files of this database fail, as on a full disk; `None` if
    /// they cannot be traced.
    pub async fn full(processes: &[u32], file: &Path) -> Option<Self> {
        let file = file.display().to_string();
        let log = format!("{file}-wal");
        let inject = "inject=write,pwrite64,fallocate,ftruncate:error=ENOSPC";
        Self::begin(processes, &["-P", &file, "-P", &log, "-e", inject]).await
    }

    async fn begin(processes: &[u32], what: &[&str]) -> Option<Self> {
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-o", "/dev/null"]).args(what);
        for process in processes {
            strace.args(["-p", &process.to_string()]);
        }
        strace
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let injected = Self(Watched::spawn(&mut strace).ok()?);
        let traced = wait::within(ATTACHED, "strace", async || {
            let running: Vec<bool> = processes
                .iter()
                .filter_map(|process| is_traced(*process))
                .collect();
            let is_begun = !running.is_empty() && running.iter().all(|is_traced| *is_traced);
            if is_begun {
                Ok(())
            } else {
                Err(format!("{running:?}"))
            }
        });
        traced.await.ok().map(|()| injected)
    }
}

impl Drop for Injected {
    /// Detaches from the processes, which continue.
    fn drop(&mut self) {
        if self.0.exit_status().is_none() {
            self.0.signal("TERM");
        }
        let end = wait::until_blocking(RELEASED, "the end of strace", || {
            self.0
                .exit_status()
                .map(drop)
                .ok_or_else(|| "it runs".to_owned())
        });
        drop(end);
    }
}
