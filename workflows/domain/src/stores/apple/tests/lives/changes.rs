//! The changes of a simulated subscription: each with its notification and the events that it causes.

use super::chance::Chance;
use super::endings::{change_over, expire, refund_renewal, revoke};
use super::truth::{Message, Offered, PRODUCTS, Truth, beginning};
use crate::notification::NotificationKind::{
    self, AutoRenewalOff, AutoRenewalOn, GraceBegan, Renewed, SubscriptionPurchased, Unknown,
};
use crate::period::RefundExtent;
use crate::purchase::State;
use crate::stores::apple::{
    Intent, OfferKind, Ownership, Revocation, SubscriptionStatus, TransactionCause,
};
use crate::time::{DAY, HOUR, MINUTE, Timestamp};
use std::time::Duration;

const MAX_CHANGES: usize = 18;
/// How long before what it announces a notification may be signed (facts of real ones).
const SIGNED_BEFORE: Duration = Duration::from_secs(33);
/// The least time between two changes.
pub const APART: Duration = MINUTE.saturating_mul(20);

/// What changes, to count how often it happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Feature {
    Begun,
    BegunFree,
    Renewed,
    RenewedFree,
    /// A renewal was signed before it began.
    SignedBefore,
    Downgraded,
    Off,
    On,
    Planned,
    Withdrawn,
    Upgraded,
    UpgradedInGrace,
    UpgradedInHold,
    Grace,
    Hold,
    Recovered,
    OffUnpaid,
    Expired,
    Resubscribed,
    Refunded,
    RefundedUnpaid,
    RefundedAfterEnd,
    RefundedOlder,
    Reversed,
    ReversedAfterEnd,
    ReversedOlder,
    SeatsAdded,
    SeatsReturned,
    FamilyRevoked,
    Committed,
    Silent,
}

impl Feature {
    pub const ALL: [Self; 31] = [
        Self::Begun,
        Self::BegunFree,
        Self::Renewed,
        Self::RenewedFree,
        Self::SignedBefore,
        Self::Downgraded,
        Self::Off,
        Self::On,
        Self::Planned,
        Self::Withdrawn,
        Self::Upgraded,
        Self::UpgradedInGrace,
        Self::UpgradedInHold,
        Self::Grace,
        Self::Hold,
        Self::Recovered,
        Self::OffUnpaid,
        Self::Expired,
        Self::Resubscribed,
        Self::Refunded,
        Self::RefundedUnpaid,
        Self::RefundedAfterEnd,
        Self::RefundedOlder,
        Self::Reversed,
        Self::ReversedAfterEnd,
        Self::ReversedOlder,
        Self::SeatsAdded,
        Self::SeatsReturned,
        Self::FamilyRevoked,
        Self::Committed,
        Self::Silent,
    ];
}

/// A change of the truth.
#[derive(Debug, Clone)]
pub struct Change {
    pub feature: Feature,
    pub message: Message,
    /// The events that it causes.
    pub expected: String,
    /// The truth behind it.
    pub truth: Truth,
}

/// What a change announces.
pub struct Announced {
    pub feature: Feature,
    pub kind: NotificationKind,
    pub expected: String,
    /// The transaction of the notification, if it is not the current one.
    pub about: Option<String>,
    pub signed_at: Option<Timestamp>,
}

impl Announced {
    pub fn new(feature: Feature, kind: NotificationKind, expected: &str) -> Self {
        Self {
            feature,
            kind,
            expected: expected.to_owned(),
            about: None,
            signed_at: None,
        }
    }
}

