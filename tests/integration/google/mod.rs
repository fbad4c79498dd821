//! The ingress of Google Play with a real database, a scripted key set, and an engine that records signals.

use crate::amazon::{Recording, edge};
use api::dispatch::Dispatch;
use api::router;
use api::stores::google::signer::{self, Signer};
use api::stores::google::{
    ENTRY, Fetch, FetchError, Fetched, Google, KEYS_URL, PUSH_ACCOUNT, PUSH_AUDIENCE, SUBSCRIPTION,
    Settings,
};
use api::stores::ingress::{Ingress, StoreRequest};
use api::stores::intake::Intake;
use api::stores::samples::{NoSample, SampleSettings};
use axum::body::{Body, Bytes};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderValue, Request};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::{CollapseKey, Outcome, Timestamp};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use protocols::stores::Mint;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;
use storage::{
    Config, Database, Key, NewPlatform, NotificationView, Page, Platform, PlatformSettings, Store,
    StorePart,
};
use system_tests::folder::Folder;
use system_tests::template;
use system_tests::wait;
use tower::ServiceExt;

const AUDIENCE: &str = "https://settle.example.com/v1/stores/google/8f3c0f6a1e";
const ACCOUNT: &str = "push@example-project.iam.gserviceaccount.com";
const QUEUE: &str = "projects/example-project/subscriptions/play";
const PACKAGE: &str = "com.example.app";
const INGRESS_KEY: &str = "8f3c0f6a1e";
const KEY_ID: &str = "28b741e8de984a47159f19e6d7783e9d4fa810db";
const TOKEN: &str = "opaque-token-up-to-150-characters";
const SOON: Duration = Duration::from_secs(180);
const ACCEPTED: (u16, &str) = (204, "accepted");

/// One key for all tests, because generating one is slow.
static SIGNER: LazyLock<Signer> = LazyLock::new(|| Signer::generate().expect("a key"));

fn now() -> Timestamp {
    "2026-06-01T12:00:00Z".parse().expect("a time")
}

/// A fake of Google's key set, which a test can make fail.
struct Certs(Mutex<Result<Fetched, FetchError>>);

impl Fetch for Certs {
    fn get(&self) -> BoxFuture<'_, Result<Fetched, FetchError>> {
        let answer = self.0.lock().expect("no panic").clone();
        async move { answer }.boxed()
    }
}

fn keys() -> Fetched {
    let keys = json!({ "keys": [SIGNER.jwk(KEY_ID)] });
    Fetched {
        body: keys.to_string().into_bytes(),
        max_age: None,
    }
}

/// Returns Google's bearer token for this audience and account.
fn bearer(audience: &str, account: &str) -> String {
    let header = signer::header(KEY_ID).to_string();
    let claims = signer::claims(audience, account, now()).to_string();
    SIGNER.sign(&header, &claims).expect("a signature")
}

/// Returns the body of a push with this data.
fn push(message_id: &str, data: &Value) -> String {
    let message = json!({
        "attributes": {}, "data": STANDARD.encode(data.to_string()), "messageId": message_id,
        "publishTime": "2026-06-01T11:59:59.123Z",
    });
    json!({ "message": message, "subscription": QUEUE }).to_string()
}

/// Returns a notification about a renewal in the app.
fn renewal() -> Value {
    let content = json!({ "version": "1.0", "notificationType": 2, "purchaseToken": TOKEN });
    json!({
        "version": "1.0", "packageName": PACKAGE, "eventTimeMillis": "1780315190123",
        "subscriptionNotification": content,
    })
}

struct World {
    google: Arc<Google>,
    store: Store,
    dispatch: Dispatch,
    engine: Arc<Recording>,
    platform: Platform,
    _folder: Folder,
}

impl World {
    async fn begin() -> Self {
        Self::with_keys(Ok(keys())).await
    }

    async fn with_keys(keys: Result<Fetched, FetchError>) -> Self {
        let folder = Folder::new("google");
        let file = folder.path().join("settle.db");
        template::sqlite(&file);
        let config = Config {
            database: Database::Sqlite(file),
            key: Key::new([7; 32]),
            clock: now,
        };
        let store = Store::open(config).await.expect("a store");
        let app = store.new_app("app").await.expect("an app");
        let new = NewPlatform {
            app_id: app.id,
            store: "google".to_owned(),
            settings: PlatformSettings::new("Google", PACKAGE, 120_000),
            shared_secret: None,
            topic_arn: None,
            ingress_key: INGRESS_KEY.into(),
            publishable_key: "pk_test".to_owned(),
            of_store: StorePart {
                settings: Some(json!({
                    PUSH_AUDIENCE: AUDIENCE, PUSH_ACCOUNT: ACCOUNT, SUBSCRIPTION: QUEUE,
                })),
                credentials: None,
            },
        };
        let platform = store.new_platform(new).await.expect("a platform");
        let settings = Settings {
            keys_url: KEYS_URL.parse().expect("a URL"),
            clock: now,
        };
        let certs = Arc::new(Certs(Mutex::new(keys)));
        let google = Google::with_fetch(settings, certs).with_samples(Mint::new(b"sample key"));
        let engine = Arc::new(Recording::default());
        Self {
            google: Arc::new(google),
            dispatch: Dispatch::start(engine.clone(), store.clone()),
            store,
            engine,
            platform,
            _folder: folder,
        }
    }

