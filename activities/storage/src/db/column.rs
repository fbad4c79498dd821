//! Values of statements and columns of rows: how each type is stored. Instants are microseconds, durations
//! milliseconds; ids, decimals and enums are texts.

use crate::connection::MultiBackend;
use diesel::QueryResult;
use diesel::deserialize::{self, FromSql};
use diesel::query_builder::AstPass;
use diesel::row::NamedRow;
use diesel::sql_types::{BigInt, Bool, Nullable, SqlType, Text};
use domain::catalogue::{Price, ProductRef};
use domain::device::Device;
use domain::device::claim::{ClaimKind, ClaimReason, ClaimStatus};
use domain::event::Wildcards;
use domain::health::{State as Health, Subject};
use domain::payment::{EntryKind, SaleKind, UnknownPrice};
use domain::time::millis;
use domain::user::Attributes;
use domain::{
    AlarmId, AppId, AuditEntryId, CollapseKey, DeliveryId, DestinationId, DeviceId, DutyId,
    Environment, EventId, KeyId, OrgId, Outcome, PlatformId, Purchase, ReviewId, SessionId,
    SignInId, State, Timestamp, TopicId, TransferId, TransferPolicy, UnknownReceipts, UserId,
};
use rust_decimal::Decimal;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;
use uuid::Uuid;

/// A value that is bound to a `?` of a statement.
#[derive(Debug, Clone)]
pub enum Value<'a> {
    Int(Option<i64>),
    Text(Option<Cow<'a, str>>),
    Bool(bool),
    /// The current time by the clock of PostgreSQL, as of the beginning of the statement.
    Now,
    /// Bound to a `?*`: values, written with commas between them.
    List(Vec<Value<'a>>),
    /// Bound to a `?*` after `VALUES`: rows of values.
    Rows(Vec<Vec<Value<'a>>>),
}

impl Value<'_> {
    /// Writes the value into the SQL of a statement, as bind parameters.
    pub fn push<'b>(&'b self, mut out: AstPass<'_, 'b, MultiBackend>) -> QueryResult<()> {
        match self {
            Self::Int(value) => out.push_bind_param::<Nullable<BigInt>, _>(value),
            Self::Text(value) => out.push_bind_param::<Nullable<Text>, _>(value),
            Self::Bool(value) => out.push_bind_param::<Bool, _>(value),
            Self::Now => {
                out.push_sql("CAST(EXTRACT(EPOCH FROM statement_timestamp()) * 1000000 AS BIGINT)");
                Ok(())
            }
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
    /// Returns a list; `None` for no values, because SQL has no empty list.
    pub fn list<V: Into<Self>>(values: impl IntoIterator<Item = V>) -> Option<Self> {
        let values: Vec<Self> = values.into_iter().map(Into::into).collect();
        (!values.is_empty()).then_some(Self::List(values))
    }
}

impl From<bool> for Value<'_> {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(value: &'a str) -> Self {
        Cow::Borrowed(value).into()
    }
}

impl From<String> for Value<'_> {
    fn from(value: String) -> Self {
        Cow::<str>::Owned(value).into()
    }
}

impl<'a> From<Cow<'a, str>> for Value<'a> {
    /// Replaces each NUL. Every bound text passes through here, so no statement is refused because of a NUL.
    fn from(value: Cow<'a, str>) -> Self {
        Self::Text(Some(match value {
            Cow::Borrowed(text) => clean(text),
            Cow::Owned(text) if text.contains('\0') => Cow::Owned(clean(&text).into_owned()),
            text @ Cow::Owned(_) => text,
        }))
    }
}

/// A type whose values are bound as one kind of [`Value`], even if one is absent.
pub trait Bindable<'a>: Into<Value<'a>> {
    /// The NULL that is bound for an absent value.
    const ABSENT: Value<'a>;
}

impl<'a> Bindable<'a> for &'a str {
    const ABSENT: Value<'a> = Value::Text(None);
}

impl<'a> Bindable<'a> for String {
    const ABSENT: Value<'a> = Value::Text(None);
}

impl<'a> Bindable<'a> for Cow<'a, str> {
    const ABSENT: Value<'a> = Value::Text(None);
}

impl<'a, T: Bindable<'a>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(T::ABSENT, Into::into)
    }
}

/// Returns a text with U+FFFD in place of each NUL, which PostgreSQL cannot store. [`Value`] does this for every bound
/// text. Call it for a text from which an id is computed, or which is compared in memory with a stored one.
pub fn clean(text: &str) -> Cow<'_, str> {
    if text.contains('\0') {
        Cow::Owned(text.replace('\0', "\u{FFFD}"))
    } else {
        Cow::Borrowed(text)
    }
}

