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
use domain::event::Wildcards;
use domain::health::State as Health;
use domain::payment::{EntryKind, SaleKind, UnknownPrice};
use domain::time::millis;
use domain::user::Attributes;
use domain::{
    AppId, CollapseKey, DeliveryId, DestinationId, Environment, EventId, OrgId, Outcome, PlatformId, State, Timestamp,
    TopicId, UnknownReceipts, UserId,
};
use rust_decimal::Decimal;
use std::borrow::Cow;
use std::time::Duration;
use uuid::Uuid;

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

    /// The column `value` of the first row that it answers.
    pub fn value<T>(self, connection: &mut AnyConnection) -> Result<Option<T>, Error>
    where
        T: Column + FromSql<<T as Column>::Sql, MultiBackend> + 'static,
    {
        Ok(self.values(connection)?.into_iter().next())
    }

    /// The column `value` of all rows that it answers.
    pub fn values<T>(self, connection: &mut AnyConnection) -> Result<Vec<T>, Error>
    where
        T: Column + FromSql<<T as Column>::Sql, MultiBackend> + 'static,
    {
        let rows: Vec<Single<T>> = self.all(connection)?;
        Ok(rows.into_iter().map(|row| row.0).collect())
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

/// In milliseconds.
impl From<Duration> for Value<'_> {
    fn from(value: Duration) -> Self {
        Self::Int(Some(millis(value)))
    }
}

/// In milliseconds.
impl From<Option<Duration>> for Value<'_> {
    fn from(value: Option<Duration>) -> Self {
        Self::Int(value.map(millis))
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

impl Column for Duration {
    type Sql = BigInt;
}

/// A type that is read from a column of texts.
macro_rules! read_column {
    ($name:ty, |$text:ident| $read:expr) => {
        impl $crate::db::statement::Column for $name {
            type Sql = diesel::sql_types::Text;
        }

        impl diesel::deserialize::FromSql<diesel::sql_types::Text, $crate::db::connection::MultiBackend> for $name {
            fn from_sql(value: $crate::db::connection::MultiRawValue<'_>) -> diesel::deserialize::Result<Self> {
                let $text = <String as diesel::deserialize::FromSql<
                    diesel::sql_types::Text,
                    $crate::db::connection::MultiBackend,
                >>::from_sql(value)?;
                Ok($read)
            }
        }
    };
}

/// A type that is read from a column of texts and written to it.
macro_rules! text_column {
    ($name:ty, |$text:ident| $read:expr, |$value:ident| $write:expr) => {
        $crate::db::statement::read_column!($name, |$text| $read);

        impl From<$name> for $crate::db::statement::Value<'_> {
            fn from($value: $name) -> Self {
                Self::Text(Some(std::borrow::Cow::from($write)))
            }
        }

        impl From<Option<$name>> for $crate::db::statement::Value<'_> {
            fn from(value: Option<$name>) -> Self {
                Self::Text(value.map(|$value| std::borrow::Cow::from($write)))
            }
        }
    };
}

/// An enum of `domain`, and the texts that a column has.
macro_rules! domain_enum {
    ($name:ident { $($variant:ident = $text:literal),* }) => {
        text_column!(
            $name,
            |text| match text.as_str() {
                $($text => Self::$variant,)*
                _ => return Err(format!("`{text}` is not stored here").into()),
            },
            |value| match value { $($name::$variant => $text,)* }
        );
    };
}

/// Types that columns have as JSON.
macro_rules! json_columns {
    ($($name:ty),*) => {
        $($crate::db::statement::read_column!($name, |text| serde_json::from_str(&text)?);)*
    };
}

macro_rules! parsed_columns {
    ($($name:ident),*) => {
        $(text_column!($name, |text| text.parse()?, |value| value.to_string());)*
    };
}

macro_rules! named_columns {
    ($($name:ident),*) => {
        $(text_column!($name, |text| text.parse()?, |value| value.as_str());)*
    };
}

parsed_columns!(AppId, CollapseKey, DeliveryId, DestinationId, EventId, OrgId, PlatformId, TopicId, UserId);
parsed_columns!(Decimal, Uuid);
named_columns!(EntryKind, Environment, Health, Outcome, SaleKind, State, UnknownReceipts);
domain_enum!(Attributes { Documented = "documented", Extended = "extended" });
domain_enum!(ProductRef { Term = "term", Parent = "parent" });
domain_enum!(Wildcards { Everything = "everything", Listed = "listed" });
domain_enum!(UnknownPrice {
    ProductUnknown = "product_unknown",
    Promotion = "promotion",
    NotListed = "not_listed",
    NoRate = "no_rate",
    PlanChanged = "plan_changed",
    Unconfirmed = "unconfirmed"
});

impl FromSql<BigInt, MultiBackend> for Timestamp {
    fn from_sql(value: crate::db::connection::MultiRawValue<'_>) -> deserialize::Result<Self> {
        Ok(Self::from_micros(<i64 as FromSql<BigInt, MultiBackend>>::from_sql(value)?))
    }
}

/// In milliseconds.
impl FromSql<BigInt, MultiBackend> for Duration {
    fn from_sql(value: crate::db::connection::MultiRawValue<'_>) -> deserialize::Result<Self> {
        Ok(Self::from_millis(<i64 as FromSql<BigInt, MultiBackend>>::from_sql(value)?.try_into()?))
    }
}

/// The column `value` of a row.
struct Single<T>(T);

impl<T: Column + FromSql<<T as Column>::Sql, MultiBackend>> QueryableByName<MultiBackend> for Single<T> {
    fn build<'a>(row: &impl NamedRow<'a, MultiBackend>) -> deserialize::Result<Self> {
        NamedRow::get::<T::Sql, T>(row, "value").map(Self)
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
            #[must_use]
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

        $crate::db::statement::text_column!($name, |text| text.parse()?, |value| value.as_str());
    };
}

/// A struct that is read from the columns of the same names. A field with `..` before it is such a struct itself.
macro_rules! row {
    ($(#[$meta:meta])* $vis:vis struct $name:ident {
        $(..$part:ident: $part_type:ty,)?
        $($(#[$doc:meta])* $fvis:vis $field:ident: $type:ty,)*
    }) => {
        $(#[$meta])*
        $vis struct $name { $($part: $part_type,)? $($(#[$doc])* $fvis $field: $type,)* }

        impl diesel::deserialize::QueryableByName<$crate::db::connection::MultiBackend> for $name {
            fn build<'a>(
                row: &impl diesel::row::NamedRow<'a, $crate::db::connection::MultiBackend>,
            ) -> diesel::deserialize::Result<Self> {
                Ok(Self {
                    $($part: diesel::deserialize::QueryableByName::build(row)?,)?
                    $($field: diesel::row::NamedRow::get::<<$type as $crate::db::statement::Column>::Sql, $type>(
                        row,
                        stringify!($field),
                    )?,)*
                })
            }
        }
    };
}

pub(crate) use {json_columns, read_column, row, stored, text_column};

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

/// Splits rows into batches of these sizes, large ones first: with few sizes each text of a statement is prepared once.
pub fn batches<'r, T>(mut rows: &'r [T], sizes: &'static [usize]) -> impl Iterator<Item = &'r [T]> {
    std::iter::from_fn(move || {
        let size = sizes.iter().find(|size| rows.len() >= **size)?;
        let (batch, rest) = rows.split_at(*size);
        rows = rest;
        Some(batch)
    })
}

/// A text without the NUL that PostgreSQL cannot store.
pub fn clean(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{FFFD}")) } else { Cow::Borrowed(text) }
}
