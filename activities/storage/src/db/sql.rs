//! The texts of statements: constants beside the functions that run them, one text for both databases.
//!
//! Diesel's typed query builder does not support `ON CONFLICT`, `RETURNING` and multi-row inserts for a connection of
//! either kind, so statements are texts. A text is plain SQL with these additions:
//!
//! - `?` is a value, `?*` a list of values; after `VALUES`, `?*` is a list of rows;
//! - `{NAME}` is a constant text that several statements share; the compiler inserts it;
//! - `{{which}}` is the place of a [`Clause`], where a statement has several variants;
//! - a lock such as `FOR UPDATE` stands at the end. It is left out on SQLite, where a writing transaction excludes all
//!   others from its beginning.
//!
//! `hot "index"` marks a statement that runs often or over a large table, and names the index that must serve it.
//! With the feature `fail-points` every constant registers itself in one list (`inventory`).
//! `tests/integration/storage/statements.rs` prepares all of them on both databases, and checks the query plans of the
//! hot ones over filled tables.

use std::borrow::Cow;

/// The text of a statement. Created only by [`statement!`].
#[derive(Debug, Clone, Copy)]
pub struct Sql {
    pub place: &'static str,
    pub text: &'static str,
    /// The index that must serve a hot statement, or several, separated by `or`; `None` if the statement is not hot.
    pub index: Option<&'static str>,
}

/// One of the conditions that complete a statement. Created only by [`clause!`].
#[derive(Debug, Clone, Copy)]
pub struct Clause {
    pub place: &'static str,
    pub text: &'static str,
    /// The index that must serve a hot statement with this clause.
    pub index: Option<&'static str>,
    pub completes: &'static [Sql],
}

/// The placeholder that a clause replaces: what `formatcp!` makes of `{{which}}`.
const WHICH: &str = "{which}";
/// The ends of statements that lock the rows that they read.
const LOCKS: [&str; 7] = [
    "FOR UPDATE",
    "FOR UPDATE NOWAIT",
    "FOR UPDATE SKIP LOCKED",
    "FOR NO KEY UPDATE",
    "FOR NO KEY UPDATE SKIP LOCKED",
    "FOR SHARE SKIP LOCKED",
    "FOR SHARE",
];

/// A statement: `const FIND: Sql = statement!("SELECT …");`. A hot one names the index that must serve it:
/// `statement!(hot "name_of_index", "SELECT …")`.
#[macro_export]
macro_rules! statement {
    (hot $index:literal, $text:literal) => {
        $crate::sql::statement!(@ Some($index), $text)
    };
    ($text:literal) => {
        $crate::sql::statement!(@ None, $text)
    };
    (@ $index:expr, $text:literal) => {{
        const SQL: $crate::sql::Sql = $crate::sql::Sql {
            place: concat!(file!(), ":", line!()),
            text: const_format::formatcp!($text),
            index: $index,
        };
        #[cfg(feature = "fail-points")]
        inventory::submit! { SQL }
        SQL
    }};
}

/// A condition of statements: `const OF_APP: Clause = clause!(LISTS, "app_id = ?");` completes each of `LISTS`.
#[macro_export]
macro_rules! clause {
    ($completes:expr, hot $index:literal, $text:literal) => {
        $crate::sql::clause!(@ $completes, Some($index), $text)
    };
    ($completes:expr, $text:literal) => {
        $crate::sql::clause!(@ $completes, None, $text)
    };
    (@ $completes:expr, $index:expr, $text:literal) => {{
        const CLAUSE: $crate::sql::Clause = $crate::sql::Clause {
            place: concat!(file!(), ":", line!()),
            text: const_format::formatcp!($text),
            index: $index,
            completes: $completes,
        };
        #[cfg(feature = "fail-points")]
        inventory::submit! { CLAUSE }
        CLAUSE
    }};
}

