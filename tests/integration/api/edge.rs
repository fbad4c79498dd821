//! The service under test: the whole router with SQLite in a temporary folder, a recording engine and a scripted store.

use crate::amazon::samples;
use api::config::{Flags, load};
use api::devices::Devices;
use api::devices::SECRET_HEADER;
use api::dispatch::{Dispatch, Engine, EngineError};
use api::edge::{Edge, Shared};
use api::figures::Figures;
use api::keyring::{Keys, Refusals};
use api::metrics::Metrics;
use api::stores::amazon::{Amazon, Fetch, FetchError, Settings};
use api::stores::apple::{self, Apple, signer};
use api::stores::ingress::Ingresses;
use api::stores::{self, StoreEntry};
use api::{clock, router};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderName, Request, header};
use domain::{CollapseKey, DestinationId, Notification, NotificationKind, PlatformId};
use futures::FutureExt;
use futures::future::BoxFuture;
use protocols::destinations::shown_settings;
use secrecy::SecretString;
use serde_json::{Value, json};
use std::fmt::Display;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;
use storage::{Accepted, Config, Database, Handling, Key, NewNotification, Store};
use system_tests::contract::{self, Answered};
use system_tests::folder::Folder;
use system_tests::raw::Raw;
use system_tests::sns::Sns;
use system_tests::{rows, template};
use tokio::time::{Instant, sleep_until};
use tower::ServiceExt;
use workflows::failing::FailingActivity;
use workflows::signal::{DestinationSignal, Signal};

/// The admin token of every service under test.
pub const TOKEN: &str = "the-admin-token-of-the-tests";
pub const DEVICE_SECRET: &str = "c2V0dGxlLXRlc3Qtc2VjcmV0LW9mLTMyLWJ5dGVzIS0";

/// An engine (the interface to Temporal) that records its signals and can be made unavailable.
#[derive(Default)]
pub struct Recording {
    signals: Mutex<Vec<(CollapseKey, Signal)>>,
    destination_signals: Mutex<Vec<(DestinationId, DestinationSignal)>>,
    supervised: Mutex<Vec<DestinationId>>,
    down: AtomicBool,
    /// Time that the engine takes to answer a signal to a purchase.
    pub round_trip: Mutex<Duration>,
    /// The result of the query `status` for every purchase's open run.
    pub status: Mutex<Option<Value>>,
    /// The workflow id of a run with failing activities, and those activities.
    pub failing: Mutex<Option<(String, Vec<FailingActivity>)>>,
}

impl Recording {
    /// Makes the engine unavailable (`true`) or available.
    pub fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    /// Returns the signals to purchases, in order.
    pub fn signals(&self) -> Vec<(CollapseKey, Signal)> {
        self.signals.lock().expect("no test panicked").clone()
    }

    /// Returns the signals to destinations, in order.
    pub fn destination_signals(&self) -> Vec<(DestinationId, DestinationSignal)> {
        self.destination_signals
            .lock()
            .expect("no test panicked")
            .clone()
    }

    /// Returns the destinations whose run was started or signalled for supervision, in order.
    pub fn supervised(&self) -> Vec<DestinationId> {
        self.supervised.lock().expect("no test panicked").clone()
    }

    fn answer<T>(&self, value: T) -> Result<T, EngineError> {
        if self.is_connected() {
            Ok(value)
        } else {
            Err(EngineError::Unavailable("switched off".to_owned()))
        }
    }
}

impl Engine for Recording {
    fn signal(&self, key: CollapseKey, signal: Signal) -> BoxFuture<'_, Result<(), EngineError>> {
        let answer = self.answer(());
        if answer.is_ok() {
            self.signals
                .lock()
                .expect("no test panicked")
                .push((key, signal));
        }
        let answered_at = Instant::now() + *self.round_trip.lock().expect("no test panicked");
        async move {
            sleep_until(answered_at).await;
            answer
        }
        .boxed()
    }

    fn status(
        &self,
        _: CollapseKey,
    ) -> BoxFuture<'_, Result<Option<serde_json::Value>, EngineError>> {
        let status = self.status.lock().expect("no test panicked").clone();
        let answer = self.answer(status);
        async { answer }.boxed()
    }

    fn failing(
        &self,
        workflow_id: String,
    ) -> BoxFuture<'_, Result<Vec<FailingActivity>, EngineError>> {
        let known = self.failing.lock().expect("no test panicked").clone();
        let answer = self.answer(
            known
                .filter(|(id, _)| *id == workflow_id)
                .map(|(_, all)| all)
                .unwrap_or_default(),
        );
        async { answer }.boxed()
    }

    fn signal_destination(
        &self,
        id: DestinationId,
        signal: DestinationSignal,
    ) -> BoxFuture<'_, Result<(), EngineError>> {
        let answer = self.answer(());
        if answer.is_ok() {
            self.destination_signals
                .lock()
                .expect("no test panicked")
                .push((id, signal));
        }
        async { answer }.boxed()
    }

    fn supervise(&self, id: DestinationId) -> BoxFuture<'_, Result<(), EngineError>> {
        let answer = self.answer(());
        if answer.is_ok() {
            self.supervised.lock().expect("no test panicked").push(id);
        }
        async { answer }.boxed()
    }

    fn stream(&self, _: DestinationId) {}

    fn verify_claims(&self, _: PlatformId) {}

    fn is_connected(&self) -> bool {
        !self.down.load(Ordering::SeqCst)
    }
}

