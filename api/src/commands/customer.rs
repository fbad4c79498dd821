//! `settle customer`: everything that its table of verbs cannot express.

use super::client::{Client, present_fields, read_as, segment};
use super::confirm::{Confirm, Question, YES};
use super::customer_shown::{ENTITLEMENTS, print_customer, print_day, print_explained};
use super::drawn::{Exchange, Hook, Planned};
use super::purchase::humanize_state;
use super::{names, table};
use api::resources::naming::{MergedCustomer, counted};
use clap::{Args, FromArgMatches};
use domain::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};
use std::process::ExitCode;
use std::time::Duration;

pub const HOOKS: &[(&str, Hook)] = &[
    (
        "name",
        Hook::Before(|client, planned| Box::pin(confirm_merge(client, planned))),
    ),
    ("name", Hook::Print(print_named)),
    ("show", Hook::Print(print_customer)),
    ("access", Hook::Print(print_day)),
    ("explain", Hook::Print(print_explained)),
    (
        "state",
        Hook::WhyEmpty(|client, exchange| Box::pin(no_access(client, exchange))),
    ),
    ("state", Hook::Print(print_state)),
    (
        "erase",
        Hook::Own(Erasure::augment_args, |matches, client| {
            Box::pin(async { erase(client, Erasure::from_arg_matches(matches)?).await })
        }),
    ),
    (
        "erasure",
        Hook::Print(|_, exchange| print_report(&exchange.answer)),
    ),
    (
        "move",
        Hook::Own(Move::augment_args, |matches, client| {
            Box::pin(async { move_to(client, Move::from_arg_matches(matches)?).await })
        }),
    ),
];

#[derive(Debug, clap::Args)]
struct Erasure {
    /// The app's id or name.
    #[arg(long)]
    app: String,
    #[command(flatten)]
    key: ErasureKey,
    /// The store of --app-user-id, if customers of several stores have this id.
    #[arg(long, requires = "app_user_id")]
    store: Option<String>,
    /// The reason. It is stored, so it must not name the customer.
    #[arg(long)]
    reason: String,
    /// The author. It is stored, so it must not name the customer.
    #[arg(long, value_name = "WHO")]
    by: String,
    /// Change nothing; only show what is stored about the customer.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    confirm: Confirm,
}

/// The customer who is erased, by one of these.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct ErasureKey {
    /// Your id for the customer.
    #[arg(long, value_name = "ID")]
    external_id: Option<String>,
    /// The store's id for the customer.
    #[arg(long, value_name = "ID")]
    app_user_id: Option<String>,
    /// settle's id for the customer.
    #[arg(long, value_name = "ID")]
    user_id: Option<String>,
}

#[derive(Debug, clap::Args)]
struct Move {
    /// The app's id or name.
    #[arg(long)]
    app: String,
    #[command(flatten)]
    key: MoveKey,
    /// The store of --app-user-id, if the app has platforms of several.
    #[arg(long, requires = "app_user_id")]
    store: Option<String>,
    /// Your id for the customer who receives the purchases; a new id creates a customer.
    #[arg(long, value_name = "ID")]
    to: String,
    /// Change nothing; print what would move, and whether a customer would be created.
    #[arg(long)]
    dry_run: bool,
    /// The reason, which is stored.
    #[arg(long, required_unless_present = "dry_run")]
    reason: Option<String>,
    /// The author, which is stored [default: cli].
    #[arg(
        long,
        value_name = "WHO",
        default_value = "cli",
        hide_default_value = true
    )]
    by: String,
}

/// The customer who is moved, by one of these.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct MoveKey {
    /// Your id for the customer.
    #[arg(long, value_name = "ID")]
    external_id: Option<String>,
    /// The store's id for the customer.
    #[arg(long, value_name = "ID")]
    app_user_id: Option<String>,
    /// The store's id of a purchase that the customer owns.
    #[arg(long, value_name = "ID")]
    receipt: Option<String>,
}

/// The preview of a move.
#[derive(Debug, Deserialize)]
struct PreviewedMove {
    /// The customer who receives the purchases; `None` if the move would create one.
    to: Option<IgnoredAny>,
}

/// A response that previews how a customer would be named.
#[derive(Debug, Deserialize)]
struct PreviewedCustomer {
    preview: Preview,
}

/// The preview of naming a customer.
#[derive(Debug, Deserialize)]
struct Preview {
    id: Value,
    merge: Option<PreviewedMerge>,
    note: Option<String>,
}

/// The two customers of a merge.
#[derive(Debug, Deserialize)]
struct PreviewedMerge {
    from: MergedCustomer,
    to: MergedCustomer,
}

