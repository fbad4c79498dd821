//! Running statements: each is a [`Sql`](crate::db::sql::Sql) with a value for each `?`, prepared once per connection
//! and kept.

use crate::db::connection::{AnyConnection, MultiBackend};
use crate::db::error::Error;
use crate::db::sql::without_lock;
use diesel::deserialize::{self, FromSql, QueryableByName};
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::row::NamedRow;
use diesel::sql_types::{BigInt, Bool, Nullable, Text, Untyped};
use diesel::{QueryResult, RunQueryDsl};
use domain::catalogue::ProductRef;
use domain::{
    AppId, CollapseKey, DeliveryId, DestinationId, Environment, EventId, OrgId, Outcome, PlatformId, State, Timestamp,
    TopicId, UnknownReceipts, UserId,
};
use std::borrow::Cow;

/// A value in the place of a `?`.
#[derive(Debug, Clone)]
pub enum Value<'a> {
    /// A number or a time.
    Int(Option<i64>),
    /// A text or an id.
    Text(Option<Cow<'a, str>>),
    /// Yes or no.
    Bool(bool),
    /// In the place of a `?*`: values with commas between them.
    List(Vec<Value<'a>>),
    /// In the place of a `?*` after `VALUES`: rows of values.
    Rows(Vec<Vec<Value<'a>>>),
}

/// A statement with its values.
#[derive(Debug, Clone)]
pub struct Statement<'a> {
    text: Cow<'a, str>,
    values: Vec<Value<'a>>,
    is_cached: bool,
}

/// A statement whose text is always the same, or one of few: it is prepared once and kept.
pub fn sql<'a>(text: impl Into<Cow<'a, str>>) -> Statement<'a> {
    Statement { text: text.into(), values: Vec::new(), is_cached: true }
}

impl<'a> Statement<'a> {
    /// Puts a value in the place of the next `?`.
    #[must_use]
    pub fn bind(mut self, value: impl Into<Value<'a>>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Puts values in the places of the next `?`s.
    #[must_use]
    pub fn bind_all<V: Into<Value<'a>>>(mut self, values: impl IntoIterator<Item = V>) -> Self {
        self.values.extend(values.into_iter().map(Into::into));
        self
    }

    /// Puts a list in the place of the next `?*`.
    #[must_use]
    pub fn bind_list<V: Into<Value<'a>>>(mut self, values: impl IntoIterator<Item = V>) -> Self {
        self.values.push(Value::List(values.into_iter().map(Into::into).collect()));
        self
    }

    /// Puts rows in the place of the next `VALUES ?*`.
    #[must_use]
    pub fn bind_rows<const N: usize>(mut self, rows: impl IntoIterator<Item = [Value<'a>; N]>) -> Self {
        self.values.push(Value::Rows(rows.into_iter().map(Vec::from).collect()));
        self
    }

    /// For a text that is hardly repeated: it is not cached.
    #[must_use]
    pub const fn once(mut self) -> Self {
        self.is_cached = false;
        self
    }

    /// Runs it; the number of rows it changed.
    pub fn run(self, connection: &mut AnyConnection) -> Result<usize, Error> {
        self.on(connection).execute(connection).map_err(Error::of_query)
    }

    /// All rows that it answers.
    pub fn all<T: QueryableByName<MultiBackend> + 'static>(
        self,
        connection: &mut AnyConnection,
    ) -> Result<Vec<T>, Error> {
        self.on(connection).load::<T>(connection).map_err(Error::of_query)
    }

    /// The first row that it answers.
    pub fn first<T: QueryableByName<MultiBackend> + 'static>(
        self,
        connection: &mut AnyConnection,
    ) -> Result<Option<T>, Error> {
        Ok(self.all(connection)?.into_iter().next())
    }

    /// The column `value` of all rows.
    pub fn values<T: Field + 'static>(self, connection: &mut AnyConnection) -> Result<Vec<T>, Error> {
        let rows: Vec<Single<T>> = self.all(connection)?;
        Ok(rows.into_iter().map(|row| row.value).collect())
    }

    /// The column `value` of the first row.
    pub fn value<T: Field + 'static>(self, connection: &mut AnyConnection) -> Result<Option<T>, Error> {
        Ok(self.values(connection)?.into_iter().next())
    }

    /// The first row that it answers; without one, `what` is missing.
    pub fn one<T: QueryableByName<MultiBackend> + 'static>(
        self,
        connection: &mut AnyConnection,
        what: &'static str,
    ) -> Result<T, Error> {
        self.first(connection)?.ok_or(Error::Missing { what })
    }

    /// As this database understands it.
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

impl QueryId for Statement<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for Statement<'_> {
    type SqlType = Untyped;
}

impl RunQueryDsl<AnyConnection> for Statement<'_> {}

