//! A fake of the App Store, over real HTTP: the App Store Server API, and the notifications that a chain of the fake
//! signs. It knows only the purchases that a test shows, checks the token of each request, records every request, and
//! fails when a test scripts that.
//!
//! Like the program under test, it has one address for both environments: paths of the sandbox begin with `/sandbox`.
//! It answers with everything of the customer who has the requested transaction, in one environment.

pub mod access;
mod answers;
mod call;
pub mod notice;
mod pages;
mod platform;
mod purchase;
mod server;
mod transaction;

pub use answers::UNKNOWN_TRANSACTION;
pub use call::{Call, Resource};
pub use notice::{APP_ID, Message, Notice, SentNotice};
pub use platform::{AppStorePlatform, Choices};
pub use purchase::{
    ACTIVE, BY_BILLING, BY_CUSTOMER, BY_PRICE, Bought, CONSUMABLE, EXPIRED, GRACE, NON_CONSUMABLE,
    NON_RENEWING, PRICE, RETRY, REVOKED, SUBSCRIPTION, TERM, account, original_id,
};
pub use transaction::{Introduced, Returned, Transaction};

use super::folder::Folder;
use super::ports;
use super::shared::locked;
use access::Access;
use api::stores::apple::signer::Chain;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::Timestamp;
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::task::JoinHandle;

/// Number of entries on a page, as at Apple.
const PAGE_SIZE: usize = 20;
/// Number of characters in a line of a PEM file.
const PEM_LINE: usize = 64;

/// How the fake deviates from its normal answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Answers with this error code, whose first three digits are the status.
    Code(u32),
    /// Answers with this status and an empty body.
    Empty(u16),
    /// Answers with this status and text.
    Body(u16, String),
    /// Answers 429 with this time in `Retry-After`, in milliseconds since 1970.
    Throttled(Timestamp),
    /// Never answers; the connection stays open.
    Never,
    /// Ends the connection in the middle of the normal answer.
    Cut,
    /// Answers normally after this time.
    Late(Duration),
}

/// A request that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    pub call: Call,
    /// When it arrived, by the fake's clock.
    pub at: Timestamp,
    /// Status of the answer; `None` while there is none.
    pub status: Option<u16>,
}

type Reader = Arc<dyn Fn() -> Timestamp + Send + Sync>;

struct Seen {
    /// The fake's clock; `None` for real time.
    clock: Option<Reader>,
    chain: Arc<Chain>,
    access: Access,
    /// Purchases by the ids of their first transactions.
    purchases: BTreeMap<String, Bought>,
    /// The history of notifications.
    sent: Vec<SentNotice>,
    /// Requested test notifications by their tokens.
    tests: BTreeMap<String, SentNotice>,
    page_size: usize,
    /// Number of entries that each page repeats from the one before it.
    repeated: usize,
    is_oldest_first: bool,
    next: BTreeMap<Resource, VecDeque<Fault>>,
    always: BTreeMap<Resource, Fault>,
    exchanges: Vec<Exchange>,
    /// Requests with a wrong token, with what is wrong: [`AppStore::verdict`] fails if there is one.
    unauthorized: Vec<String>,
    /// Whether requests may have wrong tokens.
    lets_unauthorized: bool,
    /// Requests that Apple would not understand: [`AppStore::verdict`] fails if there is one.
    strange: Vec<String>,
}

impl Seen {
    fn now(&self) -> Timestamp {
        let now = self.clock.as_ref();
        now.map_or_else(api::clock::now, |clock| clock())
    }
}

/// A running fake of the App Store; it stops when dropped.
pub struct AppStore {
    port: u16,
    chain: Arc<Chain>,
    folder: Folder,
    seen: Arc<Mutex<Seen>>,
    server: JoinHandle<()>,
}

impl AppStore {
    /// Starts a fake on a free port that knows no purchase.
    ///
    /// # Panics
    /// When it cannot listen.
    pub async fn start() -> Self {
        let chain = Arc::new(Chain::generate().expect("a chain"));
        let folder = Folder::new("appstore");
        std::fs::write(folder.path().join("root.pem"), chain.root_pem()).expect("the root");
        let seen = Seen {
            clock: None,
            chain: Arc::clone(&chain),
            access: Access::default(),
            purchases: BTreeMap::new(),
            sent: Vec::new(),
            tests: BTreeMap::new(),
            page_size: PAGE_SIZE,
            repeated: 0,
            is_oldest_first: false,
            next: BTreeMap::new(),
            always: BTreeMap::new(),
            exchanges: Vec::new(),
            unauthorized: Vec::new(),
            lets_unauthorized: false,
            strange: Vec::new(),
        };
        let (port, seen) = (ports::free(), Arc::new(Mutex::new(seen)));
        let server = server::serve(port, Arc::clone(&seen)).await;
        Self {
            port,
            chain,
            folder,
            seen,
            server,
        }
    }

    /// Returns the value for `[apple] api_url`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Returns the file of the root certificate in PEM.
    pub fn root_file(&self) -> PathBuf {
        self.folder.path().join("root.pem")
    }

    /// Returns the chain that signs.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// Uses this clock from now on.
    pub fn follow(&self, clock: impl Fn() -> Timestamp + Send + Sync + 'static) {
        self.seen().clock = Some(Arc::new(clock));
    }

