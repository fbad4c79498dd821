//! Random lives with new seeds: first of the rules alone, then of the whole program. `cargo test` uses fixed seeds, so
//! that it never fails by chance; this program looks for failures that those seeds do not find.
//!
//! `cargo test --workspace --test explore` runs for `SETTLE_EXPLORE_SECONDS` (180), from the seed `SETTLE_TEST_SEED` or
//! else one computed from the commit: different commits use different seeds, and the same commit always the same ones.
//! A failure prints how to repeat it.

#[path = "../e2e/lives.rs"]
mod lives;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, ExitCode};
use std::time::Duration;
use tokio::time::Instant;

/// Number of lives per seed; they share one world.
const LIVES: usize = 20;
/// Maximum delay with which the store shows a change.
const LAG: Duration = Duration::from_secs(3600);
/// Number of lives of the rules alone, each of which takes some milliseconds.
const LIVES_OF_RULES: u64 = 20_000;
/// The test that runs the rules with random lives and a lagging store.
const RULES: &str = "decide::tests::lives::a_store_that_lags";

fn main() -> ExitCode {
    let seconds = number("SETTLE_EXPLORE_SECONDS").unwrap_or(180);
    let first = number("SETTLE_TEST_SEED").unwrap_or_else(of_commit);
    let (began, time) = (Instant::now(), Duration::from_secs(seconds));
    println!("exploring for {seconds} s from the seed {first}");
    if !rules(first) {
        return ExitCode::FAILURE;
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    for seed in first.. {
        let one = Instant::now();
        if catch_unwind(AssertUnwindSafe(|| {
            runtime.block_on(lives::live_all(seed, LIVES, LAG))
        }))
        .is_err()
        {
            println!(
                "\nto repeat it: SETTLE_EXPLORE_SECONDS=0 SETTLE_TEST_SEED={seed} cargo test --workspace --test explore"
            );
            return ExitCode::FAILURE;
        }
        println!("seed {seed} is well, after {:.0?}", one.elapsed());
        if began.elapsed() + one.elapsed() > time {
            break;
        }
    }
    println!("nothing was found in {:.0?}", began.elapsed());
    ExitCode::SUCCESS
}

/// Runs random lives of the rules with the test [`RULES`]; returns whether it passed.
fn rules(seed: u64) -> bool {
    let (seed, count) = (seed.to_string(), LIVES_OF_RULES.to_string());
    let profile = profile();
    // With the workspace's features, which are already built.
    let arguments = ["test", "--profile", &profile, "--workspace", "--lib", RULES];
    let mut command = Command::new(env!("CARGO"));
    command
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    command
        .env("SETTLE_TEST_SEED", &seed)
        .env("SETTLE_LIVES", &count);
    let is_well = command.status().is_ok_and(|status| status.success());
    if !is_well {
        let variables = format!("SETTLE_TEST_SEED={seed} SETTLE_LIVES={count}");
        println!("\nto repeat it: {variables} cargo {}", arguments.join(" "));
    }
    is_well
}

/// Returns the profile with which this program was built: the name of the folder above `deps`, except for the profile
/// `dev`.
fn profile() -> String {
    let program = std::env::current_exe().expect("this program");
    let folder = program
        .ancestors()
        .nth(2)
        .and_then(|folder| folder.file_name())
        .and_then(|name| name.to_str());
    folder
        .filter(|name| *name != "debug")
        .unwrap_or("dev")
        .to_owned()
}

/// Returns a seed computed from the current commit.
fn of_commit() -> u64 {
    let commit = Command::new("git")
        .args(["rev-parse", "HEAD"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output();
    let commit = commit
        .ok()
        .filter(|output| output.status.success())
        .and_then(|output| String::from_utf8(output.stdout).ok());
    let seed = commit
        .as_deref()
        .and_then(|commit| u64::from_str_radix(commit.get(..8)?, 16).ok());
    seed.expect("a commit: outside a repository, set SETTLE_TEST_SEED")
}

fn number(variable: &str) -> Option<u64> {
    #[expect(clippy::disallowed_methods, reason = "an argument of this program")]
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is no number: {text}")),
    )
}
