//! A real Temporal dev server that can skip time: either one that tests share, with a namespace for each test, or a
//! test's own server, which can be killed, frozen and restarted.

use super::distance::Distance;
use super::folder::Folder;
use super::reaper::Watched;
use super::{ports, wait};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use temporalio_client::tonic::IntoRequest;
use temporalio_client::{Client, ClientOptions, Connection, ConnectionOptions};
use temporalio_common::protos::temporal::api::workflowservice::v1::{
    ListWorkflowExecutionsRequest, RegisterNamespaceRequest,
};
use tokio::sync::Mutex;

/// Time limit for the first answer of a server; a busy machine needs several seconds.
const READY: Duration = Duration::from_secs(180);
/// Time limit of one attempt to connect.
const ANSWER: Duration = Duration::from_secs(5);

/// The namespace in a test's own server.
const DEFAULT: &str = "default";

/// How long the server keeps a finished run in a test's namespace: the minimum that the server accepts.
const RETENTION: Duration = Duration::from_secs(86_400);

/// Maximum number of tests per shared server. The server works for each of its namespaces permanently; with 150
/// namespaces it would be busy even if all were unused.
const SHARED_BY: usize = 30;

/// Who uses the server, and where it stores its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// A namespace in a shared server, which no test may stop, freeze or configure.
    Shared,
    /// The test's own server, in memory: it is empty after a restart.
    Volatile,
    /// The test's own server, in a file: it continues after a restart.
    File,
}

/// A Temporal dev server, or a namespace in a shared one. A server is killed when the last test that uses it drops it.
pub struct Temporal {
    own: Option<Own>,
    _shared: Option<Arc<Shared>>,
    port: u16,
    namespace: String,
    client: Client,
}

/// A test's own server.
struct Own {
    folder: Folder,
    metrics_port: u16,
    memory: Memory,
    settings: Vec<String>,
    server: Option<Watched>,
}

/// A server that tests share. The newest one is in a static, which is never dropped; the reaper ends its process.
struct Shared {
    port: u16,
    _server: Watched,
}

/// Returns the path of the Temporal CLI, which is looked up once per test process.
///
/// # Panics
/// When the CLI is missing; the message says what to do.
pub fn cli() -> &'static Path {
    static CLI: OnceLock<PathBuf> = OnceLock::new();
    CLI.get_or_init(|| {
        let home = api::tools::home(&std::env::temp_dir());
        api::tools::temporal::find(&home, None).unwrap_or_else(|missing| panic!("{missing}"))
    })
}

impl Temporal {
    /// Starts a server on a free port and waits until it answers.
    ///
    /// # Panics
    /// When the server does not answer in time.
    pub async fn start(memory: Memory) -> Self {
        Self::start_with(memory, &[]).await
    }

    /// Like [`Self::start`], with dynamic settings, such as `limit.historyCount.suggestContinueAsNew=80`.
    ///
    /// # Panics
    /// When the server does not answer in time, or `memory` is [`Memory::Shared`] and there are settings.
    pub async fn start_with(memory: Memory, settings: &[String]) -> Self {
        if memory == Memory::Shared {
            assert!(
                settings.is_empty(),
                "the shared server takes no settings: choose Memory::Volatile"
            );
            return Self::share().await;
        }
        let folder = Folder::new("temporal");
        let (port, metrics_port) = (ports::free(), ports::free());
        let settings = settings.to_vec();
        let mut server = spawn(folder.path(), [port, metrics_port], memory, &settings);
        let client = ready(&mut server, port, folder.path()).await;
        let own = Own {
            folder,
            metrics_port,
            memory,
            settings,
            server: Some(server),
        };
        Self {
            own: Some(own),
            _shared: None,
            port,
            namespace: DEFAULT.to_owned(),
            client,
        }
    }

