//! A route of the service: its path, access and description.

use crate::edge::Shared;
use crate::keys::scope::Scope;
use crate::operation::{Described, Operation, Schemas};
use axum::handler::Handler;
use axum::routing::{MethodRouter, delete, get, patch, post, put};
use storage::Role;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Open,
    /// Requires a platform's publishable key. Web pages of any origin may call the route.
    Device,
    /// Requires a key that has at least the route's role and can access the resource.
    Admin,
}

/// The listener that serves a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Surface {
    /// The public listener: routes for stores and apps on devices, and `/livez`.
    Public,
    All,
}

pub struct Route {
    /// HTTP method of the route.
    pub method: &'static str,
    /// Path of the route, with `{parameters}`.
    pub path: &'static str,
    /// Summary in `/openapi.json`: one sentence or more.
    pub summary: &'static str,
    pub access: Access,
    /// Minimum role of a key, if the route requires one.
    pub least: Role,
    /// Whether the public listener also serves the route.
    pub is_public: bool,
    /// Whether the route changes nothing, although its method is not GET.
    pub is_query: bool,
    /// For a dashboard page that makes a change: the method and path of the API route for the same change.
    pub twin: Option<&'static str>,
    /// Describes the route's parameters, body and responses.
    pub describe: fn(&mut Operation, &mut Schemas),
    pub handler: MethodRouter<Shared>,
}

impl Route {
    /// Returns the scope of the route: one app, or all.
    pub fn scope(&self) -> Scope {
        let mut operation = Operation::default();
        (self.describe)(&mut operation, &mut Schemas::default());
        Scope::of(self.path, operation.is_limited)
    }

    pub const fn is_on(&self, surface: Surface) -> bool {
        self.is_public || matches!(surface, Surface::All)
    }

    /// Returns a dashboard page that requires a sign-in with at least this role.
    pub fn page<H, T>(least: Role, method: &'static str, path: &'static str, handler: H) -> Self
    where
        H: Handler<T, Shared>,
        T: 'static,
    {
        Self {
            method,
            path,
            summary: "",
            access: Access::Admin,
            least,
            is_public: false,
            is_query: false,
            twin: None,
            // Each page limits itself to the app of the sign-in, because it uses the API's handlers.
            describe: |operation, _| operation.is_limited = true,
            handler: of(method, handler),
        }
    }

    /// Returns a dashboard page that requires no sign-in: a static file, or a step of signing in.
    pub fn open_page<H, T>(method: &'static str, path: &'static str, handler: H) -> Self
    where
        H: Handler<T, Shared>,
        T: 'static,
    {
        Self {
            access: Access::Open,
            ..Self::page(Role::Admin, method, path, handler)
        }
    }

    /// Sets the API route that makes the same change as a page.
    #[must_use]
    pub fn twin(self, twin: &'static str) -> Self {
        Self {
            twin: Some(twin),
            ..self
        }
    }

    /// Marks a route that changes nothing, although its method is not GET.
    #[must_use]
    pub fn as_query(self) -> Self {
        Self {
            is_query: true,
            ..self
        }
    }

    /// Sets the summary in `/openapi.json`.
    #[must_use]
    pub fn summary(self, summary: &'static str) -> Self {
        Self { summary, ..self }
    }

    /// Lets the public listener serve the route too.
    #[must_use]
    pub fn public(self) -> Self {
        Self {
            is_public: true,
            ..self
        }
    }

    /// Returns a route that requires a key with at least this role.
    pub fn key<H, T, Parts>(
        least: Role,
        method: &'static str,
        path: &'static str,
        handler: H,
    ) -> Self
    where
        H: Handler<T, Shared> + Described<Parts>,
        T: 'static,
    {
        Self {
            describe: H::describe,
            ..Self::page(least, method, path, handler)
        }
    }
}

/// Returns a router for one method.
fn of<H, T>(method: &str, handler: H) -> MethodRouter<Shared>
where
    H: Handler<T, Shared>,
    T: 'static,
{
    match method {
        "DELETE" => delete(handler),
        "PATCH" => patch(handler),
        "POST" => post(handler),
        "PUT" => put(handler),
        _ => get(handler),
    }
}
