//! `settle destination`: the receivers of events.

mod flags;
mod retry;
mod shown;

use crate::commands::client::{Client, present_fields, segment};
use crate::commands::drawn::{Exchange, Flag, Resource, Shows, Verb, Verbs};
use crate::commands::names::{self, Text};
use crate::commands::table::{self, Column};
use clap::FromArgMatches;
use flags::Fields;
use serde_json::{Value, json};
use std::process::ExitCode;

const COLUMNS: &[Column] = &[
    ("id", "id"),
    ("kind", "kind"),
    ("name", "name"),
    ("enabled", "enabled"),
    ("state", "state"),
    ("reason", "reason"),
    ("events", "events"),
    ("url", "url"),
    ("endpoint", "endpoint"),
];

const SHOWN: Shows = Shows::Own(|exchange| shown::show(&exchange.answer));

const CREATE: Verb = Verb::own::<Create>(
    "create",
    "Add a destination to an app. A secret in the answer is shown only here",
    "\
Examples:
  settle destination create --app ID --name backend --url https://example.com/hooks
  settle destination create --app ID --name backend --url https://example.com/hooks --header Authorization=@token.txt
  settle destination create --app ID --name analytics --kind amplitude --endpoint standard --api-key @api-key.txt
  printf %s \"$KEY\" | settle destination create --app ID --name analytics --kind amplitude --endpoint eu --api-key -
Next: `settle destination test ID`; `settle resend missing --destination ID` sends it the known purchases.",
    |matches, client| Box::pin(async { create(client, Create::from_arg_matches(matches)?).await }),
);

const LIST: Verb = Verb::get(
    "list",
    "/v1/apps/{app_id}/destinations",
    "List the destinations of an app",
    "\
Example:
  settle destination list --app ID
Next: `settle destination show ID` shows one with its health.",
)
.list(COLUMNS, "No destinations yet: `settle destination create --help`.", "No destination matches.");

const SHOW: Verb = Verb::get(
    "show",
    "/v1/destinations/{destination_id}",
    "Show one destination with its health",
    "\
Example:
  settle destination show ID
Next: `settle explain destination ID` shows why something did not arrive.",
)
.shows(SHOWN);

const UPDATE: Verb = Verb::own::<Update>(
    "update",
    "Change the given fields, leave the rest",
    "\
Examples:
  settle destination update ID --event purchase.updated,user.subscription.* --platform PLATFORM_ID
  settle destination update ID --rate 20 --concurrency 4
  settle destination update ID --clear schedule,filter
Next: events that are recorded from now on follow it; `settle destination test ID` tries the connection.",
    |matches, client| Box::pin(async { update(client, Update::from_arg_matches(matches)?).await }),
);

const ENABLE: Verb = Verb::own::<Enable>(
    "enable",
    "Enable a destination: what is pending for it is sent",
    "\
Example:
  settle destination enable ID
  settle destination enable ID --newest-only --dry-run      (counts the `user.*` events that would be skipped)
Next: `settle destination show ID` shows what is still pending.",
    |matches, client| Box::pin(async { enable(client, Enable::from_arg_matches(matches)?).await }),
);

const DISABLE: Verb = Verb::own::<One>(
    "disable",
    "Disable a destination: events are stored for it",
    "\
Example:
  settle destination disable ID
Next: purchases settle on, and events for it stay pending until `settle destination enable ID`.",
    |matches, client| Box::pin(async { disable(client, One::from_arg_matches(matches)?).await }),
);

const ROTATE_SECRET: Verb = Verb::post(
    "rotate-secret",
    "/v1/destinations/{destination_id}/rotate-secret",
    "Replace the secret that requests are signed with. The new one is shown only here",
    "\
Both secrets sign until the overlap is over, so a receiver that knows either of them accepts.

Example:
  settle destination rotate-secret ID --overlap-hours 48
Next: give the receiver the new secret before the overlap is over.",
)
.shows(SHOWN);

