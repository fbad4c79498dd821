//! Holds, and flushes during a hold.

use super::{SECOND, WINDOW, after_window, at, notified, one_waits};
use crate::activities::{Loaded, SettlingMode, SettlingStart};
use crate::purchase::state::{AdminRequest, Next, State};
use crate::signal::{Admin, Hold};
use domain::Timestamp;
use std::time::Duration;

#[test]
fn a_hold_that_interrupts_a_flush_is_not_flushed() {
    let mut state = State::default();
    state.begin(SettlingMode::Flush, at(0));
    state.hold(Hold::default(), at(0));
    state.interrupted(SettlingMode::Flush, Vec::new());
    assert!(!state.flush && state.check_now);
}

#[test]
fn a_hold_during_a_load_is_not_overridden_by_its_answer() {
    let mut state = State::default();
    state.notified(&notified(1), at(0));
    let start = state.begin(SettlingMode::Due, at(WINDOW));
    state.hold(Hold::default(), at(WINDOW));
    assert!(!state.loaded(&one_waits(1), start, at(WINDOW)));
    assert!(state.hold.is_some());
}

#[test]
fn a_flush_ignores_the_window_but_never_a_hold() {
    let mut state = State::default();
    state.notified(&notified(1), at(0));
    state.flush();
    assert_eq!(state.next(at(0)), Next::Settle(SettlingMode::Flush));
    assert!(!state.begin(SettlingMode::Flush, at(0)).is_early);
    assert!(state.loaded(
        &Loaded {
            quiet: Duration::from_secs(5),
            ..one_waits(2)
        },
        SettlingStart {
            mode: SettlingMode::Flush,
            ..after_window(1)
        },
        at(0)
    ));

    let mut held = State::default();
    held.hold(Hold::default(), at(0));
    held.flush();
    held.admin.clear();
    assert!(matches!(held.next(at(0)), Next::Sleep(_)));
    assert!(held.noted.is_some());
}

#[test]
fn a_flush_after_a_release_in_one_task_settles() {
    let mut state = State::default();
    state.hold(Hold::default(), at(0));
    state.admin.clear();
    state.enqueue(AdminRequest::Release(Admin::default()));
    state.flush();
    assert_eq!(
        (state.flush, state.noted.clone()),
        (true, None),
        "the release comes first"
    );
    state.hold(Hold::default(), at(0));
    state.flush = false;
    state.flush();
    assert!(
        !state.flush && state.noted.is_some(),
        "a newer hold stops it again"
    );
}

#[test]
fn a_hold_sleeps_to_its_end_and_then_settles() {
    let mut state = State::default();
    let until = Timestamp::from_micros(10 * SECOND).to_string();
    state.hold(
        Hold {
            until: Some(until),
            ..Hold::default()
        },
        at(0),
    );
    assert!(
        matches!(state.next(at(0)), Next::Admin(AdminRequest::Hold { duration, .. }) if duration == Duration::from_secs(10))
    );
    state.admin.pop_front();
    assert_eq!(state.next(at(0)), Next::Sleep(at(10 * SECOND)));
    assert_eq!(state.next(at(10 * SECOND)), Next::Settle(SettlingMode::Due));
}

#[test]
fn an_unreadable_hold_lasts_seven_days_and_is_noted() {
    let mut state = State::default();
    state.hold(
        Hold {
            until: Some("tomorrow".to_owned()),
            ..Hold::default()
        },
        at(0),
    );
    assert_eq!(state.hold, Some(at(7 * 86_400 * SECOND)));
    assert!(state.noted.is_some_and(|noted| noted.contains("tomorrow")));
}

#[test]
fn a_hold_in_storage_stops_settling_and_keeps_the_rows() {
    let mut state = State::default();
    state.wake();
    state.begin(SettlingMode::Due, at(0));
    assert!(!state.loaded(
        &Loaded {
            held: Some(Duration::from_secs(1)),
            ..one_waits(1)
        },
        after_window(0),
        at(0)
    ));
    assert_eq!(state.next(at(0)), Next::Sleep(at(SECOND)));
}
