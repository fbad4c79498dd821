//! The pages before a session.

use crate::pages::frame::Files;
use askama::Template;
use storage::Person;

/// The form for a key.
#[derive(Template)]
#[template(path = "sign_in/form.html")]
pub struct SignIn {
    /// The files.
    pub files: Files,
    /// Where to continue.
    pub next: String,
    /// Why the last try failed.
    pub error: Option<String>,
    /// The command that makes a link.
    pub command: &'static str,
}

/// The button of a link; without a person the link does not work.
#[derive(Template)]
#[template(path = "sign_in/link.html")]
pub struct LinkPage {
    /// The files.
    pub files: Files,
    /// The code of the link.
    pub code: String,
    /// Who signs in with it.
    pub person: Option<Person>,
    /// The command that makes another one.
    pub command: &'static str,
}

/// Loads itself again, then with the cookie.
#[derive(Template)]
#[template(path = "sign_in/elsewhere.html")]
pub struct Elsewhere<'a> {
    /// The files.
    pub files: Files,
    /// The wanted page.
    pub here: &'a str,
}

/// Says that the browser did not take the cookie.
#[derive(Template)]
#[template(path = "sign_in/cookie_refused.html")]
pub struct CookieRefused {
    /// The files.
    pub files: Files,
}

/// The command that opens the page with a new link.
pub const fn command() -> &'static str {
    "settle open"
}
