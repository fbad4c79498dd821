//! The fields of a form, parsed by the schemas of the API's bodies.

use api::error::{Error, Field};
use api::extract::{Fields, MAX_BYTES, drafted, is_plain, typed};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde_json::{Map, Value};
use std::fmt;
use std::sync::Arc;

/// The name of the field with the session's CSRF token.
pub const TOKEN: &str = "form_token";

/// Maximum length of a reason in characters.
const MAX_REASON: usize = 1000;

/// The fields of a form as they were sent. Some are secrets.
#[derive(Clone, Default)]
pub struct Sent(Arc<Vec<(String, String)>>);

impl fmt::Debug for Sent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_list()
            .entries(self.0.iter().map(|(name, _)| name))
            .finish()
    }
}

pub struct Form<T>(pub T);

impl Sent {
    /// Parses a body (`application/x-www-form-urlencoded`).
    pub fn parse(body: &[u8]) -> Self {
        Self(Arc::new(
            url::form_urlencoded::parse(body).into_owned().collect(),
        ))
    }

    /// Returns the value of a field; `None` if it is absent or empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut fields = self.0.iter();
        fields
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.trim())
            .filter(|value| !value.is_empty())
    }

    /// Returns the reason of a change, which every form that changes something has. Text that the API would refuse is
    /// refused here too.
    ///
    /// # Errors
    /// Fails if the reason is missing or too long, or has a control character.
    pub fn reason(&self) -> Result<String, Field> {
        let reason = self
            .get("reason")
            .filter(|text| is_plain(text) && text.chars().count() <= MAX_REASON);
        let is_missing = self.get("reason").is_none();
        let expected = match is_missing {
            true => "a reason: it is required, and stands in the audit log".to_owned(),
            false => format!(
                "a reason of at most {MAX_REASON} characters or {MAX_BYTES} bytes, without control \
             characters"
            ),
        };
        reason.map(str::to_owned).ok_or_else(|| Field {
            field: "reason".to_owned(),
            expected,
        })
    }

    /// Returns the non-empty values of a field that may occur several times.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let of_name = self.0.iter().filter(move |(key, _)| key == name);
        of_name
            .map(|(_, value)| value.trim())
            .filter(|value| !value.is_empty())
    }

    /// Returns all fields except the CSRF token.
    pub fn pairs(&self) -> Vec<(String, String)> {
        self.0
            .iter()
            .filter(|(name, _)| name != TOKEN)
            .cloned()
            .collect()
    }

    /// Returns the fields as an object. Empty fields are left out; a field that was sent several times becomes a list.
    fn object<T: Fields>(&self) -> Map<String, Value> {
        let mut object = Map::new();
        for (name, value) in self.0.iter() {
            let value = value.trim();
            if name == TOKEN || value.is_empty() {
                continue;
            }
            let value = typed::<T>(name, value.to_owned());
            match object.get_mut(name) {
                None => drop(object.insert(name.clone(), value)),
                Some(Value::Array(values)) => values.push(value),
                Some(first) => *first = Value::from(vec![first.take(), value]),
            }
        }
        object
    }

    /// Parses the fields as a body of this type.
    ///
    /// # Errors
    /// Returns each invalid field, with the value that was expected.
    pub fn checked<T: Fields>(&self) -> Result<T, Error> {
        drafted::<T>(self.object::<T>())?.finish()
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Sent {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or(Error::Internal)
    }
}

impl<T: Fields, S: Send + Sync> FromRequestParts<S> for Form<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        Sent::from_request_parts(parts, state)
            .await?
            .checked()
            .map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::Sent;

    #[test]
    fn a_reason_is_a_text_that_the_api_takes_too() {
        let is_taken = |text: &str| {
            let body = url::form_urlencoded::Serializer::new(String::new())
                .append_pair("reason", text)
                .finish();
            Sent::parse(body.as_bytes()).reason().is_ok()
        };
        for text in [
            "ticket 4711",
            "заявка",
            &"a".repeat(1000),
            &"ж".repeat(1000),
        ] {
            assert!(is_taken(text), "{text}");
        }
        for text in [
            "",
            "  ",
            "two\r\nlines",
            "a\u{1b}[31m",
            &"a".repeat(1001),
            &"字".repeat(700),
        ] {
            assert!(!is_taken(text), "{text}");
        }
    }

    #[test]
    fn what_was_entered_is_in_no_debug_output() {
        let sent = Sent::parse(b"name=Billing&api_key=hidden-key&form_token=hidden-token");
        let shown = format!("{sent:?}");
        assert!(
            shown.contains("api_key") && !shown.contains("hidden") && !shown.contains("Billing"),
            "{shown}"
        );
    }
}
