//! Signals the runs that find their work in storage: streams and claims. A signal, unlike a start, makes a run that is
//! about to end continue.

use super::{Engine, SignalWithStart, TemporalError};
use domain::{DestinationId, PlatformId};
use temporalio_common::search_attributes::SearchAttributes;
use workflows::contract;

impl Engine {
    /// Schedules a signal to a destination's stream of device events. It is sent in the background, at most once per
    /// half minute and destination, and repeated while Temporal is unavailable.
    pub fn stream(&self, id: DestinationId) {
        self.streams.mark_pending(id);
    }

    /// Signals the run of a destination's stream of device events, and starts it if there is none.
    ///
    /// # Errors
    /// See [`TemporalError`].
    pub(super) async fn signal_stream(&self, id: DestinationId) -> Result<(), TemporalError> {
        let summary = "the events of devices for one destination";
        self.signal_pending(contract::STREAM, contract::stream_workflow_id(id), summary)
            .await
    }

    /// Schedules a signal to the verification of a platform's claims, in the same way as [`Self::stream`], but at most
    /// once per ten seconds.
    pub fn verify_claims(&self, id: PlatformId) {
        self.claims.mark_pending(id);
    }

    /// Signals the run that verifies a platform's claims, and starts it if there is none.
    pub(super) async fn signal_claims(&self, id: PlatformId) -> Result<(), TemporalError> {
        let summary = "what the devices of one platform report of purchases";
        self.signal_pending(contract::CLAIMS, contract::claims_workflow_id(id), summary)
            .await
    }

    async fn signal_pending(
        &self,
        workflow_type: &'static str,
        workflow_id: String,
        summary: &'static str,
    ) -> Result<(), TemporalError> {
        let message = SignalWithStart {
            workflow_id,
            workflow_type,
            signal: contract::PENDING,
            payload: serde_json::json!({}),
            summary,
            input: None,
            attributes: SearchAttributes::default(),
        };
        self.signal_with_start(message).await
    }
}