    /// Returns a new namespace in a server that tests share.
    async fn share() -> Self {
        let shared = Shared::place().await;
        let port = shared.port;
        let namespace = format!("test-{}", api::clock::random_uuid().simple());
        let client = connect(port, &namespace)
            .await
            .expect("a connection to the shared Temporal server");
        register(&client, &namespace).await;
        Self {
            own: None,
            _shared: Some(shared),
            port,
            namespace,
            client,
        }
    }

    fn own(&self) -> &Own {
        self.own
            .as_ref()
            .expect("a server of the test's own: choose Memory::Volatile or Memory::File")
    }

    fn own_mut(&mut self) -> &mut Own {
        self.own
            .as_mut()
            .expect("a server of the test's own: choose Memory::Volatile or Memory::File")
    }

    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Returns host and port, as a value of `TEMPORAL_ADDRESS`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Starts a proxy to the server that adds `round_trip` to each round trip.
    ///
    /// # Panics
    /// When the proxy cannot listen.
    pub fn at_a_distance(&self, round_trip: Duration) -> Distance {
        Distance::before(self.port, round_trip / 2).expect("a proxy before the Temporal server")
    }

    /// Returns the URL of the server's own metrics.
    pub fn metrics_url(&self) -> String {
        format!("http://127.0.0.1:{}/metrics", self.own().metrics_port)
    }

    /// Returns a connected client; it reconnects by itself after a restart.
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// Lowers the server's CPU priority, as `settle run` does with its own server, so that settle answers the store in
    /// time.
    ///
    /// # Panics
    /// When the server is not running, or `renice` fails.
    pub fn let_others_first(&self) {
        let id = self
            .own()
            .server
            .as_ref()
            .expect("a running Temporal server")
            .id()
            .to_string();
        let done = std::process::Command::new("renice")
            .args(["-n", "10", "-p", &id])
            .output();
        assert!(
            done.is_ok_and(|output| output.status.success()),
            "renice works"
        );
    }

    /// Kills the server (SIGKILL); all requests to it fail from now on.
    pub fn kill9(&mut self) {
        drop(self.own_mut().server.take());
    }

    /// Suspends the server until [`Self::thaw`]: it accepts connections but answers nothing.
    ///
    /// # Panics
    /// When the server is not running.
    pub fn freeze(&self) {
        self.own()
            .server
            .as_ref()
            .expect("a running server")
            .signal("STOP");
    }

    /// Resumes the server after [`Self::freeze`].
    ///
    /// # Panics
    /// When the server is not running.
    pub fn thaw(&self) {
        self.own()
            .server
            .as_ref()
            .expect("a running server")
            .signal("CONT");
    }

    /// Restarts the server on the same port and file; kills it first if it is still running.
    ///
    /// # Panics
    /// When the server does not answer in time.
    pub async fn restart(&mut self) {
        self.kill9();
        let port = self.port;
        let own = self.own_mut();
        let mut server = spawn(
            own.folder.path(),
            [port, own.metrics_port],
            own.memory,
            &own.settings,
        );
        let client = ready(&mut server, port, own.folder.path()).await;
        own.server = Some(server);
        self.client = client;
    }

    /// Removes the file of a killed server, so that it starts empty.
    ///
    /// # Panics
    /// When the server is still running or the file cannot be removed.
    pub fn delete_file(&self) {
        assert!(
            self.own().server.is_none(),
            "the server still runs: kill9() comes first"
        );
        let file = database(self.own().folder.path());
        for suffix in ["", "-wal", "-shm"] {
            let file = PathBuf::from(format!("{}{suffix}", file.display()));
            if file.exists() {
                std::fs::remove_file(file).expect("the server's file is removed");
            }
        }
    }

    /// Returns the file of a server with [`Memory::File`].
    pub fn file(&self) -> PathBuf {
        database(self.own().folder.path())
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(log(self.own().folder.path())).unwrap_or_default()
    }
}

