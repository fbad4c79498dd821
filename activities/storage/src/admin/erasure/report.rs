//! The rows of requests to erase a customer, and the report of each request.

use db::connection::MultiBackend;
use db::error::Error;
use db::secrets::Secrets;
use db::sql::{Sql, statement};
use db::statement::{Field, row, sql, stored};
use db::writer::Write;
use diesel::deserialize;
use diesel::row::NamedRow;
use domain::user::ErasedNames;
use domain::{AppId, DestinationId, Timestamp, UserId};
use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use uuid::Uuid;

stored! {
    /// Next step in erasing a customer. The steps run in this order; data that is still to be sent comes first.
    #[derive(PartialOrd, Ord, Serialize, JsonSchema)]
    #[serde(rename_all = "snake_case")]
    pub enum ErasureStage {
        /// Remove the names from the events of the customer's purchases.
        Events = "events",
        /// Remove the names from other events.
        EventsOfUser = "events_of_user",
        /// Remove the names from bodies that are still to be sent, and from stored responses of destinations.
        Deliveries = "deliveries",
        /// Remove the names from device events, sent or not.
        DeviceEvents = "device_events",
        /// Remove the names from notifications that still have a body.
        Notifications = "notifications",
        /// Remove the names from claims of purchases on all devices.
        Claims = "claims",
        /// Remove the names from alarms.
        Alarms = "alarms",
        /// Remove the names from transfers, and from records that appeared in the meantime.
        Rest = "rest",
        /// The names are removed. Requests to delete the user are being sent to destinations.
        Destinations = "destinations",
        /// The erasure is complete.
        Done = "done",
    }
}

/// Progress of a destination's request to delete a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeletionStatus {
    /// The request has yet to be sent.
    Pending,
    /// The destination accepted the request.
    Accepted,
    /// The destination does not support such requests, or lacks a setting that they need.
    NotPossible,
}

/// A destination that gets a request to delete a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeletionState {
    /// Id of the destination.
    pub destination_id: DestinationId,
    /// Progress of the request.
    pub status: DeletionStatus,
    /// Number of requests sent.
    pub attempts: u32,
    /// Why the request could not be sent, or why the last attempt failed.
    pub error: Option<String>,
}

/// Numbers of changed rows by table.
pub type Counts = BTreeMap<String, u64>;

row! {
    /// Report of the erasure of a customer.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
    pub struct Erasure {
        /// Id of the erasure.
        pub id: Uuid,
        /// Id of the customer's app.
        pub app_id: AppId,
        /// Id of the anonymous user that replaces the customer.
        pub user_id: UserId,
        /// Name of the person who requested the erasure.
        pub by: String,
        /// Reason for the erasure.
        pub reason: String,
        /// Next step of the erasure.
        pub stage: ErasureStage,
        /// Number of changed rows by table.
        pub counts: Counts,
        /// Destinations of the app that store users.
        pub destinations: Vec<DeletionState> = destinations,
        /// When the erasure was requested. Data recorded later contains no names. Data recorded earlier and still to be
        /// sent contained names until `stage` was `notifications`.
        pub requested_at: Timestamp,
        /// When the names had been removed everywhere; null until then.
        pub removed_at: Option<Timestamp>,
        /// When the erasure was completed; null until then.
        pub finished_at: Option<Timestamp>,
    }
}

fn destinations<'a>(
    row: &impl NamedRow<'a, MultiBackend>,
) -> deserialize::Result<Vec<DeletionState>> {
    Ok(serde_json::from_str(&String::read(row, "destinations")?)?)
}

row! {
    /// An erasure request as it is stored.
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

/// The table, as the purpose under which names are encrypted.
pub const TABLE: &str = "erasures";

const NOTE: Sql = statement! {"
    UPDATE erasures
    SET names = ?, stage = ?, after_seq = ?, counts = ?, destinations = ?, due_at = ?, removed_at = ?, finished_at = ?
    WHERE id = ?
"};

impl Erasure {
    /// Returns the destinations to which the request is still to be sent.
    pub fn pending(&self) -> impl Iterator<Item = &DeletionState> {
        self.destinations
            .iter()
            .filter(|one| one.status == DeletionStatus::Pending)
    }
}

impl ErasureRow {
    /// Decrypts the names, which are stored until the erasure is complete; afterwards there are none.
    pub fn names(&self, secrets: &Secrets) -> Result<ErasedNames, Error> {
        let Some(sealed) = &self.names else {
            return Ok(ErasedNames::default());
        };
        let names = secrets.open(TABLE, &self.report.id.to_string(), sealed)?;
        serde_json::from_str(names.expose_secret())
            .map_err(|_| Error::corrupt("the names of an erased customer are not readable"))
    }

    /// Stores the progress. Once the names are removed everywhere and no request is still to be sent, this completes
    /// the erasure and removes the names from this row too.
    pub fn note(mut self, write: &mut Write<'_>) -> Result<(), Error> {
        if self.report.stage == ErasureStage::Destinations && self.report.pending().next().is_none()
        {
            self.report.stage = ErasureStage::Done;
            self.report.finished_at = Some(write.now()?);
            self.names = None;
        }
        sql(NOTE)
            .bind((
                self.names.as_deref(),
                self.report.stage,
                self.after_seq,
                json(&self.report.counts)?,
                json(&self.report.destinations)?,
                self.due_at,
                self.report.removed_at,
                self.report.finished_at,
                self.report.id,
            ))
            .run(write.connection)
            .map(drop)
    }
}

/// Encrypts the names for storage.
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

/// Converts a value to its stored JSON.
pub fn json<T: Serialize>(value: &T) -> Result<String, Error> {
    serde_json::to_string(value)
        .map_err(|cause| Error::corrupt_by("a report cannot be written", cause))
}
