//! The stored status of a delivery.

use db::statement::stored;
use serde::{Deserialize, Serialize};

stored! {
    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum DeliveryStatus {
        /// To be sent when it is due.
        Pending = "pending",
        /// To be sent once the user's external id is known.
        Waiting = "waiting",
        Delivered = "delivered",
        /// Not sent, because a newer event replaces it.
        Superseded = "superseded",
        /// A setting of the destination ended it before it was sent.
        Skipped = "skipped",
        /// Given up. An admin can resend the event in a new delivery.
        Failed = "failed",
    }
}
