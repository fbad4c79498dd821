//! `settle sample`: signs notifications as the demo's store would and sends them to a local service. For platforms of
//! other stores, the service itself builds them.

use super::client::{self, Client, Remote, read_as, segment};
use super::countdown::{self, Countdown};
use super::names::{self, Text};
use super::run::demo;
use super::{data, settings, table};
use anyhow::{Context, anyhow, bail};
use api::clock;
use api::near::did_you_mean;
use api::stores;
use api::stores::samples::{NewSample, SampleSigner, SampleTypes, sample_id};
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

/// Send sample notifications, signed as the store would, to a local `settle run`: to its demo app or your own app.
/// They count as test purchases; a simulated store verifies them.
#[derive(Debug, Args)]
#[command(after_help = help())]
pub struct Options {
    /// Notification types, separated by commas and sent in this order. If --count is higher, the last one repeats.
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',', value_parser = known_type, default_value = "SUBSCRIPTION_PURCHASED")]
    types: Vec<String>,
    /// The app, by id or name, of the same `settle run` [default: the demo].
    #[arg(long, value_name = "ID")]
    app: Option<String>,
    /// The platform, by id or name [default: the app's only one].
    #[arg(long, value_name = "ID")]
    platform: Option<String>,
    /// The store of the platform, if the app has platforms of several [default for the demo: the first one below].
    #[arg(long, value_name = "STORE", conflicts_with = "platform", value_parser = known_store)]
    store: Option<String>,
    /// The purchase: a name of your choice, or the id of an earlier sample [default: a new purchase].
    #[arg(long, value_name = "NAME")]
    receipt: Option<String>,
    /// The other purchase of a plan change, like --receipt.
    #[arg(long, value_name = "NAME")]
    related: Option<String>,
    /// The customer of the purchase, if the store's notifications name one.
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
    for store in stores::all() {
        let Some(samples) = store.samples else {
            continue;
        };
        let _ = writeln!(help, " {}:", store.title);
        for (name, meaning) in samples.all {
            let _ = writeln!(help, "  {name:42} {meaning}");
        }
    }
    let products = stores::demos().flat_map(|(_, demo)| demo.products);
    let skus: Vec<String> = products.map(|(sku, ..)| format!("`{sku}`")).collect();
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

/// Checks that a store with this name has samples.
fn known_store(text: &str) -> Result<String, String> {
    let with_samples = stores::all().filter(|store| store.samples.is_some());
    let names: Vec<&str> = with_samples.map(|store| store.name).collect();
    match names.contains(&text) {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "expected a store with samples: {}",
            names.join(", ")
        )),
    }
}

/// Checks that a store has samples of this type. Whether the platform's store has them is checked once it is known.
fn known_type(text: &str) -> Result<String, String> {
    let all: Vec<SampleTypes> = stores::all().filter_map(|store| store.samples).collect();
    if all.iter().any(|samples| (samples.named)(text).is_ok()) {
        return Ok(text.to_owned());
    }
    let first = all.first().ok_or("no store has samples")?;
    let short = (first.short)(&text.to_ascii_uppercase().replace('-', "_"));
    let mut known: Vec<String> = Vec::new();
    for samples in &all {
        for (name, _) in samples.all {
            let name = (samples.short)(name);
            if !known.contains(&name) {
                known.push(name);
            }
        }
    }
    let meant = did_you_mean(&short, known.iter().map(String::as_str));
    Err(format!(
        "unknown type{meant} (`settle sample --help` lists all)"
    ))
}

/// What builds the samples.
enum BuiltBy {
    /// This command, which signs them and posts them to the platform's notification URL.
    Command(Url),
    /// The service, because only the store can sign them.
    Service,
}

