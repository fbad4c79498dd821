//! Samples: notifications about invented purchases. They count as test purchases.
//!
//! A push proves its sender by a token that only Google can sign, so no sample arrives over HTTP: the ingress builds a
//! sample's body itself, and receives it in the same way as that of an authenticated push. Only purchases whose ids were
//! minted with the data directory's sample key are accepted.

use super::settings::PushTarget;
use super::simulated::resources::LIFETIME;
use super::simulated::{self, LastOrder};
use super::{ACCEPTED, Google};
use crate::clock;
use crate::stores::ingress::Answer;
use crate::stores::intake::Intake;
use crate::stores::samples::{
    DemoStore, NoSample, SampleSettings, SampleTypes, SentSample, sample_id,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::notification::MAX_ID_BYTES;
use domain::text::is_plain;
use domain::{CollapseKey, Timestamp};
use protocols::stores::Mint;
use rsa::RsaPrivateKey;
use rsa::pkcs8::{self, DecodePrivateKey as _, EncodePrivateKey as _};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use storage::Platform;

/// The types of samples by Google's names, with their meaning. A test notification is not one of them, because it is
/// about no purchase.
pub const TYPES: &[(&str, &str)] = &[
    (
        "SUBSCRIPTION_PURCHASED",
        "subscription started, paid or in a trial",
    ),
    ("SUBSCRIPTION_RENEWED", "subscription renewed"),
    (
        "SUBSCRIPTION_IN_GRACE_PERIOD",
        "payment failed, grace period started",
    ),
    ("SUBSCRIPTION_ON_HOLD", "payment failed, access ended"),
    ("SUBSCRIPTION_RECOVERED", "payment recovered, or pause over"),
    ("SUBSCRIPTION_PAUSED", "pause started"),
    ("SUBSCRIPTION_CANCELED", "auto-renewal turned off"),
    ("SUBSCRIPTION_RESTARTED", "auto-renewal turned on"),
    ("SUBSCRIPTION_REVOKED", "access revoked before the end"),
    ("SUBSCRIPTION_EXPIRED", "subscription expired"),
    (ONE_TIME_PURCHASED, "one-time product bought"),
    (VOIDED, "purchase refunded or charged back"),
];

pub(super) const ONE_TIME_PURCHASED: &str = "ONE_TIME_PRODUCT_PURCHASED";
pub(super) const VOIDED: &str = "VOIDED_PURCHASE";

/// What is expected of a sample instead of an authenticated push. Its audience and account are never compared.
pub(super) const TARGET: PushTarget<'static> = PushTarget {
    audience: "",
    account: "",
    subscription: "projects/settle-demo/subscriptions/samples",
};
const NOT_MINTED: &str = "a sample's purchase is a name of your choice, or the id of an earlier sample of this data directory";

/// Returns Google's name of a type, given in full or as any of its short forms.
///
/// # Errors
/// Returns where the types are listed if there is no such type.
pub fn store_type(text: &str) -> Result<&'static str, String> {
    let name = text.trim().to_ascii_uppercase().replace('-', "_");
    let names = [name.clone(), format!("SUBSCRIPTION_{name}")];
    let found = TYPES
        .iter()
        .find(|(known, _)| names.iter().any(|name| name == known));
    found
        .map(|(name, _)| *name)
        .ok_or_else(|| "no such type: `settle sample --help` lists them".to_owned())
}

/// Returns the short form of a type.
pub fn short(name: &str) -> String {
    name.strip_prefix("SUBSCRIPTION_")
        .unwrap_or(name)
        .to_ascii_lowercase()
        .replace('_', "-")
}

/// The types of Google Play's samples.
pub const SAMPLES: SampleTypes = SampleTypes {
    all: TYPES,
    named: store_type,
    short,
};

/// Google's data for the demo.
pub const DEMO: DemoStore = DemoStore {
    signing: None,
    topic: None,
    // Without a credential, nothing about the demo is ever requested from Google.
    has_secret: false,
    simulated: simulated::routes,
    products: &simulated::PRODUCTS,
    entitlement: simulated::ENTITLEMENT,
};

/// Returns the mint of purchase ids of a data directory, from its sample key as PEM.
///
/// # Errors
/// The text is not an RSA private key in PKCS #8.
pub fn mint(sample_key: &str) -> Result<Mint, pkcs8::Error> {
    let key = RsaPrivateKey::from_pkcs8_pem(sample_key)?;
    Ok(Mint::new(key.to_pkcs8_der()?.as_bytes()))
}

/// The purchase of a sample.
pub struct SamplePurchase<'a> {
    pub token: &'a str,
    /// The order that a refund returns.
    pub order: LastOrder,
}

