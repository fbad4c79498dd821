//! Columns that stories read and set without the store, each named once.

use super::world::{Raw, World};
use domain::{CollapseKey, UserId};
use serde_json::Value;
use std::fmt::Display;
use uuid::Uuid;

impl World {
    /// Returns the number of rows of a table; `rows` is its name, with an optional condition.
    pub fn count(&self, rows: &str) -> i64 {
        self.raw()
            .number(&format!("SELECT COUNT(*) AS value FROM {rows}"))
    }

    /// Returns the number of deliveries in this status.
    pub fn deliveries_in(&self, status: &str) -> i64 {
        self.count(&format!("deliveries WHERE status = '{status}'"))
    }

    /// Returns the number of notifications without an outcome.
    pub fn open_notifications(&self) -> i64 {
        self.count("notifications WHERE outcome IS NULL")
    }

    /// Returns the number of devices' claims in this status.
    pub fn claims_in(&self, status: &str) -> i64 {
        self.count(&format!("claims WHERE status = '{status}'"))
    }

    /// Returns the bodies of the events whose type matches this SQL pattern, in order.
    pub fn bodies_like(&self, event_type: &str) -> Vec<Value> {
        let select = "SELECT body AS value FROM events WHERE event_type LIKE";
        let bodies = self
            .raw()
            .texts(&format!("{select} '{event_type}' ORDER BY seq"));
        bodies
            .iter()
            .map(|body| serde_json::from_str(body).unwrap())
            .collect()
    }

    /// Returns the users who own a purchase.
    pub fn owners(&self) -> Vec<String> {
        self.raw()
            .texts("SELECT DISTINCT user_id AS value FROM purchases")
    }

    /// Returns the users of the devices, `-` for a device without one.
    pub fn users_of_devices(&self) -> Vec<String> {
        self.raw()
            .texts("SELECT COALESCE(user_id, '-') AS value FROM devices ORDER BY id")
    }

    /// Returns the revision of the only user.
    pub fn user_revision(&self) -> i64 {
        self.raw().number("SELECT revision AS value FROM users")
    }

    pub fn revision_of(&self, user: UserId) -> i64 {
        self.raw().number(&format!(
            "SELECT revision AS value FROM users WHERE id = '{user}'"
        ))
    }

    /// Returns the acknowledged revision of the only lane; 0 before the first one.
    pub fn acked_revision(&self) -> i64 {
        self.raw()
            .number("SELECT COALESCE(acked_revision, 0) AS value FROM lanes")
    }

    /// Sets or removes the external id of all users.
    pub fn name_users(&self, external_id: Option<&str>) {
        self.raw().run(&format!(
            "UPDATE users SET external_id = {}",
            quoted(external_id)
        ));
    }

    /// Sets the analytics device id of users without an external id.
    pub fn set_device_of_guests(&self, device: &str) {
        self.raw().run(&format!(
            "UPDATE users SET analytics_device_id = '{device}' WHERE external_id IS NULL"
        ));
    }

    pub fn set_environment(&self, key: CollapseKey, environment: &str) {
        self.raw().run(&format!(
            "UPDATE purchases SET environment = '{environment}' WHERE collapse_key = '{key}'"
        ));
    }

    pub fn set_state(&self, key: CollapseKey, state: &str) {
        self.raw().run(&format!(
            "UPDATE purchases SET state = '{state}' WHERE collapse_key = '{key}'"
        ));
    }

    /// Sets the next wake of all purchases, in microseconds since 1970.
    pub fn wake_all_at(&self, micros: i64) {
        self.raw()
            .run(&format!("UPDATE purchases SET next_wake_at = {micros}"));
    }

    pub fn wake_at(&self, key: CollapseKey, micros: i64) {
        self.raw().run(&format!(
            "UPDATE purchases SET next_wake_at = {micros} WHERE collapse_key = '{key}'"
        ));
    }

    /// Sets the status of the deliveries of this type.
    pub fn set_status_of(&self, event_type: &str, status: &str) {
        self.raw().run(&format!(
            "UPDATE deliveries SET status = '{status}' WHERE event_type = '{event_type}'"
        ));
    }

    /// Sets the breakers of all destinations to open since long ago.
    pub fn open_breakers(&self) {
        self.raw().run("UPDATE health SET opened_at = 5");
    }

    /// Records that the store refused the shared secret at this time, in microseconds since 1970.
    pub fn refuse_secret(&self, micros: i64) {
        self.raw().run(&format!(
            "UPDATE platforms SET secret_refused_at = {micros}"
        ));
    }

    /// Confirms a topic like a process that dies before it releases the waiting notifications.
    pub fn confirm(&self, topic: impl Display) {
        self.raw().run(&format!(
            "UPDATE topics SET state = 'confirmed' WHERE id = '{topic}'"
        ));
    }

    /// Adds a product with these prices and entitlements to the catalogue, without the rechecks of such a change.
    pub fn list_product(&self, sku: &str, prices: &Value, entitlements: &[&str]) {
        let (app, mut raw) = (self.app.id, self.raw());
        raw.run(&format!(
            "INSERT INTO products (app_id, sku, prices) VALUES ('{app}', '{sku}', '{prices}')"
        ));
        for (position, name) in entitlements.iter().enumerate() {
            raw.run(&format!(
                "INSERT INTO entitlements (app_id, ref_id, id, name) VALUES ('{app}', '{name}', '{}', '{name}')
                     ON CONFLICT DO NOTHING;
                 INSERT INTO product_entitlements (app_id, sku, position, ref_id)
                     VALUES ('{app}', '{sku}', {position}, '{name}')",
                self.key(name)
            ));
        }
    }

    /// Returns the number of sessions of the database that wait for a lock; on PostgreSQL only.
    pub fn waiting_sessions(&self) -> i64 {
        self.count(
            "pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
        )
    }

    /// Returns a session that holds the shared lock of claims or records on a destination or an app; on PostgreSQL
    /// only.
    pub fn share_lock(&self, id: Uuid) -> Raw {
        let ((high, low), mut session) = (id.as_u64_pair(), self.raw());
        session.run(&format!(
            "SELECT pg_advisory_lock_shared({})",
            (high ^ low).cast_signed()
        ));
        session
    }
}

fn quoted(text: Option<&str>) -> String {
    text.map_or_else(|| "NULL".to_owned(), |text| format!("'{text}'"))
}
