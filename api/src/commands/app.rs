//! `settle app`: the verbs that need more than one call.

use super::client::{Client, read_as};
use super::confirm::{Question, YES};
use super::drawn::{Exchange, Hook, Planned};
use super::import::{self, Import};
use super::rates::{self, Rates};
use super::sales::{self, Sales};
use super::table;
use clap::{Args, FromArgMatches};
use serde::de::IgnoredAny;
use serde_json::{Map, Value};
use storage::{App, Paged};

pub const HOOKS: &[(&str, Hook)] = &[
    ("create", Hook::Print(print_created)),
    (
        "import",
        Hook::Own(Import::augment_args, |matches, client| {
            Box::pin(async { import::import(client, &Import::from_arg_matches(matches)?).await })
        }),
    ),
    (
        "rates",
        Hook::Own(Rates::augment_args, |matches, client| {
            Box::pin(async { rates::rates(client, &Rates::from_arg_matches(matches)?).await })
        }),
    ),
    (
        "import-sales",
        Hook::Own(Sales::augment_args, |matches, client| {
            Box::pin(async { sales::sales(client, &Sales::from_arg_matches(matches)?).await })
        }),
    ),
    (
        "delete",
        Hook::Before(|client, planned| Box::pin(confirm_deletion(client, planned))),
    ),
];

fn print_created(_: &Client, Exchange { answer: app, .. }: &Exchange) {
    table::fields(app);
    let id = table::field(app, "id");
    table::line(&format!(
        "Next: connect its store with `settle platform create --app {id} …`."
    ));
}

/// Asks for confirmation before an app is deleted, and names everything that is deleted with it.
async fn confirm_deletion(
    client: &Client,
    planned: &Planned<'_>,
) -> anyhow::Result<Map<String, Value>> {
    if planned.is_confirmed {
        return Ok(Map::new());
    }
    let app: App = read_as(&client.get(planned.path, &[]).await?)?;
    let id = app.id.to_string();
    let platforms = count(
        client,
        &format!("{}/platforms", planned.path),
        None,
        "platform",
    )
    .await?;
    let destinations = count(
        client,
        &format!("{}/destinations", planned.path),
        None,
        "destination",
    )
    .await?;
    let purchases = count(client, "/v1/purchases", Some(&id), "purchase").await?;
    let name = table::shown(&app.name);
    let text = format!("Delete app {name} ({platforms}, {destinations}, {purchases})? [y/N]");
    Question {
        text,
        answer: YES.to_owned(),
        flag: "--yes",
    }
    .require()?;
    Ok(Map::new())
}

/// Returns how many items a list has, in words. Only the first page of a long list is read.
async fn count(
    client: &Client,
    path: &str,
    app: Option<&str>,
    what: &str,
) -> anyhow::Result<String> {
    const MAX: &str = "500";
    let query = [
        ("limit", Some(MAX.to_owned())),
        ("app_id", app.map(str::to_owned)),
    ];
    let list: Paged<IgnoredAny> = read_as(&client.get(path, &query).await?)?;
    Ok(match list.items.len() {
        _ if list.next_cursor.is_some() => format!("more than {MAX} {what}s"),
        1 => format!("1 {what}"),
        number => format!("{number} {what}s"),
    })
}
