//! The API under test: the whole router with SQLite in a temporary folder, and an engine that takes every signal.
//!
//! What is stored by one input is there for the next one, for as many inputs as [`LIFE`] says; then all begins anew.

use api::config::{Flags, load};
use api::devices::Devices;
use api::dispatch::{Dispatch, Engine, EngineError};
use api::edge::{Edge, Shared};
use api::figures::Figures;
use api::keyring::{Keys, Refusals};
use api::metrics::Metrics;
use api::stores::amazon::{Amazon, Fetch, FetchError, Settings};
use api::{clock, router};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, header};
use domain::{CollapseKey, DestinationId, PlatformId, Timestamp};
use futures::FutureExt;
use futures::future::BoxFuture;
use protocols::http::Reply;
use serde_json::{Value, json};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use storage::{Config, Database, Key, Store};
use system_tests::contract::{self, Answered};
use system_tests::folder::Folder;
use system_tests::raw::Raw;
use system_tests::{rows, template};
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt;
use workflows::signal::{DestinationSignal, Signal};

const TOKEN: &str = "the-admin-token-of-the-tests";
/// Number of inputs after which everything begins anew: a find must be found again from few of them.
const LIFE: u32 = 1_000;
pub const RECEIPTS: [&str; 4] = ["receipt-1", "receipt-2", "receipt-3", "other-4"];
pub const DEVICE: &str = "2f0d2ef6-3b3f-4b9c-8a64-0a1d4f7c9e11";

const DEVICE_EVENT: &str = "7d1c9c1e-52f2-5b60-9a5e-3a3f0f3c1d55";

/// Settings without which the limits of devices would answer most inputs.
const VARIABLES: [(&str, &str); 4] = [
    ("SETTLE_DEVICES_REQUESTS_PER_SECOND", "1000"),
    ("SETTLE_DEVICES_REQUESTS_PER_SECOND_AND_ADDRESS", "100000"),
    ("SETTLE_DEVICES_BYTES_PER_SECOND_AND_ADDRESS", "100MiB"),
    ("SETTLE_DEVICES_DISK_RESERVE", "off"),
];

static CURRENT: Mutex<Option<World>> = Mutex::new(None);

pub struct World {
    runtime: Runtime,
    router: Router,
    pub store: Store,
    pub app: String,
    pub platform: PlatformId,
    pub destination: String,
    /// The publishable key of the platform.
    pub device_key: String,
    left: u32,
    /// Removed with the world, or at the end of the process.
    folder: PathBuf,
}

#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub body: Value,
}

/// Runs one input in the world.
pub fn with<T>(run: impl FnOnce(&World) -> T) -> T {
    let mut current = CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
    if current.as_ref().is_none_or(|world| world.left == 0) {
        *current = None;
        *current = Some(World::new());
    }
    let world = current.as_mut().expect("a world");
    world.left -= 1;
    run(world)
}

/// The time of every input.
fn now() -> Timestamp {
    "2026-11-20T12:00:00Z".parse().unwrap_or_default()
}

/// An engine and a store's servers that take everything.
struct Willing;

impl Engine for Willing {
    fn signal(&self, _: CollapseKey, _: Signal) -> BoxFuture<'_, Result<(), EngineError>> {
        async { Ok(()) }.boxed()
    }

    fn status(&self, _: CollapseKey) -> BoxFuture<'_, Result<Option<Value>, EngineError>> {
        async { Ok(None) }.boxed()
    }

    fn signal_destination(&self, _: DestinationId, _: DestinationSignal) -> BoxFuture<'_, Result<(), EngineError>> {
        async { Ok(()) }.boxed()
    }

    fn supervise(&self, _: DestinationId) -> BoxFuture<'_, Result<(), EngineError>> {
        async { Ok(()) }.boxed()
    }

    fn stream(&self, _: DestinationId) {}

    fn verify_claims(&self, _: PlatformId) {}

    fn is_connected(&self) -> bool {
        true
    }
}