    fn intake(&self) -> Intake<'_> {
        Intake {
            store: &self.store,
            dispatch: &self.dispatch,
        }
    }

    /// Posts a body with a bearer token, and returns the answer's status and reason.
    async fn post_as(&self, bearer: &str, body: &str) -> (u16, &'static str) {
        let mut headers = HeaderMap::new();
        let value = HeaderValue::from_str(&format!("Bearer {bearer}"));
        headers.insert(AUTHORIZATION, value.expect("a header"));
        let request = StoreRequest {
            ingress_key: INGRESS_KEY,
            headers: &headers,
            body: body.as_bytes(),
        };
        let answer = self.google.receive(self.intake(), request).await;
        (answer.status, answer.reason)
    }

    /// Posts a body with Google's bearer token.
    async fn post(&self, body: &str) -> (u16, &'static str) {
        self.post_as(&bearer(AUDIENCE, ACCOUNT), body).await
    }

    async fn stored(&self, message_id: &str) -> Vec<NotificationView> {
        let stored = self.store.notifications_of(message_id).await;
        stored.expect("storage answers")
    }

    /// Returns the kinds of the alarms, and how often each was raised.
    async fn alarms(&self) -> BTreeMap<String, i64> {
        let alarms = self.store.alarms(Page::default()).await;
        let alarms = alarms.expect("storage answers").items.into_iter();
        alarms.map(|alarm| (alarm.kind, alarm.count)).collect()
    }

    /// Returns the number of answers to the platform's store, by reason.
    async fn arrivals(&self) -> BTreeMap<String, i64> {
        self.store.write_arrivals().await.expect("written");
        let arrivals = self.store.arrivals(self.platform.id).await;
        let arrivals = arrivals.expect("storage answers").into_iter();
        arrivals.map(|one| (one.reason, one.times)).collect()
    }
}

#[tokio::test]
async fn a_push_is_stored_once_and_signalled() {
    let world = World::begin().await;
    for _ in 0..2 {
        assert_eq!(world.post(&push("1", &renewal())).await, ACCEPTED);
        let stored = world.stored("1").await;
        assert_eq!(stored.len(), 1);
        assert_eq!(stored[0].receipt_id, TOKEN);
        assert_eq!(stored[0].outcome, None);
    }
    let key = CollapseKey::of(world.platform.id, TOKEN);
    wait::until(SOON, "a signal", async || {
        let signals = world.engine.0.lock().expect("no panic").clone();
        let is_signalled = signals.iter().any(|(found, _)| *found == key);
        is_signalled.then_some(()).ok_or(format!("{signals:?}"))
    })
    .await;
    // Another message with the same notification is a duplicate.
    assert_eq!(world.post(&push("2", &renewal())).await, ACCEPTED);
    let again = world.stored("2").await;
    assert_eq!(again[0].outcome, Some(Outcome::Duplicate));
    assert_eq!(world.arrivals().await, BTreeMap::from([(String::new(), 3)]));
    assert!(world.alarms().await.is_empty());
}

#[tokio::test]
async fn a_sample_is_stored_like_a_push() {
    let world = World::begin().await;
    let wanted = |receipt_id: &str| SampleSettings {
        store_type: Some("SUBSCRIPTION_PAUSED"),
        receipt_id: Some(receipt_id.to_owned()),
        app_user_id: None,
    };
    let send = async |receipt_id: &str| {
        let wanted = wanted(receipt_id);
        world
            .google
            .sample(world.intake(), &world.platform, wanted)
            .await
    };
    let sent = send("first").await.expect("a sample");
    let stored = world.stored(&sent.message_id).await;
    assert_eq!(stored.len(), 1);
    assert_eq!(stored[0].receipt_id, sent.receipt_id);
    assert_eq!(stored[0].outcome, None);
    assert_eq!(world.arrivals().await, BTreeMap::from([(String::new(), 1)]));

    let again = send(&sent.receipt_id).await.expect("a sample");
    assert_eq!(again.collapse_key, sent.collapse_key);
    // The id was not minted with this key.
    let refused = send("sample.first.mark").await;
    assert!(matches!(refused, Err(NoSample::Refused(_))), "{refused:?}");
}

