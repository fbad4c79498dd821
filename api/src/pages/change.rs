//! A change that a form requests, with its reason, and why it was refused. This module is pure.

use super::form::Sent;
use super::visit::Visit;
use api::error::{Error, Field, Problem};
use api::extract::{Draft, Fields, drafted};
use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde_json::{Map, Value};
use std::convert::Infallible;

/// Why a form was refused. This is shown on the form's page, which keeps the entered values.
#[derive(Debug, Clone, Default)]
pub struct Refused {
    pub status: StatusCode,
    pub fields: Vec<Field>,
    /// Reason for the refusal, if no single field is wrong.
    pub detail: Option<String>,
}

/// The statuses of errors that a visitor can correct, or retry, on the page of the form.
const MENDABLE: [StatusCode; 6] = [
    StatusCode::BAD_REQUEST,
    StatusCode::NOT_FOUND,
    StatusCode::CONFLICT,
    StatusCode::UNPROCESSABLE_ENTITY,
    StatusCode::BAD_GATEWAY,
    StatusCode::SERVICE_UNAVAILABLE,
];

impl Refused {
    /// Returns the error of a form, if a visitor can correct it on the form's page.
    ///
    /// # Errors
    /// Returns any other error, which has its own page.
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

    /// Does the same as [`Self::of`] for a response of the API; `None` for an error that cannot be corrected on the
    /// form's page.
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

    /// Returns the expected value of a field, if the entered one is wrong.
    pub fn wrong(&self, name: &str) -> Option<String> {
        self.fields
            .iter()
            .find(|wrong| wrong.field == name)
            .map(|wrong| wrong.expected.clone())
    }
}

/// A form that was refused: its page shows the entered values and the reasons.
#[derive(Debug, Clone, Default)]
pub struct Mistakes {
    /// Path to which the form was sent; empty if there was no form.
    pub path: String,
    pub sent: Sent,
    pub refused: Refused,
}

impl Mistakes {
    /// Returns the reasons why this visit's form was refused.
    ///
    /// # Errors
    /// Returns an error that cannot be corrected on the form's page.
    pub fn of(visit: &Visit, sent: Sent, error: Error) -> Result<Self, Error> {
        Ok(Self {
            path: visit.place().to_owned(),
            sent,
            refused: Refused::of(error)?,
        })
    }

    /// Returns whether the page is the response to a form.
    pub fn is_answer(&self) -> bool {
        !self.path.is_empty()
    }

    /// Returns whether the form is that of the action with this name.
    pub fn is_of(&self, action: &str) -> bool {
        let path = self.path.split('?').next().unwrap_or_default();
        path.rsplit('/').next() == Some(action)
    }
}

/// A page gets the errors of the form to which it responds; without a form there are none.
impl<S: Send + Sync> FromRequestParts<S> for Mistakes {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_default())
    }
}

/// Parses the fields of a form as a body of the API. A missing reason is reported along with the other errors.
///
/// # Errors
/// Fails if the fields do not fit together.
pub fn reasoned<T: Fields>(sent: &Sent, body: Map<String, Value>) -> Result<Draft<T>, Error> {
    let mut draft = drafted::<T>(body)?;
    if let Err(wrong) = sent.reason() {
        draft.wrong.add(&wrong.field, wrong.expected);
    }
    Ok(draft)
}

/// Returns the fields with these names as texts, without empty ones.
pub fn texts(sent: &Sent, names: &[&str]) -> Map<String, Value> {
    let fields = names
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), Value::from(sent.get(name)?))));
    fields.collect()
}
