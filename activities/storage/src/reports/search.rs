//! Finds a thing by any id that names it: of ours, of the store, or of the app's own customer.

use crate::db::error::Error;
use crate::db::sql::{Clause, Sql, clause, statement};
use crate::db::statement::{clean, row, sql, stored};
use crate::db::store::Store;
use crate::reports::listing::Filtered;
use domain::{AppId, CollapseKey, PlatformId, Timestamp};
use schemars::JsonSchema;
use serde::Serialize;

pub const MAX_FOUND: i64 = 50;
/// Maximum number of found things of a kind.
const MAX_OF_KIND: i64 = 100;

stored! {
    /// What was found.
    #[derive(PartialOrd, Ord, Serialize, JsonSchema)]
    #[serde(rename_all = "snake_case")]
    #[schemars(inline)]
    pub enum FoundKind {
        /// A purchase.
        Purchase = "purchase",
        /// A purchase that is not settled yet.
        Waiting = "waiting",
        /// A message of a store.
        Message = "message",
        /// An event.
        Event = "event",
        /// An event of a device.
        DeviceEvent = "device_event",
        /// A delivery, which is also the `webhook-id` of its requests.
        Delivery = "delivery",
        /// A destination.
        Destination = "destination",
        /// A platform.
        Platform = "platform",
        /// An app.
        App = "app",
        /// A customer, by the id of the user.
        Customer = "customer",
    }
}

row! {
    /// One thing that an id names. It has ids of ours alone: neither those of customers nor those of stores, except the
    /// message's own.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
    pub struct SearchHit {
        /// What it is.
        pub kind: FoundKind,
        /// Its id.
        pub id: String,
        /// Its app.
        pub app_id: Option<AppId>,
        /// The purchase that it belongs to, if it is one of a purchase.
        pub collapse_key: Option<CollapseKey>,
        /// Its name, type or state; empty for a customer.
        pub label: String,
        /// When it was recorded, or changed last.
        pub at: Timestamp,
        /// By what it was found: its own id, `receipt`, or `customer`.
        #[schemars(extend("enum" = ["id", "receipt", "customer"]))]
        pub found_by: String,
    }
}

const SETTLED: &str = "'purchase' AS kind, p.collapse_key AS id, p.app_id, p.collapse_key, p.state AS label,
            p.updated_at AS at";
const OPEN: &str = "'waiting' AS kind, n.collapse_key AS id, f.app_id, n.collapse_key, n.store_type AS label,
            n.accepted_at AS at";
const CUSTOMER: &str = "'customer' AS kind, u.id, u.app_id, NULL AS collapse_key, '' AS label, u.created_at AS at";
const OF_PLATFORM: &str = "notifications n
        JOIN platforms f ON f.id = n.platform_id";
const UNSETTLED: &str = "n.collapse_key IS NOT NULL
            AND NOT EXISTS (SELECT 1 FROM purchases p WHERE p.collapse_key = n.collapse_key)";

