//! Notifications as the API shows them, with the reason why each of them waits.

use crate::db::error::Error;
use crate::db::page::{Page, Paged};
use crate::db::sql::{Clause, Sql, clause, statement};
use crate::db::statement::{row, sql, stored};
use crate::db::store::Store;
use crate::reports::listing::Filtered;
use domain::{AppId, CollapseKey, Outcome, PlatformId, Timestamp};
use serde::Serialize;

stored! {
    /// What a notification without an outcome waits for.
    #[derive(Serialize)]
    #[serde(rename_all = "snake_case")]
    pub enum WaitingFor {
        /// The end of its window.
        Window = "window",
        /// The end of a hold by an admin.
        Hold = "hold",
        /// The approval of its topic.
        #[serde(rename = "topic approval")]
        TopicApproval = "topic approval",
        /// An answer of the store.
        Verification = "verification",
        /// A later answer of the store, which confirms what the last one does not show yet.
        Confirmation = "confirmation",
        /// A person: the store does not know the receipt.
        Parked = "parked",
    }
}

impl WaitingFor {
    /// Whether it waits for the store.
    pub const fn is_of_store(self) -> bool {
        matches!(self, Self::Verification | Self::Confirmation | Self::Parked)
    }
}

row! {
    /// A notification as the API shows it.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize)]
    pub struct NotificationView {
        /// Its sequence number.
        pub seq: i64,
        /// The store's id of the message.
        pub message_id: String,
        /// The platform that the store notified.
        pub platform_id: PlatformId,
        /// The purchase; `None` if the notification could not be read.
        pub collapse_key: Option<CollapseKey>,
        /// The store's id of the purchase.
        pub receipt_id: String,
        /// The store's own type of the notification.
        pub store_type: String,
        /// When it was accepted.
        pub accepted_at: Timestamp,
        /// Its outcome; `None` while it is open.
        pub outcome: Option<Outcome>,
        /// The reason why it is open; `None` once it has an outcome.
        pub waiting_for: Option<WaitingFor>,
        /// The revision of the purchase in which it was settled.
        pub revision: Option<i64>,
        /// Why it has this outcome.
        pub reason: Option<String>,
    }
}

/// The columns of a [`NotificationView`]. Binds now.
pub const VIEW: &str = "
    n.seq, n.message_id, n.platform_id, n.collapse_key, n.receipt_id, n.store_type, n.accepted_at, n.outcome,
        n.revision, n.reason,
        CASE WHEN n.outcome IS NOT NULL THEN NULL
            WHEN n.waiting_topic_id IS NOT NULL THEN 'topic approval'
            WHEN p.held_until > ? THEN 'hold'
            WHEN p.waits_through >= n.seq THEN COALESCE(p.waits_for, 'verification')
            ELSE 'window' END AS waiting_for";
/// The notifications `n` with their purchases `p`.
pub const WITH_PURCHASE: &str = "notifications n LEFT JOIN purchases p ON p.collapse_key = n.collapse_key";

const LIST: Sql = statement! {"
    SELECT CAST(n.seq AS TEXT) AS cursor, {VIEW}
    FROM {WITH_PURCHASE}
    WHERE n.seq < ? AND {{which}}
    ORDER BY n.seq DESC
    LIMIT ?
"};
const OF_APP: Clause = clause!(&[LIST], "n.platform_id IN (SELECT f.id FROM platforms f WHERE f.app_id = ?)");
const OF_PLATFORM: Clause = clause!(&[LIST], "n.platform_id = ?");
const OF_PURCHASE: Clause = clause!(&[LIST], "n.collapse_key = ?");

const OF_MESSAGE: Sql = statement!("SELECT {VIEW} FROM {WITH_PURCHASE} WHERE n.message_id = ? ORDER BY n.seq");

impl Store {
    /// The notifications of one message of a store.
    pub async fn notifications_of(&self, message_id: &str) -> Result<Vec<NotificationView>, Error> {
        let message_id = message_id.to_owned();
        self.read_now(move |connection, now| sql(OF_MESSAGE).bind(now).bind(message_id).all(connection)).await
    }

    /// The notifications of a purchase, the newest first.
    pub async fn notifications_of_purchase(
        &self,
        key: CollapseKey,
        page: Page,
    ) -> Result<Paged<NotificationView>, Error> {
        self.listed(page, move |list| list.and(OF_PURCHASE, Some(key))).await
    }

    /// The notifications of an app and a platform, or of all, the newest first.
    pub async fn notifications(
        &self,
        app: Option<AppId>,
        platform: Option<PlatformId>,
        page: Page,
    ) -> Result<Paged<NotificationView>, Error> {
        self.listed(page, move |list| list.and(OF_APP, app).and(OF_PLATFORM, platform)).await
    }

    async fn listed(
        &self,
        page: Page,
        filter: impl FnOnce(Filtered<'static>) -> Filtered<'static> + Send + 'static,
    ) -> Result<Paged<NotificationView>, Error> {
        let below = page.number_or(i64::MAX)?;
        self.read_now(move |connection, now| {
            page.read(connection, filter(Filtered::new(LIST, [now.into(), below.into()])).statement())
        })
        .await
    }
}
