//! Every word from every state, and the words that meet in one window.

use super::{Decision, Given, decide};
use crate::notification::{Kind, Notification, Outcome};
use crate::purchase::{Purchase, State};
use crate::reading::Reading;
use crate::time::Timestamp;
use crate::{CollapseKey, PlatformId};
use std::collections::BTreeSet;

/// The history that stands for each column of the table.
const HISTORIES: [(&str, &[Kind]); 9] = [
    ("unknown", &[]),
    ("active", &[Kind::SubscriptionPurchased]),
    ("off", &[Kind::SubscriptionPurchased, Kind::AutoRenewalOff]),
    ("grace", &[Kind::SubscriptionPurchased, Kind::GraceBegan]),
    ("expired", &[Kind::SubscriptionPurchased, Kind::Expired]),
    ("cancelled", &[Kind::SubscriptionPurchased, Kind::SubscriptionCancelled]),
    ("replaced", &[Kind::SubscriptionPurchased, Kind::Replaced]),
    ("bought", &[Kind::ConsumablePurchased]),
    ("revoked", &[Kind::ConsumablePurchased, Kind::ConsumableCancelled]),
];

/// The state after one more, newer word. `cancelled` is expired by a cancellation, `bought` an active
/// one-time purchase.
const TABLE: &str = "
word                   unknown  active   off      grace    expired  cancelled replaced bought   revoked
subscription_purchased active   active   off      grace    active   active    replaced active   revoked
consumable_purchased   active   active   active   active   active   active    replaced active   active
entitlement_purchased  active   active   active   active   active   active    replaced active   active
trial_converted        active   active   active   active   active   active    replaced active   revoked
renewed                active   active   active   active   active   active    replaced active   revoked
plan_changed           active   active   off      grace    active   active    replaced active   revoked
plan_change_scheduled  active   active   off      grace    expired  expired   replaced active   revoked
auto_renewal_on        active   active   active   grace    expired  active    replaced active   revoked
auto_renewal_off       off      off      off      grace    expired  expired   replaced active   revoked
scheduled_to_end       off      off      off      grace    expired  expired   replaced active   revoked
grace_began            grace    grace    grace    grace    expired  expired   replaced active   revoked
grace_ended            active   active   off      active   active   active    replaced active   revoked
subscription_cancelled expired  expired  expired  expired  expired  expired   replaced active   revoked
consumable_cancelled   revoked  revoked  revoked  revoked  revoked  revoked   replaced revoked  revoked
entitlement_cancelled  revoked  revoked  revoked  revoked  revoked  revoked   replaced revoked  revoked
replaced               replaced replaced replaced replaced replaced replaced  replaced replaced replaced
expired                expired  expired  expired  expired  expired  expired   replaced active   revoked
adopted                unknown  active   off      grace    expired  expired   replaced active   revoked
unknown                unknown  active   off      grace    expired  expired   replaced active   revoked
";

/// A notification `seconds` after the beginning of the store's time.
pub fn told(kind: Kind, seconds: i64) -> Notification {
    let platform = PlatformId::new(uuid::Uuid::nil());
    Notification {
        message_id: format!("{kind:?}-{seconds}"),
        collapse_key: CollapseKey::of(platform, "receipt"),
        receipt_id: "receipt".to_owned(),
        kind,
        said: format!("{kind:?}"),
        store_time: at(seconds),
        app_user_id: Some("customer".to_owned()),
        related_receipt_id: None,
        is_test: false,
    }
}

pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

/// Settles notifications in one window, without anybody to ask.
pub fn settle(purchase: &Purchase, notifications: &[Notification]) -> Decision {
    settle_with(purchase, notifications, &Reading::Unverifiable, at(1_000))
}

/// Settles notifications in one window, with sequence numbers from 1.
pub fn settle_with(known: &Purchase, told: &[Notification], reading: &Reading, now: Timestamp) -> Decision {
    let numbered: Vec<_> = (1..).zip(told.iter().cloned()).collect();
    decide(known, &numbered, Given { reading, is_replaced: false, now })
}

