//! `settle serve`: the HTTP edge and the dispatcher, which `run` uses too.

use super::sockets::Sockets;
use super::stop::Stop;
use super::{alone, polls, refusals, settings, sweeping, table, worker};
use activities::Actions;
use activities::engine;
use activities::http::Http;
use anyhow::bail;
use api::clock;
use api::config::{self, Config, environment};
use api::devices::{Devices, quota, room};
use api::dispatch::{Dispatch, Engine, EngineError};
use api::edge::pages::Pages;
use api::edge::{Edge, Sender};
use api::figures::Figures;
use api::keyring::{Keys, Refusals};
use api::metrics::Metrics;
use api::router::Dashboard;
use api::signs::SignOfLife;
use api::stores::ingress::Ingresses;
use api::workers::Workers;
use api::{checking, counting, silence, stores, telemetry};
use domain::{CollapseKey, DestinationId, PlatformId};
use futures::FutureExt;
use futures::future::BoxFuture;
use protocols::destinations::Allowed;
use protocols::http::Rules;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use storage::{Process, Store};
use url::Url;
use workflows::failing::FailingActivity;
use workflows::signal::{DestinationSignal, Signal};

/// Serve HTTP (stores, devices, the admin API) and signal Temporal. Needs SETTLE_KEY and SETTLE_ADMIN_TOKEN.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Temporal's TEMPORAL_* variables and profile file configure its address. settle accepts notifications without it.
On PostgreSQL run `settle migrate` first.

Example:
  SETTLE_KEY=… SETTLE_ADMIN_TOKEN=… SETTLE_PUBLIC_URL=https://settle.example.com \\
    settle serve --listen 0.0.0.0:8080 --database postgres://settle@db.internal/settle
--listen is for stores and devices. Everything else is served at --admin-listen, by default only to this machine.
Next: `settle worker` with the same settings, then `settle app create NAME`. `settle run` does both on one machine.")]
pub struct Options {
    /// Address for stores and devices [default: 127.0.0.1:8080].
    #[arg(long, value_name = "ADDR", value_parser = settings::address)]
    listen: Option<SocketAddr>,
    /// Address for the whole API, metrics and health [default: 127.0.0.1, the port after that of --listen].
    #[arg(long, value_name = "ADDR", value_parser = settings::address)]
    admin_listen: Option<SocketAddr>,
    #[command(flatten)]
    settings: settings::Options,
}

/// Serves until the process is stopped.
pub async fn serve(options: Options, dashboard: &'static Dashboard) -> anyhow::Result<ExitCode> {
    let flags = config::Flags {
        listen: options.listen.map(|listen| listen.to_string()),
        admin_listen: options.admin_listen.map(|listen| listen.to_string()),
        ..options.settings.flags()
    };
    let variables = environment();
    telemetry::start(&variables).map_err(anyhow::Error::msg)?;
    let mut config = config::load(&flags, &variables)?;
    settings::make_room(&config)?;
    let store = settings::open(&config).await?;
    let sockets = Sockets::bind(&mut config)?;
    let stop = Stop::on_signals()?;
    let sign = sign_of_life("serve", &store).await;
    let engine = connect(&identity("serve"), &store)?;
    let pages = pages(&config, &engine);
    let edge = edge(&config, store.clone(), engine.clone(), pages, &sign)?;
    table::line(&format!(
        "settle is serving {} (Ctrl-C to stop)",
        sockets.addresses()?.text()
    ));
    tokio::select! {
        () = sockets.serve(edge, dashboard, stop) => {}
        taken = engine.taken_at_start() => return Err(taken.into()),
    }
    counting::finish(&store, &sign).await;
    Ok(ExitCode::SUCCESS)
}

/// Returns the name that identifies this process in Temporal's UI.
pub fn identity(command: &str) -> String {
    format!("settle {command} {}", number_and_host())
}

/// Returns the id of this process and its host name: in containers, every process may have the same id.
fn number_and_host() -> String {
    let host = gethostname::gethostname();
    format!("{}@{}", std::process::id(), host.to_string_lossy())
}

/// Stores the sign of life of this process, which runs `command`.
pub async fn sign_of_life(command: &str, store: &Store) -> SignOfLife {
    let process = Process {
        id: clock::random_uuid(),
        role: command.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        host: number_and_host(),
        stores: stores::names().into_iter().map(str::to_owned).collect(),
    };
    SignOfLife::begin(store.clone(), process).await
}

/// Starts the connection to the Temporal server that the `TEMPORAL_*` variables name.
pub fn connect(identity: &str, store: &Store) -> anyhow::Result<engine::Engine> {
    let address = environment()
        .remove("TEMPORAL_ADDRESS")
        .filter(|address| !address.is_empty());
    let (installation, actions) = (store.installation().org_id, Actions::new(store.clone()));
    engine::Engine::start(identity, installation, actions).map_err(|why| match address {
        Some(address) => anyhow::anyhow!(
            "TEMPORAL_ADDRESS is `{address}`: expected HOST:PORT of a Temporal Server, such as 127.0.0.1:7233 ({why})"
        ),
        None => anyhow::anyhow!(why),
    })
}

