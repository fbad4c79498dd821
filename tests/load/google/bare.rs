//! The control of Google's ingress: a server that checks the tokens of pushes and inserts their rows, and nothing else.
//!
//! It shares the functions that check a token and map a body with settle, and the storage, which groups the inserts. It
//! does not check a token again that is the same as the last valid one. It has no ingress keys, limits, counts, traces
//! or dispatcher.

use crate::floors;
use api::stores::google::keyset::{self, KeySet};
use api::stores::google::mapping;
use api::stores::google::token::{self, UnverifiedToken};
use api::stores::google::{PushTarget, STORE};
use api::stores::push::Push;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use std::sync::{Arc, Mutex};
use storage::{Platform, Store};
use system_tests::folder::Folder;
use system_tests::play::push;
use system_tests::shared::locked;

const TARGET: PushTarget<'static> = PushTarget {
    audience: push::AUDIENCE,
    account: push::ACCOUNT,
    subscription: push::SUBSCRIPTION,
};

/// A running control. Its folder is removed when this is dropped.
pub struct Bare {
    pub url: String,
    _folder: Folder,
}

struct Served {
    store: Store,
    platform: Platform,
    keys: KeySet,
    /// The last valid token; empty before the first.
    known: Mutex<String>,
}

impl Bare {
    /// Starts the control, with its own database, on two separate threads.
    pub async fn start() -> Self {
        let folder = Folder::new("bare");
        let (store, platform) = floors::database(&folder, STORE).await;
        let keys = push::key_set().to_string();
        let served = Served {
            store,
            platform,
            keys: keyset::read(keys.as_bytes()).expect("the fake's keys"),
            known: Mutex::default(),
        };
        let router = Router::new().fallback(receive).with_state(Arc::new(served));
        Self {
            url: floors::serve(router).await,
            _folder: folder,
        }
    }
}

async fn receive(State(served): State<Arc<Served>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    if !served.is_genuine(&headers) {
        return StatusCode::UNAUTHORIZED;
    }
    let now = api::clock::now();
    let outcome = mapping::outcome(&served.platform, &TARGET, &body, now);
    if let Some(Push::Accepted(row, _)) = outcome {
        let inserted = served.store.accept(vec![*row]).await;
        drop(inserted.expect("a durable insert"));
    }
    StatusCode::NO_CONTENT
}

impl Served {
    fn is_genuine(&self, headers: &HeaderMap) -> bool {
        let Ok(token) = token::bearer(headers) else {
            return false;
        };
        if *locked(&self.known) == token {
            return true;
        }
        let is_valid = self.check(token).is_some();
        if is_valid {
            token.clone_into(&mut locked(&self.known));
        }
        is_valid
    }

    fn check(&self, token: &str) -> Option<()> {
        let unverified = UnverifiedToken::parse(token).ok()?;
        let key = self.keys.get(&unverified.key_id)?;
        let claims = unverified.verify(key, api::clock::now()).ok()?;
        claims.check_target(&TARGET).ok()
    }
}
