//! What we know of one purchase from what the store told, and the state that follows from it.
//!
//! Nothing is guessed: what no notification says is `None`. Receipt verification is not here yet.

mod told;

#[cfg(test)]
mod tests;

use crate::catalogue::ProductRef;
use crate::notification::{Kind, Notification};
use crate::reading::{Reading, Snapshot};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use told::{Moment, Register, Told};

/// What we know of one purchase. The default value knows nothing.
///
/// It is a record of words, not of states: the same set of notifications gives the same record in any
/// order and over any number of settlings, and the state is read from it. Its size is bounded, and it
/// knows nothing of customers: it is written into histories.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Purchase {
    told: BTreeMap<Kind, Told>,
    original_receipt_id: Option<Register>,
    is_test: bool,
    snapshot: Option<Snapshot>,
}

/// The state of a purchase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing known was told yet.
    Unknown,
    /// It runs in a trial and will be charged after it.
    Trial,
    /// It runs in a trial, and auto-renewal is off.
    TrialOff,
    /// It runs. A subscription renews as far as we know.
    Active,
    /// It runs, and auto-renewal is off.
    Off,
    /// A payment failed and the store grants grace.
    Grace,
    /// A subscription ended.
    Expired,
    /// A one-time purchase was taken back.
    Revoked,
    /// A change of plan put another receipt in its place. Final.
    Replaced,
}

impl State {
    /// All states.
    pub const ALL: [Self; 9] = [
        Self::Unknown,
        Self::Trial,
        Self::TrialOff,
        Self::Active,
        Self::Off,
        Self::Grace,
        Self::Expired,
        Self::Revoked,
        Self::Replaced,
    ];

    /// The word used in storage, the API and search attributes.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Trial => "trial",
            Self::TrialOff => "trial_off",
            Self::Active => "active",
            Self::Off => "off",
            Self::Grace => "grace",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Replaced => "replaced",
        }
    }

    /// Whether the customer has access: by state, never by the clock. `None` while nothing is known.
    #[must_use]
    pub const fn is_active(self) -> Option<bool> {
        match self {
            Self::Unknown => None,
            Self::Trial | Self::TrialOff | Self::Active | Self::Off | Self::Grace => Some(true),
            Self::Expired | Self::Revoked | Self::Replaced => Some(false),
        }
    }
}

impl std::str::FromStr for State {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|state| state.as_str() == word);
        found.ok_or_else(|| format!("`{word}` is not a state of a purchase"))
    }
}

/// A one-time purchase was made.
const BOUGHT: [Kind; 2] = [Kind::ConsumablePurchased, Kind::EntitlementPurchased];
/// A one-time purchase was taken back.
const TAKEN_BACK: [Kind; 2] = [Kind::ConsumableCancelled, Kind::EntitlementCancelled];
/// This receipt began.
const BEGAN: [Kind; 2] = [Kind::SubscriptionPurchased, Kind::PlanChanged];
/// A subscription runs and its payment is in order.
const PAID: [Kind; 5] =
    [Kind::SubscriptionPurchased, Kind::TrialConverted, Kind::Renewed, Kind::PlanChanged, Kind::GraceEnded];
/// What went before about auto-renewal no longer holds.
const RENEWS: [Kind; 5] =
    [Kind::SubscriptionPurchased, Kind::TrialConverted, Kind::Renewed, Kind::PlanChanged, Kind::AutoRenewalOn];
/// Auto-renewal is off. `SCHEDULED_TO_END` without an OFF before it means that the OFF was lost.
const SWITCHED_OFF: [Kind; 2] = [Kind::AutoRenewalOff, Kind::ScheduledToEnd];
/// A cancellation, as the customer or the store says it.
const CANCELLED: [Kind; 2] = [Kind::AutoRenewalOff, Kind::SubscriptionCancelled];

