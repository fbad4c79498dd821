//! Recent changes according to the audit log. Every process that changes an app, its platforms, their keys or topics
//! adds an entry in the same transaction. A process that caches this data polls the log.

use crate::store::Store;
use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::{row, sql};
use domain::AppId;

row! {
    /// An entry of the audit log, reduced to what shows which cached data is outdated.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct AuditedChange {
        pub seq: i64,
        pub operation: String,
        /// `None` if the change concerns no single app.
        pub app_id: Option<AppId>,
    }
}

const NEWEST: Sql = statement!("SELECT COALESCE(MAX(seq), 0) AS value FROM audit_log");

// Uses the primary key: the log's only partial index begins with another column.
const AFTER: Sql = statement! {"
    SELECT seq, operation, app_id
    FROM audit_log
    WHERE seq > ?
    ORDER BY seq
    LIMIT ?
"};

impl Store {
    /// Returns the sequence number of the newest audit-log entry; 0 if the log is empty.
    pub async fn newest_change(&self) -> Result<i64, Error> {
        self.read_for_ingress(|connection| {
            sql(NEWEST).value(connection).map(Option::unwrap_or_default)
        })
        .await
    }

    /// Returns at most `most` entries after this sequence number, in order. An entry with a lower number may still
    /// become visible later.
    pub async fn changes_after(&self, seq: i64, most: i64) -> Result<Vec<AuditedChange>, Error> {
        self.read_for_ingress(move |connection| sql(AFTER).bind(seq).bind(most).all(connection))
            .await
    }
}
