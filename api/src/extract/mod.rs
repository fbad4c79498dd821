//! Reads the parts of a request into their types. A type's schema is documentation and check in one: all wrong
//! fields are reported at once.

mod check;
pub mod formats;
pub mod near;
#[cfg(test)]
mod tests;

pub use check::FieldErrors;

use crate::edge::Shared;
use crate::error::Error;
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use secrecy::SecretString;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer};
use serde_json::{Map, Value};
use std::any::TypeId;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::future::Future;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use storage::{App, Destination, Page, Platform, Store};

/// The type of a body, or of a query.
pub trait Fields: DeserializeOwned + JsonSchema + 'static {}

impl<T: DeserializeOwned + JsonSchema + 'static> Fields for T {}

/// A JSON body; an empty one is an empty object.
pub struct Body<T>(pub T);

/// A JSON body that needs more checks than its schema.
#[derive(Debug)]
pub struct Draft<T> {
    /// The body. Wrong values were replaced by valid ones, so that the rest can be checked.
    pub body: T,
    /// Its wrong fields.
    pub wrong: FieldErrors,
}

impl<T> Draft<T> {
    /// The body, when nothing is wrong in it.
    ///
    /// # Errors
    /// With each wrong field and what was expected there.
    pub fn finish(self) -> Result<T, Error> {
        self.wrong.finish().map(|()| self.body)
    }
}

/// The query of a URL.
pub struct Query<T>(pub T);

/// The one id in the path. A text that is no id: 404.
pub struct Id<T>(pub T);

/// The two ids in the path.
pub struct Ids<A, B>(pub A, pub B);

/// The resource with the one id in the path; 404 when it does not exist.
pub struct Stored<T>(pub T);

/// A body of CSV.
pub struct Csv(pub Bytes);

/// A store's message as it came in.
pub struct Message(pub Bytes);

/// A resource that an id in a path can name.
pub trait Named: Sized + Send {
    /// Its id.
    type Id: FromStr<Err: Display> + Send + JsonSchema;

    /// Reads it from storage.
    fn load(store: &Store, id: Self::Id) -> impl Future<Output = Result<Self, storage::Error>> + Send;
}

impl Named for App {
    type Id = domain::AppId;

    fn load(store: &Store, id: Self::Id) -> impl Future<Output = Result<Self, storage::Error>> + Send {
        store.app(id)
    }
}

impl Named for Platform {
    type Id = domain::PlatformId;

    fn load(store: &Store, id: Self::Id) -> impl Future<Output = Result<Self, storage::Error>> + Send {
        store.platform(id)
    }
}

impl Named for Destination {
    type Id = domain::DestinationId;

    fn load(store: &Store, id: Self::Id) -> impl Future<Output = Result<Self, storage::Error>> + Send {
        store.destination(id)
    }
}

/// `cursor` and `limit` of a list.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct PageQuery {
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Maximum number of items; 100 when absent.
    #[schemars(range(min = 1, max = 500))]
    limit: Option<i64>,
}

impl PageQuery {
    /// The page of a list.
    #[must_use]
    pub fn page(self) -> Page {
        Page { cursor: self.cursor, limit: self.limit.unwrap_or(100) }
    }
}

/// Checks the fields of an object and reads them.
///
/// # Errors
/// With each wrong field and what was expected there.
pub fn checked<T: Fields>(fields: Map<String, Value>) -> Result<T, Error> {
    drafted(fields)?.finish()
}

fn drafted<T: Fields>(mut fields: Map<String, Value>) -> Result<Draft<T>, Error> {
    let mut wrong = FieldErrors::default();
    check::object(&mut fields, schema::<T>(), "", &mut wrong);
    match serde_json::from_value(Value::Object(fields)) {
        Ok(body) => Ok(Draft { body, wrong }),
        Err(error) => {
            wrong.finish()?;
            Err(Error::invalid("body", format!("fields that fit together ({error})")))
        }
    }
}

