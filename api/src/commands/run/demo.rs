//! The demo of `settle run`: an app that is ready to try, with trusted samples and a receiver for its events.
//!
//! The first run creates it, and every later run reuses it. It needs permissions beyond the settings: for its own
//! destination, a receiver on this machine by plain `http`; for samples, their certificate and the simulated store.

use crate::data;
use crate::receiver::{self, Receiver, Style};
use crate::stop::Stop;
use anyhow::Context;
use api::clock;
use api::config;
use api::stores;
use api::stores::samples::{DemoStore, KeyPem, SampleKey, SampleSigner};
use domain::catalogue::Price;
use domain::time::millis;
use domain::{AppId, Environment};
use ipnet::{IpNet, Ipv4Net};
use protocols::destinations::{Allowed, Exception, Invalid, Kind, Signer, signing};
use protocols::http::Rules;
use protocols::stores::Simulated;
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
    /// The platform to which samples are sent.
    pub platform: Platform,
    /// Signs the samples.
    signer: Box<dyn SampleSigner>,
    /// The store's data for the demo.
    store: &'static DemoStore,
    /// The receiver's destination, and its URL.
    destination: Exception,
    /// Listening socket of the receiver.
    receiver: TcpListener,
    /// The receiver's signing secret.
    secret: SecretString,
}

/// The running receiver and simulated store of the demo.
pub struct Running {
    /// How the worker reaches the simulated store, and the purchases for which it does.
    pub simulated: Simulated,
    simulating: JoinHandle<std::io::Result<()>>,
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

    /// Starts the receiver and the simulated store.
    pub async fn start(self, database: Store) -> anyhow::Result<Running> {
        let (end_receiver, stop) = Stop::by_hand();
        let receiver = Receiver {
            webhook: receiver::webhook(&self.secret)?,
            style: Style::Line,
            forward: None,
        };
        let receiving = tokio::spawn(async move {
            receiver::receive(self.receiver, receiver, stop.requested()).await
        });
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
            platform: self.platform.id,
            mint: self.signer.mint()?,
            base: url,
        };
        let routes = (self.store.simulated)(database);
        let simulating = tokio::spawn(async move { axum::serve(listener, routes).await });
        Ok(Running {
            simulated,
            simulating,
            receiving,
            end_receiver,
        })
    }
}

impl Running {
    /// Ends both. Only the worker uses the simulated store, so the worker must have ended before.
    pub async fn end(self) -> anyhow::Result<()> {
        self.simulating.abort();
        drop(self.end_receiver);
        self.receiving.await.context("the demo's receiver")?
    }
}

/// Returns the signer of samples, with the key and certificate from the data directory of `run`.
pub fn signer(store: &DemoStore, data: &Path) -> anyhow::Result<Box<dyn SampleSigner>> {
    let read = |path: PathBuf| {
        std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let (key, certificate) = (
        read(data::sample_key_file(data))?,
        read(data::sample_certificate_file(data))?,
    );
    (store.load)(&key, &certificate)
}

/// Returns the signer of samples. Creates its key and certificate if they are missing.
pub fn load_or_create_signer(
    store: &DemoStore,
    data: &Path,
) -> anyhow::Result<Box<dyn SampleSigner>> {
    if !(data::sample_key_file(data).exists() && data::sample_certificate_file(data).exists()) {
        let now = clock::now();
        let signer = (store.generate)(now.plus_millis(-DAY_MS), now.plus_millis(VALID_MS))?;
        let KeyPem { key, certificate } = signer.pem()?;
        data::write(&data::sample_key_file(data), &key)?;
        data::write(&data::sample_certificate_file(data), &certificate)?;
    }
    signer(store, data)
}

/// Settings of the demo.
pub struct DemoSettings<'a> {
    /// Data directory, which stores the demo's secrets.
    pub data: &'a Path,
    /// Window of the demo's platform.
    pub window: Duration,
    /// Whether a flag set the window, so that it replaces the window of an earlier run.
    pub is_window_set: bool,
}

