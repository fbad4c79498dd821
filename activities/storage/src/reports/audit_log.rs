//! The audit log as the API lists it: who changed what, when and why, and the fields before and after.

use crate::reports::walk::{Indexed, Walk};
use crate::store::Store;
use db::error::Error;
use db::page::{Page, Paged};
use db::sql::{Clause, Sql, clause, statement};
use db::statement::{Value, clean, row};
use domain::{AppId, AuditEntryId, KeyId, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which audit entries are listed; all that are set must match.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct AuditLogFilter {
    /// Only changes that concern this app.
    pub app_id: Option<AppId>,
    /// Only changes of this subject, by its id.
    pub subject: Option<String>,
    /// Only changes made with this key.
    pub key_id: Option<KeyId>,
    /// Only changes by this operation, such as `destination.update`.
    pub operation: Option<String>,
}

row! {
    /// A change by a person, key or script.
    #[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
    #[schemars(rename = "AuditEntry")]
    pub struct AuditEntryView {
        /// Id of the entry.
        pub id: AuditEntryId,
        /// When the change was made.
        pub at: Timestamp,
        /// Id of the API key that made the change; null for the admin token, the process itself, and scripts.
        pub key_id: Option<KeyId>,
        /// Author for display: the person named in the request or signal, then the name of the key.
        pub actor: String,
        /// Operation, such as `destination.update`.
        pub operation: String,
        /// Id of the affected app; null for none or several.
        pub app_id: Option<AppId>,
        /// Id of the changed resource.
        pub subject: String,
        /// Reason for the change, if one was given.
        pub reason: Option<String>,
        /// Changed fields before the change, without secrets or customer names.
        #[serde(rename = "before")]
        pub old_fields: serde_json::Value,
        /// Changed fields after the change.
        #[serde(rename = "after")]
        pub new_fields: serde_json::Value,
    }
}

const LIST: Sql = statement! {"
    SELECT CAST(seq AS TEXT) AS cursor, id, at, key_id, actor, operation, app_id, subject, reason, old_fields, new_fields
    FROM audit_log
    WHERE seq < ? AND seq >= ? AND {{which}}
    ORDER BY seq DESC
    LIMIT ?
"};
const FLOOR: Sql = statement! {"
    SELECT CAST(seq AS TEXT) AS value
    FROM audit_log
    WHERE seq < ?
    ORDER BY seq DESC
    LIMIT 1 OFFSET ?
"};
const LIST_OF_APP: Sql = statement! {"
    SELECT CAST(seq AS TEXT) AS cursor, id, at, key_id, actor, operation, app_id, subject, reason, old_fields, new_fields
    FROM audit_log
    WHERE app_id IS NOT NULL AND (app_id, seq) < (?, ?) AND (app_id, seq) >= (?, ?) AND {{which}}
    ORDER BY app_id DESC, seq DESC
    LIMIT ?
"};
const FLOOR_OF_APP: Sql = statement! {"
    SELECT CAST(seq AS TEXT) AS value
    FROM audit_log
    WHERE app_id IS NOT NULL AND (app_id, seq) < (?, ?) AND (app_id, seq) >= (?, 0)
    ORDER BY app_id DESC, seq DESC
    LIMIT 1 OFFSET ?
"};
const LIST_OF_SUBJECT: Sql = statement! {"
    SELECT CAST(seq AS TEXT) AS cursor, id, at, key_id, actor, operation, app_id, subject, reason, old_fields, new_fields
    FROM audit_log
    WHERE (subject, seq) < (?, ?) AND (subject, seq) >= (?, ?) AND {{which}}
    ORDER BY subject DESC, seq DESC
    LIMIT ?
"};
const FLOOR_OF_SUBJECT: Sql = statement! {"
    SELECT CAST(seq AS TEXT) AS value
    FROM audit_log
    WHERE (subject, seq) < (?, ?) AND (subject, seq) >= (?, 0)
    ORDER BY subject DESC, seq DESC
    LIMIT 1 OFFSET ?
"};
const LISTS: &[Sql] = &[LIST, LIST_OF_APP, LIST_OF_SUBJECT];
// Conditions that no index serves: those of indexed lists in another form, and further ones.
const HAS_APP: Clause = clause!(LISTS, "COALESCE(app_id, '') IN (?*)");
const HAS_SUBJECT: Clause = clause!(LISTS, "subject || '' IN (?*)");
const OF_KEY: Clause = clause!(LISTS, "key_id = ?");
const OF_OPERATION: Clause = clause!(LISTS, "operation || '' = ?");

impl Store {
    /// Lists the audit log, the newest entry first. A page can have fewer items than its limit even if another page
    /// follows.
    pub async fn audit_log(
        &self,
        filter: AuditLogFilter,
        page: Page,
    ) -> Result<Paged<AuditEntryView>, Error> {
        let storable = |text: String| Value::from(clean(&text).into_owned());
        let of_app = filter
            .app_id
            .map(|app| Indexed::by([LIST_OF_APP, FLOOR_OF_APP], HAS_APP, [app]));
        let by_subject = [LIST_OF_SUBJECT, FLOOR_OF_SUBJECT];
        let of_subject = filter
            .subject
            .map(|subject| Indexed::by(by_subject, HAS_SUBJECT, [storable(subject)]));
        let others: [(Clause, Option<Value<'static>>); 2] = [
            (OF_KEY, filter.key_id.map(Into::into)),
            (OF_OPERATION, filter.operation.map(storable)),
        ];
        let walk = Walk {
            list: LIST,
            floor: FLOOR,
            first: Vec::new(),
            indexed: of_app.into_iter().chain(of_subject).collect(),
            others: others
                .into_iter()
                .filter(|(_, value)| value.is_some())
                .collect(),
            range: (0, i64::MAX),
        };
        self.read(move |connection| walk.page(connection, &page))
            .await
    }
}
