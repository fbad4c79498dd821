//! Builds destinations that are ready for sending.

use protocols::destinations::{self, Allowed, Connector};
use serde_json::Value;
use storage::{Destination, fixtures};

/// Returns a destination of this kind with these fields, ready for sending.
pub fn destination(kind: &str, fields: &Value, allowed: &Allowed) -> Box<dyn Connector> {
    let created = destinations::kind(kind)
        .expect("a kind")
        .create(fields.as_object().expect("fields"), allowed, [7; 32])
        .expect("valid fields");
    let destination = Destination {
        per_user: created.traits.per_user,
        per_request: created.traits.per_request,
        profile: created.traits.profile,
        ..fixtures::destination(kind, created.settings)
    };
    destinations::ready(&destination, &created.secret, allowed).expect("a usable destination")
}
