//! The state of a user's subscriptions. One-time purchases are not part of it.

use super::OwnedPurchase;
use crate::purchase::{Purchase, State};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The state of the user's subscriptions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Journey {
    /// Whether the user paid for a subscription before and has none now.
    pub former_subscriber: bool,
    /// Whether a subscription's payment failed and the store suspended access until the payment is repaired.
    pub in_account_hold: bool,
    /// Whether a running subscription's payment failed and the store grants a grace period.
    pub in_grace_period: bool,
    /// Whether a trial is running; false in a grace period after it.
    pub in_trial_period: bool,
    /// Whether a running subscription has its introductory price.
    pub in_intro_offer_period: bool,
    /// Whether a subscription is paused.
    pub in_pause: bool,
    /// Whether the user has running subscriptions and none of them will renew.
    pub is_cancelled: bool,
}

/// The input of a journey: one subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Subscription {
    pub state: State,
    pub was_paid: bool,
    pub is_in_trial: bool,
    pub is_in_intro_offer: bool,
    /// `None` while that is not known.
    pub renews: Option<bool>,
}

impl Journey {
    /// Returns the journey of the owner of these purchases.
    pub fn of(owned: &[OwnedPurchase]) -> Self {
        let subscriptions = || {
            owned
                .iter()
                .filter(|owned| !owned.purchase.is_one_time_purchase())
        };
        let counted = subscriptions().filter(|owned| owned.is_counted());
        let counted: Vec<_> = counted
            .map(|owned| Subscription::of(&owned.purchase))
            .collect();
        let journey = Self::with(&counted);
        // A plan that was paid and then replaced counts as paid.
        let was_paid = || subscriptions().any(|owned| owned.purchase.was_paid());
        let runs = counted
            .iter()
            .any(|one| one.state.is_active() == Some(true));
        Self {
            former_subscriber: !runs && (journey.former_subscriber || was_paid()),
            ..journey
        }
    }

    pub(super) fn with(subscriptions: &[Subscription]) -> Self {
        let running = || {
            subscriptions
                .iter()
                .filter(|one| one.state.is_active() == Some(true))
        };
        let runs = running().next().is_some();
        Self {
            former_subscriber: !runs && subscriptions.iter().any(|one| one.was_paid),
            in_account_hold: subscriptions
                .iter()
                .any(|one| one.state == State::AccountHold),
            in_grace_period: running().any(|one| one.state == State::Grace),
            in_trial_period: running().any(|one| one.is_in_trial),
            in_intro_offer_period: running().any(|one| one.is_in_intro_offer),
            in_pause: subscriptions.iter().any(|one| one.state == State::Paused),
            is_cancelled: runs && running().all(Subscription::will_end),
        }
    }
}

impl Subscription {
    fn of(purchase: &Purchase) -> Self {
        Self {
            state: purchase.state(),
            was_paid: purchase.was_paid(),
            is_in_trial: purchase.is_in_trial_period() == Some(true),
            is_in_intro_offer: purchase.is_in_intro_offer() == Some(true),
            renews: purchase.is_auto_renewable(),
        }
    }

    /// Whether it is known that the subscription will not renew.
    fn will_end(&self) -> bool {
        matches!(self.state, State::Off | State::TrialOff) || self.renews == Some(false)
    }
}