/// The stored data of a customer to be erased.
#[derive(Debug, Deserialize)]
struct StoredData {
    purchases: i64,
    events: i64,
    devices: i64,
    deletion_requests: i64,
}

/// The progress in a report about an erasure.
#[derive(Debug, Deserialize)]
struct ErasureProgress {
    id: String,
    removed_at: Option<Timestamp>,
}

/// The fields of a customer's state that decide what is printed.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PrintedState {
    user_id: String,
    environment: String,
    /// The time of a past state; `None` for the present state.
    at: Option<Timestamp>,
    /// The rows of a table; `None` if they are not known.
    active_entitlements: Option<Vec<Value>>,
    purchases: Vec<StatedPurchase>,
    announcement: Option<NotedAnnouncement>,
    why_empty: Option<String>,
}

#[derive(Debug, Deserialize)]
struct StatedPurchase {
    state: Option<String>,
}

#[derive(Debug, Deserialize)]
struct NotedAnnouncement {
    note: Option<String>,
}

/// Why a customer has no access, by environment.
#[derive(Debug, Deserialize)]
struct NoAccess {
    production: NoAccessReason,
    sandbox: NoAccessReason,
}

#[derive(Debug, Deserialize)]
struct NoAccessReason {
    no_access: Option<String>,
}

/// Returns the path of an app's customers.
async fn customers(client: &Client, app: &str) -> anyhow::Result<String> {
    Ok(format!(
        "/v1/apps/{}/customers",
        segment(&names::app_id(client, app).await?)
    ))
}

async fn move_to(client: &Client, wanted: Move) -> anyhow::Result<ExitCode> {
    let Move {
        app,
        key,
        store,
        to,
        dry_run,
        reason,
        by,
    } = wanted;
    let MoveKey {
        external_id,
        app_user_id,
        receipt,
    } = key;
    let from = json!({
        "external_id": external_id, "app_user_id": app_user_id, "receipt_id": receipt, "store": store,
    });
    let path = format!("{}/move", customers(client, &app).await?);
    if dry_run {
        let body = json!({ "from": present_fields(from), "external_id": to });
        let answer = client.post(&format!("{path}/preview"), &body).await?;
        if !client.json && read_as::<PreviewedMove>(&answer)?.to.is_none() {
            table::line(&format!(
                "Nobody has the id `{to}`: the move would create a customer. Check its spelling."
            ));
        }
        return Ok(table::answer(client, &answer));
    }
    let body =
        json!({ "from": present_fields(from), "external_id": to, "reason": reason, "by": by });
    let mut answer = client.post(&path, &body).await?;
    print_warnings(client, &mut answer);
    Ok(table::answer(client, &answer))
}

/// Prints the warnings of a response, unless it is printed as JSON, and removes them from it.
fn print_warnings(client: &Client, answer: &mut Value) {
    let fields = answer.as_object_mut().filter(|_| !client.json);
    table::warnings(
        &fields
            .and_then(|fields| fields.remove("warnings"))
            .unwrap_or_default(),
    );
}

/// Shows the merge that naming a customer would cause, and asks for confirmation. The call then does exactly what was
/// shown, or nothing.
async fn confirm_merge(
    client: &Client,
    planned: &Planned<'_>,
) -> anyhow::Result<Map<String, Value>> {
    if planned.typed.contains_key("merge") {
        return Ok(Map::new());
    }
    let body = Value::Object(planned.body.clone());
    let path = format!("{}?dry_run=true", planned.path);
    let PreviewedCustomer { preview } = read_as(&client.put(&path, &body).await?)?;
    if let Some(note) = preview.note.filter(|_| !client.json) {
        table::line(&note);
    }
    if let Some(merge) = preview.merge {
        Question {
            text: format!("{} [y/N]", merge_question(&merge)),
            answer: YES.to_owned(),
            flag: "--merge",
        }
        .require()?;
    }
    Ok(Map::from_iter([("preview".to_owned(), preview.id)]))
}

/// Returns the effects of a merge, as a question.
fn merge_question(PreviewedMerge { from, to }: &PreviewedMerge) -> String {
    let (owned, all) = (
        counted(to.purchases),
        counted(from.purchases + to.purchases),
    );
    let id = table::shown_or_dash(to.external_id.as_ref());
    format!(
        "`{id}` is the id of another customer with {owned}. Merge the two customers, with {all} in all?"
    )
}

/// Prints a customer who was named or, for a dry run, what would happen.
fn print_named(client: &Client, Exchange { answer, .. }: &Exchange) {
    let mut customer = answer.clone();
    print_warnings(client, &mut customer);
    let preview = customer
        .as_object_mut()
        .and_then(|fields| fields.remove("preview"));
    if let Some(preview) = &preview {
        print_preview(preview);
    }
    table::fields(&customer);
}

