//! The Temporal dev server as a child process: started, watched, restarted when it dies, and ended with this process.
//!
//! A shell between this process and the server reads a pipe. When this process ends, also by SIGKILL, the pipe closes
//! and the shell kills the server. The line `stop` in the pipe sends SIGTERM to the server instead. Shell and server
//! are in a process group of their own, so that Ctrl-C reaches only this process. The server runs with a lower priority,
//! because a store gives up waiting for an answer, while settling can be a little late. Nothing waits until the server
//! has started, and a server that fails stops nothing else. It gets no setting of settle, and its files are its owner's.
//!
//! Another program can take a port of the server before the server binds it. The server then ends, and is started at
//! other ports, until the engine has found it: the server has a namespace that no other has.

use super::dev_server::{Ports, free_addresses};
use crate::tools;
use activities::engine::{Addresses, DevServer};
use anyhow::Context;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// The script of the shell. Its argument is the command of the server.
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

/// The server is killed when it has not ended this long after `stop`.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// Time between the death of the server and the next start; doubled each time that the server dies early.
const BACKOFF: Duration = Duration::from_secs(1);
const MAX_BACKOFF: Duration = Duration::from_secs(30);
/// A server that dies before this time died early.
const EARLY: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);

/// A dev server that is kept running.
pub struct Temporal {
    stop: Option<Sender<()>>,
    keeper: Option<JoinHandle<()>>,
}

/// How the server is started.
pub struct Server {
    /// The directory of its files.
    pub data: PathBuf,
    /// The namespace that it has besides `default`.
    pub namespace: String,
    /// Its addresses.
    pub dev_server: DevServer,
}

/// Finds or fetches the Temporal CLI. It runs on a thread of its own, because fetching can take minutes and must not
/// delay the end of the process.
pub async fn find(data: PathBuf) -> anyhow::Result<PathBuf> {
    let (sender, found) = oneshot::channel();
    let thread = std::thread::Builder::new().name("settle-tools".to_owned());
    // Without a receiver the process is ending already.
    let search = move || drop(sender.send(tools::temporal::find(&tools::home(&data))));
    thread.spawn(search).context("no thread to find the Temporal CLI")?;
    Ok(found.await.context("the search for the Temporal CLI broke down")??)
}

/// Starts the server with this Temporal CLI, and restarts it whenever it ends.
pub fn start(cli: PathBuf, server: Server) -> anyhow::Result<Temporal> {
    let (stop, stopped) = channel();
    let thread = std::thread::Builder::new().name("settle-temporal".to_owned());
    let keeper = thread.spawn(move || server.keep(&cli, &stopped)).context("no thread for the Temporal dev server")?;
    Ok(Temporal { stop: Some(stop), keeper: Some(keeper) })
}

impl Temporal {
    /// Ends the server and waits until it is gone. Blocks.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        drop(self.stop.take());
        if let Some(keeper) = self.keeper.take() {
            // A keeper that panicked has dropped its pipe, which kills the server.
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
        let opened = OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
        opened.with_context(|| format!("{} cannot be written", path.display()))
    }

    /// The addresses of the next start.
    fn addresses(&self, ports: Ports) -> anyhow::Result<Addresses> {
        match self.dev_server.final_addresses() {
            Some(addresses) => Ok(addresses),
            None => Ok(self.dev_server.propose(free_addresses(ports)?)),
        }
    }

    fn spawn(&self, cli: &Path, ports: Ports) -> anyhow::Result<Child> {
        tools::temporal::check(cli)?;
        let log = self.log()?;
        let Addresses { temporal, ui } = self.addresses(ports)?;
        let [port, ui_port] = [temporal, ui].map(|address| address.port().to_string());
        let mut command = tools::command("/bin/sh");
        command.args(["-c", KEEPER, "settle-temporal"]).arg(cli);
        command.args(["server", "start-dev", "--ip", "127.0.0.1", "--port", &port, "--ui-port", &ui_port]);
        command.args(["--namespace", &self.namespace]);
        command.arg("--db-filename").arg(self.data.join("temporal.db"));
        command.args(["--sqlite-pragma", "journal_mode=WAL", "--sqlite-pragma", "synchronous=NORMAL"]);
        command.args(["--log-level", "warn"]);
        command.stdin(Stdio::piped()).stdout(log.try_clone().context("the log file")?).stderr(log).process_group(0);
        command.spawn().context("the Temporal dev server cannot be started (`/bin/sh` is needed)")
    }

    /// Restarts the server whenever it dies, until it is stopped.
    fn keep(&self, cli: &Path, stopped: &Receiver<()>) {
        let (mut rest, mut ports) = (BACKOFF, Ports::Usual);
        loop {
            let began = Instant::now();
            match self.spawn(cli, ports) {
                Ok(child) => match watch(child, stopped) {
                    Watched::Stopped => return,
                    Watched::Died => self.log_death(rest),
                },
                Err(error) => tracing::error!(error = format!("{error:#}"), "no Temporal dev server"),
            }
            if stopped.recv_timeout(rest) != Err(RecvTimeoutError::Timeout) {
                return;
            }
            rest = if began.elapsed() > EARLY { BACKOFF } else { MAX_BACKOFF.min(rest * 2) };
            // Two servers that took each other's usual ports must not do so again.
            ports = Ports::Any;
        }
    }

    fn log_death(&self, rest: Duration) {
        tracing::warn!(
            last_line = self.last_line(),
            seconds = rest.as_secs(),
            "the Temporal dev server died and is started again after these seconds; notifications are accepted meanwhile"
        );
    }

    fn last_line(&self) -> String {
        let log = std::fs::read_to_string(self.log_file()).unwrap_or_default();
        let line = log.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or("its log is empty");
        format!("{line} (more in {})", self.log_file().display())
    }
}

/// Why watching a server ended.
enum Watched {
    Stopped,
    Died,
}

/// Waits until the server dies, or until a stop is requested, and then ends the server.
fn watch(mut child: Child, stopped: &Receiver<()>) -> Watched {
    while matches!(child.try_wait(), Ok(None)) {
        if stopped.recv_timeout(POLL * 4) != Err(RecvTimeoutError::Timeout) {
            end(child);
            return Watched::Stopped;
        }
    }
    Watched::Died
}

/// Ends the server, and kills it if it does not end in time.
fn end(mut child: Child) {
    let mut pipe = child.stdin.take();
    if let Some(pipe) = &mut pipe {
        // The write fails if the server is gone already; then the wait below ends at once.
        let _ = pipe.write_all(b"stop\n");
    }
    let stopped_at = Instant::now();
    while stopped_at.elapsed() < STOP_TIMEOUT && matches!(child.try_wait(), Ok(None)) {
        std::thread::sleep(POLL);
    }
    drop(pipe);
    let _ = child.wait();
}
