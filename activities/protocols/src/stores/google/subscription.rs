//! Parses a subscription, the resource `SubscriptionPurchaseV2`
//! (<https://developers.google.com/android-publisher/api-ref/rest/v3/purchases.subscriptionsv2>).
//!
//! Only the fields that settle uses are parsed, each with its documented type. All other members are skipped, among
//! them the customer's name, email address and survey answers.

use super::customer::Accounts;
use super::money::{Money, is_code};
use super::shown::{
    CanceledBy, Cancellation, Instalments, OfferPhase, PlannedChange, PriceChange, PurchaseKind,
    PurchaseStage, PurchaseToken, Renewal, ReplacedItem, ShownItem, ShownPurchase,
};
use domain::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Subscription {
    subscription_state: String,
    start_time: Option<Timestamp>,
    region_code: Option<String>,
    acknowledgement_state: Option<String>,
    linked_purchase_token: Option<PurchaseToken>,
    out_of_app_purchase_context: Option<OutOfApp>,
    external_account_identifiers: Option<Accounts>,
    canceled_state_context: Option<Canceled>,
    paused_state_context: Option<Paused>,
    in_grace_period_state_context: Option<Declined>,
    on_hold_state_context: Option<Declined>,
    /// Present only for a tester's purchase; always empty.
    test_purchase: Option<IgnoredAny>,
    #[serde(default)]
    line_items: Vec<Item>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OutOfApp {
    expired_purchase_token: Option<PurchaseToken>,
    expired_external_account_identifiers: Option<Accounts>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Canceled {
    user_initiated_cancellation: Option<ByCustomer>,
    system_initiated_cancellation: Option<IgnoredAny>,
    developer_initiated_cancellation: Option<IgnoredAny>,
    replacement_cancellation: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ByCustomer {
    cancel_time: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Paused {
    auto_resume_time: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Declined {
    renewal_declined: Option<DeclinedRenewal>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DeclinedRenewal {
    pending_order_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    product_id: String,
    offer_details: Option<OfferDetails>,
    expiry_time: Option<Timestamp>,
    latest_successful_order_id: Option<String>,
    offer_phase: Option<Phase>,
    auto_renewing_plan: Option<AutoRenewingPlan>,
    prepaid_plan: Option<PrepaidPlan>,
    deferred_item_replacement: Option<DeferredReplacement>,
    deferred_item_removal: Option<IgnoredAny>,
    item_replacement: Option<Replacement>,
    signup_promotion: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OfferDetails {
    base_plan_id: Option<String>,
    offer_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Phase {
    base_price: Option<IgnoredAny>,
    free_trial: Option<IgnoredAny>,
    introductory_price: Option<IgnoredAny>,
    proration_period: Option<Proration>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Proration {
    original_offer_phase_type: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AutoRenewingPlan {
    auto_renew_enabled: Option<bool>,
    recurring_price: Option<Money>,
    price_change_details: Option<PriceChangeDetails>,
    installment_details: Option<InstallmentDetails>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PriceChangeDetails {
    new_price: Option<Money>,
    price_change_state: Option<String>,
    expected_new_price_charge_time: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InstallmentDetails {
    remaining_committed_payments_count: Option<u32>,
    pending_cancellation: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PrepaidPlan {
    allow_extend_after_time: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DeferredReplacement {
    product_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Replacement {
    product_id: Option<String>,
    base_plan_id: Option<String>,
    replacement_mode: Option<String>,
}

impl Subscription {
    /// Returns the customer's account ids: those of the purchase, and those of the expired purchase that precedes it.
    pub fn accounts(&self) -> [Option<&Accounts>; 2] {
        let context = self.out_of_app_purchase_context.as_ref();
        [
            self.external_account_identifiers.as_ref(),
            context.and_then(|context| context.expired_external_account_identifiers.as_ref()),
        ]
    }

    pub const fn linked(&self) -> Option<&PurchaseToken> {
        self.linked_purchase_token.as_ref()
    }

    /// Returns the purchase, without orders; `None` if this version does not know the purchase's state.
    pub fn shown(self, at: Timestamp) -> Option<ShownPurchase> {
        let declined = [
            self.on_hold_state_context,
            self.in_grace_period_state_context,
        ];
        let unpaid = declined
            .into_iter()
            .find_map(|context| context?.renewal_declined?.pending_order_id);
        Some(ShownPurchase {
            at,
            kind: PurchaseKind::Subscription,
            stage: stage(&self.subscription_state)?,
            started_at: self.start_time,
            country: self.region_code.filter(|code| is_code(code, 2)),
            is_acknowledged: is_acknowledged(self.acknowledgement_state.as_deref()),
            is_test: self.test_purchase.is_some(),
            items: self.line_items.into_iter().map(Item::shown).collect(),
            orders: Vec::new(),
            cancellation: self
                .canceled_state_context
                .and_then(|canceled| canceled.shown()),
            resumes_at: self
                .paused_state_context
                .and_then(|paused| paused.auto_resume_time),
            unpaid_order: unpaid,
            term: None,
            linked: self.linked_purchase_token,
            former: self
                .out_of_app_purchase_context
                .and_then(|context| context.expired_purchase_token),
        })
    }
}

fn stage(name: &str) -> Option<PurchaseStage> {
    Some(match name.strip_prefix("SUBSCRIPTION_STATE_")? {
        "PENDING" => PurchaseStage::Pending,
        "ACTIVE" => PurchaseStage::Active,
        "PAUSED" => PurchaseStage::Paused,
        "IN_GRACE_PERIOD" => PurchaseStage::Grace,
        "ON_HOLD" => PurchaseStage::Hold,
        "CANCELED" => PurchaseStage::Canceled,
        "EXPIRED" => PurchaseStage::Expired,
        "PENDING_PURCHASE_CANCELED" => PurchaseStage::PendingCanceled,
        _ => return None,
    })
}

/// Returns whether an acknowledgement state means that the purchase is acknowledged; `None` if the state is unknown.
pub(super) fn is_acknowledged(state: Option<&str>) -> Option<bool> {
    match state? {
        "ACKNOWLEDGEMENT_STATE_ACKNOWLEDGED" => Some(true),
        "ACKNOWLEDGEMENT_STATE_PENDING" => Some(false),
        _ => None,
    }
}

/// Returns the offer phase with this type name.
pub(super) fn named_phase(name: Option<&str>) -> Option<OfferPhase> {
    match name? {
        "BASE" => Some(OfferPhase::Base),
        "INTRODUCTORY" => Some(OfferPhase::Introductory),
        "FREE_TRIAL" => Some(OfferPhase::FreeTrial),
        _ => None,
    }
}

impl Canceled {
    const fn shown(&self) -> Option<Cancellation> {
        let (by, at) = match self {
            Self {
                replacement_cancellation: Some(_),
                ..
            } => (CanceledBy::Replacement, None),
            Self {
                user_initiated_cancellation: Some(customer),
                ..
            } => (CanceledBy::Customer, customer.cancel_time),
            Self {
                system_initiated_cancellation: Some(_),
                ..
            } => (CanceledBy::Store, None),
            Self {
                developer_initiated_cancellation: Some(_),
                ..
            } => (CanceledBy::Developer, None),
            _ => return None,
        };
        Some(Cancellation { by, at })
    }
}

impl Phase {
    fn named(&self) -> Option<OfferPhase> {
        let original = || {
            let name = self
                .proration_period
                .as_ref()?
                .original_offer_phase_type
                .as_deref();
            named_phase(name)
        };
        match self {
            Self {
                free_trial: Some(_),
                ..
            } => Some(OfferPhase::FreeTrial),
            Self {
                introductory_price: Some(_),
                ..
            } => Some(OfferPhase::Introductory),
            Self {
                base_price: Some(_),
                ..
            } => Some(OfferPhase::Base),
            _ => original(),
        }
    }
}

impl Item {
    fn shown(self) -> ShownItem {
        let (plan_id, offer_id) = match self.offer_details {
            Some(details) => (details.base_plan_id, details.offer_id),
            None => (None, None),
        };
        let planned = match (self.deferred_item_replacement, self.deferred_item_removal) {
            (Some(next), _) => Some(PlannedChange::Replacement {
                product_id: next.product_id,
            }),
            (None, Some(_)) => Some(PlannedChange::Removal),
            (None, None) => None,
        };
        // Google omits fields with a default value: an absent `autoRenewEnabled` means off.
        let renewal = match (&self.auto_renewing_plan, self.prepaid_plan) {
            (Some(plan), _) => Renewal::Automatic {
                is_on: plan.auto_renew_enabled == Some(true),
            },
            (None, Some(plan)) => Renewal::Prepaid {
                from: plan.allow_extend_after_time,
            },
            (None, None) => Renewal::None,
        };
        let (recurring_price, price_change, instalments) = match self.auto_renewing_plan {
            Some(plan) => (
                plan.recurring_price,
                plan.price_change_details.map(PriceChangeDetails::shown),
                plan.installment_details.map(|details| details.shown()),
            ),
            None => (None, None, None),
        };
        let replaced = self.item_replacement.map(|item| ReplacedItem {
            product_id: item.product_id,
            plan_id: item.base_plan_id,
            mode: item.replacement_mode,
        });
        let phase = self.offer_phase.as_ref();
        ShownItem {
            product_id: self.product_id,
            plan_id,
            offer_id,
            expires_at: self.expiry_time,
            order_id: self.latest_successful_order_id,
            phase: phase.and_then(Phase::named),
            is_prorated: phase.is_some_and(|phase| phase.proration_period.is_some()),
            renewal,
            recurring_price,
            price_change,
            instalments,
            planned,
            replaced,
            has_code: self.signup_promotion.is_some(),
            quantity: None,
            unrefunded_quantity: None,
            is_consumed: None,
        }
    }
}

impl PriceChangeDetails {
    fn shown(self) -> PriceChange {
        PriceChange {
            price: self.new_price,
            state: self.price_change_state,
            charged_from: self.expected_new_price_charge_time,
        }
    }
}

impl InstallmentDetails {
    const fn shown(&self) -> Instalments {
        Instalments {
            remaining: self.remaining_committed_payments_count,
            is_ending: self.pending_cancellation.is_some(),
        }
    }
}
