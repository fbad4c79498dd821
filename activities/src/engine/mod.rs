//! The connection to Temporal: starts, signals and queries workflows, and ensures that the search attributes are
//! registered and that this installation's sweep runs.
//!
//! The process starts without waiting for Temporal; until the connection exists, notifications are accepted and stored.
//! `connection` connects; `namespace` determines whether the namespace belongs to this installation; `dev_server` holds
//! the addresses of a server that this process starts; `search_attributes` registers search attributes; `run_signals`
//! decides when to signal a run.

mod connection;
mod dev_server;
mod error;
mod failing;
mod namespace;
mod pending;
mod run_signals;
mod search_attributes;
mod status;
mod stuck;

pub use connection::namespace_of;
pub use dev_server::{Addresses, DevServer};
pub use error::TemporalError;
pub use namespace::NamespaceTaken;
pub use status::Polls;
pub use stuck::Stuck;

use crate::actions::{Action, Actions};
use connection::{FAILURES_BEFORE_WARNING, Server, connect};
use domain::{CollapseKey, DestinationId, OrgId, PlatformId};
use namespace::{Observed, Ownership};
use run_signals::RunSignals;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use temporalio_client::envconfig::LoadClientConfigProfileOptions;
use temporalio_client::tonic::{Code, IntoRequest, Request};
use temporalio_client::{Client, ClientOptions, NamespacedClient};
use temporalio_common::protos::temporal::api::common::v1::{
    Payload, Payloads, WorkflowExecution, WorkflowType,
};
use temporalio_common::protos::temporal::api::enums::v1::{
    TaskQueueKind, WorkflowIdConflictPolicy,
};
use temporalio_common::protos::temporal::api::operatorservice::v1::ListSearchAttributesRequest;
use temporalio_common::protos::temporal::api::sdk::v1::UserMetadata;
use temporalio_common::protos::temporal::api::taskqueue::v1::TaskQueue;
use temporalio_common::protos::temporal::api::workflowservice::v1::{
    SignalWithStartWorkflowExecutionRequest, SignalWorkflowExecutionRequest,
};
use temporalio_common::search_attributes::SearchAttributes;
use tokio::sync::watch;
use workflows::signal::{DestinationSignal, Signal};
use workflows::{attributes, contract, purchase};

const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Time between two attempts to connect, and between two attempts to take the namespace for the first time.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// Time between two checks that this installation's sweep runs and the search attributes exist.
const ENSURE_INTERVAL: Duration = Duration::from_secs(10);

/// The connection to Temporal. Clones share it.
#[derive(Clone)]
pub struct Engine {
    access: watch::Receiver<Access>,
    last_call_succeeded: Arc<AtomicBool>,
    signals: Arc<RunSignals<DestinationId>>,
    streams: Arc<RunSignals<DestinationId>>,
    claims: Arc<RunSignals<PlatformId>>,
    identity: String,
    installation: OrgId,
    actions: Actions,
    server: Server,
    namespace: Arc<str>,
    /// The search attributes that upserts leave out; `None` until they are known.
    left_out: Arc<Mutex<Option<BTreeSet<&'static str>>>>,
}

/// Whether this installation may use the namespace.
#[derive(Clone)]
enum Access {
    Unknown,
    Ours(Client),
    Taken(NamespaceTaken),
}

/// Identity of the process that connects.
struct Process {
    identity: String,
    installation: OrgId,
    actions: Actions,
}

/// A signal to one workflow. If no run is open, Temporal starts one.
struct SignalWithStart {
    workflow_id: String,
    workflow_type: &'static str,
    signal: &'static str,
    payload: serde_json::Value,
    summary: &'static str,
    input: Option<Payloads>,
    attributes: SearchAttributes,
}

impl Engine {
    /// Reads Temporal's standard environment variables and profile file, and connects in the background, retrying
    /// forever. The Temporal UI shows `identity` for this process. `actions` counts the calls that Temporal Cloud
    /// bills.
    ///
    /// # Errors
    /// The settings are invalid; the error names the setting.
    pub fn start(identity: &str, installation: OrgId, actions: Actions) -> Result<Self, String> {
        let (connection, options) =
            ClientOptions::load_from_config(LoadClientConfigProfileOptions::default())
                .map_err(|error| format!("invalid Temporal settings (TEMPORAL_*): {error}"))?;
        let process = Process {
            identity: identity.to_owned(),
            installation,
            actions,
        };
        Ok(Self::connect_in_background(
            process,
            Server::External(Box::new(connection)),
            options,
        ))
    }

