//! The demo of `settle run`: an app that is ready to try, with trusted samples and a receiver for its events.
//!
//! It has a platform in each store with a demo. The first run creates them, and every later run reuses them. It needs
//! permissions beyond the settings: for its own destination, a receiver on this machine by plain `http`; for samples,
//! their certificate and the simulated stores.

use crate::data;
use crate::receiver::{self, Receiver, Style};
use crate::stop::Stop;
use crate::table;
use anyhow::Context;
use api::clock;
use api::config;
use api::stores::samples::{DemoStore, KeyPem, SampleKey, SampleSigner, SampleSigning, Simulation};
use api::stores::{self, StoreEntry};
use domain::catalogue::Price;
use domain::time::millis;
use domain::{AppId, Environment};
use ipnet::{IpNet, Ipv4Net};
use protocols::destinations::{Allowed, Exception, Invalid, Kind, Signer, signing};
use protocols::http::Rules;
use protocols::stores::{Mint, Simulated};
use rust_decimal::Decimal;
use secrecy::SecretString;
use serde_json::{Map, Value};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use storage::{
    App, Catalogue, Change, Destination, DestinationChange, DestinationSettings, EntitlementText,
    NewDestination, NewPlatform, Page, Platform, PlatformChange, PlatformSettings, Product, Run,
    Store,
};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use url::Url;

/// The demo's app.
pub const APP: &str = config::Demo::APP;
/// The package name of the demo's app.
pub const PACKAGE_NAME: &str = config::Demo::PACKAGE_NAME;
const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// The certificate of the demo is valid for twenty years, because nothing renews it.
const VALID_MS: i64 = 20 * 365 * DAY_MS;
const NAME: &str = "demo";
const RECEIVER: &str = "built-in receiver";

/// The parts of the demo.
pub struct Demo {
    /// The platforms to which samples are sent, one in each store.
    platforms: Vec<DemoPlatform>,
    /// Signs the samples.
    signer: Box<dyn SampleSigner>,
    /// The receiver's destination, and its URL.
    destination: Exception,
    /// Listening socket of the receiver.
    receiver: TcpListener,
    /// The receiver's signing secret.
    secret: SecretString,
}

/// A platform of the demo.
struct DemoPlatform {
    /// Name of its store.
    store: &'static str,
    /// The store's data for the demo.
    data: &'static DemoStore,
    platform: Platform,
}

/// A running simulated store.
struct RunningStore {
    simulated: Simulated,
    serving: JoinHandle<std::io::Result<()>>,
}

/// The running receiver and simulated stores of the demo.
pub struct Running {
    stores: Vec<RunningStore>,
    receiving: JoinHandle<anyhow::Result<()>>,
    end_receiver: watch::Sender<bool>,
}

impl Demo {
    /// Returns the permissions beyond the settings: samples of this data directory, and a receiver on this machine.
    pub fn allowed(&self, data: &Path) -> anyhow::Result<config::Demo> {
        let certificate_url = self.signer.certificate_url();
        let url = certificate_url.context("the samples' certificate")?;
        let samples = SampleKey {
            url,
            certificate: data::sample_certificate_file(data),
            key: data::sample_key_file(data),
        };
        Ok(config::Demo {
            samples,
            receiver: self.destination.clone(),
        })
    }

    /// Returns the window of the first platform.
    pub fn window(&self) -> Option<Duration> {
        let first = self.platforms.first()?;
        let window_ms = first.platform.settings.window_ms;
        Some(Duration::from_millis(window_ms.unsigned_abs()))
    }

    /// Starts the receiver and the simulated stores.
    pub async fn start(self, database: Store) -> anyhow::Result<Running> {
        let Self {
            platforms,
            signer,
            receiver: socket,
            secret,
            ..
        } = self;
        let (end_receiver, stop) = Stop::by_hand();
        let receiver = Receiver {
            webhook: receiver::webhook(&secret)?,
            style: Style::Line,
            forward: None,
        };
        let receiving =
            tokio::spawn(
                async move { receiver::receive(socket, receiver, stop.requested()).await },
            );
        let mut stores = Vec::new();
        for platform in platforms {
            stores.push(platform.start(database.clone(), signer.mint()?).await?);
        }
        Ok(Running {
            stores,
            receiving,
            end_receiver,
        })
    }
}

