//! Runs `settle` as its users do: as processes, configured by a settings file and environment variables.

use super::folder::Folder;
use super::postgres::Fsync;
use super::reaper::Watched;
use super::{http, ports, postgres, sns, template, wait};
use serde_json::Value;
use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use storage::Database;

const READY: Duration = Duration::from_secs(180);

/// Variables that settle must not inherit from the shell that runs the tests.
const FOREIGN: &[&str] = &[
    "CARGO",
    "SETTLE_ADMIN_LISTEN",
    "SETTLE_ADMIN_ON_LISTEN",
    "SETTLE_ADMIN_TOKEN",
    "SETTLE_AMAZON_PATIENCE",
    "SETTLE_AMAZON_RVS_PER_SECOND",
    "SETTLE_AMAZON_RVS_URL",
    "SETTLE_AMPLITUDE_ALLOWED_URLS",
    "SETTLE_APPLE_API_URL",
    "SETTLE_APPLE_PATIENCE",
    "SETTLE_APPLE_REQUESTS_PER_SECOND",
    "SETTLE_APPLE_ROOT_CERTIFICATE",
    "SETTLE_CONFIG",
    "SETTLE_CONNECTIONS",
    "SETTLE_CONNECTIONS_PER_ADDRESS",
    "SETTLE_DATA",
    "SETTLE_DATABASE",
    "SETTLE_DESTINATIONS_ALLOWED_NETWORKS",
    "SETTLE_DESTINATIONS_ALLOW_HTTP",
    "SETTLE_DESTINATIONS_DENIED_NETWORKS",
    "SETTLE_GOOGLE_API_URL",
    "SETTLE_GOOGLE_KEYS_URL",
    "SETTLE_GOOGLE_PATIENCE",
    "SETTLE_GOOGLE_REQUESTS_PER_SECOND",
    "SETTLE_KEY",
    "SETTLE_LISTEN",
    "SETTLE_MAIL_FROM",
    "SETTLE_MAIL_URL",
    "SETTLE_PUBLIC_URL",
    "SETTLE_TEMPORAL_CLI",
    "SETTLE_TEST_ADDITIONS",
    "SETTLE_URL",
    "SETTLE_WINDOW",
    "FAILPOINTS",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "TEMPORAL_API_KEY",
    "TEMPORAL_CONFIG_FILE",
    "TEMPORAL_NAMESPACE",
    "TEMPORAL_PROFILE",
];

/// Log filter of every process, unless a test sets another: the default one, plus the sweep's findings, which
/// [`findings`](super::findings) reads.
const LOG: &str = "warn,settle=info,api=info,activities=info,workflows=info,storage=info,traces=info,activities::sweep=debug";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// A SQLite file, with one process: `run`.
    Sqlite,
    /// A database in the tests' PostgreSQL, with two processes: `serve` and `worker`.
    Postgres,
    /// Like [`Self::Postgres`], but the server waits for the disk at each commit.
    SyncedPostgres,
}

/// The settings shared by the processes of one installation.
pub struct Installation {
    program: PathBuf,
    folder: Folder,
    backend: Backend,
    database: String,
    temporal: String,
    namespace: Option<String>,
    port: u16,
    admin_port: u16,
    descriptors: Option<u32>,
    pub token: String,
}

/// A variable for a process, such as `("FAILPOINTS", "record.after_commit=1*return")`.
pub type Variable<'a> = (&'a str, &'a str);

/// Options for recording with `strace`.
pub struct Trace<'a> {
    /// Names of system calls, separated by commas.
    pub calls: &'a str,
    pub file: &'a Path,
}

/// Returns the program under test: a file next to this executable or in the folder above.
///
/// # Panics
/// When the program was not built. Cargo builds it for integration tests only.
pub fn program() -> PathBuf {
    let own = std::env::current_exe().expect("this executable");
    let found = own
        .ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join("settle-under-test"))
        .find(|file| file.is_file());
    found.unwrap_or_else(|| {
        panic!(
            "settle-under-test is not built beside {}: run `cargo build`",
            own.display()
        )
    })
}

impl Installation {
    /// Returns a new installation that trusts the signer's certificate and may deliver to this machine.
    ///
    /// # Panics
    /// When its files or its database cannot be created.
    pub fn new(backend: Backend, temporal: &str, signer: &sns::Sns) -> Self {
        Self::on(None, backend, temporal, signer)
    }

