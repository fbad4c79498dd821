//! The requests of topics that want to send notifications, which wait for an operator's approval. Their number is
//! bounded, because they need no authentication.

use crate::inbox::topics::{self, Topic, TopicState};
use crate::store::Store;
use db::connection::AnyConnection;
use db::error::Error;
use db::partial::{OPEN_OF_TOPIC, PENDING_BY_KEY};
use db::secrets::random_uuid;
use db::sql::{Sql, insert, statement};
use db::statement::sql;
use db::writer::Write;
use domain::{PlatformId, Timestamp, TopicId};
use secrecy::SecretString;
use std::sync::Arc;

/// Maximum number of pending topics of one platform.
const MAX_PENDING: usize = 5;
/// Maximum number of expired topics of one platform; older ones are removed.
const MAX_EXPIRED: i64 = 20;
/// Maximum number of expired topics that one request removes.
const PAGE: i64 = 100;

/// A function that chooses the pending topic that gives way to a new request, from the topics of a platform, oldest
/// first; `None` if none does.
pub type GivesWay = Arc<dyn Fn(&[Topic]) -> Option<TopicId> + Send + Sync>;

#[derive(Clone)]
pub struct TopicRequest {
    platform_id: PlatformId,
    arn: String,
    subscribe_url: SecretString,
    expires_at: Timestamp,
    gives_way: GivesWay,
}

impl TopicRequest {
    /// Returns a request of the topic `arn`, which an operator can approve until `expires_at`; `subscribe_url` confirms
    /// its subscription. No other topic gives way to it.
    pub fn new(
        platform_id: PlatformId,
        arn: &str,
        subscribe_url: SecretString,
        expires_at: Timestamp,
    ) -> Self {
        Self {
            platform_id,
            arn: arn.to_owned(),
            subscribe_url,
            expires_at,
            gives_way: Arc::new(|_| None),
        }
    }

    /// Returns the request, with the rule that chooses the topic that gives way to it when five are pending.
    #[must_use]
    pub fn over(self, gives_way: GivesWay) -> Self {
        Self { gives_way, ..self }
    }
}

/// The result of a topic's request to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PendingTopic {
    New,
    /// Already stored: decided, or pending and now with the newer URL.
    Renewed,
    /// Five are pending on this platform and none gives way; it was not stored.
    Full,
}

/// A request in its transaction: its result, and the topic that gave way.
type Requested = (PendingTopic, Option<TopicId>);

const GIVE_WAY: Sql = statement! {"
    UPDATE topics
    SET state = 'expired', decided_at = ?, subscribe_url = NULL, expires_at = NULL
    WHERE id = ? AND state {PENDING_BY_KEY}
"};

/// Removes expired topics beyond the newest [`MAX_EXPIRED`], except those for which notifications still wait.
const REMOVE_EXPIRED: Sql = statement! {"
    DELETE FROM topics
    WHERE id IN (SELECT t.id FROM topics t
        WHERE t.platform_id = ? AND t.state = 'expired'
            AND (SELECT 1 FROM notifications
                WHERE waiting_topic_id = t.id AND waiting_topic_id IS NOT NULL AND {OPEN_OF_TOPIC} LIMIT 1) IS NULL
        ORDER BY t.decided_at DESC, t.id
        LIMIT {PAGE} OFFSET {MAX_EXPIRED})
"};

impl Store {
    /// Stores a topic's request to send, until an operator decides or it expires. At most five of a platform are
    /// pending: another one takes the place of the topic that gives way, whose waiting notifications are refused. A
    /// decided topic stays as it is, unless it expired or was unsubscribed. A pending topic that requests again does
    /// not wait longer.
    pub async fn add_pending_topic(&self, request: TopicRequest) -> Result<PendingTopic, Error> {
        let (new_id, secrets) = (TopicId::new(random_uuid()?), self.database.secrets.clone());
        let (pending, displaced) = self
            .write(move |write| {
                lock_platform(write, request.platform_id)?;
                let topics = topics::of_platform(write.connection, request.platform_id)?;
                let known = topics.iter().find(|topic| topic.arn == request.arn);
                let id = known.map_or(new_id, |topic| topic.id);
                let (result, displaced) = place(&request, &topics, known.map(|topic| topic.state));
                let is_decided = known.is_some_and(|topic| is_decided(topic.state));
                if result == PendingTopic::Full || is_decided {
                    return Ok((result, None));
                }
                if let Some(displaced) = displaced {
                    sql(GIVE_WAY).bind(write.now()?).bind(displaced).run(write.connection)?;
                }
                let sealed = secrets.seal(write, ("topics", &id.to_string()), &request.subscribe_url)?;
                insert!(
                    topics {
                        id,
                        platform_id: request.platform_id,
                        arn: request.arn.as_str(),
                        state: "pending",
                        subscribe_url: sealed,
                        requested_at: write.now()?,
                        expires_at: request.expires_at,
                    },
                    "ON CONFLICT (platform_id, arn)
                    DO UPDATE SET state = 'pending', subscribe_url = excluded.subscribe_url,
                    expires_at = CASE WHEN topics.state = 'pending' THEN topics.expires_at ELSE excluded.expires_at END,
                    decided_at = NULL
                    WHERE topics.state IN ('pending', 'expired', 'unsubscribed')"
                )
                .run(write.connection)?;
                remove_expired(write.connection, request.platform_id)?;
                Ok((result, displaced))
            })
            .await?;
        if let Some(displaced) = displaced {
            // The request is stored. Notifications that still wait for the displaced topic end with the next request or
            // sweep.
            if let Err(error) = self.end_waiting(displaced).await {
                tracing::warn!(error = %error, "notifications of a displaced topic still wait; the next sweep ends them");
            }
        }
        Ok(pending)
    }
}

/// Returns the result of a request of a topic in this state, and the topic that gives way to it.
fn place(request: &TopicRequest, topics: &[Topic], state: Option<TopicState>) -> Requested {
    let pending = topics
        .iter()
        .filter(|topic| topic.state == TopicState::Pending)
        .count();
    match state {
        Some(state) if state == TopicState::Pending || is_decided(state) => {
            (PendingTopic::Renewed, None)
        }
        _ if pending < MAX_PENDING => (PendingTopic::New, None),
        _ => match (request.gives_way)(topics) {
            Some(displaced) => (PendingTopic::New, Some(displaced)),
            None => (PendingTopic::Full, None),
        },
    }
}

/// Returns whether a topic in this state cannot request approval: it may send, or an operator rejected it.
const fn is_decided(state: TopicState) -> bool {
    matches!(
        state,
        TopicState::Configured | TopicState::Confirmed | TopicState::Rejected
    )
}

fn remove_expired(connection: &mut AnyConnection, platform: PlatformId) -> Result<(), Error> {
    sql(REMOVE_EXPIRED).bind(platform).run(connection).map(drop)
}

const LOCK_PLATFORM: Sql = statement!(
    "SELECT created_at AS value FROM platforms WHERE id = ? AND deleted_at IS NULL FOR NO KEY UPDATE"
);

/// Locks the platform, so that two processes together do not store more pending topics than the maximum.
fn lock_platform(write: &mut Write<'_>, platform: PlatformId) -> Result<(), Error> {
    let found: Option<i64> = sql(LOCK_PLATFORM).bind(platform).value(write.connection)?;
    found.map(drop).ok_or(Error::Missing { what: "platform" })
}
