//! `load`: loads what a settling needs. The store's user ids are removed: everybody with access to Temporal can read a
//! workflow's history.

use storage::{Error, Store};
use workflows::activities::{Load, Loaded, MAX_PER_SETTLING};

/// Loads the purchase, its waiting notifications and its open lanes.
pub async fn load(store: &Store, input: Load) -> Result<Loaded, Error> {
    let mut loaded = store.load(input.collapse_key, input.through, MAX_PER_SETTLING).await?;
    fail::fail_point!("load.after", |_| std::process::abort());
    if let Some(late) = loaded.late.filter(|_| loaded.held.is_none()) {
        metrics::histogram!("settle_settling_lag_seconds").record(late);
    }
    for (_, notification) in &mut loaded.notifications {
        notification.app_user_id = None;
    }
    Ok(loaded)
}
