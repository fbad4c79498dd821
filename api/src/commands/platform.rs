//! `settle platform`: everything that its table of verbs cannot express.

use super::client::{Client, read_as, segment};
use super::drawn::{Exchange, Hook};
use super::names;
use super::table;
use api::resources::forms::of_stores;
use api::stores;
use clap::{Args, FromArgMatches};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::process::ExitCode;
use url::{Host, Url};

pub const HOOKS: &[(&str, Hook)] = &[
    ("create", Hook::Order(order)),
    ("create", Hook::Print(print_created)),
    ("update", Hook::Order(order)),
    (
        "arrivals",
        Hook::Humanize(|answer| *answer = arrivals(answer)),
    ),
    (
        "sign-logins",
        Hook::Own(SignLogins::augment_args, |matches, client| {
            Box::pin(async { sign_logins(client, SignLogins::from_arg_matches(matches)?).await })
        }),
    ),
];

/// The fields in the order of the form.
fn order() -> Vec<&'static str> {
    of_stores(&stores::all().collect::<Vec<_>>())
        .iter()
        .flat_map(|form| form.fields.iter().map(|field| field.name))
        .collect()
}

fn print_created(
    _: &Client,
    Exchange {
        answer: platform, ..
    }: &Exchange,
) {
    let mut shown = platform.clone();
    let warnings = shown
        .as_object_mut()
        .and_then(|fields| fields.remove("warnings"));
    table::fields(&shown);
    table::warnings(&warnings.unwrap_or_default());
    let (id, url) = (
        table::field(platform, "id"),
        table::field(platform, "notification_url"),
    );
    if url.parse::<Url>().is_ok_and(|url| is_of_this_machine(&url)) {
        table::line(
            "No store can reach this address, because it is local: start settle with its public address in \
             SETTLE_PUBLIC_URL, such as a tunnel's.",
        );
    }
    let then = if shows_steps(&table::field(platform, "store")) {
        format!("`settle platform steps {id}` shows what was last seen of each step")
    } else {
        format!("`settle platform topics {id}` shows its topic")
    };
    table::line(&format!(
        "Next: paste notification_url into the store's console; then {then}. \
         `settle destination create --help` shows how to add a receiver."
    ));
}

/// Returns whether the setup steps of a store show what was last seen of them.
fn shows_steps(store: &str) -> bool {
    let entry = stores::all().find(|entry| entry.name == store);
    entry.is_some_and(|entry| {
        let guide = (entry.form)().guide;
        guide.iter().any(|step| step.evidence.is_some())
    })
}

fn is_of_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback() || address.is_unspecified(),
        Some(Host::Ipv6(address)) => address.is_loopback() || address.is_unspecified(),
        None => false,
    }
}

#[derive(Debug, clap::Args)]
struct SignLogins {
    /// The platform's id or name.
    id: String,
    /// The app in which the name is looked up, by its id or name.
    #[arg(long)]
    app: Option<String>,
    /// Accept logins without a token again.
    #[arg(long)]
    off: bool,
}

async fn sign_logins(
    client: &Client,
    SignLogins { id, app, off }: SignLogins,
) -> anyhow::Result<ExitCode> {
    let id = names::id_in(client, "platform_id", &id, app.as_deref()).await?;
    let path = format!("/v1/platforms/{}/login-secret", segment(&id));
    let answer = if off {
        client.delete(&path).await?
    } else {
        client.post(&path, &json!({})).await?
    };
    Ok(table::answer(client, &answer))
}

/// The messages at a platform's notification URL, as rows of a table.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Arrivals {
    accepted: Option<Map<String, Value>>,
    refused: Vec<Map<String, Value>>,
}

/// Returns the arrivals as a list: accepted messages, then refused ones.
fn arrivals(answer: &Value) -> Value {
    let Arrivals { accepted, refused } = read_as(answer).unwrap_or_default();
    let row = |mut row: Map<String, Value>, result: &str| {
        row.insert("result".to_owned(), result.into());
        row
    };
    let accepted = accepted.into_iter().map(|one| row(one, "accepted"));
    let refused = refused.into_iter().map(|one| row(one, "refused"));
    json!({ "items": accepted.chain(refused).collect::<Vec<_>>() })
}
