//! The Temporal dev server as a child process: started, watched, restarted when it dies, and ended with this process.
//!
//! A shell between this process and the server reads a pipe. When this process ends, even by SIGKILL, the pipe closes
//! and the shell kills the server. The line `stop` in the pipe makes the shell send SIGTERM instead. Shell and server
//! have their own process group, so that Ctrl-C reaches only this process. The server has a lower priority: a store
//! gives up if a response is late, while settling may be a little late. Nothing waits for the server's start, and a
//! server that fails stops nothing else. It receives none of settle's settings, and only its owner can read its files.
//!
//! Another program can take a port of the server before the server binds it. The server then ends, and is restarted at
//! other ports until the engine has found it, which it recognizes by its unique namespace. The next process starts with
//! the ports of the last one, so that bookmarks work.

use super::dev_server::{self, Ports};
use activities::engine::{Addresses, DevServer};
use anyhow::Context;
use api::tools;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// The shell's script. Its arguments are the server's command.
const KEEPER: &str = r#"
umask 077
exec 3<&0
nice -n 10 "$@" 3<&- </dev/null &
server=$!
( read -r line <&3
  if [ "$line" = stop ]; then kill "$server" 2>/dev/null; read -r line <&3; fi
  kill -9 "$server" 2>/dev/null ) &
keeper=$!
wait "$server"
code=$?
kill "$keeper" 2>/dev/null
exit "$code"
"#;

/// The server's database file in the data directory.
const DATABASE: &str = "temporal.db";

/// Time after `stop` at which a server that has not ended is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// Time between the server's death and the next start; doubled each time the server dies early.
const BACKOFF: Duration = Duration::from_secs(1);
const MAX_BACKOFF: Duration = Duration::from_secs(30);
/// A server that dies within this time after its start died early.
const EARLY: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);

/// A dev server that is restarted whenever it dies.
pub struct Temporal {
    stop: Option<Sender<()>>,
    keeper: Option<JoinHandle<()>>,
}

/// How to start the dev server.
pub struct Server {
    /// Directory of the server's files.
    pub data: PathBuf,
    /// The path of the Temporal CLI in the settings.
    pub cli: Option<PathBuf>,
    /// The server's namespace besides `default`.
    pub namespace: String,
    /// Addresses of the server.
    pub dev_server: DevServer,
    /// Whether the server serves its UI, which responds to any web page open in the browser.
    pub has_ui: bool,
}

/// Finds or downloads the Temporal CLI. This runs on its own thread, because a download can take minutes and must not
/// delay the end of the process.
pub async fn find(data: PathBuf, configured: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    let (sender, found) = oneshot::channel();
    let thread = std::thread::Builder::new().name("settle-tools".to_owned());
    // Without a receiver, the process is already ending.
    let search = move || {
        drop(sender.send(tools::temporal::find(
            &tools::home(&data),
            configured.as_deref(),
        )))
    };
    thread
        .spawn(search)
        .context("cannot start a thread to find the Temporal CLI")?;
    Ok(found
        .await
        .context("the search for the Temporal CLI crashed")??)
}

/// Starts the server with this Temporal CLI, and restarts it whenever it ends.
pub fn start(cli: PathBuf, server: Server) -> anyhow::Result<Temporal> {
    let (stop, stopped) = channel();
    let thread = std::thread::Builder::new().name("settle-temporal".to_owned());
    let keeper = thread
        .spawn(move || server.keep(&cli, &stopped))
        .context("cannot start a thread for the Temporal dev server")?;
    Ok(Temporal {
        stop: Some(stop),
        keeper: Some(keeper),
    })
}

impl Temporal {
    /// Ends the server and waits until it is gone. Blocks.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        drop(self.stop.take());
        if let Some(keeper) = self.keeper.take() {
            // A keeper thread that panicked has dropped its pipe, which kills the server.
            let _ = keeper.join();
        }
    }
}

impl Drop for Temporal {
    fn drop(&mut self) {
        self.end();
    }
}

impl Server {
    fn log_file(&self) -> PathBuf {
        self.data.join("temporal.log")
    }

