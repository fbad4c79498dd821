//! Topics that asked to send to a platform, and the rows that wait for one to be approved.

use crate::accept::fold_key;
use crate::connection::AnyConnection;
use crate::open::random_uuid;
use crate::statement::{Number, row, sql};
use crate::writer::Write;
use crate::{Error, Store};
use domain::{CollapseKey, Outcome, PlatformId, Timestamp, TopicId};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

/// How far a topic is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TopicState {
    /// Named in the platform's settings: its subscription may be confirmed at once.
    Configured,
    /// It asked, and nobody has decided yet.
    Pending,
    /// It may send.
    Confirmed,
    /// An admin refused it.
    Rejected,
    /// Nobody decided in time.
    Expired,
    /// Its owner ended the subscription.
    Unsubscribed,
}

/// A topic of a platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topic {
    /// Its id.
    pub id: TopicId,
    /// Whom it wants to send to.
    pub platform_id: PlatformId,
    /// Its name at the store.
    pub arn: String,
    /// How far it is trusted.
    pub state: TopicState,
    /// When it asked first.
    pub asked_at: Timestamp,
    /// When its present state was decided.
    pub decided_at: Option<Timestamp>,
}

/// What became of a topic that asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// It is pending now.
    New,
    /// It was pending already, or is decided; a pending one has the newer URL now.
    Renewed,
    /// Too many are pending on this platform; it was not kept.
    Full,
}

/// So many topics of one platform may wait for a decision at the same time.
const PENDING_PER_PLATFORM: i64 = 5;

impl TopicState {
    const ALL: [Self; 6] =
        [Self::Configured, Self::Pending, Self::Confirmed, Self::Rejected, Self::Expired, Self::Unsubscribed];

    /// The word used in storage and the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Configured => "configured",
            Self::Pending => "pending",
            Self::Confirmed => "confirmed",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::Unsubscribed => "unsubscribed",
        }
    }
}

row! {
    struct TopicRow {
        id: TopicId,
        platform_id: PlatformId,
        arn: String,
        state: String,
        subscribe_url: Option<String>,
        asked_at: Timestamp,
        decided_at: Option<Timestamp>,
    }
}

row! {
    struct WaitingRow {
        seq: i64,
        collapse_key: Option<CollapseKey>,
        said: String,
        store_time: Option<Timestamp>,
    }
}

const SELECT: &str = "SELECT id, platform_id, arn, state, subscribe_url, asked_at, decided_at FROM topics";

impl TopicRow {
    fn topic(self) -> Result<Topic, Error> {
        let state = TopicState::ALL.into_iter().find(|state| state.as_str() == self.state);
        Ok(Topic {
            state: state.ok_or_else(|| Error::corrupt(format!("topic {} has the state `{}`", self.id, self.state)))?,
            id: self.id,
            platform_id: self.platform_id,
            arn: self.arn,
            asked_at: self.asked_at,
            decided_at: self.decided_at,
        })
    }
}

impl Store {
    /// The topics of a platform, the oldest first.
    pub async fn topics(&self, platform: PlatformId) -> Result<Vec<Topic>, Error> {
        self.read(move |connection| {
            let rows: Vec<TopicRow> =
                sql(format!("{SELECT} WHERE platform_id = ? ORDER BY asked_at, id")).bind(platform).all(connection)?;
            rows.into_iter().map(TopicRow::topic).collect()
        })
        .await
    }

    /// One topic.
    pub async fn topic(&self, id: TopicId) -> Result<Topic, Error> {
        self.read(move |connection| by_id(connection, id)?.topic()).await
    }

    /// Keeps a topic that asked, until an admin decides or `expires_at`. At most five per platform
    /// are pending. A topic that was decided stays as it is, unless its time was over or its owner had left.
    #[expect(clippy::too_many_arguments, reason = "four words that read well at the call, and the store")]
    pub async fn keep_pending(
        &self,
        platform: PlatformId,
        arn: &str,
        subscribe_url: SecretString,
        expires_at: Timestamp,
    ) -> Result<Kept, Error> {
        let (new_id, arn, secrets) = (TopicId::new(random_uuid()?), arn.to_owned(), self.secrets.clone());
        self.write(move |write| {
            lock_platform(write, platform)?;
            let known = by_arn(write.connection, platform, &arn)?.map(TopicRow::topic).transpose()?;
            let id = known.as_ref().map_or(new_id, |topic| topic.id);
            let state = known.map(|topic| topic.state);
            match state {
                Some(TopicState::Configured | TopicState::Confirmed | TopicState::Rejected) => {
                    return Ok(Kept::Renewed);
                }
                Some(TopicState::Pending) => {}
                _ if pending(write, platform)? >= PENDING_PER_PLATFORM => return Ok(Kept::Full),
                Some(TopicState::Expired | TopicState::Unsubscribed) | None => {}
            }
            let sealed = secrets.seal("topics", &id.to_string(), &subscribe_url)?;
            sql("INSERT INTO topics (id, platform_id, arn, state, subscribe_url, asked_at, expires_at) \
                 VALUES (?, ?, ?, 'pending', ?, ?, ?) ON CONFLICT (platform_id, arn) DO UPDATE SET \
                 state = 'pending', subscribe_url = excluded.subscribe_url, expires_at = excluded.expires_at, \
                 decided_at = NULL")
            .bind(id)
            .bind(platform)
            .bind(arn.as_str())
            .bind(sealed)
            .bind(write.now)
            .bind(expires_at)
            .run(write.connection)?;
            Ok(if state == Some(TopicState::Pending) { Kept::Renewed } else { Kept::New })
        })
        .await
    }

