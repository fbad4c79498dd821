//! A destination with a thousand pending lanes that hangs for 15 seconds on every request: it hardly delays deliveries
//! to another destination, and no purchase has an open run while the breaker is open.

use super::outage::wait_quiet;
use super::revisions::RevisionWriter;
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;
use system_tests::process::Backend;
use system_tests::receiver::{Receiver, Reply};
use system_tests::wait;
use system_tests::world::{SOON, Setting, World};

const PENDING: usize = 1000;
/// Number of rounds, each with a control immediately before. The median round is judged: other load during less than
/// half of the rounds has no effect, and continuous load affects the controls too.
const ROUNDS: usize = 7;
const PER_ROUND: usize = 7;
/// Maximum factor by which the other destination's lag may grow.
const MAX_RATIO: f64 = 2.0;
/// Maximum growth of the worker's memory: 64 KiB per lane. The allocator returns free memory with a delay, so the check
/// waits for that; immediate growth was between -1 and 13.2 MiB, and 47.4 MiB on a busy machine.
const MAX_GROWTH_MIB: f64 = 64.0;
/// A difference in lag that is ignored. A delivery that had to wait for the slot of a hanging request would be seconds
/// late.
const NOISE_MS: f64 = 100.0;

fn time(value: &Value) -> i64 {
    value
        .as_str()
        .expect("a time")
        .parse::<domain::Timestamp>()
        .expect("a time")
        .micros()
}

/// Returns the median time from the recording of an event to its acknowledgement, over some new purchases, in
/// milliseconds.
async fn lag_ms(world: &mut World, round: &str) -> f64 {
    let receipts: Vec<String> = (0..PER_ROUND)
        .map(|number| format!("{round}-{number}"))
        .collect();
    for receipt in &receipts {
        world.send("SUBSCRIPTION_PURCHASED", receipt).await;
    }
    let mut lags = Vec::new();
    for receipt in &receipts {
        world.wait_acked(receipt, 1).await;
        let created_at = time(&world.events(receipt).await[0]["created_at"]);
        let deliveries = wait::until(SOON, "a finished delivery", async || {
            let all = world.deliveries(receipt).await;
            let own = all
                .into_iter()
                .find(|one| one["destination_id"] == world.destination_id.as_str());
            own.filter(|one| one["finished_at"].is_string())
                .ok_or_else(|| "none".to_owned())
        })
        .await;
        lags.push(time(&deliveries["finished_at"]) - created_at);
    }
    lags.sort_unstable();
    lags[lags.len() / 2] as f64 / 1000.0
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

async fn enable(world: &World, destination_id: &str, enabled: bool) {
    let path = format!("/v1/destinations/{destination_id}");
    drop(
        world
            .api
            .call(Method::PATCH, &path, &json!({ "enabled": enabled }))
            .await
            .ok(),
    );
}

/// Waits until a request hangs that arrived after the first `known` requests, which have timed out.
async fn wait_hanging(hanging: &Receiver, known: usize) {
    wait::until(SOON, "new requests that hang", async || {
        let new = hanging.all().split_off(known);
        if new.iter().any(|one| one.finished_at.is_none()) {
            Ok(())
        } else {
            Err(format!("{} new ones", new.len()))
        }
    })
    .await;
}

/// Queues the latest state of every purchase for a destination, and returns the number of deliveries.
async fn queue_all(world: &World, destination_id: &str) -> usize {
    let (mut queued, mut cursor) = (0, Value::Null);
    loop {
        // Small pages, since a request has a time limit, and each purchase needs a transaction.
        let body = json!({ "missing": true, "destination_id": destination_id, "cursor": cursor, "limit": 50 });
        let page = world.api.post("/v1/resends", &body).await.ok();
        queued += usize::try_from(page["pending"].as_u64().unwrap_or(0)).unwrap_or(0);
        cursor = page["next_cursor"].clone();
        if cursor.is_null() {
            return queued;
        }
    }
}

/// Returns the resident memory of a process, in MiB.
fn resident_mib(process: u32) -> f64 {
    let status =
        std::fs::read_to_string(format!("/proc/{process}/status")).expect("the worker's status");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .expect("its memory");
    line.trim()
        .trim_end_matches(" kB")
        .trim()
        .parse::<f64>()
        .expect("a number")
        / 1024.0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_destination_with_a_thousand_lanes_slows_no_other() {
    let setting = Setting {
        backend: Backend::SyncedPostgres,
        window_seconds: 1,
        ..Setting::default()
    };
    let mut world = World::start(setting).await;
    world.let_sweep_help("revisions are written past the runs");
    let receipts: Vec<String> = (0..PENDING).map(|number| format!("old-{number}")).collect();
    enable(&world, &world.destination_id.clone(), false).await;
    RevisionWriter::of(&world).await.write(&receipts, 1).await;
    enable(&world, &world.destination_id.clone(), true).await;
    wait::until(SOON, "the neighbour's own", async || {
        let count = world.receiver.count();
        if count >= PENDING {
            Ok(())
        } else {
            Err(format!("{count}"))
        }
    })
    .await;
    let hanging = Receiver::start().await;
    hanging.answer(Reply::Hang);
    let hanging_id = world
        .add_destination(&hanging, &["purchase.updated".to_owned()])
        .await;
    enable(&world, &hanging_id, false).await;
    let before = resident_mib(world.worker().id());
    assert_eq!(queue_all(&world, &hanging_id).await, PENDING);

    let mut lags = Vec::new();
    for round in 0..ROUNDS {
        enable(&world, &hanging_id, false).await;
        let without = lag_ms(&mut world, &format!("without-{round}")).await;
        let known = hanging.count();
        enable(&world, &hanging_id, true).await;
        wait_hanging(&hanging, known).await;
        let with = lag_ms(&mut world, &format!("with-{round}")).await;
        println!(
            "round {round}: lag of the neighbour {without:.0} ms without and {with:.0} ms with a hanging one"
        );
        lags.push((without, with));
    }
    let ratio = median(lags.iter().map(|(without, with)| with / without));
    let longer_ms = median(lags.iter().map(|(without, with)| with - without));
    println!("in the median round {ratio:.2} times as long, {longer_ms:.0} ms longer");
    assert!(
        ratio <= MAX_RATIO || longer_ms <= NOISE_MS,
        "the neighbour's lag grew {ratio:.2} times"
    );

    world.wait_state(&hanging_id, "open").await;
    wait_quiet(&world).await;
    let worker = world.worker().id();
    let grown = wait::until(SOON, "the worker's memory to be free again", async || {
        let grown = resident_mib(worker) - before;
        if grown < MAX_GROWTH_MIB {
            Ok(grown)
        } else {
            Err(format!("it grew by {grown:.1} MiB"))
        }
    })
    .await;
    println!(
        "no run of a purchase is open; the worker's memory grew by {grown:.1} MiB from {before:.1} MiB"
    );
    enable(&world, &hanging_id, false).await;
    hanging.answer(Reply::Status(200));
    hanging.release();
    enable(&world, &hanging_id, true).await;
    wait::until(
        Duration::from_secs(300),
        "everything pending after its return",
        async || {
            let acked = hanging.revisions_by_key().len();
            if acked >= PENDING {
                Ok(())
            } else {
                Err(format!("{acked}"))
            }
        },
    )
    .await;
    hanging.check();
    world.finish().await;
}
