//! The fake's normal answers, from its purchases and their orders.

use super::Seen;
use super::body::error;
use super::call::Call;
use super::fields::deviations;
use super::purchase::Bought;
use domain::Timestamp;
use domain::time::DAY;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

/// Minimum length of a token; the fake calls shorter texts malformed.
const MIN_TOKEN_CHARS: usize = 25;
/// How long after its end a subscription is shown.
const SHOWN_FOR: Duration = DAY.saturating_mul(60);
/// How far back the list of voided purchases reaches.
const VOIDED_FOR: Duration = DAY.saturating_mul(30);
/// Maximum number of orders in a batch.
const MAX_BATCH: usize = 1000;

/// A voided purchase.
#[derive(Debug, Clone)]
pub struct Voided {
    pub token: String,
    pub order_id: String,
    pub is_subscription: bool,
    pub bought_at: Timestamp,
    pub voided_at: Timestamp,
    /// Google's number of the reason, such as 1 for remorse or 8 for a purchase that was not acknowledged.
    pub reason: i64,
    /// Number of pieces, in a partial refund.
    pub pieces: Option<u32>,
}

/// An acknowledgement that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledged {
    pub token: String,
    pub at: Timestamp,
    /// The account id that it wrote.
    pub account: Option<String>,
}

/// A status with its body. `None` is an empty body.
pub type Answered = (u16, Option<Value>);

impl Seen {
    /// Returns the normal answer to a request of the API.
    pub fn judge(&mut self, call: &Call, body: &[u8]) -> Answered {
        match call {
            Call::Keys | Call::Token => (500, None),
            Call::Subscription(token) => {
                let found = self.find(token, true).map(Bought::subscription_body);
                match found {
                    Ok(body) => self.shown("SubscriptionPurchaseV2", body),
                    Err(refused) => refused,
                }
            }
            Call::OneTime(token) => {
                let found = self.find(token, false).map(Bought::product_body);
                match found {
                    Ok(Some(body)) => self.shown("ProductPurchaseV2", body),
                    Ok(None) => refused(404, "notFound"),
                    Err(refused) => refused,
                }
            }
            Call::Order(id) => match self.order(id) {
                Some(body) => self.shown("Order", body),
                None => refused(404, "orderNotFound"),
            },
            Call::Orders(ids) => self.batch(ids),
            Call::Voided(parameters) => self.voided_page(parameters),
            Call::Acknowledge {
                is_subscription,
                product,
                token,
            } => self.acknowledge(token, product, *is_subscription, body),
            Call::Plans(product) => match self.plans.get(product) {
                Some(plans) => {
                    let body = json!({ "productId": product, "basePlans": plans });
                    self.shown("Subscription", body)
                }
                None => refused(404, "notFound"),
            },
        }
    }

    /// Returns an answer with a resource, and records how it differs from the resource's description.
    fn shown(&mut self, resource: &str, body: Value) -> Answered {
        self.strange.extend(deviations(resource, &body));
        (200, Some(body))
    }

    fn find(&self, token: &str, is_subscription: bool) -> Result<&Bought, Answered> {
        if token.len() < MIN_TOKEN_CHARS {
            return Err(refused(400, "invalid"));
        }
        let found = self.purchases.get(token);
        let found = found.filter(|bought| bought.one_time.is_none() == is_subscription);
        let bought = found.ok_or_else(|| refused(404, "purchaseTokenNotFound"))?;
        let is_gone = is_subscription
            && bought.state == "EXPIRED"
            && self.now().since(bought.expires_at()) > SHOWN_FOR;
        if is_gone {
            return Err(refused(410, "purchaseTokenNoLongerValid"));
        }
        Ok(bought)
    }

    fn order(&self, id: &str) -> Option<Value> {
        let mut orders = self.purchases.values().flat_map(|bought| &bought.orders);
        orders
            .find(|order| order.id == id)
            .map(|order| order.body())
    }

