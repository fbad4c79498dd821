//! The start delay of a run: the signals of its first workflow task.

use super::*;
use crate::purchase::Start;

/// A run that was started at time zero for the first notification.
fn started() -> State {
    let mut state = State::default();
    state.notified_in_delay(&notified(1), at(0));
    state
}

#[test]
fn a_run_settles_at_once_when_its_delay_is_over() {
    let mut state = started();
    assert_eq!(state.next(at(WINDOW)), Next::Settle(SettlingMode::Due));
    assert_eq!(state.begin(SettlingMode::Due, at(WINDOW)), quiet(1));
}

#[test]
fn signals_of_the_delay_leave_their_rows_to_load() {
    let mut state = started();
    state.notified_in_delay(&Notified { count: 3, ..notified(4) }, at(0));
    assert_eq!((state.through, state.pending, state.changes), (1, 4, 2));
    assert_eq!(state.window_ends(), Some(at(WINDOW)));
    let start = state.begin(SettlingMode::Due, at(WINDOW));
    assert_eq!(start, quiet(1), "its rows are above what `load` is called with");
    let rest = Loaded { newest_seq: 4, quiet: Duration::from_secs(30), ..one_waits(4) };
    assert!(!state.loaded(&rest, start, at(WINDOW)));
    assert_eq!((state.through, state.next(at(WINDOW))), (4, Next::Sleep(at(WINDOW + 30 * SECOND))));
}

#[test]
fn a_delay_cut_short_leaves_the_rest_to_a_timer() {
    let mut state = started();
    state.wake();
    let now = at(10 * SECOND);
    assert_eq!(state.next(now), Next::Settle(SettlingMode::Due));
    let start = state.begin(SettlingMode::Due, now);
    assert_eq!(start, early(1));
    assert!(!state.loaded(&one_waits(1), start, now));
    assert_eq!(state.next(now), Next::Sleep(at(WINDOW)));
}

#[test]
fn a_flush_in_the_delay_settles_at_once() {
    let mut state = started();
    state.flush();
    assert_eq!(state.next(at(SECOND)), Next::Settle(SettlingMode::Flush));
}

#[test]
fn a_hold_in_the_delay_keeps_the_window() {
    let mut state = started();
    state.hold(Hold { until: Some("1970-01-01T00:01:00Z".to_owned()), ..Hold::default() }, at(SECOND));
    state.admin.clear();
    assert_eq!(state.next(at(SECOND)), Next::Sleep(at(60 * SECOND)));
    assert_eq!(state.next(at(60 * SECOND)), Next::Settle(SettlingMode::Due));
    let start = state.begin(SettlingMode::Due, at(60 * SECOND));
    assert_eq!(start, early(1));
}

#[test]
fn a_delay_that_the_cap_ends_settles_at_the_cap() {
    let mut state = State::default();
    state.notified_in_delay(&Notified { cap: Some(Duration::from_secs(30)), ..notified(1) }, at(0));
    assert_eq!(state.next(at(29 * SECOND)), Next::Sleep(at(30 * SECOND)));
    let now = at(30 * SECOND);
    assert_eq!(state.next(now), Next::Settle(SettlingMode::Due));
    let start = state.begin(SettlingMode::Due, now);
    assert!(state.loaded(&Loaded { cap: Some(Duration::ZERO), ..one_waits(1) }, start, now));
}

#[test]
fn the_start_of_a_run_without_a_delay_has_no_new_field() {
    assert_eq!(serde_json::to_string(&Start::default()).unwrap_or_default(), "{}");
    let delayed = Start { delay: Some(Duration::from_secs(120)), ..Start::default() };
    assert_eq!(serde_json::to_string(&delayed).unwrap_or_default(), r#"{"delay_ms":120000}"#);
    let read = serde_json::from_str::<Start>("{}");
    assert!(read.is_ok_and(|start| start.delay.is_none() && start.carried.is_none()));
}

#[test]
fn the_status_in_a_delay_is_what_storage_has() {
    let loaded = Loaded {
        quiet: Duration::from_secs(90),
        cap: Some(Duration::from_secs(20)),
        held: Some(Duration::from_secs(5)),
        revision: 3,
        lanes: vec![lane(7)],
        ..one_waits(9)
    };
    let status = Status::delayed(key(), &loaded);
    let shown = (status.window_ends_at, status.held_until, status.pending, status.revision, status.lanes.len());
    assert_eq!(shown, (Some(at(20 * SECOND)), Some(at(5 * SECOND)), 1, 3, 1));
    assert!(status.delayed && Status::delayed(key(), &nothing_waits()).window_ends_at.is_none());
}
