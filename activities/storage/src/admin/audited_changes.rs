//! Recent changes according to the audit log: each change of an app, its platforms, their keys or topics leaves an
//! entry in its transaction, whichever process makes it. A process that caches these follows the log.

use crate::store::Store;
use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::{row, sql};
use domain::AppId;

row! {
    /// An entry of the audit log, as far as it says what is outdated.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct AuditedChange {
        pub seq: i64,
        pub operation: String,
        /// `None` where it concerns no single app.
        pub app_id: Option<AppId>,
    }
}

const NEWEST: Sql = statement!("SELECT COALESCE(MAX(seq), 0) AS value FROM audit_log");

// By the primary key: the log's only partial index begins with another column.
const AFTER: Sql = statement! {"
    SELECT seq, operation, app_id
    FROM audit_log
    WHERE seq > ?
    ORDER BY seq
    LIMIT ?
"};

impl Store {
    /// The sequence number of the newest entry of the audit log; 0 before the first.
    pub async fn newest_change(&self) -> Result<i64, Error> {
        self.read_for_ingress(|connection| {
            sql(NEWEST).value(connection).map(Option::unwrap_or_default)
        })
        .await
    }

    /// At most so many entries after this sequence number, in their order. A lower number may become visible later.
    pub async fn changes_after(&self, seq: i64, most: i64) -> Result<Vec<AuditedChange>, Error> {
        self.read_for_ingress(move |connection| sql(AFTER).bind(seq).bind(most).all(connection))
            .await
    }
}
