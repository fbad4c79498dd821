//! The requirements for a PostgreSQL server: its release, its encoding, sessions that are not pooled, and permissions.
//! They are checked before the first write, because an unmet requirement would otherwise show later, in the middle of
//! the work, as another fault. Session settings of a role are no requirement: each session sets its own
//! (`connection.rs`).

use crate::config::Database;
use crate::connection::AnyConnection;
use crate::error::Error;
use crate::sql::{Sql, statement};
use crate::statement::{row, sql};

/// The oldest release of PostgreSQL. Older ones do not report that they accept no writes any more.
const OLDEST: i64 = 14;
const ENCODING: &str = "UTF8";

row! {
    /// The server's version and parameters, and those of this session.
    #[derive(Clone)]
    struct ServerRow {
        release: i64,
        version: String,
        encoding: String,
        is_read_only: bool,
        role: String,
        /// The first schema of the search path that exists and may be used.
        schema: Option<String>,
    }
}

const SERVER: Sql = statement! {"
    SELECT CAST(current_setting('server_version_num') AS BIGINT) / 10000 AS release,
        current_setting('server_version') AS version, current_setting('server_encoding') AS encoding,
        CAST(current_setting('transaction_read_only') AS BOOLEAN) AS is_read_only,
        CAST(current_user AS TEXT) AS role, CAST(current_schema() AS TEXT) AS schema
"};
const BACKEND: Sql = statement!("SELECT CAST(pg_backend_pid() AS BIGINT) AS value");

/// Selects the tables of this list that the role may not read and write. The fingerprints are only read after a
/// migration, and the audit log need not allow changes of its entries.
const FORBIDDEN: Sql = statement! {"
    SELECT string_agg(CAST(relname AS TEXT), ', ' ORDER BY relname) AS value
    FROM pg_class
    WHERE relname IN (?*) AND oid = to_regclass(CAST(relname AS TEXT))
        AND NOT (has_table_privilege(oid, 'SELECT')
            AND (relname = 'fingerprints' OR has_table_privilege(oid, 'INSERT'))
            AND (relname IN ('fingerprints', 'audit_log')
                OR (has_table_privilege(oid, 'UPDATE') AND has_table_privilege(oid, 'DELETE'))))
"};
/// Selects whether the role may change the tables of this list, and create others.
const MAY_MIGRATE: Sql = statement! {"
    SELECT COALESCE(has_schema_privilege(current_schema(), 'CREATE'), FALSE)
        AND NOT EXISTS (
            SELECT 1
            FROM pg_class
            WHERE relname IN (?*) AND oid = to_regclass(CAST(relname AS TEXT)) AND NOT pg_has_role(relowner, 'USAGE')
        ) AS value
"};

/// Checks the server of this connection, and the rights of its role on these tables.
///
/// # Errors
/// [`Error::Corrupt`] with one sentence that names the setting.
pub fn check(
    database: &Database,
    connection: &mut AnyConnection,
    tables: &[String],
) -> Result<(), Error> {
    if !connection.is_shared() {
        return Ok(());
    }
    if is_pooled(backends(database, connection)?) {
        return Err(Error::corrupt(
            "a pooler gives each transaction another session: name the server, or a pool in session mode (PgBouncer: \
             `pool_mode = session`)",
        ));
    }
    let server: ServerRow = sql(SERVER).one(connection, "server")?;
    if let Some(reason) = server.refusal() {
        return Err(Error::corrupt(reason));
    }
    match sql(FORBIDDEN)
        .bind_list(tables.to_vec())
        .value::<Option<String>>(connection)?
        .flatten()
    {
        Some(forbidden) => Err(Error::corrupt(format!(
            "the role `{}` lacks rights: GRANT SELECT, INSERT, UPDATE, DELETE on the tables {forbidden}",
            server.role
        ))),
        None => Ok(()),
    }
}

/// Checks that the role may change these tables.
///
/// # Errors
/// As [`check`].
pub fn check_migrating(connection: &mut AnyConnection, tables: &[String]) -> Result<(), Error> {
    let may = !connection.is_shared()
        || sql(MAY_MIGRATE)
            .bind_list(tables.to_vec())
            .value(connection)?
            == Some(true);
    if may {
        return Ok(());
    }
    let server: ServerRow = sql(SERVER).one(connection, "server")?;
    Err(Error::corrupt(format!(
        "the role `{}` may not migrate: it must own settle's tables and have the right CREATE in the schema `{}`",
        server.role,
        server.schema.unwrap_or_default()
    )))
}

impl ServerRow {
    /// Returns why the database cannot be used; `None` if it can.
    fn refusal(&self) -> Option<String> {
        let Self {
            release,
            version,
            encoding,
            is_read_only,
            role,
            schema,
        } = self;
        if *release < OLDEST {
            Some(format!(
                "PostgreSQL {version} is too old: PostgreSQL {OLDEST} or later is needed"
            ))
        } else if encoding != ENCODING {
            Some(format!(
                "its encoding is {encoding}: create it with `ENCODING '{ENCODING}'`"
            ))
        } else if *is_read_only {
            Some(
                "it accepts no writes: it is a standby, or `default_transaction_read_only` is on"
                    .to_owned(),
            )
        } else if schema.is_none() {
            Some(format!(
                "no schema of its `search_path` may be used by the role `{role}`"
            ))
        } else {
            None
        }
    }
}

/// The server's process ids: of a session, read twice; of a second session in a transaction; and of the first session
/// during that transaction.
#[derive(Debug, Clone, Copy)]
struct Backends {
    first: [i64; 2],
    second: i64,
    again: i64,
}

fn backends(database: &Database, connection: &mut AnyConnection) -> Result<Backends, Error> {
    // A pool that uses its sessions in turn runs the second query in another one.
    let first = [backend(connection)?, backend(connection)?];
    let mut other = AnyConnection::to(database).map_err(Error::unavailable)?;
    other.begin().map_err(Error::of_query)?;
    let second = backend(&mut other)?;
    // A pool of one session would not answer before the transaction ends.
    let again = if second == first[0] {
        second
    } else {
        backend(connection)?
    };
    other.abandon().map_err(Error::of_query)?;
    Ok(Backends {
        first,
        second,
        again,
    })
}

/// Returns the id of the server's process that runs the query. The query is not prepared, because a pooler may have
/// lost the prepared statement since the last transaction.
fn backend(connection: &mut AnyConnection) -> Result<i64, Error> {
    sql(BACKEND)
        .uncached()
        .value(connection)?
        .ok_or(Error::Missing { what: "session" })
}

/// Returns whether two sessions share a process, or one changes its process: the settings, locks and prepared
/// statements of a session are then not its own.
const fn is_pooled(backends: Backends) -> bool {
    let [first, later] = backends.first;
    first != later || first == backends.second || first != backends.again
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_that_keeps_its_process_is_not_pooled() {
        let known = [
            ([1, 1, 2, 1], false),
            ([1, 1, 1, 1], true),
            ([1, 1, 2, 3], true),
            ([1, 1, 2, 2], true),
            ([1, 2, 1, 1], true),
        ];
        for (backends, expected) in known {
            let [first, later, second, again] = backends;
            assert_eq!(
                is_pooled(Backends {
                    first: [first, later],
                    second,
                    again
                }),
                expected,
                "{backends:?}"
            );
        }
    }

    #[test]
    fn what_a_server_lacks_is_named_in_one_sentence() {
        let server = ServerRow {
            release: OLDEST,
            version: "14.0".to_owned(),
            encoding: "UTF8".to_owned(),
            is_read_only: false,
            role: "app".to_owned(),
            schema: Some("public".to_owned()),
        };
        assert_eq!(server.refusal(), None);
        let table = [
            (
                ServerRow {
                    release: 13,
                    version: "13.9".to_owned(),
                    ..server.clone()
                },
                "PostgreSQL 13.9 is too old",
            ),
            (
                ServerRow {
                    encoding: "SQL_ASCII".to_owned(),
                    ..server.clone()
                },
                "its encoding is SQL_ASCII",
            ),
            (
                ServerRow {
                    encoding: "LATIN1".to_owned(),
                    ..server.clone()
                },
                "its encoding is LATIN1",
            ),
            (
                ServerRow {
                    is_read_only: true,
                    ..server.clone()
                },
                "`default_transaction_read_only` is on",
            ),
            (
                ServerRow {
                    schema: None,
                    ..server
                },
                "`search_path`",
            ),
        ];
        for (server, expected) in table {
            let refusal = server.refusal().expect(expected);
            assert!(
                refusal.contains(expected) && !refusal.contains('\n'),
                "{refusal}"
            );
        }
    }
}
