//! Alarms as the API lists them.

use crate::people::gathering;
use crate::reports::walk::{Condition, Indexed, Place, Walk};
use crate::settling::unlisted;
use crate::store::Store;
use db::connection::AnyConnection;
use db::error::Error;
use db::page::{Page, Paged};
use db::partial::LISTED_ALARM;
use db::sql::{Clause, Sql, clause, statement};
use db::statement::{Value, clean, row, sql};
use domain::{AlarmId, AppId, DestinationId, PlatformId, Timestamp, UserId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Maximum number of alarms per page for which affected customers are counted.
const COUNTED: usize = 20;

row! {
    /// A condition that needs a person's attention.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
    pub struct Alarm {
        /// Id of the alarm, the same each time it is raised.
        pub id: AlarmId,
        /// When the alarm was first raised.
        pub at: Timestamp,
        /// When the alarm was last raised.
        pub last_at: Timestamp,
        /// Number of times the alarm was raised.
        pub count: i64,
        /// Number of affected customers, counted up to 10,000: those who own the unlisted product, or the store
        /// customers of the user. Null for other kinds, for acknowledged alarms, and after the first 20 items of a
        /// page.
        pub customers: Option<i64>,
        /// Id of the affected app; null for all apps.
        pub app_id: Option<AppId>,
        /// Id of the affected platform.
        pub platform_id: Option<PlatformId>,
        /// Id of the affected destination.
        pub destination_id: Option<DestinationId>,
        /// Name of the affected platform or destination.
        pub about: Option<String>,
        /// Stable name of the kind of alarm.
        pub kind: String,
        /// Description for people, without secrets.
        pub detail: String,
        /// When the alarm was acknowledged; null while it is open, including when it was raised again.
        pub acknowledged_at: Option<Timestamp>,
        /// Name of the person who acknowledged the alarm.
        pub acknowledged_by: Option<String>,
        /// Note of the person who acknowledged the alarm.
        pub note: Option<String>,
    }
}

/// Which alarms are listed; all that are set must match.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct AlarmFilter {
    /// Only alarms about platforms and destinations of this app.
    pub app_id: Option<AppId>,
    /// Only alarms about this platform.
    pub platform_id: Option<PlatformId>,
    /// Only alarms of this kind.
    pub kind: Option<String>,
    /// Only alarms that are open (`true`), or only acknowledged ones (`false`).
    pub open: Option<bool>,
}

const ALARM: &str = "
    id, at, last_at, times AS count, CAST(NULL AS BIGINT) AS customers, app_id, platform_id, destination_id, kind, detail,
        acknowledged_at, acknowledged_by, note, COALESCE(
            (SELECT f.name FROM platforms f WHERE f.id = alarms.platform_id),
            (SELECT d.name FROM destinations d WHERE d.id = alarms.destination_id)
        ) AS about
    FROM alarms";
