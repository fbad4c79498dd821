//! `renew-histories` creates the histories that `tests/replay` replays, by running each scenario.
//!
//! ```sh
//! cargo build -p system-tests && target/debug/renew-histories
//! ```
//!
//! It writes `tests/replay/histories/NAME.json` or, with a release's version as argument,
//! `tests/replay/histories/VERSION/NAME.json`, which is never overwritten.

use anyhow::Context;
use diesel::{Connection, RunQueryDsl};
use reqwest::Method;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;
use system_tests::devices::{Device, Devices};
use system_tests::histories;
use system_tests::postgres::PgConnection;
use system_tests::process::Backend;
use system_tests::receiver::Reply;
use system_tests::rvs::{self, Receipt};
use system_tests::temporal::Memory;
use system_tests::wait;
use system_tests::world::{SOON, Setting, World};
use temporalio_common::protos::temporal::api::enums::v1::EventType;
use workflows::contract;

const BOUGHT: &str = "SUBSCRIPTION_PURCHASED";
const STOPPED: &str = "SUBSCRIPTION_AUTO_RENEWAL_OFF";
/// The server's setting by which it suggests to continue as new after 80 events, few enough to keep the files small.
const CONTINUE_AFTER: &str = "limit.historyCount.suggestContinueAsNew=80";
/// Fields of a history that name the machine, and are therefore replaced.
const LOCAL: [&str; 1] = ["identity"];

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let release = std::env::args().nth(1);
    let keep = Keep {
        folder: histories::to_write(&histories::folder(), release.as_deref())?,
    };
    let temporal = vec![CONTINUE_AFTER.to_owned()];
    let setting = Setting {
        backend: Backend::Postgres,
        window_seconds: 2,
        memory: Memory::Volatile,
        temporal,
        ..Setting::default()
    };
    let mut world = World::start(setting).await;
    windows(&mut world, &keep).await?;
    admin(&mut world, &keep).await?;
    retried_lane(&mut world, &keep).await?;
    continued(&mut world, &keep).await?;
    failed_over_settling(&mut world, &keep).await?;
    queried_twice(&keep).await?;
    claims(&keep).await?;
    destinations(&keep).await?;
    stream(&keep).await?;
    wait::until(SOON, "a second sweep", async || {
        let sweeps = world.temporal.count("sweep", EventType::TimerFired).await;
        if sweeps > 0 {
            Ok(())
        } else {
            Err("none".to_owned())
        }
    })
    .await;
    keep.newest(&world, "sweep", "sweep").await?;
    world.finish().await;
    Ok(())
}

/// Stores the history of a stream that delivers a device's reports, and ends when nothing more is pending.
async fn stream(keep: &Keep) -> anyhow::Result<()> {
    let world = World::start(Setting {
        events: vec!["device.*".to_owned()],
        ..Setting::default()
    })
    .await;
    Devices::of(&world).await.visit(Device(1)).await;
    let id = contract::stream_workflow_id(world.destination_id.parse()?);
    wait::until(
        Duration::from_secs(150),
        "the end of the stream",
        async || {
            let is_open =
                world.temporal.runs(&id).await.is_empty() || world.temporal.is_open(&id).await;
            if is_open {
                Err("it is open".to_owned())
            } else {
                Ok(())
            }
        },
    )
    .await;
    keep.newest(&world, &id, "stream").await?;
    world.finish().await;
    Ok(())
}

/// Stores the history of a device's claim of a receipt, which the store confirms.
async fn claims(keep: &Keep) -> anyhow::Result<()> {
    let world = World::start(Setting {
        window_seconds: 1,
        rvs: true,
        ..Setting::default()
    })
    .await;
    world
        .rvs()
        .know("claimed", Receipt::subscription(api::clock::now()));
    let transaction = json!({
        "kind": "purchased", "receipt_id": "claimed", "app_user_id": rvs::CUSTOMER, "sku": "com.example.gold.month",
        "price": "4.99", "currency": "USD", "marketplace": "US",
    });
    let event = Device(1).event(
        "transaction",
        "device.transaction",
        &json!({ "transaction": transaction }),
    );
    drop(
        Devices::of(&world)
            .await
            .report(Device(1), &[event])
            .await
            .ok(),
    );
    world.wait_acked("claimed", 1).await;
    let id = contract::claims_workflow_id(world.platform_id);
    wait_closed(&world, &id).await;
    keep.newest(&world, &id, "claims").await?;
    world.finish().await;
    Ok(())
}

