//! A phase of a round: notifications are sent, all windows end, and everything in between is measured.

use super::requests;
use super::sending::Store;
use super::subject::Subject;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use system_tests::load::{Pace, quantile};
use system_tests::machine::{self, Usage};
use system_tests::wait;
use temporalio_common::protos::temporal::api::enums::v1::EventType;
use tokio::time::Instant;

/// Number of purchases whose histories are counted.
const SAMPLE: usize = 20;
/// Pause after the last webhook: its run has yet to end, and the engine publishes its counts with a delay of a second.
const REST: Duration = Duration::from_secs(2);

/// When the window of each purchase ends.
pub type WindowEnds = BTreeMap<String, Instant>;

#[derive(Debug, Clone)]
pub struct Plan {
    /// Name of the phase and prefix of its receipts.
    pub name: String,
    /// The store of the purchases.
    pub store: Store,
    pub purchases: usize,
    pub notifications: usize,
    /// Purchases per second; `None` sends as fast as possible.
    pub per_second: Option<u32>,
    pub window: Duration,
    /// Maximum time from the end of the windows to the last webhook.
    pub patience: Duration,
}

/// The measurements of a phase. Times are in milliseconds; costs are per purchase.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    pub name: String,
    pub purchases: usize,
    /// Number of purchases without a webhook at the end.
    pub missing: usize,
    /// Purchases settled per second, from the end of the first window to the last webhook.
    pub settled_per_second: f64,
    /// Time from the end of a purchase's window to its webhook: median and 99th percentile.
    pub lag_ms: (f64, f64),
    /// CPU time by kind of process.
    pub cpu_ms: BTreeMap<String, f64>,
    /// Resident memory by kind of process at the end, in bytes.
    pub memory: BTreeMap<String, u64>,
    /// Requests to the engine's services, by service and operation.
    pub requests: BTreeMap<String, f64>,
    /// Number of events, workflow tasks and signals in a purchase's history.
    pub history: [f64; 3],
}

impl Figures {
    pub fn engine_ms(&self) -> f64 {
        self.cpu_ms.get("temporal").copied().unwrap_or_default()
    }

    /// Returns the CPU time of the program, without its database server.
    pub fn own_ms(&self) -> f64 {
        ["run", "serve", "worker", "floor"]
            .iter()
            .filter_map(|kind| self.cpu_ms.get(*kind))
            .sum()
    }

    /// Returns the number of requests that clients sent to the engine.
    pub fn calls(&self) -> f64 {
        self.requests
            .iter()
            .filter(|(name, _)| name.starts_with("frontend."))
            .map(|(_, count)| count)
            .sum()
    }

    pub fn json(&self) -> Value {
        json!({
            "phase": self.name, "purchases": self.purchases, "missing": self.missing,
            "settled_per_second": self.settled_per_second, "lag_p50_ms": self.lag_ms.0, "lag_p99_ms": self.lag_ms.1,
            "engine_cpu_ms": self.engine_ms(), "own_cpu_ms": self.own_ms(), "cpu_ms": self.cpu_ms,
            "memory_bytes": self.memory, "calls": self.calls(), "requests": self.requests,
            "events": self.history[0], "workflow_tasks": self.history[1], "signals": self.history[2],
        })
    }
}

impl Plan {
    /// Returns the receipts of all notifications in the order of sending: the purchases of each second in rotation.
    pub fn receipts(&self) -> Vec<String> {
        let together = self
            .per_second
            .map_or(self.purchases, |rate| rate as usize)
            .clamp(1, self.purchases.max(1));
        let numbers: Vec<usize> = (0..self.purchases).collect();
        let turns = numbers
            .chunks(together)
            .flat_map(|some| some.repeat(self.notifications));
        turns.map(|number| self.receipt(number)).collect()
    }

    pub fn receipt(&self, number: usize) -> String {
        let name = format!("{}-{number:06}", self.name.replace('/', "-"));
        self.store.receipt(&name)
    }

    /// Returns the pace of the notifications.
    pub fn pace(&self) -> Pace {
        let notifications = u32::try_from(self.notifications).unwrap_or(u32::MAX);
        self.per_second.map_or(Pace::Saturate, |rate| {
            Pace::PerSecond(f64::from(rate.saturating_mul(notifications)))
        })
    }

    /// Sends the notifications, waits for all webhooks and measures.
    pub async fn run(&self, subject: &mut Subject) -> Figures {
        wait::pass(REST).await;
        let (cpu, requests) = (machine::usage(), requests::counts(subject.temporal()).await);
        let window_ends = self.send(subject).await;
        let missing = self.wait(subject, &window_ends).await;
        wait::pass(REST).await;
        let (cpu_after, requests_after) =
            (machine::usage(), requests::counts(subject.temporal()).await);
        let mut figures = self.timed(&window_ends, &subject.arrivals());
        figures.missing = missing;
        figures.cpu_ms = self.each(&difference(&milliseconds(&cpu_after), &milliseconds(&cpu)));
        figures.memory = cpu_after
            .iter()
            .map(|(kind, usage)| (kind.clone(), usage.memory))
            .collect();
        figures.requests = self.each(&difference(&requests_after, &requests));
        figures.history = self.history(subject).await;
        figures
    }

