//! Changes of a catalogue: counted first, then written, and the purchases concerned are rechecked.

use super::{Catalogue, Change, concern, tables};
use crate::admin::platforms::require_app;
use crate::db::error::Error;
use crate::db::run::Run;
use crate::db::sql::{Sql, statement};
use crate::db::statement::{row, sql};
use crate::db::store::Store;
use crate::db::writer::Write;
use crate::settling::rechecks;
use domain::AppId;
use schemars::JsonSchema;
use serde::Serialize;

/// Maximum number of unmapped SKUs that are shown.
const MOST_UNMAPPED: i64 = 1_000;

row! {
    /// A SKU that was bought and is not in the catalogue.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
    pub struct UnmappedSku {
        /// The SKU, that of the term where there is one.
        pub sku: String,
        /// Number of purchases that have it.
        pub purchases: i64,
    }
}

const UNMAPPED: Sql = statement! {"
    SELECT COALESCE(p.term_sku, p.product_id) AS sku, COUNT(*) AS purchases
    FROM purchases p
    WHERE p.app_id = ? AND COALESCE(p.term_sku, p.product_id) IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM products c WHERE c.app_id = p.app_id AND c.sku = p.term_sku)
        AND NOT EXISTS (SELECT 1 FROM products c WHERE c.app_id = p.app_id AND c.sku = p.product_id)
    GROUP BY COALESCE(p.term_sku, p.product_id)
    ORDER BY 2 DESC, 1
    LIMIT ?
"};

impl Store {
    /// The catalogue of an app.
    pub async fn catalogue(&self, app: AppId) -> Result<Catalogue, Error> {
        self.read(move |connection| tables::read(connection, app)).await
    }

    /// Changes the catalogue and returns how many purchases that concerns; a very great number is only known to be one.
    /// A dry run only counts. Counting comes first: no other writer waits for it.
    pub async fn change_catalogue(&self, app: AppId, change: Change, run: Run) -> Result<i64, Error> {
        let counted = change.clone();
        let concerned = self
            .read(move |connection| {
                let before = tables::read(connection, app)?;
                let mut after = before.clone();
                after.change(counted)?;
                concern::count(connection, app, &concern::skus(&before, &after))
            })
            .await?;
        if run == Run::Dry {
            return Ok(concerned);
        }
        self.write(move |write| {
            lock(write, app)?;
            let before = tables::read(write.connection, app)?;
            let mut after = before.clone();
            after.change(change.clone())?;
            tables::write(write, app, &before, &after)?;
            rechecks::recheck_skus(write, app, &concern::skus(&before, &after))
        })
        .await?;
        Ok(concerned)
    }

    /// The SKUs of purchases that the catalogue does not list, the most bought first.
    pub async fn unmapped(&self, app: AppId) -> Result<Vec<UnmappedSku>, Error> {
        self.read(move |connection| sql(UNMAPPED).bind(app).bind(MOST_UNMAPPED).all(connection)).await
    }
}

const LOCK_APP: Sql = statement!("UPDATE apps SET name = name WHERE id = ?");

/// Changes of one catalogue take turns. An update locks less than FOR UPDATE: new purchases may refer to the app.
fn lock(write: &mut Write<'_>, app: AppId) -> Result<(), Error> {
    require_app(write, app)?;
    sql(LOCK_APP).bind(app).run(write.connection).map(drop)
}
