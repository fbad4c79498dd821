//! The settings, the mails as they are sent, and the verdicts on replies.

mod requests;
mod response;
mod server;
mod settings;

use super::config::{Config, create, ready};
use super::{KIND, Server};
use crate::destinations::{Allowed, Invalid, NewSettings};
use domain::event::Wildcards;
use domain::{AppId, DeliveryId, DestinationId, EventId, Timestamp};
use serde_json::{Value, json};
use storage::{Attempt, Destination, DestinationSettings};
use uuid::Uuid;

const PASSWORD: &str = "p@ss/word";

fn allowed() -> Allowed {
    let server = Server::parse("smtps://user:p%40ss%2Fword@mail.example.com", "settle <settle@example.com>");
    Allowed { mail: Some(server.unwrap()), ..Allowed::default() }
}

fn created(fields: &Value) -> Result<NewSettings, Vec<Invalid>> {
    create(fields.as_object().unwrap(), &allowed())
}

fn destination(settings: Value) -> Destination {
    Destination {
        id: DestinationId::new(Uuid::nil()),
        app_id: AppId::new(Uuid::nil()),
        kind: KIND.to_owned(),
        common: DestinationSettings::new("on-call"),
        wildcards: Wildcards::Everything,
        settings,
        per_user: false,
        per_request: 1,
        profile: None,
        state: domain::health::State::Healthy,
        reason: None,
        since: Timestamp::default(),
        created_at: Timestamp::default(),
    }
}

fn config() -> Config {
    let settings = created(&json!({ "to": ["ops@example.com", "cto@example.org"] })).unwrap().settings;
    ready(&destination(settings), &allowed()).unwrap()
}

fn attempt(body: &str) -> Attempt {
    Attempt {
        delivery_id: DeliveryId::new(Uuid::from_u128(7)),
        event_id: EventId::new(Uuid::from_u128(8)),
        event_type: "destination.failing".to_owned(),
        revision: 1,
        number: 1,
        refusals: 0,
        first_tried_at: None,
        is_stale: false,
        body: body.to_owned(),
        traceparent: None,
    }
}
