//! Moves of customers by an admin, and undoing a transfer.

use crate::admin::customers::{CustomerKey, owner_of};
use crate::admin::naming::{CustomerPurchases, with_purchases};
use crate::people::movement::{self, Author, Cause, Move, MovedDevices};
use crate::people::moves::{self, Moved};
use crate::people::names;
use crate::people::transfers::{self, Transfer};
use crate::purchases::cause::CauseKind;
use crate::purchases::users::{self, Raced, StoreCustomer, UserRow};
use crate::settings::app_lock;
use crate::settling::transferred;
use crate::store::Store;
use db::audit_log::AuditEntry;
use db::config::Installation;
use db::connection::AnyConnection;
use db::error::Error;
use db::secrets::random_uuid;
use db::writer::{JobKind, Write};
use domain::{AppId, CollapseKey, TransferId, UserId};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A move requested by an admin.
#[derive(Debug, Clone)]
pub struct CustomerMove {
    pub app: AppId,
    /// The customer who moves: all of a user's store customers, or only one.
    pub customer: CustomerKey,
    /// The external id of the new owner, who is created if there is none.
    pub to: String,
    pub author: Author,
}

/// Effects of a planned move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedMove {
    /// The customer who loses the purchases, with all of them.
    pub from: CustomerPurchases,
    /// The customer who would receive the purchases; `None` if the external id is unknown and a customer would be
    /// created.
    pub to: Option<CustomerPurchases>,
    /// Keys of the purchases that would move.
    pub purchases: Vec<CollapseKey>,
    /// Keys of the moved purchases that give access, each announced by two events.
    pub announced: Vec<CollapseKey>,
}

/// A condition on the effects of a move. Its error is a sentence that says why they are refused.
pub type MoveCondition = Arc<dyn Fn(&PlannedMove) -> Result<(), String> + Send + Sync>;

impl Store {
    /// Previews the effects of a move now.
    ///
    /// # Errors
    /// Those of [`Store::move_customer`].
    pub async fn plan_move(
        &self,
        app: AppId,
        customer: CustomerKey,
        to: String,
    ) -> Result<PlannedMove, Error> {
        self.read(move |connection| {
            let Source { user, customers } = Source::find(connection, app, &customer)?;
            let named = names::named(connection, app, &to)?;
            if named == Some(user) {
                return Err(already(&to));
            }
            planned(connection, app, user, customers.as_ref(), named)
        })
        .await
    }

    /// Moves a customer with all purchases to the user with another external id.
    ///
    /// # Errors
    /// [`Error::Missing`] if there is no such customer; [`Error::Conflict`] if the customer already belongs to that
    /// user.
    pub async fn move_customer(&self, wanted: CustomerMove) -> Result<Transfer, Error> {
        self.move_customer_if(wanted, None).await
    }

    /// Moves a customer like [`Store::move_customer`], unless the condition refuses the effects.
    ///
    /// # Errors
    /// Also [`Error::Conflict`] if the condition refuses them; nothing is changed then.
    pub async fn move_customer_if(
        &self,
        wanted: CustomerMove,
        condition: Option<MoveCondition>,
    ) -> Result<Transfer, Error> {
        let (installation, new) = (self.database.installation, UserId::new(random_uuid()?));
        self.change_in(
            JobKind::People(wanted.app, None),
            "customer.move",
            move |write| {
                let moved = move_customer(write, installation, new, condition.as_ref(), &wanted)?;
                let transfer = transfers::find(write.connection, moved.id)?;
                let entry = entry(&transfer);
                Ok((transfer, Some(entry)))
            },
        )
        .await
    }

    /// Undoes a transfer, by a new transfer: its customers, and the devices that a merge moved, belong to their former
    /// owner again.
    ///
    /// # Errors
    /// [`Error::Conflict`] if the transfer was already undone, or if one of its customers moved again since.
    pub async fn undo_transfer(&self, id: TransferId, author: Author) -> Result<Transfer, Error> {
        let installation = self.database.installation;
        self.change("transfer.undo", move |write| {
            let moved = undo(write, installation, id, &author)?;
            let transfer = transfers::find(write.connection, moved.id)?;
            let entry = entry(&transfer);
            Ok((transfer, Some(entry)))
        })
        .await
    }
}

/// Builds the audit entry of a transfer, with the ids of the users and without their names.
fn entry(transfer: &Transfer) -> AuditEntry {
    AuditEntry::on(transfer.app_id, transfer.id)
        .before(json!({ "user_id": transfer.from }))
        .after(json!({ "user_id": transfer.to, "undoes": transfer.undoes }))
}

