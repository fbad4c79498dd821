//! Stored facts about the setup of a platform at its store: the responses to its messages, the store's test, and
//! whether the store answers queries.

use crate::reports::arrivals::{self, ArrivalView};
use crate::reports::silent;
use crate::settling::repairs::{self, READS_LIST};
use crate::store::Store;
use db::connection::AnyConnection;
use db::error::Error;
use db::partial::LISTED_N;
use db::sql::{Sql, statement};
use db::statement::{row, sql};
use domain::{PlatformId, Timestamp};

/// What is stored about the setup of a platform at its store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SetupFacts {
    /// Responses to the platform's store; those without a reason are acceptances.
    pub arrivals: Vec<ArrivalView>,
    /// When the store's test was last accepted, among the newest 1000 notifications.
    pub tested_at: Option<Timestamp>,
    /// Why the store last refused the credentials. It may accept them by now.
    pub refusal: Option<String>,
    /// When the store last answered a query, about a purchase or apart from purchases.
    pub answered_at: Option<Timestamp>,
    /// Why a query apart from purchases failed, if none of them succeeded since.
    pub failure: Option<String>,
    /// When that query failed.
    pub failed_at: Option<Timestamp>,
    /// Whether a person requested a query that was not sent yet.
    pub is_query_requested: bool,
    /// The last request for a test notification, if the store sends one on request.
    pub store_test: Option<StoreTest>,
}

/// The progress of a request for a test notification of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreTest {
    /// A person requested it at this time; the store has not answered yet.
    Open { at: Timestamp },
    /// The store accepted the request, which a person sent at this time.
    Accepted { at: Timestamp },
    /// The request failed at this time.
    Failed { at: Timestamp, why: String },
}

row! {
    struct LastTest {
        began_at: Option<Timestamp>,
        repaired_through: Option<Timestamp>,
        failure: Option<String>,
        failed_at: Option<Timestamp>,
    }
}

impl LastTest {
    fn progress(self) -> Option<StoreTest> {
        if let Some(at) = self.began_at {
            return Some(StoreTest::Open { at });
        }
        match (self.failed_at, self.failure) {
            (Some(at), Some(why)) => Some(StoreTest::Failed { at, why }),
            _ => self.repaired_through.map(|at| StoreTest::Accepted { at }),
        }
    }
}

row! {
    struct LastRepair {
        due_at: Timestamp,
        repaired_through: Option<Timestamp>,
        failure: Option<String>,
        failed_at: Option<Timestamp>,
    }
}

/// The last notification of a type, unless it was refused.
const TESTED: Sql = statement! {hot "notifications_of_platform", "
    SELECT x.accepted_at AS value
    FROM (SELECT n.seq, n.store_type, n.outcome, n.accepted_at
        FROM notifications n
        WHERE {LISTED_N} AND (n.platform_id, n.seq) < (?, ?) AND (n.platform_id, n.seq) >= (?, 0)
        ORDER BY n.platform_id DESC, n.seq DESC
        LIMIT 1000) x
    WHERE x.store_type = ? AND COALESCE(x.outcome, '') <> 'refused'
    ORDER BY x.seq DESC
    LIMIT 1
"};

const REFUSAL: Sql = statement! {"
    SELECT detail AS value
    FROM alarms
    WHERE kind = 'secret_refused' AND platform_id = ?
    ORDER BY last_at DESC
    LIMIT 1
"};

const LAST_REPAIR: Sql = statement! {"
    SELECT due_at, repaired_through, failure, failed_at
    FROM repairs
    WHERE platform_id = ? AND {READS_LIST}
    ORDER BY kind
"};

const LAST_TEST: Sql = statement! {"
    SELECT began_at, repaired_through, failure, failed_at
    FROM repairs
    WHERE platform_id = ? AND kind = 'test'
"};

impl Store {
    /// Returns what is stored about the setup of a platform. `test` is the type of the store's test notification, if it
    /// has one.
    pub async fn setup_facts(
        &self,
        platform: PlatformId,
        test: Option<&'static str>,
    ) -> Result<SetupFacts, Error> {
        self.read(move |connection| read(connection, platform, test))
            .await
    }
}

fn read(
    connection: &mut AnyConnection,
    platform: PlatformId,
    test: Option<&'static str>,
) -> Result<SetupFacts, Error> {
    let arrivals = arrivals::of_platforms(connection, &[platform])?;
    let tested_at: Option<Timestamp> = match test {
        Some(store_type) => sql(TESTED)
            .bind((platform, i64::MAX, platform, store_type))
            .value(connection)?,
        None => None,
    };
    let last_test: Option<LastTest> = sql(LAST_TEST).bind(platform).first(connection)?;
    let refusal: Option<String> = sql(REFUSAL).bind(platform).value(connection)?;
    let repair: Option<LastRepair> = sql(LAST_REPAIR).bind(platform).first(connection)?;
    let of_purchase = silent::last_answer(connection, platform, Timestamp::from_micros(0))?;
    let of_repair = repair.as_ref().and_then(|repair| repair.repaired_through);
    Ok(SetupFacts {
        arrivals: arrivals.into_iter().map(|one| one.view).collect(),
        tested_at,
        refusal,
        answered_at: of_purchase.max(of_repair),
        failed_at: repair.as_ref().and_then(|repair| repair.failed_at),
        is_query_requested: repair
            .as_ref()
            .is_some_and(|repair| repairs::is_requested(repair.due_at)),
        failure: repair.and_then(|repair| repair.failure),
        store_test: last_test.and_then(LastTest::progress),
    })
}
