//! The secrets of a rotation, and what the tests of the kinds share.

use super::Rotation;
use domain::{CollapseKey, DeviceId, Environment, EventId, Timestamp};
use serde_json::Value;
pub(super) use storage::fixtures::destination;
use storage::{Attempt, StreamedEvent, Unsent, fixtures};
use uuid::Uuid;

/// The first attempt at a `purchase.updated` with this frozen body.
pub(super) fn attempt(body: &str) -> Attempt {
    fixtures::attempt("purchase.updated", body)
}

/// An event that is not rendered yet, about no customer.
pub(super) fn unsent(event_type: &str, body: Value) -> Unsent {
    Unsent {
        event_id: EventId::new(Uuid::nil()),
        event_type: event_type.to_owned(),
        collapse_key: CollapseKey::new(Uuid::nil()),
        revision: 1,
        created_at: Timestamp::default(),
        occurred_at: None,
        body,
        user_id: None,
        first_user_id: None,
        user_revision: None,
        user_state: Value::Null,
        user_profile: Value::Null,
        external_id: None,
        analytics_device_id: None,
        data: Value::Null,
        store: String::new(),
        environment: Environment::Production,
        siblings: Vec::new(),
        acked_revision: None,
        earned: None,
    }
}

/// An event of a device that was not tried yet.
pub(super) fn of_device(body: &Value) -> StreamedEvent {
    StreamedEvent {
        seq: 1,
        id: EventId::new(Uuid::nil()),
        device_id: DeviceId::new(Uuid::nil()),
        event_type: "device.transaction".to_owned(),
        environment: Environment::Production,
        occurred_at: Timestamp::default(),
        body: body.to_string(),
        attempts: 0,
        refusals: 0,
        first_tried_at: None,
        tried_at: None,
        next_due_at: Timestamp::default(),
        last_error: None,
        batch_id: None,
    }
}

#[test]
fn debug_output_of_a_rotation_hides_secret_and_random_bytes() {
    let now = Timestamp::from_micros(0);
    let rotation = Rotation {
        new_secret: Some("whsec_new".into()),
        until: now,
        now,
        random: [171; 32],
    };
    let shown = format!("{rotation:?} {rotation:#?}");
    for hidden in ["whsec", "random", "171", "0xab"] {
        assert!(!shown.contains(hidden), "{shown}");
    }
}
