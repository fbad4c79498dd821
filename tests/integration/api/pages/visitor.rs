//! A browser without a screen: it holds the session's cookie, and submits the forms of pages.

use crate::api::edge::Service;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, header};
use std::io::Read;
use tower::ServiceExt;

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

#[derive(Debug)]
pub struct Visitor {
    /// The cookie, in the form in which a browser sends it.
    pub cookie: String,
    /// The CSRF token of the session's forms.
    pub token: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// Returns the cookie that the answer sets, in the form in which a browser sends it.
    pub fn cookie(&self) -> Option<String> {
        self.header("set-cookie")
            .split(';')
            .next()
            .filter(|pair| !pair.is_empty())
            .map(str::to_owned)
    }
}

/// Sends a request with these headers and a body.
pub async fn send(
    service: &Service,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Body>,
) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(body.into()).expect("a request");
    let answer = service
        .router
        .clone()
        .oneshot(request)
        .await
        .expect("the router always answers");
    let (head, body) = answer.into_parts();
    let is_stream = head
        .headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|media| media == "text/event-stream");
    let body = if is_stream { Body::empty() } else { body };
    let bytes = to_bytes(body, usize::MAX).await.expect("a whole body");
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Answer {
        status: head.status.as_u16(),
        headers: head.headers,
        text,
    }
}

/// Returns a form's body as a browser encodes it.
pub fn form(fields: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish()
}

/// Decompresses a text, and returns its bytes.
pub fn unzipped(bytes: &[u8]) -> String {
    let mut text = String::new();
    flate2::read::GzDecoder::new(bytes)
        .read_to_string(&mut text)
        .expect("gzip");
    text
}

impl Visitor {
    pub async fn with_key(service: &Service, key: &str) -> Result<Self, Answer> {
        Self::with_named_key(service, &[("key", key)]).await
    }

    /// Signs in with these form fields.
    pub async fn with_named_key(
        service: &Service,
        fields: &[(&str, &str)],
    ) -> Result<Self, Answer> {
        let answer = send(service, "POST", "/ui/sign-in", &[OURS], form(fields)).await;
        Self::from_answer(service, answer).await
    }

    pub async fn with_link(service: &Service, path: &str) -> Result<Self, Answer> {
        let answer = send(service, "POST", path, &[OURS], String::new()).await;
        Self::from_answer(service, answer).await
    }

    async fn from_answer(service: &Service, answer: Answer) -> Result<Self, Answer> {
        let Some(cookie) = answer.cookie().filter(|_| answer.status == 303) else {
            return Err(answer);
        };
        let visitor = Self {
            cookie,
            token: String::new(),
        };
        let page = visitor.get(service, "/ui/settings").await;
        let token = page
            .text
            .split("name=\"form_token\" value=\"")
            .nth(1)
            .and_then(|rest| rest.split('"').next());
        Ok(Self {
            token: token.expect("a form").to_owned(),
            ..visitor
        })
    }

    pub async fn get(&self, service: &Service, path: &str) -> Answer {
        send(
            service,
            "GET",
            path,
            &[("cookie", &self.cookie)],
            Body::empty(),
        )
        .await
    }

    /// Submits a form of a page.
    pub async fn post(&self, service: &Service, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.send(service, "POST", path, fields).await
    }

    /// Opens a page, or submits one of its forms.
    pub async fn send(
        &self,
        service: &Service,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
    ) -> Answer {
        if method == "GET" {
            return self.get(service, path).await;
        }
        let fields: Vec<(&str, &str)> = [("form_token", self.token.as_str())]
            .into_iter()
            .chain(fields.iter().copied())
            .collect();
        send(
            service,
            method,
            path,
            &[OURS, ("cookie", &self.cookie)],
            form(&fields),
        )
        .await
    }
}

/// The header with which a browser marks a request from a page of the same origin.
pub const OURS: (&str, &str) = ("sec-fetch-site", "same-origin");
