//! The check of a purchase: it rests on what Apple signed, and requests only what these facts leave open. The check is
//! a pure state machine, which is run from the start after each new reply.

use super::chain::Chains;
use super::jws::{self, VerifiedPayload};
use super::notification::StoredParts;
use super::request::AppStoreQuery;
use super::response::{ReadError, resource, unreadable};
use super::signed::{Account, SignedRenewal, SignedTransaction};
use crate::stores::{AccessRefusal, CustomerName, Replied, Retry, Subject};
use domain::stores::apple::{
    Doubt, ProductKind, PurchaseFacts, RenewalFact, SubscriptionStatus, TransactionCause,
};
use domain::verification::SAME;
use domain::{Environment, Purchase, Snapshot, Timestamp};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::slice::Iter;

/// Maximum number of pages of a history that a check reads: a row of 600 periods.
const MAX_PAGES: usize = 30;

/// The next step of a check.
pub enum NextStep {
    Send(AppStoreQuery, Environment),
    Done(CheckOutcome),
}

/// The result of a check.
pub enum CheckOutcome {
    Shown(Box<Snapshot>, Option<CustomerName>),
    /// Apple does not know the purchase.
    Unknown,
    /// The facts do not suffice, and the platform has no key to request more.
    Unverifiable,
    Refused(AccessRefusal),
    Retry(Retry),
}

/// A purchase to check.
pub struct Checked<'a> {
    pub subject: &'a Subject,
    pub chains: &'a Chains,
    /// Whether the platform has a key to sign requests with.
    pub has_key: bool,
}

/// Returns the next step, given the replies to the queries that this check has sent, oldest first.
pub fn next(checked: &Checked<'_>, replies: &[Replied]) -> NextStep {
    let mut walk = CheckWalk {
        checked,
        replies: replies.iter(),
        facts: PurchaseFacts::default(),
        accounts: Vec::new(),
    };
    match walk.check() {
        Ok(()) => NextStep::Done(walk.outcome()),
        Err(Halt::Missing(query, environment)) => NextStep::Send(query, environment),
        Err(Halt::Finished(outcome)) => NextStep::Done(outcome),
    }
}

/// Why a run of the check stops before the facts suffice.
enum Halt {
    /// There is no reply to this query yet.
    Missing(AppStoreQuery, Environment),
    Finished(CheckOutcome),
}

/// The customer of a period, with the period's beginning.
struct PeriodAccount {
    begins_at: Timestamp,
    account: Account,
}

