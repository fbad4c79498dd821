//! Redelivery in bulk: one event, a purchase, all of a time, or everything that failed, page by page.
//!
//! Of a purchase's states always the newest is sent, once; `user.*` events are sent as they were. An event that is
//! still owed is not owed again.

use crate::db::connection::AnyConnection;
use crate::db::error::Error;
use crate::db::page::Page;
use crate::db::statement::{Number, row, sql};
use crate::db::store::Store;
use crate::db::writer::Write;
use crate::delivery::retry_after;
use crate::events::deliveries::Event;
use crate::purchases::purchase::{self, Origin};
use crate::redelivery::again::{self, Condition, Owing, Skipped, newest_event};
use crate::redelivery::pages::{self, RunMode};
use crate::settings::destinations::{self, Destination};
use domain::event::PURCHASE_UPDATED;
use domain::{AppId, CollapseKey, DestinationId, EventId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;

/// What is to be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Again {
    /// This event.
    Event(EventId),
    /// The newest state of this purchase, and all its `user.*` events.
    Purchase(CollapseKey),
    /// Everything that was recorded from a time until before another, of every app unless [`To`] names one.
    Range {
        /// From when.
        from: Timestamp,
        /// Until when.
        until: Timestamp,
    },
    /// Everything that is dead, of every app unless [`To`] names one.
    Failed,
}

/// The destinations that it is sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub enum To {
    /// Every destination that chooses it.
    #[default]
    All,
    /// The destinations of this app. Says nothing of an event or a purchase: these have an app already.
    App(AppId),
    /// This destination.
    One(DestinationId),
}

impl From<Option<DestinationId>> for To {
    fn from(destination: Option<DestinationId>) -> Self {
        destination.map_or(Self::All, Self::One)
    }
}

impl To {
    const fn destination(self) -> Option<DestinationId> {
        if let Self::One(id) = self { Some(id) } else { None }
    }

    /// The app whose purchases are selected; `None` for all.
    fn app(self, connection: &mut AnyConnection) -> Result<Option<AppId>, Error> {
        match self {
            Self::All => Ok(None),
            Self::App(id) => Ok(Some(id)),
            Self::One(id) => app_of(connection, id).map(Some),
        }
    }
}

/// One page of what was sent again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redelivered {
    /// How many events, or dead deliveries, were checked.
    pub checked: i64,
    /// The result.
    pub owing: Owing,
    /// The cursor of the next page; `None` at the end.
    pub next_cursor: Option<String>,
}

row! {
    /// An event that may be sent again, to all or to one.
    struct Found {
        seq: i64,
        at: Timestamp,
        id: EventId,
        event_type: String,
        collapse_key: CollapseKey,
        revision: i64,
        traceparent: Option<String>,
        only_to: Option<DestinationId>,
        is_last: bool,
    }
}

/// One page of them.
struct Candidates {
    found: Vec<Found>,
    next_cursor: Option<String>,
}

/// What is to be sent again, and to which destinations.
#[derive(Clone, Copy)]
struct Request {
    what: Again,
    to: To,
    /// The app that is named, or that of the destination.
    app: Option<AppId>,
}

const EVENTS: &str = "SELECT e.seq, e.created_at AS at, e.id, e.event_type, e.collapse_key, e.revision, e.traceparent, \
     CAST(NULL AS TEXT) AS only_to, ";
/// Of a purchase's states in the selection, only the last is checked: it stands for the others.
const IS_LAST: &str = "(e.event_type <> 'purchase.updated' OR NOT EXISTS (SELECT 1 FROM events m \
     WHERE m.collapse_key = e.collapse_key AND m.event_type = 'purchase.updated' AND m.seq > e.seq";

impl Store {
    /// Owes a page of the selection once more, to the selected destinations that choose it. A dry run only counts. A
    /// page's cursor names where the one before ended; without one, it begins again. What is owed once in a run is not
    /// owed again by it: [`RunMode::Once`].
    pub async fn redeliver_all(
        &self,
        what: Again,
        to: impl Into<To> + Send,
        (page, how): (Page, impl Into<RunMode> + Send),
    ) -> Result<Redelivered, Error> {
        let (to, how) = (to.into(), how.into());
        let place = how.place(&page, &json!([what, to]));
        if let Some(done) = self.answered(place.clone()).await? {
            return Ok(done);
        }
        let (clock, request) = (self.clock, (what, to, page));
        let (request, candidates) = self
            .read(move |connection| {
                let (what, to, page) = request;
                let request = Request { what, to, app: to.app(connection)? };
                Ok((request, candidates(connection, request, &page)?))
            })
            .await?;
        let checked = i64::try_from(candidates.found.len()).unwrap_or(i64::MAX);
        let (by_purchase, next_cursor) = (in_order(candidates.found), candidates.next_cursor);
        if how == RunMode::Dry {
            let dry_run = move |connection: &mut AnyConnection| {
                let now = connection.now(clock)?;
                dry_run(connection, request, (&by_purchase, now))
            };
            return Ok(Redelivered { checked, owing: self.read(dry_run).await?, next_cursor });
        }
        self.write(move |write| {
            pages::once(write, place.as_ref(), |write| {
                let owing = owe(write, request, &by_purchase)?;
                Ok(Redelivered { checked, owing, next_cursor: next_cursor.clone() })
            })
        })
        .await
    }
}

