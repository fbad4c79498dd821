//! Destinations, with the time of their current subscription to events. For an event that was recorded before that
//! time, no delivery can be expected.

use crate::settings::destinations::rows::COLUMNS;
use crate::settings::destinations::{Destination, DestinationRow};
use db::connection::AnyConnection;
use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::{row, sql};
use domain::{AppId, Timestamp};
use std::time::Duration;

/// If an event is recorded while a subscription changes, either transaction may miss the other. So events this close to
/// a change are not checked.
pub const MARGIN: Duration = Duration::from_secs(60);

/// A destination, possibly deleted, with the time of its current subscription.
#[derive(Debug)]
pub struct Chooser {
    pub destination: Destination,
    /// When its subscription last changed; `None` if it is unchanged since the destination's creation.
    pub chosen_at: Option<Timestamp>,
    pub deleted_at: Option<Timestamp>,
}

row! {
    struct ChooserRow {
        destination: DestinationRow,
        chosen_at: Option<Timestamp>,
        deleted_at: Option<Timestamp>,
    }
}

const OF_APP: Sql = statement! {"
    SELECT {COLUMNS}, chosen_at, deleted_at
    FROM destinations
    WHERE app_id = ?
    ORDER BY created_at, id
"};

/// Returns all destinations that an app has or had.
pub fn of_app(connection: &mut AnyConnection, app: AppId) -> Result<Vec<Chooser>, Error> {
    let rows: Vec<ChooserRow> = sql(OF_APP).bind(app).all(connection)?;
    rows.into_iter().map(ChooserRow::chooser).collect()
}

impl ChooserRow {
    fn chooser(self) -> Result<Chooser, Error> {
        let destination = self.destination.destination();
        Ok(Chooser {
            destination,
            chosen_at: self.chosen_at,
            deleted_at: self.deleted_at,
        })
    }
}

impl Chooser {
    /// Returns the time from which the current subscription certainly applies: [`MARGIN`] after its change, or after
    /// the creation.
    pub fn known_from(&self) -> Timestamp {
        self.chosen_at
            .unwrap_or(self.destination.created_at)
            .max(self.destination.created_at)
            .plus(MARGIN)
    }
}
