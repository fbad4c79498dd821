//! Turns a purchase as Google shows it into the domain's form, which decides what it means.

use super::money::Money;
use super::request::PlanId;
use super::shown::{
    CanceledBy, Cancellation, OfferPhase, OrderRefund, OrderState, PlannedChange, PurchaseKind,
    PurchaseStage, PurchaseToken, Renewal, ShownItem, ShownOrder, ShownPurchase,
};
use domain::Timestamp;
use domain::period;
use domain::stores::google as play;
use domain::verification::Product;
use rust_decimal::Decimal;

/// Returns the plan of the item that identifies a subscription; `None` for one without a plan, and for a one-time
/// purchase, whose option has no term.
pub fn current_plan(shown: &ShownPurchase) -> Option<PlanId> {
    let is_subscription = shown.kind == PurchaseKind::Subscription;
    let plan = |item: &ShownItem| {
        Some(PlanId {
            product_id: item.product_id.clone(),
            plan_id: item.plan_id.clone()?,
        })
    };
    let paid = shown.items.iter().filter(|item| item.order_id.is_some());
    let last = paid.rev().max_by_key(|item| item.expires_at);
    let item = last.or_else(|| shown.items.first());
    item.filter(|_| is_subscription).and_then(plan)
}

/// Returns the domain's form of a purchase with this token.
pub fn answer(token: &PurchaseToken, shown: &ShownPurchase) -> play::PurchaseAnswer {
    // The item that a later plan change leaves running names the last order of the purchase before.
    let is_own = |order: &&ShownOrder| order.token.as_ref().is_none_or(|paid| paid == token);
    play::PurchaseAnswer {
        at: shown.at,
        is_subscription: shown.kind == PurchaseKind::Subscription,
        status: status(shown.stage),
        started_at: shown.started_at,
        country: shown.country.clone(),
        is_acknowledged: shown.is_acknowledged,
        is_test: shown.is_test,
        items: shown.items.iter().map(item).collect(),
        orders: shown.orders.iter().filter(is_own).map(order).collect(),
        cancellation: shown.cancellation.map(cancellation),
        resumes_at: shown.resumes_at,
        linked: shown
            .linked
            .as_ref()
            .map(|linked| linked.as_str().to_owned()),
        term: shown.term,
        listed: Product::Unknown,
    }
}

const fn status(stage: PurchaseStage) -> play::Status {
    match stage {
        PurchaseStage::Pending => play::Status::Pending,
        PurchaseStage::Active => play::Status::Active,
        PurchaseStage::Grace => play::Status::Grace,
        PurchaseStage::Hold => play::Status::Hold,
        PurchaseStage::Paused => play::Status::Paused,
        PurchaseStage::Canceled => play::Status::Canceled,
        PurchaseStage::Expired => play::Status::Expired,
        PurchaseStage::PendingCanceled => play::Status::PendingCanceled,
        PurchaseStage::Voided => play::Status::Voided,
    }
}

const fn cancellation(shown: Cancellation) -> (play::Cancellation, Option<Timestamp>) {
    let by = match shown.by {
        CanceledBy::Customer => play::Cancellation::User,
        CanceledBy::Store => play::Cancellation::System,
        CanceledBy::Developer => play::Cancellation::Developer,
        CanceledBy::Replacement => play::Cancellation::Replacement,
    };
    (by, shown.at)
}

const fn phase(shown: OfferPhase) -> period::OfferPhase {
    match shown {
        OfferPhase::Base => period::OfferPhase::Base,
        OfferPhase::FreeTrial => period::OfferPhase::Trial,
        OfferPhase::Introductory => period::OfferPhase::Introductory,
    }
}

fn item(shown: &ShownItem) -> play::ItemAnswer {
    let planned = shown.planned.as_ref().map(|planned| match planned {
        PlannedChange::Replacement { product_id } => {
            play::PlannedItem::Replacement(product_id.clone().unwrap_or_default())
        }
        PlannedChange::Removal => play::PlannedItem::Removal,
    });
    let renews = match shown.renewal {
        Renewal::Automatic { is_on } => Some(is_on),
        Renewal::Prepaid { .. } | Renewal::None => None,
    };
    play::ItemAnswer {
        product: shown.product_id.clone(),
        plan: shown.plan_id.clone(),
        expires_at: shown.expires_at,
        order: shown.order_id.clone(),
        phase: shown.phase.map(phase),
        has_code: shown.has_code,
        renews,
        is_prepaid: matches!(shown.renewal, Renewal::Prepaid { .. }),
        ends_after_commitment: shown.instalments.is_some_and(|plan| plan.is_ending),
        // Google omits a number that is zero.
        committed_payments: shown
            .instalments
            .and_then(|plan| plan.remaining)
            .unwrap_or_default(),
        planned,
        quantity: shown.quantity,
        unrefunded: shown.unrefunded_quantity,
        is_consumed: shown.is_consumed == Some(true),
    }
}

/// Returns the domain's form of an order.
pub fn order(shown: &ShownOrder) -> play::OrderAnswer {
    let first = shown.lines.first();
    let processed = shown.refunds.iter().filter(|refund| refund.is_processed);
    let sum = |part: fn(&OrderRefund) -> Option<&Money>| {
        let amounts = processed
            .clone()
            .map(|refund| part(refund).map(|money| money.amount));
        let amounts: Option<Vec<Decimal>> = amounts.collect();
        let amounts = amounts.filter(|amounts| !amounts.is_empty());
        amounts.map(|amounts| amounts.into_iter().sum::<Decimal>())
    };
    let tax = shown.tax.as_ref().map(|tax| tax.amount);
    // Google does not say whether the details of a full refund include the partial ones before it.
    let refunded_tax = sum(|refund| refund.tax.as_ref())
        .map(|refunded| tax.map_or(refunded, |tax| refunded.min(tax)));
    play::OrderAnswer {
        id: shown.id.clone(),
        state: order_state(shown.state),
        created_at: shown.created_at,
        total: shown.total.as_ref().map(|total| total.amount),
        currency: shown
            .total
            .as_ref()
            .and_then(|total: &Money| total.currency.clone()),
        tax,
        country: shown.country.clone(),
        phase: first.and_then(|line| line.phase).map(phase),
        paid_from: shown.lines.iter().filter_map(|line| line.period_from).min(),
        paid_until: shown
            .lines
            .iter()
            .filter_map(|line| line.period_until)
            .max(),
        refunded: sum(|refund| refund.total.as_ref()),
        refunded_at: processed.clone().filter_map(|refund| refund.at).max(),
        refunded_tax,
    }
}

const fn order_state(shown: OrderState) -> play::OrderState {
    match shown {
        OrderState::Pending => play::OrderState::Pending,
        OrderState::Processed => play::OrderState::Processed,
        OrderState::Canceled => play::OrderState::Canceled,
        OrderState::PendingRefund => play::OrderState::PendingRefund,
        OrderState::PartiallyRefunded => play::OrderState::PartiallyRefunded,
        OrderState::Refunded => play::OrderState::Refunded,
        OrderState::Unknown => play::OrderState::Unknown,
    }
}
