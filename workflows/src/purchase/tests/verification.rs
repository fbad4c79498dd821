//! Behaviour after a failed query of the store: when it is queried again, and which signals have an effect meanwhile.

use super::*;

fn again(seconds: u64) -> Verified {
    Verified::again_in(
        Duration::from_secs(seconds),
        "no response came in time".to_owned(),
    )
}

fn answer() -> Verified {
    Verified::of(StorePolicy::default(), Verification::Gone)
}

fn to_verify(seq: i64) -> Loaded {
    Loaded {
        verify: true,
        ..one_waits(seq)
    }
}

/// Returns a state in which the window of one notification has ended and the next query of the store is due in 30
/// seconds.
fn pending() -> State {
    let mut state = State::default();
    state.notified(&notified(1), at(0));
    let start = state.begin(SettlingMode::Due, at(WINDOW));
    assert!(state.loaded(&to_verify(1), start, at(WINDOW)));
    assert_eq!(state.verified(again(30), start, at(WINDOW)), None);
    state
}

const AGAIN: i64 = WINDOW + 30 * SECOND;

#[test]
fn the_store_is_queried_again_at_the_time_in_the_answer() {
    let mut state = pending();
    assert_eq!(state.next(at(WINDOW)), Next::Sleep(at(AGAIN)));
    assert_eq!(state.next(at(AGAIN)), Next::Settle(SettlingMode::Due));
    let start = state.begin(SettlingMode::Due, at(AGAIN));
    assert!(state.loaded(&to_verify(1), start, at(AGAIN)));
    assert_eq!(
        state.verified(answer(), start, at(AGAIN)),
        Some(Verification::Gone)
    );
    assert_eq!(state.next(at(AGAIN)), Next::EndRun);
}

#[test]
fn a_wake_does_not_query_before_its_time_and_a_flush_does() {
    let mut state = pending();
    state.wake();
    assert_eq!(state.next(at(WINDOW)), Next::Settle(SettlingMode::Due));
    let start = state.begin(SettlingMode::Due, at(WINDOW));
    assert!(!state.loaded(&to_verify(1), start, at(WINDOW)));
    assert_eq!(state.next(at(WINDOW)), Next::Sleep(at(AGAIN)));

    state.flush();
    assert_eq!(state.next(at(WINDOW)), Next::Settle(SettlingMode::Flush));
    let start = state.begin(SettlingMode::Flush, at(WINDOW));
    assert!(state.loaded(&to_verify(1), start, at(WINDOW)));
    assert_eq!(state.verified(again(1), start, at(WINDOW)), None);
    assert_eq!(state.next(at(WINDOW)), Next::Sleep(at(WINDOW + SECOND)));
    assert_eq!(
        state.next(at(WINDOW + SECOND)),
        Next::Settle(SettlingMode::Flush),
        "the next query is a flush too"
    );
}

#[test]
fn a_load_without_a_store_to_query_settles_without_one() {
    let mut state = pending();
    state.wake();
    let start = state.begin(SettlingMode::Due, at(WINDOW));
    assert!(state.loaded(&one_waits(1), start, at(WINDOW)));
    assert_eq!(state.next(at(WINDOW)), Next::EndRun);
}

#[test]
fn a_load_without_open_rows_stops_queries() {
    let mut state = pending();
    state.wake();
    let start = state.begin(SettlingMode::Due, at(WINDOW));
    assert!(!state.loaded(
        &Loaded {
            verify: true,
            ..nothing_waits()
        },
        start,
        at(WINDOW)
    ));
    assert_eq!(state.next(at(WINDOW)), Next::EndRun);
}

#[test]
fn a_new_window_and_the_next_query_are_both_waited_for() {
    let mut state = pending();
    state.notified(&notified(2), at(WINDOW + SECOND));
    assert_eq!(
        state.next(at(AGAIN)),
        Next::Sleep(at(2 * WINDOW + SECOND)),
        "the new window is longer"
    );

    let mut state = pending();
    state.notified(
        &Notified {
            quiet: Duration::from_secs(2),
            ..notified(2)
        },
        at(WINDOW),
    );
    assert_eq!(
        state.next(at(WINDOW)),
        Next::Sleep(at(AGAIN)),
        "the store wants more time"
    );
    assert_eq!(
        state.begin(SettlingMode::Due, at(AGAIN)),
        SettlingStart {
            through: 2,
            is_early: false,
            mode: SettlingMode::Due
        }
    );
}

