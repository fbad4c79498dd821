//! A purchase whose store names another customer than before: a transfer of this purchase alone, which the sweep
//! announces to both customers in a revision of its own.

use crate::purchases::purchase::PurchaseRow;
use crate::settings::listing::Listings;
use crate::settings::tombstones::is_tombstone;
use crate::settling::revision::Settling;
use db::error::Error;
use db::sql::{Sql, insert, statement};
use db::statement::sql;
use db::writer::Write;
use domain::{TransferId, UserId};
use serde_json::json;

const COUNT_FROM: Sql =
    statement!("SELECT COUNT(*) AS value FROM transfers WHERE from_user_id = ?");

/// Stores the transfer if the settled purchase gives access and its customer is another one than before. Both users are
/// locked.
pub fn note(
    write: &mut Write<'_>,
    settling: &Settling<'_>,
    row: &PurchaseRow,
    listings: &mut Listings,
) -> Result<(), Error> {
    let Some((from, to)) = parties(settling, row) else {
        return Ok(());
    };
    let record = &*settling.record;
    let purchase = &record.decision.purchase;
    let listing = listings.find(write.connection, purchase)?;
    let is_active = purchase.state().is_active() == Some(true) && !record.is_replaced;
    if !is_active || listing.entitlements.is_empty() {
        return Ok(());
    }
    let number: Option<i64> = sql(COUNT_FROM).bind(from).value(write.connection)?;
    let (epoch, created_at) = (write.epoch()?, write.now()?);
    // The store's customers stay with their users, so no customer is moved, and nothing can be undone.
    let moved = json!({ "customers": [], "announced": [record.collapse_key] });
    insert!(transfers {
        id: TransferId::of(from, epoch, number.unwrap_or(0)),
        app_id: settling.origin.app_id,
        from_user_id: from,
        to_user_id: to,
        cause: "naming",
        moved: moved.to_string(),
        created_at: created_at,
        unannounced_after: "",
    })
    .run(write.connection)
    .map(drop)
}

/// Returns the former owner and the new one, if the store named both and they are different users.
fn parties(settling: &Settling<'_>, row: &PurchaseRow) -> Option<(UserId, UserId)> {
    let former_name = row.app_user_id.as_deref()?;
    let name = settling.app_user_id?;
    let (from, to) = (row.user_id?, settling.owner?.id);
    let is_handed_over = from != to && name != former_name && !is_tombstone(former_name);
    is_handed_over.then_some((from, to))
}
