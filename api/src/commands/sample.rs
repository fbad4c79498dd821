//! `settle sample`: signs notifications as the store would and sends them to a local service.

use super::client::{self, Client, Remote, segment};
use super::countdown::{self, Countdown};
use super::names::{self, Text};
use super::run::demo;
use super::{data, table};
use crate::clock;
use crate::extract::near::did_you_mean;
use crate::stores::amazon::envelope::Version;
use crate::stores::amazon::sample::{self, TYPES};
use crate::stores::amazon::signer::{Header, Sample, Signer};
use crate::times;
use anyhow::{Context, bail};
use clap::Args;
use domain::time::millis;
use domain::{CollapseKey, PlatformId, Timestamp};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;
use url::Url;

/// The default window of a platform.
const WINDOW: Duration = Duration::from_secs(120);

/// Sign sample notifications as the store would, and send them to a local `settle run`: to its demo app, or to a
/// platform of your own that it names with --trust-samples.
#[derive(Debug, Args)]
#[command(after_help = help())]
pub struct Options {
    /// What happened. Several, by comma, are sent one after the other; the last is repeated when --count is higher.
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',', value_parser = store_type, default_value = "SUBSCRIPTION_PURCHASED")]
    types: Vec<String>,
    /// To which platform, by id or name: one of your own, of the same `settle run` [default: the demo's].
    #[arg(long, value_name = "ID")]
    platform: Option<String>,
    /// Which purchase it is about [default: a new one].
    #[arg(long, value_name = "ID")]
    receipt: Option<String>,
    /// The other receipt of a plan change.
    #[arg(long, value_name = "ID")]
    related: Option<String>,
    /// The customer of the purchase.
    #[arg(long, value_name = "ID", default_value = "sample-customer")]
    user: String,
    /// How many notifications, all about the one purchase. As many as there are types by default.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    count: Option<u32>,
    /// Spread them evenly over this time, instead of sending them at once.
    #[arg(long, value_parser = times::duration, default_value = "0s")]
    spread: Duration,
    #[command(flatten)]
    remote: Remote,
}

fn help() -> String {
    let mut help =
        "TYPE, or without SUBSCRIPTION_, in any case, with - for _ (`renewed`, `auto-renewal-off`):\n".to_owned();
    for (name, meaning) in TYPES {
        let _ = writeln!(help, "  {name:42} {meaning}");
    }
    help.push_str(
        "\nExample:\n  settle sample --type purchased,renewed --count 20 --spread 10s\n  \
         settle sample --platform ID\n\
         Next: wait for the window's end, then `settle purchase explain RECEIPT` shows the result.",
    );
    help
}

/// The store's name of a type.
fn store_type(text: &str) -> Result<String, String> {
    sample::store_type(text).map(str::to_owned).map_err(|_| {
        let known: Vec<String> = TYPES.iter().map(|(known, _)| sample::short(known)).collect();
        let meant = did_you_mean(
            &sample::short(&text.to_ascii_uppercase().replace('-', "_")),
            known.iter().map(String::as_str),
        );
        format!("no such type{meant} (`settle sample --help` lists them)")
    })
}

