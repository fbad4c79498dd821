//! The audit log: what a person, a key or a script changed. A change and its audit entry are one transaction. The log
//! is listed in the room `reports` of storage.

use crate::error::Error;
use crate::secrets::random_uuid;
use crate::sql::insert;
use crate::statement::clean;
use crate::writer::Write;
use domain::text::visible;
use domain::{AppId, AuditEntryId, KeyId};
use serde_json::{Map, Value};

/// Maximum length of an actor's name and of a reason, in characters.
const MAX_TEXT_CHARS: usize = 1000;
/// Maximum length of the fields before or after, in bytes; longer ones are left out.
const MAX_FIELDS_BYTES: usize = 64 * 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The API key, if it is one that the database has.
    pub key: Option<KeyId>,
    /// The name of the key or the person, for display.
    pub name: String,
    pub reason: Option<String>,
    /// The name of a call that may be repeated: its change has one audit entry, however often it is carried out.
    pub once: Option<String>,
}

impl Actor {
    pub fn named(name: &str) -> Self {
        Self {
            key: None,
            name: name.to_owned(),
            reason: None,
            once: None,
        }
    }

    /// Returns the name as it is stored.
    pub fn stored_name(&self) -> String {
        bounded(&visible(&self.name))
    }
}

/// A change for the audit log, before it is stored.
#[derive(Debug, Clone)]
pub struct AuditEntry {
    app: Option<AppId>,
    subject: String,
    before: Value,
    after: Value,
}

impl AuditEntry {
    /// Returns an audit entry for a change of this subject, an id, still without fields.
    pub fn on(app: impl Into<Option<AppId>>, subject: impl ToString) -> Self {
        Self {
            app: app.into(),
            subject: subject.to_string(),
            before: Value::Null,
            after: Value::Null,
        }
    }

    /// Sets the fields before the change: an object without secrets and without names of customers.
    #[must_use]
    pub fn before(self, before: Value) -> Self {
        Self { before, ..self }
    }

    /// Sets the fields after the change: an object like the one before it.
    #[must_use]
    pub fn after(self, after: Value) -> Self {
        Self { after, ..self }
    }

    /// Stores the audit entry in the transaction of the change.
    pub fn record(
        self,
        write: &mut Write<'_>,
        actor: &Actor,
        operation: &str,
    ) -> Result<(), Error> {
        let (before, after) = differing(self.before, self.after);
        let id = match &actor.once {
            Some(call) => AuditEntryId::of(call, operation),
            None => AuditEntryId::new(random_uuid()?),
        };
        insert!(
            audit_log {
                id,
                at: write.now()?,
                key_id: actor.key,
                actor: actor.stored_name(),
                operation: operation.to_owned(),
                app_id: self.app,
                subject: clean(&self.subject).into_owned(),
                reason: actor.reason.as_deref().map(bounded),
                old_fields: text(&before),
                new_fields: text(&after),
            },
            "ON CONFLICT (id) DO NOTHING"
        )
        .run(write.connection)
        .map(drop)
    }
}

/// Leaves out the fields that are the same before and after.
fn differing(before: Value, after: Value) -> (Map<String, Value>, Map<String, Value>) {
    let fields = |value: Value| match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    let (mut before, mut after) = (fields(before), fields(after));
    let same: Vec<String> = before
        .iter()
        .filter(|(name, value)| after.get(*name) == Some(value))
        .map(|(name, _)| name.clone())
        .collect();
    for name in same {
        before.remove(&name);
        after.remove(&name);
    }
    (before, after)
}

fn text(fields: &Map<String, Value>) -> String {
    let text = clean(&Value::Object(fields.clone()).to_string()).into_owned();
    if text.len() <= MAX_FIELDS_BYTES {
        text
    } else {
        "{\"left_out\":\"too large\"}".to_owned()
    }
}

fn bounded(text: &str) -> String {
    clean(text).chars().take(MAX_TEXT_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::differing;
    use serde_json::{Value, json};

    #[test]
    fn an_audit_entry_has_the_fields_that_differ() {
        let (before, after) = differing(
            json!({ "name": "a", "rate": 1 }),
            json!({ "name": "b", "rate": 1, "new": [] }),
        );
        assert_eq!(Value::Object(before), json!({ "name": "a" }));
        assert_eq!(Value::Object(after), json!({ "name": "b", "new": [] }));
        let (before, after) = differing(Value::Null, json!({ "name": "a" }));
        assert_eq!((before.len(), after.len()), (0, 1));
    }
}
