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

use super::shared::locked;
use super::{ports, wait};
use domain::Timestamp;
use project::{Limit, Project};
use serde_json::Value;
use server::Shared;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, MutexGuard};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

const DAY_MS: i64 = 86_400_000;

#[derive(Debug, Clone)]
pub struct Exchange {
    /// HTTP method and path, with the query string.
    pub target: String,
    /// Request body as JSON; null if the body is not JSON.
    pub body: Value,
    pub began: Instant,
    /// When the request was answered or either side closed the connection; `None` while the request is open.
    pub closed_at: Option<Instant>,
    /// Status of the answer; `None` while the request is open and after a dropped connection.
    pub status: Option<u16>,
    pub answer: Value,
}

impl Exchange {
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
    /// Faults for one request each, by the user id of one of the request's events.
    of_user: Vec<(String, Fault)>,
    chaos: Option<Chaos>,
    /// Event types that a project refuses, by the project's API key.
    unwelcome: Vec<(String, String)>,
    /// Insert ids of the events that a fault permanently refused by name.
    blamed: BTreeSet<String>,
    ahead_ms: i64,
    /// Number of short ids that were removed from events.
    removed_ids: usize,
}

/// A running fake of Amplitude; it stops when dropped.
pub struct Amplitude {
    port: u16,
    shared: Shared,
    server: JoinHandle<()>,
}

impl Amplitude {
    /// Starts a fake without projects on a free port.
    ///
    /// # Panics
    /// When it cannot listen.
    pub async fn start() -> Self {
        let shared = Shared {
            seen: Arc::default(),
            released: watch::Sender::new(0),
        };
        let port = ports::free();
        let server = server::serve(port, shared.clone()).await;
        Self {
            port,
            shared,
            server,
        }
    }

    /// Returns the fake's origin, as a value of `SETTLE_AMPLITUDE_ALLOWED_URLS`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Adds a project with these keys.
    pub fn project(&self, api_key: &str, secret_key: &str) {
        self.seen()
            .projects
            .insert(api_key.to_owned(), Project::new(secret_key));
    }

    /// Replaces a project's API key and keeps the project's data.
    ///
    /// # Panics
    /// When there is no such project.
    pub fn rekey(&self, old: &str, new: &str) {
        let mut seen = self.seen();
        let project = seen
            .projects
            .remove(old)
            .unwrap_or_else(|| panic!("no project {old}"));
        seen.projects.insert(new.to_owned(), project);
    }

    /// Returns the time by the fake's clock.
    pub fn now(&self) -> Timestamp {
        self.seen().now()
    }

    pub fn pass(&self, time: Duration) {
        self.seen().ahead_ms += i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    }

    /// Moves the fake's clock forward to `now`, for example to the time of another clock; never back.
    pub fn set(&self, now: Timestamp) {
        let mut seen = self.seen();
        seen.ahead_ms = seen.ahead_ms.max(now.millis_since(api::clock::now()));
    }

    /// Queues these faults for the next requests, one per request. Queued faults take precedence over all others.
    pub fn script(&self, faults: impl IntoIterator<Item = Fault>) {
        self.seen().next.extend(faults);
    }

    /// Sets the fault of every request from now on.
    pub fn answer(&self, fault: Fault) {
        self.seen().always = Some(fault);
    }

    /// Sets the fault of every request whose first event is of this type.
    pub fn answer_to(&self, event_type: &str, fault: Fault) {
        self.seen().of_type.insert(event_type.to_owned(), fault);
    }

    /// Sets the fault of the next request that has an event of this user.
    pub fn script_for(&self, user_id: &str, fault: Fault) {
        self.seen().of_user.push((user_id.to_owned(), fault));
    }

    pub fn disturb(&self, chaos: Chaos) {
        self.seen().chaos = Some(chaos);
    }

    /// Removes all faults, random ones included.
    pub fn answer_truly(&self) {
        let mut seen = self.seen();
        seen.next.clear();
        seen.always = None;
        seen.of_type.clear();
        seen.of_user.clear();
        seen.chaos = None;
    }

    /// Lets all requests that hang at [`Fault::Hang`] continue.
    pub fn release(&self) {
        self.shared.released.send_modify(|times| *times += 1);
    }

    /// Makes a project refuse events of this type.
    pub fn refuse_type(&self, api_key: &str, event_type: &str) {
        self.seen()
            .unwelcome
            .push((api_key.to_owned(), event_type.to_owned()));
    }

    /// Makes a project refuse every event of this device.
    pub fn silence(&self, api_key: &str, device_id: &str) {
        self.change(api_key, |project, _| project.silence(device_id));
    }