/// A type that can be read from a column.
pub trait Column {
    /// The SQL type of the column.
    type Sql;
}

impl<T: Column<Sql: SqlType>> Column for Option<T> {
    type Sql = Nullable<T::Sql>;
}

/// The type of a row's field. It is read from the column with the field's name; a field that is a row itself is read
/// from several columns.
pub trait Field: Sized {
    /// Reads the field of this name.
    fn read<'a>(row: &impl NamedRow<'a, MultiBackend>, name: &str) -> deserialize::Result<Self>;
}

impl<T: Column + FromSql<<T as Column>::Sql, MultiBackend>> Field for T {
    fn read<'a>(row: &impl NamedRow<'a, MultiBackend>, name: &str) -> deserialize::Result<Self> {
        NamedRow::get::<T::Sql, T>(row, name)
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

/// Implements reading a type from a column: the expression converts it from the Rust type `raw`.
#[macro_export]
macro_rules! read_column {
    ($name:ty, |$stored:ident: $raw:ty| $read:expr) => {
        impl $crate::column::Column for $name {
            type Sql = <$raw as $crate::column::Column>::Sql;
        }

        impl
            diesel::deserialize::FromSql<
                <$raw as $crate::column::Column>::Sql,
                $crate::connection::MultiBackend,
            > for $name
        {
            fn from_sql(
                value: $crate::connection::MultiRawValue<'_>,
            ) -> diesel::deserialize::Result<Self> {
                let $stored = <$raw as diesel::deserialize::FromSql<
                    <$raw as $crate::column::Column>::Sql,
                    $crate::connection::MultiBackend,
                >>::from_sql(value)?;
                Ok($read)
            }
        }
    };
}

/// Implements writing a type as a variant of [`Value`].
#[macro_export]
macro_rules! written_column {
    ($name:ty, |$value:ident| $kind:ident($write:expr)) => {
        impl From<$name> for $crate::column::Value<'_> {
            fn from($value: $name) -> Self {
                Self::$kind(Some($write))
            }
        }

        impl<'a> $crate::column::Bindable<'a> for $name {
            const ABSENT: $crate::column::Value<'a> = $crate::column::Value::$kind(None);
        }
    };
}

/// Implements reading and writing a type that is stored as text.
#[macro_export]
macro_rules! text_column {
    ($name:ty, |$text:ident| $read:expr, |$value:ident| $write:expr) => {
        $crate::column::read_column!($name, |$text: String| $read);
        $crate::column::written_column!($name, |$value| Text(std::borrow::Cow::from($write)));
    };
}

/// An enum that is stored as text.
pub trait TextEnum {
    /// The name of the type.
    const NAME: &'static str;

    /// Returns the text of each variant.
    fn texts() -> Vec<&'static str>;
}

/// Lists the texts of an enum.
#[macro_export]
macro_rules! text_enum {
    ($name:ident, $texts:expr) => {
        impl $crate::column::TextEnum for $name {
            const NAME: &'static str = stringify!($name);

            fn texts() -> Vec<&'static str> {
                $texts
            }
        }
    };
}

/// Implements reading and writing for an enum of `domain`, with the text that is stored for each variant.
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
        text_enum!($name, vec![$($text),*]);
    };
}

/// Implements reading types that are stored as JSON.
#[macro_export]
macro_rules! json_columns {
    ($($name:ty),*) => {
        $($crate::column::read_column!($name, |text: String| serde_json::from_str(&text)?);)*
    };
}

/// Implements reading and writing for types that are written with `Display` and read with `FromStr`.
macro_rules! parsed_columns {
    ($($name:ident),*) => {
        $(text_column!($name, |text| text.parse()?, |value| value.to_string());)*
    };
}

/// Implements reading and writing for enums that are written with `as_str` and read with `FromStr`.
macro_rules! named_columns {
    ($($name:ident),*) => {
        $(
            text_column!($name, |text| text.parse()?, |value| value.as_str());
            text_enum!($name, $name::ALL.iter().map(|one| one.as_str()).collect());
        )*
    };
}