impl QueryFragment<MultiBackend> for Statement<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, MultiBackend>) -> QueryResult<()> {
        if !self.is_cached {
            out.unsafe_to_cache_prepared();
        }
        let mut values = self.values.iter();
        for (index, part) in self.text.split('?').enumerate() {
            if index > 0 {
                match values.next() {
                    Some(value) => value.push(out.reborrow())?,
                    None => out.push_sql("?"),
                }
            }
            out.push_sql(part.strip_prefix('*').unwrap_or(part));
        }
        Ok(())
    }
}

impl Value<'_> {
    fn push<'b>(&'b self, mut out: AstPass<'_, 'b, MultiBackend>) -> QueryResult<()> {
        match self {
            Self::Int(value) => out.push_bind_param::<Nullable<BigInt>, _>(value),
            Self::Text(value) => out.push_bind_param::<Nullable<Text>, _>(value),
            Self::Bool(value) => out.push_bind_param::<Bool, _>(value),
            Self::List(values) => values.iter().enumerate().try_for_each(|(index, value)| {
                out.push_sql(if index > 0 { ", " } else { "" });
                value.push(out.reborrow())
            }),
            Self::Rows(rows) => rows.iter().enumerate().try_for_each(|(index, row)| {
                out.push_sql(if index > 0 { ", (" } else { "(" });
                row.iter().enumerate().try_for_each(|(index, value)| {
                    out.push_sql(if index > 0 { ", " } else { "" });
                    value.push(out.reborrow())
                })?;
                out.push_sql(")");
                Ok(())
            }),
        }
    }
}

impl<'a> Value<'a> {
    /// A list, unless there is nothing in it.
    pub fn list<V: Into<Self>>(values: impl IntoIterator<Item = V>) -> Option<Self> {
        let values: Vec<Self> = values.into_iter().map(Into::into).collect();
        (!values.is_empty()).then_some(Self::List(values))
    }
}

impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Self::Int(Some(value))
    }
}

impl From<Option<i64>> for Value<'_> {
    fn from(value: Option<i64>) -> Self {
        Self::Int(value)
    }
}

impl From<bool> for Value<'_> {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(value: &'a str) -> Self {
        Self::Text(Some(Cow::Borrowed(value)))
    }
}

impl From<String> for Value<'_> {
    fn from(value: String) -> Self {
        Self::Text(Some(Cow::Owned(value)))
    }
}

impl<'a> From<Option<&'a str>> for Value<'a> {
    fn from(value: Option<&'a str>) -> Self {
        Self::Text(value.map(Cow::Borrowed))
    }
}

impl From<Option<String>> for Value<'_> {
    fn from(value: Option<String>) -> Self {
        Self::Text(value.map(Cow::Owned))
    }
}

impl From<Timestamp> for Value<'_> {
    fn from(value: Timestamp) -> Self {
        Self::Int(Some(value.micros()))
    }
}

impl From<Option<Timestamp>> for Value<'_> {
    fn from(value: Option<Timestamp>) -> Self {
        Self::Int(value.map(Timestamp::micros))
    }
}

/// The SQL type in which a column of this Rust type is read.
pub trait Column {
    /// That SQL type.
    type Sql;
}

impl<T: Column<Sql: diesel::sql_types::SqlType>> Column for Option<T> {
    type Sql = Nullable<T::Sql>;
}

/// What a field of a row is read from: the column of its name, or several, where it is a row itself.
pub trait Field: Sized {
    /// Reads the field of this name.
    fn read<'a>(row: &impl NamedRow<'a, MultiBackend>, name: &str) -> deserialize::Result<Self>;
}

impl<T: Column + FromSql<<T as Column>::Sql, MultiBackend>> Field for T {
    fn read<'a>(row: &impl NamedRow<'a, MultiBackend>, name: &str) -> deserialize::Result<Self> {
        NamedRow::get::<T::Sql, T>(row, name)
    }
}

/// A row with one field.
struct Single<T> {
    value: T,
}

impl<T: Field> QueryableByName<MultiBackend> for Single<T> {
    fn build<'a>(row: &impl NamedRow<'a, MultiBackend>) -> deserialize::Result<Self> {
        Ok(Self { value: T::read(row, "value")? })
    }
}

impl Column for i64 {
    type Sql = BigInt;
}

impl Column for bool {
    type Sql = Bool;
}

impl Column for String {
    type Sql = Text;
}

impl Column for Timestamp {
    type Sql = BigInt;
}

/// A text with JSON.
impl Column for serde_json::Value {
    type Sql = Text;
}

impl FromSql<Text, MultiBackend> for serde_json::Value {
    fn from_sql(value: crate::db::connection::MultiRawValue<'_>) -> deserialize::Result<Self> {
        Ok(serde_json::from_str(&<String as FromSql<Text, MultiBackend>>::from_sql(value)?)?)
    }
}

