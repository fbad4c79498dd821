//! Forgetting a customer: their names are removed, and the ledger of payments and revisions stays.
//!
//! The first transaction makes the customer another, anonymous user (`begin.rs`), so that nothing that is recorded later
//! has a name, and queues for receivers the event that says so (`announce.rs`). What is stored of the names elsewhere
//! is removed in steps of a bounded size (`steps.rs`), each of which notes how far it came: after a kill the next one
//! goes on there. The columns that may hold a name are one list (`columns.rs`), and each step reads a page of the rows
//! that may have it there (`pages.rs`). What was recorded before and waits to be sent comes first; until its steps are
//! done, it is sent with names. At last the destinations that can are asked to delete the user (`requests.rs`). The
//! names are kept sealed until then.

mod announce;
mod begin;
mod columns;
mod pages;
mod report;
mod requests;
mod steps;

pub use begin::Forget;
pub use report::TABLE;
pub use report::{DeletionState, DeletionStatus, Forgetting, ForgettingStage};
pub use requests::{DeletionRequest, RequestOutcome};

use crate::admin::platforms::require_app;
use crate::db::audit_log::AuditEntry;
use crate::db::error::Error;
use crate::db::sql::{Sql, statement};
use crate::db::statement::sql;
use crate::db::store::Store;
use domain::AppId;
use report::SELECT;
use uuid::Uuid;

const FIND: Sql = statement!("{SELECT} WHERE id = ? AND app_id = ?");

impl Store {
    /// Begins to forget a customer: nothing that is recorded from then on has a name of theirs. What was recorded before is
    /// sent with names until [`Store::continue_forgetting`] came to it. A repeated request gets the report of the first one.
    ///
    /// # Errors
    /// [`Error::Missing`] when the app has no such customer and never forgot one; [`Error::Unavailable`] when the customer
    /// was merged or moved at the same moment.
    pub async fn forget_customer(&self, forget: Forget) -> Result<Forgetting, Error> {
        let secrets = self.secrets.clone();
        self.change("customer.forget", move |write| {
            require_app(write, forget.app)?;
            let report = begin::begin(write, &secrets, &forget)?;
            // A repeated request gets the report of the first one, and changes nothing.
            let is_new = report.requested_at == write.now()?;
            let entry = is_new.then(|| AuditEntry::on(forget.app, report.id));
            Ok((report, entry))
        })
        .await
    }

    /// What was done to forget a customer of an app.
    pub async fn forgetting(&self, app: AppId, id: Uuid) -> Result<Forgetting, Error> {
        let what = "request to forget a customer";
        self.read(move |connection| sql(FIND).bind(id).bind(app).one(connection, what)).await
    }

    /// Takes one step of the requests to forget a customer, which changes at most `limit` rows of a table. Returns
    /// whether more steps remain, beside those of destinations.
    pub async fn continue_forgetting(&self, limit: i64) -> Result<bool, Error> {
        let secrets = self.secrets.clone();
        self.write(move |write| steps::step(write, &secrets, limit)).await
    }
}
