//! Causes: why a purchase is settled without a notification. A change notes its cause with each purchase that it
//! rechecks, in its own transaction. The record of the settling that follows stores all noted causes with the events of
//! the revision, if there is one, and removes them from the purchase.

use const_format::formatcp;
use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::{Value, json_columns, sql, stored};
use db::writer::Write;
use domain::CollapseKey;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Maximum length of the noted causes of a purchase in characters; further ones are not noted.
const MAX_CHARS: usize = 4000;

stored! {
    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(rename_all = "snake_case")]
    pub enum CauseKind {
        /// The time of its next check had come.
        Scheduled = "scheduled",
        /// Lines of a sales report were imported.
        SalesReport = "sales_report",
        /// Exchange rates of its sales were set.
        ExchangeRates = "exchange_rates",
        /// The listing of its product in the catalogue was changed.
        Catalogue = "catalogue",
        /// The external id of its customer was set.
        CustomerId = "customer_id",
        /// The customer logged in on a device.
        Login = "login",
        /// The purchase moved to another customer.
        Transfer = "transfer",
        TransferUndone = "transfer_undone",
        /// The claim of a device was verified.
        Device = "device",
        /// The customer was erased.
        Erasure = "erasure",
        /// The platform has new credentials.
        SharedSecret = "shared_secret",
        /// The environment of its platform was changed.
        Environment = "environment",
        /// `product_ref` of its platform was changed.
        ProductRef = "product_ref",
        /// Another query was requested about the purchases that the store did not accept.
        Retry = "retry",
        /// Another purchase took its place, or it took the place of another one.
        PlanChange = "plan_change",
        /// The profile of its customer did not arrive at an integration.
        Profile = "profile",
        /// Settling was requested before the end of the window.
        Flush = "flush",
    }
}

/// One reason why a purchase was settled, with the person, key or script that made the change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RevisionCause {
    pub kind: CauseKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// The causes of a revision besides its notifications. Stored as JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RevisionCauses(pub Vec<RevisionCause>);

json_columns!(RevisionCauses);

impl RevisionCause {
    /// Returns a cause of this kind, with the author of this transaction's change if that is a person, a key or a
    /// script.
    pub fn of(kind: CauseKind, write: &Write<'_>) -> Self {
        Self {
            kind,
            by: write.actor.clone(),
        }
    }

    /// Returns the stored form of one cause.
    pub fn json(&self) -> Result<String, Error> {
        serde_json::to_string(self)
            .map_err(|cause| Error::corrupt_by("a cause cannot be written as JSON", cause))
    }
}

impl RevisionCauses {
    /// Adds a cause, once.
    pub fn add(&mut self, cause: RevisionCause) {
        if !self.0.contains(&cause) {
            self.0.push(cause);
        }
    }

    /// Returns the stored form; `None` without a cause.
    pub fn json(&self) -> Result<Option<String>, Error> {
        let text = || serde_json::to_string(self);
        let text = (!self.0.is_empty()).then(text).transpose();
        text.map_err(|cause| Error::corrupt_by("causes cannot be written as JSON", cause))
    }
}

/// An assignment of `SET` that adds a cause to those of a purchase. Binds the values of [`noted`].
pub const ADD_CAUSE: &str = formatcp! {"
    causes = CASE WHEN causes IS NULL THEN '[' || CAST(? AS TEXT) || ']'
        WHEN REPLACE(causes, CAST(? AS TEXT), '') <> causes OR LENGTH(causes) > {MAX_CHARS} THEN causes
        ELSE SUBSTR(causes, 1, LENGTH(causes) - 1) || ',' || CAST(? AS TEXT) || ']' END
"};

/// Returns the values of [`ADD_CAUSE`] for a stored cause.
pub fn noted(json: &str) -> [Value<'_>; 3] {
    [json.into(), json.into(), json.into()]
}

const NOTE: Sql = statement!("UPDATE purchases SET {ADD_CAUSE} WHERE collapse_key = ?");

/// Notes a cause with a purchase that will be settled soon. Does nothing before the purchase has a row.
pub fn note(write: &mut Write<'_>, key: CollapseKey, kind: CauseKind) -> Result<(), Error> {
    let json = RevisionCause::of(kind, write).json()?;
    sql(NOTE)
        .bind_all(noted(&json))
        .bind(key)
        .run(write.connection)
        .map(drop)
}
