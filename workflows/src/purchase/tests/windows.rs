//! The window in which notifications are gathered.

use super::{SECOND, WINDOW, after_window, at, early, notified, one_waits};
use crate::activities::{Loaded, SettlingMode, SettlingStart};
use crate::purchase::state::{Next, State};
use crate::signal::Notified;
use domain::time::duration;
use std::time::Duration;

#[test]
fn a_cap_that_load_reports_as_over_settles_in_an_open_window() {
    let mut state = State::default();
    state.notified(&notified(1), at(0));
    state.wake();
    let start = state.begin(SettlingMode::Due, at(SECOND));
    assert!(start.is_early);
    assert!(state.loaded(
        &Loaded {
            cap: Some(Duration::ZERO),
            quiet: Duration::from_secs(60),
            ..one_waits(1)
        },
        start,
        at(SECOND)
    ));
}

#[test]
fn a_settled_rows_cap_does_not_shorten_a_later_window() {
    let mut state = State::default();
    state.notified(
        &Notified {
            cap: Some(Duration::from_secs(10)),
            ..notified(2)
        },
        at(0),
    );
    assert_eq!(state.next(at(10 * SECOND)), Next::Settle(SettlingMode::Due));
    let start = state.begin(SettlingMode::Due, at(10 * SECOND));
    assert!(!state.loaded(
        &Loaded {
            cap: Some(Duration::from_secs(115)),
            ..one_waits(2)
        },
        start,
        at(10 * SECOND)
    ));
    assert_eq!(state.next(at(10 * SECOND)), Next::Sleep(at(WINDOW)));
}

#[test]
fn a_notification_opens_a_window_and_the_end_of_it_settles() {
    let mut state = State::default();
    state.notified(&notified(1), at(0));
    assert_eq!(state.next(at(0)), Next::Sleep(at(WINDOW)));
    assert_eq!(state.next(at(WINDOW - 1)), Next::Sleep(at(WINDOW)));
    assert_eq!(state.next(at(WINDOW)), Next::Settle(SettlingMode::Due));
}

#[test]
fn a_second_notification_moves_the_window_and_never_back() {
    let mut state = State::default();
    state.notified(&notified(1), at(0));
    state.notified(&notified(2), at(30 * SECOND));
    assert_eq!(state.next(at(30 * SECOND)), Next::Sleep(at(150 * SECOND)));
    state.notified(
        &Notified {
            through: 1,
            quiet: Duration::from_millis(10),
            count: 1,
            cap: None,
        },
        at(40 * SECOND),
    );
    assert_eq!(state.next(at(40 * SECOND)), Next::Sleep(at(150 * SECOND)));
}

#[test]
fn the_cap_ends_a_window_that_is_never_quiet() {
    let mut state = State::default();
    for second in 0..10 {
        let cap = Some(duration(300_000 - second * 60_000));
        state.notified(
            &Notified {
                cap,
                ..notified(second)
            },
            at(second * 60 * SECOND),
        );
    }
    assert_eq!(state.next(at(299 * SECOND)), Next::Sleep(at(300 * SECOND)));
    assert_eq!(
        state.next(at(300 * SECOND)),
        Next::Settle(SettlingMode::Due)
    );
}

#[test]
fn a_signal_during_settling_opens_the_next_window() {
    let mut state = State::default();
    state.notified(&notified(1), at(0));
    assert_eq!(
        state.begin(SettlingMode::Due, at(WINDOW)),
        SettlingStart {
            through: 1,
            is_early: false,
            mode: SettlingMode::Due
        }
    );
    state.notified(&notified(2), at(WINDOW));
    assert!(state.loaded(&one_waits(1), after_window(1), at(WINDOW)));
    assert_eq!(state.next(at(WINDOW)), Next::Sleep(at(2 * WINDOW)));
}

#[test]
fn a_wake_inside_a_window_does_not_shorten_it() {
    let mut state = State::default();
    state.notified(&notified(1), at(0));
    state.wake();
    assert_eq!(state.next(at(SECOND)), Next::Settle(SettlingMode::Due));
    assert!(state.begin(SettlingMode::Due, at(SECOND)).is_early);
    state.loaded(&one_waits(1), early(1), at(SECOND));
    assert_eq!(state.next(at(SECOND)), Next::Sleep(at(WINDOW)));
    assert_eq!(state.next(at(WINDOW)), Next::Settle(SettlingMode::Due));
    assert!(!state.begin(SettlingMode::Due, at(WINDOW)).is_early);
}

#[test]
fn a_signal_by_hand_opens_no_endless_window() {
    let mut state = State::default();
    state.notified(
        &Notified {
            through: 1,
            quiet: Duration::MAX,
            count: i64::MAX,
            cap: Some(Duration::MAX),
        },
        at(0),
    );
    assert_eq!(state.next(at(0)), Next::Sleep(at(3600 * SECOND)));
}

#[test]
fn rows_without_a_signal_rearm_the_window_once() {
    let mut state = State::default();
    state.notified(&notified(1), at(0));
    state.begin(SettlingMode::Due, at(WINDOW));
    let younger = Loaded {
        quiet: Duration::from_secs(5),
        ..one_waits(2)
    };
    assert!(!state.loaded(&younger, after_window(1), at(WINDOW)));
    assert_eq!(state.through, 2);
    assert_eq!(state.next(at(WINDOW)), Next::Sleep(at(WINDOW + 5 * SECOND)));
}

#[test]
fn a_window_with_one_microsecond_left_is_still_open() -> Result<(), serde_json::Error> {
    let moment = Duration::from_micros(1);
    let ending = Loaded {
        quiet: moment,
        ..one_waits(2)
    };
    let capped = Loaded {
        quiet: Duration::from_secs(60),
        cap: Some(moment),
        ..one_waits(2)
    };
    for loaded in [ending, capped] {
        let mut state = State::default();
        let start = state.begin(SettlingMode::Due, at(0));
        let written = serde_json::to_value(loaded.without_bodies())?;
        let read: Loaded = serde_json::from_value(written)?;
        assert!(!state.loaded(&read, start, at(0)));
        assert!(
            matches!(state.next(at(0)), Next::Sleep(_)),
            "without a timer nobody would settle it"
        );
    }
    Ok(())
}