/// Prints what naming a customer would do. The preview of another version that this one cannot parse is printed field
/// by field.
fn print_preview(answer: &Value) {
    let Ok(preview) = read_as::<Preview>(answer) else {
        return table::fields(answer);
    };
    if let Some(note) = &preview.note {
        table::line(note);
    }
    match (&preview.merge, answer.get("merge")) {
        (Some(merge), Some(fields)) => {
            table::line(&merge_question(merge));
            table::fields(fields);
            table::line("");
            table::line("The customer would become:");
        }
        _ => table::line("No other customer has this id. The customer would become:"),
    }
}

/// Returns the stored data of a customer, in words.
fn stored(data: &StoredData) -> String {
    let counted = |number: i64, what: &str| match number {
        1 => format!("1 {what}"),
        number => format!("{number} {what}s"),
    };
    let counts = [
        counted(data.purchases, "purchase"),
        counted(data.events, "event"),
        counted(data.devices, "device"),
        counted(data.deletion_requests, "deletion request"),
    ];
    counts.join(", ")
}

async fn erase(client: &Client, erasure: Erasure) -> anyhow::Result<ExitCode> {
    let Erasure {
        app,
        key,
        store,
        reason,
        by,
        dry_run,
        confirm,
    } = erasure;
    let ErasureKey {
        external_id,
        app_user_id,
        user_id,
    } = key;
    let id = [&external_id, &app_user_id, &user_id]
        .into_iter()
        .flatten()
        .next()
        .cloned()
        .unwrap_or_default();
    let body = present_fields(json!({
        "external_id": external_id, "app_user_id": app_user_id, "user_id": user_id, "store": store,
        "reason": reason, "by": by,
    }));
    let path = customers(client, &app).await?;
    if dry_run || !confirm.yes {
        let preview = client
            .post(&format!("{path}/erase?dry_run=true"), &body)
            .await?;
        let stored = stored(&read_as(&preview)?);
        if dry_run {
            return Ok(table::answer_line(
                client,
                &preview,
                &format!("Erasing {id} would affect {stored}."),
            ));
        }
        let text = format!("Erase {id}: {stored}? This cannot be undone. Type the id:");
        Question {
            text,
            answer: id,
            flag: "--yes",
        }
        .require()?;
    }
    let report = client.post(&format!("{path}/erase"), &body).await?;
    let answer = until_removed(client, &path, report).await?;
    if client.json {
        return Ok(table::answer(client, &answer));
    }
    print_report(&answer);
    Ok(ExitCode::SUCCESS)
}

/// How often a report is read until the names are removed.
const READS: usize = 60;
const BETWEEN_READS: Duration = Duration::from_secs(1);

/// Reads the report until the names are removed, for at most a minute. The service continues the removal by itself.
async fn until_removed(client: &Client, path: &str, mut report: Value) -> anyhow::Result<Value> {
    for _ in 0..READS {
        let ErasureProgress { id, removed_at } = read_as(&report)?;
        if removed_at.is_some() {
            break;
        }
        tokio::time::sleep(BETWEEN_READS).await;
        report = client
            .get(&format!("{path}/erase/{}", segment(&id)), &[])
            .await?;
    }
    Ok(report)
}

/// The columns of the table of destinations in a report.
const DESTINATIONS: [table::Column; 4] = [
    ("destination", "destination_id"),
    ("status", "status"),
    ("attempts", "attempts"),
    ("why", "error"),
];

/// Prints a report: its progress, the changed rows per table, and the destinations.
fn print_report(report: &Value) {
    if let Ok(progress) = read_as::<ErasureProgress>(report) {
        table::line(if progress.removed_at.is_none() {
            "The names are being removed; until then, pending events may still be sent with them."
        } else {
            "The names have been removed."
        });
    }
    let mut about = report.clone();
    let fields = about.as_object_mut();
    let destinations = fields.and_then(|fields| fields.remove("destinations"));
    table::fields(&about);
    table::line("");
    table::list(
        &destinations.unwrap_or_default(),
        &DESTINATIONS,
        "No destination of the app stores users.",
    );
}

/// The columns of the table of purchases.
const PURCHASES: [table::Column; 6] = [
    ("purchase", "collapse_key"),
    ("state", "state"),
    ("active", "is_active"),
    ("expires", "expires_at"),
    ("sku", "sku"),
    ("announced", "announced_at"),
];

/// Returns the columns of the purchases in a state. For a past time only the announced records are known, which have no
/// states. Like the entitlements, `active` is what was announced; it is never computed by comparing times.
fn purchase_columns(state: &Value) -> Vec<table::Column<'static>> {
    let PrintedState { purchases, .. } = read_as(state).unwrap_or_default();
    let has_states = purchases.iter().any(|one| one.state.is_some());
    PURCHASES
        .iter()
        .filter(|column| match column.1 {
            "state" => has_states,
            // The present state is the stored one, whichever event announced it.
            "announced_at" => !has_states,
            _ => true,
        })
        .copied()
        .collect()
}

