//! The store does not answer, does not accept the receipt, or is behind; and when it is queried again.

use super::{notification, settle_with};
use crate::decide::{Decision, SettlingContext, Waits, decide};
use crate::notification::{Notification, NotificationKind, Outcome};
use crate::purchase::{Purchase, State};
use crate::time::Timestamp;
use crate::transition::TransitionKind;
use crate::verification::{EndReason, Parked, Product, Snapshot, Term, Unit, Verification};

pub const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

pub fn day(days: i64) -> Timestamp {
    let first: Timestamp = "2026-01-10T00:00:00Z".parse().unwrap();
    first.plus_millis(days * DAY)
}

pub fn report(kind: NotificationKind, at: Timestamp) -> Notification {
    Notification {
        store_time: at,
        ..notification(kind, 0)
    }
}

/// A monthly subscription of day 0, as it is shown on a day.
pub fn monthly(at: Timestamp) -> Snapshot {
    Snapshot {
        at,
        product: Product::Subscription,
        term_sku: Some("gold".to_owned()),
        term: Some(Term {
            count: 1,
            unit: Unit::Month,
        }),
        purchased_at: Some(day(0)),
        renews_at: Some(day(31)),
        auto_renewing: Some(true),
        ..Snapshot::default()
    }
}

pub fn read(known: &Purchase, reports: &[Notification], snapshot: Snapshot) -> Decision {
    let at = snapshot.at;
    settle_with(
        known,
        reports,
        &Verification::Verified(Box::new(snapshot)),
        at,
    )
}

pub fn bought() -> Purchase {
    read(
        &Purchase::default(),
        &[report(NotificationKind::SubscriptionPurchased, day(0))],
        monthly(day(0)),
    )
    .purchase
}

pub fn kinds(decision: &Decision) -> Vec<TransitionKind> {
    decision
        .transitions
        .iter()
        .map(|transition| transition.kind)
        .collect()
}

#[test]
fn a_refused_receipt_is_checked_by_its_schedule_then_abandoned() {
    let schedules: [(Parked, &[i64]); 2] = [
        (
            Parked::UnknownReceipt,
            &[MINUTE, 10 * MINUTE, HOUR, 6 * HOUR, DAY],
        ),
        (Parked::WrongCustomer, &[HOUR, DAY]),
    ];
    for (why, schedule) in schedules {
        let mut known = bought();
        let reports = [
            report(NotificationKind::Renewed, day(31)),
            report(NotificationKind::Unknown, day(31)),
        ];
        let mut now = day(31);
        for wait in schedule {
            let parked = settle_with(&known, &reports, &Verification::Parked(why), now);
            assert_eq!(
                (parked.outcomes, parked.waits),
                (vec![], Some(Waits::Parked(why)))
            );
            assert_eq!(parked.wake, Some(day(31).plus_millis(*wait)));
            assert_eq!(
                (parked.transitions, parked.purchase.state()),
                (vec![], State::Active)
            );
            known = parked.purchase;
            now = parked.wake.unwrap();
        }
        let last = settle_with(&known, &reports, &Verification::Parked(why), now);
        assert_eq!(
            (last.outcomes, last.waits),
            (vec![(1, Outcome::Abandoned), (2, Outcome::Unknown)], None)
        );
        assert_eq!(
            (last.purchase, last.wake),
            (bought(), Some(now.plus_millis(7 * DAY)))
        );
    }
}

