//! Decides when to send which signal. Pure: time is an argument, in milliseconds of any monotonic clock.
//!
//! Every step costs O(log n). A key is in exactly one of four places: `due` (it has an unsent signal), `backlog` (its
//! rows are older than the process and may already be signalled), in flight (the call is running), or `resting` (all
//! rows are signalled; the key is kept to limit the rate of its next signals).

use domain::time::duration;
use domain::{CollapseKey, TraceContext};
use std::collections::{BTreeSet, HashMap};
use workflows::signal::Notified;

/// Maximum number of signals of a busy key per window.
const SIGNALS_PER_WINDOW: i64 = 12;
/// Lower bound of the minimum time between two signals of a key, which is a twelfth of its window.
const SHORTEST_SPACING_MS: i64 = 20;
/// Upper bound of the minimum time between two signals of a key, however long its window is.
const LONGEST_SPACING_MS: i64 = 300_000;
/// Number of new rows per second above which even the first signal of a window waits for this minimum time. Accepting
/// has priority, and rows that arrive meanwhile need no signal of their own.
const CROWD: i64 = 1_000;
const SECOND_MS: i64 = 1_000;
/// First and longest back-off of a key whose signal failed; doubled each time.
const KEY_BACKOFF: Backoff = Backoff {
    first_ms: 100,
    longest_ms: 10_000,
};
/// First and longest pause of all keys while Temporal does not respond; doubled each time.
const PAUSE: Backoff = Backoff {
    first_ms: 100,
    longest_ms: 5_000,
};
/// Number of failures in a row, over all keys, after which Temporal counts as down and all keys pause.
const FAILURES_BEFORE_PAUSE: u32 = 4;

/// A wait that doubles with each failure.
#[derive(Clone, Copy)]
struct Backoff {
    first_ms: i64,
    longest_ms: i64,
}

/// An inbox row that may not be signalled yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnsentSignal {
    pub key: CollapseKey,
    pub seq: i64,
    pub quiet_ms: i64,
    /// Time until the platform's `max_wait` ends the window, in milliseconds; `None` if the platform has no `max_wait`.
    pub cap_ms: Option<i64>,
    /// Trace that the row belongs to.
    pub trace: Option<TraceContext>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlannedAction {
    /// Send this signal and report the result.
    Signal(CollapseKey, Notified),
    /// Send a flush: the rows up to this sequence number are settled without waiting for the window.
    Flush(CollapseKey, i64),
    /// Wait until this time, or until a row is added.
    Sleep(i64),
    /// Wait until a row is added.
    Idle,
}

/// State of a key.
#[derive(Debug)]
struct KeyEntry {
    /// Highest sequence number of the key's rows.
    newest: i64,
    quiet_until: i64,
    /// When `max_wait` ends the key's window.
    cap_until: Option<i64>,
    /// Minimum time between two signals, in milliseconds.
    spacing: i64,
    /// Rows up to this sequence number are signalled.
    signalled: i64,
    /// Number of rows that no sent signal covers, and how many of those the running call covers.
    unsignalled: (i64, i64),
    /// Newest row that needs a flush, and the newest one that the running call flushes.
    flush: (Option<i64>, Option<i64>),
    place: KeyPlace,
    /// Earliest time of the key's next signal.
    not_before: i64,
    /// Number of failed calls in a row.
    failures: u32,
    /// Trace of the first row that no signal covers, and of the first row that the running call covers.
    trace: (Option<TraceContext>, Option<TraceContext>),
}

/// The set that contains a key, with the key's position in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KeyPlace {
    /// To be signalled at this time.
    Due(i64),
    /// To be signalled when no key is due, highest sequence number first.
    Backlog(i64),
    InFlight,
    /// To be dropped at this time.
    Resting(i64),
}

/// The keys in memory, with their times.
#[derive(Debug)]
pub struct Plan {
    capacity: usize,
    entries: HashMap<CollapseKey, KeyEntry>,
    due: BTreeSet<(i64, CollapseKey)>,
    backlog: BTreeSet<(i64, CollapseKey)>,
    resting: BTreeSet<(i64, CollapseKey)>,
    /// Sequence number from which on rows may be missing in memory.
    missed_from: Option<i64>,
    /// Number of failed calls in a row, over all keys.
    failures: u32,
    /// No signal is sent before this time.
    paused_until: i64,
    arrivals: Arrivals,
}

