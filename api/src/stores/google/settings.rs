//! Settings of the ingress: the operator's, and each platform's.

use domain::Timestamp;
use serde_json::Value;
use storage::Platform;
use url::Url;

/// URL of Google's keys, as published in `https://accounts.google.com/.well-known/openid-configuration`.
pub const KEYS_URL: &str = "https://www.googleapis.com/oauth2/v3/certs";

/// Platform setting: the audience of the push subscription.
pub const PUSH_AUDIENCE: &str = "push_audience";
/// Platform setting: the service account of the push subscription.
pub const PUSH_ACCOUNT: &str = "push_account";
/// Platform setting: the name of the subscription, `projects/PROJECT/subscriptions/NAME`.
pub const SUBSCRIPTION: &str = "subscription";
/// Platform credential: the text of the service account's JSON key file.
pub const SERVICE_ACCOUNT: &str = "service_account";

/// The operator's settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// URL of the key set: [`KEYS_URL`] or a replacement.
    pub keys_url: Url,
    /// Clock for checking tokens and messages.
    pub clock: fn() -> Timestamp,
}

/// Expected audience, account and subscription of a push to a platform. Has no debug output, because it names an
/// account.
#[derive(Clone, Copy)]
pub struct PushTarget<'a> {
    pub audience: &'a str,
    pub account: &'a str,
    pub subscription: &'a str,
}

impl<'a> PushTarget<'a> {
    /// Returns a platform's settings; `None` if one is missing or empty.
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
