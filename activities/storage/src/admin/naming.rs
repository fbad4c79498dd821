//! Naming customers: giving a purchase's owner an external id. If another user of the app has that id, the two are
//! merged, unless the caller's condition refuses the effects.
//!
//! Naming announces nothing by itself: the user's purchases are rechecked, and their next settling announces the id.

use crate::admin::customers::{Customer, Owner, owner_of, shown_ids, view};
use crate::admin::platforms::require_app;
use crate::people::movement::{Author, Cause};
use crate::people::moves::{self, Merge};
use crate::people::names::{self, named};
use crate::purchases::cause::CauseKind;
use crate::purchases::purchase;
use crate::purchases::users::{self, Raced, StoreUser, UserRow};
use crate::settings::app_lock;
use crate::settings::tombstones::{self, ConcealedName};
use crate::settling::transferred;
use crate::store::Store;
use db::audit_log::AuditEntry;
use db::config::Installation;
use db::connection::AnyConnection;
use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::{clean, sql};
use db::writer::{JobKind, Write};
use domain::{AppId, CollapseKey, TransferId, UserId};
use serde_json::json;
use std::sync::Arc;

/// The names of a customer in other systems, which are set together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomerNames {
    /// The app's own id of the customer.
    pub external_id: String,
    /// The app's own id of the customer's device in its analytics; `None` keeps the stored one.
    pub analytics_device_id: Option<String>,
}

impl<T: AsRef<str> + ?Sized> From<&T> for CustomerNames {
    fn from(external_id: &T) -> Self {
        Self {
            external_id: external_id.as_ref().to_owned(),
            analytics_device_id: None,
        }
    }
}

/// Effects of naming a customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Naming {
    /// The customer who is named, as stored before the naming.
    pub named: CustomerPurchases,
    /// The other customer, if one already has the id: the named customer is merged into it.
    pub other: Option<CustomerPurchases>,
    /// Keys of the moved purchases that are announced by two events, in order.
    pub announced: Vec<CollapseKey>,
    /// The customer after naming.
    pub after: Customer,
}

/// A customer with the keys of all purchases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomerPurchases {
    pub customer: Customer,
    /// Keys of the purchases, in order.
    pub purchases: Vec<CollapseKey>,
}

/// A condition on the effects of naming. Its error is a sentence that says why they are refused.
pub type NamingCondition = Arc<dyn Fn(&Naming) -> Result<(), String> + Send + Sync>;

/// A name for a customer, and the condition under which it is set.
pub struct NameOrder<'a> {
    pub app: AppId,
    pub owner: &'a Owner,
    pub names: &'a CustomerNames,
    /// Author of the name; `None` for an import.
    pub author: Option<Author>,
    pub condition: Option<&'a NamingCondition>,
}

/// The user who owns the purchases after naming, and the transfer if two users were merged.
pub struct NamedUser {
    pub user: UserId,
    pub merged: Option<TransferId>,
}

/// The user's row is already locked, since the user was named in the same transaction.
const SET_DEVICE: Sql = statement!("UPDATE users SET analytics_device_id = ? WHERE id = ?");

