//! `settle run`: everything in one process (SQLite, the API, the worker and a demo app), with Temporal's dev server as
//! a child process.
//!
//! On a new machine, a failure prints one line with the next step. The inbox opens first and waits for nothing else:
//! notifications are accepted while Temporal is downloaded, starts or fails.

pub mod demo;
mod dev_server;
mod temporal;
mod welcome;

use super::sockets::{Addresses, Sockets};
use super::stop::Stop;
use super::{client, data, serve, settings, table, worker};
use activities::Actions;
use activities::engine::{DevServer, Engine, namespace_of};
use anyhow::Context;
use api::clock;
use api::config::{Config, Flags, Variables, environment};
use api::edge::pages::Pages;
use api::router::Dashboard;
use api::signs::SignOfLife;
use api::{config, counting, telemetry};
use demo::{Demo, Running};
use domain::time::millis;
use futures::FutureExt;
use secrecy::ExposeSecret;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use storage::Store;
use temporal::{Server, Temporal};
use welcome::Welcome;
use worker::WorkerParts;

/// Time without a response from Temporal after which a warning is logged. Notifications are accepted meanwhile.
const WARN_AFTER: Duration = Duration::from_secs(60);

/// Start everything: a Temporal dev server, an SQLite database, the API and the worker, with a demo app.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Everything is stored in the data directory; the next start continues from there. settle finds or fetches Temporal's dev
server; with TEMPORAL_ADDRESS it uses that server instead.

Example:
  settle run --window 5s --data ./settle-data
Next: in another terminal, `settle sample` sends a signed notification to the demo app, `settle sample --store NAME` one
to the demo's platform of another store, `settle sample --app NAME` to your own app. Ctrl-C stops everything.")]
pub struct Options {
    #[command(flatten)]
    place: settings::PathFlags,
    /// Address for stores and devices [default: 127.0.0.1:8080].
    #[arg(long, value_name = "ADDR", value_parser = settings::address)]
    listen: Option<SocketAddr>,
    /// Address for the whole API [default: 127.0.0.1, the port after that of --listen].
    #[arg(long, value_name = "ADDR", value_parser = settings::address)]
    admin_listen: Option<SocketAddr>,
    /// How long a purchase of the demo must be quiet before it is settled, 1s to 1h [default: 2m].
    #[arg(long, value_name = "DURATION")]
    window: Option<String>,
    /// Run without the demo's app, simulated stores, receiver and samples. Those of an earlier run stay, but do
    /// nothing.
    #[arg(long)]
    no_demo: bool,
    /// The program `temporal` of the version that settle would download; its checksum is compared.
    #[arg(long, value_name = "FILE")]
    temporal_cli: Option<PathBuf>,
    /// Serve the UI of Temporal's dev server. It has no login and does not check the host of a request: any web page in a
    /// browser on this machine can read and change Temporal's data.
    #[arg(long)]
    temporal_ui: bool,
    /// Print the whole log here, as with SETTLE_LOG, instead of writing it to `settle.log` in the data directory. Warnings
    /// are always printed here.
    #[arg(short, long)]
    verbose: bool,
}

impl Options {
    fn flags(&self) -> Flags {
        Flags {
            listen: self.listen.map(|listen| listen.to_string()),
            admin_listen: self.admin_listen.map(|listen| listen.to_string()),
            window: self.window.clone(),
            temporal_cli: self.temporal_cli.clone(),
            ..self.place.flags()
        }
    }

    /// Returns the first of the set flags that only `run` has.
    pub fn own_flag(&self) -> Option<&'static str> {
        let flags = [
            ("--listen", self.listen.is_some()),
            ("--admin-listen", self.admin_listen.is_some()),
            ("--window", self.window.is_some()),
            ("--no-demo", self.no_demo),
            ("--temporal-cli", self.temporal_cli.is_some()),
            ("--temporal-ui", self.temporal_ui),
            ("--verbose", self.verbose),
        ];
        flags
            .into_iter()
            .find_map(|(name, is_set)| is_set.then_some(name))
    }
}