    /// Like [`Self::new`]; `database` is the URL of a database in a test's own PostgreSQL, and may name several hosts.
    ///
    /// # Panics
    /// When its files or its database cannot be created.
    pub fn on(
        database: Option<String>,
        backend: Backend,
        temporal: &str,
        signer: &sns::Sns,
    ) -> Self {
        let folder = Folder::new("settle");
        let certificate = folder.path().join("certificate.pem");
        signer.write_certificate(&certificate);
        write_sample_key(&folder.path().join("data"));
        let (port, admin_port) = (ports::free(), ports::free());
        let token = format!("token-{}", api::clock::random_uuid().simple());
        let hosts = database.is_some();
        let database = database.unwrap_or_else(|| match backend {
            Backend::Sqlite => {
                let file = folder.path().join("settle.sqlite");
                template::sqlite(&file);
                file.display().to_string()
            }
            Backend::Postgres => postgres::migrated(Fsync::Off).expect("a database"),
            Backend::SyncedPostgres => postgres::migrated(Fsync::On).expect("a database"),
        });
        let settings = format!(
            "data = {data:?}\ndatabase = {database:?}\nkey = {key:?}\nlisten = \"127.0.0.1:{port}\"\n\
             admin_listen = \"127.0.0.1:{admin_port}\"\nadmin_token = {token:?}\n\
             [[amazon.certificates]]\nurl = {url:?}\nfile = {certificate:?}\n\
             [destinations]\nallowed_networks = [\"127.0.0.0/8\"]\nallow_http = true\n",
            data = folder.path().join("data"),
            key = "07".repeat(32),
            url = signer.certificate_url(),
        );
        std::fs::write(folder.path().join("settle.toml"), settings).expect("the settings file");
        Self {
            program: program(),
            folder,
            backend,
            // The tests' own connections need the writable host, which settle finds by itself.
            database: if hosts {
                format!("{database}?target_session_attrs=read-write")
            } else {
                database
            },
            temporal: temporal.to_owned(),
            namespace: None,
            port,
            admin_port,
            descriptors: None,
            token,
        }
    }

    /// Returns this installation in a Temporal namespace other than the default.
    #[must_use]
    pub fn in_namespace(self, namespace: &str) -> Self {
        Self {
            namespace: Some(namespace.to_owned()),
            ..self
        }
    }

    /// Returns this installation with this limit on the processes' file descriptors, if any.
    #[must_use]
    pub fn with_descriptors(self, number: Option<u32>) -> Self {
        Self {
            descriptors: number,
            ..self
        }
    }

    /// Returns this installation with one address for both APIs.
    ///
    /// # Panics
    /// When its settings cannot be changed.
    #[must_use]
    pub fn with_one_address(self) -> Self {
        let file = self.folder.path().join("settle.toml");
        let settings = std::fs::read_to_string(&file).expect("the settings file");
        let own = format!("admin_listen = \"127.0.0.1:{}\"", self.admin_port);
        std::fs::write(&file, settings.replace(&own, "admin_on_listen = true"))
            .expect("the settings file");
        Self {
            admin_port: self.port,
            ..self
        }
    }

    /// Returns this installation with another program's processes and tables, such as an earlier build's, if one is
    /// given.
    ///
    /// # Panics
    /// When that program does not create its tables.
    #[must_use]
    pub fn with_program(mut self, program: Option<PathBuf>) -> Self {
        let Some(program) = program else { return self };
        self.program = program;
        let fresh = match self.backend {
            Backend::Sqlite => {
                std::fs::remove_file(&self.database).expect("the SQLite file");
                return self;
            }
            Backend::Postgres => postgres::empty(Fsync::Off),
            Backend::SyncedPostgres => postgres::empty(Fsync::On),
        };
        let (file, fresh) = (
            self.folder.path().join("settle.toml"),
            fresh.expect("a database"),
        );
        let settings = std::fs::read_to_string(&file).expect("the settings file");
        std::fs::write(&file, settings.replace(&self.database, &fresh)).expect("the settings file");
        self.database = fresh;
        let migrated = self.call(&["migrate"]);
        assert!(
            migrated.status.success(),
            "{}",
            String::from_utf8_lossy(&migrated.stderr)
        );
        self
    }

