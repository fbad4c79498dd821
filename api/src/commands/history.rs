//! `settle history`: prints a workflow's history in the format of the SDK's replayer, for replay tests.

use anyhow::Context;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;
use temporalio_client::envconfig::LoadClientConfigProfileOptions;
use temporalio_client::{
    Client, ClientOptions, Connection, UntypedWorkflow, WorkflowFetchHistoryOptions,
};

const TIMEOUT: Duration = Duration::from_secs(10);

/// Print a workflow's history in the format of the SDK's replayer, which differs from the Temporal CLI's JSON.
#[derive(Debug, clap::Args)]
#[command(hide = true)]
pub struct Options {
    /// The workflow's id, such as `purchase/COLLAPSE_KEY`.
    id: String,
    /// Id of the run [default: the latest].
    #[arg(long)]
    run: Option<String>,
}

/// Reads the history from Temporal and prints it.
pub async fn history(options: Options) -> anyhow::Result<ExitCode> {
    let (connection, client) =
        ClientOptions::load_from_config(LoadClientConfigProfileOptions::default())
            .map_err(|error| anyhow::anyhow!("invalid Temporal settings (TEMPORAL_*): {error}"))?;
    let connected = tokio::time::timeout(TIMEOUT, Connection::connect(connection)).await;
    let connected = connected
        .context("Temporal does not answer")?
        .context("cannot reach Temporal (TEMPORAL_ADDRESS)")?;
    let client =
        Client::new(connected, client).context("invalid Temporal settings (TEMPORAL_*)")?;
    let mut info = client
        .get_workflow_handle::<UntypedWorkflow>(&options.id)
        .info()
        .clone();
    info.run_id = options.run;
    let history = info
        .bind_untyped(client)
        .fetch_history(WorkflowFetchHistoryOptions::default());
    let json = history
        .to_json()
        .await
        .with_context(|| format!("no history of `{}`", options.id))?;
    std::io::stdout()
        .write_all(&json)
        .context("cannot print the history")?;
    Ok(ExitCode::SUCCESS)
}
