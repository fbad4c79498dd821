//! The access tokens of the platforms. Each platform has one for each environment of its store, stored only in memory.
//! One flight at a time requests a token; the others wait for it, or use the current token while it is being renewed or
//! cannot be. A token is renewed after four fifths of its lifetime and dropped when the store first refuses it. It
//! never outlives the credential for which it was issued.

use domain::{Environment, PlatformId};
use protocols::stores::AccessToken;
use secrecy::{ExposeSecret, SecretString};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;

/// Once there are this many scopes, those without a valid token are removed.
const SWEPT_FROM: usize = 256;
/// How long until a failed renewal is retried.
const RENEWED_AGAIN: Duration = Duration::from_secs(30);
/// Maximum lifetime that is believed of a token.
const MAX_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// The tokens of a process.
#[derive(Debug, Default)]
pub struct TokenSource {
    scopes: Mutex<HashMap<Scope, Place>>,
}

/// The scope in which a token is valid. A platform that was switched to another environment still has purchases in the
/// previous one, and both are checked in turn. With one token for both, each check would drop the token of the other
/// environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Scope {
    pub platform: PlatformId,
    pub environment: Environment,
}

/// The credential for which a token is issued.
#[derive(Clone, Copy)]
pub struct Credential<'a> {
    pub scope: Scope,
    pub issued_for: &'a SecretString,
}

/// The token of a scope, and the lock held by the flight that requests one.
#[derive(Debug, Default)]
struct Place {
    token: Option<Token>,
    flight: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug)]
struct Token {
    token: SecretString,
    /// The credential for which the token was issued.
    issued_for: SecretString,
    renewed_at: Instant,
    ends_at: Instant,
}

/// Source of a check's token.
pub enum Found<'a> {
    Valid(SecretString),
    /// A new request, which no other check in the scope makes at the same time.
    Flight(Flight<'a>),
}

/// The only request of a token in a scope.
pub struct Flight<'a> {
    source: &'a TokenSource,
    credential: Credential<'a>,
    /// The token to be renewed, if any.
    present: Option<SecretString>,
    _guard: OwnedMutexGuard<()>,
}

impl TokenSource {
    /// Returns a valid token for the credential, or the flight that requests one. Without a valid token, waits for a
    /// flight in progress.
    pub async fn find<'a>(&'a self, credential: Credential<'a>, now: Instant) -> Found<'a> {
        let flight = {
            let mut scopes = self.scopes();
            let place = scopes.entry(credential.scope).or_default();
            let flight = Arc::clone(&place.flight);
            let valid = place.valid(credential, now);
            match valid {
                Some((token, Freshness::Fresh)) => return Found::Valid(token),
                // Another check renews the token.
                Some((token, Freshness::Due)) => match Arc::clone(&flight).try_lock_owned() {
                    Ok(guard) => {
                        return Found::Flight(self.flight(credential, Some(token), guard));
                    }
                    Err(_) => return Found::Valid(token),
                },
                None => flight,
            }
        };
        let guard = flight.lock_owned().await;
        let landed = {
            let mut scopes = self.scopes();
            let place = scopes.entry(credential.scope).or_default();
            place.valid(credential, now)
        };
        match landed {
            Some((token, _)) => Found::Valid(token),
            None => Found::Flight(self.flight(credential, None, guard)),
        }
    }

    /// Drops a token that the store refused, unless another one has replaced it.
    pub fn discard(&self, scope: Scope, refused: &SecretString) {
        if let Some(place) = self.scopes().get_mut(&scope) {
            let is_refused = |token: &Token| token.token.expose_secret() == refused.expose_secret();
            if place.token.as_ref().is_some_and(is_refused) {
                place.token = None;
            }
        }
    }

    fn flight<'a>(
        &'a self,
        credential: Credential<'a>,
        present: Option<SecretString>,
        guard: OwnedMutexGuard<()>,
    ) -> Flight<'a> {
        Flight {
            source: self,
            credential,
            present,
            _guard: guard,
        }
    }

    fn scopes(&self) -> MutexGuard<'_, HashMap<Scope, Place>> {
        self.scopes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a valid token is due for renewal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Freshness {
    Fresh,
    Due,
}

impl Place {
    /// Returns the token if it is valid. Drops a token of another credential.
    fn valid(
        &mut self,
        credential: Credential<'_>,
        now: Instant,
    ) -> Option<(SecretString, Freshness)> {
        let secret = credential.issued_for.expose_secret();
        let is_valid =
            |token: &Token| now < token.ends_at && token.issued_for.expose_secret() == secret;
        self.token = self.token.take().filter(is_valid);
        let token = self.token.as_ref()?;
        let freshness = if now < token.renewed_at {
            Freshness::Fresh
        } else {
            Freshness::Due
        };
        Some((token.token.clone(), freshness))
    }
}

