//! `settle healthy`: a health check for containers, so that an image needs no other program. It checks whether a
//! process responds.

use super::{client, settings};
use anyhow::bail;
use std::process::ExitCode;
use std::time::Duration;
use url::Url;

/// Maximum time until the response.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Check that a process answers 200 within three seconds, for container health checks. Needs no token.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The exit code is 1 if there is no response or one other than 200.

Example:
  settle healthy http://127.0.0.1:8081/readyz   # `serve` accepts notifications
  settle healthy http://127.0.0.1:9090/livez    # `worker --metrics 127.0.0.1:9090` runs
Next: `settle status` shows more, but needs a token.")]
pub struct Options {
    /// `/readyz` of the API, or `/livez` of any address of a process.
    #[arg(value_parser = settings::url)]
    url: Url,
}

/// Requests the URL once.
pub async fn healthy(options: Options) -> anyhow::Result<ExitCode> {
    match tokio::time::timeout(TIMEOUT, client::read_from(&options.url)).await {
        Ok(Ok((200, _))) => Ok(ExitCode::SUCCESS),
        Ok(Ok((status, text))) => bail!("{} answered {status}: {}", options.url, text.trim()),
        Ok(Err(error)) => Err(error),
        Err(_) => bail!(
            "{} did not answer within {} seconds",
            options.url,
            TIMEOUT.as_secs()
        ),
    }
}
