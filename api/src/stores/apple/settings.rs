//! Settings of the ingress: the operator's, and each platform's.

use domain::{Environment, Timestamp};
use protocols::stores::apple::chain::Chains;
use serde_json::Value;
use storage::Platform;

/// Platform setting: the number of the app in App Store Connect, which calls it the app's Apple ID.
pub const APP_APPLE_ID: &str = "app_apple_id";
/// Platform setting: the issuer of the team's keys.
pub const ISSUER_ID: &str = "issuer_id";
/// Platform setting: the id of the In-App Purchase key.
pub const KEY_ID: &str = "key_id";
/// Platform setting: what the app sets as its customers' account tokens, `external` or `opaque`.
pub const ACCOUNT_IDS: &str = "account_ids";
/// Platform credential: the text of the In-App Purchase key file.
pub const PRIVATE_KEY: &str = "private_key";

/// The operator's settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The root certificate in DER that is trusted instead of Apple's.
    pub root: Option<Vec<u8>>,
    /// Clock for checking messages.
    pub clock: fn() -> Timestamp,
}

impl Settings {
    /// Returns the chains under the trusted root, none of which is remembered yet.
    pub fn chains(&self) -> Chains {
        match &self.root {
            Some(root) => Chains::under(std::slice::from_ref(root)),
            None => Chains::apple(),
        }
    }
}

/// The app and the environment of a platform's notifications.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpectedApp<'a> {
    pub bundle_id: &'a str,
    /// The app's number; `None` if the platform does not have it. Apple names it in production only.
    pub apple_id: Option<i64>,
    pub environment: Environment,
}

impl<'a> ExpectedApp<'a> {
    /// Returns the app of a platform.
    pub fn of(platform: &'a Platform) -> Self {
        let own = platform.store_settings.as_ref();
        Self {
            bundle_id: &platform.settings.package_name,
            apple_id: own.and_then(apple_id),
            environment: platform.settings.environment,
        }
    }
}

fn apple_id(own: &Value) -> Option<i64> {
    own.get(APP_APPLE_ID)?.as_str()?.parse().ok()
}
