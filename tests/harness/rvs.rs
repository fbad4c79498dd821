//! A fake of Amazon's Receipt Verification Service, over real HTTP. It knows only the receipts that a test added,
//! checks secret, user and environment of every request, records every query, and fails when a test scripts that. Like
//! Amazon's service, it can show a change later than it happened ([`Rvs::know_at`]).
//!
//! It is stricter than Amazon's own sandbox, which accepts any secret.

use super::shared::locked;
use super::{ports, wait};
use axum::Router;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use domain::{Environment, Timestamp};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::net::TcpSocket;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// The shared secret that the fake accepts at first. It contains characters that must be encoded in a path.
pub const SECRET: &str = "2:rvs/secret+of=the:tests!==";
/// The `appUserId` of [`super::sns::Rtn::new`].
pub const CUSTOMER: &str = "amzn1.account.TESTS";

/// Groups of fields that Amazon's systems change together; the fields of a group become visible at the same time.
pub const GROUPS: [&[&str]; 5] = [
    &["renewalDate", "purchaseDate"],
    &["autoRenewing", "cancelDate", "cancelReason"],
    &["freeTrialEndDate"],
    &["gracePeriodEndDate"],
    &["termSku", "term", "deferredDate", "deferredSku"],
];

/// How the fake deviates from its normal answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Answers with this status and Amazon's error body.
    Status(u16),
    /// Answers 429 with `Retry-After` in seconds.
    RetryAfter(u64),
    Body(String),
    /// Answers normally after this time.
    Late(Duration),
    /// Does not answer until [`Rvs::release`] or until the sender gives up; then answers normally.
    Hang,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The path, still percent-encoded.
    pub path: String,
    /// Sandbox or production, according to the path.
    pub environment: Environment,
    pub secret: String,
    pub app_user_id: String,
    pub receipt_id: String,
    /// Status of the answer; `None` while the request hangs and if the sender gave up.
    pub status: Option<u16>,
    pub began: Instant,
}

#[derive(Debug, Clone)]
pub struct Receipt {
    pub environment: Environment,
    pub app_user_id: String,
    /// Fields of the answer about the receipt, without `receiptId`.
    pub fields: Value,
}

impl Receipt {
    /// Returns a monthly subscription of [`CUSTOMER`] in the sandbox, which renews 30 days after `bought_at`.
    pub fn subscription(bought_at: Timestamp) -> Self {
        let fields = json!({
            "autoRenewing": true, "betaProduct": false, "cancelDate": null, "cancelReason": null,
            "countryCode": "US", "productId": "com.example.gold", "productType": "SUBSCRIPTION",
            "purchaseDate": millis(bought_at), "renewalDate": millis(bought_at.plus_millis(30 * 86_400_000)),
            "term": "1 Month", "termSku": "com.example.gold.month", "testTransaction": true,
        });
        Self {
            environment: Environment::Sandbox,
            app_user_id: CUSTOMER.to_owned(),
            fields,
        }
    }
}

/// Returns a time as the store writes it: milliseconds since 1970.
pub fn millis(at: Timestamp) -> i64 {
    at.micros().div_euclid(1000)
}

/// Fields of a receipt that become visible at a later time.
struct Later {
    at: Timestamp,
    receipt_id: String,
    environment: Environment,
    app_user_id: String,
    fields: Map<String, Value>,
}

type Reader = Arc<dyn Fn() -> Timestamp + Send + Sync>;

#[derive(Default)]
struct Seen {
    /// The fake's clock; `None` for real time.
    clock: Option<Reader>,
    /// Changes that are not visible yet, in the order of the calls.
    later: Vec<Later>,
    secret: String,
    receipts: BTreeMap<String, Receipt>,
    next: VecDeque<Reply>,
    always: Option<Reply>,
    of_receipt: BTreeMap<String, Reply>,
    queries: Vec<Query>,
    /// Requests that Amazon's service does not support: [`Rvs::check`] fails if there is one.
    strange: Vec<String>,
}