    /// Sends the notifications, and returns when each purchase's window ends.
    pub async fn send(&self, subject: &mut Subject) -> WindowEnds {
        let due = subject
            .send(self.store, &self.receipts(), self.pace())
            .await;
        self.window_ends(due)
    }

    /// Returns when each purchase's window ends, from when its last notification was due.
    pub fn window_ends(&self, due: BTreeMap<String, Instant>) -> WindowEnds {
        due.into_iter()
            .map(|(key, due)| (key, due + self.window))
            .collect()
    }

    /// Waits until the first of these purchases has its webhook.
    pub async fn wait_first(&self, subject: &Subject, window_ends: &WindowEnds) {
        wait::until(self.window + self.patience, "a webhook", async || {
            let is_there = subject
                .arrivals()
                .keys()
                .any(|key| window_ends.contains_key(key));
            if is_there {
                Ok(())
            } else {
                Err("none".to_owned())
            }
        })
        .await;
    }

    /// Waits until every purchase has its webhook, and returns the number of purchases without one in time.
    pub async fn wait(&self, subject: &Subject, window_ends: &WindowEnds) -> usize {
        let is_there = |arrivals: &BTreeMap<String, Instant>, key: &String, end: &Instant| {
            // The webhook of an earlier window does not count.
            arrivals
                .get(key)
                .is_some_and(|arrived| *arrived + self.window > *end)
        };
        let count = || {
            let arrivals = subject.arrivals();
            window_ends
                .iter()
                .filter(|(key, end)| !is_there(&arrivals, key, end))
                .count()
        };
        let waited = wait::within(
            self.window + self.patience,
            "every webhook",
            async || match count() {
                0 => Ok(()),
                missing => Err(missing.to_string()),
            },
        );
        if waited.await.is_ok() { 0 } else { count() }
    }

    /// Returns the rate and the lag, without costs.
    pub fn timed(&self, window_ends: &WindowEnds, arrivals: &BTreeMap<String, Instant>) -> Figures {
        let arrived = |key: &String| arrivals.get(key).copied();
        let mut lags: Vec<Duration> = window_ends
            .iter()
            .filter_map(|(key, end)| Some(arrived(key)?.saturating_duration_since(*end)))
            .collect();
        lags.sort_unstable();
        let first = window_ends.values().min();
        let took = first
            .zip(window_ends.keys().filter_map(arrived).max())
            .map(|(first, last)| last - *first);
        let lag = |part| quantile(&lags, part).map_or(0.0, |lag| lag.as_secs_f64() * 1000.0);
        Figures {
            name: self.name.clone(),
            purchases: self.purchases,
            settled_per_second: took.map_or(0.0, |took| {
                number(lags.len()) / took.as_secs_f64().max(0.001)
            }),
            lag_ms: (lag(0.5), lag(0.99)),
            ..Figures::default()
        }
    }

    fn each(&self, counts: &BTreeMap<String, f64>) -> BTreeMap<String, f64> {
        let one = |(name, count): (&String, &f64)| (name.clone(), count / number(self.purchases));
        counts
            .iter()
            .map(one)
            .filter(|(_, count)| *count > 0.0)
            .collect()
    }

    /// Returns the number of events, workflow tasks and signals per purchase, from a sample.
    async fn history(&self, subject: &Subject) -> [f64; 3] {
        let step = (self.purchases / SAMPLE).max(1);
        let (mut totals, mut runs) = ([0.0; 3], 0.0);
        for place in (0..self.purchases).step_by(step) {
            let history = subject
                .temporal()
                .history(&subject.workflow_id(self.store, &self.receipt(place)))
                .await;
            let count = |wanted| {
                history
                    .iter()
                    .filter(|event| event.event_type() == wanted)
                    .count()
            };
            let (tasks, signals) = (
                count(EventType::WorkflowTaskCompleted),
                count(EventType::WorkflowExecutionSignaled),
            );
            for (total, counted) in totals.iter_mut().zip([history.len(), tasks, signals]) {
                *total += number(counted);
            }
            runs += 1.0;
        }
        totals.map(|total| total / runs)
    }
}

fn milliseconds(usage: &BTreeMap<String, Usage>) -> BTreeMap<String, f64> {
    usage
        .iter()
        .map(|(kind, usage)| (kind.clone(), usage.cpu.as_secs_f64() * 1000.0))
        .collect()
}

fn difference(
    after: &BTreeMap<String, f64>,
    before: &BTreeMap<String, f64>,
) -> BTreeMap<String, f64> {
    after
        .iter()
        .map(|(name, count)| {
            (
                name.clone(),
                count - before.get(name).copied().unwrap_or_default(),
            )
        })
        .collect()
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52 items")]
fn number(count: usize) -> f64 {
    count as f64
}
