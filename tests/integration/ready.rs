//! A destination that is ready to be sent to, for tests of what is sent.

use protocols::destinations::{Allowed, Config};
use serde_json::Value;
use storage::{Destination, fixtures};

/// A destination of this kind with these fields.
pub fn destination(kind: &str, fields: &Value, allowed: &Allowed) -> Config {
    let created = Config::create(kind, fields.as_object().expect("fields"), allowed, [7; 32])
        .expect("valid fields");
    let destination = Destination {
        per_user: created.traits.per_user,
        per_request: created.traits.per_request,
        profile: created.traits.profile,
        ..fixtures::destination(kind, created.settings)
    };
    Config::ready(&destination, &created.secret, allowed).expect("a usable destination")
}
