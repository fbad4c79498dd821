#![doc = include_str!("README.md")]

mod fault;
mod people;
mod project;
mod request;
mod response;
mod rules;
mod server;
mod wire;

pub use fault::{Chaos, Fault};
pub use people::Profile;
pub use project::Counted;

use super::{ports, wait};
use domain::Timestamp;
use project::{Limit, Project};
use serde_json::Value;
use server::Shared;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// A day.
const DAY_MS: i64 = 86_400_000;

/// One request, as it came.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// The method and the path with its query.
    pub target: String,
    /// The body as JSON; null when it is none.
    pub body: Value,
    /// When it came.
    pub began: Instant,
    /// When it was answered or its connection was closed, by whichever side; `None` while it is open.
    pub closed_at: Option<Instant>,
    /// The status that it was answered with; `None` also when the connection was dropped.
    pub status: Option<u16>,
    /// What it was answered.
    pub answer: Value,
}

impl Exchange {
    /// Its events.
    #[must_use]
    pub fn events(&self) -> &[Value] {
        self.body["events"].as_array().map_or(&[], Vec::as_slice)
    }
}

#[derive(Default)]
struct Seen {
    projects: BTreeMap<String, Project>,
    requests: Vec<Exchange>,
    next: VecDeque<Fault>,
    always: Option<Fault>,
    of_type: BTreeMap<String, Fault>,
    chaos: Option<Chaos>,
    /// Event types that are refused, by the key of the project.
    unwelcome: Vec<(String, String)>,
    /// The events that a fault named as never to be taken, by insert id.
    blamed: BTreeSet<String>,
    ahead_ms: i64,
    /// Short ids that were removed from events.
    removed_ids: usize,
}

/// The service; gone when dropped.
pub struct Amplitude {
    port: u16,
    shared: Shared,
    server: JoinHandle<()>,
}

impl Amplitude {
    /// Listens on a port of its own and has no project.
    ///
    /// # Panics
    /// When it cannot listen.
    pub async fn start() -> Self {
        let shared = Shared { seen: Arc::default(), released: watch::Sender::new(0) };
        let port = ports::free();
        let server = server::serve(port, shared.clone()).await;
        Self { port, shared, server }
    }

    /// Its origin, as `SETTLE_AMPLITUDE_ALLOWED_URLS` names it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A new project with these keys.
    pub fn project(&self, api_key: &str, secret_key: &str) {
        self.seen().projects.insert(api_key.to_owned(), Project::new(secret_key));
    }

    /// The project's key is another from now on; what it counted stays.
    ///
    /// # Panics
    /// When there is no such project.
    pub fn rekey(&self, old: &str, new: &str) {
        let mut seen = self.seen();
        let project = seen.projects.remove(old).unwrap_or_else(|| panic!("no project {old}"));
        seen.projects.insert(new.to_owned(), project);
    }

