//! The fake's normal answers, from its purchases.

use super::call::{Call, Resource};
use super::notice::{APP_ID, Notice};
use super::purchase::Bought;
use super::{Seen, without_nulls};
use crate::sns::PACKAGE;
use domain::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A status with its body.
pub type Verdict = (u16, Value);

const INVALID_TRANSACTION: u32 = 4_000_006;
const UNKNOWN_TEST: u32 = 4_040_008;
pub const UNKNOWN_TRANSACTION: u32 = 4_040_010;

/// Returns the answer with this error.
pub fn refused(code: u32) -> Verdict {
    let status = u16::try_from(code / 10_000).unwrap_or(500);
    let body = json!({ "errorCode": code, "errorMessage": "An error of the fake." });
    (status, body)
}

/// Returns what the App Store says of the app in each answer.
fn app(environment: &str) -> Value {
    let app_id = (environment == "Production").then_some(APP_ID);
    without_nulls(json!({
        "bundleId": PACKAGE, "appAppleId": app_id, "environment": environment,
    }))
}

impl Seen {
    /// Returns the normal answer to a request.
    pub fn judge(&mut self, call: &Call) -> Verdict {
        match call.resource {
            Resource::Notifications => self.notifications(call),
            Resource::Test => self.begin_test(call.environment),
            Resource::TestStatus => {
                let found = self.tests.get(&call.id);
                found.map_or_else(|| refused(UNKNOWN_TEST), |sent| (200, sent.body()))
            }
            Resource::Transaction => match self.find(call) {
                Ok(bought) => self.transaction(bought, &call.id),
                Err(code) => refused(code),
            },
            Resource::Statuses | Resource::History | Resource::Refunds => {
                let customer = self.find(call).map(|bought| bought.customer.clone());
                match (customer, call.resource) {
                    (Err(code), _) => refused(code),
                    (Ok(customer), Resource::Statuses) => self.statuses(call, &customer),
                    (Ok(customer), _) => self.page(call, &customer),
                }
            }
        }
    }

    /// Returns the purchase that has the requested transaction, in the requested environment.
    fn find(&self, call: &Call) -> Result<&Bought, u32> {
        let is_id = !call.id.is_empty() && call.id.bytes().all(|byte| byte.is_ascii_digit());
        if !is_id {
            return Err(INVALID_TRANSACTION);
        }
        let mut purchases = self.purchases.values();
        let found = purchases.find(|bought| {
            let mut transactions = bought.transactions.iter();
            bought.environment == call.environment
                && transactions.any(|transaction| transaction.id == call.id)
        });
        found.ok_or(UNKNOWN_TRANSACTION)
    }

    pub(super) fn sign(&self, content: &Value) -> String {
        self.chain.sign(content).expect("a signed content")
    }

    fn transaction(&self, bought: &Bought, id: &str) -> Verdict {
        let mut transactions = bought.transactions.iter();
        match transactions.find(|transaction| transaction.id == id) {
            Some(found) => {
                let signed = self.sign(&found.content(bought, self.now()));
                (200, json!({ "signedTransactionInfo": signed }))
            }
            None => refused(UNKNOWN_TRANSACTION),
        }
    }

    /// Returns the states of all subscriptions of a customer, by their groups.
    fn statuses(&mut self, call: &Call, customer: &str) -> Verdict {
        self.expect_parameters(call, &["status"]);
        let wanted: Vec<i64> = call
            .all("status")
            .filter_map(|text| text.parse().ok())
            .collect();
        let mut groups: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
        let now = self.now();
        for bought in self.purchases_of(customer, call.environment) {
            let is_wanted = wanted.is_empty() || wanted.contains(&bought.status);
            let (Some(group), true) = (bought.group.as_deref(), is_wanted) else {
                continue;
            };
            let last = self.last_transaction(bought, now);
            groups.entry(group).or_default().push(last);
        }
        let groups = groups.into_iter().map(|(group, last)| {
            json!({ "subscriptionGroupIdentifier": group, "lastTransactions": last })
        });
        let mut body = app(call.environment);
        body["data"] = groups.collect();
        (200, body)
    }

    fn last_transaction(&self, bought: &Bought, now: Timestamp) -> Value {
        let renewal = bought.renewal(now).map(|renewal| self.sign(&renewal));
        json!({
            "originalTransactionId": bought.id,
            "status": bought.status,
            "signedTransactionInfo": self.sign(&bought.current().content(bought, now)),
            "signedRenewalInfo": renewal,
        })
    }

    /// Returns the purchases of a customer in an environment, oldest first.
    pub(super) fn purchases_of<'a>(
        &'a self,
        customer: &'a str,
        environment: &'a str,
    ) -> impl Iterator<Item = &'a Bought> {
        self.purchases
            .values()
            .filter(move |bought| bought.customer == customer && bought.environment == environment)
    }

    /// Creates a test notification, which a test sends.
    fn begin_test(&mut self, environment: &'static str) -> Verdict {
        let message = Notice::test(environment, self.now()).message(&self.chain);
        let token = format!("{}_{}", message.uuid, super::millis(self.now()));
        self.tests.insert(token.clone(), message.into());
        (200, json!({ "testNotificationToken": token }))
    }

    /// Records the parameters that a request does not have at Apple.
    pub(super) fn expect_parameters(&mut self, call: &Call, known: &[&str]) {
        let names = call.parameters.iter().map(|(name, _)| name);
        let unknown: Vec<_> = names
            .filter(|name| !known.contains(&name.as_str()))
            .collect();
        if !unknown.is_empty() {
            self.strange.push(format!("{unknown:?} in {call:?}"));
        }
    }
}

/// Returns the beginning of an answer with pages.
pub(super) fn paged_app(environment: &str) -> Value {
    app(environment)
}