#[derive(Clone)]
struct Shared {
    seen: Arc<Mutex<Seen>>,
    released: watch::Sender<u64>,
}

/// A running fake of RVS; it stops when dropped.
pub struct Rvs {
    port: u16,
    shared: Shared,
    server: Option<JoinHandle<()>>,
    /// Bound to the port while the fake refuses connections, so that the system does not assign the port to an outgoing
    /// connection.
    reserved: Option<TcpSocket>,
}

impl Rvs {
    /// Starts a fake on a free port that knows no receipt and accepts [`SECRET`].
    ///
    /// # Panics
    /// When it cannot listen.
    pub async fn start() -> Self {
        let seen = Seen {
            secret: SECRET.to_owned(),
            ..Seen::default()
        };
        let shared = Shared {
            seen: Arc::new(Mutex::new(seen)),
            released: watch::Sender::new(0),
        };
        let mut rvs = Self {
            port: ports::free(),
            shared,
            server: None,
            reserved: None,
        };
        rvs.accept().await;
        rvs
    }

    /// Returns the value for `[amazon] rvs_url`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Accepts only this secret from now on.
    pub fn trust(&self, secret: &str) {
        secret.clone_into(&mut self.seen().secret);
    }

    /// Adds a receipt, or replaces it.
    pub fn know(&self, receipt_id: &str, receipt: Receipt) {
        self.seen().receipts.insert(receipt_id.to_owned(), receipt);
    }

    /// Returns whether the fake shows a receipt now or will show it later.
    pub fn is_known(&self, receipt_id: &str) -> bool {
        let seen = self.seen();
        seen.receipts.contains_key(receipt_id)
            || seen
                .later
                .iter()
                .any(|later| later.receipt_id == receipt_id)
    }

    /// Uses this clock from now on.
    pub fn follow(&self, clock: impl Fn() -> Timestamp + Send + Sync + 'static) {
        self.seen().clock = Some(Arc::new(clock));
    }

    /// Shows these fields of a receipt from `at` on, and the receipt itself if it is not known by then. A later call
    /// overrides values of the same fields that would become visible at the same time or later, so that a visible field
    /// never goes back.
    pub fn know_at(&self, receipt_id: &str, receipt: &Receipt, at: Timestamp) {
        let fields = receipt.fields.as_object().cloned().unwrap_or_default();
        let mut seen = self.seen();
        for later in seen
            .later
            .iter_mut()
            .filter(|later| later.receipt_id == receipt_id && later.at >= at)
        {
            later.fields.retain(|name, _| !fields.contains_key(name));
        }
        let (receipt_id, app_user_id) = (receipt_id.to_owned(), receipt.app_user_id.clone());
        seen.later.push(Later {
            at,
            receipt_id,
            environment: receipt.environment,
            app_user_id,
            fields,
        });
    }

    /// Changes fields of a known receipt; null removes a value.
    ///
    /// # Panics
    /// When the receipt is unknown.
    pub fn change(&self, receipt_id: &str, fields: &Value) {
        let mut seen = self.seen();
        let receipt = seen
            .receipts
            .get_mut(receipt_id)
            .unwrap_or_else(|| panic!("{receipt_id} is not known"));
        for (name, value) in fields.as_object().into_iter().flatten() {
            receipt.fields[name] = value.clone();
        }
    }

    /// Sets the reply to every request for which nothing else is scripted.
    pub fn answer(&self, reply: Reply) {
        self.seen().always = Some(reply);
    }

    /// Sets the reply to every query about one receipt.
    pub fn answer_about(&self, receipt_id: &str, reply: Reply) {
        self.seen().of_receipt.insert(receipt_id.to_owned(), reply);
    }

    /// Answers queries about one receipt normally again.
    pub fn answer_truly_about(&self, receipt_id: &str) {
        self.seen().of_receipt.remove(receipt_id);
    }

