//! The calls of the database that are in flight: when each began, its purpose, and what it waits for at the moment.
//! `watch.rs` logs those that take long.
//!
//! A thread that runs calls enters a [`WaitNote`], in which each statement and commit notes itself. This costs a short
//! lock, which two threads hardly ever need at once, and saves a parameter that all rooms would have to pass on. A
//! thread without a [`WaitNote`] notes nothing.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::mem::replace;
use std::panic::Location;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::time::Instant;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Not the database: code of this process runs.
    Code,
    /// A free connection of a pool, or a thread for it.
    Pool,
    Connect,
    Begin,
    /// A statement that is called at this place in the source.
    Statement(&'static Location<'static>),
    Commit,
    Rollback,
}

impl Step {
    /// Returns the kind of the wait, a label of metrics.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::Pool => "pool",
            Self::Connect => "connect",
            Self::Begin => "begin",
            Self::Statement(_) => "statement",
            Self::Commit => "commit",
            Self::Rollback => "rollback",
        }
    }
}

impl fmt::Display for Step {
    /// Writes a statement as its file and line, such as `delivery/finish.rs:84`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Statement(place) = self else {
            return f.write_str(self.kind());
        };
        let file = place.file();
        write!(
            f,
            "{}:{}",
            file.split_once("src/").map_or(file, |(_, file)| file),
            place.line()
        )
    }
}

/// The current activity of a thread, or of the thread that will run a call.
#[derive(Debug, Clone, Copy)]
pub struct ThreadState {
    pub step: Step,
    pub since: Instant,
    /// When the thread took its current work: calls that began later wait in its queue.
    pub taken_at: Instant,
    /// The process id of the PostgreSQL session that the thread used last.
    pub backend: Option<i32>,
}

/// The note of what a thread waits for.
#[derive(Debug)]
pub struct WaitNote(Mutex<ThreadState>);

thread_local! {
    static ENTERED: RefCell<Option<Arc<WaitNote>>> = const { RefCell::new(None) };
}

impl WaitNote {
    /// Returns the note of a thread that has no work yet.
    pub fn new(step: Step) -> Arc<Self> {
        let now = Instant::now();
        Arc::new(Self(Mutex::new(ThreadState {
            step,
            since: now,
            taken_at: now,
            backend: None,
        })))
    }

    /// Makes this thread note here what it waits for, until the returned value is dropped.
    pub fn enter(self: &Arc<Self>) -> Entered {
        ENTERED.set(Some(Arc::clone(self)));
        note(Step::Code, None);
        Entered
    }

    /// Notes that the thread takes the work that waits for it.
    pub fn take(&self) {
        self.lock().taken_at = Instant::now();
    }

    fn lock(&self) -> MutexGuard<'_, ThreadState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[must_use]
pub struct Entered;

impl Drop for Entered {
    fn drop(&mut self) {
        ENTERED.set(None);
    }
}

/// Notes what this thread waits for, until the returned value is dropped.
pub fn begin(step: Step) -> Begun {
    note(step, None);
    Begun
}

#[must_use]
pub struct Begun;

impl Drop for Begun {
    fn drop(&mut self) {
        note(Step::Code, None);
    }
}

/// Notes what this thread waits for, and perhaps in which session of PostgreSQL.
pub fn note(step: Step, backend: Option<i32>) {
    ENTERED.with_borrow(|place| {
        if let Some(place) = place {
            let mut state = place.lock();
            let known = state.backend.filter(|_| step != Step::Connect);
            (state.step, state.since, state.backend) = (step, Instant::now(), backend.or(known));
        }
    });
}

/// Returns how long this thread has been in its current step; zero outside a call.
pub fn elapsed() -> Duration {
    ENTERED.with_borrow(|place| {
        place
            .as_ref()
            .map_or(Duration::ZERO, |place| place.lock().since.elapsed())
    })
}

pub fn present() -> Step {
    ENTERED.with_borrow(|place| place.as_ref().map_or(Step::Code, |place| place.lock().step))
}

/// The calls of a process that are in flight, in the order in which they began. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Waits(Arc<Mutex<Calls>>);

#[derive(Debug, Default)]
pub struct Calls {
    last: u64,
    running: BTreeMap<u64, Running>,
}

#[derive(Debug)]
struct Running {
    purpose: &'static str,
    began: Instant,
    place: Arc<WaitNote>,
    is_noticed: bool,
}

/// A call in flight. It ends when this is dropped.
#[derive(Debug)]
pub struct Call {
    waits: Waits,
    id: u64,
    place: Arc<WaitNote>,
}

/// The state of a call when it was found.
#[derive(Debug, Clone, Copy)]
pub struct RunningCall {
    pub purpose: &'static str,
    pub began: Instant,
    pub state: ThreadState,
}

impl Waits {
    /// Adds a call that gets a thread of its own, and first waits for `step`.
    pub fn call(&self, purpose: &'static str, step: Step) -> Call {
        let place = WaitNote::new(step);
        let began = place.lock().since;
        self.add(Running {
            purpose,
            began,
            place,
            is_noticed: false,
        })
    }