impl DemoPlatform {
    /// Starts the simulated store of this platform.
    async fn start(self, database: Store, mint: Mint) -> anyhow::Result<RunningStore> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let listener = listener
            .await
            .context("no free port for the demo's simulated store")?;
        let address = listener
            .local_addr()
            .context("the address of the demo's simulated store")?;
        let url = format!("http://{address}/")
            .parse()
            .context("the address of the demo's simulated store")?;
        let simulated = Simulated {
            store: self.store,
            platform: self.platform.id,
            mint: mint.clone(),
            base: url,
        };
        let routes = (self.data.simulated)(Simulation {
            store: database,
            platform: self.platform.id,
            mint,
        });
        let serving = tokio::spawn(async move { axum::serve(listener, routes).await });
        Ok(RunningStore { simulated, serving })
    }
}

impl Running {
    /// Returns how the worker reaches the simulated stores, and the purchases for which it does.
    pub fn simulated(&self) -> Vec<Simulated> {
        let all = self.stores.iter();
        all.map(|running| running.simulated.clone()).collect()
    }

    /// Ends all. Only the worker uses the simulated stores, so the worker must have ended before.
    pub async fn end(self) -> anyhow::Result<()> {
        for running in &self.stores {
            running.serving.abort();
        }
        drop(self.end_receiver);
        self.receiving.await.context("the demo's receiver")?
    }
}

/// Returns the signer of samples, with the key and certificate from the data directory of `run`.
pub fn signer(signing: &SampleSigning, data: &Path) -> anyhow::Result<Box<dyn SampleSigner>> {
    let read = |path: PathBuf| {
        std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let (key, certificate) = (
        read(data::sample_key_file(data))?,
        read(data::sample_certificate_file(data))?,
    );
    (signing.load)(&key, &certificate)
}

/// Returns the signer of samples. Creates its key and certificate if they are missing.
pub fn load_or_create_signer(
    signing: &SampleSigning,
    data: &Path,
) -> anyhow::Result<Box<dyn SampleSigner>> {
    if !(data::sample_key_file(data).exists() && data::sample_certificate_file(data).exists()) {
        let now = clock::now();
        let signer = (signing.generate)(now.plus_millis(-DAY_MS), now.plus_millis(VALID_MS))?;
        let KeyPem { key, certificate } = signer.pem()?;
        data::write(&data::sample_key_file(data), &key)?;
        data::write(&data::sample_certificate_file(data), &certificate)?;
    }
    signer(signing, data)
}

/// Settings of the demo.
pub struct DemoSettings<'a> {
    /// Data directory, which stores the demo's secrets.
    pub data: &'a Path,
    /// Window of the demo's platforms.
    pub window: Duration,
    /// Whether a flag set the window, so that it replaces the windows of an earlier run.
    pub is_window_set: bool,
    /// Whether no other process can use the database.
    pub is_database_own: bool,
}

/// Finds the demo of an earlier run, or creates it.
pub async fn set_up(store: &Store, wanted: &DemoSettings<'_>) -> anyhow::Result<Demo> {
    let (_, signing) = stores::signing().context("no store has signed samples")?;
    let app = app(store).await.context("the demo app")?;
    let signer = load_or_create_signer(signing, wanted.data)
        .context("the key that samples are signed with")?;
    let platforms = platforms(store, wanted, app.id).await?;
    let (destination, receiver, url) = destination(store, app.id).await?;
    let sealed = store
        .destination_secret(destination.id)
        .await
        .context("the demo destination's secret")?;
    let (_, signer_of_events) = receiver_kind()?;
    let secret = signer_of_events
        .newest_secret(&sealed)
        .context("the demo destination's secret")?;
    let destination = Exception {
        destination: destination.id,
        url,
    };
    Ok(Demo {
        platforms,
        signer,
        destination,
        receiver,
        secret,
    })
}

async fn app(store: &Store) -> Result<App, storage::Error> {
    let mut page = Page::default();
    loop {
        let apps = store.apps(page).await?;
        if let Some(app) = apps.items.into_iter().find(|app| app.name == APP) {
            return Ok(app);
        }
        match apps.next_cursor {
            Some(cursor) => {
                page = Page {
                    cursor: Some(cursor),
                    ..Page::default()
                }
            }
            None => return store.new_app(APP).await,
        }
    }
}

/// A platform of the demo that does not exist yet.
struct NewDemo {
    app: AppId,
    store: &'static str,
    data: &'static DemoStore,
    shared_secret: Option<SecretString>,
}

