//! The floor's process: settle's dispatcher, and a worker with the same SDK.

use super::workflow::{Purchase, QUEUE, Steps};
use super::{driver, workflow_id};
use api::dispatch::{Dispatch, Engine, EngineError};
use domain::{CollapseKey, DestinationId, PlatformId};
use futures::FutureExt;
use futures::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;
use storage::{Config, Database, Key, Store};
use system_tests::folder::Folder;
use temporalio_client::{
    Client, ClientOptions, Connection, ConnectionOptions, WorkflowStartOptions,
};
use temporalio_common::search_attributes::SearchAttributes;
use temporalio_sdk::runtime::worker_tuner::{FixedSizeSlotSupplier, TunerHolder, WorkerTuner};
use temporalio_sdk::runtime::{AutoscalingOptions, PollerBehavior, RuntimeOptions};
use temporalio_sdk::{Runtime, Worker, WorkerOptions};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc::unbounded_channel;
use workflows::attributes;
use workflows::failing::FailingActivity;
use workflows::signal::{DestinationSignal, Signal};

/// The arguments of the process.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Host and port of the Temporal server.
    #[arg(long)]
    temporal: String,
    /// Host and port of the driver, which sends keys and receives the delivered ones.
    #[arg(long)]
    driver: String,
    /// The window in milliseconds.
    #[arg(long)]
    window_ms: i64,
}

/// Works until the driver closes the connection.
pub async fn work(options: Options) {
    let url = format!("http://{}", options.temporal)
        .parse::<temporalio_client::Url>()
        .expect("a URL");
    let connection = ConnectionOptions::new(url)
        .identity("floor".to_owned())
        .build();
    let connection = Connection::connect(connection)
        .await
        .expect("the Temporal server answers");
    let client = Client::new(connection, ClientOptions::new("default").build()).expect("a client");
    // The dispatcher reads an inbox that is always empty. The driver kills this process; the reaper removes the folder.
    let folder = Folder::of_process("floor");
    let database = Database::Sqlite(folder.join("empty.sqlite"));
    let config = Config {
        database,
        key: Key::new([7; 32]),
        clock: api::clock::now,
    };
    let store = Store::open(config).await.expect("a database");
    let dispatch = Dispatch::start(Arc::new(Signals(client.clone())), store);
    let (delivered, mut deliveries) = unbounded_channel();
    let (mut keys, mut write) = driver(&options.driver).await;
    tokio::spawn(async move {
        while let Some(key) = deliveries.recv().await {
            let key: String = key;
            drop(write.write_all(format!("{key}\n").as_bytes()).await);
        }
    });
    // In its own task: the worker's leaves it little time.
    let notifications = tokio::spawn(async move {
        let mut seq = 0;
        while let Ok(Some(line)) = keys.next_line().await {
            seq += 1;
            let Ok(key) = line.parse() else { continue };
            dispatch.notify(key, seq, options.window_ms, None);
        }
    });
    let core = Runtime::from_current_tokio(RuntimeOptions::default()).expect("a runtime");
    let mut worker =
        Worker::new(&core, client, worker_options(Steps { delivered })).expect("a worker");
    tokio::select! {
        _ = notifications => {}
        result = worker.run() => result.expect("the floor works"),
    }
}

fn worker_options(steps: Steps) -> WorkerOptions {
    let slots = || FixedSizeSlotSupplier::new(40);
    let tuner = TunerHolder::builder()
        .workflow_task_slot_supplier(slots())
        .activity_task_slot_supplier(slots())
        .local_activity_task_slot_supplier(slots())
        .nexus_task_slot_supplier(FixedSizeSlotSupplier::new(1))
        .build();
    WorkerOptions::new(QUEUE)
        .register_activities(steps)
        .register_workflow::<Purchase>()
        .expect("a workflow")
        .max_cached_workflows(2000)
        .sticky_queue_schedule_to_start_timeout(Duration::from_secs(2))
        .tuner(WorkerTuner::TunerHolder(tuner))
        .workflow_task_poller_behavior(polls(4, 64))
        .activity_task_poller_behavior(polls(2, 32))
        .build()
}

fn polls(minimum: usize, maximum: usize) -> PollerBehavior {
    let polls = AutoscalingOptions::builder()
        .minimum(minimum)
        .initial(minimum)
        .maximum(maximum);
    PollerBehavior::Autoscaling(polls.build())
}

/// Signals the workflows of the floor.
struct Signals(Client);

impl Engine for Signals {
    fn signal(&self, key: CollapseKey, signal: Signal) -> BoxFuture<'_, Result<(), EngineError>> {
        async move {
            let quiet_ms = match signal {
                Signal::Notified(notified) => notified.quiet.as_millis(),
                _ => 0,
            };
            let known = [attributes::COLLAPSE_KEY.value_set(key.to_string())];
            let options = WorkflowStartOptions::new(QUEUE, workflow_id(key))
                .static_summary("one purchase".to_owned())
                .search_attributes(SearchAttributes::new(known))
                .build();
            let quiet_ms = u64::try_from(quiet_ms).unwrap_or(u64::MAX);
            let (run, notified) = (Purchase::run, Purchase::notified);
            let signalled = self
                .0
                .signal_with_start_workflow(run, (), notified, quiet_ms, options)
                .await;
            signalled
                .map(drop)
                .map_err(|error| EngineError::Unavailable(error.to_string()))
        }
        .boxed()
    }

    fn status(
        &self,
        _key: CollapseKey,
    ) -> BoxFuture<'_, Result<Option<serde_json::Value>, EngineError>> {
        async { Ok(None) }.boxed()
    }

    fn failing(&self, _: String) -> BoxFuture<'_, Result<Vec<FailingActivity>, EngineError>> {
        async { Ok(Vec::new()) }.boxed()
    }

    fn signal_destination(
        &self,
        _id: DestinationId,
        _signal: DestinationSignal,
    ) -> BoxFuture<'_, Result<(), EngineError>> {
        async { Ok(()) }.boxed()
    }

    fn supervise(&self, _id: DestinationId) -> BoxFuture<'_, Result<(), EngineError>> {
        async { Ok(()) }.boxed()
    }

    fn stream(&self, _: DestinationId) {}

    fn verify_claims(&self, _: PlatformId) {}

    fn is_connected(&self) -> bool {
        true
    }
}
