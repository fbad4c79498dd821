//! The settings of the ingress: the operator's, and those of a platform.

use domain::Timestamp;
use serde_json::Value;
use storage::Platform;
use url::Url;

/// The address of Google's keys, which `https://accounts.google.com/.well-known/openid-configuration` names.
pub const KEYS_URL: &str = "https://www.googleapis.com/oauth2/v3/certs";

/// The setting of a platform with the audience of the push subscription.
pub const PUSH_AUDIENCE: &str = "push_audience";
/// The setting of a platform with the service account of the push subscription.
pub const PUSH_ACCOUNT: &str = "push_account";
/// The setting of a platform with the name of the subscription, `projects/PROJECT/subscriptions/NAME`.
pub const SUBSCRIPTION: &str = "subscription";

/// The operator's settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The address of the key set: [`KEYS_URL`], or one that stands for it.
    pub keys_url: Url,
    /// The clock by which tokens and messages are checked.
    pub clock: fn() -> Timestamp,
}

/// What a push to a platform must be for. It has no debug form, since it names an account.
#[derive(Clone, Copy)]
pub struct PushTarget<'a> {
    pub audience: &'a str,
    pub account: &'a str,
    pub subscription: &'a str,
}

impl<'a> PushTarget<'a> {
    /// Returns the settings of a platform; `None` while one is missing or empty.
    pub fn of(platform: &'a Platform) -> Option<Self> {
        let settings = platform.store_settings.as_ref()?;
        Some(Self {
            audience: text(settings, PUSH_AUDIENCE)?,
            account: text(settings, PUSH_ACCOUNT)?,
            subscription: text(settings, SUBSCRIPTION)?,
        })
    }
}

fn text<'a>(settings: &'a Value, name: &str) -> Option<&'a str> {
    let text = settings.get(name)?.as_str()?;
    (!text.is_empty()).then_some(text)
}
