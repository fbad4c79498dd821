//! Turns a page's form into a call of the API: the form's fields become the body, and its reason is recorded in the
//! audit log.

use super::change::{Mistakes, Refused};
use super::form::Sent;
use super::once::ShownOnce;
use super::visit::Visit;
use api::edge::Shared;
use api::error::{Error, Problem};
use api::extract::shape::of_text;
use api::extract::{FieldErrors, object};
use api::operation::{Described, Operation, Schemas};
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::handler::Handler;
use axum::http::Method;
use axum::response::{IntoResponse, Redirect, Response};
use futures::future::BoxFuture;
use serde_json::{Map, Value};

/// Changes the body after it was built from a form, if the API needs a different one.
pub type Adjust = fn(&Shared, &Visit, &Sent, &mut Map<String, Value>) -> Result<(), Error>;
/// Returns the address of the page to show after the API's response.
pub type Landing = fn(&Visit, &Value) -> String;

/// Fields of a body that no form may set: the author is the user who signed in, and a form is never a dry run.
const NEVER: [&str; 2] = ["by", "dry_run"];
const REASON: &str = "reason";
/// Maximum size of a response in bytes.
const MAX_ANSWER: usize = 1 << 20;

/// The page that the browser shows after the API's response.
#[derive(Clone, Copy)]
enum After {
    Another(Landing),
    /// The page of the form, with the response. No address shows it again.
    ShownOnce,
}

/// The handler of a form.
#[derive(Clone, Copy)]
pub struct Act<C, P> {
    call: C,
    page: P,
    adjust: Adjust,
    after: After,
}

/// Calls a handler of the API with the fields of a form. Then the browser is redirected to the page above, which says
/// what was done. If nothing was done, `page` shows why.
pub fn act<C, P>(call: C, page: P) -> Act<C, P> {
    Act {
        call,
        page,
        adjust: |_, _, _, _| Ok(()),
        after: After::Another(|visit, _| above(visit, 1)),
    }
}

impl<C, P> Act<C, P> {
    /// Sets how the body differs from the form.
    pub fn body(self, adjust: Adjust) -> Self {
        Self { adjust, ..self }
    }

    /// Sets the page to which the browser is redirected afterwards.
    pub fn then(self, landing: Landing) -> Self {
        Self {
            after: After::Another(landing),
            ..self
        }
    }

    /// Shows the response on the page of the form, for a secret that no address may contain. `page` gets the response
    /// as [`ShownOnce`].
    pub fn shown_once(self) -> Self {
        Self {
            after: After::ShownOnce,
            ..self
        }
    }
}

impl<C, T, D, P, U> Handler<(T, D, U), Shared> for Act<C, P>
where
    C: Handler<T, Shared> + Described<D>,
    P: Handler<U, Shared>,
    T: 'static,
    D: 'static,
    U: 'static,
{
    type Future = BoxFuture<'static, Response>;

    fn call(self, request: Request, edge: Shared) -> Self::Future {
        Box::pin(async move {
            let (mut head, _) = request.into_parts();
            let (Some(sent), Some(visit)) = (
                head.extensions.get::<Sent>().cloned(),
                head.extensions.get::<Visit>().cloned(),
            ) else {
                return Error::Internal.into_response();
            };
            let answer = match body::<C, D>(&edge, &visit, &sent, self.adjust) {
                Ok(body) => {
                    let request = Request::from_parts(head.clone(), Body::from(body));
                    self.call.call(request, edge.clone()).await
                }
                Err(error) => error.into_response(),
            };
            let mut status = answer.status();
            if status.is_success() {
                let answer = to_bytes(answer.into_body(), MAX_ANSWER)
                    .await
                    .unwrap_or_default();
                let answer = serde_json::from_slice(&answer).unwrap_or_default();
                if let After::Another(landing) = self.after {
                    return Redirect::to(&landing(&visit, &answer)).into_response();
                }
                head.extensions.insert(ShownOnce { sent, answer });
            } else {
                let Some(refused) = answer
                    .extensions()
                    .get::<Problem>()
                    .and_then(Refused::of_problem)
                else {
                    return answer;
                };
                status = refused.status;
                head.extensions.insert(Mistakes {
                    path: visit.place().to_owned(),
                    sent,
                    refused,
                });
            }
            head.method = Method::GET;
            let mut shown = self
                .page
                .call(Request::from_parts(head, Body::empty()), edge)
                .await;
            if shown.status().is_success() {
                *shown.status_mut() = status;
            }
            shown
        })
    }
}

/// Returns the body of the call: the form's fields, converted to the API's types.
fn body<C: Described<D>, D>(
    edge: &Shared,
    visit: &Visit,
    sent: &Sent,
    adjust: Adjust,
) -> Result<String, Error> {
    let (mut operation, mut schemas) = (Operation::default(), Schemas::inline());
    C::describe(&mut operation, &mut schemas);
    let schema = &operation.body.unwrap_or_default()["content"]["application/json"]["schema"];
    let properties = &schema["properties"];
    let mut body = Map::new();
    for (name, value) in sent.pairs() {
        let value = value.trim();
        if !value.is_empty() && name != REASON && !NEVER.contains(&name.as_str()) {
            let value = of_text(&properties[&name], value.to_owned());
            // If a field is repeated, the first value counts, as everywhere.
            body.entry(name).or_insert(value);
        }
    }
    let mut wrong = FieldErrors::default();
    let mut adjusted = adjust(edge, visit, sent, &mut body);
    if let Err(Error::Invalid(fields)) = &mut adjusted {
        fields
            .drain(..)
            .for_each(|one| wrong.add(&one.field, one.expected));
    }
    match sent.reason() {
        Ok(reason) if !properties[REASON].is_null() => {
            body.insert(REASON.to_owned(), reason.into());
        }
        Ok(_) => {}
        // The form's other errors are reported together with the missing reason.
        Err(missing) => {
            object(&mut body.clone(), schema, "", &mut wrong);
            wrong.add(&missing.field, missing.expected);
        }
    }
    wrong.finish()?;
    adjusted.map(|()| Value::Object(body).to_string())
}

/// Returns the page whose path is `parts` segments shorter, with a notice of what was done.
pub fn above(visit: &Visit, parts: usize) -> String {
    let path = visit.uri.path();
    let done = path.rsplit('/').next().unwrap_or_default();
    let query = visit
        .uri
        .query()
        .map(|query| format!("{query}&"))
        .unwrap_or_default();
    format!("{}?{query}done={done}", upper(path, parts))
}

/// Returns a path without its last `parts` segments.
pub fn upper(path: &str, parts: usize) -> &str {
    (0..parts).fold(path, |path, _| {
        path.rsplit_once('/').map_or(path, |(rest, _)| rest)
    })
}
