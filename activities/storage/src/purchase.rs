//! The row of a purchase: everything that settles or is asked of it starts by locking it.

use crate::connection::AnyConnection;
use crate::error::Error;
use crate::statement::{row, sql};
use crate::writer::Write;
use domain::{AppId, CollapseKey, Environment, PlatformId, Purchase, Timestamp};

row! {
    /// A purchase as it is stored.
    pub struct PurchaseRow {
        pub revision: i64,
        pub purchase: String,
        pub settling: i64,
        pub fingerprint: String,
        pub changed: bool,
        pub held_until: Option<Timestamp>,
    }
}

row! {
    /// What a purchase belongs to, and the settings that hold for it.
    pub struct Origin {
        pub platform_id: PlatformId,
        pub app_id: AppId,
        pub store: String,
        pub environment: Environment,
        pub window_ms: i64,
        pub max_wait_ms: Option<i64>,
        pub receipt_id: String,
    }
}

const SELECT: &str =
    "SELECT revision, purchase, settling, fingerprint, changed, held_until FROM purchases WHERE collapse_key = ?";

const ORIGIN: &str = "SELECT f.id AS platform_id, f.app_id, f.store, f.environment, f.window_ms, f.max_wait_ms, \
     o.receipt_id FROM";

impl PurchaseRow {
    /// What we know of the purchase.
    pub fn known(&self) -> Result<Purchase, Error> {
        serde_json::from_str(&self.purchase).map_err(|cause| Error::corrupt_by("a purchase is not readable", cause))
    }
}

/// The row, when there is one.
pub fn find(connection: &mut AnyConnection, key: CollapseKey) -> Result<Option<PurchaseRow>, Error> {
    sql(SELECT).bind(key).first(connection)
}

/// What a purchase belongs to, by its row or else by what was told about it.
pub fn origin(connection: &mut AnyConnection, key: CollapseKey) -> Result<Option<Origin>, Error> {
    let known = sql(format!("{ORIGIN} purchases o JOIN platforms f ON f.id = o.platform_id WHERE o.collapse_key = ?"));
    if let Some(origin) = known.bind(key).first(connection)? {
        return Ok(Some(origin));
    }
    let told = format!(
        "{ORIGIN} notifications o JOIN platforms f ON f.id = o.platform_id WHERE o.collapse_key = ? ORDER BY o.seq LIMIT 1"
    );
    sql(told).bind(key).first(connection)
}

/// Locks the row until the end of the transaction, and makes it first when something was told.
pub fn lock(write: &mut Write<'_>, key: CollapseKey) -> Result<PurchaseRow, Error> {
    if let Some(row) = find_locked(write, key)? {
        return Ok(row);
    }
    let origin = origin(write.connection, key)?.ok_or(Error::Missing { what: "purchase" })?;
    insert(write, key, &origin)?;
    find_locked(write, key)?.ok_or(Error::Missing { what: "purchase" })
}

fn find_locked(write: &mut Write<'_>, key: CollapseKey) -> Result<Option<PurchaseRow>, Error> {
    let lock = write.connection.for_update();
    sql(format!("{SELECT}{lock}")).bind(key).first(write.connection)
}

fn insert(write: &mut Write<'_>, key: CollapseKey, origin: &Origin) -> Result<(), Error> {
    let nothing = Purchase::default();
    sql("INSERT INTO purchases (collapse_key, platform_id, app_id, receipt_id, revision, state, purchase, settling, \
         fingerprint, changed, digest, verify_attempts, created_at, updated_at) \
         VALUES (?, ?, ?, ?, 0, ?, ?, 0, '', ?, '', 0, ?, ?) \
         ON CONFLICT DO NOTHING")
    .bind(key)
    .bind(origin.platform_id)
    .bind(origin.app_id)
    .bind(origin.receipt_id.as_str())
    .bind(nothing.state().as_str())
    .bind(json(&nothing)?)
    .bind(false)
    .bind(write.now)
    .bind(write.now)
    .run(write.connection)
    .map(drop)
}

/// A purchase as it is stored.
pub fn json(purchase: &Purchase) -> Result<String, Error> {
    serde_json::to_string(purchase).map_err(|cause| Error::corrupt_by("a purchase cannot be written as JSON", cause))
}
