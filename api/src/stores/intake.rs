//! The database and dispatcher that accept a store's notifications.

use crate::dispatch::Dispatch;
use storage::Store;

/// The database that stores notifications, and the dispatcher that signals them.
#[derive(Clone, Copy)]
pub struct Intake<'a> {
    pub store: &'a Store,
    pub dispatch: &'a Dispatch,
}
