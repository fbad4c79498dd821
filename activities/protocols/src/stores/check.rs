//! The check of a purchase with its store, as a machine without I/O: it says what to send next, given the replies so
//! far, or what it knows.

use super::answer::Answer;
use crate::http::{Reply, Request};
use domain::{Environment, PlatformId, Timestamp};
use secrecy::SecretString;
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
    /// The store's id of the customer.
    pub app_user_id: String,
    /// The store's id of the purchase.
    pub receipt_id: String,
    /// The shared secret; empty for a store without one.
    pub secret: SecretString,
    /// What the platform has of its store alone.
    pub own: StorePart,
}

/// The next step of a check.
#[derive(Debug)]
pub enum CheckStep {
    /// Sends a request, within the rate of its bucket.
    Send(Box<Request>, Bucket),
    Done(Answer),
}

/// The requests that a store counts together. Each platform has its own share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Bucket {
    /// Its name, such as that of a quota at the store.
    pub name: &'static str,
    /// Maximum number of requests a second per platform.
    pub per_second: u32,
}

/// A reply to a request of a check.
#[derive(Debug)]
pub struct Replied {
    pub reply: Reply,
    /// When its request was sent.
    pub at: Timestamp,
}

/// How a store verifies purchases. One implementation in each store's folder; pure.
pub trait StoreProtocol: Debug + Send + Sync {
    /// The store's name on platforms.
    fn name(&self) -> &'static str;

    /// Maximum number of checks a second per platform.
    fn per_second(&self) -> u32;

    /// How long to retry after the first failure before the purchase is settled without the store.
    fn give_up_after(&self) -> Duration;

    /// What to do next, given the replies to the requests that this check sent before, the first one first.
    fn next(&self, subject: &Subject, replies: &[Replied]) -> CheckStep;
}

/// The stores that this process knows.
#[derive(Debug, Clone, Default)]
pub struct Stores(Vec<Arc<dyn StoreProtocol>>);

/// A store that this version does not know: a later one connected its platform, and settles its purchases.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the store `{0}` is not known to this version of settle")]
pub struct UnknownStore(String);

impl Stores {
    pub fn new(all: Vec<Arc<dyn StoreProtocol>>) -> Self {
        Self(all)
    }

    /// The number of checks a second per platform of the fastest store: those of others wait for their turn.
    pub fn per_second(&self) -> u32 {
        let all = self.0.iter().map(|store| store.per_second());
        all.max().unwrap_or(1)
    }

    /// The store with this name.
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
