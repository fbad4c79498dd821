//! The caller of a request, as handlers receive it.

use crate::edge::Edge;
use crate::error::Error;
use crate::keyring::Reader;
use crate::operation::{Input, Operation, Schemas};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use domain::{AppId, KeyId, SignInId};
use storage::{Actor, Role};

/// The caller of a request. A handler that takes this argument limits its lists to the caller's app.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Id of the API key; `None` for the admin token.
    pub key: Option<KeyId>,
    /// Sign-in to the dashboard; `None` for API requests.
    pub sign_in: Option<SignInId>,
    /// Name of the key for display.
    pub name: String,
    pub role: Role,
    /// The only app that the caller can access; `None` for all apps.
    pub app: Option<AppId>,
}

impl Caller {
    /// Returns the app to list: the requested one, or the only one that the caller can access; `None` for all apps.
    ///
    /// # Errors
    /// 404 if the app does not exist or the caller cannot access it.
    pub async fn app(&self, edge: &Edge, wanted: Option<AppId>) -> Result<Option<AppId>, Error> {
        match (self.app, wanted) {
            (Some(own), Some(other)) if own != other => {
                Err(storage::Error::Missing { what: "app" }.into())
            }
            (Some(own), _) => Ok(Some(own)),
            (None, Some(wanted)) => Ok(Some(edge.store.app(wanted).await?.id)),
            (None, None) => Ok(None),
        }
    }

    /// Returns the groups in which this caller's concurrent reads are counted; none for the admin token.
    pub fn readers(&self) -> impl Iterator<Item = Reader> {
        let own = self
            .sign_in
            .map(Reader::SignIn)
            .or_else(|| self.key.map(Reader::Key));
        own.into_iter().chain(self.app.map(Reader::App))
    }

    /// Returns the actor for this caller's audit entries.
    pub fn actor(&self, reason: Option<String>) -> Actor {
        Actor {
            key: self.key,
            reason,
            ..Actor::named(&self.name)
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or(Error::Internal)
    }
}

impl Input for Caller {
    fn describe(operation: &mut Operation, _: &mut Schemas) {
        operation.is_limited = true;
    }
}
