//! What an admin may do to one purchase: hold, release, discard, redeliver.

use crate::{Error, Store};
use domain::{CollapseKey, DestinationId, Lane, Timestamp};

impl Store {
    /// Stops settling of a purchase until a time.
    pub async fn hold(&self, key: CollapseKey, until: Timestamp, by: &str, reason: &str) -> Result<(), Error> {
        todo!()
    }

    /// Ends a hold.
    pub async fn release(&self, key: CollapseKey) -> Result<(), Error> {
        todo!()
    }

    /// Ends what is open up to a sequence number, or all of it; answers how many rows that ended.
    pub async fn discard(
        &self,
        key: CollapseKey,
        through: Option<i64>,
        by: &str,
        reason: &str,
    ) -> Result<i64, Error> {
        todo!()
    }

    /// Sends the newest `purchase.updated` again, to one destination or all; answers the open lanes.
    pub async fn redeliver(&self, key: CollapseKey, destination: Option<DestinationId>) -> Result<Vec<Lane>, Error> {
        todo!()
    }
}