    /// Returns all orders of a batch. One unknown id fails all.
    fn batch(&mut self, ids: &[String]) -> Answered {
        let distinct: BTreeSet<&String> = ids.iter().collect();
        let is_batch = (1..=MAX_BATCH).contains(&ids.len()) && distinct.len() == ids.len();
        if !is_batch {
            return refused(400, "invalid");
        }
        let orders: Option<Vec<Value>> = ids.iter().map(|id| self.order(id)).collect();
        match orders {
            Some(orders) => self.shown("BatchGetOrdersResponse", json!({ "orders": orders })),
            None => refused(404, "orderNotFound"),
        }
    }

    /// Returns a page of the voided purchases. Subscriptions are listed with `type=1` only.
    fn voided_page(&mut self, parameters: &[(String, String)]) -> Answered {
        let find = |name: &str| {
            let mut found = parameters.iter().filter(|(known, _)| known == name);
            found.next().map(|(_, value)| value.as_str())
        };
        let number = |name: &str| find(name).and_then(|text| text.parse::<i64>().ok());
        let now = self.now();
        let earliest = now.minus(VOIDED_FOR);
        let since = number("startTime").map_or(earliest, Timestamp::from_millis);
        // A day for requests that were on their way while a test moved the clock.
        if since.plus(DAY) < earliest {
            return refused(400, "invalid");
        }
        let until = number("endTime").map_or(now, Timestamp::from_millis);
        let with_subscriptions = number("type") == Some(1);
        let with_pieces = find("includeQuantityBasedPartialRefund") == Some("true");
        let is_listed = |one: &&Voided| {
            (since..=until).contains(&one.voided_at)
                && (with_subscriptions || !one.is_subscription)
                && (with_pieces || one.pieces.is_none())
        };
        let all: Vec<&Voided> = self.voided.iter().filter(is_listed).collect();
        let begin = match find("token").map(|token| token.strip_prefix("page-")) {
            None => Some(0),
            Some(number) => number.and_then(|number| number.parse::<usize>().ok()),
        };
        let Some(rest) = begin.and_then(|begin| all.get(begin..)) else {
            return refused(400, "invalid");
        };
        let page: Vec<Value> = rest
            .iter()
            .take(self.page_size)
            .map(|one| one.body())
            .collect();
        let mut body = json!({ "voidedPurchases": page });
        if rest.len() > self.page_size {
            let next = begin.unwrap_or_default() + self.page_size;
            body["tokenPagination"] = json!({ "nextPageToken": format!("page-{next}") });
        }
        self.shown("VoidedPurchasesListResponse", body)
    }

    fn acknowledge(
        &mut self,
        token: &str,
        product: &str,
        is_subscription: bool,
        body: &[u8],
    ) -> Answered {
        let now = self.now();
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        if let Err(refused) = self.find(token, is_subscription) {
            return refused;
        }
        let Some(bought) = self.purchases.get_mut(token) else {
            return refused(404, "purchaseTokenNotFound");
        };
        let is_of = match &bought.one_time {
            Some((known, _)) => known == product,
            None => product.is_empty() || bought.items.iter().any(|item| item.product == product),
        };
        if !is_of {
            return refused(400, "invalid");
        }
        let is_due = !bought.is_acknowledged && !bought.state.starts_with("PENDING");
        if !is_due {
            return refused(400, "invalidPurchaseState");
        }
        bought.is_acknowledged = true;
        let account = body["externalAccountIds"]["obfuscatedAccountId"].as_str();
        let account = account.map(str::to_owned);
        if bought.account.is_none() {
            bought.account.clone_from(&account);
        }
        self.acknowledged.push(Acknowledged {
            token: token.to_owned(),
            at: now,
            account,
        });
        (204, None)
    }
}

impl Voided {
    fn body(&self) -> Value {
        let millis = |at: Timestamp| at.micros().div_euclid(1000).to_string();
        let mut body = json!({
            "kind": "androidpublisher#voidedPurchase", "purchaseToken": self.token, "orderId": self.order_id,
            "purchaseTimeMillis": millis(self.bought_at), "voidedTimeMillis": millis(self.voided_at),
            "voidedReason": self.reason, "voidedSource": 1,
        });
        if let Some(pieces) = self.pieces {
            body["voidedQuantity"] = json!(pieces);
        }
        body
    }
}

fn refused(status: u16, reason: &str) -> Answered {
    (status, Some(error(status, reason)))
}
