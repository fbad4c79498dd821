//! A webhook endpoint that records every request, verifies it like any consumer, and gives answers that a test scripts.

mod overlap;
mod reply;
mod shape;

pub use reply::Reply;

use super::deliveries::{self, Journal, KeyResult, Request, Version};
use super::shared::locked;
use super::signature::Signed;
use super::{ports, wait};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::CONNECTION;
use axum::response::Response;
use jsonschema::Validator;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Keys of the external ids that name a purchase: each store has one of them.
const PURCHASE_KEYS: [&str; 2] = ["receipt_id", "original_transaction_id"];

#[derive(Debug, Clone)]
pub struct Received {
    /// The `webhook-id` header.
    pub webhook_id: String,
    pub headers: HeaderMap,
    pub raw: Vec<u8>,
    /// The body as JSON; null if it is not JSON.
    pub body: Value,
    /// The result of [`Signed::verify`] with the newest trusted secret and the newest trusted public key; `Err` if
    /// there is neither.
    pub verified: Result<(), String>,
    pub began: Instant,
    /// When the request was answered; `None` while it hangs and if the sender gave up.
    pub finished_at: Option<Instant>,
    /// Status of the answer; `None` also if the connection was dropped.
    pub status: Option<u16>,
}

impl Received {
    /// Returns the bodies of the request's events: the elements of an array, else the request's body.
    pub fn bodies(&self) -> Vec<&Value> {
        self.body
            .as_array()
            .map_or_else(|| vec![&self.body], |all| all.iter().collect())
    }

    pub fn event_type(&self) -> &str {
        type_of(&self.body)
    }

    /// Returns the collapse key of a `purchase.updated`; empty for other events.
    pub fn collapse_key(&self) -> &str {
        self.body["attributes"]["collapse_key"]
            .as_str()
            .unwrap_or_default()
    }

    /// Returns the store's id of the event's purchase; empty if the event names none.
    pub fn receipt_id(&self) -> &str {
        let ids = self.body["external_ids"].as_array().into_iter().flatten();
        let named = ids
            .filter(|id| PURCHASE_KEYS.iter().any(|key| id["key"] == *key))
            .find_map(|id| id["value"].as_str());
        named
            .or_else(|| self.body["data"]["purchase_guid"].as_str())
            .unwrap_or_default()
    }

    pub fn event_id(&self) -> &str {
        id_of(&self.body)
    }

    /// Returns the revision of a `purchase.updated`; 0 for other events.
    pub fn revision(&self) -> i64 {
        self.body["attributes"]["revision"]
            .as_i64()
            .unwrap_or_default()
    }

    /// Returns whether the receiver acknowledged the request (2xx).
    pub fn is_acked(&self) -> bool {
        self.status
            .is_some_and(|status| (200..300).contains(&status))
    }
}

/// Returns the type of the event with this body.
fn type_of(body: &Value) -> &str {
    body["attributes"]["event_type"]
        .as_str()
        .or_else(|| body["event_type"].as_str())
        .unwrap_or_default()
}

/// Returns the id of the event with this body.
fn id_of(body: &Value) -> &str {
    body["attributes"]["event_id"]
        .as_str()
        .or_else(|| body["id"].as_str())
        .unwrap_or_default()
}

#[derive(Default)]
struct Seen {
    /// Trusted secrets and public keys, newest last.
    keys: Vec<String>,
    next: VecDeque<Reply>,
    /// A prefix of receipt ids, and the reply to the first request with each `webhook-id` about such a receipt.
    first: Option<(String, Reply)>,
    /// A prefix of receipt ids, and the reply to all requests about such a receipt.
    about: Option<(String, Reply)>,
    always: Option<Reply>,
    requests: Vec<Received>,
    /// The schema of each event type.
    schemas: BTreeMap<String, Validator>,
    is_time_ignored: bool,
    is_refusal_wanted: bool,
    is_connection_reused: bool,
    journal: Option<Journal>,
}

#[derive(Clone)]
struct Shared {
    seen: Arc<Mutex<Seen>>,
    released: watch::Sender<u64>,
}

/// Maximum time for which another connection on the receiver's port keeps it from listening.
const FREE: Duration = Duration::from_secs(180);

pub struct Receiver {
    port: u16,
    shared: Shared,
    server: Option<JoinHandle<()>>,
}

impl Receiver {
    /// Starts a receiver on a free port that answers 200.
    ///
    /// # Panics
    /// When it cannot listen.
    pub async fn start() -> Self {
        let shared = Shared {
            seen: Arc::default(),
            released: watch::Sender::new(0),
        };
        let mut receiver = Self {
            port: ports::free(),
            shared,
            server: None,
        };
        if let Some(folder) = deliveries::folder() {
            receiver.keep_in(&folder);
        }
        receiver.accept().await;
        receiver
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook", self.port)
    }

