//! Samples: signed notifications about invented purchases. Under `settle run`, samples signed with the data directory's
//! sample key are accepted on every platform. Their receipts must be minted with that key, and they count as test
//! purchases.

use super::certificate::SigningKey;
use super::envelope::{Envelope, Kind, Version};
use super::refusal::Refusal;
use super::signer::{Header, Sample, Signer};
use super::{Amazon, notification, signature, simulated};
use crate::clock;
use crate::stores::ingress::Answer;
use crate::stores::intake::Intake;
use crate::stores::samples::{
    DemoStore, KeyPem, NewSample, NoSample, SampleSettings, SampleSigner, SampleSigning,
    SampleTypes, SentSample, SignedSample, sample_id,
};
use domain::{CollapseKey, Timestamp};
use protocols::stores::Mint;
use secrecy::ExposeSecret as _;
use std::sync::Arc;
use storage::Platform;
use url::Url;

/// ARN of the topic of samples. Platforms need not follow it.
pub const TOPIC_ARN: &str = "arn:aws:sns:us-east-1:033616359524:settle-demo";
/// Region of samples and of their certificate URL. The certificate is loaded from the data directory, never fetched.
pub const REGION: &str = "us-east-1";
/// Refusal of a message from the topic of samples that is not an accepted sample.
pub(super) const FOREIGN: Refusal = Refusal::TopicNotAllowed(
    "only the `settle run` of its own data directory, without `--no-demo`, accepts a sample",
);
const NOT_MINTED: Refusal =
    Refusal::Invalid("the receipt of the sample was not minted by settle sample");

/// All types that Amazon can send, with their meaning.
pub const TYPES: &[(&str, &str)] = &[
    (
        "SUBSCRIPTION_PURCHASED",
        "subscription started, paid or in a trial",
    ),
    (
        "SUBSCRIPTION_CONVERTED_FREE_TRIAL_TO_PAID",
        "trial converted to paid",
    ),
    ("SUBSCRIPTION_RENEWED", "subscription renewed"),
    ("SUBSCRIPTION_AUTO_RENEWAL_OFF", "auto-renewal turned off"),
    ("SUBSCRIPTION_AUTO_RENEWAL_ON", "auto-renewal turned on"),
    (
        "SUBSCRIPTION_SCHEDULED_TO_END",
        "reminder that the subscription will end",
    ),
    (
        "SUBSCRIPTION_IN_GRACE_PERIOD",
        "payment failed, grace period started",
    ),
    ("SUBSCRIPTION_OUT_OF_GRACE_PERIOD", "payment recovered"),
    (
        "SUBSCRIPTION_MODIFIED_IMMEDIATE",
        "plan changed immediately",
    ),
    (
        "SUBSCRIPTION_MODIFIED_DEFERRED",
        "plan change at the next renewal",
    ),
    ("SUBSCRIPTION_CANCELLED", "subscription cancelled"),
    ("SUBSCRIPTION_EXPIRED", "subscription expired"),
    ("CONSUMABLE_PURCHASED", "consumable bought"),
    ("CONSUMABLE_CANCELLED", "consumable cancelled"),
    ("ENTITLEMENT_PURCHASED", "entitlement bought"),
    ("ENTITLEMENT_CANCELLED", "entitlement cancelled"),
];

/// The store's id of the customer in a sample for which no customer was chosen.
const CUSTOMER: &str = "sample-customer";

/// Returns the store's name of a type, given in full or as any of its short forms.
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

/// The types of Amazon's samples.
pub const SAMPLES: SampleTypes = SampleTypes {
    all: TYPES,
    named: store_type,
    short,
};

/// Amazon's data for signed samples and the demo.
pub const DEMO: DemoStore = DemoStore {
    signing: Some(SampleSigning {
        load: |key, certificate| Ok(Box::new(Signer::load(key, certificate)?)),
        generate: |from, until| Ok(Box::new(Signer::generate(from, until)?)),
    }),
    topic: Some(TOPIC_ARN),
    has_secret: true,
    // Samples on every platform are verified with it.
    simulated: |simulation| simulated::routes(simulation.store),
    products: &simulated::PRODUCTS,
    entitlement: simulated::ENTITLEMENT,
};

impl SampleSigner for Signer {
    fn mint(&self) -> anyhow::Result<Mint> {
        Ok(self.mint()?)
    }

    fn pem(&self) -> anyhow::Result<KeyPem> {
        Ok(KeyPem {
            key: self.key_pem()?,
            certificate: self.certificate_pem()?,
        })
    }

