//! The tables and the JSON.

use super::phase::Figures;
use super::subject::Variant;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Minimum rate of settled purchases in the burst, as a fraction of the floor's.
const LEAST_RATE: f64 = 0.6;
/// Maximum CPU time of the engine per purchase of the burst, as a multiple of the floor's.
const MOST_ENGINE: f64 = 1.3;
/// Maximum CPU time of settle's processes, as a multiple of the floor's.
const MOST_OWN: f64 = 2.5;

type Measure = fn(&Figures) -> f64;

/// The figures of one round of one variant.
pub struct Round {
    pub number: u32,
    pub variant: Variant,
    /// The machine's load average at the beginning of the round.
    pub load_average: f64,
    /// The figures of each phase; the burst is the first.
    pub phases: Vec<Figures>,
}

impl Round {
    /// Prints one line for each phase.
    pub fn print(&self) {
        for phase in &self.phases {
            let Figures {
                name,
                settled_per_second,
                lag_ms: (p50, p99),
                history: [events, tasks, signals],
                ..
            } = phase;
            println!(
                "{:<6}{:<13}{name:<8}{settled_per_second:>10.1}{:>11.2}{:>9.2}{events:>8.1}{tasks:>7.2}{signals:>9.2}\
                 {:>7.1}{p50:>10.0}{p99:>10.0}{:>8}{:>6.1}",
                self.number,
                self.variant.name(),
                phase.engine_ms(),
                phase.own_ms(),
                phase.calls(),
                phase.missing,
                self.load_average,
            );
        }
    }

    fn json(&self) -> Value {
        let phases: Vec<Value> = self.phases.iter().map(Figures::json).collect();
        json!({
            "round": self.number, "variant": self.variant.name(), "load_average": self.load_average, "phases": phases,
        })
    }
}

/// Prints the head of the lines of [`Round::print`].
pub fn print_head() {
    println!(
        "{:<6}{:<13}{:<8}{:>10}{:>11}{:>9}{:>8}{:>7}{:>9}{:>7}{:>10}{:>10}{:>8}{:>6}",
        "round",
        "variant",
        "phase",
        "settled/s",
        "engine ms",
        "own ms",
        "events",
        "tasks",
        "signals",
        "calls",
        "lag p50",
        "lag p99",
        "missing",
        "load"
    );
}

/// Prints, for the burst, the medians of all rounds and their ratios to the first variant, followed by the engine's
/// counters.
pub fn print_summary(rounds: &[Round]) {
    let variants: BTreeSet<Variant> = rounds.iter().map(|round| round.variant).collect();
    let bursts = |variant: Variant| -> Vec<&Figures> {
        rounds
            .iter()
            .filter(|round| round.variant == variant)
            .filter_map(|round| round.phases.first())
            .collect()
    };
    let Some(first) = variants.first().copied() else {
        return;
    };
    println!(
        "\nburst, medians of the rounds (and ratio to {}):",
        first.name()
    );
    let measures: [(&str, Measure); 4] = [
        ("settled/s", |figures| figures.settled_per_second),
        ("engine CPU ms per purchase", Figures::engine_ms),
        ("own CPU ms per purchase", Figures::own_ms),
        ("calls per purchase", Figures::calls),
    ];
    for (what, measure) in measures {
        print!("{what:<28}");
        let base = median(&bursts(first), measure);
        for variant in &variants {
            let here = median(&bursts(*variant), measure);
            print!("{:>14} {here:>8.2} ({:.2})", variant.name(), here / base);
        }
        println!();
    }
    println!(
        "\nCPU ms per purchase by process, and requests per purchase by service and operation:"
    );
    let merged = |figures: &Figures| -> BTreeMap<String, f64> {
        figures
            .cpu_ms
            .iter()
            .map(|(kind, cpu)| (format!("cpu {kind}"), *cpu))
            .chain(figures.requests.clone())
            .collect()
    };
    let names: BTreeSet<String> = rounds
        .iter()
        .flat_map(|round| &round.phases)
        .flat_map(merged)
        .map(|one| one.0)
        .collect();
    for name in names {
        let here = |variant: &Variant| {
            median(&bursts(*variant), |figures| {
                merged(figures).get(&name).copied().unwrap_or_default()
            })
        };
        let values: Vec<f64> = variants.iter().map(here).collect();
        if values.iter().any(|value| *value >= 0.01) {
            print!("{name:<60}");
            variants
                .iter()
                .zip(values)
                .for_each(|(variant, value)| print!("{:>14} {value:>8.2}", variant.name()));
            println!();
        }
    }
}

/// Compares settle with the floor of the same run, if both were measured.
///
/// # Panics
/// When settle exceeds a limit.
pub fn check(rounds: &[Round]) {
    let bursts = |variant: Variant| -> Vec<&Figures> {
        rounds
            .iter()
            .filter(|round| round.variant == variant)
            .filter_map(|round| round.phases.first())
            .collect()
    };
    let (settle, floor) = (bursts(Variant::Settle), bursts(Variant::Floor));
    if settle.is_empty() || floor.is_empty() {
        return;
    }
    let ratio = |measure: Measure| median(&settle, measure) / median(&floor, measure);
    let (rate, engine, own) = (
        ratio(|figures| figures.settled_per_second),
        ratio(Figures::engine_ms),
        ratio(Figures::own_ms),
    );
    assert!(
        rate >= LEAST_RATE,
        "settled/s: {rate:.2} of the floor's, below {LEAST_RATE}"
    );
    assert!(
        engine <= MOST_ENGINE,
        "engine CPU: {engine:.2} times the floor's, above {MOST_ENGINE}"
    );
    assert!(
        own <= MOST_OWN,
        "own CPU: {own:.2} times the floor's, above {MOST_OWN}"
    );
}

/// Returns the median of a measure.
pub fn median(bursts: &[&Figures], measure: impl Fn(&Figures) -> f64) -> f64 {
    let mut values: Vec<f64> = bursts.iter().map(|figures| measure(figures)).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

pub fn json(rounds: &[Round]) -> Value {
    rounds.iter().map(Round::json).collect()
}