/// The platform that samples are sent to, and the signer.
struct Target {
    client: Client,
    platform: PlatformId,
    package_name: String,
    topic_arn: String,
    /// Whether samples are verified with the real store, which does not know them.
    is_verified_elsewhere: bool,
    url: Url,
    window: Value,
    receipt: String,
    signer: Signer,
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
        // With equal times, the later samples of a type would be duplicate notifications.
        let at = clock::now().max(begun.plus_millis(i64::from(number)));
        let store_type = options.types.get(number as usize).or(options.types.last()).map_or("", String::as_str);
        let message_id = send(&target, &options, store_type, at).await?;
        if !options.remote.json {
            table::line(&format!("sent  {store_type}  message {message_id}"));
        }
        sent.push(json!({"message_id": message_id, "type": store_type, "at": at}));
    }
    if let Some(due) = conclude(&options, &target, key, sent) {
        Countdown { client: &target.client, key, revision, due }.show().await;
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints when the purchase is settled. Returns that time when a terminal can show a countdown.
fn conclude(options: &Options, target: &Target, key: CollapseKey, sent: Vec<Value>) -> Option<Timestamp> {
    let window =
        target.window.as_f64().map_or(WINDOW, |seconds| Duration::try_from_secs_f64(seconds).unwrap_or(WINDOW));
    let due = clock::now().plus_millis(millis(window));
    if options.remote.json {
        table::json(&json!({"receipt_id": target.receipt, "collapse_key": key, "due": due, "notifications": sent}));
        return None;
    }
    table::line(&format!("purchase {key}  (receipt {})", target.receipt));
    if target.is_verified_elsewhere {
        table::line(
            "This platform verifies each receipt with its store, and no store knows a sample: it is parked and given up \
             after a day, unless the platform has --unknown-receipts believe.",
        );
    }
    table::line(&format!(
        "settles in {}, at {}; each of its events is delivered once. Then:",
        times::countdown(window),
        clock_time(due)
    ));
    table::line(&format!("  {}", options.remote.command(&format!("purchase explain {key}"))));
    std::io::stderr().is_terminal().then_some(due)
}

async fn send(target: &Target, options: &Options, store_type: &str, at: Timestamp) -> anyhow::Result<String> {
    let sample = Sample {
        package_name: &target.package_name,
        store_type,
        app_user_id: &options.user,
        receipt_id: &target.receipt,
        cancelled_receipt_id: options.related.as_deref(),
        at,
        is_test: false,
    };
    let header = Header { message_id: clock::random_uuid(), topic_arn: &target.topic_arn, at, version: Version::One };
    let body =
        target.signer.sign_notification(&header, None, &sample.message()).context("the sample cannot be signed")?;
    let (status, answer) = client::post_to(&target.url, body).await?;
    if !(200..300).contains(&status) {
        let answer = answer.trim();
        match &options.platform {
            Some(_) => bail!(
                "the service refused the sample ({status}): {answer}. A platform of your own takes samples of \
                 `settle run --trust-samples {}`",
                target.platform
            ),
            None => bail!("the service refused the sample ({status}): {answer}"),
        }
    }
    Ok(header.message_id.to_string())
}

/// Finds the target through the admin API, and the key that `run` created.
async fn target(options: &Options) -> anyhow::Result<Target> {
    let remote = &options.remote;
    let (client, data) = (remote.client()?, remote.data()?);
    let platform = match &options.platform {
        Some(text) => {
            let id = names::id_of(&client, "platform_id", Text { text, app: None }).await?;
            client.get(&format!("/v1/platforms/{}", segment(&id)), &[]).await?
        }
        None => demo_platform(&client).await?,
    };
    let is_demo = options.platform.is_none() || table::field(&platform, "package_name") == demo::PACKAGE_NAME;
    let url = table::field(&platform, "notification_url");
    Ok(Target {
        platform: table::field(&platform, "id").parse().context("the service named a platform strangely")?,
        package_name: table::field(&platform, "package_name"),
        topic_arn: topic_arn(&platform, remote)?,
        is_verified_elsewhere: !is_demo && platform["has_shared_secret"] == true,
        url: url.parse().with_context(|| format!("`{url}` is not an address"))?,
        window: platform.get("window_seconds").cloned().unwrap_or_default(),
        receipt: options.receipt.clone().unwrap_or_else(|| format!("sample-{}", clock::random_uuid().simple())),
        signer: demo::signer(&data).with_context(|| {
            format!(
                "samples are signed with the key that `settle run` keeps in {}: give --data",
                data::sample_key_file(&data).display()
            )
        })?,
        client,
    })
}

async fn demo_platform(client: &Client) -> anyhow::Result<Value> {
    let missing = "the demo app is not there: start the service with `settle run`";
    let app = named(client, "/v1/apps", "name", demo::APP).await?.context(missing)?;
    let platforms = format!("/v1/apps/{}/platforms", segment(&table::field(&app, "id")));
    named(client, &platforms, "package_name", demo::PACKAGE_NAME).await?.context(missing)
}

/// The topic in samples to a platform: one that the platform follows. The refusal also names what the service needs.
fn topic_arn(platform: &Value, remote: &Remote) -> anyhow::Result<String> {
    let (topic, id) = (&platform["topic"], table::field(platform, "id"));
    let region = format!(":sns:{}:", demo::REGION);
    match topic["arn"].as_str().filter(|_| topic["state"] == "confirmed") {
        Some(arn) if arn.contains(&region) => Ok(arn.to_owned()),
        followed => bail!(
            "{}. Let it follow the topic of samples as well, `{}`; then, unless the service was started so, restart it as \
             `settle run --trust-samples {id}`, since only that takes samples for a platform of your own; and try again",
            followed.map_or("the platform follows no topic yet, so that a sample would be refused", |_| {
                "the platform follows a topic of another region than that of samples"
            }),
            remote.command(&format!("platform update {id} --topic-arn {}", demo::TOPIC_ARN))
        ),
    }
}

/// The first item of a list whose field has this value.
async fn named(client: &Client, path: &str, field: &str, name: &str) -> anyhow::Result<Option<Value>> {
    let mut cursor = None;
    loop {
        let answer = client.get(path, &[("cursor", cursor), ("limit", Some("100".to_owned()))]).await?;
        if let Some(found) = table::items(&answer).iter().find(|item| table::field(item, field) == name) {
            return Ok(Some(found.clone()));
        }
        cursor = answer.get("next_cursor").and_then(Value::as_str).map(str::to_owned);
        if cursor.is_none() {
            return Ok(None);
        }
    }
}

/// Hours, minutes and seconds in UTC.
fn clock_time(at: Timestamp) -> String {
    let text = at.to_string();
    text.get(11..19).map_or_else(|| text.clone(), |time| format!("{time} UTC"))
}
