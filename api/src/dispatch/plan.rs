//! Decides when to send which signal. Pure: time is an argument (milliseconds of any monotonic clock).
//!
//! Every step costs O(log n). A key is in exactly one of three places: `due` (it has news), in flight
//! (a call is running), or `resting` (signalled; remembered only to space the next signal).

use domain::CollapseKey;
use domain::time::duration;
use std::collections::{BTreeSet, HashMap};
use workflows::signal::Notified;

/// Maximum number of signals per window.
const SIGNALS_PER_WINDOW: i64 = 12;
/// Minimum time between two signals of one key.
const SHORTEST_SPACING_MS: i64 = 20;
/// Maximum time between two signals of one key.
const LONGEST_SPACING_MS: i64 = 300_000;
/// First and longest back-off of a key whose signal failed; doubled each time.
const KEY_BACKOFF: Backoff = Backoff { first_ms: 100, longest_ms: 10_000 };
/// First and longest pause of all keys while the engine does not answer; doubled each time.
const PAUSE: Backoff = Backoff { first_ms: 100, longest_ms: 5_000 };
/// Number of failures in a row that mean that the engine is down, and not one purchase busy.
const FAILURES_BEFORE_PAUSE: u32 = 4;

/// A wait that is doubled with each failure.
#[derive(Clone, Copy)]
struct Backoff {
    first_ms: i64,
    longest_ms: i64,
}

/// One row of the inbox that the engine may not know yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct News {
    /// Which purchase.
    pub key: CollapseKey,
    /// The row's sequence number.
    pub seq: i64,
    /// How long the purchase still has to be quiet.
    pub quiet_ms: i64,
    /// Time until the max-wait cap, if there is one.
    pub cap_ms: Option<i64>,
}

/// The next step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Send this signal and report the result.
    Signal(CollapseKey, Notified),
    /// Send a flush: a row up to this sequence number is to be settled at once.
    Flush(CollapseKey, i64),
    /// Wait until this time, or for news.
    Sleep(i64),
    /// Wait for news.
    Idle,
}

#[derive(Debug)]
struct Entry {
    newest: i64,
    quiet_until: i64,
    cap_until: Option<i64>,
    spacing: i64,
    signalled: i64,
    /// Number of rows that no signal covers yet, and how many of them the running call covers.
    unsignalled: (i64, i64),
    /// The newest row that is to be settled at once, and the one that the running call covers.
    flush: (Option<i64>, Option<i64>),
    place: Place,
    not_before: i64,
    failures: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Due(i64),
    InFlight,
    Resting(i64),
}

/// The keys in memory and their times.
#[derive(Debug)]
pub struct Plan {
    capacity: usize,
    entries: HashMap<CollapseKey, Entry>,
    due: BTreeSet<(i64, CollapseKey)>,
    resting: BTreeSet<(i64, CollapseKey)>,
    missed_from: Option<i64>,
    failures: u32,
    paused_until: i64,
}

