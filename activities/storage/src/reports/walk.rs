//! Lists of large tables with any filter, at a bounded cost. A page scans one index, newest first, over at most 20,000
//! rows, and checks the other conditions on these rows. So a page can have fewer items than its limit, or none, even if
//! another page follows.
//!
//! An index that begins with the platform or destination also serves an app: it is scanned once for each of the app's
//! platforms or destinations, and the results are merged. So a list of an app reads only rows of that app.
//!
//! If a filter could use several indexes, the one whose scan ends first is used. A filter names its app first, so that
//! nothing else is read for an app without rows.

use crate::reports::filtered::Filtered;
use db::connection::AnyConnection;
use db::error::Error;
use db::page::{Listed, Page, Paged};
use db::sql::{Clause, Sql};
use db::statement::{Field, Value};
use db::time_limit;
use std::cmp::Reverse;
use std::time::Duration;

/// Maximum number of rows that a page scans.
pub const WALKED: i64 = 20_000;

/// Number of rows with which each of several indexes is tried first: by one of them, most filters match fewer rows.
const FEW: i64 = 500;

/// Maximum duration of each statement of a page on SQLite. On PostgreSQL, setting a limit would cost round trips;
/// there, the limit of all statements applies.
pub const LIMIT: Duration = Duration::from_secs(2);

/// A condition, with its value if it has one.
pub type Condition<'a> = (Clause, Option<Value<'a>>);

/// The conditions of a filter: those with an index, and the others.
pub type Conditions = (Vec<Indexed<'static>>, Vec<Condition<'static>>);

/// The position of a row in its list, as cursors contain it.
pub trait Place: Clone + Ord {
    /// Parses a cursor; `None` if the text is not a cursor of this list.
    fn parse(cursor: &str) -> Option<Self>;
    fn cursor(&self) -> String;
    /// Returns the values that a statement binds to compare a row with this position.
    fn values(&self) -> Vec<Value<'static>>;
}

/// The position in a list that is ordered by a sequence number.
impl Place for i64 {
    fn parse(cursor: &str) -> Option<Self> {
        cursor.parse().ok()
    }

    fn cursor(&self) -> String {
        self.to_string()
    }

    fn values(&self) -> Vec<Value<'static>> {
        vec![(*self).into()]
    }
}

/// The position in a list that is ordered by a time and an id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dated {
    pub at: i64,
    pub id: String,
}

impl Place for Dated {
    fn parse(cursor: &str) -> Option<Self> {
        let (at, id) = cursor.split_once('_')?;
        Some(Self {
            at: at.parse().ok()?,
            id: id.to_owned(),
        })
    }

    fn cursor(&self) -> String {
        format!("{}_{}", self.at, self.id)
    }

    fn values(&self) -> Vec<Value<'static>> {
        vec![self.at.into(), self.id.clone().into()]
    }
}

/// How an index is scanned.
#[derive(Clone, Copy)]
pub enum Walked {
    /// In the order of the list, with one of its conditions.
    Clause(Clause),
    /// With its own statements in place of [`Walk::list`] and [`Walk::floor`]. Each binds the value before each
    /// position, and the floor also before a lowest position. They compare and order by all columns of one index, so
    /// that PostgreSQL cannot choose another one.
    Lists {
        list: Sql,
        floor: Sql,
        /// Whether the list reads all rows between its positions, however few it returns.
        is_of_range: bool,
    },
    /// In another order than the list's: all rows with the value are read and sorted. If there are more of them than a
    /// page scans, the index is not used.
    Unordered(Unordered, Clause),
}

/// The statements of a table for indexes with another order than the list. No index has the order that `list` needs.
#[derive(Clone, Copy)]
pub struct Unordered {
    pub list: Sql,
    /// Counts the rows that meet a condition, as `value`; binds the maximum to count.
    pub count: Sql,
}

/// A condition that has an index, in two forms: one that uses the index for one value, and one that does not use it.
#[derive(Clone)]
pub struct Indexed<'a> {
    pub walked: Walked,
    /// The values, one of which a row must have. The index is scanned once for each.
    pub values: Vec<Value<'a>>,
    pub checked: Condition<'a>,
}

impl<'a> Indexed<'a> {
    /// Creates a condition that scans by a clause. `checked` binds the list of values.
    pub fn new(
        walked: Clause,
        checked: Clause,
        values: impl IntoIterator<Item = impl Into<Value<'a>>>,
    ) -> Self {
        Self::walked(Walked::Clause(walked), checked, values)
    }

