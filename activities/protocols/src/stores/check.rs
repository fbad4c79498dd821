//! The check of a purchase with its store, as a state machine without I/O: given the replies so far, it returns the
//! next request or the result.

use super::answer::Answer;
use super::token::AccessToken;
use crate::http::{Reply, Request};
use domain::stores::UnknownStore;
use domain::{Environment, PlatformId, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;
use storage::StorePart;

/// The purchase that a check is about, with the platform's credential. It has no debug output, since it contains a user
/// id and a secret.
pub struct Subject {
    /// The platform whose credential is used.
    pub platform: PlatformId,
    /// The store's environment, as the platform's setting says.
    pub environment: Environment,
    /// The store's id of the customer; absent where it is not known and the store needs none.
    pub app_user_id: Option<String>,
    /// The store's id of the purchase.
    pub receipt_id: String,
    /// The credential of a store that has one secret; empty for others.
    pub secret: SecretString,
    /// The platform's settings and credentials of its store's own form.
    pub own: StorePart,
}

impl Subject {
    /// What an access token is issued for: the environment, the settings and the credentials of the platform. A token does
    /// not outlive a change of one of them.
    pub fn issued_for(&self) -> SecretString {
        let settings = self.own.settings.as_ref().map(ToString::to_string);
        let credentials = self.own.credentials.as_ref().unwrap_or(&self.secret);
        let parts = [
            self.environment.as_str(),
            settings.as_deref().unwrap_or_default(),
            credentials.expose_secret(),
        ];
        parts.join("\n").into()
    }
}

/// The next step of a check.
#[derive(Debug)]
pub enum CheckStep {
    /// Sends a request, within the rate of its bucket; with an access token, if the store issues any.
    Send(Box<Request>, Bucket),
    Done(Answer),
}

/// The requests that a store counts together. Each platform has its own share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Bucket {
    /// Name of the bucket, such as that of a quota at the store.
    pub name: &'static str,
    /// Maximum number of requests per second per platform.
    pub per_second: u32,
}

/// A reply to a request of a check.
#[derive(Debug)]
pub struct Replied {
    pub reply: Reply,
    /// When the check's request was sent.
    pub at: Timestamp,
}

/// How a store verifies purchases. One implementation in each store's folder; pure.
pub trait StoreProtocol: Debug + Send + Sync {
    /// Name of the store in `platforms.store`.
    fn name(&self) -> &'static str;

    /// Maximum number of checks per second per platform.
    fn per_second(&self) -> u32;

    /// Returns how long to retry after the first failure before the purchase is settled without the store.
    fn give_up_after(&self) -> Duration;

    /// Returns whether its requests carry an access token.
    fn issues_tokens(&self) -> bool {
        false
    }

    /// Returns the request of an access token for the platform's credential, signed at `now`, within the rate of its
    /// bucket.
    ///
    /// # Errors
    /// The answer to the check: no token can be requested with this credential.
    fn token_request(
        &self,
        _subject: &Subject,
        _now: Timestamp,
    ) -> Result<(Box<Request>, Bucket), Answer> {
        Err(Answer::Refused)
    }

    /// Reads the reply to [`Self::token_request`].
    ///
    /// # Errors
    /// The answer to the check: the store issues no token.
    fn token(&self, _subject: &Subject, _reply: &Reply) -> Result<AccessToken, Answer> {
        Err(Answer::Refused)
    }

    /// What to do next, given the replies to the requests that this check sent before, the first one first.
    fn next(&self, subject: &Subject, replies: &[Replied]) -> CheckStep;
}

/// The stores that this process knows.
#[derive(Debug, Clone, Default)]
pub struct Stores(Vec<Arc<dyn StoreProtocol>>);

impl Stores {
    pub fn new(all: Vec<Arc<dyn StoreProtocol>>) -> Self {
        Self(all)
    }

    /// Returns the number of checks per second per platform of the fastest store: those of others wait for their turn.
    pub fn per_second(&self) -> u32 {
        let all = self.0.iter().map(|store| store.per_second());
        all.max().unwrap_or(1)
    }

    /// Returns the store with this name.
    ///
    /// # Errors
    /// [`UnknownStore`] if this version does not know it.
    pub fn of(&self, name: &str) -> Result<&dyn StoreProtocol, UnknownStore> {
        let found = self.0.iter().find(|store| store.name() == name);
        found
            .map(AsRef::as_ref)
            .ok_or_else(|| UnknownStore(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::{CheckStep, Replied, StoreProtocol, Stores, Subject};
    use crate::stores::Answer;
    use domain::Verification;
    use std::sync::Arc;
    use std::time::Duration;

    #[derive(Debug)]
    struct Silent(u32);

    impl StoreProtocol for Silent {
        fn name(&self) -> &'static str {
            "silent"
        }

        fn per_second(&self) -> u32 {
            self.0
        }

        fn give_up_after(&self) -> Duration {
            Duration::ZERO
        }

        fn next(&self, _: &Subject, _: &[Replied]) -> CheckStep {
            CheckStep::Done(Answer::Verification(Verification::Unverifiable))
        }
    }

    #[test]
    fn a_store_is_known_by_its_name() {
        let stores = Stores::new(vec![Arc::new(Silent(3)), Arc::new(Silent(7))]);
        assert!(stores.of("silent").is_ok());
        assert_eq!(
            (stores.per_second(), Stores::default().per_second()),
            (7, 1)
        );
        let unknown = stores.of("other").err().map(|error| error.to_string());
        let expected = "the store `other` is not known to this version of settle";
        assert_eq!(unknown.as_deref(), Some(expected));
    }
}
