//! Deciding whether purchases may move with a device from one named customer to another.

use crate::admin::{alarms, transfers};
use crate::people::movement::{Author, Cause, Move, MovedDevices};
use crate::people::moves;
use crate::people::reviews::{self, Review, SELECT};
use crate::people::transfers::{self as stored, Transfer};
use crate::purchases::users::StoreCustomer;
use crate::settings::app_lock;
use crate::store::Store;
use db::audit_log::AuditEntry;
use db::config::Installation;
use db::error::Error;
use db::page::{Page, Paged};
use db::sql::{Sql, statement};
use db::statement::{row, sql};
use db::writer::Write;
use domain::{AppId, ReviewId};
use serde_json::json;
use std::collections::BTreeSet;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    pub review: Review,
    pub transfer: Option<Transfer>,
}

row! {
    struct Held {
        store: String,
        app_user_id: String,
    }
}

const LIST: Sql = statement! {"
    SELECT CAST(r.requested_at AS TEXT) || '_' || r.id AS cursor, {SELECT}
    WHERE r.app_id = ? AND r.answered_at IS NULL AND (r.requested_at, r.id) > (?, ?)
    ORDER BY r.requested_at, r.id
    LIMIT ?
"};

const ANSWER: Sql =
    statement!("UPDATE transfer_reviews SET is_approved = ?, answered_at = ? WHERE id = ?");

/// The store customers of the current owner whose purchases are on the other user's devices, on platforms that allow
/// transfers.
const HELD: Sql = statement! {"
    SELECT DISTINCT f.store, c.app_user_id
    FROM devices d
    JOIN platforms f ON f.id = d.platform_id
    JOIN claims c ON c.platform_id = d.platform_id AND c.device_id = d.id AND c.status = 'verified'
        AND c.absent_since IS NULL
    JOIN store_users s ON s.app_id = f.app_id AND s.store = f.store AND s.app_user_id = c.app_user_id
    WHERE d.user_id = ? AND s.user_id = ? AND COALESCE(f.transfers, '') <> 'never'
    ORDER BY f.store, c.app_user_id
"};

impl Store {
    /// Lists the open reviews of an app, oldest first.
    pub async fn reviews(&self, app: AppId, page: Page) -> Result<Paged<Review>, Error> {
        let (after, id) = page.pair_or(i64::MIN)?;
        self.read(move |connection| page.read(connection, sql(LIST).bind((app, after, id))))
            .await
    }

    pub async fn review(&self, id: ReviewId) -> Result<Review, Error> {
        self.read(move |connection| reviews::find(connection, id))
            .await
    }

    /// Approves the transfer: moves the purchases now and at each later login of the same user.
    ///
    /// # Errors
    /// [`Error::Conflict`] if the transfer is already approved.
    pub async fn approve_transfer(&self, id: ReviewId, author: Author) -> Result<Answered, Error> {
        let installation = self.database.installation;
        self.change("transfer.approve", move |write| {
            let review = answer(write, id, true, &author)?;
            let transfer = move_claimed(write, installation, &review, &author)?;
            let entry = entry(&review).after(json!({
                "is_approved": true, "transfer_id": transfer.as_ref().map(|transfer| transfer.id),
            }));
            Ok((Answered { review, transfer }, Some(entry)))
        })
        .await
    }

    /// Refuses the transfer now and at each later login of the same user, under every policy. Purchases that already
    /// moved stay moved.
    ///
    /// # Errors
    /// [`Error::Conflict`] if the transfer is already refused.
    pub async fn refuse_transfer(&self, id: ReviewId, author: Author) -> Result<Answered, Error> {
        self.change("transfer.refuse", move |write| {
            let review = answer(write, id, false, &author)?;
            let entry = entry(&review).after(json!({ "is_approved": false }));
            Ok((
                Answered {
                    review,
                    transfer: None,
                },
                Some(entry),
            ))
        })
        .await
    }
}

/// Builds the audit entry of an answer, with the ids of the users and without their names.
fn entry(review: &Review) -> AuditEntry {
    AuditEntry::on(review.app_id, review.id)
        .before(json!({ "from": review.from_user_id, "to": review.to_user_id }))
}

/// Stores an answer, and closes the alarm. Locks both users.
fn answer(
    write: &mut Write<'_>,
    id: ReviewId,
    approves: bool,
    author: &Author,
) -> Result<Review, Error> {
    let review = reviews::find(write.connection, id)?;
    app_lock::share(write, review.app_id)?;
    transfers::lock_both(write, review.from_user_id, review.to_user_id)?;
    let review = reviews::find(write.connection, id)?;
    if review.is_approved == Some(approves) {
        let detail = if approves {
            "it was already approved"
        } else {
            "it was already refused"
        };
        return Err(Error::Conflict {
            what: "review",
            detail: detail.to_owned(),
        });
    }
    sql(ANSWER)
        .bind((approves, write.now()?, id))
        .run(write.connection)?;
    if review.is_approved.is_none() {
        reviews::make_room(write, &review)?;
    }
    let answer = if approves { "approved" } else { "refused" };
    alarms::acknowledge(
        write,
        review.alarm(),
        &author.by,
        &author
            .reason
            .as_ref()
            .map_or_else(|| answer.to_owned(), |reason| format!("{answer}: {reason}")),
    )?;
    reviews::find(write.connection, id)
}

/// Moves the store customers whose purchases are on the new owner's devices. Both users must be locked.
fn move_claimed(
    write: &mut Write<'_>,
    installation: Installation,
    review: &Review,
    author: &Author,
) -> Result<Option<Transfer>, Error> {
    let held = sql(HELD).bind(review.to_user_id).bind(review.from_user_id);
    let held: Vec<Held> = held.all(write.connection)?;
    let customer = |one: Held| StoreCustomer {
        store: one.store,
        app_user_id: one.app_user_id,
    };
    let customers: BTreeSet<StoreCustomer> = held.into_iter().map(customer).collect();
    if customers.is_empty() {
        return Ok(None);
    }
    let (from, to) = transfers::lock_both(write, review.from_user_id, review.to_user_id)?;
    let request = Move {
        app: review.app_id,
        from: &from,
        to: &to,
        customers: Some(customers),
        cause: Cause::Admin,
        author: Some(author.clone()),
        undoes: None,
        is_announced: true,
        announced_before: 0,
        devices: MovedDevices::None,
    };
    let moved = moves::carry_out(write, installation, &request)?;
    stored::find(write.connection, moved.id).map(Some)
}
