//! Destinations for display: settings without the parts that only requests need.

use super::changes::ChangedSettings;
use super::invalid::Invalid;
use super::kind::SecretUrl;
use super::kinds::{kind, kinds};
use secrecy::SecretString;
use serde_json::Value;
use storage::Destination;

/// Returns the part of the named kind that hides URLs; `None` if the kind has none to hide.
fn secret_url(kind_name: &str) -> Option<&'static dyn SecretUrl> {
    kind(kind_name).ok()?.secret_url()
}

/// Returns that part of every kind that hides URLs.
fn secret_urls() -> impl Iterator<Item = &'static dyn SecretUrl> {
    kinds().filter_map(|kind| kind.secret_url())
}

/// Returns the settings of a destination of the named kind, for display. A secret URL is cut off after its host.
pub fn shown_settings(kind: &str, settings: &Value) -> Value {
    secret_url(kind).map_or_else(|| settings.clone(), |hides| hides.shown(settings))
}

/// Returns a destination for display, with its settings from [`shown_settings`].
pub fn shown(destination: Destination) -> Destination {
    let settings = shown_settings(&destination.kind, &destination.settings);
    Destination {
        settings,
        ..destination
    }
}

/// Returns the fields of an audit entry about a destination, for display. Every URL is cut off after its host, because
/// it may be or have been a secret, even of a deleted destination. An entry without a kind may be of any kind.
pub fn shown_entry(fields: &Value) -> Value {
    let mut shown = fields.clone();
    let Some(settings) = shown
        .get_mut("settings")
        .filter(|settings| settings.is_object())
    else {
        return shown;
    };
    let rules: Vec<_> = match fields["kind"].as_str() {
        Some(kind) => secret_url(kind).into_iter().collect(),
        None => secret_urls().collect(),
    };
    for rule in rules {
        *settings = rule.without_target(settings);
    }
    shown
}

/// Returns whether an audit entry about a destination shows a secret URL in full. The URL is secret if the entry's
/// settings or the destination's say so.
pub fn has_secret_url(fields: &Value, destination: &Destination) -> bool {
    let is_secret_now =
        secret_url(&destination.kind).is_some_and(|kind| kind.is_secret(&destination.settings));
    (is_secret_now || secret_urls().any(|kind| kind.is_secret(&fields["settings"])))
        && shown_entry(fields) != *fields
}

/// Encrypts the secret URLs that a stored destination has in plain text; `None` if there are none.
///
/// # Errors
/// Fails if the stored settings or secrets cannot be read.
pub fn sealed(
    destination: &Destination,
    secret: &SecretString,
) -> Result<Option<ChangedSettings>, Invalid> {
    secret_url(&destination.kind)
        .map_or(Ok(None), |kind| kind.sealed(&destination.settings, secret))
}
