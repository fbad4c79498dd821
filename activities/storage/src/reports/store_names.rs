//! Finds customers by a store's id, or by that of one of their purchases, in all apps at once.

use crate::reports::filtered::Filtered;
use crate::settings::tombstones::ConcealedName;
use crate::settings::unnamed::PURCHASE_PREFIX;
use crate::store::Store;
use db::error::Error;
use db::partial::OPEN_OF_STORE_ID_N;
use db::sql::{Clause, Sql, clause, statement};
use db::statement::{clean, row, sql};
use domain::{AppId, UserId};

row! {
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct FoundCustomer {
        pub app_id: AppId,
        pub user_id: UserId,
    }
}

row! {
    struct StoreOfApp {
        app_id: AppId,
        store: String,
    }
}

const STORES: Sql =
    statement!("SELECT DISTINCT f.app_id, f.store FROM platforms f WHERE {{which}}");

const FOUND: Sql = statement! {"
    SELECT DISTINCT x.app_id, x.user_id
    FROM (
        SELECT s.app_id, s.user_id
        FROM (SELECT DISTINCT f.app_id, f.store FROM platforms f) g
        JOIN store_users s ON s.app_id = g.app_id AND s.store = g.store
        WHERE s.app_user_id IN (?*)
        UNION ALL
        SELECT * FROM (SELECT p.app_id, p.user_id
            FROM purchases p WHERE p.receipt_id = ? AND p.user_id IS NOT NULL LIMIT 100) a
        UNION ALL
        SELECT s.app_id, s.user_id
        FROM notifications n
        JOIN platforms f ON f.id = n.platform_id
        JOIN store_users s ON s.app_id = f.app_id AND s.store = f.store
            AND s.app_user_id = COALESCE(n.app_user_id, '{PURCHASE_PREFIX}' || n.receipt_id)
        WHERE n.receipt_id = ? AND {OPEN_OF_STORE_ID_N} AND n.waiting_topic_id IS NULL
    ) x
    WHERE {{which}}
    ORDER BY x.app_id, x.user_id
    LIMIT 50
"};
const IN_APP: Clause = clause!(&[FOUND], "x.app_id = ?");
const OF_APP: Clause = clause!(&[STORES], "f.app_id = ?");

impl Store {
    /// Finds the customers with this id at a store, including erased ones, and the owners of the purchase with this id,
    /// in one app or in all. Returns at most 50.
    pub async fn customers_of_store_id(
        &self,
        text: &str,
        app: Option<AppId>,
    ) -> Result<Vec<FoundCustomer>, Error> {
        let (text, secrets) = (
            clean(text.trim()).into_owned(),
            self.database.secrets.clone(),
        );
        self.read(move |connection| {
            let stores: Vec<StoreOfApp> = Filtered::new(STORES, [])
                .and(OF_APP, app)
                .statement()
                .all(connection)?;
            let tombstones = stores.iter().map(|one| {
                let customer = ConcealedName {
                    app: one.app_id,
                    store: &one.store,
                    app_user_id: &text,
                };
                customer.tombstone(&secrets)
            });
            let names = std::iter::once(text.clone()).chain(tombstones);
            let conditions: &[&str] = if app.is_some() { &[IN_APP.text] } else { &[] };
            let found = sql(FOUND.with(conditions))
                .uncached()
                .bind_list(names)
                .bind(text.as_str())
                .bind(text.as_str());
            found.bind_all(app).all(connection)
        })
        .await
    }
}
