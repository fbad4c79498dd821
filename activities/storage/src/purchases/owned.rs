//! The purchases of a user, from which the user's state is computed.

use crate::db::connection::AnyConnection;
use crate::db::error::Error;
use crate::db::sql::{Sql, statement};
use crate::db::statement::{row, sql};
use crate::purchases::purchase;
use crate::settings::listing::Listings;
use domain::user::OwnedPurchase;
use domain::{AppId, CollapseKey, Environment, PlatformId, Timestamp, UserId};

row! {
    struct OwnedRow {
        collapse_key: CollapseKey,
        platform_id: PlatformId,
        platform_type: String,
        environment: Environment,
        product_ref: String,
        purchase: String,
        real_at: Option<Timestamp>,
    }
}

const OWNED: Sql = statement! {hot "purchases_user", "
    SELECT p.collapse_key, p.platform_id, f.store AS platform_type, f.environment, f.product_ref, p.purchase,
        r.real_at
    FROM purchases p
    JOIN platforms f ON f.id = p.platform_id
    LEFT JOIN replacements r ON r.old_key = p.collapse_key
    WHERE p.user_id = ?
    ORDER BY p.collapse_key
"};

/// All purchases of a user as they are stored, in the order of their keys.
pub fn owned(connection: &mut AnyConnection, app: AppId, user: UserId) -> Result<Vec<OwnedPurchase>, Error> {
    let rows: Vec<OwnedRow> = sql(OWNED).bind(user).all(connection)?;
    let mut listings = Listings::of(app);
    rows.into_iter()
        .map(|row| {
            let purchase = purchase::read(&row.purchase)?;
            Ok(OwnedPurchase {
                collapse_key: row.collapse_key,
                platform_id: row.platform_id,
                platform_type: row.platform_type,
                environment: purchase.environment(row.environment),
                is_replaced: row.real_at.is_some(),
                product_ref: purchase::product_ref(&row.product_ref),
                listing: listings.find(connection, &purchase)?,
                purchase,
            })
        })
        .collect()
}
