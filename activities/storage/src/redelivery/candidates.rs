//! The candidates of a page: the events and purchases that a selector names, in order of its cursor.

use crate::events::deliveries::Event;
use crate::purchases::purchase;
use crate::settings::destinations::{self, Destination};
use db::connection::AnyConnection;
use db::error::Error;
use db::page::{Page, Paged};
use db::partial::{FAILED_BY_KEY, FAILED_IN_ORDER, FAILED_OF_DESTINATION};
use db::sql::{Clause, Sql, clause, statement};
use db::statement::{Number, row, sql};
use domain::event::PURCHASE_UPDATED;
use domain::{
    AppId, CollapseKey, DestinationId, EventId, Receivers, RedeliverySelector, Selection, Timestamp,
};
use std::ops::Range;

/// An event that may be queued again, or the latest state of a purchase.
#[derive(Clone)]
pub struct Candidate {
    pub collapse_key: CollapseKey,
    /// The event; `None` for the latest `purchase.updated`.
    pub event: Option<Event>,
    /// The destination of a failed delivery; `None` for other candidates.
    pub only_to: Option<DestinationId>,
    /// False for a `purchase.updated` that a later one of the selection replaces; true for all other candidates.
    pub is_last: bool,
    /// Position among the candidates of the same purchase.
    seq: i64,
}

