//! The tables, the JSON and the limits of a store's ingress in comparison with a bare server.

use crate::median_of;
use serde_json::{Map, Value, json};
use system_tests::load::Measured;

/// Minimum ratio of the ingress rate to that of the bare server, by the median of the rounds.
const LEAST_SHARE: f64 = 0.8;
/// Highest p99 at a third of the rate, in milliseconds, unless the bare server's is higher.
pub const MOST_MS: f64 = 20.0;

/// A flood of forged messages.
pub const FLOOD: Disturbance = Disturbance {
    name: "beside forged messages",
    most_ms: 40.0,
    most_times: 2.0,
};

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    Bare,
    Settle,
}

impl Subject {
    pub const BOTH: [Self; 2] = [Self::Bare, Self::Settle];

    const fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare server",
            Self::Settle => "settle",
        }
    }
}

/// What is sent beside honest messages, with its limits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Disturbance {
    pub name: &'static str,
    /// Highest p99 in milliseconds, unless it is at most this multiple of the p99 of the first kind alone.
    pub most_ms: f64,
    pub most_times: f64,
}

/// A measurement at a third of settle's rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Phase {
    /// Only honest messages, with this name.
    Alone(&'static str),
    /// Others beside honest messages of the first kind.
    Beside(Disturbance),
}

impl Phase {
    const fn name(self) -> &'static str {
        match self {
            Self::Alone(name) | Self::Beside(Disturbance { name, .. }) => name,
        }
    }
}

/// Rates of one round at saturation with one kind of messages.
struct Rates {
    round: u32,
    kind: &'static str,
    bare: f64,
    settle: f64,
}

/// Latencies at a third of settle's rate.
struct Latencies {
    phase: Phase,
    subject: Subject,
    per_second: f64,
    /// p50, p99 and worst, in milliseconds.
    ms: [f64; 3],
    /// Number of processors that settle used.
    cores: f64,
}

/// All figures of a run.
#[derive(Default)]
pub struct Report {
    rates: Vec<Rates>,
    latencies: Vec<Latencies>,
    /// Refused forgeries per second, by settle.
    refused_per_second: f64,
}

impl Report {
    /// Adds and prints the rates of a round.
    pub fn add_rates(&mut self, round: u32, kind: &'static str, bare: f64, settle: f64) {
        if self.rates.is_empty() {
            println!(
                "{:<8}{:<18}{:>16}{:>20}{:>8}",
                "round", "", "bare server /s", "acknowledged /s", "share"
            );
        }
        let share = settle / bare;
        println!("{round:<8}{kind:<18}{bare:>16.0}{settle:>20.0}{share:>8.2}");
        self.rates.push(Rates {
            round,
            kind,
            bare,
            settle,
        });
    }

    /// Adds and prints the latencies of honest messages. `cores` is the number of processors that settle used.
    pub fn add_latencies(
        &mut self,
        phase: Phase,
        subject: Subject,
        measured: &Measured,
        cores: f64,
    ) {
        if self.latencies.is_empty() {
            println!(
                "\n{:<30}{:<14}{:>16}{:>10}{:>10}{:>10}{:>14}",
                "at a third", "", "acknowledged /s", "p50 ms", "p99 ms", "worst ms", "settle cores"
            );
        }
        let per_second = measured.rate();
        let [p50, p99, worst] = [0.5, 0.99, 1.0].map(|part| measured.latency_ms(part));
        println!(
            "{:<30}{:<14}{per_second:>16.0}{p50:>10.1}{p99:>10.1}{worst:>10.1}{cores:>14.2}",
            phase.name(),
            subject.name()
        );
        self.latencies.push(Latencies {
            phase,
            subject,
            per_second,
            ms: [p50, p99, worst],
            cores,
        });
    }

    /// Adds and prints the rate of refused forgeries.
    pub fn add_refused(&mut self, subject: Subject, per_second: f64) {
        let name = subject.name();
        println!("{name}: {per_second:.0} forged messages refused per second");
        if subject == Subject::Settle {
            self.refused_per_second = per_second;
        }
    }

