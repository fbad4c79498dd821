//! A webhook endpoint for many requests: it counts them by `webhook-id`, and stores only a digest of each body.

use super::shared::locked;
use super::wait;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use ring::digest::{SHA256, digest};
use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

#[derive(Debug, Default)]
struct Counts {
    /// Digest of the body and number of requests, by `webhook-id`.
    requests: HashMap<String, (Vec<u8>, usize)>,
    /// A `webhook-id` that arrived with two different bodies.
    broken: Option<String>,
    /// Number of events in all first requests: the elements of an array, or 1.
    events: usize,
}

type Shared = Arc<Mutex<Counts>>;

pub struct Tally {
    url: String,
    counts: Shared,
    server: JoinHandle<()>,
}

impl Tally {
    /// Starts an endpoint on a free port that answers 200.
    ///
    /// # Panics
    /// When it cannot listen.
    pub async fn start() -> Self {
        let counts = Shared::default();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a port");
        let url = format!(
            "http://{}/hook",
            listener.local_addr().expect("its address")
        );
        let router = Router::new().fallback(count).with_state(counts.clone());
        let server =
            tokio::spawn(async move { axum::serve(listener, router).await.unwrap_or_default() });
        Self {
            url,
            counts,
            server,
        }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn count(&self) -> usize {
        locked(&self.counts).requests.len()
    }

    /// Returns the number of events in all requests with different `webhook-id`.
    pub fn events(&self) -> usize {
        locked(&self.counts).events
    }

    /// Returns the number of repeated requests.
    pub fn repeated(&self) -> usize {
        locked(&self.counts)
            .requests
            .values()
            .map(|(_, times)| times - 1)
            .sum()
    }

    /// Waits until at least `events` events have arrived.
    ///
    /// # Panics
    /// When the deadline passes.
    pub async fn wait(&self, events: usize, deadline: Duration) {
        wait::until(
            deadline,
            &format!("{events} events at the webhook"),
            async || {
                let arrived = self.events();
                if arrived >= events {
                    Ok(())
                } else {
                    Err(format!("{arrived}"))
                }
            },
        )
        .await;
    }

    /// Checks that no `webhook-id` arrived with two different bodies (I4).
    ///
    /// # Panics
    /// When one did; the message names it.
    pub fn check(&self) {
        assert_eq!(
            locked(&self.counts).broken,
            None,
            "I4: an id came with two bodies"
        );
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn count(State(counts): State<Shared>, headers: HeaderMap, body: Bytes) {
    let id = headers
        .get("webhook-id")
        .and_then(|id| id.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    let bytes = digest(&SHA256, &body).as_ref().to_vec();
    let events = if body.starts_with(b"[") {
        serde_json::from_slice::<Vec<serde::de::IgnoredAny>>(&body).map_or(0, |all| all.len())
    } else {
        1
    };
    let mut counts = locked(&counts);
    if let Some((first, times)) = counts.requests.get_mut(&id) {
        *times += 1;
        let is_same = *first == bytes;
        if !is_same {
            counts.broken = Some(id);
        }
        return;
    }
    counts.events += events;
    counts.requests.insert(id, (bytes, 1));
}
