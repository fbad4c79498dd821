//! The sum that a user paid, according to the ledger.

use db::connection::AnyConnection;
use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::{row, sql};
use domain::payment::Total;
use domain::{CollapseKey, Environment, UserId};
use rust_decimal::Decimal;
use std::collections::HashMap;

row! {
    struct UsdRow {
        collapse_key: CollapseKey,
        usd: Option<Decimal>,
    }
}

const PAID_BY_USER: Sql = statement! {"
    SELECT m.collapse_key, m.usd
    FROM purchases p
    JOIN payments m ON m.collapse_key = p.collapse_key
    WHERE p.user_id = ? AND m.environment = ?
    ORDER BY m.collapse_key, m.number, m.entry
"};

/// Returns the total of the ledger for each purchase of a user in an environment: the payments, less the refunds.
pub fn paid_by(
    connection: &mut AnyConnection,
    user: UserId,
    environment: Environment,
) -> Result<HashMap<CollapseKey, Total>, Error> {
    let rows: Vec<UsdRow> = sql(PAID_BY_USER)
        .bind(user)
        .bind(environment)
        .all(connection)?;
    let mut sums: HashMap<CollapseKey, Total> = HashMap::new();
    for UsdRow { collapse_key, usd } in rows {
        sums.entry(collapse_key).or_default().add(usd);
    }
    Ok(sums)
}
