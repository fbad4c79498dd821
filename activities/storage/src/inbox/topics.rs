//! Topics that requested to send to a platform, and who decided about them.
//!
//! Every decision names the state it was taken in and changes nothing when that is over: of two concurrent decisions
//! one fails with the present state. Notifications that waited for it are ended or released afterwards, by `waiting`.

use crate::db::connection::AnyConnection;
use crate::db::error::Error;
use crate::db::secrets::random_uuid;
use crate::db::sql::{Sql, statement};
use crate::db::statement::{row, sql, stored};
use crate::db::store::Store;
use crate::db::writer::Write;
use domain::{CollapseKey, PlatformId, Timestamp, TopicId};
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

stored! {
    /// How far a topic is trusted.
    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(rename_all = "snake_case")]
    pub enum TopicState {
        /// Named in the platform's settings: its subscription may be confirmed at once.
        Configured = "configured",
        /// It requested to send, and nobody has decided yet.
        Pending = "pending",
        /// It may send.
        Confirmed = "confirmed",
        /// An admin refused it.
        Rejected = "rejected",
        /// Nobody decided in time.
        Expired = "expired",
        /// Its owner ended the subscription.
        Unsubscribed = "unsubscribed",
    }
}

row! {
    /// A topic of a platform.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
    pub struct Topic {
        /// Its id.
        pub id: TopicId,
        /// The platform that it wants to send to.
        pub platform_id: PlatformId,
        /// Its name at the store.
        pub arn: String,
        /// How far it is trusted.
        pub state: TopicState,
        /// When it first requested to send.
        pub requested_at: Timestamp,
        /// When its present state was decided.
        pub decided_at: Option<Timestamp>,
    }
}

/// The result of a topic's request to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PendingTopic {
    /// It is pending now.
    New,
    /// It was pending already, or is decided; a pending one has the newer URL now.
    Renewed,
    /// Too many are pending on this platform; it was not stored.
    Full,
}

/// The newest row of each purchase that was released.
pub type Released = Vec<(CollapseKey, i64)>;

/// Maximum number of pending topics of one platform.
const PENDING_PER_PLATFORM: i64 = 5;

/// The columns of a [`Topic`].
const SELECT: &str = "SELECT id, platform_id, arn, state, requested_at, decided_at FROM topics";

const OF_PLATFORM: Sql = statement!("{SELECT} WHERE platform_id = ? ORDER BY requested_at, id");

const SUBSCRIBE_URL: Sql = statement!("SELECT subscribe_url AS value FROM topics WHERE id = ?");