parsed_columns!(
    AppId,
    CollapseKey,
    DeliveryId,
    DestinationId,
    DeviceId,
    DutyId,
    EventId,
    OrgId,
    PlatformId,
    SessionId
);
parsed_columns!(
    AuditEntryId,
    AlarmId,
    KeyId,
    ReviewId,
    SignInId,
    TopicId,
    TransferId,
    UserId
);
parsed_columns!(Decimal, Subject, Uuid);
named_columns!(ClaimKind, ClaimReason, ClaimStatus);
named_columns!(
    EntryKind,
    Environment,
    Health,
    Outcome,
    SaleKind,
    State,
    TransferPolicy,
    UnknownReceipts
);
domain_enum!(Attributes { Documented = "documented", Extended = "extended" });
domain_enum!(ProductRef { Term = "term", Parent = "parent" });
domain_enum!(Wildcards { Everything = "everything", Listed = "listed" });
domain_enum!(UnknownPrice {
    ProductUnknown = "product_unknown",
    Promotion = "promotion",
    NotListed = "not_listed",
    NoRate = "no_rate",
    PlanChanged = "plan_changed",
    Unconfirmed = "unconfirmed",
    Implausible = "implausible"
});

json_columns!(serde_json::Value, Vec<i64>, Vec<String>, BTreeMap<String, u64>);
json_columns!(Device, Purchase, Vec<Price>);
written_column!(i64, |number| Int(number));
read_column!(Timestamp, |micros: i64| Self::from_micros(micros));
written_column!(Timestamp, |time| Int(time.micros()));
read_column!(Duration, |milliseconds: i64| Self::from_millis(
    milliseconds.try_into()?
));
written_column!(Duration, |duration| Int(millis(duration)));

/// Declares an enum, with the text that is stored for each variant.
#[macro_export]
macro_rules! stored {
    ($(#[$meta:meta])* $vis:vis enum $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        $vis enum $name { $($(#[$doc])* $variant,)* }

        impl $name {
            /// Returns the text that is stored and shown.
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

        $crate::column::text_column!($name, |text| text.parse()?, |value| value.as_str());
        $crate::column::text_enum!($name, vec![$($text),*]);
    };
}

/// Declares a struct that is read from the columns with the names of its fields. A field that is such a struct itself
/// is read from the columns with the names of its own fields. A field of another crate's type may name the function
/// that reads it from the row: `field: Type = function,`.
#[macro_export]
macro_rules! row {
    (@read $row:ident, $field:ident, $type:ty) => {
        <$type as $crate::column::Field>::read($row, stringify!($field))
    };
    (@read $row:ident, $field:ident, $type:ty, $read:path) => {
        $read($row)
    };
    ($(#[$meta:meta])* $vis:vis struct $name:ident {
        $($(#[$doc:meta])* $fvis:vis $field:ident: $type:ty $(= $read:path)?,)*
    }) => {
        $(#[$meta])*
        $vis struct $name { $($(#[$doc])* $fvis $field: $type,)* }

        impl diesel::deserialize::QueryableByName<$crate::connection::MultiBackend> for $name {
            fn build<'a>(
                row: &impl diesel::row::NamedRow<'a, $crate::connection::MultiBackend>,
            ) -> diesel::deserialize::Result<Self> {
                Ok(Self {
                    $($field: $crate::column::row!(@read row, $field, $type $(, $read)?)?,)*
                })
            }
        }

        impl $crate::column::Field for $name {
            fn read<'a>(
                row: &impl diesel::row::NamedRow<'a, $crate::connection::MultiBackend>,
                _name: &str,
            ) -> diesel::deserialize::Result<Self> {
                diesel::deserialize::QueryableByName::build(row)
            }
        }
    };
}

/// Declares a struct like [`row!`] that is also written to its columns. A last field after a `;` is itself such a
/// struct.
#[macro_export]
macro_rules! written_row {
    (@place $field:ident) => { ", ?" };
    ($(#[$meta:meta])* $vis:vis struct $name:ident { $($(#[$doc:meta])* $fvis:vis $field:ident: $type:ty,)*
        $(; $(#[$inner_doc:meta])* $inner_vis:vis $inner:ident: $inner_type:ident,)? }) => {
        $crate::column::row! { $(#[$meta])* $vis struct $name {
            $($(#[$doc])* $fvis $field: $type,)*
            $($(#[$inner_doc])* $inner_vis $inner: $inner_type,)?
        } }

        impl $name {
            /// The columns, each after a comma.
            pub(crate) const COLUMNS: &str =
                const_format::concatcp!($(", ", stringify!($field),)* $($inner_type::COLUMNS)?);
            /// A placeholder for the value of each column, each after a comma.
            pub(crate) const PLACES: &str = const_format::concatcp!(
                $($crate::column::written_row!(@place $field),)* $($inner_type::PLACES)?
            );

            /// Returns the value of each column.
            pub(crate) fn values(&self) -> Vec<$crate::column::Value<'static>> {
                let values = vec![$(self.$field.clone().into()),*];
                $(let values = [values, self.$inner.values()].concat();)?
                values
            }
        }
    };
}

pub use {
    json_columns, read_column, row, stored, text_column, text_enum, written_column, written_row,
};
