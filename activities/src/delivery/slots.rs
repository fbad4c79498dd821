//! Limits the number of a worker's delivery slots that one destination occupies, so that a slow destination leaves
//! slots for the others. A lane without a slot is left to the destination's own run, which occupies a single slot.
//!
//! A stream of device events occupies one slot for minutes, so all streams together may occupy only some of the slots.
//! A stream that gets no slot retries, and one that has run for a while ends to make room for it.

use domain::DestinationId;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use storage::fault;

/// Maximum number of delivery slots that the lanes of one destination occupy.
pub const MAX_SLOTS: usize = 25;

/// Maximum number of delivery slots that streams occupy: two fifths of all.
pub const MAX_STREAMS: usize = 200;

/// The numbers of slots that each destination and the streams occupy. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct DeliverySlots {
    lanes: Arc<Mutex<BTreeMap<DestinationId, usize>>>,
    streams: Arc<Streams>,
}

#[derive(Debug, Default)]
struct Streams {
    taken: AtomicUsize,
    /// Whether a stream has found no free slot since a stream last ended to make room.
    is_wanted: AtomicBool,
}

/// The occupied slot of a stream. Dropping it frees the slot.
#[derive(Debug)]
pub struct StreamSlot(Arc<Streams>);

/// An occupied slot. Dropping it frees the slot.
#[derive(Debug)]
pub struct Slot {
    slots: DeliverySlots,
    destination: DestinationId,
}

impl DeliverySlots {
    /// Takes a slot for a destination; `None` if the destination already occupies `MAX_SLOTS` slots.
    pub fn take(&self, destination: DestinationId) -> Option<Slot> {
        let mut taken = self.taken();
        let count = taken.entry(destination).or_default();
        if *count >= MAX_SLOTS || fault::is_planted("slots.none") {
            return None;
        }
        *count += 1;
        drop(taken);
        Some(Slot {
            slots: self.clone(),
            destination,
        })
    }

    /// Takes a slot for a stream; `None` if streams already occupy `MAX_STREAMS` slots.
    pub fn take_stream(&self) -> Option<StreamSlot> {
        let one_more = |taken: usize| (taken < MAX_STREAMS).then_some(taken + 1);
        let result =
            self.streams
                .taken
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        if result.is_err() {
            self.streams.is_wanted.store(true, Ordering::Relaxed);
        }
        result.is_ok().then(|| StreamSlot(self.streams.clone()))
    }

    fn taken(&self) -> MutexGuard<'_, BTreeMap<DestinationId, usize>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StreamSlot {
    /// Whether another stream is waiting for a slot and this one should end. Returns true to only one of the streams.
    pub fn is_wanted(&self) -> bool {
        self.0.is_wanted.swap(false, Ordering::Relaxed)
    }
}

impl Drop for StreamSlot {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.slots.taken();
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
        let [slow, other] =
            [1, 2].map(|number| DestinationId::new(uuid::Uuid::from_bytes([number; 16])));
        let slots = DeliverySlots::default();
        let mut taken: Vec<Slot> = std::iter::from_fn(|| slots.take(slow)).collect();
        assert_eq!(taken.len(), MAX_SLOTS);
        assert!(slots.take(other).is_some());
        taken.pop();
        assert!(slots.take(slow).is_some(), "a freed slot can be taken");
        drop(taken);
        assert!(slots.taken().is_empty(), "no entry remains without slots");
    }

    #[test]
    fn streams_have_a_part_of_the_slots_and_one_of_them_yields() {
        let slots = DeliverySlots::default();
        let mut taken: Vec<StreamSlot> = std::iter::from_fn(|| slots.take_stream()).collect();
        assert_eq!(taken.len(), MAX_STREAMS);
        assert_eq!(
            [&taken[0], &taken[1]].map(StreamSlot::is_wanted),
            [true, false],
            "one of them ends"
        );
        taken.pop();
        assert!(slots.take_stream().is_some(), "a freed slot can be taken");
        assert!(!taken[0].is_wanted());
    }
}
