//! Lists of large tables with any filter at a bounded cost. A page walks one index, newest first, over at most 20,000
//! rows, and the other conditions are checked on these. So a page may have fewer items than its limit, or none, and yet a
//! next one.
//!
//! An index that begins with the platform or destination serves an app, too: it is walked once for each of the app's
//! platforms or destinations, and what these walks find is merged. So a list of an app reads rows of that app only.

use crate::db::connection::AnyConnection;
use crate::db::error::Error;
use crate::db::page::{Listed, Page, Paged};
use crate::db::sql::{Clause, Sql};
use crate::db::statement::{Field, Value};
use crate::db::time_limit;
use crate::reports::listing::Filtered;
use std::cmp::Reverse;
use std::time::Duration;

/// Maximum number of rows that a page walks.
const WALKED: i64 = 20_000;

/// Maximum duration of each of its statements on SQLite.
const LIMIT: Duration = Duration::from_secs(2);

/// A condition, with its value if it has one.
pub type Condition<'a> = (Clause, Option<Value<'a>>);

/// The place of a row in the order of its list, as cursors name it.
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
        Some(Self { at: at.parse().ok()?, id: id.to_owned() })
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
    /// By a condition of the list.
    Clause(Clause),
    /// By statements of its own, as [`Walk::list`] and [`Walk::floor`], which bind the value again before each place; the
    /// floor also before a place below all. They compare and order by all columns of the index, so no other one can serve
    /// them: PostgreSQL would walk that of the order, and read what newer rows others have, for a value that seems frequent.
    Lists {
        list: Sql,
        floor: Sql,
        /// Whether the list reads all rows between its places, however few it returns.
        is_of_range: bool,
    },
}

/// A condition that has an index: as it uses the index, for one of the values, and as it does not, for a list of them.
#[derive(Clone)]
pub struct Indexed<'a> {
    pub walked: Walked,
    pub checked: Clause,
    /// A row has one of them. The index is walked once for each.
    pub values: Vec<Value<'a>>,
}

impl<'a> Indexed<'a> {
    pub fn new(walked: Clause, checked: Clause, values: impl IntoIterator<Item = impl Into<Value<'a>>>) -> Self {
        Self { walked: Walked::Clause(walked), checked, values: values.into_iter().map(Into::into).collect() }
    }

    /// With statements of its own: the list, and the row that ends a walk.
    pub fn by(lists: [Sql; 2], checked: Clause, values: impl IntoIterator<Item = impl Into<Value<'a>>>) -> Self {
        let ([list, floor], is_of_range) = (lists, false);
        let walked = Walked::Lists { list, floor, is_of_range };
        Self { walked, checked, values: values.into_iter().map(Into::into).collect() }
    }

    /// Like [`Self::by`], with a list that reads all rows between its places.
    pub fn by_range(lists: [Sql; 2], checked: Clause, value: impl Into<Value<'a>>) -> Self {
        let ([list, floor], is_of_range) = (lists, true);
        Self { walked: Walked::Lists { list, floor, is_of_range }, checked, values: vec![value.into()] }
    }