    fn log(&self) -> anyhow::Result<File> {
        let path = self.log_file();
        cut(&path);
        let opened = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&path);
        opened.with_context(|| format!("cannot write {}", path.display()))
    }

    /// Returns the addresses for the next start.
    fn addresses(&self, ports: Ports) -> anyhow::Result<Addresses> {
        match self.dev_server.final_addresses() {
            Some(addresses) => Ok(addresses),
            None => {
                let addresses = self
                    .dev_server
                    .propose(dev_server::addresses(&self.data, ports)?);
                dev_server::note(&self.data, addresses)?;
                Ok(addresses)
            }
        }
    }

    fn spawn(&self, cli: &Path, ports: Ports, log: File) -> anyhow::Result<Child> {
        tools::temporal::check(cli)?;
        let Addresses { temporal, ui } = self.addresses(ports)?;
        let [port, ui_port] = [temporal, ui].map(|address| address.port().to_string());
        let mut command = tools::command("/bin/sh");
        command.args(["-c", KEEPER, "settle-temporal"]).arg(cli);
        command.args(["server", "start-dev", "--ip", "127.0.0.1", "--port", &port]);
        if self.has_ui {
            command.args(["--ui-port", &ui_port]);
        } else {
            command.arg("--headless");
        }
        command.args(["--namespace", &self.namespace]);
        // The server puts the file name into a URI unescaped, so a `?`, `#` or `%` in a path would name another file.
        command
            .args(["--db-filename", DATABASE])
            .current_dir(&self.data);
        command.args([
            "--sqlite-pragma",
            "journal_mode=WAL",
            "--sqlite-pragma",
            "synchronous=NORMAL",
        ]);
        command.args(["--log-level", "warn"]);
        command
            .stdin(Stdio::piped())
            .stdout(log.try_clone().context("the log file")?)
            .stderr(log)
            .process_group(0);
        command
            .spawn()
            .context("cannot start the Temporal dev server (it needs `/bin/sh`)")
    }

    /// Restarts the server whenever it dies, until it is stopped.
    fn keep(&self, cli: &Path, stopped: &Receiver<()>) {
        let (mut rest, mut ports) = (BACKOFF, Ports::Usual);
        loop {
            let began = Instant::now();
            let log = self.log();
            let mut start = log
                .as_ref()
                .map_or(0, |log| log.metadata().map_or(0, |file| file.len()));
            match log.and_then(|log| self.spawn(cli, ports, log)) {
                Ok(child) => match self.watch(child, stopped, &mut start) {
                    Watched::Stopped => return,
                    Watched::Died => self.log_death(start, rest),
                },
                Err(error) => {
                    tracing::error!(error = format!("{error:#}"), "no Temporal dev server")
                }
            }
            if stopped.recv_timeout(rest) != Err(RecvTimeoutError::Timeout) {
                return;
            }
            rest = if began.elapsed() > EARLY {
                BACKOFF
            } else {
                MAX_BACKOFF.min(rest * 2)
            };
            // Two servers that took each other's usual ports must not do so again.
            ports = Ports::Any;
        }
    }

    /// Waits until the server dies. If a stop is requested first, ends the server. Meanwhile keeps its log small;
    /// `start` is the position in the log at which this start begins.
    fn watch(&self, mut child: Child, stopped: &Receiver<()>, start: &mut u64) -> Watched {
        let log = self.log_file();
        while matches!(child.try_wait(), Ok(None)) {
            if stopped.recv_timeout(POLL * 4) != Err(RecvTimeoutError::Timeout) {
                end(child);
                return Watched::Stopped;
            }
            if cut(&log) {
                *start = 0;
            }
        }
        Watched::Died
    }

    fn log_death(&self, start: u64, rest: Duration) {
        tracing::warn!(
            cause = format!(
                "{} (more in {})",
                self.cause(start),
                self.log_file().display()
            ),
            seconds = rest.as_secs(),
            "the Temporal dev server died and will be restarted after these seconds; notifications are accepted meanwhile"
        );
    }

    /// Returns why the server died. Its part of the log begins at `start`, in bytes.
    fn cause(&self, start: u64) -> String {
        let mut log = Vec::new();
        let read = File::open(self.log_file()).and_then(|mut file| {
            file.seek(SeekFrom::Start(start))?;
            file.take(MAX_READ_BYTES).read_to_end(&mut log)
        });
        match read {
            Ok(_) => cause(&String::from_utf8_lossy(&log)),
            Err(error) => error.to_string(),
        }
    }
}

