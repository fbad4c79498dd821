//! Settings of the ingress: the operator's, and each platform's.

use domain::Timestamp;
use protocols::stores::apple::apple_id;
use protocols::stores::apple::chain::Chains;
use protocols::stores::apple::notification::ExpectedApp;
use storage::Platform;

pub use protocols::stores::apple::token::{ISSUER_ID, KEY_ID};
pub use protocols::stores::apple::{ACCOUNT_IDS, APP_APPLE_ID};

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

/// Returns the app and the environment of a platform's notifications.
pub fn expected_app(platform: &Platform) -> ExpectedApp<'_> {
    ExpectedApp {
        bundle_id: &platform.settings.package_name,
        apple_id: platform.store_settings.as_ref().and_then(apple_id),
        environment: platform.settings.environment,
    }
}
