//! `settle destination`: what the table of its verbs cannot state.

mod flags;
mod retry;
mod shown;

use crate::commands::client::{Client, present_fields, segment};
use crate::commands::drawn::Hook;
use crate::commands::names::{self, Text};
use crate::commands::table;
use clap::{Args, FromArgMatches};
use flags::Fields;
use serde_json::{Value, json};
use std::process::ExitCode;

pub const HOOKS: &[(&str, Hook)] = &[
    (
        "create",
        Hook::Own(Create::augment_args, |matches, client| {
            Box::pin(async { create(client, Create::from_arg_matches(matches)?).await })
        }),
    ),
    ("show", Hook::Print(|exchange| shown::show(&exchange.answer))),
    (
        "update",
        Hook::Own(Update::augment_args, |matches, client| {
            Box::pin(async { update(client, Update::from_arg_matches(matches)?).await })
        }),
    ),
    (
        "enable",
        Hook::Own(Enable::augment_args, |matches, client| {
            Box::pin(async { enable(client, Enable::from_arg_matches(matches)?).await })
        }),
    ),
    (
        "disable",
        Hook::Own(One::augment_args, |matches, client| {
            Box::pin(async { disable(client, One::from_arg_matches(matches)?).await })
        }),
    ),
    ("rotate-secret", Hook::Print(|exchange| shown::show(&exchange.answer))),
    (
        "test",
        Hook::Own(Test::augment_args, |matches, client| {
            Box::pin(async { test(client, Test::from_arg_matches(matches)?).await })
        }),
    ),
    (
        "retry",
        Hook::Own(Retry::augment_args, |matches, client| {
            Box::pin(async { retry(client, Retry::from_arg_matches(matches)?).await })
        }),
    ),
];

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
    let mut body = fields.body(client, Some(&app)).await?;
    body["kind"] = kind.into();
    body["enabled"] = (!disabled).into();
    let created = client.post(&format!("/v1/apps/{}/destinations", segment(&app)), &body).await;
    let created = created.map_err(flags::in_flags)?;
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
    let id = id_of(client, &id).await?;
    let app = client.get(&path(&id), &[]).await?["app_id"].as_str().map(str::to_owned);
    let mut body = fields.body(client, app.as_deref()).await?;
    clear.iter().for_each(|name| body[name.replace('-', "_")] = Value::Null);
    change(client, &id, &body).await.map_err(flags::in_flags)
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