    /// Adds a call that waits for the thread with this note.
    pub fn queued(&self, purpose: &'static str, place: &Arc<WaitNote>) -> Call {
        self.add(Running {
            purpose,
            began: Instant::now(),
            place: Arc::clone(place),
            is_noticed: false,
        })
    }

    fn add(&self, running: Running) -> Call {
        let place = Arc::clone(&running.place);
        let mut calls = self.lock();
        calls.last += 1;
        let id = calls.last;
        calls.running.insert(id, running);
        drop(calls);
        Call {
            waits: self.clone(),
            id,
            place,
        }
    }

    /// Returns the calls that have taken at least this long by now and were not found before, oldest first.
    pub fn find_long(&self, now: Instant, long: Duration) -> Vec<RunningCall> {
        let mut calls = self.lock();
        let old = calls
            .running
            .values_mut()
            .take_while(|call| now.saturating_duration_since(call.began) >= long);
        old.filter_map(|call| (!replace(&mut call.is_noticed, true)).then(|| call.found()))
            .collect()
    }

    /// Returns the calls in flight that have a session of PostgreSQL, by its process id.
    pub fn by_backend(&self) -> HashMap<i64, RunningCall> {
        let calls = self.lock();
        let found = calls.running.values().map(Running::found);
        found
            .filter_map(|found| Some((i64::from(found.state.backend?), found)))
            .collect()
    }

    /// Returns a weak handle, for the watching thread, which ends after the last [`Waits`] is dropped.
    pub fn downgrade(&self) -> Weak<Mutex<Calls>> {
        Arc::downgrade(&self.0)
    }

    /// Returns the handle that [`Self::downgrade`] made weak, if it still exists.
    pub fn upgrade(weak: &Weak<Mutex<Calls>>) -> Option<Self> {
        weak.upgrade().map(Self)
    }

    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    fn found(&self) -> RunningCall {
        RunningCall {
            purpose: self.purpose,
            began: self.began,
            state: *self.place.lock(),
        }
    }
}

impl RunningCall {
    /// Returns the reason for waiting, a label of metrics. For a call behind others, that is the queue.
    pub fn waits_for(&self) -> &'static str {
        if self.began > self.state.taken_at {
            "queue"
        } else {
            self.state.step.kind()
        }
    }
}

impl Call {
    /// Notes that the calling thread runs the call, until the returned value is dropped.
    pub fn enter(&self) -> Entered {
        self.place.take();
        self.place.enter()
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.waits.lock().running.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(2);

    #[test]
    fn a_call_is_found_once_and_only_while_it_runs() {
        let waits = Waits::default();
        let (call, short) = (
            waits.call("read", Step::Pool),
            waits.call("read", Step::Pool),
        );
        let now = Instant::now();
        assert!(waits.find_long(now, LONG).is_empty(), "they began just now");
        drop(short);
        let found = waits.find_long(now + LONG, LONG);
        assert_eq!(
            found.iter().map(RunningCall::waits_for).collect::<Vec<_>>(),
            ["pool"]
        );
        assert!(
            waits.find_long(now + LONG, LONG).is_empty(),
            "it was found before"
        );
        drop(call);
        assert!(
            waits
                .find_long(now + LONG + LONG, Duration::ZERO)
                .is_empty()
        );
    }

    #[test]
    fn a_call_behind_others_waits_for_its_turn() {
        let (waits, place) = (Waits::default(), WaitNote::new(Step::Code));
        let _first = waits.queued("record", &place);
        let _entered = place.enter();
        place.take();
        let _commit = begin(Step::Commit);
        let _second = waits.queued("record", &place);
        let found = waits.find_long(Instant::now(), Duration::ZERO);
        assert_eq!(
            found.iter().map(RunningCall::waits_for).collect::<Vec<_>>(),
            ["commit", "queue"]
        );
        assert!(
            found.iter().all(|call| call.state.step == Step::Commit),
            "what its thread does"
        );
    }

    #[test]
    fn a_thread_notes_what_it_waits_for_in_the_place_it_entered() {
        let call = Waits::default().call("read", Step::Pool);
        let entered = call.enter();
        let statement = begin(Step::Statement(Location::caller()));
        assert!(
            present().to_string().starts_with("db/waits.rs:"),
            "{}",
            present()
        );
        drop(statement);
        note(Step::Begin, Some(7));
        note(Step::Commit, None);
        assert_eq!(
            (present(), call.place.lock().backend),
            (Step::Commit, Some(7))
        );
        note(Step::Connect, None);
        assert_eq!(call.place.lock().backend, None, "of the lost connection");
        drop(entered);
        note(Step::Rollback, None);
        assert_eq!(
            (present(), call.place.lock().step),
            (Step::Code, Step::Connect)
        );
    }
}
