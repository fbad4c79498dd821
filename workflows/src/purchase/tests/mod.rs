//! The state of a purchase's run: what it does next.

mod restored;
mod verification;

use super::state::{AdminRequest, LaneStart, Next, State};
use super::status::Status;
use crate::activities::{Delivered, Loaded, SettlingMode, SettlingStart, Verified};
use crate::attributes::Values;
use crate::contract;
use crate::signal::{Admin, Hold, Lenient, Notified};
use domain::time::duration;
use domain::{
    CollapseKey, DestinationId, Lane, Notification, NotificationKind, PlatformId, Purchase,
    Timestamp, Verification,
};
use std::collections::BTreeSet;
use std::time::Duration;

/// Microseconds.
const SECOND: i64 = 1_000_000;
const WINDOW: i64 = 120 * SECOND;

fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros)
}

fn notified(through: i64) -> Notified {
    Notified {
        through,
        quiet: Duration::from_secs(120),
        count: 1,
        cap: None,
    }
}

fn key() -> CollapseKey {
    CollapseKey::of(PlatformId::new(uuid::Uuid::nil()), "receipt")
}

fn destination() -> DestinationId {
    DestinationId::new(uuid::Uuid::nil())
}

fn lane(last_seq: i64) -> Lane {
    Lane {
        destination_id: destination(),
        last_seq,
        failing: false,
    }
}

fn nothing_waits() -> Loaded {
    Loaded {
        app_id: None,
        platform_id: None,
        state: domain::State::Unknown,
        purchase: Purchase::default(),
        revision: 0,
        settling: 0,
        notifications: Vec::new(),
        more: false,
        newest_seq: 0,
        quiet: Duration::ZERO,
        cap: None,
        held: None,
        due: false,
        verify: false,
        is_replaced: false,
        settings_version: None,
        lanes: Vec::new(),
        late: None,
        store: None,
        now: Timestamp::default(),
    }
}

fn one_waits(seq: i64) -> Loaded {
    let notification = Notification {
        message_id: "m".to_owned(),
        collapse_key: key(),
        receipt_id: "receipt".to_owned(),
        kind: NotificationKind::SubscriptionPurchased,
        store_type: "PURCHASED".to_owned(),
        store_time: Timestamp::default(),
        app_user_id: None,
        related_receipt_id: None,
        is_test: false,
    };
    Loaded {
        notifications: vec![(seq, notification)],
        newest_seq: seq,
        ..nothing_waits()
    }
}

const fn after_window(through: i64) -> SettlingStart {
    SettlingStart {
        through,
        is_early: false,
        mode: SettlingMode::Due,
    }
}

const fn early(through: i64) -> SettlingStart {
    SettlingStart {
        through,
        is_early: true,
        mode: SettlingMode::Due,
    }
}

#[test]
fn each_redelivery_of_a_run_has_its_own_replayable_name() {
    let names = |run: &str| {
        let mut state = State::default();
        let first = state.name_redelivery(run);
        assert_eq!(
            state.name_redelivery("the next run"),
            first,
            "an interrupted one keeps its name"
        );
        state.executed(None);
        [first, state.name_redelivery(run)]
    };
    assert_eq!(names("run"), ["run/redeliver/1", "run/redeliver/2"]);
    assert_eq!(names("run"), names("run"));
    assert_ne!(names("run"), names("another"));
}

#[test]
fn an_interrupted_settling_begins_again_after_the_request() {
    let mut state = State::default();
    state.notified(&notified(1), at(0));
    state.flush_by(Admin::default());
    state.begin(SettlingMode::Flush, at(SECOND));
    let flushes = std::mem::take(&mut state.flushes);
    let discard = AdminRequest::Discard(crate::signal::Discard::default());
    state.enqueue(discard.clone());
    state.flush_by(Admin::default());
    state.interrupted(SettlingMode::Flush, flushes);
    assert_eq!(state.next(at(SECOND)), Next::Admin(discard));
    state.executed(None);
    assert_eq!(state.next(at(SECOND)), Next::Settle(SettlingMode::Flush));
    let numbers: Vec<u64> = state.flushes.iter().map(|flush| flush.number).collect();
    assert_eq!(
        numbers,
        [1, 2],
        "the audit entries of both flushes are left by the next settling"
    );
}