/// Beginnings of the line that states the cause. A panic's trace follows that line.
const CAUSES: [&str; 3] = ["panic: ", "fatal error: ", "Error: "];
/// Maximum length of a cause in characters.
const MAX_CAUSE_CHARS: usize = 300;
/// Maximum number of bytes of a log that are searched for the cause.
const MAX_READ_BYTES: u64 = 1024 * 1024;

/// Returns the cause from the log of a server that died, or else the log's last line.
fn cause(log: &str) -> String {
    let lines = || log.lines().map(str::trim).filter(|line| !line.is_empty());
    let cause = lines().find(|line| CAUSES.iter().any(|begin| line.starts_with(begin)));
    cause
        .or_else(|| lines().next_back())
        .unwrap_or("its log is empty")
        .chars()
        .take(MAX_CAUSE_CHARS)
        .collect()
}

/// Size at which a log is moved to the previous log's file.
const MAX_LOG_BYTES: u64 = 16 * 1024 * 1024;
/// File name extension of the previous log.
const BEFORE: &str = "log.1";

/// Why watching the server ended.
enum Watched {
    Stopped,
    Died,
}

/// Moves a log of full size to the previous log's file. Returns whether it did. The log is emptied and not renamed,
/// because the server has it open and appends to it. Lines written between the copy and the truncation are lost.
fn cut(log: &Path) -> bool {
    if !std::fs::metadata(log).is_ok_and(|file| file.len() >= MAX_LOG_BYTES) {
        return false;
    }
    // On a full disk, it is better to lose the old lines than to let the log grow.
    let _ = std::fs::copy(log, log.with_extension(BEFORE));
    OpenOptions::new()
        .write(true)
        .open(log)
        .and_then(|file| file.set_len(0))
        .is_ok()
}

/// Ends the server, and kills it if it does not end in time.
fn end(mut child: Child) {
    let mut pipe = child.stdin.take();
    if let Some(pipe) = &mut pipe {
        // The write fails if the server is already gone; the wait below then ends at once.
        let _ = pipe.write_all(b"stop\n");
    }
    let stopped_at = Instant::now();
    while stopped_at.elapsed() < STOP_TIMEOUT && matches!(child.try_wait(), Ok(None)) {
        std::thread::sleep(POLL);
    }
    drop(pipe);
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::{MAX_LOG_BYTES, cause, cut};
    use std::fs::OpenOptions;
    use std::io::Write;

    #[test]
    fn a_full_log_becomes_the_one_before_while_the_server_appends() {
        let folder =
            std::env::temp_dir().join(format!("settle-temporal-{}", api::clock::random_uuid()));
        std::fs::create_dir(&folder).expect("a folder");
        let path = folder.join("temporal.log");
        let mut server = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .expect("a log");
        server.write_all(b"first\n").expect("it is written");
        let was_cut_early = cut(&path);
        server.set_len(MAX_LOG_BYTES).expect("its size");
        let was_cut = cut(&path);
        server.write_all(b"next\n").expect("it is written");
        let read = std::fs::read_to_string(&path).expect("the log");
        let before = std::fs::metadata(folder.join("temporal.log.1"))
            .expect("the one before")
            .len();
        std::fs::remove_dir_all(&folder).expect("it is removed");
        assert_eq!((was_cut_early, was_cut), (false, true));
        assert_eq!((read.as_str(), before), ("next\n", MAX_LOG_BYTES));
    }

    #[test]
    fn the_cause_stands_above_the_trace_of_a_panic() {
        let panic = "level=WARN msg=\"slow\"\npanic: disk I/O error\n\ngoroutine 1 [running]:\nmain.main()\n\t/main.go:7\n";
        let failed = "\nError: failed starting server: file is not a database (26)\n";
        for (log, expected) in [
            (panic, "panic: disk I/O error"),
            (
                failed,
                "Error: failed starting server: file is not a database (26)",
            ),
            ("Killed\n\n", "Killed"),
            ("", "its log is empty"),
        ] {
            assert_eq!(cause(log), expected);
        }
    }
}