const TEST: Verb = Verb::own::<Test>(
    "test",
    "Try the connection with one request that carries no event of anybody. Exits with 1 when it does not work",
    "\
Example:
  settle destination test ID
  settle destination test ID --event user.subscription.renewed
Next: when it works, `settle resend missing --destination ID` sends the known purchases.",
    |matches, client| Box::pin(async { test(client, Test::from_arg_matches(matches)?).await }),
);

const RETRY: Verb = Verb::own::<Retry>(
    "retry",
    "Send what is pending now, whatever it waits for, and print the result. Exits with 1 when it fails again",
    "\
Back-offs and a pause end, and an open breaker is tried. What arrived or failed for good is not sent again: that is what
`settle resend` does. With --json the answer also has `result` (`sent`, `failed`, `underway`, `nothing_pending`), `left`,
`error` and `next_attempt_at`.

Example:
  settle destination retry ID --reason \"the receiver is back\"
Next: `settle explain destination ID` shows what is still pending, and why.",
    |matches, client| Box::pin(async { retry(client, Retry::from_arg_matches(matches)?).await }),
);

const PROBE: Verb = Verb::post(
    "probe",
    "/v1/destinations/{destination_id}/probe",
    "Try now whether a destination in trouble answers again, without waiting for the next probe",
    "\
Example:
  settle destination probe ID --reason \"the receiver is back\"
Next: when it answers, all that is pending is sent; `settle destination retry ID` also ends back-offs and a pause.",
)
.flags(&[Flag::of("reason").help("Why; it is shown in the Temporal UI")])
.shows(Shows::Sentence(probed));

const DELETE: Verb = Verb::delete(
    "delete",
    "/v1/destinations/{destination_id}",
    "Delete a destination. Its deliveries stay in the ledger",
    "\
Example:
  settle destination delete ID
Next: what was pending for it is never sent. `settle delivery list --destination ID` shows what was.",
)
.confirm("Destination {} is deleted: what is pending for it is never sent.");

