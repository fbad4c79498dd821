//! Samples: notifications about invented purchases, signed by a chain of our own. They are purchases in the sandbox, so
//! they count as test purchases.
//!
//! Only Apple's root is trusted at the notification URL, so no sample arrives over HTTP: the ingress receives the body
//! that is built here, and trusts the chain of samples for it alone. Only purchases whose ids were minted with the data
//! directory's sample key are accepted. What a sample shows of a purchase is what the simulated store derives from all
//! samples of the purchase, including the new one.

use super::Apple;
use super::signer::{self, Chain, Unusable};
use super::simulated::purchase::Sent;
use super::simulated::resources::{NamedPurchase, millis, present};
use super::simulated::{self, SampleName};
use crate::clock;
use crate::stores::ingress::Answer;
use crate::stores::intake::Intake;
use crate::stores::samples::{
    DemoStore, NoSample, SampleSettings, SampleTypes, SentSample, sample_id,
};
use domain::notification::MAX_ID_BYTES;
use domain::text::is_plain;
use domain::{CollapseKey, Timestamp};
use protocols::stores::Mint;
use protocols::stores::apple::chain::Chains;
use protocols::stores::apple::{jws, notification as signed_notification};
use rsa::RsaPrivateKey;
use rsa::pkcs8::{self, DecodePrivateKey as _, EncodePrivateKey as _};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use storage::{Platform, Store};
use uuid::Uuid;

pub(super) const INITIAL_BUY: &str = "SUBSCRIBED.INITIAL_BUY";
pub(super) const RESUBSCRIBE: &str = "SUBSCRIBED.RESUBSCRIBE";
pub(super) const RENEWED: &str = "DID_RENEW";
pub(super) const BILLING_RECOVERY: &str = "DID_RENEW.BILLING_RECOVERY";
pub(super) const RENEWAL_DISABLED: &str = "DID_CHANGE_RENEWAL_STATUS.AUTO_RENEW_DISABLED";
pub(super) const RENEWAL_ENABLED: &str = "DID_CHANGE_RENEWAL_STATUS.AUTO_RENEW_ENABLED";
pub(super) const UPGRADE: &str = "DID_CHANGE_RENEWAL_PREF.UPGRADE";
pub(super) const DOWNGRADE: &str = "DID_CHANGE_RENEWAL_PREF.DOWNGRADE";
pub(super) const GRACE_PERIOD: &str = "DID_FAIL_TO_RENEW.GRACE_PERIOD";
pub(super) const BILLING_RETRY: &str = "DID_FAIL_TO_RENEW";
pub(super) const GRACE_PERIOD_EXPIRED: &str = "GRACE_PERIOD_EXPIRED";
pub(super) const EXPIRED_VOLUNTARY: &str = "EXPIRED.VOLUNTARY";
pub(super) const EXPIRED_BILLING_RETRY: &str = "EXPIRED.BILLING_RETRY";
pub(super) const ONE_TIME_CHARGE: &str = "ONE_TIME_CHARGE";
pub(super) const REFUND: &str = "REFUND";
pub(super) const REFUND_REVERSED: &str = "REFUND_REVERSED";
pub(super) const REFUND_DECLINED: &str = "REFUND_DECLINED";
pub(super) const CONSUMPTION_REQUEST: &str = "CONSUMPTION_REQUEST";

