//! Cache of accepted tokens, by their SHA-256: Google reuses a token for up to an hour. Nothing in the cache depends on
//! a setting, so that changed settings apply immediately.

use super::token::SignedClaims;
use domain::Timestamp;
use ring::digest::{SHA256, digest};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Maximum number of cached tokens.
const MAX_TOKENS: usize = 64;

type KnownTokens = HashMap<Vec<u8>, Arc<SignedClaims>>;

#[derive(Default)]
pub struct Verdicts(Mutex<KnownTokens>);

impl Verdicts {
    /// Returns the claims of a cached token that has not expired.
    pub fn find(&self, token: &str, now: Timestamp) -> Option<Arc<SignedClaims>> {
        let known = self.known();
        let claims = known.get(&name(token))?;
        claims.check_time(now).is_ok().then(|| claims.clone())
    }

    /// Caches the claims of an accepted token. A full cache first drops expired tokens; if it is still full, the one
    /// that expires earliest.
    pub fn remember(&self, token: &str, claims: Arc<SignedClaims>, now: Timestamp) {
        let mut known = self.known();
        if known.len() >= MAX_TOKENS {
            known.retain(|_, claims| claims.check_time(now).is_ok());
        }
        if known.len() >= MAX_TOKENS {
            let first = known.iter().min_by_key(|(_, claims)| claims.expires_at());
            if let Some(first) = first.map(|(name, _)| name.clone()) {
                known.remove(&first);
            }
        }
        known.insert(name(token), claims);
    }

    fn known(&self) -> MutexGuard<'_, KnownTokens> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.known().len()
    }
}

fn name(token: &str) -> Vec<u8> {
    digest(&SHA256, token.as_bytes()).as_ref().to_vec()
}
