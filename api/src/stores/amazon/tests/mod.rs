//! Tests of the pure parts of the Amazon ingress and of its keyring; `tests/integration/amazon` tests the rest.

mod aws_messages;
mod certificates;
mod envelopes;
mod mapping;
mod reports;
mod topics;
mod vectors;

use super::envelope::Version;
use super::fetch::{Fetch, FetchError};
use super::signer::{Header, Signer};
use domain::Timestamp;
use futures::future::BoxFuture;
use std::path::PathBuf;
use std::sync::{LazyLock, Mutex};
use tokio::sync::Semaphore;
use uuid::Uuid;

const ARN: &str = "arn:aws:sns:us-east-1:033616359524:LT0XA";
const TOKEN: &str = "2336412f37fb687f5d51e6e2425dacbb";

/// One key for all tests, because generating a key is slow.
static SIGNER: LazyLock<Signer> = LazyLock::new(|| {
    Signer::generate(at("2026-01-01T00:00:00Z"), at("2027-01-01T00:00:00Z")).expect("a key")
});

fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

fn now() -> Timestamp {
    at("2026-06-01T12:00:00Z")
}

fn header(version: Version) -> Header<'static> {
    Header {
        message_id: Uuid::from_u128(0xb1c4_d9bb_0fd9_54b2_8f74_8e59_c91e_396a),
        topic_arn: ARN,
        at: now(),
        version,
    }
}

fn certificate() -> Vec<u8> {
    SIGNER.certificate_pem().expect("a certificate")
}

fn workspace() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The result of `verify_file` for a document, with the shared key and time.
fn verdict(document: &str) -> String {
    match super::verify_file(document.as_bytes(), &certificate(), now()) {
        Ok(()) => "valid".to_owned(),
        Err(refusal) => format!("{} {refusal}", refusal.status()),
    }
}

/// A fake of SNS. It gives the same response to all requests, which tests can hold back, and records the requested
/// URLs.
struct Pages {
    answer: Mutex<Result<Vec<u8>, FetchError>>,
    requests: Mutex<Vec<String>>,
    gate: Semaphore,
}

impl Pages {
    fn new(answer: Result<Vec<u8>, FetchError>) -> Self {
        Self {
            answer: Mutex::new(answer),
            requests: Mutex::default(),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
        }
    }

    fn closed(self) -> Self {
        Self {
            gate: Semaphore::new(0),
            ..self
        }
    }

    fn requests(&self) -> usize {
        self.requests.lock().expect("no panic").len()
    }
}

impl Fetch for Pages {
    fn get<'a>(&'a self, url: &'a str) -> BoxFuture<'a, Result<Vec<u8>, FetchError>> {
        Box::pin(async move {
            self.requests.lock().expect("no panic").push(url.to_owned());
            self.gate.acquire().await.expect("open").forget();
            self.answer.lock().expect("no panic").clone()
        })
    }
}
