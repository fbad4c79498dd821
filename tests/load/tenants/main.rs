//! `tenants-load` measures whether trouble with one app, the database or unknown senders affects the other apps: many
//! apps with three destinations each, two `serve`, two `worker`, and a PostgreSQL at a distance.
//!
//! ```sh
//! cargo build --release --workspace && target/release/tenants-load
//! ```
//!
//! The generator, the endpoints, both databases, settle and Temporal share this machine's cores. Each trouble is
//! compared with the same load without it, which runs immediately before.

mod copies;
mod installed;
mod receiver;
mod troubles;

use clap::Parser;
use installed::{Installed, Lags};
use troubles::Trouble;

/// Measures the lag of apps without trouble.
#[derive(Debug, Clone, Parser)]
struct Options {
    /// Number of apps, of which one has the trouble.
    #[arg(long, default_value_t = 10_000)]
    apps: usize,
    /// Purchases that settle a second, each of another app.
    #[arg(long, default_value_t = 20.0)]
    rate: f64,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// The quiet window, in seconds.
    #[arg(long, default_value_t = 2)]
    window: u64,
    /// The time of a round trip between settle and PostgreSQL, in microseconds.
    #[arg(long, default_value_t = 1_000)]
    round_trip: u64,
    /// Deliveries that wait for the endpoints that are down.
    #[arg(long, default_value_t = 100_000)]
    pending: usize,
    /// Purchases of the customer with many.
    #[arg(long, default_value_t = 5_000)]
    purchases: usize,
    /// How many of them renew a second.
    #[arg(long, default_value_t = 10.0)]
    renewals: f64,
    /// Logins a second.
    #[arg(long, default_value_t = 50.0)]
    logins: f64,
    /// Unknown ingress keys per second.
    #[arg(long, default_value_t = 300.0)]
    strangers: f64,
    /// Highest p99 beside a trouble, as a multiple of that without it.
    #[arg(long, default_value_t = 2.0)]
    most_times: f64,
    /// A p99 below this many milliseconds is never too high.
    #[arg(long, default_value_t = 500.0)]
    least_ms: f64,
    /// Messages of each measurement at the door; 0: none.
    #[arg(long, default_value_t = 2_000)]
    door: usize,
    /// Rounds of these measurements.
    #[arg(long, default_value_t = 2)]
    rounds: usize,
    /// Only these troubles.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Trouble>,
}

impl Options {
    /// Returns the number of requests prepared for a trouble: enough for three times the measurement, since it
    /// continues until the measurement's end.
    fn most(&self, rate: f64) -> usize {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a small positive number"
        )]
        let count = (rate
            * f64::from(u32::try_from(3 * self.seconds + self.window).unwrap_or(u32::MAX)))
        .ceil() as usize;
        count
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let options = Options::parse();
    let mut installed = Installed::start(&options).await;
    installed.measure().await;
    let mut broken = at_the_door(&mut installed, &options).await;
    println!(
        "\n{:<16}{:>14}{:>14}{:>14}{:>14}{:>8}{:>20}{:>20}",
        "trouble",
        "p50 alone ms",
        "p99 alone ms",
        "p50 beside ms",
        "p99 beside ms",
        "times",
        "p99 of 200 alone ms",
        "beside ms"
    );
    for trouble in Trouble::ALL
        .into_iter()
        .filter(|one| options.only.is_empty() || options.only.contains(one))
    {
        let alone = installed.measure().await;
        let running = trouble.begin(&installed, &options).await;
        let beside = installed.measure().await;
        let note = running.end().await;
        let times = beside.p99 / alone.p99.max(1.0);
        let name = trouble.name();
        let Lags {
            p50,
            p99,
            acknowledged,
            ..
        } = alone;
        println!(
            "{name:<16}{p50:>14.0}{p99:>14.0}{:>14.0}{:>14.0}{times:>8.1}{acknowledged:>20.0}{:>20.0}   {note}",
            beside.p50, beside.p99, beside.acknowledged
        );
        let missing = alone.missing + beside.missing;
        if missing > 0 {
            broken.push(format!(
                "{name}: {missing} purchases without all their webhooks"
            ));
        }
        if beside.p99 > (options.most_times * p99).max(options.least_ms) {
            broken.push(format!(
                "{name}: p99 {:.0} ms, {p99:.0} ms without it",
                beside.p99
            ));
        }
    }
    installed.finish();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// Number of apps in the rounds with few ingress keys.
const FEW: usize = 200;
/// Minimum ratio of the rate with many apps to the rate with few.
const WANTED: f64 = 0.9;

/// Compares the rates at which a `serve` acknowledges messages with the keys of few and of many apps, in alternating
/// rounds. Returns a finding if the ratio of the medians is too low.
async fn at_the_door(installed: &mut Installed, options: &Options) -> Vec<String> {
    let many = options.door.min(options.apps);
    let (mut few_rates, mut many_rates) = (Vec::new(), Vec::new());
    for _ in 0..if many > FEW { options.rounds } else { 0 } {
        few_rates.push(installed.at_the_door(FEW, options.door).await);
        many_rates.push(installed.at_the_door(many, options.door).await);
        let (of_few, of_many) = (few_rates.last().copied(), many_rates.last().copied());
        println!(
            "{:.0}/s with {FEW} apps in turn, {:.0}/s with {many}",
            of_few.unwrap_or(0.0),
            of_many.unwrap_or(0.0)
        );
    }
    let median = |mut rates: Vec<f64>| {
        rates.sort_unstable_by(f64::total_cmp);
        rates.get(rates.len() / 2).copied()
    };
    match (median(few_rates), median(many_rates)) {
        (Some(of_few), Some(of_many)) if of_many < WANTED * of_few => {
            vec![format!(
                "{of_many:.0}/s with {many} apps in turn, {of_few:.0}/s with {FEW}"
            )]
        }
        _ => Vec::new(),
    }
}