    /// Connects in the background to a dev server that the caller starts with the namespace of [`namespace_of`].
    /// Ignores the environment.
    pub fn start_at(
        identity: &str,
        installation: OrgId,
        actions: Actions,
        dev_server: DevServer,
    ) -> Self {
        let options = ClientOptions::new(namespace_of(installation)).build();
        let process = Process {
            identity: identity.to_owned(),
            installation,
            actions,
        };
        Self::connect_in_background(process, Server::Own(dev_server), options)
    }

    fn connect_in_background(process: Process, server: Server, options: ClientOptions) -> Self {
        let (publish, access) = watch::channel(Access::Unknown);
        let engine = Self {
            access,
            last_call_succeeded: Arc::default(),
            signals: Arc::new(RunSignals::new(run_signals::SIGNAL_INTERVAL)),
            streams: Arc::new(RunSignals::new(run_signals::STREAM_INTERVAL)),
            claims: Arc::new(RunSignals::new(run_signals::CLAIMS_INTERVAL)),
            identity: process.identity,
            installation: process.installation,
            actions: process.actions,
            server,
            namespace: options.namespace.as_str().into(),
            left_out: Arc::default(),
        };
        engine.call_in_background(engine.signals.clone(), |engine, id| async move {
            engine.destination(id, DestinationSignal::Pending).await
        });
        engine.call_in_background(engine.streams.clone(), |engine, id| async move {
            engine.signal_stream(id).await
        });
        engine.call_in_background(engine.claims.clone(), |engine, id| async move {
            engine.signal_claims(id).await
        });
        tokio::spawn(engine.clone().keep(options, publish));
        engine
    }

    /// Makes the pending calls as soon as there is a connection, so that calls requested while the process starts do
    /// not wait for the retry of a failed one.
    fn call_in_background<K, C>(
        &self,
        signals: Arc<RunSignals<K>>,
        call: impl Fn(Self, K) -> C + Send + 'static,
    ) where
        K: Copy + Ord + Display + Send + Sync + 'static,
        C: Future<Output = Result<(), TemporalError>> + Send + 'static,
    {
        let engine = self.clone();
        tokio::spawn(async move {
            drop(engine.client().await);
            run_signals::run(signals, move |id| call(engine.clone(), id)).await;
        });
    }

    /// Connects, then checks and restores everything that must exist in Temporal every [`ENSURE_INTERVAL`].
    async fn keep(self, options: ClientOptions, publish: watch::Sender<Access>) {
        let client = connect(&self.identity, &self.server, options).await;
        let (mut observed, mut failures) = (Observed::default(), 0_u32);
        loop {
            let ensured = self.ensure(&client, &mut observed, failures).await;
            self.last_call_succeeded
                .store(matches!(ensured, Ok(Ownership::Ours)), Ordering::Relaxed);
            let is_starting = matches!(*publish.borrow(), Access::Unknown);
            failures = if ensured.is_ok() {
                0
            } else {
                failures.saturating_add(1)
            };
            match ensured {
                Ok(Ownership::Ours) => _ = publish.send_if_modified(|access| access.give(&client)),
                Ok(Ownership::Pending) => {}
                Ok(Ownership::Taken(taken)) => {
                    _ = publish.send_if_modified(|access| access.take(taken))
                }
                // A server that was just started needs a few attempts. A single failure may be a call that was
                // interrupted, for example because the process stops.
                Err(error)
                    if (!is_starting && failures == 2)
                        || failures.is_multiple_of(FAILURES_BEFORE_WARNING) =>
                {
                    tracing::warn!(error = %error, "the sweep or the search attributes could not be ensured");
                }
                Err(_) => {}
            }
            // After an outage the server may be empty, so this process retries at once, to take the namespace before
            // any other installation.
            let is_urgent = failures > 0 || matches!(*publish.borrow(), Access::Unknown);
            let interval = if is_urgent {
                RETRY_INTERVAL
            } else {
                ENSURE_INTERVAL
            };
            tokio::select! {
                () = tokio::time::sleep(interval) => {}
                () = publish.closed() => return,
            }
        }
    }

    /// Returns the meter of this process's actions.
    pub fn actions(&self) -> &Actions {
        &self.actions
    }

    /// Returns host and port of the server, in the form that Temporal's command-line tool accepts.
    pub fn address(&self) -> String {
        self.server.address()
    }

    /// Returns the namespace that contains the workflows.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Whether Temporal answered the last periodic call, made every 10 s; false before the first.
    pub fn connected(&self) -> bool {
        self.last_call_succeeded.load(Ordering::Relaxed)
    }