/// A random life, by its changes.
pub fn life(chance: &mut Chance) -> Vec<Change> {
    let kind = chance.below(100);
    let ownership = match kind {
        0..12 => Ownership::Family,
        12..14 => Ownership::Unknown,
        _ => Ownership::Buyer,
    };
    let is_committed = (14..34).contains(&kind);
    let committed_until = is_committed.then(|| beginning().plus(DAY * 360));
    let mut truth = Truth::new(beginning(), ownership, committed_until);
    let first = begin(&mut truth, chance);
    let mut changes = vec![done(first, truth)];
    while changes.len() < MAX_CHANGES {
        let mut truth = changes.last().expect("a change").truth.clone();
        let is_renewed = matches!(
            changes.last().map(|last| last.feature),
            Some(Feature::Renewed | Feature::SignedBefore)
        );
        let is_buyer = truth.ownership == Ownership::Buyer;
        let announced = if is_renewed && is_buyer && chance.percent(12) {
            refund_renewal(&mut truth, chance)
        } else {
            change(&mut truth, chance)
        };
        changes.push(done(announced, truth));
        if chance.percent(3) {
            break;
        }
    }
    changes
}

fn done(announced: Announced, truth: Truth) -> Change {
    let about = announced.about.as_ref().unwrap_or(&truth.current);
    let signed_at = announced.signed_at.unwrap_or(truth.at);
    Change {
        feature: announced.feature,
        message: truth.message(announced.kind, about, signed_at),
        expected: announced.expected,
        truth,
    }
}

fn begin(truth: &mut Truth, chance: &mut Chance) -> Announced {
    let is_committed = truth.renewal.committed_until.is_some();
    let is_free = !is_committed && chance.percent(35);
    let offer = is_free.then_some(OfferKind::Introductory);
    let product = if is_committed {
        "gold"
    } else {
        chance.pick(&PRODUCTS).0
    };
    let offered = Offered {
        product,
        cause: TransactionCause::Purchase,
        offer,
        is_free,
    };
    truth.buy(offered, truth.at);
    truth.in_trial = is_free;
    truth.state = truth.running();
    if is_free {
        let expected = "journey.trial.started purchased";
        return Announced::new(Feature::BegunFree, SubscriptionPurchased, expected);
    }
    Announced::new(Feature::Begun, SubscriptionPurchased, "purchased")
}

/// The next change.
fn change(truth: &mut Truth, chance: &mut Chance) -> Announced {
    if let Some(silent) = change_silently(truth, chance) {
        return silent;
    }
    match truth.state {
        State::Trial | State::Active | State::TrialOff | State::Off => {
            change_running(truth, chance)
        }
        State::Grace | State::AccountHold => change_unpaid(truth, chance),
        State::Expired | State::Revoked => change_over(truth, chance),
        other => panic!("no change of {other:?}"),
    }
}

/// A change that no event announces, of older periods or of seats.
fn change_silently(truth: &mut Truth, chance: &mut Chance) -> Option<Announced> {
    if !chance.percent(20) {
        return None;
    }
    let later = truth.at.plus(APART);
    let current = truth.current.clone();
    let is_buyer = truth.ownership == Ownership::Buyer;
    let runs = !truth.is_over() && !matches!(truth.state, State::Grace | State::AccountHold);
    let in_period =
        runs && later.plus(HOUR) < truth.period_end() && later > truth.period().bought_at;
    let older = truth.transactions.iter();
    let older = older.filter(|one| one.transaction_id != current && !truth.price(one).is_zero());
    let (refunded, paid): (Vec<_>, Vec<_>) = older.partition(|one| one.revocation.is_some());
    let ids = |all: Vec<&_>| {
        let ids = all.into_iter();
        ids.map(|one: &crate::stores::apple::TransactionFact| one.transaction_id.clone())
            .collect::<Vec<_>>()
    };
    let (refunded, paid) = (ids(refunded), ids(paid));
    let pick = |chance: &mut Chance, from: &[String]| {
        let count = i64::try_from(from.len()).expect("a count");
        let index = usize::try_from(chance.below(count)).expect("an index");
        from.get(index).cloned()
    };
    let choice = chance.below(100);
    let (feature, about) = match choice {
        0..40 if !paid.is_empty() => (Feature::RefundedOlder, pick(chance, &paid)?),
        40..60 if !refunded.is_empty() => (Feature::ReversedOlder, pick(chance, &refunded)?),
        60..75 if in_period && is_buyer && !truth.in_trial => {
            truth.at = later;
            (Feature::SeatsAdded, truth.add_seats())
        }
        75..85 if in_period && is_buyer && truth.period().revocation.is_none() => {
            (Feature::SeatsReturned, current)
        }
        85.. => (Feature::Silent, current),
        _ => return None,
    };
    truth.at = later;
    match feature {
        Feature::RefundedOlder => {
            truth.change(&about).revocation = Some(revocation(later, chance));
        }
        Feature::ReversedOlder => truth.change(&about).revocation = None,
        Feature::SeatsReturned => {
            truth.change(&about).revocation = Some(Revocation {
                at: later,
                extent: RefundExtent::Units(2),
                ends_access: false,
            });
        }
        _ => {}
    }
    Some(Announced {
        about: Some(about),
        ..Announced::new(feature, Unknown, "")
    })
}

