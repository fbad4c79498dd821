//! A store's samples: signed notifications about invented purchases.

use super::intake::Intake;
use crate::clock;
use axum::Router;
use domain::{CollapseKey, PlatformId, Timestamp};
use futures::future::BoxFuture;
use protocols::stores::Mint;
use serde::Serialize;
use std::path::PathBuf;
use storage::{Platform, Store};
use url::Url;
use uuid::Uuid;

/// Sends samples to platforms.
pub trait Samples: Send + Sync {
    /// Checks that this process accepts samples.
    ///
    /// # Errors
    /// This process accepts no samples.
    fn are_taken(&self) -> Result<(), NoSample>;

    /// Returns the types of samples by the store's names, each with its meaning.
    fn types(&self) -> &'static [(&'static str, &'static str)];

    /// Returns the store's name for a type of notification, given in full or as any of its short forms.
    ///
    /// # Errors
    /// The accepted types, as text, if there is no such type.
    fn type_named(&self, name: &str) -> Result<&'static str, String>;

    /// Signs a sample and receives it in the same way as any other message.
    ///
    /// # Errors
    /// The sample was refused, or could not be sent.
    fn send<'a>(
        &'a self,
        intake: Intake<'a>,
        platform: &'a Platform,
        wanted: SampleSettings,
    ) -> BoxFuture<'a, Result<SentSample, NoSample>>;
}

/// The key and certificate that sign samples.
#[derive(Debug, Clone)]
pub struct SampleKey {
    /// URL of the certificate, as named in samples.
    pub url: Url,
    /// Path of the certificate as a PEM file.
    pub certificate: PathBuf,
    /// Path of the key as a PEM file.
    pub key: PathBuf,
}

/// The types of a store's samples.
#[derive(Clone, Copy)]
pub struct SampleTypes {
    /// Types by the store's names, each with its meaning.
    pub all: &'static [(&'static str, &'static str)],
    /// Returns the store's name for a type, given in full or as any of its short forms.
    pub named: fn(&str) -> Result<&'static str, String>,
    /// Returns the short form of a type.
    pub short: fn(&str) -> String,
}

/// A store's data for the demo of `settle run`.
pub struct DemoStore {
    /// How the store's samples are signed; `None` if only the service can build them.
    pub signing: Option<SampleSigning>,
    /// ARN of the samples' topic, if the store has topics.
    pub topic: Option<&'static str>,
    /// Whether the demo's platform has a shared secret.
    pub has_secret: bool,
    /// Returns the routes of the simulated store, which derives its responses from the notifications in a database.
    pub simulated: fn(Simulation) -> Router,
    /// Products of the simulated store: SKU, name, price in US dollars, and whether the product gives the entitlement.
    pub products: &'static [(&'static str, &'static str, &'static str, bool)],
    /// Reference id of the entitlement that the products give.
    pub entitlement: &'static str,
}

/// How the samples of a store are signed.
pub struct SampleSigning {
    /// Reads a signer from the PEM of its key and of its certificate.
    pub load: fn(key: &[u8], certificate: &[u8]) -> SignerResult,
    /// Creates a signer whose certificate is valid between two instants.
    pub generate: fn(from: Timestamp, until: Timestamp) -> SignerResult,
}

/// Data for the routes of a simulated store.
pub struct Simulation {
    /// The database with the notifications.
    pub store: Store,
    /// The demo's platform in this store.
    pub platform: PlatformId,
    /// Recognizes samples.
    pub mint: Mint,
}

/// A signer, or why there is none.
pub type SignerResult = anyhow::Result<Box<dyn SampleSigner>>;

/// Signs samples with a data directory's key.
pub trait SampleSigner: Send + Sync {
    /// Returns a mint of ids for sample purchases.
    ///
    /// # Errors
    /// The key cannot be encoded.
    fn mint(&self) -> anyhow::Result<Mint>;

    /// Returns the key and its certificate as PEM.
    ///
    /// # Errors
    /// The key or certificate cannot be encoded.
    fn pem(&self) -> anyhow::Result<KeyPem>;

    /// Returns the URL of the certificate, as named in samples.
    ///
    /// # Errors
    /// The URL is invalid.
    fn certificate_url(&self) -> anyhow::Result<Url>;

    /// Returns a signed sample message.
    ///
    /// # Errors
    /// The key cannot sign.
    fn signed(&self, sample: &NewSample<'_>) -> anyhow::Result<SignedSample>;
}

/// A key and its certificate as PEM.
pub struct KeyPem {
    pub key: Vec<u8>,
    pub certificate: Vec<u8>,
}

/// A sample to sign.
#[derive(Debug, Clone, Copy)]
pub struct NewSample<'a> {
    pub package_name: &'a str,
    /// The store's name for the type of the notification.
    pub store_type: &'a str,
    pub app_user_id: &'a str,
    pub receipt_id: &'a str,
    /// The store's id for the other purchase of a plan change.
    pub related: Option<&'a str>,
    pub at: Timestamp,
}

/// A signed message, in the format that the store's ingress accepts.
pub struct SignedSample {
    pub message_id: Uuid,
    pub body: String,
}

/// Returns the id for a sample's purchase: derived from the name, or random without a name.
pub fn sample_id(mint: &Mint, name: Option<&str>) -> String {
    name.map_or_else(
        || mint.purchase_id(&storage::hex(&clock::random_bytes::<8>())),
        |name| mint.purchase_id(name),
    )
}

#[derive(Debug, Clone, Default)]
pub struct SampleSettings {
    /// The store's name for the type of the notification; by default, the type for the start of a subscription.
    pub store_type: Option<&'static str>,
    /// A name for the purchase, or the id of an earlier sample; by default, a new purchase.
    pub receipt_id: Option<String>,
    pub app_user_id: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SentSample {
    pub message_id: String,
    /// The store's id for the purchase.
    pub receipt_id: String,
    pub collapse_key: CollapseKey,
    pub store_type: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoSample {
    /// This process does not accept samples.
    #[error("only `settle run` accepts samples, and only without `--no-demo`")]
    NotTrusted,
    #[error("the sample was refused: {0}")]
    Refused(&'static str),
    /// An error prevented signing, or the database does not respond.
    #[error("the sample could not be sent; try again")]
    Unavailable,
}