    /// Its present time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.seen().now()
    }

    /// Moves its clock forward.
    pub fn pass(&self, time: Duration) {
        self.seen().ahead_ms += i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    }

    /// Moves its clock forward to `now`, as another's shows it.
    pub fn set(&self, now: Timestamp) {
        let mut seen = self.seen();
        seen.ahead_ms = seen.ahead_ms.max(now.millis_since(api::clock::now()));
    }

    /// What the next requests meet, one each, before anything else that was scripted.
    pub fn script(&self, faults: impl IntoIterator<Item = Fault>) {
        self.seen().next.extend(faults);
    }

    /// What every request meets from now on.
    pub fn answer(&self, fault: Fault) {
        self.seen().always = Some(fault);
    }

    /// What every request meets whose first event is of this type.
    pub fn answer_to(&self, event_type: &str, fault: Fault) {
        self.seen().of_type.insert(event_type.to_owned(), fault);
    }

    /// What requests meet by chance.
    pub fn disturb(&self, chaos: Chaos) {
        self.seen().chaos = Some(chaos);
    }

    /// No fault any more.
    pub fn answer_truly(&self) {
        let mut seen = self.seen();
        seen.next.clear();
        seen.always = None;
        seen.of_type.clear();
        seen.chaos = None;
    }

    /// Lets everything that hangs go on.
    pub fn release(&self) {
        self.shared.released.send_modify(|times| *times += 1);
    }

    /// A project takes no events of this type from now on.
    pub fn refuse_type(&self, api_key: &str, event_type: &str) {
        self.seen().unwelcome.push((api_key.to_owned(), event_type.to_owned()));
    }

    /// A project takes nothing of this device from now on.
    pub fn silence(&self, api_key: &str, device_id: &str) {
        self.change(api_key, |project, _| project.silence(device_id));
    }

    /// A user or device is too busy for this time.
    pub fn throttle(&self, api_key: &str, id: &str, time: Duration) {
        let millis = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        self.change(api_key, |project, now| project.limit(id, Limit::Rate, now.plus_millis(millis)));
    }

    /// A user or device has used up its day.
    pub fn exceed_quota(&self, api_key: &str, id: &str) {
        self.change(api_key, |project, now| project.limit(id, Limit::Daily, now.plus_millis(DAY_MS)));
    }

    /// Everything received so far, in the order of arrival.
    #[must_use]
    pub fn requests(&self) -> Vec<Exchange> {
        self.seen().requests.clone()
    }

    /// What a project counted, each event once, in the order in which it was accepted first.
    ///
    /// # Panics
    /// When there is no such project.
    #[must_use]
    pub fn events(&self, api_key: &str) -> Vec<Counted> {
        self.of(api_key, |project| project.events().to_vec())
    }

    /// The changes of profiles that a project took, each once, in the order in which they were accepted first.
    ///
    /// # Panics
    /// When there is no such project.
    #[must_use]
    pub fn identified(&self, api_key: &str) -> Vec<Counted> {
        self.of(api_key, |project| project.identified().to_vec())
    }

    /// The events that a [`Fault::Refused`] or [`Fault::Silenced`] named, by insert id: their sender abandons them.
    #[must_use]
    pub fn blamed(&self) -> BTreeSet<String> {
        self.seen().blamed.clone()
    }

    /// How many repeated events a project ignored.
    #[must_use]
    pub fn repeated(&self, api_key: &str) -> usize {
        self.of(api_key, Project::repeated)
    }

    /// What a project knows of a user, by user id or else device id.
    ///
    /// # Panics
    /// When there is no such project.
    #[must_use]
    pub fn profile(&self, api_key: &str, id: &str) -> Option<Profile> {
        self.of(api_key, |project| project.profile(id))
    }

    /// Waits until a project counted as many events as wanted, and gives all of them.
    ///
    /// # Panics
    /// When it does not in time.
    pub async fn wait_counted(&self, api_key: &str, count: usize, deadline: Duration) -> Vec<Counted> {
        wait::until(deadline, &format!("{count} events in {api_key}"), async || {
            let events = self.events(api_key);
            let types = || events.iter().map(|one| one.event["event_type"].to_string()).collect::<Vec<_>>();
            if events.len() >= count { Ok(events) } else { Err(format!("{}: {:?}", events.len(), types())) }
        })
        .await
    }

    /// Checks what must hold whatever a scenario does.
    ///
    /// # Panics
    /// With what no sender should do.
    pub fn check(&self) {
        let wrong = self.verdict();
        assert!(wrong.is_empty(), "what no sender should do: {wrong:#?}");
    }

    /// What [`Self::check`] fails on, as a list.
    #[must_use]
    pub fn verdict(&self) -> Vec<String> {
        let seen = self.seen();
        let mut wrong = rules::broken(&seen.requests);
        if seen.removed_ids > 0 {
            wrong.push(format!("{} ids were too short and were removed", seen.removed_ids));
        }
        for (key, project) in &seen.projects {
            let (cut, dropped) = project.losses();
            if cut > 0 {
                wrong.push(format!("{cut} values were cut in {key}"));
            }
            if dropped > 0 {
                wrong.push(format!("{dropped} updates of user properties were dropped in {key}"));
            }
        }
        wrong
    }

    fn of<T>(&self, api_key: &str, view: impl FnOnce(&Project) -> T) -> T {
        view(self.seen().projects.get(api_key).unwrap_or_else(|| panic!("no project {api_key}")))
    }

    fn change(&self, api_key: &str, change: impl FnOnce(&mut Project, Timestamp)) {
        let mut seen = self.seen();
        let now = seen.now();
        change(seen.projects.get_mut(api_key).unwrap_or_else(|| panic!("no project {api_key}")), now);
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        locked(&self.shared.seen)
    }
}

impl Drop for Amplitude {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Seen {
    fn now(&self) -> Timestamp {
        api::clock::now().plus_millis(self.ahead_ms)
    }
}

fn locked(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