/// What is known after these words, one every ten seconds, each settled on its own.
pub fn after(words: &[Kind]) -> Purchase {
    let told = (1..).zip(words).map(|(n, word)| told(*word, n * 10));
    told.fold(Purchase::default(), |known, word| settle(&known, &[word]).purchase)
}

/// Every word there is, from the first column of the table.
pub fn words() -> Vec<Kind> {
    TABLE.trim().lines().skip(1).filter_map(|line| line.split_whitespace().next()).map(kind).collect()
}

fn kind(word: &str) -> Kind {
    serde_json::from_value(word.into()).unwrap()
}

#[test]
fn every_word_from_every_state_leads_where_the_table_says() {
    let mut lines = TABLE.trim().lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let head = lines.next().unwrap();
    let mut seen = BTreeSet::new();
    for line in lines {
        for (column, expected) in head.iter().zip(&line).skip(1) {
            let history = HISTORIES.iter().find(|(name, _)| name == column).unwrap().1;
            let decision = settle(&after(history), &[told(kind(line[0]), 100)]);
            let state = decision.purchase.state();
            assert_eq!(state.as_str(), *expected, "`{}` told of a purchase that is `{column}`", line[0]);
            seen.insert((kind(line[0]), *column));
        }
    }
    assert_eq!(seen.len(), (Kind::Unknown as usize + 1) * HISTORIES.len(), "an arrow is missing in the table");
}

#[test]
fn the_words_for_states_lead_back_to_them() {
    for state in State::ALL {
        assert_eq!(state.as_str().parse(), Ok(state));
    }
}

#[test]
fn words_that_are_not_known_change_nothing_and_say_so() {
    let mut strange = told(Kind::Unknown, 10);
    strange.is_test = true;
    let decision = settle(&Purchase::default(), &[strange.clone()]);
    assert_eq!(decision.purchase, Purchase::default());
    assert_eq!(decision.transitions, []);
    assert_eq!(decision.outcomes, [(1, Outcome::Unknown)]);

    let mixed = settle(&Purchase::default(), &[strange, told(Kind::Renewed, 10)]);
    assert_eq!(mixed.outcomes, [(1, Outcome::Unknown), (2, Outcome::Settled)]);
}

#[test]
fn a_settling_without_notifications_changes_nothing() {
    let active = after(&[Kind::SubscriptionPurchased]);
    let decision = settle(&active, &[]);
    assert_eq!((&decision.purchase, decision.transitions, decision.outcomes), (&active, vec![], vec![]));
}

#[test]
fn a_late_word_does_not_undo_a_newer_one() {
    let expired = after(&[Kind::SubscriptionPurchased, Kind::Renewed, Kind::Expired]);
    let late = settle(&expired, &[told(Kind::GraceEnded, 15)]);
    assert_eq!(late.purchase.state(), State::Expired);
    let newer = settle(&late.purchase, &[told(Kind::Renewed, 40)]);
    assert_eq!(newer.purchase.state(), State::Active);
}

#[test]
fn an_off_and_an_on_that_arrive_swapped_leave_it_on() {
    let active = after(&[Kind::SubscriptionPurchased]);
    let on = settle(&active, &[told(Kind::AutoRenewalOn, 60)]).purchase;
    let off = settle(&on, &[told(Kind::AutoRenewalOff, 50)]).purchase;
    assert_eq!(off.state(), State::Active);
    assert_eq!(off.canceled_at(), None);
}

#[test]
fn a_window_of_opposite_words_ends_in_what_the_store_said_last() {
    let window = [told(Kind::AutoRenewalOn, 30), told(Kind::Expired, 50), told(Kind::AutoRenewalOff, 40)];
    let decision = settle(&after(&[Kind::SubscriptionPurchased]), &window);
    assert_eq!(decision.purchase.state(), State::Expired);
    assert_eq!(decision.outcomes, [(1, Outcome::Settled), (2, Outcome::Settled), (3, Outcome::Settled)]);
}