/// A fake of the store's servers, which records the requested URLs.
#[derive(Default)]
pub struct Scripted {
    pub down: AtomicBool,
    pub visits: Mutex<Vec<String>>,
    pub meanwhile: Mutex<Option<BoxFuture<'static, ()>>>,
}

impl Fetch for Scripted {
    fn get<'a>(&'a self, url: &'a str) -> BoxFuture<'a, Result<Vec<u8>, FetchError>> {
        self.visits
            .lock()
            .expect("no test panicked")
            .push(url.to_owned());
        let down = self.down.load(Ordering::SeqCst);
        let meanwhile = self.meanwhile.lock().expect("no test panicked").take();
        async move {
            if let Some(meanwhile) = meanwhile {
                meanwhile.await;
            }
            if down {
                Err(FetchError::Unavailable("switched off".to_owned()))
            } else {
                Ok(Vec::new())
            }
        }
        .boxed()
    }
}

/// Returns the chain that signs what the App Store signs.
pub fn apple_chain() -> &'static signer::Chain {
    static CHAIN: LazyLock<signer::Chain> =
        LazyLock::new(|| signer::Chain::generate().expect("a chain"));
    &CHAIN
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub media: String,
    /// The body as JSON; if it is not JSON, a JSON string with the text.
    pub body: Value,
}

/// The HTTP service under test.
pub struct Service {
    pub router: Router,
    pub edge: Shared,
    pub engine: Arc<Recording>,
    pub store: Store,
    /// The fake of the store's servers.
    pub sns: Arc<Scripted>,
    /// The figures behind the metrics, which no task refreshes.
    pub figures: Figures,
    folder: Folder,
}

impl Service {
    /// Starts a service with an empty database.
    pub async fn start(name: &str) -> Self {
        Self::with(name, &[]).await
    }

    /// Starts a service with these environment variables.
    pub async fn with(name: &str, variables: &[(&str, &str)]) -> Self {
        let refusals = Refusals::new(NonZeroU32::MAX, std::time::Duration::from_nanos(1));
        Self::with_refusals(name, variables, refusals).await
    }

    /// Starts a service that accepts this number of wrong keys at once from each address.
    pub async fn with_guesses(name: &str, guesses: u32) -> Self {
        let guesses = NonZeroU32::new(guesses).expect("not zero");
        Self::with_refusals(
            name,
            &[],
            Refusals::new(guesses, std::time::Duration::from_secs(600)),
        )
        .await
    }

    /// Starts a service that accepts samples, like `settle run`.
    pub async fn of_run(name: &str) -> Self {
        let refusals = Refusals::new(NonZeroU32::MAX, std::time::Duration::from_nanos(1));
        let with_samples = |amazon: Amazon, folder: &Folder| {
            let demo = samples::demo(Sns::of_samples().signer(), folder.path());
            amazon.with_samples(&demo).expect("a key of samples")
        };
        Self::with_ingress(name, &[], refusals, with_samples, stores::ALL).await
    }

    /// Starts a service that supports these stores.
    pub async fn knowing(name: &str, known: &'static [StoreEntry]) -> Self {
        let refusals = Refusals::new(NonZeroU32::MAX, std::time::Duration::from_nanos(1));
        Self::with_ingress(name, &[], refusals, |amazon, _| amazon, known).await
    }

    async fn with_refusals(name: &str, variables: &[(&str, &str)], refusals: Refusals) -> Self {
        Self::with_ingress(name, variables, refusals, |amazon, _| amazon, stores::ALL).await
    }