/// Finds the demo of an earlier run, or creates it.
pub async fn set_up(store: &Store, wanted: &DemoSettings<'_>) -> anyhow::Result<Demo> {
    let (name, of_store) = stores::demo().context("no store has a demo")?;
    let app = app(store).await.context("the demo app")?;
    let signer = load_or_create_signer(of_store, wanted.data)
        .context("the key that samples are signed with")?;
    let shared_secret =
        data::simulated_secret(wanted.data).context("the secret of the demo's simulated store")?;
    let new = NewDemo {
        app: app.id,
        store: name,
        topic: of_store.topic,
        shared_secret,
    };
    let platform = platform(store, wanted, new)
        .await
        .context("the demo platform")?;
    fill_catalogue(store, app.id, of_store)
        .await
        .context("the demo catalogue")?;
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
        platform,
        signer,
        store: of_store,
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

/// The demo's platform in its store.
struct NewDemo {
    app: AppId,
    store: &'static str,
    topic: Option<&'static str>,
    shared_secret: SecretString,
}

async fn platform(
    store: &Store,
    wanted: &DemoSettings<'_>,
    new: NewDemo,
) -> Result<Platform, storage::Error> {
    let platforms = store.platforms(new.app, Page::default()).await?;
    if let Some(platform) = platforms
        .items
        .into_iter()
        .find(|platform| platform.settings.package_name == PACKAGE_NAME)
    {
        return bring_up_to_date(store, platform, wanted, &new.shared_secret).await;
    }
    let settings = PlatformSettings::new(NAME, PACKAGE_NAME, millis(wanted.window));
    let new = NewPlatform {
        app_id: new.app,
        store: new.store.to_owned(),
        // Purchases from the simulated store count as tests.
        settings: PlatformSettings {
            environment: Environment::Sandbox,
            ..settings
        },
        shared_secret: Some(new.shared_secret),
        topic_arn: new.topic.map(str::to_owned),
        ingress_key: storage::hex(&clock::random_bytes::<16>()).into(),
        publishable_key: format!("pk_{}", storage::hex(&clock::random_bytes::<16>())),
        of_store: Default::default(),
    };
    store.new_platform(new).await
}

/// Updates an earlier run's platform: its window, its environment and the secret of the simulated store.
async fn bring_up_to_date(
    store: &Store,
    platform: Platform,
    wanted: &DemoSettings<'_>,
    shared_secret: &SecretString,
) -> Result<Platform, storage::Error> {
    let window_ms = wanted.is_window_set.then(|| millis(wanted.window));
    let set = move |settings: &mut PlatformSettings| {
        settings.window_ms = window_ms.unwrap_or(settings.window_ms);
        settings.environment = Environment::Sandbox;
    };
    let mut settings = platform.settings.clone();
    set(&mut settings);
    if settings == platform.settings && platform.can_verify() {
        return Ok(platform);
    }
    let secret = (!platform.can_verify()).then(|| Some(shared_secret.clone()));
    let change = PlatformChange {
        shared_secret: secret,
        ..PlatformChange::default()
    };
    store.update_platform(platform.id, change, set).await
}

/// Fills the catalogue with the simulated store's products, unless it already has entries.
async fn fill_catalogue(store: &Store, app: AppId, of_store: &DemoStore) -> anyhow::Result<()> {
    if store.catalogue(app).await? != Catalogue::default() {
        return Ok(());
    }
    let entitlement = EntitlementText {
        name: "Gold".to_owned(),
        description: Some("what the demo sells".to_owned()),
    };
    let mut catalogue = Catalogue::default();
    catalogue
        .entitlements
        .insert(of_store.entitlement.to_owned(), entitlement);
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
        catalogue.products.insert(sku.to_owned(), product);
    }
    store
        .change_catalogue(app, Change::Replace(catalogue), Run::Real)
        .await?;
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
