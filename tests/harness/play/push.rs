//! Pub/Sub: real-time developer notifications, pushed with a token that only the holder of the fake's key can sign.

use crate::http::{Answer, post_as_pubsub};
use crate::sns::PACKAGE;
use api::clock;
use api::stores::google::signer::{self, Signer};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use domain::Timestamp;
use serde_json::{Value, json};
use std::sync::LazyLock;

/// The push subscription of the tests' platforms.
pub const SUBSCRIPTION: &str = "projects/settle-tests/subscriptions/play";
/// The service account of the push subscription.
pub const ACCOUNT: &str = "push@settle-tests.iam.gserviceaccount.com";
/// The audience that a platform has without a setting of its own.
pub const AUDIENCE: &str = "https://pubsub.googleapis.com/projects/settle-tests/subscriptions/play";
const KEY_ID: &str = "settle-tests-push";

// Types of a notification about a subscription.
pub const RECOVERED: i64 = 1;
pub const RENEWED: i64 = 2;
pub const CANCELED: i64 = 3;
pub const PURCHASED: i64 = 4;
pub const ON_HOLD: i64 = 5;
pub const IN_GRACE_PERIOD: i64 = 6;
pub const RESTARTED: i64 = 7;
pub const PRICE_CHANGE_CONFIRMED: i64 = 8;
pub const DEFERRED: i64 = 9;
pub const PAUSED: i64 = 10;
pub const PAUSE_SCHEDULE_CHANGED: i64 = 11;
pub const REVOKED: i64 = 12;
pub const EXPIRED: i64 = 13;
pub const ITEMS_CHANGED: i64 = 17;
pub const CANCELLATION_SCHEDULED: i64 = 18;
pub const PRICE_CHANGE_UPDATED: i64 = 19;
pub const PENDING_PURCHASE_CANCELED: i64 = 20;
pub const PRICE_STEP_UP_CONSENT_UPDATED: i64 = 22;

// Types of a notification about a one-time product.
pub const ONE_TIME_PURCHASED: i64 = 1;
pub const ONE_TIME_CANCELED: i64 = 2;

static SIGNER: LazyLock<Signer> = LazyLock::new(|| Signer::generate().expect("a key"));

/// Returns the key set with which pushes are verified.
pub fn key_set() -> Value {
    json!({ "keys": [SIGNER.jwk(KEY_ID)] })
}

/// Returns a push token that is valid for an hour from `now`.
///
/// # Panics
/// When the key cannot sign.
pub fn bearer(now: Timestamp) -> String {
    bearer_of(ACCOUNT, AUDIENCE, now)
}

/// Like [`bearer`], of this account and for this audience.
///
/// # Panics
/// When the key cannot sign.
pub fn bearer_of(account: &str, audience: &str, now: Timestamp) -> String {
    let header = signer::header(KEY_ID).to_string();
    let claims = signer::claims(audience, account, now).to_string();
    SIGNER.sign(&header, &claims).expect("a signed token")
}

/// Returns a push token like that of [`bearer`], which differs from those with another number.
///
/// # Panics
/// When the key cannot sign.
pub fn numbered_bearer(now: Timestamp, number: usize) -> String {
    let header = signer::header(KEY_ID).to_string();
    SIGNER
        .sign(&header, &numbered_claims(now, number))
        .expect("a signed token")
}

/// Returns a token that the ingress must refuse. By its number, it has a signature of no key, or an unknown key id that
/// no other token has, or is no token at all.
pub fn forged_bearer(now: Timestamp, number: usize) -> String {
    let naming_key = |key_id: &str| {
        let (header, claims) = (signer::header(key_id), numbered_claims(now, number));
        let [header, claims] =
            [header.to_string(), claims].map(|part| URL_SAFE_NO_PAD.encode(part));
        let signature = URL_SAFE_NO_PAD.encode([0x5a; 256]);
        format!("{header}.{claims}.{signature}")
    };
    match number % 3 {
        0 => naming_key(KEY_ID),
        1 => naming_key(&format!("unknown-{number}")),
        _ => format!("garbage-{number}"),
    }
}

