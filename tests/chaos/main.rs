//! `settle-chaos`: random faults in a real installation, for as long as desired, with I1 to I8 checked from outside.
//!
//! ```sh
//! cargo test --release --workspace --no-run --bins && target/release/settle-chaos --minutes 60
//! ```
//!
//! Each round has a seed, which it prints: an even one runs two `serve` and two `worker` on PostgreSQL, an odd one
//! `run` on SQLite, with a Temporal Server of its own. The load consists of random lives of subscriptions in four apps.
//! `tests/README.md` explains the table at the end.

mod disk;
mod endpoints;
mod figures;
mod life;
mod plan;
mod planted;
mod restored;
mod site;
mod snapshot;
mod store;
mod verdict;
mod visitors;
mod watch;

use clap::Parser;
use figures::Figures;
use futures::FutureExt;
use plan::Plan;
use planted::Break;
use site::Site;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use store::Store;
use system_tests::{postgres, process};
use tokio::time::Instant;
use verdict::{Evidence, judge};
use visitors::Visitors;
use watch::Watch;

/// With a planted break, time after which missing work counts as lost, as most of a round's work is.
const LOST_WITH_A_BREAK: Duration = Duration::from_secs(75);
/// Time after which lives that do not end are a finding: SNS would have given up earlier.
const CONCLUDED: Duration = Duration::from_secs(330);

/// Runs settle under random faults, and judges from outside whether it keeps its promises I1 to I8.
///
/// Each round starts an installation, lets faults happen to it under load, heals it, and waits until all is settled and
/// delivered. The seed determines the faults with their times and places, and the lives of the subscriptions; the
/// system's scheduling remains free. A finding prints the command that repeats its round.
#[derive(Debug, Parser)]
#[command(
    name = "settle-chaos",
    after_help = "\
Examples:
  settle-chaos --minutes 60              an hour with new seeds
  settle-chaos --seed 7 --rounds 1       repeats the round of a seed
  settle-chaos --seed 7 --plan           prints the faults of a seed
  settle-chaos --planted all             shows that a break of each promise is found

Exit status: 0 if nothing is broken (with --planted: if the break was found), else 1."
)]
struct Options {
    /// No round begins after this time.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    minutes: u64,
    /// Maximum number of rounds.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: Option<u64>,
    /// The seed of the first round; each further round has the next number. Without it, a random one.
    #[arg(long)]
    seed: Option<u64>,
    /// Seconds of faults in a round. Healing and judging take about a minute more.
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Milliseconds from a fault to the next, on average.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u64).range(1..))]
    gap: u64,
    /// Number of customers, each with one subscription after another.
    #[arg(long, default_value_t = 16)]
    lives: usize,
    /// Seconds after which what has not come counts as lost.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..))]
    patience: u64,
    /// Prints the plan of the seed, and runs nothing.
    #[arg(long)]
    plan: bool,
    /// Plants a break, by its name or that of its promise, and expects it to be found; `all` plants each in turn.
    #[arg(long)]
    planted: Option<String>,
}

