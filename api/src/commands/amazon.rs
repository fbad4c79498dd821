//! `settle amazon`: checks for this store that need no service.

use super::table;
use crate::stores::amazon::verify_file;
use anyhow::Context;
use clap::Subcommand;
use domain::Timestamp;
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
        /// The time at which certificate and message are verified, such as 2026-01-31T12:00:00Z.
        #[arg(long, value_name = "RFC3339")]
        at: Timestamp,
    },
}

/// Runs one subcommand.
pub fn amazon(options: Options) -> anyhow::Result<ExitCode> {
    let Verb::Verify { message, certificate, at } = options.verb;
    let message = std::fs::read(&message).with_context(|| format!("{} cannot be read", message.display()))?;
    let certificate =
        std::fs::read(&certificate).with_context(|| format!("{} cannot be read", certificate.display()))?;
    match verify_file(&message, &certificate, at) {
        Ok(()) => {
            table::line("valid");
            Ok(ExitCode::SUCCESS)
        }
        Err(refusal) => {
            table::line(&format!("refused: {refusal}"));
            Ok(ExitCode::FAILURE)
        }
    }
}
