//! The visitor: the session that a cookie identifies.

use api::edge::Edge;
use api::edge::pages::PREFIX;
use api::error::Error;
use api::keys::Caller;
use api::resources::{live, sign_ins};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use domain::{AppId, Timestamp};
use ring::digest::{SHA256, digest};
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;
use std::time::Duration;
use storage::SignIn;
use subtle::ConstantTimeEq;

/// The session cookie. Because of its prefix, browsers accept it only from this very origin, over TLS or on this
/// machine (<https://developer.mozilla.org/docs/Web/HTTP/Reference/Headers/Set-Cookie#cookie_prefixes>).
const COOKIE: &str = "__Host-settle";
/// Length of a session's secret in characters: 256 bits in hex.
const SECRET_CHARS: usize = 64;
/// The cookie with the selected theme. It is not secret.
const THEME: &str = "settle_theme";
/// Minimum time between two records that a session was used.
const NOTED_EVERY: Duration = Duration::from_secs(60);

/// The visitor of a page, and the page.
#[derive(Clone)]
pub struct Visit(Arc<Facts>);

/// Facts about a visit.
pub struct Facts {
    pub sign_in: SignIn,
    /// CSRF token that each form of the session contains, so that no other site can submit one.
    pub token: String,
    pub uri: Uri,
    /// The origin at which the browser reached the page, such as `https://settle.example.com`; empty if it is not
    /// known.
    pub origin: String,
    /// The app that the visitor selected, or the only one that they have access to.
    pub app: Option<AppId>,
    /// Whether the data is requested instead of the page.
    pub is_json: bool,
    /// The selected theme: `light` or `dark`; `None` for the system's theme.
    pub theme: Option<&'static str>,
    pub now: Timestamp,
    /// Marks of the stored state at `now`: the page does not show later changes.
    pub marks: String,
}

impl std::ops::Deref for Visit {
    type Target = Facts;

    fn deref(&self) -> &Facts {
        &self.0
    }
}

impl Visit {
    /// Returns the visit of a request, if its cookie belongs to a valid session.
    ///
    /// # Errors
    /// 503 if the database does not respond.
    pub async fn of(edge: &Edge, headers: &HeaderMap, uri: &Uri) -> Result<Option<Self>, Error> {
        let Some(secret) = cookie(headers, COOKIE).filter(|text| text.len() == SECRET_CHARS) else {
            return Ok(None);
        };
        let secret = SecretString::from(secret.to_owned());
        let now = (edge.clock)();
        let Some(sign_in) = sign_ins::opened(edge, &secret, now).await? else {
            return Ok(None);
        };
        // Automatic requests of an open page do not count as use of the session.
        let is_by_itself = headers.contains_key("hx-request") || uri.path() == "/ui/live";
        if !is_by_itself && sign_in.used_at.plus(NOTED_EVERY) <= now {
            sign_ins::note_used(edge, &sign_in);
        }
        let wanted = query(uri, "app_id").and_then(|text| text.parse().ok());
        Ok(Some(Self(Arc::new(Facts {
            token: token(&secret),
            app: sign_in.app_id.or(wanted),
            sign_in,
            is_json: query(uri, "as").as_deref() == Some("json"),
            marks: live::marks(edge).await?.text(),
            theme: ["light", "dark"]
                .into_iter()
                .find(|theme| cookie(headers, THEME) == Some(theme)),
            origin: origin(headers).unwrap_or_default(),
            uri: uri.clone(),
            now,
        }))))
    }

    /// Returns whether a form's token is the session's CSRF token.
    pub fn proves(&self, token: &str) -> bool {
        bool::from(token.as_bytes().ct_eq(self.token.as_bytes()))
    }

    /// Returns the caller that the session stands for.
    pub fn caller(&self) -> Caller {
        let SignIn {
            id,
            name,
            role,
            app_id,
            key_id,
            ..
        } = self.sign_in.clone();
        Caller {
            key: key_id,
            sign_in: Some(id),
            name,
            role,
            app: app_id,
        }
    }

    /// Returns a query field; `None` if it is absent or empty.
    pub fn query(&self, name: &str) -> Option<String> {
        query(&self.uri, name).filter(|value| !value.is_empty())
    }

