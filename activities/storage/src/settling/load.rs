//! Loads the data of a purchase that a settling needs, as of one moment.

use crate::events::lanes;
use crate::purchases::purchase::{self, PurchaseRow};
use crate::purchases::replacements;
use crate::settling::owners::OWNERS;
use crate::store::Store;
use db::clock::Now;
use db::connection::AnyConnection;
use db::error::Error;
use db::partial::{OPEN_OF_KEY, OPEN_OF_KEY_N};
use db::sql::{Sql, statement};
use db::statement::{Ahead, row, sql};
use db::writer::order::{Order, Settled};
use db::writer::{Faults, JobKind, Write};
use domain::settling::Loaded;
use domain::{CollapseKey, Purchase, StorePolicy, Timestamp};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::time::Duration;

row! {
    struct UnsettledRow {
        seq: i64,
        body: String,
    }
}

impl UnsettledRow {
    fn read<T: DeserializeOwned>(self) -> Result<(i64, T), Error> {
        let unreadable =
            |cause| Error::corrupt_by(format!("notification {} is not readable", self.seq), cause);
        Ok((
            self.seq,
            serde_json::from_str(&self.body).map_err(unreadable)?,
        ))
    }
}

row! {
    #[derive(Default)]
    /// The times of the open notifications of a purchase.
    struct Extent {
        oldest_at: Option<Timestamp>,
        newest_seq: Option<i64>,
        quiet_at: Option<Timestamp>,
        due_at: Option<Timestamp>,
        newest_at: Option<Timestamp>,
    }
}

impl Store {
    /// Loads a purchase for settling, with at most `limit` of its notifications. The window of open notifications with
    /// numbers up to `through` is over; only later ones extend the wait.
    pub async fn load(&self, key: CollapseKey, through: i64, limit: i64) -> Result<Loaded, Error> {
        let clock = self.database.clock;
        self.read(move |connection| {
            connection.at_one_moment(|connection| {
                let now = connection.now_ahead(clock)?;
                load(
                    connection,
                    key,
                    LoadRequest {
                        through,
                        limit,
                        now,
                    },
                )
            })
        })
        .await
    }
}

impl Store {
    /// Like [`Self::load`], but after every record of the purchase that this process is writing or has queued, and
    /// after those that other processes are writing now: for an attempt after one whose result is unknown. Takes the
    /// locks of a record.
    pub async fn load_after_record(
        &self,
        key: CollapseKey,
        through: i64,
        limit: i64,
    ) -> Result<Loaded, Error> {
        let order = Order::of(Settled { key, newest: None }, OWNERS);
        let work = move |write: &mut Write<'_>| {
            if purchase::origin(write.connection, key)?.is_some() {
                purchase::lock(write, key)?;
            }
            let now = Now::Known(write.now()?);
            load(
                write.connection,
                key,
                LoadRequest {
                    through,
                    limit,
                    now,
                },
            )
        };
        self.database
            .writer
            .write_ordered(JobKind::Record(NO_FAULTS), order, work)
            .await
    }
}

/// The fail points around a commit that writes nothing.
const NO_FAULTS: Faults = Faults {
    before_commit: "load.before_commit",
    after_commit: "load.after_commit",
    early_answer: None,
};

struct LoadRequest {
    through: i64,
    limit: i64,
    now: Now,
}

