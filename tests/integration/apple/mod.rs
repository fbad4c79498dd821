//! The ingress of the App Store with a real database, chains of the tests, and an engine that records signals.

use crate::amazon::Recording;
use api::dispatch::Dispatch;
use api::stores::apple::signer::Chain;
use api::stores::apple::{APP_APPLE_ID, Apple, Settings};
use api::stores::ingress::{Ingress, StoreRequest};
use api::stores::intake::Intake;
use api::stores::samples::{NoSample, SampleSettings};
use axum::http::HeaderMap;
use domain::{CollapseKey, Outcome, Timestamp};
use protocols::stores::Mint;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use storage::{
    Config, Database, Key, NewPlatform, NotificationView, Page, Platform, PlatformSettings, Store,
    StorePart,
};
use system_tests::folder::Folder;
use system_tests::template;
use system_tests::wait;

const BUNDLE: &str = "com.example.radio";
const INGRESS_KEY: &str = "8f3c0f6a1e";
const PURCHASE: &str = "2000000123456789";
const SOON: Duration = Duration::from_secs(180);
const ACCEPTED: (u16, &str) = (200, "accepted");

/// The chain that the ingress of the tests trusts, and one that it does not.
static TRUSTED: LazyLock<Chain> = LazyLock::new(|| Chain::generate().expect("a chain"));
static FORGED: LazyLock<Chain> = LazyLock::new(|| Chain::generate().expect("a chain"));

fn now() -> Timestamp {
    "2026-12-01T12:00:00Z".parse().expect("a time")
}

fn millis(at: Timestamp) -> i64 {
    at.micros() / 1000
}

fn transaction() -> Value {
    let at = millis(now());
    json!({
        "transactionId": PURCHASE, "originalTransactionId": PURCHASE, "bundleId": BUNDLE, "productId": "gold.monthly",
        "type": "Auto-Renewable Subscription", "purchaseDate": at, "originalPurchaseDate": at,
        "expiresDate": at + 2_592_000_000, "quantity": 1, "inAppOwnershipType": "PURCHASED",
        "transactionReason": "PURCHASE", "price": 4990, "currency": "EUR", "storefront": "DEU",
        "environment": "Production", "signedDate": at,
    })
}

/// Returns a notification of this type, with other members of `data`, signed by a chain.
fn notification(chain: &Chain, id: &str, kind: &str, changes: &Value) -> String {
    let sign = |content: &Value| chain.sign(content).expect("a signature");
    let renewal = json!({
        "originalTransactionId": PURCHASE, "productId": "gold.monthly", "autoRenewProductId": "gold.monthly",
        "autoRenewStatus": 1, "environment": "Production", "signedDate": millis(now()),
    });
    let mut data = json!({
        "bundleId": BUNDLE, "environment": "Production", "appAppleId": 123, "status": 1,
        "signedTransactionInfo": sign(&transaction()), "signedRenewalInfo": sign(&renewal),
    });
    for (name, member) in changes.as_object().expect("members") {
        data[name] = member.clone();
    }
    sign(&json!({
        "notificationType": kind, "notificationUUID": id, "version": "2.0", "signedDate": millis(now()), "data": data,
    }))
}

fn body(payload: &str) -> String {
    json!({ "signedPayload": payload }).to_string()
}

struct World {
    apple: Arc<Apple>,
    store: Store,
    dispatch: Dispatch,
    engine: Arc<Recording>,
    platform: Platform,
    _folder: Folder,
}

