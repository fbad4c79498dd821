//! Progress of connecting platforms. Many platforms are read at once.

use crate::inbox::topics::{self, Topic};
use crate::reports::arrivals::{self, ArrivalView};
use crate::store::Store;
use db::error::Error;
use db::partial::OPEN_IN_ORDER;
use db::sql::{Sql, statement};
use db::statement::{row, sql};
use domain::{AppId, CollapseKey, PlatformId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// Progress on the way from a platform's store to a destination.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlatformProgress {
    /// Responses to the platform's store; those without a reason are acceptances.
    pub arrivals: Vec<ArrivalView>,
    pub topics: Vec<Topic>,
    /// When an event of one of its purchases was first delivered.
    pub delivered_at: Option<Timestamp>,
}

row! {
    struct First {
        platform_id: PlatformId,
        delivered_at: Timestamp,
    }
}

row! {
    struct Newest {
        collapse_key: CollapseKey,
        at: Timestamp,
    }
}

const FIRST: Sql =
    statement!("SELECT platform_id, delivered_at FROM first_deliveries WHERE platform_id IN (?*)");

const WITH_DESTINATION: Sql = statement! {"
    SELECT DISTINCT app_id AS value
    FROM destinations
    WHERE deleted_at IS NULL AND app_id IN (?*)
"};

/// The last changed purchase of one platform. The condition is written as a range, so that no index that is ordered
/// only by time is used, in which the purchases of a quiet platform come last.
const SETTLED: Sql = statement! {hot "purchases_platform", "
    SELECT collapse_key, updated_at AS at
    FROM purchases
    WHERE platform_id >= ? AND platform_id <= ?
    ORDER BY platform_id DESC, updated_at DESC, collapse_key DESC
    LIMIT 1
"};

/// The newest notification of a platform among the newest 1000 with an open window, of all platforms.
const OPEN: Sql = statement! {hot "notifications_open_in_order", "
    SELECT n.collapse_key, n.accepted_at AS at
    FROM (SELECT n.seq, n.platform_id, n.collapse_key, n.accepted_at
        FROM notifications n
        WHERE {OPEN_IN_ORDER}
        ORDER BY n.seq DESC
        LIMIT 1000) n
    WHERE n.platform_id = ? AND n.collapse_key IS NOT NULL
    ORDER BY n.seq DESC
    LIMIT 1
"};

impl Store {
    /// Returns how far these platforms are connected.
    pub async fn progress(
        &self,
        platforms: Vec<PlatformId>,
    ) -> Result<BTreeMap<PlatformId, PlatformProgress>, Error> {
        let mut found: BTreeMap<PlatformId, PlatformProgress> = platforms
            .iter()
            .map(|id| (*id, PlatformProgress::default()))
            .collect();
        if platforms.is_empty() {
            return Ok(found);
        }
        self.read(move |connection| {
            for arrival in arrivals::of_platforms(connection, &platforms)? {
                found
                    .entry(arrival.platform_id)
                    .or_default()
                    .arrivals
                    .push(arrival.view);
            }
            for topic in topics::of_platforms(connection, &platforms)? {
                found
                    .entry(topic.platform_id)
                    .or_default()
                    .topics
                    .push(topic);
            }
            let first: Vec<First> = sql(FIRST).uncached().bind_list(platforms).all(connection)?;
            for First {
                platform_id,
                delivered_at,
            } in first
            {
                found.entry(platform_id).or_default().delivered_at = Some(delivered_at);
            }
            Ok(found)
        })
        .await
    }

    /// Returns which of these apps have a destination.
    pub async fn apps_with_destination(&self, apps: Vec<AppId>) -> Result<BTreeSet<AppId>, Error> {
        if apps.is_empty() {
            return Ok(BTreeSet::new());
        }
        self.read(move |connection| {
            let found: Vec<AppId> = sql(WITH_DESTINATION)
                .uncached()
                .bind_list(apps)
                .values(connection)?;
            Ok(found.into_iter().collect())
        })
        .await
    }

    /// Returns the newest purchase of a platform: that of the newest notification with an open window, or the one that
    /// changed last.
    pub async fn newest_purchase(
        &self,
        platform: PlatformId,
    ) -> Result<Option<CollapseKey>, Error> {
        self.read(move |connection| {
            let settled: Option<Newest> = sql(SETTLED)
                .bind(platform)
                .bind(platform)
                .first(connection)?;
            let open: Option<Newest> = sql(OPEN).bind(platform).first(connection)?;
            let newest = settled.into_iter().chain(open).max_by_key(|one| one.at);
            Ok(newest.map(|one| one.collapse_key))
        })
        .await
    }
}
