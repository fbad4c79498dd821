//! Events of many devices: each arrives at a webhook and at Amplitude despite a `kill -9` of the worker, with one
//! workflow for each of the two. The default is four thousand events; `SETTLE_TRUST_DEVICES=5000` makes it a hundred
//! thousand.

use futures::StreamExt;
use serde_json::{Value, json};
use std::fs;
use std::time::Duration;
use system_tests::amplitude::Amplitude;
use system_tests::devices::{Device, Devices};
use system_tests::process::Backend;
use system_tests::tally::Tally;
use system_tests::wait;
use system_tests::world::{SOON, Setting, World};
use tokio::time::Instant;

/// Number of devices, unless the environment sets another.
const DEVICES: u32 = 200;
const PER_DEVICE: usize = 20;
/// Number of devices that report concurrently, all from one address.
const AT_ONCE: usize = 8;
/// Maximum number of history events per 1,000 device events, in addition to those of the signals.
const MAX_HISTORY_PER_THOUSAND: usize = 10;
/// Number of history events per signal: its own, and those of the workflow task that follows.
const HISTORY_PER_SIGNAL: usize = 4;
const MAX_MIB: f64 = 300.0;
/// Concurrency of the webhook: the number of requests that can be in flight when the worker is killed.
const CONCURRENCY: usize = 32;
const KEY: &str = "5f0b7d2c9e814a63b1d7f4a2sandbox";
const ENOUGH: Duration = Duration::from_secs(3600);

/// Returns the current and the maximum resident memory of a process, in MiB.
fn memory_mib(process: u32) -> (f64, f64) {
    let status =
        fs::read_to_string(format!("/proc/{process}/status")).expect("the worker's status");
    let of = |name: &str| {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .expect("its memory");
        line.trim()
            .trim_end_matches(" kB")
            .trim()
            .parse::<f64>()
            .expect("a number")
            / 1024.0
    };
    (of("VmRSS:"), of("VmHWM:"))
}

fn devices() -> u32 {
    #[expect(clippy::disallowed_methods, reason = "a size of the test")]
    let named = std::env::var("SETTLE_TRUST_DEVICES").ok();
    named.map_or(DEVICES, |number| {
        number
            .parse()
            .expect("SETTLE_TRUST_DEVICES is a number of devices")
    })
}

/// Reports all events, and returns the events per second.
async fn report_all(world: &World, count: u32) -> f64 {
    let devices = Devices::of(world).await;
    let began = Instant::now();
    let reports = (0..count).map(|number| {
        let devices = devices.clone();
        async move {
            let device = Device(number);
            let events: Vec<Value> = (0..PER_DEVICE)
                .map(|index| device.impression(&format!("e{index}")))
                .collect();
            let taken = devices.report(device, &events).await.ok();
            assert_eq!(taken["accepted"], PER_DEVICE, "{taken}");
        }
    });
    futures::stream::iter(reports)
        .buffer_unordered(AT_ONCE)
        .collect::<Vec<()>>()
        .await;
    f64::from(count) * PER_DEVICE as f64 / began.elapsed().as_secs_f64()
}

/// Waits until each stream's activity is pending, as shown to people, and returns the number of open workflows.
async fn check_visible(world: &World, streams: &[String]) -> usize {
    for stream in streams {
        wait::until(SOON, "a pending activity", async || {
            let pending = world.temporal.pending_activities(stream).await;
            if pending.len() == 1 {
                Ok(())
            } else {
                Err(format!("{pending:?}"))
            }
        })
        .await;
    }
    world
        .temporal
        .list("ExecutionStatus = 'Running'")
        .await
        .len()
}

