//! The pages that are shown without a session.

use crate::frame::Files;
use askama::Template;
use storage::{LinkEnd, Person};

#[derive(Template)]
#[template(path = "sign_in/form.html")]
pub struct SignInPage {
    pub files: Files,
    pub next: String,
    pub name: String,
    pub error: Option<String>,
    /// The command that creates a link.
    pub command: &'static str,
}

/// The page with a link's button; without a person, it says that the link does not work.
#[derive(Template)]
#[template(path = "sign_in/link.html")]
pub struct LinkPage {
    files: Files,
    code: String,
    person: Option<Person>,
    why: &'static str,
    command: &'static str,
}

impl LinkPage {
    /// Returns the page with the button by which this person signs in.
    pub fn new(code: String, person: Person) -> Self {
        Self {
            files: Files::all(),
            code,
            person: Some(person),
            why: "",
            command: command(),
        }
    }

    /// Returns the page that explains why a link does not work.
    pub fn gone(end: LinkEnd) -> Self {
        let why = match end {
            LinkEnd::Unknown => "There is no such link.",
            LinkEnd::Taken => "It has already been used.",
            LinkEnd::Expired => "It has expired.",
            LinkEnd::KeyRevoked => "The key that created it was revoked or has expired.",
            LinkEnd::TokenReplaced => "The admin token that created it was replaced.",
        };
        Self {
            files: Files::all(),
            code: String::new(),
            person: None,
            why,
            command: command(),
        }
    }
}

/// A page that reloads itself, so that the browser then sends the cookie.
#[derive(Template)]
#[template(path = "sign_in/elsewhere.html")]
pub struct Elsewhere<'a> {
    pub files: Files,
    pub here: &'a str,
}

/// The page that says that the browser did not accept the cookie.
#[derive(Template)]
#[template(path = "sign_in/cookie_refused.html")]
pub struct CookieRefused {
    pub files: Files,
}

/// Returns the command that opens the dashboard with a new link.
pub const fn command() -> &'static str {
    "settle open"
}
