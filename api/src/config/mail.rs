//! Settings for emails: the SMTP server and sender, which must be set together, and the allowed domains.

use super::Invalid;
use crate::setting::invalid;
use protocols::smtp::Server;
use serde::Deserialize;

/// Section `mail` of the configuration file.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Raw {
    url: Option<String>,
    from: Option<String>,
    allowed_domains: Vec<String>,
}

/// Parses the section. Errors do not repeat the URL, which may contain a password.
pub fn server(raw: &Raw) -> Result<Option<Server>, Invalid> {
    match (&raw.url, &raw.from) {
        (None, None) => Ok(None),
        (Some(_), None) => Err(invalid(
            "mail.from",
            "the sender of emails, since `mail.url` is set",
        )),
        (None, Some(_)) => Err(invalid(
            "mail.url",
            "the SMTP server for emails, since `mail.from` is set",
        )),
        (Some(url), Some(from)) => {
            let server =
                Server::parse(url, from).map_err(|(field, expected)| invalid(field, expected))?;
            let server = server.for_domains(&raw.allowed_domains);
            server
                .map(Some)
                .map_err(|expected| invalid("mail.allowed_domains", expected))
        }
    }
}
