//! What the store signed of a purchase and a device hands in: rows of the inbox, stored with the event that contains
//! it. So a purchase is settled by it even if the store's own notification is lost.
//!
//! The id of a row depends on the content alone: however often and on however many devices the same is handed in, it is
//! stored once.

use crate::devices::request::SignedReceipt;
use crate::inbox::accept;
use crate::inbox::notifications::{Accepted, NewNotification};
use db::error::Error;
use db::secrets::Secrets;
use db::writer::Write;
use domain::CollapseKey;

/// Size of a row in bytes, as SQLite and PostgreSQL store it, with its index entries and without its body.
const ROW_BYTES: usize = 600;

/// A transaction in a request, by the request's index.
pub type Received<'r> = (usize, &'r SignedReceipt);

/// A new row of the inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredReceipt {
    pub request: usize,
    pub collapse_key: CollapseKey,
    pub seq: i64,
    /// Approximate number of bytes that it takes in the database.
    pub bytes: usize,
}

/// Stores the content of transactions. Returns what is new.
pub fn store(
    write: &mut Write<'_>,
    secrets: &Secrets,
    received: &[Received<'_>],
) -> Result<Vec<StoredReceipt>, Error> {
    if received.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<&NewNotification> = received.iter().map(|(_, one)| &one.notification).collect();
    let accepted = accept::insert(write, secrets, &rows)?;
    let stored = received.iter().zip(accepted);
    let new = stored.filter_map(|((request, one), accepted)| {
        let row = &one.notification;
        let collapse_key = row.collapse_key?;
        let Accepted::New { seq } = accepted else {
            return None;
        };
        Some(StoredReceipt {
            request: *request,
            collapse_key,
            seq,
            bytes: ROW_BYTES + row.body.len(),
        })
    });
    Ok(new.collect())
}
