//! A move of store customers that is to be carried out: its two users, its reason and its author.

use crate::purchases::cause::CauseKind;
use crate::purchases::users::{StoreCustomer, UserRow};
use db::connection::AnyConnection;
use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::{row, sql, stored};
use domain::{AppId, DevicePlace, TransferId, UserId};
use serde::Serialize;
use std::collections::BTreeSet;

stored! {
    /// Why purchases moved to another user.
    #[derive(Serialize)]
    #[serde(rename_all = "snake_case")]
    pub enum Cause {
        /// A login on a device with a verified claim.
        Login = "login",
        /// The customer was given the external id of another user, or the store names another customer of a purchase.
        Naming = "naming",
        Admin = "admin",
        /// A person took a transfer back.
        Undo = "undo",
    }
}

impl Cause {
    /// Returns the cause of the revisions that announce the move.
    pub const fn kind(self) -> CauseKind {
        match self {
            Self::Login => CauseKind::Login,
            Self::Naming => CauseKind::CustomerId,
            Self::Admin => CauseKind::Transfer,
            Self::Undo => CauseKind::TransferUndone,
        }
    }
}

/// The author of a change, and the reason for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    pub by: String,
    /// `None` if none was entered: an app's server that names its customers enters none.
    pub reason: Option<String>,
}

/// A move of store customers between two users, whose rows are locked.
pub struct Move<'a> {
    pub app: AppId,
    pub from: &'a UserRow,
    pub to: &'a UserRow,
    /// The store customers that move; `None` for all of the former owner's.
    pub customers: Option<BTreeSet<StoreCustomer>>,
    pub cause: Cause,
    pub author: Option<Author>,
    /// The transfer that this move undoes.
    pub undoes: Option<TransferId>,
    /// Whether each purchase that gives access is announced by two events. If not, no state of the former owner was
    /// ever announced, and the purchases are announced with the new owner's id.
    pub is_announced: bool,
    /// Number of purchases that earlier moves of the same login have announced.
    pub announced_before: usize,
    pub devices: MovedDevices,
}

/// The devices that move with a user's purchases.
pub enum MovedDevices {
    /// None: each device stays with the customer who is logged in on it.
    None,
    /// All: the former owner is merged into the new one.
    All,
    /// Undo: devices that the merge moved and that are still `from`'s.
    Back(BTreeSet<DevicePlace>),
}

row! {
    struct CustomerRow {
        store: String,
        app_user_id: String,
    }
}

const CUSTOMERS: Sql = statement! {"
    SELECT store, app_user_id
    FROM store_users
    WHERE user_id = ?
    ORDER BY store, app_user_id
"};

/// Returns the customers of stores that belong to a user.
pub fn customers(
    connection: &mut AnyConnection,
    user: UserId,
) -> Result<BTreeSet<StoreCustomer>, Error> {
    let rows: Vec<CustomerRow> = sql(CUSTOMERS).bind(user).all(connection)?;
    let customer = |row: CustomerRow| StoreCustomer {
        store: row.store,
        app_user_id: row.app_user_id,
    };
    Ok(rows.into_iter().map(customer).collect())
}
