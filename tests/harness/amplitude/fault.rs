//! What it does with a request instead of answering truly.

use crate::random::Random;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// What happens to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It is answered with this status, and nothing is kept.
    Status(u16),
    /// It is judged, and if it is accepted, it is answered with this status all the same.
    AnsweredWith(u16),
    /// It is judged, and the connection is dropped.
    Lost,
    /// The connection is dropped at once.
    Dropped,
    /// It is judged and answered after a while.
    Late(Duration),
    /// Nothing happens until [`super::Amplitude::release`]; then it is judged, if the sender is still there.
    Hang,
    /// It is judged, and nothing is answered until the sender goes away.
    Mute,
    /// The user of the event at this place is throttled: 429, which names this event and none beside it.
    Throttled(usize),
    /// The event at this place is refused: 400, which names this event and none beside it.
    Refused(usize),
    /// The device of its first event is silenced: 400.
    Silenced,
    /// It is judged, and if it is accepted, this many events at its end are left out, and the answer does not count
    /// them.
    Fewer(usize),
    /// It is judged, and if it is accepted, the answer counts this many events less than were taken.
    Miscounted(usize),
    /// The project as a whole is throttled: 429, which names nobody.
    ProjectThrottled,
}

/// Names an event in every attempt and every run, so that a seed means the same again.
pub type Name = fn(&Value) -> String;

/// Faults by chance: which of them an event meets at which of its tries follows from the seed alone.
#[derive(Debug, Clone)]
pub struct Chaos {
    seed: u64,
    percent: u64,
    most: usize,
    name: Name,
    tries: BTreeMap<String, usize>,
    /// Whether a request may still be left without an answer.
    is_mute: bool,
}

impl Chaos {
    /// A fault in `percent` of the tries, but at most `most` for each event, so that it ends.
    #[must_use]
    pub fn new(seed: u64, percent: u64, most: usize, name: Name) -> Self {
        Self { seed, percent, most, name, tries: BTreeMap::new(), is_mute: false }
    }

    /// These faults, but the first request that draws `Late` is never answered. It is one at most, for it takes a
    /// sender long to give up; what draws it later is answered late.
    #[must_use]
    pub const fn with_one_mute(mut self) -> Self {
        self.is_mute = true;
        self
    }

    /// What a request with these events meets; its first event decides.
    pub fn meet(&mut self, events: &[Value]) -> Option<Fault> {
        let name = (self.name)(events.first()?);
        let tries = self.tries.entry(name.clone()).or_default();
        *tries += 1;
        if *tries > self.most {
            return None;
        }
        let mixed = name.bytes().fold(self.seed, |mixed, byte| mixed.wrapping_mul(31).wrapping_add(u64::from(byte)));
        let mut random = Random::new(mixed.wrapping_add(u64::try_from(*tries).unwrap_or(0) << 40));
        // The first number of seeds that lie side by side is nearly the same.
        random.below(2);
        let fault = random.percent(self.percent).then(|| fault(&mut random, events.len()))?;
        if fault == Fault::Mute && !std::mem::take(&mut self.is_mute) {
            return Some(late(&mut random));
        }
        Some(fault)
    }
}

fn fault(random: &mut Random, events: usize) -> Fault {
    match random.below(19) {
        0 => Fault::Status(403),
        1 => Fault::Status(500),
        2 => Fault::Status(502),
        3 => Fault::Status(503),
        4 => Fault::Status(504),
        5 => Fault::AnsweredWith(500),
        6 => Fault::AnsweredWith(504),
        7 => Fault::Lost,
        8 => Fault::Dropped,
        9 => Fault::Throttled(place(random, events)),
        // A single event that is too large would have to be given up.
        10 if events > 1 => Fault::Status(413),
        11 | 12 if events > 1 => Fault::Refused(place(random, events)),
        13 => Fault::Silenced,
        14 => Fault::Mute,
        15 => Fault::ProjectThrottled,
        // What is left out for good would count as delivered after some tries.
        16 => Fault::Miscounted(1),
        17 => Fault::Status(400),
        _ => late(random),
    }
}

/// The index of one of `count` events.
fn place(random: &mut Random, events: usize) -> usize {
    let place = random.below(u64::try_from(events).unwrap_or(1));
    usize::try_from(place).unwrap_or(0)
}

fn late(random: &mut Random) -> Fault {
    Fault::Late(Duration::from_millis(random.below(400)))
}