    async fn with_ingress(
        name: &str,
        variables: &[(&str, &str)],
        refusals: Refusals,
        adjust: impl FnOnce(Amazon, &Folder) -> Amazon,
        known: &'static [StoreEntry],
    ) -> Self {
        let variables = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let config = load(&Flags::default(), &variables).expect("valid settings");
        let folder = Folder::new(name);
        let store = open(&folder).await;
        let engine = Arc::new(Recording::default());
        let sns = Arc::new(Scripted::default());
        let settings = Settings {
            certificates: Vec::new(),
            auto_confirm_accounts: Vec::new(),
            clock: clock::now,
        };
        let figures = Figures::default();
        let edge = Edge {
            workers: Default::default(),
            waking: Default::default(),
            pages: api::edge::pages::Pages::new(&config),
            dispatch: Dispatch::start(engine.clone(), store.clone()),
            store: store.clone(),
            stores: Ingresses::new(vec![
                Arc::new(adjust(
                    Amazon::with_fetch(settings, sns.clone()).expect("valid settings"),
                    &folder,
                )),
                Arc::new(Apple::new(apple::Settings {
                    root: Some(apple_chain().root().to_vec()),
                    clock: clock::now,
                })),
            ]),
            known: known.iter().collect(),
            devices: Devices::new(&config.devices),
            allowed: commands::allowed(&config),
            send: commands::sender(&config),
            test_quota: Default::default(),
            admin_token: SecretString::from(TOKEN),
            keys: Keys::new(refusals),
            public_url: "https://settle.example.com/base/".parse().expect("a URL"),
            default_window: std::time::Duration::from_secs(120),
            metrics: Metrics::install(),
            figures: figures.clone(),
            clock: clock::now,
            random: clock::random_bytes,
        };
        let edge = Arc::new(edge);
        Self {
            router: router::router(edge.clone(), &pages::DASHBOARD),
            edge,
            engine,
            store,
            sns,
            figures,
            folder,
        }
    }

    /// Sends a request with the admin token and, unless it is null, a JSON body.
    pub async fn send_json(&self, method: &str, path: &str, body: &Value) -> Answer {
        let body = if body.is_null() {
            Vec::new()
        } else {
            body.to_string().into_bytes()
        };
        self.send(method, path, Some(&format!("Bearer {TOKEN}")), body)
            .await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send_json("GET", path, &Value::Null).await
    }

    pub async fn send(
        &self,
        method: &str,
        path: &str,
        authorization: Option<&str>,
        body: Vec<u8>,
    ) -> Answer {
        let headers: Vec<_> = authorization
            .map(|text| (header::AUTHORIZATION, text))
            .into_iter()
            .collect();
        self.send_with((method, path), &headers, body).await
    }

    /// Sends a device's request with the publishable key and, if given, the device's secret.
    pub async fn send_of_device(
        &self,
        route: (&str, &str),
        (key, secret): (&str, Option<&str>),
        body: Vec<u8>,
    ) -> Answer {
        let key = format!("Bearer {key}");
        let mut headers = vec![(header::AUTHORIZATION, &key[..])];
        headers.extend(secret.map(|secret| (SECRET_HEADER, secret)));
        self.send_with(route, &headers, body).await
    }

    async fn send_with(
        &self,
        (method, path): (&str, &str),
        headers: &[(HeaderName, &str)],
        body: Vec<u8>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let request = request.body(Body::from(body)).expect("a request");
        let answer = self
            .router
            .clone()
            .oneshot(request)
            .await
            .expect("the router always answers");
        let status = answer.status().as_u16();
        let media = answer
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        let media = media.unwrap_or_default().to_owned();
        // An event stream never ends.
        let body = if media == "text/event-stream" {
            Body::empty()
        } else {
            answer.into_body()
        };
        let bytes = to_bytes(body, usize::MAX).await.expect("a whole body");
        let text = String::from_utf8(bytes.to_vec()).expect("UTF-8");
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        contract::check(Answered {
            method,
            path,
            status,
            media: &media,
            body: &body,
        });
        Answer {
            status,
            media,
            body,
        }
    }

