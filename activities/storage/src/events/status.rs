//! The status of a delivery, as it is stored.

use crate::db::statement::stored;
use serde::{Deserialize, Serialize};

stored! {
    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum DeliveryStatus {
        /// It is sent when it is due.
        Pending = "pending",
        /// It is to be sent, and waits for the user's own id.
        Waiting = "waiting",
        Delivered = "delivered",
        /// It is not sent any more: a newer event takes its place.
        Superseded = "superseded",
        /// A setting of the destination ended it before it was sent.
        Skipped = "skipped",
        /// It was given up. An admin can have its event sent again, as another delivery.
        Failed = "failed",
    }
}
