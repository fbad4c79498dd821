//! `device-load` measures the ingress of a store's notifications with and without concurrent reports of devices, whose
//! events are delivered to a webhook.
//!
//! ```sh
//! cargo build --release --workspace && target/release/device-load
//! ```
//!
//! The generator, the webhook's endpoint, the service with its worker, and the Temporal server share this machine's
//! cores.

use clap::Parser;
use serde_json::{Value, json};
use std::time::Duration;
use system_tests::devices::{Device, Devices};
use system_tests::load::{Load, Measured, Message, Messages, Pace};
use system_tests::process::Backend;
use system_tests::sns::{PACKAGE, TOPIC};
use system_tests::tally::Tally;
use system_tests::temporal::Memory;
use system_tests::world::{Setting, World};
use tokio::time::Instant;

/// Number of connections of the device generator: the maximum number of concurrent requests per address.
const DEVICE_CONNECTIONS: usize = 8;
/// Time limit for delivering the remaining events after a measurement.
const ENOUGH: Duration = Duration::from_secs(900);

/// Highest acceptable p99 of a store's notifications during reports, by the medians of the rounds: this multiple of the
/// p99 without reports, or this number of milliseconds.
const MOST_TIMES: f64 = 3.0;
const MOST_MS: f64 = 50.0;

/// Measures the ingress beside the events of devices.
#[derive(Debug, Parser)]
struct Options {
    /// Rounds of the ingress without and with devices.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 15)]
    seconds: u64,
    /// Notifications a second.
    #[arg(long, default_value_t = 500)]
    notifications: u32,
    /// Requests of devices per second, each of another device.
    #[arg(long, default_value_t = 50)]
    requests: u32,
    /// Events in each of these requests.
    #[arg(long, default_value_t = 20)]
    events: usize,
    /// Connections of the generator of notifications.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Stores in PostgreSQL, with `serve` and `worker`, and not in SQLite with `run`.
    #[arg(long)]
    postgres: bool,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let options = Options::parse();
    let no_limit = |name: &str| (format!("SETTLE_DEVICES_{name}"), "1000".to_owned());
    let many_bytes = || {
        (
            "SETTLE_DEVICES_BYTES_PER_SECOND_AND_ADDRESS".to_owned(),
            "100MiB".to_owned(),
        )
    };
    let world = World::start(Setting {
        backend: if options.postgres {
            Backend::Postgres
        } else {
            Backend::Sqlite
        },
        memory: Memory::File,
        variables: vec![
            no_limit("REQUESTS_PER_SECOND"),
            no_limit("REQUESTS_PER_SECOND_AND_ADDRESS"),
            many_bytes(),
        ],
        ..Setting::default()
    })
    .await;
    world.temporal.let_others_first();
    let tally = Tally::start().await;
    let hook =
        json!({ "kind": "webhook", "name": "tally", "url": tally.url(), "events": ["device.*"] });
    world.add(&hook).await;
    let platform = long_platform(&world).await;
    let url = platform["notification_url"]
        .as_str()
        .expect("a URL")
        .to_owned();
    let devices = Devices::of(&world).await;
    let (mut messages, mut next) = (Messages::new(&world.sns, &url), 0);
    println!(
        "{:<10}{:<18}{:>16}{:>10}{:>10}{:>10}",
        "round", "", "answered 200/s", "p50 ms", "p99 ms", "worst ms"
    );
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for round in 1..=options.rounds {
        let count =
            options.notifications as usize * usize::try_from(options.seconds).unwrap_or(usize::MAX);
        let receipts: Vec<String> = (0..count)
            .map(|number| format!("load-{:03}", number % 200))
            .collect();
        let batch = messages.sign(&receipts);
        let alone = store(&options, &url, batch).await;
        print(round, "without devices", &alone);
        without.push(alone.latency_ms(0.99));
        let batch = messages.sign(&receipts);
        let reports = reports(&options, &devices, &mut next);
        let sent = reports.len();
        let began = Instant::now();
        let load = Load::new(&world.notification_url, DEVICE_CONNECTIONS);
        let pace = Pace::PerSecond(f64::from(options.requests));
        let at_most = Duration::from_secs(options.seconds * 2);
        let (of_store, of_devices) = tokio::join!(
            store(&options, &url, batch),
            load.run(reports, pace, at_most)
        );
        print(round, "with devices", &of_store);
        with.push(of_store.latency_ms(0.99));
        print(round, "  their requests", &of_devices);
        let expected = next as usize * options.events;
        let arrived = tally.events() + sent * options.events - expected;
        tally.wait(expected, ENOUGH).await;
        println!(
            "          {} events of devices, {arrived} of them delivered meanwhile, all after {:.0} s",
            sent * options.events,
            began.elapsed().as_secs_f64()
        );
    }
    tally.check();
    world.finish().await;
    let (without, with) = (median(without), median(with));
    let most = (MOST_TIMES * without).max(MOST_MS);
    assert!(
        with <= most,
        "p99 {with:.1} ms with devices, {without:.1} ms without: above {most:.1} ms"
    );
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// Creates a platform whose windows do not end during the measurement.
async fn long_platform(world: &World) -> Value {
    let platform = json!({
        "store": "amazon", "name": "long", "package_name": PACKAGE, "environment": "sandbox", "topic_arn": TOPIC,
        "window_seconds": 3600, "shares_package": true,
    });
    world
        .api
        .post(&format!("/v1/apps/{}/platforms", world.app_id), &platform)
        .await
        .ok()
}

/// Sends notifications at the fixed rate.
async fn store(options: &Options, url: &str, batch: Vec<Message>) -> Measured {
    let load = Load::new(url, options.connections);
    let pace = Pace::PerSecond(f64::from(options.notifications));
    load.run(batch, pace, Duration::from_secs(options.seconds * 2))
        .await
}

/// Returns requests of devices that have not reported yet.
fn reports(options: &Options, devices: &Devices, next: &mut u32) -> Vec<Message> {
    let first = *next;
    *next += options.requests * u32::try_from(options.seconds).unwrap_or(u32::MAX);
    let request = |number: u32| {
        let device = Device(number);
        let events: Vec<Value> = (0..options.events)
            .map(|index| device.impression(&format!("e{index}")))
            .collect();
        Message {
            id: number.to_string(),
            request: devices.request(device, &events).into_bytes().into(),
        }
    };
    (first..*next).map(request).collect()
}

fn print(round: u32, what: &str, measured: &Measured) {
    measured.check();
    let [p50, p99, worst] = [0.5, 0.99, 1.0].map(|part| measured.latency_ms(part));
    println!(
        "{round:<10}{what:<18}{:>16.0}{p50:>10.1}{p99:>10.1}{worst:>10.1}",
        measured.rate()
    );
}
