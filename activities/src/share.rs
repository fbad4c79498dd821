//! Limits the number of a worker's delivery slots that one destination occupies, so that a slow destination leaves
//! slots for the others. A lane without a slot is left to the destination's own run, which occupies a single slot.

use domain::DestinationId;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use storage::fault;

/// Maximum number of delivery slots that the lanes of one destination occupy.
pub const MAX_SLOTS: usize = 25;

/// The number of slots that each destination occupies. Clones share the counts.
#[derive(Debug, Clone, Default)]
pub struct Shares(Arc<Mutex<BTreeMap<DestinationId, usize>>>);

/// An occupied slot. Dropping it frees the slot.
#[derive(Debug)]
pub struct Slot {
    shares: Shares,
    destination: DestinationId,
}

impl Shares {
    /// Takes a slot for a destination; `None` when the destination already occupies `MAX_SLOTS` slots.
    pub fn take(&self, destination: DestinationId) -> Option<Slot> {
        let mut taken = self.taken();
        let count = taken.entry(destination).or_default();
        if *count >= MAX_SLOTS || fault::is_planted("share.none") {
            return None;
        }
        *count += 1;
        drop(taken);
        Some(Slot { shares: self.clone(), destination })
    }

    fn taken(&self) -> MutexGuard<'_, BTreeMap<DestinationId, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.shares.taken();
        if let Some(count) = taken.get_mut(&self.destination) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.destination);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_takes_its_share_and_no_more() {
        let [slow, other] = [1, 2].map(|number| DestinationId::new(uuid::Uuid::from_bytes([number; 16])));
        let shares = Shares::default();
        let mut taken: Vec<Slot> = std::iter::from_fn(|| shares.take(slow)).collect();
        assert_eq!(taken.len(), MAX_SLOTS);
        assert!(shares.take(other).is_some());
        taken.pop();
        assert!(shares.take(slow).is_some(), "a freed slot can be taken");
        drop(taken);
        assert!(shares.taken().is_empty(), "no entry remains without slots");
    }
}
