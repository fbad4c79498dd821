//! `settle worker`: runs workflows and activities, which `run` uses too.

use super::stop::Stop;
use super::{serve, settings, sockets, sweeping, table};
use activities::engine::Engine;
use activities::http::Http;
use activities::worker::{self, Slots};
use activities::{
    DeliverySlots, InFlight, LocalAttempts, RaisedAlarms, RefusedLanes, Verifier, Volume,
};
use anyhow::Context;
use api::clock;
use api::config::{self, Config, Database, environment};
use api::counting;
use api::listener::Listener;
use api::metrics::{self, Metrics};
use api::resources::health;
use api::telemetry;
use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use protocols::stores::{Simulated, Stores};
use secrecy::ExposeSecret;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use storage::Store;
use tokio::net::TcpListener;
use url::Url;

/// Time after a stop at which running tasks are cut off; longer than an attempt at a destination. Temporal assigns the
/// tasks to another worker.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(30);

/// Run a Temporal worker, which settles purchases and delivers events. Needs SETTLE_KEY.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Temporal's TEMPORAL_* variables and profile file configure its address and namespace.
Any number of workers can share a PostgreSQL database. SQLite allows only one process: use `settle run`.
On PostgreSQL run `settle migrate` first.

Example:
  SETTLE_KEY=… settle worker --database postgres://settle@db.internal/settle
Next: the Temporal UI lists the workers under the task queues `settle` and `settle-deliver`.")]
pub struct Options {
    /// Address that serves `/metrics` and `/livez` of this worker [default: none].
    #[arg(long, value_name = "ADDR", value_parser = settings::address)]
    metrics: Option<SocketAddr>,
    #[command(flatten)]
    settings: settings::Options,
}

/// Runs workflows and activities until the process is stopped.
pub async fn worker(options: Options) -> anyhow::Result<ExitCode> {
    let variables = environment();
    telemetry::start(&variables).map_err(anyhow::Error::msg)?;
    let config = config::load(&options.settings.flags(), &variables)?;
    if matches!(config.database, Database::Sqlite(_)) {
        tracing::warn!(
            "this worker has its SQLite file to itself: no `settle serve` can use it at the same time"
        );
    }
    settings::make_room(&config)?;
    let store = settings::open(&config).await?;
    let stop = Stop::on_signals()?;
    if let Some(address) = options.metrics {
        show_metrics(sockets::bind("--metrics", address)?, stop.clone());
    }
    let sign = serve::sign_of_life("worker", &store).await;
    let engine = serve::connect(&serve::identity("worker"), &store)?;
    sweeping::watch(store.clone(), engine.clone());
    counting::watch(store.clone(), sign.clone());
    announce(&engine, place(&config.database));
    work(
        WorkerParts {
            config: &config,
            store: store.clone(),
            engine,
            simulated: Vec::new(),
        },
        stop,
    )
    .await?;
    counting::finish(&store, &sign).await;
    Ok(ExitCode::SUCCESS)
}

/// Prints which database and Temporal the worker uses and, once it is connected, that it is running.
fn announce(engine: &Engine, database: String) {
    let (address, namespace) = (engine.address(), engine.namespace().to_owned());
    let temporal = format!("Temporal at {address} (namespace {namespace})");
    table::line(&format!(
        "The worker connects to {temporal} (Ctrl-C to stop)"
    ));
    let engine = engine.clone();
    tokio::spawn(async move {
        if engine.client().await.is_some() {
            table::line(&format!("The worker is running: {temporal}, {database}"));
        }
    });
}

/// Returns the database's address, without user, password and parameters.
fn place(database: &Database) -> String {
    match database {
        Database::Sqlite(path) => format!("SQLite file {}", path.display()),
        Database::Postgres(url) => {
            let named = Url::parse(url.expose_secret()).ok().and_then(|url| {
                let host = url.host_str().filter(|host| !host.is_empty())?;
                let port = url.port().unwrap_or(5432);
                Some(format!("PostgreSQL at {host}:{port}{}", url.path()))
            });
            named.unwrap_or_else(|| "PostgreSQL".to_owned())
        }
    }
}

