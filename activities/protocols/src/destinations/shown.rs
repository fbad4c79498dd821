//! Destinations as people see them: settings without what only requests need.

use super::{ChangedSettings, Invalid, webhook};
use secrecy::SecretString;
use serde_json::Value;
use storage::Destination;

/// The settings of a destination of the named kind as people see them. A URL that is a secret is cut off after its host.
pub fn shown_settings(kind: &str, settings: &Value) -> Value {
    if kind == webhook::KIND {
        webhook::secret_url::shown(settings)
    } else {
        settings.clone()
    }
}

/// A destination with [`shown_settings`].
pub fn shown(destination: Destination) -> Destination {
    let settings = shown_settings(&destination.kind, &destination.settings);
    Destination {
        settings,
        ..destination
    }
}

/// The fields of an audit entry about a destination as people see them: no webhook's URL has a path or a query, since it may
/// be a secret by now or have been one, also where the destination is deleted.
pub fn shown_entry(fields: &Value) -> Value {
    let mut shown = fields.clone();
    let is_webhook = fields["kind"]
        .as_str()
        .is_none_or(|kind| kind == webhook::KIND);
    if let Some(settings) = shown
        .get_mut("settings")
        .filter(|settings| settings.is_object() && is_webhook)
    {
        *settings = webhook::secret_url::without_target(settings);
    }
    shown
}

/// Whether an audit entry about a destination has a URL in the clear that is a secret, by the entry or by the destination.
pub fn has_secret_url(fields: &Value, destination: &Destination) -> bool {
    let is_secret_now =
        destination.kind == webhook::KIND && webhook::secret_url::is_secret(&destination.settings);
    (is_secret_now || webhook::secret_url::is_secret(&fields["settings"]))
        && shown_entry(fields) != *fields
}

/// Encrypts what a stored destination shows of its secrets; `None` where that is nothing.
///
/// # Errors
/// The stored settings or secrets cannot be read.
pub fn sealed(
    destination: &Destination,
    secret: &SecretString,
) -> Result<Option<ChangedSettings>, Invalid> {
    if destination.kind == webhook::KIND {
        webhook::secret_url::sealed(&destination.settings, secret)
    } else {
        Ok(None)
    }
}
