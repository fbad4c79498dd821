//! The state of a purchase's run and its next actions.

mod holds;
mod lanes;
mod restored;
mod verification;
mod windows;

use super::state::{AdminRequest, Next, State};
use super::status::Status;
use crate::activities::{Loaded, SettlingMode, SettlingStart, Verified};
use crate::attributes::Values;
use crate::contract;
use crate::signal::{Admin, Hold, Lenient, Notified};
use domain::{
    CollapseKey, DestinationId, Lane, Notification, NotificationKind, PlatformId, Purchase,
    StorePolicy, Timestamp, Verification, stores,
};
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
        policy: domain::StorePolicy::default(),
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
        voided: None,
        refunded: None,
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
