//! A URL that is a secret because knowing its path or query is enough to post there, as with Slack's. Only its
//! beginning is shown, and it may be encrypted like the other secrets. A process of 0.1.0 does not find an encrypted
//! URL, so encryption is opt-in.

use super::secrets::Secrets;
use super::settings::{BodyShape, Settings};
use crate::destinations::changes::ChangedSettings;
use crate::destinations::invalid::Invalid;
use crate::destinations::settings;
use secrecy::SecretString;
use serde_json::{Value, json};
use url::Url;

/// Replacement for path and query.
const HIDDEN: &str = "/…";
/// Minimum length in bytes of a part of a path or a query that is redacted: a shorter one is a word, such as `services`,
/// as often as a secret.
const MIN_PART_BYTES: usize = 9;

impl Settings {
    /// Whether path and query of its URL are a secret.
    pub fn has_secret_url(&self) -> bool {
        self.secret_url || self.body == BodyShape::Slack
    }
}

/// Whether path and query of a webhook's URL are a secret, by the stored settings.
pub fn is_secret(settings: &Value) -> bool {
    settings["secret_url"] == true || settings["body"] == json!(BodyShape::Slack)
}

/// The URL as people see it; one without path and query has nothing to hide.
fn cut_off(url: &Url) -> String {
    if url.path() == "/" && url.query().is_none() {
        return url.to_string();
    }
    url.origin().ascii_serialization() + HIDDEN
}

/// The stored settings as people see them. Shown ones are shown as they are.
pub fn shown(stored: &Value) -> Value {
    if is_secret(stored) {
        without_target(stored)
    } else {
        stored.clone()
    }
}

/// Settings whose URL, whether it is a secret or not, is shown without path and query.
pub fn without_target(settings: &Value) -> Value {
    let mut shown = settings.clone();
    let Some(fields) = shown.as_object_mut() else {
        return shown;
    };
    let sealed = fields.remove("sealed_url");
    if let Some(url) =
        sealed.or_else(|| Some(cut_off(&fields.get("url")?.as_str()?.parse().ok()?).into()))
    {
        fields.insert("url".to_owned(), url);
    }
    shown
}

/// Whether a value of a request is the URL as people see it, which a form sends back.
pub fn is_shown(settings: &Settings, value: &Value) -> bool {
    let is_of = |url: &Url| settings.has_secret_url() && *value == cut_off(url);
    settings.url.as_ref().is_some_and(is_of)
}

/// The origin of a stored webhook's URL, as far as address rules concern it.
pub fn origin(stored: &Value) -> Option<Url> {
    let url = stored.get("url").or_else(|| stored.get("sealed_url"))?;
    url.as_str()?.parse().ok()
}

/// Moves an encrypted URL back to the settings; returns whether there was one.
pub fn open(settings: &mut Settings, secrets: &mut Secrets) -> bool {
    let url = secrets.url.take().and_then(|url| url.parse().ok());
    let is_sealed = url.is_some();
    settings.url = url.or_else(|| settings.url.take());
    settings.sealed_url = None;
    is_sealed
}

/// Moves the URL to the secrets.
pub fn seal(settings: &mut Settings, secrets: &mut Secrets) {
    if let Some(url) = settings.url.take() {
        settings.sealed_url = Some(cut_off(&url));
        secrets.url = Some(url.to_string());
    }
}

/// The settings of a change with the URL where it belongs. A secret remains one until there is another URL. `has` says
/// which fields the request has; `was_sealed`, whether the URL was encrypted.
///
/// # Errors
/// The change would show the present URL.
pub fn place(
    before: &Settings,
    mut after: Settings,
    secrets: &mut Secrets,
    was_sealed: bool,
    has: impl Fn(&str) -> bool,
) -> Result<Settings, Invalid> {
    let is_revealed = before.has_secret_url() && !after.has_secret_url() && before.url == after.url;
    if is_revealed && has("secret_url") {
        return Err(Invalid::new(
            "secret_url",
            "true, or another `url` as well: the present one is a secret",
        ));
    }
    after.secret_url |= is_revealed;
    if after.secret_url || (was_sealed && after.has_secret_url()) {
        seal(&mut after, secrets);
    }
    Ok(after)
}

/// Encrypts the URL of a stored webhook; `None` where it is no secret, or is encrypted.
///
/// # Errors
/// The stored settings or secrets cannot be read.
pub fn sealed(stored: &Value, secret: &SecretString) -> Result<Option<ChangedSettings>, Invalid> {
    let (mut settings, mut secrets): (Settings, _) =
        (settings::read(stored)?, Secrets::from_json(secret)?);
    if !settings.has_secret_url() || settings.url.is_none() {
        return Ok(None);
    }
    seal(&mut settings, &mut secrets);
    let secret = secrets.to_json();
    Ok(Some(ChangedSettings {
        settings: json!(settings),
        secret,
        shown: Vec::new(),
        profile: None,
    }))
}

/// The texts of a URL that must not be shown.
pub fn texts(url: &Url) -> Vec<String> {
    let query = url
        .query()
        .map_or_else(String::new, |query| format!("?{query}"));
    let target = format!("{}{query}", url.path());
    let segments = url.path_segments().into_iter().flatten().map(str::to_owned);
    let values = url.query_pairs().map(|(_, value)| value.into_owned());
    let parts = segments
        .chain(values)
        .filter(|part| part.len() >= MIN_PART_BYTES);
    let whole = (target != "/")
        .then(|| [url.to_string(), target])
        .into_iter()
        .flatten();
    whole.chain(parts).collect()
}
