//! Writes thousands of revisions like settling, with the storage package on the same PostgreSQL, while the processes
//! under test deliver them. Settling them through Temporal's dev server would take an hour, and these tests are about
//! delivery.

use domain::{
    CollapseKey, Notification, NotificationKind, PlatformId, Timestamp, Transition, TransitionKind,
};
use futures::{StreamExt, stream};
use storage::{Config, Database, Key, Loaded, NewNotification, Record, Recorded, Store};
use system_tests::records;
use system_tests::world::World;

/// Number of purchases written concurrently.
const AT_ONCE: usize = 64;
/// Transitions of the revisions after the first, in rotation.
const TURNS: [TransitionKind; 2] = [TransitionKind::Cancelled, TransitionKind::Resumed];

/// A writer of revisions into a world's database.
pub struct RevisionWriter {
    store: Store,
    platform_id: PlatformId,
}

impl RevisionWriter {
    /// Opens a world's database, which must be PostgreSQL.
    pub async fn of(world: &World) -> Self {
        let database = Database::Postgres(world.installation.database().to_owned());
        let config = Config {
            database,
            key: Key::new([7; 32]),
            clock: api::clock::now,
        };
        let store = Store::open(config).await.expect("the world's database");
        Self {
            store,
            platform_id: world.platform_id,
        }
    }

    /// Writes `revisions` revisions of each receipt, each with a transition. Receipts are written concurrently.
    pub async fn write(&self, receipts: &[String], revisions: i64) {
        let all = stream::iter(receipts).map(async |receipt| {
            for _ in 0..revisions {
                self.revise(receipt).await;
            }
        });
        all.buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
    }

    /// Writes the next revision of a receipt's purchase.
    async fn revise(&self, receipt: &str) {
        let key = CollapseKey::of(self.platform_id, receipt);
        let number = self.load(key).await.revision;
        let row = self.notification_of(receipt, number);
        self.store
            .accept(vec![row])
            .await
            .expect("an accepted notification");
        loop {
            let loaded = self.load(key).await;
            if loaded.revision > number {
                return; // The purchase's own run was faster.
            }
            match self
                .store
                .record(record(key, &loaded))
                .await
                .expect("a recorded settling")
            {
                Recorded::Done { .. } => return,
                Recorded::Moved => {}
            }
        }
    }

    async fn load(&self, key: CollapseKey) -> Loaded {
        self.store
            .load(key, i64::MAX, 500)
            .await
            .expect("a loaded purchase")
    }

    fn notification_of(&self, receipt: &str, number: i64) -> NewNotification {
        let store_time = Timestamp::from_micros(1_800_000_000_000_000).plus_millis(number * 1000);
        let notification = Notification {
            message_id: format!("{receipt}-{number}"),
            collapse_key: CollapseKey::of(self.platform_id, receipt),
            receipt_id: receipt.to_owned(),
            kind: NotificationKind::Renewed,
            store_type: "SUBSCRIPTION_RENEWED".to_owned(),
            store_time,
            app_user_id: Some(format!("customer-of-{receipt}")),
            related_receipt_id: None,
            is_test: false,
            voided: None,
            refunded: None,
        };
        records::stored(self.platform_id, &notification)
    }
}

/// Returns a record with one transition, whose snapshot renews one month later with every revision.
fn record(key: CollapseKey, loaded: &Loaded) -> Record {
    let month_ms = 30 * 24 * 3600 * 1000;
    let mut record = records::record(
        key,
        loaded,
        loaded.now.plus_millis((loaded.revision + 1) * month_ms),
    );
    let turn = usize::try_from(loaded.revision).unwrap_or(0);
    let what = if turn == 0 {
        TransitionKind::Purchased
    } else {
        TURNS[turn % TURNS.len()]
    };
    record.decision.transitions = vec![Transition {
        kind: what,
        at: Some(loaded.now),
        cycle: None,
    }];
    record
}