fn numbered_claims(now: Timestamp, number: usize) -> String {
    let mut claims = signer::claims(AUDIENCE, ACCOUNT, now);
    claims["jti"] = json!(number);
    claims.to_string()
}

/// A `DeveloperNotification`.
#[derive(Debug, Clone)]
pub struct Notice {
    pub package_name: String,
    /// `eventTimeMillis`
    pub at: Timestamp,
    /// Name of the only member.
    member: &'static str,
    content: Value,
}

impl Notice {
    fn new(member: &'static str, content: Value, at: Timestamp) -> Self {
        Self {
            package_name: PACKAGE.to_owned(),
            at,
            member,
            content,
        }
    }

    /// Returns a notification about a subscription, with the number of its type.
    pub fn subscription(number: i64, token: &str, at: Timestamp) -> Self {
        let content =
            json!({ "version": "1.0", "notificationType": number, "purchaseToken": token });
        Self::new("subscriptionNotification", content, at)
    }

    /// Returns a notification about a one-time product, with the number of its type.
    pub fn one_time(number: i64, token: &str, product: &str, at: Timestamp) -> Self {
        let content = json!({
            "version": "1.0", "notificationType": number, "purchaseToken": token, "sku": product,
        });
        Self::new("oneTimeProductNotification", content, at)
    }

    /// Returns a notification about a voided order of a subscription.
    pub fn voided(token: &str, order_id: &str, at: Timestamp) -> Self {
        let content = json!({
            "purchaseToken": token, "orderId": order_id, "productType": 1, "refundType": 1,
        });
        Self::new("voidedPurchaseNotification", content, at)
    }

    /// Returns a notification about a voided one-time order: in full, or some of its pieces.
    pub fn voided_pieces(token: &str, order_id: &str, is_full: bool, at: Timestamp) -> Self {
        let refund_type = if is_full { 1 } else { 2 };
        let content = json!({
            "purchaseToken": token, "orderId": order_id, "productType": 2, "refundType": refund_type,
        });
        Self::new("voidedPurchaseNotification", content, at)
    }

    /// Returns a question about a refund, which Google answers by itself after 24 hours.
    pub fn refund_review(refund_token: &str, order_id: &str, at: Timestamp) -> Self {
        let content = json!({
            "version": "1.0", "pendingRefundToken": refund_token, "orderId": order_id, "refundReason": 7,
        });
        Self::new("pendingRefundReviewNotification", content, at)
    }

    /// Returns what the console's test button sends.
    pub fn test(at: Timestamp) -> Self {
        Self::new("testNotification", json!({ "version": "1.0" }), at)
    }

    /// Returns a new message with this notification.
    pub fn message(&self) -> Push {
        let (_, number) = clock::random_uuid().as_u64_pair();
        let id = number.to_string();
        let data = json!({
            "version": "1.0", "packageName": self.package_name,
            "eventTimeMillis": self.at.micros().div_euclid(1000).to_string(), self.member: self.content,
        });
        Push::new(id, &data.to_string(), self.at)
    }
}

/// A message of Pub/Sub, which can be pushed repeatedly.
#[derive(Debug, Clone)]
pub struct Push {
    /// `messageId`
    pub id: String,
    pub body: String,
}

impl Push {
    /// Returns a message with this id and data, which need not be a notification.
    pub fn new(id: String, data: &str, at: Timestamp) -> Self {
        let published = at.to_string();
        let message = json!({
            "attributes": {}, "data": STANDARD.encode(data),
            "messageId": id, "message_id": id, "publishTime": published, "publish_time": published,
        });
        let body = json!({ "message": message, "subscription": SUBSCRIPTION });
        Self {
            id,
            body: body.to_string(),
        }
    }

    /// Pushes the message to a URL, with a token signed at `now`.
    ///
    /// # Errors
    /// When nothing answers.
    pub async fn post(&self, url: &str, now: Timestamp) -> Result<Answer, String> {
        post_as_pubsub(url, &bearer(now), &self.body).await
    }
}
