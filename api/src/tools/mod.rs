//! Finds the programs that settle starts. They are downloaded into a folder of their own and checked against a pinned
//! checksum. The only programs of the machine that are used are Python and a shell.
//!
//! Used by `settle run` and the tests. Everything here blocks, so it must be called outside the async runtime.

mod growth;
pub mod pypi;
pub mod temporal;
#[cfg(test)]
mod tests;

use crate::config::environment;
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::channel;

/// Returns the folder for downloaded tools: `settle-tools` in the target folder that this executable was built into or,
/// for an installed binary, in `data`.
pub fn home(data: &Path) -> PathBuf {
    let built = std::env::current_exe()
        .ok()
        .and_then(|executable| target_folder(&executable));
    built
        .unwrap_or_else(|| data.to_owned())
        .join("settle-tools")
}

/// Returns the target folder that an executable was built into, which cargo marks as a cache: `target/debug/settle` is
/// two levels below it, and `target/TRIPLE/debug/deps/test` four. Folders further up and world-writable folders do not
/// count.
fn target_folder(executable: &Path) -> Option<PathBuf> {
    let marked = |folder: &&Path| {
        folder.join("CACHEDIR.TAG").is_file() && folder.join(".rustc_info.json").is_file()
    };
    let closed = |folder: &&Path| {
        folder
            .metadata()
            .is_ok_and(|found| found.permissions().mode() & 0o002 == 0)
    };
    executable
        .ancestors()
        .skip(2)
        .take(3)
        .find(marked)
        .filter(closed)
        .map(Path::to_owned)
}

/// Returns a command that gets none of settle's settings, some of which are secrets, and exports no traces. The program
/// is searched for only in absolute folders of `PATH`, never in the working directory.
pub fn command(program: &str) -> Command {
    let (mut command, variables) = (Command::new(program), environment());
    for name in variables.keys().filter(|name| {
        ["SETTLE_", "OTEL_"]
            .iter()
            .any(|part| name.starts_with(part))
    }) {
        command.env_remove(name);
    }
    let path = variables
        .get("PATH")
        .map(String::as_str)
        .unwrap_or_default();
    let absolute: Vec<&str> = path
        .split(':')
        .filter(|folder| folder.starts_with('/'))
        .collect();
    command.env("PATH", absolute.join(":"));
    command
}

fn progress(line: &str) {
    eprintln!("settle: {line}");
}

/// Runs a program that downloads into a folder, and meanwhile shows the folder's size: continuously on a terminal,
/// otherwise every ten seconds.
fn fetch<S: AsRef<OsStr>>(program: &str, arguments: &[S], folder: &Path) -> Result<String, String> {
    // `pip` stores partial downloads in `TMPDIR`, so the size includes them.
    let mut command = command(program);
    command
        .args(arguments)
        .env("TMPDIR", folder)
        .stdin(Stdio::null());
    let (stop, stopped) = channel();
    let ran = std::thread::scope(|scope| {
        scope.spawn(move || growth::show(folder, &stopped));
        let ran = command.output();
        drop(stop);
        ran
    });
    finished(program, ran)
}

/// Runs a program and waits for its end. Returns its output, or one line with the reason for its failure.
fn output<S: AsRef<OsStr>>(program: &str, arguments: &[S]) -> Result<String, String> {
    finished(
        program,
        command(program)
            .args(arguments)
            .stdin(Stdio::null())
            .output(),
    )
}

/// Returns the standard output of a successful program, or one line with the reason for its failure.
fn finished(program: &str, ran: std::io::Result<Output>) -> Result<String, String> {
    let output = ran.map_err(|error| format!("`{program}`: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let stderr: Vec<&str> = stderr
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let stderr: String = stderr.join("; ").chars().take(500).collect();
    Err(format!(
        "`{program}` exited with {}: {stderr}",
        output.status
    ))
}