impl Fetch for Willing {
    fn get<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Vec<u8>, FetchError>> {
        async { Ok(Vec::new()) }.boxed()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

impl World {
    fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let folder = Folder::of_process("fuzz");
        let file = folder.join("settle.sqlite");
        template::sqlite(&file);
        let database = Database::Sqlite(file);
        let config = Config { database: database.clone(), key: Key::new([7; 32]), clock: now };
        let store = runtime.block_on(Store::open(config)).expect("the database opens");
        let router = runtime.block_on(async { router::router(edge(store.clone())) });
        let mut world = Self {
            runtime,
            router,
            store,
            app: String::new(),
            platform: PlatformId::new(uuid::Uuid::nil()),
            destination: String::new(),
            device_key: String::new(),
            left: LIFE,
            folder,
        };
        world.fill();
        world
    }

    /// An app with a row of everything that has lists.
    fn fill(&mut self) {
        let id = |response: Response| response.body["id"].as_str().expect("an id").to_owned();
        self.app = id(self.admin("POST", "/v1/apps", &json!({ "name": "reader" })));
        let (app, platform) =
            (self.app.clone(), json!({ "store": "amazon", "name": "fire", "package_name": "com.example.settle" }));
        let platform = self.admin("POST", &format!("/v1/apps/{app}/platforms"), &platform);
        self.device_key = platform.body["publishable_key"].as_str().unwrap_or_default().to_owned();
        self.platform = id(platform).parse().expect("an id");
        for name in ["hook", "second", "third"] {
            let hook = json!({ "kind": "webhook", "name": name, "url": "https://receiver.example.com/hooks" });
            self.destination = id(self.admin("POST", &format!("/v1/apps/{app}/destinations"), &hook));
        }
        for number in 1..4 {
            let entitlement = json!({ "name": format!("Entitlement {number}") });
            self.admin("PUT", &format!("/v1/apps/{app}/entitlements/premium-{number}"), &entitlement);
            self.admin("POST", "/v1/keys", &json!({ "name": format!("key {number}"), "role": "support" }));
        }
        let mut raw = Raw::of(&self.database());
        for receipt in RECEIPTS {
            let key = CollapseKey::of(self.platform, receipt);
            let purchase = rows::purchases(self.platform, &app).text("collapse_key", key).text("receipt_id", receipt);
            raw.run(&purchase.text("app_user_id", format!("user-{receipt}")));
        }
        raw.run(&rows::events().of_each("purchases").sql("id", "collapse_key").sql("collapse_key", "collapse_key"));
        let delivery = rows::deliveries().of_each("events").sql("id", "id").sql("event_id", "id");
        raw.run(&delivery.sql("collapse_key", "collapse_key").text("destination_id", &self.destination));
        for number in 1..4 {
            self.block_on(self.store.alarm(Some(self.platform), "foreign_package", &format!("alarm {number}")))
                .expect("an alarm");
        }
        raw.run(&rows::device(self.platform, DEVICE));
        raw.run(&rows::device_event(self.platform, DEVICE).text("id", DEVICE_EVENT));
    }

    fn database(&self) -> Database {
        Database::Sqlite(self.folder.join("settle.sqlite"))
    }

    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Sends a JSON body with the admin token.
    pub fn admin(&self, method: &str, path: &str, body: &Value) -> Response {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        self.send(method, path, TOKEN, body)
    }

    /// Sends these bytes with the admin token.
    pub fn admin_bytes(&self, method: &str, path: &str, body: &[u8]) -> Response {
        self.send(method, path, TOKEN, body.to_vec())
    }

    /// Sends these bytes as a device of the platform.
    pub fn device(&self, path: &str, body: &[u8]) -> Response {
        self.send("POST", path, &self.device_key, body.to_vec())
    }

    /// The response is as `/openapi.json` documents it, a refusal is the client's, and one of fields names them.
    fn send(&self, method: &str, path: &str, key: &str, body: Vec<u8>) -> Response {
        let request = Request::builder().method(method).uri(path);
        let request = request.header(header::AUTHORIZATION, format!("Bearer {key}"));
        let request = request.body(Body::from(body)).expect("a request");
        let (status, media, bytes) = self.block_on(async {
            let response = self.router.clone().oneshot(request).await.expect("the router always responds");
            let status = response.status().as_u16();
            let media = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
            let media = media.unwrap_or_default().to_owned();
            (status, media, to_bytes(response.into_body(), usize::MAX).await.expect("a whole body"))
        });
        let text = String::from_utf8(bytes.to_vec()).expect("UTF-8");
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        contract::check(Answered { method, path, status, media: &media, body: &body });
        let response = Response { status, body };
        assert!(status < 500, "{method} {path}: {response:?}");
        assert!(status != 400 || !response.wrong_fields().is_empty(), "{method} {path}: {response:?}");
        assert!(response.wrong_fields().iter().all(|field| !field.is_empty()), "{method} {path}: {response:?}");
        response
    }
}

impl Response {
    /// The names of the fields in a problem's `errors`.
    pub fn wrong_fields(&self) -> Vec<&str> {
        let errors = self.body["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
        errors.iter().filter_map(|error| error["field"].as_str()).collect()
    }

    /// The items of a list.
    pub fn items(&self) -> &[Value] {
        self.body["items"].as_array().map(Vec::as_slice).unwrap_or_default()
    }
}

fn edge(store: Store) -> Shared {
    let variables = VARIABLES.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let config = load(&Flags::default(), &variables).expect("valid settings");
    let settings = Settings { certificates: Vec::new(), auto_confirm_accounts: Vec::new(), clock: now };
    let failed = || Reply::Answer { status: 500, retry_after: None, headers: Vec::new(), body: String::new() };
    Arc::new(Edge {
        waking: Default::default(),
        pages: api::edge::pages::Pages::new(&config),
        dispatch: Dispatch::start(Arc::new(Willing), store.clone()),
        store,
        amazon: Arc::new(Amazon::with_fetch(settings, Arc::new(Willing)).expect("valid settings")),
        devices: Devices::new(&config.devices),
        allowed: api::allowed(&config),
        send: Arc::new(move |_| async move { failed() }.boxed()),
        test_quota: Default::default(),
        admin_token: secrecy::SecretString::from(TOKEN),
        keys: Keys::new(Refusals::new(NonZeroU32::MAX, Duration::from_nanos(1))),
        public_url: "https://settle.example.com/base/".parse().expect("a URL"),
        default_window: Duration::from_secs(120),
        metrics: Metrics::install(),
        figures: Figures::default(),
        clock: now,
        random: clock::random_bytes,
    })
}
