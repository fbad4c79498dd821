//! Connections to PostgreSQL: tokio-postgres with rustls, behind diesel's synchronous traits.
//!
//! Each connection has a runtime of its own, which runs on the thread that waits for an answer: no other thread is
//! woken for a statement. So a connection is used on threads where blocking is allowed, such as the writer's, and may
//! be dropped anywhere. A statement that needs no immediate answer waits, and is sent with the next one that does
//! (`session.rs`).

pub mod address;
mod failure;
mod query;
mod row;
mod session;
#[cfg(test)]
mod tests;
mod tls;

use address::Address;
use diesel::connection::{
    AnsiTransactionManager, CacheSize, ConnectionSealed, DynInstrumentation, Instrumentation,
    LoadConnection, SimpleConnection, TransactionManager,
};
use diesel::expression::QueryMetadata;
use diesel::internal::derives::multiconnection::MultiConnectionHelper;
use diesel::migration::{CREATE_MIGRATIONS_TABLE, MigrationConnection};
use diesel::pg::{Pg, PgMetadataLookup};
use diesel::query_builder::{Query as DieselQuery, QueryFragment, QueryId};
use diesel::sql_types::TypeMetadata;
use diesel::{Connection, ConnectionError, ConnectionResult, QueryResult};
use futures::FutureExt as _;
use query::{BuiltIn, Query};
use row::PgRow;
pub use session::QueuedQuery;
use session::{Request, Session};
use std::any::Any;
use std::future::{Future, poll_fn};
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::vec;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::{Builder, Runtime};
use tokio::task::yield_now;
use tokio::time::timeout;
use tokio_postgres::{SimpleQueryMessage, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

/// First statement of every session. Returns the server's process id of the session.
const SETTINGS: &str =
    "SET TIME ZONE 'UTC'; SET CLIENT_ENCODING TO 'UTF8'; SELECT pg_backend_pid()";

/// Parameters that a server reports when it starts or stops accepting writes, before it is ready again; from PostgreSQL
/// 14 on. <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-ASYNC>
const READ_ONLY: [&str; 2] = ["default_transaction_read_only", "in_hot_standby"];

pub struct PostgresConnection {
    /// Boxed, because it is much larger than a connection to SQLite.
    session: Box<Session>,
    transaction: AnsiTransactionManager,
    runtime: OwnRuntime,
    next: NextStatement,
    /// Maximum time for an answer, if this process sets one.
    limit: Option<Duration>,
    instrumentation: DynInstrumentation,
}

/// The way in which the next statement is run.
#[derive(Default)]
enum NextStatement {
    #[default]
    Now,
    /// Sent with the next statement that is run now.
    Later,
    /// Like `Later`, for a query whose rows are fetched later; the queued query, once it was run.
    Ahead(Option<QueuedQuery>),
    /// Run already, as this query, whose rows are fetched now.
    Fetched(QueuedQuery),
}

/// The runtime of one connection. Dropping it never blocks, so it may happen on a thread of another runtime.
struct OwnRuntime(Option<Runtime>);

impl OwnRuntime {
    fn new() -> std::io::Result<Self> {
        Builder::new_current_thread()
            .enable_all()
            .build()
            .map(Some)
            .map(Self)
    }

    fn block_on<F: Future>(&self, future: F) -> F::Output {
        match &self.0 {
            Some(runtime) => runtime.block_on(future),
            None => unreachable!("it is taken when it is dropped"),
        }
    }
}

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Tries the hosts in their order, until one answers and accepts writes.
async fn connect(address: &Address) -> ConnectionResult<Session> {
    let tls = address
        .tls
        .config()
        .map_err(|invalid| ConnectionError::InvalidConnectionUrl(invalid.0))?;
    let tls = MakeRustlsConnect::new(tls);
    let mut failure = ConnectionError::InvalidConnectionUrl("it names no host".to_owned());
    for host in &address.hosts {
        let connecting = async {
            let (client, connection) = host
                .connect(tls.clone())
                .await
                .map_err(|error| failure::of_connecting(&error))?;
            let is_read_only = Arc::new(AtomicBool::new(false));
            tokio::spawn(drive(connection, Arc::clone(&is_read_only)));
            let set = client.simple_query(SETTINGS).await;
            let set = set
                .map_err(|error| ConnectionError::CouldntSetupConfiguration(failure::of(&error)))?;
            Ok(Session::new(
                client,
                set.iter().find_map(backend),
                is_read_only,
            ))
        };
        let connected = match address.timeout {
            Some(limit) => timeout(limit, connecting)
                .await
                .unwrap_or_else(|_| Err(silent())),
            None => connecting.await,
        };
        match connected {
            Ok(session) => return Ok(session),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// Drives a connection, and notes whether its server accepts no writes. Ends when the client is dropped or the
/// connection fails; requests of the client then fail.
async fn drive<T>(
    mut connection: tokio_postgres::Connection<Socket, T>,
    is_read_only: Arc<AtomicBool>,
) where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let driven = poll_fn(|context| {
        let polled = connection.poll_unpin(context);
        let is_on = READ_ONLY
            .iter()
            .any(|name| connection.parameter(name) == Some("on"));
        is_read_only.store(is_on, Ordering::Relaxed);
        polled
    });
    drop(driven.await);
}

/// Returns the process id in a row of [`SETTINGS`].
fn backend(message: &SimpleQueryMessage) -> Option<i32> {
    let SimpleQueryMessage::Row(row) = message else {
        return None;
    };
    row.try_get(0).ok().flatten()?.parse().ok()
}

fn silent() -> ConnectionError {
    ConnectionError::BadConnection("the server does not answer".to_owned())
}

impl PostgresConnection {
    /// Connects for a few short statements. Neither connecting to a host nor an answer may take longer than `limit`.
    pub fn briefly(url: &str, limit: Duration) -> ConnectionResult<Self> {
        let mut address = Address::parse(url)
            .map_err(|invalid| ConnectionError::InvalidConnectionUrl(invalid.0))?;
        address.timeout = Some(limit);
        Ok(Self {
            limit: Some(limit),
            ..Self::to(&address)?
        })
    }

    fn to(address: &Address) -> ConnectionResult<Self> {
        let runtime =
            OwnRuntime::new().map_err(|error| ConnectionError::BadConnection(error.to_string()))?;
        let session = Box::new(runtime.block_on(connect(address))?);
        Ok(Self {
            session,
            transaction: AnsiTransactionManager::default(),
            runtime,
            next: NextStatement::Now,
            limit: None,
            instrumentation: DynInstrumentation::default_instrumentation(),
        })
    }

    /// Sends the next statement with the one after it, if it is in a transaction. Its error becomes that of the later
    /// statement.
    pub fn defer_next(&mut self) {
        self.next = NextStatement::Later;
    }

    /// Sends the next query, if it is in a transaction, with the statement after it; see [`Self::queued`].
    pub fn run_next_ahead(&mut self) {
        self.next = NextStatement::Ahead(None);
    }

    /// Returns the query that was run ahead; `None` if it was not run.
    pub fn queued(&mut self) -> Option<QueuedQuery> {
        match mem::take(&mut self.next) {
            NextStatement::Ahead(queued) => queued,
            NextStatement::Now | NextStatement::Later | NextStatement::Fetched(_) => None,
        }
    }

    /// Makes the next statement fetch the rows of this query, which was run ahead.
    pub fn fetch_next(&mut self, queued: QueuedQuery) {
        self.next = NextStatement::Fetched(queued);
    }

    /// Returns whether the server refused a request that was sent with the last one: a `COMMIT` then rolled back.
    pub const fn is_undone(&self) -> bool {
        self.session.is_undone()
    }

    /// Returns whether another connection must take its place: the server has closed it, as far as this machine knows,
    /// accepts no writes any more, or refused something that another session may do. Reads first what the server has
    /// sent since the last statement.
    pub fn is_over(&mut self) -> bool {
        // The runtime needs three turns: to notice the socket, to run the task that reads it, and to finish that task.
        self.runtime.block_on(async {
            for _ in 0..3 {
                yield_now().await;
            }
        });
        self.session.is_over()
    }

    fn is_in_transaction(&mut self) -> bool {
        let status = AnsiTransactionManager::transaction_manager_status_mut(self);
        status
            .transaction_depth()
            .is_ok_and(|depth| depth.is_some())
    }

    fn wait<T>(
        &mut self,
        request: impl AsyncFnOnce(&mut Session) -> QueryResult<T>,
    ) -> QueryResult<T> {
        let Some(limit) = self.limit else {
            return self.runtime.block_on(request(&mut self.session));
        };
        let answered = self
            .runtime
            .block_on(async { timeout(limit, request(&mut self.session)).await });
        answered.unwrap_or_else(|_| Err(failure::silent()))
    }
}

impl SimpleConnection for PostgresConnection {
    fn batch_execute(&mut self, query: &str) -> QueryResult<()> {
        if query.starts_with("ROLLBACK") {
            if matches!(mem::take(&mut self.next), NextStatement::Later) {
                return self.wait(async |session| {
                    session.roll_back_later(query).await;
                    Ok(())
                });
            }
            return self.wait(async |session| session.roll_back(query).await);
        }
        let request = Request::Batch(query.to_owned());
        match mem::take(&mut self.next) {
            NextStatement::Later => {
                self.session.queue(request);
                Ok(())
            }
            NextStatement::Now | NextStatement::Ahead(_) | NextStatement::Fetched(_) => {
                self.wait(async |session| session.answer(request).await)?;
                // Rows that a transaction fetched are not used after it.
                if query == "COMMIT" {
                    self.session.forget();
                }
                Ok(())
            }
        }
    }
}

impl ConnectionSealed for PostgresConnection {}

impl Connection for PostgresConnection {
    type Backend = Pg;
    type TransactionManager = AnsiTransactionManager;

    fn establish(url: &str) -> ConnectionResult<Self> {
        Self::to(
            &Address::parse(url)
                .map_err(|invalid| ConnectionError::InvalidConnectionUrl(invalid.0))?,
        )
    }

    fn execute_returning_count<T>(&mut self, source: &T) -> QueryResult<usize>
    where
        T: QueryFragment<Pg> + QueryId,
    {
        let next = mem::take(&mut self.next);
        let request = Request::Query(Query::of(source)?);
        if matches!(next, NextStatement::Later) && self.is_in_transaction() {
            self.session.queue(request);
            return Ok(0);
        }
        self.wait(async |session| session.answer(request).await)
            .map(|answer| answer.changed)
    }

    fn transaction_state(&mut self) -> &mut AnsiTransactionManager {
        &mut self.transaction
    }

    fn instrumentation(&mut self) -> &mut dyn Instrumentation {
        &mut *self.instrumentation
    }

    fn set_instrumentation(&mut self, instrumentation: impl Instrumentation) {
        self.instrumentation = instrumentation.into();
    }

    fn set_prepared_statement_cache_size(&mut self, _: CacheSize) {}
}

impl LoadConnection for PostgresConnection {
    type Cursor<'conn, 'query> = vec::IntoIter<QueryResult<PgRow>>;
    type Row<'conn, 'query> = PgRow;

    fn load<'conn, 'query, T>(
        &'conn mut self,
        source: T,
    ) -> QueryResult<Self::Cursor<'conn, 'query>>
    where
        T: DieselQuery + QueryFragment<Pg> + QueryId + 'query,
        Pg: QueryMetadata<T::SqlType>,
    {
        let rows = match mem::take(&mut self.next) {
            NextStatement::Ahead(_) => {
                let query = if self.is_in_transaction() {
                    Some(Query::of(&source)?)
                } else {
                    None
                };
                self.next =
                    NextStatement::Ahead(query.map(|query| self.session.queue_query(query)));
                Vec::new()
            }
            NextStatement::Fetched(queued) => {
                self.wait(async |session| session.fetch(queued).await)?
            }
            NextStatement::Now | NextStatement::Later => {
                let request = Request::Query(Query::of(&source)?);
                self.wait(async |session| session.answer(request).await)?
                    .rows
            }
        };
        Ok(rows.into_iter().map(Ok).collect::<Vec<_>>().into_iter())
    }
}

/// The enum of connections requires this implementation. Nothing calls it (`schema` applies the migrations).
impl MigrationConnection for PostgresConnection {
    fn setup(&mut self) -> QueryResult<usize> {
        self.batch_execute(CREATE_MIGRATIONS_TABLE).map(|()| 0)
    }
}

impl MultiConnectionHelper for PostgresConnection {
    fn to_any<'a>(_: &mut <Pg as TypeMetadata>::MetadataLookup) -> &mut (dyn Any + 'a) {
        // The value has no size, so nothing is allocated or leaked.
        Box::leak(Box::new(BuiltIn))
    }

    fn from_any(lookup: &mut dyn Any) -> Option<&mut <Pg as TypeMetadata>::MetadataLookup> {
        lookup
            .downcast_mut::<BuiltIn>()
            .map(|lookup| lookup as &mut dyn PgMetadataLookup)
    }
}