impl Options {
    fn plan_of(&self, seed: u64) -> Plan {
        Plan::new(
            seed,
            Duration::from_secs(self.seconds),
            Duration::from_millis(self.gap),
        )
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let options = Options::parse();
    let first = options
        .seed
        .unwrap_or_else(|| u64::from(u32::from_le_bytes(api::clock::random_bytes())));
    if options.plan {
        print!("{}", options.plan_of(first));
        return ExitCode::SUCCESS;
    }
    if let Err(missing) = prerequisites().await {
        eprintln!("{missing}");
        return ExitCode::FAILURE;
    }
    // So that the runs of the later build replay here too. Has no effect without fail points.
    drop(fail::cfg("run.planted_change", "return"));
    let is_well = match &options.planted {
        Some(name) => planted::all_found(&options, name, first).await,
        None => explore(&options, first).await,
    };
    if is_well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Checks that the program under test has its fail points, and prints which other prerequisites are missing.
async fn prerequisites() -> Result<(), String> {
    let program = process::program();
    let bytes =
        std::fs::read(&program).map_err(|error| format!("{}: {error}", program.display()))?;
    // The name of a fail point that occurs nowhere else in the program.
    let point = b"clock.moved";
    if !bytes.windows(point.len()).any(|window| window == point) {
        let build = "cargo test --release --workspace --no-run --bins";
        return Err(format!(
            "{} has no fail points: build it with `{build}`",
            program.display()
        ));
    }
    if postgres::configured().is_some() {
        return Err(
            "SETTLE_TEST_POSTGRES names a server that may not be killed: unset it".to_owned(),
        );
    }
    if !disk::is_possible().await {
        println!("strace is missing or may not trace: no disk is slow or full");
    }
    Ok(())
}

/// Runs rounds until the time is up or something is broken.
async fn explore(options: &Options, first: u64) -> bool {
    let (began, mut figures) = (Instant::now(), Figures::default());
    println!("from the seed {first}, for {} min", options.minutes);
    let mut is_well = true;
    for seed in (first..).take(
        options
            .rounds
            .map_or(usize::MAX, |rounds| usize::try_from(rounds).unwrap_or(1)),
    ) {
        if began.elapsed() > Duration::from_secs(options.minutes * 60) {
            break;
        }
        let broken = round(options, seed, &Break::default(), &mut figures).await;
        broken.iter().for_each(|one| println!("BROKEN: {one}"));
        if !broken.is_empty() {
            let Options {
                seconds,
                gap,
                lives,
                patience,
                ..
            } = options;
            let of_round =
                format!("--seconds {seconds} --gap {gap} --lives {lives} --patience {patience}");
            println!("to repeat it: settle-chaos --seed {seed} --rounds 1 {of_round}");
            is_well = false;
            break;
        }
    }
    let minutes = began.elapsed().as_secs_f64() / 60.0;
    println!(
        "\n{} rounds and {} faults in {minutes:.0} min, from the seed {first}\n",
        figures.rounds,
        figures.faults()
    );
    println!("{figures}");
    println!(
        "{}",
        if is_well {
            "Nothing is broken."
        } else {
            "Something is broken."
        }
    );
    is_well
}

/// Runs the round of a seed; returns what is broken.
async fn round(
    options: &Options,
    seed: u64,
    planted: &Break,
    figures: &mut Figures,
) -> Vec<String> {
    let (plan, began) = (options.plan_of(seed), Instant::now());
    println!(
        "seed {seed}: {:?}, {} faults{}",
        plan.database,
        plan.faults.len(),
        planted.title()
    );
    let round = Box::pin(live(options, plan, planted, figures));
    let broken = match AssertUnwindSafe(round).catch_unwind().await {
        Ok(broken) => broken,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            vec![text.unwrap_or_else(|| "a panic".to_owned())]
        }
    };
    figures.rounds += 1;
    println!(
        "seed {seed}: {} broken, after {:.0?}",
        broken.len(),
        began.elapsed()
    );
    broken
}

async fn live(
    options: &Options,
    plan: Plan,
    planted: &Break,
    figures: &mut Figures,
) -> Vec<String> {
    let seed = plan.seed;
    let mut site = Site::start(plan, &planted.planted).await;
    let api = site.world.api.clone();
    let watch = Watch::start(
        &api,
        &site.world.installation.token,
        site.endpoints.ids.clone(),
    );
    let (platforms, sns, rvs) = (
        site.platforms.clone(),
        site.world.sns.clone(),
        Arc::clone(&site.rvs),
    );
    let mut store = Store::start(&site.plan, options.lives, platforms, sns, rvs);
    let time = Duration::from_secs(options.seconds);
    let visitors = match site.plan.loads.outage {
        Some((_, events)) => Some(Visitors::start(seed, site.devices().await, events, time)),
        None => None,
    };
    site.run(time).await;
    println!(
        "seed {seed}: {} messages, {} faults; healing",
        store.accepted().len(),
        site.record.faults.len()
    );
    store.conclude();
    site.heal().await;
    let healed = Instant::now();
    let are_over = || store.are_over() && visitors.as_ref().is_none_or(Visitors::are_over);
    while !are_over() && healed.elapsed() < CONCLUDED {
        site.tick().await;
        system_tests::wait::pass(Duration::from_millis(100)).await;
    }
    let lived = store.lived().await;
    let accepted = store.accepted();
    println!("seed {seed}: {} messages; judging", accepted.len());
    let patience = Duration::from_secs(options.patience);
    let timeout = if planted.is_planted() {
        patience.min(LOST_WITH_A_BREAK)
    } else {
        patience
    };
    judge(
        &mut site,
        Evidence {
            accepted,
            lived,
            visitors,
            watch,
            timeout,
        },
        figures,
    )
    .await
}

#[cfg(test)]
mod tests {
    use super::Options;
    use clap::Parser;

    #[test]
    fn a_run_of_nothing_is_refused() {
        for flag in ["--minutes", "--rounds", "--seconds", "--gap", "--patience"] {
            assert!(
                Options::try_parse_from(["settle-chaos", flag, "0"]).is_err(),
                "{flag}"
            );
            assert!(
                Options::try_parse_from(["settle-chaos", flag, "1"]).is_ok(),
                "{flag}"
            );
        }
    }
}
