//! The fields of the record after the store has answered, and the calendar of terms.

use crate::catalogue::ProductRef;
use crate::decide::tests::{notification, settle_with};
use crate::notification::{Notification, NotificationKind};
use crate::purchase::{Purchase, State};
use crate::time::Timestamp;
use crate::transition::TransitionKind;
use crate::verification::{EndReason, Product, Snapshot, Term, Unit, Verification};
use proptest::prelude::*;

fn time(text: &str) -> Timestamp {
    format!("{text}T00:00:00Z").parse().unwrap()
}

fn report(kind: NotificationKind, date: &str) -> Notification {
    Notification {
        store_time: time(date),
        ..notification(kind, 0)
    }
}

/// Returns the snapshot of a monthly subscription that began on 31 January.
fn monthly(at: &str, renews_at: &str) -> Snapshot {
    Snapshot {
        at: time(at),
        product: Product::Subscription,
        product_id: Some("gold".to_owned()),
        term_sku: Some("gold_monthly".to_owned()),
        term: Some(Term {
            count: 1,
            unit: Unit::Month,
        }),
        purchased_at: Some(time("2026-01-31")),
        renews_at: Some(time(renews_at)),
        auto_renewing: Some(true),
        ..Snapshot::default()
    }
}

fn off(at: &str, ends_at: &str) -> Snapshot {
    Snapshot {
        renews_at: None,
        ends_at: Some(time(ends_at)),
        auto_renewing: Some(false),
        ..monthly(at, ends_at)
    }
}

fn read(known: &Purchase, reports: &[Notification], snapshot: &Snapshot) -> Purchase {
    settle_with(
        known,
        reports,
        &Verification::Verified(Box::new(snapshot.clone())),
        snapshot.at,
    )
    .purchase
}

fn bought() -> Purchase {
    let report = report(NotificationKind::SubscriptionPurchased, "2026-01-31");
    read(
        &Purchase::default(),
        &[report],
        &monthly("2026-01-31", "2026-02-28"),
    )
}

#[test]
fn cycles_follow_the_dates_and_begin_after_the_trial() {
    assert_eq!(bought().billing_cycles(), Some(1));
    let may = read(&bought(), &[], &monthly("2026-05-02", "2026-05-31"));
    assert_eq!(may.billing_cycles(), Some(4));
    let trial = Snapshot {
        trial_ends_at: Some(time("2026-02-07")),
        ..monthly("2026-01-31", "2026-02-07")
    };
    let tried = read(
        &Purchase::default(),
        &[report(
            NotificationKind::SubscriptionPurchased,
            "2026-01-31",
        )],
        &trial,
    );
    assert_eq!((tried.billing_cycles(), tried.was_paid()), (Some(1), false));
    let paid = read(&tried, &[], &monthly("2026-02-08", "2026-03-07"));
    assert_eq!((paid.billing_cycles(), paid.was_paid()), (Some(1), true));
    assert_eq!(
        read(&paid, &[], &monthly("2026-03-08", "2026-04-07")).billing_cycles(),
        Some(2)
    );
    let unknown = Snapshot {
        term: None,
        ..monthly("2026-05-02", "2026-05-31")
    };
    assert_eq!(read(&bought(), &[], &unknown).billing_cycles(), None);
}

#[test]
fn a_changed_term_begins_a_new_row_and_keeps_the_count() {
    let scheduled = Snapshot {
        deferred_at: Some(time("2026-02-28")),
        deferred_sku: Some("gold_yearly".to_owned()),
        ..monthly("2026-02-01", "2026-02-28")
    };
    let known = read(&bought(), &[], &scheduled);
    let yearly = |at, renews_at| Snapshot {
        term: Some(Term {
            count: 1,
            unit: Unit::Year,
        }),
        term_sku: Some("gold_yearly".to_owned()),
        ..monthly(at, renews_at)
    };
    let known = read(&known, &[], &yearly("2026-03-01", "2027-02-28"));
    assert_eq!(
        (known.billing_cycles(), known.term_length()),
        (Some(2), Some("P1Y".to_owned()))
    );
    assert_eq!(known.sku(ProductRef::Term), Some("gold_yearly"));
    assert_eq!(known.sku(ProductRef::Parent), Some("gold"));
    assert_eq!(
        read(&known, &[], &yearly("2027-03-01", "2028-02-28")).billing_cycles(),
        Some(3)
    );
}

