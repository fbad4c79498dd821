//! The cost of idling with open windows and sleeping purchases: memory and CPU time of each process, and the duration
//! of a sweep, without them and with them.

use super::requests;
use super::rows;
use super::sending::Store;
use super::subject::{Installed, Subject, Variant};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use system_tests::load::Pace;
use system_tests::machine::{self, Usage};
use system_tests::runs::time;
use system_tests::temporal::Temporal;
use system_tests::wait;
use system_tests::world::World;
use temporalio_common::protos::temporal::api::enums::v1::EventType;
use workflows::contract;

/// A window that does not end during the measurement.
const LONG: Duration = Duration::from_secs(3600);
/// Pause after a start or a burst, until caches are filled and garbage is collected.
const REST: Duration = Duration::from_secs(10);

/// The load, and how long it is watched.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Number of open windows or sleeping purchases.
    pub count: usize,
    /// How long the processes are watched, first without and then with the load.
    pub watched: Duration,
    /// Time limit for opening the windows.
    pub patience: Duration,
    /// The program that has the windows or purchases.
    pub variant: Variant,
}

#[derive(Debug, Default)]
struct Watched {
    /// CPU milliseconds per second, by kind of process.
    cpu_ms: BTreeMap<String, f64>,
    /// Resident memory by kind of process, in bytes.
    memory: BTreeMap<String, u64>,
    /// Number of finished sweeps, and their median duration in milliseconds.
    sweeps: (usize, f64),
}

pub async fn open(plan: Plan, installed: &Installed) -> Value {
    let installed = Installed {
        window: LONG,
        ..installed.clone()
    };
    let mut subject = Subject::start(plan.variant, &installed).await;
    let before = watch(subject.temporal(), plan.watched).await;
    let receipts: Vec<String> = (0..plan.count)
        .map(|number| format!("open-{number:07}"))
        .collect();
    subject.send(Store::Amazon, &receipts, Pace::Saturate).await;
    let (temporal, wanted) = (subject.temporal(), plan.count);
    let opened = wait::within(plan.patience, "the windows", async || {
        let counts = requests::counts(temporal).await;
        let signals = counts
            .get("frontend.SignalWithStartWorkflowExecution")
            .copied()
            .unwrap_or_default();
        // The signals of the destination's run and the sweep are negligible.
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52 windows")]
        let is_done = signals >= wanted as f64;
        if is_done {
            Ok(())
        } else {
            Err(format!("{signals} of {wanted} are open"))
        }
    });
    if let Err(late) = opened.await {
        println!("{late}");
    }
    let with = watch(subject.temporal(), plan.watched).await;
    let mut all = vec![report("open windows", plan.count, [&before, &with])];
    if let Subject::Settle(world) = &mut subject {
        // A restart removes what sending all these notifications left in caches.
        world.kill9();
        let with = restarted(world, plan.watched).await;
        all.push(report(
            "open windows, after a restart",
            plan.count,
            [&before, &with],
        ));
    }
    subject.finish().await;
    Value::Array(all)
}

/// Writes sleeping purchases to storage, watches the processes, and prints the figures.
pub async fn sleeping(plan: Plan, installed: &Installed) -> Value {
    let Subject::Settle(mut world) = Subject::start(plan.variant, installed).await else {
        return Value::Null;
    };
    let template = "template";
    world.send("SUBSCRIPTION_PURCHASED", template).await;
    world.wait_acked(template, 1).await;
    let before = watch(&world.temporal, plan.watched).await;
    world.kill9();
    rows::multiply(world.installation.database(), template, plan.count);
    let with = restarted(&mut world, plan.watched).await;
    world.finish().await;
    report("sleeping purchases", plan.count, [&before, &with])
}

async fn restarted(world: &mut World, watched: Duration) -> Watched {
    world.restart().await;
    watch(&world.temporal, watched).await
}

async fn watch(temporal: &Temporal, watched: Duration) -> Watched {
    wait::pass(REST).await;
    let (cpu, swept) = (machine::usage(), sweeps(temporal).await.len());
    wait::pass(watched).await;
    let after = machine::usage();
    let per_second = |kind: &String, usage: &Usage| {
        let before = cpu.get(kind).map_or(Duration::ZERO, |usage| usage.cpu);
        usage.cpu.saturating_sub(before).as_secs_f64() * 1000.0 / watched.as_secs_f64()
    };
    let mut took: Vec<f64> = sweeps(temporal).await.split_off(swept);
    took.sort_by(f64::total_cmp);
    Watched {
        cpu_ms: after
            .iter()
            .map(|(kind, usage)| (kind.clone(), per_second(kind, usage)))
            .collect(),
        memory: after
            .iter()
            .map(|(kind, usage)| (kind.clone(), usage.memory))
            .collect(),
        sweeps: (
            took.len(),
            took.get(took.len() / 2).copied().unwrap_or_default(),
        ),
    }
}

/// Returns the duration of each sweep of the newest run in milliseconds, as seen by the engine.
async fn sweeps(temporal: &Temporal) -> Vec<f64> {
    let history = temporal.history(contract::SWEEP).await;
    let times = |wanted| {
        history
            .iter()
            .filter(move |event| event.event_type() == wanted)
            .map(time)
    };
    let (started, completed) = (
        times(EventType::ActivityTaskStarted),
        times(EventType::ActivityTaskCompleted),
    );
    started
        .zip(completed)
        .map(|(from, to)| to.saturating_sub(from).as_secs_f64() * 1000.0)
        .collect()
}

fn report(what: &str, count: usize, [before, with]: [&Watched; 2]) -> Value {
    println!("\n{count} {what}:");
    println!(
        "{:<12}{:>14}{:>14}{:>18}{:>18}",
        "process", "MB without", "MB with", "CPU ms/s without", "CPU ms/s with"
    );
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52 bytes")]
    let megabytes = |watched: &Watched, kind: &String| {
        watched.memory.get(kind).copied().unwrap_or_default() as f64 / 1_000_000.0
    };
    for (kind, cpu) in &with.cpu_ms {
        let cpu_before = before.cpu_ms.get(kind).copied().unwrap_or_default();
        println!(
            "{kind:<12}{:>14.1}{:>14.1}{cpu_before:>18.2}{cpu:>18.2}",
            megabytes(before, kind),
            megabytes(with, kind)
        );
    }
    let (first, then) = (before.sweeps, with.sweeps);
    println!(
        "sweeps: {} of {:.0} ms without, {} of {:.0} ms with",
        first.0, first.1, then.0, then.1
    );
    let json = |watched: &Watched| {
        json!({
            "cpu_ms_per_second": watched.cpu_ms, "memory_bytes": watched.memory,
            "sweeps": watched.sweeps.0, "sweep_ms": watched.sweeps.1,
        })
    };
    json!({ "what": what, "count": count, "without": json(before), "with": json(with) })
}
