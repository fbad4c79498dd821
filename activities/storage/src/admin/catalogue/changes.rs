//! Changing a catalogue: counts the affected purchases, writes the change, and schedules their rechecks.

use super::{Catalogue, Change, affected, tables};
use crate::admin::platforms::require_app;
use crate::settings::app_lock;
use crate::settling::{rechecks, unlisted};
use crate::store::Store;
use db::audit_log::AuditEntry;
use db::error::Error;
use db::run::Run;
use db::sql::{Sql, statement};
use db::statement::{row, sql};
use domain::AppId;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Maximum number of unmapped SKUs that are listed.
pub const MAX_UNMAPPED: usize = 1_000;

row! {
    /// A SKU that was bought but is not in the catalogue.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
    pub struct UnmappedSku {
        /// SKU of the subscription's term, or of the product if there is no term.
        pub sku: String,
        /// Number of purchases with this SKU.
        pub purchases: i64,
    }
}

const UNMAPPED: Sql = statement! {"
    SELECT COALESCE(p.term_sku, p.product_id) AS sku, CAST(SUM(p.purchases) AS BIGINT) AS purchases
    FROM (
        SELECT app_id, term_sku, product_id, COUNT(*) AS purchases
        FROM purchases
        WHERE app_id = ?
        GROUP BY app_id, term_sku, product_id
    ) p
    WHERE COALESCE(p.term_sku, p.product_id) IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM products c WHERE c.app_id = p.app_id AND c.sku = p.term_sku)
        AND NOT EXISTS (SELECT 1 FROM products c WHERE c.app_id = p.app_id AND c.sku = p.product_id)
    GROUP BY COALESCE(p.term_sku, p.product_id)
    ORDER BY 2 DESC, 1
    LIMIT ?
"};

/// A condition that the catalogue must meet for a change. Its error says why it is not met.
pub type Condition = Arc<dyn Fn(&Catalogue) -> Result<(), String> + Send + Sync>;

fn check(catalogue: &Catalogue, condition: &Condition) -> Result<(), Error> {
    condition(catalogue).map_err(|detail| Error::Conflict {
        what: "change",
        detail,
    })
}

impl Store {
    pub async fn catalogue(&self, app: AppId) -> Result<Catalogue, Error> {
        self.read(move |connection| tables::read(connection, app))
            .await
    }

    /// Changes the catalogue and returns the number of affected purchases, counted up to about 100,000. A dry run only
    /// counts. The purchases are counted before the writing transaction, so that no other writer waits for it.
    pub async fn change_catalogue(
        &self,
        app: AppId,
        change: Change,
        run: Run,
    ) -> Result<i64, Error> {
        self.change_catalogue_if(app, change, run, Arc::new(|_: &Catalogue| Ok(())))
            .await
    }

    /// Changes the catalogue like [`Store::change_catalogue`] if it meets a condition, which is checked again in the
    /// writing transaction.
    ///
    /// # Errors
    /// [`Error::Conflict`] if the catalogue does not meet the condition.
    pub async fn change_catalogue_if(
        &self,
        app: AppId,
        change: Change,
        run: Run,
        condition: Condition,
    ) -> Result<i64, Error> {
        let (counted, fulfilled) = (change.clone(), Arc::clone(&condition));
        let affected = self
            .read(move |connection| {
                let before = tables::read(connection, app)?;
                check(&before, &fulfilled)?;
                let mut after = before.clone();
                after.change(counted)?;
                affected::count(connection, app, &affected::skus(&before, &after))
            })
            .await?;
        if run == Run::Dry {
            return Ok(affected);
        }
        let operation = change.operation();
        self.change(operation, move |write| {
            app_lock::take(write, app)?;
            require_app(write, app)?;
            let before = tables::read(write.connection, app)?;
            check(&before, &condition)?;
            let mut after = before.clone();
            after.change(change.clone())?;
            tables::write(write, app, &before, &after)?;
            rechecks::recheck_skus(write, app, &affected::skus(&before, &after))?;
            unlisted::close(write, app, |sku| after.products.contains_key(sku))?;
            let entry = AuditEntry::on(app, change.subject(app))
                .before(fields(&before, &after))
                .after(fields(&after, &before));
            Ok(((), Some(entry)))
        })
        .await?;
        Ok(affected)
    }

    /// Lists the SKUs of purchases that are not in the catalogue, those with the most purchases first, and says whether
    /// there are more than [`MAX_UNMAPPED`].
    pub async fn unmapped(&self, app: AppId) -> Result<(Vec<UnmappedSku>, bool), Error> {
        let limit = i64::try_from(MAX_UNMAPPED)
            .unwrap_or(i64::MAX)
            .saturating_add(1);
        let mut found: Vec<UnmappedSku> = self
            .read(move |connection| sql(UNMAPPED).bind(app).bind(limit).all(connection))
            .await?;
        let has_more = found.len() > MAX_UNMAPPED;
        found.truncate(MAX_UNMAPPED);
        Ok((found, has_more))
    }
}

/// Lists the entries of a catalogue that another one does not have, or has with different content.
fn fields(one: &Catalogue, other: &Catalogue) -> Value {
    let entitlements = one
        .entitlements
        .iter()
        .filter(|(id, text)| other.entitlements.get(*id) != Some(*text));
    let products = one
        .products
        .iter()
        .filter(|(sku, product)| other.products.get(*sku) != Some(*product));
    json!({
        "entitlements": entitlements.collect::<BTreeMap<_, _>>(),
        "products": products.collect::<BTreeMap<_, _>>(),
    })
}
