//! `settle destination`: everything that its table of verbs cannot express.

mod flags;
pub mod kinds;
mod retry;
mod shown;

pub use shown::notable_state;

use crate::client::{Client, read_as, segment};
use crate::drawn::{Exchange, Hook};
use crate::names;
use crate::table;
use api::near::did_you_mean;
use api::resources::destinations::{Skipping, Tested};
use api::resources::forms::of_destinations;
use clap::{Args, FromArgMatches};
use domain::event::{PURCHASE_UPDATED, Wildcards, chooses};
use flags::TypedFields;
use serde::Deserialize;
use serde_json::Value;
use std::process::ExitCode;

pub const HOOKS: &[(&str, Hook)] = &[
    (
        "create",
        Hook::Own(Create::augment_args, |matches, client| {
            Box::pin(async { create(client, Create::from_arg_matches(matches)?).await })
        }),
    ),
    ("list", Hook::Humanize(shown::humanize_states)),
    ("show", Hook::Print(show_answer)),
    (
        "update",
        Hook::Own(Update::augment_args, |matches, client| {
            Box::pin(async { update(client, Update::from_arg_matches(matches)?).await })
        }),
    ),
    ("enable", Hook::Print(enabled)),
    ("disable", Hook::Print(show_answer)),
    ("rotate-secret", Hook::Print(show_answer)),
    ("test", Hook::Sentence(verdict)),
    ("test", Hook::Fails(|answer| !is_connected(answer))),
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
    #[arg(long, help = kinds::help(), default_value = kinds::usual(), value_parser = kind)]
    kind: String,
    /// Create it disabled: its events stay pending until it is enabled.
    #[arg(long)]
    disabled: bool,
    #[command(flatten)]
    fields: TypedFields,
}

#[derive(Debug, clap::Args)]
struct Update {
    #[command(flatten)]
    named: NamedDestination,
    /// Reset a flag to its default: `rate`, `concurrency`, `schedule`, `platform`,
    /// `environment`, `headers`, `secret-key`, `sandbox-api-key`, …
    #[arg(long, value_name = "FLAG", value_delimiter = ',')]
    clear: Vec<String>,
    #[command(flatten)]
    fields: TypedFields,
}

#[derive(Debug, clap::Args)]
struct Retry {
    #[command(flatten)]
    named: NamedDestination,
    /// The reason, which the Temporal UI shows.
    #[arg(long)]
    reason: Option<String>,
}

/// An existing destination.
#[derive(Debug, clap::Args)]
struct NamedDestination {
    /// The destination's id or name.
    id: String,
    /// The app in which the name is looked up, by its id or name.
    #[arg(long)]
    app: Option<String>,
}

/// Parses a kind of destination.
fn kind(text: &str) -> Result<String, String> {
    let forms = of_destinations();
    let kinds = || forms.iter().map(|form| form.name);
    if kinds().any(|kind| kind == text) {
        return Ok(text.to_owned());
    }
    let known: Vec<String> = kinds().map(|kind| format!("`{kind}`")).collect();
    Err(format!(
        "expected {}{}",
        known.join(" or "),
        did_you_mean(text, kinds())
    ))
}

impl NamedDestination {
    async fn id(&self, client: &Client) -> anyhow::Result<String> {
        names::id_in(client, "destination_id", &self.id, self.app.as_deref()).await
    }
}

fn show_answer(_: &Client, exchange: &Exchange) {
    shown::show(&exchange.answer);
}

fn enabled(client: &Client, exchange: &Exchange) {
    if exchange.typed("dry_run").is_empty() {
        return show_answer(client, exchange);
    }
    let Ok(Skipping { skipped, .. }) = read_as(&exchange.answer) else {
        return table::fields(&exchange.answer);
    };
    table::line(&format!(
        "{skipped} deliveries of user.* events would be skipped."
    ));
}

/// Returns whether a test found that the connection works.
fn is_connected(answer: &Value) -> bool {
    read_as::<Tested>(answer).is_ok_and(|test| test.ok)
}

