//! Destinations, with since when they choose what they choose: what happened before says nothing about them.

use crate::db::connection::AnyConnection;
use crate::db::error::Error;
use crate::db::sql::{Sql, statement};
use crate::db::statement::{row, sql};
use crate::settings::destinations::rows::COLUMNS;
use crate::settings::destinations::{Destination, DestinationRow};
use domain::{AppId, Timestamp};
use std::time::Duration;

/// A choice and a row that were written at the same moment may not have seen each other: this close to a change, nothing
/// is concluded.
pub const MARGIN: Duration = Duration::from_secs(60);

/// A destination, perhaps a deleted one, and its choice.
#[derive(Debug)]
pub struct Chooser {
    /// The destination.
    pub destination: Destination,
    /// Since when it has its present choice; `None` since it was created.
    pub chosen_at: Option<Timestamp>,
    /// When it was deleted.
    pub deleted_at: Option<Timestamp>,
}

row! {
    struct Row {
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
    let rows: Vec<Row> = sql(OF_APP).bind(app).all(connection)?;
    rows.into_iter().map(Row::chooser).collect()
}

impl Row {
    fn chooser(self) -> Result<Chooser, Error> {
        let destination = self.destination.destination();
        Ok(Chooser { destination, chosen_at: self.chosen_at, deleted_at: self.deleted_at })
    }
}

impl Chooser {
    /// From when on its choice is known to be what it is.
    pub fn known_from(&self) -> Timestamp {
        self.chosen_at.unwrap_or(self.destination.created_at).max(self.destination.created_at).plus(MARGIN)
    }
}