const INSERT_PENDING: Sql = statement! {"
    INSERT INTO topics (id, platform_id, arn, state, subscribe_url, requested_at, expires_at)
    VALUES (?, ?, ?, 'pending', ?, ?, ?)
    ON CONFLICT (platform_id, arn)
    DO UPDATE SET state = 'pending', subscribe_url = excluded.subscribe_url,
        expires_at = excluded.expires_at, decided_at = NULL
    WHERE topics.state IN ('pending', 'expired', 'unsubscribed')
"};

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
    /// The topics of a platform, the oldest first.
    pub async fn topics(&self, platform: PlatformId) -> Result<Vec<Topic>, Error> {
        self.read(move |connection| sql(OF_PLATFORM).bind(platform).all(connection)).await
    }

    /// One topic.
    pub async fn topic(&self, id: TopicId) -> Result<Topic, Error> {
        self.read(move |connection| by_id(connection, id)).await
    }

    /// Stores a topic's request to send, until an admin decides or `expires_at`. At most five per platform are pending.
    /// A topic that was decided stays as it is, unless it had expired or its owner had left.
    #[expect(clippy::too_many_arguments, reason = "four arguments that read well at the call, and the store")]
    pub async fn add_pending_topic(
        &self,
        platform: PlatformId,
        arn: &str,
        subscribe_url: SecretString,
        expires_at: Timestamp,
    ) -> Result<PendingTopic, Error> {
        let (new_id, arn, secrets) = (TopicId::new(random_uuid()?), arn.to_owned(), self.secrets.clone());
        self.write(move |write| {
            lock_platform(write, platform)?;
            let known = by_arn(write.connection, platform, &arn)?;
            let id = known.as_ref().map_or(new_id, |topic| topic.id);
            let state = known.map(|topic| topic.state);
            match state {
                Some(TopicState::Configured | TopicState::Confirmed | TopicState::Rejected) => {
                    return Ok(PendingTopic::Renewed);
                }
                Some(TopicState::Pending) => {}
                _ if pending(write, platform)? >= PENDING_PER_PLATFORM => return Ok(PendingTopic::Full),
                Some(TopicState::Expired | TopicState::Unsubscribed) | None => {}
            }
            let sealed = secrets.seal("topics", &id.to_string(), &subscribe_url)?;
            sql(INSERT_PENDING)
                .bind(id)
                .bind(platform)
                .bind(arn.as_str())
                .bind(sealed)
                .bind(write.now)
                .bind(expires_at)
                .run(write.connection)?;
            Ok(if state == Some(TopicState::Pending) { PendingTopic::Renewed } else { PendingTopic::New })
        })
        .await
    }

    /// Makes a topic one that may send, forgets its subscribe URL and releases what waited for it.
    ///
    /// # Errors
    /// [`Error::Conflict`] when an admin rejected it: nobody but an admin takes that back.
    pub async fn pin_topic(&self, platform: PlatformId, arn: &str) -> Result<(Topic, Released), Error> {
        let arn = arn.to_owned();
        let topic = self.write(move |write| pin(write, platform, &arn)).await?;
        let released = self.end_waiting(topic.id).await?.released;
        Ok((topic, released))
    }

    /// Where a pending topic's subscription is confirmed.
    pub async fn subscribe_url(&self, id: TopicId) -> Result<Option<SecretString>, Error> {
        let secrets = self.secrets.clone();
        self.read(move |connection| {
            let sealed: Option<Option<String>> = sql(SUBSCRIBE_URL).bind(id).value(connection)?;
            let sealed = sealed.ok_or(Error::Missing { what: "topic" })?;
            sealed.map(|sealed| secrets.open("topics", &id.to_string(), &sealed)).transpose()
        })
        .await
    }

    /// Lets a pending topic send and releases what waited for it: the newest row of each purchase.
    ///
    /// # Errors
    /// [`Error::Conflict`] when it is not pending, or not any more.
    pub async fn approve_topic(&self, id: TopicId) -> Result<Released, Error> {
        self.write(move |write| decide(write, id, TopicState::Pending, TopicState::Confirmed)).await?;
        Ok(self.end_waiting(id).await?.released)
    }

    /// Refuses a topic that was `seen` in a state, and what waited for it; answers how many rows that ended.
    ///
    /// # Errors
    /// [`Error::Conflict`] when it is in another state by now, or rejected already.
    pub async fn reject_topic(&self, id: TopicId, seen: TopicState) -> Result<i64, Error> {
        self.write(move |write| decide(write, id, seen, TopicState::Rejected)).await?;
        Ok(self.end_waiting(id).await?.refused)
    }

    /// Ends the pending topics whose time is over, and what still waits for a decided one; returns how many rows that
    /// refused.
    pub async fn expire_topics(&self, now: Timestamp) -> Result<i64, Error> {
        self.write(move |write| sql(EXPIRE).bind(write.now).bind(now).run(write.connection)).await?;
        self.end_all_waiting().await
    }

    /// Notes that the owner of a topic that may send ended its subscription. Another one stays as it is.
    pub async fn mark_unsubscribed(&self, platform: PlatformId, arn: &str) -> Result<(), Error> {
        let arn = arn.to_owned();
        self.write(move |write| {
            sql(UNSUBSCRIBE).bind(write.now).bind(platform).bind(arn.as_str()).run(write.connection).map(drop)
        })
        .await
    }
}

