//! The state of a destination's run and its next actions.

use super::state::{AdminRequest, Next, Redelivery, State};
use super::status::Status;
use crate::activities::{Supervised, Supervision};
use crate::contract;
use crate::signal::{Admin, DestinationSignal, Enable, MAX_NAMED, RedeliverEvents, Replay};
use domain::{CollapseKey, DestinationId, EventId, RedeliverySelector, Timestamp};
use serde_json::json;
use std::time::Duration;

/// Microseconds.
const SECOND: i64 = 1_000_000;
const SUPERVISE: Next = Next::Supervise { is_probe: false };

fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros)
}

fn id() -> DestinationId {
    DestinationId::new(uuid::Uuid::nil())
}

fn found(state: Supervision, next_check_ms: Option<u64>) -> Supervised {
    let next_check_in = next_check_ms.map(Duration::from_millis);
    Supervised {
        next_check_in,
        state,
        pending: 7,
        message: Some("the endpoint answered 503".to_owned()),
    }
}

/// Returns the state of a run whose `supervise` returned `supervised` at time 0.
fn after(supervised: Supervised) -> State {
    let mut state = State::default();
    state.pending();
    state.begin();
    state.supervised(supervised, at(0));
    state
}

#[test]
fn what_is_pending_starts_one_supervision_at_a_time() {
    let mut state = State::default();
    state.pending();
    assert_eq!(state.next(at(0)), SUPERVISE);
    state.begin();
    state.pending();
    assert_eq!(state.next(at(0)), Next::Wait);
}

#[test]
fn a_supervision_that_finds_nothing_completes_the_run() {
    let state = after(found(Supervision::Rest, None));
    assert_eq!(state.next(at(0)), Next::EndRun);
}

#[test]
fn news_during_a_supervision_causes_another_one() {
    let mut state = State::default();
    state.pending();
    state.begin();
    state.pending();
    state.supervised(found(Supervision::Rest, None), at(0));
    assert_eq!(state.next(at(0)), SUPERVISE);
}

#[test]
fn a_drain_goes_on_at_once() {
    let state = after(found(Supervision::Drain, Some(0)));
    assert_eq!(state.next(at(0)), SUPERVISE);
}

#[test]
fn news_shorten_the_wait_for_lanes() {
    let mut state = after(found(Supervision::Drain, Some(60_000)));
    assert_eq!(state.next(at(SECOND)), Next::Sleep(at(60 * SECOND)));
    state.pending();
    assert_eq!(state.next(at(SECOND)), SUPERVISE);
}

#[test]
fn news_shorten_neither_a_pause_nor_the_wait_for_a_probe() {
    for what in [Supervision::Pause, Supervision::Probe] {
        let mut state = after(found(what, Some(30_000)));
        state.pending();
        assert_eq!(
            state.next(at(SECOND)),
            Next::Sleep(at(30 * SECOND)),
            "{what:?}"
        );
        assert_eq!(state.next(at(30 * SECOND)), SUPERVISE, "{what:?}");
    }
}

#[test]
fn a_person_may_try_an_open_breaker_at_any_time() {
    let mut state = after(found(Supervision::Probe, Some(30_000)));
    state.probe();
    assert_eq!(state.next(at(SECOND)), Next::Supervise { is_probe: true });
    state.begin();
    state.supervised(found(Supervision::Probe, Some(30_000)), at(SECOND));
    assert_eq!(state.next(at(SECOND)), Next::Sleep(at(31 * SECOND)));
}

#[test]
fn a_request_is_executed_during_a_supervision_and_causes_one() {
    for request in [
        AdminRequest::Test,
        |admin| AdminRequest::Enable(Enable::from(admin)),
        AdminRequest::Disable,
    ] {
        let mut state = after(found(Supervision::Probe, Some(30_000)));
        state.probe();
        state.begin();
        state.enqueue(request(Admin::default()));
        assert_eq!(
            state.next(at(SECOND)),
            Next::Admin(request(Admin::default()))
        );
        state.executed(None);
        assert_eq!(state.next(at(SECOND)), Next::Wait);
        state.supervised(found(Supervision::Probe, Some(30_000)), at(SECOND));
        assert_eq!(
            state.next(at(SECOND)),
            SUPERVISE,
            "storage may have changed"
        );
    }
}

