//! The rows of requests to erase a customer, and the report of what was done.

use crate::db::error::Error;
use crate::db::secrets::Secrets;
use crate::db::sql::{Sql, statement};
use crate::db::statement::{json_columns, row, sql, stored};
use crate::db::writer::Write;
use domain::user::ErasedNames;
use domain::{AppId, DestinationId, Timestamp, UserId};
use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use uuid::Uuid;

stored! {
    /// What is done next for a customer who is to be erased, in this order: what waits to be sent comes first.
    #[derive(PartialOrd, Ord, Serialize, JsonSchema)]
    #[serde(rename_all = "snake_case")]
    pub enum ErasureStage {
        /// The events of their purchases.
        Events = "events",
        /// Other events that name them.
        EventsOfUser = "events_of_user",
        /// The bodies that wait to be sent, and the answers of destinations.
        Deliveries = "deliveries",
        /// What devices reported, sent or not.
        DeviceEvents = "device_events",
        /// Notifications that still have a body.
        Notifications = "notifications",
        /// The claims of receipts, of all devices.
        Claims = "claims",
        /// Alarms that have a name of theirs.
        Alarms = "alarms",
        /// Transfers from and to them, and what appeared again meanwhile.
        Rest = "rest",
        /// The names are removed, and destinations get requests to delete the user.
        Destinations = "destinations",
        /// All is done.
        Done = "done",
    }
}

/// How far the request to a destination to delete a user came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeletionStatus {
    /// The request is still to be sent.
    Pending,
    /// It accepted the request.
    Accepted,
    /// It takes no such request, or lacks what is needed for it.
    NotPossible,
}

/// A destination that gets a request to delete a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeletionState {
    /// Which one.
    pub destination_id: DestinationId,
    /// How far the request came.
    pub status: DeletionStatus,
    /// Number of requests.
    pub attempts: u32,
    /// Why no request could be sent, or why the last one failed.
    pub error: Option<String>,
}

/// Numbers of changed rows by table.
pub type Counts = BTreeMap<String, u64>;

json_columns!(Counts, Vec<DeletionState>);

row! {
    /// A report of what was done to erase a customer.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
    pub struct Erasure {
        /// Its id.
        pub id: Uuid,
        /// The app.
        pub app_id: AppId,
        /// The anonymous user in the place of the customer.
        pub user_id: UserId,
        /// Who requested it.
        pub by: String,
        /// Why.
        pub reason: String,
        /// What is done next.
        pub stage: ErasureStage,
        /// Number of changed rows by table.
        pub counts: Counts,
        /// The destinations of the app that keep users.
        pub destinations: Vec<DeletionState>,
        /// When it was requested: what was recorded from then on has no name. What was recorded before and waited to be
        /// sent was still sent with names, until `stage` was `notifications`.
        pub requested_at: Timestamp,
        /// When the names were removed everywhere; null before.
        pub removed_at: Option<Timestamp>,
        /// When all was done; null before.
        pub finished_at: Option<Timestamp>,
    }
}

row! {
    /// A request, as it is stored.
    pub struct ErasureRow {
        pub report: Erasure,
        pub names: Option<String>,
        pub after_seq: i64,
        pub due_at: Timestamp,
    }
}

/// The columns of an [`ErasureRow`].
pub const SELECT: &str = "
    SELECT id, app_id, user_id, requested_by AS \"by\", reason, names, stage, after_seq, counts, destinations, due_at,
        requested_at, removed_at, finished_at
    FROM erasures";

/// The table, for the encryption of names.
pub const TABLE: &str = "erasures";

const NOTE: Sql = statement! {"
    UPDATE erasures
    SET names = ?, stage = ?, after_seq = ?, counts = ?, destinations = ?, due_at = ?, removed_at = ?, finished_at = ?
    WHERE id = ?
"};

impl Erasure {
    /// The destinations whose request is still to be sent.
    pub fn pending(&self) -> impl Iterator<Item = &DeletionState> {
        self.destinations
            .iter()
            .filter(|one| one.status == DeletionStatus::Pending)
    }
}

impl ErasureRow {
    /// The names, which are sealed until all is done.
    pub fn names(&self, secrets: &Secrets) -> Result<ErasedNames, Error> {
        let Some(sealed) = &self.names else {
            return Ok(ErasedNames::default());
        };
        let names = secrets.open(TABLE, &self.report.id.to_string(), sealed)?;
        serde_json::from_str(names.expose_secret())
            .map_err(|_| Error::corrupt("the names of an erased customer are not readable"))
    }

    /// Stores how far it came. Once the names are removed and no request is still to be sent, all is done, and the names
    /// are removed here too.
    pub fn note(mut self, write: &mut Write<'_>) -> Result<(), Error> {
        if self.report.stage == ErasureStage::Destinations && self.report.pending().next().is_none()
        {
            self.report.stage = ErasureStage::Done;
            self.report.finished_at = Some(write.now()?);
            self.names = None;
        }
        sql(NOTE)
            .bind(self.names.as_deref())
            .bind(self.report.stage)
            .bind(self.after_seq)
            .bind(json(&self.report.counts)?)
            .bind(json(&self.report.destinations)?)
            .bind(self.due_at)
            .bind(self.report.removed_at)
            .bind(self.report.finished_at)
            .bind(self.report.id)
            .run(write.connection)
            .map(drop)
    }
}

/// The stored form of the names.
pub fn seal(
    write: &mut Write<'_>,
    secrets: &Secrets,
    id: Uuid,
    names: &ErasedNames,
) -> Result<String, Error> {
    let json = serde_json::to_string(names)
        .map_err(|cause| Error::corrupt_by("names cannot be written", cause))?;
    secrets.seal(write, (TABLE, &id.to_string()), &SecretString::from(json))
}

/// A value as it is stored.
pub fn json<T: Serialize>(value: &T) -> Result<String, Error> {
    serde_json::to_string(value)
        .map_err(|cause| Error::corrupt_by("a report cannot be written", cause))
}