struct Keep {
    folder: PathBuf,
}

impl Keep {
    /// Stores the history of a workflow id's newest run.
    async fn newest(&self, world: &World, workflow_id: &str, name: &str) -> anyhow::Result<()> {
        self.write(name, &world.temporal.history_json(workflow_id).await)
    }

    /// Waits until a purchase's run has ended, and stores its history.
    async fn asleep(&self, world: &World, name: &str) -> anyhow::Result<()> {
        world.wait_asleep(name).await;
        self.newest(world, &world.workflow(name), name).await
    }

    fn write(&self, name: &str, history: &[u8]) -> anyhow::Result<()> {
        let mut json: Value = serde_json::from_slice(history)?;
        blank(&mut json);
        let file = self.folder.join(format!("{name}.json"));
        std::fs::write(&file, format!("{json}\n")).with_context(|| file.display().to_string())?;
        println!(
            "{} events in {}",
            json["events"].as_array().map_or(0, Vec::len),
            file.display()
        );
        Ok(())
    }
}

fn blank(json: &mut Value) {
    match json {
        Value::Object(fields) => {
            for (name, field) in fields {
                if LOCAL.contains(&name.as_str()) {
                    *field = json!("settle");
                } else {
                    blank(field);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(blank),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Stores the histories of a window, a restarted window, and an open window.
async fn windows(world: &mut World, keep: &Keep) -> anyhow::Result<()> {
    world.send(BOUGHT, "one-notification").await;
    world.send(BOUGHT, "rearmed-burst").await;
    world.wait_notified("rearmed-burst", 1).await;
    world.send(STOPPED, "rearmed-burst").await;
    world.wait_notified("rearmed-burst", 2).await;
    world.wait_acked("one-notification", 1).await;
    keep.asleep(world, "one-notification").await?;
    world.wait_acked("rearmed-burst", 1).await;
    keep.asleep(world, "rearmed-burst").await?;
    world.send(BOUGHT, "open-window").await;
    wait_timer(world, "open-window").await;
    keep.newest(world, &world.workflow("open-window"), "open-window")
        .await
}

/// Stores the history of a run whose second query to the store is answered.
async fn queried_twice(keep: &Keep) -> anyhow::Result<()> {
    let mut world = World::start(Setting {
        window_seconds: 2,
        rvs: true,
        ..Setting::default()
    })
    .await;
    world
        .rvs()
        .know("queried-twice", Receipt::subscription(api::clock::now()));
    world.rvs().answer_next(1, &rvs::Reply::Status(500));
    world.send(BOUGHT, "queried-twice").await;
    world.wait_acked("queried-twice", 1).await;
    keep.asleep(&world, "queried-twice").await?;
    world.finish().await;
    Ok(())
}

/// Stores the histories of a breaker that opens, is probed and closes; of a long `Retry-After` pause, during which the
/// run is continued as new and the destination is disabled; and of a run that was started by hand and finds nothing to
/// do.
async fn destinations(keep: &Keep) -> anyhow::Result<()> {
    let temporal = vec![CONTINUE_AFTER.to_owned()];
    let mut world = World::start(Setting {
        window_seconds: 1,
        memory: Memory::Volatile,
        temporal,
        ..Setting::default()
    })
    .await;
    let workflow = contract::destination_workflow_id(world.destination_id.parse()?);
    let receipts = fail(&mut world, "recovered").await;
    wait_for_timer(&world, &workflow).await;
    world.receiver.answer(Reply::Status(200));
    for receipt_id in &receipts {
        world.wait_acked(receipt_id, 1).await;
    }
    wait_closed(&world, &workflow).await;
    keep.newest(&world, &workflow, "destination-recovered")
        .await?;

    fail(&mut world, "continued").await;
    wait_for_timer(&world, &workflow).await;
    let before = world.temporal.runs(&workflow).await.len();
    let runs = wait::until(SOON, "a continued run", async || {
        world
            .temporal
            .signal(&workflow, contract::PENDING, &json!({}))
            .await?;
        let runs = world.temporal.runs(&workflow).await;
        if runs.len() > before {
            Ok(runs)
        } else {
            Err(format!("{} runs", runs.len()))
        }
    })
    .await;
    let [_, first, ..] = runs.as_slice() else {
        anyhow::bail!("{} runs", runs.len())
    };
    let first = first.execution.as_ref().context("a run without an id")?;
    keep.write(
        "destination-continued",
        &world.temporal.run_history_json(first).await,
    )?;

    let body = json!({ "by": "me", "reason": "a history" });
    world
        .temporal
        .signal(&workflow, contract::DISABLE, &body)
        .await
        .map_err(anyhow::Error::msg)?;
    wait_closed(&world, &workflow).await;
    keep.newest(&world, &workflow, "destination-switched-off")
        .await?;

    world
        .temporal
        .start_workflow(contract::DESTINATION, &workflow, contract::TASK_QUEUE)
        .await;
    wait_closed(&world, &workflow).await;
    keep.newest(&world, &workflow, "destination-at-rest")
        .await?;
    world.receiver.answer(Reply::Status(200));
    let path = format!("/v1/destinations/{}", world.destination_id);
    world
        .api
        .call(Method::PATCH, &path, &json!({ "enabled": true }))
        .await;
    world.finish().await;
    Ok(())
}

/// Sends purchases to a failing endpoint, enough to open the breaker; returns their receipts.
async fn fail(world: &mut World, name: &str) -> Vec<String> {
    let receipts: Vec<String> = (0..12).map(|number| format!("{name}-{number}")).collect();
    world.receiver.answer(Reply::Status(500));
    for receipt_id in &receipts {
        world.send(BOUGHT, receipt_id).await;
    }
    receipts
}

async fn wait_closed(world: &World, workflow: &str) {
    wait::until(SOON, &format!("the end of {workflow}"), async || {
        let found = world
            .temporal
            .describe(workflow)
            .await
            .and_then(|found| found.workflow_execution_info);
        if found.is_some_and(|info| info.close_time.is_some()) {
            Ok(())
        } else {
            Err("it is open".to_owned())
        }
    })
    .await;
}

async fn wait_timer(world: &World, receipt_id: &str) {
    wait_for_timer(world, &world.workflow(receipt_id)).await;
}

async fn wait_for_timer(world: &World, workflow: &str) {
    wait::until(SOON, &format!("a timer of {workflow}"), async || {
        if world.temporal.has_timer(workflow).await {
            Ok(())
        } else {
            Err("none".to_owned())
        }
    })
    .await;
}

async fn admin(world: &mut World, keep: &Keep) -> anyhow::Result<()> {
    let body = json!({ "reason": "a history" });
    let held = world.send(BOUGHT, "hold-and-release").await;
    wait_timer(world, "hold-and-release").await;
    world
        .act(
            "hold-and-release",
            "hold",
            &json!({ "reason": "a history", "until": "2030-01-01T00:00:00Z" }),
        )
        .await;
    world
        .wait_status("hold-and-release", "a hold", |status| {
            status["held_until"].is_string()
        })
        .await;
    for name in ["flush", "discard"] {
        let message_id = world.send(BOUGHT, name).await;
        wait_timer(world, name).await;
        world.act(name, name, &body).await;
        world.wait_outcome(&message_id).await;
        keep.asleep(world, name).await?;
    }
    world.send(BOUGHT, "redeliver").await;
    world.wait_acked("redeliver", 1).await;
    world.wait_asleep("redeliver").await;
    world.signal_by_script("redeliver", "redeliver").await;
    world.wait_received("redeliver", 2).await;
    keep.asleep(world, "redeliver").await?;
    world.act("hold-and-release", "release", &body).await;
    world.wait_outcome(&held).await;
    world.wait_acked("hold-and-release", 1).await;
    keep.asleep(world, "hold-and-release").await
}

async fn retried_lane(world: &mut World, keep: &Keep) -> anyhow::Result<()> {
    world.receiver.answer_next(1, &Reply::Status(500));
    world.send(BOUGHT, "retried-lane").await;
    world.wait_back_off("retried-lane").await;
    world.wait_acked("retried-lane", 1).await;
    keep.asleep(world, "retried-lane").await
}

/// Stores both histories of a run that is continued as new while a lane waits.
async fn continued(world: &mut World, keep: &Keep) -> anyhow::Result<()> {
    world.receiver.answer_next(1, &Reply::Status(500));
    world.send(BOUGHT, "continued").await;
    world.wait_back_off("continued").await;
    let workflow = world.workflow("continued");
    wait::until(SOON, "a continued run", async || {
        // A malformed flush, which only adds a signal to the history.
        world.temporal.signal(&workflow, "flush", &json!(3)).await?;
        let runs = world.temporal.runs(&workflow).await.len();
        if runs > 1 {
            Ok(())
        } else {
            Err(format!("{runs} runs"))
        }
    })
    .await;
    world.wait_acked("continued", 1).await;
    world.wait_asleep("continued").await;
    wait::until(SOON, "two runs that have ended", async || {
        let runs = world.temporal.runs(&workflow).await;
        if runs.iter().all(|run| run.close_time.is_some()) {
            Ok(())
        } else {
            Err(format!("{runs:?}"))
        }
    })
    .await;
    let runs = world.temporal.runs(&workflow).await;
    let [second, .., first] = runs.as_slice() else {
        anyhow::bail!("{} runs", runs.len())
    };
    for (name, run) in [("continued-first", first), ("continued-second", second)] {
        let run = run.execution.as_ref().context("a run without an id")?;
        keep.write(name, &world.temporal.run_history_json(run).await)?;
    }
    Ok(())
}

/// Stores the history of a settling whose database answers only after the local activity has given up.
async fn failed_over_settling(world: &mut World, keep: &Keep) -> anyhow::Result<()> {
    world.send(BOUGHT, "failed-over-settling").await;
    wait_timer(world, "failed-over-settling").await;
    let mut frozen = Frozen::new(world)?;
    let workflow = world.workflow("failed-over-settling");
    wait::until(SOON, "the regular activity", async || {
        let count = world
            .temporal
            .count(&workflow, EventType::ActivityTaskScheduled)
            .await;
        if count > 0 {
            Ok(())
        } else {
            Err("none".to_owned())
        }
    })
    .await;
    frozen.thaw()?;
    world.wait_acked("failed-over-settling", 1).await;
    keep.asleep(world, "failed-over-settling").await
}

/// A lock on a table that every settling reads.
struct Frozen(PgConnection);

impl Frozen {
    fn new(world: &World) -> anyhow::Result<Self> {
        let settings = std::fs::read_to_string(world.installation.folder().join("settle.toml"))?;
        let line = settings
            .lines()
            .find_map(|line| line.strip_prefix("database = "))
            .context("no database")?;
        let mut connection = PgConnection::establish(line.trim_matches('"'))?;
        diesel::sql_query("BEGIN").execute(&mut connection)?;
        diesel::sql_query("LOCK TABLE purchases IN ACCESS EXCLUSIVE MODE")
            .execute(&mut connection)?;
        Ok(Self(connection))
    }

    fn thaw(&mut self) -> anyhow::Result<()> {
        diesel::sql_query("ROLLBACK").execute(&mut self.0)?;
        Ok(())
    }
}
