//! The tables in the order in which they are checked, each by its own key.

use crate::db::connection::AnyConnection;
use crate::db::error::Error;
use crate::db::sql::{Sql, statement};
use crate::db::statement::{Value, row, sql};
use domain::Timestamp;

/// A table that is checked.
pub struct Walk {
    /// Its name.
    pub table: &'static str,
    /// The condition for its rows after one key up to another, which all statements about a page of it have.
    #[cfg(test)]
    pub range: &'static str,
    /// The keys after one, as texts `a` and `b`.
    keys: Sql,
    /// Whether its key is a number, or one or two texts.
    key: Key,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    Number,
    Text,
    Pair,
}

/// The rows of a page.
pub struct Range<'a> {
    /// The table.
    pub walk: &'static Walk,
    /// After this key.
    pub after: &'a Position,
    /// Up to this one.
    pub last: &'a Position,
    /// Now.
    pub now: Timestamp,
}

/// A key, as texts; the second is empty where one is enough.
pub type Position = (String, String);

row! {
    struct KeyRow {
        a: String,
        b: String,
    }
}

// The conditions of a range, for the letter by which each table is called in statements.
pub const ACCEPTANCES: &str = "a.seq > ? AND a.seq <= ?";
pub const NOTIFICATIONS: &str = "n.seq > ? AND n.seq <= ?";
pub const PURCHASES: &str = "p.collapse_key > ? AND p.collapse_key <= ?";
pub const USERS: &str = "u.id > ? AND u.id <= ?";
pub const EVENTS: &str = "e.seq > ? AND e.seq <= ?";
pub const DELIVERIES: &str = "d.seq > ? AND d.seq <= ?";
pub const LANES: &str = "(l.destination_id, l.collapse_key) > (?, ?) AND (l.destination_id, l.collapse_key) <= (?, ?)";

/// All tables that are checked, in this order.
pub const WALKS: &[Walk] = &[
    Walk {
        table: "acceptances",
        #[cfg(test)]
        range: ACCEPTANCES,
        keys: statement!("SELECT CAST(seq AS TEXT) AS a, '' AS b FROM acceptances WHERE seq > ? ORDER BY seq LIMIT ?"),
        key: Key::Number,
    },
    Walk {
        table: "notifications",
        #[cfg(test)]
        range: NOTIFICATIONS,
        keys: statement!(
            "SELECT CAST(seq AS TEXT) AS a, '' AS b FROM notifications WHERE seq > ? ORDER BY seq LIMIT ?"
        ),
        key: Key::Number,
    },
    Walk {
        table: "purchases",
        #[cfg(test)]
        range: PURCHASES,
        keys: statement!(
            "SELECT collapse_key AS a, '' AS b FROM purchases WHERE collapse_key > ? ORDER BY collapse_key LIMIT ?"
        ),
        key: Key::Text,
    },
    Walk {
        table: "users",
        #[cfg(test)]
        range: USERS,
        keys: statement!("SELECT id AS a, '' AS b FROM users WHERE id > ? ORDER BY id LIMIT ?"),
        key: Key::Text,
    },
    Walk {
        table: "events",
        #[cfg(test)]
        range: EVENTS,
        keys: statement!("SELECT CAST(seq AS TEXT) AS a, '' AS b FROM events WHERE seq > ? ORDER BY seq LIMIT ?"),
        key: Key::Number,
    },
    Walk {
        table: "deliveries",
        #[cfg(test)]
        range: DELIVERIES,
        keys: statement!("SELECT CAST(seq AS TEXT) AS a, '' AS b FROM deliveries WHERE seq > ? ORDER BY seq LIMIT ?"),
        key: Key::Number,
    },
    Walk {
        table: "lanes",
        #[cfg(test)]
        range: LANES,
        keys: statement!(
            "SELECT destination_id AS a, collapse_key AS b FROM lanes WHERE (destination_id, collapse_key) > (?, ?) ORDER BY destination_id, collapse_key LIMIT ?"
        ),
        key: Key::Pair,
    },
];

/// Where a check continues: the place of a table in [`WALKS`], and the key after which.
pub fn position(cursor: Option<&str>) -> Result<(usize, Position), Error> {
    let Some(cursor) = cursor else { return Ok((0, Position::default())) };
    let (table, key) = cursor.split_once(':').ok_or(Error::Cursor)?;
    let place = WALKS.iter().position(|walk| walk.table == table).ok_or(Error::Cursor)?;
    let (a, b) = key.split_once('_').unwrap_or((key, ""));
    let is_number = WALKS.get(place).is_some_and(|walk| walk.key == Key::Number);
    if is_number && !a.is_empty() && a.parse::<i64>().is_err() {
        return Err(Error::Cursor);
    }
    Ok((place, (a.to_owned(), b.to_owned())))
}

impl Walk {
    /// The next keys, at most `limit`.
    pub fn keys(&self, connection: &mut AnyConnection, after: &Position, limit: i64) -> Result<Vec<Position>, Error> {
        let rows: Vec<KeyRow> = sql(self.keys).bind_all(self.values(after)).bind(limit).all(connection)?;
        Ok(rows.into_iter().map(|row| (row.a, row.b)).collect())
    }

    /// The cursor of a place in it.
    pub fn cursor(&self, (a, b): &Position) -> String {
        match self.key {
            Key::Number | Key::Text => format!("{}:{a}", self.table),
            Key::Pair => format!("{}:{a}_{b}", self.table),
        }
    }

    /// The beginning of the table after it, if there is one.
    pub fn next(&self) -> Option<String> {
        let mut behind = WALKS.iter().skip_while(|walk| walk.table != self.table).skip(1);
        behind.next().map(|walk| format!("{}:", walk.table))
    }

    fn values(&self, (a, b): &Position) -> Vec<Value<'static>> {
        match self.key {
            Key::Number => vec![Value::from(a.parse::<i64>().unwrap_or(0))],
            Key::Text => vec![Value::from(a.clone())],
            Key::Pair => vec![Value::from(a.clone()), Value::from(b.clone())],
        }
    }
}

impl Range<'_> {
    /// The values of its condition.
    pub fn values(&self) -> Vec<Value<'static>> {
        self.walk.values(self.after).into_iter().chain(self.walk.values(self.last)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{WALKS, position};

    #[test]
    fn a_cursor_names_its_place() {
        for (place, walk) in WALKS.iter().enumerate() {
            let key = ("7".to_owned(), if walk.range.contains("(?, ?)") { "k" } else { "" }.to_owned());
            assert_eq!(position(Some(&walk.cursor(&key))).unwrap(), (place, key));
        }
        assert_eq!(position(WALKS[0].next().as_deref()).unwrap().0, 1);
        assert_eq!(WALKS[WALKS.len() - 1].next(), None);
    }

    #[test]
    fn a_strange_cursor_is_refused() {
        for cursor in ["", "notifications", "nothing:1", "notifications:x"] {
            assert!(position(Some(cursor)).is_err(), "{cursor}");
        }
    }
}
