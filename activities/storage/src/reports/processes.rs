//! The running processes, according to their signs of life, which `admin` stores. Release 0.1.0 stores none.

use db::connection::AnyConnection;
use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::{row, sql};
use domain::Timestamp;
use domain::time::MINUTE;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;

/// How long a sign of life is valid after its renewal.
pub const LIFE: Duration = MINUTE;

row! {
    /// A stored sign of life.
    #[derive(Clone)]
    pub struct Sign {
        pub role: String,
        pub version: String,
        /// Process id and host name, such as `1@a`.
        pub host: String,
        pub stores: Value,
        pub seen_at: Timestamp,
    }
}

/// A running process of the installation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunningProcess {
    /// Command that the process runs, such as `worker`.
    pub role: String,
    /// Release of the process's program.
    pub version: String,
    /// Host of the process.
    pub host: String,
    /// Number of the process on its host; null if not known.
    pub pid: Option<u32>,
    /// When the process was last seen. It is forgotten a minute later.
    pub seen_at: Timestamp,
    /// Whether a process of a later release runs too.
    pub is_older: bool,
}

const ALL: Sql = statement! {"
    SELECT role, version, host, stores, seen_at
    FROM processes
    ORDER BY role, host, id
"};

impl Sign {
    /// Whether the sign is valid. A sign that is ahead of the clock is not, because the clock was set back since.
    pub fn is_live(&self, now: Timestamp) -> bool {
        let seen_at = self.seen_at.unless_ahead(Duration::ZERO, now);
        seen_at.is_some_and(|at| now.since(at) < LIFE)
    }

    pub fn knows(&self, store: &str) -> bool {
        let mut known = self.stores.as_array().into_iter().flatten();
        known.any(|one| one == store)
    }
}

/// Returns all signs of life, sorted by command.
pub fn signs(connection: &mut AnyConnection) -> Result<Vec<Sign>, Error> {
    sql(ALL).all(connection)
}

/// Returns the processes with valid signs of life.
pub fn running(signs: Vec<Sign>, now: Timestamp) -> Vec<RunningProcess> {
    let mut live = signs;
    live.retain(|sign| sign.is_live(now));
    let newest = live.iter().map(|sign| release(&sign.version)).max();
    let running = |sign: Sign| {
        let (pid, host) = match sign.host.split_once('@') {
            Some((pid, host)) => (pid.parse().ok(), host.to_owned()),
            None => (None, sign.host.clone()),
        };
        RunningProcess {
            is_older: Some(release(&sign.version)) < newest,
            role: sign.role,
            version: sign.version,
            host,
            pid,
            seen_at: sign.seen_at,
        }
    };
    live.into_iter().map(running).collect()
}

/// Parses the numbers of a release, by which releases are ordered.
fn release(version: &str) -> Vec<u64> {
    let parts = version.split(['.', '-', '+']);
    parts.map_while(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::{RunningProcess, Sign, running};
    use domain::Timestamp;
    use domain::time::MINUTE;
    use serde_json::json;

    const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

    fn sign(version: &str, host: &str, seen_at: Timestamp) -> Sign {
        Sign {
            role: "worker".to_owned(),
            version: version.to_owned(),
            host: host.to_owned(),
            stores: json!([]),
            seen_at,
        }
    }

    #[test]
    fn a_process_is_older_than_one_of_a_later_release_that_runs() {
        let signs = vec![
            sign("0.9.1", "7@a", NOW),
            sign("0.10.0", "8@b.example", NOW),
            sign("1.0.0", "9@c", NOW.minus(MINUTE)),
            sign("0.10.0-rc.1", "d", NOW),
        ];
        let shown = running(signs, NOW);
        let older: Vec<(&str, bool)> = shown
            .iter()
            .map(|one| (one.host.as_str(), one.is_older))
            .collect();
        let expected = [("a", true), ("b.example", false), ("d", false)];
        assert_eq!(older, expected, "a crashed one does not count");
        let pids: Vec<Option<u32>> = shown.iter().map(|one: &RunningProcess| one.pid).collect();
        assert_eq!(pids, [Some(7), Some(8), None]);
    }
}
