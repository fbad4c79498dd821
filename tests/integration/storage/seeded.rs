//! Inserts purchases without settling them, for tests that only read them.

use super::world::World;
use domain::CollapseKey;

/// The columns of a purchase to insert.
#[derive(Default)]
pub struct Seed<'a> {
    pub receipt: &'a str,
    pub app_user: Option<&'a str>,
    pub user: Option<String>,
    pub term_sku: Option<&'a str>,
    pub product: Option<&'a str>,
    pub waits_for: Option<&'a str>,
}

fn text(value: Option<&str>) -> String {
    value.map_or_else(|| "NULL".to_owned(), |text| format!("'{text}'"))
}

impl World {
    /// Inserts a purchase in revision 1, without a next wake.
    pub fn seed(&self, seed: &Seed<'_>) -> CollapseKey {
        let key = self.key(seed.receipt);
        let (platform, app, receipt) = (self.platform.id, self.app.id, seed.receipt);
        let values = [seed.app_user, seed.user.as_deref(), seed.term_sku, seed.product, seed.waits_for].map(text);
        self.raw().run(&format!(
            "INSERT INTO purchases (collapse_key, platform_id, app_id, receipt_id, revision, digest, state, purchase,
                 verify_attempts, settling, fingerprint, created_at, updated_at, app_user_id, user_id,
                 term_sku, product_id, waits_for)
                 VALUES ('{key}', '{platform}', '{app}', '{receipt}', 1, '', 'active', '{{}}', 0, 1, '', 1, 1,
                 {})",
            values.join(", ")
        ));
        key
    }

    /// Inserts a `purchase.updated` of a purchase.
    pub fn seed_event(&self, key: CollapseKey, revision: i64) {
        let id = domain::EventId::of(key, 1, revision, "purchase.updated", 0);
        self.raw().run(&format!(
            "INSERT INTO events (id, collapse_key, event_type, revision, environment, body, created_at)
                 VALUES ('{id}', '{key}', 'purchase.updated', {revision}, 'production', '{{}}', 1)"
        ));
    }

    /// The number of purchases with a `next_wake_at`, which are to be rechecked.
    pub fn woken(&self) -> i64 {
        self.raw().number("SELECT COUNT(*) AS value FROM purchases WHERE next_wake_at IS NOT NULL")
    }

    /// Clears the `next_wake_at` of all purchases.
    pub fn sleep(&self) {
        self.raw().run("UPDATE purchases SET next_wake_at = NULL");
    }
}
