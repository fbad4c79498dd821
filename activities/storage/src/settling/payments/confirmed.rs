//! The lines of sales reports that confirm the prices of payments. A price that is right has no entry in the ledger.

use super::ledger::{ENTRY, EntryRow, RATE, SALE, SaleRow};
use crate::db::connection::AnyConnection;
use crate::db::error::Error;
use crate::db::sql::{Sql, statement};
use crate::db::statement::{row, sql};
use crate::purchases::purchase;
use domain::CollapseKey;
use domain::payment::{self, LedgerEntry, PriceReport, Sale};
use std::collections::{BTreeMap, BTreeSet};

row! {
    struct SaleOfKey {
        collapse_key: CollapseKey,
        sale: SaleRow,
    }
}

row! {
    struct EntryOfKey {
        collapse_key: CollapseKey,
        entry: EntryRow,
    }
}

row! {
    struct PurchaseRow {
        collapse_key: CollapseKey,
        purchase: String,
    }
}

const SALES: Sql = statement! {hot "sales_receipt", "
    SELECT p.collapse_key, {SALE}
    FROM purchases p
    JOIN sales s ON s.app_id = p.app_id AND s.receipt_id = p.receipt_id
    {RATE}
    WHERE p.collapse_key IN (?*)
    ORDER BY s.sold_at, s.transaction_id, s.kind
"};
const ENTRIES: Sql = statement! {"
    SELECT collapse_key, {ENTRY}
    FROM payments
    WHERE collapse_key IN (?*)
    ORDER BY number, entry
"};
const PURCHASES: Sql = statement!("SELECT collapse_key, purchase FROM purchases WHERE collapse_key IN (?*)");

/// The lines of sales reports that confirm or correct the prices of payments, by the purchase and the number of the
/// payment. Without sales reports about the purchases, that is one statement.
pub fn confirmed(
    connection: &mut AnyConnection,
    keys: BTreeSet<CollapseKey>,
) -> Result<BTreeMap<(CollapseKey, i64), PriceReport>, Error> {
    let (mut sales, mut booked) = (BTreeMap::<_, Vec<Sale>>::new(), BTreeMap::<_, Vec<LedgerEntry>>::new());
    if !keys.is_empty() {
        for SaleOfKey { collapse_key, sale } in sql(SALES).uncached().bind_list(keys).all(connection)? {
            sales.entry(collapse_key).or_default().push(sale.sale());
        }
    }
    if sales.is_empty() {
        return Ok(BTreeMap::new());
    }
    let keys = || sales.keys().copied();
    for EntryOfKey { collapse_key, entry } in sql(ENTRIES).uncached().bind_list(keys()).all(connection)? {
        booked.entry(collapse_key).or_default().push(entry.booked());
    }
    let purchases: Vec<PurchaseRow> = sql(PURCHASES).uncached().bind_list(keys()).all(connection)?;
    let mut all = BTreeMap::new();
    for PurchaseRow { collapse_key: key, purchase } in purchases {
        let Some((booked, sales)) = booked.get(&key).zip(sales.get(&key)) else { continue };
        let confirmed = payment::confirmed(booked, sales, payment::reach(&purchase::read(&purchase)?));
        all.extend(confirmed.into_iter().map(|(number, report)| ((key, number), report)));
    }
    Ok(all)
}
