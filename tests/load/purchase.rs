//! A purchase on its way through the storage, like a worker processes it: accepted, settled and delivered.

use anyhow::Context;
use domain::{CollapseKey, DestinationId, Notification, NotificationKind, PlatformId, Timestamp};
use std::sync::Arc;
use std::time::Duration;
use storage::{
    Attempt, AttemptClass, Config, Database, DeliveryResult, DestinationSettings, EndpointSignal,
    EventResult, Finish, Key, Lease, LeaseResult, Loaded, Mode, NewDestination, NewNotification,
    NewPlatform, PlatformSettings, Record, Recorded, Rendered, SecretString, Store, Traits,
    Verdict,
};
use system_tests::records;

pub async fn open(database: Database) -> anyhow::Result<Store> {
    Ok(Store::open(Config {
        database,
        key: Key::new([1; 32]),
        clock: api::clock::now,
    })
    .await?)
}

/// Creates an app with a platform and this many webhooks.
pub async fn installation(
    store: &Store,
    webhooks: usize,
) -> anyhow::Result<(PlatformId, Vec<DestinationId>)> {
    let app = store.new_app("Acme").await?;
    let platform = store
        .new_platform(NewPlatform {
            app_id: app.id,
            store: "amazon".to_owned(),
            settings: PlatformSettings::new("platform", "com.acme", 0),
            shared_secret: None,
            topic_arn: None,
            ingress_key: "ingress".into(),
            publishable_key: "pk_test".to_owned(),
            of_store: Default::default(),
        })
        .await?;
    let mut ids = Vec::new();
    for number in 0..webhooks {
        let webhook = NewDestination {
            app_id: app.id,
            kind: "webhook".to_owned(),
            common: DestinationSettings {
                concurrency: 1_000,
                ..DestinationSettings::new(&format!("webhook {number}"))
            },
            settings: serde_json::json!({"url": "https://example.com/hook"}),
            secret: SecretString::from("whsec_of-the-destination"),
            traits: Traits::default(),
        };
        ids.push(store.new_destination(webhook).await?.id);
    }
    Ok((platform.id, ids))
}

/// Returns a renewal with this store time, in milliseconds since 1970.
pub fn notification(
    platform_id: PlatformId,
    message_id: &str,
    receipt_id: &str,
    customer: &str,
    at_ms: i64,
) -> NewNotification {
    let (collapse_key, store_time) = (
        CollapseKey::of(platform_id, receipt_id),
        Timestamp::from_millis(at_ms),
    );
    let notification = Notification {
        message_id: message_id.to_owned(),
        collapse_key,
        receipt_id: receipt_id.to_owned(),
        kind: NotificationKind::Renewed,
        store_type: "SUBSCRIPTION_RENEWED".to_owned(),
        store_time,
        app_user_id: Some(customer.to_owned()),
        related_receipt_id: None,
        is_test: false,
        voided: None,
        refunded: None,
    };
    records::stored(platform_id, &notification)
}

/// Records a settling, whose purchase must not have changed meanwhile.
pub async fn settle(store: &Store, record: Record) -> anyhow::Result<()> {
    let key = record.collapse_key;
    match store.record(record).await? {
        Recorded::Done { .. } => Ok(()),
        Recorded::Moved => anyhow::bail!("{key} moved"),
    }
}

/// Returns the record that settles all loaded notifications.
pub fn record(collapse_key: CollapseKey, loaded: &Loaded) -> Record {
    records::record(
        collapse_key,
        loaded,
        loaded.now.plus(Duration::from_secs(30 * 24 * 3600)),
    )
}

/// Delivers all of a purchase's events that are pending for a webhook.
pub async fn deliver(
    store: &Store,
    key: CollapseKey,
    destination: DestinationId,
) -> anyhow::Result<()> {
    loop {
        let token = api::clock::random_uuid().to_string();
        let lease = Lease {
            key,
            destination,
            token: token.clone(),
            duration: Duration::from_secs(30),
            mode: Mode::Lane,
            at_most: 10,
            render: Arc::new(|_, unsent| Rendered::Body(unsent.body.to_string())),
        };
        let batch = match store.lease(lease).await? {
            LeaseResult::Send(batch) => batch,
            LeaseResult::Idle(storage::Idle::Closed { .. }) => return Ok(()),
            LeaseResult::Idle(_) => continue,
            LeaseResult::Undeliverable { .. } => anyhow::bail!("{key} cannot be delivered"),
        };
        let delivered = |attempt: &Attempt| EventResult {
            delivery_id: attempt.delivery_id,
            class: AttemptClass::Success,
            error: None,
            counts: true,
            verdict: Verdict::Delivered,
        };
        let finish = Finish {
            key,
            destination,
            token,
            mode: Mode::Lane,
            started_at: batch.lease_until,
            latency: Duration::from_millis(1),
            status: Some(200),
            headers: Vec::new(),
            response: None,
            result: DeliveryResult {
                events: batch.attempts.iter().map(delivered).collect(),
                endpoint_signal: EndpointSignal::Success,
                lane_pause: None,
                user_pause: None,
                at_most: None,
                alarm: None,
            },
            disable_after: Duration::from_secs(24 * 3600),
        };
        let finished = store.finish(finish).await.context("finish")?;
        if matches!(finished.lane, storage::LaneState::Closed { .. }) {
            return Ok(());
        }
    }
}
