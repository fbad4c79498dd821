//! The list of voided purchases, page by page (<https://developers.google.com/android-publisher/voided-purchases>). It
//! is filtered by the time at which Google recorded a void. It has been seen to be incomplete, so it is only one of
//! several signs of a refund.

use super::Settings;
use super::money::Whole;
use super::request::{PackageName, get};
use super::response::{ReadError, resource};
use super::shown::PurchaseToken;
use crate::http::{Reply, Request};
use crate::stores::Bucket;
use domain::Timestamp;
use domain::time::{DAY, MINUTE};
use serde::Deserialize;
use serde_json::Value;
use std::time::Duration;

/// How far back the list goes, minus a margin for clock differences. Google answers an earlier start with an error.
const REACH: Duration = DAY
    .saturating_mul(30)
    .saturating_sub(MINUTE.saturating_mul(5));
/// Maximum number of entries of a page. Only the first 64 KiB of a body are read, and a page must fit into them.
const PAGE: &str = "50";

/// An entry of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VoidedPurchase {
    pub token: PurchaseToken,
    /// The order that was voided. A refund names an order, not a purchase.
    pub order_id: Option<String>,
    pub purchased_at: Option<Timestamp>,
    pub voided_at: Timestamp,
    pub reason: VoidedReason,
    /// Number of refunded pieces, if only a part of them was refunded.
    pub quantity: Option<u32>,
}

/// Why an order was voided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VoidedReason {
    Other,
    Remorse,
    NotReceived,
    Defective,
    AccidentalPurchase,
    Fraud,
    FriendlyFraud,
    Chargeback,
    /// The app did not acknowledge the purchase in time.
    Unacknowledged,
    /// The number of a reason that this version does not know.
    Unknown(i64),
}

/// A page of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VoidedPage {
    pub voided: Vec<VoidedPurchase>,
    /// Number of entries that cannot be parsed.
    pub unreadable: usize,
    /// The next page; `None` for the last one.
    pub next: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct List {
    #[serde(default)]
    voided_purchases: Vec<Value>,
    token_pagination: Option<Pagination>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Pagination {
    next_page_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct VoidedEntry {
    purchase_token: PurchaseToken,
    order_id: Option<String>,
    purchase_time_millis: Option<Whole>,
    voided_time_millis: Whole,
    /// Google omits fields with a default value: absent means 0.
    voided_reason: Option<i64>,
    voided_quantity: Option<u32>,
}

/// Returns the request for a page of the voids recorded since `since`; `page` is [`VoidedPage::next`] of the previous
/// page. `None` if the URL cannot be built.
pub fn request(
    settings: &Settings,
    package: &PackageName,
    since: Timestamp,
    now: Timestamp,
    page: Option<&str>,
) -> Option<(Request, Bucket)> {
    let since = since.max(now.minus(REACH)).micros() / 1000;
    let since = since.to_string();
    let mut parameters = vec![
        ("startTime", since.as_str()),
        // Lists subscriptions too.
        ("type", "1"),
        ("includeQuantityBasedPartialRefund", "true"),
        ("maxResults", PAGE),
    ];
    parameters.extend(page.map(|page| ("token", page)));
    let request = get(settings, package, "purchases/voidedpurchases", &parameters)?;
    Some((request, settings.bucket("orders")))
}

/// Parses the reply to [`request`].
///
/// # Errors
/// Fails with a [`ReadError`] if the reply contains no page. [`ReadError::Malformed`] means that the page token is no
/// longer valid: the list must be read again from its beginning.
pub fn page(reply: &Reply) -> Result<VoidedPage, ReadError> {
    let list: List = resource(reply)?;
    let all = list.voided_purchases.len();
    let entries = list.voided_purchases.into_iter();
    let voided: Vec<VoidedPurchase> = entries.filter_map(read).collect();
    let next = list.token_pagination.and_then(|one| one.next_page_token);
    Ok(VoidedPage {
        unreadable: all.saturating_sub(voided.len()),
        voided,
        next: next.filter(|token| !token.is_empty()),
    })
}

fn read(entry: Value) -> Option<VoidedPurchase> {
    let entry: VoidedEntry = serde_json::from_value(entry).ok()?;
    let time = |millis: Whole| millis.value().map(Timestamp::from_millis);
    Some(VoidedPurchase {
        token: entry.purchase_token,
        order_id: entry.order_id,
        purchased_at: entry.purchase_time_millis.and_then(time),
        voided_at: time(entry.voided_time_millis)?,
        reason: reason(entry.voided_reason.unwrap_or_default()),
        quantity: entry.voided_quantity,
    })
}

const fn reason(number: i64) -> VoidedReason {
    match number {
        0 => VoidedReason::Other,
        1 => VoidedReason::Remorse,
        2 => VoidedReason::NotReceived,
        3 => VoidedReason::Defective,
        4 => VoidedReason::AccidentalPurchase,
        5 => VoidedReason::Fraud,
        6 => VoidedReason::FriendlyFraud,
        7 => VoidedReason::Chargeback,
        8 => VoidedReason::Unacknowledged,
        other => VoidedReason::Unknown(other),
    }
}