/// A run of the check over the replies.
struct CheckWalk<'a> {
    checked: &'a Checked<'a>,
    replies: Iter<'a, Replied>,
    facts: PurchaseFacts,
    accounts: Vec<PeriodAccount>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StatusResponse {
    #[serde(default)]
    data: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    #[serde(default)]
    last_transactions: Vec<LastTransaction>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LastTransaction {
    status: Option<i64>,
    original_transaction_id: String,
    signed_transaction_info: Option<String>,
    signed_renewal_info: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TransactionResponse {
    signed_transaction_info: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HistoryResponse {
    revision: Option<String>,
    #[serde(default)]
    has_more: bool,
    #[serde(default)]
    signed_transactions: Vec<String>,
}

impl<'a> CheckWalk<'a> {
    fn check(&mut self) -> Result<(), Halt> {
        self.read_reported();
        let purchase_id = self.purchase_id();
        let is_known = self.known().is_some_and(Purchase::is_shown);
        if self.facts.transactions.is_empty() && !is_known {
            // Apple never reported it: only its transaction shows what it is.
            self.transaction(&purchase_id)?;
            if self.facts.is_empty() {
                return Ok(());
            }
        }
        if self.doubt() == Some(Doubt::Statuses) {
            if self.is_subscription() {
                self.statuses(&purchase_id)?;
            } else {
                self.transaction(&purchase_id)?;
            }
        }
        if self.doubt() == Some(Doubt::History) {
            self.history(&purchase_id)?;
        }
        Ok(())
    }

    fn known(&self) -> Option<&'a Purchase> {
        self.checked.subject.known.as_deref()
    }

    fn purchase_id(&self) -> String {
        self.checked.subject.receipt_id.clone()
    }

    fn doubt(&self) -> Option<Doubt> {
        self.facts.doubt(self.known())
    }

    /// Takes what notifications showed.
    fn read_reported(&mut self) {
        for body in &self.checked.subject.reported {
            let Some(stored) = body.get(storage::SIGNED) else {
                continue;
            };
            let parts = StoredParts::of(stored);
            if let Some(transaction) = parts.transaction {
                self.take(transaction);
            }
            let status = parts.status.and_then(SubscriptionStatus::of);
            self.take_state(parts.renewal, status, parts.signed_at);
        }
    }

    /// Takes a transaction, unless it is of another purchase or app.
    fn take(&mut self, transaction: SignedTransaction) {
        let subject = self.checked.subject;
        let is_of_app = transaction.bundle_id.as_ref() == Some(&subject.package_name);
        if transaction.purchase_id != subject.receipt_id || !is_of_app {
            return;
        }
        self.accounts.push(PeriodAccount {
            begins_at: transaction.fact.bought_at,
            account: transaction.account,
        });
        self.facts.transactions.push(transaction.fact);
    }

    /// Takes the state that a message showed, unless it is of another purchase.
    fn take_state(
        &mut self,
        renewal: Option<SignedRenewal>,
        status: Option<SubscriptionStatus>,
        signed_at: Timestamp,
    ) {
        let of_purchase =
            renewal.filter(|renewal| renewal.purchase_id == self.checked.subject.receipt_id);
        if of_purchase.is_none() && status.is_none() {
            return;
        }
        let signed_at = of_purchase.as_ref().map_or(signed_at, |one| one.signed_at);
        self.facts.renewals.push(RenewalFact {
            signed_at,
            status,
            renewal: of_purchase.map(|one| one.renewal),
        });
    }

    /// Returns the environment whose server knows the purchase, by what was signed.
    fn environment(&self) -> Environment {
        let signed = self.facts.transactions.iter();
        let signed = signed.max_by_key(|fact| fact.signed_at);
        signed.map_or(self.checked.subject.environment, |fact| fact.environment)
    }

    fn is_subscription(&self) -> bool {
        let newest = self.facts.transactions.iter();
        match newest.max_by_key(|fact| fact.signed_at) {
            Some(fact) => fact.kind == ProductKind::AutoRenewable,
            None => !self.known().is_some_and(Purchase::is_one_time_purchase),
        }
    }

    /// Returns the reply to a query, which is the next reply. Without a key, what is known has to suffice.
    fn replied(&mut self, query: AppStoreQuery) -> Result<&'a Replied, Halt> {
        if !self.checked.has_key {
            return Err(Halt::Finished(self.outcome()));
        }
        let environment = self.environment();
        self.replies.next().ok_or(Halt::Missing(query, environment))
    }

    fn verified(&self, text: &str, at: Timestamp) -> Result<VerifiedPayload, Halt> {
        jws::verify(self.checked.chains, text, at).map_err(|_| {
            let error = unreadable("a part of its answer is not signed by Apple");
            Halt::from_error(error, true)
        })
    }

    fn transaction(&mut self, id: &str) -> Result<(), Halt> {
        let environment = self.environment();
        let replied = self.replied(AppStoreQuery::Transaction(id.to_owned()))?;
        let read: TransactionResponse = resource(replied, environment).map_err(Halt::unread)?;
        let part = self.verified(&read.signed_transaction_info, replied.at)?;
        if let Some(transaction) = SignedTransaction::of(&part.members, part.signed_at) {
            self.take(transaction);
        }
        Ok(())
    }

    fn statuses(&mut self, id: &str) -> Result<(), Halt> {
        let environment = self.environment();
        let replied = self.replied(AppStoreQuery::Statuses(id.to_owned()))?;
        let read: StatusResponse = match resource(replied, environment) {
            Ok(read) => read,
            // What is signed stays true. Apple may know it later.
            Err(ReadError::Unknown) if !self.facts.transactions.is_empty() => return Ok(()),
            Err(error) => return Err(Halt::unread(error)),
        };
        // The answer is about all purchases of the customer.
        let groups = read.data.into_iter();
        let all = groups.flat_map(|group| group.last_transactions);
        for last in all.filter(|last| last.original_transaction_id == id) {
            let mut signed_at = replied.at;
            if let Some(text) = &last.signed_transaction_info {
                let part = self.verified(text, replied.at)?;
                signed_at = part.signed_at;
                if let Some(transaction) = SignedTransaction::of(&part.members, part.signed_at) {
                    self.take(transaction);
                }
            }
            let renewal = match &last.signed_renewal_info {
                Some(text) => {
                    let part = self.verified(text, replied.at)?;
                    SignedRenewal::of(&part.members, part.signed_at)
                }
                None => None,
            };
            let status = last.status.and_then(SubscriptionStatus::of);
            self.take_state(renewal, status, signed_at);
        }
        Ok(())
    }

    /// Reads the periods of the running row. If the record has an earlier part of it, or what was signed shows its
    /// beginning, those that it lacks are facts; of another purchase, only their number counts, since they were paid
    /// before settle knew it.
    fn history(&mut self, id: &str) -> Result<(), Halt> {
        let known = self.known().filter(|known| known.is_shown());
        let last = known.and_then(Purchase::paid_period);
        let row = self.row_began_at();
        let since = last.map(|period| period.begins_at).or(row);
        let since = since.map(|since| since.minus(SAME));
        let environment = self.environment();
        let mut revision = None;
        let mut found = Vec::new();
        for _ in 0..MAX_PAGES {
            let query = AppStoreQuery::History {
                purchase_id: id.to_owned(),
                since,
                revision: revision.take(),
            };
            let replied = self.replied(query)?;
            let read: HistoryResponse = match resource(replied, environment) {
                Ok(read) => read,
                Err(ReadError::Unknown | ReadError::NoPage) => return Ok(()),
                Err(error) => return Err(Halt::unread(error)),
            };
            for text in &read.signed_transactions {
                let part = self.verified(text, replied.at)?;
                found.extend(SignedTransaction::of(&part.members, part.signed_at));
            }
            revision = read.revision.filter(|_| read.has_more);
            if revision.is_none() {
                break;
            }
        }
        if last.is_some() || self.facts.shows_beginning(row) {
            found.into_iter().for_each(|one| self.take(one));
        } else {
            self.facts.counted = self.count(&found, row);
        }
        Ok(())
    }

    /// Returns the beginning of the running row of periods, if what was signed shows it.
    fn row_began_at(&self) -> Option<Timestamp> {
        let shown = self.facts.renewals.iter();
        let shown = shown.filter(|fact| fact.renewal.is_some());
        let newest = shown.max_by_key(|fact| fact.signed_at);
        newest.and_then(|fact| fact.renewal.as_ref()?.began_at)
    }

    /// Returns the number of periods since the beginning of the row, up to the newest one that was signed. The
    /// notification of a later one is still on its way, and counts it.
    fn count(&self, found: &[SignedTransaction], row: Option<Timestamp>) -> Option<u64> {
        let id = &self.checked.subject.receipt_id;
        let of_purchase = found.iter().filter(|one| one.purchase_id == *id);
        let listed = of_purchase.map(|one| &one.fact);
        let all = listed.chain(&self.facts.transactions);
        let newest = self.facts.transactions.iter().map(|fact| fact.bought_at);
        let newest = newest.max();
        let of_row = all.filter(|fact| {
            fact.cause != TransactionCause::SeatAddition
                && newest.is_none_or(|newest| fact.bought_at <= newest)
                && row.is_none_or(|row| fact.bought_at.plus(SAME) >= row)
        });
        let ids: BTreeSet<&str> = of_row.map(|fact| fact.transaction_id.as_str()).collect();
        u64::try_from(ids.len()).ok()
    }

    /// Returns the outcome of the facts so far.
    fn outcome(&mut self) -> CheckOutcome {
        let customer = self.customer();
        match self.facts.snapshot(self.known()) {
            Some(snapshot) if !self.facts.is_empty() => {
                CheckOutcome::Shown(Box::new(snapshot), customer)
            }
            _ if self.checked.has_key => CheckOutcome::Unknown,
            _ => CheckOutcome::Unverifiable,
        }
    }

    /// Returns the customer of the newest period that names one, unless the record has a later one. A period without a
    /// name changes nothing. As long as no period names a customer, the Apple account stands for it.
    fn customer(&mut self) -> Option<CustomerName> {
        let recorded = self.known().and_then(Purchase::store_state);
        let recorded = recorded.and_then(|state| state.named_at);
        let named = self.accounts.iter();
        let named = named.filter_map(|one| Some((one.begins_at, one.account.token.as_ref()?)));
        if let Some((at, token)) = named.max_by_key(|(at, _)| *at) {
            self.facts.named_at = Some(at);
            return (Some(at) >= recorded).then(|| CustomerName(token.clone()));
        }
        let newest = self.accounts.iter().max_by_key(|one| one.begins_at);
        let account = newest.and_then(|one| one.account.app_transaction_id.clone());
        account.filter(|_| recorded.is_none()).map(CustomerName)
    }
}

impl Halt {
    fn unread(error: ReadError) -> Self {
        Self::from_error(error, false)
    }

    fn from_error(error: ReadError, is_strange: bool) -> Self {
        Self::Finished(match error {
            ReadError::Refused(refusal) => CheckOutcome::Refused(refusal),
            ReadError::Retry(retry) => CheckOutcome::Retry(Retry {
                is_strange: is_strange || retry.is_strange,
                ..retry
            }),
            ReadError::Unknown | ReadError::NoPage | ReadError::NoUrl => CheckOutcome::Unknown,
        })
    }
}
