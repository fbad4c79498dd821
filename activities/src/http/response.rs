//! The part of a response that is read. Its size is limited, and it is not decompressed.

use protocols::http::Reply;
use reqwest::header::{HeaderMap, RETRY_AFTER};

/// Maximum length of a header's value in characters; the rest is cut off.
const VALUE_CAP: usize = 256;
/// The recorded headers, which help the operator of an endpoint to find the request in their logs.
const RECORDED: [&str; 7] = [
    "cf-ray",
    "content-type",
    "date",
    "retry-after",
    "server",
    "via",
    "x-request-id",
];

/// The part of a response that has arrived.
pub struct Response {
    status: u16,
    retry_after: Option<String>,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// Maximum size of the body in bytes; the rest is not read.
    max_bytes: usize,
}

impl Response {
    /// Reads the status and the headers. Of the body, at most `max_bytes` are read later.
    pub fn head(response: &reqwest::Response, max_bytes: usize) -> Self {
        let all = response.headers();
        let headers = RECORDED
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), value(all, name)?)));
        Self {
            status: response.status().as_u16(),
            retry_after: value(all, RETRY_AFTER.as_str()),
            headers: headers.collect(),
            body: Vec::new(),
            max_bytes,
        }
    }

    /// Appends as much as there is room for. Returns whether there is room for more.
    pub fn read(&mut self, chunk: &[u8]) -> bool {
        let room = self.max_bytes.saturating_sub(self.body.len());
        self.body.extend(chunk.iter().take(room));
        self.body.len() < self.max_bytes
    }

    pub fn reply(self) -> Reply {
        let mut body = String::from_utf8_lossy(&self.body).into_owned();
        // Each invalid UTF-8 byte became a replacement character of three bytes, so the text may exceed the limit.
        body.truncate(body.floor_char_boundary(self.max_bytes));
        Reply::Answer {
            status: self.status,
            retry_after: self.retry_after,
            headers: self.headers,
            body,
        }
    }
}

/// Returns a header's first value, if it is text.
fn value(headers: &HeaderMap, name: &str) -> Option<String> {
    let text = headers.get(name)?.to_str().ok()?;
    Some(text.chars().take(VALUE_CAP).collect())
}
