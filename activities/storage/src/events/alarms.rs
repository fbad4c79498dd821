//! Alarms: conditions that need a person. An alarm that is raised again is counted in its row, and open again. They are
//! listed in the room `reports`.

use crate::db::alarm::NewAlarm;
use crate::db::error::Error;
use crate::db::store::Store;
use crate::db::writer::Write;
use domain::PlatformId;

impl Store {
    /// Raises an alarm. If one with the same platform, kind and detail exists, its count is raised instead.
    pub async fn alarm(&self, platform: Option<PlatformId>, kind: &str, detail: &str) -> Result<(), Error> {
        let (kind, detail) = (kind.to_owned(), detail.to_owned());
        self.write(move |write| {
            raise(write, platform, &kind, &detail);
            Ok(())
        })
        .await
    }
}

/// Raises an alarm at the end of the caller's transaction: one alarm may be raised by settlings of many purchases.
pub fn raise(write: &mut Write<'_>, platform: Option<PlatformId>, kind: &str, detail: &str) {
    let order = format!("{kind}/{detail}/{}", platform.map(|id| id.to_string()).unwrap_or_default());
    let statement = NewAlarm { platform, kind, detail }.statement(write.now);
    write.run_last(order, statement);
}
