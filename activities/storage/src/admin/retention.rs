//! Retention: removes bodies and attempts that are older than the operator's limit. The ledger stays forever:
//! notifications, events and deliveries without their bodies.
//!
//! The body of a notification is removed when it is settled, and that of a delivery when it ends, because nothing reads
//! them any more. So this module only has to remove the bodies of notifications that ended without being settled, the
//! attempts of deliveries, and the bodies of events.
//!
//! Partial indexes contain only the rows that are not pruned, so that no call reads a pruned row again. The indexes of
//! notifications and deliveries contain only ended rows, in order of their ends, so every old row in them can be
//! pruned. An old event may still be needed: each call checks the next events, in order of their sequence numbers, and
//! starts again from the beginning after the last one.

use crate::store::Store;
use db::error::Error;
use db::sql::{Sql, insert, statement};
use db::statement::{row, sql};
use db::writer::Write;
use domain::Timestamp;
use serde_json::json;

/// Number of bodies that are removed in one transaction.
const BATCH: usize = 200;

/// The condition that no pending or waiting delivery needs the event `e`: neither a delivery of the event itself nor,
/// for a `purchase.updated`, one of the same revision. The conditions are subqueries that return a value instead of
/// `NOT EXISTS`, for which a planner would read all pending deliveries.
const UNNEEDED: &str = "
    (SELECT 1 FROM deliveries d WHERE d.event_id = e.id AND d.status IN ('pending', 'waiting') LIMIT 1) IS NULL
        AND (e.event_type <> 'purchase.updated' OR (SELECT 1 FROM deliveries d
            WHERE d.collapse_key = e.collapse_key AND d.revision = e.revision AND d.status IN ('pending',
            'waiting') LIMIT 1) IS NULL)";

row! {
    struct Candidate {
        seq: i64,
        at: Timestamp,
        is_spent: bool,
    }
}

row! {
    struct EventBody {
        seq: i64,
        body: String,
    }
}

