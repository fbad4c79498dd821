//! The tables of a catalogue. A catalogue is read as a whole, but only the rows that differ are written.

use super::{Catalogue, EntitlementText, Product, entitlement_id};
use db::connection::AnyConnection;
use db::error::Error;
use db::sql::{Sql, insert, statement};
use db::statement::{row, sql};
use db::writer::Write;
use domain::AppId;

row! {
    struct EntitlementRow {
        ref_id: String,
        name: String,
        description: Option<String>,
    }
}

row! {
    struct ProductRow {
        sku: String,
        name: Option<String>,
        prices: String,
    }
}

row! {
    struct ListedRow {
        sku: String,
        ref_id: String,
    }
}

const ENTITLEMENTS: Sql =
    statement!("SELECT ref_id, name, description FROM entitlements WHERE app_id = ?");

const PRODUCTS: Sql = statement!("SELECT sku, name, prices FROM products WHERE app_id = ?");

const LINKS: Sql = statement!(
    "SELECT sku, ref_id FROM product_entitlements WHERE app_id = ? ORDER BY sku, position"
);

/// Reads the catalogue of an app.
pub fn read(connection: &mut AnyConnection, app: AppId) -> Result<Catalogue, Error> {
    let mut catalogue = Catalogue::default();
    let rows: Vec<EntitlementRow> = sql(ENTITLEMENTS).bind(app).all(connection)?;
    for row in rows {
        catalogue.entitlements.insert(
            row.ref_id,
            EntitlementText {
                name: row.name,
                description: row.description,
            },
        );
    }
    let rows: Vec<ProductRow> = sql(PRODUCTS).bind(app).all(connection)?;
    for row in rows {
        let prices = serde_json::from_str(&row.prices).map_err(|cause| {
            Error::corrupt_by(
                format!("the prices of product {} are not readable", row.sku),
                cause,
            )
        })?;
        catalogue.products.insert(
            row.sku,
            Product {
                name: row.name,
                entitlements: Vec::new(),
                prices,
            },
        );
    }
    let rows: Vec<ListedRow> = sql(LINKS).bind(app).all(connection)?;
    for row in rows {
        if let Some(product) = catalogue.products.get_mut(&row.sku) {
            product.entitlements.push(row.ref_id);
        }
    }
    Ok(catalogue)
}

/// Writes the difference between two catalogues.
pub fn write(
    write: &mut Write<'_>,
    app: AppId,
    before: &Catalogue,
    after: &Catalogue,
) -> Result<(), Error> {
    // The links of a product to its entitlements are deleted before the product, and inserted after it.
    for (sku, product) in &before.products {
        if after.products.get(sku) != Some(product) {
            sql(DELETE_LINKS)
                .bind(app)
                .bind(sku.as_str())
                .run(write.connection)?;
        }
    }
    for sku in before
        .products
        .keys()
        .filter(|sku| !after.products.contains_key(*sku))
    {
        sql(DELETE_PRODUCT)
            .bind(app)
            .bind(sku.as_str())
            .run(write.connection)?;
    }
    for ref_id in before
        .entitlements
        .keys()
        .filter(|ref_id| !after.entitlements.contains_key(*ref_id))
    {
        sql(DELETE_ENTITLEMENT)
            .bind(app)
            .bind(ref_id.as_str())
            .run(write.connection)?;
    }
    for (ref_id, named) in after
        .entitlements
        .iter()
        .filter(|(id, named)| before.entitlements.get(*id) != Some(named))
    {
        put_entitlement(write, app, ref_id, named)?;
    }
    for (sku, product) in after
        .products
        .iter()
        .filter(|(sku, product)| before.products.get(*sku) != Some(product))
    {
        put_product(write, app, sku, product)?;
    }
    Ok(())
}

const DELETE_LINKS: Sql =
    statement!("DELETE FROM product_entitlements WHERE app_id = ? AND sku = ?");
const DELETE_PRODUCT: Sql = statement!("DELETE FROM products WHERE app_id = ? AND sku = ?");
const DELETE_ENTITLEMENT: Sql =
    statement!("DELETE FROM entitlements WHERE app_id = ? AND ref_id = ?");

fn put_entitlement(
    write: &mut Write<'_>,
    app: AppId,
    ref_id: &str,
    named: &EntitlementText,
) -> Result<(), Error> {
    insert!(
        entitlements {
            app_id: app,
            ref_id,
            id: entitlement_id(app, ref_id).to_string(),
            name: named.name.as_str(),
            description: named.description.as_deref(),
        },
        "ON CONFLICT (app_id, ref_id)
        DO UPDATE SET name = excluded.name, description = excluded.description"
    )
    .run(write.connection)
    .map(drop)
}

fn put_product(
    write: &mut Write<'_>,
    app: AppId,
    sku: &str,
    product: &Product,
) -> Result<(), Error> {
    let prices = serde_json::to_string(&product.prices)
        .map_err(|cause| Error::corrupt_by("a price cannot be written as JSON", cause))?;
    insert!(
        products {
            app_id: app,
            sku,
            name: product.name.as_deref(),
            prices
        },
        "ON CONFLICT (app_id, sku)
        DO UPDATE SET name = excluded.name, prices = excluded.prices"
    )
    .run(write.connection)?;
    for (position, ref_id) in (0_i64..).zip(&product.entitlements) {
        insert!(product_entitlements {
            app_id: app,
            sku,
            position,
            ref_id: ref_id.as_str()
        })
        .run(write.connection)?;
    }
    Ok(())
}
