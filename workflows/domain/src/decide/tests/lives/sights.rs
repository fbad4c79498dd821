//! Lives that are first seen without a report about the purchase.

use super::replay::{Arrivals, promptly, settle_life};
use super::store::{Life, MINUTE};
use super::{chance::Chance, lives, names, story};
use crate::decide::tests::notification;
use crate::notification::{Notification, NotificationKind};
use crate::transition::TransitionKind;

/// Makes the beginning arrive hours or days late, after a notification that reports nothing about the purchase and
/// before all other reports.
fn with_silent_sight(life: &Life, seed: u64) -> Option<Arrivals> {
    let mut chance = Chance::new(seed ^ 0x3ff);
    let mut arrivals = promptly(life);
    let (first, begun) = arrivals.first().cloned()?;
    let begins = [
        NotificationKind::SubscriptionPurchased,
        NotificationKind::ConsumablePurchased,
        NotificationKind::EntitlementPurchased,
    ];
    let next = arrivals.get(1).map(|(time, _)| time.millis_since(first));
    let shown_next = life.shows.get(1).map(|(time, _)| time.millis_since(first));
    let left = next
        .into_iter()
        .chain(shown_next)
        .min()
        .unwrap_or(i64::MAX)
        .min(6 * 24 * 60 * MINUTE);
    if !begins.contains(&begun.kind) || left < 40 * MINUTE {
        return None;
    }
    let one_time = [
        NotificationKind::ConsumablePurchased,
        NotificationKind::ConsumableCancelled,
    ];
    let other = if begun.kind == begins[0] {
        chance.pick(&one_time)
    } else {
        NotificationKind::Renewed
    };
    let kind = chance.pick(&[NotificationKind::Unknown, NotificationKind::Adopted, other]);
    let at = first.plus_millis(chance.below(5 * MINUTE));
    let silent = Notification {
        store_time: at,
        collapse_key: begun.collapse_key,
        ..notification(kind, 0)
    };
    arrivals[0].0 = first.plus_millis(15 * MINUTE + chance.below(left - 20 * MINUTE));
    arrivals.insert(0, (at, silent));
    Some(arrivals)
}

#[test]
fn a_silent_first_sight_loses_no_event_and_no_payment() {
    let mut checked = 0;
    for (seed, life) in lives() {
        let Some(arrivals) = with_silent_sight(&life, seed) else {
            continue;
        };
        let replay = settle_life(&life, &arrivals, true);
        let prompt = settle_life(&life, &promptly(&life), true);
        let case = || format!("seed {seed}, {:?}\n{}", arrivals[0], story(&life));
        assert_eq!(
            names(&replay.transitions),
            names(&prompt.transitions),
            "{}",
            case()
        );
        assert_eq!(replay.charges, prompt.charges, "{}", case());
        let begun = replay
            .transitions
            .iter()
            .find(|one| one.kind == TransitionKind::Purchased);
        assert_eq!(
            begun.and_then(|one| one.at),
            Some(life.reports[0].store_time),
            "{}",
            case()
        );
        checked += 1;
    }
    assert!(checked > 300, "{checked}");
}
