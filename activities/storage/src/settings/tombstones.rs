//! The erased customers of stores. A tombstone replaces the store's id of each: later notifications and reports with
//! that id are stored with the tombstone instead. The id itself is stored encrypted, for queries of the store only:
//! without it, a renewal or an end whose notification was lost would never be noticed.

use db::connection::AnyConnection;
use db::error::Error;
use db::secrets::Secrets;
use db::sql::{Sql, insert, statement};
use db::statement::{clean, sql};
use db::writer::Write;
use domain::AppId;
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeSet;

const PREFIX: &str = "erased-";
pub const TABLE: &str = "tombstones";

/// The column `has_erased` of a row of `platforms`: whether a customer of its app was erased.
pub const HAS_ERASED: &str = "(SELECT 1 FROM tombstones t WHERE t.app_id = platforms.app_id LIMIT 1) IS NOT NULL AS has_erased";

#[derive(Debug, Clone, Copy)]
pub struct ConcealedName<'a> {
    pub app: AppId,
    pub store: &'a str,
    /// The store's id of the customer.
    pub app_user_id: &'a str,
}

/// Returns whether a store's id of a customer is a tombstone.
pub fn is_tombstone(app_user_id: &str) -> bool {
    app_user_id.starts_with(PREFIX)
}

impl ConcealedName<'_> {
    /// Returns the tombstone of the id, for use once the customer is erased.
    pub fn tombstone(&self, secrets: &Secrets) -> String {
        if is_tombstone(self.app_user_id) {
            return self.app_user_id.to_owned();
        }
        let (app, store) = (self.app, self.store);
        let hidden = secrets.tombstone(TABLE, &format!("{app}/{store}"), &clean(self.app_user_id));
        format!("{PREFIX}{hidden}")
    }
}

const KNOWN: Sql = statement!("SELECT tombstone AS value FROM tombstones WHERE tombstone IN (?*)");

/// Returns those of these tombstones that are stored, so that their customers are erased.
pub fn known(
    connection: &mut AnyConnection,
    tombstones: impl IntoIterator<Item = String>,
) -> Result<BTreeSet<String>, Error> {
    let tombstones: BTreeSet<String> = tombstones.into_iter().collect();
    if tombstones.is_empty() {
        return Ok(BTreeSet::new());
    }
    let known: Vec<String> = sql(KNOWN)
        .uncached()
        .bind_list(tombstones)
        .values(connection)?;
    Ok(known.into_iter().collect())
}

/// Returns the tombstone of an erased customer, or the store's id of any other one.
pub fn or_tombstone(
    connection: &mut AnyConnection,
    secrets: &Secrets,
    customer: ConcealedName<'_>,
) -> Result<String, Error> {
    let tombstone = customer.tombstone(secrets);
    let is_known = known(connection, [tombstone.clone()])?.contains(&tombstone);
    Ok(if is_known {
        tombstone
    } else {
        customer.app_user_id.to_owned()
    })
}

/// Stores the tombstone of a customer, and returns it.
pub fn insert(
    write: &mut Write<'_>,
    secrets: &Secrets,
    customer: ConcealedName<'_>,
) -> Result<String, Error> {
    let tombstone = customer.tombstone(secrets);
    let sealed = secrets.seal(
        write,
        (TABLE, &tombstone),
        &SecretString::from(customer.app_user_id),
    )?;
    insert!(
        tombstones {
            tombstone: tombstone.as_str(),
            app_id: customer.app,
            sealed,
            created_at: write.now()?
        },
        "ON CONFLICT DO NOTHING"
    )
    .run(write.connection)?;
    Ok(tombstone)
}

const SEALED: Sql = statement!("SELECT sealed AS value FROM tombstones WHERE tombstone = ?");

/// Returns the store's id of a customer, for a query of the store. An id that is not a tombstone is returned unchanged.
pub fn reveal(
    connection: &mut AnyConnection,
    secrets: &Secrets,
    app_user_id: String,
) -> Result<String, Error> {
    if !is_tombstone(&app_user_id) {
        return Ok(app_user_id);
    }
    let sealed: Option<String> = sql(SEALED).bind(app_user_id.as_str()).value(connection)?;
    let Some(sealed) = sealed else {
        return Ok(app_user_id);
    };
    Ok(secrets
        .open(TABLE, &app_user_id, &sealed)?
        .expose_secret()
        .to_owned())
}
