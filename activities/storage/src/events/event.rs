//! The row of an event. Storing an event does not queue it for a destination: `deliveries` does that.

use crate::events::deliveries::Event;
use db::error::Error;
use db::sql::insert;
use db::writer::Write;
use domain::{AppId, Environment, Timestamp, UserId};

/// The columns of an event, without those that its deliveries contain too.
#[derive(Clone)]
pub struct StoredEvent {
    /// The app of the event's purchase, destination or user.
    pub app_id: AppId,
    /// The user who owned the purchase when the event was recorded; never changed later.
    pub user_id: Option<UserId>,
    /// The revision of the user's state that the event carries; `None` if it carries no state.
    pub user_revision: Option<i64>,
    /// When the change happened, by the store's clock.
    pub occurred_at: Option<Timestamp>,
    /// Body of the event, from which the body for each destination is rendered.
    pub body: String,
    /// The environment of the purchase, which decides for which destinations the event is queued; `None` for an event
    /// about a destination.
    pub environment: Option<Environment>,
    /// The extended attributes of the user in that environment; `None` if no destination stores them.
    pub profile: Option<String>,
    /// State and attributes for destinations that receive only certain platforms, or both environments; see
    /// [`crate::settling::views`].
    pub views: Option<String>,
    /// Causes of the revision besides notifications; see [`crate::purchases::cause`].
    pub causes: Option<String>,
}

impl StoredEvent {
    /// Builds an event of an app that has nothing but this body.
    pub fn of(app_id: AppId, body: String) -> Self {
        Self {
            app_id,
            user_id: None,
            user_revision: None,
            occurred_at: None,
            body,
            environment: None,
            profile: None,
            views: None,
            causes: None,
        }
    }
}

/// Stores an event. It is queued for no destination yet.
pub fn insert(write: &mut Write<'_>, event: &Event, stored: StoredEvent) -> Result<(), Error> {
    insert!(events {
        id: event.id,
        collapse_key: event.collapse_key,
        app_id: stored.app_id,
        event_type: event.event_type.as_str(),
        revision: event.revision,
        user_id: stored.user_id,
        user_revision: stored.user_revision,
        occurred_at: stored.occurred_at,
        environment: stored.environment,
        body: stored.body,
        profile: stored.profile,
        views: stored.views,
        causes: stored.causes,
        traceparent: event.traceparent.as_deref(),
        created_at: write.now()?,
    })
    .later(write.connection)
}
