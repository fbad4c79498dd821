//! The catalogue's listing of a purchase's product, as a settling needs it. `admin` changes the catalogue.

use crate::db::connection::AnyConnection;
use crate::db::error::Error;
use crate::db::sql::{Sql, statement};
use crate::db::statement::{clean, json_columns, row, sql};
use domain::catalogue::{Auth, Entitlement, Listing, Price, ProductRef};
use domain::event::listed_price;
use domain::{AppId, Purchase};
use rust_decimal::Decimal;
use std::collections::HashMap;
use uuid::Uuid;

row! {
    struct EntitlementRow {
        description: Option<String>,
        ref_id: String,
        id: Uuid,
        name: String,
    }
}

json_columns!(Vec<Price>);

/// Reads listings of one app in one transaction, each SKU once.
pub struct Listings {
    app: AppId,
    read: HashMap<String, Option<Listing>>,
}

impl Listings {
    /// Reads the listings of this app.
    pub fn of(app: AppId) -> Self {
        Self { app, read: HashMap::new() }
    }

    /// The listing of a purchase's product: by the SKU of its term, else by its parent's. A product that is not listed
    /// has no entitlements.
    pub fn find(&mut self, connection: &mut AnyConnection, purchase: &Purchase) -> Result<Listing, Error> {
        for by in [ProductRef::Term, ProductRef::Parent] {
            let Some(sku) = purchase.sku(by) else { continue };
            if !self.read.contains_key(sku) {
                let listing = of_sku(connection, self.app, sku)?;
                self.read.insert(sku.to_owned(), listing);
            }
            if let Some(Some(listing)) = self.read.get(sku) {
                return Ok(listing.clone());
            }
        }
        Ok(Listing::default())
    }
}

const PRICES: Sql = statement!("SELECT prices AS value FROM products WHERE app_id = ? AND sku = ?");

const ENTITLEMENTS: Sql = statement! {"
    SELECT e.description, e.ref_id, e.id, e.name
    FROM product_entitlements l
    JOIN entitlements e ON e.app_id = l.app_id AND e.ref_id = l.ref_id
    WHERE l.app_id = ? AND l.sku = ?
    ORDER BY l.position
"};

/// The listing of a SKU; `None` when the catalogue has none.
pub fn of_sku(connection: &mut AnyConnection, app: AppId, sku: &str) -> Result<Option<Listing>, Error> {
    let sku = &clean(sku);
    let rows = sql(ENTITLEMENTS).bind(app).bind(sku.as_ref()).ahead::<EntitlementRow>(connection)?;
    let Some(prices) = sql(PRICES).bind(app).bind(sku.as_ref()).value(connection)? else { return Ok(None) };
    let rows = rows.all(connection)?;
    Ok(Some(Listing { entitlements: rows.into_iter().map(EntitlementRow::entitlement).collect(), prices }))
}

impl EntitlementRow {
    fn entitlement(self) -> Entitlement {
        Entitlement {
            id: self.id,
            description: self.description,
            entitlement_ref_id: self.ref_id,
            name: self.name,
            kind: Auth::BinaryAuth,
        }
    }
}

const USD_RATE: Sql = statement!("SELECT usd AS value FROM rates WHERE app_id = ? AND currency = ? AND day = ?");

/// What one unit of the price's currency was worth in USD on the day of the purchase. `None` when there is no price,
/// when that day's rate was not imported, or when the day of the purchase is unknown: the rate is never guessed.
pub fn usd_rate(
    connection: &mut AnyConnection,
    app: AppId,
    purchase: &Purchase,
    listing: &Listing,
) -> Result<Option<Decimal>, Error> {
    let Some(price) = listed_price(&listing.prices, purchase) else { return Ok(None) };
    let Some(began) = purchase.not_before() else { return Ok(None) };
    let day: String = began.to_string().chars().take("2026-01-31".len()).collect();
    sql(USD_RATE).bind(app).bind(price.currency.to_ascii_uppercase()).bind(day).value(connection)
}
