//! Slots for lookups, shared fairly among apps and their host names. An app gets at most half of the slots, however
//! many slow names it has, and a name at most an eighth. If all slots are taken, the next free one goes to the app with
//! the fewest slots, and among its names to the one with the fewest. So no app waits for the slow name servers of
//! another.

use domain::AppId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// An app may take at most one in this many slots.
const PART_OF_AN_APP: usize = 2;
/// A name may take at most one in this many slots.
const PART_OF_A_NAME: usize = 8;

/// A name to be resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookupRequest {
    pub name: String,
    /// The app that makes the request; `None` for settle's own requests.
    pub app: Option<AppId>,
}

#[derive(Clone)]
pub struct Slots(Arc<Mutex<Shares>>);

/// The free and taken slots, and the lookups that wait for one.
struct Shares {
    free: usize,
    /// Maximum number of slots of one app. settle's own requests have no such limit.
    per_app: usize,
    /// Maximum number of slots of one name.
    per_name: usize,
    of_apps: HashMap<AppId, usize>,
    of_names: HashMap<String, usize>,
    /// Waiting lookups, in the order of arrival.
    waiting: Vec<Waiting>,
}

struct Waiting {
    wanted: LookupRequest,
    admit: oneshot::Sender<Slot>,
}

/// A taken slot. Dropping it frees the slot.
pub struct Slot {
    wanted: LookupRequest,
    slots: Slots,
}

impl Slots {
    pub fn new(count: usize) -> Self {
        let (per_app, per_name) = (
            count.div_ceil(PART_OF_AN_APP),
            count.div_ceil(PART_OF_A_NAME),
        );
        let (of_apps, of_names) = (HashMap::new(), HashMap::new());
        let shares = Shares {
            free: count,
            per_app,
            per_name,
            of_apps,
            of_names,
            waiting: Vec::new(),
        };
        Self(Arc::new(Mutex::new(shares)))
    }

    /// Waits for a slot for a lookup of this name. Dropping the future removes it from the queue.
    pub async fn take(&self, wanted: &LookupRequest) -> Option<Slot> {
        let (admit, admitted) = oneshot::channel();
        self.shares().waiting.push(Waiting {
            wanted: wanted.clone(),
            admit,
        });
        self.admit();
        admitted.await.ok()
    }

    /// Gives free slots to waiting lookups.
    fn admit(&self) {
        loop {
            let Some(Waiting { wanted, admit }) = self.shares().next() else {
                return;
            };
            // If the receiver has gone in the meantime, the slot is freed at once.
            let unwanted = admit.send(Slot {
                wanted,
                slots: self.clone(),
            });
            drop(unwanted);
        }
    }

    fn shares(&self) -> MutexGuard<'_, Shares> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.shares().give_back(&self.wanted);
        self.slots.admit();
    }
}

impl Shares {
    /// Takes a slot for the waiting lookup whose app and name have the fewest slots and may have one more; for the
    /// first one, if several have equally few.
    fn next(&mut self) -> Option<Waiting> {
        self.waiting.retain(|waiting| !waiting.admit.is_closed());
        if self.free == 0 {
            return None;
        }
        let of_app = |app: Option<AppId>| {
            app.and_then(|app| self.of_apps.get(&app).copied())
                .unwrap_or(0)
        };
        let of_name = |name: &str| self.of_names.get(name).copied().unwrap_or(0);
        let candidates = self.waiting.iter().enumerate();
        let candidates = candidates.map(|(place, Waiting { wanted, .. })| {
            (of_app(wanted.app), of_name(&wanted.name), place)
        });
        let may_have =
            |(app, name, _): &(usize, usize, usize)| *app < self.per_app && *name < self.per_name;
        let (.., place) = candidates.filter(may_have).min()?;
        let next = self.waiting.remove(place);
        self.free -= 1;
        *self.of_names.entry(next.wanted.name.clone()).or_default() += 1;
        if let Some(app) = next.wanted.app {
            *self.of_apps.entry(app).or_default() += 1;
        }
        Some(next)
    }

    fn give_back(&mut self, LookupRequest { name, app }: &LookupRequest) {
        self.free += 1;
        give_back(&mut self.of_names, name);
        if let Some(app) = app {
            give_back(&mut self.of_apps, app);
        }
    }
}

fn give_back<K: std::hash::Hash + Eq>(taken: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = taken.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            taken.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{AppId, LookupRequest, Slot, Slots};
    use futures::FutureExt as _;
    use futures::future::BoxFuture;

    /// Starts waiting for a slot. Returns the slot, or the future if none is free.
    fn taking(
        slots: &Slots,
        name: &'static str,
    ) -> (Option<Slot>, Option<BoxFuture<'static, Option<Slot>>>) {
        taking_for(
            slots,
            LookupRequest {
                name: name.to_owned(),
                app: None,
            },
        )
    }

    fn taking_for(
        slots: &Slots,
        wanted: LookupRequest,
    ) -> (Option<Slot>, Option<BoxFuture<'static, Option<Slot>>>) {
        let slots = slots.clone();
        let mut waiting = async move { slots.take(&wanted).await }.boxed();
        match (&mut waiting).now_or_never() {
            Some(slot) => (slot, None),
            None => (None, Some(waiting)),
        }
    }

    #[test]
    fn a_name_has_an_eighth_at_most() {
        let slots = Slots::new(16);
        let taken: Vec<_> = (0..2)
            .map(|_| taking(&slots, "slow").0.expect("a slot"))
            .collect();
        let (none, waiting) = taking(&slots, "slow");
        assert!(none.is_none() && taking(&slots, "other").0.is_some());
        drop(taken);
        assert!(
            waiting
                .expect("it waits")
                .now_or_never()
                .flatten()
                .is_some()
        );
    }

    #[test]
    fn the_next_free_slot_is_for_the_name_with_the_fewest() {
        let slots = Slots::new(16);
        let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
        let mut taken: Vec<_> = names
            .into_iter()
            .chain(names)
            .map(|name| taking(&slots, name).0.expect("a slot"))
            .collect();
        let [full, many, newcomer] =
            ["b", "a", "new"].map(|name| taking(&slots, name).1.expect("it waits"));
        drop(taken.remove(0));
        assert!(
            newcomer.now_or_never().flatten().is_some(),
            "it had none, though it came last"
        );
        assert!(
            many.now_or_never().is_some_and(|slot| slot.is_some()),
            "it is free again, and `a` has one"
        );
        assert!(
            full.now_or_never().is_none(),
            "`b` has as many as it may have"
        );
    }

    #[test]
    fn an_app_has_half_however_many_names_it_has() {
        let slots = Slots::new(16);
        let [many, other] = [1, 2].map(|number| AppId::new(uuid::Uuid::from_u128(number)));
        let of = |app, name: usize| {
            taking_for(
                &slots,
                LookupRequest {
                    name: name.to_string(),
                    app: Some(app),
                },
            )
        };
        let mut taken: Vec<Slot> = (0..8)
            .map(|name| of(many, name).0.expect("a slot"))
            .collect();
        let waiting: Vec<_> = (8..40)
            .map(|name| of(many, name).1.expect("it waits"))
            .collect();
        taken.extend((0..8).map(|name| of(other, 100 + name).0.expect("the others have theirs")));
        assert!(taking(&slots, "settle's own").0.is_none(), "all are taken");
        drop(taken.pop());
        assert!(
            taking(&slots, "settle's own").0.is_some(),
            "the app that has half gets no more"
        );
        drop(waiting);
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
