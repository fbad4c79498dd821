//! The backfill of a destination. It queues the latest `purchase.updated` of each purchase of the destination's app,
//! unless that event was already queued for it. If the destination keeps profiles, it also queues each user's profile
//! that the destination lacks or has in another version, and the profile of a former owner that another user's profile
//! superseded.

use crate::purchases::{purchase, users};
use crate::redelivery::candidates::suitable;
use crate::redelivery::page::{Redelivered, Selected};
use crate::redelivery::runs::{self, PageOfRun, RunMode};
use crate::settling::profiles::{self, ProfileCheck, Subject, Trigger};
use crate::store::Store;
use db::audit_log::AuditEntry;
use db::connection::AnyConnection;
use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::sql;
use db::writer::Write;
use domain::user::PROFILE_UPDATED;
use domain::{CollapseKey, Selection, UserId};
use serde_json::json;
use std::collections::BTreeSet;

impl Store {
    /// Queues for a destination, from a page of purchases, each latest `purchase.updated` that was never queued for it,
    /// and the profiles of the purchases' users that it lacks. A dry run only counts.
    ///
    /// # Errors
    ///
    /// [`Error::Unsuitable`] if the destination neither chose `purchase.updated` nor keeps profiles.
    pub(super) async fn backfill(
        &self,
        mut selected: Selected,
        mode: RunMode,
        place: Option<PageOfRun>,
    ) -> Result<Redelivered, Error> {
        let (clock, selection) = (self.database.clock, selected.selection.clone());
        let keys: Vec<CollapseKey> = selected
            .candidates
            .items
            .iter()
            .map(|one| one.collapse_key)
            .collect();
        // Only the purchases with something to queue are locked, so that a repeated backfill blocks no settling.
        let (mut done, missing) = self
            .read(move |connection| {
                let now = connection.now(clock)?;
                Ok((selected.narrow(connection, now)?, selected))
            })
            .await?;
        if mode == RunMode::Dry {
            done.requeued.pending += self
                .read(move |connection| due(connection, &selection, keys))
                .await?;
            return Ok(done);
        }
        if !missing.candidates.items.is_empty() {
            done.requeued.pending = self
                .carry_out(missing, RunMode::Anew, None)
                .await?
                .requeued
                .pending;
        }
        let receivers = selection.receivers;
        done.requeued.pending += self.queue_profiles(selection, keys).await?;
        // Always set: deliveries that an interrupted or concurrent request queued need a signal too.
        done.requeued.destinations = receivers.destination().into_iter().collect();
        // Stored at the end: an interrupted page is carried out again, and then queues only what is still missing. Of
        // two concurrent requests, each counts what it queued itself.
        if let Some(place) = place {
            let answer = done.clone();
            self.write(move |write| runs::once(write, Some(&place), |_| Ok(answer.clone())))
                .await?;
        }
        Ok(done)
    }

    /// Queues the profiles of the purchases' users, each in a separate transaction that locks one user. Returns the
    /// number of new deliveries.
    async fn queue_profiles(
        &self,
        selection: Selection,
        keys: Vec<CollapseKey>,
    ) -> Result<i64, Error> {
        let users = {
            let selection = selection.clone();
            self.read(move |connection| users_of(connection, &selection, keys))
                .await?
        };
        let mut pending = 0;
        for (key, user) in users {
            let selection = selection.clone();
            // The audit entry of the first queued profile stands for all.
            let is_first = pending == 0;
            let work = move |write: &mut Write<'_>| {
                let is_queued = queue(write, key, user, &selection)?;
                let entry = if is_queued && is_first {
                    Some(profiles_entry(write, key, &selection)?)
                } else {
                    None
                };
                Ok((is_queued, entry))
            };
            pending += i64::from(self.change("resend", work).await?);
        }
        Ok(pending)
    }
}

/// Builds the audit entry of the profiles that a page queues.
fn profiles_entry(
    write: &mut Write<'_>,
    key: CollapseKey,
    selection: &Selection,
) -> Result<AuditEntry, Error> {
    let destination = suitable(write.connection, selection)?;
    Ok(AuditEntry::on(destination.app_id, destination.id).after(json!({ "profiles_from": key })))
}

const FORMER_OWNERS: Sql = statement! {hot "deliveries_of_key", "
    SELECT DISTINCT e.user_id AS value
    FROM deliveries d
    JOIN events e ON e.id = d.event_id
    JOIN users u ON u.id = e.user_id
    WHERE d.collapse_key = ? AND d.destination_id = ? AND d.event_type = '{PROFILE_UPDATED}' AND d.status = 'superseded'
        AND u.external_id IS NOT NULL AND e.user_id <> ?
    ORDER BY e.user_id
"};

/// Returns the users whose profiles are compared, each with a purchase in whose lane the profile would be sent: the
/// owners, and former owners whose profile was superseded in the lane of a purchase that moved away from them.
/// Anonymous former owners are left out, because they became the owner.
fn users_of(
    connection: &mut AnyConnection,
    selection: &Selection,
    keys: Vec<CollapseKey>,
) -> Result<Vec<(CollapseKey, UserId)>, Error> {
    let destination = suitable(connection, selection)?;
    let mut users = Vec::new();
    for key in keys.into_iter().filter(|_| destination.profile.is_some()) {
        // Without a revision, no event of the purchase has been announced yet.
        let Some(row) = purchase::find(connection, key)?.filter(|row| row.revision > 0) else {
            continue;
        };
        let Some(owner) = row.user_id else { continue };
        let former: Vec<UserId> = sql(FORMER_OWNERS)
            .bind((key, destination.id, owner))
            .values(connection)?;
        users.extend([owner].into_iter().chain(former).map(|user| (key, user)));
    }
    Ok(users)
}

/// Counts the profiles that would be queued, one per user.
fn due(
    connection: &mut AnyConnection,
    selection: &Selection,
    keys: Vec<CollapseKey>,
) -> Result<i64, Error> {
    let destination = suitable(connection, selection)?;
    let (mut due, mut seen) = (0, BTreeSet::new());
    for (key, user) in users_of(connection, selection, keys)? {
        if !seen.insert(user) {
            continue;
        }
        let owner = users::read(connection, user)?;
        let Some(origin) = purchase::origin(connection, key)? else {
            continue;
        };
        let check = ProfileCheck {
            origin: &origin,
            owner: &owner,
            trigger: Trigger::Backfill,
        };
        due += i64::from(check.is_due(connection, &destination)?);
    }
    Ok(due)
}

/// Queues a user's profile in the lane of a purchase, if the destination keeps profiles and lacks this one or has
/// another version of it. Returns whether it was queued.
fn queue(
    write: &mut Write<'_>,
    key: CollapseKey,
    user: UserId,
    selection: &Selection,
) -> Result<bool, Error> {
    let destination = suitable(write.connection, selection)?;
    let user = users::lock(write, user)?;
    let row = purchase::lock(write, key)?;
    // An anonymous owner may have become another user in the meantime.
    if row.user_id != Some(user.id) && user.external_id.is_none() {
        return Err(Error::unavailable(users::Raced));
    }
    let origin =
        purchase::origin(write.connection, key)?.ok_or(Error::Missing { what: "purchase" })?;
    let subject = Subject {
        check: ProfileCheck {
            origin: &origin,
            owner: &user,
            trigger: Trigger::Backfill,
        },
        collapse_key: key,
        revision: row.revision,
        environment: row.known()?.environment(origin.environment),
        traceparent: None,
    };
    profiles::queue(write, &subject, &[destination], None)
}
