//! Moves store customers, with all their purchases, from one user to another. The purchases that give access are
//! announced by the two events of a transfer, unless no state of their former owner was ever announced.

use crate::events::{deliveries, user_leases};
use crate::people::device_users;
use crate::people::gathering::{Held, Parties};
use crate::people::movement::{Author, Cause, Move, MovedDevices, customers};
use crate::people::transfers::{self, MovedRows, NewTransfer};
use crate::purchases::cause::RevisionCause;
use crate::purchases::purchase::{self, Urgency};
use crate::purchases::users::{self, StoreCustomer, UserRow};
use crate::settings::unnamed::unnamed;
use crate::settling::transferred::{self, CompletedTransfer};
use db::config::Installation;
use db::connection::AnyConnection;
use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::{Ahead, row, sql};
use db::writer::Write;
use domain::{AppId, CollapseKey, TransferId, UserId};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    pub id: TransferId,
    /// The purchases that are announced, in order of their keys.
    pub announced_keys: Vec<CollapseKey>,
    /// Whether these purchases are announced after the transaction.
    pub is_deferred: bool,
    /// The new owner's revision after the move.
    pub to_revision: i64,
}

/// Maximum number of purchases that a login or another change announces in its transaction.
const AT_ONCE: usize = 100;

row! {
    struct OwnedKey {
        collapse_key: CollapseKey,
        store: String,
        app_user_id: Option<String>,
        receipt_id: String,
    }
}