    /// Starts processes of this program from now on.
    pub fn set_program(&mut self, program: PathBuf) {
        self.program = program;
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub const fn backend(&self) -> Backend {
        self.backend
    }

    pub fn database(&self) -> &str {
        &self.database
    }

    /// Returns the installation's database, for a test's own connection.
    pub fn stored_in(&self) -> Database {
        match self.backend {
            Backend::Sqlite => Database::Sqlite(PathBuf::from(&self.database)),
            Backend::Postgres | Backend::SyncedPostgres => {
                Database::Postgres(self.database.clone())
            }
        }
    }

    /// Returns the URL of the API of the first `run` or `serve` process.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.admin_port)
    }

    /// Returns the URL for stores and devices of the first `run` or `serve` process.
    pub fn public_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Returns the output of all processes so far, including killed ones.
    pub fn logs(&self) -> String {
        let entries = std::fs::read_dir(self.folder())
            .into_iter()
            .flatten()
            .filter_map(Result::ok);
        let logs = entries
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|end| end == "log"));
        logs.map(|path| std::fs::read_to_string(path).unwrap_or_default())
            .collect()
    }

    /// Returns a client of the first `run` or `serve` process.
    pub fn api(&self) -> http::Api {
        http::Api::new(&self.url(), &self.token)
    }

    /// Starts `run`, `serve` or `worker`, with optional flags.
    ///
    /// # Panics
    /// When the process does not start.
    pub fn start(&self, arguments: &[&str], variables: &[Variable<'_>]) -> Process {
        self.start_command(self.command(arguments, variables), arguments)
    }

    /// Like [`Self::start`], under `strace`.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_traced(
        &self,
        arguments: &[&str],
        variables: &[Variable<'_>],
        trace: &Trace<'_>,
    ) -> Process {
        let plain = self.command(arguments, variables);
        let mut traced = Command::new("strace");
        // -D: the started process itself becomes settle, so that killing it kills settle.
        traced
            .args([
                "-D",
                "-f",
                "-s",
                "64",
                "-e",
                &format!("trace={}", trace.calls),
                "-o",
            ])
            .arg(trace.file);
        traced
            .arg(plain.get_program())
            .args(plain.get_args())
            .current_dir(self.folder());
        for (name, value) in plain.get_envs() {
            match value {
                Some(value) => traced.env(name, value),
                None => traced.env_remove(name),
            };
        }
        self.start_command(traced, arguments)
    }

    fn start_command(&self, mut command: Command, arguments: &[&str]) -> Process {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = arguments.first().copied().unwrap_or("run");
        let log = self.folder().join(format!(
            "{name}-{}.log",
            NUMBER.fetch_add(1, Ordering::Relaxed)
        ));
        let output = File::create(&log).expect("a log");
        command
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("the log"))
            .stderr(output);
        Process {
            name: name.to_owned(),
            watched: Watched::spawn(&mut command).expect("settle starts"),
            log,
            url: self.url(),
            public_url: self.public_url(),
        }
    }

    /// Starts another `serve` process, on free ports.
    pub fn serve_beside(&self, variables: &[Variable<'_>]) -> Process {
        self.serve_at(
            [(); 2].map(|()| format!("127.0.0.1:{}", ports::free())),
            variables,
        )
    }

    /// Starts another `serve` process at these addresses: the one for stores and devices, and the API's.
    pub fn serve_at(&self, [public, admin]: [String; 2], variables: &[Variable<'_>]) -> Process {
        let mut process = self.start(
            &["serve", "--listen", &public, "--admin-listen", &admin],
            variables,
        );
        (process.url, process.public_url) = (format!("http://{admin}"), format!("http://{public}"));
        process
    }

    /// Runs a command to its end, such as `["purchase", "list", "--json"]`.
    ///
    /// # Panics
    /// When it does not start.
    pub fn call(&self, arguments: &[&str]) -> Output {
        self.call_with(arguments, &[])
    }

    /// Like [`Self::call`], with more variables.
    ///
    /// # Panics
    /// When the command does not start.
    pub fn call_with(&self, arguments: &[&str], variables: &[Variable<'_>]) -> Output {
        self.command(arguments, variables)
            .stdin(Stdio::null())
            .output()
            .expect("settle starts")
    }

    fn command(&self, arguments: &[&str], variables: &[Variable<'_>]) -> Command {
        let mut command = match self.descriptors {
            None => Command::new(&self.program),
            Some(number) => {
                let mut shell = Command::new("sh");
                shell
                    .args(["-c", &format!("ulimit -n {number} && exec \"$0\" \"$@\"")])
                    .arg(&self.program);
                shell
            }
        };
        for name in FOREIGN {
            command.env_remove(name);
        }
        command
            .args(arguments)
            .current_dir(self.folder())
            .env("TEMPORAL_ADDRESS", &self.temporal);
        command.envs(
            self.namespace
                .iter()
                .map(|namespace| ("TEMPORAL_NAMESPACE", namespace)),
        );
        command
            .env("SETTLE_CONFIG", self.folder().join("settle.toml"))
            .env("SETTLE_LOG", LOG);
        command
            .env("SETTLE_URL", self.url())
            .env("SETTLE_ADMIN_TOKEN", &self.token);
        // Tests must not depend on the free disk space of the machine.
        command.env("SETTLE_DEVICES_DISK_RESERVE", "off");
        command.envs(variables.iter().copied());
        command
    }
}

/// Gives `settle run` a signing key for samples that this test process shares: creating one takes a second.
fn write_sample_key(data: &Path) {
    let signer = sns::Sns::of_samples();
    std::fs::create_dir(data).expect("the data folder");
    std::fs::set_permissions(data, PermissionsExt::from_mode(0o700))
        .expect("the mode of the data folder");
    signer.write_certificate(&data.join("sample-certificate.pem"));
    signer.write_key(&data.join("sample-key.pem"));
}

/// A running `settle`; killed when dropped.
pub struct Process {
    name: String,
    watched: Watched,
    log: PathBuf,
    url: String,
    public_url: String,
}

impl Process {
    pub fn id(&self) -> u32 {
        self.watched.id()
    }

    /// Returns the URL of the process's API; meaningless for a `worker`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the process's URL for stores and devices; meaningless for a `worker`.
    pub fn public_url(&self) -> &str {
        &self.public_url
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until `GET /readyz` answers 200.
    ///
    /// # Panics
    /// When the process ends or does not answer in time; the message contains its output.
    pub async fn wait_ready(&mut self) {
        self.wait_health("200", |status, _| status == 200).await;
    }

    /// Waits until the process is ready and connected to Temporal.
    ///
    /// # Panics
    /// When the process ends or does not answer in time; the message contains its output.
    pub async fn wait_connected(&mut self) {
        self.wait_health("a connection to Temporal", |status, body| {
            status == 200 && body["temporal"] == "connected"
        })
        .await;
    }

    async fn wait_health(&mut self, what: &str, enough: impl Fn(u16, &Value) -> bool) {
        let api = http::Api::new(&self.url, "");
        wait::until(READY, &format!("{what} of {}", self.name), async || {
            if let Some(status) = self.exit_status() {
                panic!("settle {} ended with {status}:\n{}", self.name, self.log());
            }
            let answer = api.try_get("/readyz").await?;
            if enough(answer.status, &answer.body) {
                Ok(())
            } else {
                Err(format!("{answer:?}\n{}", self.log()))
            }
        })
        .await;
    }

    /// Returns the process's exit status; `None` while it runs.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.watched.exit_status()
    }

    /// Waits until the process ends by itself: at a fail point, or after [`Self::terminate`].
    ///
    /// # Panics
    /// When it does not end in time.
    pub async fn wait_end(&mut self) -> ExitStatus {
        wait::until(
            READY,
            &format!("the end of settle {}", self.name),
            async || {
                self.exit_status()
                    .ok_or_else(|| format!("it runs:\n{}", self.log()))
            },
        )
        .await
    }

    /// Kills the process (SIGKILL) and waits until it is gone.
    pub fn kill9(&mut self) {
        self.watched.kill();
    }

    pub fn terminate(&self) {
        self.watched.signal("TERM");
    }

    pub fn freeze(&self) {
        self.watched.signal("STOP");
    }

    /// Resumes the process after [`Self::freeze`] (SIGCONT).
    pub fn thaw(&self) {
        self.watched.signal("CONT");
    }
}

impl Drop for Process {
    /// If the test fails, prints the process's output and whether it ended by itself.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let end = self.exit_status().map_or_else(String::new, |status| {
                format!(", which ended with {status},")
            });
            eprintln!(
                "--- settle {} (process {}{end}) printed:\n{}",
                self.name,
                self.id(),
                self.log()
            );
        }
    }
}
