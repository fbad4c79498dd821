//! Stores every received request on disk with the verdicts of the crates used by [`signature`](super::signature), so
//! that libraries in other languages can verify the same requests later.
//!
//! Each receiver has one file, with one line of JSON per request. `tests/verifiers` compares the verdicts.

use super::signature::PUBLIC;
use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    V1,
    V1a,
}

impl Version {
    pub const ALL: [Self; 2] = [Self::V1, Self::V1a];

    pub const fn prefix(self) -> &'static str {
        match self {
            Self::V1 => "v1,",
            Self::V1a => "v1a,",
        }
    }
}

/// The result of verifying a request with one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyResult {
    /// `whsec_…`, or `whpk_…` with the raw 32 bytes of a public key in base64.
    pub key: String,
    /// Why the signature was refused; `None` if it is valid.
    pub refusal: Option<String>,
}

impl KeyResult {
    /// Returns the signature version that the key verifies.
    pub fn version(&self) -> Version {
        if self.key.starts_with(PUBLIC) {
            Version::V1a
        } else {
            Version::V1
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// One result for each key that the receiver trusts, newest key first.
    pub results: Vec<KeyResult>,
    /// Whether the test expects the newest key to refuse the signature.
    pub is_refusal_wanted: bool,
    /// The `webhook-id` header; like the next two, empty if missing.
    pub id: String,
    /// `webhook-timestamp`
    pub timestamp: String,
    /// `webhook-signature`
    pub signature: String,
    /// Raw body bytes, in base64.
    pub body: String,
}

impl Request {
    /// Returns a request with the results of verifying it.
    pub fn new(headers: &HeaderMap, raw: &[u8], results: Vec<KeyResult>) -> Self {
        let header = |name: &str| {
            headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
                .to_owned()
        };
        Self {
            results,
            is_refusal_wanted: false,
            id: header("webhook-id"),
            timestamp: header("webhook-timestamp"),
            signature: header("webhook-signature"),
            body: STANDARD.encode(raw),
        }
    }

    /// Returns the raw body bytes.
    ///
    /// # Panics
    /// When [`Self::body`] is not base64.
    pub fn raw(&self) -> Vec<u8> {
        STANDARD.decode(&self.body).expect("a body in base64")
    }

    /// Returns the number of the request's signatures of this version.
    pub fn signatures(&self, version: Version) -> usize {
        self.signature
            .split(' ')
            .filter(|signature| signature.starts_with(version.prefix()))
            .count()
    }
}

#[derive(Debug)]
pub struct Journal(PathBuf);

impl Journal {
    /// Returns the path of a new file in a folder; the file is created with the first request.
    pub fn within(folder: &Path) -> Self {
        Self(folder.join(format!("{}.jsonl", api::clock::random_uuid().simple())))
    }

    /// Appends a request to the file.
    ///
    /// # Panics
    /// When it cannot be written: a request that is not stored would never be verified.
    pub fn keep(&self, request: &Request) {
        let folder = self.0.parent().expect("a file in a folder");
        std::fs::create_dir_all(folder).expect("the folder for deliveries");
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.0)
            .expect("a file for deliveries");
        let line = serde_json::to_string(request).expect("a request as JSON");
        writeln!(file, "{line}").expect("a line of a delivery");
    }
}

/// Returns the folder that `SETTLE_TEST_DELIVERIES` names. If the variable is not set, requests are not stored.
pub fn folder() -> Option<PathBuf> {
    #[expect(
        clippy::disallowed_methods,
        reason = "where the tests keep what they receive"
    )]
    let named = std::env::var_os("SETTLE_TEST_DELIVERIES");
    named.map(|named| std::path::absolute(named).expect("a folder for deliveries"))
}

/// Returns the stored requests of a folder, one list per receiver, in the order of the file names.
///
/// # Panics
/// When the folder cannot be read.
#[must_use]
pub fn read(folder: &Path) -> Vec<Vec<Request>> {
    let entries =
        std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("a file of deliveries").path())
        .collect();
    files.sort();
    let parsed =
        |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let read = |file: &PathBuf| {
        let text = std::fs::read_to_string(file)
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        text.lines().map(parsed).collect()
    };
    files.iter().map(read).collect()
}