pub fn revocation(at: Timestamp, chance: &mut Chance) -> Revocation {
    Revocation {
        at,
        extent: if chance.percent(70) {
            RefundExtent::Full
        } else {
            RefundExtent::Mille(500)
        },
        ends_access: true,
    }
}

fn change_running(truth: &mut Truth, chance: &mut Chance) -> Announced {
    let is_off = !truth.renewal.is_on;
    let is_committed = truth.renewal.committed_until.is_some();
    let is_shared = truth.ownership != Ownership::Buyer;
    // What the customer does in the period, if there is time left.
    let until = truth.period_end().minus(HOUR * 2);
    let left = until.millis_since(truth.at.plus(APART));
    let choice = chance.below(100);
    if left > 0 && choice >= if is_committed { 75 } else { 40 } {
        truth.at = truth.at.plus(APART).plus_millis(chance.below(left));
        let is_planned = truth.renewal.next_product.as_ref() != Some(&truth.renewal.product);
        if is_planned && !is_off && chance.percent(40) {
            return withdraw(truth);
        }
        return match chance.below(100) {
            0..35 if is_off => switch_on(truth),
            0..35 => switch_off(truth, Feature::Off),
            35..50 if is_committed && !is_off => switch_off(truth, Feature::Off),
            35..60 if is_shared => revoke(truth, chance),
            35..55 if truth.in_trial || truth.at < truth.period().bought_at => {
                Announced::new(Feature::Silent, Unknown, "")
            }
            35..55 => revoke(truth, chance),
            55..80 if !is_committed => upgrade(truth, chance, Feature::Upgraded),
            80..100 if !is_committed => plan(truth, chance),
            _ => Announced::new(Feature::Silent, Unknown, ""),
        };
    }
    let ends = truth
        .renewal
        .committed_until
        .is_none_or(|end| end <= truth.period_end());
    if is_off && ends {
        return expire(truth, Intent::Customer);
    }
    match choice % 10 {
        0 | 1 if !is_committed && !is_shared => fail(truth, chance, SubscriptionStatus::Grace),
        2 | 4 if !is_committed && !is_shared => fail(truth, chance, SubscriptionStatus::Retry),
        3 if !is_committed && chance.percent(30) => expire(truth, Intent::PriceIncrease),
        _ => renew(truth, chance),
    }
}

fn switch_on(truth: &mut Truth) -> Announced {
    truth.renewal.is_on = true;
    let is_planned = truth.renewal.next_product.as_ref() != Some(&truth.renewal.product);
    let expected = match (truth.state, is_planned) {
        // An account hold announces nothing.
        (State::AccountHold, _) => "",
        (_, true) => "resumed pending_sku_change",
        (_, false) => "resumed",
    };
    if !matches!(truth.state, State::Grace | State::AccountHold) {
        truth.state = truth.running();
        truth.access_until = truth.period_end();
    }
    Announced::new(Feature::On, AutoRenewalOn, expected)
}

