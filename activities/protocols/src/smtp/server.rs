//! The SMTP server through which all emails are sent. Only the operator chooses it.

use super::envelope::{Login, Security};
use lettre::message::Mailbox;
use percent_encoding::percent_decode_str;
use secrecy::SecretString;
use url::Url;

/// The SMTP server and the sender of all emails. Debug output hides the password.
#[derive(Debug, Clone)]
pub struct Server {
    /// `smtp://` or `smtps://` with host and port, and without user, password or query.
    pub url: Url,
    pub security: Security,
    pub login: Option<Login>,
    /// Address of the sender.
    pub from: Mailbox,
    /// The domains to which emails may be sent; if empty, any domain.
    pub allowed_domains: Vec<String>,
}

impl Server {
    /// Parses `mail.url` and `mail.from`. `smtps://` means TLS from the first byte (port 465), `smtp://` requires
    /// STARTTLS (port 587). With `?tls=none` the connection is in plain text and there is no login.
    ///
    /// # Errors
    /// Returns the name of the wrong setting and what is expected, without the URL, which may contain a password.
    pub fn parse(url: &str, from: &str) -> Result<Self, (&'static str, &'static str)> {
        let (url, security, login) = server(url).map_err(|expected| ("mail.url", expected))?;
        let from = from
            .trim()
            .parse()
            .ok()
            .filter(|from: &Mailbox| is_sendable(&from.email));
        let expected =
            "the sender of emails, such as settle@example.com or settle <settle@example.com>";
        let from = from.ok_or(("mail.from", expected))?;
        Ok(Self {
            url,
            security,
            login,
            from,
            allowed_domains: Vec::new(),
        })
    }

    /// Restricts the recipients to these domains, which `mail.allowed_domains` names.
    ///
    /// # Errors
    /// Returns what is expected if one of them is not a domain.
    pub fn for_domains(self, domains: &[String]) -> Result<Self, &'static str> {
        let read = |text: &String| {
            let address = format!("someone@{}", text.trim())
                .parse()
                .ok()
                .filter(is_sendable);
            address.map(|address| address.domain().to_lowercase())
        };
        let allowed_domains = domains.iter().map(read).collect::<Option<Vec<String>>>();
        Ok(Self {
            allowed_domains: allowed_domains.ok_or("domains of recipients, such as example.com")?,
            ..self
        })
    }

    /// Returns whether emails may be sent to an address.
    pub fn allows(&self, address: &lettre::Address) -> bool {
        let is_its = |domain: &String| domain.eq_ignore_ascii_case(address.domain());
        self.allowed_domains.is_empty() || self.allowed_domains.iter().any(is_its)
    }
}

/// Returns whether an address needs no SMTP extension: it is ASCII, and its domain is a name.
pub fn is_plain(address: &lettre::Address) -> bool {
    let text: &str = address.as_ref();
    text.bytes().all(|byte| byte.is_ascii_graphic()) && !address.domain().starts_with('[')
}

/// Returns whether an email to an address can be built: the address is plain and, unlike `"a>b"@example.com`, can be
/// parsed from a header again.
pub fn is_sendable(address: &lettre::Address) -> bool {
    let text: &str = address.as_ref();
    is_plain(address) && text.parse::<Mailbox>().is_ok()
}

fn server(text: &str) -> Result<(Url, Security, Option<Login>), &'static str> {
    let expected = "smtps://USER:PASSWORD@HOST or smtp://USER:PASSWORD@HOST, with a port if it is not 465 or 587, and with \
                    special characters of the password percent-encoded";
    let mut url: Url = text.trim().parse().map_err(|_| expected)?;
    let (security, port) = match (url.scheme(), url.query()) {
        ("smtps", None) => (Security::Tls, 465),
        ("smtp", None | Some("tls=required")) => (Security::StartTls, 587),
        ("smtp", Some("tls=none")) => (Security::Plain, 25),
        ("smtp" | "smtps", Some(_)) => return Err("`?tls=none` or no query"),
        _ => return Err(expected),
    };
    if url.host_str().is_none_or(str::is_empty)
        || !matches!(url.path(), "" | "/")
        || url.fragment().is_some()
    {
        return Err(expected);
    }
    let login = match (url.username(), url.password()) {
        ("", None) => None,
        (user, Some(password)) if !user.is_empty() => {
            let read = |text: &str| {
                percent_decode_str(text)
                    .decode_utf8()
                    .map(|text| text.into_owned())
            };
            let (user, password) = (
                read(user).map_err(|_| expected)?,
                read(password).map_err(|_| expected)?,
            );
            Some(Login {
                user,
                password: SecretString::from(password),
            })
        }
        _ => return Err("a user with a password, or neither"),
    };
    if login.is_some() && security == Security::Plain {
        return Err("no user with `?tls=none`: the password would be sent in plain text");
    }
    let is_set = url.set_username("").is_ok() && url.set_password(None).is_ok();
    let port = url.port().unwrap_or(port);
    url.set_query(None);
    url.set_path("");
    if is_set && url.set_port(Some(port)).is_ok() {
        Ok((url, security, login))
    } else {
        Err(expected)
    }
}