    /// Makes a topic one that may send, forgets its subscribe URL and releases what waited for it.
    pub async fn pin_topic(&self, platform: PlatformId, arn: &str) -> Result<Topic, Error> {
        let arn = arn.to_owned();
        self.write(move |write| {
            let id = put(write, platform, &arn, TopicState::Confirmed)?;
            release(write, id)?;
            by_id(write.connection, id)?.topic()
        })
        .await
    }

    /// Where a pending topic's subscription is confirmed.
    pub async fn subscribe_url(&self, id: TopicId) -> Result<Option<SecretString>, Error> {
        let secrets = self.secrets.clone();
        self.read(move |connection| {
            let sealed = by_id(connection, id)?.subscribe_url;
            sealed.map(|sealed| secrets.open("topics", &id.to_string(), &sealed)).transpose()
        })
        .await
    }

    /// Lets a topic send and releases what waited for it: the newest row of each purchase.
    pub async fn approve_topic(&self, id: TopicId) -> Result<Vec<(CollapseKey, i64)>, Error> {
        self.write(move |write| {
            decide(write, id, TopicState::Confirmed)?;
            release(write, id)
        })
        .await
    }

    /// Refuses a topic and what waited for it; answers how many rows that ended.
    pub async fn reject_topic(&self, id: TopicId) -> Result<i64, Error> {
        self.write(move |write| {
            decide(write, id, TopicState::Rejected)?;
            refuse(write, id, "its topic was rejected")
        })
        .await
    }

    /// Ends the pending topics whose time is over, and what still waits for a decided one; answers how many rows that ended.
    pub async fn expire_topics(&self, now: Timestamp) -> Result<i64, Error> {
        self.write(move |write| {
            let over: Vec<TopicRow> =
                sql(format!("{SELECT} WHERE state = 'pending' AND expires_at <= ?")).bind(now).all(write.connection)?;
            let mut ended = 0;
            for topic in over {
                decide(write, topic.id, TopicState::Expired)?;
                ended += refuse(write, topic.id, "nobody approved its topic in time")?;
            }
            Ok(ended + end_latecomers(write)?)
        })
        .await
    }

    /// Notes that the owner of a topic ended its subscription. What waited for approval is refused.
    pub async fn mark_unsubscribed(&self, platform: PlatformId, arn: &str) -> Result<(), Error> {
        let arn = arn.to_owned();
        self.write(move |write| {
            let Some(topic) = by_arn(write.connection, platform, &arn)? else { return Ok(()) };
            decide(write, topic.id, TopicState::Unsubscribed)?;
            refuse(write, topic.id, "its topic ended the subscription").map(drop)
        })
        .await
    }
}

/// Makes a topic, or changes the state of the one there is; its id.
pub fn put(write: &mut Write<'_>, platform: PlatformId, arn: &str, state: TopicState) -> Result<TopicId, Error> {
    sql("INSERT INTO topics (id, platform_id, arn, state, asked_at, decided_at) VALUES (?, ?, ?, ?, ?, ?) \
         ON CONFLICT (platform_id, arn) DO UPDATE SET state = excluded.state, decided_at = excluded.decided_at, \
         subscribe_url = NULL, expires_at = NULL")
    .bind(TopicId::new(random_uuid()?))
    .bind(platform)
    .bind(arn)
    .bind(state.as_str())
    .bind(write.now)
    .bind(write.now)
    .run(write.connection)?;
    by_arn(write.connection, platform, arn)?.map(|row| row.id).ok_or(Error::Missing { what: "topic" })
}

fn by_id(connection: &mut AnyConnection, id: TopicId) -> Result<TopicRow, Error> {
    sql(format!("{SELECT} WHERE id = ?")).bind(id).first(connection)?.ok_or(Error::Missing { what: "topic" })
}

