//! `ingress-load` measures how many notifications per second settle durably acknowledges, and for comparison the
//! floors: the rates of signature checks alone and of grouped inserts alone. The latencies at a third of the saturation
//! are compared with those of a control in the same minute: a server with one grouped insert before each 200.
//!
//! ```sh
//! cargo build --release --workspace && target/release/ingress-load
//! ```
//!
//! With `--store google` and `--store apple`, a bare server that only checks the tokens or signatures of the requests and
//! inserts their rows is the comparison.
//!
//! The generator, the service with its dispatcher and worker, and the Temporal server share this machine's cores.
//! Floors and load alternate. All messages differ in id, time and signature.

mod apple;
mod bare;
mod bench;
mod floors;
mod google;
mod outcome;
mod pages;
mod report;

use clap::{Parser, ValueEnum};
use std::time::Duration;
use system_tests::load::{Load, Message, Messages, Pace};
use system_tests::process::Backend;
use system_tests::temporal::Memory;
use system_tests::world::{Setting, World};

/// Minimum ratio of the ingress rate to the rate of grouped inserts alone, by the median of the rounds.
const LEAST_SHARE: f64 = 0.2;

/// Measures the ingress and checks afterwards that everything was settled and received.
#[derive(Debug, Parser)]
struct Options {
    /// The store whose ingress is measured.
    #[arg(long, value_enum, default_value_t = Store::Amazon)]
    store: Store,
    /// Rounds of floors and saturation.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Seconds of saturation in a round.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Seconds at a third of the saturation, for the latencies.
    #[arg(long, default_value_t = 20)]
    paced_seconds: u64,
    /// Over how many purchases the notifications are spread.
    #[arg(long, default_value_t = 10_000)]
    purchases: usize,
    /// Connections of the generator.
    #[arg(long, default_value_t = 256)]
    connections: usize,
    /// The quiet window, in seconds.
    #[arg(long, default_value_t = 120)]
    window: u64,
    /// Open pages of a second phase at a third of the saturation: people who look in the meantime.
    #[arg(long, default_value_t = 0)]
    pages: usize,
    /// Messages signed for each second of load.
    #[arg(long, default_value_t = 8_000)]
    per_second: usize,
    #[command(flatten)]
    beside: bench::Beside,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Store {
    Amazon,
    Google,
    Apple,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let options = Options::parse();
    match options.store {
        Store::Amazon => measure(options).await,
        Store::Google => google::measure(&options).await,
        Store::Apple => apple::measure(&options).await,
    }
}

async fn measure(options: Options) {
    let mut world = World::start(Setting {
        backend: Backend::Sqlite,
        memory: Memory::File,
        window_seconds: options.window,
        events: vec!["purchase.updated".to_owned()],
        ..Setting::default()
    })
    .await;
    world.temporal.let_others_first();
    world.let_sweep_help("settling is behind while the ingress is measured");
    let seconds = usize::try_from(options.seconds).unwrap_or(usize::MAX);
    let saturating = options.per_second.saturating_mul(seconds);
    let mut messages = Messages::new(&world.sns, &world.notification_url);
    let floors = floors::Floors::new(&world.sns).await;
    let load = Load::new(&world.notification_url, options.connections);

    println!(
        "{:<8}{:>22}{:>22}{:>22}",
        "round", "signature alone /s", "insert alone /s", "acknowledged /s"
    );
    let (mut best, mut shares) = (Vec::new(), Vec::new());
    let mut created = 0;
    let mut sent = Vec::new();
    for round in 1..=options.rounds {
        eprintln!("signing {saturating} messages …");
        let batch = messages.sign(&receipts(&options, &mut created, saturating));
        let signature = floors.signatures(Duration::from_secs(3)).await;
        let insert = floors.inserts(Duration::from_secs(3)).await;
        let result = load
            .run(
                batch.clone(),
                Pace::Saturate,
                Duration::from_secs(options.seconds),
            )
            .await;
        let rate = result.rate();
        println!("{round:<8}{signature:>22.0}{insert:>22.0}{rate:>22.0}");
        result.check();
        best.push(rate);
        shares.push(rate / insert);
        sent.extend(
            batch
                .into_iter()
                .take(result.acknowledged().len())
                .map(|message| message.id),
        );
    }
    let median = median_of(best);
    let control = Load::new(&floors.serve().await, options.connections);
    let mut at_a_third = async || {
        let time = Duration::from_secs(options.paced_seconds);
        let third = receipts(&options, &mut created, count(median / 3.0, time));
        let batch = messages.sign(&third);
        paced(&options, "control", &control, batch.clone(), median / 3.0).await;
        paced(&options, "settle", &load, batch, median / 3.0).await
    };
    sent.extend(at_a_third().await);
    if options.pages > 0 {
        let open = pages::open(&world, options.pages).await;
        println!("the same, with {} pages open:", options.pages);
        sent.extend(at_a_third().await);
        drop(open);
        println!("and without them again:");
        sent.extend(at_a_third().await);
    }
    drop(floors);
    let platform = world.platform_id;
    outcome::check(
        &mut world,
        platform,
        &sent,
        options.purchases,
        Duration::from_secs(options.window),
    )
    .await;
    world.finish().await;
    let share = median_of(shares);
    assert!(
        share >= LEAST_SHARE,
        "the ingress reached {share:.2} of the grouped inserts alone, below {LEAST_SHARE}"
    );
}

fn median_of(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// Returns the receipts of the next `count` messages: the purchases in rotation.
fn receipts(options: &Options, created: &mut usize, count: usize) -> Vec<String> {
    let first = *created;
    *created += count;
    (first..*created)
        .map(|number| format!("load-{:05}", number % options.purchases))
        .collect()
}

/// Returns the number of messages in this time at this rate.
fn count(rate: f64, time: Duration) -> usize {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a small positive number of messages"
    )]
    let count = (rate * time.as_secs_f64()) as usize;
    count
}

/// Sends messages to settle or the control at a fixed rate, and returns the ids of the acknowledged ones.
async fn paced(
    options: &Options,
    name: &str,
    load: &Load,
    batch: Vec<Message>,
    rate: f64,
) -> Vec<String> {
    let duration = Duration::from_secs(options.paced_seconds);
    let result = load
        .run(batch.clone(), Pace::PerSecond(rate), duration * 2)
        .await;
    println!(
        "{name} at a third, {:.0}/s: p50 {:.1} ms, p99 {:.1} ms, worst {:.1} ms, counted from when each was due",
        result.rate(),
        result.latency_ms(0.50),
        result.latency_ms(0.99),
        result.latency_ms(1.0),
    );
    result.check();
    batch
        .into_iter()
        .take(result.acknowledged().len())
        .map(|message| message.id)
        .collect()
}
