//! `load`: what a settling needs to know. Customer identifiers stay behind: histories are read by many.

use storage::{Error, Store};
use workflows::asks::{Load, Loaded, SETTLE_AT_MOST};

/// Reads the purchase, what waits for it and its open lanes.
pub async fn load(store: &Store, input: Load) -> Result<Loaded, Error> {
    let loaded = store.load(input.collapse_key, input.through, SETTLE_AT_MOST).await?;
    fail::fail_point!("load.after", |_| std::process::abort());
    let mut notifications = loaded.notifications;
    for (_, notification) in &mut notifications {
        notification.app_user_id = None;
    }
    Ok(Loaded {
        app_id: loaded.app_id,
        platform_id: loaded.platform_id,
        environment: loaded.environment,
        purchase: loaded.purchase,
        revision: loaded.revision,
        settling: loaded.settling,
        notifications,
        more: loaded.more,
        newest_seq: loaded.newest_seq,
        quiet_ms: loaded.quiet_ms,
        cap_ms: loaded.cap_ms,
        held_ms: loaded.held_ms,
        lanes: loaded.lanes,
        now: loaded.now,
    })
}
