//! `settle platform`: an app on one store.

use super::client::{Client, Page, present_fields, segment};
use super::confirm::Confirm;
use super::secret::Source;
use super::table::{self, Column};
use crate::times;
use clap::Subcommand;
use secrecy::ExposeSecret;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::Duration;

const COLUMNS: &[Column] = &[
    ("id", "id"),
    ("name", "name"),
    ("package", "package_name"),
    ("environment", "environment"),
    ("window s", "window_seconds"),
    ("verified", "verification.state"),
    ("topic", "topic.state"),
    ("notification url", "notification_url"),
];
const TOPIC_COLUMNS: &[Column] = &[
    ("id", "id"),
    ("state", "state"),
    ("arn", "arn"),
    ("requested", "requested_at"),
    ("expires", "expires_at"),
    ("decided", "decided_at"),
];

const ARRIVAL_COLUMNS: &[Column] =
    &[("result", "result"), ("last", "last_at"), ("count", "count"), ("first", "first_at"), ("reason", "reason")];

/// Platforms: an app on one store, and the address to which that store sends its notifications.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Example:
  settle platform create --app ID --name \"Fire TV\" --package-name com.example.game --shared-secret @shared-secret.txt
Next: copy its notification_url into the store's console. If the store's topic is not known to be the store's own,
it then waits for your approval: `settle platform topics ID`, `settle platform approve ID TOPIC`.")]
pub enum Verb {
    /// Connect an app to a store.
    #[command(after_help = "\
Example:
  settle platform create --app ID --name \"Fire TV\" --package-name com.example.game --shared-secret @shared-secret.txt
Next: copy its notification_url into the store's console, then `settle platform topics ID`.")]
    Create {
        /// The app's id.
        #[arg(long)]
        app: String,
        /// The store.
        #[arg(long, default_value = "amazon")]
        store: String,
        #[command(flatten)]
        fields: Box<Fields>,
    },
    /// List the platforms of an app.
    #[command(after_help = "\
Example:
  settle platform list --app ID
Next: `settle platform show ID` shows one with its notification URL.")]
    List {
        /// The app's id.
        #[arg(long)]
        app: String,
        #[command(flatten)]
        page: Page,
    },
    /// Show one platform with its notification URL.
    #[command(after_help = "\
Example:
  settle platform show ID
Next: where `verification` is not `on`, set the secret: `settle platform update ID --shared-secret @shared-secret.txt`.")]
    Show {
        /// The platform's id.
        id: String,
    },
    /// Change the given fields, leave the rest.
    #[command(after_help = "\
Example:
  settle platform update ID --shared-secret @shared-secret.txt
  settle platform update ID --window 5m --max-wait 30m
Next: `settle platform show ID` shows it as it is now.")]
    Update {
        /// The platform's id.
        id: String,
        #[command(flatten)]
        fields: Box<Fields>,
    },
    /// Delete a platform. Its notification URL stops working; what was accepted stays in the ledger.
    #[command(after_help = "\
Example:
  settle platform delete ID
Next: remove its notification URL from the store's console: it is answered 404 now.")]
    Delete {
        /// The platform's id.
        id: String,
        #[command(flatten)]
        confirm: Confirm,
    },
    /// Show when the store's messages were accepted and refused last, why, and how often.
    #[command(after_help = "\
Example:
  settle platform arrivals ID
Next: where a topic is not approved, `settle platform topics ID`; where nothing arrived, compare the URL in the store's
console with that of `settle platform show ID`.")]
    Arrivals {
        /// The platform's id.
        id: String,
    },
    /// List the topics that send to this platform, or want to.
    #[command(after_help = "\
Example:
  settle platform topics ID
Next: compare the account in the ARN with the store's, then `settle platform approve ID TOPIC`, or `reject`.")]
    Topics {
        /// The platform's id.
        id: String,
    },
    /// Accept a topic: confirm its subscription and settle what it sent while it waited.
    #[command(after_help = "\
Example:
  settle platform approve ID TOPIC      (the topic's id, as `settle platform topics ID` lists it)
Next: what it sent meanwhile is settled after the window: `settle purchase list --platform ID`.")]
    Approve {
        /// The platform's id.
        id: String,
        /// The topic's id.
        topic: String,
    },
    /// Refuse a topic and everything that it sent.
    #[command(after_help = "\
Example:
  settle platform reject ID TOPIC      (the topic's id, as `settle platform topics ID` lists it)
Next: what it sent, and sends, is refused; `settle platform topics ID` shows it as rejected.")]
    Reject {
        /// The platform's id.
        id: String,
        /// The topic's id.
        topic: String,
    },
    /// Verify again purchases that the store did not know, or that belong to another customer.
    #[command(after_help = "\
Example:
  settle platform retry-parked ID
Next: they are verified a few at a time; `settle explain purchase RECEIPT` shows the store's answer.")]
    RetryParked {
        /// The platform's id.
        id: String,
    },
    /// Create a new notification URL. The old one takes messages until the overlap ends.
    #[command(after_help = "\
Example:
  settle platform rotate-key ID
  settle platform rotate-key ID --overlap-hours 0      (the old one ends within a second)
Next: copy the new notification_url into the store's console. When `settle platform show ID` shows no more use of the old
one, `settle platform retire-old-key ID`.")]
    RotateKey {
        /// The platform's id.
        id: String,
        /// How long the old one takes messages [default: 72].
        #[arg(long, value_name = "HOURS")]
        overlap_hours: Option<u64>,
    },
    /// Retire the previous notification URL; takes effect within a second.
    #[command(after_help = "\
Example:
  settle platform retire-old-key ID
Next: `settle platform show ID` shows no `old_notification_url` any more; what is sent there is answered 404.")]
    RetireOldKey {
        /// The platform's id.
        id: String,
    },
    /// Create a new key for devices. The old one stops working at once, in every copy of the app that has it.
    #[command(after_help = "\
Example:
  settle platform rotate-publishable-key ID
Next: release the app with the new publishable_key.")]
    RotatePublishableKey {
        /// The platform's id.
        id: String,
    },
    /// Require a signed token for device logins; prints the signing secret.
    #[command(after_help = "\
Example:
  settle platform sign-logins ID
  settle platform sign-logins ID --off      (logins need no token any more)
Next: let your server sign a JSON Web Token (HS256) with this secret at each login: `sub` is the external id, `exp` at
most a day ahead. The app sends it as `token`. The secret is not shown again; creating a new one
invalidates it.")]
    SignLogins {
        /// The platform's id.
        id: String,
        /// Take logins without a token again.
        #[arg(long)]
        off: bool,
    },
}

#[derive(Debug, clap::Args, Serialize)]
pub struct Fields {
    /// Its name, for people.
    #[arg(long)]
    name: Option<String>,
    /// The app's package name at the store.
    #[arg(long)]
    package_name: Option<String>,
    /// Where the store's shared secret is read: `@FILE`, or `-` for standard input.
    #[arg(long, value_name = "@FILE|-")]
    #[serde(skip)]
    shared_secret: Option<Source>,
    /// The topic that notifications come from, when it is known beforehand; it then needs no approval.
    #[arg(long)]
    topic_arn: Option<String>,
    /// Which of the store's environments it is [default: production].
    #[arg(long, value_parser = ["production", "sandbox"])]
    environment: Option<String>,
    /// Which SKU of a subscription names its product: that of the term (the default), or that of the parent.
    #[arg(long, value_parser = ["term", "parent"])]
    product_ref: Option<String>,
    /// Settle a revocation at once, without a window [default: false].
    #[arg(long, value_name = "true|false", num_args = 0..=1, default_missing_value = "true")]
    flush_on_revoke: Option<bool>,
    /// What happens to a receipt that the store still does not know after a day: its notifications are given up (the
    /// default), or believed and announced unverified (the Billing Compatibility SDK).
    #[arg(long, value_parser = ["give_up", "believe"])]
    unknown_receipts: Option<String>,
    /// Whether a login on a device takes over another named customer's purchases: immediately, after review (`settle
    /// customer reviews`), or never. `default` is `review` while logins are signed, and else `immediate`.
    #[arg(long, value_parser = ["immediate", "review", "never", "default"])]
    transfers: Option<String>,
    /// How long a purchase must be quiet before it is settled: 1s to 1h [default: 2m].
    #[arg(long, value_parser = times::duration)]
    #[serde(rename = "window_seconds", serialize_with = "seconds")]
    window: Option<Duration>,
    /// Maximum time until a purchase is settled, however often its window is restarted.
    #[arg(long, value_parser = times::duration)]
    #[serde(rename = "max_wait_seconds", serialize_with = "seconds")]
    max_wait: Option<Duration>,
    /// Maximum number of events that its devices report in a day (UTC) [default: 50 million].
    #[arg(long, value_name = "NUMBER")]
    device_events_per_day: Option<i64>,
    /// Maximum number of bytes of the requests with them [default: 50 GiB].
    #[arg(long, value_name = "BYTES")]
    device_bytes_per_day: Option<i64>,
    /// Maximum number of new devices in a day [default: 1 million].
    #[arg(long, value_name = "NUMBER")]
    new_devices_per_day: Option<i64>,
    /// Maximum number of new customers per day created by a login on a device [default: 1 million].
    #[arg(long, value_name = "NUMBER")]
    new_users_per_day: Option<i64>,
}

impl Fields {
    /// The body of a request. Flags that are not set are absent.
    fn body(self) -> anyhow::Result<Value> {
        let shared_secret = self.shared_secret.as_ref().map(Source::read).transpose()?;
        let mut body = present_fields(json!(self));
        if let Some(secret) = shared_secret {
            body["shared_secret"] = secret.expose_secret().into();
        }
        if body["transfers"] == "default" {
            body["transfers"] = Value::Null;
        }
        Ok(body)
    }
}

/// Runs one subcommand.
pub async fn platform(verb: Verb, client: &Client) -> anyhow::Result<ExitCode> {
    let answer = match verb {
        Verb::Create { app, store, fields } => {
            let mut body = fields.body()?;
            body["store"] = store.into();
            let created = client.post(&format!("/v1/apps/{}/platforms", segment(&app)), &body).await?;
            let id = table::field(&created, "id");
            let next = format!(
                "copy its notification_url into the store's console; then `settle platform topics {id}` shows which topic \
                 sends. `settle destination create --help` shows how a receiver is added."
            );
            return Ok(table::answer_next(client, &created, &next));
        }
        Verb::List { app, page } => {
            let answer = client.get(&format!("/v1/apps/{}/platforms", segment(&app)), &page.query()).await?;
            let nothing = "No platforms yet: `settle platform create --help`.";
            return Ok(table::answer_list(client, &answer, COLUMNS, nothing));
        }
        Verb::Topics { id } => {
            let answer = client.get(&format!("{}/topics", path(&id)), &[]).await?;
            let nothing = "No topic has requested to send to this platform yet.";
            return Ok(table::answer_list(client, &answer, TOPIC_COLUMNS, nothing));
        }
        Verb::Arrivals { id } => {
            let answer = client.get(&format!("{}/arrivals", path(&id)), &[]).await?;
            return Ok(table::answer_list(client, &arrivals(&answer), ARRIVAL_COLUMNS, "Nothing arrived yet."));
        }
        Verb::Show { id } => client.get(&path(&id), &[]).await?,
        Verb::Update { id, fields } => client.patch(&path(&id), &fields.body()?).await?,
        Verb::Delete { id, confirm } => {
            confirm.prompt(&format!("Platform {id} is deleted: its notification URL stops working."))?;
            client.delete(&path(&id)).await?
        }
        Verb::Approve { id, topic } => client.post(&topic_path(&id, &topic, "approve"), &json!({})).await?,
        Verb::Reject { id, topic } => client.post(&topic_path(&id, &topic, "reject"), &json!({})).await?,
        Verb::RetryParked { id } => client.post(&format!("{}/retry-parked", path(&id)), &json!({})).await?,
        Verb::RotateKey { id, overlap_hours } => {
            let body = present_fields(json!({ "overlap_hours": overlap_hours }));
            client.post(&format!("{}/rotate-ingress-key", path(&id)), &body).await?
        }
        Verb::RetireOldKey { id } => client.post(&format!("{}/retire-old-ingress-key", path(&id)), &json!({})).await?,
        Verb::RotatePublishableKey { id } => {
            client.post(&format!("{}/rotate-publishable-key", path(&id)), &json!({})).await?
        }
        Verb::SignLogins { id, off: false } => client.post(&format!("{}/login-secret", path(&id)), &json!({})).await?,
        Verb::SignLogins { id, off: true } => client.delete(&format!("{}/login-secret", path(&id))).await?,
    };
    Ok(table::answer(client, &answer))
}

/// What arrived as a list: what was accepted, then what was refused.
fn arrivals(answer: &Value) -> Value {
    let accepted = answer["accepted"].as_object().map(|accepted| {
        let mut accepted = accepted.clone();
        accepted.insert("result".to_owned(), "accepted".into());
        Value::Object(accepted)
    });
    let refused = answer["refused"].as_array().into_iter().flatten().map(|one| {
        let mut one = one.clone();
        one["result"] = "refused".into();
        one
    });
    json!({ "items": accepted.into_iter().chain(refused).collect::<Vec<_>>() })
}

fn path(id: &str) -> String {
    format!("/v1/platforms/{}", segment(id))
}

fn topic_path(id: &str, topic: &str, verb: &str) -> String {
    format!("{}/topics/{}/{verb}", path(id), segment(topic))
}

/// Whole seconds as an integer; fractions are sent as decimals, so that the API rejects them.
fn seconds<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) if duration.subsec_nanos() == 0 => serializer.serialize_u64(duration.as_secs()),
        Some(duration) => serializer.serialize_f64(duration.as_secs_f64()),
        None => serializer.serialize_none(),
    }
}
