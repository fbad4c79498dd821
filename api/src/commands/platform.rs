//! `settle platform`: an app on one store.

use super::client::{Client, segment};
use super::drawn::{Flag, Resource, Shows, Verb, Verbs};
use super::names::{self, Text};
use super::table::{self, Column};
use clap::FromArgMatches;
use serde_json::{Value, json};
use std::process::ExitCode;

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

const CREATE: Verb = Verb::post(
    "create",
    "/v1/apps/{app_id}/platforms",
    "Connect an app to a store",
    "\
Example:
  settle platform create --app ID --name \"Fire TV\" --package-name com.example.game --shared-secret @shared-secret.txt
Next: copy its notification_url into the store's console, then `settle platform topics ID`.",
)
.flags(&[Flag::of("store").default("amazon")])
.shows(Shows::Next(
    "copy its notification_url into the store's console; then `settle platform topics {id}` shows which topic sends. \
     `settle destination create --help` shows how a receiver is added.",
));

const LIST: Verb = Verb::get(
    "list",
    "/v1/apps/{app_id}/platforms",
    "List the platforms of an app",
    "\
Example:
  settle platform list --app ID
Next: `settle platform show ID` shows one with its notification URL.",
)
.list(COLUMNS, "No platforms yet: `settle platform create --help`.", "No platform matches.");

const SHOW: Verb = Verb::get(
    "show",
    "/v1/platforms/{platform_id}",
    "Show one platform with its notification URL",
    "\
Example:
  settle platform show ID
Next: where `verification` is not `on`, set the secret: `settle platform update ID --shared-secret @shared-secret.txt`.",
);

const UPDATE: Verb = Verb::patch(
    "update",
    "/v1/platforms/{platform_id}",
    "Change the given fields, leave the rest",
    "\
Example:
  settle platform update ID --shared-secret @shared-secret.txt
  settle platform update ID --window 5m --max-wait 30m
  settle platform update ID --clear max-wait
Next: `settle platform show ID` shows it as it is now.",
);

const DELETE: Verb = Verb::delete(
    "delete",
    "/v1/platforms/{platform_id}",
    "Delete a platform. Its notification URL stops working; what was accepted stays in the ledger",
    "\
Example:
  settle platform delete ID
Next: remove its notification URL from the store's console: it is answered 404 now.",
)
.confirm("Platform {} is deleted: its notification URL stops working.");

const ARRIVALS: Verb = Verb::get(
    "arrivals",
    "/v1/platforms/{platform_id}/arrivals",
    "Show when the store's messages were accepted and refused last, why, and how often",
    "\
Example:
  settle platform arrivals ID
Next: where a topic is not approved, `settle platform topics ID`; where nothing arrived, compare the URL in the store's
console with that of `settle platform show ID`.",
)
.humanize(|answer| *answer = arrivals(answer))
.list(ARRIVAL_COLUMNS, "Nothing arrived yet.", "Nothing arrived yet.");

const TOPICS: Verb = Verb::get(
    "topics",
    "/v1/platforms/{platform_id}/topics",
    "List the topics that send to this platform, or want to",
    "\
Example:
  settle platform topics ID
Next: compare the account in the ARN with the store's, then `settle platform approve ID TOPIC`, or `reject`.",
)
.list(TOPIC_COLUMNS, NO_TOPIC, NO_TOPIC);

const NO_TOPIC: &str = "No topic has requested to send to this platform yet.";

