//! The interface that each store's folder implements for the HTTP edge.

use super::intake::Intake;
use super::samples::Samples;
use axum::http::HeaderMap;
use domain::Timestamp;
use futures::future::BoxFuture;
use secrecy::SecretString;
use std::sync::Arc;
use storage::{Platform, SignedReceipt, chain};

/// Reason for refusing a message that the database refuses permanently.
pub const REFUSED_BY_DATABASE: &str = "the database refuses the message";

/// A store's request, with everything that its verification needs.
#[derive(Clone, Copy)]
pub struct StoreRequest<'a> {
    pub ingress_key: &'a str,
    pub headers: &'a HeaderMap,
    pub body: &'a [u8],
}

/// The response to a store's request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status. A success status means that all of the request's notifications are durably stored.
    pub status: u16,
    pub reason: &'static str,
}

/// Receives the messages of a store.
pub trait Ingress: Send + Sync {
    /// Returns the store's name, as it appears in the URL of its ingress.
    fn name(&self) -> &'static str;

    /// Checks that a platform has an ingress key, before the body of a request is read.
    ///
    /// # Errors
    /// The response to a message with this key.
    fn check_key<'a>(
        &'a self,
        intake: Intake<'a>,
        ingress_key: &'a str,
    ) -> BoxFuture<'a, Result<(), Answer>>;

    /// Checks a request before its body is read: the ingress key, and the store's credentials in the headers.
    ///
    /// # Errors
    /// The response to a message with this key and these headers.
    fn check_headers<'a>(
        &'a self,
        intake: Intake<'a>,
        ingress_key: &'a str,
        _: &'a HeaderMap,
    ) -> BoxFuture<'a, Result<(), Answer>> {
        self.check_key(intake, ingress_key)
    }

    /// Verifies a request and stores its notifications.
    fn receive<'a>(
        &'a self,
        intake: Intake<'a>,
        request: StoreRequest<'a>,
    ) -> BoxFuture<'a, Answer>;

    /// Verifies a transaction that the store signed and a device hands in, without the network. Waits for other
    /// verifications at most, so do not call it on a thread that responds to requests. `None` if the store signs none.
    ///
    /// # Errors
    /// What is expected instead of this text, as a sentence.
    fn signed_receipt(
        &self,
        _platform: &Platform,
        _text: &str,
        _now: Timestamp,
    ) -> Option<Result<SignedReceipt, &'static str>> {
        None
    }

    /// Returns this store's samples, if it has any.
    fn samples(&self) -> Option<&dyn Samples> {
        None
    }

    /// Returns the topics through which this store sends, if it uses topics.
    fn topics(&self) -> Option<&dyn Topics> {
        None
    }
}

/// A store's topics, to which platforms are subscribed.
pub trait Topics: Send + Sync {
    /// Confirms the subscription of a topic.
    ///
    /// # Errors
    /// The reason as text, without the URL, which is a secret.
    fn confirm<'a>(&'a self, subscribe_url: &'a SecretString) -> BoxFuture<'a, Result<(), String>>;

    /// Checks the format of a topic's name.
    ///
    /// # Errors
    /// The format that the store expects, as text.
    fn check(&self, name: &str) -> Result<(), String>;

    /// Returns the account that owns a topic, according to its name; `None` if the name does not show it.
    fn account(&self, name: &str) -> Option<String>;
}

/// Ingresses of all stores that this process knows.
#[derive(Clone, Default)]
pub struct Ingresses(Vec<Arc<dyn Ingress>>);

impl Ingresses {
    pub fn new(all: Vec<Arc<dyn Ingress>>) -> Self {
        Self(all)
    }

    /// Returns the ingress of the store with this name; `None` if there is no such store.
    pub fn of(&self, store: &str) -> Option<&dyn Ingress> {
        let found = self.0.iter().find(|ingress| ingress.name() == store);
        found.map(AsRef::as_ref)
    }
}

/// Logs a database error at a store's ingress. Returns the reason for a temporary refusal, after which the store
/// repeats the message.
pub fn storage_failed(store: &str, error: &storage::Error) -> &'static str {
    tracing::error!(error = chain(error), store, "storage failed at an ingress");
    match () {
        () if error.is_of_full_disk() => "the disk of the database is full",
        () if error.is_permanent() => REFUSED_BY_DATABASE,
        () => "storage is not available",
    }
}
