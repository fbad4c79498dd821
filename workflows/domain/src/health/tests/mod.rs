//! The rules of health, as tables of requests and results.

mod set_back;

use super::{
    ALARM_AFTER, Assessment, BREAKER_FAILURES, Failure, Health, LATEST_START, LONGEST_PAUSE,
    MIN_FAILURE_SPAN, Notice, PROBE_EVERY, RetryAfter, SUCCESS_NOTED_EVERY, Slot, State, Subject,
    slot,
};
use crate::ids::CollapseKey;
use crate::time::{DAY, HOUR, Timestamp, millis};
use std::time::Duration;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000 + ms)
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn failure() -> Failure {
    failure_of(0)
}

fn failure_of(purchase: i64) -> Failure {
    let key = CollapseKey::new(uuid::Uuid::from_u64_pair(
        0,
        u64::try_from(purchase).unwrap(),
    ));
    Failure {
        subject: Subject::Purchase(key),
        error: format!("{purchase} failed"),
        pause: None,
        disable_after: DAY * 5,
    }
}

/// Returns the health after `times` failures, one per second, each about another purchase.
fn failed(times: i64) -> Assessment {
    let first = Health::default().failed(failure_of(1), at(0));
    (1..times).fold(first, |assessment, n| {
        assessment.health.failed(failure_of(n + 1), at(n * 1000))
    })
}

#[test]
fn the_breaker_opens_at_the_tenth_failure_in_a_row_and_once() {
    for times in 1..BREAKER_FAILURES {
        let assessment = failed(times);
        assert_eq!(
            (
                assessment.state,
                assessment.health.failures,
                &assessment.notices[..]
            ),
            (State::Failing, times, &[][..])
        );
        assert_eq!(assessment.health.blocked_for(at(times * 1000)), None);
    }
    let opened = failed(BREAKER_FAILURES);
    let opened_at = at((BREAKER_FAILURES - 1) * 1000);
    assert_eq!(
        (opened.state, &opened.notices[..]),
        (State::Open, &[Notice::Opened][..])
    );
    assert_eq!(opened.health.opened_at, Some(opened_at));
    let again = opened.health.failed(failure(), at(60_000));
    assert_eq!(
        (again.state, &again.notices[..], again.health.opened_at),
        (State::Open, &[][..], Some(opened_at))
    );
}

#[test]
fn a_success_forgets_what_failed() {
    let well = failed(BREAKER_FAILURES - 1)
        .health
        .succeeded(at(19_000), at(20_000))
        .unwrap();
    assert_eq!((well.state, &well.notices[..]), (State::Healthy, &[][..]));
    let Health {
        failures,
        first_failure_at,
        recovered_at,
        last_success_at,
        ..
    } = well.health;
    assert_eq!(
        (failures, first_failure_at, recovered_at),
        (0, None, None),
        "it was not out of reach"
    );
    assert_eq!(last_success_at, Some(at(20_000)));
    assert_eq!(well.health.failed(failure(), at(21_000)).health.failures, 1);
}

#[test]
fn success_closes_the_breaker_and_makes_earlier_attempts_due() {
    let open = failed(BREAKER_FAILURES).health;
    let well = open.succeeded(at(59_000), at(60_000)).unwrap();
    assert_eq!(
        (well.state, &well.notices[..]),
        (State::Healthy, &[Notice::Recovered][..])
    );
    let health = well.health;
    assert_eq!(
        (health.blocked_for(at(60_000)), health.recovered_at),
        (None, Some(at(60_000)))
    );
    let due = |next, tried| health.due_at(at(next), tried, at(60_000));
    assert_eq!(due(9_000_000, Some(at(59_999))), at(60_000));
    assert_eq!(
        due(50_000, Some(at(1_000))),
        at(50_000),
        "it was due before"
    );
    assert_eq!(
        due(9_000_000, Some(at(60_000))),
        at(9_000_000),
        "it was tried since"
    );
    assert_eq!(due(60_000, None), at(60_000));
    assert_eq!(Health::default().due_at(at(5), Some(at(1)), at(1)), at(5));
}