    /// Returns the kind of messages that was sent first at saturation.
    pub fn first_kind(&self) -> Option<&'static str> {
        self.rates.first().map(|rates| rates.kind)
    }

    /// Returns the kinds of messages at saturation.
    fn kinds(&self) -> Vec<&'static str> {
        let mut kinds: Vec<_> = self.rates.iter().map(|rates| rates.kind).collect();
        kinds.sort_unstable();
        kinds.dedup();
        kinds
    }

    /// Returns settle's median rate with this kind of messages.
    pub fn rate(&self, kind: &str) -> f64 {
        self.median(kind, |rates| rates.settle)
    }

    fn share(&self, kind: &str) -> f64 {
        self.median(kind, |rates| rates.settle / rates.bare)
    }

    fn median(&self, kind: &str, measure: impl Fn(&Rates) -> f64) -> f64 {
        let of_kind = self.rates.iter().filter(|rates| rates.kind == kind);
        median_of(of_kind.map(measure).collect())
    }

    fn find(&self, phase: Phase, subject: Subject) -> Option<&Latencies> {
        let mut all = self.latencies.iter();
        all.find(|one| one.phase == phase && one.subject == subject)
    }

    fn p99(&self, phase: Phase, subject: Subject) -> f64 {
        self.find(phase, subject).map_or(0.0, |found| found.ms[1])
    }

    /// Returns the measurement of the first kind alone.
    fn base(&self) -> Phase {
        Phase::Alone(self.first_kind().unwrap_or_default())
    }

    fn settle_latencies(&self) -> impl Iterator<Item = &Latencies> {
        let all = self.latencies.iter();
        all.filter(|one| one.subject == Subject::Settle)
    }

    pub fn json(&self) -> Value {
        let rates = self.rates.iter().map(|rates| {
            json!({
                "round": rates.round, "kind": rates.kind, "bare_per_second": rates.bare,
                "per_second": rates.settle, "share": rates.settle / rates.bare,
            })
        });
        let latencies = self.latencies.iter().map(|one| {
            let [p50, p99, worst] = one.ms;
            json!({
                "phase": one.phase.name(), "subject": one.subject.name(), "per_second": one.per_second,
                "p50_ms": p50, "p99_ms": p99, "worst_ms": worst, "settle_cores": one.cores,
            })
        });
        let kinds = self.kinds().into_iter();
        let shares: Map<String, Value> = kinds
            .map(|kind| (kind.to_owned(), json!(self.share(kind))))
            .collect();
        let alone = self.p99(self.base(), Subject::Settle);
        let times: Map<String, Value> = self
            .settle_latencies()
            .map(|one| (one.phase.name().to_owned(), json!(one.ms[1] / alone)))
            .collect();
        json!({
            "rates": rates.collect::<Vec<_>>(), "at_a_third": latencies.collect::<Vec<_>>(), "shares": shares,
            "p99_times": times, "refused_per_second": self.refused_per_second,
        })
    }

    /// Compares the figures with the limits.
    ///
    /// # Panics
    /// When settle exceeds a limit.
    pub fn check(&self) {
        for kind in self.kinds() {
            let share = self.share(kind);
            assert!(
                share >= LEAST_SHARE,
                "{kind}: {share:.2} of the bare server's rate, below {LEAST_SHARE}"
            );
        }
        let alone = self.p99(self.base(), Subject::Settle);
        for one in self.settle_latencies() {
            let most = match one.phase {
                Phase::Alone(_) => self.p99(one.phase, Subject::Bare).max(MOST_MS),
                Phase::Beside(limits) => (limits.most_times * alone).max(limits.most_ms),
            };
            let (name, p99) = (one.phase.name(), one.ms[1]);
            assert!(p99 <= most, "{name}: p99 {p99:.1} ms, above {most:.1} ms");
        }
    }

    /// Compares the processors that settle used beside a disturbance with those that it used without.
    ///
    /// # Panics
    /// When it used more than `most` processors more.
    pub fn check_cores(&self, disturbance: Disturbance, most: f64) {
        let cores = |phase| {
            self.find(phase, Subject::Settle)
                .map_or(0.0, |one| one.cores)
        };
        let more = cores(Phase::Beside(disturbance)) - cores(self.base());
        let name = disturbance.name;
        assert!(
            more <= most,
            "{name}: {more:.2} more processors, above {most}"
        );
    }
}