/// Returns the state with its purchases' states worded as on the dashboard.
fn humanized(state: &Value) -> Value {
    let mut state = state.clone();
    let purchases = state.get_mut("purchases").and_then(Value::as_array_mut);
    purchases.into_iter().flatten().for_each(humanize_state);
    state
}

/// Returns why a customer has no active entitlement now, worded as on the customer's page; `None` if there is one, and
/// for a past time.
async fn no_access(client: &Client, exchange: &Exchange) -> anyhow::Result<Option<String>> {
    let Ok(state) = read_as::<PrintedState>(&exchange.answer) else {
        return Ok(None);
    };
    let is_empty = state.active_entitlements.is_some_and(|all| all.is_empty());
    if !is_empty || state.at.is_some() {
        return Ok(None);
    }
    let path = customers(client, &exchange.typed("app_id")).await?;
    let path = format!("{path}/{}", segment(&state.user_id));
    let detail: NoAccess = read_as(&client.get(&path, &[]).await?)?;
    let reason = match state.environment.as_str() {
        "sandbox" => detail.sandbox,
        _ => detail.production,
    };
    Ok(reason.no_access)
}

/// Prints a state: the entitlements and purchases, then its source and the customer. A state of another version that
/// this one cannot parse is printed field by field.
fn print_state(_: &Client, Exchange { answer: state, .. }: &Exchange) {
    let Ok(shown) = read_as::<PrintedState>(state) else {
        return table::fields(state);
    };
    let state = &humanized(state);
    if let Some(entitlements) = shown.active_entitlements {
        let why = shown
            .why_empty
            .map_or_else(String::new, |why| format!(" {why}"));
        table::list(
            &json!({ "items": entitlements }),
            &ENTITLEMENTS,
            &format!("No active entitlements.{why}"),
        );
        table::line("");
    }
    table::list(
        &json!({ "items": state.get("purchases") }),
        &purchase_columns(state),
        "No purchases in this environment; `--environment sandbox` shows test purchases.",
    );
    table::line("");
    if let Some(note) = shown
        .announcement
        .and_then(|announcement| announcement.note)
    {
        table::line(&note);
    }
    let mut about = state.clone();
    if let Some(about) = about.as_object_mut() {
        about.retain(|name, _| {
            !matches!(
                name.as_str(),
                "active_entitlements" | "purchases" | "devices" | "why_empty"
            )
        });
    }
    table::fields(&about);
}

#[cfg(test)]
mod tests {
    use super::{PURCHASES, humanized, purchase_columns, table};
    use serde_json::json;

    #[test]
    fn a_purchase_has_the_state_that_its_page_shows() {
        let state = json!({ "purchases": [{ "state": "off" }, { "state": null }] });
        let expected =
            json!({ "purchases": [{ "state": "active, renewal off" }, { "state": null }] });
        assert_eq!(humanized(&state), expected);
    }

    #[test]
    fn only_a_past_state_shows_when_it_was_announced() {
        let titles = |state: serde_json::Value| -> Vec<&str> {
            let columns = purchase_columns(&json!({ "purchases": [{ "state": state }] }));
            columns.iter().map(|column| column.0).collect()
        };
        let now = titles(json!("active"));
        assert!(
            now.contains(&"state") && !now.contains(&"announced"),
            "{now:?}"
        );
        let past = titles(json!(null));
        assert!(
            !past.contains(&"state") && past.contains(&"announced"),
            "{past:?}"
        );
    }

    #[test]
    fn a_purchase_of_a_past_day_is_active_as_it_was_announced() {
        let purchase = json!({ "state": null, "is_active": true, "expires_at": "2026-10-15T18:30:00.000000Z" });
        let past = json!({ "at": "2026-10-20T00:00:00Z", "purchases": [&purchase] });
        let shown = |field: &str| {
            let columns = purchase_columns(&past);
            let column = columns.iter().find(|column| column.1 == field);
            column.map(|column| table::field(&purchase, column.1))
        };
        assert_eq!(shown("is_active").as_deref(), Some("yes"));
        assert!(
            shown("expires_at").is_some_and(|end| end.starts_with("2026-10-15")),
            "{:?}",
            shown("expires_at")
        );
        assert_eq!(shown("state"), None, "an announced record has none");
        let now = json!({ "at": null, "purchases": [{ "state": "active" }] });
        assert_eq!(purchase_columns(&now).len(), PURCHASES.len() - 1);
    }
}
