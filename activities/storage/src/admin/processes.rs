//! The signs of life of the processes that use the database, with the stores that each of them knows. The first platform
//! of a store is refused while a process lives that does not know the store: it would not settle its purchases.
//!
//! A process stores its sign before it begins to work, renews it, and removes it when it stops. One that crashed is
//! forgotten after a minute. Release 0.1.0 leaves no signs.

use crate::db::connection::AnyConnection;
use crate::db::error::Error;
use crate::db::shared_lock;
use crate::db::sql::{Sql, insert, statement};
use crate::db::statement::{row, sql};
use crate::db::store::Store;
use crate::db::writer::{JobKind, Write};
use domain::Timestamp;
use domain::time::{MINUTE, OVERLAP};
use serde_json::{Value, json};
use std::time::Duration;
use uuid::Uuid;

/// How long a sign counts after its renewal.
const LIFE: Duration = MINUTE;
/// Maximum number of processes that an error names.
const MAX_NAMED: usize = 10;
/// The lock of the signs on PostgreSQL. Who stores a sign shares it, and the first platform of a store takes it alone: a
/// sign is committed before the platform is checked, or stored after the platform.
const LOCK: Uuid = Uuid::from_u128(0x7b0c_5f0e_93d1_4a52_8c36_e1d4_0f2a_9b67);

/// A process, as its sign of life names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// A random id.
    pub id: Uuid,
    /// The command that it runs, such as `worker`.
    pub role: String,
    /// The release of its program.
    pub version: String,
    /// Number of the process, and its host.
    pub host: String,
    /// The names of the stores that it knows.
    pub stores: Vec<String>,
}

row! {
    /// A stored sign of life.
    #[derive(Clone)]
    struct Sign {
        role: String,
        version: String,
        host: String,
        stores: Value,
        seen_at: Timestamp,
    }
}

impl Sign {
    /// Whether it counts. One that is ahead of the clock does not: the clock was set back since.
    fn is_live(&self, now: Timestamp) -> bool {
        let seen_at = self.seen_at.unless_ahead(Duration::ZERO, now);
        seen_at.is_some_and(|at| now.since(at) < LIFE)
    }

    fn knows(&self, store: &str) -> bool {
        let mut known = self.stores.as_array().into_iter().flatten();
        known.any(|one| one == store)
    }
}

const ALL: Sql = statement! {"
    SELECT role, version, host, stores, seen_at
    FROM processes
    ORDER BY role, host, id
"};

const REMOVE: Sql = statement!("DELETE FROM processes WHERE id = ?");

const FORGET: Sql = statement!("DELETE FROM processes WHERE seen_at <= ? OR seen_at > ?");

const OF_STORE: Sql =
    statement!("SELECT created_at AS value FROM platforms WHERE store = ? LIMIT 1");

impl Store {
    /// Stores or renews the sign of life of a process.
    pub async fn sign_of_life(&self, process: Process) -> Result<(), Error> {
        let kind = JobKind::Count("processes");
        let sign = move |write: &mut Write<'_>| {
            // Beside other jobs it could wait for the first platform of a store, which waits for these.
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
        self.writer.write(kind, sign).await
    }

    /// Removes the sign of life of a process that stops.
    pub async fn remove_process(&self, id: Uuid) -> Result<(), Error> {
        let kind = JobKind::Count("processes");
        let remove =
            move |write: &mut Write<'_>| sql(REMOVE).bind(id).run(write.connection).map(drop);
        self.writer.write(kind, remove).await
    }

    /// Removes the signs of life that count no longer; returns their number.
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

/// Refuses the first platform of a store while a process lives that does not know the store. Another one of the same
/// store waits for nothing. The job must be the only one of its transaction.
pub fn check_store(write: &mut Write<'_>, store: &str) -> Result<(), Error> {
    if has_platform(write.connection, store)? {
        return Ok(());
    }
    shared_lock::take(write.connection, LOCK)?;
    let signs: Vec<Sign> = sql(ALL).all(write.connection)?;
    match refusal(&signs, store, write.now()?) {
        Some(detail) => Err(Error::Conflict {
            what: "platform",
            detail,
        }),
        None => Ok(()),
    }
}

/// Why a store can have no platform yet, and what to do; `None` if every live process knows it.
fn refusal(signs: &[Sign], store: &str, now: Timestamp) -> Option<String> {
    let unaware = signs
        .iter()
        .filter(|sign| sign.is_live(now) && !sign.knows(store));
    let names: Vec<String> = unaware
        .map(|sign| format!("{} {} at {}", sign.role, sign.version, sign.host))
        .collect();
    let mut shown = names.iter().take(MAX_NAMED).cloned().collect::<Vec<_>>();
    match names.len().checked_sub(MAX_NAMED) {
        Some(others @ 1..) => shown.push(format!("{others} more")),
        _ if names.is_empty() => return None,
        _ => {}
    }
    Some(format!(
        "it is the first one of the store `{store}`, which these running processes do not know: {}. Upgrade or stop them, \
         then try again; a process that crashed is forgotten after a minute",
        shown.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::{MAX_NAMED, Sign, refusal};
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
        assert_eq!(refusal(&all, "old", NOW), None);
        assert_eq!(refusal(&[], "new", NOW), None);
        let refused = refusal(&all, "new", NOW).unwrap();
        let named = "of the store `new`, which these running processes do not know: worker 0.1.1 at 1@a. Upgrade";
        assert!(refused.contains(named), "{refused}");
    }

    #[test]
    fn a_sign_counts_for_a_minute_and_not_ahead_of_the_clock() {
        let second = Duration::from_secs(1);
        let is_refused = |seen_at| refusal(&[sign("1@a", &[], seen_at)], "new", NOW).is_some();
        assert!(is_refused(NOW.minus(MINUTE - second)));
        assert!(!is_refused(NOW.minus(MINUTE)));
        assert!(is_refused(NOW.plus(OVERLAP)));
        assert!(!is_refused(NOW.plus(OVERLAP + second)));
    }

    #[test]
    fn an_error_names_few_processes() {
        let all: Vec<Sign> = (0..MAX_NAMED + 3)
            .map(|number| sign(&format!("{number}@a"), &[], NOW))
            .collect();
        let few = refusal(&all[..MAX_NAMED], "new", NOW).unwrap();
        assert!(
            few.contains("9@a. Upgrade") && !few.contains("more"),
            "{few}"
        );
        let many = refusal(&all, "new", NOW).unwrap();
        assert!(many.contains("9@a, 3 more. Upgrade"), "{many}");
    }
}