#[test]
fn a_cancellation_begins_with_its_report_or_when_it_was_seen() {
    let seen = read(&bought(), &[], &off("2026-02-10", "2026-02-28"));
    assert_eq!(seen.canceled_at(), Some(time("2026-02-10")));
    let seen_again = read(&seen, &[], &off("2026-02-12", "2026-02-28"));
    assert_eq!(seen_again.canceled_at(), Some(time("2026-02-10")));
    let reported = read(
        &seen_again,
        &[report(NotificationKind::AutoRenewalOff, "2026-02-09")],
        &off("2026-02-13", "2026-02-28"),
    );
    assert_eq!(reported.canceled_at(), Some(time("2026-02-09")));
    let over = read(
        &reported,
        &[report(
            NotificationKind::SubscriptionCancelled,
            "2026-02-28",
        )],
        &off("2026-03-01", "2026-02-28"),
    );
    assert_eq!(
        (over.state(), over.canceled_at()),
        (State::Expired, Some(time("2026-02-09")))
    );
    let on = read(
        &reported,
        &[report(NotificationKind::AutoRenewalOn, "2026-02-14")],
        &monthly("2026-02-14", "2026-02-28"),
    );
    assert_eq!(on.canceled_at(), None);
    let again = read(&on, &[], &off("2026-02-20", "2026-02-28"));
    assert_eq!(again.canceled_at(), Some(time("2026-02-20")));
}

#[test]
fn payment_issues_outlive_expiry_and_end_with_a_recovery() {
    let grace = Snapshot {
        grace_ends_at: Some(time("2026-03-06")),
        ..monthly("2026-03-01", "2026-02-28")
    };
    let seen = read(&bought(), &[], &grace);
    assert_eq!(
        (seen.state(), seen.payment_issues_began_at()),
        (State::Grace, Some(time("2026-03-01")))
    );
    assert_eq!(seen.expires_at(), Some(time("2026-03-06")));
    let reported = read(
        &seen,
        &[report(NotificationKind::GraceBegan, "2026-02-28")],
        &grace,
    );
    assert_eq!(reported.payment_issues_began_at(), Some(time("2026-02-28")));
    let unpaid = Snapshot {
        end_reason: Some(EndReason::Store),
        ..off("2026-03-07", "2026-03-06")
    };
    let over = read(
        &reported,
        &[report(NotificationKind::OutOfGrace, "2026-03-06")],
        &unpaid,
    );
    assert_eq!(
        (over.payment_issues_began_at(), over.revoked_at()),
        (Some(time("2026-02-28")), None)
    );
    let recovered = read(&reported, &[], &monthly("2026-03-04", "2026-03-31"));
    assert_eq!(recovered.payment_issues_began_at(), None);
}

#[test]
fn a_subscription_is_revoked_when_it_ends_before_what_was_paid() {
    let finished = |ends_at, reason| {
        let over = Snapshot {
            end_reason: Some(reason),
            ..off("2026-03-15", ends_at)
        };
        read(&bought(), &[], &over).revoked_at()
    };
    assert_eq!(
        finished("2026-02-10", EndReason::Customer),
        Some(time("2026-02-10"))
    );
    assert_eq!(
        finished("2026-02-10", EndReason::Store),
        Some(time("2026-02-10"))
    );
    assert_eq!(
        finished("2026-02-10", EndReason::Replaced),
        Some(time("2026-02-10"))
    );
    assert_eq!(finished("2026-02-10", EndReason::Pending), None);
    assert_eq!(
        finished("2026-02-10", EndReason::Internal),
        Some(time("2026-02-10"))
    );
    assert_eq!(finished("2026-02-28", EndReason::Customer), None);
    let gone = settle_with(&bought(), &[], &Verification::Gone, time("2026-02-10")).purchase;
    let gone = settle_with(&gone, &[], &Verification::Gone, time("2026-02-11")).purchase;
    assert_eq!(
        (gone.revoked_at(), gone.expires_at()),
        (Some(time("2026-02-10")), Some(time("2026-02-10")))
    );
}

#[test]
fn whether_it_is_or_was_a_trial_is_null_until_it_was_seen() {
    let trial_fields = |purchase: &Purchase| {
        (
            purchase.is_in_trial_period(),
            purchase.is_free_trial_conversion(),
        )
    };
    assert_eq!(trial_fields(&bought()), (Some(false), Some(false)));
    let trial = Snapshot {
        trial_ends_at: Some(time("2026-02-07")),
        ..monthly("2026-01-31", "2026-02-07")
    };
    let tried = read(
        &Purchase::default(),
        &[report(
            NotificationKind::SubscriptionPurchased,
            "2026-01-31",
        )],
        &trial,
    );
    assert_eq!(trial_fields(&tried), (Some(true), Some(false)));
    assert_eq!(
        trial_fields(&read(&tried, &[], &monthly("2026-02-08", "2026-03-07"))),
        (Some(false), Some(true))
    );
    assert_eq!(
        trial_fields(&read(&tried, &[], &off("2026-02-08", "2026-02-07"))),
        (Some(false), Some(false))
    );
    let unseen = read(
        &Purchase::default(),
        &[report(NotificationKind::Adopted, "2026-02-01")],
        &monthly("2026-02-01", "2026-02-28"),
    );
    assert_eq!(trial_fields(&unseen), (None, None));
    let adopted = read(
        &Purchase::default(),
        &[report(NotificationKind::Adopted, "2026-02-01")],
        &trial,
    );
    assert_eq!(trial_fields(&adopted), (Some(true), Some(false)));
}

