//! A query in the form in which it is sent: its text, and its values in PostgreSQL's binary format.

use diesel::QueryResult;
use diesel::pg::{Pg, PgMetadataLookup, PgQueryBuilder, PgTypeMetadata};
use diesel::query_builder::bind_collector::RawBytesBindCollector;
use diesel::query_builder::{QueryBuilder, QueryFragment};
use diesel::result::Error;
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{IsNull, ToSql, Type};

pub struct Query {
    /// Text of the statement, with `$1` for the first value.
    pub text: String,
    pub values: Vec<Bound>,
    /// Whether the query is prepared once per connection.
    pub is_cached: bool,
}

/// A value in PostgreSQL's binary format; `None` is NULL.
#[derive(Debug)]
pub struct Bound {
    pub kind: Type,
    bytes: Option<Vec<u8>>,
}

impl Query {
    pub fn of(source: &impl QueryFragment<Pg>) -> QueryResult<Self> {
        let mut text = PgQueryBuilder::default();
        source.to_sql(&mut text, &Pg)?;
        let mut collected = RawBytesBindCollector::<Pg>::new();
        source.collect_binds(&mut collected, &mut BuiltIn, &Pg)?;
        let kinds = collected.metadata.iter().map(|kind| {
            let oid = kind
                .oid()
                .map_err(|cause| Error::SerializationError(Box::new(cause)))?;
            Type::from_oid(oid).ok_or_else(|| {
                Error::SerializationError(format!("the type {oid} is not built in").into())
            })
        });
        let values = kinds
            .zip(collected.binds)
            .map(|(kind, bytes)| Ok(Bound { kind: kind?, bytes }));
        Ok(Self {
            values: values.collect::<QueryResult<_>>()?,
            text: text.finish(),
            is_cached: source.is_safe_to_cache_prepared(&Pg)?,
        })
    }

    pub fn kinds(&self) -> Vec<Type> {
        self.values.iter().map(|value| value.kind.clone()).collect()
    }
}

impl ToSql for Bound {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        let Some(bytes) = &self.bytes else {
            return Ok(IsNull::Yes);
        };
        out.extend_from_slice(bytes);
        Ok(IsNull::No)
    }

    /// Accepts any type: the query was prepared with the value's own type.
    fn accepts(_: &Type) -> bool {
        true
    }

    fn to_sql_checked(
        &self,
        kind: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        self.to_sql(kind, out)
    }
}

/// The types of values and columns are all built in, so nothing is looked up in the database.
pub struct BuiltIn;

impl PgMetadataLookup for BuiltIn {
    fn lookup_type(&mut self, _: &str, _: Option<&str>) -> PgTypeMetadata {
        // The server infers the type.
        PgTypeMetadata::new(0, 0)
    }
}
