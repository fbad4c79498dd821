//! Watches that stores answer. A purchase waits for a store that does not for `amazon.patience` at least, and only then is
//! settled without it: people know of the outage within a minute.

use metrics::gauge;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use storage::{AlarmFilter, Error, Page, SilentStore, Store, chain};

/// Time between two checks.
const EVERY: Duration = Duration::from_secs(10);
/// Maximum number of open alarms that are known again after a start.
const MAX_OPEN: i64 = 500;
/// The kind of the alarm.
const KIND: &str = "store_silent";
/// It has neither a time nor a number, so that there is one such alarm of a platform.
const DETAIL: &str = "the store does not answer: purchases wait until it does, and are settled without it when the patience \
     with it ends; `settle status` shows since when, and how many wait";
const CLOSED: &str = "the store answers again";

/// The platforms whose stores are silent.
#[derive(Debug, Default)]
pub struct Watch {
    /// Those about which an alarm was raised; `None` before the first check.
    raised: Option<BTreeSet<domain::PlatformId>>,
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
        let found = store.silent_stores().await?;
        self.show(&found);
        let silent: BTreeSet<_> = found.iter().map(|one| one.platform_id).collect();
        if self.raised.is_none() {
            let open = AlarmFilter {
                open: Some(true),
                kind: Some(KIND.to_owned()),
                ..AlarmFilter::default()
            };
            let open = store
                .alarms_of(
                    open,
                    Page {
                        cursor: None,
                        limit: MAX_OPEN,
                    },
                )
                .await?
                .items;
            self.raised = Some(
                open.into_iter()
                    .filter_map(|alarm| alarm.platform_id)
                    .collect(),
            );
        }
        let raised = self.raised.get_or_insert_default();
        for platform in silent.difference(&raised.clone()) {
            store.alarm(Some(*platform), KIND, DETAIL).await?;
            raised.insert(*platform);
        }
        for platform in raised.clone().difference(&silent) {
            store
                .close_alarm(Some(*platform), KIND, DETAIL, CLOSED)
                .await?;
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
