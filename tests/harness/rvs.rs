//! Amazon's receipt verification as our service sees it, over real HTTP: it knows only the receipts that a scenario
//! created, judges secret, customer and world of every request, keeps every query, and fails as a test scripts it. What
//! is true can be shown later ([`Rvs::know_at`]), by the clock that it follows, as Amazon's own service does.
//!
//! It is stricter than Amazon's own sandbox, which accepts any secret.

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
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::TcpSocket;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The secret that is right from the start: every character that a path would stumble over.
pub const SECRET: &str = "2:rvs/secret+of=the:tests!==";
/// The customer of [`super::sns::Rtn::new`].
pub const CUSTOMER: &str = "amzn1.account.TESTS";

/// Fields of a subscription that Amazon's systems change together; those of one group are shown at one time.
pub const GROUPS: [&[&str]; 5] = [
    &["renewalDate", "purchaseDate"],
    &["autoRenewing", "cancelDate", "cancelReason"],
    &["freeTrialEndDate"],
    &["gracePeriodEndDate"],
    &["termSku", "term", "deferredDate", "deferredSku"],
];

/// What is done with a request instead of answering it truly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Answers with this status and Amazon's error body.
    Status(u16),
    /// Answers 429 with `Retry-After` in seconds.
    RetryAfter(u64),
    /// Answers 200 with this body.
    Body(String),
    /// Answers truly after a while.
    Late(Duration),
    /// Answers nothing until [`Rvs::release`] or until the sender goes away, then truly.
    Hang,
}

/// One request, as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The path, as it was encoded.
    pub path: String,
    /// Which of the two worlds was queried.
    pub environment: Environment,
    /// The secret, decoded.
    pub secret: String,
    /// The customer, decoded.
    pub app_user_id: String,
    /// The receipt, decoded.
    pub receipt_id: String,
    /// The status that it was answered with; `None` while it hangs or when the sender gave up.
    pub status: Option<u16>,
}

/// A receipt that it knows.
#[derive(Debug, Clone)]
pub struct Receipt {
    /// In which world.
    pub environment: Environment,
    /// Whose it is.
    pub app_user_id: String,
    /// The fields of its answer; `receiptId` is put there by itself.
    pub fields: Value,
}

impl Receipt {
    /// A monthly subscription of [`CUSTOMER`] in the sandbox, bought then, which renews 30 days later.
    #[must_use]
    pub fn subscription(bought_at: Timestamp) -> Self {
        let fields = json!({
            "autoRenewing": true, "betaProduct": false, "cancelDate": null, "cancelReason": null,
            "countryCode": "US", "productId": "com.example.gold", "productType": "SUBSCRIPTION",
            "purchaseDate": millis(bought_at), "renewalDate": millis(bought_at.plus_millis(30 * 86_400_000)),
            "term": "1 Month", "termSku": "com.example.gold.month", "testTransaction": true,
        });
        Self { environment: Environment::Sandbox, app_user_id: CUSTOMER.to_owned(), fields }
    }
}

/// A time as the store writes it.
#[must_use]
pub fn millis(at: Timestamp) -> i64 {
    at.micros().div_euclid(1000)
}

/// What is true of a receipt and not shown yet.
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
    /// The clock that it goes by; the real one without it.
    clock: Option<Reader>,
    /// In the order in which it happened.
    later: Vec<Later>,
    secret: String,
    receipts: BTreeMap<String, Receipt>,
    next: VecDeque<Reply>,
    always: Option<Reply>,
    of_receipt: BTreeMap<String, Reply>,
    queries: Vec<Query>,
    /// Requests that Amazon's service does not know: whatever sends one is wrong.
    strange: Vec<String>,
}

#[derive(Clone)]
struct Shared {
    seen: Arc<Mutex<Seen>>,
    released: watch::Sender<u64>,
}

/// The service; gone when dropped.
pub struct Rvs {
    port: u16,
    shared: Shared,
    server: Option<JoinHandle<()>>,
    /// Keeps the port while it is closed, bound and not listened on, so that no outgoing connection is given it.
    reserved: Option<TcpSocket>,
}

impl Rvs {
    /// Listens on a port of its own, knows no receipt and accepts [`SECRET`].
    ///
    /// # Panics
    /// When it cannot listen.
    pub async fn start() -> Self {
        let seen = Seen { secret: SECRET.to_owned(), ..Seen::default() };
        let shared = Shared { seen: Arc::new(Mutex::new(seen)), released: watch::Sender::new(0) };
        let mut rvs = Self { port: ports::free(), shared, server: None, reserved: None };
        rvs.accept().await;
        rvs
    }