#[test]
fn a_recovery_is_announced_only_after_announced_trouble() {
    let quiet = failed(3).health.succeeded(at(9_000), at(10_000)).unwrap();
    assert_eq!(quiet.notices, []);
    let warned = Health {
        warned: 1,
        is_announced: true,
        ..failed(3).health
    };
    let well = warned.succeeded(at(9_000), at(10_000)).unwrap();
    assert_eq!(
        (well.notices, well.health.is_announced),
        (vec![Notice::Recovered], false)
    );
    let switched_on = Health {
        is_announced: true,
        ..failed(3).health
    }
    .enabled(at(5_000));
    let well = switched_on.succeeded(at(9_000), at(10_000)).unwrap();
    assert_eq!(
        (well.notices, well.health.recovered_at),
        (vec![Notice::Recovered], Some(at(5_000)))
    );
}

#[test]
fn a_request_before_a_recovery_or_a_change_is_stale() {
    let health = Health {
        recovered_at: Some(at(10)),
        changed_at: Some(at(20)),
        ..Health::default()
    };
    assert_eq!(
        [5, 15, 20].map(|ms| health.is_stale_request(at(ms))),
        [true, true, false]
    );
    assert!(!Health::default().is_stale_request(at(0)));
    let retried = Health {
        retry_requested_at: Some(at(30)),
        ..health
    };
    assert!(
        !retried.is_stale_request(at(25)),
        "a requested retry proves nothing about the destination"
    );
    assert_eq!(
        (retried.due_since(), retried.well_at()),
        (Some(at(30)), Some(at(10)))
    );
}

#[test]
fn a_retry_after_holds_until_its_time_or_a_recovery() {
    let retry_after = RetryAfter {
        received_at: at(1_000),
        until: at(9_000),
    };
    let holds = |health: Health, now| health.holds(retry_after, at(now));
    let recovered = |millis| Health {
        recovered_at: Some(at(millis)),
        ..Health::default()
    };
    assert!(holds(Health::default(), 8_999));
    assert!(!holds(Health::default(), 9_000));
    assert!(holds(recovered(1_000), 5_000), "it was received since");
    assert!(!holds(recovered(1_001), 5_000));
}

#[test]
fn a_healthy_destinations_success_is_noted_once_a_minute() {
    let first = Health::default().succeeded(at(0), at(0)).unwrap().health;
    let noted_again = millis(SUCCESS_NOTED_EVERY);
    assert_eq!(first.succeeded(at(1), at(noted_again - 1)), None);
    let later = first.succeeded(at(1), at(noted_again)).unwrap();
    assert_eq!(
        (later.health.last_success_at, &later.notices[..]),
        (Some(at(noted_again)), &[][..])
    );
    let failed = first.failed(failure(), at(1)).health;
    assert!(
        failed.succeeded(at(0), at(2)).is_some(),
        "after a failure at once"
    );
}

#[test]
fn a_pause_is_never_shortened_and_ends_with_a_success() {
    let pause = |ms| Failure {
        pause: Some(Duration::from_millis(ms)),
        ..failure()
    };
    let paused = Health::default().failed(pause(60_000), at(0));
    assert_eq!(paused.state, State::Failing);
    assert_eq!(paused.health.blocked_for(at(0)), Some(ms(60_000)));
    assert_eq!(paused.health.blocked_for(at(59_999)), Some(ms(1)));
    assert_eq!(paused.health.blocked_for(at(60_000)), None);
    let shorter = paused.health.failed(pause(1_000), at(10_000)).health;
    assert_eq!(shorter.blocked_for(at(10_000)), Some(ms(50_000)));
    assert_eq!(
        shorter.succeeded(at(9_000), at(11_000)),
        None,
        "a request from before the pause does not end it"
    );
    let well = shorter.succeeded(at(60_500), at(61_000)).unwrap();
    assert_eq!(well.health.paused_until, None);
    assert_eq!(
        well.health.recovered_at, None,
        "what failed by itself keeps its own wait"
    );
    assert_eq!(well.notices, [], "the pause was not announced");
}

