//! The simulated purchase, built from the notifications about it. Pure.
//!
//! A month lasts thirty days. While renewal is on, the next period is paid at the end of the last one. A notification
//! of a failed payment or of an end also ends the running period. A grace period that no payment ends is followed by
//! billing retry, and that by the end.

use super::super::sample::{
    BILLING_RECOVERY, BILLING_RETRY, DOWNGRADE, EXPIRED_BILLING_RETRY, EXPIRED_VOLUNTARY,
    GRACE_PERIOD, GRACE_PERIOD_EXPIRED, INITIAL_BUY, ONE_TIME_CHARGE, REFUND, REFUND_REVERSED,
    RENEWAL_DISABLED, RENEWAL_ENABLED, RENEWED, RESUBSCRIBE, UPGRADE,
};
use domain::Timestamp;
use domain::time::DAY;
use std::time::Duration;

const MONTH: Duration = DAY.saturating_mul(30);
const YEAR: Duration = DAY.saturating_mul(365);
const GRACE: Duration = DAY.saturating_mul(16);
/// How long Apple tries to collect a failed payment, the grace period included.
const RETRY: Duration = DAY.saturating_mul(60);
/// The age of a purchase whose first notification is not that of its beginning.
const AGE: Duration = DAY;

/// Apple's numbers for the reason of an end.
const BY_CUSTOMER: i64 = 1;
const BY_BILLING: i64 = 2;

/// A notification of the simulated store.
pub struct Sent {
    /// The store's type with its subtype, such as `SUBSCRIBED.INITIAL_BUY`.
    pub store_type: String,
    /// When it was signed.
    pub at: Timestamp,
}

/// A product of the simulated store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SimulatedPlan {
    Monthly,
    Yearly,
    /// A one-time product.
    Lifetime,
}

impl SimulatedPlan {
    /// Returns the plan to which a subscription can change.
    const fn other(self) -> Self {
        match self {
            Self::Monthly => Self::Yearly,
            Self::Yearly => Self::Monthly,
            Self::Lifetime => Self::Lifetime,
        }
    }

    const fn length(self) -> Duration {
        match self {
            Self::Monthly => MONTH,
            Self::Yearly | Self::Lifetime => YEAR,
        }
    }
}

/// A paid period, which is one transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PaidPeriod {
    pub plan: SimulatedPlan,
    pub from: Timestamp,
    /// The end; without meaning for a one-time product.
    pub until: Timestamp,
    /// Whether the store renewed it. The customer bought all others.
    pub is_renewal: bool,
    /// Whether an upgrade replaced it.
    pub is_upgraded: bool,
    pub revoked_at: Option<Timestamp>,
}