#[test]
fn a_hold_that_interrupts_a_flush_is_not_flushed() {
    let mut state = State::default();
    state.begin(SettlingMode::Flush, at(0));
    state.hold(Hold::default(), at(0));
    state.interrupted(SettlingMode::Flush, Vec::new());
    assert!(!state.flush && state.check_now);
}

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
fn a_hold_during_a_load_is_not_overridden_by_its_answer() {
    let mut state = State::default();
    state.notified(&notified(1), at(0));
    let start = state.begin(SettlingMode::Due, at(WINDOW));
    state.hold(Hold::default(), at(WINDOW));
    assert!(!state.loaded(&one_waits(1), start, at(WINDOW)));
    assert!(state.hold.is_some());
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

#[test]
fn flushes_are_numbered_in_order() {
    let flushes = |count: usize| {
        let mut state = State::default();
        for name in ["me", "ann"].iter().take(count) {
            state.flush_by(Admin {
                by: Some((*name).to_owned()),
                ..Admin::default()
            });
        }
        state
            .flushes
            .into_iter()
            .map(|flush| (flush.number, flush.admin.by.unwrap_or_default()))
            .collect::<Vec<_>>()
    };
    let both = flushes(2);
    assert_eq!(both, [(1, "me".to_owned()), (2, "ann".to_owned())]);
    assert!(
        both.starts_with(&flushes(1)),
        "a retry that sees more flushes gives the same numbers"
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

#[test]
fn requests_of_admins_come_first_and_in_order() {
    let mut state = State::default();
    state.notified(&notified(1), at(0));
    state.enqueue(AdminRequest::Release(Admin::default()));
    assert_eq!(
        state.next(at(WINDOW)),
        Next::Admin(AdminRequest::Release(Admin::default()))
    );
}

#[test]
fn a_carried_state_can_be_read_and_so_can_an_old_one() {
    let mut state = State::default();
    state.notified(&notified(3), at(0));
    state.opened(&[lane(4)]);
    state.hold(Hold::default(), at(0));
    let json = serde_json::to_string(&state).unwrap_or_default();
    let back: State = serde_json::from_str(&json).unwrap_or_default();
    assert_eq!(
        (back.through, back.window, back.lanes, back.hold),
        (3, state.window, state.lanes, state.hold)
    );
    assert!(serde_json::from_str::<State>("{}").is_ok());
}

#[test]
fn attributes_that_are_left_out_are_not_upserted() {
    let names = |left_out: &[String]| -> Vec<String> {
        Values::default()
            .upsert(key(), left_out)
            .iter()
            .map(|update| update.name().to_owned())
            .collect()
    };
    let all = names(&[]);
    assert_eq!(all.len(), 5, "{all:?}");
    assert_eq!(
        names(&["SettleState".to_owned(), "SettleApp".to_owned()]).len(),
        4
    );
    assert!(names(&all).is_empty());
}

#[test]
fn a_workflow_id_and_its_inverse_agree() {
    assert_eq!(
        contract::collapse_key(&contract::workflow_id(key())),
        Some(key())
    );
    for wrong in ["purchase", "purchase/", "purchase/x", "sweep", ""] {
        assert_eq!(contract::collapse_key(wrong), None, "{wrong}");
    }
}

#[test]
fn details_show_what_the_run_waits_for() {
    let mut state = State::default();
    state.notified(&notified(1), at(0));
    state.opened(&[lane(1)]);
    let details = Status::of(Some(key()), &state).details();
    assert!(
        details.contains("1 waiting; quiet window ends 1970-01-01T00:02:00.000000Z"),
        "{details}"
    );
    assert!(details.contains("delivering"), "{details}");
}

#[test]
fn no_payload_and_null_read_as_an_empty_signal() {
    use temporalio_common::data_converters::{
        PayloadConverter, SerializationContext, SerializationContextData, TemporalDeserializable,
        WorkflowSerializationContext,
    };
    use temporalio_common::protos::temporal::api::common::v1::Payload;
    let data = SerializationContextData::Workflow(WorkflowSerializationContext::new());
    let converter = PayloadConverter::default();
    let context = SerializationContext::new(&data, &converter);
    let read = |bytes: &[u8]| {
        let payload = Payload {
            data: bytes.to_vec(),
            ..Payload::default()
        };
        Lenient::<Notified>::from_payload(&context, payload).map(|lenient| lenient.0)
    };
    assert!(matches!(
        Lenient::<Notified>::from_payloads(&context, vec![]),
        Ok(Lenient(Ok(_)))
    ));
    assert!(matches!(read(b"null"), Ok(Ok(_))));
    assert!(matches!(read(b"{}"), Ok(Ok(_))));
    let two =
        Lenient::<Notified>::from_payloads(&context, vec![Payload::default(), Payload::default()]);
    assert!(matches!(two, Ok(Lenient(Err(_)))), "two inputs");
    for garbage in [&b"3"[..], b"[1]", b"[]x", b"\xff", b"{\"through\":\"x\"}"] {
        assert!(matches!(read(garbage), Ok(Err(_))), "{garbage:?}");
    }
}