impl Purchase {
    /// Takes in what one notification says. A word that we do not know says nothing.
    pub(crate) fn learn(&mut self, notification: &Notification) {
        if notification.kind == Kind::Unknown {
            return;
        }
        self.told.entry(notification.kind).or_default().at(notification.store_time);
        self.is_test |= notification.is_test;
        if notification.kind == Kind::PlanChanged {
            let old = notification.related_receipt_id.as_ref();
            Register::join(&mut self.original_receipt_id, notification, old);
        }
    }

    /// Takes in what the store showed.
    pub(crate) fn read(&mut self, reading: &Reading) {
        if let Reading::Verified(snapshot) = reading {
            self.snapshot = Some(Snapshot::clone(snapshot));
        }
    }

    /// When the store last showed this receipt.
    #[must_use]
    pub fn last_verified(&self) -> Option<Timestamp> {
        self.snapshot.as_ref().map(|snapshot| snapshot.at)
    }

    /// The SKU that names the product; `None` while it was never verified. One-time purchases have one SKU.
    #[must_use]
    pub fn sku(&self, by: ProductRef) -> Option<&str> {
        let snapshot = self.snapshot.as_ref()?;
        let term = snapshot.term_sku.as_deref().filter(|_| by == ProductRef::Term);
        term.or(snapshot.product_id.as_deref())
    }

    /// The customer's country.
    #[must_use]
    pub fn country(&self) -> Option<&str> {
        self.snapshot.as_ref()?.country.as_deref()
    }

