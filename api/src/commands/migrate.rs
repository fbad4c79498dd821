//! `settle migrate`: migrates the tables of a database, and ends.

use super::{settings, table};
use std::process::ExitCode;

/// Bring the tables of the database up to date, and end. Every other command does the same when it starts.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  SETTLE_KEY=… settle migrate --database postgres://settle@db.internal/settle
Next: start `settle serve` and `settle worker`, as many as you like.")]
pub struct Options {
    #[command(flatten)]
    settings: settings::Options,
}

/// Opens the database, which migrates its tables.
pub async fn migrate(options: Options) -> anyhow::Result<ExitCode> {
    let config = options.settings.load()?;
    settings::make_room(&config)?;
    let store = settings::open(&config).await?;
    let installation = store.installation();
    table::line(&format!("The tables are up to date (org {}, epoch {}).", installation.org_id, installation.epoch));
    Ok(ExitCode::SUCCESS)
}
