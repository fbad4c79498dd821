//! Outgoing requests: the GET that fetches Google's keys. The URL comes only from the settings.

use futures::future::BoxFuture;
use reqwest::header::{AGE, CACHE_CONTROL, HeaderName};
use std::time::Duration;
use url::Url;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_secs(3);
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Why the keys could not be fetched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// No response, or a status other than 200; a later attempt may succeed.
    #[error("unexpected response: {0}")]
    Unavailable(String),
    /// The response is longer than the limit.
    #[error("more than {MAX_ANSWER_BYTES} bytes")]
    TooLong,
}

/// A response with the status 200.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    pub body: Vec<u8>,
    /// How long the response may be cached, if it states that.
    pub max_age: Option<Duration>,
}

/// Fetches the keys. Tests replace it with a test double.
pub trait Fetch: Send + Sync + 'static {
    /// Sends a GET for the keys.
    fn get(&self) -> BoxFuture<'_, Result<Fetched, FetchError>>;
}

/// Fetches the keys over HTTP.
pub struct Https {
    client: reqwest::Client,
    url: Url,
}

impl Https {
    /// Returns a client that follows no redirects and uses no proxy, and uses plain HTTP only if the URL in the
    /// settings does. The process must have installed its TLS provider before.
    ///
    /// # Errors
    /// The machine's root certificates cannot be read.
    #[expect(clippy::disallowed_methods, reason = "one of the two places that send")]
    pub fn new(url: Url) -> Result<Self, FetchError> {
        let client = reqwest::Client::builder()
            .https_only(url.scheme() == "https")
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .pool_max_idle_per_host(1)
            .build()
            .map_err(unavailable)?;
        Ok(Self { client, url })
    }

    #[expect(clippy::disallowed_methods, reason = "one of the two places that send")]
    async fn request(&self) -> Result<Fetched, FetchError> {
        let request = self.client.get(self.url.clone());
        let mut answer = request.send().await.map_err(unavailable)?;
        if answer.status() != reqwest::StatusCode::OK {
            return Err(FetchError::Unavailable(format!(
                "status {}",
                answer.status().as_u16()
            )));
        }
        let max_age = max_age(&header(&answer, CACHE_CONTROL), &header(&answer, AGE));
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(unavailable)? {
            if body.len() + chunk.len() > MAX_ANSWER_BYTES {
                return Err(FetchError::TooLong);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Fetched { body, max_age })
    }
}

impl Fetch for Https {
    fn get(&self) -> BoxFuture<'_, Result<Fetched, FetchError>> {
        Box::pin(self.request())
    }
}

/// Returns a response header; empty if it is absent or not text.
fn header(answer: &reqwest::Response, name: HeaderName) -> String {
    let value = answer.headers().get(name);
    let text = value.and_then(|value| value.to_str().ok());
    text.unwrap_or_default().to_owned()
}

/// Returns how long a response may be cached (RFC 9111, 4.2): its `max-age` less the time that it has already spent in
/// caches.
pub(super) fn max_age(cache_control: &str, age: &str) -> Option<Duration> {
    let mut directives = cache_control.split(',').map(str::trim);
    let seconds = directives.find_map(|directive| {
        let (name, seconds) = directive.split_once('=')?;
        let is_max_age = name.trim().eq_ignore_ascii_case("max-age");
        let seconds: u64 = seconds.trim().trim_matches('"').parse().ok()?;
        is_max_age.then_some(seconds)
    })?;
    let age = age.trim().parse().unwrap_or(0);
    Some(Duration::from_secs(seconds.saturating_sub(age)))
}

fn unavailable(error: reqwest::Error) -> FetchError {
    FetchError::Unavailable(storage::chain(&error.without_url()))
}