/// The types of samples by Apple's names, each followed by the name of its subtype, with their meaning. A test
/// notification is not one of them, because it is about no purchase.
pub const TYPES: &[(&str, &str)] = &[
    (INITIAL_BUY, "subscription started"),
    (
        RESUBSCRIBE,
        "subscription started again, after the last one ended",
    ),
    (RENEWED, "subscription renewed"),
    (BILLING_RECOVERY, "payment recovered"),
    (RENEWAL_DISABLED, "auto-renewal turned off"),
    (RENEWAL_ENABLED, "auto-renewal turned on"),
    (UPGRADE, "plan changed immediately"),
    (DOWNGRADE, "plan change planned for the next renewal"),
    (GRACE_PERIOD, "payment failed, grace period started"),
    (BILLING_RETRY, "payment failed, access ended"),
    (GRACE_PERIOD_EXPIRED, "grace period over, access ended"),
    (
        EXPIRED_VOLUNTARY,
        "subscription expired, as the customer chose",
    ),
    (
        EXPIRED_BILLING_RETRY,
        "subscription expired after failed payments",
    ),
    (ONE_TIME_CHARGE, "one-time product bought"),
    (REFUND, "last payment refunded"),
    (REFUND_REVERSED, "refund taken back"),
    (
        CONSUMPTION_REQUEST,
        "refund requested, a question to the app",
    ),
    (REFUND_DECLINED, "requested refund declined"),
];

/// Types that the short form of a sample leaves out, because its subtype says enough.
const SILENT: [&str; 4] = [
    "SUBSCRIBED.",
    "DID_CHANGE_RENEWAL_STATUS.",
    "DID_CHANGE_RENEWAL_PREF.",
    "DID_FAIL_TO_RENEW.",
];
const NOT_MINTED: &str = "a sample's purchase is a name of your choice, or the id of an earlier sample of this data directory";

/// Returns Apple's name of a type, given in full or in its short form, in any case and with any separators.
///
/// # Errors
/// Returns where the types are listed if there is no such type.
pub fn store_type(text: &str) -> Result<&'static str, String> {
    let plain = |name: &str| name.to_ascii_lowercase().replace(['_', '.'], "-");
    let wanted = plain(text.trim());
    let found = TYPES
        .iter()
        .find(|(name, _)| plain(name) == wanted || short(name) == wanted);
    found
        .map(|(name, _)| *name)
        .ok_or_else(|| "no such type: `settle sample --help` lists them".to_owned())
}

/// Returns the short form of a type.
pub fn short(name: &str) -> String {
    let mut silent = SILENT.iter();
    let short = silent.find_map(|silent| name.strip_prefix(silent));
    let short = short.unwrap_or(name);
    short.to_ascii_lowercase().replace(['_', '.'], "-")
}

/// The types of the App Store's samples.
pub const SAMPLES: SampleTypes = SampleTypes {
    all: TYPES,
    named: store_type,
    short,
};

