//! Creates, changes and parses webhooks. Their secrets are encrypted separately from their settings.

use super::headers;
use super::schemas::schemas;
use super::secret_url;
use super::secrets::Secrets;
use super::settings::{BodyShape, Settings};
use super::signature::{Key, Version};
use crate::destinations::allowed::Allowed;
use crate::destinations::changes::{ChangedSettings, NewSettings, Rotation};
use crate::destinations::invalid::Invalid;
use crate::destinations::redaction::without_beginning;
use crate::destinations::schedule::Schedule;
use crate::destinations::settings;
use crate::destinations::unnamed::{self, WithoutExternalId};
use crate::http;
use domain::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize as _;
use serde_json::{Map, Value, json};
use storage::{Destination, Traits};
use url::{ParseError, Url};

/// The expected form of a URL.
const EXPECTED: &str = "a URL such as https://example.com/hook";
/// Expected form of a URL whose scheme is missing or wrong.
const WITH_SCHEME: &str = "a URL that begins with https://, such as https://example.com/hook";
/// Maximum time for which a replaced key still signs, in milliseconds.
const LONGEST_OVERLAP_MS: i64 = 7 * 24 * 3600 * 1000;
/// The replacement of a secret in a text.
const REDACTED: &str = "[redacted]";

/// The configuration of a webhook. Its debug output hides the secrets.
#[derive(Clone)]
pub struct Config {
    pub url: Url,
    /// Whether the operator chose the URL.
    pub(super) is_operator_url: bool,
    pub schedule: Schedule,
    pub(super) body: BodyShape,
    /// Maximum number of device events in a request. With 1, each is sent alone, as a chat message always is.
    pub device_batch: usize,
    /// Keys of the selected versions in the order of their signatures, each with the time until which it signs.
    pub(super) keys: Vec<(Key, Option<Timestamp>)>,
    /// Names in lower case, and values.
    pub(super) headers: Vec<(String, SecretString)>,
    /// Texts that must not be shown, longest first.
    hidden: Vec<SecretString>,
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let host = self.url.host_str().unwrap_or_default();
        f.debug_struct("Config")
            .field("host", &host)
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}

/// Builds a webhook from the fields of a request, of which only `url` is required. Refuses a forbidden address or port
/// in the URL. A host name is resolved and checked only when a request is sent.
///
/// # Errors
/// Returns every invalid field.
pub fn create(
    fields: &Map<String, Value>,
    allowed: &Allowed,
    random: [u8; 32],
) -> Result<NewSettings, Vec<Invalid>> {
    let mut wrong = unknown(fields);
    let mut key = |version: Version, name: &str| {
        let created =
            provided_key(fields, version, name).unwrap_or_else(|| Ok(version.new_key(random)));
        created.map_err(|invalid| wrong.push(invalid)).ok()
    };
    let keys = [key(Version::V1, "secret"), key(Version::V1a, "private_key")];
    let mut secrets = Secrets::new(keys.into_iter().flatten());
    if !fields.contains_key("url") {
        wrong.push(Invalid::new("url", EXPECTED));
    }
    let (mut settings, more) = apply(&Settings::default(), &mut secrets, fields, allowed);
    wrong.extend(more);
    if !wrong.is_empty() {
        return Err(wrong);
    }
    if settings.secret_url {
        secret_url::seal(&mut settings, &mut secrets);
    }
    let shown = shown(&settings, &secrets, |_| true);
    Ok(NewSettings {
        settings: json!(settings),
        secret: secrets.to_json(),
        shown,
        traits: Traits::default(),
    })
}

/// Changes the settings (null resets one to its default) and `headers` (null removes one header, or all of them).
///
/// # Errors
/// Returns every invalid field.
pub fn change(
    settings: &Value,
    secret: &SecretString,
    fields: &Map<String, Value>,
    allowed: &Allowed,
) -> Result<ChangedSettings, Vec<Invalid>> {
    let mut secrets = Secrets::from_json(secret).map_err(|invalid| vec![invalid])?;
    let mut before: Settings = settings::read(settings).map_err(|invalid| vec![invalid])?;
    let was_sealed = secret_url::open(&mut before, &mut secrets);
    let old = before.signature.versions();
    let mut wrong = unknown(fields);
    for name in schemas()
        .on_creation
        .iter()
        .filter(|name| fields.contains_key(**name))
    {
        wrong.push(Invalid::new(name, "no change here: rotate it instead"));
    }
    let (settings, more) = apply(&before, &mut secrets, fields, allowed);
    wrong.extend(more);
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let placed = secret_url::place(&before, settings, &mut secrets, was_sealed, |name| {
        fields.contains_key(name)
    });
    let settings = placed.map_err(|invalid| vec![invalid])?;
    let shown = shown(&settings, &secrets, |version| !old.contains(&version));
    Ok(ChangedSettings {
        settings: json!(settings),
        secret: secrets.to_json(),
        shown,
        profile: None,
    })
}

