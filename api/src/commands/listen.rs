//! `settle listen`: receives webhooks, verifies and prints them.

use super::forward::Forward;
use super::receiver::{self, Receiver, Style};
use super::secret::Source;
use super::stop::Stop;
use super::{settings, sockets, table};
use std::net::SocketAddr;
use std::process::ExitCode;
use url::Url;

/// Receive webhooks, verify their signatures, print one line each, and forward them to a program of yours: a receiver
/// to try with.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  settle destination create --app ID --name try --url http://127.0.0.1:9000/ --json > destination.json
  jq -r .secret destination.json > webhook-secret.txt
  settle listen --listen 127.0.0.1:9000 --secret @webhook-secret.txt
  settle listen --secret @webhook-secret.txt --forward-to http://127.0.0.1:3000/hooks
With --forward-to each event goes on as it came, body and headers, so that your program verifies the signature with the
same secret. What it answers is the answer to settle: anything but 2xx is tried again by the destination's schedule, or
at once by `settle destination retry ID`.
Next: `settle resend purchase COLLAPSE_KEY` sends something to it. A destination on this machine is refused by the
service unless it was started with SETTLE_DESTINATIONS_ALLOWED_NETWORKS=127.0.0.0/8 SETTLE_DESTINATIONS_ALLOW_HTTP=true.")]
pub struct Options {
    /// Address to listen on.
    #[arg(long, value_name = "ADDR", value_parser = settings::address, default_value = "127.0.0.1:9000")]
    listen: SocketAddr,
    /// Where the destination's secret is read: `@FILE`, or `-` for standard input.
    #[arg(long, value_name = "@FILE|-")]
    secret: Source,
    /// Send each verified event on to this URL, and pass the answer back.
    #[arg(long, value_name = "URL")]
    forward_to: Option<Url>,
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
    let receiver = Receiver { webhook, style, forward: options.forward_to.map(Forward::new).transpose()? };
    receiver::receive(listener, receiver, stop.requested()).await?;
    Ok(ExitCode::SUCCESS)
}
