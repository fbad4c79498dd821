//! `settle amazon`: checks for this store that need no service.

use super::table;
use crate::stores::amazon::verify_file;
use crate::{clock, times};
use anyhow::Context;
use clap::Subcommand;
use domain::Timestamp;
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;

/// Amazon: check a message without a service.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  settle amazon verify --message message.json --certificate certificate.pem --at 2022-07-28T21:24:08Z
Next: `settle help amazon verify` explains where the two files come from. An app is connected to the store by
`settle platform create`.")]
pub struct Options {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Verify the signature of a message: prints `valid`, or `refused: reason` (exit code 1).
    #[command(after_help = "\
Example:
  settle amazon verify --message message.json --certificate SimpleNotificationService-7ff5.pem \\
    --at 2022-07-28T21:24:08Z
The certificate is the file that the message's SigningCertURL names; neither is fetched here.
Next: if it is valid and the service refused it, the topic may be the reason: `settle platform topics ID`.")]
    Verify {
        /// The body of the request, as it was received.
        #[arg(long, value_name = "FILE")]
        message: PathBuf,
        /// The signing certificate, PEM.
        #[arg(long, value_name = "FILE")]
        certificate: PathBuf,
        /// When certificate and message are verified: a time such as 2026-01-31T12:00:00Z, a day, yesterday, or `2h` for
        /// two hours ago.
        #[arg(long, value_name = "TIME", value_parser = |text: &str| times::past(text, clock::now()))]
        at: Timestamp,
        /// Print the result as JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Runs one subcommand.
pub fn amazon(options: Options) -> anyhow::Result<ExitCode> {
    let Verb::Verify { message, certificate, at, json } = options.verb;
    let message = std::fs::read(&message).with_context(|| format!("{} cannot be read", message.display()))?;
    let certificate =
        std::fs::read(&certificate).with_context(|| format!("{} cannot be read", certificate.display()))?;
    let refusal = verify_file(&message, &certificate, at).err().map(|refusal| refusal.to_string());
    match &refusal {
        refusal if json => table::json(&json!({ "valid": refusal.is_none(), "reason": refusal })),
        None => table::line("valid"),
        Some(refusal) => table::line(&format!("refused: {refusal}")),
    }
    Ok(if refusal.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
