//! Signs of life (heartbeats) of the processes that use the database, each with the stores that the process knows. The
//! first platform of a store is refused while a running process does not know that store, because that process would
//! not settle its purchases.
//!
//! A process stores its sign before it begins to work, renews it, and removes it when it stops. The sign of a process
//! that crashed expires after a minute. Release 0.1.0 stores no signs.

use crate::reports::processes::{LIFE, Sign, signs};
use crate::store::Store;
use db::connection::AnyConnection;
use db::error::Error;
use db::shared_lock;
use db::sql::{Sql, insert, statement};
use db::statement::sql;
use db::writer::{JobKind, Write};
use domain::Timestamp;
use domain::time::OVERLAP;
use serde_json::json;
use std::collections::BTreeSet;
use uuid::Uuid;

/// Maximum number of processes that an error names.
const MAX_NAMED: usize = 10;
/// The lock of the signs on PostgreSQL. Storing a sign takes it shared, creating the first platform of a store takes it
/// exclusively. So each sign is either committed before the platform is checked, or stored after the platform.
const LOCK: Uuid = Uuid::from_u128(0x7b0c_5f0e_93d1_4a52_8c36_e1d4_0f2a_9b67);

/// A process, as described by its sign of life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// A random id.
    pub id: Uuid,
    /// The command that it runs, such as `worker`.
    pub role: String,
    /// The release of its program.
    pub version: String,
    /// Process id and host name, such as `1@a`.
    pub host: String,
    /// The names of the stores that it knows.
    pub stores: Vec<String>,
}

/// What a refusal shows of the processes that cause it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShownProcesses {
    /// The command, release, process id and host of each.
    Named,
    /// Their number and releases, for a caller with access to one app only.
    Counted,
}

const REMOVE: Sql = statement!("DELETE FROM processes WHERE id = ?");

const FORGET: Sql = statement!("DELETE FROM processes WHERE seen_at <= ? OR seen_at > ?");

const OF_STORE: Sql =
    statement!("SELECT created_at AS value FROM platforms WHERE store = ? LIMIT 1");

impl Store {
    /// Stores or renews the sign of life of a process.
    pub async fn sign_of_life(&self, process: Process) -> Result<(), Error> {
        let kind = JobKind::Count("processes");
        let sign = move |write: &mut Write<'_>| {
            // In a transaction with other jobs it could deadlock: it may wait for the creation of a store's first
            // platform, which waits for those jobs.
            write.run_alone()?;
            shared_lock::share(write.connection, LOCK)?;
            insert!(
                processes {
                    id: process.id,
                    role: process.role.as_str(),
                    version: process.version.as_str(),
                    host: process.host.as_str(),
                    stores: json!(process.stores).to_string(),
                    seen_at: write.now()?
                },
                "ON CONFLICT (id)
            DO UPDATE SET seen_at = excluded.seen_at"
            )
            .run(write.connection)
            .map(drop)
        };
        self.database.writer.write(kind, sign).await
    }

    /// Removes the sign of life of a process that stops.
    pub async fn remove_process(&self, id: Uuid) -> Result<(), Error> {
        let kind = JobKind::Count("processes");
        let remove =
            move |write: &mut Write<'_>| sql(REMOVE).bind(id).run(write.connection).map(drop);
        self.database.writer.write(kind, remove).await
    }

    /// Removes expired signs of life; returns their number.
    pub async fn forget_processes(&self) -> Result<usize, Error> {
        self.write(|write| {
            let now = write.now()?;
            sql(FORGET)
                .bind(now.minus(LIFE))
                .bind(now.plus(OVERLAP))
                .run(write.connection)
        })
        .await
    }

    /// Whether the installation has or had a platform of a store.
    pub async fn has_platform_of(&self, store: &str) -> Result<bool, Error> {
        let store = store.to_owned();
        self.read(move |connection| has_platform(connection, &store))
            .await
    }
}

fn has_platform(connection: &mut AnyConnection, store: &str) -> Result<bool, Error> {
    let first: Option<Timestamp> = sql(OF_STORE).bind(store).value(connection)?;
    Ok(first.is_some())
}

/// Refuses the first platform of a store while a running process does not know that store. Further platforms of a store
/// are not checked. The job must be the only one of its transaction.
pub fn check_store(write: &mut Write<'_>, store: &str, shown: ShownProcesses) -> Result<(), Error> {
    if has_platform(write.connection, store)? {
        return Ok(());
    }
    shared_lock::take(write.connection, LOCK)?;
    let signs = signs(write.connection)?;
    let now = write.now()?;
    let unaware: Vec<&Sign> = signs
        .iter()
        .filter(|sign| sign.is_live(now) && !sign.knows(store))
        .collect();
    match refusal(&unaware, store, shown) {
        Some(detail) => Err(Error::Conflict {
            what: "platform",
            detail,
        }),
        None => Ok(()),
    }
}

