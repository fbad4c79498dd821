//! Sends spans to the collector that the operator configured. Uses no proxy from the environment, follows no redirects,
//! and reads only the beginning of a response.

use async_trait::async_trait;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use std::time::Duration;
use tokio::runtime::Handle;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Maximum length of a response in bytes. A collector's response is usually a few bytes long.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Sends requests on the runtime, on behalf of the exporter's thread, which has none.
#[derive(Debug)]
pub struct Sender {
    client: reqwest::Client,
    runtime: Handle,
}

impl Sender {
    /// Creates a sender whose requests take at most `timeout`. Must be called within the runtime; the process must have
    /// installed a `rustls` crypto provider before.
    ///
    /// # Errors
    /// The machine's root certificates cannot be read.
    pub fn new(timeout: Duration) -> Result<Self, reqwest::Error> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the one client for spans, to the operator's own address"
        )]
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT.min(timeout))
            .timeout(timeout)
            .pool_max_idle_per_host(1)
            .build()?;
        Ok(Self {
            client,
            runtime: Handle::current(),
        })
    }
}

#[async_trait]
impl HttpClient for Sender {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (client, request) = (self.client.clone(), reqwest::Request::try_from(request)?);
        self.runtime.spawn(exchange(client, request)).await?
    }
}

async fn exchange(
    client: reqwest::Client,
    request: reqwest::Request,
) -> Result<Response<Bytes>, HttpError> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one client for spans, to the operator's own address"
    )]
    let mut answer = client
        .execute(request)
        .await
        .map_err(reqwest::Error::without_url)?;
    let mut response = Response::builder().status(answer.status());
    if let Some(headers) = response.headers_mut() {
        headers.clone_from(answer.headers());
    }
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(reqwest::Error::without_url)? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err("the answer is too long".into());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(response.body(body.into())?)
}
