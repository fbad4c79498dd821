//! Interprets Amazon's response. Each field of the body is parsed separately: a field that cannot be parsed counts as
//! absent, and the others are still used.

use super::term::term;
use crate::http::Reply;
use crate::stores::{AccessRefusal, Answer, Retry};
use domain::text::{is_plain, readable_json};
use domain::verification::{EndReason, Offer, Product};
use domain::{Parked, Snapshot, Timestamp, Verification};
use serde_json::{Map, Value};
use std::time::Duration;

/// Maximum length of a text. Amazon's SKUs have at most 150 characters, its receipts fewer than 200.
const MAX_CHARS: usize = 200;

/// The refusal of the platform's shared secret.
pub const REFUSED: AccessRefusal = AccessRefusal::of_credential(
    "the store rejects the platform's credentials: set the right ones; until then its purchases are announced unverified",
);

/// Interprets the reply about `receipt_id`. `at` is the time of the query.
#[must_use]
pub fn answer(reply: &Reply, receipt_id: &str, at: Timestamp) -> Answer {
    let (status, retry_after, body) = match reply {
        Reply::Answer {
            status,
            retry_after,
            body,
            ..
        } => (*status, retry_after.as_deref(), body),
        Reply::Failure { class, message } => {
            return Answer::Retry(Retry::new(class.as_str(), message.clone()));
        }
    };
    match status {
        200 => valid(body, receipt_id, at),
        400 => Answer::Verification(Verification::Parked(Parked::UnknownReceipt)),
        410 => Answer::Verification(Verification::Gone),
        496 => Answer::Refused(REFUSED),
        497 => Answer::Verification(Verification::Parked(Parked::WrongCustomer)),
        429 => Answer::Retry(Retry {
            is_throttled: true,
            retry_after: retry_after.and_then(seconds),
            ..Retry::new("throttled", "the store throttles our requests (HTTP 429)")
        }),
        500..=599 => Answer::Retry(Retry::new("server_error", format!("HTTP {status}"))),
        // Only old versions of Amazon's documentation list 404, 498 and 499. No other status is documented.
        _ => Answer::Retry(Retry {
            is_strange: true,
            ..Retry::new(
                "unexpected_status",
                format!("HTTP {status}, which is not documented"),
            )
        }),
    }
}

/// Parses a `Retry-After` in seconds. Its other form, a date, is ignored.
fn seconds(text: &str) -> Option<Duration> {
    text.trim().parse().ok().map(Duration::from_secs)
}

fn valid(body: &str, receipt_id: &str, at: Timestamp) -> Answer {
    let unreadable =
        |why: &str| Answer::Retry(Retry::new("unreadable", format!("HTTP 200, but {why}")));
    let Ok(Value::Object(fields)) =
        serde_json::from_str(body).or_else(|_| serde_json::from_str(&readable_json(body)))
    else {
        return unreadable("its answer is not a JSON object");
    };
    let fields = Fields(&fields);
    match fields.text("receiptId") {
        Some(other) if other != receipt_id.trim() => return unreadable("of another receipt"),
        None if !fields.is_about_a_receipt() => return unreadable("nothing about a receipt"),
        _ => {}
    }
    Answer::Verification(Verification::Verified(Box::new(snapshot(&fields, at))))
}

fn snapshot(fields: &Fields<'_>, at: Timestamp) -> Snapshot {
    let promotions = fields.0.get("promotions");
    let offers = |status: &str| {
        promotions
            .map(|promotions| self::offers(promotions, status))
            .unwrap_or_default()
    };
    let has_queued_offer = !offers("queued").is_empty();
    let offers = offers("inprogress");
    Snapshot {
        at,
        product: product(fields.text("productType").as_deref()),
        product_id: fields.text("productId"),
        term_sku: fields.text("termSku"),
        term: fields.text("term").as_deref().and_then(term),
        purchased_at: fields.date("purchaseDate"),
        renews_at: fields.date("renewalDate"),
        ends_at: fields.date("cancelDate"),
        end_reason: fields.number("cancelReason").map(end_reason),
        auto_renewing: fields.flag("autoRenewing"),
        undelivered_at: undelivered_at(fields),
        trial_ends_at: fields.date("freeTrialEndDate"),
        grace_ends_at: fields.date("gracePeriodEndDate"),
        deferred_at: fields.date("deferredDate"),
        deferred_sku: fields.text("deferredSku"),
        in_intro_offer: offers.contains(&Offer::Introductory),
        offer: offers.into_iter().min(),
        has_queued_offer,
        country: fields.text("countryCode").and_then(|text| country(&text)),
        is_test: ["betaProduct", "testTransaction"]
            .iter()
            .any(|name| fields.flag(name) == Some(true)),
        ..Snapshot::default()
    }
}

