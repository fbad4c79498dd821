//! Samples of a store: signed notifications of invented purchases.

use super::intake::Intake;
use crate::clock;
use axum::Router;
use domain::{CollapseKey, Timestamp};
use futures::future::BoxFuture;
use protocols::stores::Mint;
use serde::Serialize;
use std::path::PathBuf;
use storage::{Platform, Store};
use url::Url;
use uuid::Uuid;

/// Sends samples to platforms.
pub trait Samples: Send + Sync {
    /// Returns whether this process takes samples.
    ///
    /// # Errors
    /// It does not.
    fn are_taken(&self) -> Result<(), NoSample>;

    /// Returns the types of the samples, by the store's names, each with its meaning.
    fn types(&self) -> &'static [(&'static str, &'static str)];

    /// Returns the store's name of a type of notification, from any of its short forms.
    ///
    /// # Errors
    /// There is no such type, as text.
    fn type_named(&self, name: &str) -> Result<&'static str, String>;

    /// Signs a sample and receives it as any other message: it takes the same way.
    ///
    /// # Errors
    /// It was refused, or could not be sent.
    fn send<'a>(
        &'a self,
        intake: Intake<'a>,
        platform: &'a Platform,
        wanted: SampleSettings,
    ) -> BoxFuture<'a, Result<SentSample, NoSample>>;
}

/// Key and certificate that sign samples.
#[derive(Debug, Clone)]
pub struct SampleKey {
    /// The URL that samples name for the certificate.
    pub url: Url,
    /// The PEM file of the certificate.
    pub certificate: PathBuf,
    /// The PEM file of the key.
    pub key: PathBuf,
}

/// A store's data for samples and the demo of `settle run`.
pub struct DemoStore {
    /// The types of samples, by the store's names, each with its meaning.
    pub types: &'static [(&'static str, &'static str)],
    /// The store's name of a type, from any of its short forms.
    pub type_named: fn(&str) -> Result<&'static str, String>,
    /// The short form of a type.
    pub short: fn(&str) -> String,
    /// Reads a signer from the PEM of its key and of its certificate.
    pub load: fn(key: &[u8], certificate: &[u8]) -> SignerResult,
    /// A new signer, whose certificate is valid between two instants.
    pub generate: fn(from: Timestamp, until: Timestamp) -> SignerResult,
    /// The topic of samples, if the store has topics.
    pub topic: Option<&'static str>,
    /// The routes of the simulated store, which answers by the notifications in a database.
    pub simulated: fn(Store) -> Router,
    /// The products of the simulated store: SKU, name, price in US dollars, and whether it gives the entitlement.
    pub products: &'static [(&'static str, &'static str, &'static str, bool)],
    /// The entitlement of the products.
    pub entitlement: &'static str,
}

/// A signer, or why there is none.
pub type SignerResult = anyhow::Result<Box<dyn SampleSigner>>;

/// Signs samples, with a key of a data directory.
pub trait SampleSigner: Send + Sync {
    /// Returns the mint of ids for the purchases of samples.
    ///
    /// # Errors
    /// The key cannot be written.
    fn mint(&self) -> anyhow::Result<Mint>;

    /// Returns the key and its certificate as PEM.
    ///
    /// # Errors
    /// They cannot be written.
    fn pem(&self) -> anyhow::Result<KeyPem>;

    /// Returns the URL that samples name for the certificate.
    ///
    /// # Errors
    /// It is no URL.
    fn certificate_url(&self) -> anyhow::Result<Url>;

    /// Returns a signed message.
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

/// A sample that is to be signed.
#[derive(Debug, Clone, Copy)]
pub struct NewSample<'a> {
    pub package_name: &'a str,
    /// The store's name for the type of the notification.
    pub store_type: &'a str,
    pub app_user_id: &'a str,
    pub receipt_id: &'a str,
    /// The other purchase of a plan change.
    pub related: Option<&'a str>,
    pub at: Timestamp,
}

/// A message of the store, as its ingress takes it.
pub struct SignedSample {
    pub message_id: Uuid,
    pub body: String,
}

/// Returns the id of a sample's purchase: that of a name, or a new one.
pub fn sample_id(mint: &Mint, name: Option<&str>) -> String {
    name.map_or_else(
        || mint.purchase_id(&storage::hex(&clock::random_bytes::<8>())),
        |name| mint.purchase_id(name),
    )
}

#[derive(Debug, Clone, Default)]
pub struct SampleSettings {
    /// The store's name for the type of the notification; by default, the start of a subscription.
    pub store_type: Option<&'static str>,
    /// A name for the purchase, or the id of an earlier sample; a new purchase when absent.
    pub receipt_id: Option<String>,
    pub app_user_id: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SentSample {
    pub message_id: String,
    /// The store's name of the purchase.
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
    /// Not signed because of an error, or the database does not answer.
    #[error("the sample could not be sent; try again")]
    Unavailable,
}
