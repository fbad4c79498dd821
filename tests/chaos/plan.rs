//! The plan of a round: which fault comes when and where. It is a function of the seed alone, so that a seed repeats
//! it. Which statement a process executes then is up to the system, so that a repetition may take another course.

use std::fmt;
use std::time::Duration;
use system_tests::random::Random;

/// A kind of fault, a row of the table at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Kill,
    Point,
    Suspended,
    EngineKilled,
    EngineSuspended,
    DatabaseKilled,
    Closed,
    Broken,
    Hostile,
    StoreClosed,
    StoreBroken,
    Analytics,
    SlowDisk,
    FullDisk,
    Clock,
    Upgraded,
    Restored,
}

impl Kind {
    pub const ALL: [Self; 17] = [
        Self::Kill,
        Self::Point,
        Self::Suspended,
        Self::EngineKilled,
        Self::EngineSuspended,
        Self::DatabaseKilled,
        Self::Closed,
        Self::Broken,
        Self::Hostile,
        Self::StoreClosed,
        Self::StoreBroken,
        Self::Analytics,
        Self::SlowDisk,
        Self::FullDisk,
        Self::Clock,
        Self::Upgraded,
        Self::Restored,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Kill => "process killed at any time",
            Self::Point => "process killed at a fail point",
            Self::Suspended => "process suspended",
            Self::EngineKilled => "Temporal killed",
            Self::EngineSuspended => "Temporal suspended",
            Self::DatabaseKilled => "PostgreSQL killed",
            Self::Closed => "endpoints closed",
            Self::Broken => "endpoints with errors",
            Self::Hostile => "hostile endpoint",
            Self::StoreClosed => "RVS closed",
            Self::StoreBroken => "RVS with errors",
            Self::Analytics => "Amplitude with errors",
            Self::SlowDisk => "slow disk",
            Self::FullDisk => "full disk",
            Self::Clock => "clock set forward",
            Self::Upgraded => "upgraded, process by process",
            Self::Restored => "backup restored",
        }
    }

    /// How often it occurs among [`BLOCK`] faults.
    const fn share(self, of: Database) -> usize {
        match (self, of) {
            // `Plan::armed` plans the kills at fail points; a backup is restored at the end of a round.
            (Self::Point | Self::Restored, _)
            | (Self::DatabaseKilled, Database::Sqlite)
            | (Self::FullDisk, Database::Postgres) => 0,
            (Self::Kill, _) => 4,
            (Self::Suspended | Self::Broken | Self::DatabaseKilled, _) => 2,
            _ => 1,
        }
    }

    /// Longest time that it lasts, in milliseconds. A suspended process and a step of the clock together stay below the
    /// 20 s of a lease: I7 excepts longer ones. Two steps are [`STEPS_APART`].
    const fn longest_ms(self) -> u64 {
        match self {
            Self::Suspended => 8000,
            Self::Clock => 9000,
            Self::EngineKilled | Self::DatabaseKilled => 4000,
            Self::Kill | Self::Point => 2000,
            _ => 6000,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.pad(self.name())
    }
}

/// What the processes of a round share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Database {
    /// One process, `run`.
    Sqlite,
    /// Two `serve` and two `worker`.
    Postgres,
}

impl Database {
    /// That of a seed: PostgreSQL for an even one, SQLite for an odd one.
    pub fn of(seed: u64) -> Self {
        if seed.is_multiple_of(2) { Self::Postgres } else { Self::Sqlite }
    }

    /// The names of the processes; the first one has the URL of the API.
    pub const fn processes(self) -> &'static [&'static str] {
        match self {
            Self::Sqlite => &["run"],
            Self::Postgres => &["serve-a", "worker-a", "serve-b", "worker-b"],
        }
    }
}

/// The fail points of a process that takes notifications.
const ACCEPTING: &[&str] = &["accept.before_commit", "accept.after_commit", "dispatch.before_signal"];
/// The fail points of a process that settles and delivers.
const WORKING: &[&str] = &[
    "load.before_commit",
    "load.after_commit",
    "load.after",
    "record.before_commit",
    "record.after_commit",
    "deliver.before_send",
    "deliver.after_send",
    "deliver.after_finish",
    "drain.before_hand_back",
    "supervise.after_probe",
];
/// Share of the starts that have a fail point, in percent.
const ARMED: u64 = 85;
/// Maximum number of times that a fail point is passed unharmed.
const PASSES: u64 = 8;

/// A fail point at which a process aborts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Armed {
    pub point: &'static str,
    passes: u64,
}

impl Armed {
    /// As a part of `FAILPOINTS`.
    pub fn setting(&self) -> String {
        format!("{}={}*off->1*return", self.point, self.passes)
    }
}

/// Shortest time that a fault lasts, in milliseconds: less may be over before anything happens.
const SHORTEST_MS: u64 = 500;
/// Time from a step of the clock to the next one, at least.
const STEPS_APART: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub at: Duration,
    pub kind: Kind,
    /// The index of the process that it concerns, for a kind that concerns one.
    pub process: usize,
    /// How long it lasts, or by how much it sets the clock forward.
    pub time: Duration,
    /// What else is random about it.
    pub seed: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub seed: u64,
    pub database: Database,
    pub faults: Vec<Fault>,
}