#[test]
fn a_never_known_receipt_is_believed_if_its_platform_does() {
    let reports = [report(NotificationKind::SubscriptionPurchased, day(0))];
    let believable = Verification::Parked(Parked::Believable);
    let (mut known, mut now) = (Purchase::default(), day(0));
    for wait in [MINUTE, 10 * MINUTE, HOUR, 6 * HOUR, DAY] {
        let parked = settle_with(&known, &reports, &believable, now);
        assert_eq!(
            (parked.outcomes, parked.waits),
            (vec![], Some(Waits::Parked(Parked::Believable)))
        );
        assert_eq!(
            (parked.wake, parked.purchase.is_believed()),
            (Some(day(0).plus_millis(wait)), false)
        );
        (known, now) = (parked.purchase, parked.wake.unwrap());
    }
    let last = settle_with(&known, &reports, &believable, now);
    assert_eq!(
        (kinds(&last), &last.outcomes, last.waits),
        (
            vec![TransitionKind::Purchased],
            &vec![(1, Outcome::Settled)],
            None
        )
    );
    assert!(last.purchase.is_believed() && last.purchase.is_unverified());
    assert_eq!(
        last.wake,
        Some(now.plus_millis(7 * DAY)),
        "the store may know it later"
    );

    let renewed = [report(NotificationKind::Renewed, day(31))];
    let next = settle_with(&last.purchase, &renewed, &believable, day(31));
    assert_eq!(
        (kinds(&next), next.waits),
        (vec![TransitionKind::Renewed], None),
        "queried once, and not for a day"
    );
    let checked = settle_with(&next.purchase, &[], &believable, day(38));
    assert_eq!(
        (kinds(&checked), checked.purchase.state()),
        (vec![], State::Active)
    );

    let foreign = settle_with(
        &last.purchase,
        &renewed,
        &Verification::Parked(Parked::WrongCustomer),
        day(31),
    );
    assert_eq!(
        (foreign.outcomes.len(), foreign.waits),
        (0, Some(Waits::Parked(Parked::WrongCustomer)))
    );
    let abandoned = settle_with(
        &last.purchase,
        &renewed,
        &Verification::Parked(Parked::UnknownReceipt),
        day(31),
    );
    assert_eq!(
        abandoned.waits,
        Some(Waits::Parked(Parked::UnknownReceipt)),
        "the setting was taken back"
    );
    let verified = read(&last.purchase, &[], monthly(day(2))).purchase;
    assert!(!verified.is_believed() && !verified.is_unverified());
    let again = settle_with(&verified, &renewed, &believable, day(31));
    assert_eq!(
        again.waits,
        Some(Waits::Parked(Parked::Believable)),
        "it was known"
    );
}

#[test]
fn an_accepted_receipt_ends_the_schedule() {
    let parked = settle_with(
        &bought(),
        &[],
        &Verification::Parked(Parked::UnknownReceipt),
        day(1),
    )
    .purchase;
    let accepted = read(&parked, &[], monthly(day(2))).purchase;
    let again = settle_with(
        &accepted,
        &[],
        &Verification::Parked(Parked::UnknownReceipt),
        day(9),
    );
    assert_eq!(again.wake, Some(day(9).plus_millis(MINUTE)));
}

#[test]
fn an_unreachable_store_settles_five_kinds_and_all_after_a_day() {
    let known = bought();
    let sure = [
        NotificationKind::Renewed,
        NotificationKind::AutoRenewalOff,
        NotificationKind::AutoRenewalOn,
        NotificationKind::GraceBegan,
        NotificationKind::TrialConverted,
    ];
    // A claim is no report, and waits for nothing.
    for kind in super::all_kinds()
        .into_iter()
        .filter(|kind| *kind != NotificationKind::Claimed)
    {
        let settled = |now| {
            settle_with(
                &known,
                &[report(kind, day(31))],
                &Verification::Unreachable { since: day(31) },
                now,
            )
        };
        let decision = settled(day(32).plus_millis(-1));
        assert_eq!(
            decision.outcomes.len(),
            usize::from(sure.contains(&kind)),
            "{kind:?}"
        );
        assert_eq!(decision.waits.is_some(), !sure.contains(&kind), "{kind:?}");
        assert_eq!(
            decision.purchase.is_unverified(),
            sure.contains(&kind),
            "{kind:?}"
        );
        assert_eq!(settled(day(32)).outcomes.len(), 1, "{kind:?}");
    }
}

#[test]
fn nothing_is_settled_before_a_beginning_that_waits() {
    let reports = [
        report(NotificationKind::SubscriptionPurchased, day(0)),
        report(NotificationKind::AutoRenewalOff, day(1)),
    ];
    let waiting = settle_with(
        &Purchase::default(),
        &reports,
        &Verification::Unreachable { since: day(1) },
        day(1),
    );
    assert_eq!(
        (waiting.outcomes.len(), waiting.waits),
        (0, Some(Waits::Verification))
    );
    assert_eq!(waiting.purchase.state(), State::Unknown);
    let off = Snapshot {
        auto_renewing: Some(false),
        ends_at: Some(day(31)),
        renews_at: None,
        ..monthly(day(2))
    };
    assert_eq!(
        kinds(&read(&waiting.purchase, &reports, off)),
        [TransitionKind::Purchased, TransitionKind::Cancelled]
    );
}