impl Plan {
    /// An empty plan of at most `capacity` keys. It lacks all open rows of the inbox, so that it starts with a refill.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            entries: HashMap::new(),
            due: BTreeSet::new(),
            resting: BTreeSet::new(),
            missed_from: Some(0),
            failures: 0,
            paused_until: i64::MIN,
        }
    }

    /// Adds one row. Without room for its key it is noted as missed, to be read back from the inbox.
    pub fn notify(&mut self, now: i64, news: News) {
        if !self.entries.contains_key(&news.key) && !self.make_room() {
            self.missed(news.seq);
            return;
        }
        let entry = self.entries.entry(news.key).or_insert_with(|| Entry::new(now));
        if !entry.learn(now, news) {
            return;
        }
        if let Place::Resting(at) = entry.place {
            self.resting.remove(&(at, news.key));
            let at = now.max(entry.not_before);
            entry.place = Place::Due(at);
            self.due.insert((at, news.key));
        }
    }

    /// Adds one row that is to be settled at once, without spacing. Without room it is settled like others.
    pub fn flush(&mut self, now: i64, news: News) {
        self.notify(now, news);
        let Some(entry) = self.entries.get_mut(&news.key) else { return };
        entry.flush.0 = entry.flush.0.max(Some(news.seq));
        if entry.place == Place::InFlight || entry.failures > 0 {
            return;
        }
        entry.not_before = now;
        if let Place::Due(at) | Place::Resting(at) = entry.place {
            self.due.remove(&(at, news.key));
            self.resting.remove(&(at, news.key));
        }
        self.queue(news.key, now);
    }

    /// Returns the next step. A returned signal is in flight until [`Plan::sent`], [`Plan::failed`] or
    /// [`Plan::refused`].
    pub fn next(&mut self, now: i64) -> Step {
        self.forget_rested(now);
        let Some(&(at, key)) = self.due.first() else {
            return self.resting.first().map_or(Step::Idle, |&(at, _)| Step::Sleep(at));
        };
        let at = at.max(self.paused_until);
        if at > now {
            return Step::Sleep(at);
        }
        self.due.pop_first();
        let Some(entry) = self.entries.get_mut(&key) else { return Step::Sleep(now) };
        entry.place = Place::InFlight;
        entry.unsignalled.1 = entry.unsignalled.0;
        entry.flush.1 = entry.flush.0;
        if entry.flush.0.is_some() { Step::Flush(key, entry.newest) } else { Step::Signal(key, entry.signal(now)) }
    }

    /// Notes that a signal was delivered.
    pub fn sent(&mut self, now: i64, key: CollapseKey, through: i64) {
        self.failures = 0;
        self.paused_until = i64::MIN;
        let Some(entry) = self.entries.get_mut(&key) else { return };
        entry.failures = 0;
        entry.unsignalled = (entry.unsignalled.0.saturating_sub(entry.unsignalled.1), 0);
        entry.signalled = entry.signalled.max(through);
        entry.not_before = now.saturating_add(entry.spacing);
        if entry.flush.0 == entry.flush.1 {
            entry.flush = (None, None);
        } else {
            entry.not_before = now;
        }
        if entry.newest > entry.signalled || entry.flush.0.is_some() {
            self.queue(key, now);
        } else {
            let at = entry.quiet_until.max(entry.not_before);
            entry.place = Place::Resting(at);
            self.resting.insert((at, key));
        }
    }

    /// Notes that the engine did not answer: the key becomes due later. Returns whether all keys pause from now on.
    pub fn failed(&mut self, now: i64, key: CollapseKey) -> bool {
        self.failures = self.failures.saturating_add(1);
        if self.failures >= FAILURES_BEFORE_PAUSE {
            self.paused_until = now.saturating_add(PAUSE.after(self.failures - FAILURES_BEFORE_PAUSE));
        }
        let pauses = self.failures == FAILURES_BEFORE_PAUSE;
        let Some(entry) = self.entries.get_mut(&key) else { return pauses };
        entry.not_before = now.saturating_add(KEY_BACKOFF.after(entry.failures));
        entry.failures = entry.failures.saturating_add(1);
        self.queue(key, now);
        pauses
    }

    /// Removes a key whose signal the engine rejects: the sweep finds the purchase.
    pub fn refused(&mut self, key: CollapseKey) {
        self.entries.remove(&key);
    }

    /// The lowest sequence number of missed rows.
    #[must_use]
    pub const fn missed_from(&self) -> Option<i64> {
        self.missed_from
    }

    /// Notes that rows from this sequence number on are not in memory.
    pub fn missed(&mut self, seq: i64) {
        self.missed_from = Some(self.missed_from.map_or(seq, |from| from.min(seq)));
    }

    /// Notes that a page above `cursor` is about to be read, which covers what was missed above it until now.
    pub fn about_to_read(&mut self, cursor: i64) {
        if self.missed_from.is_some_and(|from| from > cursor) {
            self.missed_from = None;
        }
    }

    /// Number of further keys that can have news.
    #[must_use]
    pub fn room(&self) -> usize {
        self.capacity.saturating_sub(self.waiting())
    }

    /// Number of keys with news that the engine does not know, those in flight included.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.entries.len().saturating_sub(self.resting.len())
    }

    fn make_room(&mut self) -> bool {
        if self.entries.len() < self.capacity {
            return true;
        }
        let Some((_, key)) = self.resting.pop_first() else { return false };
        self.entries.remove(&key);
        true
    }

    fn forget_rested(&mut self, now: i64) {
        while let Some(&(at, key)) = self.resting.first() {
            if at > now {
                return;
            }
            self.resting.pop_first();
            self.entries.remove(&key);
        }
    }

    fn queue(&mut self, key: CollapseKey, now: i64) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        let at = now.max(entry.not_before);
        entry.place = Place::Due(at);
        self.due.insert((at, key));
    }
}

impl Entry {
    fn new(now: i64) -> Self {
        Self {
            newest: i64::MIN,
            quiet_until: now,
            cap_until: None,
            spacing: SHORTEST_SPACING_MS,
            signalled: i64::MIN,
            unsignalled: (0, 0),
            flush: (None, None),
            place: Place::Resting(now),
            not_before: now,
            failures: 0,
        }
    }

    /// Adds one row; false when it was known.
    fn learn(&mut self, now: i64, news: News) -> bool {
        if news.seq <= self.newest {
            return false;
        }
        self.newest = news.seq;
        self.unsignalled.0 = self.unsignalled.0.saturating_add(1);
        let quiet_ms = news.quiet_ms.max(0);
        self.quiet_until = self.quiet_until.max(now.saturating_add(quiet_ms));
        self.spacing = self.spacing.max(quiet_ms / SIGNALS_PER_WINDOW).min(LONGEST_SPACING_MS);
        let cap = news.cap_ms.map(|ms| now.saturating_add(ms.max(0)));
        // A cap that has passed belonged to rows that are settled by now.
        self.cap_until = match self.cap_until.filter(|&until| until > now) {
            Some(until) => Some(cap.map_or(until, |cap| cap.min(until))),
            None => cap,
        };
        true
    }

    fn signal(&self, now: i64) -> Notified {
        Notified {
            through: self.newest,
            quiet: duration(self.quiet_until.saturating_sub(now)),
            count: self.unsignalled.0,
            cap: self.cap_until.map(|until| duration(until.saturating_sub(now))),
        }
    }
}

impl Backoff {
    /// The wait after some failures in a row before.
    fn after(self, failures: u32) -> i64 {
        self.first_ms.saturating_mul(1_i64 << failures.min(20)).min(self.longest_ms)
    }
}
