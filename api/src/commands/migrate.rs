//! `settle migrate`: migrates the tables of a database, and ends.

use super::{settings, table};
use std::process::ExitCode;

/// Bring the tables of the database up to date, and end. Every other command does the same when it starts.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  SETTLE_KEY=… settle migrate --database postgres://settle@db.internal/settle
  SETTLE_KEY=… settle migrate --database settle-data/settle.sqlite --raise-epoch

Raise the epoch after a backup was restored, and before settle is started on
it. The database has lost what it recorded after the backup, and would give the
same ids to other events: receivers, which remember the ids that they have
seen, would drop these. Raising it once too often does no harm.

On SQLite settle must be stopped. On PostgreSQL processes may run: each
transaction that begins later uses the new epoch. There settle raises the
epoch by itself when the timeline of the server changed, at a fail-over or a
recovery to a point in time; not after a dump or a copy of the disk was
restored on the same server.
Next: start `settle serve` and `settle worker`, as many as you like.")]
pub struct Options {
    #[command(flatten)]
    settings: settings::Options,
    /// After a backup was restored: give further events ids that were never used.
    #[arg(long)]
    raise_epoch: bool,
}

/// Opens the database, which migrates its tables, and raises its epoch if that is wanted.
pub async fn migrate(options: Options) -> anyhow::Result<ExitCode> {
    let config = options.settings.load()?;
    settings::make_room(&config)?;
    let store = settings::open(&config).await?;
    let org_id = store.installation().org_id;
    let epoch = store.epoch().await?;
    table::line(&format!("The tables are up to date (org {org_id}, epoch {epoch})."));
    if options.raise_epoch {
        let raised = store.raise_epoch().await?;
        table::line(&format!("The epoch was raised from {epoch} to {raised}: further events get ids of their own."));
    }
    Ok(ExitCode::SUCCESS)
}
