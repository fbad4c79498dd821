//! Creates, changes and parses email destinations, and decides which events they accept.

use super::settings::Settings;
use crate::destinations::allowed::Allowed;
use crate::destinations::changes::{ChangedSettings, NewSettings};
use crate::destinations::invalid::Invalid;
use crate::destinations::redaction::without_beginning;
use crate::destinations::schedule::Schedule;
use crate::destinations::settings;
use crate::smtp::{Server, is_sendable};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use lettre::Address;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value, json};
use storage::{Destination, Traits};

/// The wildcards that can be chosen: those of events for operators.
const WILDCARDS: [&str; 2] = ["alarm.*", "destination.*"];
/// Maximum number of email destinations of an app.
const MOST_PER_APP: i64 = 20;
/// Replacement for the password in a text.
const REDACTED: &str = "[redacted]";

/// The configuration of an email destination. Its debug output hides the password.
#[derive(Debug, Clone)]
pub struct Config {
    pub(super) server: Server,
    pub(super) to: Vec<Address>,
    pub(super) subject_prefix: String,
    pub schedule: Schedule,
}

/// Builds an email destination from the fields of a request, of which only `to` is required.
///
/// # Errors
/// Returns every invalid field, and `kind` if no SMTP server is configured.
pub fn create(fields: &Map<String, Value>, allowed: &Allowed) -> Result<NewSettings, Vec<Invalid>> {
    let mut wrong: Vec<Invalid> = allowed.mail.is_none().then(missing).into_iter().collect();
    let settings = apply(Settings::default(), fields, allowed, &mut wrong);
    if settings.to.is_empty() && !wrong.iter().any(|one| one.field == "to") {
        wrong.push(Invalid::new("to", "the addresses that get the emails"));
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let secret = SecretString::from("{}");
    let traits = Traits {
        per_app: Some(MOST_PER_APP),
        ..Traits::default()
    };
    Ok(NewSettings {
        settings: json!(settings),
        secret,
        shown: Vec::new(),
        traits,
    })
}

/// Changes the fields that the request contains; null resets a field to its default.
///
/// # Errors
/// Returns every invalid field.
pub fn change(
    before: &Value,
    secret: &SecretString,
    fields: &Map<String, Value>,
    allowed: &Allowed,
) -> Result<ChangedSettings, Vec<Invalid>> {
    let before: Settings = settings::read(before).map_err(|invalid| vec![invalid])?;
    let mut wrong = Vec::new();
    let settings = apply(before, fields, allowed, &mut wrong);
    if !wrong.is_empty() {
        return Err(wrong);
    }
    Ok(ChangedSettings {
        settings: json!(settings),
        secret: secret.clone(),
        shown: Vec::new(),
        profile: None,
    })
}

/// Builds the configuration of a stored email destination.
///
/// # Errors
/// Fails at the first unusable setting, if no SMTP server is configured, or if the server may not send to a recipient.
pub fn ready(destination: &Destination, allowed: &Allowed) -> Result<Config, Invalid> {
    let settings: Settings = settings::read(&destination.settings)?;
    let server = allowed.mail.clone().ok_or_else(missing)?;
    let to = settings
        .to
        .iter()
        .map(|text| text.parse())
        .collect::<Result<Vec<Address>, _>>();
    let to = to.map_err(|_| Invalid::new("to", "addresses"))?;
    unsendable(&settings)
        .or_else(|| refused_recipients(&server, &settings))
        .map_or(Ok(()), Err)?;
    let schedule = Schedule::new(destination.schedule.as_deref());
    Ok(Config {
        server,
        to,
        subject_prefix: settings.subject_prefix,
        schedule,
    })
}

/// Returns why a stored destination cannot send emails; `None` if it can.
pub fn refusal(destination: &Destination, allowed: &Allowed) -> Option<Invalid> {
    let Some(server) = &allowed.mail else {
        return Some(missing());
    };
    refused_recipients(server, &settings::read(&destination.settings).ok()?)
}

/// Returns the error for recipients that no email can be built for; `None` if there are none.
fn unsendable(settings: &Settings) -> Option<Invalid> {
    let is_unsendable = |text: &String| {
        text.parse()
            .is_ok_and(|address: Address| !is_sendable(&address))
    };
    let expected = "addresses without special characters, such as ops@example.com";
    settings
        .to
        .iter()
        .any(is_unsendable)
        .then(|| Invalid::new("to", expected))
}

/// Returns the error for recipients in domains that the operator does not allow; `None` if there are none.
fn refused_recipients(server: &Server, settings: &Settings) -> Option<Invalid> {
    let is_refused = |text: &String| {
        text.parse()
            .is_ok_and(|address: Address| !server.allows(&address))
    };
    let expected = || {
        let domains = server.allowed_domains.join(", ");
        format!(
            "addresses of {domains}: `mail.allowed_domains` (SETTLE_MAIL_ALLOWED_DOMAINS) allows no others"
        )
    };
    settings
        .to
        .iter()
        .any(is_refused)
        .then(|| Invalid::new("to", expected()))
}

/// Returns whether an event type or wildcard can be chosen. One email for each event of a device, or of every customer,
/// would flood a mailbox.
pub fn takes(choice: &str) -> bool {
    let is_named = !choice.ends_with('*') && !choice.starts_with("device.");
    is_named || WILDCARDS.contains(&choice)
}

/// The available choices, for the error about a choice that [`takes`] refuses.
pub const TAKEN: &str = "`alarm.*`, `destination.*` or the names of events, and none of devices: there is one mail for each event";

/// Redacts the SMTP server's password in a text that the server sent, whether plain or in base64 as the commands AUTH
/// PLAIN (RFC 4616) and AUTH LOGIN send it, even if it is cut off at the end of the text.
pub fn redact(config: &Config, text: &str) -> String {
    let login = config
        .server
        .login
        .as_ref()
        .map(|login| (&login.user, login.password.expose_secret()));
    let Some((user, password)) = login.filter(|(_, password)| !password.is_empty()) else {
        return text.to_owned();
    };
    // The longest text first: the others can be parts of it.
    let hidden = [
        STANDARD_NO_PAD.encode(format!("\0{user}\0{password}")),
        STANDARD_NO_PAD.encode(password),
        password.to_owned(),
    ];
    let whole = hidden.iter().fold(text.to_owned(), |text, secret| {
        text.replace(secret, REDACTED)
    });
    without_beginning(whole, hidden.iter().map(String::as_str), REDACTED)
}

fn missing() -> Invalid {
    let expected = "another kind: emails need an SMTP server, so start settle with `mail.url` (SETTLE_MAIL_URL) and \
                    `mail.from` (SETTLE_MAIL_FROM)";
    Invalid::new("kind", expected)
}

fn apply(
    mut settings: Settings,
    fields: &Map<String, Value>,
    allowed: &Allowed,
    wrong: &mut Vec<Invalid>,
) -> Settings {
    for (name, value) in fields {
        let set = match (name.as_str(), value) {
            ("to", Value::Null) => Some(Err("at least one address".to_owned())),
            _ => settings::set(&mut settings, name, value),
        };
        let expected = set.unwrap_or_else(|| Err("no such field".to_owned())).err();
        wrong.extend(expected.map(|expected| Invalid::new(name, expected)));
    }
    // A prefix that is already stored is not checked again.
    if fields.contains_key("subject_prefix") && settings.subject_prefix.contains("://") {
        wrong.push(Invalid::new("subject_prefix", "a text without a link"));
    }
    if fields.contains_key("to") && !wrong.iter().any(|one| one.field == "to") {
        let refused = || {
            allowed
                .mail
                .as_ref()
                .and_then(|server| refused_recipients(server, &settings))
        };
        wrong.extend(unsendable(&settings).or_else(refused));
    }
    settings
}