    /// What `[amazon] rvs_url` is set to.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Which secret it accepts from now on.
    pub fn trust(&self, secret: &str) {
        secret.clone_into(&mut self.seen().secret);
    }

    /// Knows a receipt from now on, as it is given here.
    pub fn know(&self, receipt_id: &str, receipt: Receipt) {
        self.seen().receipts.insert(receipt_id.to_owned(), receipt);
    }

    /// Whether it knows a receipt, or will know it.
    #[must_use]
    pub fn is_known(&self, receipt_id: &str) -> bool {
        let seen = self.seen();
        seen.receipts.contains_key(receipt_id) || seen.later.iter().any(|later| later.receipt_id == receipt_id)
    }

    /// Goes by this clock from now on.
    pub fn follow(&self, clock: impl Fn() -> Timestamp + Send + Sync + 'static) {
        self.seen().clock = Some(Arc::new(clock));
    }

    /// Shows these fields of a receipt from `at` on, and the receipt itself if it is not known then. What is shown
    /// never goes back: a field that a later call shows earlier stays as that call sets it.
    pub fn know_at(&self, receipt_id: &str, receipt: &Receipt, at: Timestamp) {
        let fields = receipt.fields.as_object().cloned().unwrap_or_default();
        let mut seen = self.seen();
        for later in seen.later.iter_mut().filter(|later| later.receipt_id == receipt_id && later.at >= at) {
            later.fields.retain(|name, _| !fields.contains_key(name));
        }
        let (receipt_id, app_user_id) = (receipt_id.to_owned(), receipt.app_user_id.clone());
        seen.later.push(Later { at, receipt_id, environment: receipt.environment, app_user_id, fields });
    }

    /// Changes fields of a receipt that it knows; null removes a value.
    ///
    /// # Panics
    /// When it does not know the receipt.
    pub fn change(&self, receipt_id: &str, fields: &Value) {
        let mut seen = self.seen();
        let receipt = seen.receipts.get_mut(receipt_id).unwrap_or_else(|| panic!("{receipt_id} is not known"));
        for (name, value) in fields.as_object().into_iter().flatten() {
            receipt.fields[name] = value.clone();
        }
    }

    /// What is answered from now on, after the answers of [`Self::answer_next`].
    pub fn answer(&self, reply: Reply) {
        self.seen().always = Some(reply);
    }

    /// What is answered about one receipt from now on.
    pub fn answer_about(&self, receipt_id: &str, reply: Reply) {
        self.seen().of_receipt.insert(receipt_id.to_owned(), reply);
    }

    /// Answers truly again about one receipt.
    pub fn answer_truly_about(&self, receipt_id: &str) {
        self.seen().of_receipt.remove(receipt_id);
    }

    /// Answers truly again, as at first.
    pub fn answer_truly(&self) {
        let mut seen = self.seen();
        seen.next.clear();
        seen.always = None;
        seen.of_receipt.clear();
    }

    /// What the next `times` requests are answered with.
    pub fn answer_next(&self, times: usize, reply: &Reply) {
        self.seen().next.extend(std::iter::repeat_n(reply.clone(), times));
    }

    /// Lets everything that hangs be answered.
    pub fn release(&self) {
        self.shared.released.send_modify(|times| *times += 1);
    }

    /// Closes the port: connections are refused until [`Self::accept`].
    pub async fn refuse(&mut self) {
        if let Some(server) = self.server.take() {
            server.abort();
            // It ends with being cancelled.
            drop(server.await);
            self.reserved = Some(self.bind());
        }
    }

    fn bind(&self) -> TcpSocket {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_reuseaddr(true).expect("an address that is used again");
        socket.bind((Ipv4Addr::LOCALHOST, self.port).into()).expect("the fake's port");
        socket
    }

    /// Opens the port again.
    ///
    /// # Panics
    /// When somebody else took it.
    pub async fn accept(&mut self) {
        let socket = self.reserved.take().unwrap_or_else(|| self.bind());
        let listener = socket.listen(1024).expect("the fake's port");
        let router = Router::new().fallback(receive).with_state(self.shared.clone());
        self.server = Some(tokio::spawn(async move { axum::serve(listener, router).await.unwrap_or_default() }));
    }

    /// Every query so far, in order.
    #[must_use]
    pub fn all(&self) -> Vec<Query> {
        self.seen().queries.clone()
    }

    /// The queries about one receipt.
    #[must_use]
    pub fn about(&self, receipt_id: &str) -> Vec<Query> {
        self.all().into_iter().filter(|query| query.receipt_id == receipt_id).collect()
    }

