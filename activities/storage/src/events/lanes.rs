//! The open lanes of a purchase: the destinations for which a delivery of one of its events is pending.
//!
//! A lane is open while it has a pending delivery and its destination is enabled. No column says so, and no code
//! closes a lane: it counts as closed when nothing is pending, or when its destination is disabled or deleted.

use db::connection::AnyConnection;
use db::error::Error;
use db::partial::PENDING_OF_LANE;
use db::sql::{Sql, statement};
use db::statement::{Ahead, row, sql};
use db::writer::Write;
use domain::{CollapseKey, DestinationId, Lane};

/// Inserts nothing if the destination does not exist.
const INSERT: Sql = statement! {"
    INSERT INTO lanes (destination_id, collapse_key)
    SELECT d.id, CAST(? AS TEXT)
    FROM destinations d
    WHERE d.id = ?
    ON CONFLICT DO NOTHING
"};

/// Inserts the row of a lane; returns whether there was none.
pub fn insert(
    write: &mut Write<'_>,
    key: CollapseKey,
    destination: DestinationId,
) -> Result<bool, Error> {
    Ok(sql(INSERT)
        .bind(key)
        .bind(destination)
        .run(write.connection)?
        > 0)
}

/// Inserts the row of a lane if there is none, together with the statements that follow.
pub fn insert_later(
    write: &mut Write<'_>,
    key: CollapseKey,
    destination: DestinationId,
) -> Result<(), Error> {
    sql(INSERT)
        .bind(key)
        .bind(destination)
        .later(write.connection)
}

row! {
    struct OpenLane {
        destination_id: DestinationId,
        last_seq: i64,
        failing: i64,
    }
}

const OPEN: Sql = statement! {hot "deliveries_pending_of_lane", "
    SELECT d.destination_id, MAX(d.seq) AS last_seq, COUNT(d.last_error) AS failing
    FROM deliveries d
    JOIN destinations ON destinations.id = d.destination_id
    WHERE d.collapse_key = ? AND d.status {PENDING_OF_LANE} AND destinations.enabled AND destinations.deleted_at IS NULL
    GROUP BY d.destination_id
    ORDER BY d.destination_id
"};

/// Returns the open lanes of a purchase.
pub fn open(connection: &mut AnyConnection, key: CollapseKey) -> Result<Vec<Lane>, Error> {
    open_ahead(connection, key)?.fetch(connection)
}

/// Starts the query of [`open`]; the lanes are fetched later.
pub fn open_ahead(connection: &mut AnyConnection, key: CollapseKey) -> Result<OpenLanes, Error> {
    sql(OPEN).bind(key).ahead(connection).map(OpenLanes)
}

/// The open lanes of a purchase; they are fetched later.
pub struct OpenLanes(Ahead<'static, OpenLane>);

impl OpenLanes {
    pub fn fetch(self, connection: &mut AnyConnection) -> Result<Vec<Lane>, Error> {
        let lane = |row: OpenLane| Lane {
            destination_id: row.destination_id,
            last_seq: row.last_seq,
            failing: row.failing > 0,
        };
        Ok(self.0.all(connection)?.into_iter().map(lane).collect())
    }
}