#[test]
fn the_grace_period_after_a_trial_is_no_trial() {
    let trial = Snapshot {
        trial_ends_at: Some(time("2026-02-07")),
        ..monthly("2026-01-31", "2026-02-07")
    };
    let tried = read(
        &Purchase::default(),
        &[report(
            NotificationKind::SubscriptionPurchased,
            "2026-01-31",
        )],
        &trial,
    );
    let grace = Snapshot {
        grace_ends_at: Some(time("2026-02-12")),
        ..monthly("2026-02-08", "2026-02-07")
    };
    let in_grace = read(
        &tried,
        &[report(NotificationKind::GraceBegan, "2026-02-07")],
        &grace,
    );
    assert_eq!(
        (in_grace.state(), in_grace.is_in_trial_period()),
        (State::Grace, Some(false))
    );
    assert!(!in_grace.was_paid(), "nothing was paid yet");
    let reported = [report(
        NotificationKind::SubscriptionPurchased,
        "2026-01-31",
    )];
    let alone = settle_with(
        &Purchase::default(),
        &reported,
        &Verification::Unverifiable,
        time("2026-01-31"),
    )
    .purchase;
    assert_eq!(
        alone.is_in_trial_period(),
        None,
        "neither a trial nor a payment was seen"
    );
}

#[test]
fn a_payment_that_was_seen_ends_the_doubt_about_a_trial() {
    let adopted = [report(NotificationKind::Adopted, "2026-02-01")];
    let known = read(
        &Purchase::default(),
        &adopted,
        &monthly("2026-02-01", "2026-02-28"),
    );
    assert_eq!(known.is_in_trial_period(), None);
    let renewed = read(&known, &[], &monthly("2026-03-01", "2026-03-31"));
    assert_eq!(
        (renewed.billing_cycles(), renewed.is_in_trial_period()),
        (Some(2), Some(false))
    );
}

#[test]
fn what_expired_before_it_was_shown_running_may_be_a_trial() {
    let reports = [
        report(NotificationKind::SubscriptionPurchased, "2026-01-31"),
        report(NotificationKind::Expired, "2026-02-02"),
    ];
    let over = |at, ends_at| Snapshot {
        end_reason: Some(EndReason::Customer),
        ..off(at, ends_at)
    };
    let within_term = over("2026-02-03", "2026-02-02");
    let unseen = read(&Purchase::default(), &reports, &within_term);
    assert_eq!(
        (unseen.state(), unseen.is_free_trial_conversion()),
        (State::Expired, None)
    );
    assert!(unseen.may_have_been_trial() && unseen.is_price_unconfirmed(time("2026-01-31")));
    let seen = read(&bought(), &reports[1..], &within_term);
    assert_eq!(
        (seen.is_free_trial_conversion(), seen.may_have_been_trial()),
        (Some(false), false)
    );
    let whole_term = read(
        &Purchase::default(),
        &reports,
        &over("2026-03-01", "2026-02-28"),
    );
    assert_eq!(
        (
            whole_term.is_free_trial_conversion(),
            whole_term.may_have_been_trial()
        ),
        (Some(false), false)
    );
    let accelerated = Snapshot {
        environment: crate::Environment::Sandbox,
        ..within_term
    };
    assert!(
        !read(&Purchase::default(), &reports, &accelerated).may_have_been_trial(),
        "there a term lasts minutes"
    );
}

