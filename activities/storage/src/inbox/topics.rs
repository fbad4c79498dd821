//! The topics of a platform, and the decisions about whether they may send notifications.
//!
//! A decision names the state in which the topic was seen. It fails when the topic is in another state by now, so one
//! of two concurrent decisions fails. Afterwards `waiting` releases or refuses the notifications that waited for the
//! decision.

use crate::store::Store;
use db::audit_log::AuditEntry;
use db::connection::AnyConnection;
use db::error::Error;
use db::secrets::random_uuid;
use db::sql::{Sql, statement};
use db::statement::{row, sql, stored};
use db::writer::Write;
use domain::{AppId, CollapseKey, PlatformId, Timestamp, TopicId};
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::json;

stored! {
    /// Trust in a topic.
    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(rename_all = "snake_case")]
    pub enum TopicState {
        /// May send, because the platform's settings name it. Its subscription is confirmed on request.
        Configured = "configured",
        /// Awaits a decision by an admin.
        Pending = "pending",
        /// May send.
        Confirmed = "confirmed",
        /// Rejected by an admin.
        Rejected = "rejected",
        /// Expired before an admin decided.
        Expired = "expired",
        /// Unsubscribed at the store.
        Unsubscribed = "unsubscribed",
    }
}

row! {
    /// A topic that sends to a platform, or wants to.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
    pub struct Topic {
        /// Id of the topic.
        pub id: TopicId,
        /// Id of the platform.
        pub platform_id: PlatformId,
        /// ARN of the topic at the store.
        pub arn: String,
        /// Trust in the topic.
        pub state: TopicState,
        /// When the topic first requested to send.
        pub requested_at: Timestamp,
        /// When the topic entered its current state.
        pub decided_at: Option<Timestamp>,
        /// When a pending request expires; null otherwise.
        pub expires_at: Option<Timestamp>,
    }
}

/// The purchases whose notifications were released, each with the sequence number of the newest.
pub type Released = Vec<(CollapseKey, i64)>;

/// The columns of a [`Topic`].
const SELECT: &str =
    "SELECT id, platform_id, arn, state, requested_at, decided_at, expires_at FROM topics";

const OF_PLATFORM: Sql = statement!("{SELECT} WHERE platform_id = ? ORDER BY requested_at, id");

/// Returns the topics of a platform, oldest first.
pub fn of_platform(
    connection: &mut AnyConnection,
    platform: PlatformId,
) -> Result<Vec<Topic>, Error> {
    sql(OF_PLATFORM).bind(platform).all(connection)
}

const OF_PLATFORMS: Sql =
    statement!("{SELECT} WHERE platform_id IN (?*) ORDER BY requested_at, id");

/// Returns the topics of several platforms, oldest first.
pub fn of_platforms(
    connection: &mut AnyConnection,
    platforms: &[PlatformId],
) -> Result<Vec<Topic>, Error> {
    sql(OF_PLATFORMS)
        .uncached()
        .bind_list(platforms.iter().copied())
        .all(connection)
}

const SUBSCRIBE_URL: Sql = statement!("SELECT subscribe_url AS value FROM topics WHERE id = ?");