/// Finds the platforms of an earlier run, and creates those of stores that it did not have. Their products are added
/// before, so that the next run completes what an interrupted one began.
async fn platforms(
    store: &Store,
    wanted: &DemoSettings<'_>,
    app: AppId,
) -> anyhow::Result<Vec<DemoPlatform>> {
    let secret =
        data::simulated_secret(wanted.data).context("the secret of the demo's simulated store")?;
    let known = store.platforms(app, Page::default()).await;
    let known = known.context("the demo platforms")?.items;
    let catalogue = store.catalogue(app).await.context("the demo catalogue")?;
    let is_empty = catalogue == Catalogue::default();
    let mut platforms = Vec::new();
    for (entry, data) in stores::demos() {
        let is_of_demo = |platform: &&Platform| {
            platform.store == entry.name && platform.settings.package_name == PACKAGE_NAME
        };
        let found = known.iter().find(is_of_demo).cloned();
        if found.is_none() && !may_create(store, wanted, entry).await? {
            leave_out(entry, "an older process may use the database too");
            continue;
        }
        if is_empty || found.is_none() {
            let added = add_products(store, app, data).await;
            added.context("the demo catalogue")?;
        }
        let shared_secret = Some(&secret).filter(|_| data.has_secret).cloned();
        let platform = match found {
            Some(platform) => bring_up_to_date(store, platform, wanted, shared_secret).await,
            None => {
                let new = NewDemo {
                    app,
                    store: entry.name,
                    data,
                    shared_secret,
                };
                create(store, wanted, new).await
            }
        };
        let platform = match platform {
            Err(storage::Error::Conflict { detail, .. }) if entry.is_newer_than_signs() => {
                leave_out(entry, &detail);
                continue;
            }
            platform => platform.context("a platform of the demo")?,
        };
        platforms.push(DemoPlatform {
            store: entry.name,
            data,
            platform,
        });
    }
    Ok(platforms)
}

/// Returns whether the demo may create a platform of this store. A process of an earlier release that shares the
/// database may not know the store, and leaves no sign of life.
async fn may_create(
    store: &Store,
    wanted: &DemoSettings<'_>,
    entry: &StoreEntry,
) -> anyhow::Result<bool> {
    if wanted.is_database_own || !entry.is_newer_than_signs() {
        return Ok(true);
    }
    let has_platform = store.has_platform_of(entry.name).await;
    has_platform.context("the demo platforms")
}

fn leave_out(entry: &StoreEntry, why: &str) {
    let title = entry.title;
    table::line(&format!("The demo has no platform of {title} yet: {why}."));
}

async fn create(
    store: &Store,
    wanted: &DemoSettings<'_>,
    new: NewDemo,
) -> Result<Platform, storage::Error> {
    let is_first = stores::demos()
        .next()
        .is_some_and(|(first, _)| first.name == new.store);
    let name = if is_first {
        NAME.to_owned()
    } else {
        format!("{NAME}-{}", new.store)
    };
    let settings = PlatformSettings::new(&name, PACKAGE_NAME, millis(wanted.window));
    let new = NewPlatform {
        app_id: new.app,
        store: new.store.to_owned(),
        // Purchases from the simulated store count as tests.
        settings: PlatformSettings {
            environment: Environment::Sandbox,
            ..settings
        },
        shared_secret: new.shared_secret,
        topic_arn: new.data.topic.map(str::to_owned),
        ingress_key: storage::hex(&clock::random_bytes::<16>()).into(),
        publishable_key: format!("pk_{}", storage::hex(&clock::random_bytes::<16>())),
        of_store: Default::default(),
    };
    store.new_platform(new).await
}

/// Updates an earlier run's platform: its window, its environment and the secret of the simulated store, if it needs
/// one.
async fn bring_up_to_date(
    store: &Store,
    platform: Platform,
    wanted: &DemoSettings<'_>,
    shared_secret: Option<SecretString>,
) -> Result<Platform, storage::Error> {
    let window_ms = wanted.is_window_set.then(|| millis(wanted.window));
    let set = move |settings: &mut PlatformSettings| {
        settings.window_ms = window_ms.unwrap_or(settings.window_ms);
        settings.environment = Environment::Sandbox;
    };
    let mut settings = platform.settings.clone();
    set(&mut settings);
    let secret = shared_secret.filter(|_| !platform.can_verify());
    if settings == platform.settings && secret.is_none() {
        return Ok(platform);
    }
    let change = PlatformChange {
        shared_secret: secret.map(Some),
        ..PlatformChange::default()
    };
    store.update_platform(platform.id, change, set).await
}

