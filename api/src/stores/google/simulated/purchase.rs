//! The simulated purchase, built from the notifications about it. Pure.
//!
//! A term lasts thirty days. While renewal is on, the next one is paid at its end. A grace period that no payment ends
//! is followed by a hold, and a hold by the end; a pause ends in a payment.

use super::super::sample::{ONE_TIME_PURCHASED, VOIDED};
use domain::Timestamp;
use domain::time::DAY;
use std::time::Duration;

const TERM: Duration = DAY.saturating_mul(30);
const GRACE: Duration = DAY.saturating_mul(7);
const HOLD: Duration = DAY.saturating_mul(30);
const PAUSE: Duration = DAY.saturating_mul(30);

/// A notification of the simulated store.
pub struct Sent {
    /// The store's type, such as `SUBSCRIPTION_RENEWED`.
    pub store_type: String,
    /// When the message was accepted.
    pub at: Timestamp,
}

/// A paid order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PaidOrder {
    pub paid_at: Timestamp,
    /// End of the paid term; without meaning for a one-time product.
    pub paid_until: Timestamp,
    pub refunded_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SimulatedStage {
    Active,
    Grace,
    Hold,
    Paused,
    /// The end of a subscription, or of a one-time purchase that was taken back.
    Over,
}

/// The party that turned renewal off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Canceled {
    /// The customer, at this time.
    Customer(Timestamp),
    Store,
    Developer,
}

/// A purchase to which notifications are being applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimulatedPurchase {
    pub is_subscription: bool,
    pub status: SimulatedStage,
    /// Beginning of the status.
    since: Timestamp,
    /// End of the status, unless a notification changes it before.
    until: Timestamp,
    pub canceled: Option<Canceled>,
    /// All orders, oldest first; there is at least one.
    pub orders: Vec<PaidOrder>,
}

impl SimulatedPurchase {
    /// Returns the purchase at `now`; `None` without a notification. `sent` is in the order of acceptance.
    pub fn of(sent: &[Sent], now: Timestamp) -> Option<Self> {
        let (first, rest) = sent.split_first()?;
        let mut purchase = Self::begin(first);
        // As the first notification, a renewal only begins the purchase and is not applied to it as well.
        let is_beginning = first.store_type == "SUBSCRIPTION_RENEWED";
        for one in if is_beginning { rest } else { sent } {
            purchase.pass(one.at);
            purchase.apply(one);
        }
        purchase.pass(now);
        Some(purchase)
    }

    fn begin(first: &Sent) -> Self {
        let until = first.at.plus(TERM);
        Self {
            is_subscription: first.store_type != ONE_TIME_PURCHASED,
            status: SimulatedStage::Active,
            since: first.at,
            until,
            canceled: None,
            orders: vec![PaidOrder {
                paid_at: first.at,
                paid_until: until,
                refunded_at: None,
            }],
        }
    }

    /// Advances a subscription to `now`.
    fn pass(&mut self, now: Timestamp) {
        while self.is_subscription && self.status != SimulatedStage::Over && self.until <= now {
            let at = self.until;
            match self.status {
                SimulatedStage::Active | SimulatedStage::Grace if self.canceled.is_some() => {
                    self.end(at)
                }
                SimulatedStage::Active | SimulatedStage::Paused => self.pay(at),
                SimulatedStage::Grace => self.enter(SimulatedStage::Hold, at, HOLD),
                SimulatedStage::Hold | SimulatedStage::Over => self.end(at),
            }
        }
    }

    fn apply(&mut self, one: &Sent) {
        let at = one.at;
        let is_over = self.status == SimulatedStage::Over;
        match one.store_type.as_str() {
            VOIDED => {
                if let Some(last) = self.orders.last_mut() {
                    last.refunded_at = last.refunded_at.or(Some(at));
                }
                self.cancel(Canceled::Developer);
                self.end(at);
            }
            _ if !self.is_subscription => {}
            "SUBSCRIPTION_PURCHASED" if is_over => self.pay(at),
            _ if is_over => {}
            "SUBSCRIPTION_RENEWED" => self.pay(at),
            "SUBSCRIPTION_RECOVERED" if self.status != SimulatedStage::Active => self.pay(at),
            "SUBSCRIPTION_IN_GRACE_PERIOD" => self.enter(SimulatedStage::Grace, at, GRACE),
            "SUBSCRIPTION_ON_HOLD" => self.enter(SimulatedStage::Hold, at, HOLD),
            "SUBSCRIPTION_PAUSED" => self.enter(SimulatedStage::Paused, at, PAUSE),
            "SUBSCRIPTION_CANCELED" => {
                self.cancel(Canceled::Customer(at));
                // There is no access that could last until the end of a term.
                if matches!(self.status, SimulatedStage::Hold | SimulatedStage::Paused) {
                    self.end(at);
                }
            }
            "SUBSCRIPTION_RESTARTED" => self.canceled = None,
            "SUBSCRIPTION_REVOKED" => {
                self.cancel(Canceled::Developer);
                self.end(at);
            }
            "SUBSCRIPTION_EXPIRED" => self.end(at),
            _ => {}
        }
    }

    /// Pays the next term. After a failed payment within the grace period, it begins where the last one ended.
    fn pay(&mut self, at: Timestamp) {
        let from = match self.status {
            SimulatedStage::Active => self.until,
            SimulatedStage::Grace => self.since,
            SimulatedStage::Hold | SimulatedStage::Paused | SimulatedStage::Over => at,
        };
        let paid_until = from.plus(TERM);
        self.orders.push(PaidOrder {
            paid_at: at,
            paid_until,
            refunded_at: None,
        });
        (self.status, self.since, self.until) = (SimulatedStage::Active, at, paid_until);
        self.canceled = None;
    }

    /// Enters a status, which lasts for `length`, unless it has it already.
    fn enter(&mut self, status: SimulatedStage, at: Timestamp, length: Duration) {
        if self.status != status {
            (self.status, self.since, self.until) = (status, at, at.plus(length));
        }
    }

    fn cancel(&mut self, canceled: Canceled) {
        self.canceled = self.canceled.or(Some(canceled));
    }

    /// Ends the purchase. The store ends one whose renewal is on.
    fn end(&mut self, at: Timestamp) {
        if self.status != SimulatedStage::Over {
            (self.status, self.since, self.until) = (SimulatedStage::Over, at, at);
            self.cancel(Canceled::Store);
        }
    }

    /// Returns the end of the term or of grace; without access, the time at which it ended. After a hold without a
    /// payment, it is the end of the hold, as with Google.
    pub const fn expires_at(&self) -> Timestamp {
        match self.status {
            SimulatedStage::Active | SimulatedStage::Grace => self.until,
            SimulatedStage::Hold | SimulatedStage::Paused | SimulatedStage::Over => self.since,
        }
    }

    /// Returns the planned end of a pause.
    pub fn resumes_at(&self) -> Option<Timestamp> {
        (self.status == SimulatedStage::Paused).then_some(self.until)
    }

    /// Returns the number of the last order, from 0.
    pub fn last_order(&self) -> usize {
        self.orders.len().saturating_sub(1)
    }
}
