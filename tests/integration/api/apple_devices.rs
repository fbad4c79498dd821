//! Devices that hand in the App Store's signed transactions: what proves a purchase, and whose it is.

use super::edge::{Answer, Service, apple_chain};
use api::clock;
use api::stores::apple::signer::Chain;
use serde_json::{Value, json};
use std::sync::LazyLock;
use system_tests::devices::Device;

const BUNDLE: &str = "com.example.radio";
const PURCHASE: &str = "2000001";
/// The account token that the app set.
const TOKEN: &str = "7e3fb20b-4cdb-47cc-936d-99d65f608138";
const DAY_MS: i64 = 24 * 3600 * 1000;

struct Radio {
    service: Service,
    app: String,
    platform: String,
    key: String,
}

/// Beginning of the subscription in Unix milliseconds: an hour ago.
static BEGAN: LazyLock<i64> = LazyLock::new(|| clock::now().micros() / 1000 - DAY_MS / 24);

/// A transaction of a monthly subscription, signed now.
fn transaction() -> Value {
    let now = clock::now().micros() / 1000;
    let began = *BEGAN;
    json!({
        "transactionId": PURCHASE, "originalTransactionId": PURCHASE, "bundleId": BUNDLE, "productId": "gold.monthly",
        "type": "Auto-Renewable Subscription", "purchaseDate": began, "originalPurchaseDate": began,
        "expiresDate": began + 30 * DAY_MS, "quantity": 1, "inAppOwnershipType": "PURCHASED",
        "transactionReason": "PURCHASE", "price": 4990, "currency": "EUR", "storefront": "DEU",
        "environment": "Production", "appTransactionId": "70412", "appAccountToken": TOKEN, "signedDate": now,
        "deviceVerification": "YQ==",
    })
}

/// Returns a transaction with other members, as Apple signs it.
fn signed(members: &Value) -> String {
    let mut payload = transaction();
    for (name, member) in members.as_object().into_iter().flatten() {
        payload[name] = member.clone();
    }
    apple_chain().sign(&payload).expect("a signature")
}

impl Radio {
    async fn open(name: &str) -> Self {
        let service = Service::start(name).await;
        let app = json!({ "name": "radio" });
        let app = service.send_json("POST", "/v1/apps", &app).await.body["id"].clone();
        let app = format!("/v1/apps/{}", app.as_str().expect("an id"));
        let platform = json!({
            "store": "apple", "name": "App Store", "package_name": BUNDLE, "no_older_process": true,
        });
        let path = format!("{app}/platforms");
        let created = service.send_json("POST", &path, &platform).await;
        assert_eq!(created.status, 201, "{}", created.body);
        let id = created.body["id"].as_str().expect("an id");
        let platform = format!("/v1/platforms/{id}");
        let shown = service.get(&platform).await.body;
        let key = shown["publishable_key"].as_str().expect("a key").to_owned();
        Self {
            service,
            app,
            platform,
            key,
        }
    }

    async fn of_device(&self, device: Device, path: &str, body: &Value) -> Answer {
        let secret = device.secret();
        let sender = (&self.key[..], Some(&secret[..]));
        let body = body.to_string().into_bytes();
        self.service
            .send_of_device(("POST", path), sender, body)
            .await
    }

    async fn report(&self, device: Device, events: &[Value]) -> Answer {
        let answer = self
            .of_device(device, "/v1/device/events", &device.body(events))
            .await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer
    }

    async fn buys(&self, device: Device, event: &str, receipt: &str) -> Answer {
        let bought = json!({ "kind": "purchased", "receipt_id": receipt, "sku": "gold.monthly" });
        let event = device.event(
            event,
            "device.transaction",
            &json!({ "transaction": bought }),
        );
        self.report(device, &[event]).await
    }

    async fn lists(&self, device: Device, event: &str, receipts: &[&str]) -> Answer {
        let receipts = receipts
            .iter()
            .map(|receipt| json!({ "receipt_id": receipt }));
        let receipts = json!({ "receipts": receipts.collect::<Vec<_>>() });
        let event = device.event(event, "device.session.start", &receipts);
        self.report(device, &[event]).await
    }

