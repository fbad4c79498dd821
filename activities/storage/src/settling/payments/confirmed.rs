//! The lines of sales reports that confirm the prices and refunds of payments. An amount that is confirmed adds no
//! entry to the ledger.

use super::ledger::{ENTRY, EntryRow, SALE, SaleRow};
use crate::purchases::purchase;
use db::connection::AnyConnection;
use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::{row, sql};
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
    WHERE p.collapse_key IN (?*)
    ORDER BY s.sold_at, s.transaction_id, s.kind
"};
const ENTRIES: Sql = statement! {"
    SELECT collapse_key, {ENTRY}
    FROM payments
    WHERE collapse_key IN (?*)
    ORDER BY number, entry
"};
const PURCHASES: Sql =
    statement!("SELECT collapse_key, purchase FROM purchases WHERE collapse_key IN (?*)");

/// The lines of sales reports that confirm or correct amounts of payments, each under the purchase and the number of
/// the payment.
#[derive(Debug, Default)]
pub struct Confirmed {
    pub prices: BTreeMap<(CollapseKey, i64), PriceReport>,
    /// Refunds that follow from an early end.
    pub refunds: BTreeMap<(CollapseKey, i64), PriceReport>,
}

/// Returns the confirmations of these purchases by sales reports. Runs only one statement if no sales report is about
/// them.
pub fn confirmed(
    connection: &mut AnyConnection,
    keys: BTreeSet<CollapseKey>,
) -> Result<Confirmed, Error> {
    let (mut sales, mut booked) = (
        BTreeMap::<_, Vec<Sale>>::new(),
        BTreeMap::<_, Vec<LedgerEntry>>::new(),
    );
    if !keys.is_empty() {
        for SaleOfKey { collapse_key, sale } in
            sql(SALES).uncached().bind_list(keys).all(connection)?
        {
            sales.entry(collapse_key).or_default().push(sale.sale()?);
        }
    }
    if sales.is_empty() {
        return Ok(Confirmed::default());
    }
    let keys = || sales.keys().copied();
    for EntryOfKey {
        collapse_key,
        entry,
    } in sql(ENTRIES).uncached().bind_list(keys()).all(connection)?
    {
        booked
            .entry(collapse_key)
            .or_default()
            .push(entry.into_entry());
    }
    let purchases: Vec<PurchaseRow> = sql(PURCHASES)
        .uncached()
        .bind_list(keys())
        .all(connection)?;
    let mut all = Confirmed::default();
    for PurchaseRow {
        collapse_key: key,
        purchase,
    } in purchases
    {
        let Some((booked, sales)) = booked.get(&key).zip(sales.get(&key)) else {
            continue;
        };
        let reach = payment::reach(&purchase::read(&purchase)?);
        let of_key = |(number, report)| ((key, number), report);
        all.prices.extend(
            payment::confirmed(booked, sales, reach)
                .into_iter()
                .map(of_key),
        );
        all.refunds.extend(
            payment::confirmed_refunds(booked, sales, reach)
                .into_iter()
                .map(of_key),
        );
    }
    Ok(all)
}
