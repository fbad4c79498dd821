//! Which purchases a change of the catalogue concerns: those whose product it lists otherwise than before.

use super::{Catalogue, Named, Product};
use crate::db::connection::AnyConnection;
use crate::db::error::Error;
use crate::db::sql::{Sql, statement};
use crate::db::statement::{row, sql};
use crate::settling::rechecks;
use domain::AppId;
use domain::catalogue::Price;
use std::collections::BTreeSet;

row! {
    struct OfProduct {
        term_sku: Option<String>,
        purchases: i64,
    }
}

/// The SKUs whose listing, as events show it, differs.
pub fn skus(before: &Catalogue, after: &Catalogue) -> BTreeSet<String> {
    let all = before.products.keys().chain(after.products.keys());
    all.filter(|sku| listing(before, sku) != listing(after, sku)).cloned().collect()
}

type Listing<'c> = (Vec<(&'c str, Option<&'c Named>)>, &'c [Price]);

/// The listing of a product as events show it; `None` when it is not listed.
fn listing<'c>(catalogue: &'c Catalogue, sku: &str) -> Option<Listing<'c>> {
    let Product { entitlements, prices, .. } = catalogue.products.get(sku)?;
    let named = entitlements.iter().map(|ref_id| (ref_id.as_str(), catalogue.entitlements.get(ref_id)));
    Some((named.collect(), prices))
}

const COUNT_TERMS_OF_PRODUCT: Sql = statement! {hot "purchases_product", "
    SELECT term_sku, COUNT(*) AS purchases
    FROM (SELECT term_sku FROM purchases WHERE app_id = ? AND product_id = ? LIMIT ?) found
    GROUP BY term_sku
"};

/// How many purchases have one of these SKUs, each counted once; of a very great number only that it is one.
pub fn count(connection: &mut AnyConnection, app: AppId, skus: &BTreeSet<String>) -> Result<i64, Error> {
    let mut count = 0;
    for sku in skus {
        let of_term = [app.into(), sku.as_str().into()];
        count += rechecks::count(connection, rechecks::OF_TERM, of_term, rechecks::MAX_COUNTED - count)?;
        let of_product: Vec<OfProduct> = sql(COUNT_TERMS_OF_PRODUCT)
            .uncached()
            .bind(app)
            .bind(sku.as_str())
            .bind(rechecks::MAX_COUNTED - count)
            .all(connection)?;
        let is_counted = |row: &&OfProduct| row.term_sku.as_ref().is_some_and(|term| skus.contains(term));
        count += of_product.iter().filter(|row| !is_counted(row)).map(|row| row.purchases).sum::<i64>();
    }
    Ok(count)
}
