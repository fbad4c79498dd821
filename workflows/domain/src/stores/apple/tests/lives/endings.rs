//! The ends of a simulated subscription, and what follows them.

use super::chance::Chance;
use super::changes::{APART, Announced, Feature, pay, renew, revocation};
use super::truth::{Offered, PRODUCTS, Truth};
use crate::notification::NotificationKind::{Expired, SubscriptionPurchased, Unknown};
use crate::period::RefundExtent;
use crate::purchase::State;
use crate::stores::apple::{Intent, OfferKind, Ownership, SubscriptionStatus, TransactionCause};
use crate::time::{DAY, HOUR};

pub fn expire(truth: &mut Truth, intent: Intent) -> Announced {
    truth.at = truth.period_end().max(truth.at.plus(APART));
    let was_trial = truth.in_trial;
    truth.end(intent);
    truth.in_trial = false;
    let expected = if was_trial {
        "journey.trial.did_not_convert expired"
    } else {
        "expired"
    };
    Announced::new(Feature::Expired, Expired, expected)
}

/// A refund of the current period, or the end of what another customer paid.
pub fn revoke(truth: &mut Truth, chance: &mut Chance) -> Announced {
    let is_shared = truth.ownership == Ownership::Family;
    let mut revocation = revocation(truth.at, chance);
    if is_shared {
        revocation.extent = RefundExtent::Full;
    }
    truth.revoke(revocation);
    truth.status = if chance.percent(50) {
        SubscriptionStatus::Revoked
    } else {
        SubscriptionStatus::Expired
    };
    truth.renewal.is_on &= chance.percent(50);
    truth.renewal.is_retried = false;
    truth.renewal.grace_ends_at = None;
    let was_trial = std::mem::take(&mut truth.in_trial);
    let feature = if is_shared {
        Feature::FamilyRevoked
    } else {
        Feature::Refunded
    };
    let expected = if was_trial {
        "journey.trial.did_not_convert expired"
    } else {
        "expired"
    };
    Announced::new(feature, Unknown, expected)
}

/// A refund of what was renewed just before.
pub fn refund_renewal(truth: &mut Truth, chance: &mut Chance) -> Announced {
    let from = truth.at.max(truth.period().bought_at);
    truth.at = from.plus(APART).plus_millis(chance.below(86_400_000 * 7));
    revoke(truth, chance)
}

pub fn change_over(truth: &mut Truth, chance: &mut Chance) -> Announced {
    let end = truth.period_end();
    let is_refunded = truth.period().revocation.is_some_and(|one| one.ends_access);
    let is_buyer = truth.ownership == Ownership::Buyer;
    let has_run = truth.renewal.intent.is_none() && truth.at.plus(DAY) < end;
    truth.at = truth.at.plus(APART);
    match chance.below(100) {
        0..45 if is_refunded && is_buyer => return reverse(truth),
        45..55 if is_refunded && has_run && truth.renewal.is_on => {
            return renew(truth, chance);
        }
        0..20 if !is_refunded && is_buyer && !truth.price(truth.period()).is_zero() => {
            let at = truth.at;
            let access_until = truth.access_until;
            truth.revoke(revocation(at, chance));
            truth.access_until = access_until;
            return Announced::new(Feature::RefundedAfterEnd, Unknown, "");
        }
        55..75 if is_refunded && !truth.renewal.is_on && truth.at < end => {
            let mut announced = expire(truth, Intent::Customer);
            announced.expected = String::new();
            return announced;
        }
        _ => {}
    }
    resubscribe(truth, chance)
}

fn reverse(truth: &mut Truth) -> Announced {
    let current = truth.current.clone();
    truth.change(&current).revocation = None;
    let end = truth.period_end();
    truth.access_until = end;
    if truth.at.plus(HOUR) > end || truth.renewal.intent.is_some() {
        truth.state = State::Expired;
        truth.status = SubscriptionStatus::Expired;
        return Announced::new(Feature::ReversedAfterEnd, Unknown, "");
    }
    truth.status = SubscriptionStatus::Active;
    truth.state = truth.running();
    let committed = truth
        .renewal
        .committed_until
        .filter(|_| !truth.renewal.is_on);
    truth.access_until = committed.unwrap_or(end);
    let is_planned = truth.renewal.next_product.as_ref() != Some(&truth.renewal.product);
    let expected = if is_planned && truth.renewal.is_on {
        "resumed pending_sku_change"
    } else {
        "resumed"
    };
    Announced::new(Feature::Reversed, Unknown, expected)
}

fn resubscribe(truth: &mut Truth, chance: &mut Chance) -> Announced {
    let lapse = chance.between(1, 80);
    truth.at = truth.at.plus(DAY * u32::try_from(lapse).expect("days"));
    if truth.at < truth.period_end()
        && !truth.period().revocation.is_some_and(|one| one.ends_access)
    {
        truth.at = truth.period_end().plus(HOUR);
    }
    // Apple's row goes on behind a short lapse; examples of testers show a new one.
    let is_new_row = truth.at.since(truth.access_until) >= DAY * 60 || chance.percent(50);
    if is_new_row {
        truth.renewal.began_at = Some(truth.at);
        truth.cycle = 0;
    }
    truth.renewal.committed_until = None;
    let is_free = chance.percent(25);
    let offered = Offered {
        product: chance.pick(&PRODUCTS).0,
        cause: TransactionCause::Purchase,
        offer: is_free.then_some(OfferKind::WinBack),
        is_free,
    };
    truth.buy(offered, truth.at);
    pay(truth);
    truth.renewal.is_on = true;
    truth.in_trial = is_free;
    truth.state = truth.running();
    let expected = if is_free {
        "journey.trial.started purchased"
    } else {
        "purchased"
    };
    Announced::new(Feature::Resubscribed, SubscriptionPurchased, expected)
}
