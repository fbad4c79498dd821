//! `settle listen`: receives webhooks, verifies and prints them.

use super::receiver::{self, Style};
use super::secret::Source;
use super::stop::Stop;
use super::{settings, sockets, table};
use std::net::SocketAddr;
use std::process::ExitCode;

/// Receive webhooks, verify their signatures, print one line each: a receiver to try with.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  settle destination create --app ID --name try --url http://127.0.0.1:9000/ --json > destination.json
  jq -r .secret destination.json > webhook-secret.txt
  settle listen --listen 127.0.0.1:9000 --secret @webhook-secret.txt
Next: `settle resend purchase COLLAPSE_KEY` sends something to it. A destination on this machine is refused by the
service unless it was started with SETTLE_DESTINATIONS_ALLOWED_NETWORKS=127.0.0.0/8 SETTLE_DESTINATIONS_ALLOW_HTTP=true.")]
pub struct Options {
    /// Address to listen on.
    #[arg(long, value_name = "ADDR", value_parser = settings::address, default_value = "127.0.0.1:9000")]
    listen: SocketAddr,
    /// Where the destination's secret is read: `@FILE`, or `-` for standard input.
    #[arg(long, value_name = "@FILE|-")]
    secret: Source,
    /// Print one line of JSON per event.
    #[arg(long)]
    json: bool,
}

/// Receives until the process is stopped.
pub async fn listen(options: Options) -> anyhow::Result<ExitCode> {
    let webhook = receiver::webhook(&options.secret.read()?)?;
    let listener = sockets::bind("--listen", options.listen)?;
    let stop = Stop::on_signals()?;
    let style = if options.json { Style::Json } else { Style::Line };
    if style == Style::Line {
        table::line(&format!("Listening on http://{} (Ctrl-C ends)", listener.local_addr()?));
    }
    receiver::receive(listener, webhook, style, stop.requested()).await?;
    Ok(ExitCode::SUCCESS)
}
