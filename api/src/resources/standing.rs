//! How a purchase stands, in sentences that can be repeated to its customer: what was bought and for how much, until when
//! it runs or why it ended, whether it gives access and why not, and what each destination got of it. Pure.

use domain::payment::EntryKind;
use domain::{Environment, State, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use storage::{DeliveryStatus, DeliveryView, Destination, PaymentView, PurchaseView};

/// How a purchase stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Standing {
    /// What was bought: its entitlements and how long a term lasts, else its SKU.
    pub product: String,
    /// Sentences for its customer.
    pub summary: String,
    /// Whether its newest refund stands.
    pub is_refunded: bool,
    /// What each destination got of it last.
    pub destinations: Vec<Reached>,
}

/// What a destination got last of a purchase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Reached {
    /// The destination's name.
    pub destination: String,
    /// The event and its delivery.
    #[serde(flatten)]
    pub delivery: DeliveryView,
    /// Whether it arrived, in words.
    pub summary: String,
}

/// The fields of the record of a purchase that are put into words.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Record {
    product_ref_id: Option<String>,
    entitlements: Vec<Named>,
    current_term_length: Option<String>,
    not_before: Option<Timestamp>,
    purchase_price: Option<String>,
    purchase_currency: Option<String>,
    expires_at: Option<Timestamp>,
    canceled_at: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
    payment_issues_began_at: Option<Timestamp>,
    expiration_reason: Option<String>,
    pending_sku_ref_id: Option<String>,
    product_type: Option<String>,
    environment: Option<Environment>,
}

#[derive(Debug, Deserialize)]
struct Named {
    name: String,
}

/// What is known beside the record of a purchase.
pub struct Known<'a> {
    /// The newest delivery to each destination.
    pub deliveries: &'a [DeliveryView],
    pub destinations: &'a [Destination],
    /// Payments and their changes, the newest in front.
    pub payments: &'a [PaymentView],
}

impl Standing {
    /// How a purchase stands, and whether it gives access.
    pub fn of(view: &PurchaseView, is_active: Option<bool>, known: &Known<'_>) -> Self {
        let record = view.data.get("data").and_then(|data| Record::deserialize(data).ok()).unwrap_or_default();
        let state = State::ALL.iter().find(|state| state.as_str() == view.state).copied().unwrap_or(State::Unknown);
        let refunded = refunded(view, known.payments);
        let is_refunded = refunded.is_some();
        let mut sentences = vec![record.bought(), refunded, record.runs(state)];
        sentences.push(Some(record.access(is_active)));
        sentences.push(view.standing.unverified_since.map(|at| format!("No response from the store since {at}")));
        let is_test = record.environment == Some(Environment::Sandbox);
        sentences.push(is_test.then(|| "It is a test purchase: nothing was paid".to_owned()));
        let sentences: Vec<String> = sentences.into_iter().flatten().collect();
        let reached = known.deliveries.iter().filter(|one| one.collapse_key == view.collapse_key).filter_map(|one| {
            let destination = known.destinations.iter().find(|other| other.id == one.destination_id)?;
            let (destination, summary) = (destination.common.name.clone(), reached(one));
            Some(Reached { destination, delivery: one.clone(), summary })
        });
        Self {
            product: record.product(),
            summary: format!("{}.", sentences.join(". ")),
            is_refunded,
            destinations: reached.collect(),
        }
    }
}

impl Record {
    fn product(&self) -> String {
        let names: Vec<&str> = self.entitlements.iter().map(|one| one.name.as_str()).collect();
        let term = match self.current_term_length.as_deref() {
            Some("P1W") => Some("weekly"),
            Some("P1M") => Some("monthly"),
            Some("P3M") => Some("quarterly"),
            Some("P6M") => Some("half-yearly"),
            Some("P1Y") => Some("yearly"),
            _ => None,
        };
        match (names.join(" and "), term) {
            (names, _) if names.is_empty() => {
                self.product_ref_id.clone().unwrap_or_else(|| "Product not known".to_owned())
            }
            (names, Some(term)) => format!("{names} {term}"),
            (names, None) => names,
        }
    }

    fn bought(&self) -> Option<String> {
        let price = self.price().map_or_else(String::new, |price| format!(" for {price}"));
        Some(format!("Bought {}{price}", self.not_before?))
    }

    fn price(&self) -> Option<String> {
        Some(format!("{} {}", self.purchase_price.as_deref()?, self.purchase_currency.as_deref()?))
    }

    /// Until when it runs, or when and why it ended.
    fn runs(&self, state: State) -> Option<String> {
        let at = |known: Option<Timestamp>| known.map_or_else(String::new, |at| format!(" {at}"));
        let on = |known: Option<Timestamp>| known.map_or_else(String::new, |at| format!(" on {at}"));
        let until = self.expires_at.map_or_else(String::new, |at| format!(" until {at}"));
        let (end, cancelled) = (at(self.expires_at), on(self.canceled_at));
        Some(match state {
            State::Unknown => return None,
            State::Trial => format!("In a free trial{until}, then it is paid for"),
            State::TrialOff => format!("Cancelled{cancelled}: the free trial runs{until} and does not renew"),
            State::Active if self.product_type.as_deref() == Some("subscription") || self.expires_at.is_some() => {
                match &self.pending_sku_ref_id {
                    Some(next) => format!("Renews{end} as `{next}`"),
                    None if end.is_empty() => "It renews; the date is not known yet".to_owned(),
                    None => format!("Renews{end}"),
                }
            }
            State::Active => "It does not expire".to_owned(),
            State::Off => format!("Cancelled{cancelled}: paid{until}, and does not renew"),
            State::Grace => {
                let since = on(self.payment_issues_began_at);
                format!("The payment failed{since}: the store tries again, and access stays{until}")
            }
            State::Expired => format!("Ended{end}{}", self.because()),
            State::Revoked => format!("Revoked{}: the store took it back", on(self.revoked_at)),
            State::Replaced => "Replaced by another purchase of this customer".to_owned(),
        })
    }

