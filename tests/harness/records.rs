//! Builds what the ingress and a settling write, for tests that write through the storage package.

use domain::verification::Product;
use domain::{
    CollapseKey, Notification, Outcome, PlatformId, SettlingContext, Snapshot, Timestamp,
    Verification,
};
use storage::{Loaded, NewNotification, Record};

/// Returns a notification as the ingress stores it.
pub fn stored(platform_id: PlatformId, notification: &Notification) -> NewNotification {
    NewNotification::of(platform_id, notification.clone())
}

/// Returns a record that settles all loaded notifications, with a snapshot of a subscription that renews at
/// `renews_at`.
pub fn record(collapse_key: CollapseKey, loaded: &Loaded, renews_at: Timestamp) -> Record {
    let seqs: Vec<i64> = loaded.notifications.iter().map(|(seq, _)| *seq).collect();
    let snapshot = Snapshot {
        at: loaded.now,
        product: Product::Subscription,
        product_id: Some("parent".to_owned()),
        term_sku: Some("term".to_owned()),
        renews_at: Some(renews_at),
        auto_renewing: Some(true),
        ..Snapshot::default()
    };
    let verification = Verification::Verified(Box::new(snapshot));
    let context = SettlingContext {
        policy: domain::StorePolicy::default(),
        verification: &verification,
        is_replaced: false,
        now: loaded.now,
    };
    let mut decision = domain::decide(&loaded.purchase, &loaded.notifications, context);
    decision.outcomes = seqs.iter().map(|seq| (*seq, Outcome::Settled)).collect();
    (decision.waits, decision.wake) = (None, None);
    Record {
        collapse_key,
        settling: loaded.settling + 1,
        revision: loaded.revision,
        seqs,
        decision,
        is_replaced: loaded.is_replaced,
        settings_version: loaded.settings_version,
        is_queried: loaded.verify,
        from_devices: Vec::new(),
        is_answer: true,
        is_real: true,
        traceparent: None,
    }
}
