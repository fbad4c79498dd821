//! The notifications that wait for a topic's approval, and what a decision does to them.
//!
//! They are released or refused in pages, so that accepting never waits for a long transaction. A process that dies
//! between two pages leaves the rest to the sweep.

use crate::inbox::accept::{duplicate_key, first_message};
use crate::inbox::acceptances;
use crate::inbox::topics::{self, Released, Topic, TopicState};
use crate::purchases::replacements;
use crate::store::Store;
use db::error::Error;
use db::partial::{OPEN_BY_KEY, OPEN_OF_TOPIC};
use db::sql::{Sql, statement};
use db::statement::{row, sql};
use db::writer::Write;
use domain::{CollapseKey, Outcome, PlatformId, Timestamp, TopicId};
use std::collections::BTreeMap;

/// The notifications that waited for a topic and were released or refused.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WaitingResult {
    /// The purchases that may be settled now.
    pub released: Released,
    pub refused: i64,
}

/// Maximum number of notifications per transaction. Each takes two statements under the topic's lock; with this
/// maximum, three other processes wait less than the lock timeout, even while the database is many times slower than
/// usual.
const PAGE: usize = 100;
/// Maximum number of notifications that wait for one topic.
const MAX_WAITING: i64 = 2000;
/// Maximum number of notifications of a platform that were refused with their topic; the oldest ones are removed.
const MAX_REFUSED: i64 = 1000;

row! {
    struct WaitingRow {
        seq: i64,
        collapse_key: Option<CollapseKey>,
        store_type: String,
        store_time: Option<Timestamp>,
        platform_id: PlatformId,
        body: String,
    }
}

/// The notifications that one transaction released or ended.
struct PageResult {
    rows: usize,
    released: BTreeMap<CollapseKey, i64>,
    refused: usize,
}