fn load(
    connection: &mut AnyConnection,
    key: CollapseKey,
    request: LoadRequest,
) -> Result<Loaded, Error> {
    let row = purchase::find_ahead(connection, key)?;
    let unsettled = sql(UNSETTLED)
        .bind(key)
        .bind(request.limit.saturating_add(1))
        .ahead::<UnsettledRow>(connection)?;
    let replacement = replacements::find(connection, key)?;
    let extent = extent_ahead(connection, key, request.through)?;
    let lanes = lanes::open_ahead(connection, key)?;
    let origin = purchase::origin_ahead(connection, key)?;
    let now = request.now.fetch(connection)?;
    let (row, unsettled, origin) = (
        row.first(connection)?,
        unsettled.all(connection)?,
        origin.fetch(connection)?,
    );
    let extent = extent.first(connection)?.unwrap_or_default();
    let limit = usize::try_from(request.limit).unwrap_or(0);
    let max_wait = origin.as_ref().and_then(|origin| origin.max_wait);
    let held_until = row
        .as_ref()
        .and_then(|row| row.held_until)
        .filter(|until| *until > now);
    let purchase = row
        .as_ref()
        .map_or_else(|| Ok(Purchase::default()), PurchaseRow::known)?;
    Ok(Loaded {
        platform_id: origin.as_ref().map(|origin| origin.platform_id),
        app_id: origin.as_ref().map(|origin| origin.app_id),
        policy: match &origin {
            Some(origin) => origin.policy()?,
            None => StorePolicy::default(),
        },
        verify: match &origin {
            Some(origin) => {
                let queried = origin.queried_customer(connection, key, row.as_ref())?;
                queried.is_some()
            }
            None => false,
        },
        state: purchase.state(),
        purchase,
        revision: row.as_ref().map_or(0, |row| row.revision),
        settling: row.as_ref().map_or(0, |row| row.settling),
        more: unsettled.len() > limit,
        notifications: unsettled
            .into_iter()
            .take(limit)
            .map(UnsettledRow::read)
            .collect::<Result<_, _>>()?,
        newest_seq: extent.newest_seq.unwrap_or(0),
        quiet: extent.quiet(now),
        cap: max_wait.and_then(|max_wait| Some(extent.oldest_at?.plus(max_wait).since(now))),
        late: extent
            .due_at
            .filter(|due| *due <= now)
            .map(|due| now.since(due)),
        held: held_until.map(|until| until.since(now)),
        due: row
            .and_then(|row| row.next_wake_at)
            .is_some_and(|at| at <= now),
        settings_version: origin.as_ref().map(|origin| origin.settings_version),
        is_replaced: replacement.fetch(connection)?,
        lanes: lanes.fetch(connection)?,
        now,
    })
}

/// Selects the notifications to settle: the open ones, and those that wait for a wake of the purchase. `seq + 0` keeps
/// the planner from walking all notifications in order of their numbers instead of those of the purchase.
const UNSETTLED: Sql = statement! {hot "notifications_open_of_key", "
    SELECT seq, body
    FROM notifications
    WHERE collapse_key = ? AND {OPEN_OF_KEY} AND waiting_topic_id IS NULL
    ORDER BY seq + 0
    LIMIT ?
"};

/// Returns the bodies of the first `limit` notifications to settle, oldest first.
pub fn bodies(
    connection: &mut AnyConnection,
    key: CollapseKey,
    limit: i64,
) -> Result<Vec<Value>, Error> {
    let unsettled: Vec<UnsettledRow> = sql(UNSETTLED).bind(key).bind(limit).all(connection)?;
    let bodies = unsettled.into_iter().map(UnsettledRow::read::<Value>);
    bodies.map(|read| read.map(|(_, body)| body)).collect()
}

const EXTENT: Sql = statement! {hot "notifications_open_of_key", "
    SELECT MIN(CASE WHEN n.seq > w.seq THEN n.accepted_at END) AS oldest_at, MAX(n.seq) AS newest_seq,
        CASE WHEN MIN(CASE WHEN n.seq > w.seq AND n.seq > ? THEN n.due_at - n.accepted_at END) <= 0 THEN MIN(n.due_at)
        ELSE MAX(CASE WHEN n.seq > w.seq AND n.seq > ? THEN n.due_at END) END AS quiet_at,
        MAX(CASE WHEN n.seq > w.seq THEN n.due_at END) AS due_at, MAX(n.accepted_at) AS newest_at
    FROM notifications n
    CROSS JOIN (SELECT COALESCE(MAX(waits_through), 0) AS seq FROM purchases WHERE collapse_key = ?) w
    WHERE n.collapse_key = ? AND {OPEN_OF_KEY_N} AND n.waiting_topic_id IS NULL
"};

impl Extent {
    /// Returns how long the window still lasts. A window that began before the clock was set back counts as ended.
    fn quiet(&self, now: Timestamp) -> Duration {
        let is_known = self
            .newest_at
            .is_some_and(|at| at.unless_ahead(Duration::ZERO, now).is_some());
        self.quiet_at
            .filter(|_| is_known)
            .map(|at| at.since(now))
            .unwrap_or_default()
    }
}

/// Begins to read when the oldest unsettled notification was accepted, and when the window ends. A run that missed a
/// signal extends its own window to that end (`State::loaded` in `workflows`). Each further notification restarts the
/// window: it ends at the latest `due_at` of the notifications above `through`. A notification that is settled at once
/// (`due_at` is not after `accepted_at`) ends the window for all. Notifications up to `waits_through` have had their
/// window and wait for something else. They do not count, so that they do not shorten the window of a new notification.
fn extent_ahead(
    connection: &mut AnyConnection,
    key: CollapseKey,
    through: i64,
) -> Result<Ahead<'static, Extent>, Error> {
    sql(EXTENT)
        .bind((through, through, key, key))
        .ahead(connection)
}
