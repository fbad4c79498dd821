//! The displayed state of a destination: besides the stored state, whether it was ever tried, and whether it skips
//! everything. One SQL expression computes it with a few index look-ups.

use crate::settings::destinations::Destination;
use crate::store::Store;
use const_format::formatcp;
use db::connection::AnyConnection;
use db::error::Error;
use db::partial::{
    FAILED_OF_DESTINATION, PENDING_OF_DESTINATION, SKIPPED_OF_DESTINATION, WAITING_OF_DESTINATION,
};
use db::sql::{Sql, statement};
use db::statement::{row, sql, stored};
use domain::time::DAY;
use domain::{DestinationId, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::ops::Deref;

stored! {
    /// Displayed state of a destination.
    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(rename_all = "snake_case")]
    #[schemars(inline)]
    pub enum ShownState {
        /// No request has been sent yet.
        NotTried = "not_tried",
        /// All events of the last 24 hours were skipped.
        SkipsEverything = "skips_everything",
        /// The last request succeeded.
        Healthy = "healthy",
        /// A request has failed since the last success.
        Failing = "failing",
        /// The circuit breaker is open: only probes are sent.
        Open = "open",
        /// Sending is disabled.
        Disabled = "disabled",
    }
}

row! {
    /// A destination with its displayed state.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
    #[schemars(rename = "Destination")]
    pub struct ShownDestination {
        /// The destination.
        #[serde(flatten)]
        pub destination: Destination,
        /// State of the destination, as displayed.
        pub shown_state: ShownState,
        /// When the first request failed since the last success.
        #[serde(skip)]
        pub first_failure_at: Option<Timestamp>,
    }
}

impl ShownDestination {
    /// Returns the destination; if it is failing, its state begins with the first failure.
    pub fn since_first_failure(self) -> Destination {
        let is_failing = matches!(self.shown_state, ShownState::Failing | ShownState::Open);
        let failing_since = self.first_failure_at.filter(|_| is_failing);
        Destination {
            since: failing_since.unwrap_or(self.destination.since),
            ..self.destination
        }
    }
}

impl Deref for ShownDestination {
    type Target = Destination;

    fn deref(&self) -> &Destination {
        &self.destination
    }
}

/// The displayed state of a destination `t` with the health `h`. Binds the values of [`since`]. Only the newest skipped
/// and the newest failed delivery count; `h` contains the results of recent requests.
pub const SHOWN_STATE: &str = formatcp!(
    "
    CASE
            WHEN t.state <> 'healthy' THEN t.state
            WHEN (SELECT d.created_at FROM deliveries d WHERE d.destination_id = t.id AND d.status {SKIPPED_OF_DESTINATION}
                    ORDER BY d.seq DESC LIMIT 1) >= ?
                AND COALESCE((SELECT d.created_at FROM deliveries d WHERE d.destination_id = t.id
                    AND d.status {FAILED_OF_DESTINATION} ORDER BY d.seq DESC LIMIT 1), 0) < ?
                AND COALESCE(h.last_success_at, 0) < ? AND COALESCE(h.last_failure_at, 0) < ?
                AND (SELECT 1 FROM deliveries d WHERE d.destination_id = t.id
                    AND d.status {PENDING_OF_DESTINATION} LIMIT 1) IS NULL
                AND (SELECT 1 FROM deliveries d WHERE d.destination_id = t.id
                    AND d.status {WAITING_OF_DESTINATION} LIMIT 1) IS NULL
                THEN 'skips_everything'
            WHEN h.last_success_at IS NULL AND h.last_failure_at IS NULL THEN 'not_tried'
            ELSE t.state
        END"
);

const FIND: Sql = statement! {"
    SELECT {SHOWN_STATE} AS value
    FROM destinations t
    JOIN health h ON h.destination_id = t.id
    WHERE t.id = ?
"};

/// Returns the time since which events count, once for each `?` in [`SHOWN_STATE`].
pub fn since(now: Timestamp) -> [Timestamp; 4] {
    [now.minus(DAY); 4]
}

/// Returns the displayed state of a destination, which may be deleted.
pub fn of(
    connection: &mut AnyConnection,
    id: DestinationId,
    now: Timestamp,
) -> Result<ShownState, Error> {
    let found = sql(FIND).bind_all(since(now)).bind(id).value(connection)?;
    found.ok_or(Error::Missing {
        what: "destination",
    })
}

impl Store {
    /// Returns the displayed state of a destination.
    pub async fn shown_state(&self, id: DestinationId) -> Result<ShownState, Error> {
        self.read_now(move |connection, now| of(connection, id, now))
            .await
    }
}
