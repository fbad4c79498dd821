//! When a purchase is read without a notification.

use super::states::reach;
use crate::decide::wake::WEEK;
use crate::event::tests::day;
use crate::purchase::Purchase;
use crate::stores::google::rules::wake;
use crate::time::{DAY, Timestamp};
use std::time::Duration;

/// Checks that a purchase that never changes is read again within `longest`, each time, for a year from this day on.
fn check_reads(purchase: &Purchase, from: i64, longest: Duration) {
    let mut now = day(from);
    while now < day(from + 365) {
        let next = wake(purchase, now).expect("another read");
        assert!(next > now && next.since(now) <= longest, "{now}: {next}");
        now = next;
    }
}

#[test]
fn a_running_purchase_is_read_weekly_whatever_its_dates() {
    for (state, from) in [
        ("active", 1),
        ("trial", 1),
        ("off", 10),
        ("grace", 31),
        ("planned", 12),
        ("instalments", 12),
        ("renewed", 31),
    ] {
        check_reads(&reach(state), from, WEEK);
    }
}

#[test]
fn a_halted_purchase_is_read_weekly_and_a_pending_one_daily() {
    for (state, from) in [("hold", 34), ("trial hold", 11), ("paused", 31)] {
        check_reads(&reach(state), from, WEEK);
    }
    check_reads(&reach("pending"), 1, DAY);
}

/// Google answers about a token until 60 days after the end.
#[test]
fn an_expired_purchase_is_read_once_more_before_day_60() {
    for (state, from) in [("expired", 31), ("revoked", 15), ("unpaid", 94)] {
        let expired = reach(state);
        let end = expired.expires_at().expect("an end");
        let last: Timestamp = end.plus(DAY * 59);
        assert_eq!(wake(&expired, day(from)), Some(last), "{state}");
        assert_eq!(wake(&expired, last), None, "{state}: it was the last read");
    }
}
