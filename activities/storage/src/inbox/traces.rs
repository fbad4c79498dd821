//! The trace contexts of open notifications, for the spans of the settling that ends them.

use crate::store::Store;
use db::error::Error;
use db::partial::OPEN_OF_KEY_N;
use db::sql::{Sql, statement};
use db::statement::{row, sql};
use domain::{CollapseKey, Timestamp, TraceContext};

/// Maximum number of contexts of one settling; OpenTelemetry's limit for the links of a span is 128.
const MAX_CONTEXTS: i64 = 128;

row! {
    struct ContextRow {
        traceparent: String,
        accepted_at: Timestamp,
        settling: i64,
    }
}

/// The traces that a settling belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettlingTrace {
    /// The contexts of its notifications, oldest first, at most 128; never empty.
    pub contexts: Vec<TraceContext>,
    /// When the first of them was accepted.
    pub began_at: Timestamp,
    pub settling: i64,
}

const CONTEXTS: Sql = statement! {hot "notifications_open_of_key", "
    SELECT n.traceparent, n.accepted_at,
        COALESCE((SELECT p.settling FROM purchases p WHERE p.collapse_key = n.collapse_key), 0) AS settling
    FROM notifications n
    WHERE n.collapse_key = ? AND {OPEN_OF_KEY_N} AND n.waiting_topic_id IS NULL AND n.traceparent IS NOT NULL
    ORDER BY n.seq + 0
    LIMIT ?
"};

impl Store {
    /// Returns the traces of the purchase's next settling; `None` when no open notification has a readable context.
    pub async fn settling_trace(&self, key: CollapseKey) -> Result<Option<SettlingTrace>, Error> {
        let rows: Vec<ContextRow> = self
            .read(move |connection| sql(CONTEXTS).bind(key).bind(MAX_CONTEXTS).all(connection))
            .await?;
        let mut readable = rows
            .iter()
            .filter_map(|row| Some((row, row.traceparent.parse().ok()?)))
            .peekable();
        let Some((began_at, settling)) = readable
            .peek()
            .map(|(row, _)| (row.accepted_at, row.settling + 1))
        else {
            return Ok(None);
        };
        Ok(Some(SettlingTrace {
            contexts: readable.map(|(_, context)| context).collect(),
            began_at,
            settling,
        }))
    }
}