    /// Throttles a user or device for the duration `time`.
    pub fn throttle(&self, api_key: &str, id: &str, time: Duration) {
        let millis = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        self.change(api_key, |project, now| {
            project.limit(id, Limit::Rate, now.plus_millis(millis))
        });
    }

    /// Makes a user or device exceed its daily quota for the next 24 hours.
    pub fn exceed_quota(&self, api_key: &str, id: &str) {
        self.change(api_key, |project, now| {
            project.limit(id, Limit::Daily, now.plus_millis(DAY_MS))
        });
    }

    /// Returns all requests so far, in the order of arrival.
    pub fn requests(&self) -> Vec<Exchange> {
        self.seen().requests.clone()
    }

    /// Returns a project's events without duplicates, in the order in which they were first accepted.
    ///
    /// # Panics
    /// When there is no such project.
    pub fn events(&self, api_key: &str) -> Vec<Counted> {
        self.of(api_key, |project| project.events().to_vec())
    }

    /// Returns the number of events that a project counted.
    ///
    /// # Panics
    /// When there is no such project.
    pub fn count(&self, api_key: &str) -> usize {
        self.of(api_key, |project| project.events().len())
    }

    /// Returns a project's `$identify` entries without duplicates, in the order in which they were first accepted.
    ///
    /// # Panics
    /// When there is no such project.
    pub fn identified(&self, api_key: &str) -> Vec<Counted> {
        self.of(api_key, |project| project.identified().to_vec())
    }

    /// Returns the insert ids of the events that [`Fault::Refused`] or [`Fault::Silenced`] refused; settle gives these
    /// events up.
    pub fn blamed(&self) -> BTreeSet<String> {
        self.seen().blamed.clone()
    }

    /// Returns the number of duplicate events that a project ignored.
    pub fn repeated(&self, api_key: &str) -> usize {
        self.of(api_key, Project::repeated)
    }

    /// Returns the profile of a user, by user id or, failing that, by device id.
    ///
    /// # Panics
    /// When there is no such project.
    pub fn profile(&self, api_key: &str, id: &str) -> Option<Profile> {
        self.of(api_key, |project| project.profile(id))
    }

    /// Returns the profiles of all of a project's users.
    ///
    /// # Panics
    /// When there is no such project.
    pub fn profiles(&self, api_key: &str) -> Vec<Profile> {
        self.of(api_key, Project::profiles)
    }

    /// Waits until a project has counted at least `count` events, and returns all of them.
    ///
    /// # Panics
    /// When the deadline passes.
    pub async fn wait_counted(
        &self,
        api_key: &str,
        count: usize,
        deadline: Duration,
    ) -> Vec<Counted> {
        wait::until(
            deadline,
            &format!("{count} events in {api_key}"),
            async || {
                let events = self.events(api_key);
                let types = || {
                    events
                        .iter()
                        .map(|one| one.event["event_type"].to_string())
                        .collect::<Vec<_>>()
                };
                if events.len() >= count {
                    Ok(events)
                } else {
                    Err(format!("{}: {:?}", events.len(), types()))
                }
            },
        )
        .await
    }

    /// Checks the rules that a sender must keep in every scenario.
    pub fn check(&self) {
        let wrong = self.verdict();
        assert!(wrong.is_empty(), "what no sender should do: {wrong:#?}");
    }

    /// Returns the rule violations on which [`Self::check`] fails.
    pub fn verdict(&self) -> Vec<String> {
        let seen = self.seen();
        let mut wrong = rules::broken(&seen.requests);
        if seen.removed_ids > 0 {
            wrong.push(format!(
                "{} ids were too short and were removed",
                seen.removed_ids
            ));
        }
        for (key, project) in &seen.projects {
            let (cut, dropped) = project.losses();
            if cut > 0 {
                wrong.push(format!("{cut} values were cut in {key}"));
            }
            if dropped > 0 {
                wrong.push(format!(
                    "{dropped} updates of user properties were dropped in {key}"
                ));
            }
        }
        wrong
    }

    fn of<T>(&self, api_key: &str, view: impl FnOnce(&Project) -> T) -> T {
        view(
            self.seen()
                .projects
                .get(api_key)
                .unwrap_or_else(|| panic!("no project {api_key}")),
        )
    }

    fn change(&self, api_key: &str, change: impl FnOnce(&mut Project, Timestamp)) {
        let mut seen = self.seen();
        let now = seen.now();
        change(
            seen.projects
                .get_mut(api_key)
                .unwrap_or_else(|| panic!("no project {api_key}")),
            now,
        );
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
