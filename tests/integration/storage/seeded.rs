//! Inserts purchases without settling them, for tests that only read them.

use super::world::World;
use domain::CollapseKey;
use system_tests::rows::{self, Rows};

/// The columns of a purchase to be inserted.
#[derive(Default)]
pub struct Seed<'a> {
    pub receipt: &'a str,
    pub app_user: Option<&'a str>,
    pub user: Option<String>,
    pub term_sku: Option<&'a str>,
    pub product: Option<&'a str>,
    pub waits_for: Option<&'a str>,
}

impl World {
    /// Returns rows for purchases of the platform; see [`rows::purchases`].
    pub fn purchases(&self) -> Rows {
        rows::purchases(self.platform.id, self.app.id)
    }

    /// Inserts a purchase in revision 1, without a next wake.
    pub fn seed(&self, seed: &Seed<'_>) -> CollapseKey {
        let key = self.key(seed.receipt);
        let named = [
            ("app_user_id", seed.app_user),
            ("user_id", seed.user.as_deref()),
            ("term_sku", seed.term_sku),
            ("product_id", seed.product),
            ("waits_for", seed.waits_for),
        ];
        let named = named
            .into_iter()
            .filter_map(|(column, value)| Some((column, value?)));
        let purchase = self
            .purchases()
            .text("collapse_key", key)
            .text("receipt_id", seed.receipt);
        self.raw()
            .run(&named.fold(purchase, |row, (column, value)| row.text(column, value)));
        key
    }

    /// Inserts a `purchase.updated` of a purchase.
    pub fn seed_event(&self, key: CollapseKey, revision: i64) {
        let id = domain::EventId::of(key, 1, revision, "purchase.updated", 0);
        self.raw().run(
            &rows::events()
                .text("id", id)
                .text("collapse_key", key)
                .sql("revision", revision),
        );
    }

    /// Returns the number of purchases with a `next_wake_at` , which will be rechecked.
    pub fn woken(&self) -> i64 {
        self.count("purchases WHERE next_wake_at IS NOT NULL")
    }

    /// Clears the `next_wake_at` of all purchases.
    pub fn sleep(&self) {
        self.raw().run("UPDATE purchases SET next_wake_at = NULL");
    }
}
