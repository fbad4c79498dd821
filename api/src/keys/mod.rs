//! API keys: authentication, roles, and access to apps.
//!
//! `guard` protects every route that requires a key, `scope` finds the app that a path refers to, and `keyring` limits
//! guesses. Keys are created, stored and revoked in `storage`; the admin token from the settings acts as one more key,
//! for all apps.

mod acting;
mod caller;
pub mod guard;
mod name;
pub mod scope;
mod sign_in;
#[cfg(test)]
mod tests;

pub use acting::{Acting, REASON, Reason};
pub use caller::Caller;
pub use name::{check_name, check_visible};
pub use sign_in::holds as sign_in_holds;

use crate::edge::Edge;
use crate::error::Error;
use crate::keyring::KeyText;
use domain::{KeyId, Timestamp};
use secrecy::ExposeSecret;
use storage::{HashedKey, Role, chain, key_hash};
use subtle::ConstantTimeEq;

/// Name of the admin token in the audit log.
pub const ADMIN_TOKEN: &str = "admin token";

/// Why a request was not authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// No key has this id.
    Unknown,
    /// The secret is not that of the key with this id; without an id, the text is not the admin token.
    Wrong(Option<KeyId>),
    Expired,
    Revoked,
}

impl Refused {
    pub const fn label(self) -> &'static str {
        match self {
            Self::Unknown | Self::Wrong(_) => "unknown",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

/// Returns the caller that a bearer token authenticates.
///
/// # Errors
/// 503 if the database does not respond.
pub async fn caller(edge: &Edge, token: &str) -> Result<Result<Caller, Refused>, Error> {
    if is_same(token, edge.admin_token.expose_secret()) {
        return Ok(Ok(Caller {
            key: None,
            sign_in: None,
            name: ADMIN_TOKEN.to_owned(),
            role: Role::Admin,
            app: None,
        }));
    }
    let Some(KeyText { id, secret }) = KeyText::parse(token) else {
        return Ok(Err(Refused::Wrong(None)));
    };
    let found = match edge.store.key(id).await {
        Err(storage::Error::Missing { .. }) => return Ok(Err(Refused::Unknown)),
        found => found?,
    };
    let now = (edge.clock)();
    let caller = proved(found, secret.expose_secret(), now);
    if caller.is_ok() && edge.keys.is_due(id, now) {
        note_used(edge, id);
    }
    Ok(caller)
}

/// Returns whether the caller's key or sign-in is still valid, for responses that may outlive it.
///
/// # Errors
/// 503 if the database does not respond.
pub async fn still_holds(edge: &Edge, caller: &Caller) -> Result<bool, Error> {
    if let Some(id) = caller.sign_in {
        let found = edge.store.found_sign_in(id).await?;
        return Ok(found.is_some_and(|found| sign_in_holds(&found, edge, (edge.clock)())));
    }
    let Some(id) = caller.key else {
        return Ok(true);
    };
    let key = edge.store.key(id).await?.key;
    Ok(key.revoked_at.is_none() && key.expires_at.is_none_or(|end| (edge.clock)() < end))
}

/// Returns the caller of the key `found`, if the secret is right and the key is still valid.
fn proved(found: HashedKey, secret: &str, now: Timestamp) -> Result<Caller, Refused> {
    let HashedKey { key, hash } = found;
    if !is_same(&key_hash(secret), &hash) {
        return Err(Refused::Wrong(Some(key.id)));
    }
    if key.revoked_at.is_some() {
        return Err(Refused::Revoked);
    }
    if key.expires_at.is_some_and(|end| end <= now) {
        return Err(Refused::Expired);
    }
    Ok(Caller {
        key: Some(key.id),
        sign_in: None,
        name: key.name,
        role: key.role,
        app: key.app_id,
    })
}

/// Compares two texts, in constant time if they have the same length; the length is not secret. An empty `expected`
/// never matches.
fn is_same(shown: &str, expected: &str) -> bool {
    !expected.is_empty() && bool::from(shown.as_bytes().ct_eq(expected.as_bytes()))
}

/// Records the use of a key without delaying the request.
fn note_used(edge: &Edge, id: KeyId) {
    let store = edge.store.clone();
    tokio::spawn(async move {
        if let Err(error) = store.note_key_used(id).await {
            tracing::debug!(key.id = %id, error = chain(&error), "the use of a key was not noted");
        }
    });
}
