//! The explanation of a destination: its health, its pending, failed and skipped deliveries, and the payments whose
//! events it did not choose.

use super::events::{self, AnnouncedEvent, Sending};
use crate::delivery::health::{self, HealthView};
use crate::events::deliveries;
use crate::reports::choosers::{self, Chooser};
use crate::reports::deliveries::DELIVERIES_WHERE;
use crate::reports::shown_state::{self, ShownState};
use crate::reports::unchosen::{self, UnchosenType};
use crate::settings::destinations::Destination;
use db::connection::AnyConnection;
use db::error::Error;
use db::partial::{
    FAILED_OF_DESTINATION, PENDING_OF_DESTINATION, SKIPPED_OF_DESTINATION, WAITING_OF_DESTINATION,
};
use db::sql::{Clause, Sql, clause, statement};
use db::statement::{row, sql};
use domain::{AppId, CollapseKey, DestinationId, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Maximum number of deliveries that are shown of each: pending, failed and skipped.
const MAX_SHOWN: i64 = 5;

/// A destination for which an event of its app may have been queued.
#[derive(Debug, Clone, PartialEq)]
pub struct Addressee {
    /// The destination, which may be deleted.
    pub destination: Destination,
    /// When its subscription last changed; `None` if it is unchanged since the destination's creation.
    pub chosen_at: Option<Timestamp>,
    pub deleted_at: Option<Timestamp>,
    pub health: HealthView,
}

/// The numbers of waiting, failed and skipped deliveries of a destination, each counted up to 10,000.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Backlog {
    /// Number of deliveries that wait for the customer's external id.
    pub waiting: i64,
    /// Number of failed deliveries.
    pub failed: i64,
    /// Number of deliveries that finished unsent because the destination must not receive their events.
    pub skipped: i64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct DestinationExplanation {
    pub addressee: Addressee,
    /// State of the destination, as displayed.
    pub shown_state: ShownState,
    /// The numbers of its waiting, failed and skipped deliveries, each counted up to [`Self::MAX_COUNTED`].
    pub backlog: Backlog,
    pub pending: Vec<Sending>,
    pub failed: Vec<Sending>,
    pub skipped: Vec<Sending>,
    /// The payments that the destination did not receive because of its subscription, if it counts revenue and is not
    /// deleted.
    pub unchosen: Vec<UnchosenType>,
    /// The store's ids of all purchases that are shown.
    pub store_ids: HashMap<CollapseKey, String>,
    pub now: Timestamp,
}

impl DestinationExplanation {
    /// Maximum number of deliveries in a status that are counted.
    pub const MAX_COUNTED: i64 = deliveries::MAX_COUNTED;
}

/// Returns the destinations of the apps to which these events belong, including deleted ones.
pub fn addressees<'a>(
    connection: &mut AnyConnection,
    events: impl IntoIterator<Item = &'a AnnouncedEvent>,
) -> Result<Vec<Addressee>, Error> {
    let mut addressees: Vec<Addressee> = Vec::new();
    for one in events {
        let app = match one.event.origin {
            Some((app, ..)) => Some(app),
            None => one.event.own_app_id,
        };
        let Some(app) = app else { continue };
        if !addressees
            .iter()
            .any(|known| known.destination.app_id == app)
        {
            addressees.extend(of_app(connection, app)?);
        }
    }
    Ok(addressees)
}

/// Explains a destination; `None` if there never was one with this id.
pub fn find(
    connection: &mut AnyConnection,
    id: DestinationId,
    now: Timestamp,
) -> Result<Option<DestinationExplanation>, Error> {
    let Some(app) = app_of(connection, id)? else {
        return Ok(None);
    };
    let addressee = of_app(connection, app)?
        .into_iter()
        .find(|one| one.destination.id == id);
    let Some(addressee) = addressee else {
        return Ok(None);
    };
    let shown_state = shown_state::of(connection, id, now)?;
    let backlog = backlog(connection, id)?;
    let pending = events::sendings(
        connection,
        sql(DELIVERIES_WHERE.of(OLDEST_PENDING)).bind(id),
        now,
    )?;
    let failed = events::sendings(
        connection,
        sql(DELIVERIES_WHERE.of(NEWEST_FAILED)).bind(id),
        now,
    )?;
    let skipped = events::sendings(
        connection,
        sql(DELIVERIES_WHERE.of(NEWEST_SKIPPED)).bind(id),
        now,
    )?;
    let unchosen = match addressee.deleted_at {
        None => unchosen::by_type(connection, &addressee.destination)?,
        Some(_) => Vec::new(),
    };
    let shown = pending
        .iter()
        .chain(&failed)
        .chain(&skipped)
        .map(|one| one.delivery.collapse_key);
    let paid = unchosen
        .iter()
        .flat_map(|one| &one.latest)
        .map(|one| one.collapse_key);
    let store_ids = store_ids(connection, shown.chain(paid))?;
    Ok(Some(DestinationExplanation {
        addressee,
        shown_state,
        backlog,
        pending,
        failed,
        skipped,
        unchosen,
        store_ids,
        now,
    }))
}