/// A statement that inserts one row, with its values: `insert!(users { id, created_at: now })`. A column without a
/// value gets that of the variable with its name. The SQL after the values, such as `ON CONFLICT`, is the last
/// argument.
#[macro_export]
macro_rules! insert {
    ($table:ident { $first:ident $(: $first_value:expr)? $(, $column:ident $(: $value:expr)?)* $(,)? } $(, $end:literal)?) => {
        $crate::statement::sql({
            const SQL: $crate::sql::Sql = $crate::sql::Sql {
                place: concat!(file!(), ":", line!()),
                text: const_format::concatcp!(
                    concat!("INSERT INTO ", stringify!($table), " (", stringify!($first), $(", ", stringify!($column),)*),
                    ") VALUES (?",
                    const_format::str_repeat!(", ?", <[&str]>::len(&[$(stringify!($column)),*])),
                    ")",
                    $(" ", const_format::formatcp!($end))?
                ),
                index: None,
            };
            #[cfg(feature = "fail-points")]
            inventory::submit! { SQL }
            SQL
        })
        .bind($crate::sql::insert!(@ $first $(: $first_value)?))
        $(.bind($crate::sql::insert!(@ $column $(: $value)?)))*
    };
    (@ $column:ident) => {
        $column
    };
    (@ $column:ident: $value:expr) => {
        $value
    };
}

pub use {clause, insert, statement};

impl Sql {
    /// Returns this statement with a clause in place of `{which}`.
    pub fn of(self, which: Clause) -> Cow<'static, str> {
        Cow::Owned(self.text.replace(WHICH, which.text))
    }

    /// Returns this statement with these conditions, joined by `AND`, in place of `{which}`; with `TRUE` if there are
    /// none.
    pub fn with(self, conditions: &[&str]) -> Cow<'static, str> {
        let all = if conditions.is_empty() {
            "TRUE".to_owned()
        } else {
            conditions.join(" AND ")
        };
        Cow::Owned(self.text.replace(WHICH, &all))
    }
}

impl From<Sql> for Cow<'_, str> {
    fn from(sql: Sql) -> Self {
        Cow::Borrowed(sql.text)
    }
}

/// Returns a text without the lock at its end.
pub fn without_lock(text: &str) -> &str {
    let text = text.trim_end();
    LOCKS
        .iter()
        .find_map(|lock| text.strip_suffix(lock))
        .unwrap_or(text)
}

#[cfg(feature = "fail-points")]
inventory::collect!(Sql);
#[cfg(feature = "fail-points")]
inventory::collect!(Clause);

/// A statement as it is run, completed by a clause if it has a place for one.
#[cfg(feature = "fail-points")]
#[derive(Debug)]
pub struct Complete {
    /// The file and line of its text, or of the clause that completes it.
    pub place: &'static str,
    pub text: Cow<'static, str>,
    /// The index that must serve it, if it is hot.
    pub index: Option<&'static str>,
}

/// Returns all statements, each once for each of the clauses that complete it.
#[cfg(feature = "fail-points")]
pub fn all() -> Vec<Complete> {
    let whole = inventory::iter::<Sql>
        .into_iter()
        .filter(|sql| !sql.text.contains(WHICH));
    let whole = whole.map(|sql| Complete {
        place: sql.place,
        text: (*sql).into(),
        index: sql.index,
    });
    let completed = inventory::iter::<Clause>.into_iter().flat_map(|clause| {
        let complete = |sql: &Sql| Complete {
            place: clause.place,
            text: sql.of(*clause),
            index: clause.index,
        };
        clause.completes.iter().map(complete)
    });
    whole.chain(completed).collect()
}

#[cfg(test)]
mod tests {
    use super::{Clause, Sql, without_lock};

    const LIST: Sql = Sql {
        place: "",
        text: "SELECT 1 WHERE {which} LIMIT ?",
        index: None,
    };
    const OF_KEY: Clause = Clause {
        place: "",
        text: "key = ?",
        index: None,
        completes: &[LIST],
    };

    #[test]
    fn a_lock_is_left_out_only_at_the_end() {
        assert_eq!(
            without_lock("SELECT 1\n    FOR UPDATE SKIP LOCKED\n").trim_end(),
            "SELECT 1"
        );
        assert_eq!(
            without_lock("SELECT 1 FOR UPDATE LIMIT 1"),
            "SELECT 1 FOR UPDATE LIMIT 1"
        );
    }

    #[test]
    fn conditions_stand_in_their_place() {
        assert_eq!(LIST.of(OF_KEY), "SELECT 1 WHERE key = ? LIMIT ?");
        assert_eq!(LIST.with(&[]), "SELECT 1 WHERE TRUE LIMIT ?");
        assert_eq!(
            LIST.with(&["a = ?", "b = ?"]),
            "SELECT 1 WHERE a = ? AND b = ? LIMIT ?"
        );
    }
}
