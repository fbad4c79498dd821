//! Lists of large tables with any filter at a bounded cost. A page walks one index, newest first, over at most 20,000
//! rows, and the other conditions are checked on these. So a page may have fewer items than its limit, or none, and still
//! a next page.
//!
//! An index that begins with the platform or destination serves an app, too: it is walked once for each of the app's
//! platforms or destinations, and what these walks find is merged. So a list of an app reads rows of that app only.
//!
//! Of several indexes the one that ends first is walked. A filter names its app first, so that nothing else is read for an
//! app without rows.

use crate::reports::filtered::Filtered;
use db::connection::AnyConnection;
use db::error::Error;
use db::page::{Listed, Page, Paged};
use db::sql::{Clause, Sql};
use db::statement::{Field, Value};
use db::time_limit;
use std::cmp::Reverse;
use std::time::Duration;

/// Maximum number of rows that a page walks.
pub const WALKED: i64 = 20_000;

/// Number of rows that each of several indexes is tried with first: most filters fit fewer by one of them.
const FEW: i64 = 500;

/// Maximum duration of each of its statements on SQLite. On PostgreSQL it would cost round trips: there it is that of every
/// statement.
pub const LIMIT: Duration = Duration::from_secs(2);

/// A condition, with its value if it has one.
pub type Condition<'a> = (Clause, Option<Value<'a>>);

/// The conditions of a filter: those with an index, and the others.
pub type Conditions = (Vec<Indexed<'static>>, Vec<Condition<'static>>);

/// The place of a row in order of its list, as cursors name it.
pub trait Place: Clone + Ord {
    /// Reads a cursor; `None` for what is no cursor of this list.
    fn parse(cursor: &str) -> Option<Self>;
    fn cursor(&self) -> String;
    /// The values that a statement binds to compare a row with this place.
    fn values(&self) -> Vec<Value<'static>>;
}

/// The place in a list that is ordered by a sequence number.
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

/// The place in a list that is ordered by a time and an id.
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

/// How an index is walked.
#[derive(Clone, Copy)]
pub enum Walked {
    /// In the order of the list, by one of its conditions.
    Clause(Clause),
    /// By its own statements, as [`Walk::list`] and [`Walk::floor`]. Each binds the value before each place, and the
    /// floor also before a lowest place. They compare and order by all columns of one index, so that PostgreSQL cannot
    /// choose another.
    Lists {
        list: Sql,
        floor: Sql,
        /// Whether the list reads all rows between its places, however few it returns.
        is_of_range: bool,
    },
    /// In another order than the list's, so that all rows with a value are read and sorted. Where there are more of them
    /// than a page walks, the index is of no use.
    Unordered(Unordered, Clause),
}

/// The statements of a table for its indexes in another order. No index has the order that `list` asks for.
#[derive(Clone, Copy)]
pub struct Unordered {
    pub list: Sql,
    /// The number of rows that fulfil a condition, as `value`; binds the maximum that is counted.
    pub count: Sql,
}

/// A condition that has an index: as it uses the index, for one of the values, and as it does not.
#[derive(Clone)]
pub struct Indexed<'a> {
    pub walked: Walked,
    /// A row has one of them. The index is walked once for each.
    pub values: Vec<Value<'a>>,
    pub checked: Condition<'a>,
}

impl<'a> Indexed<'a> {
    /// Creates a list with a condition. `checked` binds the list of values.
    pub fn new(
        walked: Clause,
        checked: Clause,
        values: impl IntoIterator<Item = impl Into<Value<'a>>>,
    ) -> Self {
        Self::walked(Walked::Clause(walked), checked, values)
    }

    /// Creates a list with its own statements: the list, and the row that ends a walk.
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

    /// Like [`Self::by`], with a list that reads all rows between its places.
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

    /// Creates a list with an index in another order.
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

    /// Whether its list alone reads no more rows than it returns.
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

/// Where a walk over a number of rows ends.
enum End<P> {
    /// At the end of the list.
    Last,
    /// At this row, before others.
    Before(P),
    /// Nowhere: the index is of no use.
    TooMany,
}

/// A list with the newest first.
pub struct Walk<'a, P> {
    /// The list. After `first` it binds the place that its rows are below, and the one that they are not below.
    pub list: Sql,
    /// The cursor, as `value`, of the row that ends a walk: it binds the place that it is below, and how many rows it
    /// leaves out.
    pub floor: Sql,
    pub first: Vec<Value<'a>>,
    /// Conditions with an index: that of one of them is walked, or the whole table if there are none.
    pub indexed: Vec<Indexed<'a>>,
    pub others: Vec<Condition<'a>>,
    /// The range in which all wanted rows are: from the first place, and below the second.
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

    /// The first rows below a place and not below another one, in the list's order: enough for the page, of each value of
    /// the index, or of the table.
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

    /// The index whose walk reaches the end or the lowest row, and that row; `None` for a walk that reaches the end, and for
    /// a walk over the table.
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

    /// Where the walk of an index over this many rows ends.
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
            // Below the floor of one of them, not all rows are known.
            end = end.max(reached(connection, floor, each)?);
        }
        Ok(end.map_or(End::Last, End::Before))
    }
}

/// The row before which a walk leaves out this many others; `None` if there are not so many.
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
