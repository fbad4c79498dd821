//! Changes of one purchase by an admin: hold it, release it, discard its open notifications.

use crate::db::error::Error;
use crate::db::sql::{Sql, statement};
use crate::db::statement::sql;
use crate::db::store::Store;
use crate::inbox::notifications;
use crate::purchases::purchase;
use domain::{CollapseKey, Outcome, Timestamp};

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
    WHERE collapse_key = ? AND seq <= ? AND outcome IS NULL AND waiting_topic_id IS NULL
"};

impl Store {
    /// Holds a purchase: its notifications are not settled until a time. Sets its count of failed queries back to 0.
    #[expect(clippy::too_many_arguments, reason = "four arguments that read well at the call, and the store")]
    pub async fn hold(&self, key: CollapseKey, until: Timestamp, by: &str, reason: &str) -> Result<(), Error> {
        let (by, reason) = (by.to_owned(), reason.to_owned());
        self.write(move |write| {
            purchase::lock(write, key)?;
            purchase::reset_failures(write, purchase::OF_KEY, [key.into()])?;
            sql(HOLD).bind(until).bind(by.as_str()).bind(reason.as_str()).bind(key).run(write.connection)?;
            notifications::sweep_anew(write, key)
        })
        .await
    }

    /// Ends the hold of a purchase. Sets its count of failed queries back to 0, also without a hold.
    pub async fn release(&self, key: CollapseKey) -> Result<(), Error> {
        self.write(move |write| {
            purchase::reset_failures(write, purchase::OF_KEY, [key.into()])?;
            sql(RELEASE).bind(key).run(write.connection)?;
            notifications::sweep_anew(write, key)
        })
        .await
    }

    /// Ends the open notifications of a purchase as `discarded`, all or up to a sequence number. Those that wait for
    /// the approval of their topic stay open. Returns the number of discarded ones.
    #[expect(clippy::too_many_arguments, reason = "four arguments that read well at the call, and the store")]
    pub async fn discard(&self, key: CollapseKey, through: Option<i64>, by: &str, reason: &str) -> Result<i64, Error> {
        let why = format!("{by}: {reason}");
        self.write(move |write| {
            purchase::lock(write, key)?;
            let discarded = sql(DISCARD)
                .bind(Outcome::Discarded)
                .bind(why.as_str())
                .bind(write.now)
                .bind(key)
                .bind(through.unwrap_or(i64::MAX))
                .run(write.connection)?;
            Ok(i64::try_from(discarded).unwrap_or(i64::MAX))
        })
        .await
    }
}
