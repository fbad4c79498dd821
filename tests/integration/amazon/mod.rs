//! The Amazon ingress with a real database, a scripted SNS, and an engine that records signals.

mod full_disk;
mod notifications;
mod recipients;
mod refusals;
pub mod samples;
mod subscriptions;

use api::config::{Flags, load};
use api::devices::Devices;
use api::dispatch::{Dispatch, Engine, EngineError};
use api::edge::Edge;
use api::figures::Figures;
use api::keyring::{Keys, Refusals};
use api::metrics::Metrics;
use api::stores::amazon::envelope::Version;
use api::stores::amazon::signer::{Header, Sample, Signer};
use api::stores::amazon::{Amazon, Fetch, FetchError, Settings};
use api::stores::ingress::{Ingress, Ingresses};
use api::stores::intake::Intake;
use api::{clock, router};
use axum::Router;
use diesel::connection::SimpleConnection;
use diesel::{Connection, SqliteConnection};
use domain::{CollapseKey, DestinationId, PlatformId, Timestamp};
use futures::FutureExt;
use futures::future::BoxFuture;
use secrecy::SecretString;
use std::num::NonZeroU32;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;
use storage::{
    Config, Database, Key, NewPlatform, NotificationView, Page, Platform, PlatformSettings, Store,
    TopicState,
};
use system_tests::folder::Folder;
use system_tests::template;
use system_tests::wait;
use uuid::Uuid;
use workflows::failing::FailingActivity;
use workflows::signal::{DestinationSignal, Signal};

const ACCOUNT: &str = "033616359524";
const TOPIC: &str = "arn:aws:sns:us-east-1:033616359524:LT0XA";
const STRANGER: &str = "arn:aws:sns:us-east-1:123456789012:mine";
const PACKAGE: &str = "com.example.app";
const INGRESS_KEY: &str = "8f3c0f6a1e";
const TOKEN: &str = "2336412f37fb687f5d51e6e2425dacbb";
const SOON: Duration = Duration::from_secs(180);

/// One key for all tests, because generating one is slow.
static SIGNER: LazyLock<Signer> = LazyLock::new(|| {
    Signer::generate(at("2026-01-01T00:00:00Z"), at("2027-01-01T00:00:00Z")).expect("a key")
});

fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

fn now() -> Timestamp {
    at("2026-06-01T12:00:00Z")
}

/// A fake of SNS for GET requests for certificates and confirmations, which a test can make fail. It records every
/// request.
#[derive(Default)]
struct Sns {
    requests: Mutex<Vec<String>>,
    trouble: Mutex<Option<FetchError>>,
    /// Future that runs once, while a subscription is being confirmed.
    meanwhile: Mutex<Option<BoxFuture<'static, ()>>>,
}

impl Sns {
    fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("no panic").clone()
    }

    fn meanwhile(&self, happens: impl Future<Output = ()> + Send + 'static) {
        *self.meanwhile.lock().expect("no panic") = Some(happens.boxed());
    }

    fn breaks(&self, trouble: Option<FetchError>) {
        *self.trouble.lock().expect("no panic") = trouble;
    }
}

impl Fetch for Sns {
    fn get<'a>(&'a self, url: &'a str) -> BoxFuture<'a, Result<Vec<u8>, FetchError>> {
        self.requests.lock().expect("no panic").push(url.to_owned());
        let answer = match self.trouble.lock().expect("no panic").clone() {
            Some(trouble) => Err(trouble),
            None if url.ends_with(".pem") => Ok(SIGNER.certificate_pem().expect("a certificate")),
            None => Ok(b"<ConfirmSubscriptionResponse/>".to_vec()),
        };
        let is_confirmation = !url.ends_with(".pem");
        let meanwhile = self
            .meanwhile
            .lock()
            .expect("no panic")
            .take_if(|_| is_confirmation);
        // Yields once, so that concurrent requests really wait.
        async move {
            tokio::task::yield_now().await;
            if let Some(meanwhile) = meanwhile {
                meanwhile.await;
            }
            answer
        }
        .boxed()
    }
}