impl Shared {
    /// Returns the newest shared server if it has room for one more test, else a new one.
    async fn place() -> Arc<Self> {
        static NEWEST: Mutex<Option<(Arc<Shared>, usize)>> = Mutex::const_new(None);
        let mut newest = NEWEST.lock().await;
        if let Some((shared, tests)) = newest.as_mut().filter(|(_, tests)| *tests < SHARED_BY) {
            *tests += 1;
            return shared.clone();
        }
        let (folder, port) = (Folder::of_process("temporal"), ports::free());
        let mut server = spawn(&folder, [port, ports::free()], Memory::Volatile, &[]);
        drop(ready(&mut server, port, &folder).await);
        let shared = Arc::new(Self {
            port,
            _server: server,
        });
        *newest = Some((shared.clone(), 1));
        shared
    }
}

fn database(folder: &Path) -> PathBuf {
    folder.join("temporal.sqlite")
}

fn log(folder: &Path) -> PathBuf {
    folder.join("temporal.log")
}

fn spawn(
    folder: &Path,
    [port, metrics_port]: [u16; 2],
    memory: Memory,
    settings: &[String],
) -> Watched {
    let output = File::options()
        .create(true)
        .append(true)
        .open(log(folder))
        .expect("the server's log");
    let mut command = Command::new(cli());
    command.args([
        "server",
        "start-dev",
        "--headless",
        "--log-level",
        "warn",
        "--port",
        &port.to_string(),
    ]);
    // Otherwise the server uses a fixed port for its metrics.
    command.args(["--metrics-port", &metrics_port.to_string()]);
    command.args([
        "--dynamic-config-value",
        "frontend.WorkflowTimeSkippingEnabled=true",
    ]);
    for setting in settings {
        command.args(["--dynamic-config-value", setting]);
    }
    if memory == Memory::File {
        command.arg("--db-filename").arg(database(folder));
        command.args([
            "--sqlite-pragma",
            "journal_mode=WAL",
            "--sqlite-pragma",
            "synchronous=NORMAL",
        ]);
    }
    let errors = output.try_clone().expect("the server's log");
    command.stdin(Stdio::null()).stdout(output).stderr(errors);
    Watched::spawn(&mut command).expect("the Temporal server starts")
}

/// Waits until the server answers GetSystemInfo, which the client calls when it connects.
async fn ready(server: &mut Watched, port: u16, folder: &Path) -> Client {
    wait::until(READY, "the Temporal server", async || {
        if let Some(status) = server.exit_status() {
            let log_text = std::fs::read_to_string(log(folder)).unwrap_or_default();
            panic!("the Temporal server ended with {status}: {log_text}");
        }
        connect(port, DEFAULT).await
    })
    .await
}

async fn connect(port: u16, namespace: &str) -> Result<Client, String> {
    let url: temporalio_client::Url = format!("http://127.0.0.1:{port}").parse().expect("a URL");
    let options = ConnectionOptions::new(url)
        .identity("system-tests".to_owned())
        .build();
    let connected = tokio::time::timeout(ANSWER, Connection::connect(options)).await;
    let connection = connected
        .map_err(|_| "it accepts and does not answer".to_owned())?
        .map_err(|error| error.to_string())?;
    Client::new(connection, ClientOptions::new(namespace).build())
        .map_err(|error| error.to_string())
}

/// Registers a namespace, and waits until all services of the server know it.
async fn register(client: &Client, namespace: &str) {
    let mut service = client.connection().workflow_service();
    let request = RegisterNamespaceRequest {
        namespace: namespace.to_owned(),
        workflow_execution_retention_period: RETENTION.try_into().ok(),
        ..Default::default()
    };
    service
        .register_namespace(request.into_request())
        .await
        .expect("a namespace of the test's own");
    wait::until(READY, &format!("the namespace {namespace}"), async || {
        let list = ListWorkflowExecutionsRequest {
            namespace: namespace.to_owned(),
            ..Default::default()
        };
        let listed = client
            .connection()
            .workflow_service()
            .list_workflow_executions(list.into_request())
            .await;
        listed
            .map(drop)
            .map_err(|status| status.message().to_owned())
    })
    .await;
}
