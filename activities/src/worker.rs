//! The worker: polls Temporal for workflow tasks and activities until it is stopped.
//!
//! `deliver` and `supervise` have a separate worker on a separate queue, so that hanging destinations take no slot
//! from settling.

use crate::dependencies::Context;
use std::future::Future;
use std::sync::atomic::Ordering;
use std::time::Duration;
use temporalio_client::Client;
use temporalio_sdk::runtime::worker_tuner::{FixedSizeSlotSupplier, TunerHolder, WorkerTuner};
use temporalio_sdk::runtime::{PollerBehavior, RuntimeOptions};
use temporalio_sdk::{Runtime, Worker, WorkerOptions};
use workflows::{Destination, Purchase, Sweep, contract};

/// Why the worker ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It could not be built, or Temporal refused it for good. The operator must act.
    #[error("the worker stopped: {0}")]
    Stopped(String),
}

/// Maximum number of concurrent tasks.
#[derive(Debug, Clone, Copy)]
pub struct Slots {
    /// Workflow tasks.
    pub workflow_tasks: usize,
    /// Activities that only touch storage.
    pub activities: usize,
    /// Lanes and supervisions of destinations; one destination takes a part of them, see `share`.
    pub deliveries: usize,
}

impl Default for Slots {
    fn default() -> Self {
        Self { workflow_tasks: 40, activities: 40, deliveries: 500 }
    }
}

/// Runs until `stop` resolves, then finishes its current tasks.
///
/// Blocks its thread: workflows of a worker share one thread, which must not be one of the runtime's.
///
/// # Errors
/// See [`Error`].
pub fn run(
    runtime: &tokio::runtime::Handle,
    context: Context,
    slots: Slots,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Error> {
    runtime.block_on(async move {
        let mut stop = std::pin::pin!(stop);
        let engine = context.engine.clone();
        let client = tokio::select! {
            client = engine.client() => client,
            () = &mut stop => return Ok(()),
        };
        let Some(client) = client else { return Ok(()) };
        let core = Runtime::from_current_tokio(RuntimeOptions::default()).map_err(|error| stopped(&error))?;
        let mut settling = settling(&core, client.clone(), &context, slots)?;
        let mut delivering = delivering(&core, client, &context, slots)?;
        let (stop_settling, stop_delivering) = (settling.shutdown_handle(), delivering.shutdown_handle());
        let stopping = async move {
            stop.await;
            // Long activities end early and go on in another worker.
            context.stopping.store(true, Ordering::Relaxed);
            stop_settling();
            stop_delivering();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            // When one worker ends for good, so does the other: half a process would go unnoticed.
            result = async { tokio::try_join!(settling.run(), delivering.run()) } => {
                result.map(drop).map_err(|error| stopped(&error))
            }
            () = stopping => Ok(()),
        }
    })
}

fn settling(core: &Runtime, client: Client, context: &Context, slots: Slots) -> Result<Worker, Error> {
    let options = WorkerOptions::new(contract::TASK_QUEUE)
        .register_activities(Context::clone(context))
        .register_workflow::<Purchase>()
        .and_then(|options| options.register_workflow::<Destination>())
        .and_then(|options| options.register_workflow::<Sweep>())
        .map_err(|error| stopped(&error))?
        .max_cached_workflows(2000)
        .sticky_queue_schedule_to_start_timeout(Duration::from_secs(2))
        .graceful_shutdown_period(Duration::from_secs(5))
        .tuner(tuner(slots.workflow_tasks, slots.activities))
        .workflow_task_poller_behavior(PollerBehavior::SimpleMaximum(5))
        .activity_task_poller_behavior(PollerBehavior::SimpleMaximum(2))
        .build();
    Worker::new(core, client, options).map_err(|error| stopped(&error))
}

fn delivering(core: &Runtime, client: Client, context: &Context, slots: Slots) -> Result<Worker, Error> {
    let options = WorkerOptions::new(contract::DELIVER_QUEUE)
        .register_activities(Context::clone(context))
        .graceful_shutdown_period(Duration::from_secs(20))
        .tuner(tuner(1, slots.deliveries))
        .activity_task_poller_behavior(PollerBehavior::SimpleMaximum(5))
        .build();
    Worker::new(core, client, options).map_err(|error| stopped(&error))
}

fn tuner(workflow_tasks: usize, activities: usize) -> WorkerTuner {
    WorkerTuner::TunerHolder(
        TunerHolder::builder()
            .workflow_task_slot_supplier(FixedSizeSlotSupplier::new(workflow_tasks))
            .activity_task_slot_supplier(FixedSizeSlotSupplier::new(activities))
            .local_activity_task_slot_supplier(FixedSizeSlotSupplier::new(activities))
            .nexus_task_slot_supplier(FixedSizeSlotSupplier::new(1))
            .build(),
    )
}

fn stopped(error: &dyn std::fmt::Display) -> Error {
    Error::Stopped(error.to_string())
}
