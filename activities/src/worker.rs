//! The workers: poll Temporal for workflow tasks and activities until they are stopped.
//!
//! `deliver`, `supervise`, `stream` and `test` send to destinations, and `verify_claims` takes minutes. They have a
//! separate worker and task queue, so that slow destinations occupy no slots that settling needs.

use crate::dependencies::Context;
use crate::engine::NamespaceTaken;
use futures::FutureExt;
use std::future::Future;
use std::num::NonZero;
use std::ops::RangeInclusive;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::time::Duration;
use temporalio_client::Client;
use temporalio_sdk::runtime::worker_tuner::{FixedSizeSlotSupplier, TunerHolder, WorkerTuner};
use temporalio_sdk::runtime::{AutoscalingOptions, PollerBehavior, RuntimeOptions};
use temporalio_sdk::{Runtime, Worker, WorkerOptions, WorkerRunError};
use tokio::time::Instant;
use workflows::{Claims, Destination, DeviceStream, Purchase, Sweep, contract};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A worker could not be built: a defect of this build.
    #[error("cannot create a worker: {0}")]
    Unbuilt(String),
    /// Another installation has the namespace. The operator must act.
    #[error(transparent)]
    Taken(NamespaceTaken),
}

/// Why the workers ended by themselves.
#[derive(Debug, thiserror::Error)]
enum Breakdown {
    #[error(transparent)]
    Failed(#[from] WorkerRunError),
    /// The thread that runs workflows panicked, which happens on unexpected input.
    #[error("Temporal's SDK panicked, see above")]
    Panicked,
}

/// Time after which workers that ended are restarted. It doubles each time they end early.
const RESTART_DELAY: Duration = Duration::from_secs(1);
const MAX_RESTART_DELAY: Duration = Duration::from_secs(60);

/// Maximum number of concurrent tasks of each kind, in this process.
#[derive(Debug, Clone, Copy)]
pub struct Slots {
    /// Workflow tasks. A task keeps its slot during its local activities.
    pub workflow_tasks: usize,
    /// Local activities, which settle and make the first attempts at prompt destinations.
    pub local_activities: usize,
    /// Activities that send nothing to destinations. Most use only the database; `verify` also queries the store, and
    /// `sweep` also signals Temporal.
    pub activities: usize,
    /// Activities that send to destinations. `delivery::slots` limits how many of them one destination occupies.
    pub deliveries: usize,
}

/// Maximum number of open runs whose state stays in memory, at about 50 KB each. For another run, the next task first
/// reads the history, which costs one more call to Temporal and a tenth more CPU for the purchase.
const CACHED_RUNS: usize = 5_000;
/// Minimum and maximum number of concurrent polls; the minimum is also the initial number. The server suggests more
/// while tasks wait for a poll, and fewer while polls wait for a task; each task costs a poll one round trip to the
/// server. There are equally many polls for the first tasks of runs and for later ones.
const WORKFLOW_POLLS: RangeInclusive<usize> = 4..=64;
/// Minimum and maximum number of polls for regular activities that send nothing to destinations.
const ACTIVITY_POLLS: RangeInclusive<usize> = 2..=32;
const DELIVERY_POLLS: RangeInclusive<usize> = 5..=64;

/// Number of workflow tasks and of local activities per core. 20 local activities of about 10 ms of CPU each finish
/// well within the three seconds allowed to each. Of 20,000 open windows of two minutes, 167 end each second; four
/// cores handle that even if the database and prompt endpoints take half a second.
const SETTLING_PER_CORE: usize = 20;
/// Bounds of that number. The minimum is for machines with few cores, where these also wait for the database and for
/// endpoints.
const SETTLING_BOUNDS: RangeInclusive<usize> = 40..=400;
/// Number of regular activities. They are few, and most of them wait for the store or for Temporal.
const ACTIVITIES: usize = 40;
/// Number of deliveries, which wait for endpoints.
const DELIVERIES: usize = 500;

impl Default for Slots {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let settling = cores
            .saturating_mul(SETTLING_PER_CORE)
            .clamp(*SETTLING_BOUNDS.start(), *SETTLING_BOUNDS.end());
        Self {
            workflow_tasks: settling,
            local_activities: settling,
            activities: ACTIVITIES,
            deliveries: DELIVERIES,
        }
    }
}

/// Runs both workers until `stop` resolves, then finishes their current tasks. Workers that Temporal's SDK ends earlier
/// are restarted.
///
/// Blocks the calling thread. Call it from a dedicated thread outside `runtime`, because the SDK runs all workflows on
/// the calling thread.
///
/// # Errors
/// [`Error::Unbuilt`]: a worker could not be built. [`Error::Taken`]: this installation must not work in the namespace.
pub fn run(
    runtime: &tokio::runtime::Handle,
    context: Context,
    slots: Slots,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Error> {
    runtime.block_on(async move {
        let mut stop = std::pin::pin!(stop);
        let engine = &context.engine;
        let client = tokio::select! {
            client = engine.client() => client,
            taken = engine.taken() => return Err(Error::Taken(taken)),
            () = &mut stop => return Ok(()),
        };
        let Some(client) = client else { return Ok(()) };
        let core = Runtime::from_current_tokio(RuntimeOptions::default()).map_err(|error| unbuilt(&error))?;
        let mut delay = RESTART_DELAY;
        loop {
            let began = Instant::now();
            let generation = Generation { core: &core, client: &client, context: &context, slots };
            let Some(error) = generation.work(stop.as_mut()).await? else { break };
            delay = if began.elapsed() > MAX_RESTART_DELAY * 2 { RESTART_DELAY } else { delay };
            tracing::warn!(error = %chain(&error), seconds = delay.as_secs(), "the workers ended and begin again");
            tokio::select! {
                () = tokio::time::sleep(delay) => delay = MAX_RESTART_DELAY.min(delay * 2),
                () = &mut stop => break,
            }
        }
        context.stopping.store(true, Ordering::Relaxed);
        context.local_attempts.finish().await;
        Ok(())
    })
}

/// Both workers, from their start to their end.
struct Generation<'a> {
    core: &'a Runtime,
    client: &'a Client,
    context: &'a Context,
    slots: Slots,
}