#[test]
fn a_long_redelivery_alternates_with_supervision() {
    let begun = Redelivery::new(RedeliverySelector::Failed, Admin::default());
    let going_on = Redelivery {
        cursor: Some("500".to_owned()),
        ..begun.clone()
    };
    let mut state = State::default();
    state.redeliver(RedeliverEvents::default());
    assert_eq!(
        state.next(at(0)),
        Next::Admin(AdminRequest::Redeliver(begun.clone()))
    );
    state.redelivered(&begun, Ok(Some("500".to_owned())));
    state.executed(None);
    assert_eq!(state.next(at(0)), SUPERVISE);
    state.begin();
    assert_eq!(state.next(at(0)), Next::Wait);
    state.enqueue(AdminRequest::Disable(Admin::default()));
    assert_eq!(
        state.next(at(0)),
        Next::Admin(AdminRequest::Disable(Admin::default()))
    );
    state.executed(None);
    state.supervised(found(Supervision::Drain, Some(60_000)), at(0));
    assert_eq!(state.next(at(0)), SUPERVISE);
    state.begin();
    state.supervised(found(Supervision::Drain, Some(0)), at(0));
    assert_eq!(
        state.next(at(0)),
        Next::Redeliver(going_on.clone()),
        "a drain that continues takes turns with it"
    );
    let carried = serde_json::to_string(&state).unwrap_or_default();
    let back = serde_json::from_str::<State>(&carried)
        .map(|back| back.redeliveries)
        .unwrap_or_default();
    assert_eq!(back.front(), Some(&going_on));
    state.redelivered(&going_on, Ok(None));
    state.begin();
    state.supervised(found(Supervision::Rest, None), at(0));
    assert_eq!(state.next(at(0)), Next::EndRun);
    state.redelivered(&going_on, Err("no such destination".to_owned()));
    assert_eq!(
        state.noted.as_deref(),
        Some("redeliver: no such destination")
    );
}

fn range(from: &str, until: &str) -> RedeliverEvents {
    RedeliverEvents {
        from: Some(from.to_owned()),
        until: Some(until.to_owned()),
        ..RedeliverEvents::default()
    }
}

#[test]
fn redeliveries_take_turns_and_an_equal_one_starts_anew() {
    let mut state = State::default();
    state.redeliver(range("1970-01-01T00:00:00Z", "1970-01-01T00:00:09Z"));
    state.replay(Replay::default());
    state.replay(Replay {
        all: true,
        ..Replay::default()
    });
    let redeliveries: Vec<Redelivery> = state
        .admin
        .iter()
        .filter_map(AdminRequest::redelivery)
        .cloned()
        .collect();
    let of_a_time = RedeliverySelector::Range {
        from: Timestamp::from_micros(0),
        until: Timestamp::from_micros(9 * SECOND),
    };
    let wanted: Vec<RedeliverySelector> = redeliveries
        .iter()
        .map(|one| one.selector.clone())
        .collect();
    assert_eq!(
        wanted,
        [
            of_a_time.clone(),
            RedeliverySelector::Behind,
            RedeliverySelector::All
        ]
    );
    for redelivery in &redeliveries {
        state.redelivered(redelivery, Ok(Some("k".to_owned())));
        state.executed(None);
    }
    let turn = |state: &mut State| {
        state.begin();
        state.supervised(found(Supervision::Drain, Some(0)), at(0));
        state
            .redeliveries
            .front()
            .cloned()
            .filter(|front| state.next(at(0)) == Next::Redeliver(front.clone()))
    };
    let first = turn(&mut state)
        .unwrap_or_else(|| Redelivery::new(RedeliverySelector::Failed, Admin::default()));
    assert_eq!(first.selector, of_a_time);
    state.redelivered(&first, Ok(Some("l".to_owned())));
    let second = turn(&mut state).map(|again| (again.selector, again.cursor));
    assert_eq!(
        second,
        Some((RedeliverySelector::Behind, Some("k".to_owned()))),
        "each has its turn"
    );
    let behind = Redelivery::new(RedeliverySelector::Behind, Admin::default());
    state.redelivered(&behind, Ok(Some("a".to_owned())));
    let cursors: Vec<_> = state
        .redeliveries
        .iter()
        .map(|one| (one.selector.clone(), one.cursor.as_deref()))
        .collect();
    assert_eq!(
        cursors,
        [
            (RedeliverySelector::All, Some("k")),
            (of_a_time, Some("l")),
            (RedeliverySelector::Behind, Some("a"))
        ]
    );
}

