//! `settle serve`: the HTTP edge and the dispatcher, which `run` uses too.

use super::stop::Stop;
use super::{settings, sweeping, table};
use crate::clock;
use crate::config::{self, Config, environment};
use crate::devices::Devices;
use crate::dispatch::{Dispatch, Engine, EngineError};
use crate::edge::{Edge, Sender};
use crate::keys::{Keys, Refusals};
use crate::metrics::Metrics;
use crate::stores::amazon::{self, Amazon};
use crate::{auditing, router, telemetry};
use activities::engine;
use activities::http::Http;
use anyhow::{Context, bail};
use domain::{CollapseKey, DestinationId, PlatformId};
use futures::FutureExt;
use futures::future::BoxFuture;
use protocols::destinations::Allowed;
use protocols::http::Rules;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use storage::Store;
use tokio::net::TcpListener;
use workflows::purchase::status::RunStatus;
use workflows::signal::{DestinationSignal, Signal};

/// After a stop, running requests are cut off after this time.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);

/// Serve HTTP (notifications of stores, the admin API) and signal Temporal. Needs SETTLE_KEY and SETTLE_ADMIN_TOKEN.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Temporal's address is taken from its own TEMPORAL_* variables and profile file; settle accepts notifications without it.

Example:
  SETTLE_KEY=… SETTLE_ADMIN_TOKEN=… SETTLE_PUBLIC_URL=https://settle.example.com \\
    settle serve --listen 0.0.0.0:8080 --database postgres://settle@db.internal/settle
Next: `settle worker` with the same settings, then `settle app create NAME`. On one machine `settle run` is both.")]
pub struct Options {
    /// Address to listen on [default: 127.0.0.1:8080].
    #[arg(long, value_name = "ADDR", value_parser = settings::address)]
    listen: Option<SocketAddr>,
    /// What holds the quiet window of a purchase in Temporal: `timer` or `start-delay` [default: timer].
    #[arg(long, value_name = "KIND")]
    engine_window: Option<String>,
    #[command(flatten)]
    settings: settings::Options,
}

/// Serves until the process is stopped.
pub async fn serve(options: Options) -> anyhow::Result<ExitCode> {
    let flags = config::Flags {
        listen: options.listen.map(|listen| listen.to_string()),
        engine_window: options.engine_window,
        ..options.settings.flags()
    };
    let variables = environment();
    telemetry::start(&variables).map_err(anyhow::Error::msg)?;
    let config = config::load(&flags, &variables)?;
    settings::make_room(&config)?;
    let store = settings::open(&config).await?;
    let listener = bind(config.http.listen).await?;
    let stop = Stop::on_signals()?;
    let engine = with_window(connect(&identity("serve"), &store)?, &config);
    let edge = edge(&config, store, engine.clone())?;
    table::line(&format!("settle serves http://{} (Ctrl-C ends)", listener.local_addr()?));
    tokio::select! {
        served = http(listener, edge, stop) => served?,
        taken = engine.taken_at_start() => return Err(taken.into()),
    }
    Ok(ExitCode::SUCCESS)
}

/// Binds a listener. The error names the reason and what to do.
pub async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => {
            anyhow::anyhow!("{address} is in use by another program: name another one with --listen")
        }
        ErrorKind::AddrNotAvailable => anyhow::anyhow!("{address} is not an address of this machine: see --listen"),
        ErrorKind::PermissionDenied => {
            anyhow::anyhow!("{address} may not be used by this user: name a port above 1023 with --listen")
        }
        _ => anyhow::Error::new(error).context(format!("{address} cannot be listened on")),
    })
}

/// The identity of this process in Temporal's UI.
pub fn identity(command: &str) -> String {
    format!("settle {command} {}", std::process::id())
}

/// Starts the connection to the Temporal server that the `TEMPORAL_*` variables name.
pub fn connect(identity: &str, store: &Store) -> anyhow::Result<engine::Engine> {
    let address = environment().remove("TEMPORAL_ADDRESS").filter(|address| !address.is_empty());
    engine::Engine::start(identity, store.installation().org_id).map_err(|why| match address {
        Some(address) => anyhow::anyhow!(
            "TEMPORAL_ADDRESS is `{address}`: expected HOST:PORT of a Temporal server, such as 127.0.0.1:7233 ({why})"
        ),
        None => anyhow::anyhow!(why),
    })
}