#[test]
fn a_one_time_purchase_has_no_term_no_end_and_no_cycles() {
    let coins = Snapshot {
        product: Product::Consumable,
        product_id: Some("coins".to_owned()),
        term_sku: None,
        renews_at: None,
        ..monthly("2026-01-31", "2026-01-31")
    };
    let known = read(
        &Purchase::default(),
        &[report(NotificationKind::ConsumablePurchased, "2026-01-31")],
        &coins,
    );
    assert_eq!(
        (
            known.billing_cycles(),
            known.expires_at(),
            known.term_length()
        ),
        (None, None, None)
    );
    assert_eq!(
        (known.is_auto_renewable(), known.is_in_trial_period()),
        (Some(false), Some(false))
    );
    assert_eq!(
        (known.sku(ProductRef::Term), known.was_paid()),
        (Some("coins"), false)
    );
    let taken = Snapshot {
        ends_at: Some(time("2026-02-02")),
        ..coins
    };
    let known = read(
        &known,
        &[report(NotificationKind::ConsumableCancelled, "2026-02-03")],
        &taken,
    );
    assert_eq!(
        (known.state(), known.revoked_at()),
        (State::Revoked, Some(time("2026-02-02")))
    );
    assert_eq!(known.canceled_at(), known.revoked_at());
}

#[test]
fn a_purchase_that_shows_little_changes_nothing() {
    let off = read(
        &bought(),
        &[report(NotificationKind::AutoRenewalOff, "2026-02-02")],
        &off("2026-02-02", "2026-02-28"),
    );
    let bare = Snapshot {
        at: time("2026-02-03"),
        product: Product::Subscription,
        ..Snapshot::default()
    };
    let decision = settle_with(
        &off,
        &[],
        &Verification::Verified(Box::new(bare.clone())),
        bare.at,
    );
    assert_eq!(
        (decision.purchase.state(), decision.transitions),
        (State::Off, vec![])
    );
    let active = settle_with(
        &bought(),
        &[],
        &Verification::Verified(Box::new(bare.clone())),
        bare.at,
    );
    assert_eq!(
        (active.purchase.state(), active.transitions),
        (State::Active, vec![])
    );
}

fn any_date() -> impl Strategy<Value = Option<Timestamp>> {
    let near = (0_i64..400).prop_map(|days| time("2026-01-01").plus_millis(days * 86_400_000));
    let any = any::<i64>().prop_map(Timestamp::from_micros);
    proptest::option::of(prop_oneof![4 => near, 1 => any])
}

prop_compose! {
    fn any_snapshot()(
        dates in proptest::collection::vec(any_date(), 7),
        auto_renewing in proptest::option::of(any::<bool>()),
        term in proptest::option::of((0_u16.., proptest::sample::select(vec![Unit::Day, Unit::Week, Unit::Month, Unit::Year]))),
        product in proptest::sample::select(vec![Product::Unknown, Product::Subscription, Product::Consumable]),
        reason in proptest::sample::select(vec![None, Some(EndReason::Pending), Some(EndReason::Replaced), Some(EndReason::Other(9))]),
        sku in proptest::option::of("[ab]"),
    ) -> Snapshot {
        Snapshot {
            at: dates[0].unwrap_or(time("2026-06-01")),
            product,
            term: term.map(|(count, unit)| Term { count, unit }),
            purchased_at: dates[1],
            renews_at: dates[2],
            ends_at: dates[3],
            trial_ends_at: dates[4],
            grace_ends_at: dates[5],
            deferred_at: dates[6],
            deferred_sku: sku.clone(),
            term_sku: sku,
            end_reason: reason,
            auto_renewing,
            ..Snapshot::default()
        }
    }
}

proptest! {
    #[test]
    fn no_purchase_is_too_strange(
        snapshots in proptest::collection::vec((any_snapshot(), any_date(), 0_usize..19), 1..8),
    ) {
        let mut known = Purchase::default();
        for (snapshot, reported_at, kind) in snapshots {
            let kinds = crate::decide::tests::all_kinds();
            let reported = Notification { store_time: reported_at.unwrap_or_default(), ..notification(kinds[kind % kinds.len()], 0) };
            let verification = Verification::Verified(Box::new(snapshot.clone()));
            let decision = settle_with(&known, &[reported.clone(), reported.clone()], &verification, snapshot.at);
            prop_assert!(decision.transitions.iter().filter(|announce| announce.kind == TransitionKind::Renewed).count() <= 36);
            // A purchase that contradicts its own reports is settled once more with everything known by then.
            let reported = [reported];
            let once_more = settle_with(&decision.purchase, &reported, &verification, snapshot.at).purchase;
            let again = settle_with(&once_more, &reported, &verification, snapshot.at);
            prop_assert_eq!(again.transitions, vec![]);
            let _ = (known.canceled_at(), known.expires_at(), known.revoked_at(), known.payment_issues_began_at());
            let stored = serde_json::to_string(&decision.purchase).unwrap();
            known = serde_json::from_str(&stored).unwrap();
            prop_assert_eq!(&known, &decision.purchase);
        }
    }
}