/// Replaces keys. With `rotation.new_secret`, replaces only the key of its version; without it, the keys of all
/// selected versions. The replaced keys sign too until `rotation.until`. Without an overlap, no older key of their
/// versions signs any more either.
///
/// # Errors
/// Fails if the new key is invalid, the overlap is too long, or too many replaced keys still sign.
pub fn rotate(
    settings: &Value,
    secret: &SecretString,
    rotation: &Rotation,
) -> Result<ChangedSettings, Invalid> {
    let mut secrets = Secrets::from_json(secret)?;
    let mut settings: Settings = settings::read(settings)?;
    if rotation.until > rotation.now.plus_millis(LONGEST_OVERLAP_MS) {
        return Err(Invalid::new("until", "at most seven days from now"));
    }
    let new = match &rotation.new_secret {
        Some(value) => vec![(
            Key::parse(value.expose_secret())?.version,
            value.expose_secret().to_owned(),
        )],
        None => {
            let versions = settings.signature.versions().iter();
            versions
                .map(|version| (*version, version.new_key(rotation.random)))
                .collect()
        }
    };
    let replaced: Vec<Version> = new.iter().map(|(version, _)| *version).collect();
    for (version, text) in new {
        secrets.replace(version, text, rotation)?;
    }
    note_keys(&mut settings, &secrets);
    let shown = shown(&settings, &secrets, |version| replaced.contains(&version));
    Ok(ChangedSettings {
        settings: json!(settings),
        secret: secrets.to_json(),
        shown,
        profile: None,
    })
}

/// Builds the configuration of a stored webhook.
///
/// # Errors
/// Returns the first setting or secret that is unusable.
pub fn ready(
    destination: &Destination,
    secret: &SecretString,
    allowed: &Allowed,
) -> Result<Config, Invalid> {
    let (mut settings, mut secrets): (Settings, _) = (
        settings::read(&destination.settings)?,
        Secrets::from_json(secret)?,
    );
    secret_url::open(&mut settings, &mut secrets);
    let hidden_parts = settings
        .url
        .as_ref()
        .filter(|_| settings.has_secret_url())
        .map(secret_url::texts);
    let url = settings.url.ok_or_else(|| Invalid::new("url", EXPECTED))?;
    let is_operator_url = allowed.is_exception(destination.id, &url);
    if !is_operator_url {
        check(&url).map_err(|expected| Invalid::new("url", expected))?;
        // The host's address is checked when a request is sent.
        http::host_and_port(&url, &allowed.rules)
            .map_err(|failure| not_allowed(failure.to_string()))?;
    }
    let mut keys = Vec::new();
    for version in settings.signature.versions() {
        let of_version = secrets.keys(*version)?;
        if of_version.is_empty() {
            return Err(version.invalid());
        }
        keys.extend(of_version);
    }
    for (name, value) in &secrets.headers {
        headers::check(name, value)
            .map_err(|expected| Invalid::new(&format!("headers.{name}"), expected))?;
    }
    let hidden = secrets.hidden(hidden_parts.unwrap_or_default());
    let headers = secrets
        .headers
        .into_iter()
        .map(|(name, value)| (name, SecretString::from(value)))
        .collect();
    let schedule = Schedule::new(destination.schedule.as_deref());
    let body = settings.body;
    let device_batch = if body == BodyShape::Slack {
        1
    } else {
        settings.device_batch
    };
    Ok(Config {
        url,
        is_operator_url,
        schedule,
        body,
        device_batch,
        keys,
        headers,
        hidden,
    })
}

/// Redacts keys and header values in a text from the endpoint, even a value that is cut off at the end of the text.
/// Values shorter than four bytes are not redacted, since they would match unrelated text.
pub fn redact(config: &Config, text: &str) -> String {
    let hide = |text: String, secret: &SecretString| text.replace(secret.expose_secret(), REDACTED);
    let whole = config.hidden.iter().fold(text.to_owned(), hide);
    without_beginning(
        whole,
        config.hidden.iter().map(|secret| secret.expose_secret()),
        REDACTED,
    )
}

/// Returns the stored setting for events of customers without an external id.
pub fn without_external_id(settings: &Value) -> WithoutExternalId {
    settings
        .get(unnamed::FIELD)
        .and_then(WithoutExternalId::parse)
        .unwrap_or_default()
}

/// Returns the stored setting for the content of the request body.
pub fn body_shape(settings: &Value) -> BodyShape {
    settings
        .get("body")
        .and_then(|body| BodyShape::deserialize(body).ok())
        .unwrap_or_default()
}

/// Returns the stored setting of whether device events include the store's ids of purchases.
pub fn has_device_receipts(settings: &Value) -> bool {
    settings
        .get("device_receipts")
        .and_then(Value::as_bool)
        .unwrap_or(false)
}

pub fn newest_secret(secret: &SecretString) -> Option<SecretString> {
    Secrets::from_json(secret)
        .ok()?
        .newest(Version::V1)
        .map(|(_, text)| SecretString::from(text))
}