    fn certificate_url(&self) -> anyhow::Result<Url> {
        Ok(self.certificate_url(REGION).parse()?)
    }

    fn signed(&self, sample: &NewSample<'_>) -> anyhow::Result<SignedSample> {
        let message_id = clock::random_uuid();
        let header = Header {
            message_id,
            topic_arn: TOPIC_ARN,
            at: sample.at,
            version: Version::One,
        };
        let message = Sample {
            package_name: sample.package_name,
            store_type: sample.store_type,
            app_user_id: sample.app_user_id,
            receipt_id: sample.receipt_id,
            cancelled_receipt_id: sample.related,
            at: sample.at,
            is_test: true,
        };
        let body = self.sign_notification(&header, None, &message.message())?;
        Ok(SignedSample { message_id, body })
    }
}

/// The key that signs samples, with its certificate.
pub(super) struct Samples {
    pub(super) url: Url,
    pub(super) key: Arc<SigningKey>,
    pub(super) signer: Signer,
    pub(super) mint: Mint,
}

impl Samples {
    /// Returns whether a message names the certificate of samples as its own.
    pub(super) fn are_named_by(&self, envelope: &Envelope<'_>) -> bool {
        self.url.as_str() == envelope.certificate_url
    }

    /// Checks that a message is a notification that this key signed, and that its receipts were minted with this key.
    pub(super) fn check(&self, envelope: &Envelope<'_>, now: Timestamp) -> Result<(), Refusal> {
        self.key.check_dates(now)?;
        signature::verify(envelope, &self.key.key)?;
        if !matches!(envelope.kind, Kind::Notification { .. }) {
            return Err(FOREIGN);
        }
        let rtn =
            notification::read(&envelope.message).map_err(|why| Refusal::Invalid(why.reason))?;
        let mut receipts = rtn.cancelled_receipt_id.iter().chain([&rtn.receipt_id]);
        if receipts.all(|receipt| self.mint.is_minted(receipt)) {
            Ok(())
        } else {
            Err(NOT_MINTED)
        }
    }
}

impl Amazon {
    /// Signs a sample and receives it in the same way as any other message.
    ///
    /// # Errors
    /// This process accepts no samples, the sample was refused, or it could not be signed or stored.
    pub async fn sample(
        &self,
        intake: Intake<'_>,
        platform: &Platform,
        wanted: SampleSettings,
    ) -> Result<SentSample, NoSample> {
        let Samples { signer, mint, .. } = self.samples.as_ref().ok_or(NoSample::NotTrusted)?;
        let store_type = wanted.store_type.unwrap_or(TYPES[0].0);
        let receipt_id = sample_id(mint, wanted.receipt_id.as_deref());
        let sample = NewSample {
            package_name: &platform.settings.package_name,
            store_type,
            app_user_id: wanted.app_user_id.as_deref().unwrap_or(CUSTOMER),
            receipt_id: &receipt_id,
            related: None,
            at: (self.settings.clock)(),
        };
        let signed = signer.signed(&sample).map_err(|_| NoSample::Unavailable)?;
        let key = intake
            .store
            .ingress_key(platform.id)
            .await
            .map_err(|_| NoSample::Unavailable)?;
        match self
            .receive(intake, key.expose_secret(), signed.body.as_bytes())
            .await
        {
            Answer { status: 200, .. } => Ok(SentSample {
                message_id: signed.message_id.to_string(),
                collapse_key: CollapseKey::of(platform.id, &receipt_id),
                receipt_id,
                store_type,
            }),
            Answer { status: 503, .. } => Err(NoSample::Unavailable),
            Answer { reason, .. } => Err(NoSample::Refused(reason)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{TYPES, store_type};

    #[test]
    fn a_type_can_be_named_in_short() {
        assert_eq!(store_type("renewed"), Ok("SUBSCRIPTION_RENEWED"));
        assert_eq!(
            store_type("auto-renewal-off"),
            Ok("SUBSCRIPTION_AUTO_RENEWAL_OFF")
        );
        assert_eq!(
            store_type("consumable_purchased"),
            Ok("CONSUMABLE_PURCHASED")
        );
        assert!(store_type("paused").is_err());
        assert_eq!(TYPES.len(), 16);
    }

    #[test]
    fn the_meaning_of_a_type_names_no_flag() {
        // Pages show the meaning too, and have fields instead of flags.
        assert!(
            TYPES.iter().all(|(_, meaning)| !meaning.contains("--")),
            "{TYPES:?}"
        );
    }
}