fn switch_off(truth: &mut Truth, feature: Feature) -> Announced {
    truth.renewal.is_on = false;
    if feature == Feature::Off {
        truth.state = truth.running();
        if let Some(end) = truth.renewal.committed_until {
            truth.access_until = end;
            return Announced::new(Feature::Committed, AutoRenewalOff, "cancelled");
        }
    }
    let expected = if truth.state == State::AccountHold {
        ""
    } else {
        "cancelled"
    };
    Announced::new(feature, AutoRenewalOff, expected)
}

/// Another product than these.
fn another(chance: &mut Chance, except: &[Option<&str>]) -> &'static str {
    loop {
        let product = chance.pick(&PRODUCTS).0;
        if !except.contains(&Some(product)) {
            return product;
        }
    }
}

fn withdraw(truth: &mut Truth) -> Announced {
    truth.renewal.next_product = Some(truth.renewal.product.clone());
    Announced::new(Feature::Withdrawn, Unknown, "")
}

fn plan(truth: &mut Truth, chance: &mut Chance) -> Announced {
    let renewal = &mut truth.renewal;
    let except = [
        Some(renewal.product.as_str()),
        renewal.next_product.as_deref(),
    ];
    renewal.next_product = Some(another(chance, &except).to_owned());
    let was_off = !std::mem::replace(&mut renewal.is_on, true);
    truth.state = truth.running();
    let expected = if was_off {
        "resumed pending_sku_change"
    } else {
        "pending_sku_change"
    };
    Announced::new(Feature::Planned, Unknown, expected)
}

fn upgrade(truth: &mut Truth, chance: &mut Chance, feature: Feature) -> Announced {
    let product = another(chance, &[Some(&truth.renewal.product)]);
    // What was switched off in an account hold is not announced.
    let was_off = !truth.renewal.is_on && feature != Feature::UpgradedInHold;
    let is_free = truth.in_trial && feature == Feature::Upgraded && chance.percent(30);
    let current = truth.current.clone();
    truth.change(&current).is_upgraded = true;
    let offered = Offered {
        product,
        cause: TransactionCause::Purchase,
        offer: is_free.then_some(OfferKind::Introductory),
        is_free,
    };
    truth.buy(offered, truth.at);
    pay(truth);
    truth.renewal.is_on = true;
    truth.in_trial = is_free;
    truth.state = truth.running();
    let expected = if was_off {
        "resumed sku_change"
    } else {
        "sku_change"
    };
    Announced {
        signed_at: Some(truth.at.minus(SIGNED_BEFORE / 3)),
        ..Announced::new(feature, Unknown, expected)
    }
}

/// What a payment leaves of an earlier failure.
pub fn pay(truth: &mut Truth) {
    truth.status = SubscriptionStatus::Active;
    truth.renewal.is_retried = false;
    truth.renewal.grace_ends_at = None;
    truth.renewal.intent = None;
}

pub fn renew(truth: &mut Truth, chance: &mut Chance) -> Announced {
    let from = truth.period_end();
    let earliest = truth.at.plus(APART);
    let committed = truth.renewal.committed_until;
    truth.renewal.committed_until = committed.filter(|end| *end > from);
    let signed_at = match chance.below(4) {
        0 => from.plus_millis(-chance.below(86_400_000)),
        1 => from.minus(SIGNED_BEFORE),
        _ => from.plus_millis(chance.below(7_200_000)),
    };
    let signed_at = signed_at.max(earliest);
    let is_free = !truth.in_trial && chance.percent(8);
    let mut announced = collect(truth, from, is_free, "renewed");
    truth.at = signed_at;
    announced.feature = match announced.feature {
        Feature::Renewed if is_free => Feature::RenewedFree,
        Feature::Renewed if signed_at < from => Feature::SignedBefore,
        feature => feature,
    };
    truth.state = truth.running();
    let end = truth
        .renewal
        .committed_until
        .filter(|_| !truth.renewal.is_on);
    truth.access_until = end.unwrap_or(truth.access_until);
    announced
}

