//! The demo of `settle run`: an app that is ready to try, with samples that it trusts and a receiver that it tells.
//!
//! Made at the first run and found again at every later one.

use super::data;
use crate::clock;
use crate::commands::serve;
use crate::stores::amazon::signer::Signer;
use activities::destinations::{Allowed, Config, Invalid, webhook};
use anyhow::Context;
use domain::AppId;
use secrecy::SecretString;
use serde_json::{Map, Value};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use storage::{
    App, Destination, DestinationPatch, Filter, Limits, NewDestination, NewPlatform, Page, Platform, PlatformPatch,
    Store,
};
use tokio::net::TcpListener;
use url::Url;

/// The demo's app.
pub const APP: &str = "demo";
/// Its package name at the store.
pub const PACKAGE_NAME: &str = "com.example.demo";
/// The account from which the store's own topics come.
pub const ACCOUNT: &str = "033616359524";
/// The topic that samples come from.
pub const TOPIC_ARN: &str = "arn:aws:sns:us-east-1:033616359524:settle-demo";
/// Where the topic lives, which is where samples say that their certificate is. Nothing is there: it is loaded from
/// the data directory.
pub const REGION: &str = "us-east-1";
const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// Twenty years: a demo's data directory is not looked after.
const VALID_MS: i64 = 20 * 365 * DAY_MS;
const NAME: &str = "demo";
const RECEIVER: &str = "built-in receiver";

/// What the demo consists of.
pub struct Demo {
    /// The platform to which samples are sent.
    pub platform: Platform,
    /// Who receives its events.
    pub receiver: TcpListener,
    /// The receiver's secret.
    pub secret: SecretString,
}

/// The signer of samples, from what `run` keeps in its data directory.
pub fn signer(data: &Path) -> anyhow::Result<Signer> {
    let read = |path: PathBuf| std::fs::read(&path).with_context(|| format!("{} cannot be read", path.display()));
    let (key, certificate) = (read(data::sample_key_file(data))?, read(data::sample_certificate_file(data))?);
    Ok(Signer::load(&key, &certificate)?)
}

/// The signer of samples; its key and certificate are made when they are not there.
pub fn kept_signer(data: &Path) -> anyhow::Result<Signer> {
    if !(data::sample_key_file(data).exists() && data::sample_certificate_file(data).exists()) {
        let now = clock::now();
        let signer = Signer::generate(now.plus_millis(-DAY_MS), now.plus_millis(VALID_MS))?;
        data::write(&data::sample_key_file(data), &signer.key_pem()?)?;
        data::write(&data::sample_certificate_file(data), &signer.certificate_pem()?)?;
    }
    signer(data)
}

/// Finds the demo, or makes it. A window that is given wins over the one of an earlier run.
pub async fn set_up(store: &Store, window_ms: i64, given: bool) -> anyhow::Result<Demo> {
    let app = app(store).await.context("the demo app")?;
    let platform = platform(store, app.id, window_ms, given).await.context("the demo platform")?;
    let (destination, receiver) = destination(store, app.id).await?;
    let sealed = store.destination_secret(destination.id).await.context("the demo destination's secret")?;
    let secret = webhook::config::newest_secret(&sealed).context("the demo destination's secret")?;
    Ok(Demo { platform, receiver, secret })
}

async fn app(store: &Store) -> Result<App, storage::Error> {
    let mut page = Page::default();
    loop {
        let apps = store.apps(page).await?;
        if let Some(app) = apps.items.into_iter().find(|app| app.name == APP) {
            return Ok(app);
        }
        match apps.next_cursor {
            Some(cursor) => page = Page { cursor: Some(cursor), ..Page::default() },
            None => return store.new_app(APP).await,
        }
    }
}

async fn platform(store: &Store, app: AppId, window_ms: i64, given: bool) -> Result<Platform, storage::Error> {
    let platforms = store.platforms(app, Page::default()).await?;
    if let Some(platform) = platforms.items.into_iter().find(|platform| platform.package_name == PACKAGE_NAME) {
        if !given || platform.window_ms == window_ms {
            return Ok(platform);
        }
        let patch = PlatformPatch { window_ms: Some(window_ms), ..PlatformPatch::default() };
        return store.update_platform(platform.id, patch).await;
    }
    let new = NewPlatform {
        app_id: app,
        store: "amazon".to_owned(),
        name: NAME.to_owned(),
        package_name: PACKAGE_NAME.to_owned(),
        environment: domain::Environment::Production,
        shared_secret: None,
        topic_arn: Some(TOPIC_ARN.to_owned()),
        window_ms,
        max_wait_ms: None,
        product_ref: domain::catalogue::ProductRef::Term,
        flush_on_revoke: false,
        unknown_receipts: domain::UnknownReceipts::GiveUp,
        ingress_key: storage::hex(&clock::random_bytes::<16>()),
    };
    store.new_platform(new).await
}

/// The destination and the address that it points to, which stays the same as long as nobody else takes it.
async fn destination(store: &Store, app: AppId) -> anyhow::Result<(Destination, TcpListener)> {
    let known = store.destinations(app, Page::default()).await.context("the demo destination")?;
    let known = known.items.into_iter().find(|destination| destination.name == RECEIVER);
    let receiver = receiver(known.as_ref()).await?;
    let url = format!("http://{}/", receiver.local_addr().context("the receiver's address")?);
    let fields = Map::from_iter([("url".to_owned(), Value::from(url.as_str()))]);
    let destination = match known {
        Some(known) if known.settings["url"] == url => known,
        Some(known) => moved(store, &known, &fields).await.context("the demo destination")?,
        None => store.new_destination(new_destination(app, &fields)?).await.context("the demo destination")?,
    };
    Ok((destination, receiver))
}

async fn moved(store: &Store, known: &Destination, fields: &Map<String, Value>) -> anyhow::Result<Destination> {
    let secret = store.destination_secret(known.id).await?;
    let changed = Config::change(known, &secret, fields, &allowed()).map_err(|wrong| refused(&wrong))?;
    let patch = DestinationPatch { settings: Some(changed.settings), ..DestinationPatch::default() };
    Ok(store.update_destination(known.id, patch).await?)
}

fn new_destination(app_id: AppId, fields: &Map<String, Value>) -> anyhow::Result<NewDestination> {
    let made = Config::make(webhook::KIND, fields, &allowed(), clock::random_bytes());
    let made = made.map_err(|wrong| refused(&wrong))?;
    Ok(NewDestination {
        app_id,
        kind: webhook::KIND.to_owned(),
        name: RECEIVER.to_owned(),
        events: vec!["*".to_owned()],
        filter: Filter::default(),
        settings: made.settings,
        secret: made.secret,
        traits: made.traits,
        limits: Limits::default(),
        enabled: true,
    })
}

/// The receiver is on this machine.
fn allowed() -> Allowed {
    Allowed { http: true, ..Allowed::default() }
}

fn refused(wrong: &[Invalid]) -> anyhow::Error {
    anyhow::Error::msg(wrong.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
}

async fn receiver(known: Option<&Destination>) -> anyhow::Result<TcpListener> {
    let url = known.and_then(|known| known.settings.get("url")?.as_str()?.parse::<Url>().ok());
    let port = url.and_then(|url| url.port()).unwrap_or(0);
    match TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port))).await {
        Ok(listener) => Ok(listener),
        Err(_) => serve::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await,
    }
}