/// Counts the rows that arrive per second.
#[derive(Debug, Default)]
struct Arrivals {
    /// When the current second began.
    since: i64,
    count: i64,
    /// Whether the previous second was crowded.
    was_crowded: bool,
}

impl Plan {
    /// Creates an empty plan for at most `capacity` keys.
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            entries: HashMap::new(),
            due: BTreeSet::new(),
            backlog: BTreeSet::new(),
            resting: BTreeSet::new(),
            missed_from: None,
            failures: 0,
            paused_until: i64::MIN,
            arrivals: Arrivals::default(),
        }
    }

    /// Adds a row that may have been added before, because it was read from the inbox or repeated by a store. A
    /// sequence number that is not above the newest counts as known.
    pub fn notify_again(&mut self, now: i64, unsent: UnsentSignal) {
        let is_known = |entry: &KeyEntry| {
            unsent.seq <= entry.newest && !matches!(entry.place, KeyPlace::Backlog(_))
        };
        if !self.entries.get(&unsent.key).is_some_and(is_known) {
            self.notify(now, unsent);
        }
    }

    /// Adds a new row. Its sequence number may be below the newest, because processes commit in a different order than
    /// they number, and a database that failed over may reuse numbers. If memory has no room for the key, the row is
    /// marked as missed and read back from the inbox later.
    pub fn notify(&mut self, now: i64, unsent: UnsentSignal) {
        if !self.entries.contains_key(&unsent.key) && !self.make_room() {
            self.mark_missed_from(unsent.seq);
            return;
        }
        // Waiting keys may take half of the memory at most; the rest would have to be read back from the inbox.
        let may_wait = self.arrivals.add(now) && self.room() > self.capacity / 2;
        let is_first = !self.entries.contains_key(&unsent.key);
        let entry = self
            .entries
            .entry(unsent.key)
            .or_insert_with(|| KeyEntry::new(now));
        let is_new = entry.add(now, unsent);
        if is_first && may_wait {
            entry.not_before = now.saturating_add(entry.spacing);
        }
        match entry.place {
            KeyPlace::Resting(at) if is_new => self.resting.remove(&(at, unsent.key)),
            // Includes a row that was read from the inbox before this call.
            KeyPlace::Backlog(seq) => self.backlog.remove(&(seq, unsent.key)),
            KeyPlace::Resting(_) | KeyPlace::Due(_) | KeyPlace::InFlight => return,
        };
        self.queue(unsent.key, now);
    }

    /// Adds the newest row of a purchase from before the process started. If memory has no room for the key, the sweep
    /// handles it.
    pub fn add_to_backlog(&mut self, now: i64, unsent: UnsentSignal) {
        if self.entries.contains_key(&unsent.key) || self.backlog_room() == 0 || !self.make_room() {
            return;
        }
        let mut entry = KeyEntry::new(now);
        entry.add(now, unsent);
        entry.place = KeyPlace::Backlog(unsent.seq);
        self.entries.insert(unsent.key, entry);
        self.backlog.insert((unsent.seq, unsent.key));
    }

    /// Adds a row that needs a flush, which is sent without the minimum time between signals. If memory has no room for
    /// the key, the row is read back later and settled at the end of its window like any other.
    pub fn flush(&mut self, now: i64, unsent: UnsentSignal) {
        self.notify(now, unsent);
        let Some(entry) = self.entries.get_mut(&unsent.key) else {
            return;
        };
        entry.flush.0 = entry.flush.0.max(Some(unsent.seq));
        if entry.place == KeyPlace::InFlight || entry.failures > 0 {
            return;
        }
        entry.not_before = now;
        if let KeyPlace::Due(at) | KeyPlace::Resting(at) = entry.place {
            self.due.remove(&(at, unsent.key));
            self.resting.remove(&(at, unsent.key));
        }
        self.queue(unsent.key, now);
    }

    /// Returns the next step. A returned signal is in flight until [`Plan::sent`], [`Plan::failed`] or
    /// [`Plan::refused`] reports its result.
    pub fn next(&mut self, now: i64) -> PlannedAction {
        self.forget_rested(now);
        let due_at = self.due.first().map(|&(at, _)| at.max(self.paused_until));
        let next = match due_at {
            Some(at) if at <= now => self.due.pop_first(),
            _ if self.paused_until <= now => self.backlog.pop_last(),
            _ => None,
        };
        let Some((_, key)) = next else {
            let backlog_at = (!self.backlog.is_empty()).then_some(self.paused_until);
            let wake = due_at
                .into_iter()
                .chain(backlog_at)
                .min()
                .or(self.resting.first().map(|&(at, _)| at));
            return wake.map_or(PlannedAction::Idle, PlannedAction::Sleep);
        };
        let Some(entry) = self.entries.get_mut(&key) else {
            return PlannedAction::Sleep(now);
        };
        entry.place = KeyPlace::InFlight;
        entry.unsignalled.1 = entry.unsignalled.0;
        entry.flush.1 = entry.flush.0;
        entry.trace = (None, entry.trace.1.or(entry.trace.0));
        if entry.flush.0.is_some() {
            PlannedAction::Flush(key, entry.newest)
        } else {
            PlannedAction::Signal(key, entry.signal(now))
        }
    }

    /// Returns whether [`Plan::next`] would return a signal now.
    pub fn has_due(&self, now: i64) -> bool {
        let is_due = self.due.first().is_some_and(|&(at, _)| at <= now);
        self.paused_until <= now && (is_due || !self.backlog.is_empty())
    }

    /// Returns the trace of the first row that the running call for a key covers.
    pub fn trace(&self, key: CollapseKey) -> Option<TraceContext> {
        self.entries.get(&key)?.trace.1
    }

    /// Records that Temporal accepted a signal that covers the rows up to `through`.
    pub fn sent(&mut self, now: i64, key: CollapseKey, through: i64) {
        self.failures = 0;
        self.paused_until = i64::MIN;
        let Some(entry) = self.entries.get_mut(&key) else {
            return;
        };
        entry.failures = 0;
        entry.unsignalled = (entry.unsignalled.0.saturating_sub(entry.unsignalled.1), 0);
        entry.trace.1 = None;
        entry.signalled = entry.signalled.max(through);
        entry.not_before = now.saturating_add(entry.spacing);
        if entry.flush.0 == entry.flush.1 {
            entry.flush = (None, None);
        } else {
            entry.not_before = now;
        }
        if entry.unsignalled.0 > 0 || entry.newest > entry.signalled || entry.flush.0.is_some() {
            self.queue(key, now);
        } else {
            let at = entry.quiet_until.max(entry.not_before);
            entry.place = KeyPlace::Resting(at);
            self.resting.insert((at, key));
        }
    }

    /// Drops everything that Temporal accepted, because Temporal was emptied.
    pub fn forget_sent(&mut self) {
        self.forget_rested(i64::MAX);
    }

    /// Records that Temporal did not respond: the key becomes due again after its back-off. Returns whether this
    /// failure begins the first pause of all keys.
    pub fn failed(&mut self, now: i64, key: CollapseKey) -> bool {
        let mut pauses = false;
        // A call that fails during a pause began before it, together with those that caused it.
        if self.paused_until <= now {
            self.failures = self.failures.saturating_add(1);
            if self.failures >= FAILURES_BEFORE_PAUSE {
                self.paused_until =
                    now.saturating_add(PAUSE.after(self.failures - FAILURES_BEFORE_PAUSE));
            }
            pauses = self.failures == FAILURES_BEFORE_PAUSE;
        }
        let Some(entry) = self.entries.get_mut(&key) else {
            return pauses;
        };
        entry.not_before = now.saturating_add(KEY_BACKOFF.after(entry.failures));
        entry.failures = entry.failures.saturating_add(1);
        self.queue(key, now);
        pauses
    }

    /// Drops a key whose signal Temporal rejected. The sweep finds the purchase later.
    pub fn refused(&mut self, key: CollapseKey) {
        self.entries.remove(&key);
    }

    /// Returns the sequence number from which on rows may be missing in memory.
    pub const fn missed_from(&self) -> Option<i64> {
        self.missed_from
    }

    /// Records that rows from this sequence number on may be missing in memory.
    pub fn mark_missed_from(&mut self, seq: i64) {
        self.missed_from = Some(self.missed_from.map_or(seq, |from| from.min(seq)));
    }

    /// Must be called before rows above `cursor` are read from the inbox. From then on, these rows no longer count as
    /// missed.
    pub fn about_to_read(&mut self, cursor: i64) {
        if self.missed_from.is_some_and(|from| from > cursor) {
            self.missed_from = None;
        }
    }

    /// Returns the number of further keys that fit. Resting keys do not count, because they can be dropped.
    pub fn room(&self) -> usize {
        self.capacity.saturating_sub(self.unsignalled_purchases())
    }

    /// Returns the number of further keys that fit in the backlog, which takes half of the memory at most.
    pub fn backlog_room(&self) -> usize {
        self.capacity
            .div_ceil(2)
            .saturating_sub(self.backlog.len())
            .min(self.room())
    }

    /// Returns the number of keys that are due, in the backlog or in flight.
    pub fn unsignalled_purchases(&self) -> usize {
        self.entries.len().saturating_sub(self.resting.len())
    }

    fn make_room(&mut self) -> bool {
        if self.entries.len() < self.capacity {
            return true;
        }
        let Some((_, key)) = self.resting.pop_first() else {
            return false;
        };
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
        let Some(entry) = self.entries.get_mut(&key) else {
            return;
        };
        let at = now.max(entry.not_before);
        entry.place = KeyPlace::Due(at);
        self.due.insert((at, key));
    }
}

