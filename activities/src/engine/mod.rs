//! The connection to Temporal: starts, signals and queries workflows, and ensures that the search attributes are
//! registered and that the sweep runs.
//!
//! The process starts without waiting for Temporal: meanwhile notifications are accepted and stored.
//! `destination_signals` decides when to signal a destination's run.

mod destination_signals;
mod stuck;

use destination_signals::DestinationSignals;
use domain::{CollapseKey, DestinationId};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use temporalio_client::envconfig::LoadClientConfigProfileOptions;
use temporalio_client::errors::ClientConnectError;
use temporalio_client::tonic::{Code, IntoRequest, Request, Status};
use temporalio_client::{Client, ClientOptions, Connection, ConnectionOptions, NamespacedClient, RetryOptions, Url};
use temporalio_common::protos::temporal::api::common::v1::{Payload, Payloads, WorkflowExecution, WorkflowType};
use temporalio_common::protos::temporal::api::enums::v1::{
    QueryRejectCondition, TaskQueueKind, WorkflowIdConflictPolicy,
};
use temporalio_common::protos::temporal::api::operatorservice::v1::{
    AddSearchAttributesRequest, ListSearchAttributesRequest,
};
use temporalio_common::protos::temporal::api::query::v1::WorkflowQuery;
use temporalio_common::protos::temporal::api::sdk::v1::UserMetadata;
use temporalio_common::protos::temporal::api::taskqueue::v1::TaskQueue;
use temporalio_common::protos::temporal::api::workflowservice::v1::{
    QueryWorkflowRequest, SignalWithStartWorkflowExecutionRequest, SignalWorkflowExecutionRequest,
    StartWorkflowExecutionRequest,
};
use temporalio_common::search_attributes::SearchAttributes;
use tokio::sync::watch;
use workflows::signal::{DestinationSignal, Signal};
use workflows::{attributes, contract};

/// Time limit of one call.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Time between two attempts to connect.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// Number of failed attempts to connect before a warning: a server that starts at the same time needs some seconds.
const FAILURES_BEFORE_WARNING: u32 = 8;
/// Time between two checks that the sweep runs and the search attributes exist.
const ENSURE_INTERVAL: Duration = Duration::from_secs(10);

/// Why Temporal did not accept a request.
#[derive(Debug, thiserror::Error)]
pub enum TemporalError {
    /// Temporal cannot be reached, is overloaded or shuts down. Try again.
    #[error("Temporal is not available at the moment: {0}")]
    Unavailable(String),
    /// Temporal will never accept this request.
    #[error("Temporal refused it: {0}")]
    Rejected(String),
}

impl From<Status> for TemporalError {
    fn from(status: Status) -> Self {
        match status.code() {
            // Temporal rejects an unregistered search attribute as an invalid argument. That is temporary: `ensure`
            // registers it. The missing first letter matches both capital and small.
            Code::InvalidArgument if !status.message().contains("earch attribute") => {
                Self::Rejected(status.message().to_owned())
            }
            _ => Self::Unavailable(format!("{:?}: {}", status.code(), status.message())),
        }
    }
}

/// The connection to Temporal. Clones share it.
#[derive(Clone)]
pub struct Engine {
    client: watch::Receiver<Option<Client>>,
    last_call_succeeded: Arc<AtomicBool>,
    signals: Arc<DestinationSignals>,
    identity: String,
    address: Arc<str>,
}

/// Who runs the Temporal server. An external one that does not answer causes a warning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Server {
    /// Somebody else: it should run already.
    External,
    /// The caller, who may still be downloading or starting it.
    Embedded,
}

/// A signal to one workflow. If no run is open, Temporal starts one.
struct SignalWithStart {
    workflow_id: String,
    workflow_type: &'static str,
    signal: &'static str,
    payload: serde_json::Value,
    summary: &'static str,
    attributes: SearchAttributes,
}