/// Names a topic in the platform's settings: its subscription is confirmed at its request. One that may send already
/// stays as it is.
///
/// # Errors
/// [`Error::Conflict`] when it is pending: its subscription is confirmed by an approval, which visits its URL.
pub fn configure(write: &mut Write<'_>, platform: PlatformId, arn: &str) -> Result<(), Error> {
    let topic = put(write, platform, arn, CONFIGURE)?;
    match topic.state {
        TopicState::Pending => Err(Error::Conflict {
            what: "topic",
            detail: format!("{arn} is pending: approve topic {} instead, which confirms its subscription", topic.id),
        }),
        _ => Ok(()),
    }
}

fn pin(write: &mut Write<'_>, platform: PlatformId, arn: &str) -> Result<Topic, Error> {
    let topic = put(write, platform, arn, CONFIRM)?;
    if topic.state == TopicState::Confirmed { Ok(topic) } else { Err(decided_otherwise(topic.state)) }
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

/// Makes a topic, or changes the state of the one there is when `upsert` allows that; what it is now.
fn put(write: &mut Write<'_>, platform: PlatformId, arn: &str, upsert: Sql) -> Result<Topic, Error> {
    sql(upsert)
        .bind(TopicId::new(random_uuid()?))
        .bind(platform)
        .bind(arn)
        .bind(write.now)
        .bind(write.now)
        .run(write.connection)?;
    by_arn(write.connection, platform, arn)?.ok_or(Error::Missing { what: "topic" })
}

const FIND: Sql = statement!("{SELECT} WHERE id = ?");

/// One topic.
fn by_id(connection: &mut AnyConnection, id: TopicId) -> Result<Topic, Error> {
    sql(FIND).bind(id).one(connection, "topic")
}

const LOCK: Sql = statement!("{SELECT} WHERE id = ? FOR UPDATE");

/// Locks a topic: nobody else decides about it or ends what waits for it until the end of the transaction.
pub fn locked(write: &mut Write<'_>, id: TopicId) -> Result<Topic, Error> {
    sql(LOCK).bind(id).one(write.connection, "topic")
}

const FIND_BY_ARN: Sql = statement!("{SELECT} WHERE platform_id = ? AND arn = ?");

fn by_arn(connection: &mut AnyConnection, platform: PlatformId, arn: &str) -> Result<Option<Topic>, Error> {
    sql(FIND_BY_ARN).bind(platform).bind(arn).first(connection)
}

const LOCK_PLATFORM: Sql =
    statement!("SELECT created_at AS value FROM platforms WHERE id = ? AND deleted_at IS NULL FOR UPDATE");

/// Locks the platform, so that two processes do not both store the fifth topic.
fn lock_platform(write: &mut Write<'_>, platform: PlatformId) -> Result<(), Error> {
    let found: Option<i64> = sql(LOCK_PLATFORM).bind(platform).value(write.connection)?;
    found.map(drop).ok_or(Error::Missing { what: "platform" })
}

const COUNT_PENDING: Sql = statement! {"
    SELECT COUNT(*) AS value
    FROM topics
    WHERE platform_id = ? AND state = 'pending'
"};

fn pending(write: &mut Write<'_>, platform: PlatformId) -> Result<i64, Error> {
    Ok(sql(COUNT_PENDING).bind(platform).value(write.connection)?.unwrap_or(0))
}

const DECIDE: Sql = statement! {"
    UPDATE topics
    SET state = ?, decided_at = ?, subscribe_url = NULL, expires_at = NULL
    WHERE id = ? AND state = ?
"};

/// Takes a decision in the state it was meant for.
fn decide(write: &mut Write<'_>, id: TopicId, from: TopicState, to: TopicState) -> Result<(), Error> {
    let now = by_id(write.connection, id)?.state;
    if from == to {
        return Err(decided_otherwise(now));
    }
    let decided = sql(DECIDE).bind(to).bind(write.now).bind(id).bind(from).run(write.connection)?;
    if decided == 0 { Err(decided_otherwise(by_id(write.connection, id)?.state)) } else { Ok(()) }
}

fn decided_otherwise(now: TopicState) -> Error {
    Error::Conflict { what: "topic", detail: format!("it is {} now", now.as_str()) }
}