const EXPIRE: Sql = statement! {"
    UPDATE topics
    SET state = 'expired', decided_at = ?, subscribe_url = NULL, expires_at = NULL
    WHERE state = 'pending' AND expires_at <= ?
"};

const UNSUBSCRIBE: Sql = statement! {"
    UPDATE topics
    SET state = 'unsubscribed', decided_at = ?, subscribe_url = NULL, expires_at = NULL
    WHERE platform_id = ? AND arn = ? AND state IN ('configured', 'confirmed')
"};

impl Store {
    /// Returns the topics of a platform, oldest first.
    pub async fn topics(&self, platform: PlatformId) -> Result<Vec<Topic>, Error> {
        self.read(move |connection| of_platform(connection, platform))
            .await
    }

    pub async fn topic(&self, id: TopicId) -> Result<Topic, Error> {
        self.read(move |connection| by_id(connection, id)).await
    }

    /// Confirms a topic, deletes its subscribe URL and releases the notifications that waited for it.
    ///
    /// # Errors
    /// [`Error::Conflict`] when an operator rejected it: only an operator can take that back.
    pub async fn pin_topic(
        &self,
        platform: PlatformId,
        arn: &str,
    ) -> Result<(Topic, Released), Error> {
        let arn = arn.to_owned();
        let topic = self.write(move |write| pin(write, platform, &arn)).await?;
        let released = self.end_waiting(topic.id).await?.released;
        Ok((topic, released))
    }

    /// Returns the URL that confirms the subscription of a pending topic.
    pub async fn subscribe_url(&self, id: TopicId) -> Result<Option<SecretString>, Error> {
        let secrets = self.database.secrets.clone();
        self.read(move |connection| {
            let sealed: Option<Option<String>> = sql(SUBSCRIBE_URL).bind(id).value(connection)?;
            let sealed = sealed.ok_or(Error::Missing { what: "topic" })?;
            sealed
                .map(|sealed| secrets.open("topics", &id.to_string(), &sealed))
                .transpose()
        })
        .await
    }

    /// Lets a pending topic send, and releases the notifications that waited for it.
    ///
    /// # Errors
    /// [`Error::Conflict`] when it is not pending.
    pub async fn approve_topic(&self, id: TopicId) -> Result<Released, Error> {
        self.decide_topic(
            "topic.approve",
            id,
            TopicState::Pending,
            TopicState::Confirmed,
        )
        .await?;
        Ok(self.end_waiting(id).await?.released)
    }

    /// Rejects a topic that the caller saw in the state `seen`, and refuses the notifications that waited for it;
    /// returns their number.
    ///
    /// # Errors
    /// [`Error::Conflict`] when it is in another state by now, or rejected already.
    pub async fn reject_topic(&self, id: TopicId, seen: TopicState) -> Result<i64, Error> {
        self.decide_topic("topic.reject", id, seen, TopicState::Rejected)
            .await?;
        Ok(self.end_waiting(id).await?.refused)
    }

    async fn decide_topic(
        &self,
        operation: &'static str,
        id: TopicId,
        from: TopicState,
        to: TopicState,
    ) -> Result<(), Error> {
        self.change(operation, move |write| {
            decide(write, id, from, to)?;
            let arn = by_id(write.connection, id)?.arn;
            let app: Option<AppId> = sql(APP).bind(id).value(write.connection)?;
            let entry = AuditEntry::on(app, id).before(json!({ "state": from.as_str() }));
            Ok((
                (),
                Some(entry.after(json!({ "state": to.as_str(), "arn": arn }))),
            ))
        })
        .await
    }

    /// Expires the pending topics whose time is over, and ends the notifications that still wait for a decided topic;
    /// returns how many were refused.
    pub async fn expire_topics(&self, now: Timestamp) -> Result<i64, Error> {
        self.write(move |write| {
            sql(EXPIRE)
                .bind(write.now()?)
                .bind(now)
                .run(write.connection)
        })
        .await?;
        self.end_all_waiting().await
    }

    /// Marks a topic that may send as unsubscribed: its subscription ended. A topic in another state stays as it is.
    pub async fn mark_unsubscribed(&self, platform: PlatformId, arn: &str) -> Result<(), Error> {
        let arn = arn.to_owned();
        self.write(move |write| {
            sql(UNSUBSCRIBE)
                .bind((write.now()?, platform, arn.as_str()))
                .run(write.connection)
                .map(drop)
        })
        .await
    }
}

/// Lets a topic that the platform's settings name send notifications. Its subscription is confirmed on request. A
/// confirmed topic stays confirmed.
///
/// # Errors
/// [`Error::Conflict`] when it is pending: an operator must approve it instead, which visits its subscribe URL.
pub fn configure(write: &mut Write<'_>, platform: PlatformId, arn: &str) -> Result<(), Error> {
    let topic = put(write, platform, arn, CONFIGURE)?;
    match topic.state {
        TopicState::Pending => Err(Error::Conflict {
            what: "topic",
            detail: format!(
                "{arn} is pending: approve topic {} instead, which confirms its subscription",
                topic.id
            ),
        }),
        _ => Ok(()),
    }
}

fn pin(write: &mut Write<'_>, platform: PlatformId, arn: &str) -> Result<Topic, Error> {
    let topic = put(write, platform, arn, CONFIRM)?;
    if topic.state == TopicState::Confirmed {
        Ok(topic)
    } else {
        Err(decided_otherwise(topic.state))
    }
}

const INSERT: &str = "INSERT INTO topics (id, platform_id, arn, requested_at, decided_at, state)";
const REPLACE: &str = "
    ON CONFLICT (platform_id, arn) DO UPDATE SET state = excluded.state, decided_at = excluded.decided_at,
        subscribe_url = NULL, expires_at = NULL";

const CONFIGURE: Sql = statement! {"
    {INSERT} VALUES (?, ?, ?, ?, ?, 'configured')
    {REPLACE}
    WHERE topics.state NOT IN ('pending', 'confirmed')
"};
const CONFIRM: Sql = statement! {"
    {INSERT} VALUES (?, ?, ?, ?, ?, 'confirmed')
    {REPLACE}
    WHERE topics.state <> 'rejected'
"};

/// Inserts a topic, or changes the state of the stored one if `upsert` allows that; returns the resulting topic.
fn put(
    write: &mut Write<'_>,
    platform: PlatformId,
    arn: &str,
    upsert: Sql,
) -> Result<Topic, Error> {
    sql(upsert)
        .bind((
            TopicId::new(random_uuid()?),
            platform,
            arn,
            write.now()?,
            write.now()?,
        ))
        .run(write.connection)?;
    by_arn(write.connection, platform, arn)?.ok_or(Error::Missing { what: "topic" })
}

const APP: Sql = statement! {"
    SELECT f.app_id AS value
    FROM topics t
    JOIN platforms f ON f.id = t.platform_id
    WHERE t.id = ?
"};

const FIND: Sql = statement!("{SELECT} WHERE id = ?");

fn by_id(connection: &mut AnyConnection, id: TopicId) -> Result<Topic, Error> {
    sql(FIND).bind(id).one(connection, "topic")
}

const LOCK: Sql = statement!("{SELECT} WHERE id = ? FOR UPDATE");

/// Locks a topic until the end of the transaction: no other process decides about it, or ends the notifications that
/// wait for it.
pub fn locked(write: &mut Write<'_>, id: TopicId) -> Result<Topic, Error> {
    sql(LOCK).bind(id).one(write.connection, "topic")
}

const FIND_BY_ARN: Sql = statement!("{SELECT} WHERE platform_id = ? AND arn = ?");

fn by_arn(
    connection: &mut AnyConnection,
    platform: PlatformId,
    arn: &str,
) -> Result<Option<Topic>, Error> {
    sql(FIND_BY_ARN).bind(platform).bind(arn).first(connection)
}

const DECIDE: Sql = statement! {"
    UPDATE topics
    SET state = ?, decided_at = ?, subscribe_url = NULL, expires_at = NULL
    WHERE id = ? AND state = ?
"};

/// Changes the state of a topic from `from` to `to`; fails if it is in another state.
fn decide(
    write: &mut Write<'_>,
    id: TopicId,
    from: TopicState,
    to: TopicState,
) -> Result<(), Error> {
    let now = by_id(write.connection, id)?.state;
    if from == to {
        return Err(decided_otherwise(now));
    }
    let decided = sql(DECIDE)
        .bind((to, write.now()?, id, from))
        .run(write.connection)?;
    if decided == 0 {
        Err(decided_otherwise(by_id(write.connection, id)?.state))
    } else {
        Ok(())
    }
}

fn decided_otherwise(now: TopicState) -> Error {
    Error::Conflict {
        what: "topic",
        detail: format!("it is {} now", now.as_str()),
    }
}
