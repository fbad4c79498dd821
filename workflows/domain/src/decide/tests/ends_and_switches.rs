//! Which of an end and a switch of auto-renewal decides.

use super::lag::{finished, refunded};
use super::verification::{MINUTE, bought, day, kinds, monthly, off, read, report};
use crate::decide::Waits;
use crate::notification::NotificationKind;
use crate::purchase::{Purchase, State};
use crate::time::Timestamp;
use crate::transition::TransitionKind;
use crate::verification::{EndReason, Snapshot};

/// Returns a purchase that was switched off on day 3 and on again at `on`.
fn switched_on(on: Timestamp) -> Purchase {
    let is_off = read(
        &bought(),
        &[report(NotificationKind::AutoRenewalOff, day(3))],
        off(day(3)),
    )
    .purchase;
    read(
        &is_off,
        &[report(NotificationKind::AutoRenewalOn, on)],
        monthly(on.plus_millis(MINUTE)),
    )
    .purchase
}

fn refund(ends_at: Timestamp, at: Timestamp) -> Snapshot {
    Snapshot {
        ends_at: Some(ends_at),
        ..refunded(at, Some(EndReason::Customer))
    }
}

#[test]
fn an_end_that_the_store_shows_outranks_an_older_switch() {
    let end = day(10);
    let now = end.plus_millis(2 * MINUTE);
    let cases = [Some(50), Some(180), None]
        .map(|ago| ago.map(|minutes: i64| end.plus_millis(-minutes * MINUTE)));
    for on in cases {
        let known = on.map_or_else(bought, switched_on);
        for kind in [
            NotificationKind::SubscriptionCancelled,
            NotificationKind::Expired,
        ] {
            let both = read(&known, &[report(kind, end)], refund(end, now));
            assert_eq!(
                (kinds(&both), both.waits),
                (vec![TransitionKind::Expired], None),
                "{kind:?}, on {on:?}"
            );
            assert_eq!(
                (both.purchase.state(), both.outcomes.len()),
                (State::Expired, 1),
                "{kind:?}, on {on:?}"
            );
        }
        let silent = read(&known, &[], refund(end, end.plus_millis(12 * MINUTE)));
        assert_eq!(
            kinds(&silent),
            [TransitionKind::Expired],
            "the word is lost, on {on:?}"
        );
        assert_eq!(silent.transitions[0].at, Some(end));
    }
}

#[test]
fn a_refund_without_a_reason_after_a_switch_waits_ten_minutes() {
    let end = day(10);
    let known = switched_on(end.plus_millis(-50 * MINUTE));
    let reports = [report(NotificationKind::SubscriptionCancelled, end)];
    let pending = |minutes| Snapshot {
        end_reason: Some(EndReason::Pending),
        ..refund(end, end.plus_millis(minutes * MINUTE))
    };
    let first = read(&known, &reports, pending(2));
    assert_eq!(
        (kinds(&first), first.waits),
        (vec![], Some(Waits::Confirmation))
    );
    let second = read(&first.purchase, &reports, pending(11));
    assert_eq!(
        (kinds(&second), second.waits),
        (vec![TransitionKind::Expired], None)
    );
}

#[test]
fn a_switch_outranks_the_end_that_it_took_back() {
    let on = day(31).plus_millis(-50 * MINUTE);
    let known = switched_on(on);
    let stale = |minutes| finished(day(31), day(31).plus_millis(minutes * MINUTE));
    let first = read(&known, &[], stale(2));
    assert_eq!(
        (kinds(&first), first.purchase.state()),
        (vec![], State::Active),
        "the snapshot is older than the switch"
    );
    let end = [report(NotificationKind::Expired, day(31))];
    let over = read(&known, &end, stale(2));
    assert_eq!(
        (kinds(&over), over.waits),
        (vec![TransitionKind::Expired], None),
        "unless a word confirms that end"
    );
    let decided = read(&first.purchase, &[], stale(75));
    assert_eq!(
        (kinds(&decided), decided.purchase.state()),
        (vec![TransitionKind::Expired], State::Expired)
    );
}
