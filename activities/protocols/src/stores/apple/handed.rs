//! A transaction that a device hands in: the signed text that StoreKit gives the app (`jwsRepresentation`).
//! <https://developer.apple.com/documentation/storekit/verificationresult/jwsrepresentation-21vgo>
//!
//! It has the content of the transaction in a notification, and is stored and read like that.

use super::chain::Chains;
use super::jws::{JwsRefusal, Verifier};
use super::notification::{ExpectedApp, TRANSACTION};
use super::signed::{Members, SignedTransaction};
use domain::device::claim::CLAIM_STORE_TYPE;
use domain::notification::is_sample_purchase;
use domain::stores::apple::PurchaseFacts;
use domain::{
    CollapseKey, Environment, Notification, NotificationKind, PlatformId, Snapshot, Timestamp,
};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use storage::hex;

/// Maximum size of a text. Apple's have about 6 KiB.
pub const MAX_SIGNED_BYTES: usize = 16 * 1024;

/// Members that differ each time Apple signs the same transaction, or on each device.
const VOLATILE: [&str; 3] = [
    "signedDate",
    "deviceVerification",
    "deviceVerificationNonce",
];

/// Why a text proves no purchase in the platform's app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandedRefusal {
    /// Apple did not sign it.
    Jws(JwsRefusal),
    /// Apple signed something else, or a transaction of a development tool.
    NoTransaction,
    ForeignBundle,
    ForeignEnvironment,
}

impl From<JwsRefusal> for HandedRefusal {
    fn from(refusal: JwsRefusal) -> Self {
        Self::Jws(refusal)
    }
}

/// A verified transaction. It has no debug output, since it contains ids of customers.
pub struct HandedTransaction {
    pub transaction: SignedTransaction,
    signed_at: Timestamp,
    members: Members,
    sha256: String,
}

/// Verifies a text that a device hands in.
///
/// # Errors
/// It is no transaction of this app that Apple signed.
pub fn read(
    chains: &Chains,
    verify: Verifier,
    text: &str,
    expected: &ExpectedApp<'_>,
    now: Timestamp,
) -> Result<HandedTransaction, HandedRefusal> {
    if text.len() > MAX_SIGNED_BYTES {
        return Err(JwsRefusal::Form.into());
    }
    let verified = verify(chains, text, now)?;
    let transaction = SignedTransaction::of(&verified.members, verified.signed_at);
    let transaction = transaction.ok_or(HandedRefusal::NoTransaction)?;
    if transaction.bundle_id.as_deref() != Some(expected.bundle_id) {
        return Err(HandedRefusal::ForeignBundle);
    }
    let environment = transaction.fact.environment;
    if environment != Environment::Sandbox && environment != expected.environment {
        return Err(HandedRefusal::ForeignEnvironment);
    }
    Ok(HandedTransaction {
        transaction,
        signed_at: verified.signed_at,
        members: verified.members,
        sha256: sha256(text.as_bytes()),
    })
}

impl HandedTransaction {
    /// Returns the notification that it becomes. Its id depends on the content, except for the signing time: what is
    /// handed in again and again is one notification.
    pub fn notification(&self, platform: PlatformId) -> Notification {
        let purchase_id = &self.transaction.purchase_id;
        Notification {
            message_id: format!("signed/{}", self.content_id()),
            collapse_key: CollapseKey::of(platform, purchase_id),
            receipt_id: purchase_id.clone(),
            // The content decides. No report names a change.
            kind: NotificationKind::Unknown,
            store_type: CLAIM_STORE_TYPE.to_owned(),
            store_time: self.signed_at,
            app_user_id: None,
            related_receipt_id: None,
            is_test: is_sample_purchase(purchase_id),
            voided: None,
            refunded: None,
        }
    }

    /// Returns what is stored of it, in the form of a notification with this transaction alone.
    pub fn decoded(&self) -> Value {
        json!({
            "signedDate": self.signed_at.micros() / 1000,
            "data": { TRANSACTION: self.members },
            "sha256": self.sha256,
        })
    }

    /// Returns the purchase as this transaction alone shows it; `None` if it shows none.
    pub fn snapshot(&self) -> Option<Snapshot> {
        let fact = &self.transaction.fact;
        let is_named = self.transaction.account.token.is_some();
        let facts = PurchaseFacts {
            transactions: vec![fact.clone()],
            named_at: is_named.then_some(fact.bought_at),
            ..PurchaseFacts::default()
        };
        facts.snapshot(None)
    }

    /// Returns the customer: by the account token, else by the Apple account.
    pub fn customer(&self) -> Option<String> {
        let account = &self.transaction.account;
        let customer = account
            .token
            .as_ref()
            .or(account.app_transaction_id.as_ref());
        customer.cloned()
    }

    fn content_id(&self) -> String {
        let stable = self.members.iter();
        let stable = stable.filter(|(name, _)| !VOLATILE.contains(&name.as_str()));
        let stable: BTreeMap<&String, &Value> = stable.collect();
        sha256(json!(stable).to_string().as_bytes())
    }
}

fn sha256(bytes: &[u8]) -> String {
    hex(digest(&SHA256, bytes).as_ref())
}
