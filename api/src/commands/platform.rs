//! `settle platform`: what the table of its verbs cannot state.

use super::client::{Client, segment};
use super::drawn::Hook;
use super::names::{self, Text};
use super::table;
use clap::{Args, FromArgMatches};
use serde_json::{Value, json};
use std::process::ExitCode;

pub const HOOKS: &[(&str, Hook)] = &[
    ("arrivals", Hook::Humanize(|answer| *answer = arrivals(answer))),
    (
        "sign-logins",
        Hook::Own(SignLogins::augment_args, |matches, client| {
            Box::pin(async { sign_logins(client, SignLogins::from_arg_matches(matches)?).await })
        }),
    ),
];

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
