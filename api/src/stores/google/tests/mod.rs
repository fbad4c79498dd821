//! Tests of Google Play's ingress, samples, simulated store and form without a database.

mod duties;
mod forged;
mod form;
mod keys;
mod messages;
mod own_fields;
mod published;
mod samples;
mod simulated;
mod tokens;

use super::fetch::{Fetch, FetchError, Fetched};
use super::signer::{self, Signer};
use super::{Google, KEYS_URL, PUSH_ACCOUNT, PUSH_AUDIENCE, PushRefusal, SUBSCRIPTION, Settings};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use domain::{AppId, PlatformId, Timestamp};
use futures::future::BoxFuture;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;
use storage::{Platform, PlatformSettings};
use tokio::sync::Semaphore;
use url::Url;
use uuid::Uuid;

const AUDIENCE: &str = "https://settle.example/v1/stores/google/8f3c0f6a1e";
const ACCOUNT: &str = "push@example-project.iam.gserviceaccount.com";
const QUEUE: &str = "projects/example-project/subscriptions/play";
const PACKAGE: &str = "com.example.app";
const KEY_ID: &str = "28b741e8de984a47159f19e6d7783e9d4fa810db";

/// Two keys for all tests, because generating a key is slow.
static KEY: LazyLock<Signer> = LazyLock::new(|| Signer::generate().expect("a key"));
static OTHER_KEY: LazyLock<Signer> = LazyLock::new(|| Signer::generate().expect("a key"));

fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

fn now() -> Timestamp {
    at("2026-06-01T12:00:00Z")
}

fn seconds(at: Timestamp) -> i64 {
    at.micros() / 1_000_000
}

/// A platform with these store settings.
fn platform_with(store_settings: Option<Value>) -> Platform {
    Platform {
        id: PlatformId::new(Uuid::from_u128(1)),
        app_id: AppId::new(Uuid::from_u128(2)),
        store: super::STORE.to_owned(),
        settings: PlatformSettings::new("Google", PACKAGE, 120_000),
        has_login_secret: false,
        has_shared_secret: false,
        unsigned_login_at: None,
        secret_refused_at: None,
        publishable_key: "pk_test".to_owned(),
        store_settings,
        store_credentials_at: None,
        created_at: now(),
    }
}

fn own_settings() -> Value {
    json!({ PUSH_AUDIENCE: AUDIENCE, PUSH_ACCOUNT: ACCOUNT, SUBSCRIPTION: QUEUE })
}

fn platform() -> Platform {
    platform_with(Some(own_settings()))
}

fn claims() -> Value {
    signer::claims(AUDIENCE, ACCOUNT, now())
}

fn header() -> Value {
    signer::header(KEY_ID)
}

/// A token with these texts as header and claims.
fn signed(key: &Signer, header: &str, claims: &str) -> String {
    key.sign(header, claims).expect("a signature")
}

/// A token with these claims, signed with Google's key.
fn token(claims: &Value) -> String {
    signed(&KEY, &header().to_string(), &claims.to_string())
}

fn headers(token: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let value = format!("Bearer {token}").parse().expect("a header");
    headers.insert(AUTHORIZATION, value);
    headers
}

/// A response with these keys, which may be cached for an hour.
fn answer(keys: &[Value]) -> Fetched {
    Fetched {
        body: json!({ "keys": keys }).to_string().into_bytes(),
        max_age: Some(Duration::from_secs(3600)),
    }
}

/// A fake of Google's key set. It gives the same response to all requests, which tests can hold back, and counts them.
struct Certs {
    answer: Mutex<Result<Fetched, FetchError>>,
    requests: AtomicUsize,
    gate: Semaphore,
}

impl Certs {
    fn new(answer: Result<Fetched, FetchError>) -> Arc<Self> {
        Arc::new(Self {
            answer: Mutex::new(answer),
            requests: AtomicUsize::new(0),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
        })
    }

    /// A fake that returns [`KEY`].
    fn working() -> Arc<Self> {
        Self::new(Ok(answer(&[KEY.jwk(KEY_ID)])))
    }

    /// Sets the response to later requests.
    fn answer(&self, answer: Result<Fetched, FetchError>) {
        *self.answer.lock().expect("no panic") = answer;
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

impl Fetch for Certs {
    fn get(&self) -> BoxFuture<'_, Result<Fetched, FetchError>> {
        Box::pin(async move {
            self.requests.fetch_add(1, Ordering::SeqCst);
            self.gate.acquire().await.expect("open").forget();
            self.answer.lock().expect("no panic").clone()
        })
    }
}

fn unavailable() -> FetchError {
    FetchError::Unavailable("status 500".to_owned())
}

/// An ingress that fetches its keys from a fake.
fn ingress(certs: &Arc<Certs>) -> Google {
    let settings = Settings {
        keys_url: Url::parse(KEYS_URL).expect("a URL"),
        clock: now,
    };
    Google::with_fetch(settings, certs.clone())
}

/// Status and reason of a refusal.
type Refused = (u16, &'static str);

/// The result of checking a token for the platform.
async fn verdict(google: &Google, token: &str, now: Timestamp) -> Result<(), Refused> {
    let checked = google.authenticate(&platform(), &headers(token), now).await;
    checked.map_err(shown)
}

fn shown(refusal: PushRefusal) -> Refused {
    (refusal.status(), refusal.reason())
}