    /// Creates an app with a platform.
    pub async fn platform(&self) -> (String, PlatformId) {
        let app = self
            .send_json("POST", "/v1/apps", &json!({ "name": "reader" }))
            .await;
        let app = app.body["id"].as_str().expect("an id").to_owned();
        let body =
            json!({ "store": "amazon", "name": "fire", "package_name": "com.example.settle" });
        let platform = self
            .send_json("POST", &format!("/v1/apps/{app}/platforms"), &body)
            .await;
        assert_eq!(platform.status, 201, "{}", platform.body);
        let platform = platform.body["id"]
            .as_str()
            .expect("an id")
            .parse()
            .expect("a platform id");
        (app, platform)
    }
}

impl Service {
    /// Returns a separate connection to the database.
    pub fn connection(&self) -> Raw {
        Raw::of(&Database::Sqlite(self.folder.path().join("settle.sqlite")))
    }

    /// Executes SQL in the database, for a state that otherwise only a settling produces.
    pub fn raw(&self, text: &(impl Display + ?Sized)) {
        self.connection().run(text);
    }

    /// Returns the number of purchases with a `next_wake_at`.
    pub fn woken(&self) -> i64 {
        self.count("purchases WHERE next_wake_at IS NOT NULL")
    }

    /// Returns the number of rows of a table; `rows` is its name, with an optional condition.
    pub fn count(&self, rows: &str) -> i64 {
        self.raw_number(&format!("SELECT COUNT(*) AS value FROM {rows}"))
    }

    /// Returns the number in the column `value` of a query.
    pub fn raw_number(&self, text: &str) -> i64 {
        self.connection().number(text)
    }

    /// Inserts purchases of the only platform, in revision 1 and without a next wake.
    pub async fn seed(&self, receipts: &[&str]) -> Vec<CollapseKey> {
        let apps = self
            .store
            .apps(storage::Page::default())
            .await
            .expect("apps")
            .items;
        let platform = &self
            .store
            .platforms(apps[0].id, storage::Page::default())
            .await
            .expect("platforms")
            .items[0];
        let keys: Vec<_> = receipts
            .iter()
            .map(|receipt| CollapseKey::of(platform.id, receipt))
            .collect();
        for (key, receipt) in keys.iter().zip(receipts) {
            let purchase = rows::purchases(platform.id, platform.app_id);
            self.raw(
                &purchase
                    .text("collapse_key", key)
                    .text("receipt_id", receipt),
            );
        }
        keys
    }

    /// Inserts a `purchase.updated` of each purchase.
    pub fn seed_events(&self) {
        let events = rows::events()
            .of_each("purchases")
            .sql("id", "collapse_key");
        self.raw(
            &events
                .sql("collapse_key", "collapse_key")
                .sql("app_id", "app_id"),
        );
    }
}

impl Answer {
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
}

/// Opens the database in a folder.
pub async fn open(folder: &Folder) -> Store {
    let file = folder.path().join("settle.sqlite");
    template::sqlite(&file);
    let database = Database::Sqlite(file);
    let opened = Store::open(Config {
        database,
        key: Key::new([7; 32]),
        clock: clock::now,
    })
    .await;
    opened.expect("the database opens").showing(shown_settings)
}

/// Accepts one notification of a receipt; returns its purchase's key and its sequence number.
pub async fn accept(
    store: &Store,
    platform: PlatformId,
    receipt: &str,
    handling: Handling,
) -> (CollapseKey, i64) {
    let notification = notification(platform, receipt);
    let row = NewNotification {
        platform_id: platform,
        message_id: notification.message_id.clone(),
        receipt_id: receipt.to_owned(),
        collapse_key: Some(notification.collapse_key),
        store_type: notification.store_type.clone(),
        store_time: Some(notification.store_time),
        app_user_id: notification.app_user_id.clone(),
        body: serde_json::to_string(&notification).expect("JSON"),
        handling,
        traceparent: None,
        duty: None,
        closes: None,
        order_id: None,
        duplicate_key: None,
    };
    match store
        .accept(vec![row])
        .await
        .expect("the inbox accepts")
        .as_slice()
    {
        [Accepted::New { seq }] => (notification.collapse_key, *seq),
        other => panic!("expected a new row, and it is {other:?}"),
    }
}

fn notification(platform: PlatformId, receipt: &str) -> Notification {
    Notification {
        message_id: clock::random_uuid().to_string(),
        collapse_key: CollapseKey::of(platform, receipt),
        receipt_id: receipt.to_owned(),
        kind: NotificationKind::Renewed,
        store_type: "SUBSCRIPTION_RENEWED".to_owned(),
        store_time: clock::now(),
        app_user_id: Some("user".to_owned()),
        related_receipt_id: None,
        is_test: false,
        voided: None,
        refunded: None,
    }
}
