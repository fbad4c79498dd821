//! A new database with an app and a platform, on SQLite or PostgreSQL.

use domain::device::claim::CLAIM_STORE_TYPE;
use domain::{
    CollapseKey, DestinationId, DeviceId, Lane, Notification, NotificationKind, PlatformId,
    RedeliverySelector, Timestamp, Transition, TransitionKind,
};
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use storage::{
    Accepted, App, Config, CredentialRefusal, Database, Destination, DestinationChange,
    DestinationSettings, Error, Key, Loaded, NewDestination, NewNotification, NewPlatform, Page,
    Platform, PlatformChange, PlatformSettings, Recipient, Record, Recorded, Run, SecretHash,
    SecretString, Store, Traits,
};
use system_tests::distance::Distance;
use system_tests::folder::Folder;
use system_tests::postgres::{self, Fsync};
pub use system_tests::raw::Raw;
use system_tests::world::SOON;
use system_tests::{records, template, wait};

/// Initial time of the clock on SQLite: 2027-01-15, in microseconds since 1970.
pub const BEGINNING: i64 = 1_800_000_000_000_000;
pub const WINDOW_MS: i64 = 120_000;
pub const LEASE_MS: i64 = 30_000;
/// The `traceparent` of all notifications and records.
const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Defines a story, which runs on both databases, each time in a new world with its own clock. With `synced`,
/// PostgreSQL waits for the disk.
macro_rules! story {
    (synced $($story:tt)*) => { story! { @synced_postgres $($story)* } };
    (@$postgres:ident $(#[$meta:meta])* async fn $name:ident($world:ident: $type:ty) $body:block) => {
        $(#[$meta])*
        mod $name {
            use super::*;
            use std::sync::atomic::{AtomicI64, Ordering};

            async fn story($world: $type) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_sqlite() {
                static NOW: AtomicI64 = AtomicI64::new($crate::storage::world::BEGINNING);
                let clock = || domain::Timestamp::from_micros(NOW.load(Ordering::SeqCst));
                story($crate::storage::world::World::sqlite(clock, &NOW).await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_postgres() {
                static NOW: AtomicI64 = AtomicI64::new($crate::storage::world::BEGINNING);
                let clock = || domain::Timestamp::from_micros(NOW.load(Ordering::SeqCst));
                story($crate::storage::world::World::$postgres(clock, &NOW).await).await;
            }
        }
    };
    ($($story:tt)*) => { story! { @postgres $($story)* } };
}
pub(crate) use story;

pub struct World {
    pub store: Store,
    pub config: Config,
    pub app: App,
    pub platform: Platform,
    pub now: &'static AtomicI64,
    /// Folder of the world's files, which lives as long as the story.
    pub folder: Folder,
}

/// Returns the secret of a device.
pub fn secret(device: DeviceId) -> SecretHash {
    SecretHash::of(&SecretString::from(device.to_string()))
}

pub fn key_of_all_ones() -> Key {
    Key::new([1; 32])
}

impl World {
    pub async fn sqlite(clock: fn() -> Timestamp, now: &'static AtomicI64) -> Self {
        let folder = Folder::new("storage");
        let file = folder.path().join("settle.db");
        template::sqlite(&file);
        Self::open(Database::Sqlite(file), clock, now, folder).await
    }

    pub async fn postgres(clock: fn() -> Timestamp, now: &'static AtomicI64) -> Self {
        Self::on_server(Fsync::Off, clock, now).await
    }

    /// Opens a world in a PostgreSQL that waits for the disk.
    pub async fn synced_postgres(clock: fn() -> Timestamp, now: &'static AtomicI64) -> Self {
        Self::on_server(Fsync::On, clock, now).await
    }

    async fn on_server(fsync: Fsync, clock: fn() -> Timestamp, now: &'static AtomicI64) -> Self {
        let url = tokio::task::spawn_blocking(move || postgres::migrated(fsync))
            .await
            .unwrap()
            .unwrap();
        Self::open(Database::Postgres(url), clock, now, Folder::new("storage")).await
    }

    /// Opens a world in a database with settle's tables that belongs to the test.
    pub async fn on_url(url: String, clock: fn() -> Timestamp, now: &'static AtomicI64) -> Self {
        Self::open(Database::Postgres(url), clock, now, Folder::new("storage")).await
    }

    /// Opens a world in a PostgreSQL at a distance; the proxy counts round trips.
    pub async fn postgres_at_a_distance(
        clock: fn() -> Timestamp,
        now: &'static AtomicI64,
        each_way: Duration,
    ) -> (Self, Distance) {
        let url = tokio::task::spawn_blocking(|| postgres::migrated(Fsync::Off))
            .await
            .unwrap()
            .unwrap();
        let (distance, url) = Distance::before_url(&url, each_way).unwrap();
        (
            Self::open(Database::Postgres(url), clock, now, Folder::new("storage")).await,
            distance,
        )
    }

    async fn open(
        database: Database,
        clock: fn() -> Timestamp,
        now: &'static AtomicI64,
        folder: Folder,
    ) -> Self {
        let config = Config {
            database,
            key: key_of_all_ones(),
            clock,
        };
        let store = Store::open(config.clone()).await.unwrap();
        let app = store.new_app("Acme").await.unwrap();
        let platform = store
            .new_platform(new_platform(&app, "ingress-1"))
            .await
            .unwrap();
        Self {
            store,
            config,
            app,
            platform,
            now,
            folder,
        }
    }

    /// Returns a second store, like another process's; on SQLite, which only one process uses, the same store.
    pub async fn second_process(&self) -> Store {
        if self.is_postgres() {
            Store::open(self.config.clone()).await.unwrap()
        } else {
            self.store.clone()
        }
    }

    /// Waits until at least this many sessions of the database wait for a lock; on PostgreSQL only.
    pub async fn wait_for_locks(&self, count: i64) {
        wait::until(SOON, "sessions that wait for a lock", async || {
            let waiting = self.waiting_sessions();
            if waiting >= count {
                Ok(())
            } else {
                Err(waiting.to_string())
            }
        })
        .await;
    }

    pub fn is_postgres(&self) -> bool {
        matches!(self.config.database, Database::Postgres(_))
    }

    pub fn file(&self) -> Option<PathBuf> {
        match &self.config.database {
            Database::Sqlite(path) => Some(path.clone()),
            Database::Postgres(_) => None,
        }
    }

    pub fn raw(&self) -> Raw {
        Raw::of(&self.config.database)
    }

    /// Queues the events that were never queued for a destination. Returns the number of deliveries.
    pub async fn backfill(&self, to: DestinationId, run: Run) -> i64 {
        let missing = RedeliverySelector::NeverQueued.to(to);
        self.store
            .resend(missing, Page::default(), run)
            .await
            .unwrap()
            .requeued
            .pending
    }

    /// Lets time pass. PostgreSQL's clock cannot be moved, so there the times in the rows are moved back.
    pub fn pass(&self, millis: i64) {
        let micros = millis * 1000;
        if !self.is_postgres() {
            self.now.fetch_add(micros, Ordering::SeqCst);
            return;
        }
        let times = [
            ("notifications", "accepted_at"),
            ("notifications", "due_at"),
            ("notifications", "cap_at"),
            ("notifications", "sweep_at"),
            ("notifications", "waits_since"),
            ("notifications", "finished_at"),
            ("purchases", "updated_at"),
            ("purchases", "held_until"),
            ("purchases", "next_wake_at"),
            ("purchases", "woken_for"),
            ("purchases", "sweep_at"),
            ("purchases", "unverified_since"),
            ("deliveries", "next_due_at"),
            ("deliveries", "first_tried_at"),
            ("deliveries", "tried_at"),
            ("leases", "lease_until"),
            ("lanes", "retry_after_received_at"),
            ("lanes", "retry_after_until"),
            ("user_leases", "lease_until"),
            ("user_lanes", "paused_until"),
            ("health", "first_failure_at"),
            ("health", "last_failure_at"),
            ("health", "last_success_at"),
            ("health", "opened_at"),
            ("health", "probed_at"),
            ("health", "recovered_at"),
            ("health", "paused_until"),
            ("health", "next_slot_at"),
            ("claims", "due_at"),
            ("platforms", "secret_retry_at"),
            ("claims", "created_at"),
            ("duties", "answer_by"),
            ("duties", "due_at"),
            ("duties", "warn_at"),
            ("events", "created_at"),
            ("rechecks", "requested_at"),
            ("topics", "expires_at"),
            ("sweeps", "finished_at"),
            ("sweeps", "restarted_at"),
            ("sweeps", "emptied_at"),
            ("installation", "created_at"),
            ("processes", "seen_at"),
            ("repairs", "repaired_through"),
            ("repairs", "began_at"),
            ("repairs", "due_at"),
        ];
        let mut raw = self.raw();
        for (table, column) in times {
            raw.run(&format!(
                "UPDATE {table} SET {column} = {column} - {micros}"
            ));
        }
    }

    /// Checks that `wait` is what remains of a wait of `full_ms` that began at `began` or slightly later. PostgreSQL's
    /// clock keeps running meanwhile.
    pub async fn check_left(&self, wait: Duration, full_ms: i64, began: Timestamp) {
        let now = self.store.now().await.unwrap();
        let passed = if self.is_postgres() {
            now.millis_since(began) + 1
        } else {
            0
        };
        let wait = i64::try_from(wait.as_millis()).unwrap();
        assert!(
            (full_ms - passed..=full_ms).contains(&wait),
            "{wait} of {full_ms} ms are left after {passed} ms"
        );
    }

    pub fn key(&self, receipt_id: &str) -> CollapseKey {
        CollapseKey::of(self.platform.id, receipt_id)
    }

    pub async fn accept(&self, notification: NewNotification) -> Accepted {
        self.store.accept(vec![notification]).await.unwrap()[0]
    }

    /// Accepts a [`renewal`] and returns its sequence number.
    pub async fn notify(&self, message_id: &str, receipt_id: &str, at_ms: i64) -> i64 {
        match self
            .accept(renewal(self.platform.id, message_id, receipt_id, at_ms))
            .await
        {
            Accepted::New { seq } => seq,
            other => panic!("{message_id} was not new: {other:?}"),
        }
    }

    /// Loads a purchase, and retries while no connection is free: on a busy machine PostgreSQL may take longer to begin
    /// a session than a read waits.
    pub async fn load(&self, key: CollapseKey) -> Loaded {
        wait::until(SOON, "a load", async || {
            match self.store.load(key, i64::MAX, 500).await {
                Err(error @ storage::Error::Unavailable(_)) => Err(error.to_string()),
                other => Ok(other.unwrap()),
            }
        })
        .await
    }

    /// Schedules the next query to the store about a purchase in its current state.
    pub async fn schedule_query(&self, key: CollapseKey, delay: Duration) {
        let settling = self.load(key).await.settling;
        assert!(
            self.store
                .schedule_query(key, settling, delay)
                .await
                .unwrap(),
            "it was requested before"
        );
    }

    /// Settles the open notifications of a purchase, which makes a new revision.
    pub async fn settle(&self, key: CollapseKey) -> (i64, Vec<Lane>) {
        let loaded = self.load(key).await;
        match self.store.record(record(key, &loaded)).await.unwrap() {
            Recorded::Done {
                revision, lanes, ..
            } => (revision, lanes),
            Recorded::Moved => panic!("the purchase moved"),
        }
    }

    /// Accepts a notification of a purchase and settles it.
    pub async fn revise(&self, receipt_id: &str, number: i64) -> i64 {
        self.notify(&format!("{receipt_id}-{number}"), receipt_id, number * 1000)
            .await;
        self.settle(self.key(receipt_id)).await.0
    }

    /// Accepts a notification of a purchase and settles it with these transitions.
    pub async fn happen(&self, receipt_id: &str, number: i64, whats: &[TransitionKind]) -> i64 {
        self.notify(&format!("{receipt_id}-{number}"), receipt_id, number * 1000)
            .await;
        let key = self.key(receipt_id);
        let record = happened(record(key, &self.load(key).await), whats);
        self.done(record).await
    }

    /// Records a settling whose purchase has not changed since its load, and returns its revision.
    pub async fn done(&self, record: Record) -> i64 {
        match self.store.record(record).await.unwrap() {
            Recorded::Done { revision, .. } => revision,
            Recorded::Moved => panic!("the purchase moved"),
        }
    }

    /// Changes the settings of the platform.
    pub async fn set(&self, set: impl FnMut(&mut PlatformSettings) + Send + 'static) -> Platform {
        self.store
            .update_platform(self.platform.id, PlatformChange::default(), set)
            .await
            .unwrap()
    }

    /// Replaces the shared secret of the platform, or removes it.
    pub async fn set_secret(&self, secret: Option<&str>) -> Platform {
        self.store
            .update_platform(self.platform.id, of_secret(secret), |_| {})
            .await
            .unwrap()
    }

    /// Changes the common settings of a destination.
    pub async fn alter(
        &self,
        id: DestinationId,
        set: impl FnMut(&mut DestinationSettings) + Send + 'static,
    ) -> Destination {
        self.store
            .update_destination(id, DestinationChange::default(), set)
            .await
            .unwrap()
    }

    pub async fn destination(&self, name: &str) -> Destination {
        self.store
            .new_destination(new_destination(&self.app, name))
            .await
            .unwrap()
    }
}

pub fn of_secret(secret: Option<&str>) -> PlatformChange {
    PlatformChange {
        shared_secret: Some(secret.map(SecretString::from)),
        ..PlatformChange::default()
    }
}

/// Returns the recipient that an ingress key identifies.
pub async fn recipient(store: &Store, key: &str) -> Option<Recipient> {
    let mut recipients = store.recipients(vec![key.to_owned()]).await.unwrap();
    assert_eq!(recipients.missing_keys, [""; 0]);
    recipients.found.remove(key)
}

pub fn new_platform(app: &App, ingress_key: &str) -> NewPlatform {
    NewPlatform {
        app_id: app.id,
        store: "amazon".to_owned(),
        // Stories have several platforms of one app with the same package.
        settings: PlatformSettings {
            shares_package: true,
            ..PlatformSettings::new(&format!("platform {ingress_key}"), "com.acme", WINDOW_MS)
        },
        shared_secret: Some(SecretString::from("shared-secret-of-the-platform")),
        topic_arn: None,
        ingress_key: ingress_key.into(),
        publishable_key: format!("pk_{ingress_key}"),
        of_store: Default::default(),
    }
}

pub fn new_destination(app: &App, name: &str) -> NewDestination {
    NewDestination {
        app_id: app.id,
        kind: "webhook".to_owned(),
        common: DestinationSettings::new(name),
        settings: serde_json::json!({"url": "https://example.com/hook"}),
        secret: SecretString::from("whsec_of-the-destination"),
        traits: Traits::default(),
    }
}

/// Returns a notification of the type RENEWED at `at_ms`.
pub fn renewal(
    platform_id: PlatformId,
    message_id: &str,
    receipt_id: &str,
    at_ms: i64,
) -> NewNotification {
    let report = Report {
        kind: NotificationKind::Renewed,
        customer: Some("customer-1"),
        related: None,
    };
    reported(platform_id, message_id, receipt_id, at_ms, report)
}

/// The kind, the customer and the related receipt of a notification.
pub struct Report<'a> {
    pub kind: NotificationKind,
    pub customer: Option<&'a str>,
    pub related: Option<&'a str>,
}

pub fn reported(
    platform_id: PlatformId,
    message_id: &str,
    receipt_id: &str,
    at_ms: i64,
    report: Report<'_>,
) -> NewNotification {
    let collapse_key = CollapseKey::of(platform_id, receipt_id);
    let store_time = Timestamp::from_millis(at_ms);
    let notification = Notification {
        message_id: message_id.to_owned(),
        collapse_key,
        receipt_id: receipt_id.to_owned(),
        kind: report.kind,
        store_type: format!("{:?}", report.kind).to_uppercase(),
        store_time,
        app_user_id: report.customer.map(str::to_owned),
        related_receipt_id: report.related.map(str::to_owned),
        is_test: false,
        voided: None,
        refunded: None,
    };
    NewNotification {
        traceparent: Some(TRACE.to_owned()),
        ..records::stored(platform_id, &notification)
    }
}

/// Returns a record that settles all loaded notifications, without a transition. With every revision, the snapshot
/// renews a month later, so that the record always changes.
pub fn record(collapse_key: CollapseKey, loaded: &Loaded) -> Record {
    let month_ms = 30 * 24 * 3600 * 1000;
    let renews_at = Timestamp::from_micros(BEGINNING).plus_millis((loaded.revision + 1) * month_ms);
    let mut record = records::record(collapse_key, loaded, renews_at);
    record.decision.transitions = Vec::new();
    let from_devices = loaded
        .notifications
        .iter()
        .filter(|(_, one)| one.store_type == CLAIM_STORE_TYPE);
    Record {
        from_devices: from_devices.map(|(seq, _)| *seq).collect(),
        traceparent: Some(TRACE.to_owned()),
        ..record
    }
}

/// Returns this record with transitions of these kinds.
pub fn happened(mut record: Record, whats: &[TransitionKind]) -> Record {
    let transition = |what: &TransitionKind| Transition {
        kind: *what,
        at: Some(Timestamp::from_millis(5)),
        cycle: None,
    };
    record.decision.transitions = whats.iter().map(transition).collect();
    record
}

/// A refusal that only another credential helps against.
pub const REFUSAL: CredentialRefusal = CredentialRefusal {
    why: "refused",
    retry_in: None,
};

pub fn is_missing(error: &Error) -> bool {
    matches!(error, Error::Missing { .. })
}