/// Collects the payment of the next period.
fn collect(truth: &mut Truth, from: Timestamp, is_free: bool, event: &str) -> Announced {
    let product = truth.renewal.next_product.clone();
    let product = product.expect("a product");
    let is_changed = product != truth.renewal.product;
    let is_on = truth.renewal.is_on;
    let offered = Offered {
        product: &product,
        cause: TransactionCause::Renewal,
        offer: is_free.then_some(OfferKind::Code),
        is_free,
    };
    truth.buy(offered, from);
    pay(truth);
    truth.renewal.is_on = is_on;
    let was_trial = std::mem::take(&mut truth.in_trial);
    truth.state = truth.running();
    let converted = if was_trial {
        "journey.trial.converted "
    } else {
        ""
    };
    let changed = if is_changed { " sku_change" } else { "" };
    let feature = if is_changed {
        Feature::Downgraded
    } else {
        Feature::Renewed
    };
    Announced::new(feature, Renewed, &format!("{converted}{event}{changed}"))
}

/// The payment of the next period fails.
fn fail(truth: &mut Truth, chance: &mut Chance, status: SubscriptionStatus) -> Announced {
    let end = truth.period_end();
    truth.at = end
        .plus_millis(chance.below(3_600_000))
        .max(truth.at.plus(APART));
    truth.status = status;
    truth.renewal.is_retried = true;
    if status == SubscriptionStatus::Retry {
        truth.state = State::AccountHold;
        return Announced::new(Feature::Hold, Unknown, "");
    }
    let grace_ends_at = end.plus(DAY * 16);
    truth.renewal.grace_ends_at = Some(grace_ends_at);
    truth.access_until = grace_ends_at;
    truth.state = State::Grace;
    Announced::new(Feature::Grace, GraceBegan, "in_grace_period")
}

fn change_unpaid(truth: &mut Truth, chance: &mut Chance) -> Announced {
    let in_grace = truth.state == State::Grace;
    let limit = if in_grace {
        truth.access_until
    } else {
        truth.period_end().plus(DAY * 60)
    };
    let is_off = !truth.renewal.is_on;
    let left = limit.minus(HOUR * 2).millis_since(truth.at.plus(APART));
    let choice = chance.below(100);
    if left <= 0 || choice >= 75 {
        truth.at = limit.max(truth.at.plus(APART));
        if in_grace && !is_off {
            truth.status = SubscriptionStatus::Retry;
            truth.state = State::AccountHold;
            return Announced::new(Feature::Hold, Unknown, "");
        }
        let intent = if is_off {
            Intent::Customer
        } else {
            Intent::Billing
        };
        let at = truth.at;
        let announced = expire(truth, intent);
        truth.at = at;
        return announced;
    }
    truth.at = truth
        .at
        .plus(APART)
        .plus_millis(chance.below(left.min(86_400_000 * 12)));
    let from = truth.at;
    match choice {
        0..16 if is_off => switch_on(truth),
        0..16 => switch_off(truth, Feature::OffUnpaid),
        16..45 => {
            let feature = if in_grace {
                Feature::UpgradedInGrace
            } else {
                Feature::UpgradedInHold
            };
            upgrade(truth, chance, feature)
        }
        45..60 if !truth.in_trial => Announced {
            feature: Feature::RefundedUnpaid,
            ..revoke(truth, chance)
        },
        _ if is_off => Announced::new(Feature::Silent, Unknown, ""),
        _ if in_grace => {
            let due = truth.period_end();
            let mut announced = collect(truth, due, false, "renewal_in_grace_period");
            if chance.percent(50) {
                // Apple may date the purchase by the recovery. The renewal date remains.
                let current = truth.current.clone();
                truth.change(&current).bought_at = from;
            }
            announced.feature = Feature::Recovered;
            announced
        }
        _ => Announced {
            feature: Feature::Recovered,
            ..collect(truth, from, false, "renewed")
        },
    }
}
