//! The requests of the Google Play Developer API, version 3
//! (<https://developers.google.com/android-publisher/api-ref/rest>). Their paths contain purchase tokens, so their URLs
//! are never logged or stored.

use super::Settings;
use super::shown::{PurchaseKind, PurchaseToken};
use crate::http::{Method, REPLY_BYTES, Request};
use crate::stores::Bucket;
use domain::stores::google::sku;
use domain::text::is_plain;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

const API_URL: &str = "https://androidpublisher.googleapis.com";
pub(super) const USER_AGENT: &str = concat!("settle/", env!("CARGO_PKG_VERSION"));
/// Maximum length of an id and of a package name.
const MAX_CHARS: usize = 200;

/// The members of a product to request. Only the first 64 KiB of a body are read, and with the prices of all countries a
/// product would not fit into them.
const PLAN_FIELDS: &str =
    "basePlans(basePlanId,autoRenewingBasePlanType,installmentsBasePlanType,prepaidBasePlanType)";

/// The characters to percent-encode: all except RFC 3986's unreserved ones.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// An app's package name, which is a part of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageName(String);

impl PackageName {
    /// Parses a package name (<https://developer.android.com/build/configure-app-module#set-application-id>); `None` if
    /// the text is not one.
    pub fn new(text: &str) -> Option<Self> {
        let is_part = |part: &str| {
            let is_plain = part
                .bytes()
                .all(|one| one.is_ascii_alphanumeric() || one == b'_');
            is_plain && part.starts_with(|first: char| first.is_ascii_alphabetic())
        };
        let is_name = text.len() <= MAX_CHARS && text.contains('.') && text.split('.').all(is_part);
        is_name.then(|| Self(text.to_owned()))
    }
}

/// The subject of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Query {
    Purchase(PurchaseKind, PurchaseToken),
    /// An order by its id.
    Order(String),
    /// Several orders by their ids.
    Orders(Vec<String>),
    /// The plans of a product.
    Plans(PlanId),
}

/// A base plan of a subscription product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanId {
    pub product_id: String,
    pub plan_id: String,
}

impl PlanId {
    /// Returns the SKU.
    pub fn sku(&self) -> String {
        sku(&self.product_id, Some(&self.plan_id))
    }
}

/// Returns the request for a resource, with the bucket of its quota; `None` if the URL cannot be built.
pub fn request(
    settings: &Settings,
    package: &PackageName,
    query: &Query,
) -> Option<(Request, Bucket)> {
    let (path, bucket) = match query {
        Query::Purchase(kind, token) => {
            let (folder, bucket) = match kind {
                PurchaseKind::Subscription => ("subscriptionsv2", "subscriptions"),
                PurchaseKind::OneTime => ("productsv2", "one_time"),
            };
            let token = encoded(token.as_str());
            (format!("purchases/{folder}/tokens/{token}"), bucket)
        }
        Query::Order(id) => (format!("orders/{}", encoded(id)), "orders"),
        Query::Orders(ids) => {
            let ids: Vec<(&str, &str)> = ids.iter().map(|id| ("orderIds", id.as_str())).collect();
            let request = get(settings, package, "orders:batchGet", &ids)?;
            return Some((request, settings.bucket("orders")));
        }
        Query::Plans(PlanId { product_id, .. }) => {
            let id = Some(product_id).filter(|id| is_path_id(id))?;
            let path = format!("subscriptions/{}", encoded(id));
            let request = get(settings, package, &path, &[("fields", PLAN_FIELDS)])?;
            return Some((request, settings.bucket("publishing")));
        }
    };
    let request = get(settings, package, &path, &[])?;
    Some((request, settings.bucket(bucket)))
}

/// Returns a GET of a path below the package, with these parameters.
pub(super) fn get(
    settings: &Settings,
    package: &PackageName,
    path: &str,
    parameters: &[(&str, &str)],
) -> Option<Request> {
    let base = settings
        .base
        .as_ref()
        .map_or(API_URL, |base| base.as_str().trim_end_matches('/'));
    let PackageName(package) = package;
    let mut url = format!("{base}/androidpublisher/v3/applications/{package}/{path}");
    for (at, (name, value)) in parameters.iter().enumerate() {
        let sign = if at == 0 { '?' } else { '&' };
        url.push(sign);
        url.push_str(name);
        url.push('=');
        url.push_str(&encoded(value));
    }
    let headers = [("accept", "application/json"), ("user-agent", USER_AGENT)];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
    // Google's address is checked like any other; an address that the operator configured may be in any network.
    Some(Request {
        method: Method::Get,
        url: url.parse().ok()?,
        headers: headers.into(),
        body: Vec::new(),
        max_reply_bytes: REPLY_BYTES,
        is_operator_url: settings.base.is_some(),
        app: None,
    })
}

/// Returns whether a text can be the id of a product or an order, such as `GPA.1234-5678-9012-12345..0`. `.` and `..`
/// are no ids: URL parsers remove them from a path even when they are percent-encoded.
pub(super) fn is_path_id(id: &str) -> bool {
    let is_visible = id.bytes().all(|byte| byte.is_ascii_graphic());
    is_plain(id, MAX_CHARS) && is_visible && !matches!(id, "." | "..")
}

pub(super) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}
