//! The row of an event. Nobody is owed it by being kept.

use crate::db::error::Error;
use crate::db::statement::sql;
use crate::db::writer::Write;
use crate::events::deliveries::Event;
use domain::{Environment, Timestamp, UserId};

/// What is kept of an event beside what a delivery needs to know.
pub struct Kept {
    /// Whose event it is, which never changes, and which of the user's revisions it tells, if it tells one.
    pub user: Option<(UserId, Option<i64>)>,
    /// When it happened by the store.
    pub occurred_at: Option<Timestamp>,
    /// Its body, as no destination in particular gets it.
    pub body: String,
    /// The environment of its purchase, by which it is decided whom it is owed to; of an event about a destination none.
    pub environment: Option<Environment>,
    /// What the body says of the user, over their purchases in the environment of this one, if that is something else.
    pub state_apart: Option<String>,
    /// More attributes of the user in that environment, where an integration keeps them.
    pub profile: Option<String>,
    /// The same for destinations that want certain platforms only, see [`crate::settling::views`].
    pub views: Option<String>,
}

/// Keeps an event. Nobody is owed it yet.
pub fn insert(write: &mut Write<'_>, event: &Event, kept: Kept) -> Result<(), Error> {
    sql("INSERT INTO events (id, collapse_key, event_type, revision, user_id, user_revision, occurred_at, \
         environment, body, state_apart, profile, views, traceparent, created_at) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
    .bind(event.id)
    .bind(event.collapse_key)
    .bind(event.event_type.as_str())
    .bind(event.revision)
    .bind(kept.user.map(|(id, _)| id))
    .bind(kept.user.and_then(|(_, revision)| revision))
    .bind(kept.occurred_at)
    .bind(kept.environment.map(|environment| environment.as_str()))
    .bind(kept.body)
    .bind(kept.state_apart)
    .bind(kept.profile)
    .bind(kept.views)
    .bind(event.traceparent.as_deref())
    .bind(write.now)
    .run(write.connection)
    .map(drop)
}
