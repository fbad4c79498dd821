//! The list of columns that may contain a name of a customer, each with its replacement after the erasure. Both the
//! steps (`batches.rs`) and the first transaction (`begin.rs`) iterate over it.
//!
//! The list excludes columns that the first transaction changes by the customer's ids: `users.external_id`,
//! `users.analytics_device_id`, `store_users`, and other users' purchases with a store's id of the customer. It also
//! excludes `alarms.detail`, `device_events.client_id` and `pages.run`, which are part of the identity of their rows.

use super::author;
use db::connection::MultiBackend;
use db::error::Error;
use db::sql::{Clause, Sql, statement};
use db::statement::{Statement, sql};
use db::writer::Write;
use diesel::deserialize::{self, QueryableByName};
use diesel::row::NamedRow;
use diesel::sql_types::{Nullable, Text};
use domain::user::{ErasedNames, REMOVED, shape};
use domain::{AppId, UserId};

/// A customer who is being erased.
#[derive(Clone, Copy)]
pub struct Erased<'a> {
    pub app: AppId,
    pub names: &'a ErasedNames,
    /// The anonymous user who replaces the customer and owns the purchases.
    pub anonymous: UserId,
}

/// The content of a column, and what replaces a name in it.
#[derive(Debug, Clone, Copy)]
enum Content {
    /// The id of a user, replaced by that of the anonymous user.
    User,
    /// A store's id of a customer, replaced by its tombstone.
    Customer,
    /// JSON, from which the names are removed.
    Json,
    /// A message as the store sent it, replaced by its shape.
    Message,
    /// Text written by a person or a destination, replaced by [`REMOVED`] if it contains a name.
    Text,
    /// The author of an audit entry: the person is replaced, the name of the key that follows stays.
    Author,
    /// Data that may repeat a name, and is rendered again or no longer needed: replaced by NULL.
    Dropped,
    /// Unneeded data in a column that is never NULL: replaced by an empty text.
    Emptied,
}

/// The columns of a table that may contain a name.
#[derive(Debug, Clone, Copy)]
pub struct Columns {
    contents: &'static [Content],
    /// The name of the table, and the names of its columns.
    #[cfg(feature = "fail-points")]
    names: (&'static str, &'static str),
    /// Selects these columns and the primary key of the rows in which at least one of these columns is not NULL.
    pub select: Sql,
    set: Sql,
}

/// Builds the [`Columns`] of a table from the contents of its columns and the types of its key. All values are read as
/// text.
macro_rules! columns {
    ($table:ident {
        $first:ident: $content:ident $(, $column:ident: $further:ident)*
    } by $($key:ident $type:ident),+) => {{
        const TABLE: &str = stringify!($table);
        const COLUMNS: &str = concat!(stringify!($first) $(, ", ", stringify!($column))*);
        const KEY: &str = concat!($(", CAST(", stringify!($key), " AS TEXT) AS key_", stringify!($key)),+);
        const SET: &str = concat!(stringify!($first), " = ?" $(, ", ", stringify!($column), " = ?")*);
        const SAME: &str = concat!("TRUE" $(, " AND ", stringify!($key), " = CAST(? AS ", stringify!($type), ")")+);
        Columns {
            contents: &[Content::$content $(, Content::$further)*],
            #[cfg(feature = "fail-points")]
            names: (TABLE, COLUMNS),
            select: statement!("SELECT {COLUMNS}{KEY} FROM {TABLE} WHERE COALESCE({COLUMNS}, NULL) IS NOT NULL AND {{which}}"),
            set: statement!("UPDATE {TABLE} SET {SET} WHERE {SAME}"),
        }
    }};
}

pub const PURCHASES: Columns = columns!(purchases {
    user_id: User, first_user_id: User, app_user_id: Customer, answered_customer: Customer, held_by: Text, held_reason: Text,
    unverified_because: Text, causes: Json
} by collapse_key TEXT);
pub const DEVICES: Columns =
    columns!(devices { user_id: User, device: Json } by platform_id TEXT, id TEXT);
pub const NOTIFICATIONS: Columns = columns!(notifications {
    app_user_id: Customer, body: Json, reason: Text
} by seq BIGINT);
/// Notifications that name no purchase: if one could not be read, its body is the message as sent.
pub const MESSAGES: Columns = columns!(notifications {
    app_user_id: Customer, body: Message, reason: Text
} by seq BIGINT);
pub const EVENTS: Columns = columns!(events {
    user_id: User, body: Json, state_apart: Json, profile: Json, views: Json, causes: Json
} by seq BIGINT);
pub const LANES: Columns =
    columns!(lanes { nameless_device_id: Dropped } by destination_id TEXT, collapse_key TEXT);