    /// Waits until this installation has the namespace, and returns the client. Returns `None` if the task that
    /// connects has ended.
    pub async fn client(&self) -> Option<Client> {
        let mut access = self.access.clone();
        match &*access
            .wait_for(|access| matches!(access, Access::Ours(_)))
            .await
            .ok()?
        {
            Access::Ours(client) => Some(client.clone()),
            Access::Unknown | Access::Taken(_) => None,
        }
    }

    /// Waits until another installation has the namespace. A process that takes work from Temporal must then stop.
    pub async fn taken(&self) -> NamespaceTaken {
        self.first_taken(|access| matches!(access, Access::Taken(_)))
            .await
    }

    /// Waits until the owner of the namespace is known, and returns only if it is another installation. A process that
    /// only sends signals can continue if the owner changes later: its signals wait.
    pub async fn taken_at_start(&self) -> NamespaceTaken {
        self.first_taken(|access| !matches!(access, Access::Unknown))
            .await
    }

    async fn first_taken(&self, is_wanted: impl FnMut(&Access) -> bool) -> NamespaceTaken {
        let mut access = self.access.clone();
        if let Ok(found) = access.wait_for(is_wanted).await
            && let Access::Taken(taken) = &*found
        {
            return taken.clone();
        }
        std::future::pending().await
    }

    /// Returns the client, if this installation has the namespace.
    fn now(&self) -> Result<Client, TemporalError> {
        match &*self.access.borrow() {
            Access::Unknown => Err(TemporalError::Unavailable("not connected yet".to_owned())),
            Access::Ours(client) => Ok(client.clone()),
            Access::Taken(taken) => Err(TemporalError::Unavailable(taken.to_string())),
        }
    }

    /// Calls Temporal once.
    ///
    /// # Errors
    /// Temporal does not answer: see [`TemporalError`].
    pub async fn ping(&self) -> Result<(), TemporalError> {
        let client = self.now()?;
        let request = timed(ListSearchAttributesRequest {
            namespace: client.namespace(),
        });
        client
            .connection()
            .operator_service()
            .list_search_attributes(request)
            .await?;
        Ok(())
    }

    /// Signals the purchase's run, and starts it if there is none.
    ///
    /// # Errors
    /// See [`TemporalError`]. After `Unavailable`, the signal may or may not have arrived; repeating it is harmless.
    pub async fn signal(&self, key: CollapseKey, signal: Signal) -> Result<(), TemporalError> {
        let left_out: Vec<String> = self
            .left_out()
            .into_iter()
            .flatten()
            .map(str::to_owned)
            .collect();
        let mut known = vec![attributes::COLLAPSE_KEY.value_set(key.to_string())];
        known.retain(|update| !left_out.iter().any(|name| name == update.name()));
        let start = purchase::Start {
            carried: None,
            left_out,
        };
        let input = (!start.left_out.is_empty()).then(|| serde_json::json!(start));
        let message = SignalWithStart {
            workflow_id: contract::workflow_id(key),
            workflow_type: contract::PURCHASE,
            signal: signal.name(),
            payload: signal.payload(),
            summary: "one purchase",
            input: input.map(|input| Payloads {
                payloads: vec![json(&input)],
            }),
            attributes: SearchAttributes::new(known),
        };
        self.signal_with_start(message).await
    }

    /// Signals the purchase's run if one is open; otherwise, does nothing.
    ///
    /// # Errors
    /// The errors of [`Self::signal`].
    pub async fn signal_open(&self, key: CollapseKey, signal: Signal) -> Result<(), TemporalError> {
        let client = self.now()?;
        let request = SignalWorkflowExecutionRequest {
            namespace: client.namespace(),
            workflow_execution: Some(execution(contract::workflow_id(key))),
            signal_name: signal.name().to_owned(),
            input: Some(Payloads {
                payloads: vec![json(&signal.payload())],
            }),
            identity: self.identity.clone(),
            ..Default::default()
        };
        match client
            .connection()
            .workflow_service()
            .signal_workflow_execution(timed(request))
            .await
        {
            Err(status) if status.code() == Code::NotFound => Ok(()),
            Err(status) => Err(status.into()),
            Ok(_) => {
                self.actions.count(contract::PURCHASE, Action::Signal);
                Ok(())
            }
        }
    }