#[test]
fn an_invalid_range_is_noted_and_requests_nothing() {
    let half = RedeliverEvents {
        until: None,
        ..range("2026-11-20T00:00:00Z", "")
    };
    let backwards = range("2026-11-21T00:00:00Z", "2026-11-20T00:00:00Z");
    let garbage = range("yesterday", "2026-11-21T00:00:00Z");
    for (wrong, why) in [
        (garbage, "from"),
        (backwards, "later `until`"),
        (half, "later `until`"),
    ] {
        let mut state = State::default();
        state.redeliver(wrong);
        let noted = state.noted.clone().unwrap_or_default();
        assert!(
            noted.starts_with("redeliver: payload not understood") && noted.contains(why),
            "{noted}"
        );
        assert!(state.admin.is_empty());
    }
}

#[test]
fn a_selector_reads_as_in_stored_histories() {
    let (event, key) = (
        EventId::new(uuid::Uuid::nil()),
        CollapseKey::new(uuid::Uuid::nil()),
    );
    let (from, until) = (Timestamp::from_micros(0), Timestamp::from_micros(SECOND));
    let stored = [
        (RedeliverySelector::Failed, json!("failed")),
        (
            RedeliverySelector::Range { from, until },
            json!({ "range": { "from": from, "until": until } }),
        ),
        (RedeliverySelector::Behind, json!("behind")),
        (RedeliverySelector::All, json!("all")),
        (
            RedeliverySelector::Purchases(vec![key]),
            json!({ "purchases": [key] }),
        ),
        (RedeliverySelector::Event(event), json!({ "event": event })),
    ];
    for (selector, stored) in stored {
        assert_eq!(json!(selector), stored);
        assert_eq!(
            serde_json::from_value::<RedeliverySelector>(stored).ok(),
            Some(selector)
        );
    }
}

#[test]
fn one_selector_is_redelivered_and_two_at_once_are_noted() {
    let (event, key) = (
        EventId::new(uuid::Uuid::nil()),
        CollapseKey::new(uuid::Uuid::nil()),
    );
    let named = |count| Replay {
        collapse_keys: Some(vec![key; count]),
        ..Replay::default()
    };
    let mut state = State::default();
    state.redeliver(RedeliverEvents {
        event_id: Some(event),
        ..RedeliverEvents::default()
    });
    state.replay(named(MAX_NAMED));
    let redeliveries: Vec<RedeliverySelector> = state
        .admin
        .iter()
        .filter_map(AdminRequest::redelivery)
        .map(|one| one.selector.clone())
        .collect();
    assert_eq!(
        redeliveries,
        [
            RedeliverySelector::Event(event),
            RedeliverySelector::Purchases(vec![key; MAX_NAMED])
        ]
    );
    assert_eq!(
        state
            .admin
            .iter()
            .map(AdminRequest::name)
            .collect::<Vec<_>>(),
        [contract::REDELIVER, contract::REPLAY]
    );
    let both = range("2026-11-20T00:00:00Z", "2026-11-21T00:00:00Z");
    for wrong in [
        named(0),
        named(MAX_NAMED + 1),
        Replay {
            all: true,
            ..named(1)
        },
    ] {
        state.replay(wrong);
        let noted = state.noted.take().unwrap_or_default();
        assert!(
            noted.starts_with("replay: payload not understood: expected"),
            "{noted}"
        );
    }
    state.redeliver(RedeliverEvents {
        event_id: Some(event),
        ..both
    });
    let noted = state.noted.take().unwrap_or_default();
    assert!(
        noted.starts_with("redeliver: payload not understood: expected"),
        "{noted}"
    );
    assert_eq!(state.admin.len(), 2, "neither is requested");
}

#[test]
fn what_a_test_showed_is_noted() {
    let mut state = State::default();
    state.enqueue(AdminRequest::Test(Admin::default()));
    state.tested("the endpoint answered 204");
    state.executed(None);
    assert_eq!(
        state.noted.as_deref(),
        Some("test: the endpoint answered 204")
    );
    assert_eq!(state.next(at(0)), SUPERVISE);
}

#[test]
fn a_request_that_fails_is_noted_and_blocks_nothing() {
    let mut state = State::default();
    state.enqueue(AdminRequest::Enable(Enable::default()));
    state.enqueue(AdminRequest::Disable(Admin::default()));
    state.executed(Some("no such destination".to_owned()));
    assert_eq!(state.noted.as_deref(), Some("enable: no such destination"));
    assert_eq!(
        state.next(at(0)),
        Next::Admin(AdminRequest::Disable(Admin::default()))
    );
    state.executed(None);
    assert!(state.noted.is_some(), "a success does not hide it");
}

