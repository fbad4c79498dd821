//! When a purchase is checked without a notification.

use super::states::reach;
use crate::decide::wake::WEEK;
use crate::event::tests::day;
use crate::stores::apple::POLICY;

#[test]
fn what_can_change_is_checked_weekly() {
    for (state, from) in [
        ("active", 1),
        ("trial", 1),
        ("off", 10),
        ("grace", 31),
        ("hold", 31),
        ("planned", 12),
        ("renewed", 31),
    ] {
        let purchase = reach(state);
        let mut now = day(from);
        while now < day(from + 365) {
            let next = (POLICY.wake)(&purchase, now).expect("another check");
            assert!(
                next > now && next.since(now) <= WEEK,
                "{state}: {now}, {next}"
            );
            now = next;
        }
    }
}

#[test]
fn a_hold_is_checked_when_apple_gives_up() {
    let held = reach("hold");
    let end = day(30 + 60);
    let next = (POLICY.wake)(&held, end).expect("a check");
    assert!(next > end && next < day(91));
}

#[test]
fn what_is_over_is_not_checked() {
    for state in ["expired", "refunded"] {
        assert_eq!((POLICY.wake)(&reach(state), day(100)), None, "{state}");
    }
}