    /// Returns the path and the query of the visit's address.
    pub fn place(&self) -> &str {
        self.uri.path_and_query().map_or("", |place| place.as_str())
    }

    /// Returns the address of a dashboard path, which keeps the selected app.
    pub fn to(&self, path: &str) -> String {
        match self.app.filter(|_| self.sign_in.app_id.is_none()) {
            Some(app) => format!(
                "{path}{}app_id={app}",
                if path.contains('?') { '&' } else { '?' }
            ),
            None => path.to_owned(),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Visit {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or(Error::Internal)
    }
}

/// Returns the CSRF token of a session. It is derived from the session's secret, but does not reveal it.
fn token(secret: &SecretString) -> String {
    let text = format!("form of {}", secret.expose_secret());
    storage::hex(digest(&SHA256, text.as_bytes()).as_ref())
}

/// Returns the origin at which a browser reaches the page. Browsers send the session cookie only over HTTPS, or to this
/// very machine.
fn origin(headers: &HeaderMap) -> Option<String> {
    let host = headers.get(header::HOST)?.to_str().ok()?;
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-.:[]".contains(letter);
    if host.is_empty() || !host.chars().all(is_plain) {
        return None;
    }
    let is_here = ["localhost", "127.0.0.1", "[::1]"].iter().any(|own| {
        let port = host.strip_prefix(own);
        port.is_some_and(|port| port.is_empty() || port.starts_with(':'))
    });
    Some(format!(
        "{}://{host}",
        if is_here { "http" } else { "https" }
    ))
}

pub fn query(uri: &Uri, name: &str) -> Option<String> {
    let mut pairs = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    pairs
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

/// Returns the value of a cookie of a request.
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers
        .get_all(header::COOKIE)
        .into_iter()
        .filter_map(|line| line.to_str().ok());
    let pairs = lines
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));
    pairs
        .into_iter()
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

/// Returns whether a request follows a link on another site, with which a browser does not send the cookie.
pub fn is_link_from_elsewhere(headers: &HeaderMap) -> bool {
    let site = headers
        .get("sec-fetch-site")
        .and_then(|value| value.to_str().ok());
    site == Some("cross-site") && !has_cookie(headers)
}

/// Returns whether a request has a session cookie, valid or not.
pub fn has_cookie(headers: &HeaderMap) -> bool {
    cookie(headers, COOKIE).is_some()
}

/// Returns the `Set-Cookie` header that begins a session.
pub fn begin(secret: &SecretString, lifetime: Duration) -> HeaderValue {
    let (secret, age) = (secret.expose_secret(), lifetime.as_secs());
    set(&format!(
        "{COOKIE}={secret}; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age={age}"
    ))
}

/// Returns the `Set-Cookie` header that removes the cookie.
pub fn end() -> HeaderValue {
    set(&format!(
        "{COOKIE}=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0"
    ))
}

fn set(text: &str) -> HeaderValue {
    let mut value = HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}

/// Returns the dashboard path to continue at, from a query or a form. It never leads to another origin.
pub fn next(text: Option<&str>) -> &str {
    let is_ours = |path: &&str| {
        let rest = path.strip_prefix(PREFIX);
        rest.is_some_and(|rest| rest.starts_with('/'))
            && !path.contains(['\\', '\r', '\n'])
            && path.is_ascii()
    };
    text.filter(is_ours)
        .filter(|path| !path.starts_with("/ui/sign-in"))
        .unwrap_or("/ui/")
}

#[cfg(test)]
mod tests {
    use super::origin;
    use axum::http::{HeaderMap, HeaderValue, header};

    #[test]
    fn the_address_of_a_page_is_that_which_the_browser_names() {
        let of = |host: &'static str| {
            origin(&HeaderMap::from_iter([(
                header::HOST,
                HeaderValue::from_static(host),
            )]))
            .unwrap_or_default()
        };
        assert_eq!(of("127.0.0.1:8081"), "http://127.0.0.1:8081");
        assert_eq!(of("localhost"), "http://localhost");
        assert_eq!(of("settle.example.com"), "https://settle.example.com");
        assert_eq!(
            of("localhost.example.com:8443"),
            "https://localhost.example.com:8443"
        );
        assert_eq!(of("a'$(x)"), "", "nothing that a shell reads");
        assert_eq!(origin(&HeaderMap::new()), None);
    }
}
