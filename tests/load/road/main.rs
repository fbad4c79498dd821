//! `road-load` measures the whole path from a signed notification to the verified webhook: the cost of a settled
//! purchase in the engine and in settle, and the time from the end of its window to its webhook. For comparison, it
//! measures the floor: a workflow with the same commands whose activities do nothing.
//!
//! ```sh
//! cargo build --release --workspace && target/release/road-load
//! ```
//!
//! The driver signs, sends, receives and verifies; settle, the Temporal server and PostgreSQL are its child processes,
//! whose CPU time the system counts. Variants alternate; each round has its own server and database.

mod floor;
mod ingress;
mod phase;
mod replay;
mod report;
mod requests;
mod rows;
mod sending;
mod sides;
mod still;
mod subject;

use clap::{Parser, Subcommand, ValueEnum};
use phase::Plan;
use report::Round;
use sending::Store;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;
use subject::{Installed, Other, Subject, Variant};
use system_tests::appstore;
use system_tests::contract;
use system_tests::machine;
use system_tests::play::Choices;
use system_tests::process::Backend;

/// Allocator of settle, which the floor must use too for a fair comparison.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Number of purchases settled before the measurement, so that connections are open and the destination is known.
const WARM: usize = 20;

/// Measures what a settled purchase costs, and its lag.
#[derive(Debug, Parser)]
struct Options {
    #[command(subcommand)]
    command: Option<Command>,
    /// The store of the purchases in all rounds, or all stores beside each other.
    #[arg(long, value_enum, default_value_t = Stores::Amazon)]
    store: Stores,
    /// The database of settle.
    #[arg(long, value_enum, default_value_t = DatabaseKind::Sqlite)]
    database: DatabaseKind,
    /// What is measured, in this order in each round.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "settle,floor"
    )]
    variants: Vec<Variant>,
    /// Number of rounds.
    #[arg(long, default_value_t = 2)]
    rounds: u32,
    /// Purchases of the burst, whose windows all end at once.
    #[arg(long, default_value_t = 2_000)]
    purchases: usize,
    /// Notifications of each purchase.
    #[arg(long, default_value_t = 5)]
    notifications: usize,
    /// The quiet window, in seconds.
    #[arg(long, default_value_t = 5)]
    window: u64,
    /// Rates of purchases per second at which the lag is measured; 0 for none.
    #[arg(long, value_delimiter = ',', default_value = "10,30,60")]
    paces: Vec<u32>,
    /// Seconds of each rate.
    #[arg(long, default_value_t = 15)]
    paced_seconds: u32,
    /// Seconds after the windows within which the last webhook must come.
    #[arg(long, default_value_t = 300)]
    patience: u64,
    /// Milliseconds that each round trip to Temporal takes longer, as to a server that is far away.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    temporal_distance: u64,
    /// A variable of settle's processes, such as SETTLE_LOG=info.
    #[arg(long, value_name = "NAME=VALUE")]
    variable: Vec<String>,
    /// The program of the variant `other`, such as an earlier build.
    #[arg(long, value_name = "FILE")]
    other_program: Option<PathBuf>,
    /// A further variable of the variant `other`.
    #[arg(long, value_name = "NAME=VALUE")]
    other_variable: Vec<String>,
    /// Notifications per second of all stores together, with `--store all`: an equal part of each.
    #[arg(long, default_value_t = 200)]
    together: u32,
    /// Does not verify Amazon's receipts, with `--store all`: otherwise settle queries the stores.
    #[arg(long)]
    unverified: bool,
    /// Then measures the ingress while the burst's windows end, at saturation and at a third of that.
    #[arg(long)]
    ingress_at_third: bool,
    /// Then watches this number of open windows of the first variant.
    #[arg(long, default_value_t = 0)]
    open: usize,
    /// Then watches this number of sleeping purchases, which are written to storage.
    #[arg(long, default_value_t = 0)]
    sleeping: usize,
    /// Then stores at least this number of messages of Google Play, and pushes all of them again.
    #[arg(long, value_name = "MESSAGES", default_value_t = 0)]
    replay: usize,
    /// Seconds for which ingress is measured, and open windows and sleeping purchases are watched.
    #[arg(long, default_value_t = 60)]
    watched_seconds: u64,
    /// Prints JSON after the tables.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The process of the floor; the driver starts it.
    #[command(hide = true)]
    Floor(floor::worker::Options),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Stores {
    /// Without queries of the store.
    Amazon,
    /// At a fake.
    Google,
    /// At a fake.
    Apple,
    /// In turn and then at once, without variants and `--paces`.
    All,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum DatabaseKind {
    /// `settle run`.
    Sqlite,
    /// `settle serve` and `settle worker`.
    Postgres,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let mut options = Options::parse();
    match options.command.take() {
        Some(Command::Floor(options)) => floor::worker::work(options).await,
        None => measure(&options).await,
    }
}

async fn measure(options: &Options) {
    if options.other_program.is_some() {
        contract::leave_out_for_another_build();
    }
    let installed = installed(options);
    if options.store == Stores::All {
        let burst = burst(options);
        let plan = sides::Plan {
            burst,
            rounds: options.rounds,
            per_second: options.together,
            seconds: options.paced_seconds,
        };
        return sides::measure(&plan, &installed, options.json).await;
    }
    let rounds = rounds(options, &installed).await;
    let watched = Duration::from_secs(options.watched_seconds);
    let patience = Duration::from_secs(options.patience);
    let (mut ingress, mut still) = (Value::Null, Vec::new());
    if options.ingress_at_third {
        let measured = ingress::Options {
            burst: burst(options),
            time: watched,
        };
        ingress = ingress::at_third(&measured, &installed).await;
    }
    let variant = options.variants.first().copied().unwrap_or(Variant::Settle);
    if options.open > 0 {
        let plan = still::Plan {
            count: options.open,
            watched,
            patience,
            variant,
        };
        still.push(still::open(plan, &installed).await);
    }
    if options.sleeping > 0 {
        let plan = still::Plan {
            count: options.sleeping,
            watched,
            patience,
            variant,
        };
        still.push(still::sleeping(plan, &installed).await);
    }
    let mut replayed = Value::Null;
    if options.replay > 0 {
        let plan = replay::Plan {
            messages: options.replay,
            window: Duration::from_secs(options.window),
            patience,
        };
        replayed = replay::measure(&plan, &installed).await;
    }
    if options.json {
        println!(
            "{}",
            json!({
                "rounds": report::json(&rounds), "ingress": ingress, "still": still, "replay": replayed,
            })
        );
    }
}

/// Runs the rounds, in which the variants alternate.
async fn rounds(options: &Options, installed: &Installed) -> Vec<Round> {
    let mut rounds = Vec::new();
    if options.rounds == 0 {
        return rounds;
    }
    report::print_head();
    for number in 1..=options.rounds {
        for variant in &options.variants {
            let load_average = machine::load_average();
            let mut subject = Subject::start(*variant, installed).await;
            let phases = phases(options, &mut subject).await;
            subject.finish().await;
            let round = Round {
                number,
                variant: *variant,
                load_average,
                phases,
            };
            round.print();
            rounds.push(round);
        }
    }
    report::print_summary(&rounds);
    // The floor queries no store.
    if options.store == Stores::Amazon {
        report::check(&rounds);
    }
    rounds
}

fn burst(options: &Options) -> Plan {
    Plan {
        name: "burst".to_owned(),
        store: match options.store {
            Stores::Amazon | Stores::All => Store::Amazon,
            Stores::Google => Store::Google,
            Stores::Apple => Store::Apple,
        },
        purchases: options.purchases,
        notifications: options.notifications,
        per_second: None,
        window: Duration::from_secs(options.window),
        patience: Duration::from_secs(options.patience),
    }
}

fn installed(options: &Options) -> Installed {
    let is_used = |store| [store, Stores::All].contains(&options.store);
    let variables = |named: &[String]| -> Vec<(String, String)> {
        let pairs = named.iter().filter_map(|variable| variable.split_once('='));
        pairs
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    };
    Installed {
        backend: match options.database {
            DatabaseKind::Sqlite => Backend::Sqlite,
            DatabaseKind::Postgres => Backend::Postgres,
        },
        window: Duration::from_secs(options.window),
        temporal_distance: Duration::from_millis(options.temporal_distance),
        variables: variables(&options.variable),
        play: is_used(Stores::Google).then(Choices::default),
        appstore: is_used(Stores::Apple).then(appstore::Choices::default),
        rvs: options.store == Stores::All && !options.unverified,
        other: Other {
            program: options.other_program.clone(),
            variables: variables(&options.other_variable),
        },
    }
}

/// Runs the warm-up, which is not reported, the burst, and each rate; returns the figures of the latter two.
async fn phases(options: &Options, subject: &mut Subject) -> Vec<phase::Figures> {
    let burst = burst(options);
    Plan {
        name: "warm".to_owned(),
        purchases: WARM,
        notifications: 1,
        ..burst.clone()
    }
    .run(subject)
    .await;
    let mut figures = vec![burst.run(subject).await];
    for rate in options.paces.iter().copied().filter(|rate| *rate > 0) {
        let purchases = (rate * options.paced_seconds) as usize;
        let plan = Plan {
            name: format!("{rate}/s"),
            purchases,
            per_second: Some(rate),
            ..burst.clone()
        };
        figures.push(plan.run(subject).await);
    }
    figures
}
