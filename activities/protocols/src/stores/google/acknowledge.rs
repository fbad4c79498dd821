//! Acknowledges a purchase (<https://developer.android.com/google/play/billing/integrate>). Google returns the money of
//! a purchase that is not acknowledged within three days.
//!
//! The context of a purchase outside the app disappears with the acknowledgement, so a check must read it before.

use super::Settings;
use super::request::{PackageName, encoded, get, is_path_id};
use super::response::{ReadError, resource};
use super::shown::{PurchaseKind, PurchaseToken};
use crate::http::{Method, Reply, Request};
use crate::stores::{AcknowledgeAnswer, Bucket};
use serde::de::IgnoredAny;
use serde_json::Value;

/// Platform setting: who acknowledges purchases, an [`Acknowledger`].
pub const ACKNOWLEDGE: &str = "acknowledge";

/// The party that acknowledges purchases to Google.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Acknowledger {
    /// The app or its server.
    #[default]
    App,
    Settle,
}

/// A purchase that is acknowledged.
#[derive(Debug, Clone, Copy)]
pub struct Acknowledged<'a> {
    pub kind: PurchaseKind,
    pub product_id: &'a str,
    pub token: &'a PurchaseToken,
}

impl Acknowledger {
    /// Returns the setting among a platform's own settings; the default if it is missing.
    pub fn of(settings: Option<&Value>) -> Self {
        let text = settings.and_then(|settings| settings.get(ACKNOWLEDGE)?.as_str());
        text.and_then(Self::parse).unwrap_or_default()
    }

    /// Parses a setting.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "app" => Some(Self::App),
            "settle" => Some(Self::Settle),
            _ => None,
        }
    }
}

/// Returns the request that acknowledges a purchase, with the bucket of its quota; `None` if the product's id cannot be
/// part of a path, or the URL cannot be built.
pub fn request(
    settings: &Settings,
    package: &PackageName,
    purchase: Acknowledged<'_>,
) -> Option<(Request, Bucket)> {
    let (folder, bucket) = match purchase.kind {
        PurchaseKind::Subscription => ("subscriptions", "subscription_updates"),
        PurchaseKind::OneTime => ("products", "one_time"),
    };
    let product = encoded(Some(purchase.product_id).filter(|id| is_path_id(id))?);
    let token = encoded(purchase.token.as_str());
    let path = format!("purchases/{folder}/{product}/tokens/{token}:acknowledge");
    let mut request = get(settings, package, &path, &[])?;
    request.method = Method::Post;
    request.body = b"{}".to_vec();
    let headers = [("content-type", "application/json")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
    request.headers.extend(headers);
    Some((request, settings.bucket(bucket)))
}

/// Interprets the reply to [`request`]. Google documents no answer about a purchase that is acknowledged already, so a
/// check has to show that.
pub fn answer(reply: &Reply) -> AcknowledgeAnswer {
    match reply {
        Reply::Answer {
            status: 200..=299, ..
        } => return AcknowledgeAnswer::Done,
        Reply::Answer { status: 409, .. } => return AcknowledgeAnswer::Unclear,
        Reply::Answer { .. } | Reply::Failure { .. } => {}
    }
    match resource::<IgnoredAny>(reply) {
        Ok(IgnoredAny) => AcknowledgeAnswer::Done,
        Err(ReadError::Malformed | ReadError::Unknown | ReadError::Gone) => {
            AcknowledgeAnswer::Unclear
        }
        Err(ReadError::Refused(_)) => AcknowledgeAnswer::Refused,
        Err(ReadError::Retry(retry)) => AcknowledgeAnswer::Retry(retry),
    }
}
