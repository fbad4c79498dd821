//! A fake of Google Play, over real HTTP: the token endpoint, the Developer API, and the keys with which Pub/Sub's
//! pushes are signed. It knows only the purchases that a test shows, checks access, records every request, and fails
//! when a test scripts that.
//!
//! Each body is compared with Google's machine-readable description of the API. Like Google, the fake answers 410 about
//! a subscription that ended more than 60 days ago, and fails a whole batch of orders for one unknown id.

pub mod access;
mod answers;
mod body;
mod call;
mod fields;
mod order;
mod platform;
mod purchase;
pub mod push;
mod resources;
mod server;

pub use answers::{Acknowledged, Voided};
pub use call::{Call, FURTHER_PACKAGES, Resource};
pub use order::{Order, Refund};
pub use platform::{Choices, PlayPlatform};
pub use purchase::{Bought, CENTS, Former, Item, Pieces, TERM};
pub use push::{Notice, Push};

use super::ports;
use super::shared::locked;
use access::Access;
use domain::Timestamp;
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::task::JoinHandle;

/// Number of entries on a page of voided purchases.
const PAGE_SIZE: usize = 2;

/// Returns a purchase token in Google's form that contains this name.
pub fn token(name: &str) -> String {
    format!("{name}.AO-J1OySettleTestsWhoseTokensAreAsLongAsGooglesOwnTokens")
}

/// How the fake deviates from its normal answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Answers with this status and an error in the API's form.
    Status(u16),
    /// Answers with this status and text.
    Body(u16, String),
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
    access: Access,
    /// Purchases by their tokens.
    purchases: BTreeMap<String, Bought>,
    voided: Vec<Voided>,
    acknowledged: Vec<Acknowledged>,
    /// Base plans of each product.
    plans: BTreeMap<String, Vec<Value>>,
    page_size: usize,
    next: BTreeMap<Resource, VecDeque<Fault>>,
    always: BTreeMap<Resource, Fault>,
    exchanges: Vec<Exchange>,
    /// Requests that Google would not understand, and bodies that it would not send: [`Play::verdict`] fails if there
    /// is one.
    strange: Vec<String>,
}

impl Seen {
    fn now(&self) -> Timestamp {
        self.clock
            .as_ref()
            .map_or_else(api::clock::now, |clock| clock())
    }
}

/// A running fake of Google Play; it stops when dropped.
pub struct Play {
    port: u16,
    seen: Arc<Mutex<Seen>>,
    server: JoinHandle<()>,
}

impl Play {
    /// Starts a fake on a free port that knows no purchase.
    ///
    /// # Panics
    /// When it cannot listen.
    pub async fn start() -> Self {
        let seen = Seen {
            clock: None,
            access: Access::default(),
            purchases: BTreeMap::new(),
            voided: Vec::new(),
            acknowledged: Vec::new(),
            plans: BTreeMap::new(),
            page_size: PAGE_SIZE,
            next: BTreeMap::new(),
            always: BTreeMap::new(),
            exchanges: Vec::new(),
            strange: Vec::new(),
        };
        let (port, seen) = (ports::free(), Arc::new(Mutex::new(seen)));
        let server = server::serve(port, Arc::clone(&seen)).await;
        Self { port, seen, server }
    }

    /// Returns the value for `[google] api_url`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Uses this clock from now on.
    pub fn follow(&self, clock: impl Fn() -> Timestamp + Send + Sync + 'static) {
        self.seen().clock = Some(Arc::new(clock));
    }

    /// Returns the time by the fake's clock.
    pub fn now(&self) -> Timestamp {
        self.seen().now()
    }

    /// Shows a purchase in this state. An acknowledgement, and the account that it wrote, stay.
    pub fn show(&self, bought: &Bought) {
        let mut bought = bought.clone();
        let mut seen = self.seen();
        if let Some(known) = seen.purchases.get(&bought.token) {
            bought.is_acknowledged |= known.is_acknowledged;
            bought.account = bought.account.or_else(|| known.account.clone());
        }
        seen.purchases.insert(bought.token.clone(), bought);
    }

    /// Forgets a purchase: from now on it is unknown.
    pub fn forget(&self, token: &str) {
        self.seen().purchases.remove(token);
    }

    /// Adds an entry to the list of voided purchases.
    pub fn void(&self, voided: Voided) {
        self.seen().voided.push(voided);
    }

    /// Adds a base plan to a product, with the ISO 8601 length of its terms.
    pub fn sell(&self, product: &str, plan: &str, term: &str) {
        let plan = json!({
            "basePlanId": plan, "state": "ACTIVE",
            "autoRenewingBasePlanType": {
                "billingPeriodDuration": term, "gracePeriodDuration": "P7D", "accountHoldDuration": "P53D",
            },
        });
        let mut seen = self.seen();
        let plans = seen.plans.entry(product.to_owned()).or_default();
        plans.push(plan);
    }

    /// Makes all issued access tokens invalid.
    pub fn withdraw_access(&self) {
        self.seen().access.withdraw();
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
        let of_resource = |one: &&Exchange| one.call.resource() == resource;
        self.seen().exchanges.iter().filter(of_resource).count()
    }

    /// Returns the requests that name a purchase.
    pub fn about(&self, token: &str) -> Vec<Exchange> {
        let seen = self.seen();
        let of_token = |one: &&Exchange| one.call.purchase() == Some(token);
        seen.exchanges.iter().filter(of_token).cloned().collect()
    }

    /// Returns the acknowledgements of a purchase that were accepted.
    pub fn acknowledgements(&self, token: &str) -> Vec<Acknowledged> {
        let seen = self.seen();
        let of_token = |one: &&Acknowledged| one.token == token;
        seen.acknowledged.iter().filter(of_token).cloned().collect()
    }

    /// Checks that Google understands every request, and sends every body of the fake.
    ///
    /// # Errors
    /// The requests and members that it does not.
    pub fn verdict(&self) -> Result<(), String> {
        let strange = &self.seen().strange;
        let is_well = strange.is_empty();
        if is_well {
            Ok(())
        } else {
            Err(format!("what is not of Google's API: {strange:#?}"))
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        locked(&self.seen)
    }
}

impl Drop for Play {
    fn drop(&mut self) {
        self.server.abort();
    }
}
