//! Lives in which a seed once found a fault, each as a case of its own.

use super::verification::{bought, day, kinds, monthly, read, report};
use crate::notification::NotificationKind;
use crate::time::Timestamp;
use crate::transition::TransitionKind;
use crate::verification::Snapshot;

/// Seed 1875154959, `life-3-1`: IN_GRACE_PERIOD was lost, RENEWED came in time, and OUT_OF_GRACE_PERIOD about the same
/// payment six days late. Amazon sends RENEWED for a renewal and for a recovery, so that one alone is a renewal.
#[test]
fn a_recovery_without_a_reported_grace_is_one_renewal() {
    let renews_at: Timestamp = "2026-03-10T00:00:00Z".parse().unwrap();
    let shown = |at| Snapshot { renews_at: Some(renews_at), ..monthly(at) };
    let renewed = read(&bought(), &[report(NotificationKind::Renewed, day(36))], shown(day(36)));
    assert_eq!((kinds(&renewed), renewed.purchase.billing_cycles()), (vec![TransitionKind::Renewed], Some(2)));
    let twice = read(&renewed.purchase, &[report(NotificationKind::Renewed, day(36))], shown(day(37)));
    assert_eq!(kinds(&twice), []);
    let late = read(&twice.purchase, &[report(NotificationKind::OutOfGrace, day(36))], shown(day(42)));
    assert_eq!((kinds(&late), late.purchase.billing_cycles()), (vec![], Some(2)));
}
