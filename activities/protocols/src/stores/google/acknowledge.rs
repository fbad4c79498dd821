//! Acknowledges a purchase (<https://developer.android.com/google/play/billing/integrate>). Google returns the money of
//! a purchase that is not acknowledged within three days.
//!
//! The context of a purchase outside the app disappears with the acknowledgement, so a check must read it before.

use super::Settings;
use super::request::{PackageName, encoded, get, is_path_id};
use super::response::{ReadError, resource};
use super::shown::{PurchaseKind, PurchaseToken};
use crate::http::{Method, Reply, Request};
use crate::stores::{AcknowledgeAnswer, Bucket, Subject};
use serde::de::IgnoredAny;

/// The platform's setting that says who acknowledges purchases, and its value if settle does.
const ACKNOWLEDGE: &str = "acknowledge";
const BY_SETTLE: &str = "settle";

/// A purchase that is acknowledged.
#[derive(Debug, Clone, Copy)]
pub struct Acknowledged<'a> {
    pub kind: PurchaseKind,
    pub product_id: &'a str,
    pub token: &'a PurchaseToken,
}

/// Returns whether the platform's settings let settle acknowledge purchases.
pub fn is_by_settle(subject: &Subject) -> bool {
    let settings = subject.own.settings.as_ref();
    let setting = settings.and_then(|settings| settings.get(ACKNOWLEDGE)?.as_str());
    setting == Some(BY_SETTLE)
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
