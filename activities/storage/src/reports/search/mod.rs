//! Finds a resource by any of its ids: settle's, the store's, a device's, or the app's own id of a customer. A text
//! that is not a complete id is searched as a prefix.

mod range;

use crate::reports::filtered::Filtered;
use crate::store::Store;
use db::connection::AnyConnection;
use db::error::Error;
use db::partial::OPEN_OF_STORE_ID_N;
use db::sql::{Clause, Sql, clause, statement};
use db::statement::{clean, row, sql, stored};
use domain::{AppId, CollapseKey, PlatformId, Timestamp};
use range::{Compared, Range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Maximum number of results.
pub const MAX_FOUND: usize = 50;
/// Maximum number of results of each kind if the text is a prefix.
const MAX_BEGINNINGS: usize = 20;
/// Maximum number of rows that each part of a statement scans.
const WALKED: i64 = 100;

stored! {
    /// Kind of a search result.
    #[derive(PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
    #[serde(rename_all = "snake_case")]
    #[schemars(inline)]
    pub enum FoundKind {
        /// A purchase.
        Purchase = "purchase",
        /// A purchase that is not settled yet.
        Waiting = "waiting",
        /// A message from a store.
        Message = "message",
        /// An event.
        Event = "event",
        /// A device event.
        DeviceEvent = "device_event",
        /// A delivery, by the `webhook-id` of its requests.
        Delivery = "delivery",
        /// A destination.
        Destination = "destination",
        /// A platform.
        Platform = "platform",
        /// An app.
        App = "app",
        /// A customer, by the user's id.
        Customer = "customer",
        /// A device of an app.
        Device = "device",
    }
}

row! {
    /// A search result. It contains settle's own ids only, except the message's id and the names by which several
    /// customers differ.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
    pub struct SearchHit {
        /// Kind of result.
        pub kind: FoundKind,
        /// Id of the result.
        pub id: String,
        /// Id of the result's app.
        pub app_id: Option<AppId>,
        /// Key of the related purchase, if there is one.
        pub collapse_key: Option<CollapseKey>,
        /// Name, type or state; for a device, its platform. For a customer, the app's own id or else the store's, if
        /// several customers match or the match is by prefix; otherwise empty.
        pub label: String,
        /// When the result was recorded or last changed.
        pub at: Timestamp,
        /// What matched: the result's own `id`, a purchase's `receipt`, a `customer` or a `device`; `beginning` if the text
        /// is a prefix of one of these.
        #[schemars(extend("enum" = ["id", "receipt", "customer", "device", "beginning"]))]
        pub found_by: String,
    }
}

const SETTLED: &str =
    "'purchase' AS kind, p.collapse_key AS id, p.app_id, p.collapse_key, p.state AS label,
            p.updated_at AS at";
const OPEN: &str =
    "'waiting' AS kind, n.collapse_key AS id, f.app_id, n.collapse_key, n.store_type AS label,
            n.accepted_at AS at";
const CUSTOMER: &str = "'customer' AS kind, u.id, u.app_id, NULL AS collapse_key,
            COALESCE(u.external_id, '') AS label, u.created_at AS at";
const OF_PLATFORM: &str = "notifications n
        JOIN platforms f ON f.id = n.platform_id";
const UNSETTLED: &str = "n.collapse_key IS NOT NULL
            AND NOT EXISTS (SELECT 1 FROM purchases p WHERE p.collapse_key = n.collapse_key)";

/// Each part scans [`WALKED`] rows of one index, in its order; with `CROSS JOIN`, SQLite begins with these rows.
/// [`PLACES`] says what is bound to each `?`.
const SEARCH: Sql = statement! {"
    SELECT DISTINCT x.kind, x.id, x.app_id, x.collapse_key, x.label, x.at, x.found_by
    FROM (
        SELECT * FROM (SELECT {SETTLED}, 'id' AS found_by
            FROM purchases p WHERE p.collapse_key >= ? AND p.collapse_key <= ?
            ORDER BY p.collapse_key LIMIT {WALKED}) a
        UNION ALL
        SELECT * FROM (SELECT {SETTLED}, 'receipt' AS found_by
            FROM purchases p WHERE p.receipt_id >= ? AND p.receipt_id <= ? ORDER BY p.receipt_id LIMIT {WALKED}) a
        UNION ALL
        SELECT * FROM (SELECT {SETTLED}, 'customer' AS found_by
            FROM purchases p WHERE p.app_user_id = ? LIMIT {WALKED}) a
        UNION ALL
        SELECT * FROM (SELECT {SETTLED}, 'customer' AS found_by
            FROM purchases p WHERE p.user_id = ? LIMIT {WALKED}) a
        UNION ALL
        SELECT * FROM (SELECT {SETTLED}, 'customer' AS found_by
            FROM purchases p
            WHERE p.user_id IN (SELECT u.id FROM users u
                WHERE u.external_id IS NOT NULL AND lower(u.external_id) = ?)
            LIMIT {WALKED}) a
        UNION ALL
        SELECT * FROM (SELECT {OPEN}, 'id' AS found_by
            FROM {OF_PLATFORM} WHERE n.collapse_key = ? AND {UNSETTLED} ORDER BY n.seq DESC LIMIT 1) a
        UNION ALL
        SELECT {OPEN}, 'receipt' AS found_by
        FROM (SELECT n.collapse_key, n.platform_id, n.store_type, n.accepted_at
            FROM notifications n
            WHERE n.receipt_id >= ? AND n.receipt_id <= ? AND {OPEN_OF_STORE_ID_N}
            ORDER BY n.receipt_id DESC
            LIMIT {WALKED}) n
        CROSS JOIN platforms f
        WHERE f.id = n.platform_id AND {UNSETTLED}
        UNION ALL
        SELECT * FROM (SELECT 'message' AS kind, n.message_id AS id, f.app_id, n.collapse_key, n.store_type AS label,
                n.accepted_at AS at, 'id' AS found_by
            FROM {OF_PLATFORM} WHERE n.message_id = ? LIMIT {WALKED}) a
        UNION ALL
        SELECT 'event' AS kind, e.id, COALESCE(p.app_id, destinations.app_id, u.app_id) AS app_id, p.collapse_key,
            e.event_type AS label, e.created_at AS at, 'id' AS found_by
        FROM (SELECT id, collapse_key, user_id, event_type, created_at
            FROM events WHERE id >= ? AND id <= ? ORDER BY id LIMIT {WALKED}) e
        LEFT JOIN purchases p ON p.collapse_key = e.collapse_key
        LEFT JOIN destinations ON destinations.id = e.collapse_key
        LEFT JOIN users u ON u.id = e.user_id
        UNION ALL
        SELECT 'device_event' AS kind, v.id, f.app_id, NULL AS collapse_key, v.event_type AS label, v.created_at AS at,
            'id' AS found_by
        FROM (SELECT id, platform_id, event_type, created_at
            FROM device_events WHERE id >= ? AND id <= ? ORDER BY id LIMIT {WALKED}) v
        CROSS JOIN platforms f
        WHERE f.id = v.platform_id
        UNION ALL
        SELECT 'delivery' AS kind, l.id, destinations.app_id, p.collapse_key, l.event_type AS label, l.created_at AS at,
            'id' AS found_by
        FROM (SELECT id, destination_id, collapse_key, event_type, created_at
            FROM deliveries WHERE id >= ? AND id <= ? ORDER BY id LIMIT {WALKED}) l
        CROSS JOIN destinations
        LEFT JOIN purchases p ON p.collapse_key = l.collapse_key
        WHERE destinations.id = l.destination_id
        UNION ALL
        SELECT * FROM (SELECT 'destination' AS kind, id, app_id, NULL AS collapse_key, name AS label, created_at AS at,
                'id' AS found_by
            FROM destinations WHERE id >= ? AND id <= ? ORDER BY id LIMIT {WALKED}) a
        UNION ALL
        SELECT * FROM (SELECT 'platform' AS kind, id, app_id, NULL AS collapse_key, name AS label, created_at AS at,
                'id' AS found_by
            FROM platforms WHERE id >= ? AND id <= ? ORDER BY id LIMIT {WALKED}) a
        UNION ALL
        SELECT * FROM (SELECT 'app' AS kind, id, id AS app_id, NULL AS collapse_key, name AS label, created_at AS at,
                'id' AS found_by
            FROM apps WHERE id >= ? AND id <= ? ORDER BY id LIMIT {WALKED}) a
        UNION ALL
        SELECT * FROM (SELECT {CUSTOMER}, 'id' AS found_by
            FROM users u WHERE u.id >= ? AND u.id <= ? ORDER BY u.id LIMIT {WALKED}) a
        UNION ALL
        SELECT * FROM (SELECT {CUSTOMER}, 'customer' AS found_by
            FROM users u
            WHERE u.external_id IS NOT NULL AND lower(u.external_id) >= ? AND lower(u.external_id) <= ?
            ORDER BY lower(u.external_id)
            LIMIT {WALKED}) a
        UNION ALL
        SELECT * FROM (SELECT {CUSTOMER}, 'device' AS found_by
            FROM users u WHERE u.analytics_device_id >= ? AND u.analytics_device_id <= ?
            ORDER BY u.analytics_device_id
            LIMIT {WALKED}) a
        UNION ALL
        SELECT 'customer' AS kind, u.id, u.app_id, NULL AS collapse_key,
            COALESCE(u.external_id, o.app_user_id) AS label, u.created_at AS at, 'customer' AS found_by
        FROM (SELECT p.user_id, p.app_user_id
            FROM purchases p WHERE p.app_user_id >= ? AND p.app_user_id <= ?
            ORDER BY p.app_user_id
            LIMIT {WALKED}) o
        CROSS JOIN users u
        WHERE u.id = o.user_id
    ) x
    WHERE {{which}}
    ORDER BY x.kind, x.at DESC, x.id, x.found_by
"};
const IN_APP: Clause = clause!(&[SEARCH], hot "purchases_receipt", "x.app_id = ?");

/// How an id is compared in a part of the statement: always with the complete text, or also with the text as a prefix.
enum Place {
    Whole(Compared),
    Begins(Compared),
}

const PLACES: [Place; 18] = [
    Place::Begins(Compared::Ours),
    Place::Begins(Compared::Theirs),
    Place::Whole(Compared::Theirs),
    Place::Whole(Compared::Ours),
    Place::Whole(Compared::Folded),
    Place::Whole(Compared::Ours),
    Place::Begins(Compared::Theirs),
    Place::Whole(Compared::Theirs),
    Place::Begins(Compared::Ours),
    Place::Begins(Compared::Ours),
    Place::Begins(Compared::Ours),
    Place::Begins(Compared::Ours),
    Place::Begins(Compared::Ours),
    Place::Begins(Compared::Ours),
    Place::Begins(Compared::Ours),
    Place::Begins(Compared::Folded),
    Place::Begins(Compared::Theirs),
    Place::Begins(Compared::Theirs),
];

/// Number of platforms whose purchases and devices are looked up in one statement.
const PAGE: usize = 1000;
const PLATFORMS: Sql = statement! {"
    SELECT f.id AS value
    FROM platforms f
    WHERE f.id > ? AND {{which}}
    ORDER BY f.id
    LIMIT {PAGE}
"};
const OF_APP: Clause = clause!(&[PLATFORMS], "f.app_id = ?");
/// The newest notification of each of these purchases that is not settled.
const OF_KEYS: Sql = statement! {hot "notifications_of_key", "
    SELECT {OPEN}, 'receipt' AS found_by
    FROM {OF_PLATFORM}
    WHERE n.collapse_key IN (?*) AND {UNSETTLED}
        AND n.seq = (SELECT MAX(m.seq) FROM notifications m WHERE m.collapse_key = n.collapse_key)
    ORDER BY n.seq DESC
    LIMIT {MAX_FOUND}
"};
/// The devices of these platforms, and the devices' customers.
const DEVICES: Sql = statement! {hot "devices_pkey or sqlite_autoindex_devices_1", "
    WITH v AS (
        SELECT platform_id, id, user_id, seen_at FROM devices
        WHERE platform_id IN (?*) AND id >= ? AND id <= ?
        ORDER BY platform_id, id
        LIMIT {WALKED}
    )
    SELECT 'device' AS kind, v.id, f.app_id, NULL AS collapse_key, f.name AS label, v.seen_at AS at, 'id' AS found_by
    FROM v CROSS JOIN platforms f WHERE f.id = v.platform_id
    UNION ALL
    SELECT {CUSTOMER}, 'device' AS found_by
    FROM v CROSS JOIN users u WHERE u.id = v.user_id
"};

impl Store {
    /// Searches for a text, in one app or in all. Returns at most 50 resources with this id. If there are none, returns
    /// at most 20 of each kind whose id begins with the text, which needs at least 3 characters; of the resources of
    /// all apps, only the first 100 are checked.
    pub async fn search(&self, text: &str, app: Option<AppId>) -> Result<Vec<SearchHit>, Error> {
        let text = clean(text.trim()).into_owned();
        self.read(move |connection| {
            let whole = |compared| Some(Range::whole(&text, compared));
            let mut found = of_tables(connection, &text, app, &whole)?;
            if found.is_empty() {
                found = of_platforms(connection, &text, app, &whole)?;
            }
            if !found.is_empty() {
                return Ok(without_names(once(found, MAX_FOUND)));
            }
            let beginning = |compared| Range::beginning(&text, compared);
            let mut found = of_tables(connection, &text, app, &beginning)?;
            found.extend(of_platforms(connection, "", app, &beginning)?);
            found
                .iter_mut()
                .for_each(|hit| "beginning".clone_into(&mut hit.found_by));
            Ok(once(found, MAX_BEGINNINGS))
        })
        .await
    }
}

/// A function that returns the ids that match, for each way to compare.
type Wanted<'a> = &'a dyn Fn(Compared) -> Option<Range>;

/// Finds resources for which an index exists by this id alone.
fn of_tables(
    connection: &mut AnyConnection,
    text: &str,
    app: Option<AppId>,
    wanted: Wanted<'_>,
) -> Result<Vec<SearchHit>, Error> {
    let whole = |compared| Range::whole(text, compared);
    let values = PLACES.iter().flat_map(|place| match place {
        Place::Whole(compared) => vec![whole(*compared).low],
        Place::Begins(compared) => {
            let Range { low, high } = wanted(*compared).unwrap_or_else(|| whole(*compared));
            vec![low, high]
        }
    });
    let search = Filtered::new(SEARCH, values.map(Into::into)).and(IN_APP, app);
    search.statement().uncached().all(connection)
}

/// Finds resources for which an index exists only together with the platform: purchases whose notifications all ended
/// without a purchase record, by the key derived from platform and store's id; and devices.
fn of_platforms(
    connection: &mut AnyConnection,
    store_id: &str,
    app: Option<AppId>,
    wanted: Wanted<'_>,
) -> Result<Vec<SearchHit>, Error> {
    // Most texts are not a device's id.
    let devices = wanted(Compared::Ours).filter(|range| uuid::Uuid::try_parse(&range.low).is_ok());
    if store_id.is_empty() && devices.is_none() {
        return Ok(Vec::new());
    }
    let (mut found, mut after): (Vec<SearchHit>, _) = (Vec::new(), String::new());
    loop {
        let page = Filtered::new(PLATFORMS, [after.into()]).and(OF_APP, app);
        let platforms: Vec<PlatformId> = page.statement().values(connection)?;
        let Some(last) = platforms.last() else {
            return Ok(found);
        };
        after = last.to_string();
        if !store_id.is_empty() {
            let keys = platforms
                .iter()
                .map(|platform| CollapseKey::of(*platform, store_id));
            found.extend(
                sql(OF_KEYS)
                    .uncached()
                    .bind_list(keys)
                    .all::<SearchHit>(connection)?,
            );
        }
        if let Some(Range { low, high }) = &devices {
            let statement = sql(DEVICES).uncached().bind_list(platforms.iter().copied());
            found.extend(
                statement
                    .bind(low.as_str())
                    .bind(high.as_str())
                    .all::<SearchHit>(connection)?,
            );
        }
        if platforms.len() < PAGE {
            return Ok(found);
        }
    }
}

/// Clears the name of the customer if there is only one customer.
fn without_names(mut found: Vec<SearchHit>) -> Vec<SearchHit> {
    let mut customers = found
        .iter_mut()
        .filter(|hit| hit.kind == FoundKind::Customer);
    if let (Some(customer), None) = (customers.next(), customers.next()) {
        customer.label.clear();
    }
    found
}

/// Removes duplicates, and keeps at most `of_kind` results of each kind and [`MAX_FOUND`] in total.
fn once(found: Vec<SearchHit>, of_kind: usize) -> Vec<SearchHit> {
    let mut ids: BTreeMap<FoundKind, BTreeSet<String>> = BTreeMap::new();
    let mut is_new = |hit: &SearchHit| {
        let ids = ids.entry(hit.kind).or_default();
        ids.len() < of_kind && ids.insert(hit.id.clone())
    };
    found
        .into_iter()
        .filter(|hit| is_new(hit))
        .take(MAX_FOUND)
        .collect()
}