/// An engine (the interface to Temporal) that records its signals.
#[derive(Default)]
pub struct Recording(pub Mutex<Vec<(CollapseKey, &'static str)>>);

impl Engine for Recording {
    fn signal(&self, key: CollapseKey, signal: Signal) -> BoxFuture<'_, Result<(), EngineError>> {
        self.0.lock().expect("no panic").push((key, signal.name()));
        async { Ok(()) }.boxed()
    }

    fn status(
        &self,
        _: CollapseKey,
    ) -> BoxFuture<'_, Result<Option<serde_json::Value>, EngineError>> {
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

struct World {
    amazon: Arc<Amazon>,
    store: Store,
    dispatch: Dispatch,
    engine: Arc<Recording>,
    sns: Arc<Sns>,
    platform: Platform,
    folder: Folder,
}

/// The initial state of a world.
#[derive(Default)]
struct Beginning {
    topic: Option<&'static str>,
    accounts: Vec<String>,
    has_certificate: bool,
    /// Whether the world accepts samples, as under `settle run`.
    takes_samples: bool,
}

impl World {
    /// Returns a platform that follows [`TOPIC`].
    async fn following() -> Self {
        Self::begin(Beginning {
            topic: Some(TOPIC),
            ..Beginning::default()
        })
        .await
    }

    async fn begin(beginning: Beginning) -> Self {
        let folder = Folder::new("amazon");
        let file = folder.path().join("settle.db");
        template::sqlite(&file);
        let config = Config {
            database: Database::Sqlite(file),
            key: Key::new([7; 32]),
            clock: now,
        };
        let store = Store::open(config).await.expect("a store");
        let app = store.new_app("app").await.expect("an app");
        let platform = store
            .new_platform(new_platform(app.id, beginning.topic))
            .await
            .expect("a platform");
        let mut certificates = Vec::new();
        if beginning.has_certificate {
            let file = folder.path().join("certificate.pem");
            std::fs::write(&file, SIGNER.certificate_pem().expect("a certificate"))
                .expect("written");
            certificates.push((
                SIGNER.certificate_url("us-east-1").parse().expect("a URL"),
                file,
            ));
        }
        let settings = Settings {
            certificates,
            auto_confirm_accounts: beginning.accounts,
            clock: now,
        };
        let (sns, engine) = (Arc::new(Sns::default()), Arc::new(Recording::default()));
        let dispatch = Dispatch::start(engine.clone(), store.clone());
        let mut amazon = Amazon::with_fetch(settings, sns.clone()).expect("settings");
        if beginning.takes_samples {
            amazon = amazon
                .with_samples(&samples::demo(&samples::SIGNER, folder.path()))
                .expect("a key of samples");
        }
        Self {
            amazon: Arc::new(amazon),
            store,
            dispatch,
            engine,
            sns,
            platform,
            folder,
        }
    }

    fn intake(&self) -> Intake<'_> {
        Intake {
            store: &self.store,
            dispatch: &self.dispatch,
        }
    }

    /// Posts a body, and returns the answer's status and reason.
    async fn post(&self, body: &str) -> (u16, &'static str) {
        let answer = self
            .amazon
            .receive(self.intake(), INGRESS_KEY, body.as_bytes())
            .await;
        (answer.status, answer.reason)
    }

    /// Returns the whole HTTP service with this ingress.
    fn router(&self) -> Router {
        router::router(self.edge(&[]), &pages::DASHBOARD)
    }

    /// Returns the state of the service with these environment variables.
    fn edge(&self, variables: &[(&str, &str)]) -> Arc<Edge> {
        edge(self.amazon.clone(), self.intake(), variables)
    }

    /// Returns a connection that prevents all other connections from writing until it is dropped.
    fn locked_database(&self) -> SqliteConnection {
        let path = self.folder.path().join("settle.db");
        let mut connection =
            SqliteConnection::establish(&path.to_string_lossy()).expect("a connection");
        connection
            .batch_execute("PRAGMA busy_timeout = 5000; BEGIN IMMEDIATE")
            .expect("the lock");
        connection
    }

    async fn stored(&self, body: &str) -> Vec<NotificationView> {
        self.store
            .notifications_of(&message_id(body))
            .await
            .expect("storage answers")
    }

    async fn topics(&self) -> Vec<(String, TopicState)> {
        let topics = self
            .store
            .topics(self.platform.id)
            .await
            .expect("storage answers");
        topics
            .into_iter()
            .map(|topic| (topic.arn, topic.state))
            .collect()
    }

    async fn alarms(&self) -> Vec<String> {
        let alarms = self
            .store
            .alarms(Page::default())
            .await
            .expect("storage answers");
        alarms.items.into_iter().map(|alarm| alarm.kind).collect()
    }

    /// Returns the total number of times that alarms were raised.
    async fn raised(&self) -> i64 {
        let alarms = self
            .store
            .alarms(Page::default())
            .await
            .expect("storage answers");
        alarms.items.iter().map(|alarm| alarm.count).sum()
    }

    /// Waits for a signal to a purchase, and returns the name of the first one.
    async fn wait_signal(&self, receipt_id: &str) -> &'static str {
        let key = CollapseKey::of(self.platform.id, receipt_id);
        wait::until(SOON, "a signal", async || {
            let signals = self.engine.0.lock().expect("no panic").clone();
            let found = signals.iter().find(|(found, _)| *found == key);
            found
                .map(|(_, signal)| *signal)
                .ok_or_else(|| format!("{signals:?}"))
        })
        .await
    }
}