const PURCHASES: Sql = statement! {hot "purchases_user", "
    SELECT p.collapse_key, f.store, p.app_user_id, p.receipt_id
    FROM purchases p
    JOIN platforms f ON f.id = p.platform_id
    WHERE p.user_id = ?
    ORDER BY p.collapse_key
"};

const MOVE_CUSTOMER: Sql = statement! {"
    UPDATE store_users
    SET user_id = ?
    WHERE app_id = ? AND store = ? AND app_user_id = ? AND user_id = ?
"};

const MOVE_PURCHASES: Sql = statement! {"
    UPDATE purchases
    SET user_id = ?, spent_at = NULL
    WHERE collapse_key IN (?*)
"};

/// Removes the notes of spent purchases: they may have been spent only beside the purchase that moved.
const COUNT_AGAIN: Sql = statement! {hot "purchases_user", "
    UPDATE purchases
    SET spent_at = NULL
    WHERE user_id = ? AND spent_at IS NOT NULL
"};

const COUNT_TRANSFERS_FROM: Sql = statement! {"
    SELECT COUNT(*) AS value
    FROM transfers
    WHERE from_user_id = ?
"};

/// Returns the store customers of a user that move, and their purchases; all of them if `chosen` is `None`.
pub fn moving(
    connection: &mut AnyConnection,
    from: UserId,
    chosen: Option<&BTreeSet<StoreCustomer>>,
) -> Result<(BTreeSet<StoreCustomer>, Vec<CollapseKey>), Error> {
    let all = customers(connection, from)?;
    let moving: BTreeSet<StoreCustomer> = match chosen {
        Some(chosen) => all.intersection(chosen).cloned().collect(),
        None => all,
    };
    let owned: Vec<OwnedKey> = sql(PURCHASES).bind(from).all(connection)?;
    let keys = owned
        .iter()
        .filter(|one| moving.contains(&one.customer()))
        .map(|one| one.collapse_key)
        .collect();
    Ok((moving, keys))
}

/// Carries out a move. The rows of both users are locked, and contain the revisions before the move. If the purchases
/// are announced at once, raises both revisions by one. Those of a large move are announced later (`announcing.rs`).
pub fn carry_out(
    write: &mut Write<'_>,
    installation: Installation,
    request: &Move<'_>,
) -> Result<Moved, Error> {
    let (from, to) = (request.from, request.to);
    let epoch = write.epoch()?;
    let (moving, keys) = moving(write.connection, from.id, request.customers.as_ref())?;
    purchase::lock_all(write, &keys)?;
    let entitling = if request.is_announced {
        transferred::entitling(write.connection, request.app, from.id)?
    } else {
        BTreeSet::new()
    };
    move_rows(write, request, &moving, &keys)?;
    // Before the events, which show the devices with their users after the move.
    let devices = match &request.devices {
        MovedDevices::None => BTreeSet::new(),
        MovedDevices::All => device_users::move_all(write, from.id, to.id)?,
        MovedDevices::Back(devices) => device_users::move_back(write, devices, from.id, to.id)?,
    };
    let is_automatic = matches!(request.cause, Cause::Login | Cause::Naming);
    let parties = Parties {
        app: request.app,
        from: from.id,
        to: to.id,
        is_automatic,
    };
    let held = Held::count(write, parties)?;
    let number: Option<i64> = sql(COUNT_TRANSFERS_FROM)
        .bind(from.id)
        .value(write.connection)?;
    let id = TransferId::of(from.id, epoch, number.unwrap_or(0));
    let (announced, silent): (Vec<_>, Vec<_>) = keys
        .iter()
        .copied()
        .partition(|key| entitling.contains(key));
    let is_beyond = request.announced_before.saturating_add(announced.len()) > AT_ONCE;
    let after = if announced.is_empty() {
        None
    } else {
        transfers::pending_to(write.connection, from.id)?
    };
    let is_deferred = !announced.is_empty() && (is_beyond || after.is_some());
    let mut to_revision = to.revision;
    if !announced.is_empty() && !is_deferred {
        let raised = |user: &UserRow, revision| UserRow {
            revision,
            ..user.clone()
        };
        let from = raised(from, users::raise_revision(write, from)?);
        let to = raised(to, users::raise_revision(write, to)?);
        to_revision = to.revision;
        let cause = RevisionCause::of(request.cause.kind(), write);
        let owners = BTreeMap::from([(to.id, to.clone())]);
        let completed = CompletedTransfer {
            installation,
            app: request.app,
            id,
            cause,
            from: &from,
            to: &to,
            owners: &owners,
        };
        completed.announce(write, &announced)?;
    }
    purchase::recheck_each(
        write,
        Urgency::Person,
        request.cause.kind(),
        silent.into_iter().collect(),
    )?;
    let moved = MovedRows {
        customers: moving,
        announced: announced.clone(),
        devices,
    };
    transfers::insert(
        write,
        &NewTransfer {
            id,
            request,
            moved: &moved,
            is_deferred,
            after,
        },
    )?;
    held.judge(
        write,
        parties,
        moved.customers.len(),
        |connection, since| Ok(transfers::gathered(connection, parties.to, since)?.len()),
    )?;
    Ok(Moved {
        id,
        announced_keys: announced,
        is_deferred,
        to_revision,
    })
}

/// Assigns the store customers and their purchases to the other user.
fn move_rows(
    write: &mut Write<'_>,
    request: &Move<'_>,
    customers: &BTreeSet<StoreCustomer>,
    keys: &[CollapseKey],
) -> Result<(), Error> {
    let (from, to) = (request.from, request.to);
    for customer in customers {
        sql(MOVE_CUSTOMER)
            .bind((
                to.id,
                request.app,
                customer.store.as_str(),
                customer.app_user_id.as_str(),
                from.id,
            ))
            .later(write.connection)?;
    }
    write.forget_shared();
    deliveries::release_purchases(write, keys)?;
    for keys in keys.chunks(purchase::MAX_KEYS) {
        sql(MOVE_PURCHASES)
            .uncached()
            .bind(to.id)
            .bind_list(keys.iter().copied())
            .later(write.connection)?;
    }
    if !keys.is_empty() {
        sql(COUNT_AGAIN).bind(from.id).later(write.connection)?;
        user_leases::hand_over(write, request.app, from.id, to.id)?;
    }
    Ok(())
}

impl OwnedKey {
    /// Returns the customer whose purchase it is.
    fn customer(&self) -> StoreCustomer {
        let unknown = || unnamed(&self.receipt_id);
        StoreCustomer {
            store: self.store.clone(),
            app_user_id: self.app_user_id.clone().unwrap_or_else(unknown),
        }
    }
}

/// Locks users in order of their ids. Returns those that exist.
pub fn lock_users(write: &mut Write<'_>, ids: &BTreeSet<UserId>) -> Result<Vec<UserRow>, Error> {
    let locked = lock_users_ahead(write, ids)?;
    let mut rows = Vec::with_capacity(ids.len());
    for row in locked {
        rows.extend(row.first(write.connection)?);
    }
    Ok(rows)
}

/// Like [`lock_users`], but the rows are fetched later.
pub fn lock_users_ahead(
    write: &mut Write<'_>,
    ids: &BTreeSet<UserId>,
) -> Result<Vec<Ahead<'static, UserRow>>, Error> {
    ids.iter().map(|id| users::lock_ahead(write, *id)).collect()
}

const MOVE_ANALYTICS_DEVICE: Sql = statement! {"
    UPDATE users
    SET analytics_device_id = COALESCE(analytics_device_id, (SELECT m.analytics_device_id FROM users m WHERE m.id = ?))
    WHERE id = ? AND revision = 0
"};

/// A merge of two users, whose rows are locked.
pub struct Merge<'a> {
    pub app: AppId,
    pub cause: Cause,
    pub author: Option<Author>,
    /// The anonymous user, who is merged into the other.
    pub from: &'a UserRow,
    pub to: &'a UserRow,
    /// See [`Move`].
    pub announced_before: usize,
}

/// Merges an anonymous user into another one, who gets its store customers, purchases and devices. The other user also
/// gets its device id for analytics, unless the other has one or was announced before.
pub fn merge(
    write: &mut Write<'_>,
    installation: Installation,
    merge: Merge<'_>,
) -> Result<Moved, Error> {
    let Merge {
        app,
        cause,
        author,
        from,
        to,
        announced_before,
    } = merge;
    sql(MOVE_ANALYTICS_DEVICE)
        .bind(from.id)
        .bind(to.id)
        .later(write.connection)?;
    // The end of an anonymous user is announced if a state of that user was.
    let (is_announced, devices) = (from.revision > 0, MovedDevices::All);
    let (customers, undoes) = (None, None);
    let request = Move {
        app,
        from,
        to,
        customers,
        cause,
        author,
        undoes,
        is_announced,
        announced_before,
        devices,
    };
    carry_out(write, installation, &request)
}
