//! A snapshot for a destination: the newest state of every purchase of its app, that was never owed to it, and the
//! profile of every user, where it keeps profiles and has another one.

use crate::db::config::Installation;
use crate::db::connection::AnyConnection;
use crate::db::error::Error;
use crate::db::page::{Page, Paged};
use crate::db::run::Run;
use crate::db::statement::{Number, row, sql};
use crate::db::store::Store;
use crate::db::writer::Write;
use crate::events::deliveries;
use crate::purchases::{purchase, users};
use crate::redelivery::again::{self, newest_event};
use crate::settings::destinations::{self, Destination};
use crate::settling::profiles;
use domain::event::PURCHASE_UPDATED;
use domain::{AppId, CollapseKey, DestinationId, EventId};
use std::collections::BTreeSet;

/// One page of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotPage {
    /// How many purchases were checked.
    pub purchases: i64,
    /// Those whose newest state is owed now, and was not before.
    pub owed: Vec<CollapseKey>,
    /// The cursor of the next page; `None` at the end.
    pub next_cursor: Option<String>,
}

row! {
    struct Key {
        collapse_key: CollapseKey,
    }
}

impl Store {
    /// Owes a destination the newest `purchase.updated` of a page of purchases, each that was never owed to it, and the
    /// profiles of their users that it has not. A dry run only counts. A destination that neither chose such events nor
    /// keeps profiles: [`Error::Unsuitable`].
    pub async fn snapshot(&self, id: DestinationId, page: Page, run: Run) -> Result<SnapshotPage, Error> {
        let keys = self.page_of(id, &page).await?;
        let purchases = i64::try_from(keys.items.len()).unwrap_or(i64::MAX);
        let (items, next_cursor) = (keys.items, keys.next_cursor);
        let owed = match run {
            Run::Dry => self.read(move |connection| due(connection, id, &items)).await?,
            Run::Real => self.owe_all(id, items).await?,
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

    /// Each profile in a transaction of its own, which locks one user.
    async fn owe_all(&self, id: DestinationId, keys: Vec<CollapseKey>) -> Result<Vec<CollapseKey>, Error> {
        let installation = self.installation;
        let mut owed = self.owe_newest(id, keys.clone()).await?;
        for key in keys {
            let is_owed = self.write(move |write| owe_profile(write, (key, id), installation)).await?;
            if is_owed && !owed.contains(&key) {
                owed.push(key);
            }
        }
        Ok(owed)
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
    if destination.chose(PURCHASE_UPDATED) || destination.profile.is_some() {
        return Ok(destination);
    }
    let detail = format!(
        "the destination chose {} and not {PURCHASE_UPDATED}, of which a snapshot consists: choose it first",
        destination.events.join(", ")
    );
    Err(Error::Unsuitable(detail))
}

fn keys(connection: &mut AnyConnection, app: AppId, page: &Page) -> Result<Vec<Key>, Error> {
    sql("SELECT collapse_key FROM purchases WHERE app_id = ? AND collapse_key > ? ORDER BY collapse_key LIMIT ?")
        .bind(app)
        .bind(page.cursor.clone().unwrap_or_default())
        .bind(page.size() + 1)
        .all(connection)
}

/// The purchases of which something would be owed.
fn due(connection: &mut AnyConnection, id: DestinationId, keys: &[CollapseKey]) -> Result<Vec<CollapseKey>, Error> {
    let destination = chosen_by(connection, id)?;
    let mut due = never_owed(connection, id, keys)?;
    let mut seen = BTreeSet::new();
    for key in keys.iter().filter(|_| destination.profile.is_some()) {
        let owner = purchase::find(connection, *key)?.filter(|row| row.revision > 0).and_then(|row| row.user_id);
        let Some(owner) = owner.filter(|owner| seen.insert(*owner)) else { continue };
        let owner = users::read(connection, owner)?;
        let Some(origin) = purchase::origin(connection, *key)? else { continue };
        if profiles::is_due(connection, (&origin, &owner), &destination)? && !due.contains(key) {
            due.push(*key);
        }
    }
    Ok(due)
}

/// Owes the profile of a purchase's user, if the destination keeps profiles and has another one; whether it did.
fn owe_profile(
    write: &mut Write<'_>,
    (key, id): (CollapseKey, DestinationId),
    installation: Installation,
) -> Result<bool, Error> {
    let destination = chosen_by(write.connection, id)?;
    let seen = purchase::find(write.connection, key)?.filter(|row| row.revision > 0).and_then(|row| row.user_id);
    let Some(owner) = seen.filter(|_| destination.profile.is_some()) else { return Ok(false) };
    let owner = users::lock(write, owner)?;
    let row = purchase::lock(write, key)?;
    if row.user_id != Some(owner.id) {
        return Err(Error::unavailable(users::Raced));
    }
    let origin = purchase::origin(write.connection, key)?.ok_or(Error::Missing { what: "purchase" })?;
    let subject = profiles::Subject {
        collapse_key: key,
        revision: row.revision,
        environment: row.known()?.environment(origin.environment),
        origin: &origin,
        owner: &owner,
        installation,
        trigger: profiles::Trigger::Snapshot,
        traceparent: None,
    };
    profiles::owe(write, &subject, (&[destination], None))
}

fn never_owed(
    connection: &mut AnyConnection,
    id: DestinationId,
    keys: &[CollapseKey],
) -> Result<Vec<CollapseKey>, Error> {
    let destination = chosen_by(connection, id)?;
    if !destination.chose(PURCHASE_UPDATED) {
        return Ok(Vec::new());
    }
    let filter = destination.filter;
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
