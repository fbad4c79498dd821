//! `load`: loads what a settling needs, without customer identifiers, since many people can read histories.

use std::time::Duration;
use storage::{Error, Store};
use workflows::activities::{Load, Loaded, MAX_PER_SETTLING};

/// Loads the purchase, its waiting notifications and its open lanes.
pub async fn load(store: &Store, input: Load) -> Result<Loaded, Error> {
    let mut loaded = store.load(input.collapse_key, input.through, MAX_PER_SETTLING).await?;
    fail::fail_point!("load.after", |_| std::process::abort());
    if let Some(late_ms) = loaded.late_ms.filter(|late_ms| *late_ms >= 0 && loaded.held_ms.is_none()) {
        let late = Duration::from_millis(u64::try_from(late_ms).unwrap_or(0));
        metrics::histogram!("settle_settling_lag_seconds").record(late);
    }
    for (_, notification) in &mut loaded.notifications {
        notification.app_user_id = None;
    }
    Ok(loaded)
}