    /// Whether its list alone reads no more rows than it returns.
    const fn is_short(&self) -> bool {
        !matches!(self.walked, Walked::Lists { is_of_range: true, .. })
    }
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
    pub fn page<T: Field + 'static>(self, connection: &mut AnyConnection, page: &Page) -> Result<Paged<T>, Error> {
        let _limited = time_limit::limit(LIMIT);
        let (lowest, highest) = self.range.clone();
        let below = match &page.cursor {
            Some(cursor) => P::parse(cursor).ok_or(Error::Cursor)?.min(highest),
            None => highest,
        };
        if self.indexed.iter().any(|one| one.values.is_empty()) {
            return Ok(Paged { items: Vec::new(), next_cursor: None });
        }
        let is_whole = self.others.is_empty() && self.indexed.len() < 2 && self.indexed.iter().all(Indexed::is_short);
        let (index, reached) = if is_whole { (0, None) } else { self.longest(connection, &below)? };
        let floor = reached.map_or_else(|| lowest.clone(), |reached| reached.max(lowest.clone()));
        let rows = self.rows::<T>(connection, index, &[below, floor.clone()], page)?;
        let mut found = Paged::cut(rows, page.size(), |row| row.cursor.clone(), |row| Ok(row.item))?;
        if found.next_cursor.is_none() && floor > lowest {
            found.next_cursor = Some(floor.cursor());
        }
        Ok(found)
    }

    /// The first rows below a place and not below another one, in the list's order: enough for the page, of each value of
    /// the index.
    fn rows<T: Field + 'static>(
        self,
        connection: &mut AnyConnection,
        index: usize,
        bounds: &[P; 2],
        page: &Page,
    ) -> Result<Vec<Listed<T>>, Error> {
        let (mut others, mut walked) = (self.others, None);
        for (at, one) in self.indexed.into_iter().enumerate() {
            if at == index {
                walked = Some(one);
            } else {
                others.push((one.checked, Some(Value::List(one.values))));
            }
        }
        let (list, first, [below, floor]) = (self.list, self.first, bounds);
        let start = |list, places| Filtered::new(list, first.iter().cloned().chain(places));
        let lists: Vec<Filtered<'a>> = match walked {
            None => vec![start(list, [below.values(), floor.values()].concat())],
            Some(Indexed { walked: Walked::Clause(clause), values, .. }) => {
                let list = start(list, [below.values(), floor.values()].concat());
                values.into_iter().map(|value| list.clone().and(clause, Some(value))).collect()
            }
            Some(Indexed { walked: Walked::Lists { list, .. }, values, .. }) => {
                let places =
                    |value: Value<'a>| [vec![value.clone()], below.values(), vec![value], floor.values()].concat();
                values.into_iter().map(|value| start(list, places(value))).collect()
            }
        };
        let (mut rows, walks) = (Vec::new(), lists.len());
        for list in lists {
            let list = with(list, others.iter().cloned());
            rows.extend(list.statement().bind(page.size() + 1).all::<Listed<T>>(connection)?);
        }
        if walks > 1 {
            rows.sort_by_cached_key(|row| Reverse(P::parse(&row.cursor)));
        }
        Ok(rows)
    }

    /// The index whose walk reaches the lowest row, and that row; `None` for a walk that reaches the end.
    fn longest(&self, connection: &mut AnyConnection, below: &P) -> Result<(usize, Option<P>), Error> {
        if self.indexed.is_empty() {
            return Ok((0, reached(connection, Filtered::new(self.floor, below.values()), WALKED)?));
        }
        let mut longest: Option<(usize, P)> = None;
        for (at, one) in self.indexed.iter().enumerate() {
            let each = WALKED / i64::try_from(one.values.len()).unwrap_or(WALKED).clamp(1, WALKED);
            let mut end = None;
            for value in &one.values {
                let floor = match one.walked {
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
            let Some(end) = end else { return Ok((at, None)) };
            if longest.as_ref().is_none_or(|(_, lowest)| end < *lowest) {
                longest = Some((at, end));
            }
        }
        Ok(longest.map_or((0, None), |(at, end)| (at, Some(end))))
    }
}

/// The row before which a walk leaves out this many others; `None` if there are not so many.
fn reached<P: Place>(connection: &mut AnyConnection, floor: Filtered<'_>, rows: i64) -> Result<Option<P>, Error> {
    let cursor: Option<String> = floor.statement().bind(rows).value(connection)?;
    cursor.map(|cursor| P::parse(&cursor).ok_or(Error::Cursor)).transpose()
}

fn with<'a>(list: Filtered<'a>, conditions: impl Iterator<Item = Condition<'a>>) -> Filtered<'a> {
    conditions.fold(list, |list, (clause, value)| match value {
        Some(value) => list.and(clause, Some(value)),
        None => list.when(Some(clause)),
    })
}
