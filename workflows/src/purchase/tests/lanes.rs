//! The lanes of a purchase's run.

use super::{at, destination, lane};
use crate::activities::Delivered;
use crate::purchase::state::{LaneStart, Next, State};
use domain::{DestinationId, Lane};
use std::collections::BTreeSet;

#[test]
fn cancel_backoff_wakes_the_failing_lane_of_one_destination() {
    let [one, other, fresh] =
        [1, 2, 3].map(|number| DestinationId::new(uuid::Uuid::from_bytes([number; 16])));
    let lane = |destination_id, failing| Lane {
        destination_id,
        last_seq: 5,
        failing,
    };
    let mut state = State::default();
    state.opened(&[lane(one, true), lane(other, true), lane(fresh, false)]);
    let called = |state: &State| -> Vec<DestinationId> {
        state
            .lanes
            .iter()
            .filter(|(_, lane)| lane.wake)
            .map(|(id, _)| *id)
            .collect()
    };
    let changes = state.changes;
    state.cancel_backoff(Some(fresh));
    assert_eq!(called(&state), [], "its first attempt is in flight");
    state.cancel_backoff(Some(one));
    assert_eq!(called(&state), [one]);
    state.cancel_backoff(None);
    assert_eq!(called(&state), [one, other]);
    assert_eq!(state.changes, changes + 3);
}

#[test]
fn a_lane_ends_only_after_the_newest_delivery() {
    let mut state = State::default();
    state.opened(&[lane(7)]);
    assert_eq!(state.next(at(0)), Next::Lanes);
    state.opened(&[lane(9)]);
    state.delivered(
        destination(),
        &Delivered {
            last_seq: 7,
            more: false,
        },
        7,
    );
    assert_eq!(state.next(at(0)), Next::Lanes);
    state.delivered(
        destination(),
        &Delivered {
            last_seq: 9,
            more: false,
        },
        9,
    );
    assert_eq!(state.next(at(0)), Next::EndRun);
}

#[test]
fn a_prompt_destination_gets_one_attempt_within_the_task() {
    let mut state = State::default();
    let prompt = BTreeSet::from([destination()]);
    state.opened(&[lane(7)]);
    state.answered_promptly(&prompt);
    assert_eq!(state.started(destination()), LaneStart::WithinTask);
    assert_eq!(state.started(destination()), LaneStart::Regular);
    state.answered_promptly(&BTreeSet::new());
    assert_eq!(state.started(destination()), LaneStart::Regular);
    state.failed(destination());
    state.answered_promptly(&prompt);
    assert_eq!(
        state.started(destination()),
        LaneStart::Regular,
        "a failing lane is retried by Temporal"
    );
}

#[test]
fn a_redelivery_is_not_lost_to_a_lane_that_is_just_ending() {
    let mut state = State::default();
    state.woken(&[lane(7)]);
    state.delivered(
        destination(),
        &Delivered {
            last_seq: 7,
            more: false,
        },
        7,
    );
    assert_eq!(state.next(at(0)), Next::Lanes);
}

#[test]
fn failing_lanes_are_counted_until_they_succeed() {
    let mut state = State::default();
    state.opened(&[lane(1)]);
    state.failed(destination());
    assert_eq!(state.current.failing, 1);
    state.delivered(
        destination(),
        &Delivered {
            last_seq: 1,
            more: false,
        },
        1,
    );
    assert_eq!(state.current.failing, 0);
}