/// Serves the metrics of this process until `stop`. A failure does not stop the worker.
fn show_metrics(socket: TcpListener, stop: Stop) {
    let metrics = Metrics::install();
    let router = Router::new().route("/livez", get(health::live)).route(
        "/metrics",
        get(async move || ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], metrics.render())),
    );
    let listener = Listener {
        name: "metrics",
        socket,
        limits: sockets::of_metrics(),
    };
    tokio::spawn(listener.serve(router, stop.requested()));
}

/// What [`work`] and [`context`] need.
pub struct WorkerParts<'a> {
    /// Settings of the process.
    pub config: &'a Config,
    /// Handle to the database.
    pub store: Store,
    /// Connection to Temporal.
    pub engine: Engine,
    /// Simulated stores of `settle run`.
    pub simulated: Vec<Simulated>,
}

/// Runs the worker until `stop`, then lets running tasks finish, for at most [`SHUTDOWN_TIMEOUT`].
pub async fn work(parts: WorkerParts<'_>, stop: Stop) -> anyhow::Result<()> {
    let context = context(parts);
    let runtime = tokio::runtime::Handle::current();
    let stopping = stop.clone();
    let too_long = async {
        stopping.requested().await;
        tokio::time::sleep(SHUTDOWN_TIMEOUT).await;
    };
    let (sender, receiver) = tokio::sync::oneshot::channel();
    // The SDK runs all workflows on the calling thread, which must not belong to the runtime.
    let thread = std::thread::Builder::new().name("settle-worker".to_owned());
    let thread = thread.spawn(move || {
        let result = worker::run(&runtime, context, Slots::default(), stop.requested());
        // Without a receiver, the process is already ending.
        let _ = sender.send(result);
    });
    thread.context("cannot start a thread for the worker")?;
    let result = tokio::select! {
        result = receiver => result.context("the worker crashed")?,
        () = too_long => {
            tracing::warn!(seconds = SHUTDOWN_TIMEOUT.as_secs(), "tasks were cut off: they took too long to end");
            return Ok(());
        }
    };
    match result {
        Err(worker::Error::Taken(taken)) => Err(taken.into()),
        result => result.context("the worker cannot run"),
    }
}

/// Returns everything that activities depend on.
pub fn context(parts: WorkerParts<'_>) -> activities::Context {
    let WorkerParts {
        config,
        store,
        engine,
        simulated,
    } = parts;
    let allowed = serve::allowed(config);
    activities::Context {
        store,
        http: Http::new(allowed.rules.clone()),
        allowed_addresses: allowed,
        verifier: Arc::new(Verifier::new(stores(config, &simulated))),
        engine,
        clock: clock::now,
        random: fraction,
        retention: config.retention,
        dashboard: config.dashboard().map(Arc::from),
        slots: DeliverySlots::default(),
        in_flight: InFlight::default(),
        local_attempts: LocalAttempts::default(),
        refused: RefusedLanes::default(),
        raised: RaisedAlarms::default(),
        volume: Volume::default(),
        streaks: Arc::default(),
        stopping: Arc::default(),
    }
}

/// Returns the stores with which purchases are verified.
fn stores(config: &Config, simulated: &[Simulated]) -> Stores {
    let all = config.stores.iter().zip(api::stores::names());
    let protocols = all.map(|(store, name)| {
        let simulated = simulated.iter().find(|one| one.store == name);
        store.protocol(simulated.cloned())
    });
    Stores::new(protocols.collect())
}

/// Returns a random number from 0 to 1.
fn fraction() -> f64 {
    f64::from(u32::from_le_bytes(clock::random_bytes())) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::place;
    use api::config::Database;

    #[test]
    fn the_database_is_named_without_what_is_secret() {
        let postgres = |url: &str| place(&Database::Postgres(url.to_owned().into()));
        assert_eq!(
            postgres("postgres://settle:secret@db.internal/settle?sslmode=require"),
            "PostgreSQL at db.internal:5432/settle"
        );
        for url in [
            "postgres://settle:secret@one:5432,two:5432/settle",
            "postgres:///settle?host=/run&password=secret",
            "host=db password=secret",
        ] {
            assert_eq!(postgres(url), "PostgreSQL", "{url}");
        }
        let file = Database::Sqlite("data/settle.sqlite".into());
        assert_eq!(place(&file), "SQLite file data/settle.sqlite");
    }
}
