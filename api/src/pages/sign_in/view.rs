//! The pages before a sign-in.

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
    /// The command that makes a link.
    pub command: &'static str,
}

/// The button of a link; without a person the link does not work.
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
    /// Returns the button of a link by which this person signs in.
    pub fn new(code: String, person: Person) -> Self {
        Self {
            files: Files::all(),
            code,
            person: Some(person),
            why: "",
            command: command(),
        }
    }

    /// Why a link does not work.
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

/// Loads itself again, then with the cookie.
#[derive(Template)]
#[template(path = "sign_in/elsewhere.html")]
pub struct Elsewhere<'a> {
    pub files: Files,
    pub here: &'a str,
}

/// Says that the browser did not take the cookie.
#[derive(Template)]
#[template(path = "sign_in/cookie_refused.html")]
pub struct CookieRefused {
    pub files: Files,
}

/// Returns the command that opens the page with a new link.
pub const fn command() -> &'static str {
    "settle open"
}
