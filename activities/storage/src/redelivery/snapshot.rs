//! A snapshot for a destination: the newest state of every purchase of its app, that was never owed to it, and the
//! profile of every user, where it keeps profiles and has another one.

use crate::db::config::Installation;
use crate::db::connection::AnyConnection;
use crate::db::error::Error;
use crate::db::page::Page;
use crate::db::run::Run;
use crate::db::store::Store;
use crate::db::writer::Write;
use crate::purchases::{purchase, users};
use crate::redelivery::candidates::suitable;
use crate::settling::profiles::{self, ProfileCheck, Subject, Trigger};
use domain::{CollapseKey, DestinationId, RedeliverySelector, Selection, UserId};
use std::collections::BTreeSet;

/// One page of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotPage {
    /// How many purchases were checked.
    pub purchases: i64,
    /// Those of which something is owed now, and was not before.
    pub owed: Vec<CollapseKey>,
    /// The cursor of the next page; `None` at the end.
    pub next_cursor: Option<String>,
}

impl Store {
    /// Owes a destination the newest `purchase.updated` of a page of purchases, each that was never owed to it, and the
    /// profiles of their users that it has not. A dry run only counts. A destination that neither chose such events nor
    /// keeps profiles: [`Error::Unsuitable`].
    pub async fn snapshot(&self, id: DestinationId, page: Page, run: Run) -> Result<SnapshotPage, Error> {
        let selection = RedeliverySelector::NeverOwed.to(id);
        let selected = self.select(selection.clone(), page).await?;
        let keys: Vec<CollapseKey> = selected.candidates.items.iter().map(|one| one.collapse_key).collect();
        let states = self.carry_out(selected, run.into(), None).await?;
        let mut owed = states.owing.purchases;
        for key in self.owe_profiles(selection, keys, run).await? {
            if !owed.contains(&key) {
                owed.push(key);
            }
        }
        Ok(SnapshotPage { purchases: states.checked, owed, next_cursor: states.next_cursor })
    }

    /// The purchases whose user's profile is owed. Each is owed in a transaction of its own, which locks one user.
    async fn owe_profiles(
        &self,
        selection: Selection,
        keys: Vec<CollapseKey>,
        run: Run,
    ) -> Result<Vec<CollapseKey>, Error> {
        if run == Run::Dry {
            return self.read(move |connection| due(connection, &selection, keys)).await;
        }
        let (installation, mut owed) = (self.installation, Vec::new());
        for key in keys {
            let selection = selection.clone();
            if self.write(move |write| owe(write, key, &selection, installation)).await? {
                owed.push(key);
            }
        }
        Ok(owed)
    }
}

/// The user of a purchase of which something was announced.
fn owner(connection: &mut AnyConnection, key: CollapseKey) -> Result<Option<UserId>, Error> {
    Ok(purchase::find(connection, key)?.filter(|row| row.revision > 0).and_then(|row| row.user_id))
}

/// The purchases, one of each user, whose profile would be owed.
fn due(
    connection: &mut AnyConnection,
    selection: &Selection,
    keys: Vec<CollapseKey>,
) -> Result<Vec<CollapseKey>, Error> {
    let destination = suitable(connection, selection)?;
    let (mut due, mut seen) = (Vec::new(), BTreeSet::new());
    for key in keys.into_iter().filter(|_| destination.profile.is_some()) {
        let Some(owner) = owner(connection, key)?.filter(|owner| seen.insert(*owner)) else { continue };
        let owner = users::read(connection, owner)?;
        let Some(origin) = purchase::origin(connection, key)? else { continue };
        let check = ProfileCheck { origin: &origin, owner: &owner, trigger: Trigger::Backfill };
        if check.is_due(connection, &destination)? {
            due.push(key);
        }
    }
    Ok(due)
}

/// Owes the profile of a purchase's user, if the destination keeps profiles and has another one; whether it did.
fn owe(
    write: &mut Write<'_>,
    key: CollapseKey,
    selection: &Selection,
    installation: Installation,
) -> Result<bool, Error> {
    let destination = suitable(write.connection, selection)?;
    let seen = owner(write.connection, key)?;
    let Some(owner) = seen.filter(|_| destination.profile.is_some()) else { return Ok(false) };
    let owner = users::lock(write, owner)?;
    let row = purchase::lock(write, key)?;
    if row.user_id != Some(owner.id) {
        return Err(Error::unavailable(users::Raced));
    }
    let origin = purchase::origin(write.connection, key)?.ok_or(Error::Missing { what: "purchase" })?;
    let subject = Subject {
        check: ProfileCheck { origin: &origin, owner: &owner, trigger: Trigger::Backfill },
        collapse_key: key,
        revision: row.revision,
        environment: row.known()?.environment(origin.environment),
        installation,
        traceparent: None,
    };
    profiles::owe(write, &subject, &[destination], None)
}