    /// Stores every further request in a new file in this folder, for [`deliveries::read`].
    pub fn keep_in(&self, folder: &Path) {
        self.seen().journal = Some(Journal::within(folder));
    }

    /// Verifies signatures with this secret or public key from now on.
    pub fn trust(&self, key: &str) {
        let mut seen = self.seen();
        seen.keys.retain(|known| known != key);
        seen.keys.push(key.to_owned());
        seen.is_refusal_wanted = false;
    }

    /// Trusts the keys in the API's representation of a destination.
    ///
    /// # Panics
    /// When it contains neither a secret nor a public key.
    pub fn trust_shown(&self, destination: &Value) {
        let keys: Vec<&str> = ["secret", "public_key"]
            .iter()
            .filter_map(|name| destination[name].as_str())
            .collect();
        assert!(
            !keys.is_empty(),
            "nothing that verifies is shown: {destination}"
        );
        keys.into_iter().for_each(|key| self.trust(key));
    }

    /// Keeps connections open after an answer from now on, as most servers do.
    pub fn keep_alive(&self) {
        self.seen().is_connection_reused = true;
    }

    /// Expects signatures to be refused until the next [`Self::trust`].
    pub fn want_refusals(&self) {
        self.seen().is_refusal_wanted = true;
    }

    /// Ignores the time in signatures from now on, because the test moves the program's clock.
    pub fn ignore_time(&self) {
        self.seen().is_time_ignored = true;
    }

    /// Sets the schema of an event type.
    ///
    /// # Panics
    /// When `schema` is not a JSON Schema.
    pub fn expect_schema(&self, event_type: &str, schema: &Value) {
        let validator = jsonschema::options()
            .should_validate_formats(true)
            .build(schema);
        let validator =
            validator.unwrap_or_else(|error| panic!("the schema of {event_type}: {error}"));
        self.seen().schemas.insert(event_type.to_owned(), validator);
    }

    /// Returns the types of the acknowledged events about a receipt, without `purchase.updated`, in the order of
    /// arrival.
    pub fn event_types(&self, receipt_id: &str) -> Vec<String> {
        let seen = self.seen();
        let is_wanted = |one: &&Received| {
            one.is_acked() && one.collapse_key().is_empty() && one.receipt_id() == receipt_id
        };
        seen.requests
            .iter()
            .filter(is_wanted)
            .map(|one| one.event_type().to_owned())
            .collect()
    }

    /// Returns the key that was trusted last.
    ///
    /// # Panics
    /// When no key was trusted.
    pub fn secret(&self) -> String {
        self.seen()
            .keys
            .last()
            .cloned()
            .expect("a secret: add the destination first")
    }

    /// Sets the reply to every request for which nothing else is scripted. The default is 200.
    pub fn answer(&self, reply: Reply) {
        self.seen().always = Some(reply);
    }

    /// Sets the reply to the next `times` requests.
    pub fn answer_next(&self, times: usize, reply: &Reply) {
        self.seen()
            .next
            .extend(std::iter::repeat_n(reply.clone(), times));
    }

    /// Sets the reply to the first request of each `webhook-id` about receipts whose ids begin with `receipts`. It
    /// takes precedence over all other scripted replies.
    pub fn answer_first(&self, receipts: &str, reply: Reply) {
        self.seen().first = Some((receipts.to_owned(), reply));
    }

    /// Sets or removes the reply to every request about receipts whose ids begin with `receipts`. It takes precedence
    /// over the replies of [`Self::answer_next`] and [`Self::answer`].
    pub fn answer_about(&self, receipts: &str, reply: Option<Reply>) {
        self.seen().about = reply.map(|reply| (receipts.to_owned(), reply));
    }

    /// Removes all scripted replies: from now on every request is answered 200.
    pub fn answer_truly(&self) {
        let mut seen = self.seen();
        (seen.first, seen.about, seen.always) = (None, None, None);
        seen.next.clear();
    }

    pub fn release(&self) {
        self.shared.released.send_modify(|times| *times += 1);
    }

    /// Closes the port: connections are refused until [`Self::accept`].
    pub async fn refuse(&mut self) {
        if let Some(server) = self.server.take() {
            server.abort();
            // Always an error, because the task was aborted.
            drop(server.await);
        }
    }

    /// Opens the port again.
    ///
    /// # Panics
    /// When another program listens on the port. The port may also be in use as the local port of another program's
    /// connection; that is waited for.
    pub async fn accept(&mut self) {
        let listener = wait::until(FREE, "the receiver's port", async || {
            TcpListener::bind((Ipv4Addr::LOCALHOST, self.port))
                .await
                .map_err(|error| error.to_string())
        });
        let listener = listener.await;
        let router = Router::new()
            .fallback(receive)
            .with_state(self.shared.clone());
        self.server = Some(tokio::spawn(async move {
            axum::serve(listener, router).await.unwrap_or_default()
        }));
    }