    /// Creates a condition with its own statements: the list, and the floor that ends a scan.
    pub fn by(
        lists: [Sql; 2],
        checked: Clause,
        values: impl IntoIterator<Item = impl Into<Value<'a>>>,
    ) -> Self {
        let ([list, floor], is_of_range) = (lists, false);
        Self::walked(
            Walked::Lists {
                list,
                floor,
                is_of_range,
            },
            checked,
            values,
        )
    }

    /// Creates a condition like [`Self::by`], whose list reads all rows between its positions.
    pub fn by_range(lists: [Sql; 2], checked: Clause, value: impl Into<Value<'a>>) -> Self {
        let ([list, floor], is_of_range) = (lists, true);
        Self::walked(
            Walked::Lists {
                list,
                floor,
                is_of_range,
            },
            checked,
            [value],
        )
    }

    /// Creates a condition whose index has another order than the list.
    pub fn unordered(
        of: Unordered,
        walked: Clause,
        checked: Clause,
        value: impl Into<Value<'a>>,
    ) -> Self {
        Self::walked(Walked::Unordered(of, walked), checked, [value])
    }

    fn walked(
        walked: Walked,
        checked: Clause,
        values: impl IntoIterator<Item = impl Into<Value<'a>>>,
    ) -> Self {
        let values: Vec<Value<'a>> = values.into_iter().map(Into::into).collect();
        Self {
            walked,
            checked: (checked, Some(Value::List(values.clone()))),
            values,
        }
    }

    /// Whether its list without further conditions reads no more rows than it returns.
    const fn is_short(&self) -> bool {
        matches!(
            self.walked,
            Walked::Clause(_)
                | Walked::Lists {
                    is_of_range: false,
                    ..
                }
        )
    }
}

/// Where a scan over a number of rows ends.
enum End<P> {
    /// At the end of the list.
    Last,
    /// At this row, before the end of the list.
    Before(P),
    /// Nowhere: the index cannot be used.
    TooMany,
}

/// A list, newest first.
pub struct Walk<'a, P> {
    /// The list. After `first`, it binds the position below which its rows are, and the lowest position that they may
    /// have.
    pub list: Sql,
    /// Selects the cursor, as `value`, of the row that ends a scan: binds the position below which the scan begins, and
    /// the number of rows to skip.
    pub floor: Sql,
    pub first: Vec<Value<'a>>,
    /// Conditions with an index. The index of one of them is scanned, or the whole table if there are none.
    pub indexed: Vec<Indexed<'a>>,
    pub others: Vec<Condition<'a>>,
    /// The range that contains all wanted rows: from the first position on, and below the second.
    pub range: (P, P),
}