fn verdict(exchange: &Exchange) -> String {
    let verdict = if is_connected(&exchange.answer) {
        "Success"
    } else {
        "Failure"
    };
    format!("{verdict}: {}", table::field(&exchange.answer, "detail"))
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

async fn create(
    client: &Client,
    Create {
        app,
        kind,
        disabled,
        fields,
    }: Create,
) -> anyhow::Result<ExitCode> {
    let app = names::app_id(client, &app).await?;
    let mut body = fields.body(client, Some(&app)).await?;
    body["kind"] = kind.into();
    body["enabled"] = (!disabled).into();
    let created = client
        .post(&format!("/v1/apps/{}/destinations", segment(&app)), &body)
        .await;
    let created = created.map_err(flags::in_flags)?;
    let code = show(client, &created);
    if !client.json
        && let Ok(created) = read_as::<Created>(&created)
    {
        if let Some(note) = revenue_left_out(&created) {
            table::line(&note);
        }
        table::line(&next(&created));
    }
    Ok(code)
}

/// The fields of a new destination on which the next steps depend.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Created {
    id: String,
    events: Vec<String>,
    /// Whether the destination has an API key for sandbox events; `None` if its kind has no such key.
    has_sandbox_api_key: Option<bool>,
}

/// Returns the next steps after a destination was created. Earlier purchases can be sent only to a destination that is
/// subscribed to `purchase.updated` or keeps profiles.
fn next(created: &Created) -> String {
    let id = &created.id;
    let test = format!("Next: `settle destination test {id}`");
    let gets_states = chooses(&created.events, Wildcards::Everything, PURCHASE_UPDATED);
    if !gets_states && !counts_revenue(created) {
        return format!("{test}.");
    }
    format!(
        "{test}; if it succeeds, `settle resend missing --destination {id}` sends earlier purchases."
    )
}

/// The event for a payment after a plan change, which an integration's wildcards do not include.
const PLAN_CHANGED: &str = "user.subscription.sku_change";

/// Returns whether a destination is an integration, which counts revenue and keeps profiles.
fn counts_revenue(created: &Created) -> bool {
    created.has_sandbox_api_key.is_some()
}

/// Returns the warning that an integration receives no event about some payments; `None` for a destination that counts
/// no revenue.
fn revenue_left_out(created: &Created) -> Option<String> {
    let is_chosen = created.events.iter().any(|one| one == PLAN_CHANGED);
    (counts_revenue(created) && !is_chosen).then(|| {
        format!(
            "Note: `{PLAN_CHANGED}` has the revenue of another plan's first payment, and no wildcard includes it. \
             Subscribe to it by name with `--event`."
        )
    })
}

async fn update(
    client: &Client,
    Update {
        named,
        clear,
        fields,
    }: Update,
) -> anyhow::Result<ExitCode> {
    let id = named.id(client).await?;
    let app = names::app_of(client, &path(&id)).await?;
    let mut body = fields.body(client, Some(&app)).await?;
    flags::clear(&mut body, &clear)?;
    let changed = client
        .patch(&path(&id), &body)
        .await
        .map_err(flags::in_flags)?;
    Ok(show(client, &changed))
}

async fn retry(client: &Client, Retry { named, reason }: Retry) -> anyhow::Result<ExitCode> {
    retry::retry(client, &named.id(client).await?, reason).await
}

fn path(id: &str) -> String {
    format!("/v1/destinations/{}", segment(id))
}

#[cfg(test)]
mod tests {
    use super::{Created, PLAN_CHANGED, next, read_as, revenue_left_out};
    use serde_json::{Value, json};

    fn created(answer: &Value) -> Created {
        read_as(answer).expect("a destination")
    }

    #[test]
    fn only_a_destination_of_purchases_is_to_get_earlier_ones() {
        let next = |mut answer: Value| {
            answer["id"] = "ID".into();
            next(&created(&answer))
        };
        for events in [json!(["alarm.*"]), json!(["user.subscription.renewed"])] {
            assert_eq!(
                next(json!({ "events": events })),
                "Next: `settle destination test ID`."
            );
        }
        for answer in [
            json!({ "events": ["*"] }),
            json!({ "events": ["alarm.*", "purchase.updated"] }),
            json!({ "events": ["user.*"], "has_sandbox_api_key": true }),
        ] {
            let text = next(answer);
            assert!(
                text.contains("`settle resend missing --destination ID`"),
                "{text}"
            );
        }
    }

    #[test]
    fn an_integration_without_changes_of_plan_lacks_revenue() {
        let integration =
            |events: &[&str]| created(&json!({ "events": events, "has_sandbox_api_key": false }));
        assert!(
            revenue_left_out(&integration(&["*"])).is_some_and(|note| note.contains(PLAN_CHANGED))
        );
        assert_eq!(revenue_left_out(&integration(&["*", PLAN_CHANGED])), None);
        let webhook = created(&json!({ "events": ["*"] }));
        assert_eq!(revenue_left_out(&webhook), None);
    }
}
