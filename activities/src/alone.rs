//! The tasks of a serving process while no worker runs or no sweep finishes. It announces alarms, and sends pending
//! events to destinations that people read, so that they learn about the problem. Everything else waits for a worker.
//! The leases are the same as those of workers.

use crate::delivery::supervise::run::SuperviseRun;
use crate::delivery::supervise::supervise;
use crate::dependencies::Context;
use crate::sweep::upkeep::ALARMS_AT_ONCE;
use domain::DestinationId;
use protocols::destinations::kind;
use std::collections::BTreeSet;
use std::sync::Arc;
use storage::Error;
use workflows::activities::Supervise;

impl Context {
    /// Announces the alarms that were opened or closed, and sends the events that are due to destinations read by
    /// people.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn send_alone(&self) -> Result<(), Error> {
        let queued_for = self
            .store
            .announce_alarms(ALARMS_AT_ONCE, self.dashboard.clone())
            .await?;
        let late = self.store.late_destinations().await?.destinations;
        let due: BTreeSet<DestinationId> = queued_for.into_iter().chain(late).collect();
        for destination_id in due {
            let destination = self.store.destination(destination_id).await?;
            if kind(&destination.kind).is_ok_and(|kind| kind.is_for_people()) {
                let token = format!("alone/{:.15}", (self.random)()).replace('.', "-");
                let run = SuperviseRun::new(destination_id, token, 1, Arc::clone(&self.stopping));
                supervise(
                    self,
                    &run,
                    &Supervise {
                        destination_id,
                        is_probe: false,
                    },
                )
                .await?;
            }
        }
        Ok(())
    }
}
