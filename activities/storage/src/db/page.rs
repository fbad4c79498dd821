//! Pages of a list. A cursor is opaque to callers; it names the last row of the previous page.

use crate::connection::{AnyConnection, MultiBackend};
use crate::error::Error;
use crate::statement::{Field, Statement};
use diesel::deserialize::{self, QueryableByName};
use diesel::row::NamedRow;
use domain::CollapseKey;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The SQL of the column `cursor` of a list that is ordered by `created_at` and `id`.
pub const CREATED: &str = "CAST(created_at AS TEXT) || '_' || id";

/// The part of a list that is returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// `next_cursor` of the previous page; `None` for the first page.
    pub cursor: Option<String>,
    /// Maximum number of items, 1 to 1000; clamped.
    pub limit: i64,
}

impl Default for Page {
    fn default() -> Self {
        Self {
            cursor: None,
            limit: 100,
        }
    }
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub struct Paged<T> {
    /// Items of the page, in the order of the list.
    pub items: Vec<T>,
    /// Cursor of the next page; null on the last page.
    pub next_cursor: Option<String>,
}

/// A row of a list, with its cursor.
pub struct Listed<T> {
    /// The cursor that names this row: the column `cursor`.
    pub cursor: String,
    pub item: T,
}

impl<T: Field> QueryableByName<MultiBackend> for Listed<T> {
    fn build<'a>(row: &impl NamedRow<'a, MultiBackend>) -> deserialize::Result<Self> {
        Ok(Self {
            cursor: Field::read(row, "cursor")?,
            item: Field::read(row, "")?,
        })
    }
}

impl Page {
    /// Reads this page with a statement whose last `?` is its `LIMIT`, and whose rows have a column `cursor`.
    pub fn read<T: Field + 'static>(
        &self,
        connection: &mut AnyConnection,
        list: Statement<'_>,
    ) -> Result<Paged<T>, Error> {
        let rows: Vec<Listed<T>> = list.bind(self.size() + 1).all(connection)?;
        Paged::cut(
            rows,
            self.size(),
            |row| row.cursor.clone(),
            |row| Ok(row.item),
        )
    }

    /// Returns the maximum number of items on the page.
    pub fn size(&self) -> i64 {
        self.limit.clamp(1, 1000)
    }

    /// Returns the number in the cursor of a list that is ordered by that number; `first` without a cursor.
    pub fn number_or(&self, first: i64) -> Result<i64, Error> {
        self.cursor.as_deref().map_or(Ok(first), |cursor| {
            cursor.parse().map_err(|_| Error::Cursor)
        })
    }

    /// Returns the collapse key in the cursor of a list that is ordered by collapse key; empty without a cursor.
    pub fn key(&self) -> Result<String, Error> {
        let Some(cursor) = &self.cursor else {
            return Ok(String::new());
        };
        cursor
            .parse()
            .map(|key: CollapseKey| key.to_string())
            .map_err(|_| Error::Cursor)
    }

    /// Returns the number and the id in a cursor `<number>_<id>`; `first` and an empty id without a cursor.
    pub fn pair_or(&self, first: i64) -> Result<(i64, String), Error> {
        let Some(cursor) = &self.cursor else {
            return Ok((first, String::new()));
        };
        let (number, id) = cursor.split_once('_').ok_or(Error::Cursor)?;
        Ok((number.parse().map_err(|_| Error::Cursor)?, id.to_owned()))
    }

    /// Returns the numbers in a cursor `<number>_<number>`; `first` for both without a cursor.
    pub fn numbers_or(&self, first: i64) -> Result<(i64, i64), Error> {
        let (number, second) = self.pair_or(first)?;
        if second.is_empty() {
            return Ok((number, first));
        }
        Ok((number, second.parse().map_err(|_| Error::Cursor)?))
    }
}

impl<T> Paged<T> {
    /// Returns this page with each item converted.
    pub fn map<U>(self, item: impl FnMut(T) -> U) -> Paged<U> {
        Paged {
            items: self.items.into_iter().map(item).collect(),
            next_cursor: self.next_cursor,
        }
    }

    /// Returns a page of at most `size` items from rows that were read with a limit of `size + 1`: the extra row only
    /// shows that there is a next page. `cursor` returns the cursor that names a row.
    pub fn cut<R>(
        mut rows: Vec<R>,
        size: i64,
        cursor: impl Fn(&R) -> String,
        item: impl FnMut(R) -> Result<T, Error>,
    ) -> Result<Self, Error> {
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let has_more = rows.len() > size;
        rows.truncate(size);
        let next_cursor = if has_more {
            rows.last().map(cursor)
        } else {
            None
        };
        Ok(Self {
            items: rows.into_iter().map(item).collect::<Result<_, _>>()?,
            next_cursor,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Page, Paged};

    #[test]
    fn a_page_names_the_next_one_only_when_there_is_more() {
        let cut = |rows: Vec<i64>| Paged::cut(rows, 2, i64::to_string, Ok).unwrap();
        assert_eq!(
            cut(vec![1, 2, 3]),
            Paged {
                items: vec![1, 2],
                next_cursor: Some("2".to_owned())
            }
        );
        assert_eq!(
            cut(vec![1, 2]),
            Paged {
                items: vec![1, 2],
                next_cursor: None
            }
        );
    }

    #[test]
    fn an_invalid_cursor_is_refused() {
        let page = Page {
            cursor: Some("x".to_owned()),
            limit: 1,
        };
        assert!(page.number_or(0).is_err());
        assert!(page.pair_or(0).is_err());
        assert!(page.key().is_err());
    }
}