/// Runs until the process is stopped.
pub async fn run(options: Options, dashboard: &'static Dashboard) -> anyhow::Result<ExitCode> {
    let variables = environment();
    let dev_server = dev_server::is_needed(&variables).then(DevServer::default);
    let (mut config, data) = prepare(&options.flags(), variables.clone())?;
    // A user who sets a filter expects to see the log on the terminal.
    let is_verbose = options.verbose
        || variables
            .get("SETTLE_LOG")
            .is_some_and(|filter| !filter.is_empty());
    let log = Some(data::log_file(&data)).filter(|_| !is_verbose);
    let logging = log.as_ref().map_or_else(
        || telemetry::start(&variables),
        |log| telemetry::start_in(log, &variables),
    );
    logging.map_err(anyhow::Error::msg)?;
    let store = settings::open(&config).await?;
    let sockets = Sockets::bind(&mut config)?;
    record_address(&data, sockets.addresses()?)?;
    let stop = Stop::on_signals()?;
    let mut demo = None;
    if !options.no_demo {
        let wanted = demo::DemoSettings {
            data: &data,
            window: config.window,
            is_window_set: options.window.is_some(),
            is_database_own: matches!(config.database, config::Database::Sqlite(_)),
        };
        let demo = demo.insert(demo::set_up(&store, &wanted).await?);
        config.demo = Some(demo.allowed(&data)?);
    }
    let has_ui = options.temporal_ui;
    let sign = serve::sign_of_life("run", &store).await;
    let runner = Runner {
        config,
        store: store.clone(),
        sign: sign.clone(),
        sockets,
        dashboard,
        demo,
        data,
        log,
        dev_server,
        has_ui,
    };
    let server = runner.run(stop).await?;
    counting::finish(&store, &sign).await;
    if let Some(server) = server {
        tokio::task::spawn_blocking(move || server.stop())
            .await
            .context("the Temporal dev server")?;
    }
    table::line("settle stopped; the next start continues from here.");
    Ok(ExitCode::SUCCESS)
}

/// Returns the settings, completed from the data directory.
fn prepare(flags: &Flags, mut variables: Variables) -> anyhow::Result<(Config, PathBuf)> {
    let loaded = config::load(flags, &variables)?;
    let data = data::own_directory(&loaded.data)?;
    if loaded.key.is_none() {
        variables.insert(
            "SETTLE_KEY".to_owned(),
            data::key(&data)?.expose_secret().to_owned(),
        );
    }
    let token = match &loaded.http.admin_token {
        Some(token) => token.clone(),
        None => data::admin_token(&data)?,
    };
    let flags = Flags {
        data: Some(data.clone()),
        ..flags.clone()
    };
    let mut config = config::load(&flags, &variables)?;
    config.http.admin_token = Some(token);
    Ok((config, data))
}

/// Writes the URL of this process's API into the data directory, so that commands with the same --data find it.
fn record_address(data: &Path, addresses: Addresses) -> anyhow::Result<()> {
    let url = client::listening(addresses.api)?;
    data::write(&data::service_file(data), format!("{url}\n").as_bytes())
}

/// Finds or downloads the dev server, if one is needed, and starts it. Returns `None` if none is needed, or if `stop`
/// comes first.
async fn start_temporal(server: Option<Server>, stop: Stop) -> anyhow::Result<Option<Temporal>> {
    let Some(server) = server else {
        return Ok(None);
    };
    tokio::select! {
        cli = temporal::find(server.data.clone(), server.cli.clone()) => Ok(Some(temporal::start(cli?, server)?)),
        () = stop.requested() => Ok(None),
    }
}

/// Everything that `run` started.
struct Runner {
    config: Config,
    store: Store,
    sign: SignOfLife,
    sockets: Sockets,
    dashboard: &'static Dashboard,
    demo: Option<Demo>,
    data: PathBuf,
    /// The log file; `None` if the log goes to standard error.
    log: Option<PathBuf>,
    dev_server: Option<DevServer>,
    /// Whether the dev server serves its UI.
    has_ui: bool,
}

