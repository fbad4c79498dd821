//! A destination that is ready to be sent to, and the first attempt at an event, for tests of what is sent.

use domain::event::Wildcards;
use domain::{AppId, DeliveryId, DestinationId, EventId, Timestamp};
use protocols::destinations::{Allowed, Config};
use serde_json::Value;
use storage::{Attempt, Destination, DestinationSettings};
use uuid::Uuid;

/// A destination of this kind with these fields.
pub fn destination(kind: &str, fields: &Value, allowed: &Allowed) -> Config {
    let created = Config::create(kind, fields.as_object().expect("fields"), allowed, [7; 32]).expect("valid fields");
    let destination = Destination {
        id: DestinationId::new(Uuid::from_u128(1)),
        app_id: AppId::new(Uuid::nil()),
        kind: kind.to_owned(),
        common: DestinationSettings::new("ready"),
        wildcards: Wildcards::Everything,
        settings: created.settings,
        per_user: created.traits.per_user,
        per_request: created.traits.per_request,
        profile: created.traits.profile,
        state: domain::health::State::Healthy,
        reason: None,
        since: Timestamp::default(),
        created_at: Timestamp::default(),
    };
    Config::ready(&destination, &created.secret, allowed).expect("a usable destination")
}

/// The first attempt at an event with this frozen body.
pub fn attempt(event_type: &str, body: &str) -> Attempt {
    let event_id = EventId::new(Uuid::from_u128(2));
    Attempt {
        delivery_id: DeliveryId::of(DestinationId::new(Uuid::from_u128(1)), event_id, 0),
        event_id,
        event_type: event_type.to_owned(),
        revision: 1,
        number: 1,
        refusals: 0,
        first_tried_at: None,
        is_stale: false,
        body: body.to_owned(),
        traceparent: None,
    }
}