/// The text, its lower case where it is an id of ours, is bound to each `?`.
const SEARCH: Sql = statement! {"
    SELECT DISTINCT x.kind, x.id, x.app_id, x.collapse_key, x.label, x.at, x.found_by
    FROM (
        SELECT * FROM (SELECT {SETTLED}, 'id' AS found_by
            FROM purchases p WHERE p.collapse_key = ?) a
        UNION ALL
        SELECT * FROM (SELECT {SETTLED}, 'receipt' AS found_by
            FROM purchases p WHERE p.receipt_id = ? LIMIT {MAX_OF_KIND}) a
        UNION ALL
        SELECT * FROM (SELECT {SETTLED}, 'customer' AS found_by
            FROM purchases p WHERE p.app_user_id = ? LIMIT {MAX_OF_KIND}) a
        UNION ALL
        SELECT * FROM (SELECT {SETTLED}, 'customer' AS found_by
            FROM purchases p WHERE p.user_id = ? LIMIT {MAX_OF_KIND}) a
        UNION ALL
        SELECT * FROM (SELECT {SETTLED}, 'customer' AS found_by
            FROM purchases p
            WHERE p.user_id IN (SELECT u.id FROM users u WHERE u.external_id = ?)
            LIMIT {MAX_OF_KIND}) a
        UNION ALL
        SELECT * FROM (SELECT {OPEN}, 'id' AS found_by
            FROM {OF_PLATFORM} WHERE n.collapse_key = ? AND {UNSETTLED} ORDER BY n.seq DESC LIMIT 1) a
        UNION ALL
        SELECT * FROM (SELECT {OPEN}, 'receipt' AS found_by
            FROM {OF_PLATFORM}
            WHERE n.receipt_id = ? AND n.outcome IS NULL AND {UNSETTLED}
            ORDER BY n.seq DESC
            LIMIT 1) a
        UNION ALL
        SELECT * FROM (SELECT 'message' AS kind, n.message_id AS id, f.app_id, n.collapse_key, n.store_type AS label,
                n.accepted_at AS at, 'id' AS found_by
            FROM {OF_PLATFORM} WHERE n.message_id = ? LIMIT {MAX_OF_KIND}) a
        UNION ALL
        SELECT 'event' AS kind, e.id, COALESCE(p.app_id, d.app_id, u.app_id) AS app_id, p.collapse_key,
            e.event_type AS label, e.created_at AS at, 'id' AS found_by
        FROM events e
        LEFT JOIN purchases p ON p.collapse_key = e.collapse_key
        LEFT JOIN destinations d ON d.id = e.collapse_key
        LEFT JOIN users u ON u.id = e.user_id
        WHERE e.id = ?
        UNION ALL
        SELECT 'device_event' AS kind, v.id, f.app_id, NULL AS collapse_key, v.event_type AS label, v.created_at AS at,
            'id' AS found_by
        FROM device_events v JOIN platforms f ON f.id = v.platform_id
        WHERE v.id = ?
        UNION ALL
        SELECT 'delivery' AS kind, l.id, d.app_id, p.collapse_key, l.event_type AS label, l.created_at AS at,
            'id' AS found_by
        FROM deliveries l
        JOIN destinations d ON d.id = l.destination_id
        LEFT JOIN purchases p ON p.collapse_key = l.collapse_key
        WHERE l.id = ?
        UNION ALL
        SELECT 'destination' AS kind, id, app_id, NULL AS collapse_key, name AS label, created_at AS at,
            'id' AS found_by
        FROM destinations WHERE id = ?
        UNION ALL
        SELECT 'platform' AS kind, id, app_id, NULL AS collapse_key, name AS label, created_at AS at, 'id' AS found_by
        FROM platforms WHERE id = ?
        UNION ALL
        SELECT 'app' AS kind, id, id AS app_id, NULL AS collapse_key, name AS label, created_at AS at, 'id' AS found_by
        FROM apps WHERE id = ?
        UNION ALL
        SELECT {CUSTOMER}, 'id' AS found_by
        FROM users u WHERE u.id = ?
        UNION ALL
        SELECT * FROM (SELECT {CUSTOMER}, 'customer' AS found_by
            FROM users u WHERE u.external_id = ? LIMIT {MAX_OF_KIND}) a
        UNION ALL
        SELECT {CUSTOMER}, 'customer' AS found_by
        FROM users u
        WHERE u.id IN (SELECT o.user_id FROM (SELECT p.user_id FROM purchases p WHERE p.app_user_id = ?
            LIMIT {MAX_OF_KIND}) o)
    ) x
    WHERE {{which}}
    ORDER BY x.kind, x.at DESC, x.id
    LIMIT {MAX_FOUND}
"};
const IN_APP: Clause = clause!(&[SEARCH], "x.app_id = ?");
/// Which `?` of the statement are ids of stores and customers, which are compared as they are.
const FOREIGN: [usize; 7] = [1, 2, 4, 6, 7, 15, 16];
/// Number of `?`.
const PLACES: usize = 17;

/// Number of platforms whose keys are looked up at once.
const PAGE: usize = 1000;
const PLATFORMS: Sql = statement! {"
    SELECT f.id AS value
    FROM platforms f
    WHERE f.id > ? AND {{which}}
    ORDER BY f.id
    LIMIT {PAGE}
"};
const OF_APP: Clause = clause!(&[PLATFORMS], "f.app_id = ?");
/// The newest notification of each of these purchases that are not settled.
const OF_KEYS: Sql = statement! {hot "notifications_of_key", "
    SELECT {OPEN}, 'receipt' AS found_by
    FROM {OF_PLATFORM}
    WHERE n.collapse_key IN (?*) AND {UNSETTLED}
        AND n.seq = (SELECT MAX(m.seq) FROM notifications m WHERE m.collapse_key = n.collapse_key)
    ORDER BY n.seq DESC
    LIMIT {MAX_FOUND}
"};

impl Store {
    /// What is known of a receipt whose notifications all ended without a purchase. No index has their receipts, but the
    /// key of the purchase follows from the platform and the receipt: those of all platforms are looked up.
    pub async fn search_receipt(&self, receipt: &str, app: Option<AppId>) -> Result<Vec<SearchHit>, Error> {
        let receipt = clean(receipt.trim()).into_owned();
        self.read(move |connection| {
            let (mut found, mut after): (Vec<SearchHit>, _) = (Vec::new(), String::new());
            loop {
                let page = Filtered::new(PLATFORMS, [after.into()]).and(OF_APP, app);
                let platforms: Vec<PlatformId> = page.statement().values(connection)?;
                let Some(last) = platforms.last() else { return Ok(found) };
                after = last.to_string();
                let keys = platforms.iter().map(|platform| CollapseKey::of(*platform, &receipt));
                found.extend(sql(OF_KEYS).uncached().bind_list(keys).all::<SearchHit>(connection)?);
                if platforms.len() < PAGE {
                    return Ok(found);
                }
            }
        })
        .await
    }

    /// What an id names, in an app or in all: at most 50 things.
    pub async fn search(&self, text: &str, app: Option<AppId>) -> Result<Vec<SearchHit>, Error> {
        let text = clean(text.trim()).into_owned();
        let own = text.to_ascii_lowercase();
        self.read(move |connection| {
            let is_foreign = |place: usize| FOREIGN.contains(&place);
            let values = (0..PLACES).map(|place| if is_foreign(place) { text.as_str() } else { own.as_str() }.into());
            Filtered::new(SEARCH, values).and(IN_APP, app).statement().all(connection)
        })
        .await
    }
}