impl Runner {
    /// Runs until `stop`. Returns the dev server, which is still running.
    async fn run(self, stop: Stop) -> anyhow::Result<Option<Temporal>> {
        let addresses = self.sockets.addresses()?;
        let log = self.log.as_ref().map_or_else(String::new, |log| {
            format!(" The log is in {}.", log.display())
        });
        table::line(&format!(
            "settle accepts notifications at {}; starting Temporal.{log}",
            addresses.text()
        ));
        let identity = serve::identity("run");
        let engine = match &self.dev_server {
            Some(dev_server) => {
                let (installation, actions) = (
                    self.store.installation().org_id,
                    Actions::new(self.store.clone()),
                );
                Engine::start_at(&identity, installation, actions, dev_server.clone())
            }
            None => serve::connect(&identity, &self.store)?,
        };
        let edge = serve::edge(
            &self.config,
            self.store.clone(),
            engine.clone(),
            self.pages(&engine),
            &self.sign,
        )?;
        let (welcome, page) = (self.welcome(addresses), edge.clone());
        let server = self.server();
        let demo = match self.demo {
            Some(demo) => Some(demo.start(self.store.clone()).await?),
            None => None,
        };
        let serving = self.sockets.serve(edge, self.dashboard, stop.clone());
        let serving = serving.map(Ok);
        let parts = WorkerParts {
            config: &self.config,
            store: self.store,
            engine: engine.clone(),
            simulated: demo.as_ref().map(Running::simulated).unwrap_or_default(),
        };
        let working = worker::work(parts, stop.clone());
        let greeting = greet(&engine, stop.clone(), welcome.with_link_of(page));
        let starting = start_temporal(server, stop);
        let result =
            tokio::try_join!(serving, working, greeting, starting).map(|(.., server)| server);
        // The demo's receiver ends last, so that the worker's last deliveries arrive.
        let closed = match demo {
            Some(demo) => demo.end().await,
            None => Ok(()),
        };
        result.and_then(|server| closed.map(|()| server))
    }

    /// Returns the dashboard's pages, with links to the dev server's UI, whose address may become known only later.
    fn pages(&self, engine: &Engine) -> Pages {
        match (&self.dev_server, &self.config.ui.temporal_url) {
            (Some(_), None) if !self.has_ui => Pages::new(&self.config),
            (Some(dev_server), None) => {
                let (dev_server, namespace) = (dev_server.clone(), engine.namespace().to_owned());
                Pages::new(&self.config).with_temporal_ui(move || {
                    let ui = dev_server.addresses()?.ui;
                    Some(format!("http://{ui}/namespaces/{namespace}"))
                })
            }
            _ => serve::pages(&self.config, engine),
        }
    }

    fn welcome(&self, addresses: Addresses) -> Welcome {
        Welcome {
            addresses,
            data: self.data.clone(),
            admin_token: self.config.http.admin_token.clone(),
            window: self.demo.as_ref().and_then(Demo::window),
            dev_server: self.dev_server.clone(),
            has_ui: self.has_ui,
            allows_local: !self.config.destinations.allowed_networks.is_empty(),
            page: None,
        }
    }

    /// Returns how to start the dev server, if one is needed.
    fn server(&self) -> Option<Server> {
        let namespace = namespace_of(self.store.installation().org_id);
        let (data, cli, has_ui) = (
            self.data.clone(),
            self.config.temporal_cli.clone(),
            self.has_ui,
        );
        self.dev_server.clone().map(|dev_server| Server {
            data,
            cli,
            namespace,
            dev_server,
            has_ui,
        })
    }
}

/// Prints the addresses once everything is running.
async fn greet(engine: &Engine, stop: Stop, welcome: Welcome) -> anyhow::Result<()> {
    let began = clock::now();
    let mut has_warned = false;
    while !engine.connected() && !stop.is_requested() {
        if !has_warned && clock::now().millis_since(began) > millis(WARN_AFTER) {
            tracing::warn!(
                address = engine.address(),
                "Temporal does not answer yet; notifications are accepted, and settled once it does"
            );
            has_warned = true;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    if !stop.is_requested() {
        let link = welcome.link().await;
        table::line(&welcome.text(engine, &link));
    }
    Ok(())
}
