//! The Temporal dev server as a child: started, watched, started again when it dies, and gone when we are gone.
//!
//! A shell stands between us and it and reads our pipe. When we end, however we end, the pipe closes and the shell
//! kills the server; the word `stop` asks the server to end by itself first. Both are in a process group of their own,
//! so that Ctrl-C reaches us and not them. The server lets others go first: a store waits for an answer and gives up,
//! while a window can be settled a little later.

use super::own::Own;
use anyhow::{Context, bail};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::time::Instant;

const KEEPER: &str = r#"
exec 3<&0
nice -n 10 "$@" 3<&- </dev/null &
server=$!
( read -r word <&3
  if [ "$word" = stop ]; then kill "$server" 2>/dev/null; read -r word <&3; fi
  kill -9 "$server" 2>/dev/null ) &
keeper=$!
wait "$server"
code=$?
kill "$keeper" 2>/dev/null
exit "$code"
"#;

/// How long a start may take on a slow machine with a cold disk.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the server may take to end by itself.
const GRACE: Duration = Duration::from_secs(10);
/// Between a death and the next start.
const REST: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(50);

/// A running dev server.
pub struct Temporal {
    stop: Option<Sender<()>>,
    keeper: Option<JoinHandle<()>>,
}

struct Server {
    cli: PathBuf,
    data: PathBuf,
    own: Own,
}

/// Starts the server and answers when it takes connections. Blocks.
pub fn start(cli: PathBuf, data: PathBuf, own: Own) -> anyhow::Result<Temporal> {
    let server = Server { cli, data, own };
    let mut child = server.spawn()?;
    server.wait_until_it_listens(&mut child)?;
    let (stop, stopped) = channel();
    let keeper = std::thread::spawn(move || server.keep(child, &stopped));
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

    fn spawn(&self) -> anyhow::Result<Child> {
        let log = self.log()?;
        let mut command = Command::new("sh");
        command.args(["-c", KEEPER, "settle-temporal"]).arg(&self.cli).args([
            "server",
            "start-dev",
            "--ip",
            "127.0.0.1",
        ]);
        command.args(["--port", &self.own.address.port().to_string(), "--ui-port", &self.own.ui.port().to_string()]);
        command.arg("--db-filename").arg(self.data.join("temporal.db"));
        command.args(["--sqlite-pragma", "journal_mode=WAL", "--sqlite-pragma", "synchronous=NORMAL"]);
        command.args(["--log-level", "warn"]);
        command.stdin(Stdio::piped()).stdout(log.try_clone().context("the log file")?).stderr(log).process_group(0);
        command.spawn().context("the Temporal dev server cannot be started (`sh` is needed)")
    }

    fn wait_until_it_listens(&self, child: &mut Child) -> anyhow::Result<()> {
        let started = Instant::now();
        while TcpStream::connect_timeout(&self.own.address, LOOK).is_err() {
            if let Some(status) = child.try_wait().context("the Temporal dev server is lost")? {
                bail!("the Temporal dev server ended at once ({status}): {}", self.last_words());
            }
            if started.elapsed() > PATIENCE {
                bail!(
                    "the Temporal dev server does not answer after {} s: see {}",
                    PATIENCE.as_secs(),
                    self.log_file().display()
                );
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Starts it again whenever it dies, until we are told to stop.
    fn keep(&self, mut child: Child, stopped: &Receiver<()>) {
        loop {
            match child.try_wait() {
                Ok(None) => {
                    if stopped.recv_timeout(LOOK * 4) != Err(RecvTimeoutError::Timeout) {
                        return end(child);
                    }
                }
                Ok(Some(_)) | Err(_) => {
                    tracing::warn!(log = %self.log_file().display(), "the Temporal dev server died; it is started again");
                    if stopped.recv_timeout(REST) != Err(RecvTimeoutError::Timeout) {
                        return;
                    }
                    match self.spawn() {
                        Ok(again) => child = again,
                        Err(error) => tracing::error!(error = format!("{error:#}"), "no Temporal dev server"),
                    }
                }
            }
        }
    }

    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(self.log_file()).unwrap_or_default();
        let said = log.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it said nothing");
        format!("{said} (more in {})", self.log_file().display())
    }
}

/// Asks the server to end, and kills it when it does not.
fn end(mut child: Child) {
    let mut pipe = child.stdin.take();
    if let Some(pipe) = &mut pipe {
        // It may be gone already; then the wait below ends at once.
        let _ = pipe.write_all(b"stop\n");
    }
    let asked = Instant::now();
    while asked.elapsed() < GRACE && matches!(child.try_wait(), Ok(None)) {
        std::thread::sleep(LOOK);
    }
    drop(pipe);
    let _ = child.wait();
}
