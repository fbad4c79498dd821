//! The check of a purchase: it reads the purchase, its orders and, if the purchase names no customer, the purchases
//! that it continues. The check is a pure state machine, which is run from the start after each new reply.

use super::batch::OrderBatches;
use super::customer::{Accounts, CustomerOrigin, NamedCustomer};
use super::meaning;
use super::order::Order;
use super::plans;
use super::product::Product;
use super::request::{Query, is_path_id};
use super::response::{AccessProblem, ReadError, resource, unknown_value, unreadable};
use super::shown::{PurchaseKind, PurchaseToken, ShownOrder, ShownPurchase};
use super::subscription::Subscription;
use crate::http::Reply;
use crate::stores::{CustomerName, Replied, Retry};
use domain::Timestamp;
use domain::time::HOUR;
use domain::verification::Term;
use std::slice::Iter;
use std::time::Duration;

/// Maximum number of orders that a check reads: those that the items name, then the newest that are known. Usually one
/// order pays for all items of a purchase; the others can be refunded later. They fit into one batch.
const MAX_ORDERS: usize = 16;
/// Maximum number of earlier purchases in a chain that a check reads.
const MAX_LINKS: usize = 2;
/// Age up to which a purchase is new: the store has answered 410 about purchases that were minutes old.
const NEW: Duration = HOUR;

/// What is known about a purchase before its check.
#[derive(Debug, Clone, Default)]
pub struct KnownPurchase {
    /// The kind according to a notification or an earlier response. Without it, both kinds are tried.
    pub kind: Option<PurchaseKind>,
    /// When the purchase was first reported.
    pub reported_at: Option<Timestamp>,
    /// Whether the store showed the purchase before.
    pub is_confirmed: bool,
    /// The orders that it showed, the newest last.
    pub orders: Vec<String>,
    /// The term that it showed.
    pub term: Option<KnownTerm>,
    /// Whether the term stays unknown, because it could not be read a short time ago.
    pub skips_term: bool,
}

/// The term of a SKU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownTerm {
    pub sku: String,
    pub term: Term,
}

/// The next step of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NextStep {
    Send(Query),
    Done(CheckOutcome),
}

/// The result of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckOutcome {
    Shown(Box<ShownPurchase>, Option<NamedCustomer>),
    /// The store does not know the purchase, and has never shown it.
    Unknown,
    /// The store no longer shows the purchase. Its last known state stays.
    Gone,
    Refused(AccessProblem),
    Retry(Retry),
}

/// Returns the next step, given the replies to the queries that this check has sent, oldest first.
pub fn next(token: &PurchaseToken, known: &KnownPurchase, replies: &[Replied]) -> NextStep {
    let mut walk = Walk {
        replies: replies.iter(),
    };
    let found = walk.check(token, known);
    found.map_or_else(NextStep::from, |(shown, customer)| {
        NextStep::Done(CheckOutcome::Shown(Box::new(shown), customer))
    })
}

/// Why a run of the check stops before the purchase is read completely.
enum Halt {
    /// There is no reply to this query yet.
    Missing(Query),
    Finished(CheckOutcome),
}

impl From<Halt> for NextStep {
    fn from(halt: Halt) -> Self {
        match halt {
            Halt::Missing(query) => Self::Send(query),
            Halt::Finished(outcome) => Self::Done(outcome),
        }
    }
}

/// The purchase from a reply, and the names from which its customer follows.
struct Answered {
    shown: ShownPurchase,
    own: Option<CustomerName>,
    /// The customer of the expired purchase that preceded this one outside the app.
    former: Option<CustomerName>,
}

/// A run of the check over the replies.
struct Walk<'a> {
    replies: Iter<'a, Replied>,
}

impl<'a> Walk<'a> {
    fn check(
        &mut self,
        token: &PurchaseToken,
        known: &KnownPurchase,
    ) -> Result<(ShownPurchase, Option<NamedCustomer>), Halt> {
        let Answered {
            mut shown,
            own,
            former,
        } = self.purchase(token, known)?;
        self.orders(&mut shown, known)?;
        let of = |origin| move |name| NamedCustomer { name, origin };
        let mut customer = own.map(of(CustomerOrigin::Purchase));
        if customer.is_none() {
            let chain = self.chain(token, shown.linked.as_ref())?;
            customer = chain.map(of(CustomerOrigin::Chain));
        }
        shown.term = self.term(&shown, known)?;
        Ok((
            shown,
            customer.or_else(|| former.map(of(CustomerOrigin::OutOfApp))),
        ))
    }