#[tokio::test]
async fn what_can_never_be_right_is_acknowledged_and_stored() {
    let world = World::begin().await;
    let mut foreign = renewal();
    foreign["packageName"] = json!("com.example.other");
    let foreign_queue =
        |id: &str| push(id, &renewal()).replace(QUEUE, "projects/p/subscriptions/s");
    let large = |id: &str| push(id, &json!({ "filling": "a".repeat(64 * 1024) }));
    for (first, second, reason) in [
        ("1", "2", "data is not a notification"),
        ("3", "4", "message of another app"),
        ("5", "6", "message of another subscription"),
        ("7", "8", "body larger than 64 KiB"),
    ] {
        for id in [first, second, second] {
            let body = match first {
                "1" => push(id, &json!("sketch")),
                "3" => push(id, &foreign),
                "5" => foreign_queue(id),
                _ => large(id),
            };
            assert_eq!(world.post(&body).await, (204, reason));
            if first != "7" {
                let stored = world.stored(id).await;
                assert_eq!(stored.len(), 1, "{reason}");
                assert_eq!(stored[0].outcome, Some(Outcome::Refused));
            }
        }
        assert_eq!(world.arrivals().await.get(reason), Some(&3), "{reason}");
    }
    let alarms = [
        "foreign_package",
        "foreign_subscription",
        "push_too_large",
        "unreadable_notification",
    ];
    let once = alarms.map(|kind| (kind.to_owned(), 1));
    assert_eq!(world.alarms().await, BTreeMap::from(once), "one per hour");
    assert!(world.engine.0.lock().expect("no panic").is_empty());
    // Valid messages are still accepted.
    assert_eq!(world.post(&push("9", &renewal())).await, ACCEPTED);
}

#[tokio::test]
async fn a_push_without_the_wrapper_is_an_alarm_and_repeated() {
    let world = World::begin().await;
    for _ in 0..3 {
        let answer = world.post(&renewal().to_string()).await;
        assert_eq!(answer, (503, "message without the wrapper"));
    }
    let once = BTreeMap::from([("push_without_wrapper".to_owned(), 1)]);
    assert_eq!(world.alarms().await, once);
}

#[tokio::test]
async fn a_request_of_others_leaves_nothing_but_a_count() {
    let world = World::begin().await;
    let body = push("1", &renewal());
    let wrong = format!("{}AA", bearer(AUDIENCE, ACCOUNT));
    let foreign = "https://example.com";
    let cases = [
        (wrong, (401, "signature of the bearer token is wrong")),
        ("token".to_owned(), (401, "bearer token is malformed")),
        (
            bearer(foreign, ACCOUNT),
            (403, "bearer token is for another audience"),
        ),
        (
            bearer(AUDIENCE, "other@example-project.iam.gserviceaccount.com"),
            (403, "bearer token is of another account"),
        ),
    ];
    let mut counts = BTreeMap::new();
    for (bearer, refused) in cases {
        assert_eq!(world.post_as(&bearer, &body).await, refused);
        counts.insert(refused.1.to_owned(), 1);
    }
    assert_eq!(world.arrivals().await, counts);
    assert!(world.stored("1").await.is_empty());
    assert!(world.alarms().await.is_empty());
}

#[tokio::test]
async fn without_googles_keys_a_push_is_repeated() {
    let failure = FetchError::Unavailable("status 500".to_owned());
    let world = World::with_keys(Err(failure)).await;
    let answer = world.post(&push("1", &renewal())).await;
    assert_eq!(answer, (503, "no key of the store was loaded yet"));
    assert!(world.stored("1").await.is_empty());
}

/// Returns the status of the answer to a request with this bearer token and body, by the whole service.
async fn routed(world: &World, bearer: String, body: Body) -> u16 {
    let router = router::router(
        edge(world.google.clone(), world.intake(), &[]),
        &pages::DASHBOARD,
    );
    let request = Request::builder()
        .method("POST")
        .uri(format!("/v1/stores/google/{INGRESS_KEY}"))
        .header(AUTHORIZATION, format!("Bearer {bearer}"))
        .body(body)
        .expect("a request");
    let answer = router.oneshot(request).await.expect("an answer");
    answer.status().as_u16()
}

#[tokio::test]
async fn the_largest_push_is_stored_as_refused() {
    let world = World::begin().await;
    let most = ENTRY.max_body_bytes;
    for (bytes, status) in [(3 * 1024 * 1024, 204), (most, 204), (most + 1, 413)] {
        let body = Body::from(vec![b' '; bytes]);
        let answer = routed(&world, bearer(AUDIENCE, ACCOUNT), body).await;
        assert_eq!(answer, status, "{bytes} bytes");
    }
    let counts = BTreeMap::from([("body larger than 64 KiB".to_owned(), 2)]);
    assert_eq!(world.arrivals().await, counts);
    let alarms = BTreeMap::from([("push_too_large".to_owned(), 1)]);
    assert_eq!(world.alarms().await, alarms);
}

#[tokio::test]
async fn no_body_is_read_before_the_token_is_checked() {
    let world = World::begin().await;
    let post = async |bearer: String, body: Body| routed(&world, bearer, body).await;
    let endless = || Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
    assert_eq!(post("token".to_owned(), endless()).await, 401);
    let foreign = bearer("https://example.com", ACCOUNT);
    assert_eq!(post(foreign, endless()).await, 403);
    let body = Body::from(push("1", &renewal()));
    assert_eq!(post(bearer(AUDIENCE, ACCOUNT), body).await, 204);
    assert_eq!(world.stored("1").await.len(), 1);
}
