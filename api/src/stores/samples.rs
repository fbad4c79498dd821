//! Samples of a store: signed notifications of purchases that nobody made.

use super::ingress::Intake;
use domain::CollapseKey;
use futures::future::BoxFuture;
use serde::Serialize;
use std::path::PathBuf;
use storage::Platform;
use url::Url;

/// Sends samples to platforms.
pub trait Samples: Send + Sync {
    /// Whether this process takes samples.
    ///
    /// # Errors
    /// It does not.
    fn are_taken(&self) -> Result<(), NoSample>;

    /// The types of the samples, by the store's names, each with its meaning.
    fn types(&self) -> &'static [(&'static str, &'static str)];

    /// The store's name of a type of notification, from any of its short forms.
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

/// What signs samples, and the certificate of it.
#[derive(Debug, Clone)]
pub struct SampleKey {
    /// The URL that samples name for the certificate.
    pub url: Url,
    /// The PEM file of the certificate.
    pub certificate: PathBuf,
    /// The PEM file of the key.
    pub key: PathBuf,
}

#[derive(Debug, Clone, Default)]
pub struct SampleSettings {
    /// What happened; that a subscription began when absent.
    pub store_type: Option<&'static str>,
    /// A name for the purchase, or the receipt of an earlier sample; a new purchase when absent.
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
    /// This process takes no samples.
    #[error("only `settle run` accepts samples, and only without `--no-demo`")]
    NotTrusted,
    #[error("the sample was refused: {0}")]
    Refused(&'static str),
    /// It could not be signed, or the database does not answer.
    #[error("the sample could not be sent; try again")]
    Unavailable,
}