#[test]
fn no_pause_outlasts_the_longest() {
    let paused = Health::default()
        .failed(
            Failure {
                pause: Some(Duration::MAX),
                ..failure()
            },
            at(0),
        )
        .health;
    assert_eq!(paused.paused_for(at(0)), Some(LONGEST_PAUSE));
}

#[test]
fn a_pause_holds_up_what_is_due_and_an_outage_everything() {
    let minute = Some(ms(60_000));
    let paused = Health::default()
        .failed(
            Failure {
                pause: minute,
                ..failure()
            },
            at(0),
        )
        .health;
    for (due_ms, pending_for) in [
        (-5, minute),
        (0, minute),
        (1, None),
        (60_001, None),
        (HOUR_MS, None),
    ] {
        assert_eq!(
            paused.pending_for(at(due_ms), at(0)),
            pending_for,
            "{due_ms}"
        );
        assert_eq!(
            paused.pending_for(at(due_ms), at(60_000)),
            None,
            "the pause is over"
        );
    }
    let open = failed(BREAKER_FAILURES).health;
    assert_eq!(open.pending_for(at(HOUR_MS), at(39_000)), Some(ms(1)));
    assert_eq!(Health::default().pending_for(at(0), at(0)), None);
}

#[test]
fn an_open_breaker_is_probed_every_half_minute() {
    let mut health = failed(BREAKER_FAILURES).health;
    let opened_ms = (BREAKER_FAILURES - 1) * 1000;
    let probe_ms = opened_ms + millis(PROBE_EVERY);
    assert_eq!(health.probe_in(at(opened_ms)), Some(PROBE_EVERY));
    assert_eq!(health.blocked_for(at(opened_ms)), Some(PROBE_EVERY));
    assert_eq!(health.probe_in(at(probe_ms)), Some(Duration::ZERO));
    assert_eq!(
        health.blocked_for(at(probe_ms)),
        Some(ms(1)),
        "for everyone else it stays closed"
    );
    health.probed_at = Some(at(probe_ms));
    assert_eq!(health.probe_in(at(probe_ms + 1)), Some(PROBE_EVERY - ms(1)));
    health.probed_at = Some(at(0));
    assert_eq!(
        health.probe_in(at(opened_ms)),
        Some(PROBE_EVERY),
        "a probe of an earlier outage"
    );
    assert_eq!(failed(1).health.probe_in(at(0)), None);
}

/// Returns the notices of a destination that fails every hour from `first_hour` on, with their hours. If `well`, it
/// succeeded at hour 0.
fn hourly(first_hour: i64, well: bool) -> Vec<(i64, Notice)> {
    let mut health = Health {
        last_success_at: well.then(|| at(0)),
        ..Health::default()
    };
    let mut notices = Vec::new();
    for hour in first_hour..first_hour + 200 {
        let assessment = health.failed(failure(), at(hour * HOUR_MS));
        notices.extend(assessment.notices.iter().map(|notice| (hour, *notice)));
        if assessment.state == State::Disabled {
            return notices;
        }
        health = assessment.health;
    }
    notices
}

#[test]
fn warnings_come_at_50_70_and_90_percent_of_the_patience() {
    let warned = |hour, percent| (hour, Notice::Warned { percent });
    let expected = [
        warned(60, 50),
        warned(84, 70),
        warned(108, 90),
        (120, Notice::Disabled),
    ];
    assert_eq!(hourly(1, true), expected);
    let later = [
        warned(61, 50),
        warned(85, 70),
        warned(109, 90),
        (121, Notice::Disabled),
    ];
    assert_eq!(
        hourly(1, false),
        later,
        "without a success the first failure counts"
    );
}

