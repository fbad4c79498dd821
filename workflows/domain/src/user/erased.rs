//! Erasure of a customer: removes the names from stored bodies, and builds the event that informs receivers.
//!
//! A store's id of the customer is replaced by a tombstone, which cannot be traced back without the installation's key.
//! The app's own id is removed. The user gets a new, anonymous id, since the old one could be computed from the store's
//! id of the customer.

use crate::event::{PURCHASE_UPDATED, state_digest};
use crate::ids::{EventId, UserId};
use crate::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;
use uuid::Uuid;

/// The type of the event that a user was erased. Destinations must choose it by name: no wildcard includes it.
pub const USER_ERASED: &str = "user.erased";

/// The names of a customer, and their replacements.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ErasedNames {
    /// The app's own id of the customer.
    pub external_id: Option<String>,
    /// The stores' ids of the customer.
    pub app_users: Vec<ErasedAppUser>,
    /// The ids of the customer's users.
    pub users: Vec<UserId>,
    /// The app's own ids of the customer's devices in analytics.
    #[serde(default)]
    pub device_ids: Vec<String>,
}

/// A store's id of a customer.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErasedAppUser {
    pub store: String,
    pub app_user_id: String,
    pub tombstone: String,
}

/// The input of the body of a `user.erased`.
#[derive(Debug, Clone, Copy)]
pub struct UserErased {
    pub id: EventId,
    /// The id of the user in earlier events.
    pub user: UserId,
    pub created_at: Timestamp,
}

/// A user was erased. Their names were removed here and should be removed by the receiver.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ErasedBody {
    /// Id of the event, the same for every destination.
    id: Uuid,
    /// Type of the event.
    event_type: String,
    /// When the event was recorded.
    #[schemars(extend("format" = "date-time"))]
    created_date: String,
    /// Id of the user in earlier events. Later events have another id.
    user_id: Uuid,
}

impl UserErased {
    /// Returns the body, which is the same for every destination.
    pub fn body(&self) -> Value {
        let body = ErasedBody {
            id: self.id.uuid(),
            event_type: USER_ERASED.to_owned(),
            created_date: self.created_at.with_offset(),
            user_id: self.user.uuid(),
        };
        // Serialization fails only for maps whose keys are not strings; the body has none.
        serde_json::to_value(body).unwrap_or_default()
    }
}

impl fmt::Debug for ErasedNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ErasedNames")
            .field("app_users", &self.app_users.len())
            .finish_non_exhaustive()
    }
}

/// Replacement for a text that contained a name.
pub const REMOVED: &str = "the text was removed: it named a customer who is erased";

/// Where the body of an operator event contains a destination's response, an alarm's detail, or a person's text.
const WRITTEN: [&str; 4] = ["/reason", "/alarm/detail", "/closed_by", "/note"];

/// Fields of a device event whose text the app chooses.
const CHOSEN_TEXTS: [&str; 4] = ["campaign", "paywall", "placement", "variant"];
/// Fields that describe a device or a product. Short names may occur in them by chance.
const DESCRIPTIONS: [&str; 5] = [
    "app_version",
    "name",
    "sdk_version",
    "sku_ref_id",
    "version",
];
/// Minimum length in bytes of a name that is searched for inside the texts that devices report.
pub const LONG_NAME_BYTES: usize = 8;