#[test]
fn a_supervision_that_finds_nothing_keeps_a_waiting_lane() {
    let mut state = after(found(Supervision::Drain, Some(300_000)));
    state.pending();
    state.begin();
    state.supervised(found(Supervision::Rest, None), at(10 * SECOND));
    assert_eq!(state.next(at(10 * SECOND)), Next::Sleep(at(300 * SECOND)));
    state.begin();
    state.supervised(found(Supervision::Rest, None), at(300 * SECOND));
    assert_eq!(state.next(at(300 * SECOND)), Next::EndRun);
}

#[test]
fn a_pause_that_is_over_is_forgotten() {
    let mut state = after(found(Supervision::Pause, Some(300_000)));
    state.redeliver(RedeliverEvents::default());
    state.executed(None);
    state.begin();
    state.supervised(found(Supervision::Rest, None), at(SECOND));
    assert_eq!(state.next(at(SECOND)), Next::EndRun);
}

#[test]
fn an_interrupted_supervision_is_repeated_a_lost_one_is_not() {
    let mut state = after(found(Supervision::Drain, Some(0)));
    state.begin();
    state.interrupted();
    assert_eq!(state.next(at(0)), SUPERVISE);
    state.begin();
    state.lost("no such destination".to_owned());
    assert_eq!(state.next(at(0)), Next::EndRun);
}

#[test]
fn a_carried_state_can_be_read_and_so_can_an_old_one() {
    let mut state = after(found(Supervision::Probe, Some(30_000)));
    state.probe();
    let me = Admin {
        by: Some("me".to_owned()),
        ..Admin::default()
    };
    state.enqueue(AdminRequest::Enable(Enable {
        newest_only: true,
        admin: me.clone(),
    }));
    let json = serde_json::to_string(&state).unwrap_or_default();
    let back: State = serde_json::from_str(&json).unwrap_or_default();
    assert_eq!(
        (back.admin, back.until, back.last),
        (state.admin, state.until, state.last)
    );
    assert!(back.probe);
    assert!(serde_json::from_str::<State>("{}").is_ok());
    let old = serde_json::from_str::<AdminRequest>(r#"{"enable":{"by":"me","reason":null}}"#).ok();
    assert_eq!(old, Some(AdminRequest::Enable(me.into())));
    assert_eq!(
        serde_json::from_str::<Supervised>("{}").ok(),
        Some(Supervised::default())
    );
}

#[test]
fn a_workflow_id_and_its_inverse_agree() {
    assert_eq!(
        contract::destination_id(&contract::destination_workflow_id(id())),
        Some(id())
    );
    for wrong in [
        "destination",
        "destination/",
        "destination/x",
        "sweep",
        "",
        "purchase/",
    ] {
        assert_eq!(contract::destination_id(wrong), None, "{wrong}");
    }
    assert_eq!(
        contract::collapse_key(&contract::destination_workflow_id(id())),
        None
    );
}

#[test]
fn every_signal_is_an_object_that_a_run_reads() {
    let key_id = Some(domain::KeyId::new(id().uuid()));
    let admin = Admin {
        by: Some("me".to_owned()),
        reason: Some("a test".to_owned()),
        key_id,
    };
    let signals = [
        DestinationSignal::Redeliver(RedeliverEvents::from(admin.clone())),
        DestinationSignal::Replay(Replay {
            admin: admin.clone(),
            ..Replay::default()
        }),
        DestinationSignal::Test(admin.clone()),
        DestinationSignal::Enable(admin.clone().into()),
        DestinationSignal::Disable(admin.clone()),
        DestinationSignal::Probe(admin.clone()),
    ];
    for signal in signals {
        assert_eq!(
            serde_json::from_value(signal.payload()).ok(),
            Some(admin.clone()),
            "{}",
            signal.name()
        );
    }
    assert_eq!(DestinationSignal::Pending.payload(), serde_json::json!({}));
}

#[test]
fn details_show_what_the_run_waits_for() {
    let mut state = after(found(Supervision::Probe, Some(30_000)));
    let details = Status::of(Some(id()), &state).details();
    assert!(details.contains("its breaker is open"), "{details}");
    assert!(
        details.contains("next check at 1970-01-01T00:00:30.000000Z"),
        "{details}"
    );
    assert!(
        details.contains("pending at the last check: 7\nthe endpoint answered 503"),
        "{details}"
    );
    state.begin();
    let status = Status::of(Some(id()), &state);
    assert!(status.next_check_at.is_none() && status.is_busy);
}
