//! The edge, as used by handlers that change something on behalf of a caller.

use super::Caller;
use crate::edge::Shared;
use crate::error::Error;
use crate::operation::{Input, Operation, Schemas};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use domain::text::visible;
use serde_json::json;
use std::ops::Deref;
use storage::{Actor, Store};
use workflows::signal::Admin;

/// Header with the reason for a change, for requests without a reason in the body.
pub const REASON: &str = "settle-reason";
/// Maximum length of a reason, in bytes.
const MAX_REASON_BYTES: usize = 1000;

/// Maximum length of the author's name in a request, in characters, so that the key's name after it is never cut.
const MAX_BY_CHARS: usize = 200;

/// The reason for a change from a dashboard form, in any language. Used instead of the header.
#[derive(Debug, Clone)]
pub struct Reason(pub String);

/// The edge, with a database handle that records the caller in audit entries. Every handler that changes something
/// takes this instead of the edge.
#[derive(Clone)]
pub struct Acting {
    pub store: Store,
    pub caller: Caller,
    edge: Shared,
}

impl Acting {
    /// Returns the author for signals: the person named in the request, if any, followed by the key's name.
    pub fn name(&self, by: Option<String>) -> String {
        let by: String = by
            .map(|by| visible(&by).chars().take(MAX_BY_CHARS).collect())
            .unwrap_or_default();
        if by.is_empty() {
            self.caller.name.clone()
        } else {
            format!("{by} ({})", self.caller.name)
        }
    }

    /// Sets the author and reason of a signal as those of the audit entries.
    #[must_use]
    pub fn signed(self, admin: Admin) -> Self {
        let actor = self.store.actor().clone();
        let name = admin.by.unwrap_or(actor.name);
        Self {
            store: self.store.by(Actor {
                name,
                reason: admin.reason.or(actor.reason),
                ..actor
            }),
            ..self
        }
    }

    /// Sets the author and reason from the request's body as those of the audit entries.
    #[must_use]
    pub fn named(self, by: Option<String>, reason: Option<String>) -> Self {
        let (by, key_id) = (Some(self.name(by)), self.caller.key);
        self.signed(Admin { by, reason, key_id })
    }
}

impl Deref for Acting {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.edge
    }
}

impl FromRequestParts<Shared> for Acting {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, edge: &Shared) -> Result<Self, Error> {
        let caller = Caller::from_request_parts(parts, edge).await?;
        let entered = parts
            .extensions
            .get::<Reason>()
            .map(|Reason(text)| text.clone());
        let reason = match parts.headers.get(REASON).filter(|_| entered.is_none()) {
            None => entered,
            Some(value) => {
                let text = str::from_utf8(value.as_bytes())
                    .ok()
                    .filter(|text| text.len() <= MAX_REASON_BYTES);
                let text =
                    text.ok_or_else(|| Error::invalid(REASON, "at most 1000 bytes of UTF-8"))?;
                Some(text.to_owned())
            }
        };
        Ok(Self {
            store: edge.store.by(caller.actor(reason)),
            caller,
            edge: edge.clone(),
        })
    }
}

impl Input for Acting {
    fn describe(operation: &mut Operation, _: &mut Schemas) {
        operation.query.push(json!({
            "name": "Settle-Reason", "in": "header", "required": false,
            "description": "Reason for the change, recorded in the audit log unless the body contains one. UTF-8.",
            "schema": { "type": "string", "maxLength": MAX_REASON_BYTES, "x-rule": "At most 1000 bytes of UTF-8." },
        }));
    }
}
