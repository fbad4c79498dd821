//! `settle amazon`: checks for Amazon that need no running service.

use super::verify_file;
use crate::stores::command::Verdict;
use crate::{clock, times};
use anyhow::Context;
use clap::Subcommand;
use domain::Timestamp;
use serde_json::json;
use std::path::PathBuf;

/// Amazon: check a message without a running service.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  settle amazon verify --message message.json --certificate certificate.pem --at 2022-07-28T21:24:08Z
Next: `settle help amazon verify` explains where the two files come from. `settle platform create` connects an
app to the store.")]
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
The certificate is the file at the message's SigningCertURL; this command fetches nothing.
Next: if a valid message was refused, check its topic: `settle platform topics ID`.")]
    Verify {
        /// The request's body, unchanged.
        #[arg(long, value_name = "FILE")]
        message: PathBuf,
        /// The signing certificate, as PEM.
        #[arg(long, value_name = "FILE")]
        certificate: PathBuf,
        /// The time of verification: a time such as 2026-01-31T12:00:00Z, a day, yesterday, or `2h` for two hours ago.
        #[arg(long, value_name = "TIME", value_parser = |text: &str| times::past(text, clock::now()))]
        at: Timestamp,
        /// Print the result as JSON.
        #[arg(long)]
        json: bool,
    },
}

impl Options {
    /// Runs one subcommand.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn run(self) -> anyhow::Result<Verdict> {
        let Verb::Verify {
            message,
            certificate,
            at,
            json,
        } = self.verb;
        let message = std::fs::read(&message)
            .with_context(|| format!("cannot read {}", message.display()))?;
        let certificate = std::fs::read(&certificate)
            .with_context(|| format!("cannot read {}", certificate.display()))?;
        let refusal = verify_file(&message, &certificate, at)
            .err()
            .map(|refusal| refusal.to_string());
        Ok(Verdict {
            is_positive: refusal.is_none(),
            json: json.then(|| json!({ "valid": refusal.is_none(), "reason": refusal })),
            line: refusal.map_or_else(
                || "valid".to_owned(),
                |refusal| format!("refused: {refusal}"),
            ),
        })
    }
}
