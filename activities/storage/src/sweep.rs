//! What is overdue, so that storage alone can rebuild every workflow.

use crate::{Error, Store};
use domain::CollapseKey;

/// A purchase that should be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// The purchase.
    pub collapse_key: CollapseKey,
    /// `unsettled`, `lane` or `wake`.
    pub why: &'static str,
}

impl Store {
    /// At most `limit` purchases with overdue rows, overdue deliveries or a past wake.
    pub async fn due(&self, limit: i64) -> Result<Vec<Due>, Error> {
        todo!()
    }
}
