//! Rows that a story inserts directly into the database, for states that otherwise only a settling or a delivery
//! produces.
//!
//! The values of required columns are here; a story sets only the columns that matter to it.

use std::fmt::{Display, Formatter, Result};

/// A statement that inserts one row, or one for each row of a source.
#[derive(Debug, Clone)]
#[must_use]
pub struct Rows {
    table: &'static str,
    columns: Vec<(&'static str, String)>,
    numbers: String,
    source: String,
}

/// Returns purchases in revision 1, without a next wake. The caller adds `collapse_key` and `receipt_id`.
pub fn purchases(platform: impl Display, app: impl Display) -> Rows {
    let required = [
        ("revision", "1"),
        ("digest", "''"),
        ("state", "'active'"),
        ("purchase", "'{}'"),
        ("verify_attempts", "0"),
        ("settling", "1"),
        ("fingerprint", "''"),
        ("created_at", "1"),
        ("updated_at", "1"),
    ];
    Rows::of("purchases", &required)
        .text("platform_id", platform)
        .text("app_id", app)
}

/// Returns events `purchase.updated` of revision 1. The caller adds `id` and `collapse_key`.
pub fn events() -> Rows {
    let required = [
        ("app_id", "COALESCE((SELECT MIN(id) FROM apps), '')"),
        ("event_type", "'purchase.updated'"),
        ("revision", "1"),
        ("environment", "'production'"),
        ("body", "'{}'"),
        ("created_at", "1"),
    ];
    Rows::of("events", &required)
}

/// Returns pending deliveries of a `purchase.updated` of revision 1. The caller adds `id`, `destination_id`, `event_id`
/// and `collapse_key`.
pub fn deliveries() -> Rows {
    let required = [
        ("n", "0"),
        ("event_type", "'purchase.updated'"),
        ("revision", "1"),
        ("status", "'pending'"),
        ("attempts", "0"),
        ("next_due_at", "1"),
        ("created_at", "1"),
    ];
    Rows::of("deliveries", &required)
}

/// Returns first payments of 9.99 USD, priced by the catalogue. The caller adds `collapse_key`, `app_id` and
/// `event_id`.
pub fn payments() -> Rows {
    let required = [
        ("number", "1"),
        ("entry", "0"),
        ("environment", "'production'"),
        ("kind", "'initial'"),
        ("occurred_at", "1"),
        ("price", "'9.99'"),
        ("currency", "'USD'"),
        ("usd", "'9.99'"),
        ("source", "'catalogue'"),
        ("created_at", "1"),
    ];
    Rows::of("payments", &required)
}

/// Returns a device without a description.
pub fn device(platform: impl Display, id: impl Display) -> Rows {
    let required = [("device", "'{}'"), ("created_at", "1"), ("seen_at", "1")];
    Rows::of("devices", &required)
        .text("platform_id", platform)
        .text("id", id)
}

/// Returns a device's verified claims of purchases that it made. The caller adds `collapse_key`, `receipt_id` and
/// `app_user_id`.
pub fn claims(platform: impl Display, device: impl Display) -> Rows {
    let required = [
        ("status", "'verified'"),
        ("kind", "'purchased'"),
        ("occurred_at", "1"),
        ("attempts", "0"),
        ("due_at", "1"),
        ("created_at", "1"),
    ];
    Rows::of("claims", &required)
        .text("platform_id", platform)
        .text("device_id", device)
}

/// Returns the session starts of a device. The caller adds `id`.
pub fn device_event(platform: impl Display, device: impl Display) -> Rows {
    let required = [
        ("client_id", "'c'"),
        ("event_type", "'device.session.start'"),
        ("environment", "'production'"),
        ("occurred_at", "1"),
        ("body", "'{}'"),
        ("created_at", "1"),
    ];
    Rows::of("device_events", &required)
        .text("platform_id", platform)
        .text("device_id", device)
}

/// Returns copies of a source's deliveries `d`, with these expressions for the new `id` and `n`.
pub fn copies(id: &str, n: &str) -> Rows {
    let same = [
        "destination_id",
        "event_id",
        "event_type",
        "collapse_key",
        "revision",
        "status",
        "next_due_at",
        "last_error",
        "created_at",
    ];
    let copied = deliveries()
        .sql("id", id)
        .sql("n", n)
        .of_each("deliveries d");
    same.into_iter().fold(copied, |rows, column| {
        rows.sql(column, format!("d.{column}"))
    })
}

impl Rows {
    fn of(table: &'static str, required: &[(&'static str, &str)]) -> Self {
        let columns = required
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect();
        Self {
            table,
            columns,
            numbers: String::new(),
            source: String::new(),
        }
    }

    /// Sets a column to this text.
    pub fn text(self, column: &'static str, value: impl Display) -> Self {
        let quoted = value.to_string().replace('\'', "''");
        self.sql(column, format!("'{quoted}'"))
    }

    /// Sets a column to this number or SQL expression.
    pub fn sql(mut self, column: &'static str, value: impl Display) -> Self {
        self.columns.retain(|(name, _)| *name != column);
        self.columns.push((column, value.to_string()));
        self
    }

    /// Inserts one row for each number `i` from `first` to `last`. [`Self::of_each`] may replace the source `numbers`
    /// by a query of it.
    pub fn numbered(mut self, first: impl Display, last: impl Display) -> Self {
        self.numbers = format!(
            "WITH RECURSIVE numbers(i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM numbers WHERE i < {last})"
        );
        self.of_each("numbers")
    }

    /// Inserts one row for each row of this source, such as a table with a condition.
    pub fn of_each(mut self, source: impl Display) -> Self {
        self.source = format!("FROM {source}");
        self
    }
}

impl Display for Rows {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        let Self {
            table,
            columns,
            numbers,
            source,
        } = self;
        let (names, values): (Vec<&str>, Vec<&str>) = columns
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .unzip();
        let (names, values) = (names.join(", "), values.join(", "));
        write!(
            formatter,
            "INSERT INTO {table} ({names}) {numbers} SELECT {values} {source};"
        )
    }
}