    /// Answers every query normally again.
    pub fn answer_truly(&self) {
        let mut seen = self.seen();
        seen.next.clear();
        seen.always = None;
        seen.of_receipt.clear();
    }

    /// Sets the reply to the next `times` requests.
    pub fn answer_next(&self, times: usize, reply: &Reply) {
        self.seen()
            .next
            .extend(std::iter::repeat_n(reply.clone(), times));
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
            self.reserved = Some(self.bind());
        }
    }

    fn bind(&self) -> TcpSocket {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket
            .set_reuseaddr(true)
            .expect("an address that is used again");
        socket
            .bind((Ipv4Addr::LOCALHOST, self.port).into())
            .expect("the fake's port");
        socket
    }

    /// Opens the port again.
    ///
    /// # Panics
    /// When another program has taken it.
    pub async fn accept(&mut self) {
        let socket = self.reserved.take().unwrap_or_else(|| self.bind());
        let listener = socket.listen(1024).expect("the fake's port");
        let router = Router::new()
            .fallback(receive)
            .with_state(self.shared.clone());
        self.server = Some(tokio::spawn(async move {
            axum::serve(listener, router).await.unwrap_or_default()
        }));
    }

    /// Returns all queries so far, in the order of arrival.
    pub fn all(&self) -> Vec<Query> {
        self.seen().queries.clone()
    }

    pub fn about(&self, receipt_id: &str) -> Vec<Query> {
        self.all()
            .into_iter()
            .filter(|query| query.receipt_id == receipt_id)
            .collect()
    }

    /// Waits until there are at least `count` queries about a receipt, and returns them.
    ///
    /// # Panics
    /// When the deadline passes.
    pub async fn wait_queries(
        &self,
        receipt_id: &str,
        count: usize,
        deadline: Duration,
    ) -> Vec<Query> {
        wait::until(
            deadline,
            &format!("{count} queries about {receipt_id}"),
            async || {
                let queries = self.about(receipt_id);
                if queries.len() >= count {
                    Ok(queries)
                } else {
                    Err(format!("{} of them", queries.len()))
                }
            },
        )
        .await
    }

    /// Checks that Amazon's service supports every request that was made.
    ///
    /// # Panics
    /// When it does not; the message lists the unsupported requests.
    pub fn check(&self) {
        self.verdict().unwrap_or_else(|strange| panic!("{strange}"));
    }

    /// Like [`Self::check`], but returns the result.
    ///
    /// # Errors
    /// The unsupported requests.
    pub fn verdict(&self) -> Result<(), String> {
        let strange = &self.seen().strange;
        let is_well = strange.is_empty();
        if is_well {
            Ok(())
        } else {
            Err(format!(
                "requests that Amazon would not understand: {strange:#?}"
            ))
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        locked(&self.shared.seen)
    }
}

impl Drop for Rvs {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.abort();
        }
    }
}

async fn receive(State(shared): State<Shared>, method: Method, uri: Uri) -> Response {
    let Some(query) = read(uri.path()).filter(|_| method == Method::GET && uri.query().is_none())
    else {
        locked(&shared.seen).strange.push(format!("{method} {uri}"));
        return answer(
            404,
            &json!({ "message": "no such operation", "status": false }).to_string(),
            None,
        );
    };
    // Subscribed before the query is recorded: as soon as the test sees the query, it may release it.
    let mut released = shared.released.subscribe();
    let (place, reply) = keep(&mut locked(&shared.seen), &query);
    match &reply {
        Some(Reply::Late(time)) => wait::pass(*time).await,
        Some(Reply::Hang) => drop(released.changed().await),
        _ => {}
    }
    let mut seen = locked(&shared.seen);
    let (status, body) = match &reply {
        Some(Reply::Status(status)) => (*status, error("scripted")),
        Some(Reply::RetryAfter(_)) => (429, error("throttled")),
        Some(Reply::Body(body)) => (200, body.clone()),
        Some(Reply::Late(_) | Reply::Hang) | None => seen.judge(&query),
    };
    if let Some(recorded) = seen.queries.get_mut(place) {
        recorded.status = Some(status);
    }
    let retry_after = if let Some(Reply::RetryAfter(seconds)) = reply {
        Some(seconds)
    } else {
        None
    };
    answer(status, &body, retry_after)
}