/// Returns the settings after a change, and all invalid fields; changes the headers' values in `secrets`. Keys and
/// unknown fields are ignored.
fn apply(
    before: &Settings,
    secrets: &mut Secrets,
    fields: &Map<String, Value>,
    allowed: &Allowed,
) -> (Settings, Vec<Invalid>) {
    let (mut settings, mut wrong) = (before.clone(), Vec::new());
    for (name, value) in fields {
        match name.as_str() {
            "url" if secret_url::is_shown(before, value) => {}
            "url" => match url(value, allowed) {
                Ok(url) => settings.url = Some(url),
                Err(invalid) => wrong.push(invalid),
            },
            "headers" => wrong.extend(
                headers::change(&mut secrets.headers, value)
                    .err()
                    .into_iter()
                    .flatten(),
            ),
            name => {
                let expected = settings::set(&mut settings, name, value).and_then(Result::err);
                wrong.extend(expected.map(|expected| Invalid::new(name, expected)));
            }
        }
    }
    settings.headers = secrets.headers.keys().cloned().collect();
    note_keys(&mut settings, secrets);
    (settings, wrong)
}

/// Sets what the settings show of the selected signatures' keys: `public_key`, which only `v1a` has, and the time until
/// which the last of the replaced keys signs.
fn note_keys(settings: &mut Settings, secrets: &Secrets) {
    let chosen = settings.signature.versions();
    let newest = secrets
        .newest(Version::V1a)
        .filter(|_| chosen.contains(&Version::V1a));
    settings.public_key = newest.and_then(|(key, _)| key.public());
    let replaced = chosen
        .iter()
        .filter_map(|version| secrets.keys(*version).ok())
        .flatten();
    settings.old_secret_signs_until = replaced.filter_map(|(_, until)| until).max();
}

fn parsed(value: &Value) -> Result<Url, Invalid> {
    let text = value
        .as_str()
        .ok_or_else(|| Invalid::new("url", EXPECTED))?;
    text.parse().map_err(|error| match error {
        ParseError::RelativeUrlWithoutBase => Invalid::new("url", WITH_SCHEME),
        error => Invalid::new("url", format!("{EXPECTED} ({error})")),
    })
}

/// Parses a URL that requests can use: its form is valid, and the operator's settings allow its scheme, address and
/// port.
fn url(value: &Value, allowed: &Allowed) -> Result<Url, Invalid> {
    let url = parsed(value)?;
    check(&url).map_err(|expected| Invalid::new("url", expected))?;
    http::check_url(&url, &allowed.rules).map_err(not_allowed)?;
    Ok(url)
}

fn not_allowed(expected: String) -> Invalid {
    Invalid::new("url", expected)
}

/// Returns why the operator's settings allow no request to a stored webhook; `None` if they do.
pub fn refusal(destination: &Destination, allowed: &Allowed) -> Option<Invalid> {
    let url = secret_url::origin(&destination.settings)?;
    if allowed.is_exception(destination.id, &url) {
        return None;
    }
    http::check_url(&url, &allowed.rules).err().map(not_allowed)
}

fn check(url: &Url) -> Result<(), String> {
    if !["https", "http"].contains(&url.scheme()) {
        return Err(format!(
            "{WITH_SCHEME}, but it begins with `{}:`",
            url.scheme()
        ));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a URL without user name and password: requests are signed instead".to_owned());
    }
    if url.fragment().is_some() {
        return Err("a URL without fragment".to_owned());
    }
    if url.has_host() {
        Ok(())
    } else {
        Err(EXPECTED.to_owned())
    }
}

/// Returns one error for each unknown field. The caller has removed the fields that every kind of destination has.
fn unknown(fields: &Map<String, Value>) -> Vec<Invalid> {
    let known = schemas().created;
    let surplus = fields.keys().filter(|name| !known.contains_key(*name));
    surplus
        .map(|name| Invalid::new(name, "no such field"))
        .collect()
}

/// Returns the key of this version that the request contains, if any.
fn provided_key(
    fields: &Map<String, Value>,
    version: Version,
    name: &str,
) -> Option<Result<String, Invalid>> {
    let value = fields.get(name).filter(|value| !value.is_null())?;
    let text = value.as_str().unwrap_or_default();
    let is_right = Key::parse(text).is_ok_and(|key| key.version == version);
    Some(if is_right {
        Ok(text.to_owned())
    } else {
        Err(version.invalid())
    })
}

/// Returns the secrets to show once: for each selected version that is `wanted`, the key with which a receiver
/// verifies.
fn shown(
    settings: &Settings,
    secrets: &Secrets,
    wanted: impl Fn(Version) -> bool,
) -> Vec<(&'static str, SecretString)> {
    let versions = settings
        .signature
        .versions()
        .iter()
        .filter(|version| wanted(**version));
    let versions = versions.filter_map(|version| {
        let (key, text) = secrets.newest(*version)?;
        Some(match version {
            Version::V1 => ("secret", SecretString::from(text)),
            Version::V1a => ("public_key", SecretString::from(key.public()?)),
        })
    });
    versions.collect()
}
