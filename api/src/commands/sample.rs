//! `settle sample`: signs notifications as the store would and sends them to a local service.

use super::client::{self, Client, Remote, read_as, segment};
use super::countdown::{self, Countdown};
use super::names::{self, Text};
use super::run::demo;
use super::{data, settings, table};
use anyhow::{Context, bail};
use api::clock;
use api::near::did_you_mean;
use api::stores;
use api::stores::samples::{DemoStore, NewSample, SampleSigner, sample_id};
use api::times;
use clap::Args;
use domain::time::millis;
use domain::{CollapseKey, Environment, PlatformId, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;
use storage::Filter;
use url::Url;

/// The default window of a platform.
const WINDOW: Duration = Duration::from_secs(120);

/// Sign sample notifications as the store would, and send them to a local `settle run`: to its demo app or your own app.
/// They count as test purchases; a simulated store verifies them.
#[derive(Debug, Args)]
#[command(after_help = help())]
pub struct Options {
    /// Notification types, separated by commas and sent in this order. If --count is higher, the last one repeats.
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',', value_parser = store_type, default_value = "SUBSCRIPTION_PURCHASED")]
    types: Vec<String>,
    /// The app, by id or name, of the same `settle run` [default: the demo].
    #[arg(long, value_name = "ID")]
    app: Option<String>,
    /// The platform, by id or name [default: the app's only one].
    #[arg(long, value_name = "ID")]
    platform: Option<String>,
    /// The purchase: a name of your choice, or the id of an earlier sample [default: a new purchase].
    #[arg(long, value_name = "NAME")]
    receipt: Option<String>,
    /// The other purchase of a plan change, like --receipt.
    #[arg(long, value_name = "NAME")]
    related: Option<String>,
    /// The customer of the purchase.
    #[arg(long, value_name = "ID", default_value = "sample-customer")]
    user: String,
    /// Number of notifications, all about one purchase [default: the number of types].
    #[arg(long, value_name = "N", value_parser = |text: &str| settings::number(text, 1..=100_000))]
    count: Option<u32>,
    /// Spread them evenly over this time instead of sending all at once.
    #[arg(long, value_parser = times::duration, default_value = "0s")]
    spread: Duration,
    #[command(flatten)]
    remote: Remote,
}

fn help() -> String {
    let mut help =
        "TYPE, in any case, also without SUBSCRIPTION_ and with - for _ (`renewed`, `auto-renewal-off`):\n".to_owned();
    let Some(store) = store() else {
        return String::new();
    };
    for (name, meaning) in store.types {
        let _ = writeln!(help, "  {name:42} {meaning}");
    }
    let skus: Vec<String> = store
        .products
        .iter()
        .map(|(sku, ..)| format!("`{sku}`"))
        .collect();
    let _ = writeln!(
        help,
        "Samples are purchases of the simulated products {}, which are in the demo's catalogue only: \
         `settle product set --help` adds one to your app's.",
        skus.join(", ")
    );
    help.push_str(
        "With `modified-immediate`, `--related` names the purchase that the plan replaces.\n\
         \nExample:\n  settle sample --type purchased,renewed --count 20 --spread 10s\n  \
         settle sample --app Radio\n\
         Next: when the window has ended, `settle purchase explain ID` shows the result.",
    );
    help
}

/// Returns the demo data of the store that has samples.
fn store() -> Option<&'static DemoStore> {
    stores::demo().map(|(_, store)| store)
}

/// Returns the store's spelling of a notification type.
fn store_type(text: &str) -> Result<String, String> {
    let store = store().ok_or("no store has samples")?;
    (store.type_named)(text).map(str::to_owned).map_err(|_| {
        let types = store.types.iter();
        let known: Vec<String> = types.map(|(known, _)| (store.short)(known)).collect();
        let meant = did_you_mean(
            &(store.short)(&text.to_ascii_uppercase().replace('-', "_")),
            known.iter().map(String::as_str),
        );
        format!("unknown type{meant} (`settle sample --help` lists all)")
    })
}

/// The platform that samples are sent to, and the signer.
struct Target {
    client: Client,
    app: String,
    platform: PlatformId,
    package_name: String,
    url: Url,
    window_seconds: Option<f64>,
    receipt: String,
    related: Option<String>,
    signer: Box<dyn SampleSigner>,
}

/// A platform, as the service describes it.
#[derive(Debug, Deserialize)]
struct SamplePlatform {
    id: PlatformId,
    app_id: String,
    name: String,
    package_name: String,
    /// `None` for a key that may not read it.
    notification_url: Option<String>,
    window_seconds: Option<f64>,
}

