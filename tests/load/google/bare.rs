//! What the bare server does with pushes: it checks their tokens, except one that is the same as the last valid one.

use crate::bare::Check;
use api::stores::google::keyset::{self, KeySet};
use api::stores::google::mapping;
use api::stores::google::token::{self, UnverifiedToken};
use api::stores::google::{PushTarget, STORE};
use api::stores::push::Push;
use axum::http::{HeaderMap, StatusCode};
use std::sync::Mutex;
use storage::Platform;
use system_tests::play::push;
use system_tests::shared::locked;

const TARGET: PushTarget<'static> = PushTarget {
    audience: push::AUDIENCE,
    account: push::ACCOUNT,
    subscription: push::SUBSCRIPTION,
};

pub struct TokenCheck {
    keys: KeySet,
    /// The last valid token; empty before the first.
    known: Mutex<String>,
}

impl TokenCheck {
    /// Returns a check with the fake's keys.
    pub fn new() -> Self {
        let keys = push::key_set().to_string();
        Self {
            keys: keyset::read(keys.as_bytes()).expect("the fake's keys"),
            known: Mutex::default(),
        }
    }

    fn is_genuine(&self, headers: &HeaderMap) -> bool {
        let Ok(token) = token::bearer(headers) else {
            return false;
        };
        if *locked(&self.known) == token {
            return true;
        }
        let is_valid = self.verify(token).is_some();
        if is_valid {
            token.clone_into(&mut locked(&self.known));
        }
        is_valid
    }

    fn verify(&self, token: &str) -> Option<()> {
        let unverified = UnverifiedToken::parse(token).ok()?;
        let key = self.keys.get(&unverified.key_id)?;
        let claims = unverified.verify(key, api::clock::now()).ok()?;
        claims.check_target(&TARGET).ok()
    }
}

impl Check for TokenCheck {
    const STORE: &'static str = STORE;
    const ACCEPTED: StatusCode = StatusCode::NO_CONTENT;

    fn check(
        &self,
        platform: &Platform,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Push, StatusCode> {
        if !self.is_genuine(headers) {
            return Err(StatusCode::UNAUTHORIZED);
        }
        let push = mapping::outcome(platform, &TARGET, body, api::clock::now());
        push.ok_or(StatusCode::SERVICE_UNAVAILABLE)
    }
}
