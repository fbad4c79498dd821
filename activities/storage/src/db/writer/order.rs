//! What the settlings of a group are ordered by: the apps and users of their purchases.

use crate::db::connection::AnyConnection;
use crate::db::error::Error;
use domain::{AppId, CollapseKey, UserId};
use std::collections::HashMap;

/// A settling, whose job locks the app and the user of the purchase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settled {
    pub key: CollapseKey,
    /// The newest notification that it settles.
    pub newest: Option<i64>,
}

/// Finds the apps and users of purchases. A job whose user is not found is in no order.
pub type FindOwners = fn(&mut AnyConnection, &[Settled]) -> Result<HashMap<CollapseKey, (AppId, UserId)>, Error>;

/// What a job is ordered by beside its kind.
#[derive(Debug, Clone, Copy)]
pub struct Order {
    pub settled: Settled,
    pub find: FindOwners,
}
