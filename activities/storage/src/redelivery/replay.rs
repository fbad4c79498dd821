//! Compacted replay: a destination is owed the newest state of purchases, one delivery for each.
//!
//! Nothing that was acknowledged is forgotten for it: the acknowledged revision never falls. A receiver that lost its
//! table reads the feed and names what it misses, or an admin sends it all.

use crate::db::connection::AnyConnection;
use crate::db::error::Error;
use crate::db::page::Page;
use crate::db::statement::{row, sql};
use crate::db::store::Store;
use crate::db::writer::Write;
use crate::purchases::purchase;
use crate::redelivery::again::{self, Condition, Owing, Skipped, newest_event};
use crate::redelivery::pages::{self, RunMode};
use crate::settings::destinations::{self, Destination};
use domain::event::PURCHASE_UPDATED;
use domain::{AppId, CollapseKey, DestinationId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Which purchases are to be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Replay {
    /// Those whose newest state the destination has not acknowledged.
    Behind,
    /// All, whatever was acknowledged.
    All,
    /// These, which it reports as missing.
    These(Vec<CollapseKey>),
}

/// One page of a replay.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replayed {
    /// How many purchases were checked.
    pub purchases: i64,
    /// The result.
    pub owing: Owing,
    /// The cursor of the next page; `None` at the end.
    pub next_cursor: Option<String>,
}

row! {
    struct Key {
        collapse_key: CollapseKey,
    }
}

impl Store {
    /// Owes a destination the newest state of a page of purchases. What is owed already is not owed twice. A dry run
    /// only counts; what is owed once in a run is not owed again by it: [`RunMode::Once`]. A destination that did not
    /// choose such events: [`Error::Unsuitable`].
    pub async fn replay(
        &self,
        id: DestinationId,
        what: Replay,
        (page, how): (Page, impl Into<RunMode> + Send),
    ) -> Result<Replayed, Error> {
        let (clock, condition, how) = (self.clock, what.condition(), how.into());
        let place = how.place(&page, &json!([what, id]));
        if let Some(done) = self.answered(place.clone()).await? {
            return Ok(done);
        }
        let (mut keys, next_cursor) = self.read(move |connection| keys(connection, id, (what, &page))).await?;
        // In one order, so that two of these never wait for each other in a circle.
        keys.sort_unstable();
        keys.dedup();
        let purchases = i64::try_from(keys.len()).unwrap_or(i64::MAX);
        if how == RunMode::Dry {
            let dry_run = move |connection: &mut AnyConnection| {
                let now = connection.now(clock)?;
                dry_run(connection, (id, condition), (&keys, now))
            };
            return Ok(Replayed { purchases, owing: self.read(dry_run).await?, next_cursor });
        }
        self.write(move |write| {
            pages::once(write, place.as_ref(), |write| {
                let owing = owe(write, (id, condition), &keys)?;
                Ok(Replayed { purchases, owing, next_cursor: next_cursor.clone() })
            })
        })
        .await
    }
}

impl Replay {
    const fn condition(&self) -> Condition {
        if matches!(self, Self::Behind) { Condition::Unacknowledged } else { Condition::Always }
    }
}

/// The purchases of a page, and where the next begins.
fn keys(
    connection: &mut AnyConnection,
    id: DestinationId,
    (what, page): (Replay, &Page),
) -> Result<(Vec<CollapseKey>, Option<String>), Error> {
    let app = chosen_by(connection, id)?.app_id;
    if let Replay::These(keys) = what {
        return Ok((keys, None));
    }
    let mut keys = of_app(connection, app, page)?;
    let size = usize::try_from(page.size()).unwrap_or(usize::MAX);
    let has_more = keys.len() > size;
    keys.truncate(size);
    let next_cursor = if has_more { keys.last().map(ToString::to_string) } else { None };
    Ok((keys, next_cursor))
}

fn of_app(connection: &mut AnyConnection, app: AppId, page: &Page) -> Result<Vec<CollapseKey>, Error> {
    let rows: Vec<Key> =
        sql("SELECT collapse_key FROM purchases WHERE app_id = ? AND collapse_key > ? ORDER BY collapse_key LIMIT ?")
            .bind(app)
            .bind(page.cursor.clone().unwrap_or_default())
            .bind(page.size() + 1)
            .all(connection)?;
    Ok(rows.into_iter().map(|row| row.collapse_key).collect())
}

/// The destination, which chose `purchase.updated`.
fn chosen_by(connection: &mut AnyConnection, id: DestinationId) -> Result<Destination, Error> {
    let destination = destinations::find(connection, id)?.ok_or(Error::Missing { what: "destination" })?;
    let destination = destination.destination()?;
    if destination.chose(PURCHASE_UPDATED) {
        return Ok(destination);
    }
    let detail = format!(
        "the destination chose {} and not {PURCHASE_UPDATED}, of which a replay consists: choose it first",
        destination.events.join(", ")
    );
    Err(Error::Unsuitable(detail))
}

fn dry_run(
    connection: &mut AnyConnection,
    (id, condition): (DestinationId, Condition),
    (keys, now): (&[CollapseKey], Timestamp),
) -> Result<Owing, Error> {
    let destination = chosen_by(connection, id)?;
    let mut owing = Owing::default();
    for key in keys {
        let origin = purchase::origin(connection, *key)?.filter(|origin| origin.app_id == destination.app_id);
        match (origin, newest_event(connection, *key)?) {
            (Some(origin), Some(event)) => {
                let verdict = again::verdict(connection, (&event, &origin), (&destination, condition), now)?;
                owing.count(id, verdict);
            }
            _ => owing.skip(Skipped::Unknown),
        }
    }
    Ok(owing)
}

fn owe(
    write: &mut Write<'_>,
    (id, condition): (DestinationId, Condition),
    keys: &[CollapseKey],
) -> Result<Owing, Error> {
    let destination = chosen_by(write.connection, id)?;
    let mut owing = Owing::default();
    for key in keys {
        let origin = again::lock(write, *key)?.filter(|origin| origin.app_id == destination.app_id);
        match (origin, newest_event(write.connection, *key)?) {
            (Some(origin), Some(event)) => {
                let verdict = again::owe(write, (&event, &origin), (&destination, condition))?;
                owing.count(id, verdict);
            }
            _ => owing.skip(Skipped::Unknown),
        }
    }
    Ok(owing)
}
