//! `settle migrate`: migrates the tables of a database, turns its key, and ends.

use super::{settings, table};
use crate::config::{Config, Database};
use anyhow::bail;
use std::process::ExitCode;
use storage::{Left, Store, TurnCursor};

/// Bring the tables of the database up to date, and end. Every other command does the same when it starts.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  SETTLE_KEY=… settle migrate --database postgres://settle@db.internal/settle
  SETTLE_KEY=… settle migrate --database settle-data/settle.sqlite --raise-epoch
  SETTLE_KEY=NEW,OLD settle migrate --database settle-data/settle.sqlite --rekey

Raise the epoch after a backup was restored, and before settle is started on
it. The database has lost what it recorded after the backup, and would give the
same ids to other events: receivers, which remember the ids that they have
seen, would drop these. Raising it once too often does no harm.

With --rekey everything is encrypted anew with the first key of SETTLE_KEY, and
then the others can be dropped, which is printed. It can be interrupted, also
by kill -9, and started again: it goes on with what is left. Before, start
every process with the new key first.

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
    /// Encrypt all secrets anew with the first key of SETTLE_KEY, and drop the others.
    #[arg(long)]
    rekey: bool,
}

/// Opens the database, which migrates its tables; raises its epoch and turns its key if that is wanted.
pub async fn migrate(options: Options) -> anyhow::Result<ExitCode> {
    let config = options.settings.load()?;
    if options.raise_epoch || options.rekey {
        expect_file(&config)?;
    }
    settings::make_room(&config)?;
    let store = settings::open(&config).await?;
    let org_id = store.installation().org_id;
    let epoch = store.epoch().await?;
    table::line(&format!("The tables are up to date (org {org_id}, epoch {epoch})."));
    if options.raise_epoch {
        let raised = store.raise_epoch().await?;
        table::line(&format!("The epoch was raised from {epoch} to {raised}: further events get ids of their own."));
    }
    if options.rekey {
        rekey(&store).await?;
    } else {
        show_keys(&store).await?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Refuses a file that does not exist: what changes a database must not create another one in its place.
fn expect_file(config: &Config) -> anyhow::Result<()> {
    match &config.database {
        Database::Sqlite(path) if !path.is_file() => bail!(
            "there is no database {}: --raise-epoch and --rekey change one that exists (`--database` names it)",
            path.display()
        ),
        _ => Ok(()),
    }
}

/// Prints with which key secrets are encrypted, and what other keys are needed for.
async fn show_keys(store: &Store) -> anyhow::Result<()> {
    let (key, older) = (store.key_id(), store.older_keys().await?);
    if older.is_empty() {
        table::line(&format!("Secrets are encrypted with the key {key}."));
        return Ok(());
    }
    let (older, left) = (older.join(", "), store.left_of_older_keys().await?);
    table::line(&format!(
        "Secrets are encrypted with the key {key}; {older} cannot be dropped yet ({}): `settle migrate --rekey`",
        sentence(&left)
    ));
    Ok(())
}

/// Encrypts everything with the newest key, and drops the others.
async fn rekey(store: &Store) -> anyhow::Result<()> {
    let key = store.key_id();
    let left = store.left_of_older_keys().await?;
    table::line(&format!("To encrypt with the key {key}: {}.", sentence(&left)));
    let total: i64 = left.iter().map(|left| left.count).sum();
    let (mut cursor, mut done) = (Some(TurnCursor::default()), 0);
    while let Some(from) = cursor {
        let turned = store.turn_page(from).await?;
        done += turned.count;
        if turned.count > 0 {
            table::line(&format!("  {done} encrypted anew, {} left: {}", (total - done).max(0), turned.what));
        }
        cursor = turned.next;
    }
    let dropped = store.turn_out_older_keys().await?;
    match dropped.as_slice() {
        [] => table::line(&format!("Everything is encrypted with the key {key}, and no other was in use.")),
        ids => table::line(&format!(
            "Everything is encrypted with the key {key}. Drop {} from SETTLE_KEY of every process: nothing needs it now. \
             Backups from before still do.",
            ids.join(", ")
        )),
    }
    Ok(())
}

/// What is left, for people.
fn sentence(left: &[Left]) -> String {
    if left.is_empty() {
        return "nothing is left".to_owned();
    }
    let parts: Vec<String> = left.iter().map(|left| format!("{} {}", left.count, left.what)).collect();
    parts.join(", ")
}