    fn texts(&self, query: &str) -> Vec<String> {
        self.service.connection().texts(query)
    }

    fn claims(&self) -> Vec<String> {
        self.texts(
            "SELECT receipt_id || ' ' || app_user_id || ' ' || status AS value FROM claims ORDER BY verified_at, device_id",
        )
    }

    /// Returns the number of claims, notifications, and events with a signed text.
    fn stored(&self) -> [i64; 3] {
        [
            "claims",
            "notifications",
            "device_events WHERE body LIKE '%eyJ%'",
        ]
        .map(|rows| self.service.count(rows))
    }

    /// Logs a device in, and returns the user of the login.
    async fn login(&self, device: Device, external_id: &str) -> String {
        let described = &device.body(&[])["device"];
        let login = json!({ "device": described, "external_id": external_id });
        let answer = self.of_device(device, "/v1/device/login", &login).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let found = format!("{}/customers?external_id={external_id}", self.app);
        let user = self.service.get(&found).await.body["user_id"].clone();
        user.as_str().expect("a user").to_owned()
    }

    fn owner(&self) -> Vec<String> {
        self.texts("SELECT user_id AS value FROM store_users WHERE store = 'apple'")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_transaction_proves_a_purchase_at_once() {
    let radio = Radio::open("apple-device").await;
    let genuine = signed(&json!({}));
    assert!(genuine.len() > 1000);
    let answer = radio.buys(Device(1), "bought", &genuine).await;
    let taken = json!({ "accepted": 1, "repeated": 0, "rejected": [] });
    assert_eq!(answer.body, taken);
    let verified = format!("{PURCHASE} {TOKEN} verified");
    assert_eq!(radio.claims(), std::slice::from_ref(&verified));
    assert_eq!(radio.stored(), [1, 2, 0]);
    let bodies = radio.texts("SELECT body AS value FROM notifications ORDER BY seq");
    let content: Value = serde_json::from_str(&bodies[0]).expect("JSON");
    let stored = &content["signed"]["data"]["signedTransactionInfo"];
    assert_eq!(stored["productId"], "gold.monthly", "{content}");
    assert!(!bodies.concat().contains(&genuine[..100]), "{bodies:?}");
    let signals = radio.service.engine.signals();
    assert!(signals.len() <= 2, "{signals:?}");

    // The same on another device, and signed anew.
    let again = signed(&json!({ "deviceVerification": "Yg==" }));
    let answer = radio.lists(Device(2), "start", &[&again]).await;
    assert_eq!(answer.body, taken);
    assert_eq!(radio.claims(), [verified.clone(), verified]);
    assert_eq!(radio.stored(), [2, 3, 0], "its claim alone is new");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_proves_nothing_is_refused_and_not_stored() {
    let radio = Radio::open("apple-device-refused").await;
    let forged = Chain::generate().expect("a chain");
    let forged = forged.sign(&transaction()).expect("a signature");
    let renewal = json!({
        "originalTransactionId": PURCHASE, "productId": "gold.monthly", "autoRenewProductId": "gold.monthly",
        "autoRenewStatus": 1, "environment": "Production", "signedDate": clock::now().micros() / 1000,
    });
    let renewal = apple_chain().sign(&renewal).expect("a signature");
    let over = json!({ "expiresDate": clock::now().micros() / 1000 - DAY_MS });
    let cases = [
        (
            PURCHASE.to_owned(),
            "the transaction's number proves nothing",
        ),
        (
            "a.b.c".to_owned(),
            "the transaction's number proves nothing",
        ),
        (
            "x".repeat(20_000),
            "the transaction's number proves nothing",
        ),
        (forged, "signature or its certificates are not valid"),
        (renewal, "Apple signed something else"),
        (
            signed(&json!({ "bundleId": "com.example.other" })),
            "another bundle id",
        ),
        (signed(&over), "whose period is not over"),
    ];
    for (number, (text, expected)) in (1..).zip(&cases) {
        let device = Device(number);
        let answer = radio.buys(device, "bought", text).await;
        let rejected = &answer.body["rejected"][0]["errors"];
        assert_eq!(
            rejected.as_array().map(Vec::len),
            Some(1),
            "{}",
            answer.body
        );
        assert_eq!(rejected[0]["field"], "transaction.receipt_id");
        let sentence = rejected[0]["expected"].as_str().expect("a sentence");
        assert!(sentence.contains(expected), "{sentence}");
        let answer = radio.lists(device, "start", &[text]).await;
        assert_eq!(
            answer.body["accepted"], 1,
            "the session's start: {}",
            answer.body
        );
        let left_out = &answer.body["left_out"][0]["errors"];
        assert_eq!(
            left_out.as_array().map(Vec::len),
            Some(1),
            "{}",
            answer.body
        );
        assert_eq!(left_out[0]["field"], "receipts[0].receipt_id");
    }
    assert_eq!(radio.stored(), [0, 0, 0]);
    let sandbox = json!({ "environment": "sandbox" });
    let changed = radio
        .service
        .send_json("PATCH", &radio.platform, &sandbox)
        .await;
    assert_eq!(changed.status, 200, "{}", changed.body);
    let answer = radio
        .buys(Device(1), "production", &signed(&json!({})))
        .await;
    let sentence = answer.body["rejected"][0]["errors"][0]["expected"].to_string();
    assert!(sentence.contains("in the sandbox"), "{}", answer.body);
    assert_eq!(radio.stored(), [0, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_genuine_transaction_among_others_is_proved() {
    let radio = Radio::open("apple-device-list").await;
    let genuine = signed(&json!({}));
    let other = signed(&json!({ "transactionId": "2000002", "originalTransactionId": "2000002" }));
    let list = [&genuine[..], PURCHASE, &other];
    let answer = radio.lists(Device(1), "start", &list).await;
    assert_eq!(answer.body["accepted"], 1, "{}", answer.body);
    let wrong = &answer.body["left_out"][0]["errors"];
    assert_eq!(
        wrong[0]["field"], "receipts[1].receipt_id",
        "{}",
        answer.body
    );
    let verified = |purchase: &str| format!("{purchase} {TOKEN} verified");
    let mut claims = radio.claims();
    claims.sort();
    assert_eq!(claims, [verified(PURCHASE), verified("2000002")]);
    // Many invalid ones cost no more than a few.
    let many = vec![PURCHASE; 12];
    let answer = radio.lists(Device(2), "start", &many).await;
    let wrong = answer.body["left_out"][0]["errors"]
        .as_array()
        .expect("errors");
    let last = wrong.last().expect("an error")["expected"].as_str();
    assert_eq!(wrong.len(), 12);
    assert!(last.is_some_and(|last| last.contains("without other invalid ones")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replayed_transaction_moves_what_transfers_allow() {
    let radio = Radio::open("apple-device-replay").await;
    let set = async |policy: &str| {
        let transfers = json!({ "transfers": policy });
        let changed = radio
            .service
            .send_json("PATCH", &radio.platform, &transfers)
            .await;
        assert_eq!(changed.status, 200, "{}", changed.body);
    };
    let genuine = signed(&json!({}));
    let anna = radio.login(Device(1), "anna").await;
    radio.buys(Device(1), "bought", &genuine).await;
    assert_eq!(radio.owner(), std::slice::from_ref(&anna));
    let reviews = format!("{}/transfer-reviews", radio.app);
    for (number, policy) in [(2, "never"), (3, "review"), (4, "immediate")] {
        set(policy).await;
        let other = format!("customer-{number}");
        let user = radio.login(Device(number), &other).await;
        let answer = radio.buys(Device(number), "bought", &genuine).await;
        assert_eq!(answer.body["accepted"], 1, "{}", answer.body);
        let owner = if policy == "immediate" { &user } else { &anna };
        assert_eq!(radio.owner(), std::slice::from_ref(owner), "{policy}");
        let open = radio.service.get(&reviews).await.body;
        let open = open["items"].as_array().map(Vec::len);
        assert_eq!(open, Some(usize::from(policy != "never")), "{policy}");
    }
    assert_eq!(radio.stored()[0], 4);
}