    /// When it will end or renew; `None` for a one-time purchase, and while it was never verified.
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.snapshot.as_ref()?.renews_at
    }

    /// One term, as ISO 8601.
    #[must_use]
    pub fn term_length(&self) -> Option<String> {
        self.snapshot.as_ref()?.term.map(crate::reading::Term::iso)
    }

    /// Whether an introductory price holds now.
    #[must_use]
    pub fn is_in_intro_offer(&self) -> Option<bool> {
        Some(self.snapshot.as_ref()?.in_intro_offer)
    }

    /// Whether a subscription was paid at least once: a trial alone is not paid.
    #[must_use]
    pub fn was_paid(&self) -> bool {
        !self.is_one_time() && self.newest(&PAID).is_some()
    }

    /// Whether the state stands although the store could not confirm it.
    #[must_use]
    pub fn is_unverified(&self) -> bool {
        self.snapshot.is_none()
    }

    /// Whether the catalogue's products are of another kind: a consumable or an entitlement.
    #[must_use]
    pub fn is_one_time_purchase(&self) -> bool {
        self.is_one_time()
    }

    /// The state that follows from everything told so far.
    #[must_use]
    pub fn state(&self) -> State {
        if self.told.is_empty() {
            State::Unknown
        } else if self.told.contains_key(&Kind::Replaced) {
            State::Replaced
        } else if self.is_one_time() {
            if self.newest(&TAKEN_BACK) > self.newest(&BOUGHT) { State::Revoked } else { State::Active }
        } else if self.has_ended() {
            State::Expired
        } else if self.newest(&[Kind::GraceBegan]) > self.newest(&PAID) {
            State::Grace
        } else if self.auto_renewal() == Some(false) {
            State::Off
        } else {
            State::Active
        }
    }

    /// The receipt that this one replaced in a change of plan.
    #[must_use]
    pub fn original_receipt_id(&self) -> Option<&str> {
        self.original_receipt_id.as_ref().map(Register::value)
    }

    /// Whether a notification said that it was bought in the store's test programme.
    #[must_use]
    pub const fn is_test(&self) -> bool {
        self.is_test
    }

    /// When it began; `None` when we did not see that.
    #[must_use]
    pub fn not_before(&self) -> Option<Timestamp> {
        let beginning: &[Kind] = if self.is_one_time() { &BOUGHT } else { &BEGAN };
        beginning.iter().filter_map(|kind| self.told.get(kind)?.first()).min()
    }

    /// How many terms were paid or given, the first one included. `None` for a one-time purchase, and
    /// when we did not see the beginning.
    #[must_use]
    pub fn billing_cycles(&self) -> Option<u64> {
        if self.is_one_time() {
            return None;
        }
        self.not_before()?;
        Some(self.told.get(&Kind::Renewed).map_or(0, Told::count).saturating_add(1))
    }

    /// Whether it will renew, as far as anybody said so.
    #[must_use]
    pub fn is_auto_renewable(&self) -> Option<bool> {
        if self.is_one_time() || self.state().is_active() == Some(false) { Some(false) } else { self.auto_renewal() }
    }

    /// Whether a trial became paid. Only a conversion says so; a purchase does not say that it had no trial.
    #[must_use]
    pub fn is_free_trial_conversion(&self) -> Option<bool> {
        if self.is_one_time() {
            return Some(false);
        }
        self.told.contains_key(&Kind::TrialConverted).then_some(true)
    }

    /// Whether it is in a trial. A conversion and a renewal say that it is not; nothing says that it is.
    #[must_use]
    pub fn is_in_trial_period(&self) -> Option<bool> {
        let past = [Kind::TrialConverted, Kind::Renewed].iter().any(|kind| self.told.contains_key(kind));
        (self.is_one_time() || past).then_some(false)
    }

    /// When the present cancellation began; for a one-time purchase, when it was taken back.
    #[must_use]
    pub fn canceled_at(&self) -> Option<Timestamp> {
        if self.is_one_time() {
            return self.revoked_at();
        }
        let since = self.newest(&RENEWS);
        self.first_after(since, &CANCELLED).or_else(|| self.first_after(since, &[Kind::ScheduledToEnd]))
    }

    /// When the payment failed that was not repaired since. Kept when the grace ended in expiry.
    #[must_use]
    pub fn payment_issues_began_at(&self) -> Option<Timestamp> {
        self.first_after(self.newest(&PAID), &[Kind::GraceBegan])
    }

    /// When a one-time purchase was taken back. Notifications do not say this of subscriptions.
    #[must_use]
    pub fn revoked_at(&self) -> Option<Timestamp> {
        if self.is_one_time() { self.first_after(self.newest(&BOUGHT), &TAKEN_BACK) } else { None }
    }

    /// A consumable or an entitlement. A receipt never changes from one to a subscription.
    fn is_one_time(&self) -> bool {
        BOUGHT.iter().chain(&TAKEN_BACK).any(|kind| self.told.contains_key(kind))
    }

    /// A cancelled subscription can be switched on again while its term lasts; an expired one cannot.
    fn has_ended(&self) -> bool {
        let paid = self.newest(&PAID);
        self.newest(&[Kind::Expired]) > paid
            || self.newest(&[Kind::SubscriptionCancelled]) > paid.max(self.newest(&[Kind::AutoRenewalOn]))
    }

    fn auto_renewal(&self) -> Option<bool> {
        let on = self.newest(&RENEWS);
        if self.newest(&SWITCHED_OFF) > on {
            return Some(false);
        }
        matches!(on, Some((_, Kind::AutoRenewalOn | Kind::Renewed | Kind::TrialConverted))).then_some(true)
    }

    /// The newest moment at which one of these words was told.
    fn newest(&self, kinds: &[Kind]) -> Option<Moment> {
        kinds.iter().filter_map(|kind| Some((self.told.get(kind)?.last()?, *kind))).max()
    }

    /// The earliest time after `since` at which one of these words was told.
    fn first_after(&self, since: Option<Moment>, kinds: &[Kind]) -> Option<Timestamp> {
        let told = kinds.iter().filter_map(|kind| Some((*kind, self.told.get(kind)?)));
        let moments = told.flat_map(|(kind, told)| told.times().map(move |time| (time, kind)));
        moments.filter(|moment| Some(*moment) > since).min().map(|(time, _)| time)
    }
}
