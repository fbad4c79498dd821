//! The windows in which the notifications of a platform wait for further ones, and the other settings that acceptance
//! depends on.

use crate::inbox::notifications::NewNotification;
use crate::settings::tombstones::HAS_ERASED;
use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::{row, sql};
use db::writer::Write;
use domain::{AppId, PlatformId};
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

/// Maximum number of platforms in a cached statement: each number of platforms has a statement of its own.
const FEW: usize = 8;

row! {
    /// The settings of a platform for the acceptance of its notifications.
    pub struct Window {
        id: PlatformId,
        pub length: Duration,
        pub max_wait: Option<Duration>,
        pub app_id: AppId,
        pub store: String,
        /// Whether a customer of its app was erased.
        pub has_erased: bool,
    }
}

const WINDOWS: Sql = statement! {"
    SELECT id, window_ms AS length, max_wait_ms AS max_wait, app_id, store, {HAS_ERASED}
    FROM platforms
    WHERE id IN (?*)
"};

/// Returns the settings of the platforms of these notifications.
pub fn find(
    write: &mut Write<'_>,
    all: &[&NewNotification],
) -> Result<HashMap<PlatformId, Window>, Error> {
    let platforms: BTreeSet<PlatformId> = all.iter().map(|one| one.platform_id).collect();
    let statement = if platforms.len() > FEW {
        sql(WINDOWS).uncached()
    } else {
        sql(WINDOWS)
    };
    let windows: Vec<Window> = statement.bind_list(platforms).all(write.connection)?;
    Ok(windows
        .into_iter()
        .map(|window| (window.id, window))
        .collect())
}