impl ErasedNames {
    /// Returns the body without the names, and with `anonymous` in place of the user; `None` if it contains none of
    /// them. If a device of the customer reported the body, the device's id in the app's analytics is removed too. The
    /// digest of a record is recomputed from the changed data.
    pub fn removed_from(&self, body: &Value, anonymous: UserId) -> Option<Value> {
        let mut without = body.clone();
        if let Some(own) = without
            .pointer_mut("/data/device/analytics_device_id")
            .filter(|_| self.reported(body))
        {
            *own = Value::Null;
        }
        for place in WRITTEN {
            let written = without.pointer_mut(place);
            if let Some(text) =
                written.filter(|text| text.as_str().is_some_and(|text| self.are_in(text)))
            {
                *text = REMOVED.into();
            }
        }
        self.remove(&mut without, anonymous);
        if let Some(data) = without.get_mut("data").filter(|_| is_of_device(body)) {
            self.remove_from_texts(data);
        }
        if without == *body {
            return None;
        }
        let is_record = without
            .pointer("/attributes/event_type")
            .and_then(Value::as_str)
            == Some(PURCHASE_UPDATED);
        let data = without
            .get("data")
            .filter(|data| Some(*data) != body.get("data"));
        let digest = data.filter(|_| is_record).map(state_digest);
        if let (Some(digest), Some(place)) =
            (digest, without.pointer_mut("/attributes/state_digest"))
        {
            *place = Value::String(digest);
        }
        Some(without)
    }

    /// Returns a stored body without the names; `None` if it contains none of them. From text that is not JSON, only
    /// the stores' ids are removed.
    pub fn removed_from_text(&self, body: &str, anonymous: UserId) -> Option<String> {
        let without = match serde_json::from_str(body) {
            Ok(read) => self.removed_from(&read, anonymous)?.to_string(),
            Err(_) => self.app_users.iter().fold(body.to_owned(), |body, one| {
                body.replace(&one.app_user_id, &one.tombstone)
            }),
        };
        (without != body).then_some(without)
    }

    /// Whether a text contains one of the names, other than as part of a longer run of letters and digits.
    pub fn are_in(&self, text: &str) -> bool {
        self.texts().iter().any(|name| is_in(name, text))
    }

    /// Whether a text contains one of the longer names.
    pub fn long_ones_are_in(&self, text: &str) -> bool {
        self.texts()
            .iter()
            .any(|name| name.len() >= LONG_NAME_BYTES && is_in(name, text))
    }

    /// Returns all names and user ids, as texts.
    pub fn texts(&self) -> Vec<String> {
        let app_users = self.app_users.iter().map(|one| one.app_user_id.clone());
        let named = self.external_id.iter().chain(&self.device_ids).cloned();
        app_users
            .chain(named)
            .chain(self.users.iter().map(ToString::to_string))
            .collect()
    }

    /// Whether a device of the customer reported the body.
    fn reported(&self, body: &Value) -> bool {
        let text = |path| body.pointer(path).and_then(Value::as_str);
        let external_id = text("/data/external_id");
        text("/data/user_id").is_some_and(|user| self.is_user(user))
            || (external_id.is_some() && external_id == self.external_id.as_deref())
    }

    fn remove(&self, value: &mut Value, anonymous: UserId) {
        match value {
            Value::Object(fields) => {
                for (name, field) in fields.iter_mut() {
                    match (name.as_str(), &*field) {
                        ("external_ids", Value::Array(_)) => self.remove_external_ids(field),
                        ("app_user_id", Value::String(text)) => {
                            if let Some(tombstone) = self.tombstone(text) {
                                *field = Value::String(tombstone.to_owned());
                            }
                        }
                        ("last_seen_external_id" | "external_id", Value::String(text)) => {
                            if self.external_id.as_ref() == Some(text) {
                                *field = Value::Null;
                            }
                        }
                        ("analytics_device_id", Value::String(text)) => {
                            if self.device_ids.contains(text) {
                                *field = Value::Null;
                            }
                        }
                        ("by", Value::String(text)) if self.are_in(text) => {
                            *field = Value::from(REMOVED)
                        }
                        _ => self.remove(field, anonymous),
                    }
                }
            }
            Value::Array(items) => items
                .iter_mut()
                .for_each(|item| self.remove(item, anonymous)),
            Value::String(text) if self.is_user(text) => *text = anonymous.to_string(),
            _ => {}
        }
    }

    /// Removes texts that contain a name from a device's report.
    fn remove_from_texts(&self, value: &mut Value) {
        match value {
            Value::Object(fields) => {
                for (field, value) in fields.iter_mut() {
                    match value {
                        Value::String(text) if self.is_named_in(field, text) => {
                            *text = REMOVED.to_owned()
                        }
                        _ => self.remove_from_texts(value),
                    }
                }
            }
            Value::Array(items) => items
                .iter_mut()
                .for_each(|item| self.remove_from_texts(item)),
            _ => {}
        }
    }

