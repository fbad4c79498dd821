//! Planted breaks of the promises, which show that the verdict finds them.

use crate::figures::Figures;
use crate::plan::Database;
use crate::{Options, round};

/// Maximum number of findings printed per round.
const SHOWN: usize = 3;

/// The contents of a break: additional fail points and variables, and a place at which processes abort.
#[derive(Debug, Clone, Default)]
pub struct Planted {
    pub points: String,
    pub variables: Vec<(String, String)>,
    /// The fail point at which every process that reaches it aborts, in place of random ones.
    pub armed: Option<&'static str>,
}

/// A break, caused by fail points or settings of the program under test.
#[derive(Debug, Clone, Default)]
pub struct Break {
    name: &'static str,
    /// Promise that the break violates.
    promise: &'static str,
    /// Number of rounds within which the break must be found.
    rounds: u64,
    /// Database of the break's rounds; `None` for both in turn.
    database: Option<Database>,
    pub planted: Planted,
}

impl Break {
    fn new(promise: &'static str, rounds: u64, points: &'static str) -> Self {
        let planted = Planted {
            points: points.to_owned(),
            ..Planted::default()
        };
        let name = points.split(['=', ';']).next().unwrap_or_default();
        Self {
            name,
            promise,
            rounds,
            database: None,
            planted,
        }
    }

    fn on(self, database: Database) -> Self {
        Self {
            database: Some(database),
            ..self
        }
    }

    fn armed(self, point: &'static str) -> Self {
        Self {
            planted: Planted {
                armed: Some(point),
                ..self.planted
            },
            ..self
        }
    }

    pub const fn is_planted(&self) -> bool {
        !self.name.is_empty()
    }

    /// Returns the text that identifies the break in a round's title.
    pub fn title(&self) -> String {
        if self.is_planted() {
            format!(", with {} ({})", self.name, self.promise)
        } else {
            String::new()
        }
    }
}

/// Returns all known breaks.
fn all() -> Vec<Break> {
    let allowed = (
        "SETTLE_DESTINATIONS_ALLOWED_NETWORKS".to_owned(),
        "127.0.0.0/8".to_owned(),
    );
    let forbidden = Planted {
        variables: vec![allowed],
        ..Planted::default()
    };
    vec![
        Break::new("I1", 2, "record.reuse_event_id=return"),
        Break::new("I2", 4, "lease.supersede_ended=return"),
        Break::new("I3", 4, "lease.keep_outdated=return"),
        Break::new("I4", 2, "deliver.reuse_webhook_id=return"),
        Break::new(
            "I5",
            2,
            "record.forget_lane=return;sweep.forget_lanes=return",
        ),
        Break {
            name: "networks.all",
            promise: "I6",
            rounds: 2,
            planted: forbidden,
            ..Break::default()
        },
        Break::new("I7", 4, "lease.ignored=return;deliver.start_twice=return"),
        // The message is lost if the process dies between the answer and the commit.
        Break::new("I8", 4, "accept.acknowledge_early=return")
            .on(Database::Postgres)
            .armed("accept.before_commit"),
        // Data is lost if PostgreSQL dies before it has written what it has committed. A killed process loses nothing.
        Break::new("I8", 6, "storage.durability_off=return").on(Database::Postgres),
    ]
}

/// Plants all breaks with this name or promise, or all of them; returns whether each was found in time.
pub async fn all_found(options: &Options, name: &str, first: u64) -> bool {
    let all = all();
    let wanted: Vec<&Break> = all
        .iter()
        .filter(|one| name == "all" || one.name == name || one.promise.eq_ignore_ascii_case(name))
        .collect();
    if wanted.is_empty() {
        let known: Vec<_> = all
            .iter()
            .map(|one| format!("{} ({})", one.name, one.promise))
            .collect();
        eprintln!("no break {name}: one of all, {}", known.join(", "));
        return false;
    }
    let mut lines = Vec::new();
    for planted in wanted {
        let found = found_in(options, planted, first).await;
        let rounds = found.map_or_else(|| "not found".to_owned(), |rounds| rounds.to_string());
        lines.push((
            found,
            format!(
                "| {} | {} | {rounds} | {} |",
                planted.promise, planted.name, planted.rounds
            ),
        ));
    }
    println!("\n| promise | planted | found in round | at the latest |\n|---|---|---|---|");
    lines.iter().for_each(|(_, line)| println!("{line}"));
    lines.iter().all(|(found, _)| found.is_some())
}

/// Returns the number of rounds after which a break was found; `None` if it was not found in time.
async fn found_in(options: &Options, planted: &Break, first: u64) -> Option<u64> {
    let seeds = (first..).filter(|seed| {
        planted
            .database
            .is_none_or(|database| Database::of(*seed) == database)
    });
    for (number, seed) in (1..=planted.rounds).zip(seeds) {
        let broken = round(options, seed, planted, &mut Figures::default()).await;
        let lines = broken.iter().filter_map(|one| one.lines().next());
        lines.take(SHOWN).for_each(|line| println!("found: {line}"));
        if broken.iter().any(|one| one.starts_with(planted.promise)) {
            return Some(number);
        }
    }
    None
}
