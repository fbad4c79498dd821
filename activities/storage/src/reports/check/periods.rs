//! The rule about the ledger of purchases whose store shows each payment.

use super::range::{PURCHASES, Range};
use db::connection::AnyConnection;
use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::{row, sql};
use domain::payment::EntryKind;
use domain::period::{PeriodEntry, missing_entries};
use domain::{CollapseKey, Purchase};
use rust_decimal::Decimal;

row! {
    struct BookedRow {
        collapse_key: CollapseKey,
        store_transaction: String,
        kind: EntryKind,
        amount: Option<Decimal>,
        usd: Option<Decimal>,
    }
}

row! {
    struct PurchaseOfKey {
        collapse_key: CollapseKey,
        purchase: Purchase,
    }
}

const BOOKED: Sql = statement! {"
    SELECT p.collapse_key, m.store_transaction, m.kind, m.amount, m.usd
    FROM purchases p
    JOIN payments m ON m.collapse_key = p.collapse_key AND m.store_transaction IS NOT NULL
    WHERE {PURCHASES}
    ORDER BY p.collapse_key, m.number, m.entry
"};
const SHOWN: Sql =
    statement!("SELECT collapse_key, purchase FROM purchases WHERE collapse_key IN (?*)");

/// Checks the rule `each_payment_adds_up`. Changes of less than a cent are not booked, and none before the payment is
/// known in USD.
pub fn differing(connection: &mut AnyConnection, range: &Range) -> Result<Vec<String>, Error> {
    let rows: Vec<BookedRow> = sql(BOOKED).bind_all(range.values.clone()).all(connection)?;
    let mut keys: Vec<CollapseKey> = rows.iter().map(|row| row.collapse_key).collect();
    keys.dedup();
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let shown: Vec<PurchaseOfKey> = sql(SHOWN).uncached().bind_list(keys).all(connection)?;
    let of_payment = |a: &BookedRow, b: &BookedRow| {
        (a.collapse_key, &a.store_transaction) == (b.collapse_key, &b.store_transaction)
    };
    let mut differing = Vec::new();
    for entries in rows.chunk_by(of_payment) {
        let Some(first) = entries.first() else {
            continue;
        };
        let of_key = shown
            .iter()
            .find(|one| one.collapse_key == first.collapse_key);
        if of_key.is_some_and(|one| differs(&one.purchase, first, entries)) {
            differing.push(format!(
                "{} {}",
                first.collapse_key, first.store_transaction
            ));
        }
    }
    Ok(differing)
}

/// Whether the ledger lacks an amount of a payment that the purchase shows.
fn differs(purchase: &Purchase, first: &BookedRow, entries: &[BookedRow]) -> bool {
    let Some(period) = purchase.periods().of(&first.store_transaction) else {
        return false;
    };
    let booked = entries.iter().map(|row| PeriodEntry {
        kind: row.kind,
        amount: row.amount,
    });
    let missing = missing_entries(period, first.kind, &booked.collect::<Vec<_>>());
    let usd: Decimal = entries
        .iter()
        .filter(|row| !matches!(row.kind, EntryKind::Refund | EntryKind::Restored))
        .filter_map(|row| row.usd)
        .fold(Decimal::ZERO, Decimal::saturating_add);
    let in_usd = |amount: Decimal| {
        let share = amount.checked_div(period.price?)?;
        usd.checked_mul(share)
    };
    let cent = Decimal::new(1, 2);
    let mut amounts = missing.iter().filter_map(|entry| entry.amount);
    amounts.any(|amount| in_usd(amount).is_some_and(|usd| usd.abs() >= cent))
}
