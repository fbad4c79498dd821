//! A snapshot for a destination: the newest state of every purchase of its app, to whom it was never owed.

use crate::admin::newest_event;
use crate::catalogue::Run;
use crate::connection::AnyConnection;
use crate::statement::{Number, row, sql};
use crate::{Destination, Error, Page, Paged, Store, again, deliveries, destinations, purchase};
use domain::event::PURCHASE_UPDATED;
use domain::{AppId, CollapseKey, DestinationId, EventId};

/// One page of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotPage {
    /// How many purchases were looked at.
    pub purchases: i64,
    /// Those whose newest state is owed now, and was not before.
    pub owed: Vec<CollapseKey>,
    /// What to ask for next; `None` at the end.
    pub next_cursor: Option<String>,
}

row! {
    struct Key {
        collapse_key: CollapseKey,
    }
}

impl Store {
    /// Owes a destination the newest `purchase.updated` of a page of purchases, each that was never owed to it. A
    /// dry run only answers. A destination that did not choose such events: [`Error::Conflict`].
    pub async fn snapshot(&self, id: DestinationId, page: Page, run: Run) -> Result<SnapshotPage, Error> {
        let keys = self.page_of(id, &page).await?;
        let purchases = i64::try_from(keys.items.len()).unwrap_or(i64::MAX);
        let (items, next_cursor) = (keys.items, keys.next_cursor);
        let owed = match run {
            Run::Dry => self.read(move |connection| never_owed(connection, id, &items)).await?,
            Run::Real => self.owe_newest(id, items).await?,
        };
        Ok(SnapshotPage { purchases, owed, next_cursor })
    }

    async fn page_of(&self, id: DestinationId, page: &Page) -> Result<Paged<CollapseKey>, Error> {
        let page = page.clone();
        self.read(move |connection| {
            let app = chosen_by(connection, id)?.app_id;
            let rows = keys(connection, app, &page)?;
            Paged::cut(rows, page.size(), |row| row.collapse_key.to_string(), |row| Ok(row.collapse_key))
        })
        .await
    }

    async fn owe_newest(&self, id: DestinationId, keys: Vec<CollapseKey>) -> Result<Vec<CollapseKey>, Error> {
        self.write(move |write| {
            chosen_by(write.connection, id)?;
            let mut owed = Vec::new();
            for key in never_owed(write.connection, id, &keys)? {
                purchase::lock(write, key)?;
                if let Some(event) = newest_event(write.connection, key)?
                    && !was_owed(write.connection, event.id, id)?
                {
                    deliveries::owe(write, &event, id, 0)?;
                    owed.push(key);
                }
            }
            Ok(owed)
        })
        .await
    }
}

/// The destination, which chose `purchase.updated`.
fn chosen_by(connection: &mut AnyConnection, id: DestinationId) -> Result<Destination, Error> {
    let destination = destinations::find(connection, id)?.ok_or(Error::Missing { what: "destination" })?;
    let destination = destination.destination()?;
    if destination.chose(PURCHASE_UPDATED) {
        return Ok(destination);
    }
    let detail = format!(
        "the destination chose {} and not {PURCHASE_UPDATED}, of which a snapshot consists: choose it first",
        destination.events.join(", ")
    );
    Err(Error::Conflict { what: "snapshot", detail })
}

fn keys(connection: &mut AnyConnection, app: AppId, page: &Page) -> Result<Vec<Key>, Error> {
    sql("SELECT collapse_key FROM purchases WHERE app_id = ? AND collapse_key > ? ORDER BY collapse_key LIMIT ?")
        .bind(app)
        .bind(page.cursor.clone().unwrap_or_default())
        .bind(page.size() + 1)
        .all(connection)
}

fn never_owed(
    connection: &mut AnyConnection,
    id: DestinationId,
    keys: &[CollapseKey],
) -> Result<Vec<CollapseKey>, Error> {
    let filter = chosen_by(connection, id)?.filter;
    let mut found = Vec::new();
    for key in keys {
        let (Some(origin), Some(event)) = (purchase::origin(connection, *key)?, newest_event(connection, *key)?) else {
            continue;
        };
        let environment = again::environment(connection, event.id)?.unwrap_or(origin.environment);
        if filter.wants(origin.platform_id, environment) && !was_owed(connection, event.id, id)? {
            found.push(*key);
        }
    }
    Ok(found)
}

fn was_owed(connection: &mut AnyConnection, event: EventId, destination: DestinationId) -> Result<bool, Error> {
    let first: Option<Number> =
        sql("SELECT seq AS value FROM deliveries WHERE event_id = ? AND destination_id = ? LIMIT 1")
            .bind(event)
            .bind(destination)
            .first(connection)?;
    Ok(first.is_some())
}
