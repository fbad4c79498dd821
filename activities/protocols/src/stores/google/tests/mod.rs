//! The requests, every class of error, and bodies: documented, unexpected and broken.

mod accounts;
mod acknowledging;
mod bodies;
mod checks;
mod fields;
mod orders;
mod plans;
mod refusals;
mod repairs;
mod simulated;
mod sweeps;

use super::check::{CheckOutcome, KnownPurchase, NextStep, next};
use super::request::Query;
use super::shown::{PurchaseKind, PurchaseToken, ShownPurchase};
use super::{Google, Settings};
use crate::http::Reply;
use crate::stores::{Replied, Subject};
use domain::{Environment, PlatformId, Timestamp};
use rsa::RsaPrivateKey;
use rsa::pkcs8::{EncodePrivateKey as _, LineEnding};
use rsa::rand_core::OsRng;
use secrecy::SecretString;
use serde_json::{Value, json};
use std::sync::OnceLock;
use storage::StorePart;

const PACKAGE: &str = "com.example.app";
const TOKEN: &str = "opaque-token-of-the-purchase.AO-J1Oz";
const OLD: &str = "token-of-the-purchase-before";
const OLDEST: &str = "token-of-the-first-purchase";
const ORDER: &str = "GPA.1234-5678-9012-12345";
const EMAIL: &str = "reader@project.iam.gserviceaccount.com";
const KEY_ID: &str = "0123456789abcdef";

fn at() -> Timestamp {
    Timestamp::from_millis(1_790_000_000_000)
}

fn time(text: &str) -> Option<Timestamp> {
    Some(text.parse().unwrap())
}

fn token(text: &str) -> PurchaseToken {
    PurchaseToken::try_from(text.to_owned()).unwrap()
}

/// Returns a new RSA key of this size in bits, in PKCS #8.
fn rsa_pem(bits: usize) -> String {
    let key = RsaPrivateKey::new(&mut OsRng, bits).unwrap();
    key.to_pkcs8_pem(LineEnding::LF).unwrap().to_string()
}

/// Returns the RSA key that all tests share.
fn pem() -> &'static str {
    static PEM: OnceLock<String> = OnceLock::new();
    PEM.get_or_init(|| rsa_pem(2048))
}

/// Returns the key file of a service account, as Google creates it.
fn key_file() -> Value {
    json!({
        "type": "service_account", "project_id": "project", "private_key_id": KEY_ID, "private_key": pem(),
        "client_email": EMAIL, "client_id": "123456789012345678901",
        "auth_uri": "https://accounts.google.com/o/oauth2/auth", "token_uri": "https://attacker.example/token",
        "auth_provider_x509_cert_url": "https://www.googleapis.com/oauth2/v1/certs",
        "universe_domain": "googleapis.com",
    })
}

fn subject(receipt_id: &str) -> Subject {
    let credentials = json!({ "service_account": key_file().to_string() });
    Subject {
        platform: PlatformId::new(uuid::Uuid::from_u128(2)),
        environment: Environment::Production,
        app_user_id: None,
        receipt_id: receipt_id.to_owned(),
        package_name: PACKAGE.to_owned(),
        known: None,
        reported_at: None,
        reported: Vec::new(),
        secret: SecretString::from(""),
        own: StorePart {
            settings: None,
            credentials: Some(credentials.to_string().into()),
        },
    }
}

fn google() -> Google {
    Google::new(Settings::default(), None)
}

fn answered(status: u16, body: impl ToString) -> Replied {
    Replied {
        reply: Reply::Answer {
            status,
            retry_after: None,
            headers: Vec::new(),
            body: body.to_string(),
        },
        at: at(),
    }
}

fn repeated(replied: &Replied) -> Replied {
    Replied {
        reply: replied.reply.clone(),
        at: replied.at,
    }
}

/// Returns an error in the API's form.
fn error(status: u16, reason: &str) -> Replied {
    let body = json!({ "error": {
        "code": status, "message": "a text of the store", "errors": [
            { "message": "a text of the store", "domain": "androidpublisher", "reason": reason },
        ],
    } });
    answered(status, body)
}

/// Returns a subscription with one item. `members` add to its members or replace them.
fn subscription(members: Value) -> Value {
    let base = json!({
        "kind": "androidpublisher#subscriptionPurchaseV2", "startTime": "2026-09-01T10:00:00Z",
        "regionCode": "DE", "subscriptionState": "SUBSCRIPTION_STATE_ACTIVE",
        "acknowledgementState": "ACKNOWLEDGEMENT_STATE_ACKNOWLEDGED",
        "lineItems": [item("monthly", json!({}))],
    });
    merged(base, members)
}

/// Returns an item of a subscription. `members` add to its members or replace them.
fn item(plan: &str, members: Value) -> Value {
    let base = json!({
        "productId": "premium", "expiryTime": "2026-10-01T10:00:00Z", "latestSuccessfulOrderId": ORDER,
        "autoRenewingPlan": { "autoRenewEnabled": true },
        "offerDetails": { "basePlanId": plan },
    });
    merged(base, members)
}

fn order(id: &str, members: Value) -> Value {
    let base = json!({
        "orderId": id, "purchaseToken": TOKEN, "state": "PROCESSED", "createTime": "2026-09-01T10:00:00Z",
        "total": { "currencyCode": "EUR", "units": "4", "nanos": 990_000_000 },
    });
    merged(base, members)
}

fn merged(mut base: Value, members: Value) -> Value {
    if let (Some(base), Value::Object(members)) = (base.as_object_mut(), members) {
        base.extend(members);
    }
    base
}

/// Returns the next step of a check after these replies. The store does not know the plan.
fn check(known: &KnownPurchase, replies: &[Replied]) -> NextStep {
    match next(&token(TOKEN), known, replies) {
        NextStep::Send(Query::Plans(_)) => {
            let again = replies.iter().map(repeated);
            let all: Vec<Replied> = again.chain([error(404, "notFound")]).collect();
            next(&token(TOKEN), known, &all)
        }
        step => step,
    }
}

fn outcome(replies: &[Replied]) -> CheckOutcome {
    match check(&KnownPurchase::default(), replies) {
        NextStep::Done(outcome) => outcome,
        NextStep::Send(query) => panic!("another request: {query:?}"),
    }
}

/// Returns the purchase that the replies show.
fn shown(replies: &[Replied]) -> ShownPurchase {
    match outcome(replies) {
        CheckOutcome::Shown(shown, _) => *shown,
        other => panic!("{other:?}"),
    }
}

/// Returns the subscription that a body shows. The store does not know its order.
fn read(members: Value) -> ShownPurchase {
    let replies = [
        answered(200, subscription(members)),
        error(404, "notFound"),
        error(404, "notFound"),
        error(404, "notFound"),
    ];
    let steps =
        (1..=replies.len()).map(|count| check(&KnownPurchase::default(), &replies[..count]));
    let done = steps.into_iter().find_map(|step| match step {
        NextStep::Done(CheckOutcome::Shown(shown, _)) => Some(*shown),
        NextStep::Send(
            Query::Order(_) | Query::Orders(_) | Query::Purchase(PurchaseKind::Subscription, _),
        ) => None,
        other => panic!("{other:?}"),
    });
    done.expect("a purchase")
}
