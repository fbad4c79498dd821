//! Google's `DeveloperNotification`, the data of a message, parsed leniently: it is authenticated, and only indicates
//! that something happened. <https://developer.android.com/google/play/billing/rtdn-reference>

use domain::notification::MAX_ID_BYTES;
use domain::text::{is_plain, readable_json};
use domain::{NotificationKind, Timestamp};
use serde_json::{Map, Value};

const MAX_PACKAGE_CHARS: usize = 255;
const MAX_ORDER_CHARS: usize = 255;
/// Maximum length of an unknown member's name. The name becomes the notification's type, which is part of an index.
const MAX_MEMBER_CHARS: usize = 128;
/// Fields of a notification that are not members.
const PLAIN_FIELDS: [&str; 3] = ["version", "packageName", "eventTimeMillis"];

/// The type of a message from the console's test button.
pub const TEST: &str = "TEST";

type Members = Map<String, Value>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeveloperNotification {
    /// `packageName`
    pub package_name: String,
    /// `eventTimeMillis`; `None` if absent or not an integer.
    pub at: Option<Timestamp>,
    /// Google's name for the type. For a number that Google has not documented, the member's name with the number.
    pub store_type: String,
    pub content: Content,
}

/// Content of a notification, by its subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A purchase, which is then queried at the store.
    Purchase {
        /// `purchaseToken`
        token: String,
        kind: NotificationKind,
        voided: Option<VoidedOrder>,
    },
    /// A refund that Google asks the developer to review within a day.
    RefundReview(RefundReview),
    /// A message from the console's test button.
    Test,
    /// Content that is not about a purchase.
    Other,
}

/// A voided order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VoidedOrder {
    /// `orderId`
    pub order_id: Option<String>,
    /// `productType`: 1 for a subscription, 2 for a one-time product.
    pub product_type: Option<i64>,
    /// `refundType`: 1 for a full refund, 2 for a refund of part of the quantity.
    pub refund_type: Option<i64>,
}

/// A refund review, without the customer's ids that it contains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundReview {
    /// `orderId`
    pub order_id: Option<String>,
    /// `pendingRefundToken`, which identifies the review in the answer.
    pub refund_token: Option<String>,
    /// `refundReason`
    pub refund_reason: Option<i64>,
}

/// Parses the data of a message.
///
/// # Errors
/// The reason, if the data is not a JSON object with a package name.
pub fn read(data: &[u8]) -> Result<DeveloperNotification, &'static str> {
    let text = std::str::from_utf8(data).map_err(|_| "data is not UTF-8")?;
    let fields: Members = serde_json::from_str(text)
        .or_else(|_| serde_json::from_str(&readable_json(text)))
        .map_err(|_| "data is not a JSON object")?;
    let package_name = plain(&fields, "packageName", MAX_PACKAGE_CHARS)
        .ok_or("packageName is not a string of 1 to 255 characters")?;
    let (store_type, content) = content(&fields);
    Ok(DeveloperNotification {
        package_name,
        at: integer(&fields, "eventTimeMillis").map(Timestamp::from_millis),
        store_type,
        content,
    })
}

/// Returns the type and content of a notification. If it has several members, the first one in the order below is used.
fn content(fields: &Members) -> (String, Content) {
    let member = |name: &str| fields.get(name).and_then(Value::as_object);
    if let Some(member) = member("subscriptionNotification") {
        let number = integer(member, "notificationType");
        let (store_type, kind) = typed(number, subscription_type, "SUBSCRIPTION_NOTIFICATION");
        return (store_type, purchase(member, kind, None));
    }
    if let Some(member) = member("oneTimeProductNotification") {
        let number = integer(member, "notificationType");
        let (store_type, kind) = typed(number, one_time_type, "ONE_TIME_PRODUCT_NOTIFICATION");
        return (store_type, purchase(member, kind, None));
    }
    if let Some(member) = member("voidedPurchaseNotification") {
        let voided = VoidedOrder {
            order_id: plain(member, "orderId", MAX_ORDER_CHARS),
            product_type: integer(member, "productType"),
            refund_type: integer(member, "refundType"),
        };
        // The voided order may be an older one, whose refund ends nothing. Only a query shows that.
        let content = purchase(member, NotificationKind::Unknown, Some(voided));
        return ("VOIDED_PURCHASE".to_owned(), content);
    }
    if let Some(member) = member("pendingRefundReviewNotification") {
        let review = RefundReview {
            order_id: plain(member, "orderId", MAX_ORDER_CHARS),
            refund_token: plain(member, "pendingRefundToken", MAX_ID_BYTES),
            refund_reason: integer(member, "refundReason"),
        };
        let content = Content::RefundReview(review);
        return ("PENDING_REFUND_REVIEW".to_owned(), content);
    }
    if member("testNotification").is_some() {
        return (TEST.to_owned(), Content::Test);
    }
    other(fields)
}