/// A destination, as the service describes it.
#[derive(Debug, Deserialize)]
struct Receiver {
    name: String,
    enabled: bool,
    filter: Filter,
    /// Whether the destination has an API key for sandbox events; `None` if its kind has no such key.
    has_sandbox_api_key: Option<bool>,
}

/// Signs and sends the samples.
pub async fn sample(options: Options) -> anyhow::Result<ExitCode> {
    let target = target(&options).await?;
    let key = CollapseKey::of(target.platform, &target.receipt);
    let types = u32::try_from(options.types.len()).unwrap_or(u32::MAX);
    let count = options.count.unwrap_or(types);
    let revision = countdown::revision(&target.client, key).await;
    let begun = clock::now();
    let mut sent = Vec::new();
    for number in 0..count {
        if number > 0 && !options.spread.is_zero() {
            tokio::time::sleep(options.spread / (count - 1)).await;
        }
        // Samples of one type with equal times would be duplicate notifications.
        let at = clock::now().max(begun.plus_millis(i64::from(number)));
        let store_type = options
            .types
            .get(number as usize)
            .or(options.types.last())
            .map_or("", String::as_str);
        let message_id = send(&target, &options, store_type, at).await?;
        if !options.remote.json {
            table::line(&format!("sent  {store_type}  message {message_id}"));
        }
        sent.push(json!({"message_id": message_id, "type": store_type, "at": at}));
    }
    if let Some(due) = conclude(&options, &target, key, sent).await? {
        Countdown {
            client: &target.client,
            key,
            revision,
            due,
        }
        .show()
        .await;
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints when the purchase is settled, and which destinations receive its events. Returns that time if a terminal can
/// show a countdown.
async fn conclude(
    options: &Options,
    target: &Target,
    key: CollapseKey,
    sent: Vec<Value>,
) -> anyhow::Result<Option<Timestamp>> {
    let window = target.window_seconds.map_or(WINDOW, |seconds| {
        Duration::try_from_secs_f64(seconds).unwrap_or(WINDOW)
    });
    let due = clock::now().plus_millis(millis(window));
    if options.remote.json {
        table::json(
            &json!({"receipt_id": target.receipt, "collapse_key": key, "due": due, "notifications": sent}),
        );
        return Ok(None);
    }
    table::line(&format!("purchase {key}  (store's id {})", target.receipt));
    table::line(&format!(
        "settles in {}, at {}, as a test purchase",
        times::countdown(window),
        clock_time(due)
    ));
    let Receivers {
        enabled: receivers,
        disabled,
        without_key,
    } = receivers(target).await?;
    if !receivers.is_empty() {
        table::line(&format!("Its events will go to: {}.", receivers.join(", ")));
    }
    if !disabled.is_empty() {
        let enable = options.remote.command("destination enable");
        table::line(&format!(
            "Its events stay pending for {} until `{enable}`.",
            disabled.join(", ")
        ));
    }
    if !without_key.is_empty() {
        let update = options.remote.command("destination update ID");
        table::line(&format!(
            "Not to {}: without a key for test purchases. `{update} --sandbox-api-key @FILE` sets one.",
            without_key.join(", ")
        ));
    }
    if receivers.is_empty() && disabled.is_empty() {
        let create = options
            .remote
            .command(&format!("destination create --app {}", target.app));
        table::line(&format!(
            "No destination will receive its events. `{create}` adds one."
        ));
    }
    table::line("Then:");
    table::line(&format!(
        "  {}",
        options.remote.command(&format!("purchase explain {key}"))
    ));
    Ok(std::io::stderr().is_terminal().then_some(due))
}

/// The names of destinations that are subscribed to events of test purchases on the platform.
struct Receivers {
    enabled: Vec<String>,
    disabled: Vec<String>,
    /// Destinations that skip test purchases because they have no API key for sandbox events.
    without_key: Vec<String>,
}

/// Finds the destinations that receive the events of a sample.
async fn receivers(target: &Target) -> anyhow::Result<Receivers> {
    let path = format!("/v1/apps/{}/destinations", segment(&target.app));
    let all: Vec<Receiver> = names::every(&target.client, &path).await?;
    let takes = |one: &&Receiver| one.filter.wants(target.platform, Environment::Sandbox);
    let (without_key, able): (Vec<&Receiver>, Vec<&Receiver>) = all
        .iter()
        .filter(takes)
        .partition(|one| one.has_sandbox_api_key == Some(false));
    let (enabled, disabled): (Vec<&Receiver>, Vec<&Receiver>) =
        able.into_iter().partition(|one| one.enabled);
    let names = |all: Vec<&Receiver>| all.into_iter().map(|one| table::shown(&one.name)).collect();
    Ok(Receivers {
        enabled: names(enabled),
        disabled: names(disabled),
        without_key: names(without_key),
    })
}

async fn send(
    target: &Target,
    options: &Options,
    store_type: &str,
    at: Timestamp,
) -> anyhow::Result<String> {
    let sample = NewSample {
        package_name: &target.package_name,
        store_type,
        app_user_id: &options.user,
        receipt_id: &target.receipt,
        related: target.related.as_deref(),
        at,
    };
    let signed = target.signer.signed(&sample);
    let signed = signed.context("cannot sign the sample")?;
    let (status, answer) = client::post_to(&target.url, signed.body).await?;
    if !(200..300).contains(&status) {
        let why = client::problem_line(&answer).unwrap_or_else(|| answer.trim().to_owned());
        bail!(
            "the service refused the sample ({status}): {why} (`settle serve` and `settle run --no-demo` accept none)"
        );
    }
    Ok(signed.message_id.to_string())
}

/// Finds the target through the admin API, and the signing key that `run` created.
async fn target(options: &Options) -> anyhow::Result<Target> {
    let remote = &options.remote;
    let (client, data) = (remote.client()?, remote.data()?);
    let platform = platform(&client, options).await?;
    let url = platform.notification_url.as_deref().unwrap_or("-");
    let store = store().context("no store has samples")?;
    let signer = demo::signer(store, &data).with_context(|| {
        format!(
            "samples are signed with the key of `settle run` in {}: set --data. `settle serve` accepts none",
            data::sample_key_file(&data).display()
        )
    })?;
    let mint = signer.mint()?;
    Ok(Target {
        url: url
            .parse()
            .with_context(|| format!("`{url}` is not a URL"))?,
        app: platform.app_id,
        platform: platform.id,
        package_name: platform.package_name,
        window_seconds: platform.window_seconds,
        receipt: sample_id(&mint, options.receipt.as_deref()),
        related: options
            .related
            .as_deref()
            .map(|name| mint.purchase_id(name)),
        signer,
        client,
    })
}

/// Returns the platform that was named, the only one of the app that was named, or the demo's.
async fn platform(client: &Client, options: &Options) -> anyhow::Result<SamplePlatform> {
    let app = match &options.app {
        Some(text) => Some(names::app_id(client, text).await?),
        None => None,
    };
    if let Some(text) = &options.platform {
        let id = names::id_of(
            client,
            "platform_id",
            Text {
                text,
                app: app.as_deref(),
            },
        )
        .await?;
        let path = format!("/v1/platforms/{}", segment(&id));
        return read_as(&client.get(&path, &[]).await?);
    }
    let Some(app) = app else {
        return demo_platform(client).await;
    };
    let path = format!("/v1/apps/{}/platforms", segment(&app));
    let mut all: Vec<SamplePlatform> = names::every(client, &path).await?;
    if all.len() > 1 {
        let names: Vec<String> = all
            .iter()
            .map(|one| format!("`{}`", table::shown(&one.name)))
            .collect();
        bail!(
            "the app has several platforms: choose one with --platform ({})",
            names.join(", ")
        )
    }
    all.pop().with_context(|| {
        format!(
            "the app has no platform yet: `{}`",
            options.remote.command("platform create --help")
        )
    })
}

async fn demo_platform(client: &Client) -> anyhow::Result<SamplePlatform> {
    let missing = "there is no demo app: start the service with `settle run`";
    let apps = names::every_named(client, "/v1/apps").await?;
    let app = apps
        .iter()
        .find(|app| app.name == demo::APP)
        .context(missing)?;
    let path = format!("/v1/apps/{}/platforms", segment(&app.id));
    let platforms: Vec<SamplePlatform> = names::every(client, &path).await?;
    platforms
        .into_iter()
        .find(|platform| platform.package_name == demo::PACKAGE_NAME)
        .context(missing)
}

/// Returns the hours, minutes and seconds of a time, in UTC.
fn clock_time(at: Timestamp) -> String {
    let text = at.to_string();
    text.get(11..19)
        .map_or_else(|| text.clone(), |time| format!("{time} UTC"))
}
