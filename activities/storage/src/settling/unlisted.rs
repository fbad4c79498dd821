//! The alarm that a product was bought but is missing from the catalogue: its customers get no access, and nothing
//! fails. Each product of a platform has one such alarm, which closes when the product is added.
//!
//! An app without entitlements in its catalogue does not use settle to give access, so it gets no such alarm.

use crate::events::alarms;
use crate::events::deliveries::MAX_COUNTED;
use crate::settings::listing::Listings;
use crate::settling::access;
use crate::settling::revision::{Description, Settling};
use crate::store::Store;
use db::alarm::{About, NewAlarm};
use db::connection::AnyConnection;
use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::{row, sql};
use db::writer::Write;
use domain::{AppId, CollapseKey, Environment, PlatformId};
use serde_json::Value;
use std::collections::BTreeSet;

const KIND: &str = "product_unlisted";
/// The alarm's detail after the SKU. It contains no number, so that each product has one such alarm.
const REST: &str = "` is not in the catalogue, so customers who bought it get no access: add it, without entitlements if it \
     gives none on purpose; `settle product set --help`";
const CLOSED: &str = "the product is in the catalogue";

fn detail(sku: &str) -> String {
    format!("`{sku}{REST}")
}

/// Returns the product that an alarm is about; `None` for an alarm of another kind.
pub fn sku<'a>(kind: &str, detail: &'a str) -> Option<&'a str> {
    let named = detail
        .strip_prefix('`')
        .and_then(|rest| rest.strip_suffix(REST));
    named.filter(|_| kind == KIND)
}

/// Raises the alarms about the price and the product of a changed record.
pub fn alarm_of_record(
    write: &mut Write<'_>,
    settling: &Settling<'_>,
    description: &Description,
    listings: &mut Listings,
) -> Result<(), Error> {
    if let Some(doubt) = description.price_doubt {
        access::alarm(write, settling.origin.platform_id, doubt)?;
    }
    alarm(write, settling, &description.data, listings)
}

/// Raises the alarm if a purchase in production runs and gives nothing, because its product is missing from the
/// catalogue; of a purchase with several parts, for each part that is missing. `data` is its record.
fn alarm(
    write: &mut Write<'_>,
    settling: &Settling<'_>,
    data: &Value,
    listings: &mut Listings,
) -> Result<(), Error> {
    let (origin, purchase) = (settling.origin, &settling.record.decision.purchase);
    let gives_nothing = data["entitlements"].as_array().is_none_or(Vec::is_empty);
    let is_consumable = data["product_type"] == "consumable";
    let is_real = purchase.state().is_active() == Some(true)
        && settling.environment() == Environment::Production;
    let parts = purchase.parts();
    let may_be_missing = gives_nothing || parts.len() > 1;
    if !(origin.has_entitlements && may_be_missing && is_real) || is_consumable {
        return Ok(());
    }
    for part in parts {
        // A product that is listed without entitlements gives none on purpose.
        if listings.of_part(write.connection, &part)?.is_some() {
            continue;
        }
        // The same SKU as in `Store::unmapped`.
        let Some(named) = part.first() else { continue };
        alarms::raise(
            write,
            About::Platform(origin.platform_id),
            KIND,
            &detail(named),
        )?;
    }
    Ok(())
}

row! {
    struct OpenRow {
        platform_id: PlatformId,
        detail: String,
    }
}

/// `COALESCE` keeps the planner from using the index of the open alarms of all apps.
const OPEN: Sql = statement! {"
    SELECT platform_id, detail
    FROM alarms
    WHERE app_id = ? AND kind = ? AND platform_id IS NOT NULL AND COALESCE(acknowledged_at, -1) = -1
"};

/// Selects the product of a subscription's term.
const PARENT: Sql = statement! {"
    SELECT product_id AS value
    FROM purchases
    WHERE app_id = ? AND term_sku = ? AND product_id IS NOT NULL
    LIMIT 1
"};

/// Closes the alarms about products that are in the catalogue now, by the SKU of their term or product.
pub fn close(
    write: &mut Write<'_>,
    app: AppId,
    is_listed: impl Fn(&str) -> bool,
) -> Result<(), Error> {
    let open: Vec<OpenRow> = sql(OPEN).bind(app).bind(KIND).all(write.connection)?;
    for OpenRow {
        platform_id,
        detail,
    } in open
    {
        let Some(sku) = sku(KIND, &detail) else {
            continue;
        };
        let parent: Option<String> = sql(PARENT).bind(app).bind(sku).value(write.connection)?;
        if is_listed(sku) || parent.is_some_and(|parent| is_listed(&parent)) {
            let about = About::Platform(platform_id);
            alarms::close(
                write,
                NewAlarm {
                    about,
                    kind: KIND,
                    detail: &detail,
                },
                CLOSED,
            )?;
        }
    }
    Ok(())
}

const CUSTOMERS: Sql = statement! {"
    SELECT COUNT(DISTINCT p.user_id) + COUNT(CASE WHEN p.user_id IS NULL THEN 1 END) AS value
    FROM (SELECT * FROM (SELECT user_id, state, environment FROM purchases
            WHERE app_id = ? AND term_sku = ? LIMIT {MAX_COUNTED}) t
        UNION ALL
        SELECT * FROM (SELECT user_id, state, environment FROM purchases
            WHERE app_id = ? AND term_sku IS NULL AND product_id = ? LIMIT {MAX_COUNTED}) o) p
    WHERE p.environment = 'production' AND p.state IN ('trial', 'trial_off', 'active', 'off', 'grace')
"};

/// Returns the number of customers with a running purchase of this SKU in production, among the first 10,000 purchases.
pub fn customers(connection: &mut AnyConnection, app: AppId, sku: &str) -> Result<i64, Error> {
    let counted = sql(CUSTOMERS).uncached().bind((app, sku, app, sku));
    Ok(counted.value(connection)?.unwrap_or(0))
}

const UNLISTED: Sql = statement! {"
    SELECT p.collapse_key AS value
    FROM purchases p
    WHERE p.collapse_key IN (?*)
        AND NOT EXISTS (SELECT 1 FROM products c WHERE c.app_id = p.app_id AND c.sku = p.term_sku)
        AND NOT EXISTS (SELECT 1 FROM products c WHERE c.app_id = p.app_id AND c.sku = p.product_id)
"};

/// Returns the purchases among these whose product is not in the catalogue.
pub fn among(
    connection: &mut AnyConnection,
    keys: impl IntoIterator<Item = CollapseKey>,
) -> Result<BTreeSet<CollapseKey>, Error> {
    let keys: Vec<CollapseKey> = keys.into_iter().collect();
    if keys.is_empty() {
        return Ok(BTreeSet::new());
    }
    let found = sql(UNLISTED)
        .uncached()
        .bind_list(keys)
        .values::<CollapseKey>(connection)?;
    Ok(found.into_iter().collect())
}

impl Store {
    /// Returns the purchases among these whose product is not in the catalogue.
    pub async fn unlisted(&self, keys: Vec<CollapseKey>) -> Result<BTreeSet<CollapseKey>, Error> {
        if keys.is_empty() {
            return Ok(BTreeSet::new());
        }
        self.read(move |connection| among(connection, keys)).await
    }
}
