//! Erasing a customer: the customer's names are removed, and the ledger of payments and revisions stays.
//!
//! The first transaction replaces the customer by an anonymous user (`begin.rs`), so that later records contain no
//! name, and queues the event that informs receivers (`announce.rs`). Names that are stored elsewhere are removed in
//! steps of a bounded size (`steps.rs`). Each step records its progress, so that after a crash the next one continues
//! there. `columns.rs` lists the columns that may contain a name, and each step reads a batch of the rows that may
//! contain one (`batches.rs`). Records that are still to be sent come first; until their steps are done, they are sent
//! with names. Finally the destinations that can delete a user are requested to do so (`requests.rs`). The names are
//! stored encrypted until then.

mod announce;
mod author;
mod batch;
mod batches;
mod begin;
mod columns;
mod finished;
mod preview;
mod report;
mod requests;
mod steps;
mod written;

pub use begin::Erase;
#[cfg(feature = "fail-points")]
pub use columns::erased_columns;
pub use preview::ErasurePreview;
pub use report::TABLE;
pub use report::{DeletionState, DeletionStatus, Erasure, ErasureStage};
pub use requests::{DeletionRequest, RequestOutcome};

use crate::admin::platforms::require_app;
use crate::store::Store;
use db::audit_log::AuditEntry;
use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::sql;
use domain::AppId;
use report::SELECT;
use uuid::Uuid;

const FIND: Sql = statement!("{SELECT} WHERE id = ? AND app_id = ?");

impl Store {
    /// Begins to erase a customer: nothing that is recorded from then on contains one of the customer's names. Earlier
    /// records are sent with names until [`Store::continue_erasure`] has processed them. A repeated request returns the
    /// report of the first one.
    ///
    /// # Errors
    /// [`Error::Missing`] when the app has no such customer and never erased one; [`Error::WrongStore`] when the store of
    /// the customer is not clear; [`Error::Unavailable`] when the customer was merged or moved at the same moment.
    pub async fn erase_customer(&self, erase: Erase) -> Result<Erasure, Error> {
        let secrets = self.database.secrets.clone();
        self.change("customer.erase", move |write| {
            require_app(write, erase.app)?;
            let report = begin::begin(write, &secrets, &erase)?;
            // A repeated request changes nothing, so it gets no audit entry.
            let is_new = report.requested_at == write.now()?;
            let entry = is_new.then(|| AuditEntry::on(erase.app, report.id));
            Ok((report, entry))
        })
        .await
    }

    /// Returns the report of an erasure.
    pub async fn erasure(&self, app: AppId, id: Uuid) -> Result<Erasure, Error> {
        let what = "request to erase a customer";
        self.read(move |connection| sql(FIND).bind(id).bind(app).one(connection, what))
            .await
    }

    /// Takes one step of the requests to erase a customer, which changes at most `limit` rows of a table. Returns
    /// whether more steps remain, not counting the requests to destinations.
    pub async fn continue_erasure(&self, limit: i64) -> Result<bool, Error> {
        let secrets = self.database.secrets.clone();
        self.write(move |write| steps::step(write, &secrets, limit))
            .await
    }
}
