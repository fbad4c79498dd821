//! A change that a form of a page requests: the form, which has a reason, and why nothing was changed. Pure.

use super::form::Sent;
use super::visit::Visit;
use api::error::{Error, Field, Problem};
use api::extract::{Draft, Fields, drafted};
use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde_json::{Map, Value};
use std::convert::Infallible;

/// Why a form changed nothing: shown on its page, where what was entered still is.
#[derive(Debug, Clone, Default)]
pub struct Refused {
    pub status: StatusCode,
    pub fields: Vec<Field>,
    /// Objection to the change, if no field is wrong.
    pub detail: Option<String>,
}

/// The statuses of what a person can mend on the page of a form, or try again there.
const MENDABLE: [StatusCode; 6] = [
    StatusCode::BAD_REQUEST,
    StatusCode::NOT_FOUND,
    StatusCode::CONFLICT,
    StatusCode::UNPROCESSABLE_ENTITY,
    StatusCode::BAD_GATEWAY,
    StatusCode::SERVICE_UNAVAILABLE,
];

impl Refused {
    /// Returns an error that a person can correct on the page of the form.
    ///
    /// # Errors
    /// Any other error, which has a page of its own.
    pub fn of(error: Error) -> Result<Self, Error> {
        let (status, detail) = (error.answer().0, error.to_string());
        if !MENDABLE.contains(&status) {
            return Err(error);
        }
        match error {
            Error::Invalid(fields) => Ok(Self {
                status,
                fields,
                detail: None,
            }),
            _ => Ok(Self {
                status,
                fields: Vec::new(),
                detail: Some(detail),
            }),
        }
    }

    /// As [`Self::of`], from a response of the API; `None` for any other error.
    pub fn of_problem(problem: &Problem) -> Option<Self> {
        let status = StatusCode::from_u16(problem.status)
            .ok()
            .filter(|status| MENDABLE.contains(status))?;
        let detail = problem.errors.is_empty().then(|| problem.detail.clone());
        Some(Self {
            status,
            fields: problem.errors.clone(),
            detail,
        })
    }

    /// Expected value of a field.
    pub fn wrong(&self, name: &str) -> Option<String> {
        self.fields
            .iter()
            .find(|wrong| wrong.field == name)
            .map(|wrong| wrong.expected.clone())
    }
}

/// A form that changed nothing: its page shows what was entered in it, and why.
#[derive(Debug, Clone, Default)]
pub struct Mistakes {
    /// Path to which the form was sent; empty for none.
    pub path: String,
    pub sent: Sent,
    pub refused: Refused,
}

impl Mistakes {
    /// Why the form of this visit changed nothing.
    ///
    /// # Errors
    /// An error that cannot be corrected on the page of the form.
    pub fn of(visit: &Visit, sent: Sent, error: Error) -> Result<Self, Error> {
        Ok(Self {
            path: visit.place().to_owned(),
            sent,
            refused: Refused::of(error)?,
        })
    }

    /// Returns whether a page answers a form.
    pub fn is_answer(&self) -> bool {
        !self.path.is_empty()
    }

    /// Returns whether the form is that of the action of this name.
    pub fn is_of(&self, action: &str) -> bool {
        let path = self.path.split('?').next().unwrap_or_default();
        path.rsplit('/').next() == Some(action)
    }
}

/// A page takes the mistakes of the form that it answers; it has none where it is opened.
impl<S: Send + Sync> FromRequestParts<S> for Mistakes {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_default())
    }
}

/// Returns a body of the API from the fields of a form, where a missing reason is one more wrong field.
///
/// # Errors
/// The fields do not fit together.
pub fn reasoned<T: Fields>(sent: &Sent, body: Map<String, Value>) -> Result<Draft<T>, Error> {
    let mut draft = drafted::<T>(body)?;
    if let Err(wrong) = sent.reason() {
        draft.wrong.add(&wrong.field, wrong.expected);
    }
    Ok(draft)
}

/// Returns the fields of a form that the API knows, as texts; empty ones are left out.
pub fn texts(sent: &Sent, names: &[&str]) -> Map<String, Value> {
    let fields = names
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), Value::from(sent.get(name)?))));
    fields.collect()
}
