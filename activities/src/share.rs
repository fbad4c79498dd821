//! How many of a worker's slots one destination may hold: a slow one must leave slots to the others. What finds none is
//! owed, and the destination's own run delivers it, in one slot.

use domain::DestinationId;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use storage::fault;

/// Of the slots for deliveries, so many may be held by lanes of one destination.
pub const SHARE: usize = 25;

/// What is held of each destination's share.
#[derive(Debug, Clone, Default)]
pub struct Shares(Arc<Mutex<BTreeMap<DestinationId, usize>>>);

/// A slot that is held until this is dropped.
#[derive(Debug)]
pub struct Held {
    shares: Shares,
    destination: DestinationId,
}

impl Shares {
    /// One more slot for a destination; `None` when it holds its share.
    pub fn take(&self, destination: DestinationId) -> Option<Held> {
        let mut held = self.held();
        let of_it = held.entry(destination).or_default();
        if *of_it >= SHARE || fault::is_planted("share.none") {
            return None;
        }
        *of_it += 1;
        drop(held);
        Some(Held { shares: self.clone(), destination })
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<DestinationId, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut held = self.shares.held();
        if let Some(of_it) = held.get_mut(&self.destination) {
            *of_it -= 1;
            if *of_it == 0 {
                held.remove(&self.destination);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_holds_its_share_and_no_more_and_takes_none_of_another_one() {
        let [slow, other] = [1, 2].map(|number| DestinationId::new(uuid::Uuid::from_bytes([number; 16])));
        let shares = Shares::default();
        let mut held: Vec<Held> = std::iter::from_fn(|| shares.take(slow)).collect();
        assert_eq!(held.len(), SHARE);
        assert!(shares.take(other).is_some());
        held.pop();
        assert!(shares.take(slow).is_some(), "what was given back can be taken");
        drop(held);
        assert!(shares.held().is_empty(), "nothing is kept of who holds nothing");
    }
}