#[test]
fn an_unreachable_store_is_queried_ever_more_rarely() {
    let wake = |passed: i64| {
        let now = day(1).plus_millis(passed);
        let wake = settle_with(
            &bought(),
            &[],
            &Verification::Unreachable { since: day(1) },
            now,
        )
        .wake
        .unwrap();
        wake.millis_since(now) / MINUTE
    };
    let waits = [0, HOUR - 1, HOUR, 6 * HOUR, DAY - 10 * MINUTE, DAY, 3 * DAY].map(wake);
    assert_eq!(waits, [5, 5, 15, 30, 10, 30, 30]);
}

#[test]
fn what_was_announced_unverified_is_repaired_in_silence() {
    let since = day(20);
    let cut = settle_with(
        &bought(),
        &[report(NotificationKind::SubscriptionCancelled, day(20))],
        &Verification::Unreachable { since },
        day(21),
    );
    assert_eq!(
        (kinds(&cut), cut.purchase.state()),
        (vec![TransitionKind::Expired], State::Expired)
    );
    let runs = read(&cut.purchase, &[], monthly(day(22)));
    assert_eq!(
        (kinds(&runs), runs.purchase.state()),
        (vec![], State::Active)
    );
    let finished = Snapshot {
        ends_at: Some(day(31)),
        auto_renewing: Some(false),
        renews_at: None,
        ..monthly(day(32))
    };
    let over = read(
        &runs.purchase,
        &[report(NotificationKind::Expired, day(31))],
        finished,
    );
    assert_eq!(
        (kinds(&over), over.purchase.state()),
        (vec![], State::Expired)
    );
}

#[test]
fn an_unverified_renewal_is_one_with_its_later_snapshot() {
    let announced = settle_with(
        &bought(),
        &[report(NotificationKind::Renewed, day(31))],
        &Verification::Unreachable { since: day(31) },
        day(31),
    );
    assert_eq!(kinds(&announced), [TransitionKind::Renewed]);
    assert_eq!(announced.purchase.billing_cycles(), Some(2));
    assert_eq!(
        announced.purchase.expires_at(),
        Some("2026-03-10T00:00:00Z".parse().unwrap())
    );
    let later = Snapshot {
        renews_at: Some("2026-04-10T00:00:00Z".parse().unwrap()),
        ..monthly(day(62))
    };
    let read = read(&announced.purchase, &[], later);
    assert_eq!(kinds(&read), [TransitionKind::Renewed]);
    assert_eq!(read.transitions[0].cycle, Some(3));
    assert!(!read.purchase.is_unverified());
}

#[test]
fn an_unverified_beginning_becomes_a_trial_when_one_is_shown() {
    let bought = report(NotificationKind::SubscriptionPurchased, day(0));
    let known = settle_with(
        &Purchase::default(),
        &[bought],
        &Verification::Unverifiable,
        day(0),
    )
    .purchase;
    let trial = Snapshot {
        trial_ends_at: Some(day(31)),
        ..monthly(day(1))
    };
    let shown = read(&known, &[], trial);
    assert_eq!(
        (kinds(&shown), shown.purchase.state()),
        (vec![TransitionKind::TrialStarted], State::Trial)
    );
    let paid = Snapshot {
        renews_at: Some("2026-03-10T00:00:00Z".parse().unwrap()),
        ..monthly(day(32))
    };
    assert_eq!(
        kinds(&read(&shown.purchase, &[], paid)),
        [TransitionKind::TrialConverted, TransitionKind::Renewed]
    );
}

