//! The requests of the App Store Server API (<https://developer.apple.com/documentation/appstoreserverapi>).
//!
//! Production and sandbox are different servers. Which of them knows a purchase follows from what was signed, and there
//! is no fall-back from one to the other.

use super::Settings;
use crate::http::{Method, Request};
use crate::stores::Bucket;
use domain::{Environment, Timestamp};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

const PRODUCTION_URL: &str = "https://api.storekit.apple.com";
const SANDBOX_URL: &str = "https://api.storekit-sandbox.apple.com";
/// The path of the sandbox below an address that replaces both of Apple's.
const SANDBOX_PATH: &str = "/sandbox";
const USER_AGENT: &str = concat!("settle/", env!("CARGO_PKG_VERSION"));
/// Maximum number of bytes of an answer. A page has twenty signed texts of up to 25 KiB.
const MAX_REPLY_BYTES: usize = 2 * 1024 * 1024;
/// The part of Apple's rates that its sandbox allows.
const SANDBOX_PART: u32 = 10;

/// The rate of requests for a test notification.
const TESTS: Bucket = Bucket {
    name: "test",
    per_second: 1,
};

/// The characters to percent-encode: all except RFC 3986's unreserved ones.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The subject of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AppStoreQuery {
    /// The state of all subscriptions of a purchase's customer.
    Statuses(String),
    /// A transaction by its id.
    Transaction(String),
    /// A page of the subscription periods of a purchase's customer.
    History {
        purchase_id: String,
        /// The beginning of the first period that is wanted.
        since: Option<Timestamp>,
        /// Apple's name of the page; `None` for the first one.
        revision: Option<String>,
    },
    /// A page of the history of notifications.
    Notifications {
        since: Timestamp,
        until: Timestamp,
        only_failures: bool,
        page: Option<String>,
    },
    /// A test notification.
    Test,
}

/// Returns the request for a resource, with the bucket of its rate; `None` if the URL cannot be built.
pub fn request(
    settings: &Settings,
    environment: Environment,
    query: &AppStoreQuery,
) -> Option<(Request, Bucket)> {
    let (method, path, bucket, body) = match query {
        AppStoreQuery::Statuses(id) => (
            Method::Get,
            format!("v1/subscriptions/{}", encoded(id)),
            "subscriptions",
            None,
        ),
        AppStoreQuery::Transaction(id) => (
            Method::Get,
            format!("v1/transactions/{}", encoded(id)),
            "transactions",
            None,
        ),
        AppStoreQuery::History {
            purchase_id,
            since,
            revision,
        } => {
            let mut path = format!(
                "v2/history/{}?productType=AUTO_RENEWABLE",
                encoded(purchase_id)
            );
            if let Some(since) = since {
                path.push_str(&format!("&startDate={}", millis(*since)));
            }
            if let Some(revision) = revision {
                path.push_str(&format!("&revision={}", encoded(revision)));
            }
            (Method::Get, path, "history", None)
        }
        AppStoreQuery::Notifications {
            since,
            until,
            only_failures,
            page,
        } => {
            let mut path = "v1/notifications/history".to_owned();
            if let Some(page) = page {
                path.push_str(&format!("?paginationToken={}", encoded(page)));
            }
            let body = json!({
                "startDate": millis(*since), "endDate": millis(*until), "onlyFailures": only_failures,
            });
            (Method::Post, path, "notifications", Some(body))
        }
        AppStoreQuery::Test => (
            Method::Post,
            "v1/notifications/test".to_owned(),
            TESTS.name,
            None,
        ),
    };
    let request = sent(settings, environment, method, &path, body.as_ref())?;
    Some((request, settings.bucket(bucket, environment)))
}

impl Settings {
    fn bucket(&self, name: &'static str, environment: Environment) -> Bucket {
        let (name, per_second) = match (name, environment) {
            ("test", _) => return TESTS,
            (_, Environment::Production) => (name, self.per_second),
            (_, Environment::Sandbox) => (sandbox(name), (self.per_second / SANDBOX_PART).max(1)),
        };
        Bucket { name, per_second }
    }
}

/// Returns the name of the bucket of the sandbox beside one of production.
fn sandbox(name: &'static str) -> &'static str {
    match name {
        "subscriptions" => "sandbox_subscriptions",
        "transactions" => "sandbox_transactions",
        "history" => "sandbox_history",
        _ => "sandbox_notifications",
    }
}

fn sent(
    settings: &Settings,
    environment: Environment,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Option<Request> {
    let own = settings
        .base
        .as_ref()
        .map(|base| base.as_str().trim_end_matches('/'));
    let base = match (own, environment) {
        (Some(base), Environment::Production) => base.to_owned(),
        (Some(base), Environment::Sandbox) => format!("{base}{SANDBOX_PATH}"),
        (None, Environment::Production) => PRODUCTION_URL.to_owned(),
        (None, Environment::Sandbox) => SANDBOX_URL.to_owned(),
    };
    let mut headers = vec![
        ("accept".to_owned(), "application/json".to_owned()),
        ("user-agent".to_owned(), USER_AGENT.to_owned()),
    ];
    if body.is_some() {
        headers.push(("content-type".to_owned(), "application/json".to_owned()));
    }
    Some(Request {
        method,
        url: format!("{base}/inApps/{path}").parse().ok()?,
        headers,
        body: body
            .map(ToString::to_string)
            .unwrap_or_default()
            .into_bytes(),
        max_reply_bytes: MAX_REPLY_BYTES,
        is_operator_url: settings.base.is_some(),
        app: None,
    })
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

const fn millis(at: Timestamp) -> i64 {
    at.micros().div_euclid(1000)
}