/// Why an event would not be owed to a destination by [`Again::Event`]; `None` where it would.
pub fn refused(
    connection: &mut AnyConnection,
    (event, destination): (EventId, DestinationId),
    now: Timestamp,
) -> Result<Option<Skipped>, Error> {
    let request = Request { what: Again::Event(event), to: To::One(destination), app: None };
    let found = in_order(candidates(connection, request, &Page::default())?.found);
    Ok(dry_run(connection, request, (&found, now))?.skipped.into_keys().next())
}

fn app_of(connection: &mut AnyConnection, id: DestinationId) -> Result<AppId, Error> {
    Ok(destinations::find(connection, id)?.ok_or(Error::Missing { what: "destination" })?.app_id)
}

fn candidates(connection: &mut AnyConnection, request: Request, page: &Page) -> Result<Candidates, Error> {
    let size = page.size();
    let rows = match request.what {
        Again::Event(id) => {
            let found: Vec<Found> =
                sql(format!("{EVENTS} TRUE AS is_last FROM events e WHERE e.id = ?")).bind(id).all(connection)?;
            return match found.is_empty() {
                true => Err(Error::Missing { what: "event" }),
                false => Ok(Candidates { found, next_cursor: None }),
            };
        }
        Again::Purchase(key) => {
            purchase::find(connection, key)?.ok_or(Error::Missing { what: "purchase" })?;
            sql(format!(
                "{EVENTS} {IS_LAST})) AS is_last FROM events e WHERE e.collapse_key = ? AND e.seq > ? \
                 ORDER BY e.seq LIMIT ?"
            ))
            .bind(key)
            .bind(page.number_or(0)?)
            .bind(size + 1)
            .all(connection)?
        }
        Again::Range { from, until } => in_range(connection, request, (from, until, page))?,
        Again::Failed => return failed(connection, request, page),
    };
    let cursor = |row: &Found| match request.what {
        Again::Range { .. } => format!("{}_{}", row.at.micros(), row.seq),
        _ => row.seq.to_string(),
    };
    Ok(cut(rows, size, cursor))
}

fn in_range(
    connection: &mut AnyConnection,
    request: Request,
    (from, until, page): (Timestamp, Timestamp, &Page),
) -> Result<Vec<Found>, Error> {
    // Behind the last row of the page before; at first, behind all that is older than `from`.
    let (at, seq) = match page.cursor {
        Some(_) => page.numbers_or(0)?,
        None => (from.micros().saturating_sub(1), i64::MAX),
    };
    // Written so that no index of the app's purchases seems better than the one of times.
    let app = request.app.map_or("", |_| " AND p.app_id || '' = ?");
    sql(format!(
        "{EVENTS} {IS_LAST} AND m.created_at < ?)) AS is_last FROM events e \
         JOIN purchases p ON p.collapse_key = e.collapse_key WHERE (e.created_at, e.seq) > (?, ?) \
         AND e.created_at < ?{app} ORDER BY e.created_at, e.seq LIMIT ?"
    ))
    .bind(until)
    .bind(at)
    .bind(seq)
    .bind(until)
    .bind_all(request.app)
    .bind(page.size() + 1)
    .all(connection)
}

/// Dead deliveries, up to the newest that there was at the first page: what dies anew meanwhile is left out.
fn failed(connection: &mut AnyConnection, request: Request, page: &Page) -> Result<Candidates, Error> {
    let (seq, through) = match page.cursor {
        Some(_) => page.numbers_or(0)?,
        None => (0, newest_dead(connection)?),
    };
    let (to, id) = match request.to {
        To::All => ("", None),
        To::App(id) => {
            (" AND d.destination_id IN (SELECT id FROM destinations WHERE app_id = ?)", Some(id.to_string()))
        }
        To::One(id) => (" AND d.destination_id = ?", Some(id.to_string())),
    };
    let rows: Vec<Found> = sql(format!(
        "SELECT d.seq, d.created_at AS at, d.event_id AS id, d.event_type, d.collapse_key, d.revision, d.traceparent, \
         d.destination_id AS only_to, (d.event_type <> 'purchase.updated' OR NOT EXISTS (SELECT 1 FROM deliveries m \
         WHERE m.collapse_key = d.collapse_key AND m.destination_id = d.destination_id AND m.status = 'dead' \
         AND m.event_type = 'purchase.updated' AND m.seq > d.seq AND m.seq <= ?)) AS is_last FROM deliveries d \
         WHERE d.status = 'dead' AND d.seq > ? AND d.seq <= ?{to} ORDER BY d.seq LIMIT ?"
    ))
    .bind(through)
    .bind(seq)
    .bind(through)
    .bind_all(id)
    .bind(page.size() + 1)
    .all(connection)?;
    Ok(cut(rows, page.size(), |row| format!("{}_{through}", row.seq)))
}