#[test]
fn a_running_subscription_is_checked_after_its_dates_and_weekly() {
    let wake = |snapshot: Snapshot| {
        let at = snapshot.at;
        read(&bought(), &[], snapshot)
            .wake
            .unwrap()
            .millis_since(at)
    };
    assert_eq!(wake(monthly(day(1))), 7 * DAY);
    assert_eq!(wake(monthly(day(30))), DAY + 10 * MINUTE);
    let after = |passed: i64| wake(monthly(day(31).plus_millis(passed)));
    assert_eq!(after(10 * MINUTE), 50 * MINUTE);
    assert_eq!(after(HOUR), HOUR + 5 * MINUTE);
    assert_eq!(after(2 * HOUR + 5 * MINUTE), 6 * HOUR);
    assert_eq!(after(9 * HOUR), 5 * HOUR + 5 * MINUTE);
    assert_eq!(after(47 * HOUR), 7 * DAY);
    let deferred = Snapshot {
        deferred_at: Some(day(5)),
        ..monthly(day(1))
    };
    assert_eq!(wake(deferred), 4 * DAY + 10 * MINUTE);
    let off = Snapshot {
        ends_at: Some(day(6)),
        renews_at: None,
        auto_renewing: Some(false),
        ..monthly(day(1))
    };
    assert_eq!(wake(off), 5 * DAY + 10 * MINUTE);
    let grace = Snapshot {
        grace_ends_at: Some(day(35)),
        ..monthly(day(34))
    };
    assert_eq!(wake(grace), DAY + 10 * MINUTE);
    let trial = Snapshot {
        trial_ends_at: Some(day(3)),
        renews_at: None,
        ..monthly(day(1))
    };
    assert_eq!(wake(trial), 2 * DAY + 10 * MINUTE);
}

#[test]
fn what_is_over_is_checked_only_for_a_pending_reason() {
    let over = |reason, at| Snapshot {
        ends_at: Some(day(20)),
        end_reason: Some(reason),
        auto_renewing: Some(false),
        renews_at: None,
        ..monthly(at)
    };
    assert_eq!(
        read(&bought(), &[], over(EndReason::Customer, day(20))).wake,
        None
    );
    let pending = |known: &Purchase, at| read(known, &[], over(EndReason::Pending, at));
    let first = pending(&bought(), day(20));
    assert_eq!(
        (kinds(&first), first.wake),
        (vec![], Some(day(20).plus_millis(10 * MINUTE))),
        "the reason is missing"
    );
    let expired = pending(&first.purchase, day(20).plus_millis(2 * HOUR));
    assert_eq!(kinds(&expired), [TransitionKind::Expired]);
    assert!(
        expired
            .wake
            .is_some_and(|wake| wake <= day(21).plus_millis(2 * HOUR))
    );
    assert_eq!(pending(&expired.purchase, day(27)).wake, Some(day(28)));
    assert_eq!(pending(&expired.purchase, day(28)).wake, None);
    assert_eq!(
        settle_with(&bought(), &[], &Verification::Gone, day(20)).wake,
        None
    );
    assert_eq!(
        settle_with(&bought(), &[], &Verification::Unverifiable, day(20)).wake,
        None
    );
    let context = SettlingContext {
        verification: &Verification::Verified(Box::new(monthly(day(2)))),
        is_replaced: true,
        now: day(2),
    };
    assert_eq!(decide(&bought(), &[], context).wake, None);
}

#[test]
fn an_end_is_declared_by_a_snapshot_two_hours_after_it() {
    let off = |at| Snapshot {
        auto_renewing: Some(false),
        ..monthly(at)
    };
    let known = read(
        &bought(),
        &[report(NotificationKind::AutoRenewalOff, day(1))],
        off(day(1)),
    )
    .purchase;
    let end = day(31).plus_millis(2 * HOUR);
    assert_eq!(
        read(&known, &[], off(end.plus_millis(-1))).purchase.state(),
        State::Off
    );
    let over = read(&known, &[], off(end));
    assert_eq!(
        (kinds(&over), over.purchase.state()),
        (vec![TransitionKind::Expired], State::Expired)
    );
    assert_eq!(over.transitions[0].at, Some(day(31)));
    let grace = |at| Snapshot {
        grace_ends_at: Some(day(35)),
        ..monthly(at)
    };
    let known = read(&bought(), &[], grace(day(32))).purchase;
    let end = day(35).plus_millis(2 * HOUR);
    assert_eq!(
        read(&known, &[], grace(end.plus_millis(-1)))
            .purchase
            .state(),
        State::Grace
    );
    assert_eq!(
        kinds(&read(&known, &[], grace(end))),
        [TransitionKind::Expired]
    );
    assert_eq!(
        read(&bought(), &[], monthly(day(300))).purchase.state(),
        State::Active
    );
}

