//! Changes of one purchase by an admin: hold it, release it, discard its open notifications.

use crate::inbox::notifications;
use crate::purchases::cause::{self, CauseKind};
use crate::purchases::purchase;
use crate::store::Store;
use db::audit_log::AuditEntry;
use db::error::Error;
use db::partial::OPEN_OF_KEY;
use db::sql::{Sql, statement};
use db::statement::sql;
use db::writer::Write;
use domain::{AppId, CollapseKey, Outcome, Timestamp};
use serde_json::{Value, json};

const HOLD: Sql = statement! {"
    UPDATE purchases
    SET held_until = ?, held_by = ?, held_reason = ?, woken_for = NULL
    WHERE collapse_key = ?
"};

const RELEASE: Sql = statement! {"
    UPDATE purchases
    SET held_until = NULL, held_by = NULL, held_reason = NULL, woken_for = NULL
    WHERE collapse_key = ?
"};

const DISCARD: Sql = statement! {"
    UPDATE notifications
    SET outcome = ?, reason = ?, finished_at = ?
    WHERE collapse_key = ? AND seq + 0 <= ? AND {OPEN_OF_KEY} AND waiting_topic_id IS NULL
"};

impl Store {
    /// Holds a purchase: its notifications are not settled until the given time. Resets its count of failed queries to
    /// 0.
    pub async fn hold(
        &self,
        key: CollapseKey,
        until: Timestamp,
        by: &str,
        reason: &str,
    ) -> Result<(), Error> {
        let (by, reason) = (by.to_owned(), reason.to_owned());
        self.change("purchase.hold", move |write| {
            let before = held(write, key)?;
            purchase::lock(write, key)?;
            purchase::reset_failures(write, purchase::OF_KEY, [key.into()])?;
            sql(HOLD)
                .bind((until, by.as_str(), reason.as_str(), key))
                .run(write.connection)?;
            notifications::sweep_anew(write, key)?;
            Ok(((), Some(entry(write, key, before)?)))
        })
        .await
    }

    /// Ends the hold of a purchase, if there is one. Always resets its count of failed queries to 0.
    pub async fn release(&self, key: CollapseKey) -> Result<(), Error> {
        self.change("purchase.release", move |write| {
            let before = held(write, key)?;
            purchase::reset_failures(write, purchase::OF_KEY, [key.into()])?;
            sql(RELEASE).bind(key).run(write.connection)?;
            notifications::sweep_anew(write, key)?;
            Ok(((), Some(entry(write, key, before)?)))
        })
        .await
    }

    /// Records an admin's request to settle a purchase now, as a cause of the settling that follows.
    pub async fn note_flush(&self, app: Option<AppId>, key: CollapseKey) -> Result<(), Error> {
        self.change("purchase.flush", move |write| {
            cause::note(write, key, CauseKind::Flush)?;
            Ok(((), Some(AuditEntry::on(app, key))))
        })
        .await
    }

    /// Ends the open notifications of a purchase as `discarded`, all or up to a sequence number. Those that wait for
    /// the approval of their topic stay open. Returns the number of discarded ones.
    pub async fn discard(
        &self,
        key: CollapseKey,
        through: Option<i64>,
        by: &str,
        reason: &str,
    ) -> Result<i64, Error> {
        let why = format!("{by}: {reason}");
        self.change("purchase.discard", move |write| {
            purchase::lock(write, key)?;
            let discarded = sql(DISCARD)
                .bind((
                    Outcome::Discarded,
                    why.as_str(),
                    write.now()?,
                    key,
                    through.unwrap_or(i64::MAX),
                ))
                .run(write.connection)?;
            let app: Option<AppId> = sql(APP).bind(key).value(write.connection)?;
            let entry = AuditEntry::on(app, key)
                .after(json!({ "discarded": discarded, "through": through }));
            Ok((i64::try_from(discarded).unwrap_or(i64::MAX), Some(entry)))
        })
        .await
    }
}

const APP: Sql = statement!("SELECT app_id AS value FROM purchases WHERE collapse_key = ?");

const HELD: Sql = statement!("SELECT held_until AS value FROM purchases WHERE collapse_key = ?");

/// Returns until when a purchase is held, for its audit entry.
fn held(write: &mut Write<'_>, key: CollapseKey) -> Result<Value, Error> {
    let until: Option<Option<Timestamp>> = sql(HELD).bind(key).value(write.connection)?;
    Ok(json!({ "held_until": until.flatten() }))
}

/// Builds the audit entry of a hold or its end.
fn entry(write: &mut Write<'_>, key: CollapseKey, before: Value) -> Result<AuditEntry, Error> {
    let app: Option<AppId> = sql(APP).bind(key).value(write.connection)?;
    Ok(AuditEntry::on(app, key)
        .before(before)
        .after(held(write, key)?))
}
