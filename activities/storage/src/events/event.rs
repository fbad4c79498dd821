//! The row of an event. Nobody is owed it by being kept.

use crate::db::error::Error;
use crate::db::sql::{Sql, statement};
use crate::db::statement::sql;
use crate::db::writer::Write;
use crate::events::deliveries::Event;
use domain::{Environment, Timestamp, UserId};

/// The columns of an event beside those that a delivery needs.
#[derive(Clone, Default)]
pub struct StoredEvent {
    /// The user, who never changes.
    pub user_id: Option<UserId>,
    /// Which of the user's revisions it carries, if it carries one.
    pub user_revision: Option<i64>,
    /// When it happened by the store.
    pub occurred_at: Option<Timestamp>,
    /// Its body before it is rendered for a destination.
    pub body: String,
    /// The environment of its purchase, which decides the destinations that are owed it; none for an event about a
    /// destination.
    pub environment: Option<Environment>,
    /// The user's state over their purchases in the environment of this event, if the body has another one.
    pub state_apart: Option<String>,
    /// More attributes of the user in that environment, where an integration keeps them.
    pub profile: Option<String>,
    /// Both for destinations that want certain platforms only, see [`crate::settling::views`].
    pub views: Option<String>,
}

const INSERT: Sql = statement! {"
    INSERT INTO events (id, collapse_key, event_type, revision, user_id, user_revision, occurred_at,
        environment, body, state_apart, profile, views, traceparent, created_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"};

/// Stores an event. It is owed to nobody yet.
pub fn insert(write: &mut Write<'_>, event: &Event, stored: StoredEvent) -> Result<(), Error> {
    sql(INSERT)
        .bind(event.id)
        .bind(event.collapse_key)
        .bind(event.event_type.as_str())
        .bind(event.revision)
        .bind(stored.user_id)
        .bind(stored.user_revision)
        .bind(stored.occurred_at)
        .bind(stored.environment)
        .bind(stored.body)
        .bind(stored.state_apart)
        .bind(stored.profile)
        .bind(stored.views)
        .bind(event.traceparent.as_deref())
        .bind(write.now)
        .run(write.connection)
        .map(drop)
}
