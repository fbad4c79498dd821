//! Access tokens, which some stores issue for a platform's credential. One token serves all checks of its platform.

use secrecy::SecretString;
use std::fmt;
use std::time::Duration;

/// An access token. Its debug output shows only the lifetime.
#[derive(Clone)]
pub struct AccessToken {
    pub token: SecretString,
    /// How long the token is valid, counted from its request.
    pub lifetime: Duration,
}

impl fmt::Debug for AccessToken {
    /// Hides the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken")
            .field("lifetime", &self.lifetime)
            .finish_non_exhaustive()
    }
}
