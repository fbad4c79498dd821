//! The API under test: the whole router with SQLite in a temporary folder, and an engine that accepts every signal.
//!
//! Data stored by one input is visible to later ones, for [`LIFE`] inputs; then a new world begins.

use api::config::{Flags, load};
use api::devices::Devices;
use api::dispatch::{Dispatch, Engine, EngineError};
use api::edge::{Edge, Shared};
use api::figures::Figures;
use api::keyring::{Keys, Refusals};
use api::metrics::Metrics;
use api::stores::amazon::{Amazon, Fetch, FetchError, Settings};
use api::stores::ingress::Ingresses;
use api::{clock, router};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, header};
use domain::{CollapseKey, DestinationId, PlatformId, Timestamp};
use futures::FutureExt;
use futures::future::BoxFuture;
use protocols::http::Reply;
use protocols::outgoing::Incoming;
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
use workflows::failing::FailingActivity;
use workflows::signal::{DestinationSignal, Signal};

const TOKEN: &str = "the-admin-token-of-the-tests";
/// Number of inputs after which a new world begins: a finding must be reproducible with few inputs.
const LIFE: u32 = 1_000;
pub const RECEIPTS: [&str; 4] = ["receipt-1", "receipt-2", "receipt-3", "other-4"];
pub const DEVICE: &str = "2f0d2ef6-3b3f-4b9c-8a64-0a1d4f7c9e11";

/// Minimum number of rows in each list, plus one.
const SEVERAL: usize = 8;
/// Number of purchases: more than a search returns.
const MANY: usize = 60;
const URL: &str = "https://receiver.example.com/hooks";

/// Lists with a cursor that need at most the app's id, for which `{app_id}` stands.
pub const LISTS: [&str; 17] = [
    "/v1/apps",
    "/v1/apps/{app_id}/platforms",
    "/v1/apps/{app_id}/destinations",
    "/v1/apps/{app_id}/feed",
    "/v1/apps/{app_id}/entitlements",
    "/v1/apps/{app_id}/products",
    "/v1/apps/{app_id}/transfer-reviews",
    "/v1/keys",
    "/v1/sign-ins",
    "/v1/purchases",
    "/v1/notifications",
    "/v1/alarms",
    "/v1/events",
    "/v1/deliveries",
    "/v1/device-events",
    "/v1/audit-log",
    "/v1/check",
];

/// Settings that keep the limits on devices from refusing most inputs.
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
    /// Another app, with purchases of the same receipts.
    pub other_app: String,
    pub platform: PlatformId,
    pub destination: String,
    /// The publishable key of the platform.
    pub device_key: String,
    left: u32,
    /// Removed with the world, or when the process ends.
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

/// Returns the current time for every input.
fn now() -> Timestamp {
    "2026-11-20T12:00:00Z".parse().unwrap_or_default()
}

/// An engine that accepts every signal, and a store's servers, which respond to every request with an empty body.
struct Willing;