pub const DELIVERIES: Columns = columns!(deliveries {
    body: Dropped, analytics_device_id: Dropped, joined_device_id: Dropped, last_error: Text
} by seq BIGINT);
pub const ATTEMPTS: Columns = columns!(attempts {
    headers: Dropped, response: Dropped, error: Text
} by delivery_id TEXT, number BIGINT);
pub const DEVICE_EVENTS: Columns = columns!(device_events { body: Json } by seq BIGINT);
pub const DEVICE_DELIVERIES: Columns = columns!(device_deliveries {
    last_error: Text
} by event_seq BIGINT, destination_id TEXT);
pub const CLAIMS: Columns = columns!(claims {
    app_user_id: Customer, network: Emptied, failure: Text
} by platform_id TEXT, device_id TEXT, collapse_key TEXT);
pub const HEALTH: Columns = columns!(health { last_error: Text } by destination_id TEXT);
pub const DESTINATIONS: Columns = columns!(destinations { reason: Text } by id TEXT);
pub const ALARMS: Columns = columns!(alarms { acknowledged_by: Text, note: Text } by seq BIGINT);
pub const TRANSFERS: Columns = columns!(transfers {
    from_user_id: User, to_user_id: User, moved: Json, author: Text, reason: Text
} by id TEXT);

pub const AUDIT_LOG: Columns = columns!(audit_log { actor: Author, reason: Text } by seq BIGINT);
pub const ERASURES: Columns = columns!(erasures { requested_by: Text, reason: Text } by id TEXT);

/// The columns that are in none of the lists above, as described in the module docs.
#[cfg(feature = "fail-points")]
const APART: [(&str, &str); 7] = [
    ("alarms", "detail"),
    ("device_events", "client_id"),
    ("pages", "run"),
    ("store_users", "app_user_id"),
    ("store_users", "user_id"),
    ("users", "analytics_device_id"),
    ("users", "external_id"),
];

/// Returns the tables and columns from which an erasure removes names, for tests that search all others.
#[cfg(feature = "fail-points")]
pub fn erased_columns() -> Vec<(&'static str, &'static str)> {
    let all = [
        PURCHASES,
        DEVICES,
        NOTIFICATIONS,
        EVENTS,
        LANES,
        DELIVERIES,
        ATTEMPTS,
        DEVICE_EVENTS,
        DEVICE_DELIVERIES,
        CLAIMS,
        HEALTH,
        DESTINATIONS,
        ALARMS,
        TRANSFERS,
        AUDIT_LOG,
        ERASURES,
    ];
    let columns = |one: Columns| {
        one.names
            .1
            .split(", ")
            .map(move |column| (one.names.0, column))
    };
    all.into_iter().flat_map(columns).chain(APART).collect()
}

/// The columns of a row that may contain a name, followed by those of its key.
pub struct RowTexts(pub Vec<Option<String>>);

impl QueryableByName<MultiBackend> for RowTexts {
    fn build<'a>(row: &impl NamedRow<'a, MultiBackend>) -> deserialize::Result<Self> {
        let texts =
            (0..row.field_count()).map(|index| row.get_value::<Nullable<Text>, _, _>(index));
        texts.collect::<Result<_, _>>().map(Self)
    }
}

impl RowTexts {
    /// Returns the sequence number, which is the first column of the key.
    pub fn seq(&self, columns: Columns) -> Option<i64> {
        self.0.get(columns.contents.len())?.as_ref()?.parse().ok()
    }
}

impl Columns {
    /// Selects the rows from which [`Self::remove`] removes names.
    pub fn of(self, which: Clause) -> Statement<'static> {
        sql(self.select.of(which))
    }

    /// Removes the names from rows; returns the rows that contained any, as they were before.
    pub fn remove(
        self,
        write: &mut Write<'_>,
        who: Erased<'_>,
        rows: Vec<RowTexts>,
    ) -> Result<Vec<RowTexts>, Error> {
        let mut changed = Vec::new();
        for row in rows {
            let mut texts = row.0.clone();
            for (text, content) in texts.iter_mut().zip(self.contents) {
                *text = text
                    .take()
                    .and_then(|text| content.without_names(who, text));
            }
            if texts != row.0 {
                sql(self.set).bind_all(texts).later(write.connection)?;
                changed.push(row);
            }
        }
        Ok(changed)
    }
}

impl Content {
    /// Returns the text without the names; `None` stands for NULL.
    fn without_names(
        self,
        Erased {
            names, anonymous, ..
        }: Erased<'_>,
        text: String,
    ) -> Option<String> {
        match self {
            Self::User if names.is_user(&text) => Some(anonymous.to_string()),
            Self::Customer => Some(names.tombstone(&text).map_or(text, str::to_owned)),
            Self::Json => Some(names.removed_from_text(&text, anonymous).unwrap_or(text)),
            Self::Message => Some(shape(&text)),
            Self::Text if names.are_in(&text) => Some(REMOVED.to_owned()),
            Self::User | Self::Text => Some(text),
            Self::Author => Some(author::without_person(text, |person| names.are_in(person))),
            Self::Dropped => None,
            Self::Emptied => Some(String::new()),
        }
    }
}