/// Checks that the streams' histories are short.
async fn check_history(world: &World, streams: &[String], events_in_all: usize, began: Instant) {
    let mut history = 0;
    for stream in streams {
        let (runs, own) = world.temporal.history_size(stream).await;
        println!("{stream}: {runs} run(s), {own} events of history");
        assert!(own > 0, "it had a run");
        history += own;
    }
    // While events arrive, each of the processes signals a stream every half minute.
    let rounds = 1 + began.elapsed().as_secs() / 30;
    let signalled = usize::try_from(rounds).expect("few") * streams.len() * 2 * HISTORY_PER_SIGNAL;
    let most = events_in_all / 1000 * MAX_HISTORY_PER_THOUSAND + signalled;
    assert!(
        history <= most,
        "{history} events of history, at most {most} are allowed"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_many_devices_survive_a_killed_worker() {
    let count = devices();
    let events_in_all = count as usize * PER_DEVICE;
    let (amplitude, tally) = (Amplitude::start().await, Tally::start().await);
    amplitude.project(KEY, "c0ffee5eb7a94d21f36a8b9esecret");
    let no_limit = |name: &str| (format!("SETTLE_DEVICES_{name}"), "1000".to_owned());
    let variables = vec![
        ("SETTLE_AMPLITUDE_ALLOWED_URLS".to_owned(), amplitude.url()),
        no_limit("REQUESTS_PER_SECOND"),
        no_limit("REQUESTS_PER_SECOND_AND_ADDRESS"),
        (
            "SETTLE_DEVICES_BYTES_PER_SECOND_AND_ADDRESS".to_owned(),
            "100MiB".to_owned(),
        ),
    ];
    let same = variables.clone();
    let mut world = World::start(Setting {
        backend: Backend::SyncedPostgres,
        variables,
        ..Setting::default()
    })
    .await;
    let events = json!(["device.*"]);
    let hook = json!({
        "kind": "webhook", "name": "tally", "url": tally.url(), "events": events, "concurrency": CONCURRENCY,
    });
    let analytics = json!({
        "kind": "amplitude", "name": "analytics", "endpoint": amplitude.url(), "sandbox_api_key": KEY, "events": events,
    });
    let streams =
        [world.add(&hook).await, world.add(&analytics).await].map(|id| format!("stream/{id}"));

    let began = Instant::now();
    let rate = report_all(&world, count).await;
    println!(
        "{events_in_all} events of {count} devices reported: {rate:.0} a second, beside the delivery of the first ones"
    );
    let open = check_visible(&world, &streams).await;
    tally.wait(events_in_all / 4, ENOUGH).await;
    let (_, highest) = memory_mib(world.worker().id());
    world.worker().kill9();
    let same: Vec<(&str, &str)> = same
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let second = world.installation.start(&["worker"], &same);
    world.join(second);
    println!(
        "worker killed after {} webhooks, {:.0} s after the first report; it had {highest:.0} MiB at most",
        tally.count(),
        began.elapsed().as_secs_f64(),
    );

    tally.wait(events_in_all, ENOUGH).await;
    wait::until(ENOUGH, "every event in Amplitude", async || {
        let counted = amplitude.count(KEY);
        if counted >= events_in_all {
            Ok(())
        } else {
            Err(format!("{counted}"))
        }
    })
    .await;
    let took = began.elapsed().as_secs_f64();
    let (end, highest) = memory_mib(world.worker().id());
    println!(
        "all arrived after {took:.0} s, {:.0} a second to each destination with the pause of the killed worker; the second \
         worker had {highest:.0} MiB at most and {end:.0} MiB at the end",
        events_in_all as f64 / took,
    );
    assert!(highest < MAX_MIB, "the worker had {highest:.0} MiB");
    let (repeated, counted_again) = (tally.repeated(), amplitude.repeated(KEY));
    println!(
        "sent again after the kill: {repeated} webhooks, {counted_again} events to Amplitude, each under the same id"
    );
    assert_eq!(
        (tally.count(), amplitude.count(KEY)),
        (events_in_all, events_in_all)
    );
    assert!(
        repeated <= CONCURRENCY,
        "{repeated} webhooks were sent twice"
    );

    let now_open = world
        .temporal
        .list("ExecutionStatus = 'Running'")
        .await
        .len();
    println!("open workflows: {open} while they were reported, {now_open} at the end");
    assert!(
        open <= 4 && now_open <= 4,
        "a stream for each destination and the sweeps: {open}, {now_open}"
    );
    check_history(&world, &streams, events_in_all, began).await;
    amplitude.check();
    tally.check();
    world.finish().await;
}
