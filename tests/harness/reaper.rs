//! Kills the test process's child processes and removes its folders when it ends, even when it is killed.
//!
//! A shell reads commands from a pipe. When the test process ends, the pipe closes, and the shell kills the remaining
//! processes and removes the folders.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

const SCRIPT: &str = r#"
processes=" " folders=""
while read -r verb what; do
    case "$verb" in
        watch) processes="$processes$what " ;;
        forget) processes="${processes%% "$what" *} ${processes#* "$what" }" ;;
        remove) folders="$folders$what
" ;;
    esac
done
for process in $processes; do kill -9 "$process" 2>/dev/null; done
printf %s "$folders" | while read -r folder; do
    for attempt in 1 2 3 4 5 6 7 8 9 10; do rm -rf "$folder" 2>/dev/null && break; done
done
"#;

static REAPER: OnceLock<Mutex<ChildStdin>> = OnceLock::new();

fn send(verb: &str, what: &str) {
    let pipe = REAPER.get_or_init(|| {
        // In its own process group: Ctrl-C in the terminal must not end the shell before the test process.
        let shell = Command::new("sh")
            .args(["-c", SCRIPT])
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn();
        Mutex::new(
            shell
                .expect("sh starts")
                .stdin
                .take()
                .expect("its standard input"),
        )
    });
    let mut pipe = pipe.lock().unwrap_or_else(PoisonError::into_inner);
    writeln!(pipe, "{verb} {what}").expect("the reaper listens");
}

/// Removes this folder when the test process ends.
pub fn remove_at_end(folder: &Path) {
    send("remove", &folder.display().to_string());
}

/// Kills this process, which another program started for the test, when the test process ends, unless [`spare`] is
/// called.
pub fn kill_at_end(process: u64) {
    send("watch", &process.to_string());
}

/// Undoes [`kill_at_end`] once the process is gone.
pub fn spare(process: u64) {
    send("forget", &process.to_string());
}

/// A child process that is killed when dropped, and by the reaper when the test process is killed.
pub struct Watched {
    child: Child,
}

impl Watched {
    /// Starts a command.
    ///
    /// # Errors
    /// When the command does not start.
    pub fn spawn(command: &mut Command) -> std::io::Result<Self> {
        let child = command.spawn()?;
        send("watch", &child.id().to_string());
        Ok(Self { child })
    }

    /// Returns the process's standard input and output, if the command pipes them; only the first call does.
    pub fn pipes(&mut self) -> Option<(ChildStdin, ChildStdout)> {
        self.child.stdin.take().zip(self.child.stdout.take())
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns the process's exit status; `None` while it runs.
    pub fn exit_status(&mut self) -> Option<std::process::ExitStatus> {
        self.child.try_wait().expect("the state of a child process")
    }

    /// Kills the process (SIGKILL) and waits until it is gone.
    pub fn kill(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Sends the process a signal by name, such as `TERM` or `STOP`.
    ///
    /// # Panics
    /// When the process is gone.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args(["-s", name, &self.child.id().to_string()])
            .status();
        assert!(
            sent.is_ok_and(|status| status.success()),
            "process {} takes no signal {name}",
            self.child.id()
        );
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.kill();
        send("forget", &self.child.id().to_string());
    }
}
