//! Properties of arbitrary unverified notifications. A failing case is printed with the seed that reproduces it.

use super::{all_kinds, at, notification, settle};
use crate::catalogue::{Listing, ProductRef};
use crate::decide::{SettlingContext, decide};
use crate::environment::Environment;
use crate::event::{RecordSource, data, state_digest};
use crate::notification::{Notification, NotificationKind, Outcome};
use crate::purchase::{Purchase, State};
use crate::time::Timestamp;
use crate::verification::Verification;
use proptest::prelude::*;

prop_compose! {
    /// Uses few times, messages and customers, so that equal values are frequent.
    fn any_notification()(
        report in proptest::sample::select(all_kinds()),
        seconds in 0_i64..16,
        message in 0_u8..4,
        customer in proptest::option::of(0_u8..3),
        related in proptest::option::of(0_u8..3),
        is_test in proptest::bool::weighted(0.05),
    ) -> Notification {
        Notification {
            message_id: message.to_string(),
            app_user_id: customer.map(|customer| customer.to_string()),
            related_receipt_id: related.map(|receipt| receipt.to_string()),
            is_test,
            ..notification(report, seconds)
        }
    }
}

/// Generates a history, the same history in another order, and the places at which the latter is split into windows.
fn orders() -> impl Strategy<Value = (Vec<Notification>, Vec<Notification>, Vec<bool>)> {
    proptest::collection::vec(any_notification(), 0..40).prop_flat_map(|history| {
        let cuts = proptest::collection::vec(any::<bool>(), history.len());
        (Just(history.clone()), Just(history).prop_shuffle(), cuts)
    })
}

fn in_windows(history: &[Notification], cuts: &[bool]) -> Purchase {
    let mut known = Purchase::default();
    let mut window = Vec::new();
    for (report, cut) in history.iter().zip(cuts) {
        window.push(report.clone());
        if *cut {
            known = settle(&known, &std::mem::take(&mut window)).purchase;
        }
    }
    settle(&known, &window).purchase
}

fn visible(purchase: &Purchase) -> (State, String) {
    let listing = Listing::default();
    (
        purchase.state(),
        state_digest(&data(described(purchase, &listing))),
    )
}

pub fn record_of(purchase: &Purchase) -> String {
    let listing = Listing::default();
    format!(
        "{:?} {:#}",
        purchase.state(),
        data(described(purchase, &listing))
    )
}

fn described<'a>(purchase: &'a Purchase, listing: &'a Listing) -> RecordSource<'a> {
    RecordSource {
        purchase,
        platform_type: "store",
        receipt_id: "receipt",
        environment: Environment::Production,
        external_id: None,
        product_ref: ProductRef::Term,
        listing,
        usd_rate: None,
        replaced_sku: None,
        devices: &[],
        device_price: None,
    }
}

proptest! {
    #[test]
    fn any_order_over_any_windows_gives_the_same_record((history, shuffled, cuts) in orders()) {
        let at_once = settle(&Purchase::default(), &history).purchase;
        prop_assert_eq!(visible(&at_once), visible(&in_windows(&shuffled, &cuts)));
    }

    #[test]
    fn any_order_and_repetition_in_a_window_gives_the_same_decision((history, shuffled, _) in orders()) {
        let once = settle(&Purchase::default(), &history);
        let twice = settle(&Purchase::default(), &[shuffled, history].concat());
        prop_assert_eq!(once.purchase, twice.purchase);
        prop_assert_eq!(once.transitions, twice.transitions);
    }

    #[test]
    fn replaying_a_history_changes_and_announces_nothing((history, again, cuts) in orders()) {
        let known = settle(&Purchase::default(), &history).purchase;
        let replayed = settle(&known, &again);
        prop_assert_eq!(&replayed.purchase, &known);
        prop_assert_eq!(replayed.transitions, []);
        prop_assert_eq!(visible(&in_windows(&[history, again].concat(), &[cuts.clone(), cuts].concat())), visible(&known));
    }

    #[test]
    fn a_replaced_purchase_stays_replaced_and_silent((history, later, _) in orders()) {
        let known = settle(&Purchase::default(), &[history, vec![notification(NotificationKind::Replaced, 8)]].concat()).purchase;
        let after = settle(&known, &later);
        prop_assert_eq!(after.purchase.state(), State::Replaced);
        prop_assert_eq!(after.purchase.is_auto_renewable(), Some(false));
        prop_assert_eq!(after.transitions, []);
    }

    #[test]
    fn every_notification_gets_one_outcome((history, later, _) in orders()) {
        let known = settle(&Purchase::default(), &history).purchase;
        let decision = settle(&known, &later);
        prop_assert_eq!(decision.outcomes.len(), later.len());
        for ((seq, outcome), (number, report)) in decision.outcomes.iter().zip((1..).zip(&later)) {
            prop_assert_eq!(*seq, number);
            prop_assert_eq!(*outcome == Outcome::Unknown, report.kind == NotificationKind::Unknown);
        }
    }

    #[test]
    fn no_time_is_too_early_or_too_late(report in proptest::sample::select(all_kinds()), micros in any::<i64>()) {
        let extreme = Notification { store_time: Timestamp::from_micros(micros), ..notification(report, 0) };
        let context = SettlingContext { policy: crate::StorePolicy::default(), verification: &Verification::Unverifiable, is_replaced: false, now: at(0) };
        let decision = decide(&Purchase::default(), &[(i64::MIN, extreme)], context);
        prop_assert_eq!(decision.outcomes.len(), 1);
    }

    #[test]
    fn what_is_known_survives_storage((history, _, _) in orders()) {
        let known = settle(&Purchase::default(), &history).purchase;
        let stored = serde_json::to_string(&known).unwrap();
        prop_assert_eq!(serde_json::from_str::<Purchase>(&stored).unwrap(), known);
    }
}