#[test]
fn the_dates_of_the_sandbox_are_no_grace() {
    let trap = Snapshot {
        auto_renewing: Some(false),
        trial_ends_at: Some(day(7)),
        renews_at: Some(day(7)),
        grace_ends_at: Some(day(7)),
        is_test: true,
        ..monthly(day(0))
    };
    let known = read(
        &Purchase::default(),
        &[report(NotificationKind::SubscriptionPurchased, day(0))],
        trap.clone(),
    );
    assert_eq!(
        kinds(&known),
        [TransitionKind::TrialStarted, TransitionKind::Purchased]
    );
    assert_eq!(known.purchase.state(), State::TrialOff);
    assert_eq!(known.purchase.expires_at(), Some(day(7)));
    let over = read(&known.purchase, &[], Snapshot { at: day(8), ..trap });
    assert_eq!(
        kinds(&over),
        [TransitionKind::TrialDidNotConvert, TransitionKind::Expired]
    );
}

#[test]
fn missed_terms_are_announced_singly_and_thirty_six_at_most() {
    let missed = |months: i64| {
        let end =
            jiff::civil::date(2026, 1, 10).saturating_add(jiff::Span::new().months(months + 1));
        let end: Timestamp = format!("{end}T00:00:00Z").parse().unwrap();
        read(
            &bought(),
            &[],
            Snapshot {
                renews_at: Some(end),
                ..monthly(end.plus_millis(-DAY))
            },
        )
    };
    assert_eq!(kinds(&missed(5)), [TransitionKind::Renewed; 5]);
    assert_eq!(
        missed(5).transitions[4].at,
        Some("2026-06-10T00:00:00Z".parse().unwrap())
    );
    let many = missed(50);
    assert_eq!(kinds(&many), [TransitionKind::Renewed; 36]);
    assert_eq!(many.transitions[35].cycle, Some(51));
    assert_eq!(many.purchase.billing_cycles(), Some(51));
}

#[test]
fn shortened_test_terms_are_counted_by_reports_and_dates() {
    let short = |n: i64| Snapshot {
        renews_at: Some(day(0).plus_millis(n * 5 * MINUTE)),
        ..monthly(day(0).plus_millis(n * 5 * MINUTE - 2 * MINUTE))
    };
    let known = read(
        &Purchase::default(),
        &[report(NotificationKind::SubscriptionPurchased, day(0))],
        short(1),
    )
    .purchase;
    let renewed = report(NotificationKind::Renewed, day(0).plus_millis(5 * MINUTE));
    let by_report = read(&known, &[renewed], short(2));
    assert_eq!(kinds(&by_report), [TransitionKind::Renewed]);
    assert_eq!(kinds(&read(&by_report.purchase, &[], short(2))), []);
    let by_date = read(&by_report.purchase, &[], short(3));
    assert_eq!(
        (kinds(&by_date), by_date.purchase.billing_cycles()),
        (vec![TransitionKind::Renewed], Some(3))
    );
    let late = report(NotificationKind::Renewed, day(0).plus_millis(10 * MINUTE));
    assert_eq!(kinds(&read(&by_date.purchase, &[late], short(3))), []);
}

pub fn off(at: Timestamp) -> Snapshot {
    Snapshot {
        auto_renewing: Some(false),
        ends_at: Some(day(31)),
        renews_at: None,
        ..monthly(at)
    }
}

#[test]
fn a_late_report_of_what_snapshots_showed_announces_nothing() {
    let known = read(&bought(), &[], off(day(4))).purchase;
    let known = read(&known, &[], monthly(day(6))).purchase;
    let late = read(
        &known,
        &[report(NotificationKind::AutoRenewalOff, day(3))],
        monthly(day(7)),
    );
    assert_eq!(kinds(&late), []);
    let known = read(&late.purchase, &[], off(day(8))).purchase;
    assert_eq!(
        kinds(&read(
            &known,
            &[report(NotificationKind::AutoRenewalOn, day(5))],
            off(day(9))
        )),
        []
    );
}