const APPROVE: Verb = Verb::post(
    "approve",
    "/v1/platforms/{platform_id}/topics/{topic_id}/approve",
    "Accept a topic: confirm its subscription and settle what it sent while it waited",
    "\
Example:
  settle platform approve ID TOPIC      (the topic's id, as `settle platform topics ID` lists it)
Next: what it sent meanwhile is settled after the window: `settle purchase list --platform ID`.",
)
.flags(TOPIC);

const REJECT: Verb = Verb::post(
    "reject",
    "/v1/platforms/{platform_id}/topics/{topic_id}/reject",
    "Refuse a topic and everything that it sent",
    "\
Example:
  settle platform reject ID TOPIC      (the topic's id, as `settle platform topics ID` lists it)
Next: what it sent, and sends, is refused; `settle platform topics ID` shows it as rejected.",
)
.flags(TOPIC);

const TOPIC: &[Flag] = &[Flag::of("topic_id").value("TOPIC")];

const RETRY_PARKED: Verb = Verb::post(
    "retry-parked",
    "/v1/platforms/{platform_id}/retry-parked",
    "Verify again purchases that the store did not know, or that belong to another customer",
    "\
Example:
  settle platform retry-parked ID
Next: they are verified a few at a time; `settle explain purchase RECEIPT` shows the store's answer.",
);

const ROTATE_KEY: Verb = Verb::post(
    "rotate-key",
    "/v1/platforms/{platform_id}/rotate-ingress-key",
    "Create a new notification URL. The old one takes messages until the overlap ends",
    "\
Example:
  settle platform rotate-key ID
  settle platform rotate-key ID --overlap-hours 0      (the old one ends within a second)
Next: copy the new notification_url into the store's console. When `settle platform show ID` shows no more use of the old
one, `settle platform retire-old-key ID`.",
)
.flags(&[Flag::of("overlap_hours").value("HOURS")]);

const RETIRE_OLD_KEY: Verb = Verb::post(
    "retire-old-key",
    "/v1/platforms/{platform_id}/retire-old-ingress-key",
    "Retire the previous notification URL; takes effect within a second",
    "\
Example:
  settle platform retire-old-key ID
Next: `settle platform show ID` shows no `old_notification_url` any more; what is sent there is answered 404.",
);

const ROTATE_PUBLISHABLE_KEY: Verb = Verb::post(
    "rotate-publishable-key",
    "/v1/platforms/{platform_id}/rotate-publishable-key",
    "Create a new key for devices. The old one stops working at once, in every copy of the app that has it",
    "\
Example:
  settle platform rotate-publishable-key ID
Next: release the app with the new publishable_key.",
);

const SIGN_LOGINS: Verb = Verb::own::<SignLogins>(
    "sign-logins",
    "Require a signed token for device logins; prints the signing secret",
    "\
Example:
  settle platform sign-logins ID
  settle platform sign-logins ID --off      (logins need no token any more)
Next: let your server sign a JSON Web Token (HS256) with this secret at each login: `sub` is the external id, `exp` at
most a day ahead. The app sends it as `token`. The secret is not shown again; creating a new one invalidates it.",
    |matches, client| Box::pin(async { sign_logins(client, SignLogins::from_arg_matches(matches)?).await }),
);

pub const RESOURCE: Resource = Resource {
    name: "platform",
    about: "Platforms: an app on one store, and the address to which that store sends its notifications",
    help: "\
Example:
  settle platform create --app ID --name \"Fire TV\" --package-name com.example.game --shared-secret @shared-secret.txt
Next: copy its notification_url into the store's console. If the store's topic is not known to be the store's own,
it then waits for your approval: `settle platform topics ID`, `settle platform approve ID TOPIC`.",
    verbs: Verbs::Named(&[
        CREATE,
        LIST,
        SHOW,
        UPDATE,
        DELETE,
        ARRIVALS,
        TOPICS,
        APPROVE,
        REJECT,
        RETRY_PARKED,
        ROTATE_KEY,
        RETIRE_OLD_KEY,
        ROTATE_PUBLISHABLE_KEY,
        SIGN_LOGINS,
    ]),
};

#[derive(Debug, clap::Args)]
struct SignLogins {
    /// The platform's id or name.
    id: String,
    /// Take logins without a token again.
    #[arg(long)]
    off: bool,
}

async fn sign_logins(client: &Client, SignLogins { id, off }: SignLogins) -> anyhow::Result<ExitCode> {
    let path = format!(
        "/v1/platforms/{}/login-secret",
        segment(&names::id_of(client, "platform_id", Text { text: &id, app: None }).await?)
    );
    let answer = if off { client.delete(&path).await? } else { client.post(&path, &json!({})).await? };
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