impl KeyEntry {
    fn new(now: i64) -> Self {
        Self {
            newest: i64::MIN,
            quiet_until: now,
            cap_until: None,
            spacing: SHORTEST_SPACING_MS,
            signalled: i64::MIN,
            unsignalled: (0, 0),
            flush: (None, None),
            place: KeyPlace::Resting(now),
            not_before: now,
            failures: 0,
            trace: (None, None),
        }
    }

    /// Adds a row. Returns false if it is the newest one, which was added before.
    fn add(&mut self, now: i64, unsent: UnsentSignal) -> bool {
        if unsent.seq == self.newest {
            return false;
        }
        self.newest = self.newest.max(unsent.seq);
        self.unsignalled.0 = self.unsignalled.0.saturating_add(1);
        self.trace.0 = self.trace.0.or(unsent.trace);
        let quiet_ms = unsent.quiet_ms.max(0);
        self.quiet_until = self.quiet_until.max(now.saturating_add(quiet_ms));
        self.spacing = self
            .spacing
            .max(quiet_ms / SIGNALS_PER_WINDOW)
            .min(LONGEST_SPACING_MS);
        let cap = unsent.cap_ms.map(|ms| now.saturating_add(ms.max(0)));
        // A cap in the past belongs to an earlier window that has already ended.
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
            cap: self
                .cap_until
                .map(|until| duration(until.saturating_sub(now))),
        }
    }
}

impl Arrivals {
    /// Counts a row. Returns whether rows arrive so fast that first signals must wait.
    fn add(&mut self, now: i64) -> bool {
        let age = now.saturating_sub(self.since);
        if age >= SECOND_MS {
            let is_next = age < SECOND_MS * 2;
            *self = Self {
                since: now,
                count: 0,
                was_crowded: is_next && self.count >= CROWD,
            };
        }
        self.count = self.count.saturating_add(1);
        self.was_crowded || self.count >= CROWD
    }
}

impl Backoff {
    /// Returns the wait before the next attempt after `failures` earlier failures in a row.
    fn after(self, failures: u32) -> i64 {
        self.first_ms
            .saturating_mul(1_i64 << failures.min(20))
            .min(self.longest_ms)
    }
}
