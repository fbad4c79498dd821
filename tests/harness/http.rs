//! A client of the public HTTP API, with the admin token.

use crate::contract::{self, Answered};
use reqwest::{Client, Method, Url};
use serde_json::Value;
use std::sync::OnceLock;
use std::time::Duration;
use storage::chain;

/// Time limit of a request, so that a hanging service fails the test with a clear message.
const TIMEOUT: Duration = Duration::from_secs(180);

/// The media type of most bodies.
const JSON: &str = "application/json";

#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub media: String,
    /// The body as JSON; if it is not JSON, a JSON string with the whole text.
    pub body: Value,
}

impl Answer {
    /// Returns the body of an answer whose status is 2xx.
    ///
    /// # Panics
    /// When the status is another one; the message contains the body.
    pub fn ok(self) -> Value {
        assert!(
            (200..300).contains(&self.status),
            "answered {}: {}",
            self.status,
            self.body
        );
        self.body
    }

    /// Checks the answer against the OpenAPI document.
    fn check(&self, method: &Method, url: &str) {
        let path = Url::parse(url).map_or_else(|_| url.to_owned(), |url| url.path().to_owned());
        let Self {
            status,
            media,
            body,
        } = self;
        contract::check(Answered {
            method: method.as_str(),
            path: &path,
            status: *status,
            media,
            body,
        });
    }
}

/// Returns the text of a field.
///
/// # Panics
/// When the field is missing or not a string.
pub fn text(answer: &Value, field: &str) -> String {
    answer[field]
        .as_str()
        .unwrap_or_else(|| panic!("no text `{field}` in {answer}"))
        .to_owned()
}