#[test]
fn a_hold_stops_queries_until_its_end() {
    let mut state = pending();
    let until = Timestamp::from_micros(2 * WINDOW).to_string();
    state.hold(
        Hold {
            until: Some(until),
            ..Hold::default()
        },
        at(WINDOW),
    );
    state.admin.clear();
    assert_eq!(Status::of(Some(key()), &state).verification, None);
    assert_eq!(state.next(at(AGAIN)), Next::Sleep(at(2 * WINDOW)));
    assert_eq!(state.next(at(2 * WINDOW)), Next::Settle(SettlingMode::Due));

    let mut state = pending();
    state.wake();
    let start = state.begin(SettlingMode::Due, at(WINDOW));
    assert!(!state.loaded(
        &Loaded {
            held: Some(Duration::from_secs(120)),
            ..to_verify(1)
        },
        start,
        at(WINDOW)
    ));
    assert_eq!(state.next(at(AGAIN)), Next::Sleep(at(2 * WINDOW)));
}

#[test]
fn a_verification_is_not_used_when_a_hold_came_meanwhile() {
    let mut state = State::default();
    state.notified(&notified(1), at(0));
    let start = state.begin(SettlingMode::Due, at(WINDOW));
    assert!(state.loaded(&to_verify(1), start, at(WINDOW)));
    state.hold(Hold::default(), at(WINDOW));
    assert_eq!(state.verified(answer(), start, at(WINDOW)), None);
    assert_eq!(state.verified(again(1), start, at(WINDOW)), None);
    assert_eq!(state.pending_query, None);
    assert!(matches!(
        state.next(at(WINDOW)),
        Next::Admin(AdminRequest::Hold { .. })
    ));
}

#[test]
fn a_due_purchase_settles_without_notifications() {
    let due = || Loaded {
        due: true,
        verify: true,
        ..nothing_waits()
    };
    let mut state = State::default();
    state.wake();
    let start = state.begin(SettlingMode::Due, at(0));
    assert!(state.loaded(&due(), start, at(0)));
    assert_eq!(
        state.verified(answer(), start, at(0)),
        Some(Verification::Gone)
    );
    assert_eq!(
        state.next(at(0)),
        Next::EndRun,
        "`record` sets the next wake"
    );

    state.notified(&notified(1), at(0));
    state.wake();
    let start = state.begin(SettlingMode::Due, at(SECOND));
    assert!(!state.loaded(&due(), start, at(SECOND)));
    assert_eq!(state.next(at(SECOND)), Next::Sleep(at(WINDOW)));
}

#[test]
fn status_shows_why_it_waits_and_until_when() {
    let mut state = pending();
    let status = Status::of(Some(key()), &state);
    let wanted =
        "verification: no response came in time; queried again at 1970-01-01T00:02:30.000000Z";
    assert!(status.details().contains(wanted), "{}", status.details());
    assert_eq!(status.window_ends_at, None);
    let start = state.begin(SettlingMode::Due, at(AGAIN));
    assert!(state.loaded(&to_verify(1), start, at(AGAIN)));
    assert_eq!(Status::of(Some(key()), &state).verification, None);
}

#[test]
fn waiting_for_the_store_is_carried_to_the_next_run() {
    let state = pending();
    let json = serde_json::to_string(&state).unwrap_or_default();
    let mut back: State = serde_json::from_str(&json).unwrap_or_default();
    assert_eq!(back.pending_query, state.pending_query);
    assert_eq!(back.next(at(WINDOW)), Next::Sleep(at(AGAIN)));
}

#[test]
fn a_load_result_without_the_newer_fields_can_be_read() {
    let mut json = serde_json::to_value(nothing_waits()).unwrap_or_default();
    if let Some(fields) = json.as_object_mut() {
        for name in ["due", "verify", "is_replaced"] {
            fields.remove(name);
        }
    }
    let loaded: Result<Loaded, _> = serde_json::from_value(json);
    assert!(loaded.is_ok_and(|loaded| !loaded.due && !loaded.verify && !loaded.is_replaced));
}

#[test]
fn a_release_that_knows_one_store_finds_no_result_of_another() {
    let mut named = stores::ALL
        .iter()
        .flat_map(|policy| StorePolicy::of(policy.store));
    let named = named
        .find(|policy| !policy.is_unnamed())
        .unwrap_or_default();
    let verified = Verified::of(named, Verification::Gone);
    assert_eq!(verified.result(), Some(&Verification::Gone));
    let mut json = serde_json::to_value(&verified).unwrap_or_default();
    let back: Result<Verified, _> = serde_json::from_value(json.clone());
    assert!(back.is_ok_and(|back| back.result() == Some(&Verification::Gone)));
    if let Some(fields) = json.as_object_mut() {
        fields.remove("of_named_store");
    }
    let of_that_release: Result<Verified, _> = serde_json::from_value(json);
    assert!(of_that_release.is_ok_and(|verified| verified.result().is_none()));
}