    /// Returns the time by the fake's clock.
    pub fn now(&self) -> Timestamp {
        self.seen().now()
    }

    /// Shows a purchase in this state.
    pub fn show(&self, bought: &Bought) {
        let mut seen = self.seen();
        seen.purchases.insert(bought.id.clone(), bought.clone());
    }

    /// Removes a purchase: from now on it is unknown.
    pub fn remove(&self, id: &str) {
        self.seen().purchases.remove(id);
    }

    /// Adds a notification to the history, with an attempt that has this result.
    pub fn record(&self, message: &Message, result: &'static str) {
        let mut seen = self.seen();
        let now = seen.now();
        let mut known = seen.sent.iter_mut();
        let known = known.find(|one| one.message.uuid == message.uuid);
        if let Some(known) = known {
            known.attempts.push((now, result));
        } else {
            seen.sent.push(SentNotice {
                message: message.clone(),
                attempts: vec![(now, result)],
            });
        }
    }

    /// Signs a notification that never arrives, and adds it to the history as one that failed.
    pub fn lose(&self, notice: &Notice) -> Message {
        let message = notice.message(&self.chain);
        self.record(&message, "NO_RESPONSE");
        message
    }

    /// Returns the requested test notifications, by their tokens.
    pub fn tests(&self) -> BTreeMap<String, SentNotice> {
        self.seen().tests.clone()
    }

    /// Adds an attempt with this result to a requested test notification.
    pub fn record_test(&self, token: &str, result: &'static str) {
        let mut seen = self.seen();
        let now = seen.now();
        if let Some(test) = seen.tests.get_mut(token) {
            test.attempts.push((now, result));
        }
    }

    /// Sets the number of entries on a page, and how many of them each page repeats from the one before it.
    pub fn set_pages(&self, size: usize, repeated: usize) {
        let mut seen = self.seen();
        (seen.page_size, seen.repeated) = (size, repeated);
    }

    /// Lists the history of notifications in the order of signing.
    pub fn list_oldest_first(&self) {
        self.seen().is_oldest_first = true;
    }

    /// Queues faults for the next requests of a resource, one per request.
    pub fn answer_next(&self, resource: Resource, faults: impl IntoIterator<Item = Fault>) {
        let mut seen = self.seen();
        seen.next.entry(resource).or_default().extend(faults);
    }

    /// Sets the fault of every request of these resources for which nothing is queued.
    pub fn answer(&self, resources: &[Resource], fault: &Fault) {
        let mut seen = self.seen();
        for resource in resources {
            seen.always.insert(*resource, fault.clone());
        }
    }

    /// Removes all faults.
    pub fn answer_truly(&self) {
        let mut seen = self.seen();
        seen.next.clear();
        seen.always.clear();
    }

    /// Returns all requests so far, in the order of arrival.
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.seen().exchanges.clone()
    }

    /// Returns the number of requests of a resource.
    pub fn count(&self, resource: Resource) -> usize {
        let of_resource = |one: &&Exchange| one.call.resource == resource;
        self.seen().exchanges.iter().filter(of_resource).count()
    }

    /// Returns the requests that name a transaction.
    pub fn about(&self, transaction_id: &str) -> Vec<Exchange> {
        let seen = self.seen();
        let of_transaction = |one: &&Exchange| one.call.id == transaction_id;
        seen.exchanges
            .iter()
            .filter(of_transaction)
            .cloned()
            .collect()
    }

    /// Allows requests with wrong tokens, which are answered 401 with an empty body.
    pub fn let_tokens_be_wrong(&self) {
        self.seen().lets_unauthorized = true;
    }

    /// Checks that Apple understands every request, and accepts its token.
    ///
    /// # Errors
    /// The requests that it does not.
    pub fn verdict(&self) -> Result<(), String> {
        let seen = self.seen();
        if !seen.lets_unauthorized && !seen.unauthorized.is_empty() {
            return Err(format!("wrong tokens: {:#?}", seen.unauthorized));
        }
        if seen.strange.is_empty() {
            Ok(())
        } else {
            Err(format!("what is not of Apple's API: {:#?}", seen.strange))
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        locked(&self.seen)
    }
}

impl Drop for AppStore {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Returns a time in milliseconds since 1970.
pub const fn millis(at: Timestamp) -> i64 {
    at.micros().div_euclid(1000)
}

/// Returns a time as the App Store shows it, in whole milliseconds.
pub const fn whole(at: Timestamp) -> Timestamp {
    Timestamp::from_millis(millis(at))
}

/// Returns an object without its members that are null, which Apple leaves out.
fn without_nulls(mut value: Value) -> Value {
    if let Some(members) = value.as_object_mut() {
        members.retain(|_, member| !member.is_null());
    }
    value
}

/// Returns bytes in PEM.
fn encoded_pem(label: &str, bytes: &[u8]) -> String {
    let encoded = STANDARD.encode(bytes);
    let mut pem = format!("-----BEGIN {label}-----\n");
    for (at, letter) in encoded.chars().enumerate() {
        if at > 0 && at % PEM_LINE == 0 {
            pem.push('\n');
        }
        pem.push(letter);
    }
    pem + &format!("\n-----END {label}-----\n")
}