/// Removes the bodies of these rows. Repeats the conditions that may have changed since the rows were selected.
type Remove = fn(&mut Write<'_>, &[i64]) -> Result<usize, Error>;

/// Skips open notifications, whose bodies are needed for their settling.
const SPENT_NOTIFICATIONS: Sql = statement! {hot "notifications_unpruned", "
    SELECT seq AS value
    FROM notifications
    WHERE body <> '{{}}' AND outcome IS NOT NULL AND finished_at < ?
    ORDER BY finished_at
    LIMIT ?
"};

/// A delivery that has ended has no further attempts: a redelivery is a new delivery.
const SPENT_DELIVERIES: Sql = statement! {hot "deliveries_unpruned", "
    SELECT seq AS value
    FROM deliveries
    WHERE pruned_at IS NULL AND finished_at < ?
    ORDER BY finished_at
    LIMIT ?
"};

/// Keeps the bodies that are still needed: a delivery is rendered from its event and from the `purchase.updated` of the
/// same revision, and the API shows the latest `purchase.updated` of each purchase.
const NEXT_EVENTS: Sql = statement! {hot "events_unpruned", "
    SELECT e.seq, e.created_at AS at,
        (e.created_at < ? AND {UNNEEDED}
            AND (e.event_type <> 'purchase.updated' OR EXISTS (SELECT 1 FROM events m
                WHERE m.collapse_key = e.collapse_key AND m.event_type = 'purchase.updated' AND m.seq > e.seq))
        ) AS is_spent
    FROM events e
    WHERE e.pruned_at IS NULL AND e.seq > ?
    ORDER BY e.seq
    LIMIT ?
"};

impl Store {
    /// Prunes what is older than `before`, at most `limit` rows of each table. Removes the bodies of notifications and
    /// the attempts of deliveries that ended before it, and the bodies of events that were recorded before it; only the
    /// next `limit` events are checked. Open notifications, pending deliveries with their events, and the latest
    /// `purchase.updated` of a purchase are kept unchanged. Returns the number of pruned rows.
    pub async fn prune(&self, before: Timestamp, limit: i64) -> Result<usize, Error> {
        let spent = move |which: Sql| {
            self.read(move |connection| {
                sql(which)
                    .bind(before)
                    .bind(limit)
                    .values::<i64>(connection)
            })
        };
        let mut pruned = self
            .remove(spent(SPENT_NOTIFICATIONS).await?, remove_notifications)
            .await?;
        pruned += self.prune_events(before, limit).await?;
        pruned += self
            .remove(spent(SPENT_DELIVERIES).await?, remove_deliveries)
            .await?;
        Ok(pruned)
    }

    async fn prune_events(&self, before: Timestamp, limit: i64) -> Result<usize, Error> {
        let (from, rows) = self
            .read(move |connection| {
                let from = sql(THROUGH).value(connection)?.unwrap_or(0);
                let rows: Vec<Candidate> = sql(NEXT_EVENTS)
                    .bind((before, from, limit))
                    .all(connection)?;
                Ok((from, rows))
            })
            .await?;
        let is_end = i64::try_from(rows.len()).is_ok_and(|count| count < limit);
        let is_young = rows.last().is_some_and(|last| last.at >= before);
        let through = if is_end || is_young {
            0
        } else {
            rows.last().map_or(0, |last| last.seq)
        };
        let spent = rows
            .into_iter()
            .filter(|row| row.is_spent)
            .map(|row| row.seq)
            .collect();
        let pruned = self.remove(spent, remove_events).await?;
        if through != from {
            self.write(move |write| {
                insert!(
                    retention { id: 1_i64, through },
                    "ON CONFLICT (id)
                DO UPDATE SET through = excluded.through"
                )
                .run(write.connection)
            })
            .await?;
        }
        Ok(pruned)
    }

    async fn remove(&self, seqs: Vec<i64>, remove: Remove) -> Result<usize, Error> {
        let mut removed = 0;
        for batch in seqs.chunks(BATCH) {
            let batch = batch.to_vec();
            removed += self.write(move |write| remove(write, &batch)).await?;
        }
        Ok(removed)
    }
}

const THROUGH: Sql = statement!("SELECT through AS value FROM retention");

const REDUCE_NOTIFICATIONS: Sql = statement! {"
    UPDATE notifications
    SET body = '{{}}', pruned_at = ?
    WHERE seq IN (?*) AND outcome IS NOT NULL
"};

fn remove_notifications(write: &mut Write<'_>, seqs: &[i64]) -> Result<usize, Error> {
    sql(REDUCE_NOTIFICATIONS)
        .uncached()
        .bind(write.now()?)
        .bind_list(seqs.iter().copied())
        .run(write.connection)
}

const LOCK_EVENTS: Sql =
    statement!("SELECT seq, body FROM events WHERE seq IN (?*) ORDER BY seq FOR UPDATE");

const REDUCE_EVENT: Sql = statement! {"
    UPDATE events AS e
    SET body = ?, state_apart = NULL, profile = NULL, views = NULL, traceparent = NULL, pruned_at = ?
    WHERE e.seq = ? AND {UNNEEDED}
"};

/// Reduces the bodies of events, after locking them. A redelivery locks its event too and then checks that the body is
/// still there, so no delivery of an event is recorded while its body is removed.
fn remove_events(write: &mut Write<'_>, seqs: &[i64]) -> Result<usize, Error> {
    let events: Vec<EventBody> = sql(LOCK_EVENTS)
        .uncached()
        .bind_list(seqs.iter().copied())
        .all(write.connection)?;
    let mut removed = 0;
    for event in events {
        removed += sql(REDUCE_EVENT)
            .bind((reduced(&event.body), write.now()?, event.seq))
            .run(write.connection)?;
    }
    Ok(removed)
}

/// Reduces an event's body to the fields that the consistency check and receivers need: `coalesced` and `state_digest`.
fn reduced(body: &str) -> String {
    let body: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    match body.get("attributes") {
        Some(attributes) => json!({ "attributes": {
            "coalesced": attributes["coalesced"], "state_digest": attributes["state_digest"],
        }}),
        None => json!({}),
    }
    .to_string()
}

/// Removes the attempts that no later decision needs. Two kinds stay, without their responses: attempts of an
/// undelivered delivery to a destination with `per_user`, which must not receive an event twice, and a successful
/// attempt whose delivery ended with another status, because the lane acknowledged it.
const REMOVE_ATTEMPTS: Sql = statement! {"
    DELETE FROM attempts
    WHERE delivery_id IN (SELECT d.id FROM deliveries d JOIN destinations x ON x.id = d.destination_id
            WHERE d.seq IN (?*) AND d.finished_at IS NOT NULL AND (d.status = 'delivered' OR NOT x.per_user))
        AND (COALESCE(class, '') <> 'success' OR EXISTS (SELECT 1 FROM deliveries d
            WHERE d.id = attempts.delivery_id AND d.status = 'delivered'))
"};
const REDUCE_ATTEMPTS: Sql = statement! {"
    UPDATE attempts
    SET headers = NULL, response = NULL
    WHERE delivery_id IN (SELECT id FROM deliveries WHERE seq IN (?*) AND finished_at IS NOT NULL)
"};
const REDUCE_DELIVERIES: Sql = statement! {"
    UPDATE deliveries
    SET pruned_at = ?
    WHERE seq IN (?*) AND finished_at IS NOT NULL
"};

fn remove_deliveries(write: &mut Write<'_>, seqs: &[i64]) -> Result<usize, Error> {
    sql(REMOVE_ATTEMPTS)
        .uncached()
        .bind_list(seqs.iter().copied())
        .run(write.connection)?;
    sql(REDUCE_ATTEMPTS)
        .uncached()
        .bind_list(seqs.iter().copied())
        .run(write.connection)?;
    sql(REDUCE_DELIVERIES)
        .uncached()
        .bind(write.now()?)
        .bind_list(seqs.iter().copied())
        .run(write.connection)
}

#[cfg(test)]
mod tests {
    use super::reduced;

    #[test]
    fn of_a_body_stays_what_it_counts_and_what_proves_it() {
        let body =
            r#"{"attributes":{"coalesced":3,"state_digest":"ab","app_id":"x"},"data":{"a":1}}"#;
        assert_eq!(
            reduced(body),
            r#"{"attributes":{"coalesced":3,"state_digest":"ab"}}"#
        );
        assert_eq!(
            reduced(r#"{"event":"user.subscription.renewed","user":"x"}"#),
            "{}"
        );
    }
}
