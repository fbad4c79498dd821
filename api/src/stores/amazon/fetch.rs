//! Outgoing requests: the GETs that fetch a signing certificate and confirm a subscription. `certificate` and `topic`
//! check the URLs first.

use futures::future::BoxFuture;
use std::time::Duration;
use url::Url;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const TIMEOUT: Duration = Duration::from_secs(5);
const MAX_ANSWER_BYTES: usize = super::certificate::MAX_CERTIFICATE_BYTES;

/// Why a GET failed. The texts contain no URL, because the URL that confirms a subscription is a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// No response, or a status other than 200; a later attempt may succeed.
    #[error("SNS returned an unexpected response: {0}")]
    Unavailable(String),
    /// The response is longer than the limit.
    #[error("SNS responded with more than {MAX_ANSWER_BYTES} bytes")]
    TooLong,
    /// The URL is not an SNS URL, so it was not requested.
    #[error(
        "the URL is not an SNS URL (expected https://sns.REGION.amazonaws.com/?Action=ConfirmSubscription…)"
    )]
    Forbidden,
}

/// Sends GETs to SNS. Tests replace it with a test double.
pub trait Fetch: Send + Sync + 'static {
    /// Sends a GET and returns the body of a 200 response.
    fn get<'a>(&'a self, url: &'a str) -> BoxFuture<'a, Result<Vec<u8>, FetchError>>;
}

/// Fetches certificates and confirmation links over HTTPS.
pub struct Https {
    client: reqwest::Client,
}

impl Https {
    /// Returns a client that follows no redirects and uses neither a proxy nor plain HTTP. The process must have
    /// installed its TLS provider before.
    ///
    /// # Errors
    /// The machine's root certificates cannot be read.
    #[expect(clippy::disallowed_methods, reason = "one of the two places that send")]
    pub fn new() -> Result<Self, FetchError> {
        let client = reqwest::Client::builder()
            .https_only(true)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .pool_max_idle_per_host(1)
            .build()
            .map_err(unavailable)?;
        Ok(Self { client })
    }

    #[expect(clippy::disallowed_methods, reason = "one of the two places that send")]
    async fn request(&self, url: &str) -> Result<Vec<u8>, FetchError> {
        let url = Url::parse(url).map_err(|_| FetchError::Forbidden)?;
        let mut answer = self.client.get(url).send().await.map_err(unavailable)?;
        if answer.status() != reqwest::StatusCode::OK {
            return Err(FetchError::Unavailable(format!(
                "status {}",
                answer.status().as_u16()
            )));
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(unavailable)? {
            if body.len() + chunk.len() > MAX_ANSWER_BYTES {
                return Err(FetchError::TooLong);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

impl Fetch for Https {
    fn get<'a>(&'a self, url: &'a str) -> BoxFuture<'a, Result<Vec<u8>, FetchError>> {
        Box::pin(self.request(url))
    }
}

fn unavailable(error: reqwest::Error) -> FetchError {
    FetchError::Unavailable(storage::chain(&error.without_url()))
}