    /// Returns the reply to a query, which is the next reply.
    fn replied(&mut self, query: Query) -> Result<&'a Replied, Halt> {
        self.replies.next().ok_or(Halt::Missing(query))
    }

    fn purchase(&mut self, token: &PurchaseToken, known: &KnownPurchase) -> Result<Answered, Halt> {
        let kinds: &[PurchaseKind] = match known.kind {
            Some(PurchaseKind::Subscription) => &[PurchaseKind::Subscription],
            Some(PurchaseKind::OneTime) => &[PurchaseKind::OneTime],
            None => &[PurchaseKind::Subscription, PurchaseKind::OneTime],
        };
        for kind in kinds {
            let replied = self.replied(Query::Purchase(*kind, token.clone()))?;
            let read = answered(*kind, replied);
            if matches!(read, Err(ReadError::Gone)) {
                return Err(Halt::Finished(gone(known, replied.at)));
            }
            if let Some(answered) = if_known(read)? {
                return Ok(answered);
            }
        }
        Err(Halt::Finished(if known.is_confirmed {
            CheckOutcome::Gone
        } else {
            CheckOutcome::Unknown
        }))
    }

    /// Adds the orders of a purchase: of those that are known, a refund shows only in the order. An order that the store
    /// does not know is left out: its price stays unknown. So is an unreadable one that the purchase does not name, such
    /// as that of an earlier period: what is known of it stays.
    fn orders(&mut self, shown: &mut ShownPurchase, known: &KnownPurchase) -> Result<(), Halt> {
        let mut ids: Vec<String> = Vec::new();
        let listed = shown.order_ids().into_iter();
        for id in listed.chain(known.orders.iter().rev().map(String::as_str)) {
            if ids.len() < MAX_ORDERS && is_path_id(id) && !ids.iter().any(|one| one == id) {
                ids.push(id.to_owned());
            }
        }
        if let [id] = ids.as_slice() {
            let replied = self.replied(Query::Order(id.clone()))?;
            let order = if_known(order(&replied.reply, id))?;
            shown.orders.extend(order);
            return Ok(());
        }
        let mut batches = OrderBatches::new(ids);
        while let Some(batch) = batches.next() {
            let replied = self.replied(Query::Orders(batch.to_vec()))?;
            if_known(batches.read(&replied.reply))?;
        }
        let named = shown.order_ids();
        let is_named = |id: &String| named.contains(&id.as_str());
        if batches.unreadable.iter().any(is_named) {
            if_known::<()>(Err(unreadable("an order in it is of another form")))?;
        }
        shown.orders = batches.found;
        Ok(())
    }

    /// Returns the length of the current term. That of a plan never changes, so it is read once; without it, the term
    /// stays unknown. Only if the store throttles the request, the check ends, as by any other request.
    fn term(&mut self, shown: &ShownPurchase, known: &KnownPurchase) -> Result<Option<Term>, Halt> {
        let Some(plan) = meaning::current_plan(shown) else {
            return Ok(None);
        };
        let sku = plan.sku();
        if let Some(known) = known.term.as_ref().filter(|known| known.sku == sku) {
            return Ok(Some(known.term));
        }
        if known.skips_term {
            return Ok(None);
        }
        let replied = self.replied(Query::Plans(plan.clone()))?;
        let listed = match plans::plans(&replied.reply) {
            Err(ReadError::Retry(retry)) if retry.is_throttled => {
                return Err(Halt::Finished(CheckOutcome::Retry(retry)));
            }
            listed => listed.unwrap_or_default(),
        };
        let listed = listed.into_iter().find(|listed| listed.id == plan.plan_id);
        Ok(listed.and_then(|listed| listed.term))
    }

    /// Returns the customer of the nearest purchase in the chain that names one.
    fn chain(
        &mut self,
        token: &PurchaseToken,
        linked: Option<&PurchaseToken>,
    ) -> Result<Option<CustomerName>, Halt> {
        let mut seen = vec![token.clone()];
        let mut linked = linked.cloned();
        while let Some(next) = linked.take() {
            if seen.len() > MAX_LINKS || seen.contains(&next) {
                break;
            }
            let query = Query::Purchase(PurchaseKind::Subscription, next.clone());
            let replied = self.replied(query)?;
            seen.push(next);
            match if_known(answered(PurchaseKind::Subscription, replied))? {
                Some(answered) if answered.own.is_some() => return Ok(answered.own),
                Some(answered) => linked = answered.shown.linked,
                None => {}
            }
        }
        Ok(None)
    }
}

/// Returns the value that was read; `None` if the store does not know it.
fn if_known<T>(read: Result<T, ReadError>) -> Result<Option<T>, Halt> {
    match read {
        Ok(found) => Ok(Some(found)),
        Err(ReadError::Malformed | ReadError::Unknown | ReadError::Gone) => Ok(None),
        Err(ReadError::Refused(problem)) => Err(Halt::Finished(CheckOutcome::Refused(problem))),
        Err(ReadError::Retry(retry)) => Err(Halt::Finished(CheckOutcome::Retry(retry))),
    }
}

fn answered(kind: PurchaseKind, replied: &Replied) -> Result<Answered, ReadError> {
    let unknown = || unknown_value("it shows the purchase in a state that is not known");
    match kind {
        PurchaseKind::Subscription => {
            let read: Subscription = resource(&replied.reply)?;
            let [own, former] = read.accounts().map(|one| one.and_then(Accounts::customer));
            let shown = read.shown(replied.at).ok_or_else(unknown)?;
            Ok(Answered { shown, own, former })
        }
        PurchaseKind::OneTime => {
            let read: Product = resource(&replied.reply)?;
            let own = read.customer();
            let shown = read.shown(replied.at).ok_or_else(unknown)?;
            let former = None;
            Ok(Answered { shown, own, former })
        }
    }
}

fn order(reply: &Reply, id: &str) -> Result<ShownOrder, ReadError> {
    let shown = resource::<Order>(reply)?.shown();
    if shown.id != id {
        return Err(unreadable("it is about another order"));
    }
    Ok(shown)
}

/// Returns the outcome for a purchase that the store no longer shows. A new purchase is checked again.
fn gone(known: &KnownPurchase, at: Timestamp) -> CheckOutcome {
    let age = known.reported_at.map(|reported_at| at.since(reported_at));
    if age.is_some_and(|age| age < NEW) {
        let why = "the store does not show this new purchase yet (HTTP 410)";
        return CheckOutcome::Retry(Retry::new("new_purchase", why));
    }
    CheckOutcome::Gone
}
