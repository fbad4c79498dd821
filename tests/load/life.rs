//! Purchases that pass through the storage as in production: accepted, settled and delivered repeatedly.

use super::purchase;
use domain::{CollapseKey, DestinationId, PlatformId, Transition, TransitionKind};
use futures::{StreamExt, TryStreamExt, stream};
use storage::Store;

/// Number of purchases processed concurrently.
const AT_ONCE: usize = 8;

/// The generated purchases: each has this number of settlings with this number of notifications, and one transition per
/// settling.
#[derive(Clone, Copy)]
pub struct Life {
    pub purchases: usize,
    pub settlings: usize,
    pub notifications: usize,
}

impl Life {
    /// Processes all purchases, with deliveries to this webhook.
    ///
    /// # Errors
    /// When the storage fails.
    pub async fn live(
        self,
        store: &Store,
        platform: PlatformId,
        webhook: DestinationId,
    ) -> anyhow::Result<()> {
        let all = (0..self.purchases).map(|number| self.one(store, platform, webhook, number));
        stream::iter(all)
            .buffer_unordered(AT_ONCE)
            .try_collect::<Vec<()>>()
            .await?;
        Ok(())
    }

    /// Processes one purchase, with ids as long as the store's own that cannot be compressed.
    pub async fn one(
        self,
        store: &Store,
        platform: PlatformId,
        webhook: DestinationId,
        number: usize,
    ) -> anyhow::Result<()> {
        let noise = |part: String| CollapseKey::of(platform, &part).to_string();
        let [one, other] = ["a", "b"].map(|part| noise(format!("{part}{number}")).replace('-', ""));
        let receipt = format!("{one}{}=:1:11", &other[..11]);
        let (key, customer) = (
            CollapseKey::of(platform, &receipt),
            noise(format!("c{number}")),
        );
        for settling in 0..self.settlings {
            for notification in 0..self.notifications {
                let place = settling * self.notifications + notification;
                let (message, at_ms) = (
                    noise(format!("m{number}/{place}")),
                    i64::try_from(place + 1)? * 1000,
                );
                let accepted =
                    purchase::notification(platform, &message, &receipt, &customer, at_ms);
                store.accept(vec![accepted]).await?;
            }
            let kind = if settling == 0 {
                TransitionKind::Purchased
            } else {
                TransitionKind::Renewed
            };
            let loaded = store.load(key, i64::MAX, 500).await?;
            let mut record = purchase::record(key, &loaded);
            record.decision.transitions = vec![Transition {
                kind,
                at: Some(loaded.now),
                cycle: None,
            }];
            purchase::settle(store, record).await?;
            purchase::deliver(store, key, webhook).await?;
        }
        Ok(())
    }
}

/// Removes all bodies, as if all rows were older than the retention period. Returns the number of rows.
pub async fn prune_all(store: &Store) -> anyhow::Result<usize> {
    let (before, mut rows) = (store.now().await?.plus_millis(60_000), 0);
    while let pruned @ 1.. = store.prune(before, 1000).await? {
        rows += pruned;
    }
    Ok(rows)
}