    pub fn count(&self) -> usize {
        self.seen().requests.len()
    }

    /// Returns all requests so far, in the order of arrival.
    #[must_use]
    pub fn all(&self) -> Vec<Received> {
        self.seen().requests.clone()
    }

    /// Returns the `purchase.updated` requests about one purchase.
    #[must_use]
    pub fn about(&self, collapse_key: &str) -> Vec<Received> {
        let seen = self.seen();
        seen.requests
            .iter()
            .filter(|request| request.collapse_key() == collapse_key)
            .cloned()
            .collect()
    }

    /// Returns the requests about a receipt.
    #[must_use]
    pub fn of_receipt(&self, receipt_id: &str) -> Vec<Received> {
        let seen = self.seen();
        seen.requests
            .iter()
            .filter(|request| request.receipt_id() == receipt_id)
            .cloned()
            .collect()
    }

    /// Returns the ids of the acknowledged events of devices.
    #[must_use]
    pub fn device_events(&self) -> BTreeSet<String> {
        let seen = self.seen();
        let bodies = seen
            .requests
            .iter()
            .filter(|request| request.is_acked())
            .flat_map(Received::bodies);
        bodies
            .filter(|body| type_of(body).starts_with("device."))
            .map(|body| id_of(body).to_owned())
            .collect()
    }

    /// Returns the acknowledged revisions of one purchase, in the order of arrival.
    pub fn revisions(&self, collapse_key: &str) -> Vec<i64> {
        let seen = self.seen();
        let acked =
            |request: &&Received| request.collapse_key() == collapse_key && request.is_acked();
        seen.requests
            .iter()
            .filter(acked)
            .map(Received::revision)
            .collect()
    }

    /// Returns the acknowledged revisions of every purchase.
    pub fn revisions_by_key(&self) -> BTreeMap<String, Vec<i64>> {
        let mut revisions = BTreeMap::<String, Vec<i64>>::new();
        for request in self.all().iter().filter(|request| request.is_acked()) {
            revisions
                .entry(request.collapse_key().to_owned())
                .or_default()
                .push(request.revision());
        }
        revisions
    }

    /// Returns when the last request about each purchase arrived.
    pub fn arrivals(&self) -> BTreeMap<String, Instant> {
        let seen = self.seen();
        seen.requests
            .iter()
            .map(|request| (request.collapse_key().to_owned(), request.began))
            .collect()
    }

    /// Waits until there are at least `count` `purchase.updated` requests about a purchase, and returns them.
    ///
    /// # Panics
    /// When the deadline passes.
    pub async fn wait_for(
        &self,
        collapse_key: &str,
        count: usize,
        deadline: Duration,
    ) -> Vec<Received> {
        wait::until(
            deadline,
            &format!("{count} requests about {collapse_key}"),
            async || {
                let found = self.about(collapse_key);
                if found.len() >= count {
                    Ok(found)
                } else {
                    Err(format!("{} of them", found.len()))
                }
            },
        )
        .await
    }

    /// Checks what must hold for all requests to a destination.
    ///
    /// # Panics
    /// When a rule is broken; the message names it.
    pub fn check(&self) {
        self.verdict().unwrap_or_else(|broken| panic!("{broken}"));
    }

    /// Like [`Self::check`], but returns the result, for tests that plant a fault.
    ///
    /// # Errors
    /// The broken invariant and the request that broke it.
    pub fn verdict(&self) -> Result<(), String> {
        let requests = self.all();
        let mut bodies = BTreeMap::<&str, &[u8]>::new();
        for request in &requests {
            if let Err(wrong) = &request.verified {
                return Err(format!("a signature is wrong ({wrong}): {request:?}"));
            }
            if *bodies.entry(&request.webhook_id).or_insert(&request.raw) != request.raw {
                return Err(format!(
                    "I4: one webhook-id, two bodies: {}",
                    request.webhook_id
                ));
            }
            shape::check(&self.seen().schemas, request)?;
        }
        for (key, revisions) in self.revisions_by_key() {
            if !revisions.is_sorted() {
                return Err(format!(
                    "I3: acknowledged revisions of {key} fell: {revisions:?}"
                ));
            }
        }
        match overlap::find(&requests).first() {
            Some((first, second)) => {
                let subjects = overlap::subjects(first);
                Err(format!(
                    "I7: two attempts about {subjects:?} in flight at once:\n{first:?}\n{second:?}"
                ))
            }
            None => Ok(()),
        }
    }

