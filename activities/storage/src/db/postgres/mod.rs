//! Connections to PostgreSQL: tokio-postgres with rustls, behind diesel's synchronous traits.
//!
//! Each connection has a runtime of its own, which runs on the thread that waits for an answer: no other thread is woken
//! for a statement. So a connection is used on threads where blocking is allowed, such as the writer's, and may be
//! dropped anywhere.

mod address;
#[cfg(test)]
mod tests;
mod tls;

use crate::db::error::chain;
use address::Address;
use diesel::connection::{
    AnsiTransactionManager, CacheSize, ConnectionSealed, Instrumentation, LoadConnection, SimpleConnection,
    TransactionManager,
};
use diesel::expression::QueryMetadata;
use diesel::internal::derives::multiconnection::MultiConnectionHelper;
use diesel::migration::{CREATE_MIGRATIONS_TABLE, MigrationConnection};
use diesel::pg::{Pg, PgMetadataLookup, PgTypeMetadata};
use diesel::query_builder::{Query, QueryFragment, QueryId};
use diesel::r2d2::R2D2Connection;
use diesel::sql_types::TypeMetadata;
use diesel::{Connection, ConnectionError, ConnectionResult, QueryResult};
use diesel_async::pooled_connection::PoolableConnection;
use diesel_async::{AsyncConnection, AsyncConnectionCore, AsyncPgConnection, SimpleAsyncConnection};
use futures::TryStreamExt;
use std::any::Any;
use std::future::Future;
use std::vec;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use tokio_postgres_rustls::MakeRustlsConnect;

/// A connection to PostgreSQL.
pub struct PostgresConnection {
    /// Boxed, because it is much larger than a connection to SQLite.
    connection: Box<AsyncPgConnection>,
    transaction: AnsiTransactionManager,
    runtime: OwnRuntime,
}

/// The runtime of one connection. Dropping it never blocks, so it may happen on a thread of another runtime.
struct OwnRuntime(Option<Runtime>);

impl OwnRuntime {
    fn new() -> std::io::Result<Self> {
        Builder::new_current_thread().enable_all().build().map(Some).map(Self)
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

/// Tries the hosts in their order, until one answers.
async fn connect(address: &Address) -> ConnectionResult<AsyncPgConnection> {
    let tls = address.tls.config().map_err(|invalid| ConnectionError::InvalidConnectionUrl(invalid.0))?;
    let tls = MakeRustlsConnect::new(tls);
    let mut failure = ConnectionError::InvalidConnectionUrl("it names no host".to_owned());
    for host in &address.hosts {
        let connecting = async {
            let (client, connection) =
                host.connect(tls.clone()).await.map_err(|error| ConnectionError::BadConnection(chain(&error)))?;
            AsyncPgConnection::try_from_client_and_connection(client, connection).await
        };
        let connected = match address.timeout {
            Some(limit) => timeout(limit, connecting).await.unwrap_or_else(|_| Err(silent())),
            None => connecting.await,
        };
        match connected {
            Ok(connection) => return Ok(connection),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn silent() -> ConnectionError {
    ConnectionError::BadConnection("the server does not answer".to_owned())
}

impl SimpleConnection for PostgresConnection {
    fn batch_execute(&mut self, query: &str) -> QueryResult<()> {
        self.runtime.block_on(self.connection.batch_execute(query))
    }
}

impl ConnectionSealed for PostgresConnection {}

impl Connection for PostgresConnection {
    type Backend = Pg;
    type TransactionManager = AnsiTransactionManager;

    fn establish(url: &str) -> ConnectionResult<Self> {
        let address = Address::parse(url).map_err(|invalid| ConnectionError::InvalidConnectionUrl(invalid.0))?;
        let runtime = OwnRuntime::new().map_err(|error| ConnectionError::BadConnection(error.to_string()))?;
        let connection = Box::new(runtime.block_on(connect(&address))?);
        Ok(Self { connection, transaction: AnsiTransactionManager::default(), runtime })
    }

    fn execute_returning_count<T>(&mut self, source: &T) -> QueryResult<usize>
    where
        T: QueryFragment<Pg> + QueryId,
    {
        self.runtime.block_on(AsyncConnectionCore::execute_returning_count(&mut *self.connection, source))
    }

    fn transaction_state(&mut self) -> &mut AnsiTransactionManager {
        &mut self.transaction
    }

    fn instrumentation(&mut self) -> &mut dyn Instrumentation {
        self.connection.instrumentation()
    }

    fn set_instrumentation(&mut self, instrumentation: impl Instrumentation) {
        self.connection.set_instrumentation(instrumentation);
    }

    fn set_prepared_statement_cache_size(&mut self, size: CacheSize) {
        self.connection.set_prepared_statement_cache_size(size);
    }
}

/// A row of PostgreSQL.
type PgRow<'conn, 'query> = <AsyncPgConnection as AsyncConnectionCore>::Row<'conn, 'query>;

impl LoadConnection for PostgresConnection {
    type Cursor<'conn, 'query> = vec::IntoIter<QueryResult<PgRow<'conn, 'query>>>;
    type Row<'conn, 'query> = PgRow<'conn, 'query>;

    fn load<'conn, 'query, T>(&'conn mut self, source: T) -> QueryResult<Self::Cursor<'conn, 'query>>
    where
        T: Query + QueryFragment<Pg> + QueryId + 'query,
        Pg: QueryMetadata<T::SqlType>,
    {
        let Self { connection, runtime, .. } = self;
        let rows = runtime.block_on(async {
            let rows = AsyncConnectionCore::load(&mut **connection, source).await?;
            rows.map_ok(Ok).try_collect::<Vec<_>>().await
        });
        rows.map(Vec::into_iter)
    }
}

impl R2D2Connection for PostgresConnection {
    fn ping(&mut self) -> QueryResult<()> {
        self.batch_execute("")
    }

    fn is_broken(&mut self) -> bool {
        AnsiTransactionManager::is_broken_transaction_manager(self)
            || PoolableConnection::is_broken(&mut *self.connection)
    }
}

impl MigrationConnection for PostgresConnection {
    fn setup(&mut self) -> QueryResult<usize> {
        self.batch_execute(CREATE_MIGRATIONS_TABLE).map(|()| 0)
    }
}

/// The types of values and columns are all built in, so nothing is looked up in the database.
struct BuiltIn;

impl PgMetadataLookup for BuiltIn {
    fn lookup_type(&mut self, _: &str, _: Option<&str>) -> PgTypeMetadata {
        // The server infers the type.
        PgTypeMetadata::new(0, 0)
    }
}

impl MultiConnectionHelper for PostgresConnection {
    fn to_any<'a>(_: &mut <Pg as TypeMetadata>::MetadataLookup) -> &mut (dyn Any + 'a) {
        // A value without a size: nothing is allocated, so nothing is lost.
        Box::leak(Box::new(BuiltIn))
    }

    fn from_any(lookup: &mut dyn Any) -> Option<&mut <Pg as TypeMetadata>::MetadataLookup> {
        lookup.downcast_mut::<BuiltIn>().map(|lookup| lookup as &mut dyn PgMetadataLookup)
    }
}