const LIST: Sql = statement! {"
    SELECT CAST(last_at AS TEXT) || '_' || CAST(seq AS TEXT) AS cursor, {ALARM}
    WHERE (last_at, seq) < (?, ?) AND (last_at, seq) >= (?, ?) AND {{which}}
    ORDER BY last_at DESC, seq DESC
    LIMIT ?
"};
const FLOOR: Sql = statement! {"
    SELECT CAST(last_at AS TEXT) || '_' || CAST(seq AS TEXT) AS value
    FROM alarms
    WHERE (last_at, seq) < (?, ?) AND {{which}}
    ORDER BY last_at DESC, seq DESC
    LIMIT 1 OFFSET ?
"};
const LIST_OF_APP: Sql = statement! {"
    SELECT CAST(last_at AS TEXT) || '_' || CAST(seq AS TEXT) AS cursor, {ALARM}
    WHERE {LISTED_ALARM} AND (app_id, last_at, seq) < (?, ?, ?) AND (app_id, last_at, seq) >= (?, ?, ?) AND {{which}}
    ORDER BY app_id DESC, last_at DESC, seq DESC
    LIMIT ?
"};
const FLOOR_OF_APP: Sql = statement! {hot "alarms_of_app", "
    SELECT CAST(last_at AS TEXT) || '_' || CAST(seq AS TEXT) AS value
    FROM alarms
    WHERE {LISTED_ALARM} AND (app_id, last_at, seq) < (?, ?, ?) AND (app_id, last_at, seq) >= (?, 0, 0)
    ORDER BY app_id DESC, last_at DESC, seq DESC
    LIMIT 1 OFFSET ?
"};
const LISTS: &[Sql] = &[LIST, LIST_OF_APP];
/// `last_at >= 0` is always true; it is there because the walk must bind a value.
const OPEN: Clause = clause! {
    &[LIST, FLOOR], hot "alarms_open or alarms_order", "acknowledged_at IS NULL AND last_at >= ?"
};
// Conditions that no index serves: those of indexed lists in another form, and further ones.
const HAS_APP: Clause = clause!(LISTS, "app_id || '' IN (?*)");
const IS_OPEN: Clause = clause!(LISTS, "COALESCE(acknowledged_at, 0) IN (?*)");
const OF_PLATFORM: Clause = clause!(LISTS, "platform_id = ?");
const OF_KIND: Clause = clause!(LISTS, "kind || '' = ?");
const ACKNOWLEDGED: Clause = clause!(LISTS, "acknowledged_at IS NOT NULL");

const FIND: Sql = statement!("SELECT {ALARM} WHERE id = ?");
const LOCK: Sql = statement!("SELECT {ALARM} WHERE id = ? FOR UPDATE");

impl Alarm {
    /// Returns the SKU that is missing in the catalogue, if the alarm is about one.
    pub fn unlisted_sku(&self) -> Option<&str> {
        unlisted::sku(&self.kind, &self.detail)
    }

    /// Returns the user who gathered many store customers, if the alarm is about one.
    pub fn gathering_user(&self) -> Option<UserId> {
        gathering::user(&self.kind, &self.detail)
    }
}

impl Store {
    /// Lists all alarms, the last raised one first.
    pub async fn alarms(&self, page: Page) -> Result<Paged<Alarm>, Error> {
        self.alarms_of(AlarmFilter::default(), page).await
    }

    /// Returns one alarm.
    ///
    /// # Errors
    /// [`Error::Missing`] if no alarm has this id.
    pub async fn one_alarm(&self, id: AlarmId) -> Result<Alarm, Error> {
        self.read(move |connection| {
            let mut found = sql(FIND).bind(id).one(connection, "alarm")?;
            count_customers(connection, &mut found)?;
            Ok(found)
        })
        .await
    }

    /// Lists alarms, the last raised one first. A page can have fewer items than its limit even if another page
    /// follows.
    pub async fn alarms_of(&self, filter: AlarmFilter, page: Page) -> Result<Paged<Alarm>, Error> {
        let of_app = filter
            .app_id
            .map(|app| Indexed::by([LIST_OF_APP, FLOOR_OF_APP], HAS_APP, [app]));
        let open = filter
            .open
            .filter(|open| *open)
            .map(|_| Indexed::new(OPEN, IS_OPEN, [0_i64]));
        let mut others: Vec<Condition<'static>> = Vec::new();
        others.extend((filter.open == Some(false)).then_some((ACKNOWLEDGED, None)));
        others.extend(
            filter
                .platform_id
                .map(|platform| (OF_PLATFORM, Some(platform.into()))),
        );
        others.extend(
            filter
                .kind
                .map(|kind| (OF_KIND, Some(clean(&kind).into_owned().into()))),
        );
        let walk = Walk {
            list: LIST,
            floor: FLOOR,
            first: Vec::new(),
            indexed: of_app.into_iter().chain(open).collect(),
            others,
            range: (
                Raised { at: 0, seq: 0 },
                Raised {
                    at: i64::MAX,
                    seq: 0,
                },
            ),
        };
        self.read(move |connection| {
            let mut found = walk.page(connection, &page)?;
            found
                .items
                .iter_mut()
                .take(COUNTED)
                .try_for_each(|alarm| count_customers(connection, alarm))?;
            Ok(found)
        })
        .await
    }
}

/// The position of an alarm in the list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Raised {
    at: i64,
    seq: i64,
}

impl Place for Raised {
    fn parse(cursor: &str) -> Option<Self> {
        let (at, seq) = cursor.split_once('_')?;
        Some(Self {
            at: at.parse().ok()?,
            seq: seq.parse().ok()?,
        })
    }

    fn cursor(&self) -> String {
        format!("{}_{}", self.at, self.seq)
    }

    fn values(&self) -> Vec<Value<'static>> {
        vec![self.at.into(), self.seq.into()]
    }
}

/// Counts the customers that an open alarm affects: those of the missing product, or the store customers of the user.
fn count_customers(connection: &mut AnyConnection, alarm: &mut Alarm) -> Result<(), Error> {
    if alarm.acknowledged_at.is_some() {
        return Ok(());
    }
    if let (Some(app), Some(sku)) = (alarm.app_id, alarm.unlisted_sku()) {
        alarm.customers = Some(unlisted::customers(connection, app, sku)?);
    }
    if let Some(user) = alarm.gathering_user() {
        alarm.customers = Some(gathering::customers(connection, user)?);
    }
    Ok(())
}

/// Locks the row of an alarm and returns the alarm.
pub fn lock(connection: &mut AnyConnection, id: AlarmId) -> Result<Alarm, Error> {
    sql(LOCK).bind(id).one(connection, "alarm")
}
