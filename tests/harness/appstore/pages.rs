//! The fake's answers in pages: the history of transactions, refunds, and the history of notifications.

use super::answers::{Verdict, paged_app, refused};
use super::call::{Call, Resource};
use super::purchase::Bought;
use super::transaction::Transaction;
use super::{Seen, millis};
use domain::Timestamp;
use domain::time::DAY;
use serde_json::{Value, json};
use std::time::Duration;

const INVALID_REVISION: u32 = 4_000_005;
const START_TOO_EARLY: u32 = 4_000_012;
const START_AFTER_END: u32 = 4_000_013;
const INVALID_PAGINATION: u32 = 4_000_014;
const INVALID_START: u32 = 4_000_015;
const INVALID_END: u32 = 4_000_016;
const SEVERAL_FILTERS: u32 = 4_000_019;
const INVALID_SORT: u32 = 4_000_021;
const INVALID_TYPE: u32 = 4_000_022;

/// The types of products in filters.
const TYPES: [&str; 4] = [
    "AUTO_RENEWABLE",
    "NON_RENEWABLE",
    "CONSUMABLE",
    "NON_CONSUMABLE",
];
/// Filters of a history.
const FILTERS: [&str; 9] = [
    "revision",
    "startDate",
    "endDate",
    "productId",
    "productType",
    "inAppOwnershipType",
    "sort",
    "subscriptionGroupIdentifier",
    "revoked",
];
/// Members of a request for the history of notifications.
const MEMBERS: [&str; 6] = [
    "startDate",
    "endDate",
    "notificationType",
    "notificationSubtype",
    "transactionId",
    "onlyFailures",
];
/// How far back the history of notifications reaches, in production and in the sandbox.
const PRODUCTION_HISTORY: Duration = DAY.saturating_mul(180);
const SANDBOX_HISTORY: Duration = DAY.saturating_mul(30);

/// Where a page begins and ends in a list.
struct Page {
    begin: usize,
    end: usize,
    has_more: bool,
}

impl Seen {
    /// Returns the page that begins behind `skipped` items of a list, and the repeated items before it.
    fn bounds(&self, skipped: usize, length: usize) -> Page {
        let end = skipped.saturating_add(self.page_size).min(length);
        Page {
            begin: skipped.saturating_sub(self.repeated).min(end),
            end,
            has_more: end < length,
        }
    }

    /// Returns a page of a customer's transactions, or of those that were refunded.
    pub(super) fn page(&mut self, call: &Call, customer: &str) -> Verdict {
        self.expect_parameters(call, &FILTERS);
        let skipped = match call.parameter("revision") {
            None => 0,
            Some(revision) => match revision.strip_prefix("rev-").map(str::parse) {
                Some(Ok(skipped)) => skipped,
                _ => return refused(INVALID_REVISION),
            },
        };
        if call.all("productType").any(|name| !TYPES.contains(&name)) {
            return refused(INVALID_TYPE);
        }
        let is_descending = match call.parameter("sort") {
            None | Some("ASCENDING") => false,
            Some("DESCENDING") => true,
            Some(_) => return refused(INVALID_SORT),
        };
        let purchases = self.purchases_of(customer, call.environment);
        let all =
            purchases.flat_map(|bought| bought.transactions.iter().map(move |one| (bought, one)));
        let mut all: Vec<(&Bought, &Transaction)> = all
            .filter(|(bought, one)| is_wanted(call, bought, one))
            .collect();
        all.sort_by_key(|(_, one)| one.bought_at);
        if is_descending {
            all.reverse();
        }
        let page = self.bounds(skipped, all.len());
        let now = self.now();
        let signed = all[page.begin..page.end]
            .iter()
            .map(|(bought, one)| self.sign(&one.content(bought, now)));
        let mut body = paged_app(call.environment);
        body["signedTransactions"] = signed.collect();
        body["revision"] = json!(format!("rev-{}", page.end));
        body["hasMore"] = json!(page.has_more);
        (200, body)
    }

    /// Returns a page of the notifications that were sent, newest first unless a test reverses that.
    pub(super) fn notifications(&mut self, call: &Call) -> Verdict {
        self.expect_parameters(call, &["paginationToken"]);
        let body = &call.body;
        let names = body.as_object().into_iter().flatten().map(|(name, _)| name);
        let unknown: Vec<_> = names
            .filter(|name| !MEMBERS.contains(&name.as_str()))
            .collect();
        if !unknown.is_empty() {
            self.strange.push(format!("{unknown:?} in {call:?}"));
        }
        if let Err(code) = self.check_span(call) {
            return refused(code);
        }
        let is_of_both = !body["notificationType"].is_null() && !body["transactionId"].is_null();
        if is_of_both {
            return refused(SEVERAL_FILTERS);
        }
        let skipped = match call.parameter("paginationToken") {
            None => 0,
            Some(token) => match token.strip_prefix("page-").map(str::parse) {
                Some(Ok(skipped)) => skipped,
                _ => return refused(INVALID_PAGINATION),
            },
        };
        let sent = self.sent.iter();
        let mut all: Vec<_> = sent.filter(|one| one.is_listed(call)).collect();
        all.sort_by_key(|one| one.message.at);
        if !self.is_oldest_first {
            all.reverse();
        }
        let page = self.bounds(skipped, all.len());
        let entries: Vec<Value> = all[page.begin..page.end]
            .iter()
            .map(|one| one.body())
            .collect();
        let mut body = json!({ "hasMore": page.has_more, "notificationHistory": entries });
        if page.has_more {
            body["paginationToken"] = json!(format!("page-{}", page.end));
        }
        (200, body)
    }

    /// Checks the required dates of a request for the history of notifications.
    fn check_span(&self, call: &Call) -> Result<(), u32> {
        let date = |name: &str, error: u32| call.body[name].as_i64().ok_or(error);
        let start = date("startDate", INVALID_START)?;
        let end = date("endDate", INVALID_END)?;
        let reach = match call.environment {
            "Production" => PRODUCTION_HISTORY,
            _ => SANDBOX_HISTORY,
        };
        // A minute for requests that were on their way while the clock was moved.
        if Timestamp::from_millis(start).plus_millis(60_000) < self.now().minus(reach) {
            return Err(START_TOO_EARLY);
        }
        if start >= end {
            return Err(START_AFTER_END);
        }
        Ok(())
    }
}

/// Whether a request for a history wants a transaction.
fn is_wanted(call: &Call, bought: &Bought, one: &Transaction) -> bool {
    let date = |name: &str| {
        call.parameter(name)
            .and_then(|text| text.parse::<i64>().ok())
    };
    let at = millis(one.bought_at);
    let is_any = |name: &str, value: &str| {
        call.parameter(name).is_none() || call.all(name).any(|wanted| wanted == value)
    };
    let is_type = call.parameter("productType").is_none()
        || call.all("productType").any(|name| one.is_of_type(name));
    let revoked = one.returned.is_some();
    let is_revoked = match call.parameter("revoked") {
        None => true,
        Some(wanted) => wanted == revoked.to_string(),
    };
    date("startDate").is_none_or(|start| at >= start)
        && date("endDate").is_none_or(|end| at < end)
        && is_type
        && is_any("productId", &one.product)
        && is_any("inAppOwnershipType", bought.ownership)
        && is_any(
            "subscriptionGroupIdentifier",
            bought.group.as_deref().unwrap_or_default(),
        )
        && is_revoked
        && (call.resource == Resource::History || revoked)
}