    /// Signals the destination's run, and starts it if there is none.
    ///
    /// # Errors
    /// The errors of [`Self::signal`].
    pub async fn destination(
        &self,
        id: DestinationId,
        signal: DestinationSignal,
    ) -> Result<(), TemporalError> {
        let message = SignalWithStart {
            workflow_id: contract::destination_workflow_id(id),
            workflow_type: contract::DESTINATION,
            signal: signal.name(),
            payload: signal.payload(),
            summary: "what is pending for one destination",
            input: None,
            attributes: SearchAttributes::default(),
        };
        self.signal_with_start(message).await
    }

    /// Schedules a signal to the destination's run that events are pending. It is sent in the background, at most once
    /// per second and destination, and repeated while Temporal is unavailable.
    pub fn supervise(&self, id: DestinationId) {
        self.signals.mark_pending(id);
    }

    async fn signal_with_start(&self, message: SignalWithStart) -> Result<(), TemporalError> {
        let client = self.now()?;
        let request = SignalWithStartWorkflowExecutionRequest {
            namespace: client.namespace(),
            workflow_id: message.workflow_id,
            workflow_type: Some(WorkflowType {
                name: message.workflow_type.to_owned(),
            }),
            task_queue: Some(queue()),
            input: message.input,
            signal_name: message.signal.to_owned(),
            signal_input: Some(Payloads {
                payloads: vec![json(&message.payload)],
            }),
            identity: self.identity.clone(),
            user_metadata: Some(summary(message.summary)),
            search_attributes: Some(message.attributes.to_proto()),
            ..Default::default()
        };
        client
            .connection()
            .workflow_service()
            .signal_with_start_workflow_execution(timed(request))
            .await?;
        self.actions.count(message.workflow_type, Action::Signal);
        Ok(())
    }

    /// Ensures that the search attributes are registered and that this installation's sweep runs. Both are lost if
    /// Temporal's database is deleted, and an operator can terminate the sweep by hand. In another installation's
    /// namespace, nothing is registered.
    ///
    /// Search attributes only help people to find runs. If they cannot be registered after [`FAILURES_BEFORE_WARNING`]
    /// failures, they are left out until they can.
    async fn ensure(
        &self,
        client: &Client,
        observed: &mut Observed,
        failures: u32,
    ) -> Result<Ownership, TemporalError> {
        let ownership = self.take_namespace(client, observed).await?;
        if matches!(ownership, Ownership::Ours)
            && let Err(error) = self.register(client).await
        {
            if self.left_out().is_none() && failures < FAILURES_BEFORE_WARNING {
                return Err(error);
            }
            tracing::warn!(error = %error, "the search attributes could not be registered; tried again soon");
            self.leave_out_unknown();
        }
        Ok(ownership)
    }

    /// Terminates the run of the sweep, whatever blocks it, and starts another one.
    ///
    /// # Errors
    /// See [`TemporalError`].
    pub async fn restart_sweep(&self) -> Result<(), TemporalError> {
        self.start_sweep(&self.now()?, WorkflowIdConflictPolicy::TerminateExisting)
            .await
    }
}

impl Access {
    /// Records that the namespace belongs to this installation. Returns whether that is new.
    fn give(&mut self, client: &Client) -> bool {
        let is_new = !matches!(self, Self::Ours(_));
        if is_new {
            *self = Self::Ours(client.clone());
        }
        is_new
    }

    /// Records that the namespace belongs to another installation. Returns whether that is new.
    fn take(&mut self, taken: NamespaceTaken) -> bool {
        let is_new = !matches!(self, Self::Taken(before) if *before == taken);
        if is_new {
            tracing::error!(reason = %taken, "this installation must not use its Temporal namespace");
            *self = Self::Taken(taken);
        }
        is_new
    }
}

fn timed<T>(message: T) -> Request<T>
where
    T: IntoRequest<T>,
{
    let mut request = message.into_request();
    request.set_timeout(CALL_TIMEOUT);
    request
}

/// Identifies the newest run of a workflow.
fn execution(workflow_id: String) -> WorkflowExecution {
    WorkflowExecution {
        workflow_id,
        run_id: String::new(),
    }
}

fn queue() -> TaskQueue {
    TaskQueue {
        name: contract::TASK_QUEUE.to_owned(),
        kind: TaskQueueKind::Normal as i32,
        ..Default::default()
    }
}

fn summary(text: &str) -> UserMetadata {
    UserMetadata {
        summary: Some(json(&text.into())),
        details: None,
    }
}

fn json(value: &serde_json::Value) -> Payload {
    Payload {
        metadata: [("encoding".to_owned(), b"json/plain".to_vec())].into(),
        data: value.to_string().into_bytes(),
        ..Default::default()
    }
}