/// Says why a store can have no platform while these processes run, and what to do; `None` if there are no such
/// processes.
fn refusal(unaware: &[&Sign], store: &str, shown: ShownProcesses) -> Option<String> {
    if unaware.is_empty() {
        return None;
    }
    Some(match shown {
        ShownProcesses::Named => named(unaware, store),
        ShownProcesses::Counted => counted(unaware, store),
    })
}

fn counted(unaware: &[&Sign], store: &str) -> String {
    let versions: BTreeSet<&str> = unaware.iter().map(|sign| sign.version.as_str()).collect();
    let versions: Vec<&str> = versions.into_iter().take(MAX_NAMED).collect();
    format!(
        "it is the first one of the store `{store}`, which running processes do not know: {} of settle {}. They have to be \
         upgraded or stopped first; a process that crashed is forgotten after a minute",
        unaware.len(),
        versions.join(", ")
    )
}

fn named(unaware: &[&Sign], store: &str) -> String {
    let names: Vec<String> = unaware
        .iter()
        .map(|sign| format!("{} {} at {}", sign.role, sign.version, sign.host))
        .collect();
    let mut shown = names.iter().take(MAX_NAMED).cloned().collect::<Vec<_>>();
    if let Some(others @ 1..) = names.len().checked_sub(MAX_NAMED) {
        shown.push(format!("{others} more"));
    }
    format!(
        "it is the first one of the store `{store}`, which these running processes do not know: {}. Upgrade or stop them, \
         then try again; a process that crashed is forgotten after a minute",
        shown.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::{MAX_NAMED, ShownProcesses, Sign, refusal};
    use domain::Timestamp;
    use domain::time::{MINUTE, OVERLAP};
    use serde_json::json;
    use std::time::Duration;

    const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

    fn sign(host: &str, stores: &[&str], seen_at: Timestamp) -> Sign {
        Sign {
            role: "worker".to_owned(),
            version: "0.1.1".to_owned(),
            host: host.to_owned(),
            stores: json!(stores),
            seen_at,
        }
    }

    #[test]
    fn a_store_is_refused_while_a_live_process_does_not_know_it() {
        let all = [
            sign("1@a", &["old"], NOW),
            sign("2@b", &["old", "new"], NOW),
        ];
        assert!(all.iter().all(|sign| sign.knows("old")));
        let [unaware, aware] = &all;
        assert!(!unaware.knows("new") && aware.knows("new"));
        assert_eq!(refusal(&[], "new", ShownProcesses::Named), None);
        let refused = refusal(&[unaware], "new", ShownProcesses::Named).unwrap();
        let named = "of the store `new`, which these running processes do not know: worker 0.1.1 at 1@a. Upgrade";
        assert!(refused.contains(named), "{refused}");
    }

    #[test]
    fn a_caller_of_one_app_learns_no_host() {
        let [one, other] = ["1@a", "2@b"].map(|host| sign(host, &[], NOW));
        let refused = refusal(&[&one, &other], "new", ShownProcesses::Counted).unwrap();
        let counted = "running processes do not know: 2 of settle 0.1.1. They";
        assert!(refused.contains(counted), "{refused}");
        assert!(!refused.contains('@'), "{refused}");
    }

    #[test]
    fn a_sign_counts_for_a_minute_and_not_ahead_of_the_clock() {
        let second = Duration::from_secs(1);
        let counts = |seen_at| sign("1@a", &[], seen_at).is_live(NOW);
        assert!(counts(NOW.minus(MINUTE - second)));
        assert!(!counts(NOW.minus(MINUTE)));
        assert!(counts(NOW.plus(OVERLAP)));
        assert!(!counts(NOW.plus(OVERLAP + second)));
    }

    #[test]
    fn an_error_names_few_processes() {
        let all: Vec<Sign> = (0..MAX_NAMED + 3)
            .map(|number| sign(&format!("{number}@a"), &[], NOW))
            .collect();
        let all: Vec<&Sign> = all.iter().collect();
        let few = refusal(&all[..MAX_NAMED], "new", ShownProcesses::Named).unwrap();
        assert!(
            few.contains("9@a. Upgrade") && !few.contains("more"),
            "{few}"
        );
        let many = refusal(&all, "new", ShownProcesses::Named).unwrap();
        assert!(many.contains("9@a, 3 more. Upgrade"), "{many}");
    }
}