row! {
    struct PurchaseId {
        collapse_key: CollapseKey,
        receipt_id: String,
    }
}

const STORE_IDS: Sql =
    statement!("SELECT collapse_key, receipt_id FROM purchases WHERE collapse_key IN (?*)");

/// Returns the store's ids of these purchases.
fn store_ids(
    connection: &mut AnyConnection,
    keys: impl Iterator<Item = CollapseKey>,
) -> Result<HashMap<CollapseKey, String>, Error> {
    let keys: Vec<CollapseKey> = keys.collect();
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<PurchaseId> = sql(STORE_IDS).uncached().bind_list(keys).all(connection)?;
    Ok(rows
        .into_iter()
        .map(|row| (row.collapse_key, row.receipt_id))
        .collect())
}

const OLDEST_PENDING: Clause = clause! {&[DELIVERIES_WHERE], hot "deliveries_pending_of_destination", "
    destination_id = ? AND status {PENDING_OF_DESTINATION}
    ORDER BY seq
    LIMIT {MAX_SHOWN}
"};
const NEWEST_FAILED: Clause = clause! {&[DELIVERIES_WHERE], hot "deliveries_failed_to_destination", "
    destination_id = ? AND status {FAILED_OF_DESTINATION}
    ORDER BY seq DESC
    LIMIT {MAX_SHOWN}
"};

const NEWEST_SKIPPED: Clause = clause! {
    &[DELIVERIES_WHERE], hot "deliveries_skipped_to_destination", "
    destination_id = ? AND status {SKIPPED_OF_DESTINATION}
    ORDER BY seq DESC
    LIMIT {MAX_SHOWN}
"};

const APP_OF_DESTINATION: Sql = statement!("SELECT app_id AS value FROM destinations WHERE id = ?");

fn app_of(connection: &mut AnyConnection, id: DestinationId) -> Result<Option<AppId>, Error> {
    sql(APP_OF_DESTINATION).bind(id).value(connection)
}

/// Returns all destinations that an app has or had.
pub fn of_app(connection: &mut AnyConnection, app: AppId) -> Result<Vec<Addressee>, Error> {
    let mut all = Vec::new();
    for Chooser {
        destination,
        chosen_at,
        deleted_at,
    } in choosers::of_app(connection, app)?
    {
        let health = health::view(connection, destination.id)?;
        all.push(Addressee {
            destination,
            chosen_at,
            deleted_at,
            health,
        });
    }
    Ok(all)
}

/// Counts the waiting, failed and skipped deliveries of a destination.
pub fn backlog(connection: &mut AnyConnection, id: DestinationId) -> Result<Backlog, Error> {
    Ok(Backlog {
        waiting: count(connection, id, WAITING)?,
        failed: count(connection, id, FAILED)?,
        skipped: count(connection, id, SKIPPED)?,
    })
}

const COUNT: Sql = statement! {"
    SELECT COUNT(*) AS value
    FROM (SELECT 1 FROM deliveries WHERE destination_id = ? AND {{which}} LIMIT ?) x
"};
const WAITING: Clause =
    clause! {&[COUNT], hot "deliveries_unnamed_of_destination", "status {WAITING_OF_DESTINATION}"};
const FAILED: Clause =
    clause!(&[COUNT], hot "deliveries_failed_to_destination", "status {FAILED_OF_DESTINATION}");
const SKIPPED: Clause =
    clause!(&[COUNT], hot "deliveries_skipped_to_destination", "status {SKIPPED_OF_DESTINATION}");

fn count(connection: &mut AnyConnection, id: DestinationId, which: Clause) -> Result<i64, Error> {
    let counted = sql(COUNT.of(which))
        .bind(id)
        .bind(DestinationExplanation::MAX_COUNTED)
        .value(connection)?;
    Ok(counted.unwrap_or(0))
}
