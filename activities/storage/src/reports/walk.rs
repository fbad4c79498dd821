//! Lists of large tables with any filter at a bounded cost. A page walks one index, newest first, over at most 20,000
//! rows (the texts of the statements have that number), and the other conditions are checked on these. So a page may have
//! fewer items than its limit, or none, and yet a next one.

use crate::db::connection::AnyConnection;
use crate::db::error::Error;
use crate::db::page::{Page, Paged};
use crate::db::sql::{Clause, Sql};
use crate::db::statement::{Field, Value};
use crate::reports::listing::Filtered;

/// A condition, with its value if it has one.
pub type Condition<'a> = (Clause, Option<Value<'a>>);

/// A condition that has an index: as it uses the index, and as it does not.
#[derive(Clone)]
pub struct Indexed<'a> {
    pub walked: Clause,
    pub checked: Clause,
    pub value: Value<'a>,
}

/// A list that is ordered by `seq`, descending.
pub struct Walk<'a> {
    /// The list. It binds `seq < ?` and `seq >= ?` after `first`.
    pub list: Sql,
    /// The row that ends a walk: it binds `seq < ?`.
    pub floor: Sql,
    pub first: Vec<Value<'a>>,
    /// Conditions with an index: that of one of them is walked, or the whole table if there are none.
    pub indexed: Vec<Indexed<'a>>,
    pub others: Vec<Condition<'a>>,
    /// The range of sequence numbers in which all wanted rows are: from the first one, and below the second.
    pub range: (i64, i64),
}

impl<'a> Walk<'a> {
    /// Reads a page, whose cursor is a sequence number.
    pub fn page<T: Field + 'static>(self, connection: &mut AnyConnection, page: &Page) -> Result<Paged<T>, Error> {
        let below = page.number_or(i64::MAX)?.min(self.range.1);
        let walked = if self.others.is_empty() && self.indexed.len() < 2 {
            (0, self.range.0)
        } else {
            self.longest(connection, below)?
        };
        let (index, floor) = (walked.0, walked.1.max(self.range.0));
        let indexed = self
            .indexed
            .into_iter()
            .enumerate()
            .map(|(at, one)| (if at == index { one.walked } else { one.checked }, Some(one.value)));
        let bounds = self.first.into_iter().chain([below.into(), floor.into()]);
        let list = with(Filtered::new(self.list, bounds), indexed.chain(self.others));
        let mut found: Paged<T> = page.read(connection, list.statement())?;
        if found.next_cursor.is_none() && floor > self.range.0 {
            found.next_cursor = Some(floor.to_string());
        }
        Ok(found)
    }

    /// The index whose walk reaches the lowest row, and that row.
    fn longest(&self, connection: &mut AnyConnection, below: i64) -> Result<(usize, i64), Error> {
        let mut floor = |walked: Option<Condition<'a>>| {
            let floor = with(Filtered::new(self.floor, [below.into()]), walked.into_iter());
            Ok::<i64, Error>(floor.statement().value(connection)?.unwrap_or(0))
        };
        if self.indexed.is_empty() {
            return Ok((0, floor(None)?));
        }
        let mut longest = (0, i64::MAX);
        for (at, one) in self.indexed.iter().enumerate() {
            let reached = floor(Some((one.walked, Some(one.value.clone()))))?;
            if reached < longest.1 {
                longest = (at, reached);
            }
        }
        Ok(longest)
    }
}

fn with<'a>(list: Filtered<'a>, conditions: impl Iterator<Item = Condition<'a>>) -> Filtered<'a> {
    conditions.fold(list, |list, (clause, value)| match value {
        Some(value) => list.and(clause, Some(value)),
        None => list.when(Some(clause)),
    })
}
