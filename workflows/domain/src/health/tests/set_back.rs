//! A clock that is set back: times stored before lie ahead of the clock, but stop no destination.

use super::{at, failed, failure, ms};
use crate::health::{
    BREAKER_FAILURES, Failure, Health, LATEST_START, LONGEST_PAUSE, PROBE_EVERY, RetryAfter, Slot,
    State, slot,
};
use crate::time::{DAY, OVERLAP, Timestamp, millis};
use proptest::prelude::*;
use std::time::Duration;

/// Generates times up to thirty days ahead of [`at`] 0, close to it, or before it.
fn stored() -> impl Strategy<Value = Timestamp> {
    prop_oneof![-millis(DAY)..30 * millis(DAY), -60_000..120_000_i64].prop_map(at)
}

prop_compose! {
    /// Generates an open breaker with arbitrary other times.
    fn open()(times in prop::array::uniform8(prop::option::of(stored())), opened_at in stored()) -> Health {
        let [first_failure_at, last_failure_at, last_success_at, probed_at, recovered_at, paused_until, retried, changed] =
            times;
        Health {
            first_failure_at, last_failure_at, last_success_at, probed_at, recovered_at, paused_until,
            retry_requested_at: retried, changed_at: changed, opened_at: Some(opened_at),
            ..failed(BREAKER_FAILURES).health
        }
    }
}

/// Returns whether `happens` becomes true within `limit`, while the clock advances by one second at a time.
fn happens_within(limit: Duration, mut happens: impl FnMut(Timestamp) -> bool) -> bool {
    (0..=limit.as_secs()).any(|second| happens(at(0).plus(Duration::from_secs(second))))
}

proptest! {
    #[test]
    fn a_breaker_is_probed_in_time_and_a_success_closes_it(health in open()) {
        let mut probed_at = None;
        let is_probed = happens_within(2 * (PROBE_EVERY + OVERLAP), |now| {
            probed_at = Some(now).filter(|_| health.as_of(now).probe_in(now) == Some(Duration::ZERO));
            probed_at.is_some()
        });
        prop_assert!(is_probed);
        let now = probed_at.unwrap();
        let well = health.as_of(now).succeeded(now, now).map(|closed| closed.health.as_of(now));
        let blocked = well.as_ref().map(|well| (well.opened_at, well.blocked_for(now)));
        prop_assert_eq!(blocked, Some((None, None)));
    }

    #[test]
    fn a_probe_that_fails_leaves_no_time_ahead(health in open()) {
        let now = at(0);
        let again = health.as_of(now).failed(failure(), now).health;
        let in_time = |time: Option<Timestamp>| time.is_none_or(|time| time <= now.plus(OVERLAP));
        prop_assert!([again.opened_at, again.probed_at, again.first_failure_at, again.recovered_at].map(in_time).iter().all(|is| *is));
        prop_assert!(again.probe_in(now).is_some_and(|wait| wait <= PROBE_EVERY + OVERLAP));
    }

    #[test]
    fn no_pause_lasts_longer_than_the_longest(health in open()) {
        let now = at(0);
        prop_assert!(health.as_of(now).paused_for(now).is_none_or(|left| left <= LONGEST_PAUSE + OVERLAP));
    }

    #[test]
    fn a_request_of_now_is_not_stale_and_its_back_off_counts(health in open()) {
        let late = at(0).plus(OVERLAP);
        let known = health.as_of(at(0));
        prop_assert!(!known.is_stale_request(late.plus(ms(1))));
        let due_at = late.plus(DAY);
        prop_assert_eq!(known.due_at(due_at, Some(late.plus(ms(1))), late.plus(ms(1))), due_at);
    }

    #[test]
    fn a_delivery_of_the_earlier_clock_is_due(ahead_ms in 1..millis(DAY), wait_ms in 0..millis(DAY)) {
        let stored_at = at(0).plus(OVERLAP).plus_millis(ahead_ms);
        let due = |tried_at| Health::default().due_at(stored_at.plus_millis(wait_ms), tried_at, at(0));
        prop_assert_eq!([due(Some(stored_at)), due(None)], [at(0); 2]);
        let retry_after = RetryAfter { received_at: stored_at, until: stored_at.plus_millis(wait_ms) };
        prop_assert!(!Health::default().holds(retry_after, at(0)));
    }

    #[test]
    fn a_rate_has_a_slot_in_time(next_ms in -millis(DAY)..30 * millis(DAY), rate in 1..1000_i64) {
        let step = Duration::from_secs(1);
        let is_free = |now| matches!(slot(at(next_ms), rate, now), Slot::Free { .. });
        prop_assert!(happens_within(LATEST_START + step + OVERLAP, is_free));
    }
}

#[test]
fn what_overlaps_is_believed() {
    let ahead = at(millis(OVERLAP));
    let health = Health {
        opened_at: Some(ahead),
        last_failure_at: Some(ahead),
        recovered_at: Some(ahead),
        ..failed(BREAKER_FAILURES).health
    };
    let known = health.as_of(at(0));
    assert_eq!(known, health);
    assert_eq!(
        known.succeeded(at(-1), at(0)),
        None,
        "it began before the failure"
    );
    assert!(known.is_stale_request(at(0)));
    assert_eq!(
        slot(at(100), 10, at(0)),
        Slot::Free {
            wait: ms(100),
            next_at: at(200)
        }
    );
    assert_eq!(
        slot(at(4_000), 10, at(0)),
        Slot::Later { wait: ms(100) },
        "another transaction took the slots before"
    );
}

#[test]
fn a_pause_of_the_earlier_clock_prevents_no_other() {
    let pause = |pause| Failure {
        pause: Some(pause),
        ..failure()
    };
    let paused = Health::default().failed(pause(LONGEST_PAUSE), at(0)).health;
    let back = at(-millis(DAY));
    let again = paused.as_of(back).failed(pause(ms(5_000)), back);
    assert_eq!(
        (again.state, again.health.paused_for(back)),
        (State::Failing, Some(ms(5_000)))
    );
}
