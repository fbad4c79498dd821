//! Forwards verified events to the user's own program, unchanged, and returns the program's response to settle, which
//! then retries what the program refused, as it would without the receiver in between.

use super::client;
use anyhow::bail;
use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;
use url::Url;

/// Headers that belong to one connection. The next connection sets its own.
const OF_CONNECTION: [HeaderName; 5] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::HOST,
    header::TRANSFER_ENCODING,
];

/// Maximum time until the program's response: less than settle waits for the receiver's response.
const TIMEOUT: Duration = Duration::from_secs(14);

/// The URL to which events are forwarded, with its client.
pub struct Forward {
    http: reqwest::Client,
    url: Url,
}

/// The result of forwarding one event.
pub struct Forwarded {
    /// The program's response, or why there is none.
    result: Result<ProgramAnswer, String>,
    took: Duration,
}

struct ProgramAnswer {
    status: StatusCode,
    retry_after: Option<HeaderValue>,
}

impl Forward {
    /// Creates a forwarder to this URL.
    ///
    /// # Errors
    /// Fails unless the scheme is `http` or `https`.
    pub fn new(url: Url) -> anyhow::Result<Self> {
        if !matches!(url.scheme(), "http" | "https") {
            bail!("--forward-to: expected a URL such as http://127.0.0.1:3000/hooks, not `{url}`");
        }
        Ok(Self {
            http: client::http()?,
            url,
        })
    }

    /// Forwards a request.
    pub async fn send(&self, headers: &HeaderMap, body: Bytes) -> Forwarded {
        let began = Instant::now();
        let mut headers = headers.clone();
        OF_CONNECTION
            .iter()
            .for_each(|name| drop(headers.remove(name)));
        let request = self
            .http
            .post(self.url.clone())
            .headers(headers)
            .body(body)
            .timeout(TIMEOUT);
        #[expect(
            clippy::disallowed_methods,
            reason = "the user names the URL, on the machine where this runs"
        )]
        let answer = request.send().await;
        let result = match answer {
            Ok(response) => Ok(ProgramAnswer {
                status: response.status(),
                retry_after: response.headers().get(header::RETRY_AFTER).cloned(),
            }),
            Err(error) if error.is_connect() => Err("no connection".to_owned()),
            Err(error) if error.is_timeout() => Err("no response in time".to_owned()),
            Err(error) => Err(error.without_url().to_string()),
        };
        Forwarded {
            result,
            took: began.elapsed(),
        }
    }
}

impl Forwarded {
    /// Returns one line for people: the target, the status, and the time taken.
    pub fn line(&self, Forward { url, .. }: &Forward) -> String {
        let ms = self.took.as_millis();
        match &self.result {
            Ok(ProgramAnswer { status, .. }) if status.is_success() => {
                format!("forwarded  POST {url}  {} in {ms} ms", status.as_u16())
            }
            Ok(ProgramAnswer { status, .. }) => {
                let next = if *status == StatusCode::GONE {
                    "disables the destination"
                } else {
                    "retries"
                };
                format!(
                    "refused    POST {url}  {} in {ms} ms: settle {next}",
                    status.as_u16()
                )
            }
            Err(why) => format!("failed     POST {url}  {why}: settle retries"),
        }
    }

    /// Returns the data of [`Self::line`] as JSON.
    pub fn shown(&self, Forward { url, .. }: &Forward) -> Value {
        let status = self
            .result
            .as_ref()
            .ok()
            .map(|answer| answer.status.as_u16());
        let ms = u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX);
        json!({ "url": url.as_str(), "status": status, "ms": ms, "error": self.result.as_ref().err() })
    }

    /// Returns the response to settle: the program's response, or 502 if there is none.
    pub fn answer(self) -> Response {
        match self.result {
            Ok(ProgramAnswer {
                status,
                retry_after,
            }) => {
                let retry_after = retry_after.map(|after| (header::RETRY_AFTER, after));
                (status, HeaderMap::from_iter(retry_after)).into_response()
            }
            Err(_) => (
                StatusCode::BAD_GATEWAY,
                "no response from the program that receives forwarded events\n",
            )
                .into_response(),
        }
    }
}