/// Apple's data for the demo.
pub const DEMO: DemoStore = DemoStore {
    signing: None,
    topic: None,
    // Without a credential, nothing about the demo is ever requested from Apple.
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

/// Returns a new id for a message that is signed at this time, a UUID of version 7. The simulated store reads the time
/// from it, so that the dates of a transaction are always the same.
pub fn message_id(at: Timestamp) -> Uuid {
    let at = u64::try_from(millis(at)).unwrap_or_default();
    uuid::Builder::from_unix_timestamp_millis(at, &clock::random_bytes()).into_uuid()
}

/// Returns when a message was signed, from its id; `None` if the simulated store did not create the id.
pub fn signed_at(message_id: &str) -> Option<Timestamp> {
    let id = Uuid::try_parse(message_id).ok()?;
    let at = id.get_timestamp().filter(|_| id.get_version_num() == 7)?;
    let (seconds, nanos) = at.to_unix();
    let seconds = i64::try_from(seconds).ok()?;
    let millis = seconds
        .checked_mul(1000)?
        .checked_add(i64::from(nanos / 1_000_000))?;
    Some(Timestamp::from_millis(millis))
}

/// Returns the content of a notification of this type about a purchase.
///
/// # Errors
/// The chain cannot sign.
pub fn notification(
    purchase: &NamedPurchase,
    store_type: &str,
    message_id: Uuid,
    chain: &Chain,
) -> Result<Value, Unusable> {
    let (kind, subtype) = match store_type.split_once('.') {
        Some((kind, subtype)) => (kind, Some(subtype)),
        None => (store_type, None),
    };
    let mut data = purchase.data(chain)?;
    if store_type == CONSUMPTION_REQUEST {
        data["consumptionRequestReason"] = json!("UNINTENDED_PURCHASE");
    }
    Ok(present(json!({
        "notificationType": kind,
        "subtype": subtype,
        "notificationUUID": message_id,
        "version": "2.0",
        "signedDate": millis(purchase.signed_at),
        "data": data,
    })))
}

/// A sample that the ingress has not received yet.
pub struct SampleMessage {
    pub message_id: String,
    pub receipt_id: String,
    pub collapse_key: CollapseKey,
    pub store_type: &'static str,
    /// A payload that the chain of samples signed.
    pub payload: String,
}

/// Builds a sample for a platform. `now` is to be the time at which the ingress receives it.
///
/// # Errors
/// The id of the purchase was not minted, the database does not respond, or nothing can be signed.
async fn message(
    store: &Store,
    mint: &Mint,
    platform: &Platform,
    wanted: SampleSettings,
    now: Timestamp,
) -> Result<SampleMessage, NoSample> {
    let chain = signer::of_samples().ok_or(NoSample::Unavailable)?;
    let store_type = wanted.store_type.unwrap_or(INITIAL_BUY);
    let receipt_id = sample_id(mint, wanted.receipt_id.as_deref());
    if !(mint.is_minted(&receipt_id) && is_plain(&receipt_id, MAX_ID_BYTES)) {
        return Err(NoSample::Refused(NOT_MINTED));
    }
    // Apple's times have milliseconds, and so has the id.
    let at = Timestamp::from_millis(millis(now));
    let name = SampleName {
        platform: platform.id,
        bundle_id: &platform.settings.package_name,
        receipt_id: &receipt_id,
    };
    let new = Sent {
        store_type: store_type.to_owned(),
        at,
    };
    let purchase = name.find(store, Some(new), at).await;
    let purchase = purchase.map_err(|_| NoSample::Unavailable)?;
    let purchase = purchase.ok_or(NoSample::Unavailable)?;
    let message_id = message_id(at);
    let signed = notification(&purchase, store_type, message_id, chain);
    let signed = signed.and_then(|content| chain.sign(&content));
    let signed = signed.map_err(|_| NoSample::Unavailable)?;
    Ok(SampleMessage {
        message_id: message_id.to_string(),
        collapse_key: purchase.key,
        receipt_id,
        store_type,
        payload: signed,
    })
}

impl Apple {
    /// Returns the ingress with samples accepted on every platform, if their purchases have ids of this mint.
    #[must_use]
    pub fn with_samples(self, mint: Mint) -> Self {
        Self {
            samples: Some(mint),
            ..self
        }
    }

    /// Builds a sample and receives it like a notification, but by the chain of samples.
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
        let now = (self.settings.clock)();
        let sample = message(intake.store, mint, platform, wanted, now).await?;
        let chain = signer::of_samples().ok_or(NoSample::Unavailable)?;
        let chains = Chains::under(&[chain.root().to_vec()]);
        let read = signed_notification::read(&chains, jws::verify, &sample.payload, now);
        let read = read.map_err(|refusal| NoSample::Refused(refusal.reason()))?;
        let ingress_key = intake.store.ingress_key(platform.id).await;
        let ingress_key = ingress_key.map_err(|_| NoSample::Unavailable)?;
        let recipient = self
            .inbox
            .find(intake.store, ingress_key.expose_secret(), now)
            .await
            .map_err(|_| NoSample::Unavailable)?;
        match self.accept(intake, &recipient, read, now).await {
            Answer {
                status: 200,
                reason: "accepted",
            } => Ok(SentSample {
                message_id: sample.message_id,
                collapse_key: sample.collapse_key,
                receipt_id: sample.receipt_id,
                store_type: sample.store_type,
            }),
            Answer { status: 503, .. } => Err(NoSample::Unavailable),
            Answer { reason, .. } => Err(NoSample::Refused(reason)),
        }
    }
}