/// The schema of a request's type, in one piece.
pub fn schema<T: JsonSchema + 'static>() -> &'static Value {
    static KNOWN: Mutex<BTreeMap<TypeId, &'static Value>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    known.entry(TypeId::of::<T>()).or_insert_with(|| {
        let settings =
            SchemaSettings::draft2020_12().for_deserialize().with(|settings| settings.inline_subschemas = true);
        Box::leak(Box::new(settings.into_generator().into_root_schema_for::<T>().to_value()))
    })
}

/// Reads a field that can be null beside absent: `Some(None)` when it is null.
///
/// # Errors
/// Those of the value.
pub fn nullable<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// Reads a secret.
///
/// # Errors
/// Those of a text.
pub fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SecretString>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.map(SecretString::from))
}

impl<T: Fields, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self, Error> {
        Draft::from_request(request, state).await?.finish().map(Self)
    }
}

impl<T: Fields, S: Send + Sync> FromRequest<S> for Draft<T> {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self, Error> {
        let bytes = whole(request, state).await?;
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return drafted(Map::new());
        }
        // Nesting is bounded by the parser, at 128 levels.
        match serde_json::from_slice(&bytes) {
            Ok(Value::Object(fields)) => drafted(fields),
            Ok(other) => Err(Error::invalid("body", format!("a JSON object, and it is {}", check::name_of(&other)))),
            Err(error) => Err(Error::invalid("body", format!("a JSON object ({error})"))),
        }
    }
}

impl<S: Send + Sync> FromRequest<S> for Csv {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self, Error> {
        let kind =
            request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !kind.to_ascii_lowercase().starts_with("text/csv") {
            return Err(Error::invalid("content-type", format!("`text/csv`, and it is `{kind}`")));
        }
        whole(request, state).await.map(Self)
    }
}

impl<S: Send + Sync> FromRequest<S> for Message {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self, Error> {
        whole(request, state).await.map(Self)
    }
}

/// The body of a request. Its length is bounded by the router.
async fn whole<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Error> {
    Bytes::from_request(request, state).await.map_err(|rejection| match rejection.status() {
        // The type offers no other way to distinguish the two.
        StatusCode::PAYLOAD_TOO_LARGE => Error::TooLarge,
        _ => Error::invalid("body", "a body that arrives whole"),
    })
}

impl<T: Fields, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let mut fields = Map::new();
        for (name, value) in url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()) {
            let value = check::of_text(&schema::<T>()["properties"][&*name], value.into_owned());
            if fields.insert(name.clone().into_owned(), value).is_some() {
                return Err(Error::invalid(&name, "to be given once"));
            }
        }
        checked(fields).map(Self)
    }
}

impl<T: FromStr<Err: Display>, S: Send + Sync> FromRequestParts<S> for Id<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let Path(text) = Path::<String>::from_request_parts(parts, state).await.map_err(no_path)?;
        parsed(&text).map(Self)
    }
}

impl<A: FromStr<Err: Display>, B: FromStr<Err: Display>, S: Send + Sync> FromRequestParts<S> for Ids<A, B> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let Path((a, b)) = Path::<(String, String)>::from_request_parts(parts, state).await.map_err(no_path)?;
        Ok(Self(parsed(&a)?, parsed(&b)?))
    }
}

impl<T: Named> FromRequestParts<Shared> for Stored<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, edge: &Shared) -> Result<Self, Error> {
        let Id(id) = Id::<T::Id>::from_request_parts(parts, edge).await?;
        Ok(Self(T::load(&edge.store, id).await?))
    }
}

fn parsed<T: FromStr<Err: Display>>(text: &str) -> Result<T, Error> {
    if !check::is_plain(text) {
        return Err(no_path(()));
    }
    text.parse().map_err(|error: T::Err| Error::Missing(error.to_string()))
}

fn no_path<T>(_: T) -> Error {
    Error::Missing("the path is not readable text".to_owned())
}
