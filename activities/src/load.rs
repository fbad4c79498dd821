//! `load`: loads what a settling needs, without customer identifiers, since many people can read histories.

use std::time::Duration;
use storage::{Error, Store};
use workflows::activities::{Load, Loaded, MAX_PER_SETTLING};

/// Loads the purchase, its waiting notifications and its open lanes.
pub async fn load(store: &Store, input: Load) -> Result<Loaded, Error> {
    let loaded = store.load(input.collapse_key, input.through, MAX_PER_SETTLING).await?;
    fail::fail_point!("load.after", |_| std::process::abort());
    if let Some(late_ms) = loaded.late_ms.filter(|late_ms| *late_ms >= 0 && loaded.held_ms.is_none()) {
        let late = Duration::from_millis(u64::try_from(late_ms).unwrap_or(0));
        metrics::histogram!("settle_settling_lag_seconds").record(late);
    }
    let mut notifications = loaded.notifications;
    for (_, notification) in &mut notifications {
        notification.app_user_id = None;
    }
    Ok(Loaded {
        app_id: loaded.app_id,
        platform_id: loaded.platform_id,
        purchase: loaded.purchase,
        revision: loaded.revision,
        settling: loaded.settling,
        notifications,
        more: loaded.more,
        newest_seq: loaded.newest_seq,
        quiet_ms: loaded.quiet_ms,
        cap_ms: loaded.cap_ms,
        held_ms: loaded.held_ms,
        due: loaded.due,
        verify: loaded.verify,
        is_replaced: loaded.is_replaced,
        lanes: loaded.lanes,
        now: loaded.now,
    })
}
