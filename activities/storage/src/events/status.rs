//! The status of a delivery, as it is stored.

use crate::db::statement::stored;
use serde::{Deserialize, Serialize};

stored! {
    /// The status of a delivery.
    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum DeliveryStatus {
        /// It is sent when it is due.
        Pending = "pending",
        /// It waits for the customer's id.
        Waiting = "waiting",
        /// The destination confirmed it.
        Delivered = "delivered",
        /// A newer event was sent in its place.
        Superseded = "superseded",
        /// A setting ended it before it was sent.
        Skipped = "skipped",
        /// It is never sent again.
        Dead = "dead",
    }
}