/// Returns a `DeveloperNotification` about a purchase. It names no customer: Google's notifications do not.
///
/// Shares no code with `notification` on purpose: the numbers of the types are written a second time here.
pub fn notification(
    package_name: &str,
    store_type: &str,
    purchase: &SamplePurchase<'_>,
    at: Timestamp,
) -> Value {
    let SamplePurchase { token, order } = purchase;
    let (member, content) = match store_type {
        ONE_TIME_PURCHASED => (
            "oneTimeProductNotification",
            json!({ "version": "1.0", "notificationType": 1, "purchaseToken": token, "sku": LIFETIME }),
        ),
        VOIDED => {
            let product_type = if order.is_subscription { 1 } else { 2 };
            let content = json!({
                "purchaseToken": token, "orderId": order.id, "productType": product_type, "refundType": 1,
            });
            ("voidedPurchaseNotification", content)
        }
        name => (
            "subscriptionNotification",
            json!({ "version": "1.0", "notificationType": number(name), "purchaseToken": token }),
        ),
    };
    let happened_ms = at.micros().div_euclid(1000).to_string();
    json!({ "version": "1.0", "packageName": package_name, "eventTimeMillis": happened_ms, member: content })
}

/// Returns the number of a subscription's notification type; `None` if there is no sample of it.
fn number(store_type: &str) -> Option<i64> {
    Some(match store_type {
        "SUBSCRIPTION_RECOVERED" => 1,
        "SUBSCRIPTION_RENEWED" => 2,
        "SUBSCRIPTION_CANCELED" => 3,
        "SUBSCRIPTION_PURCHASED" => 4,
        "SUBSCRIPTION_ON_HOLD" => 5,
        "SUBSCRIPTION_IN_GRACE_PERIOD" => 6,
        "SUBSCRIPTION_RESTARTED" => 7,
        "SUBSCRIPTION_PAUSED" => 10,
        "SUBSCRIPTION_REVOKED" => 12,
        "SUBSCRIPTION_EXPIRED" => 13,
        _ => return None,
    })
}

/// Returns the body of a push with this notification, in Pub/Sub's format.
pub fn body(message_id: &str, notification: &Value, at: Timestamp) -> String {
    let published = at.to_string();
    let message = json!({
        "attributes": {},
        "data": STANDARD.encode(notification.to_string()),
        "messageId": message_id, "message_id": message_id,
        "publishTime": published, "publish_time": published,
    });
    json!({ "message": message, "subscription": TARGET.subscription }).to_string()
}

impl Google {
    /// Returns the ingress with samples accepted on every platform, if their purchases have ids of this mint.
    #[must_use]
    pub fn with_samples(self, mint: Mint) -> Self {
        Self {
            samples: Some(mint),
            ..self
        }
    }

    /// Builds a sample and receives it in the same way as an authenticated push.
    ///
    /// # Errors
    /// This process accepts no samples, the sample was refused, or it could not be stored.
    pub async fn sample(
        &self,
        intake: Intake<'_>,
        platform: &Platform,
        wanted: SampleSettings,
    ) -> Result<SentSample, NoSample> {
        let mint = self.samples.as_ref().ok_or(NoSample::NotTrusted)?;
        let store_type = wanted.store_type.unwrap_or(TYPES[0].0);
        let receipt_id = sample_id(mint, wanted.receipt_id.as_deref());
        if !(mint.is_minted(&receipt_id) && is_plain(&receipt_id, MAX_ID_BYTES)) {
            return Err(NoSample::Refused(NOT_MINTED));
        }
        let now = (self.settings.clock)();
        let key = CollapseKey::of(platform.id, &receipt_id);
        let order = simulated::last_order(intake.store, key, now).await;
        let order = order.map_err(|_| NoSample::Unavailable)?;
        let token = receipt_id.as_str();
        let purchase = SamplePurchase { token, order };
        let package_name = &platform.settings.package_name;
        let notification = notification(package_name, store_type, &purchase, now);
        let message_id = clock::random_uuid().to_string();
        let body = body(&message_id, &notification, now);
        let ingress_key = intake.store.ingress_key(platform.id).await;
        let ingress_key = ingress_key.map_err(|_| NoSample::Unavailable)?;
        let ingress_key = ingress_key.expose_secret();
        let recipient = self.inbox.find(intake.store, ingress_key, now);
        let recipient = recipient.await.map_err(|_| NoSample::Unavailable)?;
        let answer = self.accept_for(intake, &recipient, &TARGET, body.as_bytes(), now);
        match answer.await {
            ACCEPTED => Ok(SentSample {
                message_id,
                collapse_key: key,
                receipt_id,
                store_type,
            }),
            Answer { status: 503, .. } => Err(NoSample::Unavailable),
            Answer { reason, .. } => Err(NoSample::Refused(reason)),
        }
    }
}
