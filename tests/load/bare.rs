//! The control of a store's ingress: a server that checks requests and inserts their rows, and nothing else.
//!
//! It shares the functions that check a request and map its body with settle, and the storage, which groups the inserts.
//! It has no ingress keys, limits, counts, traces or dispatcher.

use crate::floors;
use api::stores::push::Push;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use std::sync::Arc;
use storage::{Platform, Store};
use system_tests::folder::Folder;

/// What a bare server does with the requests of a store.
pub trait Check: Send + Sync + 'static {
    /// Name of the store.
    const STORE: &'static str;
    /// The answer to a stored message.
    const ACCEPTED: StatusCode;

    /// Checks a request, and maps its body to a row.
    ///
    /// # Errors
    /// The answer to a request that is refused.
    fn check(
        &self,
        platform: &Platform,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Push, StatusCode>;
}

/// A running control. Its folder is removed when this is dropped.
pub struct Bare {
    pub url: String,
    _folder: Folder,
}

struct Served<C> {
    store: Store,
    platform: Platform,
    check: C,
}

impl Bare {
    /// Starts the control, with its own database, on two separate threads.
    pub async fn start<C: Check>(check: C) -> Self {
        let folder = Folder::new("bare");
        let (store, platform) = floors::database(&folder, C::STORE).await;
        let served = Arc::new(Served {
            store,
            platform,
            check,
        });
        let router = Router::new().fallback(receive::<C>).with_state(served);
        Self {
            url: floors::serve(router).await,
            _folder: folder,
        }
    }
}

async fn receive<C: Check>(
    State(served): State<Arc<Served<C>>>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let row = match served.check.check(&served.platform, &headers, &body) {
        Ok(Push::Accepted(row, _) | Push::Declined(row, _)) => row,
        Err(status) => return status,
    };
    let inserted = served.store.accept(vec![*row]).await;
    drop(inserted.expect("a durable insert"));
    C::ACCEPTED
}