/// Adds the products of a simulated store, with their entitlement, to the catalogue, unless it has them.
async fn add_products(store: &Store, app: AppId, of_store: &DemoStore) -> anyhow::Result<()> {
    let before = store.catalogue(app).await?;
    let mut catalogue = before.clone();
    let entitlement = EntitlementText {
        name: "Gold".to_owned(),
        description: Some("what the demo sells".to_owned()),
    };
    let ref_id = of_store.entitlement.to_owned();
    catalogue.entitlements.entry(ref_id).or_insert(entitlement);
    for &(sku, name, price, is_gold) in of_store.products {
        let price = price
            .parse::<Decimal>()
            .with_context(|| format!("the price of {sku}"))?;
        let product = Product {
            name: Some(name.to_owned()),
            entitlements: is_gold
                .then(|| of_store.entitlement.to_owned())
                .into_iter()
                .collect(),
            prices: vec![Price {
                country: None,
                currency: "USD".to_owned(),
                price,
                since: None,
            }],
        };
        catalogue.products.entry(sku.to_owned()).or_insert(product);
    }
    if catalogue != before {
        store
            .change_catalogue(app, Change::Replace(catalogue), Run::Real)
            .await?;
    }
    Ok(())
}

/// Returns the demo's destination, and the listener of its receiver. The port of an earlier run is reused if it is
/// free.
async fn destination(store: &Store, app: AppId) -> anyhow::Result<(Destination, TcpListener, Url)> {
    let known = store
        .destinations(app, Page::default())
        .await
        .context("the demo destination")?;
    let known = known
        .items
        .into_iter()
        .map(|one| one.destination)
        .find(|known| known.name == RECEIVER);
    let receiver = receiver(known.as_ref()).await?;
    let url: Url = format!(
        "http://{}/",
        receiver.local_addr().context("the receiver's address")?
    )
    .parse()?;
    let fields = Map::from_iter([("url".to_owned(), Value::from(url.as_str()))]);
    let destination = match known {
        Some(known) if known.settings["url"] == url.as_str() => known,
        Some(known) => moved(store, &known, &fields)
            .await
            .context("the demo destination")?,
        None => store
            .new_destination(new_destination(app, &fields)?)
            .await
            .context("the demo destination")?,
    };
    Ok((destination, receiver, url))
}

async fn moved(
    store: &Store,
    known: &Destination,
    fields: &Map<String, Value>,
) -> anyhow::Result<Destination> {
    let secret = store.destination_secret(known.id).await?;
    let (kind, _) = receiver_kind()?;
    let changed = kind
        .change(&known.settings, &secret, fields, &allowed())
        .map_err(|wrong| refused(&wrong))?;
    let change = DestinationChange {
        settings: Some(changed.settings),
        ..DestinationChange::default()
    };
    Ok(store.update_destination(known.id, change, |_| {}).await?)
}

/// Returns the kind of the receiver's destination. It must sign requests, since the receiver verifies them.
fn receiver_kind() -> anyhow::Result<(&'static dyn Kind, &'static dyn Signer)> {
    signing().context("no kind of destination signs")
}

fn new_destination(app_id: AppId, fields: &Map<String, Value>) -> anyhow::Result<NewDestination> {
    let (kind, _) = receiver_kind()?;
    let prepared = kind.create(fields, &allowed(), clock::random_bytes());
    let prepared = prepared.map_err(|wrong| refused(&wrong))?;
    Ok(NewDestination {
        app_id,
        kind: kind.name().to_owned(),
        common: DestinationSettings::new(RECEIVER),
        settings: prepared.settings,
        secret: prepared.secret,
        traits: prepared.traits,
    })
}

/// Returns the rules that allow a receiver on this machine, for creating or changing the demo's destination.
fn allowed() -> Allowed {
    let allowed_networks = vec![IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::LOCALHOST, 8))];
    Allowed {
        rules: Rules {
            allowed_networks,
            allow_http: true,
            ..Rules::default()
        },
        ..Allowed::default()
    }
}

fn refused(wrong: &[Invalid]) -> anyhow::Error {
    anyhow::Error::msg(
        wrong
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", "),
    )
}

async fn receiver(known: Option<&Destination>) -> anyhow::Result<TcpListener> {
    let url = known.and_then(|known| known.settings.get("url")?.as_str()?.parse::<Url>().ok());
    let port = url.and_then(|url| url.port()).unwrap_or(0);
    match TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port))).await {
        Ok(listener) => Ok(listener),
        Err(_) => TcpListener::bind(("127.0.0.1", 0))
            .await
            .context("no port for the demo's receiver"),
    }
}
