//! The rows of one page of a table: those after one key, up to and including another.

use db::statement::Value;
use domain::Timestamp;

// The conditions of a range, with the alias that statements use for each table.
pub const ACCEPTANCES: &str = "a.seq > ? AND a.seq <= ?";
pub const NOTIFICATIONS: &str = "n.seq > ? AND n.seq <= ?";
pub const PURCHASES: &str = "p.collapse_key > ? AND p.collapse_key <= ?";
pub const USERS: &str = "u.id > ? AND u.id <= ?";
pub const EVENTS: &str = "e.seq > ? AND e.seq <= ?";
pub const DESTINATIONS: &str = "d.id > ? AND d.id <= ?";
pub const DEVICE_EVENTS: &str = "e.seq > ? AND e.seq <= ?";
pub const DELIVERIES: &str = "d.seq > ? AND d.seq <= ?";
pub const LANES: &str =
    "(l.destination_id, l.collapse_key) > (?, ?) AND (l.destination_id, l.collapse_key) <= (?, ?)";

/// The kind of a table's key, and its text form in a cursor.
#[derive(Clone, Copy)]
pub enum KeyKind {
    /// A number. Empty text stands for the beginning of the table.
    Number,
    Text,
    /// Two texts, separated by `_`.
    Pair,
}

pub struct Range {
    pub values: Vec<Value<'static>>,
    pub now: Timestamp,
}

impl KeyKind {
    /// Whether a text is a key of this kind, or empty for the beginning of the table.
    pub fn is(self, text: &str) -> bool {
        !matches!(self, Self::Number) || text.is_empty() || text.parse::<i64>().is_ok()
    }

    /// Returns the values that a key binds.
    pub fn values(self, text: &str) -> Vec<Value<'static>> {
        match self {
            Self::Number => vec![Value::from(text.parse::<i64>().unwrap_or(0))],
            Self::Text => vec![Value::from(text.to_owned())],
            Self::Pair => {
                let (first, second) = text.split_once('_').unwrap_or((text, ""));
                [first, second]
                    .map(|text| Value::from(text.to_owned()))
                    .into()
            }
        }
    }
}
