//! The check of a purchase with its store, as a state machine without I/O: from the replies so far, it computes the
//! next request or the result.

use super::answer::{AccessRefusal, AcknowledgeAnswer, Answer};
use super::repair::{RepairOutcome, RepairPage, RepairStep, RepairTask};
use super::token::AccessToken;
use crate::http::{Reply, Request};
use domain::stores::UnknownStore;
use domain::{Environment, PlatformId, Purchase, Snapshot, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;
use storage::{RepairKind, StorePart};

/// The purchase to check, with the platform's credential. It has no debug output, since it contains a user id and a
/// secret.
pub struct Subject {
    /// The platform whose credential is used.
    pub platform: PlatformId,
    /// The store's environment, as the platform's setting says.
    pub environment: Environment,
    /// The store's id of the customer; `None` if it is not known and the store does not need it.
    pub app_user_id: Option<String>,
    /// The store's id of the purchase.
    pub receipt_id: String,
    /// The package name of the platform's app.
    pub package_name: String,
    /// The purchase as it was recorded last; `None` if it is new.
    pub known: Option<Box<Purchase>>,
    /// When the purchase was first reported; `None` if it is not known.
    pub reported_at: Option<Timestamp>,
    /// The bodies of the purchase's open notifications, oldest first, if the store signs what they show; else empty.
    pub reported: Vec<Value>,
    /// The credential of a store with a single secret; empty for other stores.
    pub secret: SecretString,
    /// The platform's settings and credentials in the store's own form.
    pub own: StorePart,
}

impl Subject {
    /// Returns what an access token is issued for: the platform's environment, settings and credentials. A token is not
    /// used after one of them changes.
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
    /// Sends a request within the rate of its bucket, with an access token if the store issues them.
    Send(Box<Request>, Bucket),
    Done(Answer),
}

/// A group of requests with one rate limit at the store. Each platform has its own limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Bucket {
    /// Name of the bucket, such as that of the store's quota.
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

/// The answer of a store that issues no access tokens, although one was requested.
const NO_TOKENS: AccessRefusal = AccessRefusal::of_credential("the store issues no access tokens");

/// How a store verifies purchases. Each store's folder has one implementation, which is pure.
pub trait StoreProtocol: Debug + Send + Sync {
    /// Returns the name of the store in the column `platforms.store`.
    fn name(&self) -> &'static str;

    /// Returns the maximum number of checks per second per platform.
    fn per_second(&self) -> u32;

    /// Returns how long to retry after the first failure before the check gives up.
    fn give_up_after(&self) -> Duration;

    /// Returns whether an id by which the store names a customer of a platform is the app's own.
    fn has_app_ids(&self, _subject: &Subject, _name: &str) -> bool {
        false
    }

    /// Returns whether the store's requests carry an access token, which the store issues or settle signs.
    fn issues_tokens(&self) -> bool {
        false
    }

    /// Returns the access token that settle signs at `now` with the platform's credential; `None` if the store issues
    /// it, to [`Self::token_request`]. It is renewed and dropped like an issued one.
    ///
    /// # Errors
    /// Returns the answer to the check if no token can be signed with this credential.
    fn own_token(
        &self,
        _subject: &Subject,
        _now: Timestamp,
    ) -> Option<Result<AccessToken, Answer>> {
        None
    }

    /// Returns the request for an access token with the platform's credential, signed at `now`, and the request's
    /// bucket. It is sent if there is no [`Self::own_token`].
    ///
    /// # Errors
    /// Returns the answer to the check if no token can be requested with this credential.
    fn token_request(
        &self,
        _subject: &Subject,
        _now: Timestamp,
    ) -> Result<(Box<Request>, Bucket), Answer> {
        Err(Answer::Refused(NO_TOKENS))
    }

    /// Parses the reply to [`Self::token_request`].
    ///
    /// # Errors
    /// Returns the answer to the check if the store issued no token.
    fn token(&self, _subject: &Subject, _reply: &Reply) -> Result<AccessToken, Answer> {
        Err(Answer::Refused(NO_TOKENS))
    }

    /// Returns the next step, given the replies to the requests that this check has sent, oldest first.
    fn next(&self, subject: &Subject, replies: &[Replied]) -> CheckStep;

    /// Returns the request that acknowledges a purchase as the store shows it, and the request's bucket; `None` if the
    /// store has no such request, or if the platform's settings leave the acknowledgement to the app.
    fn acknowledgement(
        &self,
        _subject: &Subject,
        _shown: &Snapshot,
    ) -> Option<(Box<Request>, Bucket)> {
        None
    }

    /// Interprets the reply to [`Self::acknowledgement`].
    fn acknowledged(&self, _reply: &Reply) -> AcknowledgeAnswer {
        AcknowledgeAnswer::Unclear
    }

    /// Returns what can be read from the store apart from purchases, to find what no notification reported. With
    /// [`RepairKind::Test`], the store sends a test notification on request.
    fn repairs(&self) -> &'static [RepairKind] {
        &[]
    }

    /// Returns the next step of a part of a repair, given the replies to the requests that it has sent, oldest first.
    /// The subject has an empty id of the purchase.
    fn repair(&self, _subject: &Subject, _task: &RepairTask, _replies: &[Replied]) -> RepairStep {
        RepairStep::Done(RepairOutcome::Found(RepairPage::default()))
    }
}

/// The stores that this process knows.
#[derive(Debug, Clone, Default)]
pub struct Stores(Vec<Arc<dyn StoreProtocol>>);

impl Stores {
    pub fn new(all: Vec<Arc<dyn StoreProtocol>>) -> Self {
        Self(all)
    }

    /// Returns the number of checks per second per platform of the fastest store. The checks of slower stores wait for
    /// their turn.
    pub fn per_second(&self) -> u32 {
        let all = self.0.iter().map(|store| store.per_second());
        all.max().unwrap_or(1)
    }

    /// Returns the repairs that the stores offer, each with the store's name.
    pub fn repairs(&self) -> Vec<(&'static str, RepairKind)> {
        let of_store = |store: &Arc<dyn StoreProtocol>| {
            let name = store.name();
            store.repairs().iter().map(move |kind| (name, *kind))
        };
        self.0.iter().flat_map(of_store).collect()
    }

    /// Returns the store with this name.
    ///
    /// # Errors
    /// Fails with [`UnknownStore`] if this version does not know the store.
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
