//! Slots for lookups, shared fairly among host names. A name whose name server is slow has at most an eighth of them;
//! when all are taken, the next free one is given to the name that has the fewest. So no destination waits for
//! the slow name server of another name; eight slow names can take all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// The part of all slots that one name may have.
const PART_OF_A_NAME: usize = 8;

/// The slots. Clones share them.
#[derive(Clone)]
pub struct Slots(Arc<Mutex<Shares>>);

/// The slots that are taken, and who waits for one. Pure.
struct Shares {
    free: usize,
    /// Maximum number of slots of one name.
    per_name: usize,
    taken: HashMap<String, usize>,
    /// In the order of their arrival.
    waiting: Vec<Waiting>,
}

struct Waiting {
    name: String,
    admit: oneshot::Sender<Slot>,
}

/// A taken slot. It is free again when this is dropped.
pub struct Slot {
    name: String,
    slots: Slots,
}

impl Slots {
    /// This many slots.
    pub fn new(count: usize) -> Self {
        let per_name = count.div_ceil(PART_OF_A_NAME);
        Self(Arc::new(Mutex::new(Shares { free: count, per_name, taken: HashMap::new(), waiting: Vec::new() })))
    }

    /// Waits for a slot for a lookup of this name. Whoever stops waiting leaves the queue.
    pub async fn take(&self, name: &str) -> Option<Slot> {
        let (admit, admitted) = oneshot::channel();
        self.shares().waiting.push(Waiting { name: name.to_owned(), admit });
        self.admit();
        admitted.await.ok()
    }

    /// Gives free slots to those who wait.
    fn admit(&self) {
        loop {
            let Some(Waiting { name, admit }) = self.shares().next() else { return };
            // Whoever has stopped waiting meanwhile gives the slot back at once.
            let unwanted = admit.send(Slot { name, slots: self.clone() });
            drop(unwanted);
        }
    }

    fn shares(&self) -> MutexGuard<'_, Shares> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.shares().give_back(&self.name);
        self.slots.admit();
    }
}

impl Shares {
    /// Takes a slot for the name with the fewest of those that wait and may have one more; the first one, if several
    /// have equally few.
    fn next(&mut self) -> Option<Waiting> {
        self.waiting.retain(|waiting| !waiting.admit.is_closed());
        if self.free == 0 {
            return None;
        }
        let of = |name: &str| self.taken.get(name).copied().unwrap_or(0);
        let candidates = self.waiting.iter().enumerate().map(|(place, waiting)| (of(&waiting.name), place));
        let (_, place) = candidates.filter(|(taken, _)| *taken < self.per_name).min()?;
        let next = self.waiting.remove(place);
        self.free -= 1;
        *self.taken.entry(next.name.clone()).or_default() += 1;
        Some(next)
    }

    fn give_back(&mut self, name: &str) {
        self.free += 1;
        if let Some(taken) = self.taken.get_mut(name) {
            *taken -= 1;
        }
        self.taken.retain(|_, taken| *taken > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::{Slot, Slots};
    use futures::FutureExt as _;
    use futures::future::BoxFuture;

    /// Waits for a slot; `None` while there is none.
    fn taking(slots: &Slots, name: &'static str) -> (Option<Slot>, Option<BoxFuture<'static, Option<Slot>>>) {
        let slots = slots.clone();
        let mut waiting = async move { slots.take(name).await }.boxed();
        match (&mut waiting).now_or_never() {
            Some(slot) => (slot, None),
            None => (None, Some(waiting)),
        }
    }

    #[test]
    fn a_name_has_an_eighth_at_most() {
        let slots = Slots::new(16);
        let taken: Vec<_> = (0..2).map(|_| taking(&slots, "slow").0.expect("a slot")).collect();
        let (none, waiting) = taking(&slots, "slow");
        assert!(none.is_none() && taking(&slots, "other").0.is_some());
        drop(taken);
        assert!(waiting.expect("it waits").now_or_never().flatten().is_some());
    }

    #[test]
    fn the_next_free_slot_is_for_the_name_with_the_fewest() {
        let slots = Slots::new(16);
        let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
        let mut taken: Vec<_> =
            names.into_iter().chain(names).map(|name| taking(&slots, name).0.expect("a slot")).collect();
        let [full, many, newcomer] = ["b", "a", "new"].map(|name| taking(&slots, name).1.expect("it waits"));
        drop(taken.remove(0));
        assert!(newcomer.now_or_never().flatten().is_some(), "it had none, though it came last");
        assert!(many.now_or_never().is_some_and(|slot| slot.is_some()), "it is free again, and `a` has one");
        assert!(full.now_or_never().is_none(), "`b` has as many as it may have");
    }

    #[test]
    fn a_slot_that_nobody_wants_is_free() {
        let slots = Slots::new(1);
        let only = taking(&slots, "a").0.expect("a slot");
        drop(taking(&slots, "b").1.expect("it waits"));
        drop(only);
        assert!(taking(&slots, "c").0.is_some());
    }
}
