//! Reads bodies, queries and paths so that every wrong field is named, all of them at once.

use super::near::did_you_mean;
use crate::error::{Error, Field};
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde_json::{Map, Value};
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use storage::Page;

/// Items of a page when the request names no limit, and at most.
const LIMIT: (i64, i64) = (100, 500);

/// So many wrong fields of lists are named.
const MOST_WRONG: usize = 100;

/// The fields of a body or a query. Each is taken by name; what nobody took is refused by [`Fields::finish`].
#[derive(Debug, Default)]
pub struct Fields {
    given: Map<String, Value>,
    known: Vec<&'static str>,
    wrong: Vec<Field>,
}

impl Fields {
    /// From a JSON body; an empty one is an empty object.
    ///
    /// # Errors
    /// When it is not a JSON object.
    pub fn of_body(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self::default());
        }
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(given)) => Ok(Self { given, ..Self::default() }),
            Ok(other) => Err(Error::invalid("body", format!("a JSON object, and it is {}", name_of(&other)))),
            Err(error) => Err(Error::invalid("body", format!("a JSON object ({error})"))),
        }
    }

    fn of_query(query: &str) -> Result<Self, Error> {
        let mut fields = Self::default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            if fields.given.insert(name.clone().into_owned(), Value::String(value.into_owned())).is_some() {
                return Err(Error::invalid(&name, "to be given once"));
            }
        }
        Ok(fields)
    }

    /// Notes that a field is wrong.
    pub fn wrong(&mut self, field: &str, expected: impl Into<String>) {
        self.wrong.push(Field { field: field.to_owned(), expected: expected.into() });
    }

    /// Whether the field was given, null included.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.given.contains_key(name)
    }

    /// The field as it is; null counts as absent.
    pub fn value(&mut self, name: &'static str) -> Option<Value> {
        self.known.push(name);
        self.given.remove(name).filter(|value| !value.is_null())
    }

    /// All that nobody took yet, null included; somebody else names what is wrong in it.
    pub fn rest(&mut self) -> Map<String, Value> {
        std::mem::take(&mut self.given)
    }

    /// What is given of these fields, null included; somebody else judges what is in it.
    pub fn named(&mut self, names: &[&'static str]) -> Map<String, Value> {
        self.known.extend(names);
        self.unlisted(names)
    }

    /// The same of fields that are not there to be given, and about which somebody else has more to say than that.
    pub fn unlisted(&mut self, names: &[&'static str]) -> Map<String, Value> {
        names.iter().filter_map(|name| self.given.remove_entry(*name)).collect()
    }

    /// A text of 1 to 2048 bytes without control characters.
    pub fn text(&mut self, name: &'static str) -> Option<String> {
        let value = self.value(name)?;
        match value {
            Value::String(text) if is_plain(&text) => Some(text),
            Value::String(_) => self.none(name, "a text of 1 to 2048 bytes without control characters".to_owned()),
            other => self.none(name, format!("a text, and it is {}", name_of(&other))),
        }
    }

    /// The same, and it must be there. Empty when it is not, which [`Fields::finish`] refuses.
    pub fn required_text(&mut self, name: &'static str) -> String {
        if self.given.get(name).is_none_or(Value::is_null) {
            self.wrong(name, "a text; it is required");
        }
        self.text(name).unwrap_or_default()
    }

    /// A text that stands for something.
    pub fn parsed<T: FromStr<Err: Display>>(&mut self, name: &'static str, expected: &str) -> Option<T> {
        let text = self.text(name)?;
        match text.parse() {
            Ok(value) => Some(value),
            Err(_) => self.none(name, format!("{expected}, and it is `{text}`")),
        }
    }

    /// A whole number within bounds.
    pub fn integer(&mut self, name: &'static str, range: RangeInclusive<i64>) -> Option<i64> {
        let value = self.value(name)?;
        match value.as_i64().filter(|number| range.contains(number)) {
            Some(number) => Some(number),
            None => {
                self.none(name, format!("a whole number from {} to {}, and it is {value}", range.start(), range.end()))
            }
        }
    }

    /// True or false.
    pub fn flag(&mut self, name: &'static str) -> Option<bool> {
        let value = self.value(name)?;
        match value.as_bool() {
            Some(flag) => Some(flag),
            None => self.none(name, format!("true or false, and it is {}", name_of(&value))),
        }
    }

    /// A list of texts.
    pub fn texts(&mut self, name: &'static str) -> Option<Vec<String>> {
        let value = self.value(name)?;
        let texts =
            value.as_array().and_then(|items| items.iter().map(|item| item.as_str().map(str::to_owned)).collect());
        match texts {
            Some(texts) => Some(texts),
            None => self.none(name, "a list of texts".to_owned()),
        }
    }

    /// A list of whole numbers.
    pub fn integers(&mut self, name: &'static str) -> Option<Vec<i64>> {
        let value = self.value(name)?;
        let numbers = value.as_array().and_then(|items| items.iter().map(Value::as_i64).collect());
        match numbers {
            Some(numbers) => Some(numbers),
            None => self.none(name, "a list of whole numbers".to_owned()),
        }
    }

    /// What `read` makes of a field that was given: `Some(None)` when it is null (or wrong, which is noted).
    pub fn nullable<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&mut Self, &'static str) -> Option<T>,
    ) -> Option<Option<T>> {
        let is_given = self.has(name);
        let value = read(self, name);
        is_given.then_some(value)
    }

    /// An object read by `read`. What is wrong in it is named with its place: `name.field`.
    pub fn object<T>(&mut self, name: &'static str, read: impl FnOnce(&mut Self) -> T) -> Option<T> {
        match self.value(name)? {
            Value::Object(given) => {
                let mut inner = Self { given, ..Self::default() };
                let value = read(&mut inner);
                self.absorb(name, inner);
                Some(value)
            }
            other => self.none(name, format!("an object, and it is {}", name_of(&other))),
        }
    }

    /// A list of objects, each read by `read`. What is wrong in one is named with its place: `name[3].field`.
    pub fn objects<T>(
        &mut self,
        name: &'static str,
        most: usize,
        mut read: impl FnMut(&mut Self) -> T,
    ) -> Option<Vec<T>> {
        let items = match self.value(name)? {
            Value::Array(items) if items.len() <= most => items,
            Value::Array(items) => return self.none(name, format!("at most {most} items, and it has {}", items.len())),
            other => return self.none(name, format!("a list of objects, and it is {}", name_of(&other))),
        };
        let mut all = Vec::with_capacity(items.len());
        for (at, item) in items.into_iter().enumerate() {
            let place = format!("{name}[{at}]");
            match item {
                Value::Object(given) => {
                    let mut inner = Self { given, ..Self::default() };
                    all.push(read(&mut inner));
                    self.absorb(&place, inner);
                }
                other => self.wrong(&place, format!("an object, and it is {}", name_of(&other))),
            }
        }
        Some(all)
    }

    /// The same, and it must be there.
    pub fn required_objects<T>(&mut self, name: &'static str, most: usize, read: impl FnMut(&mut Self) -> T) -> Vec<T> {
        if self.given.get(name).is_none_or(Value::is_null) {
            self.wrong(name, "a list of objects; it is required");
        }
        self.objects(name, most, read).unwrap_or_default()
    }

    /// A text within a length in characters that needs no other check.
    pub fn short_text(&mut self, name: &'static str, most: usize) -> Option<String> {
        let text = self.text(name)?;
        let length = text.chars().count();
        if length > most {
            return self.none(name, format!("a text of 1 to {most} characters, and it has {length}"));
        }
        Some(text)
    }

    /// `true` or `false` in a query.
    pub fn switch(&mut self, name: &'static str) -> bool {
        match self.text(name).as_deref() {
            Some("true") => true,
            Some("false") | None => false,
            Some(other) => {
                self.wrong(name, format!("true or false, and it is `{other}`"));
                false
            }
        }
    }

    fn absorb(&mut self, place: &str, inner: Self) {
        let Err(Error::Invalid(wrong)) = inner.finish() else { return };
        for Field { field, expected } in wrong {
            if self.wrong.len() < MOST_WRONG {
                self.wrong.push(Field { field: format!("{place}.{field}"), expected });
            }
        }
    }

    /// `cursor` and `limit` of a query.
    pub fn page(&mut self) -> Page {
        let cursor = self.text("cursor");
        let limit = self.text("limit").map(|text| text.parse().unwrap_or(0));
        if limit.is_some_and(|limit| !(1..=LIMIT.1).contains(&limit)) {
            self.wrong("limit", format!("a whole number from 1 to {}", LIMIT.1));
        }
        Page { cursor, limit: limit.unwrap_or(LIMIT.0) }
    }

    /// Refuses what was wrong, and what nobody took: with the names that there are, and the one that may be meant.
    ///
    /// # Errors
    /// With each wrong field and what was expected there.
    pub fn finish(mut self) -> Result<(), Error> {
        let known = if self.known.is_empty() { "none".to_owned() } else { self.known.join(", ") };
        for name in self.given.keys() {
            let meant = did_you_mean(name, self.known.iter().copied());
            let expected = format!("no such field (the fields are: {known}){meant}");
            self.wrong.push(Field { field: name.clone(), expected });
        }
        if self.wrong.is_empty() { Ok(()) } else { Err(Error::Invalid(self.wrong)) }
    }

    fn none<T>(&mut self, name: &str, expected: String) -> Option<T> {
        self.wrong(name, expected);
        None
    }
}

