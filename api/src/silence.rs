//! Detects stores that do not respond. A purchase waits for its store for at least `amazon.patience` before it is
//! settled without a response, but an outage is reported within a minute. A store that responds about other purchases
//! is not silent.

use domain::PlatformId;
use metrics::gauge;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use storage::{
    AlarmFilter, Error, Page, STORE_SILENT, SilentStore, Store, VERIFICATION_WAITS, chain,
};

/// Time between two checks.
const EVERY: Duration = Duration::from_secs(10);
/// Maximum number of open alarms that are read after a start.
const MAX_OPEN: i64 = 500;
/// Kind of the alarm.
const KIND: &str = "store_silent";
const CLOSED: &str = "the store answers again";

/// Platforms whose stores are silent.
#[derive(Debug, Default)]
pub struct Watch {
    /// Platforms with a raised alarm; `None` before the first check.
    raised: Option<BTreeSet<PlatformId>>,
    /// Stores that have a sample of the metric.
    shown: BTreeSet<String>,
}

/// Starts the task that checks the stores until the process ends.
pub fn watch(store: Store) {
    tokio::spawn(async move {
        let mut watch = Watch::default();
        loop {
            tokio::time::sleep(EVERY).await;
            if let Err(error) = watch.step(&store).await {
                tracing::warn!(
                    error = chain(&error),
                    "whether stores answer is not known; it will be checked again soon"
                );
            }
        }
    });
}

impl Watch {
    /// Raises alarms for silent stores, and closes those of stores that respond again.
    ///
    /// # Errors
    /// The database does not respond; the next step does the rest.
    pub async fn step(&mut self, store: &Store) -> Result<(), Error> {
        let mut found = store.silent_stores().await?;
        found.retain(SilentStore::is_silent);
        self.show(&found);
        let silent: BTreeSet<_> = found.iter().map(|one| one.platform_id).collect();
        if self.raised.is_none() {
            for platform in open(store, VERIFICATION_WAITS).await?.difference(&silent) {
                close(store, *platform).await?;
            }
            self.raised = Some(open(store, KIND).await?);
        }
        let raised = self.raised.get_or_insert_default();
        for platform in silent.difference(&raised.clone()) {
            store.alarm(Some(*platform), KIND, STORE_SILENT).await?;
            raised.insert(*platform);
        }
        for platform in raised.clone().difference(&silent) {
            close(store, *platform).await?;
            raised.remove(platform);
        }
        Ok(())
    }

    /// Sets the metric; zero for a store that responds again.
    fn show(&mut self, found: &[SilentStore]) {
        let mut waiting: BTreeMap<String, i64> =
            self.shown.iter().map(|store| (store.clone(), 0)).collect();
        for one in found {
            *waiting.entry(one.store.clone()).or_default() += one.purchases;
        }
        for (store, purchases) in waiting {
            let purchases = f64::from(u32::try_from(purchases).unwrap_or(u32::MAX));
            gauge!("settle_silent_store_purchases", "store" => store.clone()).set(purchases);
            self.shown.insert(store);
        }
    }
}

/// Returns the platforms with an open alarm of this kind.
async fn open(store: &Store, kind: &str) -> Result<BTreeSet<PlatformId>, Error> {
    let filter = AlarmFilter {
        open: Some(true),
        kind: Some(kind.to_owned()),
        ..AlarmFilter::default()
    };
    let page = Page {
        cursor: None,
        limit: MAX_OPEN,
    };
    let found = store.alarms_of(filter, page).await?.items;
    Ok(found
        .into_iter()
        .filter_map(|alarm| alarm.platform_id)
        .collect())
}

/// Closes the alarms about a store that responds again.
async fn close(store: &Store, platform: PlatformId) -> Result<(), Error> {
    for kind in [KIND, VERIFICATION_WAITS] {
        store
            .close_alarm(Some(platform), kind, STORE_SILENT, CLOSED)
            .await?;
    }
    Ok(())
}
