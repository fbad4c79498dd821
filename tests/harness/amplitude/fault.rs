//! Faults: how the fake deviates from its normal answer to a request.

use crate::random::Random;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Answers with this status and accepts no event of the request.
    Status(u16),
    /// Handles the request normally; if it is accepted, its events are counted, but the answer has this status.
    AnsweredWith(u16),
    /// Handles the request normally, then drops the connection without an answer.
    Lost,
    /// Drops the connection at once.
    Dropped,
    /// Handles the request at once, and answers after this time.
    Late(Duration),
    /// Does nothing until [`super::Amplitude::release`]; then handles the request, if the sender's connection is still
    /// open.
    Hang,
    /// Handles the request and never answers; the request ends when the sender gives up.
    Mute,
    /// Throttles the user of the event at this index: 429, which names this event only.
    Throttled(usize),
    /// Refuses the event at this index: 400, which names this event only.
    Refused(usize),
    /// Answers 400, which names the first event's device as silenced.
    Silenced,
    /// Handles the request normally; if it is accepted, this number of events at its end are neither counted nor
    /// included in the answer's `events_ingested`.
    Fewer(usize),
    /// Handles the request normally; if it is accepted, `events_ingested` in the answer is lower by this number.
    Miscounted(usize),
    /// Throttles the whole project: 429, which names no user and no device.
    ProjectThrottled,
}

/// Returns an event's name, which is the same in every attempt and every run, so that a seed always draws the same
/// faults.
pub type Name = fn(&Value) -> String;

/// Random faults. The seed alone decides which fault an event gets in which attempt.
#[derive(Debug, Clone)]
pub struct Chaos {
    seed: u64,
    percent: u64,
    max_per_event: usize,
    name: Name,
    attempts: BTreeMap<String, usize>,
    /// Whether one request may still be left unanswered.
    is_mute: bool,
}

impl Chaos {
    /// Returns faults for `percent` of the first `max_per_event` attempts of each event. Later attempts get none, so
    /// that every event arrives in the end.
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

    /// Leaves the first request that draws `Mute` unanswered. Later requests that draw it are answered late instead,
    /// because the sender's time limit is long.
    #[must_use]
    pub const fn with_one_mute(mut self) -> Self {
        self.is_mute = true;
        self
    }

    /// Returns the fault of a request with these events; the first event determines it.
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
        // Discards the first number, which neighbouring seeds nearly share.
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
        // A 413 for a single event would make the sender give it up as too large.
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

/// Returns the index of one of `events` events.
fn place(random: &mut Random, events: usize) -> usize {
    let place = random.below(u64::try_from(events).unwrap_or(1));
    usize::try_from(place).unwrap_or(0)
}

fn late(random: &mut Random) -> Fault {
    Fault::Late(Duration::from_millis(random.below(400)))
}