fn is_plain(text: &str) -> bool {
    (1..=2048).contains(&text.len()) && !text.chars().any(char::is_control)
}

const fn name_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// The body's fields.
pub struct Body(pub Fields);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self, Error> {
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection| unreadable(&rejection))?;
        Fields::of_body(&bytes).map(Self)
    }
}

/// What is said of a body that could not be read to its end.
pub fn unreadable(rejection: &BytesRejection) -> Error {
    // The type has no other way to tell the two apart.
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return Error::TooLarge;
    }
    Error::invalid("body", "a body that arrives whole")
}

/// The query's fields.
pub struct Query(pub Fields);

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        Fields::of_query(parts.uri.query().unwrap_or_default()).map(Self)
    }
}

/// The one id in the path. A text that is no id names nothing: 404.
pub struct Id<T>(pub T);

impl<T: FromStr<Err: Display>, S: Send + Sync> FromRequestParts<S> for Id<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let Path(text) = Path::<String>::from_request_parts(parts, state).await.map_err(no_path)?;
        named(&text).map(Self)
    }
}

/// The two ids in the path.
pub struct Ids<A, B>(pub A, pub B);

impl<A: FromStr<Err: Display>, B: FromStr<Err: Display>, S: Send + Sync> FromRequestParts<S> for Ids<A, B> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let Path((a, b)) = Path::<(String, String)>::from_request_parts(parts, state).await.map_err(no_path)?;
        Ok(Self(named(&a)?, named(&b)?))
    }
}

fn named<T: FromStr<Err: Display>>(text: &str) -> Result<T, Error> {
    if !is_plain(text) {
        return Err(no_path(()));
    }
    text.parse().map_err(|error: T::Err| Error::Missing(error.to_string()))
}

fn no_path<T>(_: T) -> Error {
    Error::Missing("the path is not readable text".to_owned())
}