/// The platform that samples are sent to, and the signer.
struct Target {
    client: Client,
    app: String,
    platform: PlatformId,
    package_name: String,
    built_by: BuiltBy,
    /// The types of the samples, by the store's names.
    types: Vec<&'static str>,
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
    store: String,
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
    let types = u32::try_from(target.types.len()).unwrap_or(u32::MAX);
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
        let store_type = target
            .types
            .get(number as usize)
            .or(target.types.last())
            .copied()
            .unwrap_or_default();
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

/// Sends a sample; returns the id of its message.
async fn send(
    target: &Target,
    options: &Options,
    store_type: &str,
    at: Timestamp,
) -> anyhow::Result<String> {
    let url = match &target.built_by {
        BuiltBy::Command(url) => url,
        BuiltBy::Service => return send_built(target, options, store_type).await,
    };
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
    let (status, answer) = client::post_to(url, signed.body).await?;
    if !(200..300).contains(&status) {
        let why = client::problem_line(&answer).unwrap_or_else(|| answer.trim().to_owned());
        bail!(
            "the service refused the sample ({status}): {why} (`settle serve` and `settle run --no-demo` accept none)"
        );
    }
    Ok(signed.message_id.to_string())
}

/// Lets the service build a sample; returns the id of its message.
async fn send_built(
    target: &Target,
    options: &Options,
    store_type: &str,
) -> anyhow::Result<String> {
    let path = format!("/v1/platforms/{}/sample", target.platform);
    let body = json!({
        "type": store_type, "receipt_id": target.receipt, "app_user_id": options.user,
    });
    let sent = target.client.post(&path, &body).await?;
    Ok(table::field(&sent, "message_id"))
}

/// Finds the target through the admin API, and the signing key that `run` created.
async fn target(options: &Options) -> anyhow::Result<Target> {
    let remote = &options.remote;
    let (client, data) = (remote.client()?, remote.data()?);
    let platform = platform(&client, options).await?;
    let types = types(&platform.store, &options.types)?;
    let (signed_store, signing) = stores::signing().context("no store has signed samples")?;
    let url = platform.notification_url.as_deref().unwrap_or("-");
    let built_by = if platform.store == signed_store {
        let parsed: Result<Url, _> = url.parse();
        BuiltBy::Command(parsed.with_context(|| format!("`{url}` is not a URL"))?)
    } else {
        BuiltBy::Service
    };
    if options.related.is_some() && matches!(built_by, BuiltBy::Service) {
        bail!("--related is for samples of {}", stores::name(signed_store));
    }
    let signer = demo::signer(signing, &data).with_context(|| {
        format!(
            "samples are signed with the key of `settle run` in {}: set --data. `settle serve` accepts none",
            data::sample_key_file(&data).display()
        )
    })?;
    let mint = signer.mint()?;
    Ok(Target {
        built_by,
        types,
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

/// Returns the store's names of the types of samples.
fn types(store: &str, wanted: &[String]) -> anyhow::Result<Vec<&'static str>> {
    let title = stores::name(store);
    let samples = stores::sample_types(store)
        .with_context(|| format!("{title} has no samples: choose another platform"))?;
    let named = |text: &String| {
        let unknown = || anyhow!("{title} has no samples of the type `{text}`");
        (samples.named)(text).map_err(|_| unknown())
    };
    wanted.iter().map(named).collect()
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
        return demo_platform(client, options.store.as_deref()).await;
    };
    let path = format!("/v1/apps/{}/platforms", segment(&app));
    let mut all: Vec<SamplePlatform> = names::every(client, &path).await?;
    all.retain(|one| is_of(one, options.store.as_deref()));
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

/// Returns whether a platform is of this store, if one is given.
fn is_of(platform: &SamplePlatform, store: Option<&str>) -> bool {
    store.is_none_or(|store| platform.store == store)
}

async fn demo_platform(client: &Client, store: Option<&str>) -> anyhow::Result<SamplePlatform> {
    let missing = "there is no demo app: start the service with `settle run`";
    let apps = names::every_named(client, "/v1/apps").await?;
    let app = apps
        .iter()
        .find(|app| app.name == demo::APP)
        .context(missing)?;
    let path = format!("/v1/apps/{}/platforms", segment(&app.id));
    let platforms: Vec<SamplePlatform> = names::every(client, &path).await?;
    let mut of_demo = platforms
        .into_iter()
        .filter(|platform| platform.package_name == demo::PACKAGE_NAME);
    let first = stores::demos().next().map(|(store, _)| store.name);
    let found = of_demo.find(|platform| is_of(platform, store.or(first)));
    found.context(match store {
        None => missing,
        Some(_) => "the demo has no platform of this store: choose an app with --app",
    })
}

/// Returns the hours, minutes and seconds of a time, in UTC.
fn clock_time(at: Timestamp) -> String {
    let text = at.to_string();
    text.get(11..19)
        .map_or_else(|| text.clone(), |time| format!("{time} UTC"))
}
