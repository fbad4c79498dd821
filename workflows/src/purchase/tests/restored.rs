//! A run that is open while the database is restored from a backup. It knows sequence numbers of deliveries and
//! notifications that the database has lost; those recorded since the restore are lower.

use super::{SECOND, WINDOW, at, destination, lane, nothing_waits, notified, one_waits};
use crate::activities::{Delivered, Loaded, SettlingMode, SettlingStart};
use crate::purchase::state::{Next, State};
use std::time::Duration;

/// Returns the output of `deliver` if storage knows no delivery of the lane above `last_seq`.
const fn closed(last_seq: i64) -> Delivered {
    Delivered {
        last_seq,
        more: false,
    }
}

#[test]
fn a_lane_of_a_lost_delivery_ends_and_the_lanes_are_loaded() {
    let mut state = State::default();
    state.opened(&[lane(7)]);
    state.delivered(destination(), &closed(4), 7);
    assert!(
        state.lanes.is_empty(),
        "another `deliver` would not find it either: {:?}",
        state.lanes
    );
    assert_eq!(state.next(at(0)), Next::Settle(SettlingMode::Due));
    let start = state.begin(SettlingMode::Due, at(0));
    // The lane was recorded after the restore, while it was in flight.
    state.loaded(
        &Loaded {
            lanes: vec![lane(5)],
            ..nothing_waits()
        },
        start,
        at(0),
    );
    assert_eq!(state.next(at(0)), Next::Lanes);
    state.delivered(destination(), &closed(5), 5);
    assert_eq!(
        state.next(at(0)),
        Next::EndRun,
        "and nothing is loaded again"
    );
}

#[test]
fn a_lane_with_a_newer_delivery_is_started_again_for_it() {
    let mut state = State::default();
    state.opened(&[lane(7)]);
    state.opened(&[lane(9)]);
    state.delivered(destination(), &closed(4), 7);
    assert_eq!(
        state.lanes.get(&destination()).map(|lane| lane.last_seq),
        Some(9)
    );
    state.delivered(destination(), &closed(4), 9);
    assert!(state.lanes.is_empty());
}

#[test]
fn a_lane_without_an_end_is_started_again() {
    let mut state = State::default();
    state.opened(&[lane(7)]);
    state.delivered(
        destination(),
        &Delivered {
            last_seq: 0,
            more: true,
        },
        7,
    );
    assert_eq!(state.next(at(0)), Next::Lanes);
}

#[test]
fn rows_below_a_lost_one_get_a_window_and_are_settled() {
    let mut state = State::default();
    state.notified(&notified(100), at(0));
    state.begin(SettlingMode::Due, at(WINDOW));
    state.loaded(
        &nothing_waits(),
        SettlingStart {
            through: 100,
            is_early: false,
            mode: SettlingMode::Due,
        },
        at(WINDOW),
    );
    // The first notification after the restore.
    state.notified(&notified(3), at(WINDOW));
    assert_eq!(state.next(at(WINDOW + SECOND)), Next::Sleep(at(2 * WINDOW)));
    let start = state.begin(SettlingMode::Due, at(2 * WINDOW));
    let loaded = Loaded {
        quiet: Duration::ZERO,
        ..one_waits(3)
    };
    assert!(
        state.loaded(&loaded, start, at(2 * WINDOW)),
        "it is decided about"
    );
}
