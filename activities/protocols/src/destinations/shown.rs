//! Destinations for display: settings without the parts that only requests need.

use super::changes::ChangedSettings;
use super::invalid::Invalid;
use super::kind::SecretUrl;
use super::kinds::{kind, kinds};
use secrecy::SecretString;
use serde_json::Value;
use storage::Destination;

/// How the named kind hides URLs; `None` for one that has nothing to hide.
fn secret_url(kind_name: &str) -> Option<&'static dyn SecretUrl> {
    kind(kind_name).ok()?.secret_url()
}

/// All kinds that hide URLs.
fn secret_urls() -> impl Iterator<Item = &'static dyn SecretUrl> {
    kinds().filter_map(|kind| kind.secret_url())
}

/// Settings of a destination of the named kind, for display. A URL that is a secret is cut off after its host.
pub fn shown_settings(kind: &str, settings: &Value) -> Value {
    secret_url(kind).map_or_else(|| settings.clone(), |hides| hides.shown(settings))
}

/// A destination for display, with [`shown_settings`].
pub fn shown(destination: Destination) -> Destination {
    let settings = shown_settings(&destination.kind, &destination.settings);
    Destination {
        settings,
        ..destination
    }
}

/// The fields of an audit entry about a destination, for display. Each URL is cut off after its host, because it may
/// be or have been a secret, even if the destination is deleted. An entry without a kind may be of any kind.
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

/// Whether an audit entry about a destination shows a secret URL in full. Either the entry's settings or the
/// destination's may say that it is a secret.
pub fn has_secret_url(fields: &Value, destination: &Destination) -> bool {
    let is_secret_now =
        secret_url(&destination.kind).is_some_and(|kind| kind.is_secret(&destination.settings));
    (is_secret_now || secret_urls().any(|kind| kind.is_secret(&fields["settings"])))
        && shown_entry(fields) != *fields
}

/// Encrypts the secret URLs that a stored destination has in the clear; `None` if there are none.
///
/// # Errors
/// The stored settings or secrets cannot be read.
pub fn sealed(
    destination: &Destination,
    secret: &SecretString,
) -> Result<Option<ChangedSettings>, Invalid> {
    secret_url(&destination.kind)
        .map_or(Ok(None), |kind| kind.sealed(&destination.settings, secret))
}
