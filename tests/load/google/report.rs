//! The tables, the JSON and the limits of Google's ingress.

use crate::median_of;
use domain::Timestamp;
use serde_json::{Value, json};
use system_tests::load::{Measured, Tokens};

/// Minimum ratio of the ingress rate to that of the bare server, by the median of the rounds.
const LEAST_SHARE: f64 = 0.8;
/// Highest p99 at a third of the rate, in milliseconds, unless the bare server's is higher.
const MOST_MS: f64 = 20.0;
/// Highest p99 beside forged tokens, in milliseconds, unless it is at most this multiple of the p99 without them.
const MOST_FLOODED_MS: f64 = 40.0;
const MOST_FLOODED_TIMES: f64 = 2.0;
/// Maximum p99 beside a repeated message, as a multiple of the p99 without it, unless it is at most [`MOST_MS`].
const MOST_REPEATED_TIMES: f64 = 1.5;
/// Minimum time between two fetches of the keys in milliseconds: settle's interval, less the time of a request.
const LEAST_INTERVAL_MS: i64 = 29_000;

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

/// What is sent beside honest pushes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Only the honest pushes, with these tokens.
    Alone(Tokens),
    /// Forged tokens. The honest pushes have one token.
    Flood,
    /// A message that can never be right. The honest pushes have one token.
    Repeat,
}

impl Phase {
    const fn name(self) -> &'static str {
        match self {
            Self::Alone(tokens) => tokens_name(tokens),
            Self::Flood => "beside forged tokens",
            Self::Repeat => "beside one repeated message",
        }
    }
}

const fn tokens_name(tokens: Tokens) -> &'static str {
    match tokens {
        Tokens::One => "known token",
        Tokens::Each => "new token each",
        Tokens::Forged => "forged tokens",
    }
}

/// Rates of one round at saturation.
struct Rates {
    round: u32,
    tokens: Tokens,
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
}

/// All figures of a run.
#[derive(Default)]
pub struct Report {
    rates: Vec<Rates>,
    latencies: Vec<Latencies>,
    /// Refused forgeries per second, by settle.
    refused_per_second: f64,
    /// When the keys were fetched.
    fetched_at: Vec<Timestamp>,
}

impl Report {
    /// Adds and prints the rates of a round.
    pub fn add_rates(&mut self, round: u32, tokens: Tokens, bare: f64, settle: f64) {
        if self.rates.is_empty() {
            println!(
                "{:<8}{:<18}{:>16}{:>20}{:>8}",
                "round", "", "bare server /s", "acknowledged /s", "share"
            );
        }
        let name = tokens_name(tokens);
        let share = settle / bare;
        println!("{round:<8}{name:<18}{bare:>16.0}{settle:>20.0}{share:>8.2}");
        self.rates.push(Rates {
            round,
            tokens,
            bare,
            settle,
        });
    }

    /// Adds and prints the latencies of honest pushes.
    pub fn add_latencies(&mut self, phase: Phase, subject: Subject, measured: &Measured) {
        if self.latencies.is_empty() {
            println!(
                "\n{:<30}{:<14}{:>16}{:>10}{:>10}{:>10}",
                "at a third", "", "acknowledged /s", "p50 ms", "p99 ms", "worst ms"
            );
        }
        let per_second = measured.rate();
        let [p50, p99, worst] = [0.5, 0.99, 1.0].map(|part| measured.latency_ms(part));
        println!(
            "{:<30}{:<14}{per_second:>16.0}{p50:>10.1}{p99:>10.1}{worst:>10.1}",
            phase.name(),
            subject.name()
        );
        self.latencies.push(Latencies {
            phase,
            subject,
            per_second,
            ms: [p50, p99, worst],
        });
    }