macro_rules! text_columns {
    ($($name:ident),*) => {$(
        impl Column for $name {
            type Sql = Text;
        }

        impl FromSql<Text, MultiBackend> for $name {
            fn from_sql(value: crate::db::connection::MultiRawValue<'_>) -> deserialize::Result<Self> {
                Ok(<String as FromSql<Text, MultiBackend>>::from_sql(value)?.parse()?)
            }
        }

        impl From<$name> for Value<'_> {
            fn from(value: $name) -> Self {
                Self::Text(Some(Cow::Owned(value.to_string())))
            }
        }

        impl From<Option<$name>> for Value<'_> {
            fn from(value: Option<$name>) -> Self {
                Self::Text(value.map(|value| Cow::Owned(value.to_string())))
            }
        }
    )*};
}

text_columns!(AppId, CollapseKey, DeliveryId, DestinationId, EventId, OrgId, PlatformId, TopicId, UserId);

macro_rules! enum_columns {
    ($($name:ident),*) => {$(
        impl $crate::db::statement::Column for $name {
            type Sql = diesel::sql_types::Text;
        }

        impl diesel::deserialize::FromSql<diesel::sql_types::Text, $crate::db::connection::MultiBackend> for $name {
            fn from_sql(
                value: $crate::db::connection::MultiRawValue<'_>,
            ) -> diesel::deserialize::Result<Self> {
                let text = <String as diesel::deserialize::FromSql<
                    diesel::sql_types::Text,
                    $crate::db::connection::MultiBackend,
                >>::from_sql(value)?;
                Ok(text.parse()?)
            }
        }

        impl From<$name> for $crate::db::statement::Value<'_> {
            fn from(value: $name) -> Self {
                Self::from(value.as_str())
            }
        }
    )*};
}

enum_columns!(Environment, Outcome, State, UnknownReceipts);

impl Column for ProductRef {
    type Sql = Text;
}

impl FromSql<Text, MultiBackend> for ProductRef {
    fn from_sql(value: crate::db::connection::MultiRawValue<'_>) -> deserialize::Result<Self> {
        let text = <String as FromSql<Text, MultiBackend>>::from_sql(value)?;
        Ok(if text == "parent" { Self::Parent } else { Self::Term })
    }
}

impl From<ProductRef> for Value<'_> {
    fn from(value: ProductRef) -> Self {
        Self::from(match value {
            ProductRef::Term => "term",
            ProductRef::Parent => "parent",
        })
    }
}

impl FromSql<BigInt, MultiBackend> for Timestamp {
    fn from_sql(value: crate::db::connection::MultiRawValue<'_>) -> deserialize::Result<Self> {
        Ok(Self::from_micros(<i64 as FromSql<BigInt, MultiBackend>>::from_sql(value)?))
    }
}

/// An enum of the texts that a column has.
macro_rules! stored {
    ($(#[$meta:meta])* $vis:vis enum $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        $vis enum $name { $($(#[$doc])* $variant,)* }

        impl $name {
            /// As it is stored and shown.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($text => Ok(Self::$variant),)*
                    _ => Err(format!("`{text}` is not stored here")),
                }
            }
        }

        $crate::db::statement::enum_columns!($name);
    };
}

/// A struct that is read from the columns of the same names; a field that is such a struct, from the columns of its own.
macro_rules! row {
    ($(#[$meta:meta])* $vis:vis struct $name:ident { $($(#[$doc:meta])* $fvis:vis $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        $vis struct $name { $($(#[$doc])* $fvis $field: $type,)* }

        impl diesel::deserialize::QueryableByName<$crate::db::connection::MultiBackend> for $name {
            fn build<'a>(
                row: &impl diesel::row::NamedRow<'a, $crate::db::connection::MultiBackend>,
            ) -> diesel::deserialize::Result<Self> {
                Ok(Self {
                    $($field: <$type as $crate::db::statement::Field>::read(row, stringify!($field))?,)*
                })
            }
        }

        impl $crate::db::statement::Field for $name {
            fn read<'a>(
                row: &impl diesel::row::NamedRow<'a, $crate::db::connection::MultiBackend>,
                _name: &str,
            ) -> diesel::deserialize::Result<Self> {
                diesel::deserialize::QueryableByName::build(row)
            }
        }
    };
}

pub(crate) use {enum_columns, row, stored};

row! {
    /// A single number.
    pub struct Number {
        /// The number.
        pub value: i64,
    }
}

row! {
    /// A single text.
    pub struct SingleText {
        /// The text.
        pub value: String,
    }
}

/// A text without the NUL that PostgreSQL cannot store.
pub fn clean(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{FFFD}")) } else { Cow::Borrowed(text) }
}