impl PaidPeriod {
    const fn bought(plan: SimulatedPlan, from: Timestamp, until: Timestamp) -> Self {
        Self {
            plan,
            from,
            until,
            is_renewal: false,
            is_upgraded: false,
            revoked_at: None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SimulatedStage {
    Active,
    Grace,
    /// Billing retry, without access.
    Retry,
    Expired,
    /// The end by a refund.
    Revoked,
}

impl SimulatedStage {
    /// Returns Apple's number for the state of a subscription.
    pub const fn number(self) -> i64 {
        match self {
            Self::Active => 1,
            Self::Expired => 2,
            Self::Retry => 3,
            Self::Grace => 4,
            Self::Revoked => 5,
        }
    }
}

/// A purchase to which notifications are being applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimulatedPurchase {
    pub stage: SimulatedStage,
    /// Whether auto-renewal is on.
    pub renews: bool,
    /// The plan of the next period.
    pub next: SimulatedPlan,
    /// Apple's number for the reason of the end.
    pub intent: Option<i64>,
    /// The beginning of the running row of periods.
    pub began_at: Timestamp,
    /// When a payment failed last.
    failed_at: Timestamp,
    /// The periods before the current one, oldest first.
    past: Vec<PaidPeriod>,
    pub current: PaidPeriod,
}

impl SimulatedPurchase {
    /// Returns the purchase at `now`; `None` without a notification. `sent` is in the order of signing.
    pub fn of(sent: &[Sent], now: Timestamp) -> Option<Self> {
        let (first, rest) = sent.split_first()?;
        let (mut purchase, is_applied) = Self::begin(first);
        for one in if is_applied { rest } else { sent } {
            purchase.pass(one.at);
            purchase.apply(one);
        }
        purchase.pass(now);
        Some(purchase)
    }

    /// Returns the purchase that a first notification shows, and whether the notification is thereby applied.
    fn begin(first: &Sent) -> (Self, bool) {
        let (plan, from, is_applied) = match first.store_type.as_str() {
            ONE_TIME_CHARGE => (SimulatedPlan::Lifetime, first.at, true),
            INITIAL_BUY | RESUBSCRIBE => (SimulatedPlan::Monthly, first.at, true),
            // The renewal follows at the end of the period.
            RENEWED => (SimulatedPlan::Monthly, first.at.minus(MONTH), true),
            _ => (SimulatedPlan::Monthly, first.at.minus(AGE), false),
        };
        let purchase = Self {
            stage: SimulatedStage::Active,
            renews: plan != SimulatedPlan::Lifetime,
            next: plan,
            intent: None,
            began_at: from,
            failed_at: from,
            past: Vec::new(),
            current: PaidPeriod::bought(plan, from, from.plus(plan.length())),
        };
        (purchase, is_applied)
    }

    /// Returns whether it is no one-time purchase.
    pub fn is_subscription(&self) -> bool {
        self.current.plan != SimulatedPlan::Lifetime
    }

    /// Returns all periods, oldest first.
    pub fn periods(&self) -> impl Iterator<Item = &PaidPeriod> {
        self.past.iter().chain(std::iter::once(&self.current))
    }

    /// Returns the number of the current period, from 0.
    pub fn number(&self) -> usize {
        self.past.len()
    }

    /// Returns the end of the grace period; `None` in any other stage.
    pub fn grace_ends_at(&self) -> Option<Timestamp> {
        (self.stage == SimulatedStage::Grace).then(|| self.failed_at.plus(GRACE))
    }

    fn is_over(&self) -> bool {
        matches!(
            self.stage,
            SimulatedStage::Expired | SimulatedStage::Revoked
        )
    }

    /// Returns when the stage ends without a notification.
    fn stage_ends_at(&self) -> Option<Timestamp> {
        match self.stage {
            _ if !self.is_subscription() => None,
            SimulatedStage::Active => Some(self.current.until),
            SimulatedStage::Grace => Some(self.failed_at.plus(GRACE)),
            SimulatedStage::Retry => Some(self.failed_at.plus(RETRY)),
            SimulatedStage::Expired | SimulatedStage::Revoked => None,
        }
    }

    /// Advances a subscription to `now`.
    fn pass(&mut self, now: Timestamp) {
        while let Some(at) = self.stage_ends_at().filter(|at| *at <= now) {
            match self.stage {
                SimulatedStage::Active if self.renews => self.renew(at),
                SimulatedStage::Grace if self.renews => self.stage = SimulatedStage::Retry,
                SimulatedStage::Retry => self.expire(at, BY_BILLING),
                _ => self.expire(at, BY_CUSTOMER),
            }
        }
    }

    fn apply(&mut self, one: &Sent) {
        let at = one.at;
        match one.store_type.as_str() {
            REFUND => self.revoke(at),
            REFUND_REVERSED => self.reinstate(at),
            _ if !self.is_subscription() => {}
            INITIAL_BUY | RESUBSCRIBE if self.is_over() => {
                let plan = self.next;
                self.pay(PaidPeriod::bought(plan, at, at.plus(plan.length())));
                self.began_at = at;
            }
            _ if self.is_over() => {}
            RENEWED => self.renew(at),
            BILLING_RECOVERY if self.stage != SimulatedStage::Active => self.renew(at),
            UPGRADE => {
                let plan = self.current.plan.other();
                self.current.is_upgraded = true;
                self.pay(PaidPeriod::bought(plan, at, at.plus(plan.length())));
            }
            // Like Apple's, it turns renewal on.
            DOWNGRADE => (self.next, self.renews) = (self.current.plan.other(), true),
            RENEWAL_DISABLED => {
                self.renews = false;
                if self.stage == SimulatedStage::Retry {
                    self.expire(at, BY_CUSTOMER);
                }
            }
            RENEWAL_ENABLED => self.renews = true,
            GRACE_PERIOD => self.fail(SimulatedStage::Grace, at),
            BILLING_RETRY | GRACE_PERIOD_EXPIRED => self.fail(SimulatedStage::Retry, at),
            EXPIRED_VOLUNTARY => self.expire(at, BY_CUSTOMER),
            EXPIRED_BILLING_RETRY => self.expire(at, BY_BILLING),
            _ => {}
        }
    }

    /// Pays the next period. It follows the last one without a gap, also after a failed payment within the grace
    /// period.
    fn renew(&mut self, at: Timestamp) {
        let begin = match self.stage {
            SimulatedStage::Active | SimulatedStage::Grace => self.current.until,
            _ => at,
        };
        let until = begin.plus(self.next.length());
        self.pay(PaidPeriod {
            is_renewal: true,
            ..PaidPeriod::bought(self.next, at, until)
        });
    }

    fn pay(&mut self, period: PaidPeriod) {
        self.past.push(std::mem::replace(&mut self.current, period));
        self.stage = SimulatedStage::Active;
        (self.renews, self.next, self.intent) = (true, period.plan, None);
    }

    /// Lets the payment of the next period fail.
    fn fail(&mut self, stage: SimulatedStage, at: Timestamp) {
        match self.stage {
            SimulatedStage::Active => {
                (self.stage, self.failed_at, self.current.until) = (stage, at, at);
            }
            SimulatedStage::Grace => self.stage = stage,
            _ => {}
        }
    }

    fn expire(&mut self, at: Timestamp, intent: i64) {
        self.current.until = self.current.until.min(at);
        (self.stage, self.renews) = (SimulatedStage::Expired, false);
        (self.next, self.intent) = (self.current.plan, Some(intent));
    }

    /// Refunds the current period, which ends the purchase.
    fn revoke(&mut self, at: Timestamp) {
        self.current.revoked_at = self.current.revoked_at.or(Some(at));
        if !self.is_over() {
            (self.stage, self.renews) = (SimulatedStage::Revoked, false);
        }
    }

    /// Takes the refund of the current period back. Renewal stays off.
    fn reinstate(&mut self, at: Timestamp) {
        let is_refunded = self.current.revoked_at.take().is_some();
        if !is_refunded || self.stage != SimulatedStage::Revoked {
            return;
        }
        if self.is_subscription() && self.current.until <= at {
            self.expire(at, BY_CUSTOMER);
        } else {
            self.stage = SimulatedStage::Active;
        }
    }
}
