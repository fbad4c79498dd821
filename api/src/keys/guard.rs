//! The guard of each route that requires a key: it finds the caller, and checks the role and the access to the
//! resource.

use super::scope::{Scope, first_id, missing};
use super::{Caller, Refused, caller};
use crate::devices::address::Peer;
use crate::edge::Shared;
use crate::error::Error;
use crate::keyring::Turns;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::Response;
use metrics::counter;
use std::net::IpAddr;
use storage::Role;

#[derive(Clone)]
pub struct Guard {
    pub edge: Shared,
    pub least: Role,
    pub scope: Scope,
}

/// Lets a request pass if its key may call the route, and adds the caller to it for the handler.
///
/// # Errors
/// 401 without a valid key; 403 if the role is not sufficient; 404 if the resource belongs to another app; 429 after
/// too many wrong keys.
pub async fn authorize(
    State(guard): State<Guard>,
    Peer(peer): Peer,
    path: Result<RawPathParams, RawPathParamsRejection>,
    mut request: Request,
    next: Next,
) -> Result<Response, Error> {
    let address = guard
        .edge
        .devices
        .trusted_proxies
        .client(peer, request.headers());
    let caller = guard.caller(address, request.headers()).await?;
    let turns = guard.turns(&caller, request.method())?;
    let answer = async {
        guard.check(&caller, first_id(&path).as_deref()).await?;
        request.extensions_mut().insert(caller);
        Ok::<_, Error>(next.run(request).await)
    };
    let mut response = turns.run(answer).await?;
    let headers = response.headers_mut();
    // The response may contain a secret for the caller only.
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    Ok(response)
}

impl Guard {
    async fn caller(&self, address: IpAddr, headers: &HeaderMap) -> Result<Caller, Error> {
        let refusals = &self.edge.keys.refusals;
        let token = bearer(headers)
            .ok_or_else(|| refused(Refused::Unknown.label(), Error::Unauthorized))?;
        // After too many wrong admin tokens, another one is not even compared. API keys, and an admin token that this
        // address has sent successfully before, are still checked.
        refusals.check(address, token).map_err(|wait| {
            refused(
                "slowed",
                Error::TooMany {
                    what: "this address",
                    wait,
                },
            )
        })?;
        match caller(&self.edge, token).await? {
            Ok(caller) => {
                refusals.proved(address, token);
                Ok(caller)
            }
            Err(why) => {
                let counted = match why {
                    Refused::Wrong(Some(key)) => refusals.count(address, Some(key)),
                    Refused::Wrong(None) => refusals.count(address, None).or(Ok(())),
                    Refused::Unknown | Refused::Expired | Refused::Revoked => Ok(()),
                };
                let error = counted
                    .err()
                    .map_or(Error::Unauthorized, |wait| Error::TooMany {
                        what: "this address",
                        wait,
                    });
                Err(refused(why.label(), error))
            }
        }
    }

    /// Returns the request's share in the turns of its caller's reads; see [`crate::keyring::Reads`]. A search only
    /// reads, although it uses POST.
    ///
    /// # Errors
    /// 429 if too many of the caller's requests are waiting.
    pub fn turns(&self, caller: &Caller, method: &Method) -> Result<Turns, Error> {
        let reads = &self.edge.keys.reads;
        if !method.is_safe() && self.least > Role::Read {
            return Ok(reads.enter_change(caller.readers()));
        }
        reads.enter(caller.readers())
    }

    /// Checks that a caller may call the route and can access the resource.
    ///
    /// # Errors
    /// 403 if the role is not sufficient; 404 if the resource belongs to another app.
    pub async fn check(&self, caller: &Caller, id: Option<&str>) -> Result<(), Error> {
        if caller.role < self.least {
            let (role, least) = (caller.role.as_str(), self.least.as_str());
            let detail = format!("this needs the role `{least}`, but the key has `{role}`");
            return Err(refused("role", Error::Forbidden(detail)));
        }
        let Some(own) = caller.app else { return Ok(()) };
        match self.scope {
            Scope::Limited => Ok(()),
            Scope::Whole => {
                let detail = "this affects all apps, but the key is limited to one".to_owned();
                Err(refused("app", Error::Forbidden(detail)))
            }
            Scope::Path(subject) => {
                let app = match id {
                    Some(id) => self.edge.store.app_of(subject, id).await?,
                    None => None,
                };
                if app == Some(own) {
                    Ok(())
                } else {
                    Err(refused("app", missing(subject)))
                }
            }
        }
    }
}

pub fn refused(reason: &'static str, error: Error) -> Error {
    counter!("settle_api_refused_total", "reason" => reason).increment(1);
    error
}

/// Returns the bearer token of a request.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let shown = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let (scheme, token) = shown?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}
