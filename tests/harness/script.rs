//! An operator's actions in a shell: the `temporal` command, the documented lines, and signals.

use super::documents;
use super::temporal::{Temporal, cli};
use super::wait;
use super::world::{SOON, World};
use reqwest::Method;
use serde_json::{Value, json};
use std::process::{Output, Stdio};
use temporalio_client::tonic::IntoRequest;
use temporalio_common::protos::temporal::api::common::v1::{Payload, Payloads, WorkflowExecution};
use temporalio_common::protos::temporal::api::workflowservice::v1::SignalWorkflowExecutionRequest;
use tokio::process::Command;

/// The server's errors when other requests hold the workflow until the time limit, or when the run is just completing:
/// nothing was done, and the line can be repeated.
const BUSY: [&str; 2] = ["Workflow is busy.", "because workflow is closing"];

impl World {
    /// Requests an action on a purchase: `flush`, `hold`, `release` or `discard`.
    ///
    /// # Panics
    /// When the answer is not 202.
    pub async fn act(&self, receipt_id: &str, action: &str, body: &Value) {
        self.request(
            &format!("/v1/purchases/{}/{action}", self.key(receipt_id)),
            body,
        )
        .await;
    }

    /// Resends the latest state of a purchase and its failed deliveries now.
    ///
    /// # Panics
    /// When the answer is not 200.
    pub async fn resend(&self, receipt_id: &str) {
        let key = self.key(receipt_id).to_string();
        let body = json!({ "collapse_key": key, "failed": true, "now": true, "reason": "a test" });
        drop(self.api.post("/v1/resends", &body).await.ok());
    }

    /// Runs the documented line that sends a signal to a purchase.
    ///
    /// # Panics
    /// When no such line is documented, or it fails.
    pub async fn signal_by_script(&self, receipt_id: &str, signal: &str) {
        let part = format!("--signal-name {signal} ");
        let mut lines = documents::operators_lines().into_iter();
        let line = lines
            .find(|line| line.contains("COLLAPSE_KEY") && line.contains(&part))
            .expect("a documented line");
        self.temporal
            .run_line(&line.replace("COLLAPSE_KEY", &self.key(receipt_id).to_string()))
            .await;
    }

    /// Cancels the run of a purchase in Temporal, as an operator would.
    ///
    /// # Panics
    /// When the purchase has no open run.
    pub async fn cancel(&self, receipt_id: &str) {
        let line = format!(
            "temporal workflow cancel --workflow-id {}",
            self.workflow(receipt_id)
        );
        let output = self.temporal.run_line(&line).await;
        assert!(output.status.success(), "{output:?}");
    }

    /// Requests an action of a run in Temporal, and repeats the request while Temporal is unavailable.
    ///
    /// # Panics
    /// When the answer is not 202.
    pub async fn request(&self, path: &str, body: &Value) {
        let answer = wait::until(SOON, &format!("an engine for {path}"), async || {
            let answer = self.api.post(path, body).await;
            if answer.status == 503 {
                Err(answer.body.to_string())
            } else {
                Ok(answer)
            }
        })
        .await;
        assert_eq!(answer.status, 202, "{path}: {}", answer.body);
    }

    /// Sets the retry schedule of the world's own destination, in seconds.
    pub async fn set_schedule(&self, seconds: &[u64]) {
        let path = format!("/v1/destinations/{}", self.destination_id);
        drop(
            self.api
                .call(Method::PATCH, &path, &json!({ "schedule": seconds }))
                .await
                .ok(),
        );
    }

    /// Runs the one documented line about a destination that contains `part`, for the world's own destination, and
    /// returns its output.
    ///
    /// # Panics
    /// When no such line or several are documented, or the line fails.
    pub async fn by_script(&self, part: &str) -> String {
        self.by_script_with(part, ("", "")).await
    }

    /// Like [`Self::by_script`], with `value` in place of the placeholder `name`.
    ///
    /// # Panics
    /// When no such line or several are documented, or the line fails.
    pub async fn by_script_with(&self, part: &str, (name, value): (&str, &str)) -> String {
        let is_wanted = |line: &String| line.contains("DESTINATION_ID") && line.contains(part);
        let lines: Vec<String> = documents::operators_lines()
            .into_iter()
            .filter(is_wanted)
            .collect();
        let [line] = lines.as_slice() else {
            panic!("not one documented line with {part:?}: {lines:?}")
        };
        let mut line = line.replace("DESTINATION_ID", &self.destination_id);
        if !name.is_empty() {
            line = line.replace(name, value);
        }
        String::from_utf8_lossy(&self.temporal.run_line(&line).await.stdout).into_owned()
    }
}

impl Temporal {
    /// Runs a shell line that begins with `temporal` against this server, and repeats it while the workflow is busy.
    ///
    /// # Panics
    /// When the line fails; the message contains its output.
    pub async fn run_line(&self, line: &str) -> Output {
        let arguments = line
            .strip_prefix("temporal ")
            .unwrap_or_else(|| panic!("not a line for temporal: {line}"));
        let arguments = arguments.replace("TEMPORAL_ADDRESS", &self.address());
        let address = if arguments.contains("--address ") {
            String::new()
        } else {
            format!("--address {}", self.address())
        };
        let own = self.namespace();
        let namespace = if arguments.contains("--namespace ") {
            String::new()
        } else {
            format!("--namespace {own}")
        };
        let script = format!("exec \"$0\" {arguments} {address} {namespace}");
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(script).arg(cli()).stdin(Stdio::null());
        wait::until(SOON, line, async || {
            let output = shell.output().await.expect("a shell");
            let error = String::from_utf8_lossy(&output.stderr);
            if BUSY.iter().any(|busy| error.contains(busy)) {
                return Err(error.into_owned());
            }
            assert!(output.status.success(), "{line}: {output:?}");
            Ok(output)
        })
        .await
    }

    /// Signals the open run of a workflow id.
    ///
    /// # Errors
    /// When the server refuses the signal, for example because no run is open.
    pub async fn signal(
        &self,
        workflow_id: &str,
        signal_name: &str,
        input: &Value,
    ) -> Result<(), String> {
        let payload = Payload {
            metadata: [("encoding".to_owned(), b"json/plain".to_vec())]
                .into_iter()
                .collect(),
            data: input.to_string().into_bytes(),
            ..Default::default()
        };
        let request = SignalWorkflowExecutionRequest {
            namespace: self.namespace().to_owned(),
            workflow_execution: Some(WorkflowExecution {
                workflow_id: workflow_id.to_owned(),
                ..Default::default()
            }),
            signal_name: signal_name.to_owned(),
            input: Some(Payloads {
                payloads: vec![payload],
            }),
            request_id: api::clock::random_uuid().to_string(),
            ..Default::default()
        };
        let mut service = self.client().connection().workflow_service();
        let answer = service
            .signal_workflow_execution(request.into_request())
            .await;
        answer.map(drop).map_err(|status| status.to_string())
    }
}
