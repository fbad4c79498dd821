//! Rows of PostgreSQL, as diesel reads them.

use diesel::pg::{Pg, PgValue, TypeOidLookup};
use diesel::row::{Field, PartialRow, Row, RowIndex, RowSealed};
use std::error::Error;
use std::num::NonZeroU32;
use std::ops::Range;
use std::sync::Arc;
use tokio_postgres::types::{FromSql, Type};

pub struct PgRow {
    row: tokio_postgres::Row,
    /// The types of the columns, shared by all rows of the answer.
    kinds: Arc<[Oid]>,
}

pub struct Oid(NonZeroU32);

impl TypeOidLookup for Oid {
    fn lookup(&self) -> NonZeroU32 {
        self.0
    }
}

impl PgRow {
    pub fn of_answer(rows: Vec<tokio_postgres::Row>) -> Vec<Self> {
        let Some(first) = rows.first() else {
            return Vec::new();
        };
        let oid = |kind: &Type| Oid(NonZeroU32::new(kind.oid()).unwrap_or(NonZeroU32::MIN));
        let kinds: Arc<[Oid]> = first
            .columns()
            .iter()
            .map(|column| oid(column.type_()))
            .collect();
        rows.into_iter()
            .map(|row| Self {
                row,
                kinds: kinds.clone(),
            })
            .collect()
    }
}

impl RowSealed for PgRow {}

impl<'a> Row<'a, Pg> for PgRow {
    type Field<'f>
        = PgField<'f>
    where
        'a: 'f,
        Self: 'f;
    type InnerPartialRow = Self;

    fn field_count(&self) -> usize {
        self.row.len()
    }

    fn get<'f, I>(&'f self, index: I) -> Option<Self::Field<'f>>
    where
        'a: 'f,
        Self: RowIndex<I>,
    {
        self.idx(index).map(|index| PgField { row: self, index })
    }

    fn partial_row(&self, range: Range<usize>) -> PartialRow<'_, Self::InnerPartialRow> {
        PartialRow::new(self, range)
    }
}

impl RowIndex<usize> for PgRow {
    fn idx(&self, index: usize) -> Option<usize> {
        (index < self.row.len()).then_some(index)
    }
}

impl<'a> RowIndex<&'a str> for PgRow {
    fn idx(&self, name: &'a str) -> Option<usize> {
        self.row
            .columns()
            .iter()
            .position(|column| column.name() == name)
    }
}

pub struct PgField<'r> {
    row: &'r PgRow,
    index: usize,
}

impl<'r> Field<'r, Pg> for PgField<'r> {
    fn field_name(&self) -> Option<&str> {
        self.row
            .row
            .columns()
            .get(self.index)
            .map(tokio_postgres::Column::name)
    }

    fn value(&self) -> Option<PgValue<'_>> {
        let Stored(bytes) = self.row.row.try_get(self.index).ok()?;
        Some(PgValue::new(bytes?, self.row.kinds.get(self.index)?))
    }
}

/// The bytes of a field; `None` is NULL.
struct Stored<'r>(Option<&'r [u8]>);

impl<'r> FromSql<'r> for Stored<'r> {
    fn from_sql(_: &Type, bytes: &'r [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(Some(bytes)))
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(None))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}
