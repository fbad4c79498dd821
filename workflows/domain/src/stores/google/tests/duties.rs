//! The acknowledgement of a purchase: when it has to be done, and when an alarm is due.

use super::super::POLICY;
use crate::duty::{Acknowledgement, Deadline, acknowledgement};
use crate::store_state::{StoreState, StoreStatus};
use crate::stores::amazon;
use crate::time::{DAY, HOUR, MINUTE, Timestamp};
use crate::verification::Snapshot;

const BOUGHT: Timestamp = Timestamp::from_millis(1_800_000_000_000);

fn shown(status: StoreStatus, is_acknowledged: Option<bool>) -> Snapshot {
    let state = StoreState {
        status,
        is_acknowledged,
        ..StoreState::default()
    };
    Snapshot {
        at: BOUGHT.plus(MINUTE),
        purchased_at: Some(BOUGHT),
        state: Some(Box::new(state)),
        ..Snapshot::default()
    }
}

fn of(shown: &Snapshot) -> Option<Acknowledgement> {
    acknowledgement(&POLICY, shown)
}

fn deadline(shown: &Snapshot) -> Deadline {
    match of(shown) {
        Some(Acknowledgement::Due(deadline)) => deadline,
        other => panic!("it is not due: {other:?}"),
    }
}

#[test]
fn only_a_running_purchase_has_to_be_acknowledged() {
    let unacknowledged = |status| of(&shown(status, Some(false)));
    assert_eq!(
        unacknowledged(StoreStatus::Pending),
        Some(Acknowledgement::Early)
    );
    assert_eq!(
        unacknowledged(StoreStatus::Over),
        Some(Acknowledgement::Over)
    );
    let done = of(&shown(StoreStatus::Active, Some(true)));
    assert_eq!(done, Some(Acknowledgement::Done));
    assert_eq!(of(&shown(StoreStatus::Active, None)), None);
    let active = shown(StoreStatus::Active, Some(false));
    assert_eq!(acknowledgement(&amazon::POLICY, &active), None);
}

#[test]
fn the_alarm_is_a_day_before_the_deadline() {
    let deadline = deadline(&shown(StoreStatus::Active, Some(false)));
    assert_eq!(deadline.at, BOUGHT.plus(DAY * 3));
    let checked_at = BOUGHT.plus(DAY * 2);
    assert_eq!(deadline.warn_at, Some(checked_at.plus(MINUTE * 30)));
}

#[test]
fn a_short_prepaid_plan_has_half_its_length() {
    let mut prepaid = shown(StoreStatus::Active, Some(false));
    prepaid.renews_at = Some(BOUGHT.plus(DAY));
    assert_eq!(deadline(&prepaid).at, BOUGHT.plus(DAY * 3));
    if let Some(state) = &mut prepaid.state {
        state.is_prepaid = true;
    }
    assert_eq!(deadline(&prepaid).at, BOUGHT.plus(HOUR * 12));
    prepaid.renews_at = Some(BOUGHT.plus(DAY * 7));
    assert_eq!(deadline(&prepaid).at, BOUGHT.plus(DAY * 3));
}

#[test]
fn a_tester_has_minutes_and_causes_no_alarm() {
    let test = Snapshot {
        is_test: true,
        ..shown(StoreStatus::Active, Some(false))
    };
    let expected = Deadline {
        at: BOUGHT.plus(MINUTE * 3),
        warn_at: None,
    };
    assert_eq!(deadline(&test), expected);
}