impl<'a, P: Place> Walk<'a, P> {
    pub fn page<T: Field + 'static>(
        self,
        connection: &mut AnyConnection,
        page: &Page,
    ) -> Result<Paged<T>, Error> {
        let _limited = time_limit::limit(LIMIT);
        let (lowest, highest) = self.range.clone();
        let below = match &page.cursor {
            Some(cursor) => P::parse(cursor).ok_or(Error::Cursor)?.min(highest),
            None => highest,
        };
        if self.indexed.iter().any(|one| one.values.is_empty()) {
            return Ok(Paged {
                items: Vec::new(),
                next_cursor: None,
            });
        }
        let is_whole = self.others.is_empty()
            && self.indexed.len() < 2
            && self.indexed.iter().all(Indexed::is_short);
        let only = (!self.indexed.is_empty()).then_some(0);
        let (index, reached) = if is_whole {
            (only, None)
        } else {
            self.longest(connection, &below)?
        };
        let floor = reached.map_or_else(|| lowest.clone(), |reached| reached.max(lowest.clone()));
        let rows = self.rows::<T>(connection, index, &[below, floor.clone()], page)?;
        let mut found = Paged::cut(
            rows,
            page.size(),
            |row| row.cursor.clone(),
            |row| Ok(row.item),
        )?;
        if found.next_cursor.is_none() && floor > lowest {
            found.next_cursor = Some(floor.cursor());
        }
        Ok(found)
    }

    /// Returns the first rows below one position and not below another, in the list's order: for each value of the
    /// index, or for the table, as many as the page needs.
    fn rows<T: Field + 'static>(
        self,
        connection: &mut AnyConnection,
        index: Option<usize>,
        bounds: &[P; 2],
        page: &Page,
    ) -> Result<Vec<Listed<T>>, Error> {
        let (mut others, mut walked) = (self.others, None);
        for (at, one) in self.indexed.into_iter().enumerate() {
            if Some(at) == index {
                walked = Some(one);
            } else {
                others.push(one.checked);
            }
        }
        let (first, [below, floor]) = (self.first, bounds);
        let start = |list, places| Filtered::new(list, first.iter().cloned().chain(places));
        let between = || [below.values(), floor.values()].concat();
        let by = |list, clause, values: Vec<Value<'a>>| -> Vec<Filtered<'a>> {
            values
                .into_iter()
                .map(|value| start(list, between()).and(clause, Some(value)))
                .collect()
        };
        let lists: Vec<Filtered<'a>> = match walked {
            None => vec![start(self.list, between())],
            Some(Indexed {
                walked: Walked::Clause(clause),
                values,
                ..
            }) => by(self.list, clause, values),
            Some(Indexed {
                walked: Walked::Unordered(of, clause),
                values,
                ..
            }) => by(of.list, clause, values),
            Some(Indexed {
                walked: Walked::Lists { list, .. },
                values,
                ..
            }) => {
                let places = |value: Value<'a>| {
                    [
                        vec![value.clone()],
                        below.values(),
                        vec![value],
                        floor.values(),
                    ]
                    .concat()
                };
                values
                    .into_iter()
                    .map(|value| start(list, places(value)))
                    .collect()
            }
        };
        let (mut rows, walks) = (Vec::new(), lists.len());
        for list in lists {
            let list = with(list, others.iter().cloned());
            rows.extend(
                list.statement()
                    .bind(page.size() + 1)
                    .all::<Listed<T>>(connection)?,
            );
        }
        if walks > 1 {
            rows.sort_by_cached_key(|row| Reverse(P::parse(&row.cursor)));
        }
        Ok(rows)
    }

    /// Returns the index whose scan reaches the end of the list or else the lowest row, and that row. The row is `None`
    /// if the scan reaches the end; the index is `None` for a scan of the table.
    fn longest(
        &self,
        connection: &mut AnyConnection,
        below: &P,
    ) -> Result<(Option<usize>, Option<P>), Error> {
        let mut longest: Option<(usize, P)> = None;
        let tries = if self.indexed.len() > 1 {
            [FEW, WALKED].as_slice()
        } else {
            &[WALKED]
        };
        for rows in tries {
            longest = None;
            for (at, one) in self.indexed.iter().enumerate() {
                match self.end(connection, one, below, *rows)? {
                    End::Last => return Ok((Some(at), None)),
                    End::Before(end)
                        if longest.as_ref().is_none_or(|(_, lowest)| end < *lowest) =>
                    {
                        longest = Some((at, end));
                    }
                    End::Before(_) | End::TooMany => {}
                }
            }
        }
        match longest {
            Some((at, end)) => Ok((Some(at), Some(end))),
            None => Ok((
                None,
                reached(
                    connection,
                    Filtered::new(self.floor, below.values()),
                    WALKED,
                )?,
            )),
        }
    }

    /// Returns where the scan of an index over this many rows ends.
    fn end(
        &self,
        connection: &mut AnyConnection,
        one: &Indexed<'a>,
        below: &P,
        rows: i64,
    ) -> Result<End<P>, Error> {
        let each = rows
            / i64::try_from(one.values.len())
                .unwrap_or(rows)
                .clamp(1, rows);
        let mut end = None;
        for value in &one.values {
            let floor = match one.walked {
                Walked::Unordered(of, clause) => {
                    let count = Filtered::new(of.count, []).and(clause, Some(value.clone()));
                    if count
                        .statement()
                        .bind(each + 1)
                        .value::<i64>(connection)?
                        .unwrap_or(0)
                        > each
                    {
                        return Ok(End::TooMany);
                    }
                    continue;
                }
                Walked::Clause(clause) => {
                    Filtered::new(self.floor, below.values()).and(clause, Some(value.clone()))
                }
                Walked::Lists { floor, .. } => {
                    let value = || vec![value.clone()];
                    Filtered::new(floor, [value(), below.values(), value()].concat())
                }
            };
            // Below the highest of the values' floors, the rows are not completely known.
            end = end.max(reached(connection, floor, each)?);
        }
        Ok(end.map_or(End::Last, End::Before))
    }
}

/// Returns the row that a scan reaches after skipping this many rows; `None` if there are fewer.
fn reached<P: Place>(
    connection: &mut AnyConnection,
    floor: Filtered<'_>,
    rows: i64,
) -> Result<Option<P>, Error> {
    let cursor: Option<String> = floor.statement().bind(rows).value(connection)?;
    cursor
        .map(|cursor| P::parse(&cursor).ok_or(Error::Cursor))
        .transpose()
}

fn with<'a>(list: Filtered<'a>, conditions: impl Iterator<Item = Condition<'a>>) -> Filtered<'a> {
    conditions.fold(list, |list, (clause, value)| match value {
        Some(value) => list.and(clause, Some(value)),
        None => list.when(Some(clause)),
    })
}
