//! A real Temporal dev server for one test, which can skip time, be killed and be restarted.

use super::folder::Folder;
use super::reaper::Watched;
use super::{ports, wait};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;
use temporalio_client::{Client, ClientOptions, Connection, ConnectionOptions};

/// Time limit for the first answer of a server; a busy machine needs several seconds.
const READY: Duration = Duration::from_secs(60);

/// The one namespace of the dev server.
pub const NAMESPACE: &str = "default";

/// Where the server stores its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// In memory: a restarted server is empty.
    Volatile,
    /// In a file: a restarted server continues from it.
    File,
}

/// A Temporal dev server; killed when dropped.
pub struct Temporal {
    folder: Folder,
    port: u16,
    metrics_port: u16,
    memory: Memory,
    settings: Vec<String>,
    server: Option<Watched>,
    client: Client,
}

/// The path of the Temporal CLI, which is looked up once per test process.
///
/// # Panics
/// When there is none, with what to do.
#[must_use]
pub fn cli() -> &'static Path {
    static CLI: OnceLock<PathBuf> = OnceLock::new();
    CLI.get_or_init(|| {
        let home = api::tools::home(&std::env::temp_dir());
        api::tools::temporal::find(&home).unwrap_or_else(|missing| panic!("{missing}"))
    })
}

impl Temporal {
    /// Starts a server on a free port and waits until it answers.
    ///
    /// # Panics
    /// When it does not.
    pub async fn start(memory: Memory) -> Self {
        Self::start_with(memory, &[]).await
    }

    /// Starts with dynamic settings, such as `limit.historyCount.suggestContinueAsNew=80`.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn start_with(memory: Memory, settings: &[String]) -> Self {
        let folder = Folder::new("temporal");
        let (port, metrics_port) = (ports::free(), ports::free());
        let settings = settings.to_vec();
        let mut server = spawn(folder.path(), [port, metrics_port], (memory, &settings));
        let client = ready(&mut server, port, folder.path()).await;
        Self { folder, port, metrics_port, memory, settings, server: Some(server), client }
    }

    /// Host and port, as a value of `TEMPORAL_ADDRESS`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The URL of the server's own metrics.
    #[must_use]
    pub fn metrics_url(&self) -> String {
        format!("http://127.0.0.1:{}/metrics", self.metrics_port)
    }

    /// A connected client; it reconnects by itself after a restart.
    #[must_use]
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// Lowers the server's CPU priority, as `settle run` does with its own server, so that settle answers the store
    /// in time.
    ///
    /// # Panics
    /// When it is not running, or the system's `renice` does not work.
    pub fn let_others_first(&self) {
        let id = self.server.as_ref().expect("a running Temporal server").id().to_string();
        let done = std::process::Command::new("renice").args(["-n", "10", "-p", &id]).output();
        assert!(done.is_ok_and(|output| output.status.success()), "renice works");
    }

    /// Kills the server (SIGKILL); everything that needs it fails from now on.
    pub fn kill9(&mut self) {
        drop(self.server.take());
    }

    /// Suspends the server: it accepts connections and answers nothing, until [`Self::thaw`].
    ///
    /// # Panics
    /// When it is down.
    pub fn freeze(&self) {
        self.server.as_ref().expect("a running server").signal("STOP");
    }

    /// Resumes the server after [`Self::freeze`].
    ///
    /// # Panics
    /// When it is down.
    pub fn thaw(&self) {
        self.server.as_ref().expect("a running server").signal("CONT");
    }

    /// Starts it again on the same port and file, after killing it if it still runs.
    ///
    /// # Panics
    /// When it does not answer in time.
    pub async fn restart(&mut self) {
        self.kill9();
        let mut server = spawn(self.folder.path(), [self.port, self.metrics_port], (self.memory, &self.settings));
        self.client = ready(&mut server, self.port, self.folder.path()).await;
        self.server = Some(server);
    }

    /// Removes the file of a killed server, so that it starts empty.
    ///
    /// # Panics
    /// When it still runs or the file cannot be removed.
    pub fn delete_file(&self) {
        assert!(self.server.is_none(), "the server still runs: kill9() comes first");
        let file = database(self.folder.path());
        for suffix in ["", "-wal", "-shm"] {
            let file = PathBuf::from(format!("{}{suffix}", file.display()));
            if file.exists() {
                std::fs::remove_file(file).expect("the server's file is removed");
            }
        }
    }

    /// The file of a server with [`Memory::File`].
    #[must_use]
    pub fn file(&self) -> PathBuf {
        database(self.folder.path())
    }

    /// The server's output so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(log(self.folder.path())).unwrap_or_default()
    }
}

fn database(folder: &Path) -> PathBuf {
    folder.join("temporal.sqlite")
}

fn log(folder: &Path) -> PathBuf {
    folder.join("temporal.log")
}

fn spawn(folder: &Path, [port, metrics_port]: [u16; 2], (memory, settings): (Memory, &[String])) -> Watched {
    let output = File::options().create(true).append(true).open(log(folder)).expect("the server's log");
    let mut command = Command::new(cli());
    command.args(["server", "start-dev", "--headless", "--log-level", "warn", "--port", &port.to_string()]);
    // Without this the server takes a fixed port for its metrics.
    command.args(["--metrics-port", &metrics_port.to_string()]);
    command.args(["--dynamic-config-value", "frontend.WorkflowTimeSkippingEnabled=true"]);
    for setting in settings {
        command.args(["--dynamic-config-value", setting]);
    }
    if memory == Memory::File {
        command.arg("--db-filename").arg(database(folder));
        command.args(["--sqlite-pragma", "journal_mode=WAL", "--sqlite-pragma", "synchronous=NORMAL"]);
    }
    let errors = output.try_clone().expect("the server's log");
    command.stdin(Stdio::null()).stdout(output).stderr(errors);
    Watched::spawn(&mut command).expect("the Temporal server starts")
}

/// Waits until the server answers GetSystemInfo, which the client calls when it connects.
async fn ready(server: &mut Watched, port: u16, folder: &Path) -> Client {
    let url: temporalio_client::Url = format!("http://127.0.0.1:{port}").parse().expect("a URL");
    wait::until(READY, "the Temporal server", async || {
        if let Some(status) = server.exit_status() {
            let log_text = std::fs::read_to_string(log(folder)).unwrap_or_default();
            panic!("the Temporal server ended with {status}: {log_text}");
        }
        let options = ConnectionOptions::new(url.clone()).identity("system-tests".to_owned()).build();
        let connected = tokio::time::timeout(Duration::from_secs(5), Connection::connect(options)).await;
        let connection =
            connected.map_err(|_| "it accepts and does not answer".to_owned())?.map_err(|error| error.to_string())?;
        Client::new(connection, ClientOptions::new(NAMESPACE).build()).map_err(|error| error.to_string())
    })
    .await
}