    /// Waits until there were `count` queries about a receipt.
    ///
    /// # Panics
    /// When it is not in time.
    pub async fn wait_queries(&self, receipt_id: &str, count: usize, deadline: Duration) -> Vec<Query> {
        wait::until(deadline, &format!("{count} questions about {receipt_id}"), async || {
            let queries = self.about(receipt_id);
            if queries.len() >= count { Ok(queries) } else { Err(format!("{} of them", queries.len())) }
        })
        .await
    }

    /// Checks what must hold whatever a scenario does.
    ///
    /// # Panics
    /// With the request that Amazon would not understand.
    pub fn check(&self) {
        let strange = &self.seen().strange;
        assert!(strange.is_empty(), "requests that Amazon would not understand: {strange:#?}");
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

fn locked(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn receive(State(shared): State<Shared>, method: Method, uri: Uri) -> Response {
    let Some(query) = read(uri.path()).filter(|_| method == Method::GET && uri.query().is_none()) else {
        locked(&shared.seen).strange.push(format!("{method} {uri}"));
        return answer(404, &json!({ "message": "no such operation", "status": false }).to_string(), None);
    };
    let (place, reply) = keep(&mut locked(&shared.seen), &query);
    match &reply {
        Some(Reply::Late(time)) => wait::pass(*time).await,
        Some(Reply::Hang) => {
            let mut released = shared.released.subscribe();
            drop(released.changed().await);
        }
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
    let retry_after = if let Some(Reply::RetryAfter(seconds)) = reply { Some(seconds) } else { None };
    answer(status, &body, retry_after)
}

/// Keeps the request and returns what to do with it.
fn keep(seen: &mut Seen, query: &Query) -> (usize, Option<Reply>) {
    let scripted = seen.next.pop_front().or_else(|| seen.of_receipt.get(&query.receipt_id).cloned());
    let reply = scripted.or_else(|| seen.always.clone());
    seen.queries.push(query.clone());
    (seen.queries.len() - 1, reply)
}

impl Seen {
    /// Shows what is due.
    fn catch_up(&mut self) {
        let now = self.clock.as_ref().map_or_else(api::clock::now, |clock| clock());
        for later in self.later.extract_if(.., |later| later.at <= now) {
            let receipt = self.receipts.entry(later.receipt_id).or_insert_with(|| Receipt {
                environment: later.environment,
                app_user_id: later.app_user_id,
                fields: json!({}),
            });
            for (name, value) in later.fields {
                receipt.fields[name] = value;
            }
        }
    }

    /// The true answer: the secret is judged first, then the receipt in its world, then whose it is.
    fn judge(&mut self, query: &Query) -> (u16, String) {
        self.catch_up();
        if query.secret != self.secret {
            return (496, error("Invalid developer secret"));
        }
        let known = self.receipts.get(&query.receipt_id).filter(|known| known.environment == query.environment);
        let Some(receipt) = known else { return (400, error("Failed to parse receipt Id")) };
        if receipt.app_user_id != query.app_user_id {
            return (497, error("Purchase token/app user mismatch"));
        }
        let mut body = receipt.fields.clone();
        body["receiptId"] = json!(query.receipt_id);
        (200, body.to_string())
    }
}

/// The parts of `[/sandbox]/version/1.0/verifyReceiptId/developer/{secret}/user/{user}/receiptId/{receipt}`.
fn read(path: &str) -> Option<Query> {
    let (environment, rest) = match path.strip_prefix("/sandbox/") {
        Some(rest) => (Environment::Sandbox, rest),
        None => (Environment::Production, path.strip_prefix('/')?),
    };
    let segments: Vec<&str> = rest.split('/').collect();
    let ["version", "1.0", "verifyReceiptId", "developer", secret, "user", user, "receiptId", receipt] = segments[..]
    else {
        return None;
    };
    let decoded = |segment: &str| Some(percent_decode_str(segment).decode_utf8().ok()?.into_owned());
    Some(Query {
        path: path.to_owned(),
        environment,
        secret: decoded(secret)?,
        app_user_id: decoded(user)?,
        receipt_id: decoded(receipt)?,
        status: None,
    })
}

fn error(message: &str) -> String {
    json!({ "message": message, "status": false }).to_string()
}

fn answer(status: u16, body: &str, retry_after: Option<u64>) -> Response {
    // Without keep-alive, so that a closed port is closed for everybody at once.
    let headers = [("connection", "close"), ("content-type", "application/json")];
    let status = StatusCode::from_u16(status).unwrap_or_default();
    let mut response = (status, headers, body.to_owned()).into_response();
    if let Some(seconds) = retry_after {
        response.headers_mut().insert("retry-after", seconds.into());
    }
    response
}