/// The connection, with the configured quiet window.
pub fn with_window(engine: engine::Engine, config: &Config) -> engine::Engine {
    engine.with_quiet_window(config.engine_window, clock::now)
}

/// Creates the state of the HTTP edge, and starts the dispatcher, the background audit and the watch over sweeps.
pub fn edge(config: &Config, store: Store, engine: engine::Engine) -> anyhow::Result<Arc<Edge>> {
    let Some(admin_token) = config.http.admin_token.clone() else {
        bail!("no admin token: set SETTLE_ADMIN_TOKEN to a long random text (`openssl rand -hex 32` makes one)");
    };
    let settings = amazon::Settings {
        certificates: config.amazon.certificates.iter().map(|known| (known.url.clone(), known.file.clone())).collect(),
        auto_confirm_accounts: config.amazon.auto_confirm_accounts.clone(),
        clock: clock::now,
    };
    let metrics = Metrics::install();
    auditing::watch(store.clone(), &metrics);
    sweeping::watch(store.clone(), engine.clone());
    Ok(Arc::new(Edge {
        waking: Default::default(),
        dispatch: Dispatch::start(Arc::new(engine), store.clone()),
        store,
        amazon: Arc::new(Amazon::new(settings).context("the settings of the store")?),
        devices: Devices::new(&config.devices),
        allowed: allowed(config),
        send: sender(config),
        admin_token,
        keys: Keys::new(Refusals::default()),
        public_url: config.http.public_url.clone(),
        default_window: config.window,
        metrics,
        clock: clock::now,
        random: clock::random_bytes,
    }))
}

/// The networks, schemes and origins that the settings allow for destinations.
pub fn allowed(config: &Config) -> Allowed {
    Allowed {
        rules: Rules {
            allowed_networks: config.destinations.allowed_networks.clone(),
            allow_http: config.destinations.allow_http,
        },
        origins: config.amplitude_urls.clone(),
    }
}

/// The HTTP client for destinations. It refuses a forbidden address.
pub fn sender(config: &Config) -> Sender {
    let http = Http::new(allowed(config).rules);
    Arc::new(move |request| {
        let http = http.clone();
        async move { http.send(request).await }.boxed()
    })
}

/// Answers requests until `stop`, then finishes the running ones.
pub async fn http(listener: TcpListener, edge: Arc<Edge>, stop: Stop) -> anyhow::Result<()> {
    let router = router::router(edge).into_make_service_with_connect_info::<SocketAddr>();
    let serving = axum::serve(listener, router).with_graceful_shutdown(stop.clone().requested());
    let too_long = async {
        stop.requested().await;
        tokio::time::sleep(SHUTDOWN_TIMEOUT).await;
    };
    tokio::select! {
        served = serving.into_future() => served.context("HTTP cannot be served any more"),
        () = too_long => {
            tracing::warn!(seconds = SHUTDOWN_TIMEOUT.as_secs(), "requests were cut off: they took too long to end");
            Ok(())
        }
    }
}

impl Engine for engine::Engine {
    fn signal(&self, key: CollapseKey, signal: Signal) -> BoxFuture<'_, Result<(), EngineError>> {
        async move { Self::signal(self, key, signal).await.map_err(translated) }.boxed()
    }

    fn status(&self, key: CollapseKey) -> BoxFuture<'_, Result<RunStatus, EngineError>> {
        async move { Self::status(self, key).await.map_err(translated) }.boxed()
    }

    fn signal_destination(
        &self,
        id: DestinationId,
        signal: DestinationSignal,
    ) -> BoxFuture<'_, Result<(), EngineError>> {
        async move { Self::destination(self, id, signal).await.map_err(translated) }.boxed()
    }

    fn supervise(&self, id: DestinationId) -> BoxFuture<'_, Result<(), EngineError>> {
        // Returns at once: a task of the engine repeats the call until Temporal takes it.
        Self::supervise(self, id);
        async { Ok(()) }.boxed()
    }

    fn stream(&self, id: DestinationId) {
        Self::stream(self, id);
    }

    fn verify_claims(&self, id: PlatformId) {
        Self::verify_claims(self, id);
    }

    fn is_connected(&self) -> bool {
        Self::connected(self)
    }
}

fn translated(error: engine::TemporalError) -> EngineError {
    match error {
        engine::TemporalError::Unavailable(reason) => EngineError::Unavailable(reason),
        engine::TemporalError::Rejected(reason) => EngineError::Rejected(reason),
    }
}