row! {
    struct CandidateRow {
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

row! {
    struct CandidateKey {
        collapse_key: CollapseKey,
    }
}

impl From<CandidateRow> for Candidate {
    fn from(row: CandidateRow) -> Self {
        let CandidateRow {
            seq,
            id,
            event_type,
            collapse_key,
            revision,
            traceparent,
            only_to,
            is_last,
            ..
        } = row;
        let is_state = event_type == PURCHASE_UPDATED;
        let event = (!is_state).then_some(Event {
            id,
            event_type,
            collapse_key,
            revision,
            traceparent,
        });
        Self {
            collapse_key,
            event,
            only_to,
            is_last,
            seq,
        }
    }
}

impl From<CollapseKey> for Candidate {
    fn from(collapse_key: CollapseKey) -> Self {
        Self {
            collapse_key,
            event: None,
            only_to: None,
            is_last: true,
            seq: i64::MAX,
        }
    }
}

/// Returns a page of candidates, sorted by purchase, so that purchases are locked in order of their keys, and within a
/// purchase in the order of recording. `app` limits [`RedeliverySelector::Range`] to one app.
pub fn candidates(
    connection: &mut AnyConnection,
    selection: &Selection,
    app: Option<AppId>,
    page: &Page,
) -> Result<Paged<Candidate>, Error> {
    let mut found = match &selection.selector {
        RedeliverySelector::Event(id) => event(connection, *id)?,
        RedeliverySelector::Purchase(key) => of_purchase(connection, *key, page)?,
        RedeliverySelector::Lanes(key) => of_lanes(connection, *key, selection.receivers)?,
        RedeliverySelector::Range { from, until } => {
            in_range(connection, *from..*until, app, page)?
        }
        RedeliverySelector::Failed => failed(connection, selection.receivers, page)?,
        RedeliverySelector::Purchases(keys) => {
            suitable(connection, selection)?;
            let mut keys = keys.clone();
            keys.sort_unstable();
            keys.dedup();
            single_page(keys)
        }
        RedeliverySelector::Behind | RedeliverySelector::All | RedeliverySelector::NeverQueued => {
            let app = suitable(connection, selection)?.app_id;
            of_app(connection, app, page)?
        }
    };
    found.items.sort_by_key(|one| (one.collapse_key, one.seq));
    Ok(found)
}

/// Puts all rows into a single page.
fn single_page<R: Into<Candidate>>(rows: Vec<R>) -> Paged<Candidate> {
    Paged {
        items: rows.into_iter().map(Into::into).collect(),
        next_cursor: None,
    }
}

/// Builds a page from rows. One row more than fits shows that another page follows.
fn cut<R: Into<Candidate>>(
    rows: Vec<R>,
    page: &Page,
    cursor: impl Fn(&R) -> String,
) -> Result<Paged<Candidate>, Error> {
    Paged::cut(rows, page.size(), cursor, |row| Ok(row.into()))
}

/// Returns the one destination of a selector that names states of purchases.
///
/// # Errors
///
/// [`Error::Unsuitable`] if the selection names no destination, or if the destination did not choose
/// `purchase.updated`. A backfill also accepts a destination that keeps profiles.
pub fn suitable(
    connection: &mut AnyConnection,
    selection: &Selection,
) -> Result<Destination, Error> {
    let Some(id) = selection.receivers.destination() else {
        return Err(Error::Unsuitable(
            "states are sent to one destination: set `destination_id`".to_owned(),
        ));
    };
    let destination = destinations::find(connection, id)?.ok_or(Error::Missing {
        what: "destination",
    })?;
    let destination = destination.destination();
    let is_backfill = selection.selector == RedeliverySelector::NeverQueued;
    if destination.chose(PURCHASE_UPDATED) || (is_backfill && destination.profile.is_some()) {
        return Ok(destination);
    }
    let chosen = destination.events.join(", ");
    Err(Error::Unsuitable(format!(
        "the destination chose {chosen} and not {PURCHASE_UPDATED}, which has the states: choose it first"
    )))
}

const PURCHASES_OF_APP: Sql = statement! {hot "purchases_app", "
    SELECT collapse_key
    FROM purchases
    WHERE app_id = ? AND collapse_key > ?
    ORDER BY collapse_key
    LIMIT ?
"};

fn of_app(
    connection: &mut AnyConnection,
    app: AppId,
    page: &Page,
) -> Result<Paged<Candidate>, Error> {
    let statement = sql(PURCHASES_OF_APP).bind(app).bind(page.key()?);
    let rows: Vec<CandidateKey> = statement.bind(page.size() + 1).all(connection)?;
    let keys = rows.into_iter().map(|row| row.collapse_key).collect();
    cut(keys, page, ToString::to_string)
}

const EVENT: Sql = statement! {"
    SELECT seq, created_at AS at, id, event_type, collapse_key, revision, traceparent,
        CAST(NULL AS TEXT) AS only_to, TRUE AS is_last
    FROM events
    WHERE id = ?
"};

fn event(connection: &mut AnyConnection, id: EventId) -> Result<Paged<Candidate>, Error> {
    let found: Option<CandidateRow> = sql(EVENT).bind(id).first(connection)?;
    Ok(single_page(vec![
        found.ok_or(Error::Missing { what: "event" })?,
    ]))
}

/// A purchase's events. Of its `purchase.updated` events, only the last is sent.
const OF_PURCHASE: Sql = statement! {hot "events_of_key", "
    SELECT e.seq, e.created_at AS at, e.id, e.event_type, e.collapse_key, e.revision, e.traceparent,
        CAST(NULL AS TEXT) AS only_to,
        (e.event_type <> 'purchase.updated' OR NOT EXISTS (
            SELECT 1
            FROM events m
            WHERE m.collapse_key = e.collapse_key AND m.event_type = 'purchase.updated' AND m.seq > e.seq
        )) AS is_last
    FROM events e
    WHERE e.collapse_key = ? AND e.seq > ?
    ORDER BY e.seq
    LIMIT ?
"};

fn of_purchase(
    connection: &mut AnyConnection,
    key: CollapseKey,
    page: &Page,
) -> Result<Paged<Candidate>, Error> {
    purchase::find(connection, key)?.ok_or(Error::Missing { what: "purchase" })?;
    let statement = sql(OF_PURCHASE).bind((key, page.number_or(0)?, page.size() + 1));
    let rows: Vec<CandidateRow> = statement.all(connection)?;
    cut(rows, page, |row| row.seq.to_string())
}

/// The events of a time range. Of the `purchase.updated` events of each purchase only the last one in the range is
/// sent. The second condition on `created_at` repeats the first, so that the planner can estimate the number of rows.
const IN_RANGE: Sql = statement! {"
    SELECT e.seq, e.created_at AS at, e.id, e.event_type, e.collapse_key, e.revision, e.traceparent,
        CAST(NULL AS TEXT) AS only_to,
        (e.event_type <> 'purchase.updated' OR NOT EXISTS (
            SELECT 1
            FROM events m
            WHERE m.collapse_key = e.collapse_key AND m.event_type = 'purchase.updated' AND m.seq > e.seq
                AND m.created_at < ?
        )) AS is_last
    FROM events e
    JOIN purchases p ON p.collapse_key = e.collapse_key
    WHERE (e.created_at, e.seq) > (?, ?) AND e.created_at >= ? AND e.created_at < ? AND {{which}}
    ORDER BY e.created_at, e.seq
    LIMIT ?
"};

const OF_ALL: Clause = clause!(&[IN_RANGE], hot "events_created", "TRUE");
/// `|| ''` keeps the planner from using the index of the app's purchases instead of the one by time.
const OF_APP: Clause = clause!(&[IN_RANGE], hot "events_created", "p.app_id || '' = ? AND (e.created_at, e.seq) <= (?, ?)");

/// Maximum number of rows of all apps that a page of one app scans. The page may then have fewer candidates than its
/// limit, or none, even if another page follows.
const WALKED: i64 = 20_000;

row! {
    struct RangePlace {
        at: i64,
        seq: i64,
    }
}

/// The last row that a page of one app scans.
const END_OF_RANGE: Sql = statement! {hot "events_created", "
    SELECT e.created_at AS at, e.seq
    FROM events e
    WHERE (e.created_at, e.seq) > (?, ?) AND e.created_at >= ? AND e.created_at < ?
    ORDER BY e.created_at, e.seq
    LIMIT 1 OFFSET ?
"};

fn in_range(
    connection: &mut AnyConnection,
    range: Range<Timestamp>,
    app: Option<AppId>,
    page: &Page,
) -> Result<Paged<Candidate>, Error> {
    // Reads the rows after the last one of the previous page; on the first page, from the beginning of the range.
    let (at, seq) = match page.cursor {
        Some(_) => page.numbers_or(0)?,
        None => (range.start.micros().saturating_sub(1), i64::MAX),
    };
    let list = |which| sql(IN_RANGE.of(which)).bind((range.end, at, seq, at, range.end));
    let cursor = |row: &CandidateRow| format!("{}_{}", row.at.micros(), row.seq);
    let Some(app) = app else {
        return cut(
            list(OF_ALL).bind(page.size() + 1).all(connection)?,
            page,
            cursor,
        );
    };
    let end = sql(END_OF_RANGE).bind((at, seq, at, range.end, WALKED - 1));
    let end: Option<RangePlace> = end.first(connection)?;
    let (last_at, last_seq) = end
        .as_ref()
        .map_or((i64::MAX, i64::MAX), |end| (end.at, end.seq));
    let rows = list(OF_APP)
        .bind((app, last_at, last_seq, page.size() + 1))
        .all(connection)?;
    let mut found = cut(rows, page, cursor)?;
    found.next_cursor = found
        .next_cursor
        .or(end.map(|end| format!("{}_{}", end.at, end.seq)));
    Ok(found)
}

/// The failed deliveries up to the one that was the newest when the first page was read.
const FAILED: Sql = statement! {"
    SELECT d.seq, d.created_at AS at, d.event_id AS id, d.event_type, d.collapse_key, d.revision,
        (SELECT e.traceparent FROM events e WHERE e.id = d.event_id) AS traceparent, d.destination_id AS only_to,
        (d.event_type <> 'purchase.updated' OR NOT EXISTS (
            SELECT 1
            FROM deliveries m
            WHERE m.collapse_key = d.collapse_key AND m.destination_id = d.destination_id AND m.status {FAILED_BY_KEY}
                AND m.event_type = 'purchase.updated' AND m.seq > d.seq AND m.seq <= ?
        )) AS is_last
    FROM deliveries d
    WHERE d.seq > ? AND d.seq <= ? AND {{which}}
    ORDER BY d.seq
    LIMIT ?
"};

const TO_ALL: Clause =
    clause!(&[FAILED], hot "deliveries_failed_in_order", "d.status {FAILED_IN_ORDER}");
const TO_APP: Clause = clause! {&[FAILED], hot "deliveries_failed_in_order", "
    d.status {FAILED_IN_ORDER} AND d.destination_id || '' IN (SELECT id FROM destinations WHERE app_id = ?)
"};
const TO_DESTINATION: Clause = clause! {&[FAILED], hot "deliveries_failed_to_destination", "
    d.status {FAILED_OF_DESTINATION} AND d.destination_id = ?
"};

/// The last failed delivery that a page of one app scans.
const END_OF_FAILED: Sql = statement! {hot "deliveries_failed_in_order", "
    SELECT d.seq AS value
    FROM deliveries d
    WHERE d.status {FAILED_IN_ORDER} AND d.seq > ? AND d.seq <= ?
    ORDER BY d.seq
    LIMIT 1 OFFSET ?
"};

const NEWEST_FAILED: Sql = statement! {hot "deliveries_failed_in_order", "
    SELECT seq AS value
    FROM deliveries
    WHERE status {FAILED_IN_ORDER}
    ORDER BY seq DESC
    LIMIT 1
"};

/// Returns the failed deliveries. Redeliveries of this run that fail again are left out.
fn failed(
    connection: &mut AnyConnection,
    receivers: Receivers,
    page: &Page,
) -> Result<Paged<Candidate>, Error> {
    let (seq, through) = match page.cursor {
        Some(_) => page.numbers_or(0)?,
        None => (
            0,
            sql(NEWEST_FAILED)
                .first::<Number>(connection)?
                .map_or(0, |newest| newest.value),
        ),
    };
    let (which, id) = match receivers {
        Receivers::All => (TO_ALL, None),
        Receivers::App(id) => (TO_APP, Some(id.to_string())),
        Receivers::One(id) => (TO_DESTINATION, Some(id.to_string())),
    };
    let end: Option<i64> = match receivers {
        Receivers::App(_) => sql(END_OF_FAILED)
            .bind((seq, through, WALKED - 1))
            .value(connection)?,
        Receivers::All | Receivers::One(_) => None,
    };
    let statement = sql(FAILED.of(which))
        .bind((through, seq, end.unwrap_or(through)))
        .bind_all(id);
    let rows: Vec<CandidateRow> = statement.bind(page.size() + 1).all(connection)?;
    let mut found = cut(rows, page, |row| format!("{}_{through}", row.seq))?;
    found.next_cursor = found
        .next_cursor
        .or(end.map(|end| format!("{end}_{through}")));
    Ok(found)
}

/// `|| ''` keeps the planner from using the index of the destination's failed deliveries instead of the one of the
/// lane.
const FAILED_IN_LANE: Sql = statement! {hot "deliveries_of_key", "
    SELECT d.seq, d.created_at AS at, d.event_id AS id, d.event_type, d.collapse_key, d.revision,
        (SELECT e.traceparent FROM events e WHERE e.id = d.event_id) AS traceparent, d.destination_id AS only_to,
        TRUE AS is_last
    FROM deliveries d
    WHERE collapse_key = ? AND destination_id = ? AND status {FAILED_BY_KEY} AND event_type <> ?
    ORDER BY seq
"};

/// Returns the failed deliveries of a purchase's lanes, except those of `purchase.updated`, followed by the latest
/// state. An event with two failed deliveries appears twice.
fn of_lanes(
    connection: &mut AnyConnection,
    key: CollapseKey,
    receivers: Receivers,
) -> Result<Paged<Candidate>, Error> {
    let origin = purchase::origin(connection, key)?.ok_or(Error::Missing { what: "purchase" })?;
    let mut lanes = destinations::of_app(connection, origin.app_id)?;
    if let Some(named) = receivers.destination() {
        lanes.retain(|lane| lane.id == named);
        lanes.first().ok_or(Error::Missing {
            what: "destination",
        })?;
    }
    let mut found = single_page(vec![key]);
    for lane in lanes {
        let statement = sql(FAILED_IN_LANE).bind((key, lane.id, PURCHASE_UPDATED));
        found.items.extend(
            statement
                .all::<CandidateRow>(connection)?
                .into_iter()
                .map(Candidate::from),
        );
    }
    Ok(found)
}
