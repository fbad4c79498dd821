//! Parses an order, the resource `Order` (<https://developers.google.com/android-publisher/api-ref/rest/v3/orders>). Of
//! the buyer's address, only the country is read.

use super::money::{Money, is_code};
use super::shown::{OfferPhase, OrderLine, OrderRefund, OrderState, PurchaseToken, ShownOrder};
use super::subscription::named_phase;
use domain::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Order {
    order_id: String,
    state: String,
    purchase_token: Option<PurchaseToken>,
    create_time: Option<Timestamp>,
    last_event_time: Option<Timestamp>,
    buyer_address: Option<BuyerAddress>,
    total: Option<Money>,
    tax: Option<Money>,
    #[serde(default)]
    line_items: Vec<Line>,
    #[serde(default)]
    order_history: History,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BuyerAddress {
    buyer_country: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    product_id: Option<String>,
    total: Option<Money>,
    tax: Option<Money>,
    #[serde(default)]
    subscription_details: SubscriptionDetails,
    #[serde(default)]
    one_time_purchase_details: OneTimeDetails,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SubscriptionDetails {
    base_plan_id: Option<String>,
    offer_id: Option<String>,
    /// The deprecated form of `offer_phase_details`.
    offer_phase: Option<String>,
    #[serde(default)]
    offer_phase_details: PhaseDetails,
    service_period_start_time: Option<Timestamp>,
    service_period_end_time: Option<Timestamp>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PhaseDetails {
    base_details: Option<IgnoredAny>,
    free_trial_details: Option<IgnoredAny>,
    introductory_price_details: Option<IgnoredAny>,
    proration_period_details: Option<Proration>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Proration {
    original_offer_phase: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct OneTimeDetails {
    purchase_option_id: Option<String>,
    offer_id: Option<String>,
    quantity: Option<u32>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct History {
    cancellation_event: Option<Event>,
    #[serde(default)]
    partial_refund_events: Vec<PartialRefund>,
    refund_event: Option<Refund>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    event_time: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PartialRefund {
    create_time: Option<Timestamp>,
    process_time: Option<Timestamp>,
    state: Option<String>,
    #[serde(default)]
    refund_details: RefundDetails,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Refund {
    event_time: Option<Timestamp>,
    refund_reason: Option<String>,
    #[serde(default)]
    refund_details: RefundDetails,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RefundDetails {
    total: Option<Money>,
    tax: Option<Money>,
}

impl Order {
    pub fn shown(self) -> ShownOrder {
        let history = self.order_history;
        let partial = history.partial_refund_events.into_iter();
        let refunds = partial
            .map(PartialRefund::shown)
            .chain(history.refund_event.map(Refund::shown));
        ShownOrder {
            id: self.order_id,
            state: state(&self.state),
            token: self.purchase_token,
            created_at: self.create_time,
            changed_at: self.last_event_time,
            canceled_at: history
                .cancellation_event
                .and_then(|event| event.event_time),
            country: self
                .buyer_address
                .and_then(|address| address.buyer_country)
                .filter(|code| is_code(code, 2)),
            total: self.total,
            tax: self.tax,
            lines: self.line_items.into_iter().map(Line::shown).collect(),
            refunds: refunds.collect(),
        }
    }
}

fn state(name: &str) -> OrderState {
    match name {
        "PENDING" => OrderState::Pending,
        "PROCESSED" => OrderState::Processed,
        "CANCELED" => OrderState::Canceled,
        "PENDING_REFUND" => OrderState::PendingRefund,
        "PARTIALLY_REFUNDED" => OrderState::PartiallyRefunded,
        "REFUNDED" => OrderState::Refunded,
        _ => OrderState::Unknown,
    }
}

impl SubscriptionDetails {
    fn phase(&self) -> Option<OfferPhase> {
        let details = &self.offer_phase_details;
        let proration = details.proration_period_details.as_ref();
        let original = || named_phase(proration?.original_offer_phase.as_deref());
        match details {
            PhaseDetails {
                free_trial_details: Some(_),
                ..
            } => Some(OfferPhase::FreeTrial),
            PhaseDetails {
                introductory_price_details: Some(_),
                ..
            } => Some(OfferPhase::Introductory),
            PhaseDetails {
                base_details: Some(_),
                ..
            } => Some(OfferPhase::Base),
            _ => original().or_else(|| named_phase(self.offer_phase.as_deref())),
        }
    }
}

impl Line {
    fn shown(self) -> OrderLine {
        let (plan, product) = (self.subscription_details, self.one_time_purchase_details);
        OrderLine {
            product_id: self.product_id,
            phase: plan.phase(),
            is_prorated: plan.offer_phase_details.proration_period_details.is_some(),
            plan_id: plan.base_plan_id.or(product.purchase_option_id),
            offer_id: plan.offer_id.or(product.offer_id),
            total: self.total,
            tax: self.tax,
            period_from: plan.service_period_start_time,
            period_until: plan.service_period_end_time,
            quantity: product.quantity,
        }
    }
}

impl PartialRefund {
    fn shown(self) -> OrderRefund {
        OrderRefund {
            at: self.process_time.or(self.create_time),
            is_full: false,
            is_processed: self.state.as_deref() == Some("PROCESSED_SUCCESSFULLY"),
            is_chargeback: false,
            total: self.refund_details.total,
            tax: self.refund_details.tax,
        }
    }
}

impl Refund {
    fn shown(self) -> OrderRefund {
        OrderRefund {
            at: self.event_time,
            is_full: true,
            is_processed: true,
            is_chargeback: self.refund_reason.as_deref() == Some("CHARGEBACK"),
            total: self.refund_details.total,
            tax: self.refund_details.tax,
        }
    }
}
