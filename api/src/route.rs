//! A route of the service: its path, its access, and its description.

use crate::edge::Shared;
use crate::keys::scope::Scope;
use crate::operation::{Described, Operation, Schemas};
use axum::handler::Handler;
use axum::routing::{MethodRouter, delete, get, patch, post, put};
use storage::Role;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Open,
    /// The publishable key of a platform is required. Pages of any origin may call it.
    Device,
    /// A key is required, with at least the role of the route, that reaches what it names.
    Admin,
}

/// The routes that a listener serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Surface {
    /// Routes for stores and apps on devices, and `/livez`.
    Public,
    All,
}

pub struct Route {
    /// HTTP method of the route.
    pub method: &'static str,
    /// The path, with `{parameters}`.
    pub path: &'static str,
    /// Summary in `/openapi.json`: one sentence or more.
    pub summary: &'static str,
    pub access: Access,
    /// The least role of a key that may call it, where one is required.
    pub least: Role,
    /// Whether the public listener also serves it.
    pub is_public: bool,
    /// Whether it changes nothing, although it is no GET.
    pub is_query: bool,
    /// The method and the path of the API that a page's change stands for.
    pub twin: Option<&'static str>,
    /// Describes its parameters, body and answers.
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

    /// Returns a page that needs a sign-in with at least this role.
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
            // Each page limits itself to the app of the sign-in, by the handlers of the API.
            describe: |operation, _| operation.is_limited = true,
            handler: of(method, handler),
        }
    }

    /// Returns a page that needs no sign-in: a file, or a step of signing in.
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

    /// Names what the change of a page stands for.
    #[must_use]
    pub fn twin(self, twin: &'static str) -> Self {
        Self {
            twin: Some(twin),
            ..self
        }
    }

    /// Marks a route that changes nothing, although it is no GET.
    #[must_use]
    pub fn as_query(self) -> Self {
        Self {
            is_query: true,
            ..self
        }
    }

    /// Describes the route in one sentence.
    #[must_use]
    pub fn summary(self, summary: &'static str) -> Self {
        Self { summary, ..self }
    }

    /// Also serves the route on the public listener.
    #[must_use]
    pub fn public(self) -> Self {
        Self {
            is_public: true,
            ..self
        }
    }

    /// Returns a route that needs a key with at least this role.
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
