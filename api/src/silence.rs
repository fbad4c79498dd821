//! Watches that stores answer. A purchase waits for a store that does not answer for at least `amazon.patience`, and
//! only then is settled without it; the outage is reported within a minute. A store that answers about others is not
//! silent.

use domain::PlatformId;
use metrics::gauge;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use storage::{
    AlarmFilter, Error, Page, STORE_SILENT, SilentStore, Store, VERIFICATION_WAITS, chain,
};

/// Time between two checks.
const EVERY: Duration = Duration::from_secs(10);
/// Maximum number of open alarms that are known again after a start.
const MAX_OPEN: i64 = 500;
/// The kind of the alarm.
const KIND: &str = "store_silent";
const CLOSED: &str = "the store answers again";

/// The platforms whose stores are silent.
#[derive(Debug, Default)]
pub struct Watch {
    /// Platforms with a raised alarm; `None` before the first check.
    raised: Option<BTreeSet<PlatformId>>,
    /// The stores that have a sample of the metric.
    shown: BTreeSet<String>,
}

/// Checks again and again, as long as the process runs.
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
    /// Raises the alarms of stores that are silent, and closes those of stores that answer again.
    ///
    /// # Errors
    /// The database does not answer; the next step does what is left.
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

    /// Sets the metric; zero for a store that answers again.
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

/// Returns the platforms with an open alarm of a kind.
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

/// Closes the alarms about a store that answers again.
async fn close(store: &Store, platform: PlatformId) -> Result<(), Error> {
    for kind in [KIND, VERIFICATION_WAITS] {
        store
            .close_alarm(Some(platform), kind, STORE_SILENT, CLOSED)
            .await?;
    }
    Ok(())
}
