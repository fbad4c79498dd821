//! Extracts ids from the path of a URL.

use super::check;
use crate::edge::Shared;
use crate::error::Error;
use crate::operation::{Input, Operation, Schemas};
use axum::extract::{FromRequestParts, Path, RawPathParams};
use axum::http::request::Parts;
use schemars::JsonSchema;
use serde_json::json;
use std::fmt::Display;
use std::future::Future;
use std::str::FromStr;
use storage::{App, Destination, Platform, Store};

/// The only id in the path. 404 if the text is not a valid id.
pub struct Id<T>(pub T);

/// The two ids in the path.
pub struct Ids<A, B>(pub A, pub B);

/// The resource with the first id in the path; 404 if it does not exist.
pub struct Stored<T>(pub T);

/// A resource that is identified by an id in a path.
pub trait Named: Sized + Send {
    type Id: FromStr<Err: Display> + Send + JsonSchema;

    /// Reads the resource from the database.
    fn load(
        store: &Store,
        id: Self::Id,
    ) -> impl Future<Output = Result<Self, storage::Error>> + Send;
}

impl Named for App {
    type Id = domain::AppId;

    fn load(
        store: &Store,
        id: Self::Id,
    ) -> impl Future<Output = Result<Self, storage::Error>> + Send {
        store.app(id)
    }
}

impl Named for Platform {
    type Id = domain::PlatformId;

    fn load(
        store: &Store,
        id: Self::Id,
    ) -> impl Future<Output = Result<Self, storage::Error>> + Send {
        store.platform(id)
    }
}

impl Named for Destination {
    type Id = domain::DestinationId;

    fn load(
        store: &Store,
        id: Self::Id,
    ) -> impl Future<Output = Result<Self, storage::Error>> + Send {
        store.destination(id)
    }
}

impl<T: FromStr<Err: Display>, S: Send + Sync> FromRequestParts<S> for Id<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(no_path)?;
        parsed(&text).map(Self)
    }
}

impl<A: FromStr<Err: Display>, B: FromStr<Err: Display>, S: Send + Sync> FromRequestParts<S>
    for Ids<A, B>
{
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let Path((a, b)) = Path::<(String, String)>::from_request_parts(parts, state)
            .await
            .map_err(no_path)?;
        Ok(Self(parsed(&a)?, parsed(&b)?))
    }
}

impl<T: Named> FromRequestParts<Shared> for Stored<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, edge: &Shared) -> Result<Self, Error> {
        let params = RawPathParams::from_request_parts(parts, edge)
            .await
            .map_err(no_path)?;
        let (_, id) = params.iter().next().ok_or_else(|| no_path(()))?;
        Ok(Self(T::load(&edge.store, parsed(id)?).await?))
    }
}

fn parsed<T: FromStr<Err: Display>>(text: &str) -> Result<T, Error> {
    if !check::is_plain(text) {
        return Err(no_path(()));
    }
    text.parse()
        .map_err(|error: T::Err| Error::Missing(error.to_string()))
}

fn no_path<T>(_: T) -> Error {
    Error::Missing("the path is not valid UTF-8".to_owned())
}

impl<T: JsonSchema> Input for Id<T> {
    fn describe(operation: &mut Operation, schemas: &mut Schemas) {
        operation
            .path
            .push(json!(schemas.requests.subschema_for::<T>()));
    }
}

impl<A: JsonSchema, B: JsonSchema> Input for Ids<A, B> {
    fn describe(operation: &mut Operation, schemas: &mut Schemas) {
        Id::<A>::describe(operation, schemas);
        Id::<B>::describe(operation, schemas);
    }
}

impl<T: Named> Input for Stored<T> {
    fn describe(operation: &mut Operation, schemas: &mut Schemas) {
        Id::<T::Id>::describe(operation, schemas);
    }
}