pub const RESOURCE: Resource = Resource {
    name: "destination",
    about: "Destinations: the receivers of an app's events",
    help: "\
Example:
  settle destination create --app ID --name backend --url https://example.com/hooks --event purchase.updated
  settle destination create --app ID --name analytics --kind amplitude --endpoint eu --api-key @api-key.txt
  settle destination update ID --rate 20 --schedule 5s,5m,1h --environment production
Next: keep what is shown only once (the webhook's secret: the receiver verifies with it), then
`settle destination test ID`. `settle listen --secret @FILE` is a receiver to try with.
`settle resend missing --destination ID` sends it the known purchases.",
    verbs: Verbs::Named(&[CREATE, LIST, SHOW, UPDATE, ENABLE, DISABLE, ROTATE_SECRET, TEST, RETRY, PROBE, DELETE]),
};

#[derive(Debug, clap::Args)]
struct Create {
    /// The app's id or name.
    #[arg(long)]
    app: String,
    /// What kind of destination it is: `webhook` or `amplitude`.
    #[arg(long, default_value = "webhook")]
    kind: String,
    /// Create it disabled: events are stored for it until it is enabled.
    #[arg(long)]
    disabled: bool,
    #[command(flatten)]
    fields: Fields,
}

#[derive(Debug, clap::Args)]
struct Update {
    /// The destination's id or name.
    id: String,
    /// Remove what a flag set, so that its default applies again: `rate`, `concurrency`, `schedule`, `filter`,
    /// `headers`, `secret-key`, `sandbox-api-key`, …
    #[arg(long, value_name = "FLAG", value_delimiter = ',')]
    clear: Vec<String>,
    #[command(flatten)]
    fields: Fields,
}

#[derive(Debug, clap::Args)]
struct Enable {
    /// The destination's id or name.
    id: String,
    /// Send the newest state of each purchase and none of the pending `user.*` events: they end as skipped.
    #[arg(long)]
    newest_only: bool,
    /// Enable nothing, only count the events that would be skipped.
    #[arg(long, requires = "newest_only")]
    dry_run: bool,
}

#[derive(Debug, clap::Args)]
struct One {
    /// The destination's id or name.
    id: String,
}

#[derive(Debug, clap::Args)]
struct Test {
    /// The destination's id or name.
    id: String,
    /// Send a webhook a made-up event of this type, marked by the header `webhook-test: true`.
    #[arg(long, value_name = "TYPE")]
    event: Option<String>,
}

#[derive(Debug, clap::Args)]
struct Retry {
    /// The destination's id or name.
    id: String,
    /// Why; it is shown in the Temporal UI.
    #[arg(long)]
    reason: Option<String>,
}

async fn id_of(client: &Client, text: &str) -> anyhow::Result<String> {
    names::id_of(client, "destination_id", Text { text, app: None }).await
}

/// Prints a destination.
fn show(client: &Client, answer: &Value) -> ExitCode {
    if client.json {
        table::json(answer);
    } else {
        shown::show(answer);
    }
    ExitCode::SUCCESS
}

async fn create(client: &Client, Create { app, kind, disabled, fields }: Create) -> anyhow::Result<ExitCode> {
    let app = names::app_id(client, &app).await?;
    let mut body = fields.body()?;
    body["kind"] = kind.into();
    body["enabled"] = (!disabled).into();
    let created = client.post(&format!("/v1/apps/{}/destinations", segment(&app)), &body).await?;
    let code = show(client, &created);
    if !client.json {
        let id = table::field(&created, "id");
        table::line(&format!(
            "Next: `settle destination test {id}`; when it works, `settle resend missing --destination {id}` sends the \
             known purchases."
        ));
    }
    Ok(code)
}

async fn update(client: &Client, Update { id, clear, fields }: Update) -> anyhow::Result<ExitCode> {
    let mut body = fields.body()?;
    clear.iter().for_each(|name| body[name.replace('-', "_")] = Value::Null);
    change(client, &id, &body).await
}

async fn enable(client: &Client, Enable { id, newest_only, dry_run }: Enable) -> anyhow::Result<ExitCode> {
    if !dry_run {
        let newest_only = newest_only.then_some(true);
        return change(client, &id, &present_fields(json!({ "enabled": true, "newest_only": newest_only }))).await;
    }
    let body = json!({ "newest_only": true, "dry_run": true });
    let answer = client.post(&format!("{}/enable", path(&id_of(client, &id).await?)), &body).await?;
    let sentence = format!("{} deliveries of user.* events would end as skipped.", table::field(&answer, "skipped"));
    Ok(table::answer_line(client, &answer, &sentence))
}

async fn disable(client: &Client, One { id }: One) -> anyhow::Result<ExitCode> {
    change(client, &id, &json!({ "enabled": false })).await
}

async fn change(client: &Client, id: &str, body: &Value) -> anyhow::Result<ExitCode> {
    Ok(show(client, &client.patch(&path(&id_of(client, id).await?), body).await?))
}

async fn retry(client: &Client, Retry { id, reason }: Retry) -> anyhow::Result<ExitCode> {
    retry::retry(client, &id_of(client, &id).await?, reason).await
}

async fn test(client: &Client, Test { id, event }: Test) -> anyhow::Result<ExitCode> {
    let path = format!("{}/test", path(&id_of(client, &id).await?));
    let answer = client.post(&path, &json!({ "event_type": event })).await?;
    let works = answer["ok"] == true;
    let verdict = if works { "It works" } else { "It does not work" };
    let shown = table::answer_line(client, &answer, &format!("{verdict}: {}", table::field(&answer, "detail")));
    Ok(if works { shown } else { ExitCode::FAILURE })
}

fn path(id: &str) -> String {
    format!("/v1/destinations/{}", segment(id))
}

fn probed(exchange: &Exchange) -> String {
    let id = exchange.typed("destination_id");
    format!(
        "If its breaker is open, it is tried now with one delivery; `settle destination show {id}` shows the result, \
         `settle destination retry {id}` sends all that is pending."
    )
}
