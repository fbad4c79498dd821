//! Samples: signed notifications that this process sends to itself. Only the demo of `settle run` trusts its own signer,
//! on its own platform and on those that it was started for.

use super::signer::{Header, Sample, Signer};
use super::topic::{Arn, TopicStatus, status};
use super::{Amazon, Answer, envelope};
use crate::clock;
use crate::dispatch::Dispatch;
use domain::CollapseKey;
use secrecy::ExposeSecret as _;
use serde::Serialize;
use storage::{Platform, Store};

/// Every type that Amazon can send, with its meaning.
pub const TYPES: &[(&str, &str)] = &[
    ("SUBSCRIPTION_PURCHASED", "it began, paid or in a trial"),
    ("SUBSCRIPTION_CONVERTED_FREE_TRIAL_TO_PAID", "a trial became paid"),
    ("SUBSCRIPTION_RENEWED", "it renewed"),
    ("SUBSCRIPTION_AUTO_RENEWAL_OFF", "renewal was switched off"),
    ("SUBSCRIPTION_AUTO_RENEWAL_ON", "renewal was switched on"),
    ("SUBSCRIPTION_SCHEDULED_TO_END", "a reminder that it will end"),
    ("SUBSCRIPTION_IN_GRACE_PERIOD", "a payment failed, grace began"),
    ("SUBSCRIPTION_OUT_OF_GRACE_PERIOD", "the payment was repaired"),
    ("SUBSCRIPTION_MODIFIED_IMMEDIATE", "plan changed immediately (see --related)"),
    ("SUBSCRIPTION_MODIFIED_DEFERRED", "new plan at the next renewal"),
    ("SUBSCRIPTION_CANCELLED", "it was cancelled"),
    ("SUBSCRIPTION_EXPIRED", "it ended"),
    ("CONSUMABLE_PURCHASED", "a consumable was bought"),
    ("CONSUMABLE_CANCELLED", "a consumable was cancelled"),
    ("ENTITLEMENT_PURCHASED", "an entitlement was bought"),
    ("ENTITLEMENT_CANCELLED", "an entitlement was cancelled"),
];

/// The customer of a sample that names none.
const CUSTOMER: &str = "sample-customer";

/// The store's name of a type, from any of its short forms.
///
/// # Errors
/// There is no such type.
pub fn store_type(text: &str) -> Result<&'static str, String> {
    let name = text.trim().to_ascii_uppercase().replace('-', "_");
    let names = [name.clone(), format!("SUBSCRIPTION_{name}")];
    let found = TYPES.iter().find(|(known, _)| names.iter().any(|name| name == known));
    found.map(|(name, _)| *name).ok_or_else(|| "no such type: `settle sample --help` lists them".to_owned())
}

/// The short form of a type.
pub fn short(name: &str) -> String {
    name.strip_prefix("SUBSCRIPTION_").unwrap_or(name).to_ascii_lowercase().replace('_', "-")
}

#[derive(Debug, Clone, Default)]
pub struct SampleSettings {
    /// What happened; that a subscription began when absent.
    pub store_type: Option<&'static str>,
    /// Which purchase; a new one when absent.
    pub receipt_id: Option<String>,
    pub app_user_id: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sent {
    pub message_id: String,
    /// The store's name of the purchase.
    pub receipt_id: String,
    pub collapse_key: CollapseKey,
    pub store_type: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoSample {
    /// This process signs no samples for this platform.
    #[error(
        "only the demo of `settle run` takes samples, and the platforms that it was started for: \
         `settle run --trust-samples PLATFORM_ID`"
    )]
    NotTrusted,
    /// The platform follows no topic that samples can come from.
    #[error("the platform follows no topic of the region {0}: let it follow one, by `topic_arn`, and try again")]
    NoTopic(String),
    #[error("the sample was refused: {0}")]
    Refused(&'static str),
    /// It could not be signed, or the database does not answer.
    #[error("the sample could not be sent; try again")]
    Unavailable,
}

impl Amazon {
    /// Whether samples to a platform are taken.
    ///
    /// # Errors
    /// They are not.
    pub fn takes_samples(&self, platform: &Platform) -> Result<(), NoSample> {
        self.samples.as_ref().and_then(|one| one.signer(platform.id)).map(drop).ok_or(NoSample::NotTrusted)
    }

    /// Signs a sample and receives it as any other message: it takes the same way.
    ///
    /// # Errors
    /// No sample is taken, or it was refused.
    pub async fn sample(
        &self,
        store: &Store,
        dispatch: &Dispatch,
        platform: &Platform,
        wanted: SampleSettings,
    ) -> Result<Sent, NoSample> {
        let (signer, region) =
            self.samples.as_ref().and_then(|one| one.signer(platform.id)).ok_or(NoSample::NotTrusted)?;
        let topics = store.topics(platform.id).await.map_err(|_| NoSample::Unavailable)?;
        let arns = topics.iter().map(|topic| topic.arn.as_str());
        let mut followed = arns.filter(|arn| {
            status(&topics, arn) == TopicStatus::Pinned && Arn::read(arn).is_ok_and(|read| read.region == region)
        });
        let topic_arn = followed.next().ok_or_else(|| NoSample::NoTopic(region.to_owned()))?;
        let store_type = wanted.store_type.unwrap_or(TYPES[0].0);
        let receipt_id = wanted.receipt_id.unwrap_or_else(|| format!("sample-{}", clock::random_uuid().simple()));
        let at = (self.settings.clock)();
        let message_id = clock::random_uuid();
        let header = Header { message_id, topic_arn, at, version: envelope::Version::One };
        let sample = Sample {
            package_name: &platform.settings.package_name,
            store_type,
            app_user_id: wanted.app_user_id.as_deref().unwrap_or(CUSTOMER),
            receipt_id: &receipt_id,
            cancelled_receipt_id: None,
            at,
            is_test: false,
        };
        let body = signed(signer, &header, &sample)?;
        let key = store.ingress_key(platform.id).await.map_err(|_| NoSample::Unavailable)?;
        match self.receive(store, dispatch, key.expose_secret(), body.as_bytes()).await {
            Answer { status: 200, .. } => Ok(Sent {
                message_id: message_id.to_string(),
                collapse_key: CollapseKey::of(platform.id, &receipt_id),
                receipt_id,
                store_type,
            }),
            Answer { status: 503, .. } => Err(NoSample::Unavailable),
            Answer { reason, .. } => Err(NoSample::Refused(reason)),
        }
    }
}

fn signed(signer: &Signer, header: &Header<'_>, sample: &Sample<'_>) -> Result<String, NoSample> {
    signer.sign_notification(header, None, &sample.message()).map_err(|_| NoSample::Unavailable)
}

#[cfg(test)]
mod tests {
    use super::{TYPES, store_type};

    #[test]
    fn a_type_can_be_named_in_short() {
        assert_eq!(store_type("renewed"), Ok("SUBSCRIPTION_RENEWED"));
        assert_eq!(store_type("auto-renewal-off"), Ok("SUBSCRIPTION_AUTO_RENEWAL_OFF"));
        assert_eq!(store_type("consumable_purchased"), Ok("CONSUMABLE_PURCHASED"));
        assert!(store_type("paused").is_err());
        assert_eq!(TYPES.len(), 16);
    }
}