#[test]
fn after_a_silence_failures_must_lie_half_a_day_apart() {
    let warned = |hour: i64, percent| (1000 + hour, Notice::Warned { percent });
    let expected = [
        warned(6, 50),
        warned(9, 70),
        warned(11, 90),
        (1012, Notice::Disabled),
    ];
    assert_eq!(hourly(1000, true), expected);
    assert_eq!(MIN_FAILURE_SPAN, HOUR * 12);
}

#[test]
fn missed_warnings_are_sent_as_one() {
    let first = Health::default().failed(failure(), at(0)).health;
    let late = first.failed(failure(), at(4 * DAY_MS));
    assert_eq!(
        (&late.notices[..], late.health.warned),
        (&[Notice::Warned { percent: 70 }][..], 2)
    );
    let next = late.health.failed(failure(), at(4 * DAY_MS + 13 * HOUR_MS));
    assert_eq!(next.notices, [Notice::Warned { percent: 90 }]);
}

#[test]
fn an_enabled_destination_has_its_whole_patience_again() {
    let open = failed(BREAKER_FAILURES).health;
    let enabled = open.enabled(at(9 * DAY_MS));
    assert_eq!(
        (enabled.failures, enabled.opened_at, enabled.warned),
        (0, None, 0)
    );
    assert_eq!(
        enabled.due_at(at(99 * DAY_MS), Some(at(1)), at(9 * DAY_MS)),
        at(9 * DAY_MS)
    );
    let first = enabled.failed(failure(), at(9 * DAY_MS + HOUR_MS)).health;
    let day_later = first.failed(failure(), at(10 * DAY_MS + HOUR_MS));
    assert_eq!(
        (day_later.state, &day_later.notices[..]),
        (State::Failing, &[][..])
    );
    assert_eq!(
        first.failed(failure(), at(14 * DAY_MS)).state,
        State::Disabled
    );
}

#[test]
fn requests_are_spread_evenly_over_two_seconds_at_most() {
    let (mut next, mut starts) = (at(-5_000), Vec::new());
    let sent_away = loop {
        match slot(next, 4, at(0)) {
            Slot::Free { wait, next_at } => {
                starts.push(wait);
                next = next_at;
            }
            Slot::Later { wait } => break wait,
        }
    };
    assert_eq!(
        starts,
        [0, 250, 500, 750, 1_000, 1_250, 1_500, 1_750, 2_000].map(ms)
    );
    assert_eq!(
        (starts.last(), sent_away),
        (Some(&LATEST_START), ms(250)),
        "then its slot is two seconds away"
    );
    for wrong in [0, -7] {
        assert_eq!(
            slot(at(0), wrong, at(0)),
            Slot::Free {
                wait: ms(0),
                next_at: at(1_000)
            },
            "one a second at least"
        );
    }
}

#[test]
fn a_state_is_read_as_it_was_written() {
    for state in [State::Healthy, State::Failing, State::Open, State::Disabled] {
        assert_eq!(state.as_str().parse(), Ok(state));
    }
    assert!("well".parse::<State>().is_err());
}

#[test]
fn a_destination_that_goes_on_failing_raises_one_alarm() {
    let after = millis(ALARM_AFTER);
    let (mut health, mut raised) = (Health::default(), Vec::new());
    for at_ms in [0, after - 1, after, after + 1, 3 * after] {
        let assessment = health.failed(failure(), at(at_ms));
        raised.push(assessment.raises_alarm);
        health = assessment.health;
    }
    assert_eq!(raised, [false, false, true, false, false]);
    let well = health.succeeded(at(4 * after), at(4 * after)).unwrap();
    assert!(
        !well.raises_alarm && !well.health.failed(failure(), at(9 * after)).raises_alarm,
        "it starts again"
    );
    let open = failed(BREAKER_FAILURES);
    assert!(open.raises_alarm && !failed(BREAKER_FAILURES - 1).raises_alarm);
    assert!(
        !open.health.failed(failure(), at(after)).raises_alarm,
        "the open breaker raised it"
    );
    assert!(
        !open.health.refused_all().raises_alarm,
        "disabling has an alarm of its own"
    );
}