/// Returns the state of the service with this ingress and these environment variables.
pub fn edge(
    ingress: Arc<dyn Ingress>,
    intake: Intake<'_>,
    variables: &[(&str, &str)],
) -> Arc<Edge> {
    let variables = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let config = load(&Flags::default(), &variables).expect("valid settings");
    Arc::new(Edge {
        workers: Default::default(),
        waking: Default::default(),
        pages: api::edge::pages::Pages::new(&config),
        dispatch: intake.dispatch.clone(),
        store: intake.store.clone(),
        stores: Ingresses::new(vec![ingress]),
        known: api::stores::all().collect(),
        devices: Devices::new(&config.devices),
        allowed: commands::allowed(&config),
        send: commands::sender(&config),
        test_quota: Default::default(),
        admin_token: SecretString::from("the-admin-token-of-the-tests"),
        keys: Keys::new(Refusals::new(
            NonZeroU32::MAX,
            std::time::Duration::from_nanos(1),
        )),
        public_url: "https://settle.example.com/".parse().expect("a URL"),
        default_window: Duration::from_secs(120),
        metrics: Metrics::install(),
        figures: Figures::default(),
        clock: now,
        random: clock::random_bytes,
    })
}

fn new_platform(app_id: domain::AppId, topic: Option<&str>) -> NewPlatform {
    NewPlatform {
        app_id,
        store: "amazon".to_owned(),
        settings: PlatformSettings::new("Amazon", PACKAGE, 120_000),
        shared_secret: None,
        topic_arn: topic.map(str::to_owned),
        ingress_key: INGRESS_KEY.into(),
        publishable_key: "pk_test".to_owned(),
        of_store: Default::default(),
    }
}

fn letter(number: u128, topic_arn: &str) -> Header<'_> {
    let version = if number.is_multiple_of(2) {
        Version::One
    } else {
        Version::Two
    };
    Header {
        message_id: Uuid::from_u128(0x6b27_5a67_0bbb_4f3a_99b9 << 48 | number),
        topic_arn,
        at: now(),
        version,
    }
}

fn sample<'a>(type_name: &'a str, receipt_id: &'a str) -> Sample<'a> {
    Sample {
        package_name: PACKAGE,
        store_type: type_name,
        app_user_id: "user",
        receipt_id,
        cancelled_receipt_id: None,
        at: now().plus_millis(-6000),
        is_test: false,
    }
}

/// Returns a signed notification of a topic.
fn notification(number: u128, topic: &str, message: &str) -> String {
    SIGNER
        .sign_notification(&letter(number, topic), None, message)
        .expect("signed")
}

/// Returns a signed renewal of [`TOPIC`]; the number determines the message id and the receipt.
fn renewal(number: u128) -> String {
    notification(
        number,
        TOPIC,
        &sample("SUBSCRIPTION_RENEWED", &format!("receipt-{number}")).message(),
    )
}

fn subscription(number: u128, topic: &str) -> String {
    SIGNER
        .sign_subscription(&letter(number, topic), TOKEN)
        .expect("signed")
}

fn message_id(body: &str) -> String {
    let document: serde_json::Value = serde_json::from_str(body).expect("JSON");
    document["MessageId"].as_str().expect("a string").to_owned()
}