fn newest_dead(connection: &mut AnyConnection) -> Result<i64, Error> {
    let newest: Option<Number> =
        sql("SELECT seq AS value FROM deliveries WHERE status = 'dead' ORDER BY seq DESC LIMIT 1").first(connection)?;
    Ok(newest.map_or(0, |newest| newest.value))
}

fn cut(mut found: Vec<Found>, size: i64, cursor: impl Fn(&Found) -> String) -> Candidates {
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    let has_more = found.len() > size;
    found.truncate(size);
    let next_cursor = if has_more { found.last().map(cursor) } else { None };
    Candidates { found, next_cursor }
}

/// By purchase, so that all who lock purchases do it in one order; of each purchase in the order of what happened.
fn in_order(found: Vec<Found>) -> BTreeMap<CollapseKey, Vec<Found>> {
    let mut all: BTreeMap<CollapseKey, Vec<Found>> = BTreeMap::new();
    for one in found {
        all.entry(one.collapse_key).or_default().push(one);
    }
    for of_purchase in all.values_mut() {
        of_purchase.sort_by_key(|one| one.seq);
    }
    all
}

fn dry_run(
    connection: &mut AnyConnection,
    request: Request,
    (found, now): (&BTreeMap<CollapseKey, Vec<Found>>, Timestamp),
) -> Result<Owing, Error> {
    let mut owing = Owing::default();
    for (key, found) in found {
        let origin = purchase::origin(connection, *key)?;
        for (event, destination) in pairs(connection, request, (origin.as_ref(), found), &mut owing)? {
            let Some(origin) = &origin else { continue };
            let verdict = again::verdict(connection, (&event, origin), (&destination, request.what.condition()), now)?;
            owing.count(destination.id, verdict);
        }
    }
    Ok(owing)
}

fn owe(write: &mut Write<'_>, request: Request, found: &BTreeMap<CollapseKey, Vec<Found>>) -> Result<Owing, Error> {
    let mut owing = Owing::default();
    for (key, found) in found {
        let origin = again::lock(write, *key)?;
        for (event, destination) in pairs(write.connection, request, (origin.as_ref(), found), &mut owing)? {
            let Some(origin) = &origin else { continue };
            let verdict = again::owe(write, (&event, origin), (&destination, request.what.condition()))?;
            let is_owed = verdict.is_ok() || verdict == Err(Skipped::AlreadyOwed);
            if is_owed && request.what.is_immediate() {
                make_due(write, &event, destination.id)?;
                owing.add_destination(destination.id);
            }
            owing.count(destination.id, verdict);
        }
    }
    Ok(owing)
}

impl Again {
    const fn condition(self) -> Condition {
        if matches!(self, Self::Failed) { Condition::Unacknowledged } else { Condition::Always }
    }

    /// Whether a person selects this very event or purchase, so that what is owed of it waits no longer.
    const fn is_immediate(self) -> bool {
        matches!(self, Self::Event(_) | Self::Purchase(_))
    }
}

/// Each event with each selected destination; events that cannot be sent to any are counted here.
fn pairs(
    connection: &mut AnyConnection,
    request: Request,
    (origin, found): (Option<&Origin>, &[Found]),
    owing: &mut Owing,
) -> Result<Vec<(Event, Destination)>, Error> {
    let Some(origin) = origin else {
        found.iter().for_each(|_| owing.skip(Skipped::Operators));
        return Ok(Vec::new());
    };
    let all = destinations::of_app(connection, origin.app_id)?;
    let mut pairs = Vec::new();
    for one in found {
        let to = one.only_to.or(request.to.destination());
        let chosen: Vec<&Destination> =
            all.iter().filter(|destination| to.is_none_or(|to| to == destination.id)).collect();
        if !one.is_last {
            owing.skip(Skipped::Superseded);
        } else if chosen.is_empty() && to.is_some() {
            owing.skip(Skipped::Deleted);
        } else if let Some(event) = sent(connection, one)? {
            pairs.extend(chosen.into_iter().map(|destination| (event.clone(), destination.clone())));
        }
    }
    Ok(pairs)
}

/// The event that is sent for an event: of a state the newest, else itself.
fn sent(connection: &mut AnyConnection, found: &Found) -> Result<Option<Event>, Error> {
    if found.event_type == PURCHASE_UPDATED {
        return newest_event(connection, found.collapse_key);
    }
    Ok(Some(Event {
        id: found.id,
        event_type: found.event_type.clone(),
        collapse_key: found.collapse_key,
        revision: found.revision,
        traceparent: found.traceparent.clone(),
    }))
}

fn make_due(write: &mut Write<'_>, event: &Event, destination: DestinationId) -> Result<(), Error> {
    retry_after::end(write, (event.collapse_key, destination))?;
    sql("UPDATE deliveries SET next_due_at = ? WHERE event_id = ? AND destination_id = ? AND status = 'pending' \
         AND next_due_at > ?")
    .bind(write.now)
    .bind(event.id)
    .bind(destination)
    .bind(write.now)
    .run(write.connection)
    .map(drop)
}