/// A generator of its own for each purpose: seed and purpose are mixed as in SplitMix64, so that each bit of a first state
/// depends on both.
pub const fn random(seed: u64, purpose: u64) -> Random {
    let mut mixed = seed.wrapping_add(purpose.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    Random::new(mixed ^ (mixed >> 31))
}

impl Plan {
    /// The plan of a seed. About one fault comes every `gap`.
    pub fn new(seed: u64, time: Duration, gap: Duration) -> Self {
        let database = Database::of(seed);
        let mut random = random(seed, 1);
        let (mut faults, mut deck, mut at) = (Vec::new(), Vec::new(), Duration::ZERO);
        let mut last_step: Option<Duration> = None;
        let gap_ms = u64::try_from(gap.as_millis()).unwrap_or(u64::MAX);
        loop {
            at += gap / 2 + Duration::from_millis(random.below(gap_ms));
            if at >= time {
                break;
            }
            if deck.is_empty() {
                deck = Kind::ALL.iter().flat_map(|kind| std::iter::repeat_n(*kind, kind.share(database))).collect();
            }
            let kind = deck.swap_remove(place(&mut random, deck.len()));
            let process = place(&mut random, database.processes().len());
            let time = Duration::from_millis(SHORTEST_MS + random.below(kind.longest_ms() - SHORTEST_MS));
            let fault = Fault { at, kind, process, time, seed: random.below(u64::MAX) };
            if kind == Kind::Clock {
                if last_step.is_some_and(|last| at < last + STEPS_APART) {
                    continue;
                }
                last_step = Some(at);
            }
            faults.push(fault);
        }
        Self { seed, database, faults }
    }

    /// The fail point of a process at its `start`th start, if it has one: `wanted` at each start of a process that
    /// passes it, else a random one.
    pub fn armed(&self, process: usize, start: usize, wanted: Option<&'static str>) -> Option<Armed> {
        let number = u64::try_from(process * 1000 + start).unwrap_or(0);
        let mut random = random(self.seed, 2 + number);
        let is_armed = random.percent(ARMED);
        let points = match self.database.processes()[process] {
            "run" => [ACCEPTING, WORKING].concat(),
            name if name.starts_with("serve") => ACCEPTING.to_vec(),
            _ => WORKING.to_vec(),
        };
        let any = points[place(&mut random, points.len())];
        let wanted = wanted.filter(|wanted| points.contains(wanted));
        let point = wanted.unwrap_or(any);
        // What is rare in a round is not to be passed.
        let is_rare = ["drain.before_hand_back", "supervise.after_probe"].contains(&point);
        let passes = random.below(if is_rare { 1 } else { PASSES });
        (is_armed || wanted.is_some()).then_some(Armed { point, passes })
    }
}

/// An index below `count`.
pub fn place(random: &mut Random, count: usize) -> usize {
    let place = random.below(u64::try_from(count).unwrap_or(1));
    usize::try_from(place).unwrap_or(0)
}

impl fmt::Display for Plan {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(to, "seed {}: {:?}, {} faults", self.seed, self.database, self.faults.len())?;
        for Fault { at, kind, process, time, .. } in &self.faults {
            let of_process = matches!(kind, Kind::Kill | Kind::Suspended);
            let name = if of_process { self.database.processes()[*process] } else { "" };
            writeln!(to, "{:>7.1} s  {kind:<28} {name:<9} {:>5.1} s", at.as_secs_f64(), time.as_secs_f64())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Database, Kind, Plan, SHORTEST_MS, STEPS_APART};
    use std::time::Duration;

    fn plan(seed: u64) -> Plan {
        Plan::new(seed, Duration::from_secs(600), Duration::from_millis(500))
    }

    #[test]
    fn a_seed_repeats_its_faults_and_none_is_too_short() {
        for seed in 0..20 {
            let faults = plan(seed).faults;
            assert_eq!(faults, plan(seed).faults);
            assert!(faults.iter().all(|fault| fault.time >= Duration::from_millis(SHORTEST_MS)), "seed {seed}");
        }
    }

    #[test]
    fn steps_of_the_clock_are_apart() {
        for seed in 0..20 {
            let faults = plan(seed).faults;
            let steps = faults.iter().filter(|fault| fault.kind == Kind::Clock);
            let steps: Vec<Duration> = steps.map(|fault| fault.at).collect();
            assert!(steps.len() > 1, "seed {seed}");
            assert!(steps.windows(2).all(|pair| pair[1] - pair[0] >= STEPS_APART), "seed {seed}: {steps:?}");
        }
    }

    #[test]
    fn a_wanted_fail_point_arms_each_start_of_its_processes() {
        const WANTED: &str = "accept.before_commit";
        let plan = plan(2);
        assert_eq!(plan.database, Database::Postgres);
        for start in 0..50 {
            let [serve, worker] = [0, 1].map(|process| plan.armed(process, start, Some(WANTED)));
            assert_eq!(serve.map(|armed| armed.point), Some(WANTED));
            assert_ne!(worker.map(|armed| armed.point), Some(WANTED));
        }
    }
}