/// A client of one running service.
#[derive(Debug, Clone)]
pub struct Api {
    url: String,
    token: String,
    headers: Vec<(&'static str, String)>,
}

impl Api {
    /// Returns a client of the service at `url`, such as `http://127.0.0.1:8080`.
    pub fn new(url: &str, token: &str) -> Self {
        Self {
            url: url.to_owned(),
            token: token.to_owned(),
            headers: Vec::new(),
        }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns a client of this service with another token.
    pub fn with_token(&self, token: &str) -> Self {
        Self {
            token: token.to_owned(),
            ..self.clone()
        }
    }

    /// Returns a client of this service with a further header.
    pub fn with_header(&self, name: &'static str, value: String) -> Self {
        let mut with = self.clone();
        with.headers.push((name, value));
        with
    }

    /// Returns the headers of a request with a body of this type.
    fn headers(&self, media: &str) -> Vec<(&'static str, String)> {
        let own = [
            ("content-type", media.to_owned()),
            ("authorization", format!("Bearer {}", self.token)),
        ];
        own.into_iter()
            .chain(self.headers.iter().cloned())
            .collect()
    }

    /// Sends a GET request to a path, which may have a query.
    ///
    /// # Errors
    /// When nothing answers.
    pub async fn try_get(&self, path: &str) -> Result<Answer, String> {
        send(
            Method::GET,
            &format!("{}{path}", self.url),
            &self.headers(JSON),
            Vec::new(),
        )
        .await
    }

    /// Sends a GET request to a path, which may have a query.
    ///
    /// # Panics
    /// When nothing answers.
    pub async fn get(&self, path: &str) -> Answer {
        self.try_get(path)
            .await
            .unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }

    /// Sends a JSON body with the given method.
    ///
    /// # Panics
    /// When nothing answers.
    pub async fn call(&self, method: Method, path: &str, body: &Value) -> Answer {
        let url = format!("{}{path}", self.url);
        let answer = send(
            method.clone(),
            &url,
            &self.headers(JSON),
            body.to_string().into_bytes(),
        )
        .await;
        answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// Posts JSON to a path.
    ///
    /// # Errors
    /// When nothing answers.
    pub async fn try_post(&self, path: &str, body: &Value) -> Result<Answer, String> {
        send(
            Method::POST,
            &format!("{}{path}", self.url),
            &self.headers(JSON),
            body.to_string().into_bytes(),
        )
        .await
    }

    /// Posts JSON to a path.
    ///
    /// # Panics
    /// When nothing answers.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.call(Method::POST, path, body).await
    }

    /// Posts CSV to a path.
    ///
    /// # Panics
    /// When nothing answers.
    pub async fn post_csv(&self, path: &str, csv: String) -> Answer {
        let url = format!("{}{path}", self.url);
        let answer = send(
            Method::POST,
            &url,
            &self.headers("text/csv"),
            csv.into_bytes(),
        )
        .await;
        answer.unwrap_or_else(|error| panic!("POST {path}: {error}"))
    }

    /// Returns all items of a list, from all its pages. `path` may have a query.
    ///
    /// # Panics
    /// When a page is not a list.
    pub async fn all(&self, path: &str) -> Vec<Value> {
        let joint = if path.contains('?') { '&' } else { '?' };
        let mut items = Vec::new();
        let mut next = path.to_owned();
        loop {
            let page = self.get(&next).await.ok();
            items.extend(
                page["items"]
                    .as_array()
                    .expect("a list of items")
                    .iter()
                    .cloned(),
            );
            match page["next_cursor"].as_str() {
                Some(cursor) => next = format!("{path}{joint}cursor={cursor}"),
                None => return items,
            }
        }
    }
}

/// Posts a body like SNS: as plain text and without a token.
///
/// # Errors
/// When nothing answers.
pub async fn post_as_sns(url: &str, body: &str) -> Result<Answer, String> {
    let headers = [("content-type", "text/plain; charset=UTF-8".to_owned())];
    send(Method::POST, url, &headers, body.as_bytes().to_vec()).await
}

/// Posts a body like Pub/Sub: as JSON, with the token of a push. The answer is not checked against the OpenAPI document,
/// which lists only the 200 of the other stores.
///
/// # Errors
/// When nothing answers.
pub async fn post_as_pubsub(url: &str, token: &str, body: &str) -> Result<Answer, String> {
    let headers = [
        ("content-type", JSON.to_owned()),
        ("authorization", format!("Bearer {token}")),
    ];
    send_raw(Method::POST, url, &headers, body.as_bytes().to_vec()).await
}

/// Sends a request without checking the answer against the OpenAPI document.
///
/// # Errors
/// When nothing answers.
pub async fn send_raw(
    method: Method,
    url: &str,
    headers: &[(&str, String)],
    body: Vec<u8>,
) -> Result<Answer, String> {
    let url = Url::parse(url).map_err(|error| format!("{url}: {error}"))?;
    let mut request = client().request(method, url).body(body);
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    let request = request.build().map_err(|error| error.to_string())?;
    #[expect(
        clippy::disallowed_methods,
        reason = "the harness is a client of settle, not a part of it"
    )]
    let answered = client().execute(request).await;
    let response = answered.map_err(|error| chain(&error))?;
    let status = response.status().as_u16();
    let media = response
        .headers()
        .get("content-type")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let media = media.to_owned();
    let text = response.text().await.map_err(|error| chain(&error))?;
    Ok(Answer {
        status,
        media,
        body: serde_json::from_str(&text).unwrap_or(Value::String(text)),
    })
}

async fn send(
    method: Method,
    url: &str,
    headers: &[(&str, String)],
    body: Vec<u8>,
) -> Result<Answer, String> {
    let answer = send_raw(method.clone(), url, headers, body).await?;
    answer.check(&method, url);
    Ok(answer)
}

fn client() -> &'static Client {
    static CLIENT: OnceLock<Client> = OnceLock::new();
    CLIENT.get_or_init(|| {
        // An error means that the provider is already installed.
        drop(rustls::crypto::ring::default_provider().install_default());
        // Connections are not pooled: each test has a runtime of its own, and a connection ends with its runtime.
        #[expect(
            clippy::disallowed_methods,
            reason = "the harness is a client of settle, not a part of it"
        )]
        let client = Client::builder()
            .no_proxy()
            .timeout(TIMEOUT)
            .pool_max_idle_per_host(0)
            .build();
        client.expect("a client")
    })
}
