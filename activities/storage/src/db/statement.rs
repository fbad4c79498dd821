//! Running statements: each is a [`Sql`](crate::sql::Sql) with a value for each `?`, prepared once per connection
//! and cached.

use crate::connection::{AnyConnection, MultiBackend};
use crate::error::Error;
use crate::postgres::QueuedQuery;
use crate::sql::without_lock;
use crate::waits::{self, Step};
use diesel::deserialize::{self, QueryableByName};
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::Error::QueryBuilderError;
use diesel::row::NamedRow;
use diesel::sql_types::Untyped;
use diesel::{QueryResult, RunQueryDsl};
use std::borrow::Cow;
use std::marker::PhantomData;
use std::panic::Location;

pub use crate::column::{Field, Value, clean};
pub use crate::column::{json_columns, row, stored, written_row};

#[derive(Debug, Clone)]
pub struct Statement<'a> {
    text: Cow<'a, str>,
    values: Vec<Value<'a>>,
    is_cached: bool,
    place: &'static Location<'static>,
}

/// Returns a statement with a text that is always the same, or one of few. It is prepared once per connection and
/// cached; see [`Statement::uncached`].
#[track_caller]
pub fn sql<'a>(text: impl Into<Cow<'a, str>>) -> Statement<'a> {
    Statement {
        text: text.into(),
        values: Vec::new(),
        is_cached: true,
        place: Location::caller(),
    }
}

/// An argument of [`Statement::bind`]: one value, or a tuple of values.
pub trait Bind<'a> {
    /// Appends each value.
    fn push_to(self, values: &mut Vec<Value<'a>>);
}

impl<'a, V: Into<Value<'a>>> Bind<'a> for V {
    fn push_to(self, values: &mut Vec<Value<'a>>) {
        values.push(self.into());
    }
}

/// Implements [`Bind`] for the tuple of all these types, and for that of the first, the first two, and so on.
macro_rules! bind_tuples {
    ([$($done:tt)*]) => {};
    ([$($kind:ident $index:tt)*] $next:ident $last:tt $($rest:tt)*) => {
        impl<'a, $($kind: Into<Value<'a>>,)* $next: Into<Value<'a>>> Bind<'a> for ($($kind,)* $next,) {
            fn push_to(self, values: &mut Vec<Value<'a>>) {
                $(values.push(self.$index.into());)*
                values.push(self.$last.into());
            }
        }

        bind_tuples!([$($kind $index)* $next $last] $($rest)*);
    };
}

bind_tuples!([] A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8 J 9 K 10 L 11 M 12 N 13 O 14);

impl<'a> Statement<'a> {
    /// Binds a value to the next `?`, or a tuple of values to the next `?`s.
    #[must_use]
    pub fn bind(mut self, values: impl Bind<'a>) -> Self {
        values.push_to(&mut self.values);
        self
    }