    /// Adds and prints what the flood of forged tokens caused.
    pub fn add_flood(&mut self, refused_per_second: f64, fetched_at: Vec<Timestamp>) {
        self.refused_per_second = refused_per_second;
        self.fetched_at = fetched_at;
        let apart = self.least_interval_ms();
        let apart = apart.map(|millis| format!(", at least {millis} ms apart"));
        println!(
            "{refused_per_second:.0} forged tokens refused per second; {} fetches of the keys since the start{}",
            self.fetched_at.len(),
            apart.unwrap_or_default()
        );
    }

    /// Returns settle's median rate with these tokens.
    pub fn rate(&self, tokens: Tokens) -> f64 {
        self.median(tokens, |rates| rates.settle)
    }

    fn share(&self, tokens: Tokens) -> f64 {
        self.median(tokens, |rates| rates.settle / rates.bare)
    }

    fn median(&self, tokens: Tokens, measure: impl Fn(&Rates) -> f64) -> f64 {
        let of_tokens = self.rates.iter().filter(|rates| rates.tokens == tokens);
        median_of(of_tokens.map(measure).collect())
    }

    fn p99(&self, phase: Phase, subject: Subject) -> f64 {
        let mut all = self.latencies.iter();
        let found = all.find(|one| one.phase == phase && one.subject == subject);
        found.map_or(0.0, |found| found.ms[1])
    }

    fn least_interval_ms(&self) -> Option<i64> {
        let pairs = self.fetched_at.windows(2);
        pairs.map(|pair| pair[1].millis_since(pair[0])).min()
    }

    pub fn json(&self) -> Value {
        let rates = self.rates.iter().map(|rates| {
            json!({
                "round": rates.round, "tokens": tokens_name(rates.tokens), "bare_per_second": rates.bare,
                "per_second": rates.settle, "share": rates.settle / rates.bare,
            })
        });
        let latencies = self.latencies.iter().map(|one| {
            let [p50, p99, worst] = one.ms;
            json!({
                "phase": one.phase.name(), "subject": one.subject.name(), "per_second": one.per_second,
                "p50_ms": p50, "p99_ms": p99, "worst_ms": worst,
            })
        });
        let alone = self.p99(Phase::Alone(Tokens::One), Subject::Settle);
        json!({
            "rates": rates.collect::<Vec<_>>(), "at_a_third": latencies.collect::<Vec<_>>(),
            "share_known_token": self.share(Tokens::One), "share_new_tokens": self.share(Tokens::Each),
            "flooded_p99_times": self.p99(Phase::Flood, Subject::Settle) / alone,
            "repeated_p99_times": self.p99(Phase::Repeat, Subject::Settle) / alone,
            "refused_per_second": self.refused_per_second, "key_fetches": self.fetched_at.len(),
            "least_fetch_interval_ms": self.least_interval_ms(),
        })
    }

    /// Compares the figures with the limits.
    ///
    /// # Panics
    /// When settle exceeds a limit.
    pub fn check(&self) {
        for tokens in [Tokens::One, Tokens::Each] {
            let (name, share) = (tokens_name(tokens), self.share(tokens));
            assert!(
                share >= LEAST_SHARE,
                "{name}: {share:.2} of the bare server's rate, below {LEAST_SHARE}"
            );
            let phase = Phase::Alone(tokens);
            self.check_p99(phase, self.p99(phase, Subject::Bare).max(MOST_MS));
        }
        let alone = self.p99(Phase::Alone(Tokens::One), Subject::Settle);
        let most = (MOST_FLOODED_TIMES * alone).max(MOST_FLOODED_MS);
        self.check_p99(Phase::Flood, most);
        self.check_p99(Phase::Repeat, (MOST_REPEATED_TIMES * alone).max(MOST_MS));
        let is_rare = self
            .least_interval_ms()
            .is_none_or(|millis| millis >= LEAST_INTERVAL_MS);
        let times = &self.fetched_at;
        assert!(is_rare, "more than one fetch per interval: {times:?}");
    }

    fn check_p99(&self, phase: Phase, most: f64) {
        let (name, p99) = (phase.name(), self.p99(phase, Subject::Settle));
        assert!(p99 <= most, "{name}: p99 {p99:.1} ms, above {most:.1} ms");
    }
}
