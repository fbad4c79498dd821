//! What a route can access: found from its path and the arguments of its handler, so that no route lacks it.

use crate::error::Error;
use axum::extract::RawPathParams;
use storage::Subject;

/// How the app of a request is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The first id in the path is of this kind, and belongs to one app.
    Path(Subject),
    /// The handler limits what it does to the app of the caller.
    Limited,
    /// Concerns all apps: keys of one app may not call it.
    Whole,
}

/// The kinds of ids by their names in a path, and how people call them.
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
];

impl Scope {
    /// Returns the scope of a route: by the first parameter of its path, else by whether its handler takes the caller.
    pub fn of(path: &str, is_limited: bool) -> Self {
        let first = path.split(['{', '}']).nth(1);
        let subject = first.and_then(|name| SUBJECTS.iter().find(|(known, ..)| *known == name));
        match (subject, is_limited) {
            (Some((_, subject, _)), _) => Self::Path(*subject),
            (None, true) => Self::Limited,
            (None, false) => Self::Whole,
        }
    }

    /// How people call what a path names.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Path(subject) => name(subject),
            Self::Limited => "its own app",
            Self::Whole => "all apps",
        }
    }
}

/// Returns the first id of a path; `None` for one that is no text.
pub fn first_id<E>(path: &Result<RawPathParams, E>) -> Option<String> {
    path.as_ref()
        .ok()?
        .iter()
        .next()
        .map(|(_, id)| id.to_owned())
}

/// Returns the error for a resource that does not exist or belongs to another app, which callers cannot tell apart.
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