/// Returns the type and content of a notification with an unknown member. If the member names a purchase, the purchase
/// is queried.
fn other(fields: &Members) -> (String, Content) {
    let members = fields
        .iter()
        .filter(|(name, _)| !PLAIN_FIELDS.contains(&name.as_str()));
    let mut members = members.filter_map(|(name, value)| Some((name, value.as_object()?)));
    let Some((name, member)) = members.next() else {
        return (String::new(), Content::Other);
    };
    let store_type = if is_plain(name, MAX_MEMBER_CHARS) {
        name.clone()
    } else {
        String::new()
    };
    (
        store_type,
        purchase(member, NotificationKind::Unknown, None),
    )
}

/// Returns the purchase that a member identifies.
fn purchase(member: &Members, kind: NotificationKind, voided: Option<VoidedOrder>) -> Content {
    let token = plain(member, "purchaseToken", MAX_ID_BYTES);
    match token.filter(|token| token.len() <= MAX_ID_BYTES) {
        Some(token) => Content::Purchase {
            token,
            kind,
            voided,
        },
        None => Content::Other,
    }
}

/// Returns Google's name for a numbered type, and its kind, from a table; for an unknown number, the member's name with
/// the number.
fn typed(
    number: Option<i64>,
    table: fn(i64) -> Option<(&'static str, NotificationKind)>,
    member: &str,
) -> (String, NotificationKind) {
    let Some(number) = number else {
        return (member.to_owned(), NotificationKind::Unknown);
    };
    match table(number) {
        Some((name, kind)) => (name.to_owned(), kind),
        None => (format!("{member}_{number}"), NotificationKind::Unknown),
    }
}

/// Returns the name and kind of a type in `subscriptionNotification`. The kind is only a hint: the query that follows
/// decides.
fn subscription_type(number: i64) -> Option<(&'static str, NotificationKind)> {
    Some(match number {
        // Recovered from grace or account hold, or resumed from a pause.
        1 => ("SUBSCRIPTION_RECOVERED", NotificationKind::Renewed),
        2 => ("SUBSCRIPTION_RENEWED", NotificationKind::Renewed),
        3 => ("SUBSCRIPTION_CANCELED", NotificationKind::AutoRenewalOff),
        4 => (
            "SUBSCRIPTION_PURCHASED",
            NotificationKind::SubscriptionPurchased,
        ),
        5 => ("SUBSCRIPTION_ON_HOLD", NotificationKind::Unknown),
        6 => ("SUBSCRIPTION_IN_GRACE_PERIOD", NotificationKind::GraceBegan),
        7 => ("SUBSCRIPTION_RESTARTED", NotificationKind::AutoRenewalOn),
        8 => (
            "SUBSCRIPTION_PRICE_CHANGE_CONFIRMED",
            NotificationKind::Unknown,
        ),
        9 => ("SUBSCRIPTION_DEFERRED", NotificationKind::Unknown),
        10 => ("SUBSCRIPTION_PAUSED", NotificationKind::Unknown),
        11 => (
            "SUBSCRIPTION_PAUSE_SCHEDULE_CHANGED",
            NotificationKind::Unknown,
        ),
        12 => (
            "SUBSCRIPTION_REVOKED",
            NotificationKind::SubscriptionCancelled,
        ),
        13 => ("SUBSCRIPTION_EXPIRED", NotificationKind::Expired),
        17 => ("SUBSCRIPTION_ITEMS_CHANGED", NotificationKind::Unknown),
        18 => (
            "SUBSCRIPTION_CANCELLATION_SCHEDULED",
            NotificationKind::AutoRenewalOff,
        ),
        19 => (
            "SUBSCRIPTION_PRICE_CHANGE_UPDATED",
            NotificationKind::Unknown,
        ),
        20 => (
            "SUBSCRIPTION_PENDING_PURCHASE_CANCELED",
            NotificationKind::Unknown,
        ),
        22 => (
            "SUBSCRIPTION_PRICE_STEP_UP_CONSENT_UPDATED",
            NotificationKind::Unknown,
        ),
        _ => return None,
    })
}

/// Returns the name and kind of a type in `oneTimeProductNotification`.
fn one_time_type(number: i64) -> Option<(&'static str, NotificationKind)> {
    Some(match number {
        1 => (
            "ONE_TIME_PRODUCT_PURCHASED",
            NotificationKind::EntitlementPurchased,
        ),
        2 => (
            "ONE_TIME_PRODUCT_CANCELED",
            NotificationKind::EntitlementCancelled,
        ),
        _ => return None,
    })
}

/// Returns a string of 1 to `max_chars` characters without control characters.
fn plain(fields: &Members, name: &str, max_chars: usize) -> Option<String> {
    let text = fields.get(name)?.as_str()?;
    is_plain(text, max_chars).then(|| text.to_owned())
}

/// Returns a 64-bit integer, which may be written as a number or string: Google documents numbers but sends strings.
fn integer(fields: &Members, name: &str) -> Option<i64> {
    match fields.get(name)? {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}