const PURCHASES: Sql = statement! {hot "purchases_user", "
    SELECT p.collapse_key AS value
    FROM purchases p
    WHERE p.user_id = ?
    ORDER BY p.collapse_key
"};

impl Store {
    /// Sets the external id of the user who owns a purchase. If another user of the app has that id already, the user
    /// is merged into that one. If `names` has a device id, every event that is first sent after this contains it.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`] if the user has another external id already, or if the condition refuses it. Then nothing is
    /// changed.
    pub async fn name_customer(
        &self,
        app: AppId,
        owner: Owner,
        names: impl Into<CustomerNames>,
        condition: Option<NamingCondition>,
    ) -> Result<Customer, Error> {
        let (secrets, installation, names) = (
            self.database.secrets.clone(),
            self.database.installation,
            names.into(),
        );
        let author = Author {
            by: self.actor().name.clone(),
            reason: self.actor().reason.clone(),
        };
        self.change_in(JobKind::People(app, None), "customer.name", move |write| {
            require_app(write, app)?;
            let owner = owner
                .clone()
                .or_tombstone(write.connection, &secrets, app)?;
            let (author, condition) = (Some(author.clone()), condition.as_ref());
            let order = NameOrder {
                app,
                owner: &owner,
                names: &names,
                author,
                condition,
            };
            let NamedUser { user, merged } = name(write, installation, order)?;
            if let Some(id) = &names.analytics_device_id {
                sql(SET_DEVICE)
                    .bind(clean(id).as_ref())
                    .bind(user)
                    .run(write.connection)?;
            }
            // Audit entries contain no names of customers, which would outlive a request to erase them.
            let mut after = json!({ "analytics_device": names.analytics_device_id.is_some() });
            if let Some(transfer) = merged {
                after["transfer_id"] = json!(transfer);
            }
            Ok((
                view(write.connection, user)?,
                Some(AuditEntry::on(app, user).after(after)),
            ))
        })
        .await
    }

    /// Previews the effects of naming a customer now.
    ///
    /// # Errors
    /// Those of [`Store::name_customer`].
    pub async fn preview_naming(
        &self,
        app: AppId,
        owner: Owner,
        names: impl Into<CustomerNames>,
    ) -> Result<Naming, Error> {
        let (secrets, names) = (self.database.secrets.clone(), names.into());
        self.read(move |connection| {
            let owner = owner.or_tombstone(connection, &secrets, app)?;
            let known =
                owner_of(connection, app, &owner)?.ok_or_else(|| unknown_customer(&owner))?;
            naming(connection, &known, &names)
        })
        .await
    }

    /// Gives the customer whom the store names in an answer about a purchase the same text as external id, since the app
    /// passes its own ids to the store. A customer with another external id keeps it, and an erased one gets none.
    pub async fn name_answered_customer(
        &self,
        key: CollapseKey,
        app_user_id: &str,
    ) -> Result<(), Error> {
        let (secrets, answered) = (
            self.database.secrets.clone(),
            clean(app_user_id).into_owned(),
        );
        let unnamed = self
            .read(move |connection| {
                let Some(origin) = purchase::origin(connection, key)? else {
                    return Ok(None);
                };
                let customer = ConcealedName {
                    app: origin.app_id,
                    store: &origin.store,
                    app_user_id: &answered,
                };
                let known = StoreUser {
                    app_id: origin.app_id,
                    app_user_id: tombstones::or_tombstone(connection, &secrets, customer)?,
                    store: origin.store,
                };
                let user = known.find(connection)?;
                let row = user.map(|user| users::read(connection, user)).transpose()?;
                let is_named = row.is_some_and(|row| row.external_id.is_some());
                Ok((!is_named && known.app_user_id == answered).then_some(known))
            })
            .await?;
        let Some(StoreUser {
            app_id,
            store,
            app_user_id,
        }) = unnamed
        else {
            return Ok(());
        };
        let (installation, names) = (
            self.database.installation,
            CustomerNames::from(&app_user_id),
        );
        let owner = Owner::StoreUser { store, app_user_id };
        let kind = JobKind::People(app_id, None);
        let naming = self.database.writer.write(kind, move |write| {
            let order = NameOrder {
                app: app_id,
                owner: &owner,
                names: &names,
                author: None,
                condition: None,
            };
            name(write, installation, order)
        });
        match naming.await {
            // Named otherwise meanwhile.
            Ok(_) | Err(Error::Conflict { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Sets the external id of a purchase's owner.
pub fn name(
    write: &mut Write<'_>,
    installation: Installation,
    order: NameOrder<'_>,
) -> Result<NamedUser, Error> {
    let NameOrder {
        app,
        owner,
        names,
        author,
        condition,
    } = order;
    let external_id = names.external_id.as_str();
    let known = owner_of(write.connection, app, owner)?.ok_or_else(|| unknown_customer(owner))?;
    app_lock::share(write, app)?;
    let user = known_or_new(write, &known)?;
    let other = named(write.connection, app, external_id)?.filter(|other| *other != user);
    let (row, other_row) = lock_both(write, user, other)?;
    // Another transaction may have merged the user or set the id before these locks were taken.
    let taken = named(write.connection, app, external_id)?.filter(|taken| *taken != user);
    if known.find(write.connection)? != Some(user) || taken != other {
        return Err(Error::unavailable(Raced));
    }
    // The condition counts only if the user has no external id yet: if it has this one, there is nothing to do, and
    // another one is refused below.
    if let Some(condition) = condition.filter(|_| row.external_id.is_none()) {
        let naming = naming(write.connection, &known, names)?;
        condition(&naming).map_err(|detail| Error::Conflict {
            what: "external_id",
            detail,
        })?;
    }
    match (&row.external_id, other_row) {
        (Some(called), _) if called == external_id => Ok(NamedUser { user, merged: None }),
        (Some(called), _) => Err(called_otherwise(called, external_id)),
        (None, None) => names::set(write, user, external_id, CauseKind::CustomerId)
            .map(|()| NamedUser { user, merged: None }),
        (None, Some(other)) => {
            let merge = Merge {
                app,
                cause: Cause::Naming,
                author,
                from: &row,
                to: &other,
                announced_before: 0,
            };
            let moved = moves::merge(write, installation, merge)?;
            Ok(NamedUser {
                user: other.id,
                merged: Some(moved.id),
            })
        }
    }
}

/// Computes the effects of naming a customer of the store.
fn naming(
    connection: &mut AnyConnection,
    known: &StoreUser,
    names: &CustomerNames,
) -> Result<Naming, Error> {
    let external_id = names.external_id.as_str();
    let row = match known.find(connection)? {
        Some(user) => Some(users::read(connection, user)?),
        None => None,
    };
    if let Some(called) = row
        .as_ref()
        .and_then(|row| row.external_id.as_deref())
        .filter(|name| *name != external_id)
    {
        return Err(called_otherwise(called, external_id));
    }
    let own = match &row {
        Some(row) => with_purchases(connection, row.id)?,
        None => unknown(known),
    };
    let other = named(connection, known.app_id, external_id)?
        .filter(|other| *other != own.customer.user_id);
    let Some(other) = other else {
        let after = Customer {
            external_id: Some(external_id.to_owned()),
            ..own.customer.clone()
        };
        let after = after.with_device(names.analytics_device_id.clone());
        return Ok(Naming {
            named: own,
            other: None,
            announced: Vec::new(),
            after,
        });
    };
    let (to, is_new) = (
        with_purchases(connection, other)?,
        users::read(connection, other)?.revision == 0,
    );
    let announced = match row.filter(|row| row.revision > 0) {
        Some(row) => transferred::entitling(connection, known.app_id, row.id)?
            .into_iter()
            .collect(),
        None => Vec::new(),
    };
    let mut after = to.customer.clone();
    after
        .app_user_ids
        .extend(own.customer.app_user_ids.iter().cloned());
    after.app_user_ids.sort_unstable();
    // The named customer's device moves to the other customer if that one has none and was not announced yet.
    let moved = after.analytics_device_id.is_none() && is_new;
    let device = own.customer.analytics_device_id.clone().filter(|_| moved);
    let after = after.with_device(names.analytics_device_id.clone().or(device));
    Ok(Naming {
        named: own,
        other: Some(to),
        announced,
        after,
    })
}

impl Customer {
    /// Returns the customer with this device in analytics; `None` keeps the current one.
    fn with_device(self, device: Option<String>) -> Self {
        Self {
            analytics_device_id: device.or(self.analytics_device_id),
            ..self
        }
    }
}

/// Loads a customer with the keys of all purchases.
pub fn with_purchases(
    connection: &mut AnyConnection,
    user: UserId,
) -> Result<CustomerPurchases, Error> {
    let purchases = sql(PURCHASES).bind(user).values(connection)?;
    Ok(CustomerPurchases {
        customer: view(connection, user)?,
        purchases,
    })
}

/// Builds a customer without stored data.
fn unknown(known: &StoreUser) -> CustomerPurchases {
    let customer = Customer {
        user_id: known.anonymous(),
        external_id: None,
        analytics_device_id: None,
        app_user_ids: shown_ids(vec![known.app_user_id.clone()]),
    };
    CustomerPurchases {
        customer,
        purchases: Vec::new(),
    }
}

/// Locks both users in order of their ids.
fn lock_both(
    write: &mut Write<'_>,
    user: UserId,
    other: Option<UserId>,
) -> Result<(UserRow, Option<UserRow>), Error> {
    let rows = moves::lock_users(write, &[Some(user), other].into_iter().flatten().collect())?;
    let (user, other): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.id == user);
    Ok((
        user.into_iter()
            .next()
            .ok_or(Error::Missing { what: "user" })?,
        other.into_iter().next(),
    ))
}

/// Returns the user of an owner, after creating an anonymous one if there is none.
fn known_or_new(write: &mut Write<'_>, known: &StoreUser) -> Result<UserId, Error> {
    match known.find(write.connection)? {
        Some(user) => Ok(user),
        None => known.assign(write, known.anonymous()),
    }
}

fn called_otherwise(called: &str, wanted: &str) -> Error {
    let detail = format!(
        "this customer's id is `{called}`, and `{wanted}` would be another customer; to move purchases between them, use \
         `settle customer move`"
    );
    Error::Conflict {
        what: "external_id",
        detail,
    }
}

fn unknown_customer(owner: &Owner) -> Error {
    match owner {
        Owner::AppUser(_) | Owner::StoreUser { .. } => {
            let detail = "the app has no platform yet, so no store can know this customer: create a platform first";
            Error::Conflict {
                what: "app_user_id",
                detail: detail.to_owned(),
            }
        }
        Owner::Receipt(_) => Error::Missing {
            what: "purchase with this `receipt_id` in the app",
        },
    }
}