impl World {
    async fn begin() -> Self {
        let folder = Folder::new("apple");
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
            store: "apple".to_owned(),
            settings: PlatformSettings::new("App Store", BUNDLE, 120_000),
            shared_secret: None,
            topic_arn: None,
            ingress_key: INGRESS_KEY.into(),
            publishable_key: "pk_test".to_owned(),
            of_store: StorePart {
                settings: Some(json!({ APP_APPLE_ID: "123" })),
                credentials: None,
            },
        };
        let platform = store.new_platform(new).await.expect("a platform");
        let settings = Settings {
            root: Some(TRUSTED.root().to_vec()),
            clock: now,
        };
        let engine = Arc::new(Recording::default());
        Self {
            apple: Arc::new(Apple::new(settings).with_samples(Mint::new(b"sample key"))),
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

    /// Posts a body, and returns the answer's status and reason.
    async fn post(&self, body: &str) -> (u16, &'static str) {
        let headers = HeaderMap::new();
        let request = StoreRequest {
            ingress_key: INGRESS_KEY,
            headers: &headers,
            body: body.as_bytes(),
        };
        let answer = self.apple.receive(self.intake(), request).await;
        (answer.status, answer.reason)
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
async fn a_notification_is_stored_once_and_signalled() {
    let world = World::begin().await;
    let payload = notification(&TRUSTED, "u1", "SUBSCRIBED", &json!({}));
    for _ in 0..2 {
        assert_eq!(world.post(&body(&payload)).await, ACCEPTED);
        let stored = world.stored("u1").await;
        assert_eq!(stored.len(), 1);
        assert_eq!(stored[0].receipt_id, PURCHASE);
        assert_eq!(stored[0].outcome, None);
    }
    let key = CollapseKey::of(world.platform.id, PURCHASE);
    wait::until(SOON, "a signal", async || {
        let signals = world.engine.0.lock().expect("no panic").clone();
        let is_signalled = signals.iter().any(|(found, _)| *found == key);
        is_signalled.then_some(()).ok_or(format!("{signals:?}"))
    })
    .await;
    // Another notification of the same millisecond is another fact.
    let other = notification(&TRUSTED, "u2", "SUBSCRIBED", &json!({}));
    assert_eq!(world.post(&body(&other)).await, ACCEPTED);
    assert_eq!(world.stored("u2").await[0].outcome, None);
    assert_eq!(world.arrivals().await, BTreeMap::from([(String::new(), 3)]));
    assert!(world.alarms().await.is_empty());
}

#[tokio::test]
async fn what_apple_did_not_sign_leaves_nothing_but_a_count() {
    let world = World::begin().await;
    let chain = "certificates of the signed payload lead to no trusted root";
    let forged = notification(&FORGED, "u1", "SUBSCRIBED", &json!({}));
    let inner = FORGED.sign(&transaction()).expect("a signature");
    let inner = json!({ "signedTransactionInfo": inner });
    let inner = notification(&TRUSTED, "u2", "SUBSCRIBED", &inner);
    let local = notification(&TRUSTED, "u3", "TEST", &json!({ "environment": "Xcode" }));
    let genuine = notification(&TRUSTED, "u4", "SUBSCRIBED", &json!({}));
    let altered = genuine.replacen('.', ".e30", 1);
    let unsigned = "message without a signed payload";
    for (sent, reason) in [
        (body(&forged), chain),
        (body(&inner), chain),
        (body(&local), "payload of a development tool"),
        (body(&altered), "no signed payload"),
        (body("e30.e30.e30"), "no signed payload"),
        (json!({ "unified_receipt": {} }).to_string(), unsigned),
        ("\u{0}".to_owned(), unsigned),
    ] {
        assert_eq!(world.post(&sent).await, (403, reason));
    }
    let large = body(&"a".repeat(64 * 1024));
    assert_eq!(world.post(&large).await, (413, "body larger than 64 KiB"));
    assert_eq!(world.arrivals().await.values().sum::<i64>(), 8);
    for id in ["u1", "u2", "u3", "u4"] {
        assert!(world.stored(id).await.is_empty(), "{id}");
    }
    assert!(world.alarms().await.is_empty());
    assert!(world.engine.0.lock().expect("no panic").is_empty());
    assert_eq!(world.post(&body(&genuine)).await, ACCEPTED);
}

#[tokio::test]
async fn what_is_genuine_but_foreign_is_stored_as_refused() {
    let world = World::begin().await;
    let other_bundle = json!({ "bundleId": "com.example.other" });
    let other_app = json!({ "appAppleId": 9 });
    let part = json!({ "environment": "Sandbox" });
    for (first, second, changes, reason) in [
        ("1", "2", &other_bundle, "notification about another bundle"),
        ("3", "4", &other_app, "notification about another app"),
        (
            "5",
            "6",
            &part,
            "notification with a part of another purchase",
        ),
    ] {
        for id in [first, second, second] {
            let payload = notification(&TRUSTED, id, "DID_RENEW", changes);
            assert_eq!(world.post(&body(&payload)).await, (200, reason));
            let stored = world.stored(id).await;
            assert_eq!(stored.len(), 1, "{reason}");
            assert_eq!(stored[0].outcome, Some(Outcome::Refused));
        }
    }
    let request = json!({ "originalTransactionId": "1", "signedDate": millis(now()) });
    let request = TRUSTED.sign(&request).expect("a signature");
    let reason = "signed payload is no notification";
    assert_eq!(world.post(&body(&request)).await, (200, reason));
    let alarms = [
        "foreign_app",
        "foreign_bundle",
        "foreign_part",
        "no_notification",
    ];
    let once = alarms.map(|kind| (kind.to_owned(), 1));
    assert_eq!(world.alarms().await, BTreeMap::from(once), "one per hour");
    assert!(world.engine.0.lock().expect("no panic").is_empty());
}

#[tokio::test]
async fn what_names_no_purchase_is_stored_as_it_is() {
    let world = World::begin().await;
    let nothing =
        json!({ "signedTransactionInfo": null, "signedRenewalInfo": null, "status": null });
    for kind in ["TEST", "A_TYPE_OF_TOMORROW"] {
        let payload = notification(&TRUSTED, kind, kind, &nothing);
        assert_eq!(world.post(&body(&payload)).await, ACCEPTED);
        let stored = world.stored(kind).await;
        assert_eq!(stored[0].outcome, Some(Outcome::Unknown), "{kind}");
        assert_eq!(stored[0].store_type, kind);
    }
    // An unknown type about a purchase is settled by its signed state.
    let payload = notification(&TRUSTED, "u", "A_TYPE_OF_TOMORROW", &json!({}));
    assert_eq!(world.post(&body(&payload)).await, ACCEPTED);
    let stored = world.stored("u").await;
    assert_eq!(
        (stored[0].outcome, stored[0].receipt_id.as_str()),
        (None, PURCHASE)
    );
}

#[tokio::test]
async fn a_repeated_question_is_one_duty_and_a_decline_closes_it() {
    let world = World::begin().await;
    let open = async || {
        let listed = world.store.open_duties(world.platform.id, Page::default());
        listed.await.expect("storage answers").items.len()
    };
    for id in ["u1", "u2", "u3"] {
        let payload = notification(&TRUSTED, id, "CONSUMPTION_REQUEST", &json!({}));
        assert_eq!(world.post(&body(&payload)).await, ACCEPTED);
        assert_eq!(open().await, 1, "{id}");
    }
    assert_eq!(
        world.alarms().await.keys().collect::<Vec<_>>(),
        ["refund_review"]
    );
    let payload = notification(&TRUSTED, "u4", "REFUND_DECLINED", &json!({}));
    assert_eq!(world.post(&body(&payload)).await, ACCEPTED);
    assert_eq!(open().await, 0);
}

#[tokio::test]
async fn a_sample_is_stored_like_a_notification() {
    let world = World::begin().await;
    let send = async |receipt_id: &str| {
        let wanted = SampleSettings {
            store_type: Some("DID_RENEW"),
            receipt_id: Some(receipt_id.to_owned()),
            app_user_id: None,
        };
        let sent = world.apple.sample(world.intake(), &world.platform, wanted);
        sent.await
    };
    let sent = send("first").await.expect("a sample");
    let stored = world.stored(&sent.message_id).await;
    assert_eq!(stored.len(), 1);
    assert_eq!(
        (stored[0].receipt_id.as_str(), stored[0].outcome),
        (sent.receipt_id.as_str(), None)
    );
    let again = send(&sent.receipt_id).await.expect("a sample");
    assert_eq!(again.collapse_key, sent.collapse_key);
    // The id was not minted with this key.
    let refused = send("sample.first.mark").await;
    assert!(matches!(refused, Err(NoSample::Refused(_))));
}