impl Engine for Willing {
    fn signal(&self, _: CollapseKey, _: Signal) -> BoxFuture<'_, Result<(), EngineError>> {
        async { Ok(()) }.boxed()
    }

    fn status(&self, _: CollapseKey) -> BoxFuture<'_, Result<Option<Value>, EngineError>> {
        async { Ok(None) }.boxed()
    }

    fn failing(&self, _: String) -> BoxFuture<'_, Result<Vec<FailingActivity>, EngineError>> {
        async { Ok(Vec::new()) }.boxed()
    }

    fn signal_destination(
        &self,
        _: DestinationId,
        _: DestinationSignal,
    ) -> BoxFuture<'_, Result<(), EngineError>> {
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
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let folder = Folder::of_process("fuzz");
        let file = folder.join("settle.sqlite");
        template::sqlite(&file);
        let database = Database::Sqlite(file);
        let config = Config {
            database: database.clone(),
            key: Key::new([7; 32]),
            clock: now,
        };
        let store = runtime
            .block_on(Store::open(config))
            .expect("the database opens");
        let router =
            runtime.block_on(async { router::router(edge(store.clone()), &pages::DASHBOARD) });
        let mut world = Self {
            runtime,
            router,
            store,
            app: String::new(),
            other_app: String::new(),
            platform: PlatformId::new(uuid::Uuid::nil()),
            destination: String::new(),
            device_key: String::new(),
            left: LIFE,
            folder,
        };
        world.fill();
        world
    }

    /// Creates an app with several rows in every list, and more purchases than a search returns; and another app with
    /// purchases of the same receipts.
    fn fill(&mut self) {
        self.app = self.create("/v1/apps", &json!({ "name": "reader" }));
        for number in 1..SEVERAL {
            self.other_app = self.create("/v1/apps", &json!({ "name": format!("app {number}") }));
        }
        let app = format!("/v1/apps/{}", self.app);
        let fire = |name: &str| json!({ "store": "amazon", "name": name, "package_name": format!("com.example.{name}") });
        let platform = self.change("POST", &format!("{app}/platforms"), &fire("fire"));
        self.device_key = platform.body["publishable_key"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        self.platform = id(&platform).parse().expect("an id");
        let other = self.create(
            &format!("/v1/apps/{}/platforms", self.other_app),
            &fire("fire"),
        );
        for number in 1..SEVERAL {
            self.create(&format!("{app}/platforms"), &fire(&format!("fire{number}")));
            let hook = json!({ "kind": "webhook", "name": format!("hook {number}"), "url": URL });
            self.destination = self.create(&format!("{app}/destinations"), &hook);
            let entitlement = json!({ "name": format!("Entitlement {number}") });
            self.change(
                "PUT",
                &format!("{app}/entitlements/premium-{number}"),
                &entitlement,
            );
            let product = json!({ "entitlements": ["premium-1"], "prices": [{ "price": "4.99", "currency": "EUR" }] });
            self.change("PUT", &format!("{app}/products/sku-{number}"), &product);
            self.create(
                "/v1/keys",
                &json!({ "name": format!("key {number}"), "role": "support" }),
            );
            let detail = format!("alarm {number}");
            let alarm = self
                .store
                .alarm(Some(self.platform), "foreign_package", &detail);
            self.block_on(alarm).expect("an alarm");
        }
        self.fill_tables(other.parse().expect("an id"));
        // The list of violations is empty.
        for path in LISTS.iter().filter(|path| **path != "/v1/check") {
            let list = self.admin("GET", &path.replace("{app_id}", &self.app), &Value::Null);
            assert!(list.items().len() >= SEVERAL - 1, "{path}: {list:?}");
        }
    }

    /// Inserts rows that are otherwise created only by the actions of stores, devices and people.
    fn fill_tables(&self, other: PlatformId) {
        let (app, platform) = (&self.app, self.platform);
        let many = (1..=MANY).map(|number| format!("receipt-many-{number}"));
        let receipts = RECEIPTS
            .map(str::to_owned)
            .into_iter()
            .chain(many)
            .map(|receipt| (platform, app, receipt));
        let same = RECEIPTS.map(|receipt| (other, &self.other_app, receipt.to_owned()));
        let purchase = |(platform, app, receipt): (PlatformId, &String, String)| {
            let purchase = rows::purchases(platform, app)
                .text("collapse_key", CollapseKey::of(platform, &receipt));
            purchase
                .text("receipt_id", &receipt)
                .text("app_user_id", format!("user-{receipt}"))
                .to_string()
        };
        let purchases: String = receipts.chain(same).map(purchase).collect();
        let events = rows::events()
            .of_each("purchases")
            .sql("id", "collapse_key")
            .sql("app_id", "app_id");
        let events = events.sql("collapse_key", "collapse_key");
        let deliveries = rows::deliveries()
            .of_each(format!("events WHERE app_id = '{app}'"))
            .sql("id", "id");
        let deliveries = deliveries
            .sql("event_id", "id")
            .sql("collapse_key", "collapse_key");
        let deliveries = deliveries.text("destination_id", &self.destination);
        let device_events = rows::device_event(platform, DEVICE).numbered(1, SEVERAL);
        let device_events = device_events
            .sql("client_id", "'client ' || i")
            .sql("id", numbered_id('d', "i"));
        let numbers = format!(
            "WITH RECURSIVE numbers(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < {SEVERAL})"
        );
        let (user, next) = (numbered_id('a', "i"), numbered_id('a', "(i % 8 + 1)"));
        let (review, sign_in) = (numbered_id('b', "i"), numbered_id('c', "i"));
        Raw::of(&self.database()).run(&format!(
            "BEGIN IMMEDIATE;
             {purchases} {events} {deliveries}
             INSERT INTO notifications (platform_id, message_id, receipt_id, collapse_key, store_type, body, accepted_at,
                     due_at, outcome, revision, finished_at)
                 SELECT platform_id, 'message-' || collapse_key, receipt_id, collapse_key, 'SUBSCRIPTION_PURCHASED', '{{}}',
                     1, 1, 'settled', 1, 1 FROM purchases;
             {} {device_events}
             INSERT INTO users (id, app_id, external_id, revision, created_at)
                 {numbers} SELECT {user}, '{app}', 'customer-' || i, 1, 1 FROM numbers;
             INSERT INTO transfer_reviews (id, app_id, platform_id, from_user_id, to_user_id, requested_at)
                 {numbers} SELECT {review}, '{app}', '{platform}', {user}, {next}, 1 FROM numbers;
             INSERT INTO sign_ins (id, hash, name, role, token_hash, created_at, used_at, expires_at)
                 {numbers} SELECT {sign_in}, 'hash ' || i, 'person ' || i, 'support', 'hash', 1, 1, 1800000000000000
                 FROM numbers;
             COMMIT;",
            rows::device(platform, DEVICE)
        ));
    }

    fn database(&self) -> Database {
        Database::Sqlite(self.folder.join("settle.sqlite"))
    }

    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Sends a JSON body with the admin token.
    pub fn admin(&self, method: &str, path: &str, body: &Value) -> Response {
        let body = if body.is_null() {
            Vec::new()
        } else {
            body.to_string().into_bytes()
        };
        self.send(method, path, TOKEN, body)
    }

    /// Sends a change that must succeed.
    fn change(&self, method: &str, path: &str, body: &Value) -> Response {
        let response = self.admin(method, path, body);
        assert!(response.status < 300, "{method} {path}: {response:?}");
        response
    }

    /// Creates something; returns its id.
    fn create(&self, path: &str, body: &Value) -> String {
        id(&self.change("POST", path, body))
    }

    /// Sends these bytes with the admin token.
    pub fn admin_bytes(&self, method: &str, path: &str, body: &[u8]) -> Response {
        self.send(method, path, TOKEN, body.to_vec())
    }

    /// Sends these bytes as a device of the platform.
    pub fn device(&self, path: &str, body: &[u8]) -> Response {
        self.send("POST", path, &self.device_key, body.to_vec())
    }

    /// Sends a request, and checks that the response is as documented in `/openapi.json`, that it is not a server
    /// error, and that a 400 names the invalid fields.
    fn send(&self, method: &str, path: &str, key: &str, body: Vec<u8>) -> Response {
        let request = Request::builder().method(method).uri(path);
        let request = request.header(header::AUTHORIZATION, format!("Bearer {key}"));
        let request = request.body(Body::from(body)).expect("a request");
        let (status, media, bytes) = self.block_on(async {
            let response = self
                .router
                .clone()
                .oneshot(request)
                .await
                .expect("the router always responds");
            let status = response.status().as_u16();
            let media = response
                .headers()
                .get(header::CONTENT_TYPE)
                .and_then(|value| value.to_str().ok());
            let media = media.unwrap_or_default().to_owned();
            (
                status,
                media,
                to_bytes(response.into_body(), usize::MAX)
                    .await
                    .expect("a whole body"),
            )
        });
        let text = String::from_utf8(bytes.to_vec()).expect("UTF-8");
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        contract::check(Answered {
            method,
            path,
            status,
            media: &media,
            body: &body,
        });
        let response = Response { status, body };
        assert!(status < 500, "{method} {path}: {response:?}");
        assert!(
            status != 400 || !response.wrong_fields().is_empty(),
            "{method} {path}: {response:?}"
        );
        assert!(
            response
                .wrong_fields()
                .iter()
                .all(|field| !field.is_empty()),
            "{method} {path}: {response:?}"
        );
        response
    }
}