    /// Checks that each event arrived under one `webhook-id` only, as it must unless it was redelivered.
    ///
    /// # Errors
    /// The event that arrived under several.
    pub fn check_no_duplicates(&self) -> Result<(), String> {
        let requests = self.all();
        let mut ids = BTreeMap::<&str, &str>::new();
        for request in &requests {
            for event_id in request.bodies().into_iter().map(id_of) {
                let first = *ids.entry(event_id).or_insert(&request.webhook_id);
                if event_id.is_empty() || first != request.webhook_id {
                    let other = &request.webhook_id;
                    return Err(format!(
                        "announced twice: the event {event_id:?} came as {first} and as {other}"
                    ));
                }
            }
        }
        Ok(())
    }

    /// Checks that each event contains the user's state after its transition.
    ///
    /// # Errors
    /// The event that contains the state before its transition.
    pub fn check_user_states(&self) -> Result<(), String> {
        let stale = self.all().into_iter().find(|request| {
            let state = &request.body["customer_journey_state"];
            match request.event_type() {
                "user.subscription.in_grace_period" => state["in_grace_period"] != true,
                "user.subscription.cancelled" => state["is_cancelled"] != true,
                "user.subscription.renewal_in_grace_period" => state["in_grace_period"] != false,
                _ => false,
            }
        });
        stale.map_or(Ok(()), |request| {
            Err(format!("stale: the state of the user in {request:?}"))
        })
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        locked(&self.shared.seen)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.abort();
        }
    }
}

async fn receive(State(shared): State<Shared>, headers: HeaderMap, raw: Bytes) -> Response {
    // Subscribed before the request is recorded: as soon as the test sees the request, it may release it.
    let released = shared.released.subscribe();
    let (place, reply) = keep(&mut locked(&shared.seen), headers, &raw);
    let mut response = reply.answer(released).await;
    if let Some(response) = response
        .as_mut()
        .filter(|_| locked(&shared.seen).is_connection_reused)
    {
        response.headers_mut().remove(CONNECTION);
    }
    if let Some(request) = locked(&shared.seen).requests.get_mut(place) {
        request.finished_at = Some(Instant::now());
        request.status = response.as_ref().map(|response| response.status().as_u16());
    }
    // Ends the connection's task without sending a byte, which no response can do.
    response.unwrap_or_else(|| std::panic::resume_unwind(Box::new("the connection is dropped")))
}

/// Returns the verification result of each trusted key, newest key first.
fn results(seen: &Seen, signed: Signed<'_>) -> Vec<KeyResult> {
    let verify = if seen.is_time_ignored {
        Signed::verify_at_any_time
    } else {
        Signed::verify
    };
    let result = |key: &String| KeyResult {
        key: key.clone(),
        refusal: verify(&signed, key).err(),
    };
    seen.keys.iter().rev().map(result).collect()
}

/// Returns `Ok` if the newest key of each version accepts the signature.
fn verified(results: &[KeyResult]) -> Result<(), String> {
    let mut newest = Version::ALL
        .iter()
        .filter_map(|version| results.iter().find(|one| one.version() == *version));
    match newest.find_map(|one| one.refusal.clone()) {
        Some(refusal) => Err(refusal),
        None if results.is_empty() => Err("no key is known".to_owned()),
        None => Ok(()),
    }
}

/// Records the request; returns its index and its reply.
fn keep(seen: &mut Seen, headers: HeaderMap, raw: &Bytes) -> (usize, Reply) {
    let webhook_id = headers
        .get("webhook-id")
        .and_then(|id| id.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    let results = results(
        seen,
        Signed {
            headers: &headers,
            raw,
        },
    );
    let verified = verified(&results);
    if let Some(journal) = &seen.journal {
        let is_refusal_wanted = seen.is_refusal_wanted;
        journal.keep(&Request {
            is_refusal_wanted,
            ..Request::new(&headers, raw, results)
        });
    }
    let body = serde_json::from_slice(raw).unwrap_or(Value::Null);
    let (began, finished_at, status) = (Instant::now(), None, None);
    let request = Received {
        webhook_id,
        headers,
        raw: raw.to_vec(),
        body,
        verified,
        began,
        finished_at,
        status,
    };
    let is_first = || {
        seen.requests
            .iter()
            .all(|before| before.webhook_id != request.webhook_id)
    };
    let first = seen
        .first
        .clone()
        .filter(|(receipts, _)| request.receipt_id().starts_with(receipts) && is_first());
    let about = || {
        seen.about
            .clone()
            .filter(|(receipts, _)| request.receipt_id().starts_with(receipts))
    };
    let first = first.or_else(about).map(|(_, reply)| reply);
    let reply = first
        .or_else(|| seen.next.pop_front())
        .or_else(|| seen.always.clone())
        .unwrap_or(Reply::Status(200));
    seen.requests.push(request);
    (seen.requests.len() - 1, reply)
}