impl Engine {
    /// Reads Temporal's standard environment variables and profile file, and connects in the background, retrying
    /// for ever. The Temporal UI shows `identity` for this process.
    ///
    /// # Errors
    /// When those settings are wrong, with the setting's name.
    pub fn start(identity: &str) -> Result<Self, String> {
        let (connection, options) = ClientOptions::load_from_config(LoadClientConfigProfileOptions::default())
            .map_err(|error| format!("Temporal's settings (TEMPORAL_*): {error}"))?;
        Ok(Self::connect_in_background(identity, connection, options, Server::External))
    }

    /// Connects in the background to the server at `address`, which the caller starts. Ignores the environment.
    ///
    /// # Errors
    /// When `address` is not a URL.
    pub fn start_at(identity: &str, address: &str) -> Result<Self, String> {
        let url: Url = address.parse().map_err(|error| format!("Temporal's address `{address}`: {error}"))?;
        let options = ClientOptions::new("default").build();
        Ok(Self::connect_in_background(identity, ConnectionOptions::new(url).build(), options, Server::Embedded))
    }

    fn connect_in_background(
        identity: &str,
        mut connection: ConnectionOptions,
        options: ClientOptions,
        server: Server,
    ) -> Self {
        identity.clone_into(&mut connection.identity);
        connection.retry_options = RetryOptions::no_retries();
        let (publish, client) = watch::channel(None);
        let signals = Arc::new(DestinationSignals::new());
        let address = host_and_port(&connection.target).into();
        let engine =
            Self { client, last_call_succeeded: Arc::default(), signals, identity: identity.to_owned(), address };
        tokio::spawn(destination_signals::run(engine.clone()));
        let keeper = engine.clone();
        tokio::spawn(async move {
            let client = connect(connection, options, server).await;
            publish.send_replace(Some(client));
            loop {
                let ensured = keeper.ensure().await;
                keeper.last_call_succeeded.store(ensured.is_ok(), Ordering::Relaxed);
                if let Err(error) = ensured {
                    tracing::warn!(error = %error, "the sweep or the search attributes could not be ensured");
                }
                tokio::select! {
                    () = tokio::time::sleep(ENSURE_INTERVAL) => {}
                    () = publish.closed() => return,
                }
            }
        });
        engine
    }

    /// Host and port of the server, in the form that Temporal's command-line tool takes.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Whether Temporal answered the last periodic call. There is one every 10 s; false before the first.
    #[must_use]
    pub fn connected(&self) -> bool {
        self.last_call_succeeded.load(Ordering::Relaxed)
    }

    /// Waits until the connection exists, and returns the client. `None`: the task that connects has ended.
    pub async fn client(&self) -> Option<Client> {
        self.client.clone().wait_for(Option::is_some).await.ok()?.clone()
    }

    /// The client, if the connection exists already.
    fn now(&self) -> Result<Client, TemporalError> {
        self.client.borrow().clone().ok_or_else(|| TemporalError::Unavailable("not connected yet".to_owned()))
    }

    /// Calls Temporal once.
    ///
    /// # Errors
    /// Temporal does not answer: see [`TemporalError`].
    pub async fn ping(&self) -> Result<(), TemporalError> {
        let client = self.now()?;
        let request = timed(ListSearchAttributesRequest { namespace: client.namespace() });
        client.connection().operator_service().list_search_attributes(request).await?;
        Ok(())
    }

    /// Signals the purchase's run, starting it if there is none.
    ///
    /// # Errors
    /// See [`TemporalError`]. After `Unavailable` the signal may or may not have arrived; repeating it is harmless.
    pub async fn signal(&self, key: CollapseKey, signal: Signal) -> Result<(), TemporalError> {
        let known = [attributes::COLLAPSE_KEY.value_set(key.to_string())];
        let message = SignalWithStart {
            workflow_id: contract::workflow_id(key),
            workflow_type: contract::PURCHASE,
            signal: signal.name(),
            payload: signal.payload(),
            summary: "one purchase",
            attributes: SearchAttributes::new(known),
        };
        self.signal_with_start(message).await
    }

