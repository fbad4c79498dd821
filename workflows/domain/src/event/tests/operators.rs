//! The bodies of `destination.*`.

use super::schema::{check_places, complaints, schema};
use super::{day, destination, key};
use crate::event::DestinationEvent;
use crate::event::choice::OPERATORS;
use crate::health::State;
use crate::{AppId, EventId};
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
    for event_type in OPERATORS {
        let body = body(event_type, State::Failing);
        assert_eq!(check_places(event_type, &body), (13, 70), "{event_type}");
        for other in OPERATORS.into_iter().filter(|other| *other != event_type) {
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
        assert_eq!(complaints(&schema, &body("destination.failing", state)), [""; 0]);
    }
    let mut wrong = body("destination.failing", State::Open);
    wrong["state"] = json!("well");
    assert!(!schema.is_valid(&wrong));
}
