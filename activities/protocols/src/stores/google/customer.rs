//! The customer of a purchase: the account id that the app passed to Google. Google has no customer id of its own.

use crate::stores::CustomerName;
use domain::notification::MAX_ID_BYTES;
use domain::text::is_plain;
use serde::Deserialize;
use serde_json::Value;

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

/// Platform setting: the app's account ids, [`AccountIds`].
pub const ACCOUNT_IDS: &str = "account_ids";

/// What the app passes to Google as a customer's `obfuscatedAccountId`.
/// <https://developer.android.com/google/play/billing/integrate>
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AccountIds {
    /// A value that only identifies the customer at Google, such as a hash.
    #[default]
    Opaque,
    /// The customer's external id, which logins and imports also use.
    External,
}

impl AccountIds {
    /// Returns the setting among a platform's own settings; the default if it is missing.
    pub fn of(settings: Option<&Value>) -> Self {
        let text = settings.and_then(|settings| settings.get(ACCOUNT_IDS)?.as_str());
        text.and_then(Self::parse).unwrap_or_default()
    }

    /// Parses a setting.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "opaque" => Some(Self::Opaque),
            "external" => Some(Self::External),
            _ => None,
        }
    }
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
