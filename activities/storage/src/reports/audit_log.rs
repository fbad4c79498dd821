//! The audit log as the API lists it: who changed what, when and why, and the fields before and after.

use crate::db::error::Error;
use crate::db::page::{Page, Paged};
use crate::db::sql::{Clause, Sql, clause, statement};
use crate::db::statement::{clean, row};
use crate::db::store::Store;
use crate::reports::listing::Filtered;
use domain::{AppId, AuditEntryId, KeyId, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which audit entries are listed; all that are set must match.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct AuditLogFilter {
    /// Only those that concern this app.
    pub app_id: Option<AppId>,
    /// Only those on this subject: the id of what was changed.
    pub subject: Option<String>,
    /// Only those of this key.
    pub key_id: Option<KeyId>,
    /// Only those of this operation, such as `destination.update`.
    pub operation: Option<String>,
}

row! {
    /// What somebody changed.
    #[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
    #[schemars(rename = "AuditEntry")]
    pub struct AuditEntryView {
        /// Its id.
        pub id: AuditEntryId,
        /// When.
        pub at: Timestamp,
        /// The key of the API, if it was one; null for the admin token, for the process itself, and for scripts.
        pub key_id: Option<KeyId>,
        /// Who, for people: the name of the key, after the person that a request or signal names.
        pub actor: String,
        /// What was done, such as `destination.update`.
        pub operation: String,
        /// The app that it concerns; null for none or several.
        pub app_id: Option<AppId>,
        /// The id of what was changed.
        pub subject: String,
        /// Why, if a reason was named.
        pub reason: Option<String>,
        /// The changed fields before, without secrets and names of customers.
        #[serde(rename = "before")]
        pub old_fields: serde_json::Value,
        /// The changed fields after.
        #[serde(rename = "after")]
        pub new_fields: serde_json::Value,
    }
}

const LIST: Sql = statement! {"
    SELECT CAST(seq AS TEXT) AS cursor, id, at, key_id, actor, operation, app_id, subject, reason, old_fields, new_fields
    FROM audit_log
    WHERE seq < ? AND {{which}}
    ORDER BY seq DESC
    LIMIT ?
"};
const OF_APP: Clause = clause!(&[LIST], "app_id = ?");
const OF_SUBJECT: Clause = clause!(&[LIST], "subject = ?");
const OF_KEY: Clause = clause!(&[LIST], "key_id = ?");
const OF_OPERATION: Clause = clause!(&[LIST], "operation = ?");

impl Store {
    pub async fn audit_log(&self, filter: AuditLogFilter, page: Page) -> Result<Paged<AuditEntryView>, Error> {
        let below = page.number_or(i64::MAX)?;
        self.read(move |connection| {
            let list = Filtered::new(LIST, [below.into()])
                .and(OF_APP, filter.app_id)
                .and(OF_SUBJECT, filter.subject.map(|text| clean(&text).into_owned()))
                .and(OF_KEY, filter.key_id)
                .and(OF_OPERATION, filter.operation.map(|text| clean(&text).into_owned()));
            page.read(connection, list.statement())
        })
        .await
    }
}