    /// Binds values to the next `?`s.
    #[must_use]
    pub fn bind_all<V: Into<Value<'a>>>(mut self, values: impl IntoIterator<Item = V>) -> Self {
        self.values.extend(values.into_iter().map(Into::into));
        self
    }

    /// Binds a list to the next `?*`.
    #[must_use]
    pub fn bind_list<V: Into<Value<'a>>>(mut self, values: impl IntoIterator<Item = V>) -> Self {
        self.values
            .push(Value::List(values.into_iter().map(Into::into).collect()));
        self
    }

    /// Binds rows to the next `VALUES ?*`.
    #[must_use]
    pub fn bind_rows<const N: usize>(
        mut self,
        rows: impl IntoIterator<Item = [Value<'a>; N]>,
    ) -> Self {
        self.values
            .push(Value::Rows(rows.into_iter().map(Vec::from).collect()));
        self
    }

    /// Prepares the statement for this one call and does not cache it. For a text that depends on the number of its
    /// values and hardly repeats, or for a query plan that must fit the values.
    #[must_use]
    pub const fn uncached(mut self) -> Self {
        self.is_cached = false;
        self
    }

    /// Runs the statement; returns the number of rows that it changed.
    pub fn run(self, connection: &mut AnyConnection) -> Result<usize, Error> {
        let _waits = waits::begin(Step::Statement(self.place));
        self.on(connection)
            .execute(connection)
            .map_err(Error::of_query)
    }

    /// Runs the statement in a transaction. On PostgreSQL it is sent with the next statement whose result is needed, so
    /// it costs no round trip; if it fails, that statement fails with its error.
    pub fn later(self, connection: &mut AnyConnection) -> Result<(), Error> {
        connection.defer_next();
        self.run(connection).map(drop)
    }

    /// Runs the query in a transaction. On PostgreSQL it is sent with the next statement whose result is needed. On
    /// SQLite it is run when its rows are fetched, so the rows that it reads must not be written before that.
    pub fn ahead<T: QueryableByName<MultiBackend> + 'static>(
        self,
        connection: &mut AnyConnection,
    ) -> Result<Ahead<'a, T>, Error> {
        let queued = connection.ahead(|connection| self.clone().all::<T>(connection).map(drop))?;
        Ok(Ahead {
            statement: self,
            queued,
            rows: PhantomData,
        })
    }

    /// Like [`Self::ahead`], for the column `value`.
    pub fn value_ahead<T: Field + 'static>(
        self,
        connection: &mut AnyConnection,
    ) -> Result<Ahead<'a, Single<T>>, Error> {
        self.ahead(connection)
    }

    pub fn all<T: QueryableByName<MultiBackend> + 'static>(
        self,
        connection: &mut AnyConnection,
    ) -> Result<Vec<T>, Error> {
        let _waits = waits::begin(Step::Statement(self.place));
        self.on(connection)
            .load::<T>(connection)
            .map_err(Error::of_query)
    }

    /// Runs the statement; returns the first row.
    pub fn first<T: QueryableByName<MultiBackend> + 'static>(
        self,
        connection: &mut AnyConnection,
    ) -> Result<Option<T>, Error> {
        Ok(self.all(connection)?.into_iter().next())
    }

    /// Runs the statement; returns the column `value` of all rows.
    pub fn values<T: Field + 'static>(
        self,
        connection: &mut AnyConnection,
    ) -> Result<Vec<T>, Error> {
        let rows: Vec<Single<T>> = self.all(connection)?;
        Ok(rows.into_iter().map(|row| row.value).collect())
    }

    /// Runs the statement; returns the column `value` of the first row.
    pub fn value<T: Field + 'static>(
        self,
        connection: &mut AnyConnection,
    ) -> Result<Option<T>, Error> {
        Ok(self.values(connection)?.into_iter().next())
    }

    /// Runs the statement; returns the first row.
    ///
    /// # Errors
    /// [`Error::Missing`] with `what` when there is no row.
    pub fn one<T: QueryableByName<MultiBackend> + 'static>(
        self,
        connection: &mut AnyConnection,
        what: &'static str,
    ) -> Result<T, Error> {
        self.first(connection)?.ok_or(Error::Missing { what })
    }

    /// Returns the statement for this database: on SQLite without a lock at its end.
    fn on(mut self, connection: &AnyConnection) -> Self {
        if !connection.is_shared() {
            self.text = match self.text {
                Cow::Borrowed(text) => Cow::Borrowed(without_lock(text)),
                Cow::Owned(text) => Cow::Owned(without_lock(&text).to_owned()),
            };
        }
        self
    }
}

/// A query that may be running, and whose rows are fetched later.
#[must_use]
pub struct Ahead<'a, T> {
    statement: Statement<'a>,
    queued: Option<QueuedQuery>,
    rows: PhantomData<T>,
}

impl<T> Clone for Ahead<'_, T> {
    fn clone(&self) -> Self {
        Self {
            statement: self.statement.clone(),
            queued: self.queued,
            rows: PhantomData,
        }
    }
}

impl<T: QueryableByName<MultiBackend> + 'static> Ahead<'_, T> {
    pub fn all(self, connection: &mut AnyConnection) -> Result<Vec<T>, Error> {
        if let Some(queued) = self.queued {
            connection.fetch_next(queued);
        }
        self.statement.all(connection)
    }

