//! Destinations that a test adds to its world, and their deliveries.

use super::wait;
use super::world::{SOON, World};
use serde_json::Value;

impl World {
    /// Adds a destination with these fields, and returns the answer, which contains new secrets.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn create_destination(&self, fields: &Value) -> Value {
        self.api
            .post(&format!("/v1/apps/{}/destinations", self.app_id), fields)
            .await
            .ok()
    }

    /// Like [`Self::create_destination`], but returns the destination's id.
    ///
    /// # Panics
    /// When the request is refused.
    pub async fn add(&self, fields: &Value) -> String {
        self.create_destination(fields).await["id"]
            .as_str()
            .expect("an id")
            .to_owned()
    }

    /// Waits until a receipt's purchase has a delivery with this event type and status to a destination, and returns
    /// the delivery.
    ///
    /// # Panics
    /// When the deadline passes.
    pub async fn wait_delivery(
        &self,
        id: &str,
        receipt_id: &str,
        event_type: &str,
        status: &str,
    ) -> Value {
        wait::until(
            SOON,
            &format!("{event_type} of {receipt_id} to be {status}"),
            async || {
                let all = self.deliveries(receipt_id).await;
                let mut own = all
                    .iter()
                    .filter(|one| one["destination_id"] == id && one["event_type"] == event_type);
                own.find(|one| one["status"] == status)
                    .cloned()
                    .ok_or_else(|| format!("{all:?}"))
            },
        )
        .await
    }
    /// Waits until a delivery of a receipt's purchase has failed and will be retried.
    ///
    /// # Panics
    /// When the deadline passes.
    pub async fn wait_back_off(&self, receipt_id: &str) {
        wait::until(SOON, "a delivery in back-off", async || {
            let all = self.deliveries(receipt_id).await;
            let is_waiting = all
                .iter()
                .any(|one| one["status"] == "pending" && one["last_error"].is_string());
            if is_waiting {
                Ok(())
            } else {
                Err(format!("{all:?}"))
            }
        })
        .await;
    }
}