    /// Why it ended.
    fn because(&self) -> &'static str {
        match self.expiration_reason.as_deref() {
            Some("customer") => ", because the customer cancelled",
            Some("store") => ", because it was not paid or the store's customer service ended it",
            Some("replaced") => ", because another plan replaced it",
            _ => "",
        }
    }

    fn access(&self, is_active: Option<bool>) -> String {
        match (is_active, self.entitlements.is_empty()) {
            (None, _) => "Access: not known yet, because the store has not confirmed the purchase".to_owned(),
            (Some(false), _) => "Access: no".to_owned(),
            (Some(true), false) => "Access: yes".to_owned(),
            (Some(true), true) => match &self.product_ref_id {
                Some(sku) => format!("Access: no, because the catalogue has no entitlement for `{sku}`"),
                None => "Access: no, because the product is not known yet".to_owned(),
            },
        }
    }
}

/// That the newest refund of a purchase stands.
fn refunded(view: &PurchaseView, payments: &[PaymentView]) -> Option<String> {
    let mut own = payments.iter().filter(|one| one.collapse_key == view.collapse_key);
    let last = own.find(|one| matches!(one.kind, EntryKind::Refund | EntryKind::Restored))?;
    let usd = last.usd.as_deref().filter(|_| last.kind == EntryKind::Refund)?;
    Some(format!("Refunded {} USD on {}", usd.trim_start_matches('-'), last.occurred_at))
}

/// Whether a delivery arrived.
fn reached(one: &DeliveryView) -> String {
    let at = one.finished_at.map_or_else(String::new, |at| format!(" {at}"));
    let why = one.last_error.as_deref().map_or_else(String::new, |why| format!(": {why}"));
    match one.status {
        DeliveryStatus::Delivered => format!("notified{at}"),
        DeliveryStatus::Pending if one.attempts == 0 => "pending".to_owned(),
        DeliveryStatus::Pending => {
            let failed = if one.attempts == 1 { "1 attempt".to_owned() } else { format!("{} attempts", one.attempts) };
            let next = one.next_due_at.map_or_else(String::new, |at| format!("; next attempt at {at}"));
            format!("pending, {failed} failed{why}{next}")
        }
        DeliveryStatus::Waiting => "waiting for login".to_owned(),
        DeliveryStatus::Superseded => "superseded by a newer event".to_owned(),
        DeliveryStatus::Skipped => format!("not sent{why}"),
        DeliveryStatus::Failed => format!("failed{at}{why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::Record;
    use domain::State;

    fn record(fields: serde_json::Value) -> Record {
        serde_json::from_value(fields).unwrap()
    }

    #[test]
    fn a_product_is_what_it_gives_and_how_long() {
        let gold = serde_json::json!([{ "name": "Gold" }]);
        for (fields, product) in [
            (serde_json::json!({ "entitlements": gold, "current_term_length": "P1M" }), "Gold monthly"),
            (serde_json::json!({ "entitlements": gold, "current_term_length": "P2Y" }), "Gold"),
            (serde_json::json!({ "product_ref_id": "gold.monthly", "current_term_length": "P1M" }), "gold.monthly"),
            (serde_json::json!({}), "Product not known"),
        ] {
            assert_eq!(record(fields).product(), product);
        }
    }

    #[test]
    fn every_state_is_a_sentence_with_what_is_known() {
        let known = record(serde_json::json!({
            "expires_at": "2026-12-23T10:00:00Z", "canceled_at": "2026-12-01T00:00:00Z", "expiration_reason": "customer",
        }));
        for (state, sentence) in [
            (State::Unknown, None),
            (State::Active, Some("Renews 2026-12-23T10:00:00")),
            (State::Off, Some("Cancelled on 2026-12-01T00:00:00")),
            (State::Expired, Some("Ended 2026-12-23T10:00:00")),
        ] {
            let runs = known.runs(state);
            let begin =
                sentence.map(|part| runs.as_deref().and_then(|text| text.get(..part.len())).unwrap_or_default());
            assert_eq!((runs.is_some(), begin), (sentence.is_some(), sentence), "{runs:?}");
        }
        assert!(known.runs(State::Expired).unwrap().ends_with(", because the customer cancelled"));
        assert_eq!(record(serde_json::json!({})).runs(State::Active).unwrap(), "It does not expire");
        for state in State::ALL {
            let text = record(serde_json::json!({})).runs(*state).unwrap_or_default();
            assert!(!text.contains("  ") && !text.ends_with(' '), "{text:?}");
        }
    }

    #[test]
    fn no_access_has_a_reason() {
        let sku = record(serde_json::json!({ "product_ref_id": "gold" }));
        assert_eq!(sku.access(Some(true)), "Access: no, because the catalogue has no entitlement for `gold`");
        assert_eq!(sku.access(Some(false)), "Access: no");
        assert!(sku.access(None).contains("not known yet"));
    }
}