const LAST_OF_FULL: Sql = statement! {"
    SELECT seq AS value
    FROM notifications
    WHERE waiting_topic_id = ? AND waiting_topic_id IS NOT NULL AND {OPEN_OF_TOPIC}
    ORDER BY seq
    LIMIT 1 OFFSET ?
"};

impl Store {
    /// Applies the decision about a topic to the notifications that wait for it. Does nothing while it is pending.
    pub async fn end_waiting(&self, id: TopicId) -> Result<WaitingResult, Error> {
        let (mut released, mut refused) = (BTreeMap::new(), 0_i64);
        loop {
            let page = self.write(move |write| end_page(write, id)).await?;
            released.extend(page.released);
            refused = refused.saturating_add(i64::try_from(page.refused).unwrap_or(i64::MAX));
            if page.rows < PAGE {
                return Ok(WaitingResult {
                    released: released.into_iter().collect(),
                    refused,
                });
            }
        }
    }

    /// Returns whether a topic has the maximum number of waiting notifications.
    pub async fn is_full(&self, id: TopicId) -> Result<bool, Error> {
        self.read_for_ingress(move |connection| {
            let last: Option<i64> = sql(LAST_OF_FULL)
                .bind(id)
                .bind(MAX_WAITING - 1)
                .value(connection)?;
            Ok(last.is_some())
        })
        .await
    }

    /// Releases or refuses the notifications that still wait for a decided topic: those that were accepted at the
    /// moment of the decision, and those that a process left when it died. Returns how many were refused.
    pub(crate) async fn end_all_waiting(&self) -> Result<i64, Error> {
        let decided: Vec<TopicId> = self
            .read(|connection| sql(DECIDED).values(connection))
            .await?;
        let mut refused = 0_i64;
        for topic in decided {
            refused = refused.saturating_add(self.end_waiting(topic).await?.refused);
        }
        Ok(refused)
    }
}

const DECIDED: Sql = statement! {"
    SELECT id AS value
    FROM topics
    WHERE state <> 'pending' AND (SELECT 1 FROM notifications
        WHERE waiting_topic_id = topics.id AND waiting_topic_id IS NOT NULL AND {OPEN_OF_TOPIC} LIMIT 1) IS NOT NULL
"};

/// Releases or refuses one page. The topic is locked before its rows are read, so that two processes never take the
/// same rows: the second would find the row that the first released, and call it a duplicate of itself.
fn end_page(write: &mut Write<'_>, id: TopicId) -> Result<PageResult, Error> {
    let topic = topics::locked(write, id)?;
    match topic.state {
        TopicState::Pending => Ok(PageResult {
            rows: 0,
            released: BTreeMap::new(),
            refused: 0,
        }),
        TopicState::Rejected => refuse(write, &topic, "its topic was rejected"),
        TopicState::Expired => refuse(write, &topic, "nobody approved its topic in time"),
        // An unsubscribed topic was trusted before, and its notifications still count.
        TopicState::Configured | TopicState::Confirmed | TopicState::Unsubscribed => {
            release(write, id)
        }
    }
}

const REFUSE_BATCH: Sql = statement! {"
    UPDATE notifications
    SET outcome = ?, reason = ?, finished_at = ?, body = '{{}}'
    WHERE seq IN (SELECT seq FROM notifications WHERE waiting_topic_id = ?
        AND waiting_topic_id IS NOT NULL AND {OPEN_OF_TOPIC} ORDER BY seq LIMIT {PAGE})
"};

fn refuse(write: &mut Write<'_>, topic: &Topic, reason: &str) -> Result<PageResult, Error> {
    let refused = sql(REFUSE_BATCH)
        .bind((Outcome::Refused, reason, write.now()?, topic.id))
        .run(write.connection)?;
    if refused > 0 {
        remove_surplus(write, topic.platform_id)?;
    }
    Ok(PageResult {
        rows: refused,
        released: BTreeMap::new(),
        refused,
    })
}

const SURPLUS: Sql = statement! {hot "notifications_distrusted", "
    SELECT seq AS value
    FROM notifications
    WHERE platform_id = ? AND waiting_topic_id IS NOT NULL AND outcome = 'refused'
    ORDER BY seq DESC
    LIMIT {PAGE} OFFSET {MAX_REFUSED}
"};
const REMOVE: Sql = statement!("DELETE FROM notifications WHERE seq IN (?*)");

/// Removes the notifications that were refused with their topic beyond the newest [`MAX_REFUSED`] of a platform, and
/// the record that they were accepted: they came from an unapproved topic.
fn remove_surplus(write: &mut Write<'_>, platform: PlatformId) -> Result<(), Error> {
    let mut surplus: Vec<i64> = sql(SURPLUS).bind(platform).values(write.connection)?;
    if surplus.is_empty() {
        return Ok(());
    }
    surplus.sort_unstable();
    acceptances::remove(write, &surplus)?;
    sql(REMOVE)
        .uncached()
        .bind_list(surplus)
        .run(write.connection)
        .map(drop)
}

const WAITING_BATCH: Sql = statement! {"
    SELECT seq, collapse_key, store_type, store_time, platform_id, body
    FROM notifications
    WHERE waiting_topic_id = ? AND waiting_topic_id IS NOT NULL AND {OPEN_OF_TOPIC}
    ORDER BY seq
    LIMIT {PAGE}
"};

const RELEASE: Sql =
    statement!("UPDATE notifications SET waiting_topic_id = NULL, duplicate_key = ? WHERE seq = ?");

/// Releases one page of the notifications that wait for a topic. A notification becomes a duplicate if another message
/// has reported the same fact in the meantime, and gets the outcome `unknown` if it names no purchase.
fn release(write: &mut Write<'_>, id: TopicId) -> Result<PageResult, Error> {
    let waiting: Vec<WaitingRow> = sql(WAITING_BATCH).bind(id).all(write.connection)?;
    let (rows, mut released, mut links) = (waiting.len(), BTreeMap::new(), Vec::new());
    for row in waiting {
        let Some(key) = row.collapse_key else {
            end(write, row.seq, Outcome::Unknown, "it names no purchase")?;
            continue;
        };
        // No store with topics reports orders or names facts.
        let duplicate_key = duplicate_key(&row.store_type, row.store_time, None);
        if first_message(write, Some(key), duplicate_key)?.is_some() {
            end(
                write,
                row.seq,
                Outcome::Duplicate,
                "another message reported it first",
            )?;
            continue;
        }
        sql(RELEASE)
            .bind(duplicate_key)
            .bind(row.seq)
            .run(write.connection)?;
        released.insert(key, row.seq);
        links.extend(replacements::link_in(row.platform_id, &row.body));
    }
    replacements::insert(write, links)?;
    Ok(PageResult {
        rows,
        released,
        refused: 0,
    })
}

const END: Sql = statement! {"
    UPDATE notifications
    SET outcome = ?, reason = ?, finished_at = ?
    WHERE seq = ? AND outcome {OPEN_BY_KEY}
"};

fn end(write: &mut Write<'_>, seq: i64, outcome: Outcome, reason: &str) -> Result<(), Error> {
    sql(END)
        .bind((outcome, reason, write.now()?, seq))
        .run(write.connection)
        .map(drop)
}