    pub fn first(self, connection: &mut AnyConnection) -> Result<Option<T>, Error> {
        Ok(self.all(connection)?.into_iter().next())
    }
}

impl<T: Field + 'static> Ahead<'_, Single<T>> {
    /// Returns the column `value` of the first row.
    pub fn value(self, connection: &mut AnyConnection) -> Result<Option<T>, Error> {
        Ok(self.first(connection)?.map(|row| row.value))
    }

    /// Returns the column `value` of all rows.
    pub fn values(self, connection: &mut AnyConnection) -> Result<Vec<T>, Error> {
        Ok(self
            .all(connection)?
            .into_iter()
            .map(|row| row.value)
            .collect())
    }
}

impl QueryId for Statement<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for Statement<'_> {
    type SqlType = Untyped;
}

impl RunQueryDsl<AnyConnection> for Statement<'_> {}

impl QueryFragment<MultiBackend> for Statement<'_> {
    /// Fails if a `?` has no value or a value has no `?`: SQLite would read NULL for a missing value, and ignore a
    /// surplus one.
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, MultiBackend>) -> QueryResult<()> {
        let (places, values) = (self.text.matches('?').count(), self.values.len());
        if places != values {
            return Err(QueryBuilderError(
                format!("{places} places and {values} values: {}", self.text).into(),
            ));
        }
        if !self.is_cached {
            out.unsafe_to_cache_prepared();
        }
        let mut parts = self.text.split('?');
        out.push_sql(parts.next().unwrap_or_default());
        for (part, value) in parts.zip(&self.values) {
            value.push(out.reborrow())?;
            out.push_sql(part.strip_prefix('*').unwrap_or(part));
        }
        Ok(())
    }
}

pub struct Single<T> {
    value: T,
}

impl<T: Field> QueryableByName<MultiBackend> for Single<T> {
    fn build<'a>(row: &impl NamedRow<'a, MultiBackend>) -> deserialize::Result<Self> {
        Ok(Self {
            value: T::read(row, "value")?,
        })
    }
}

row! {
    pub struct Number {
        pub value: i64,
    }
}

/// Splits rows into batches of these sizes, the largest possible first. With few sizes a statement has few texts, and
/// each is prepared once. `sizes` must be in descending order and end with 1.
pub fn batches<'r, T>(mut rows: &'r [T], sizes: &'static [usize]) -> impl Iterator<Item = &'r [T]> {
    std::iter::from_fn(move || {
        let size = sizes.iter().find(|size| rows.len() >= **size)?;
        let (batch, rest) = rows.split_at(*size);
        rows = rest;
        Some(batch)
    })
}

/// Returns the values, with the last one repeated until their number is a power of four. So lists of any length have
/// few different texts, and each statement is prepared once.
pub fn padded<T: Clone>(mut values: Vec<T>) -> Vec<T> {
    let mut length = 1;
    while length < values.len() {
        length *= 4;
    }
    if let Some(last) = values.last().cloned() {
        values.resize(length, last);
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Database;

    #[test]
    fn a_tuple_binds_each_of_its_values_in_order() {
        let bound = sql("SELECT ? - ? - ?").bind((7_i64, "a", None::<i64>));
        assert!(matches!(
            bound.values.as_slice(),
            [Value::Int(Some(7)), Value::Text(Some(text)), Value::Int(None)] if text == "a"
        ));
    }

    #[test]
    fn a_value_too_many_or_too_few_is_refused() {
        let path = std::env::temp_dir().join(format!("settle-statement-{}.db", std::process::id()));
        let connection = &mut AnyConnection::to(&Database::Sqlite(path.clone())).unwrap();
        let sum =
            |values: &[i64]| sql("SELECT ? + 0 * ? AS value").bind_all(values.iter().copied());
        assert_eq!(sum(&[7, 1]).value::<i64>(connection).unwrap(), Some(7));
        for values in [vec![7], vec![7, 1, 1]] {
            let refused = sum(&values).value::<i64>(connection).unwrap_err();
            assert!(
                matches!(refused, Error::Unavailable(cause) if cause.to_string().contains("2 places")),
                "{values:?}"
            );
        }
        std::fs::remove_file(path).unwrap();
    }
}
