//! The plan of a round: which faults happen when and where. It is a function of the seed alone, so that a seed repeats
//! it. Which statement a process executes at that time depends on the system, so that a repetition may proceed
//! differently.

use std::fmt;
use std::time::Duration;
use system_tests::random::Random;

/// A kind of fault, and a row of the final table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Kill,
    Point,
    Suspended,
    EngineKilled,
    EngineSuspended,
    DatabaseKilled,
    FailedOver,
    Closed,
    Broken,
    Hostile,
    StoreClosed,
    StoreBroken,
    Analytics,
    SlowDisk,
    FullDisk,
    Clock,
    ClockBack,
    Snapshot,
    Down,
    Upgraded,
    Restored,
}

impl Kind {
    pub const ALL: [Self; 21] = [
        Self::Kill,
        Self::Point,
        Self::Suspended,
        Self::EngineKilled,
        Self::EngineSuspended,
        Self::DatabaseKilled,
        Self::FailedOver,
        Self::Closed,
        Self::Broken,
        Self::Hostile,
        Self::StoreClosed,
        Self::StoreBroken,
        Self::Analytics,
        Self::SlowDisk,
        Self::FullDisk,
        Self::Clock,
        Self::ClockBack,
        Self::Snapshot,
        Self::Down,
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
            Self::FailedOver => "failed over to the standby",
            Self::Closed => "endpoints closed",
            Self::Broken => "endpoints with errors",
            Self::Hostile => "hostile endpoint",
            Self::StoreClosed => "RVS closed",
            Self::StoreBroken => "RVS with errors",
            Self::Analytics => "Amplitude with errors",
            Self::SlowDisk => "slow disk",
            Self::FullDisk => "full disk",
            Self::Clock => "clock set forward",
            Self::ClockBack => "clock set back",
            Self::Snapshot => "long snapshot",
            Self::Down => "one app's endpoint down",
            Self::Upgraded => "upgraded, process by process",
            Self::Restored => "backup restored",
        }
    }

    /// Returns how often the kind occurs among [`BLOCK`] faults.
    const fn share(self, of: Database) -> usize {
        match (self, of) {
            // `Plan::armed` plans the kills at fail points, `once` the faults that happen once; a backup is restored at
            // the end of a round.
            (Self::Point | Self::FailedOver | Self::Snapshot | Self::Down | Self::Restored, _)
            | (Self::DatabaseKilled, Database::Sqlite)
            | (Self::FullDisk, Database::Postgres) => 0,
            (Self::Kill, _) => 4,
            (Self::DatabaseKilled, _) => 3,
            (Self::Suspended | Self::Broken, _) => 2,
            _ => 1,
        }
    }

    /// Returns the maximum duration in milliseconds. A suspended process and a step of the clock together stay below
    /// the 20 s of a lease: I7 allows exceptions beyond that. A step back lengthens a lease. Two steps are
    /// [`STEPS_APART`], so that none happens while a lease from before the other one is live.
    const fn longest_ms(self) -> u64 {
        match self {
            Self::Suspended => 8000,
            Self::Clock | Self::ClockBack => 9000,
            Self::EngineKilled | Self::DatabaseKilled | Self::FailedOver => 4000,
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

/// The database that a round's processes share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Database {
    /// One process: `run`.
    Sqlite,
    /// Two `serve` and two `worker`.
    Postgres,
}

impl Database {
    /// Returns a seed's database: PostgreSQL for an even one, SQLite for an odd one.
    pub fn of(seed: u64) -> Self {
        if seed.is_multiple_of(2) {
            Self::Postgres
        } else {
            Self::Sqlite
        }
    }

    /// Returns the names of the processes; the first one serves the API at the installation's URL.
    pub const fn processes(self) -> &'static [&'static str] {
        match self {
            Self::Sqlite => &["run"],
            Self::Postgres => &["serve-a", "worker-a", "serve-b", "worker-b"],
        }
    }
}

/// Fail points of a process that accepts notifications.
const ACCEPTING: &[&str] = &[
    "accept.before_commit",
    "accept.after_commit",
    "dispatch.before_signal",
];
/// Fail points of a process that settles and delivers.
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
/// Percentage of starts that have a fail point.
const ARMED: u64 = 85;
/// Maximum number of times that a fail point is passed without an abort.
const PASSES: u64 = 8;

/// A fail point at which a process aborts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Armed {
    pub point: &'static str,
    passes: u64,
}

impl Armed {
    /// Returns the fail point as a part of `FAILPOINTS`.
    pub fn setting(&self) -> String {
        format!("{}={}*off->1*return", self.point, self.passes)
    }
}

/// Minimum duration of a fault in milliseconds: a shorter one might be over before anything happens.
const SHORTEST_MS: u64 = 500;
/// Minimum time between two steps of the clock.
const STEPS_APART: Duration = Duration::from_secs(30);
/// How far the clock is ahead when a round begins. It is never set back behind real time, which is the store's:
/// otherwise what the store has ended would not have ended yet for settle, which would check again only minutes later.
pub const AHEAD: Duration = Duration::from_secs(10);
/// Minimum time between a kill of PostgreSQL and a failover or long snapshot, so that it has recovered.
const RECOVERED: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub at: Duration,
    pub kind: Kind,
    /// Index of the affected process, for kinds that affect one.
    pub process: usize,
    /// Duration of the fault, or the size of the clock's step.
    pub time: Duration,
    /// Seed for the fault's other random choices.
    pub seed: u64,
}

