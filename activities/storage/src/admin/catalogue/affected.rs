//! The purchases that a change of the catalogue affects: those whose product gets other entitlements or prices, or is
//! added or removed.

use super::{Catalogue, EntitlementText, Product};
use crate::settling::rechecks;
use db::connection::AnyConnection;
use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::{row, sql};
use domain::AppId;
use domain::catalogue::Price;
use std::collections::BTreeSet;

row! {
    /// Number of purchases whose term has the same SKU.
    struct TermCount {
        term_sku: Option<String>,
        purchases: i64,
    }
}

/// Returns the SKUs whose entitlements or prices, as events show them, differ between two catalogues.
pub fn skus(before: &Catalogue, after: &Catalogue) -> BTreeSet<String> {
    let all = before.products.keys().chain(after.products.keys());
    all.filter(|sku| listing(before, sku) != listing(after, sku))
        .cloned()
        .collect()
}

type Listing<'c> = (Vec<(&'c str, Option<&'c EntitlementText>)>, &'c [Price]);

/// Returns the listing of a product as events show it; `None` if the product is not listed.
fn listing<'c>(catalogue: &'c Catalogue, sku: &str) -> Option<Listing<'c>> {
    let Product {
        entitlements,
        prices,
        ..
    } = catalogue.products.get(sku)?;
    let named = entitlements
        .iter()
        .map(|ref_id| (ref_id.as_str(), catalogue.entitlements.get(ref_id)));
    Some((named.collect(), prices))
}

/// `revision >= 0` holds for every row, but no index contains `revision`: without it, SQLite would read the terms of
/// all products from an index that has them.
const COUNT_TERMS_OF_PRODUCT: Sql = statement! {hot "purchases_product", "
    SELECT term_sku, COUNT(*) AS purchases
    FROM (SELECT term_sku FROM purchases WHERE app_id = ? AND product_id = ? AND revision >= 0 LIMIT ?) found
    GROUP BY term_sku
"};

/// Counts the purchases with one of these SKUs, each purchase once, up to about 100,000.
pub fn count(
    connection: &mut AnyConnection,
    app: AppId,
    skus: &BTreeSet<String>,
) -> Result<i64, Error> {
    let mut count = 0;
    for sku in skus {
        let of_term = [app.into(), sku.as_str().into()];
        count += rechecks::count(
            connection,
            rechecks::OF_TERM,
            of_term,
            rechecks::MAX_COUNTED - count,
        )?;
        let of_product: Vec<TermCount> = sql(COUNT_TERMS_OF_PRODUCT)
            .uncached()
            .bind((app, sku.as_str(), rechecks::MAX_COUNTED - count))
            .all(connection)?;
        // A purchase whose term has one of the SKUs is counted with that SKU.
        let is_counted_by_term = |row: &&TermCount| {
            row.term_sku
                .as_ref()
                .is_some_and(|term| skus.contains(term))
        };
        count += of_product
            .iter()
            .filter(|row| !is_counted_by_term(row))
            .map(|row| row.purchases)
            .sum::<i64>();
    }
    Ok(count)
}
