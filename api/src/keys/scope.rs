//! The apps that a route concerns, derived from its path and the arguments of its handler, so that every route has a
//! scope.

use crate::error::Error;
use axum::extract::RawPathParams;
use storage::Subject;

/// How the app of a request is determined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The first id in the path is of this kind, and belongs to one app.
    Path(Subject),
    /// The handler limits itself to the caller's app.
    Limited,
    /// The route concerns all apps, so keys for one app may not call it.
    Whole,
}

/// Kinds of ids by their names in a path, with their display names.
const SUBJECTS: &[(&str, Subject, &str)] = &[
    ("app_id", Subject::App, "app"),
    ("platform_id", Subject::Platform, "platform"),
    ("destination_id", Subject::Destination, "destination"),
    ("collapse_key", Subject::Purchase, "purchase"),
    ("message_id", Subject::Message, "message"),
    ("event_id", Subject::Event, "event"),
    ("delivery_id", Subject::Delivery, "delivery"),
    ("transfer_id", Subject::Transfer, "transfer"),
    ("review_id", Subject::Review, "review"),
    ("key_id", Subject::Key, "key"),
    ("sign_in_id", Subject::SignIn, "sign-in"),
    ("alarm_id", Subject::Alarm, "alarm"),
    ("duty_id", Subject::Duty, "duty"),
];

impl Scope {
    /// Returns the scope of a route, from the first parameter of its path or, without one, from whether its handler
    /// takes the caller.
    pub fn of(path: &str, is_limited: bool) -> Self {
        let first = path.split(['{', '}']).nth(1);
        let subject = first.and_then(|name| SUBJECTS.iter().find(|(known, ..)| *known == name));
        match (subject, is_limited) {
            (Some((_, subject, _)), _) => Self::Path(*subject),
            (None, true) => Self::Limited,
            (None, false) => Self::Whole,
        }
    }

    /// Returns the display name of the scope.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Path(subject) => name(subject),
            Self::Limited => "its own app",
            Self::Whole => "all apps",
        }
    }
}

/// Returns the first id in a path; `None` if there is none or the path is not valid text.
pub fn first_id<E>(path: &Result<RawPathParams, E>) -> Option<String> {
    path.as_ref()
        .ok()?
        .iter()
        .next()
        .map(|(_, id)| id.to_owned())
}

/// Returns the error about a resource that does not exist or belongs to another app. Callers cannot tell the two apart.
pub fn missing(subject: Subject) -> Error {
    storage::Error::Missing {
        what: name(subject),
    }
    .into()
}

fn name(subject: Subject) -> &'static str {
    SUBJECTS
        .iter()
        .find(|(_, known, _)| *known == subject)
        .map_or("thing", |(.., name)| name)
}