fn by_arn(connection: &mut AnyConnection, platform: PlatformId, arn: &str) -> Result<Option<TopicRow>, Error> {
    sql(format!("{SELECT} WHERE platform_id = ? AND arn = ?")).bind(platform).bind(arn).first(connection)
}

/// So that two processes do not both keep the fifth topic.
fn lock_platform(write: &mut Write<'_>, platform: PlatformId) -> Result<(), Error> {
    let lock = write.connection.for_update();
    let text = format!("SELECT created_at AS value FROM platforms WHERE id = ? AND deleted_at IS NULL{lock}");
    let found: Option<Number> = sql(text).bind(platform).first(write.connection)?;
    found.map(drop).ok_or(Error::Missing { what: "platform" })
}

fn pending(write: &mut Write<'_>, platform: PlatformId) -> Result<i64, Error> {
    let count: Option<Number> = sql("SELECT COUNT(*) AS value FROM topics WHERE platform_id = ? AND state = 'pending'")
        .bind(platform)
        .first(write.connection)?;
    Ok(count.map_or(0, |count| count.value))
}

fn decide(write: &mut Write<'_>, id: TopicId, state: TopicState) -> Result<(), Error> {
    let decided =
        sql("UPDATE topics SET state = ?, decided_at = ?, subscribe_url = NULL, expires_at = NULL WHERE id = ?")
            .bind(state.as_str())
            .bind(write.now)
            .bind(id)
            .run(write.connection)?;
    if decided == 0 { Err(Error::Missing { what: "topic" }) } else { Ok(()) }
}

fn refuse(write: &mut Write<'_>, id: TopicId, reason: &str) -> Result<i64, Error> {
    let refused = sql("UPDATE notifications SET outcome = ?, reason = ?, ended_at = ? \
         WHERE waiting_topic_id = ? AND waiting_topic_id IS NOT NULL AND outcome IS NULL")
    .bind(Outcome::Refused)
    .bind(reason)
    .bind(write.now)
    .bind(id)
    .run(write.connection)?;
    Ok(i64::try_from(refused).unwrap_or(i64::MAX))
}

/// Rows that were accepted to wait for a topic at the moment when it was decided.
fn end_latecomers(write: &mut Write<'_>) -> Result<i64, Error> {
    let decided: Vec<TopicRow> = sql(format!(
        "{SELECT} WHERE state <> 'pending' AND EXISTS (SELECT 1 FROM notifications n \
         WHERE n.waiting_topic_id = topics.id AND n.waiting_topic_id IS NOT NULL AND n.outcome IS NULL)"
    ))
    .all(write.connection)?;
    let mut ended = 0;
    for topic in decided {
        let topic = topic.topic()?;
        if matches!(topic.state, TopicState::Configured | TopicState::Confirmed) {
            release(write, topic.id)?;
        } else {
            ended += refuse(write, topic.id, "its topic may not send")?;
        }
    }
    Ok(ended)
}

/// Opens what waited for a topic, unless another message told the same in the meantime.
fn release(write: &mut Write<'_>, id: TopicId) -> Result<Vec<(CollapseKey, i64)>, Error> {
    let waiting: Vec<WaitingRow> = sql("SELECT seq, collapse_key, said, store_time FROM notifications \
         WHERE waiting_topic_id = ? AND waiting_topic_id IS NOT NULL AND outcome IS NULL ORDER BY seq")
    .bind(id)
    .all(write.connection)?;
    let mut newest = std::collections::BTreeMap::new();
    for row in waiting {
        let Some(key) = row.collapse_key else {
            end(write, row.seq, Outcome::Unknown, "it names no purchase")?;
            continue;
        };
        let fold_key = fold_key(&row.said, row.store_time);
        let first: Option<Number> =
            sql("SELECT seq AS value FROM notifications WHERE collapse_key = ? AND fold_key = ?")
                .bind(key)
                .bind(fold_key.as_deref())
                .first(write.connection)?;
        if first.is_some() {
            end(write, row.seq, Outcome::Duplicate, "another message told it first")?;
            continue;
        }
        sql("UPDATE notifications SET waiting_topic_id = NULL, fold_key = ? WHERE seq = ?")
            .bind(fold_key)
            .bind(row.seq)
            .run(write.connection)?;
        newest.insert(key, row.seq);
    }
    Ok(newest.into_iter().collect())
}

fn end(write: &mut Write<'_>, seq: i64, outcome: Outcome, reason: &str) -> Result<(), Error> {
    sql("UPDATE notifications SET outcome = ?, reason = ?, ended_at = ? WHERE seq = ?")
        .bind(outcome)
        .bind(reason)
        .bind(write.now)
        .bind(seq)
        .run(write.connection)
        .map(drop)
}
