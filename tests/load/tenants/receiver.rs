//! The endpoints of all apps: they record when an event of a receipt first arrived, and those that are down answer 503.

use axum::Router;
use axum::body::Bytes;
use axum::extract;
use axum::http::{StatusCode, Uri};
use serde_json::Value;
use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::net::TcpListener;
use tokio::time::Instant;

/// Path prefix of the endpoints that are down until [`Receiver::mend`].
pub const DOWN: &str = "/down/";

/// When each endpoint first received an event of a receipt, by receipt and path.
type Arrivals = HashMap<String, HashMap<String, Instant>>;

#[derive(Clone, Default)]
struct Shared(Arc<State>);

#[derive(Default)]
struct State {
    arrivals: Mutex<Arrivals>,
    is_mended: AtomicBool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Arrivals> {
        self.0
            .arrivals
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running receiver. It listens until the process ends.
pub struct Receiver {
    url: String,
    shared: Shared,
}

impl Receiver {
    pub async fn start() -> Self {
        let shared = Shared::default();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let router = Router::new().fallback(receive).with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap_or_default() });
        Self { url, shared }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// Makes every endpoint answer 200 from now on.
    pub fn mend(&self) {
        self.shared.0.is_mended.store(true, Ordering::Relaxed);
    }

    /// Returns when each endpoint first received an event of a receipt.
    pub fn arrivals(&self, receipt: &str) -> Vec<Instant> {
        self.shared
            .lock()
            .get(receipt)
            .map(|paths| paths.values().copied().collect())
            .unwrap_or_default()
    }
}

async fn receive(
    extract::State(shared): extract::State<Shared>,
    uri: Uri,
    body: Bytes,
) -> StatusCode {
    if uri.path().starts_with(DOWN) && !shared.0.is_mended.load(Ordering::Relaxed) {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    let now = Instant::now();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let events = body.as_array().cloned().unwrap_or_else(|| vec![body]);
    let mut arrivals = shared.lock();
    for receipt in events.iter().filter_map(receipt) {
        arrivals
            .entry(receipt.to_owned())
            .or_default()
            .entry(uri.path().to_owned())
            .or_insert(now);
    }
    StatusCode::OK
}

/// Returns the receipt of a `purchase.updated`.
fn receipt(event: &Value) -> Option<&str> {
    event["data"]["purchase_guid"].as_str()
}