impl Flight<'_> {
    /// Ends a flight that got no token: the current token remains in use and is renewed a little later. Returns `None`
    /// if there is none.
    pub fn postpone(self, now: Instant) -> Option<SecretString> {
        let present = self.present?;
        let mut scopes = self.source.scopes();
        let token = scopes
            .get_mut(&self.credential.scope)
            .and_then(|place| place.token.as_mut());
        if let Some(token) = token {
            token.renewed_at = now + RENEWED_AGAIN;
        }
        Some(present)
    }

    /// Stores the issued token. `requested_at` is when its request was sent.
    pub fn land(self, issued: AccessToken, requested_at: Instant) -> SecretString {
        let lifetime = issued.lifetime.min(MAX_LIFETIME);
        let token = Token {
            token: issued.token.clone(),
            issued_for: self.credential.issued_for.clone(),
            renewed_at: requested_at + lifetime * 4 / 5,
            ends_at: requested_at + lifetime,
        };
        let mut scopes = self.source.scopes();
        if scopes.len() >= SWEPT_FROM {
            let now = requested_at;
            // A check that waits for a flight shares the lock of that flight.
            scopes.retain(|_, place| {
                Arc::strong_count(&place.flight) > 1
                    || place
                        .token
                        .as_ref()
                        .is_some_and(|token| now < token.ends_at)
            });
        }
        scopes.entry(self.credential.scope).or_default().token = Some(token);
        issued.token
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::future::join_all;
    use std::sync::atomic::{AtomicU32, Ordering};

    const HOUR: Duration = Duration::from_secs(3600);

    fn scope(id: [u8; 16], environment: Environment) -> Scope {
        Scope {
            platform: PlatformId::new(uuid::Uuid::from_bytes(id)),
            environment,
        }
    }

    fn production() -> Scope {
        scope([1; 16], Environment::Production)
    }

    fn credential(secret: &SecretString) -> Credential<'_> {
        Credential {
            scope: production(),
            issued_for: secret,
        }
    }

    /// A platform's checks that need a token.
    struct Checks {
        source: TokenSource,
        began: Instant,
        /// Number of requested tokens.
        requests: AtomicU32,
    }

    impl Checks {
        fn new() -> Self {
            Self {
                source: TokenSource::default(),
                began: Instant::now(),
                requests: AtomicU32::new(0),
            }
        }

        /// Returns the token of a check `after` this time since the beginning.
        async fn token(&self, secret: &SecretString, after: Duration) -> String {
            self.token_of(credential(secret), after).await
        }

        async fn token_of(&self, credential: Credential<'_>, after: Duration) -> String {
            let now = self.began + after;
            match self.source.find(credential, now).await {
                Found::Valid(token) => token.expose_secret().to_owned(),
                Found::Flight(flight) => {
                    // The request is in flight, and other checks continue.
                    tokio::task::yield_now().await;
                    let number = self.requests.fetch_add(1, Ordering::Relaxed);
                    let token = flight.land(issued(&format!("token {number}")), now);
                    token.expose_secret().to_owned()
                }
            }
        }

        /// Returns the tokens of many concurrent checks, in order.
        async fn tokens(&self, secret: &SecretString, after: Duration) -> Vec<String> {
            let mut all = join_all((0..50).map(|_| self.token(secret, after))).await;
            all.sort_unstable();
            all
        }
    }

    fn issued(token: &str) -> AccessToken {
        AccessToken {
            token: token.into(),
            lifetime: HOUR,
        }
    }

    #[tokio::test]
    async fn one_flight_serves_all_checks_and_renews_early() {
        let (checks, secret) = (Checks::new(), SecretString::from("a"));
        assert_eq!(
            checks.tokens(&secret, Duration::ZERO).await,
            ["token 0"; 50]
        );
        // One of them renews the token, and the others use the old one meanwhile.
        let renewed = checks.tokens(&secret, HOUR * 4 / 5).await;
        assert_eq!(renewed[..49], ["token 0"; 49]);
        assert_eq!(renewed[49], "token 1");
        assert_eq!(checks.token(&secret, HOUR * 4 / 5).await, "token 1");
        assert_eq!(checks.token(&secret, HOUR * 2).await, "token 2");
        assert_eq!(checks.requests.load(Ordering::Relaxed), 3);
    }

    #[tokio::test]
    async fn a_flight_that_fails_leaves_the_next_one() {
        let (checks, secret) = (Checks::new(), SecretString::from("a"));
        let found = checks.source.find(credential(&secret), checks.began).await;
        assert!(matches!(found, Found::Flight(_)));
        drop(found);
        assert_eq!(checks.token(&secret, Duration::ZERO).await, "token 0");
    }

    #[tokio::test]
    async fn a_token_serves_while_it_cannot_be_renewed() {
        let (checks, secret) = (Checks::new(), SecretString::from("a"));
        checks.token(&secret, Duration::ZERO).await;
        let due = checks.began + HOUR * 4 / 5;
        let Found::Flight(flight) = checks.source.find(credential(&secret), due).await else {
            panic!("it is to be renewed");
        };
        let present = flight.postpone(due).expect("the present token");
        assert_eq!(present.expose_secret(), "token 0");
        assert_eq!(checks.token(&secret, HOUR * 4 / 5).await, "token 0");
        let again = HOUR * 4 / 5 + RENEWED_AGAIN;
        assert_eq!(checks.token(&secret, again).await, "token 1");
    }

    #[tokio::test]
    async fn a_token_is_dropped_when_refused_or_of_another_credential() {
        let (checks, secret) = (Checks::new(), SecretString::from("a"));
        let now = Duration::ZERO;
        let first: SecretString = checks.token(&secret, now).await.into();
        checks.source.discard(production(), &"another".into());
        assert_eq!(checks.token(&secret, now).await, "token 0");
        checks.source.discard(production(), &first);
        assert_eq!(checks.token(&secret, now).await, "token 1");
        checks.source.discard(production(), &first);
        assert_eq!(checks.token(&secret, now).await, "token 1");
        let other = SecretString::from("b");
        assert_eq!(checks.token(&other, now).await, "token 2");
        assert_eq!(checks.token(&secret, now).await, "token 3");
    }

    #[tokio::test]
    async fn each_environment_of_a_platform_has_its_own_token() {
        let checks = Checks::new();
        let environments = [Environment::Production, Environment::Sandbox];
        for _ in 0..3 {
            for (number, environment) in environments.into_iter().enumerate() {
                let secret = SecretString::from(environment.as_str());
                let credential = Credential {
                    scope: scope([1; 16], environment),
                    issued_for: &secret,
                };
                let token = checks.token_of(credential, Duration::ZERO).await;
                assert_eq!(token, format!("token {number}"), "{environment:?}");
            }
        }
        // A token refused in one environment is valid in the other.
        let refused = SecretString::from("token 0");
        let sandbox = scope([1; 16], Environment::Sandbox);
        checks.source.discard(sandbox, &refused);
        let secret = SecretString::from(Environment::Production.as_str());
        assert_eq!(checks.token(&secret, Duration::ZERO).await, "token 0");
    }

    #[tokio::test]
    async fn expired_tokens_of_many_platforms_are_forgotten() {
        let (source, secret) = (TokenSource::default(), SecretString::from("a"));
        let began = Instant::now();
        for number in 0..400_u16 {
            let mut id = [0; 16];
            id[..2].copy_from_slice(&number.to_be_bytes());
            let credential = Credential {
                scope: scope(id, Environment::Production),
                issued_for: &secret,
            };
            let now = began + HOUR * u32::from(number);
            let Found::Flight(flight) = source.find(credential, now).await else {
                panic!("each platform has its own token");
            };
            flight.land(issued("token"), now);
        }
        assert!(source.scopes().len() <= SWEPT_FROM);
    }

    #[tokio::test]
    async fn two_hundred_platforms_cost_at_most_10_mib() {
        // The longest access token and key file that are accepted.
        let (token, file) = ("t".repeat(4096), SecretString::from("k".repeat(16 * 1024)));
        let (source, now) = (TokenSource::default(), Instant::now());
        for number in 0..200 {
            let credential = Credential {
                scope: scope([number; 16], Environment::Production),
                issued_for: &file,
            };
            let Found::Flight(flight) = source.find(credential, now).await else {
                panic!("each platform has its own token");
            };
            flight.land(issued(&token), now);
        }
        let scopes = source.scopes();
        assert_eq!(scopes.len(), 200);
        let held = |place: &Place| {
            let token = place.token.as_ref().expect("a token");
            let texts = [&token.token, &token.issued_for];
            let texts = texts.map(|text| text.expose_secret().len());
            texts.into_iter().sum::<usize>() + size_of::<tokio::sync::Mutex<()>>()
        };
        let texts: usize = scopes.values().map(held).sum();
        let entries = scopes.capacity() * size_of::<(Scope, Place)>();
        assert!(
            texts + entries <= 10 * 1024 * 1024,
            "{texts} and {entries} bytes"
        );
    }

    #[test]
    fn no_token_is_in_debug_output() {
        let issued = issued("hidden token");
        assert!(!format!("{issued:?}").contains("hidden"));
    }
}