#[test]
fn two_reports_of_one_act_are_one_and_later_ones_infer_another() {
    let minute = day(3).plus_millis(MINUTE);
    let known = read(
        &bought(),
        &[report(NotificationKind::AutoRenewalOff, day(3))],
        off(day(3)),
    )
    .purchase;
    assert_eq!(
        kinds(&read(
            &known,
            &[report(NotificationKind::AutoRenewalOff, minute)],
            off(day(4))
        )),
        []
    );
    let again = read(
        &known,
        &[report(NotificationKind::AutoRenewalOff, day(4))],
        off(day(4)),
    );
    assert_eq!(
        kinds(&again),
        [TransitionKind::Resumed, TransitionKind::Cancelled]
    );
    let known = read(
        &known,
        &[report(NotificationKind::AutoRenewalOn, day(5))],
        monthly(day(5)),
    )
    .purchase;
    let minute = day(5).plus_millis(MINUTE);
    assert_eq!(
        kinds(&read(
            &known,
            &[report(NotificationKind::AutoRenewalOn, minute)],
            monthly(day(6))
        )),
        []
    );
    let again = read(
        &known,
        &[report(NotificationKind::AutoRenewalOn, day(6))],
        monthly(day(6)),
    );
    assert_eq!(
        kinds(&again),
        [TransitionKind::Cancelled, TransitionKind::Resumed]
    );
}

#[test]
fn a_conversion_in_the_purchase_s_window_shows_a_trial() {
    let reports = [
        report(NotificationKind::SubscriptionPurchased, day(0)),
        report(NotificationKind::TrialConverted, day(7)),
    ];
    let reported = settle_with(
        &Purchase::default(),
        &reports,
        &Verification::Unverifiable,
        day(8),
    );
    assert_eq!(
        kinds(&reported),
        [
            TransitionKind::TrialStarted,
            TransitionKind::Purchased,
            TransitionKind::TrialConverted,
            TransitionKind::Renewed
        ]
    );
}

#[test]
fn one_settling_announces_thirty_six_renewals_at_most() {
    let end: Timestamp = "2032-01-10T00:00:00Z".parse().unwrap();
    let reports = [
        report(NotificationKind::Renewed, day(31)),
        report(NotificationKind::Renewed, day(59)),
        report(NotificationKind::Renewed, day(1500)),
    ];
    let many = read(
        &bought(),
        &reports,
        Snapshot {
            renews_at: Some(end),
            ..monthly(end.plus_millis(-DAY))
        },
    );
    assert_eq!(
        (many.transitions.len(), many.purchase.billing_cycles()),
        (36, Some(72))
    );
}

/// One receipt is one product: Amazon's own samples report it as a consumable and as an entitlement, in one message.
#[test]
fn a_receipt_with_two_types_is_bought_once() {
    let reports = [
        report(NotificationKind::ConsumablePurchased, day(0)),
        report(NotificationKind::EntitlementPurchased, day(0)),
    ];
    let together = settle_with(
        &Purchase::default(),
        &reports,
        &Verification::Unverifiable,
        day(1),
    );
    assert_eq!(
        (kinds(&together), together.purchase.state()),
        (vec![TransitionKind::Purchased], State::Active)
    );
    for order in [[0, 1], [1, 0]] {
        let [first, second] = order.map(|index| &reports[index]);
        let begun = settle_with(
            &Purchase::default(),
            std::slice::from_ref(first),
            &Verification::Unverifiable,
            day(1),
        );
        let again = settle_with(
            &begun.purchase,
            std::slice::from_ref(second),
            &Verification::Unverifiable,
            day(1),
        );
        assert_eq!(
            (kinds(&begun), kinds(&again)),
            (vec![TransitionKind::Purchased], vec![])
        );
    }
    let owned = Snapshot {
        at: day(1),
        product: Product::Entitlement,
        purchased_at: Some(day(0)),
        ..Snapshot::default()
    };
    let shown = read(&Purchase::default(), &reports, owned);
    assert_eq!(
        (kinds(&shown), shown.wake),
        (vec![TransitionKind::Purchased], Some(day(8))),
        "an entitlement, checked weekly"
    );
}