    fn is_named_in(&self, field: &str, text: &str) -> bool {
        (CHOSEN_TEXTS.contains(&field) && self.are_in(text))
            || (DESCRIPTIONS.contains(&field) && self.long_ones_are_in(text))
    }

    /// Removes the customer's names from a list of names; the purchase's id remains.
    fn remove_external_ids(&self, list: &mut Value) {
        let is_name = |one: &Value| {
            let text = one.get("value").and_then(Value::as_str).unwrap_or_default();
            match one.get("key").and_then(Value::as_str) {
                Some("external_id") => self.external_id.as_deref() == Some(text),
                Some("app_user_id") => self.tombstone(text).is_some(),
                _ => false,
            }
        };
        if let Value::Array(list) = list {
            list.retain(|one| !is_name(one));
        }
    }

    /// Returns the tombstone of a store's id of the customer; `None` for any other id.
    pub fn tombstone(&self, app_user_id: &str) -> Option<&str> {
        self.app_users
            .iter()
            .find(|one| one.app_user_id == app_user_id)
            .map(|one| one.tombstone.as_str())
    }

    /// Whether a text is the id of one of the users.
    pub fn is_user(&self, text: &str) -> bool {
        text.parse::<UserId>()
            .is_ok_and(|user| self.users.contains(&user))
    }
}

fn is_of_device(body: &Value) -> bool {
    let event_type = body
        .pointer("/attributes/event_type")
        .and_then(Value::as_str);
    event_type.is_some_and(|event_type| event_type.starts_with("device."))
}

