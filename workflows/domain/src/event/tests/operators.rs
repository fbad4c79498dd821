//! The bodies of `destination.*` and `alarm.*`.

use super::schema::{check_places, complaints, schema};
use super::{day, destination, key};
use crate::event::choice::{ABOUT_ALARMS, ABOUT_DESTINATIONS};
use crate::event::{AlarmEvent, DestinationEvent, Trouble};
use crate::health::State;
use crate::{AlarmId, AppId, EventId};
use serde_json::{Value, json};

fn body(event_type: &str, state: State) -> Value {
    let event = DestinationEvent {
        id: EventId::of(key("receipt"), 1, 1, event_type, 0),
        event_type,
        created_at: day(3),
        destination: destination(),
        app: AppId::new(uuid::uuid!("486c1c9f-37b1-4873-9ff6-e78e563d184a")),
        name: "Billing",
        kind: "webhook",
        state,
        reason: Some("the endpoint answered 500"),
        since: day(2),
        failures: 10,
        pending: 30,
    };
    event.body()
}

#[test]
fn the_body_of_a_destination_that_fails() {
    insta::assert_json_snapshot!(body("destination.failing", State::Open));
}

#[test]
fn each_is_valid_for_its_own_type_only_and_needs_all_fields() {
    for event_type in ABOUT_DESTINATIONS {
        let body = body(event_type, State::Failing);
        assert_eq!(check_places(event_type, &body), (13, 70), "{event_type}");
        for other in ABOUT_DESTINATIONS
            .into_iter()
            .filter(|other| *other != event_type)
        {
            assert!(!schema(other).is_valid(&body), "{event_type} for {other}");
        }
        let mut silent = body;
        silent["reason"] = Value::Null;
        assert_eq!(complaints(&schema(event_type), &silent), [""; 0]);
    }
}

#[test]
fn the_schema_allows_every_state_and_nothing_else() {
    let schema = schema("destination.failing");
    for state in [State::Healthy, State::Failing, State::Open, State::Disabled] {
        assert_eq!(
            complaints(&schema, &body("destination.failing", state)),
            [""; 0]
        );
    }
    let mut wrong = body("destination.failing", State::Open);
    wrong["state"] = json!("well");
    assert!(!schema.is_valid(&wrong));
}

fn alarm(event_type: &str) -> Value {
    let is_closed = event_type == "alarm.closed";
    let event = AlarmEvent {
        id: EventId::of(key("receipt"), 1, 1, event_type, 0),
        event_type,
        created_at: day(3),
        app: AppId::new(uuid::uuid!("486c1c9f-37b1-4873-9ff6-e78e563d184a")),
        alarm: AlarmId::of(
            Some(destination().uuid()),
            "destination_failing",
            "requests to it keep failing",
        ),
        kind: "destination_failing",
        detail: "requests to it keep failing",
        about: Some("Billing"),
        app_name: Some("Radio"),
        trouble: (!is_closed).then_some(Trouble {
            cause: Some("HTTP 503"),
            failures: 18,
            pending: 34,
        }),
        dashboard: Some("https://settle.example.com"),
        platform: None,
        destination: Some(destination()),
        first_at: day(2),
        last_at: day(3),
        count: 2,
        closed_by: is_closed.then_some("settle"),
        note: is_closed.then_some("it works again"),
    };
    event.body()
}

/// Returns the body of an alarm of the whole installation, whose dashboard has no public address.
fn alarm_of_all() -> Value {
    let event = AlarmEvent {
        id: EventId::of(key("receipt"), 1, 1, "alarm.opened", 0),
        event_type: "alarm.opened",
        created_at: day(3),
        app: AppId::new(uuid::uuid!("486c1c9f-37b1-4873-9ff6-e78e563d184a")),
        alarm: AlarmId::of(None, "sweep", "no sweep finished"),
        kind: "sweep",
        detail: "no sweep finished",
        about: None,
        app_name: None,
        trouble: None,
        dashboard: None,
        platform: None,
        destination: None,
        first_at: day(2),
        last_at: day(3),
        count: 1,
        closed_by: None,
        note: None,
    };
    let body = event.body();
    assert_eq!(complaints(&schema("alarm.opened"), &body), [""; 0]);
    body
}

#[test]
fn the_body_of_an_alarm_that_was_closed() {
    insta::assert_json_snapshot!(alarm("alarm.closed"));
}

#[test]
fn an_open_alarm_has_app_cause_counts_and_a_link() {
    let body = alarm("alarm.opened");
    let alarm = &body["alarm"];
    assert_eq!(
        (&body["app_name"], &alarm["cause"]),
        (&json!("Radio"), &json!("HTTP 503"))
    );
    assert_eq!(
        (&alarm["failures"], &alarm["pending"], &alarm["count"]),
        (&json!(18), &json!(34), &json!(2))
    );
    assert_eq!(
        alarm["url"],
        format!(
            "https://settle.example.com/ui/destinations/{}",
            destination()
        )
    );
    assert_eq!(
        alarm_of_all()["alarm"].get("url"),
        None,
        "no setting names the address"
    );
}

#[test]
fn an_alarm_is_valid_for_its_own_type_only() {
    for (event_type, other) in ABOUT_ALARMS.into_iter().zip(ABOUT_ALARMS.into_iter().rev()) {
        assert_eq!(complaints(&schema(event_type), &alarm(event_type)), [""; 0]);
        assert!(
            !schema(other).is_valid(&alarm(event_type)),
            "{event_type} for {other}"
        );
    }
    let of_all = schema("alarm.opened");
    for (place, is_optional) in [
        ("about", true),
        ("destination_id", true),
        ("detail", false),
        ("kind", false),
    ] {
        let mut body = alarm("alarm.opened");
        body["alarm"][place] = Value::Null;
        assert_eq!(of_all.is_valid(&body), is_optional, "{place}");
    }
}