/// Returns when the app reported one of the results after which Amazon refunds at once; without that date, the time of
/// the purchase (<https://developer.amazon.com/docs/in-app-purchasing/iap-rvs-for-android-apps.html>). `None` if it
/// reported none.
fn undelivered_at(fields: &Fields<'_>) -> Option<Timestamp> {
    let result = plain(&fields.text("fulfillmentResult")?);
    let is_refunded = ["existingpurchase", "noteligible", "unavailable"].contains(&result.as_str());
    fields
        .date("fulfillmentDate")
        .or_else(|| fields.date("purchaseDate"))
        .filter(|_| is_refunded)
}

fn product(text: Option<&str>) -> Product {
    match text.map(plain).as_deref() {
        Some("subscription") => Product::Subscription,
        Some("consumable") => Product::Consumable,
        Some("entitled" | "entitlement") => Product::Entitlement,
        _ => Product::Unknown,
    }
}

const fn end_reason(number: i64) -> EndReason {
    match number {
        0 => EndReason::Pending,
        1 => EndReason::Customer,
        2 => EndReason::Store,
        3 => EndReason::Internal,
        4 => EndReason::Replaced,
        other => EndReason::Other(other),
    }
}

fn country(text: &str) -> Option<String> {
    let is_code = text.len() == 2 && text.bytes().all(|letter| letter.is_ascii_alphabetic());
    is_code.then(|| text.to_ascii_uppercase())
}

/// Returns the promotions with this status, `inprogress` or `queued`. Amazon's documentation and other implementations
/// capitalize the status differently.
fn offers(promotions: &Value, status: &str) -> Vec<Offer> {
    let running = |promotion: &Value| {
        let text = |name: &str| {
            promotion
                .get(name)
                .and_then(Value::as_str)
                .map(plain)
                .unwrap_or_default()
        };
        (text("promotionStatus") == status).then(|| offer(&text("promotionType")))
    };
    match promotions {
        Value::Array(list) => list.iter().filter_map(running).collect(),
        one => running(one).into_iter().collect(),
    }
}

/// Returns the kind of promotion. `text` is the output of [`plain`] for `Introductory Price - All Customers`,
/// `Promotional Price - Lapsed Customers`, `Retention Offer` or another type.
fn offer(text: &str) -> Offer {
    let kinds = [
        ("introductory", Offer::Introductory),
        ("lapsed", Offer::LapsedCustomer),
        ("retention", Offer::Retention),
    ];
    kinds
        .into_iter()
        .find(|(part, _)| text.contains(part))
        .map_or(Offer::Other, |(_, offer)| offer)
}

/// Keeps letters and digits, in lower case, so that `In Progress` and `InProgress` are equal.
fn plain(text: &str) -> String {
    text.chars()
        .filter(|letter| letter.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}

/// The fields of a response. Each may be missing, null, or of an unexpected JSON type.
struct Fields<'a>(&'a Map<String, Value>);

impl Fields<'_> {
    /// Returns whether the response describes a receipt. A response from a proxy does not.
    fn is_about_a_receipt(&self) -> bool {
        ["productId", "productType", "purchaseDate"]
            .iter()
            .any(|name| self.text(name).is_some())
    }

    /// Returns a text field, or a number as text. A text that cannot be an id or a name counts as absent.
    fn text(&self, name: &str) -> Option<String> {
        let text = match self.0.get(name)? {
            Value::String(text) => text.trim().to_owned(),
            Value::Number(number) => number.to_string(),
            _ => return None,
        };
        let is_present = is_plain(&text, MAX_CHARS) && !text.eq_ignore_ascii_case("null");
        is_present.then_some(text)
    }

    /// Returns an integer field, whether a number or a text. A fraction is cut off.
    fn number(&self, name: &str) -> Option<i64> {
        let text = self.text(name)?;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a float cast saturates, and what is not finite is left out"
        )]
        let rounded = || {
            text.parse::<f64>()
                .ok()
                .filter(|number| number.is_finite())
                .map(|number| number as i64)
        };
        text.parse().ok().or_else(rounded)
    }

    /// Returns a date in milliseconds since 1970. Zero and negative numbers count as absent.
    fn date(&self, name: &str) -> Option<Timestamp> {
        self.number(name)
            .filter(|millis| *millis > 0)
            .map(Timestamp::from_millis)
    }

    /// Returns a boolean field, whether a boolean, a text, or 1 or 0.
    fn flag(&self, name: &str) -> Option<bool> {
        if let Some(Value::Bool(flag)) = self.0.get(name) {
            return Some(*flag);
        }
        match self.text(name)?.to_ascii_lowercase().as_str() {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        }
    }
}