impl Generation<'_> {
    /// Works until `stop` resolves, then finishes the current tasks. Returns why a worker ended earlier, if one did.
    async fn work(
        &self,
        stop: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<Option<Breakdown>, Error> {
        let Self {
            core,
            client,
            context,
            slots,
        } = *self;
        let mut settling = settling(core, client.clone(), context, slots)?;
        let mut delivering = delivering(core, client.clone(), context, slots)?;
        let keys = [
            settling.worker_instance_key(),
            delivering.worker_instance_key(),
        ];
        let (stop_settling, stop_delivering) =
            (settling.shutdown_handle(), delivering.shutdown_handle());
        let stop_both = || {
            stop_settling();
            stop_delivering();
        };
        let stopping = async {
            stop.await;
            // Long activities end early; other workers continue them.
            context.stopping.store(true, Ordering::Relaxed);
            stop_both();
            // Never resolves, so that `select!` below waits until both workers have finished their tasks.
            std::future::pending::<()>().await;
        };
        // If one worker fails, the other ends too, because a process that only settles or only delivers would look
        // healthy.
        let both = async {
            let begun = async {
                fail::fail_point!("worker.after_begin");
                Ok(())
            };
            tokio::try_join!(settling.run(), delivering.run(), begun).map(drop)
        };
        let result = tokio::select! {
            result = AssertUnwindSafe(both).catch_unwind() => match result {
                Ok(result) => result.map_err(Breakdown::Failed),
                Err(_) => Err(Breakdown::Panicked),
            },
            // Tasks of another installation are not finished, since their data would be looked up in the wrong
            // database.
            taken = context.engine.taken() => return Err(Error::Taken(taken)),
            () = stopping => return Ok(None),
        };
        let Some(error) = result
            .err()
            .filter(|_| !context.stopping.load(Ordering::Relaxed))
        else {
            return Ok(None);
        };
        // As if the process had died: a task that such a worker still gets is given to another one after its timeout.
        stop_both();
        for key in keys {
            // The worker's entry in the SDK's list for this client. Removing an entry that is not in the list is
            // harmless.
            drop(client.connection().workers().finalize_unregister(key));
        }
        Ok(Some(error))
    }
}

/// Returns an error with its causes, which the SDK's own text omits.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// Creates the worker for workflows and for all activities except those that send to destinations.
fn settling(
    core: &Runtime,
    client: Client,
    context: &Context,
    slots: Slots,
) -> Result<Worker, Error> {
    let mut options = WorkerOptions::new(contract::TASK_QUEUE)
        .register_activities(Context::clone(context))
        .register_workflow::<Purchase>()
        .and_then(|options| options.register_workflow::<Destination>())
        .and_then(|options| options.register_workflow::<DeviceStream>())
        .and_then(|options| options.register_workflow::<Claims>())
        .and_then(|options| options.register_workflow::<Sweep>())
        .map_err(|error| unbuilt(&error))?
        .max_cached_workflows(CACHED_RUNS)
        .sticky_queue_schedule_to_start_timeout(Duration::from_secs(2))
        .graceful_shutdown_period(Duration::from_secs(5))
        .tuner(tuner(slots))
        .workflow_task_poller_behavior(polls(WORKFLOW_POLLS))
        .activity_task_poller_behavior(polls(ACTIVITY_POLLS))
        .build();
    context.engine.actions().count_in(&mut options);
    Worker::new(core, client, options).map_err(|error| unbuilt(&error))
}

/// Creates the worker for activities that send to destinations. It runs no workflows, so a single slot for workflow
/// tasks is enough.
fn delivering(
    core: &Runtime,
    client: Client,
    context: &Context,
    slots: Slots,
) -> Result<Worker, Error> {
    let mut options = WorkerOptions::new(contract::DELIVER_QUEUE)
        .register_activities(Context::clone(context))
        .graceful_shutdown_period(Duration::from_secs(20))
        .tuner(tuner(Slots {
            workflow_tasks: 1,
            local_activities: 1,
            activities: slots.deliveries,
            ..slots
        }))
        .activity_task_poller_behavior(polls(DELIVERY_POLLS))
        .build();
    context.engine.actions().count_in(&mut options);
    Worker::new(core, client, options).map_err(|error| unbuilt(&error))
}

fn polls(bounds: RangeInclusive<usize>) -> PollerBehavior {
    let (minimum, maximum) = bounds.into_inner();
    let polls = AutoscalingOptions::builder()
        .minimum(minimum)
        .initial(minimum)
        .maximum(maximum);
    PollerBehavior::Autoscaling(polls.build())
}

fn tuner(slots: Slots) -> WorkerTuner {
    WorkerTuner::TunerHolder(
        TunerHolder::builder()
            .workflow_task_slot_supplier(FixedSizeSlotSupplier::new(slots.workflow_tasks))
            .activity_task_slot_supplier(FixedSizeSlotSupplier::new(slots.activities))
            .local_activity_task_slot_supplier(FixedSizeSlotSupplier::new(slots.local_activities))
            .nexus_task_slot_supplier(FixedSizeSlotSupplier::new(1))
            .build(),
    )
}

fn unbuilt(error: &dyn std::fmt::Display) -> Error {
    Error::Unbuilt(error.to_string())
}
