//! A change that a form of a page requests: the form, which has a reason, and why nothing was changed. Pure.

use super::form::Sent;
use crate::error::{Error, Field};
use crate::extract::{Draft, Fields, drafted};
use axum::http::StatusCode;
use serde_json::{Map, Value};

/// Why a form changed nothing: shown on its page, where what was entered still is.
#[derive(Debug, Clone, Default)]
pub struct Refused {
    pub status: StatusCode,
    pub fields: Vec<Field>,
    /// What stands against it, if no field is wrong.
    pub detail: Option<String>,
}

impl Refused {
    /// What a person can mend on the page of the form.
    ///
    /// # Errors
    /// Any other error, which has a page of its own.
    pub fn of(error: Error) -> Result<Self, Error> {
        let status = error.answer().0;
        match error {
            Error::Invalid(fields) => Ok(Self { status, fields, detail: None }),
            Error::Conflict(detail)
            | Error::Unsuitable(detail)
            | Error::Upstream(detail)
            | Error::Unavailable(detail)
            | Error::Missing(detail) => Ok(Self { status, fields: Vec::new(), detail: Some(detail) }),
            other => Err(other),
        }
    }

    /// What was expected in a field.
    pub fn wrong(&self, name: &str) -> Option<String> {
        self.fields.iter().find(|wrong| wrong.field == name).map(|wrong| wrong.expected.clone())
    }
}

/// A body of the API from the fields of a form, where a missing reason is one more wrong field.
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

/// The fields of a form that the API knows, as texts; empty ones are left out.
pub fn texts(sent: &Sent, names: &[&str]) -> Map<String, Value> {
    let fields = names.iter().filter_map(|name| Some(((*name).to_owned(), Value::from(sent.get(name)?))));
    fields.collect()
}

/// A form of one button and a reason.
#[derive(Debug)]
pub struct Action {
    /// Its name in the ids of the page.
    pub name: String,
    pub path: String,
    pub title: &'static str,
    pub what: String,
    /// Whether it cannot be taken back.
    pub is_final: bool,
    /// Whether it is shown at once, since it was sent and refused.
    pub is_open: bool,
    /// The reason as it was entered.
    pub reason: String,
    /// What was expected as a reason.
    pub wrong: Option<String>,
}

impl Action {
    /// A form that was not sent yet.
    pub fn new(name: impl Into<String>, path: String, title: &'static str, what: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            path,
            title,
            what: what.into(),
            is_final: false,
            is_open: false,
            reason: String::new(),
            wrong: None,
        }
    }

    /// One that cannot be taken back.
    #[must_use]
    pub fn irreversible(self) -> Self {
        Self { is_final: true, ..self }
    }

    /// With what was sent in it, if it is this one.
    #[must_use]
    pub fn sent(self, name: &str, sent: &Sent, refused: &Refused) -> Self {
        if self.name != name {
            return self;
        }
        let reason = sent.get("reason").unwrap_or_default().to_owned();
        Self { is_open: true, reason, wrong: refused.wrong("reason"), ..self }
    }
}
