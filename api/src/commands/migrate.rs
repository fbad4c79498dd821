//! `settle migrate`: migrates the tables of a database, rotates its encryption key, and exits. On PostgreSQL no other
//! command migrates.

use super::{secret_urls, settings, table};
use anyhow::bail;
use api::config::{Config, Database};
use std::process::ExitCode;
use storage::{Left, Planned, Store, TurnCursor};

/// Bring the database's tables up to date and exit. Only an SQLite file is also brought up to date at every start.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  settle migrate --dry-run --database postgres://settle@db.internal/settle
  SETTLE_KEY=… settle migrate --database postgres://settle@db.internal/settle
  SETTLE_KEY=… settle migrate --database settle-data/settle.sqlite --raise-epoch
  SETTLE_KEY=NEW,OLD settle migrate --database settle-data/settle.sqlite --rekey

On PostgreSQL run it before you start a new version: the old version's processes
may keep running meanwhile. A step that needs a lock waits 2 seconds for it at
most, 30 times. If it is interrupted, even by kill -9, run it again.

Raise the epoch after you restore a backup and before you start settle. The
restored database would reuse the ids of lost events for other events, and
receivers that remember those ids would drop them. Raising the epoch
unnecessarily is harmless.

--rekey encrypts everything again with the first key of SETTLE_KEY, then prints
which keys can be dropped. If it is interrupted, even by kill -9, run it again:
it continues with what is left. First restart every process with the new key
first in SETTLE_KEY.

--seal-urls encrypts the URLs of destinations that are secrets (those of chats,
and with `secret_url`), then prints how many entries of the audit log still have
one. Processes of a release before 0.1.1 do not find such a URL: their events
wait for a newer process.

On SQLite, stop settle first. On PostgreSQL processes may keep running: later
transactions use the new epoch. On PostgreSQL settle raises the epoch itself
when the server's timeline changes (failover, point-in-time recovery), but
cannot notice a dump or disk copy restored on the same server.
Next: start any number of `settle serve` and `settle worker`.")]
pub struct Options {
    #[command(flatten)]
    settings: settings::Options,
    /// Print the steps that would be applied, with the rows that each touches, and change nothing.
    #[arg(long, conflicts_with_all = ["raise_epoch", "rekey", "seal_urls"])]
    dry_run: bool,
    /// After restoring a backup: give new events ids that were never used.
    #[arg(long)]
    raise_epoch: bool,
    /// Encrypt all secrets again with the first key of SETTLE_KEY, and retire the others.
    #[arg(long)]
    rekey: bool,
    /// Encrypt the secret URLs of destinations, such as a chat's. Processes before 0.1.1 do not find them then.
    #[arg(long)]
    seal_urls: bool,
}

/// Migrates the tables. Raises the epoch, rotates the encryption key or encrypts secret URLs if a flag requests it.
pub async fn migrate(options: Options) -> anyhow::Result<ExitCode> {
    let config = options.settings.load()?;
    if options.dry_run || options.raise_epoch || options.rekey || options.seal_urls {
        expect_file(&config)?;
    }
    if options.dry_run {
        show_plan(&settings::planned(&config).await?);
        return Ok(ExitCode::SUCCESS);
    }
    settings::make_room(&config)?;
    settings::migrate(&config).await?;
    let store = settings::open(&config).await?;
    let org_id = store.installation().org_id;
    let epoch = store.epoch().await?;
    table::line(&format!(
        "The tables are up to date (org {org_id}, epoch {epoch})."
    ));
    if options.raise_epoch {
        let raised = store.raise_epoch().await?;
        table::line(&format!(
            "Raised the epoch from {epoch} to {raised}: new events get ids that were never used."
        ));
    }
    if options.rekey {
        rekey(&store).await?;
    } else {
        show_keys(&store).await?;
    }
    if options.seal_urls {
        secret_urls::seal(&store).await?;
    } else {
        secret_urls::show(&store).await?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Refuses a file that does not exist: these flags must not create a new database instead of changing an existing one.
fn expect_file(config: &Config) -> anyhow::Result<()> {
    match &config.database {
        Database::Sqlite(path) if !path.is_file() => bail!(
            "there is no database {}: --dry-run, --raise-epoch, --rekey and --seal-urls need an existing one (set \
             `--database`)",
            path.display()
        ),
        _ => Ok(()),
    }
}

/// Prints the steps of a migration, one per line.
fn show_plan(steps: &[Planned]) {
    if steps.is_empty() {
        table::line("Nothing to do: the tables are up to date.");
    }
    for Planned {
        name,
        kind,
        table,
        rows,
        is_estimate,
    } in steps
    {
        let about = if *is_estimate { "about " } else { "" };
        let touched = match (table, rows) {
            (Some(table), Some(rows)) => format!("{about}{rows} rows of {table}"),
            (Some(table), None) => format!("all rows of {table}, which does not exist yet"),
            (None, _) => "no stored rows".to_owned(),
        };
        table::line(&format!("{name}: {kind}, touches {touched}"));
    }
}

/// Prints which key encrypts secrets, and which secrets still need older keys.
async fn show_keys(store: &Store) -> anyhow::Result<()> {
    let (key, older) = (store.key_id(), store.older_keys().await?);
    if older.is_empty() {
        table::line(&format!("Secrets are encrypted with the key {key}."));
        return Ok(());
    }
    let (older, left) = (older.join(", "), store.left_of_older_keys().await?);
    table::line(&format!(
        "Secrets are encrypted with the key {key}; {older} cannot be dropped yet ({}): run `settle migrate --rekey`",
        sentence(&left)
    ));
    Ok(())
}

/// Encrypts everything with the newest key, and retires the others.
async fn rekey(store: &Store) -> anyhow::Result<()> {
    let key = store.key_id();
    let left = store.left_of_older_keys().await?;
    table::line(&format!(
        "Encrypting with the key {key}: {}.",
        sentence(&left)
    ));
    let total: i64 = left.iter().map(|left| left.count).sum();
    let (mut cursor, mut done) = (Some(TurnCursor::default()), 0);
    while let Some(from) = cursor {
        let turned = store.turn_page(from).await?;
        done += turned.count;
        if turned.count > 0 {
            table::line(&format!(
                "  {done} encrypted, {} left: {}",
                (total - done).max(0),
                turned.what
            ));
        }
        cursor = turned.next;
    }
    let dropped = store.turn_out_older_keys().await?;
    match dropped.as_slice() {
        [] => table::line(&format!(
            "Everything is encrypted with the key {key}; no other key was in use."
        )),
        ids => table::line(&format!(
            "Everything is encrypted with the key {key}. Drop {} from every process's SETTLE_KEY: only older backups \
             need it.",
            ids.join(", ")
        )),
    }
    Ok(())
}

/// Describes the remaining steps.
fn sentence(left: &[Left]) -> String {
    if left.is_empty() {
        return "nothing is left".to_owned();
    }
    let parts: Vec<String> = left
        .iter()
        .map(|left| format!("{} {}", left.count, left.what))
        .collect();
    parts.join(", ")
}
