//! Closing duties that a person has done, such as the answer to a store's question.

use crate::purchases::duties::{self as stored, DutyResult};
use crate::reports::duties::{self, DutyView};
use crate::reports::scope;
use crate::store::Store;
use db::audit_log::AuditEntry;
use db::error::Error;
use domain::DutyId;
use serde_json::json;

impl Store {
    /// Closes a duty as this handle's actor.
    ///
    /// # Errors
    /// [`Error::Missing`] if no duty has this id; [`Error::Conflict`] if it is closed.
    pub async fn close_duty(&self, id: DutyId) -> Result<DutyView, Error> {
        self.change("duty.close", move |write| {
            let before = duties::find(write.connection, id)?;
            let before = before.ok_or(Error::Missing { what: "duty" })?;
            let app = scope::app_of_platform(write.connection, before.platform_id)?;
            // The duty may have been closed since it was read.
            if !stored::close_if_open(write, id, DutyResult::Person)? {
                let closed = duties::find(write.connection, id)?;
                let at = closed.and_then(|duty| duty.done_at);
                let at = at.map_or_else(String::new, |at| format!(" at {at}"));
                return Err(Error::Conflict {
                    what: "duty",
                    detail: format!("the duty was closed{at}"),
                });
            }
            let done_at = write.now()?;
            let entry = AuditEntry::on(app, id)
                .before(json!({ "done_at": null }))
                .after(json!({ "done_at": done_at, "kind": before.kind }));
            let closed = DutyView {
                due_at: None,
                failure: None,
                done_at: Some(done_at),
                result: Some(DutyResult::Person),
                ..before
            };
            Ok((closed, Some(entry)))
        })
        .await
    }
}