fn move_customer(
    write: &mut Write<'_>,
    installation: Installation,
    new: UserId,
    condition: Option<&MoveCondition>,
    wanted: &CustomerMove,
) -> Result<Moved, Error> {
    let CustomerMove {
        app,
        customer,
        to,
        author,
    } = wanted;
    app_lock::share(write, *app)?;
    let Source {
        user: from,
        customers,
    } = Source::find(write.connection, *app, customer)?;
    let named = names::named(write.connection, *app, to)?;
    let target = named.unwrap_or(new);
    if target == from {
        return Err(already(to));
    }
    users::create(write, *app, target)?;
    let (from, mut to_row) = lock_both(write, from, target)?;
    if names::named(write.connection, *app, to)? != named
        || !still_owned(write, &from, customers.as_ref())?
    {
        return Err(Error::unavailable(Raced));
    }
    // Checked after both users are locked: purchases of either that are recorded meanwhile are included in what the
    // condition checks.
    if let Some(condition) = condition {
        let planned = planned(write.connection, *app, from.id, customers.as_ref(), named)?;
        condition(&planned).map_err(|detail| Error::Conflict {
            what: "customer",
            detail,
        })?;
    }
    if named.is_none() {
        names::set(write, target, to, CauseKind::Transfer)?;
        to_row.external_id = Some(to.clone());
    }
    let request = Move {
        app: *app,
        from: &from,
        to: &to_row,
        customers,
        cause: Cause::Admin,
        author: Some(author.clone()),
        undoes: None,
        is_announced: true,
        announced_before: 0,
        devices: MovedDevices::None,
    };
    moves::carry_out(write, installation, &request)
}

/// The user whose purchases move.
struct Source {
    user: UserId,
    /// The store customers to move; `None` for all of the user's.
    customers: Option<BTreeSet<StoreCustomer>>,
}

impl Source {
    fn find(
        connection: &mut AnyConnection,
        app: AppId,
        customer: &CustomerKey,
    ) -> Result<Self, Error> {
        let missing = || Error::Missing { what: "customer" };
        Ok(match customer {
            CustomerKey::ExternalId(name) => Self {
                user: names::named(connection, app, name)?.ok_or_else(missing)?,
                customers: None,
            },
            CustomerKey::Owner(owner) => {
                let known = owner_of(connection, app, owner)?.ok_or_else(missing)?;
                let user = known.find(connection)?.ok_or_else(missing)?;
                Self {
                    user,
                    customers: Some(BTreeSet::from([StoreCustomer::from(&known)])),
                }
            }
        })
    }
}

fn already(to: &str) -> Error {
    Error::Conflict {
        what: "customer",
        detail: format!("it already belongs to `{to}`"),
    }
}

fn planned(
    connection: &mut AnyConnection,
    app: AppId,
    from: UserId,
    customers: Option<&BTreeSet<StoreCustomer>>,
    to: Option<UserId>,
) -> Result<PlannedMove, Error> {
    let (_, purchases) = moves::moving(connection, from, customers)?;
    let entitling = transferred::entitling(connection, app, from)?;
    Ok(PlannedMove {
        from: with_purchases(connection, from)?,
        to: to.map(|to| with_purchases(connection, to)).transpose()?,
        announced: purchases
            .iter()
            .copied()
            .filter(|key| entitling.contains(key))
            .collect(),
        purchases,
    })
}

fn undo(
    write: &mut Write<'_>,
    installation: Installation,
    id: TransferId,
    author: &Author,
) -> Result<Moved, Error> {
    let transfer = transfers::find(write.connection, id)?;
    app_lock::share(write, transfer.app_id)?;
    let (from, to) = lock_both(write, transfer.to, transfer.from)?;
    let refused = |detail: String| {
        Err(Error::Conflict {
            what: "transfer",
            detail,
        })
    };
    if let Some(by) = transfers::find(write.connection, id)?.undone_by {
        return refused(format!("it was already undone by the transfer {by}"));
    }
    if !transfer.moved.is_reversible() {
        return refused(
            "the store itself names another customer of its purchase: move it with `settle customer move`"
                .to_owned(),
        );
    }
    if !still_owned(write, &from, Some(&transfer.moved.customers))? {
        return refused(
            "a customer that it moved has since moved again: use `settle customer move`".to_owned(),
        );
    }
    let request = Move {
        app: transfer.app_id,
        from: &from,
        to: &to,
        customers: Some(transfer.moved.customers),
        cause: Cause::Undo,
        author: Some(author.clone()),
        undoes: Some(id),
        is_announced: true,
        announced_before: 0,
        devices: MovedDevices::Back(transfer.moved.devices),
    };
    moves::carry_out(write, installation, &request)
}

/// Locks two users in order of their ids, and returns them in the order of the arguments.
pub fn lock_both(
    write: &mut Write<'_>,
    one: UserId,
    other: UserId,
) -> Result<(UserRow, UserRow), Error> {
    let rows = moves::lock_users(write, &BTreeSet::from([one, other]))?;
    let row = |id| {
        rows.iter()
            .find(|row| row.id == id)
            .cloned()
            .ok_or(Error::Missing { what: "user" })
    };
    Ok((row(one)?, row(other)?))
}

/// Whether these store customers still belong to the user.
fn still_owned(
    write: &mut Write<'_>,
    user: &UserRow,
    customers: Option<&BTreeSet<StoreCustomer>>,
) -> Result<bool, Error> {
    let Some(customers) = customers else {
        return Ok(true);
    };
    Ok(customers.is_subset(&movement::customers(write.connection, user.id)?))
}
