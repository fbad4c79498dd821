//! Destinations as people see them: settings without what only requests need.

use super::{ChangedSettings, Invalid, webhook};
use secrecy::SecretString;
use serde_json::Value;
use storage::Destination;

/// The settings of a destination of the named kind as people see them. A URL that is a secret is cut off after its host.
pub fn shown_settings(kind: &str, settings: &Value) -> Value {
    if kind == webhook::KIND { webhook::secret_url::shown(settings) } else { settings.clone() }
}

/// A destination with [`shown_settings`].
pub fn shown(destination: Destination) -> Destination {
    let settings = shown_settings(&destination.kind, &destination.settings);
    Destination { settings, ..destination }
}

/// The fields of an audit entry about a destination as people see them. What the entry lacks says `now`, the destination if
/// there is one: its kind, and that its URL is a secret.
pub fn shown_entry(fields: &Value, now: Option<&Destination>) -> Value {
    let mut shown = fields.clone();
    let Some(settings) = shown.get_mut("settings").filter(|settings| settings.is_object()) else { return shown };
    let kind = fields["kind"].as_str().or(now.map(|now| now.kind.as_str())).unwrap_or(webhook::KIND);
    let is_secret_now = now.is_some_and(|now| shown_settings(&now.kind, &now.settings) != now.settings);
    if is_secret_now {
        settings["secret_url"] = true.into();
    }
    *settings = shown_settings(kind, settings);
    if let Some(settings) = settings.as_object_mut().filter(|_| is_secret_now)
        && fields["settings"].get("secret_url").is_none()
    {
        settings.remove("secret_url");
    }
    shown
}

/// Encrypts what a stored destination shows of its secrets; `None` where that is nothing.
///
/// # Errors
/// The stored settings or secrets cannot be read.
pub fn sealed(destination: &Destination, secret: &SecretString) -> Result<Option<ChangedSettings>, Invalid> {
    if destination.kind == webhook::KIND {
        webhook::secret_url::sealed(&destination.settings, secret)
    } else {
        Ok(None)
    }
}
