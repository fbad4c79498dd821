//! A destination and an attempt with the plainest values, for tests of other crates. Only with the feature `fixtures`.

use crate::delivery::lanes::Attempt;
use crate::settings::destinations::{Destination, DestinationSettings};
use domain::event::Wildcards;
use domain::health::State;
use domain::{AppId, DeliveryId, DestinationId, EventId, Timestamp};
use serde_json::Value;
use uuid::Uuid;

/// A destination of this kind that is healthy and sends each event by itself. Its ids are nil, and it has no name.
pub fn destination(kind: &str, settings: Value) -> Destination {
    Destination {
        id: DestinationId::new(Uuid::nil()),
        app_id: AppId::new(Uuid::nil()),
        kind: kind.to_owned(),
        common: DestinationSettings::new(""),
        wildcards: Wildcards::Everything,
        settings,
        per_user: false,
        per_request: 1,
        profile: None,
        state: State::Healthy,
        reason: None,
        since: Timestamp::default(),
        created_at: Timestamp::default(),
    }
}

/// The first attempt at an event with this frozen body.
pub fn attempt(event_type: &str, body: &str) -> Attempt {
    let event_id = EventId::new(Uuid::nil());
    Attempt {
        delivery_id: DeliveryId::of(DestinationId::new(Uuid::nil()), event_id, 0),
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
