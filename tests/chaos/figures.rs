//! The figures of all rounds: faults by kind, kills by place, the number of observations behind each promise, and lags.

use crate::plan::Kind;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;
use system_tests::load::quantile;

/// The invariants of the README.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    I1,
    I2,
    I3,
    I4,
    I5,
    I6,
    I7,
    I8,
}

impl Promise {
    pub const ALL: [Self; 8] = [
        Self::I1,
        Self::I2,
        Self::I3,
        Self::I4,
        Self::I5,
        Self::I6,
        Self::I7,
        Self::I8,
    ];

    /// Returns what is counted for the promise.
    const fn unit(self) -> &'static str {
        match self {
            Self::I1 => "accepted messages with one outcome for each notification",
            Self::I2 => {
                "deliveries that were observed at least twice since their end, and stayed so"
            }
            Self::I3 => "acknowledged revisions",
            Self::I4 => "requests",
            Self::I5 => "quiet purchases",
            Self::I6 => {
                "redirects to a forbidden address; besides, every event of one app is queued for one"
            }
            Self::I7 => "requests, none beside another one about its purchase",
            Self::I8 => "messages that were answered 200, and stayed",
        }
    }
}

#[derive(Debug, Default)]
pub struct Figures {
    pub rounds: usize,
    judged: BTreeMap<Promise, usize>,
    faults: BTreeMap<Kind, usize>,
    kills: BTreeMap<String, usize>,
    /// Sizes of the additional loads of rounds.
    loads: BTreeMap<&'static str, Vec<usize>>,
    lags: BTreeMap<Kind, Vec<Duration>>,
    /// Lag of each event after the end of its window.
    all: Vec<Duration>,
}

impl Figures {
    pub fn judged(&mut self, promise: Promise, count: usize) {
        *self.judged.entry(promise).or_default() += count;
    }

    pub fn occurred(&mut self, kind: Kind) {
        *self.faults.entry(kind).or_default() += 1;
    }

    pub fn killed(&mut self, place: &str, times: usize) {
        *self.kills.entry(place.to_owned()).or_default() += times;
    }

    /// Records the size of a round's load.
    pub fn loaded(&mut self, load: &'static str, size: usize) {
        self.loads.entry(load).or_default().push(size);
    }

    pub fn lagged(&mut self, kind: Kind, lags: Vec<Duration>) {
        self.lags.entry(kind).or_default().extend(lags);
    }

    /// Records how long after its window an event arrived.
    pub fn arrived(&mut self, lag: Duration) {
        self.all.push(lag);
    }

    /// Returns the number of faults so far.
    pub fn faults(&self) -> usize {
        self.faults.values().sum()
    }
}

/// Formats the median and the maximum of these times, in seconds.
fn seconds(lags: &[Duration]) -> String {
    let mut sorted = lags.to_vec();
    sorted.sort_unstable();
    let of = |part| {
        quantile(&sorted, part)
            .copied()
            .unwrap_or_default()
            .as_secs_f64()
    };
    format!("{} | {:.1} | {:.1}", lags.len(), of(0.5), of(1.0))
}

impl fmt::Display for Figures {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            to,
            "| fault | times | events due | median lag s | longest lag s |\n|---|---|---|---|---|"
        )?;
        for kind in Kind::ALL {
            let lags = self.lags.get(&kind).map_or(&[][..], Vec::as_slice);
            writeln!(
                to,
                "| {} | {} | {} |",
                kind.to_string().trim(),
                self.faults.get(&kind).unwrap_or(&0),
                seconds(lags)
            )?;
        }
        writeln!(
            to,
            "| all events, after their window | | {} |",
            seconds(&self.all)
        )?;
        writeln!(
            to,
            "\n| load | rounds | smallest | largest |\n|---|---|---|---|"
        )?;
        for (load, sizes) in &self.loads {
            let [least, most] = [sizes.iter().min(), sizes.iter().max()]
                .map(|size| size.copied().unwrap_or_default());
            writeln!(to, "| {load} | {} | {least} | {most} |", sizes.len())?;
        }
        writeln!(to, "\n| killed (SIGKILL or abort) | times |\n|---|---|")?;
        for (place, times) in &self.kills {
            writeln!(to, "| {place} | {times} |")?;
        }
        writeln!(to, "\n| promise | judged on | |\n|---|---|---|")?;
        for promise in Promise::ALL {
            let judged = self.judged.get(&promise).unwrap_or(&0);
            writeln!(to, "| {promise:?} | {judged} | {} |", promise.unit())?;
        }
        Ok(())
    }
}
