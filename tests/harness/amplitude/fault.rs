//! Faults: what the fake does with a request instead of answering it by its rules.

use crate::random::Random;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The request is answered with this status, and its events are not taken.
    Status(u16),
    /// The request is judged. If it is accepted, its events are taken and the answer is this status.
    AnsweredWith(u16),
    /// The request is judged, and the connection is dropped without an answer.
    Lost,
    /// The connection is dropped at once.
    Dropped,
    /// The request is judged at once and answered after this time.
    Late(Duration),
    /// Nothing happens until [`super::Amplitude::release`]; then the request is judged, if its sender still waits.
    Hang,
    /// The request is judged and never answered; it ends when the sender gives up.
    Mute,
    /// The user of the event at this index is throttled: 429, which names this event only.
    Throttled(usize),
    /// The event at this index is refused: 400, which names this event only.
    Refused(usize),
    /// The device of the first event is silenced: 400.
    Silenced,
    /// The request is judged. If it is accepted, its last events, this many, are neither taken nor counted in the
    /// answer.
    Fewer(usize),
    /// The request is judged. If it is accepted, the answer counts this many events fewer than were taken.
    Miscounted(usize),
    /// The project as a whole is throttled: 429, which names no user and no device.
    ProjectThrottled,
}

/// The name of an event. It is the same in every attempt and every run, so that a seed draws the same faults again.
pub type Name = fn(&Value) -> String;

/// Random faults. The seed alone decides which fault an event meets in which of its attempts.
#[derive(Debug, Clone)]
pub struct Chaos {
    seed: u64,
    percent: u64,
    max_per_event: usize,
    name: Name,
    attempts: BTreeMap<String, usize>,
    /// Whether one request may still be left without an answer.
    is_mute: bool,
}

impl Chaos {
    /// Returns a fault in `percent` of the first `max_per_event` attempts of each event. Later attempts meet none, so
    /// that every event arrives.
    pub fn new(seed: u64, percent: u64, max_per_event: usize, name: Name) -> Self {
        Self {
            seed,
            percent,
            max_per_event,
            name,
            attempts: BTreeMap::new(),
            is_mute: false,
        }
    }

    /// Leaves the first request that draws `Mute` without an answer. Every other one that draws it is answered late,
    /// because a sender takes long to give up.
    #[must_use]
    pub const fn with_one_mute(mut self) -> Self {
        self.is_mute = true;
        self
    }

    /// Returns the fault of a request with these events; its first event decides.
    pub fn meet(&mut self, events: &[Value]) -> Option<Fault> {
        let name = (self.name)(events.first()?);
        let attempts = self.attempts.entry(name.clone()).or_default();
        *attempts += 1;
        if *attempts > self.max_per_event {
            return None;
        }
        let mixed = name.bytes().fold(self.seed, |mixed, byte| {
            mixed.wrapping_mul(31).wrapping_add(u64::from(byte))
        });
        let mut random =
            Random::new(mixed.wrapping_add(u64::try_from(*attempts).unwrap_or(0) << 40));
        // Neighbouring seeds have nearly the same first number.
        random.below(2);
        let fault = random
            .percent(self.percent)
            .then(|| fault(&mut random, events.len()))?;
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
        // A single event that is too large is given up by its sender.
        10 if events > 1 => Fault::Status(413),
        11 | 12 if events > 1 => Fault::Refused(place(random, events)),
        13 => Fault::Silenced,
        14 => Fault::Mute,
        15 => Fault::ProjectThrottled,
        // Not `Fewer`: after some attempts the sender counts the omitted events as delivered.
        16 => Fault::Miscounted(1),
        17 => Fault::Status(400),
        _ => late(random),
    }
}

/// Returns the index of one of `count` events.
fn place(random: &mut Random, events: usize) -> usize {
    let place = random.below(u64::try_from(events).unwrap_or(1));
    usize::try_from(place).unwrap_or(0)
}

fn late(random: &mut Random) -> Fault {
    Fault::Late(Duration::from_millis(random.below(400)))
}
