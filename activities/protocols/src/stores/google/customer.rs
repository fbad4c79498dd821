//! The customer of a purchase: the account id that the app passed to Google. Google has no customer id of its own.

use crate::stores::CustomerName;
use domain::notification::MAX_ID_BYTES;
use domain::text::is_plain;
use serde::Deserialize;

/// Maximum length of an id. Google's limit is 64 characters.
const MAX_CHARS: usize = 200;

/// The customer's account ids. Only the one that the app set is read. It has no debug output.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Accounts {
    obfuscated_external_account_id: Option<String>,
}

impl Accounts {
    pub fn customer(&self) -> Option<CustomerName> {
        named(self.obfuscated_external_account_id.as_deref())
    }
}

/// Returns the customer with this account id; `None` if it is absent or cannot be an id.
pub(super) fn named(account: Option<&str>) -> Option<CustomerName> {
    let id = account.filter(|id| is_plain(id, MAX_CHARS) && id.len() <= MAX_ID_BYTES)?;
    (!id.trim().is_empty()).then(|| CustomerName(id.to_owned()))
}

/// The purchase that named the customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CustomerOrigin {
    Purchase,
    /// A purchase that this one continues.
    Chain,
    /// The expired purchase that precedes this one, which was made outside the app.
    OutOfApp,
}

/// The customer of a purchase. It is written to no workflow history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedCustomer {
    pub name: CustomerName,
    pub origin: CustomerOrigin,
}
