//! The catalogue's listing of a purchase's product, as a settling needs it. `admin` changes the catalogue.

use db::connection::AnyConnection;
use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::{Ahead, Single, clean, row, sql};
use domain::catalogue::{Auth, Entitlement, Listing, Price};
use domain::payment::Day;
use domain::{AppId, Purchase};
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

/// The listings of one app as read in one transaction, each SKU once.
pub struct Listings {
    app: AppId,
    read: HashMap<String, Option<Listing>>,
    running: HashMap<String, ListingAhead>,
}

impl Listings {
    /// Returns a reader of this app's listings.
    pub fn of(app: AppId) -> Self {
        Self {
            app,
            read: HashMap::new(),
            running: HashMap::new(),
        }
    }

    /// Begins to read the listings of a purchase's products, which [`Self::find`] fetches. Does nothing on SQLite.
    pub fn read_ahead(
        &mut self,
        connection: &mut AnyConnection,
        purchase: &Purchase,
    ) -> Result<(), Error> {
        if !connection.is_shared() {
            return Ok(());
        }
        for sku in purchase.parts().into_iter().flatten() {
            if !self.read.contains_key(sku) && !self.running.contains_key(sku) {
                let running = ListingAhead::read(connection, self.app, sku)?;
                self.running.insert(sku.to_owned(), running);
            }
        }
        Ok(())
    }

    /// Returns the listing of a purchase's product: by the SKU of its term, else by its parent's. A product that is not
    /// listed has no entitlements. A purchase with several parts has the entitlements of all, and the prices of the
    /// first one that is listed.
    pub fn find(
        &mut self,
        connection: &mut AnyConnection,
        purchase: &Purchase,
    ) -> Result<Listing, Error> {
        Ok(self.listed(connection, purchase)?.unwrap_or_default())
    }

    /// Like [`Self::find`]; `None` for a purchase of which no part is listed.
    pub fn listed(
        &mut self,
        connection: &mut AnyConnection,
        purchase: &Purchase,
    ) -> Result<Option<Listing>, Error> {
        let mut all: Option<Listing> = None;
        for part in purchase.parts() {
            let Some(found) = self.of_part(connection, &part)? else {
                continue;
            };
            match &mut all {
                None => all = Some(found),
                Some(known) => {
                    let known = &mut known.entitlements;
                    for entitlement in found.entitlements {
                        if known.iter().all(|one| one.id != entitlement.id) {
                            known.push(entitlement);
                        }
                    }
                }
            }
        }
        Ok(all)
    }

    /// Returns the listing of one part of a purchase, by the first of its SKUs that is listed.
    pub fn of_part(
        &mut self,
        connection: &mut AnyConnection,
        skus: &[&str],
    ) -> Result<Option<Listing>, Error> {
        for sku in skus.iter().copied() {
            if !self.read.contains_key(sku) {
                let listing = match self.running.remove(sku) {
                    Some(running) => running.fetch(connection)?,
                    None => of_sku(connection, self.app, sku)?,
                };
                self.read.insert(sku.to_owned(), listing);
            }
            if let Some(Some(listing)) = self.read.get(sku) {
                return Ok(Some(listing.clone()));
            }
        }
        Ok(None)
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

/// Returns the listing of a SKU; `None` when the catalogue has none.
pub fn of_sku(
    connection: &mut AnyConnection,
    app: AppId,
    sku: &str,
) -> Result<Option<Listing>, Error> {
    ListingAhead::read(connection, app, sku)?.fetch(connection)
}

/// The listing of a SKU, which is fetched later.
struct ListingAhead {
    prices: Ahead<'static, Single<Vec<Price>>>,
    entitlements: Ahead<'static, EntitlementRow>,
}

impl ListingAhead {
    fn read(connection: &mut AnyConnection, app: AppId, sku: &str) -> Result<Self, Error> {
        let sku = clean(sku).into_owned();
        let prices = sql(PRICES)
            .bind(app)
            .bind(sku.clone())
            .value_ahead(connection)?;
        let entitlements = sql(ENTITLEMENTS).bind(app).bind(sku).ahead(connection)?;
        Ok(Self {
            prices,
            entitlements,
        })
    }

    fn fetch(self, connection: &mut AnyConnection) -> Result<Option<Listing>, Error> {
        let Some(prices) = self.prices.value(connection)? else {
            return Ok(None);
        };
        let rows = self.entitlements.all(connection)?;
        Ok(Some(Listing {
            entitlements: rows.into_iter().map(EntitlementRow::entitlement).collect(),
            prices,
        }))
    }
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

/// Returns the day whose rate converts a price of a currency to USD: that of the payment, for a store that shows
/// payments, else the day on which the purchase began. `None` for USD, and if that day is unknown: a rate is never
/// guessed.
pub fn priced_on(purchase: &Purchase, currency: &str) -> Option<Day> {
    if currency.eq_ignore_ascii_case("USD") {
        None
    } else {
        purchase.priced_at().map(Day::of)
    }
}