/// Records the query; returns its index and the scripted reply, if any.
fn keep(seen: &mut Seen, query: &Query) -> (usize, Option<Reply>) {
    let scripted = seen
        .next
        .pop_front()
        .or_else(|| seen.of_receipt.get(&query.receipt_id).cloned());
    let reply = scripted.or_else(|| seen.always.clone());
    seen.queries.push(query.clone());
    (seen.queries.len() - 1, reply)
}

impl Seen {
    /// Makes pending fields visible once their time has come.
    fn catch_up(&mut self) {
        let now = self
            .clock
            .as_ref()
            .map_or_else(api::clock::now, |clock| clock());
        for later in self.later.extract_if(.., |later| later.at <= now) {
            let receipt = self
                .receipts
                .entry(later.receipt_id)
                .or_insert_with(|| Receipt {
                    environment: later.environment,
                    app_user_id: later.app_user_id,
                    fields: json!({}),
                });
            for (name, value) in later.fields {
                receipt.fields[name] = value;
            }
        }
    }

    /// Returns the normal answer: the secret is checked first, then the receipt in its environment, then the user.
    fn judge(&mut self, query: &Query) -> (u16, String) {
        self.catch_up();
        if query.secret != self.secret {
            return (496, error("Invalid developer secret"));
        }
        let known = self
            .receipts
            .get(&query.receipt_id)
            .filter(|known| known.environment == query.environment);
        let Some(receipt) = known else {
            return (400, error("Failed to parse receipt Id"));
        };
        if receipt.app_user_id != query.app_user_id {
            return (497, error("Purchase token/app user mismatch"));
        }
        let mut body = receipt.fields.clone();
        body["receiptId"] = json!(query.receipt_id);
        (200, body.to_string())
    }
}

/// Parses the path `[/sandbox]/version/1.0/verifyReceiptId/developer/{secret}/user/{user}/receiptId/{receipt}`.
fn read(path: &str) -> Option<Query> {
    let (environment, rest) = match path.strip_prefix("/sandbox/") {
        Some(rest) => (Environment::Sandbox, rest),
        None => (Environment::Production, path.strip_prefix('/')?),
    };
    let segments: Vec<&str> = rest.split('/').collect();
    let [
        "version",
        "1.0",
        "verifyReceiptId",
        "developer",
        secret,
        "user",
        user,
        "receiptId",
        receipt,
    ] = segments[..]
    else {
        return None;
    };
    let decoded =
        |segment: &str| Some(percent_decode_str(segment).decode_utf8().ok()?.into_owned());
    Some(Query {
        path: path.to_owned(),
        environment,
        secret: decoded(secret)?,
        app_user_id: decoded(user)?,
        receipt_id: decoded(receipt)?,
        status: None,
        began: Instant::now(),
    })
}

fn error(message: &str) -> String {
    json!({ "message": message, "status": false }).to_string()
}

fn answer(status: u16, body: &str, retry_after: Option<u64>) -> Response {
    // Without keep-alive, so that no connection remains after `Rvs::refuse`.
    let headers = [
        ("connection", "close"),
        ("content-type", "application/json"),
    ];
    let status = StatusCode::from_u16(status).unwrap_or_default();
    let mut response = (status, headers, body.to_owned()).into_response();
    if let Some(seconds) = retry_after {
        response.headers_mut().insert("retry-after", seconds.into());
    }
    response
}
