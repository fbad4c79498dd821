//! Destinations, with the time of their current subscription to events. No delivery can be expected of an event that
//! was recorded before that time.

use crate::settings::destinations::rows::COLUMNS;
use crate::settings::destinations::{Destination, DestinationRow};
use db::connection::AnyConnection;
use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::{row, sql};
use domain::{AppId, Timestamp};
use std::time::Duration;

/// A change of a choice and an event that is recorded at the same moment may not see each other. So events this close
/// to a change are not judged.
pub const MARGIN: Duration = Duration::from_secs(60);

/// A destination, also a deleted one, with the time of its present choice.
#[derive(Debug)]
pub struct Chooser {
    pub destination: Destination,
    /// When it got its present choice; `None` if it has had it since its creation.
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

/// All destinations that an app ever had.
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
    /// The time from which its choice is surely the present one: [`MARGIN`] after the change or the creation.
    pub fn known_from(&self) -> Timestamp {
        self.chosen_at
            .unwrap_or(self.destination.created_at)
            .max(self.destination.created_at)
            .plus(MARGIN)
    }
}