/// Returns the dashboard's pages, with links to the configured Temporal UI.
pub fn pages(config: &Config, engine: &engine::Engine) -> Pages {
    let (ui, namespace) = (
        config.ui.temporal_url.clone(),
        engine.namespace().to_owned(),
    );
    let of_namespace = move |url: &Url| format!("{}namespaces/{namespace}", url.as_str());
    Pages::new(config).with_temporal_ui(move || ui.as_ref().map(&of_namespace))
}

/// Creates the state of the HTTP edge, and starts the dispatcher, the background check and the watch over sweeps. Warns
/// about destinations that the settings forbid.
pub fn edge(
    config: &Config,
    store: Store,
    engine: engine::Engine,
    pages: Pages,
    sign: &SignOfLife,
) -> anyhow::Result<Arc<Edge>> {
    let Some(admin_token) = config.http.admin_token.clone() else {
        bail!(
            "no admin token: set SETTLE_ADMIN_TOKEN to a long random text (`openssl rand -hex 32` generates one)"
        );
    };
    let samples = config.demo.as_ref().map(|demo| &demo.samples);
    let ingresses = config.stores.iter();
    let ingresses = ingresses.map(|store| store.ingress(samples));
    let ingresses = Ingresses::new(ingresses.collect::<anyhow::Result<_>>()?);
    let (metrics, figures) = (Metrics::install(), Figures::default());
    figures.watch(store.clone());
    checking::watch(store.clone(), &metrics);
    counting::watch(store.clone(), sign.clone());
    let late = sweeping::watch(store.clone(), engine.clone());
    let workers = Workers::default();
    polls::watch(workers.clone(), store.clone(), engine.clone());
    let parts = worker::WorkerParts {
        config,
        store: store.clone(),
        engine: engine.clone(),
        simulated: Vec::new(),
    };
    alone::watch(worker::context(parts), workers.clone(), late);
    silence::watch(store.clone());
    refusals::warn(store.clone(), allowed(config));
    let devices = Devices::new(&config.devices);
    room::watch(store.clone(), devices.room.clone());
    quota::watch(store.clone(), devices.quotas.clone(), clock::now);
    Ok(Arc::new(Edge {
        waking: Default::default(),
        workers,
        pages,
        dispatch: Dispatch::start(Arc::new(TemporalEngine(engine)), store.clone()),
        store,
        stores: ingresses,
        known: stores::all().collect(),
        devices,
        allowed: allowed(config),
        send: sender(config),
        test_quota: Default::default(),
        admin_token,
        keys: Keys::new(Refusals::default()),
        public_url: config.http.public_url.clone(),
        default_window: config.window,
        metrics,
        figures,
        clock: clock::now,
        random: clock::random_bytes,
    }))
}

/// Returns the networks, schemes and origins that the settings allow for destinations.
pub fn allowed(config: &Config) -> Allowed {
    Allowed {
        rules: Rules {
            allowed_networks: config.destinations.allowed_networks.clone(),
            denied_networks: config.destinations.denied_networks.clone(),
            allow_http: config.destinations.allow_http,
        },
        origins: config.origins.clone(),
        mail: config.mail.clone(),
        exception: config.demo.as_ref().map(|demo| demo.receiver.clone()),
    }
}

/// Returns the function that sends requests to destinations. It refuses forbidden addresses.
pub fn sender(config: &Config) -> Sender {
    let http = Http::new(allowed(config).rules);
    Arc::new(move |request| {
        let http = http.clone();
        async move { http.deliver(request).await }.boxed()
    })
}

/// Sends the HTTP edge's signals to Temporal.
struct TemporalEngine(engine::Engine);

impl Engine for TemporalEngine {
    fn signal(&self, key: CollapseKey, signal: Signal) -> BoxFuture<'_, Result<(), EngineError>> {
        async move { self.0.signal(key, signal).await.map_err(translated) }.boxed()
    }

    fn status(
        &self,
        key: CollapseKey,
    ) -> BoxFuture<'_, Result<Option<serde_json::Value>, EngineError>> {
        async move { self.0.status(key).await.map_err(translated) }.boxed()
    }

    fn failing(
        &self,
        workflow_id: String,
    ) -> BoxFuture<'_, Result<Vec<FailingActivity>, EngineError>> {
        async move { self.0.failing(workflow_id).await.map_err(translated) }.boxed()
    }

    fn signal_destination(
        &self,
        id: DestinationId,
        signal: DestinationSignal,
    ) -> BoxFuture<'_, Result<(), EngineError>> {
        async move { self.0.destination(id, signal).await.map_err(translated) }.boxed()
    }

    fn supervise(&self, id: DestinationId) -> BoxFuture<'_, Result<(), EngineError>> {
        // Returns immediately: a task of the engine repeats the call until Temporal accepts it.
        self.0.supervise(id);
        async { Ok(()) }.boxed()
    }

    fn stream(&self, id: DestinationId) {
        self.0.stream(id);
    }

    fn verify_claims(&self, id: PlatformId) {
        self.0.verify_claims(id);
    }

    fn is_connected(&self) -> bool {
        self.0.connected()
    }
}

fn translated(error: engine::TemporalError) -> EngineError {
    match error {
        engine::TemporalError::Unavailable(reason) => EngineError::Unavailable(reason),
        engine::TemporalError::Exhausted(reason) => EngineError::Exhausted(reason),
        engine::TemporalError::Rejected(reason) => EngineError::Rejected(reason),
    }
}