/// How an app's endpoint fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outage {
    /// The endpoint answers 503.
    Unavailable,
    /// The port is closed.
    Closed,
}

/// Loads of a round in addition to the lives of its customers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Loads {
    /// Number of purchases of one customer that change together; `None` without such a customer.
    pub purchases: Option<usize>,
    /// How one app's endpoint fails from the beginning to the end, and how many events its devices report meanwhile.
    pub outage: Option<(Outage, usize)>,
}

impl Loads {
    /// Returns the loads of a seed, each of which occurs in half of the rounds.
    fn of(seed: u64) -> Self {
        let mut random = random(seed, 200_002);
        let purchases = 60 + place(&mut random, 91);
        let events = 2000 + 20 * place(&mut random, 101);
        let outage = if random.percent(50) {
            Outage::Unavailable
        } else {
            Outage::Closed
        };
        Self {
            purchases: random.percent(50).then_some(purchases),
            outage: random.percent(50).then_some((outage, events)),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub seed: u64,
    pub database: Database,
    pub loads: Loads,
    pub faults: Vec<Fault>,
}

/// Returns a separate generator for each purpose: seed and purpose are mixed as in SplitMix64, so that each bit of the
/// initial state depends on both.
pub const fn random(seed: u64, purpose: u64) -> Random {
    let mut mixed = seed.wrapping_add(purpose.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    Random::new(mixed ^ (mixed >> 31))
}

impl Plan {
    /// Returns the plan of a seed, with about one fault per `gap`.
    pub fn new(seed: u64, time: Duration, gap: Duration) -> Self {
        let database = Database::of(seed);
        let mut faults = drawn(seed, database, time, gap);
        if database == Database::Postgres {
            let once = once(seed, time);
            // A killed PostgreSQL would end a snapshot, and could not fail over.
            let is_apart = |at: Duration| {
                let mut ranges = once
                    .iter()
                    .map(|other| other.at.saturating_sub(RECOVERED)..other.at + other.time);
                !ranges.any(|range| range.contains(&at))
            };
            faults.retain(|fault| fault.kind != Kind::DatabaseKilled || is_apart(fault.at));
            faults.extend(once);
            faults.sort_by_key(|fault| fault.at);
        }
        let loads = Loads::of(seed);
        if loads.outage.is_some() {
            faults.insert(
                0,
                Fault {
                    at: Duration::ZERO,
                    kind: Kind::Down,
                    process: 0,
                    time,
                    seed: 0,
                },
            );
        }
        Self {
            seed,
            database,
            loads,
            faults,
        }
    }

    /// Returns the fail point of a process for its `start`th start, if any: `wanted`, if given and passed by the
    /// process, else a random one.
    pub fn armed(
        &self,
        process: usize,
        start: usize,
        wanted: Option<&'static str>,
    ) -> Option<Armed> {
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
        // Fail points that are rarely reached in a round abort the first time.
        let is_rare = ["drain.before_hand_back", "supervise.after_probe"].contains(&point);
        let passes = random.below(if is_rare { 1 } else { PASSES });
        (is_armed || wanted.is_some()).then_some(Armed { point, passes })
    }
}

/// Returns the recurring faults, in random order.
fn drawn(seed: u64, database: Database, time: Duration, gap: Duration) -> Vec<Fault> {
    let mut random = random(seed, 1);
    let (mut faults, mut deck, mut at) = (Vec::new(), Vec::new(), Duration::ZERO);
    let (mut last_step, mut ahead) = (None::<Duration>, AHEAD);
    let gap_ms = u64::try_from(gap.as_millis()).unwrap_or(u64::MAX);
    loop {
        at += gap / 2 + Duration::from_millis(random.below(gap_ms));
        if at >= time {
            return faults;
        }
        if deck.is_empty() {
            deck = Kind::ALL
                .iter()
                .flat_map(|kind| std::iter::repeat_n(*kind, kind.share(database)))
                .collect();
        }
        let kind = deck.swap_remove(place(&mut random, deck.len()));
        let process = place(&mut random, database.processes().len());
        let time =
            Duration::from_millis(SHORTEST_MS + random.below(kind.longest_ms() - SHORTEST_MS));
        let mut fault = Fault {
            at,
            kind,
            process,
            time,
            seed: random.below(u64::MAX),
        };
        if [Kind::Clock, Kind::ClockBack].contains(&kind) {
            if last_step.is_some_and(|last| at < last + STEPS_APART) {
                continue;
            }
            fault.kind = if time > ahead { Kind::Clock } else { kind };
            ahead = if fault.kind == Kind::Clock {
                ahead + time
            } else {
                ahead - time
            };
            last_step = Some(at);
        }
        faults.push(fault);
    }
}

/// Returns the faults of PostgreSQL that come once in a round: a failover and, in half of the rounds, a snapshot that
/// is held until shortly before the end.
fn once(seed: u64, time: Duration) -> Vec<Fault> {
    let mut random = random(seed, 200_001);
    let mut percent = |from: u64, to: u64| {
        time * u32::try_from(from + random.below(to - from)).unwrap_or(0) / 100
    };
    let held_at = percent(10, 50);
    let held = Fault {
        at: held_at,
        kind: Kind::Snapshot,
        process: 0,
        time: percent(90, 99) - held_at,
        seed: 0,
    };
    let at = percent(5, 90);
    let outage = SHORTEST_MS + random.below(Kind::FailedOver.longest_ms() - SHORTEST_MS);
    let (time, seed) = (Duration::from_millis(outage), random.below(u64::MAX));
    let failed_over = Fault {
        at,
        kind: Kind::FailedOver,
        process: 0,
        time,
        seed,
    };
    std::iter::once(failed_over)
        .chain(random.percent(50).then_some(held))
        .collect()
}

/// Returns an index below `count`.
pub fn place(random: &mut Random, count: usize) -> usize {
    let place = random.below(u64::try_from(count).unwrap_or(1));
    usize::try_from(place).unwrap_or(0)
}

impl fmt::Display for Plan {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            to,
            "seed {}: {:?}, {} faults",
            self.seed,
            self.database,
            self.faults.len()
        )?;
        let Loads { purchases, outage } = self.loads;
        if let Some(purchases) = purchases {
            writeln!(
                to,
                "load: {purchases} purchases of one customer, which change together"
            )?;
        }
        if let Some((outage, events)) = outage {
            writeln!(
                to,
                "load: {events} events of devices of an app whose endpoint is down ({outage:?})"
            )?;
        }
        for Fault {
            at,
            kind,
            process,
            time,
            ..
        } in &self.faults
        {
            let of_process = matches!(kind, Kind::Kill | Kind::Suspended);
            let name = if of_process {
                self.database.processes()[*process]
            } else {
                ""
            };
            writeln!(
                to,
                "{:>7.1} s  {kind:<28} {name:<9} {:>5.1} s",
                at.as_secs_f64(),
                time.as_secs_f64()
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{AHEAD, Database, Kind, Plan, RECOVERED, SHORTEST_MS, STEPS_APART};
    use std::time::Duration;

    fn plan(seed: u64) -> Plan {
        Plan::new(seed, Duration::from_secs(600), Duration::from_millis(500))
    }

    #[test]
    fn a_seed_repeats_its_faults_and_none_is_too_short() {
        for seed in 0..20 {
            let faults = plan(seed).faults;
            assert_eq!(faults, plan(seed).faults);
            assert!(
                faults
                    .iter()
                    .all(|fault| fault.time >= Duration::from_millis(SHORTEST_MS)),
                "seed {seed}"
            );
        }
    }

    #[test]
    fn steps_of_the_clock_are_apart() {
        for seed in 0..20 {
            let faults = plan(seed).faults;
            let steps = faults
                .iter()
                .filter(|fault| [Kind::Clock, Kind::ClockBack].contains(&fault.kind));
            let steps: Vec<Duration> = steps.map(|fault| fault.at).collect();
            assert!(steps.len() > 1, "seed {seed}");
            assert!(
                steps
                    .windows(2)
                    .all(|pair| pair[1] - pair[0] >= STEPS_APART),
                "seed {seed}: {steps:?}"
            );
        }
    }

    #[test]
    fn the_clock_is_never_set_back_behind_the_real_time() {
        for seed in 0..20 {
            let mut ahead = AHEAD;
            for fault in plan(seed).faults {
                match fault.kind {
                    Kind::Clock => ahead += fault.time,
                    Kind::ClockBack => {
                        ahead = ahead
                            .checked_sub(fault.time)
                            .expect("a clock that stays ahead")
                    }
                    _ => {}
                }
            }
        }
    }

    #[test]
    fn postgres_is_not_killed_beside_a_snapshot_or_a_fail_over() {
        let mut snapshots = 0;
        for seed in (0..20).step_by(2) {
            let faults = plan(seed).faults;
            let of_kind = |kind: Kind| faults.iter().filter(move |fault| fault.kind == kind);
            let failed_over = of_kind(Kind::FailedOver).next().expect("a fail-over");
            let held = of_kind(Kind::Snapshot).next();
            snapshots += usize::from(held.is_some());
            for other in held.into_iter().chain([failed_over]) {
                let range = other.at.saturating_sub(RECOVERED)..other.at + other.time;
                assert!(
                    range.end < Duration::from_secs(600),
                    "seed {seed}: {other:?}"
                );
                assert!(
                    of_kind(Kind::DatabaseKilled).all(|kill| !range.contains(&kill.at)),
                    "seed {seed}"
                );
            }
        }
        assert!((1..10).contains(&snapshots), "in some rounds: {snapshots}");
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