/// Whether a text contains a name with neither a letter nor a digit directly before or after it.
fn is_in(name: &str, text: &str) -> bool {
    let is_part = |next: Option<char>| next.is_some_and(char::is_alphanumeric);
    let stands = |(at, found): (usize, &str)| {
        let (before, rest) = text.split_at(at);
        !is_part(before.chars().next_back()) && !is_part(rest.chars().nth(found.chars().count()))
    };
    !name.is_empty() && text.match_indices(name).any(stands)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn user(number: u128) -> UserId {
        UserId::new(Uuid::from_u128(number))
    }

    fn names() -> ErasedNames {
        let anna = ErasedAppUser {
            store: "store".into(),
            app_user_id: "u1".into(),
            tombstone: "t1".into(),
        };
        ErasedNames {
            external_id: Some("anna".to_owned()),
            app_users: vec![anna],
            users: vec![user(1)],
            device_ids: vec!["tv".to_owned()],
        }
    }

    #[test]
    fn names_are_removed_where_they_are_names() {
        let body = json!({
            "external_ids": [
                { "key": "external_id", "type": "custom", "value": "anna" },
                { "key": "app_user_id", "type": "app_user_id", "value": "u1" },
                { "key": "receipt_id", "type": "receipt_id", "value": "u1" },
            ],
            "user_id": user(1).to_string(),
            "event_platform": "anna",
            "data": { "receipts": [{ "receipt_id": "r", "app_user_id": "u1" }, { "app_user_id": "u2" }] },
        });
        let without = names().removed_from(&body, user(2)).unwrap();
        let expected = json!({
            "external_ids": [{ "key": "receipt_id", "type": "receipt_id", "value": "u1" }],
            "user_id": user(2).to_string(),
            "event_platform": "anna",
            "data": { "receipts": [{ "receipt_id": "r", "app_user_id": "t1" }, { "app_user_id": "u2" }] },
        });
        assert_eq!(without, expected);
        assert_eq!(names().removed_from(&without, user(2)), None, "once");
    }

    #[test]
    fn a_record_keeps_the_digest_of_its_data() {
        let data = json!({ "last_seen_external_id": "anna", "is_active": true });
        let attributes =
            json!({ "event_type": PURCHASE_UPDATED, "state_digest": state_digest(&data) });
        let without = names()
            .removed_from(&json!({ "attributes": attributes, "data": data }), user(2))
            .unwrap();
        assert_eq!(
            without["data"],
            json!({ "last_seen_external_id": null, "is_active": true })
        );
        assert_eq!(
            without["attributes"]["state_digest"],
            json!(state_digest(&without["data"]))
        );
    }

    #[test]
    fn the_ids_of_devices_in_analytics_are_removed() {
        let reported = |user: UserId, external_id: Option<&str>, own: &str| {
            json!({ "data": {
                "user_id": user.to_string(), "external_id": external_id, "device": { "analytics_device_id": own },
            } })
        };
        let of = |body: &Value| {
            let without = names()
                .removed_from(body, user(2))
                .unwrap_or_else(|| body.clone());
            without["data"]["device"]["analytics_device_id"].clone()
        };
        assert_eq!(
            of(&reported(user(3), None, "tv")),
            Value::Null,
            "the customer's device"
        );
        assert_eq!(
            of(&reported(user(1), None, "phone")),
            Value::Null,
            "the customer's event"
        );
        assert_eq!(of(&reported(user(3), Some("anna"), "phone")), Value::Null);
        assert_eq!(
            of(&reported(user(3), Some("otto"), "phone")),
            json!("phone")
        );
    }

    #[test]
    fn texts_of_a_device_with_a_name_in_them_are_removed() {
        let anna = ErasedNames {
            external_id: Some("anna@example.com".to_owned()),
            ..names()
        };
        let reported = json!({
            "attributes": { "event_type": "device.impression" },
            "data": {
                "placement": "for u1", "paywall": "u10", "campaign": null, "variant": "anna@example.com",
                "products": [{ "sku_ref_id": "u1" }, { "sku_ref_id": "of.anna@example.com" }],
                "device": { "app_version": "u1", "os": { "name": "anna@example.com", "version": "8" } },
                "external_id": "bert", "collapse_key": ["u1"],
            },
        });
        let without = anna.removed_from(&reported, user(2)).unwrap();
        let expected = json!({
            "placement": REMOVED, "paywall": "u10", "campaign": null, "variant": REMOVED,
            "products": [{ "sku_ref_id": "u1" }, { "sku_ref_id": REMOVED }],
            "device": { "app_version": "u1", "os": { "name": REMOVED, "version": "8" } },
            "external_id": "bert", "collapse_key": ["u1"],
        });
        assert_eq!(without["data"], expected);
        assert!(REMOVED.len() <= 64, "it fits into each of these fields");
        let other = json!({ "attributes": { "event_type": "user.subscribed" }, "data": { "placement": "u1" } });
        assert_eq!(anna.removed_from(&other, user(2)), None);
    }

    #[test]
    fn a_cause_loses_its_author_alone() {
        let causes =
            json!([{ "kind": "transfer", "by": "anna" }, { "kind": "login", "by": "annabel" }]);
        let expected =
            json!([{ "kind": "transfer", "by": REMOVED }, { "kind": "login", "by": "annabel" }]);
        assert_eq!(names().removed_from(&causes, user(2)), Some(expected));
    }

    #[test]
    fn names_are_found_as_wholes() {
        let user = format!("user {} is odd", user(1));
        for text in [
            "anna",
            "is anna.",
            "(anna)",
            "annabel and anna",
            "id=u1",
            "\"tv\"",
            user.as_str(),
        ] {
            assert!(names().are_in(text), "{text}");
        }
        for text in ["", "annabel", "joanna", "u10", "utv2", "4u1"] {
            assert!(!names().are_in(text), "{text}");
        }
        assert!(
            !ErasedNames {
                external_id: Some(String::new()),
                ..ErasedNames::default()
            }
            .are_in("text")
        );
    }

    #[test]
    fn the_names_are_not_in_debug_output() {
        let shown = format!("{:?}", names());
        assert!(!shown.contains("anna") && !shown.contains("u1"), "{shown}");
    }
}
