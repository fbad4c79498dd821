//! Secret URLs, such as Slack's: knowing the path or query is enough to post there. Only the URL's origin is shown, and
//! the URL may be encrypted like the other secrets. Version 0.1.0 cannot read an encrypted URL, so encryption is
//! opt-in.

use super::secrets::Secrets;
use super::settings::{BodyShape, Settings};
use crate::destinations::changes::ChangedSettings;
use crate::destinations::invalid::Invalid;
use crate::destinations::settings;
use secrecy::SecretString;
use serde_json::{Value, json};
use url::Url;

/// Replacement for the path and query.
const HIDDEN: &str = "/…";
/// Minimum length in bytes of a part of a path or query that is redacted: a shorter part may as well be a word, such as
/// `services`.
const MIN_PART_BYTES: usize = 9;

impl Settings {
    /// Returns whether the path and query of the URL are secret.
    pub fn has_secret_url(&self) -> bool {
        self.secret_url || self.body == BodyShape::Slack
    }
}

/// Returns whether the path and query of a stored webhook's URL are secret.
pub fn is_secret(settings: &Value) -> bool {
    settings["secret_url"] == true || settings["body"] == json!(BodyShape::Slack)
}

/// Returns the URL for display, cut off after its origin. A URL without path and query has nothing to hide.
fn cut_off(url: &Url) -> String {
    if url.path() == "/" && url.query().is_none() {
        return url.to_string();
    }
    url.origin().ascii_serialization() + HIDDEN
}

/// Returns the stored settings for display. Settings that are already cut off stay unchanged.
pub fn shown(stored: &Value) -> Value {
    if is_secret(stored) {
        without_target(stored)
    } else {
        stored.clone()
    }
}

/// Returns the settings with the URL shown without path and query, whether it is secret or not.
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

/// Returns whether a value of a request is the URL as it is displayed, which a form sends back.
pub fn is_shown(settings: &Settings, value: &Value) -> bool {
    let is_of = |url: &Url| settings.has_secret_url() && *value == cut_off(url);
    settings.url.as_ref().is_some_and(is_of)
}

/// Returns the part of a stored webhook's URL that address rules need: the URL itself, or its displayed origin if it is
/// encrypted.
pub fn origin(stored: &Value) -> Option<Url> {
    let url = stored.get("url").or_else(|| stored.get("sealed_url"))?;
    url.as_str()?.parse().ok()
}

/// Moves an encrypted URL back to the settings. Returns whether there was one.
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

/// Returns the changed settings, with the URL moved to where it belongs. A secret URL remains secret until another URL
/// replaces it. `has` returns whether the request has a field; `was_sealed` is whether the URL was encrypted.
///
/// # Errors
/// Fails if the change would show the present URL.
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

/// Encrypts the URL of a stored webhook; `None` if it is not secret, or is already encrypted.
///
/// # Errors
/// Fails if the stored settings or secrets cannot be read.
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

/// Returns the texts of a URL that must not be shown.
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