fn id(response: &Response) -> String {
    response.body["id"].as_str().expect("an id").to_owned()
}

/// Returns an SQL expression for an id with this number; `kind` is a digit of the id.
fn numbered_id(kind: char, number: &str) -> String {
    format!("'00000000-0000-4000-{kind}000-' || (100000000000 + {number})")
}

impl Response {
    /// Returns the names of the fields in a problem's `errors`.
    pub fn wrong_fields(&self) -> Vec<&str> {
        let errors = self.body["errors"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        errors
            .iter()
            .filter_map(|error| error["field"].as_str())
            .collect()
    }

    /// Returns the items of a list.
    pub fn items(&self) -> &[Value] {
        self.body["items"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default()
    }
}

fn edge(store: Store) -> Shared {
    let variables = VARIABLES
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let config = load(&Flags::default(), &variables).expect("valid settings");
    let settings = Settings {
        certificates: Vec::new(),
        auto_confirm_accounts: Vec::new(),
        clock: now,
    };
    let failed = || {
        Incoming::Http(Reply::Answer {
            status: 500,
            retry_after: None,
            headers: Vec::new(),
            body: String::new(),
        })
    };
    Arc::new(Edge {
        workers: Default::default(),
        waking: Default::default(),
        pages: api::edge::pages::Pages::new(&config),
        dispatch: Dispatch::start(Arc::new(Willing), store.clone()),
        store,
        stores: Ingresses::new(vec![Arc::new(
            Amazon::with_fetch(settings, Arc::new(Willing)).expect("valid settings"),
        )]),
        known: api::stores::all().collect(),
        devices: Devices::new(&config.devices),
        allowed: commands::allowed(&config),
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
