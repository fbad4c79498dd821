//! A database connection of a test, for data that no function of the store reads or writes.

use super::postgres::PgConnection;
use diesel::connection::SimpleConnection;
use diesel::{Connection, QueryableByName, RunQueryDsl, SqliteConnection};
use std::fmt::Display;
use storage::Database;

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    value: i64,
}

#[derive(QueryableByName)]
struct TextRow {
    #[diesel(sql_type = diesel::sql_types::Text)]
    value: String,
}

pub enum Raw {
    Sqlite(SqliteConnection),
    Postgres(Box<PgConnection>),
}

impl Raw {
    /// Connects to a database.
    ///
    /// # Panics
    /// When the database is unreachable.
    pub fn of(database: &Database) -> Self {
        match database {
            Database::Sqlite(path) => {
                let mut connection =
                    SqliteConnection::establish(&path.to_string_lossy()).expect("the database");
                connection
                    .batch_execute("PRAGMA busy_timeout = 60000")
                    .expect("a setting");
                Self::Sqlite(connection)
            }
            Database::Postgres(url) => Self::Postgres(Box::new(
                PgConnection::establish(url).expect("the database"),
            )),
        }
    }

    /// Runs statements.
    ///
    /// # Panics
    /// When the database refuses a statement.
    pub fn run(&mut self, text: &(impl Display + ?Sized)) {
        let text = text.to_string();
        match self {
            Self::Sqlite(connection) => connection.batch_execute(&text),
            Self::Postgres(connection) => connection.batch_execute(&text),
        }
        .unwrap_or_else(|error| panic!("{text}: {error}"));
    }

    /// Returns the number in the column `value` of a query.
    ///
    /// # Panics
    /// When the query returns no row.
    pub fn number(&mut self, text: &str) -> i64 {
        let query = diesel::sql_query(text);
        let rows: Vec<Number> = match self {
            Self::Sqlite(connection) => query.load(connection),
            Self::Postgres(connection) => query.load(&mut **connection),
        }
        .unwrap_or_else(|error| panic!("{text}: {error}"));
        rows.first()
            .unwrap_or_else(|| panic!("{text}: no row"))
            .value
    }

    /// Returns the texts in the column `value` of a query.
    ///
    /// # Panics
    /// When the database refuses the query.
    pub fn texts(&mut self, text: &str) -> Vec<String> {
        let query = diesel::sql_query(text);
        let rows: Vec<TextRow> = match self {
            Self::Sqlite(connection) => query.load(connection),
            Self::Postgres(connection) => query.load(&mut **connection),
        }
        .unwrap_or_else(|error| panic!("{text}: {error}"));
        rows.into_iter().map(|row| row.value).collect()
    }
}
