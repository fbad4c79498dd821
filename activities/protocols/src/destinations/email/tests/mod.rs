//! The settings, the emails as they are sent, and the verdicts on replies.

mod requests;
mod response;
mod server;
mod settings;

use super::KIND;
use super::config::{Config, create, ready};
use crate::destinations::{Allowed, Invalid, NewSettings, tests};
use crate::smtp::Server;
use domain::{DeliveryId, EventId, Timestamp};
use serde_json::{Value, json};
use storage::{Attempt, Destination};
use uuid::Uuid;

const PASSWORD: &str = "p@ss/word";

fn allowed() -> Allowed {
    let server = Server::parse(
        "smtps://user:p%40ss%2Fword@mail.example.com",
        "settle <settle@example.com>",
    );
    Allowed {
        mail: Some(server.unwrap()),
        ..Allowed::default()
    }
}

fn created(fields: &Value) -> Result<NewSettings, Vec<Invalid>> {
    create(fields.as_object().unwrap(), &allowed())
}

fn destination(settings: Value) -> Destination {
    tests::destination(KIND, settings)
}

fn config() -> Config {
    let settings = created(&json!({ "to": ["ops@example.com", "cto@example.org"] }))
        .unwrap()
        .settings;
    ready(&destination(settings), &allowed()).unwrap()
}

fn attempt(body: &str) -> Attempt {
    let (delivery_id, event_id) = (
        DeliveryId::new(Uuid::from_u128(7)),
        EventId::new(Uuid::from_u128(8)),
    );
    Attempt {
        delivery_id,
        event_id,
        event_type: "destination.failing".to_owned(),
        ..tests::attempt(body)
    }
}
