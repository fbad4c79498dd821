//! What costs although nothing happens: open windows and sleeping purchases. The memory of each process, its CPU time,
//! and how long a sweep takes, without them and with them.

use super::machine::{self, Usage};
use super::requests;
use super::rows;
use super::subject::{Installed, Subject, Variant};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use system_tests::load::Pace;
use system_tests::runs::time;
use system_tests::temporal::Temporal;
use system_tests::wait;
use system_tests::world::World;
use temporalio_common::protos::temporal::api::enums::v1::EventType;
use workflows::contract;

/// A window that does not end during the measurement.
const LONG: Duration = Duration::from_secs(3600);
/// After a start or a burst, until caches are filled and garbage is collected.
const REST: Duration = Duration::from_secs(10);

/// How much there is, and for how long it is watched.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Number of open windows or sleeping purchases.
    pub count: usize,
    /// How long the processes are watched, without them and then with them.
    pub watched: Duration,
    /// How long opening the windows may take.
    pub patience: Duration,
    /// What the windows or purchases are of.
    pub variant: Variant,
}

#[derive(Debug, Default)]
struct Watched {
    /// CPU milliseconds a second of each kind of process.
    cpu_ms: BTreeMap<String, f64>,
    /// Resident memory of each kind of process.
    memory: BTreeMap<String, u64>,
    /// Number of finished sweeps, and their median time in milliseconds.
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
    subject.send(&receipts, Pace::Saturate).await;
    let (temporal, wanted) = (subject.temporal(), plan.count);
    let opened = wait::within(plan.patience, "the windows", async || {
        let counts = requests::counts(temporal).await;
        let signals = counts
            .get("frontend.SignalWithStartWorkflowExecution")
            .copied()
            .unwrap_or_default();
        // The destination's run and the sweep are few.
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
        // Without what the sending of all these notifications left in caches.
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

/// Writes sleeping purchases to storage, watches, and prints.
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

/// Returns how long each sweep of the newest run took, in milliseconds, as the engine saw it.
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