    /// Signals the purchase's run if one is open. Without an open run, does nothing.
    ///
    /// # Errors
    /// As of [`Self::signal`].
    pub async fn signal_open(&self, key: CollapseKey, signal: Signal) -> Result<(), TemporalError> {
        let client = self.now()?;
        let request = SignalWorkflowExecutionRequest {
            namespace: client.namespace(),
            workflow_execution: Some(execution(contract::workflow_id(key))),
            signal_name: signal.name().to_owned(),
            input: Some(Payloads { payloads: vec![json(&signal.payload())] }),
            identity: self.identity.clone(),
            ..Default::default()
        };
        match client.connection().workflow_service().signal_workflow_execution(timed(request)).await {
            Err(status) if status.code() != Code::NotFound => Err(status.into()),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Signals the destination's run, starting it if there is none.
    ///
    /// # Errors
    /// As of [`Self::signal`].
    pub async fn destination(&self, id: DestinationId, signal: DestinationSignal) -> Result<(), TemporalError> {
        let message = SignalWithStart {
            workflow_id: contract::destination_workflow_id(id),
            workflow_type: contract::DESTINATION,
            signal: signal.name(),
            payload: signal.payload(),
            summary: "what one destination is owed",
            attributes: SearchAttributes::default(),
        };
        self.signal_with_start(message).await
    }

    /// Schedules a signal to the destination's run that events are owed. The signal is sent in the background, at most
    /// once a second per destination, and repeated while Temporal is unavailable.
    pub fn supervise(&self, id: DestinationId) {
        self.signals.mark_owed(id);
    }

    async fn signal_with_start(&self, message: SignalWithStart) -> Result<(), TemporalError> {
        let client = self.now()?;
        let request = SignalWithStartWorkflowExecutionRequest {
            namespace: client.namespace(),
            workflow_id: message.workflow_id,
            workflow_type: Some(WorkflowType { name: message.workflow_type.to_owned() }),
            task_queue: Some(queue()),
            signal_name: message.signal.to_owned(),
            signal_input: Some(Payloads { payloads: vec![json(&message.payload)] }),
            identity: self.identity.clone(),
            user_metadata: Some(summary(message.summary)),
            search_attributes: Some(message.attributes.to_proto()),
            ..Default::default()
        };
        client.connection().workflow_service().signal_with_start_workflow_execution(timed(request)).await?;
        Ok(())
    }

    /// The open run's answer to the query `status`; `None` when no run is open.
    ///
    /// # Errors
    /// See [`TemporalError`].
    pub async fn status(&self, key: CollapseKey) -> Result<Option<serde_json::Value>, TemporalError> {
        let client = self.now()?;
        let request = QueryWorkflowRequest {
            namespace: client.namespace(),
            execution: Some(execution(contract::workflow_id(key))),
            query: Some(WorkflowQuery { query_type: contract::STATUS.to_owned(), ..Default::default() }),
            query_reject_condition: QueryRejectCondition::NotOpen as i32,
        };
        let answer = match client.connection().workflow_service().query_workflow(timed(request)).await {
            Ok(answer) => answer.into_inner(),
            Err(status) if status.code() == Code::NotFound => return Ok(None),
            Err(status) => return Err(status.into()),
        };
        let payload = answer.query_result.and_then(|result| result.payloads.into_iter().next());
        Ok(payload.and_then(|payload| serde_json::from_slice(&payload.data).ok()))
    }

    /// Ensures that the search attributes are registered and that the sweep runs. Both are lost when Temporal's
    /// database is deleted, and an operator can terminate the sweep by hand.
    async fn ensure(&self) -> Result<(), TemporalError> {
        let client = self.now()?;
        self.register(&client).await?;
        self.start_sweep(&client, WorkflowIdConflictPolicy::UseExisting).await
    }

    /// Terminates the run of the sweep, whatever holds it up, and starts another.
    ///
    /// # Errors
    /// See [`TemporalError`].
    pub async fn restart_sweep(&self) -> Result<(), TemporalError> {
        self.start_sweep(&self.now()?, WorkflowIdConflictPolicy::TerminateExisting).await
    }

    async fn start_sweep(&self, client: &Client, existing: WorkflowIdConflictPolicy) -> Result<(), TemporalError> {
        let request = StartWorkflowExecutionRequest {
            namespace: client.namespace(),
            workflow_id: contract::SWEEP.to_owned(),
            workflow_type: Some(WorkflowType { name: contract::SWEEP.to_owned() }),
            task_queue: Some(queue()),
            identity: self.identity.clone(),
            // No request id: for a repeated one the server would return the run that it started first, even if that run
            // has completed.
            workflow_id_conflict_policy: existing as i32,
            user_metadata: Some(summary("finds what is overdue and wakes it")),
            ..Default::default()
        };
        client.connection().workflow_service().start_workflow_execution(timed(request)).await?;
        Ok(())
    }

    /// Registers the missing search attributes.
    async fn register(&self, client: &Client) -> Result<(), TemporalError> {
        let mut operator = client.connection().operator_service();
        let list = timed(ListSearchAttributesRequest { namespace: client.namespace() });
        let known = match operator.list_search_attributes(list).await {
            Ok(known) => known.into_inner().custom_attributes,
            // Temporal Cloud refuses this call: its operator registers the attributes, see
            // `api/src/commands/README.md`.
            Err(status) if matches!(status.code(), Code::PermissionDenied | Code::Unimplemented) => {
                tracing::warn!("search attributes cannot be registered: api/src/commands/README.md names them");
                return Ok(());
            }
            Err(status) => return Err(status.into()),
        };
        let wanted = attributes::all();
        for (name, kind) in wanted {
            if known.get(name).is_some_and(|have| *have != kind as i32) {
                tracing::error!(attribute = name, "a search attribute exists with another type; remove it");
            }
        }
        let missing = wanted.into_iter().filter(|(name, _)| !known.contains_key(*name));
        let search_attributes: std::collections::HashMap<String, i32> =
            missing.map(|(name, kind)| (name.to_owned(), kind as i32)).collect();
        if search_attributes.is_empty() {
            return Ok(());
        }
        let add = AddSearchAttributesRequest { search_attributes, namespace: client.namespace() };
        operator.add_search_attributes(timed(add)).await?;
        Ok(())
    }
}

async fn connect(connection: ConnectionOptions, options: ClientOptions, server: Server) -> Client {
    let mut failures = 0_u32;
    loop {
        // Without the time-out, `connect` would wait for ever for a server that accepts the connection and sends
        // nothing.
        let attempt = tokio::time::timeout(CALL_TIMEOUT, Connection::connect(connection.clone())).await;
        let why = match attempt {
            Ok(Ok(connected)) => match Client::new(connected, options.clone()) {
                Ok(client) => return client,
                Err(error) => error.to_string(),
            },
            Ok(Err(error)) => cause(&error),
            Err(_) => "it accepts connections and does not answer".to_owned(),
        };
        failures = failures.saturating_add(1);
        if failures == FAILURES_BEFORE_WARNING && server == Server::External {
            tracing::warn!(
                address = host_and_port(&connection.target),
                reason = why,
                "no Temporal server answers at this address, which TEMPORAL_ADDRESS or Temporal's profile file names; \
                 retrying; notifications are accepted meanwhile"
            );
        }
        tokio::time::sleep(RETRY_INTERVAL).await;
    }
}

fn host_and_port(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port_or_known_default().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// The innermost cause of a failure: the part that an operator can act on.
fn cause(error: &ClientConnectError) -> String {
    if let ClientConnectError::SystemInfoCallError(status) = error {
        return format!("something answers that is no Temporal server ({})", status.message());
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

fn timed<T>(message: T) -> Request<T>
where
    T: IntoRequest<T>,
{
    let mut request = message.into_request();
    request.set_timeout(CALL_TIMEOUT);
    request
}

/// The newest run of a workflow.
fn execution(workflow_id: String) -> WorkflowExecution {
    WorkflowExecution { workflow_id, run_id: String::new() }
}

fn queue() -> TaskQueue {
    TaskQueue { name: contract::TASK_QUEUE.to_owned(), kind: TaskQueueKind::Normal as i32, ..Default::default() }
}

fn summary(text: &str) -> UserMetadata {
    UserMetadata { summary: Some(json(&text.into())), details: None }
}

fn json(value: &serde_json::Value) -> Payload {
    Payload {
        metadata: [("encoding".to_owned(), b"json/plain".to_vec())].into(),
        data: value.to_string().into_bytes(),
        ..Default::default()
    }
}
