//! What a server of Apple shows of one subscription, signed by a chain of its own.

use super::{SigningChain, at, now};
use crate::http::Reply;
use crate::stores::apple::notification::{SignedNotification, SignedPayload, read};
use crate::stores::apple::{Apple, Settings, jws};
use crate::stores::{Answer, CheckStep, Replied, StoreProtocol as _, Subject};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::{Environment, PlatformId, Timestamp};
use secrecy::SecretString;
use serde_json::{Value, json};
use storage::StorePart;

pub(super) const BUNDLE: &str = "com.example.radio";
pub(super) const PURCHASE: &str = "2000001";
pub(super) const TOKEN: &str = "7e3fb20b-4cdb-47cc-936d-99d65f608138";
/// A key that App Store Connect could have generated, of these tests alone.
pub(super) const KEY_ID: &str = "2X9R4HXF34";
pub(super) const ISSUER: &str = "57246542-96fe-1a63-e053-0824d011072a";

pub(super) const DAY_MS: i64 = 24 * 3600 * 1000;

pub(super) fn millis(at: Timestamp) -> i64 {
    at.micros() / 1000
}

/// The beginning of the subscription.
pub(super) fn began() -> i64 {
    millis(at("2026-11-01T12:00:00Z"))
}

pub(super) struct AppStore {
    pub(super) chain: SigningChain,
    pub(super) apple: Apple,
}

impl AppStore {
    pub(super) fn new() -> Self {
        let chain = SigningChain::apple();
        let settings = Settings {
            root: Some(chain.root.clone()),
            ..Settings::default()
        };
        Self {
            apple: Apple::new(settings, None),
            chain,
        }
    }

    pub(super) fn sign(&self, payload: &Value) -> String {
        self.chain.sign(&self.chain.header(), payload)
    }

    /// Returns a notification about a transaction and its renewal.
    pub(super) fn notification(&self, kind: &str, data: &[(&str, &Value)]) -> String {
        let mut members = json!({ "bundleId": BUNDLE, "environment": "Production", "status": 1 });
        for (name, content) in data {
            members[*name] = self.sign(content).into();
        }
        self.sign(&json!({
            "notificationType": kind, "notificationUUID": format!("id-of-{kind}"), "version": "2.0",
            "signedDate": millis(now()), "data": members,
        }))
    }

    pub(super) fn read(&self, payload: &str) -> SignedNotification {
        match read(&self.chain.trusted(), jws::verify, payload, now()) {
            Ok(SignedPayload::Notification(signed)) => *signed,
            Ok(SignedPayload::Other { .. }) => panic!("no notification"),
            Err(refusal) => panic!("{refusal:?}"),
        }
    }

    /// Returns the body of the stored row of a notification.
    pub(super) fn stored(&self, payload: &str) -> Value {
        json!({ storage::SIGNED: self.read(payload).decoded })
    }

    /// Returns the answer of a check whose requests get these replies, and the paths that it requested.
    pub(super) fn check(&self, subject: &Subject, replies: &[Reply]) -> (Answer, Vec<String>) {
        let mut replied: Vec<Replied> = Vec::new();
        let mut paths = Vec::new();
        loop {
            match self.apple.next(subject, &replied) {
                CheckStep::Done(answer) => return (answer, paths),
                CheckStep::Send(request, _) => {
                    let url = &request.url;
                    let query = url.query().map(|query| format!("?{query}"));
                    let host = url.host_str().unwrap_or_default();
                    let path = format!("{host}{}{}", url.path(), query.unwrap_or_default());
                    let reply = replies.get(paths.len());
                    paths.push(path);
                    let Some(reply) = reply.cloned() else {
                        panic!("no reply to {paths:?}");
                    };
                    replied.push(Replied { reply, at: now() });
                }
            }
        }
    }
}

/// A transaction of the subscription: its period with this number, from 1, of 30 days.
pub(super) fn transaction(number: i64) -> Value {
    let begins = began() + (number - 1) * 30 * DAY_MS;
    let id = match number {
        1 => PURCHASE.to_owned(),
        _ => format!("{PURCHASE}{number}"),
    };
    json!({
        "transactionId": id, "originalTransactionId": PURCHASE, "bundleId": BUNDLE, "productId": "gold.monthly",
        "type": "Auto-Renewable Subscription", "purchaseDate": begins, "originalPurchaseDate": began(),
        "expiresDate": begins + 30 * DAY_MS, "quantity": 1, "inAppOwnershipType": "PURCHASED",
        "transactionReason": if number == 1 { "PURCHASE" } else { "RENEWAL" }, "price": 4990, "currency": "EUR",
        "storefront": "DEU", "environment": "Production", "appTransactionId": "70412", "appAccountToken": TOKEN,
        "signedDate": millis(now()),
    })
}

pub(super) fn renewal() -> Value {
    json!({
        "originalTransactionId": PURCHASE, "productId": "gold.monthly", "autoRenewProductId": "gold.monthly",
        "autoRenewStatus": 1, "renewalDate": began() + 30 * DAY_MS, "recentSubscriptionStartDate": began(),
        "environment": "Production", "signedDate": millis(now()),
    })
}

/// Returns a value with other members.
pub(super) fn with(mut value: Value, members: &Value) -> Value {
    for (name, member) in members.as_object().expect("members") {
        value[name] = member.clone();
    }
    value
}

pub(super) fn subject(reported: Vec<Value>) -> Subject {
    Subject {
        platform: PlatformId::new(uuid::Uuid::from_u128(3)),
        environment: Environment::Production,
        app_user_id: None,
        receipt_id: PURCHASE.to_owned(),
        package_name: BUNDLE.to_owned(),
        known: None,
        reported_at: None,
        reported,
        secret: SecretString::from(""),
        own: StorePart {
            settings: Some(json!({
                "issuer_id": ISSUER, "key_id": KEY_ID, "app_apple_id": "123", "account_ids": "external",
            })),
            credentials: Some(json!({ "private_key": key_pem() }).to_string().into()),
        },
    }
}

/// Returns a P-256 key as the text of a key file.
pub(super) fn key_pem() -> String {
    let key = rcgen::KeyPair::generate().expect("a key").serialize_der();
    let encoded = STANDARD.encode(key);
    format!("-----BEGIN PRIVATE KEY-----\n{encoded}\n-----END PRIVATE KEY-----\n")
}

pub(super) fn reply(status: u16, body: &Value) -> Reply {
    Reply::Answer {
        status,
        retry_after: None,
        headers: Vec::new(),
        body: body.to_string(),
    }
}
