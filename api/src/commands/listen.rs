//! `settle listen`: receives webhooks, verifies and prints them.

use super::forward::Forward;
use super::receiver::{self, Receiver, Style};
use super::secret::Source;
use super::stop::Stop;
use super::{settings, sockets, table};
use anyhow::Context;
use std::net::SocketAddr;
use std::process::ExitCode;
use url::Url;

/// Run a test receiver: verify webhooks, print one line each, and optionally forward them to your program.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  settle destination create --app ID --name try --url http://127.0.0.1:9000/ --json > destination.json
  jq -r .secret destination.json > webhook-secret.txt
  settle listen --listen 127.0.0.1:9000 --secret @webhook-secret.txt
  settle listen --secret @webhook-secret.txt --forward-to http://127.0.0.1:3000/hooks
--forward-to forwards each verified event unchanged, so that your program can verify the signature with the same secret,
and returns your program's response to settle. settle retries anything but 2xx on the destination's schedule, or at once
with `settle destination retry ID`.
Next: `settle resend purchase COLLAPSE_KEY` sends it an event. To allow a destination on this machine, start settle with
SETTLE_DESTINATIONS_ALLOWED_NETWORKS=127.0.0.0/8 SETTLE_DESTINATIONS_ALLOW_HTTP=true.")]
pub struct Options {
    /// Address to listen on.
    #[arg(long, value_name = "ADDR", value_parser = settings::address, default_value = "127.0.0.1:9000")]
    listen: SocketAddr,
    /// Where to read the destination's secret: `@FILE`, or `-` for standard input.
    #[arg(long, value_name = "@FILE|-")]
    secret: Source,
    /// Forward each verified event to this URL, and return its response.
    #[arg(long, value_name = "URL")]
    forward_to: Option<Url>,
    /// Print one line of JSON per event.
    #[arg(long)]
    json: bool,
}

/// Receives until the process is stopped.
pub async fn listen(options: Options) -> anyhow::Result<ExitCode> {
    let webhook = receiver::webhook(&options.secret.read("--secret")?).context("--secret")?;
    let listener = sockets::bind("--listen", options.listen)?;
    let stop = Stop::on_signals()?;
    let style = if options.json {
        Style::Json
    } else {
        Style::Line
    };
    if style == Style::Line {
        table::line(&format!(
            "Listening on http://{} (Ctrl-C to stop)",
            listener.local_addr()?
        ));
    }
    let receiver = Receiver {
        webhook,
        style,
        forward: options.forward_to.map(Forward::new).transpose()?,
    };
    receiver::receive(listener, receiver, stop.requested()).await?;
    Ok(ExitCode::SUCCESS)
}
