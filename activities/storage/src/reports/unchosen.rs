//! Payments that an integration does not receive, because it is not subscribed to the events that announce them. An
//! integration is a destination that counts revenue.

use crate::reports::revenue::integrations_of;
use crate::settings::destinations::Destination;
use crate::store::Store;
use db::connection::AnyConnection;
use db::error::Error;
use db::sql::{Clause, Sql, clause, statement};
use db::statement::{row, sql};
use domain::payment::{self, EntryKind, Total};
use domain::{AppId, CollapseKey, DestinationId, Environment, PlatformId, Timestamp};
use rust_decimal::Decimal;

/// Maximum number of events that are searched for the payments of a type: the newest ones of this type in all apps, and
/// as many of the app itself, so that a busy app does not hide the payments of a quiet one.
const MAX_COUNTED: i64 = 1_000;
/// Maximum number of payments of a type that are listed.
const MAX_NAMED: usize = 5;

/// A payment of real money that an integration did not receive, because it did not choose the event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnchosenPayment {
    pub destination_id: DestinationId,
    pub collapse_key: CollapseKey,
    /// The type of the event that announces the payment.
    pub event_type: String,
    pub kind: EntryKind,
    pub occurred_at: Timestamp,
    /// Amount paid in USD, with corrections of the price and without refunds; `None` if not known.
    pub usd: Option<Decimal>,
}

/// The payments that an integration did not receive since its creation, because it did not choose their type of event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnchosenType {
    pub event_type: String,
    /// Number of payments.
    pub payments: usize,
    /// Sum of the known amounts in USD; `None` if none is known.
    pub usd: Option<Decimal>,
    /// Whether there may be more, because not all events were searched.
    pub is_least: bool,
    /// Whether the sum is incomplete, because the amount of a payment is not known.
    pub is_part: bool,
    /// The latest of these payments, at most five.
    pub latest: Vec<UnchosenPayment>,
}

row! {
    /// A payment, joined with one of its corrections, if it has any.
    struct UnchosenRow {
        collapse_key: CollapseKey,
        number: i64,
        kind: EntryKind,
        occurred_at: Timestamp,
        usd: Option<String>,
        correction: Option<String>,
        event_type: String,
        other_event_type: Option<String>,
        platform_id: PlatformId,
        queued: i64,
    }
}

/// Payments of real money that are announced by events since a time, with the number of their deliveries to a
/// destination.
const PAYMENTS: Sql = statement! {"
    SELECT m.collapse_key, m.number, m.kind, m.occurred_at, m.usd, k.usd AS correction, e.event_type,
        o.event_type AS other_event_type, c.platform_id,
        (SELECT COUNT(*) FROM deliveries d
            WHERE d.event_id IN (m.event_id, m.other_event_id) AND d.destination_id = ?) AS queued
    FROM events e
    JOIN payments m ON m.event_id = e.id AND m.entry = 0 AND m.environment = 'production'
    LEFT JOIN events o ON o.id = m.other_event_id
    JOIN purchases c ON c.collapse_key = m.collapse_key
    LEFT JOIN payments k ON k.collapse_key = m.collapse_key AND k.number = m.number AND k.kind = 'correction'
    WHERE e.created_at >= ? AND {{which}}
    ORDER BY m.occurred_at DESC, m.collapse_key, m.number, k.entry
"};
const OF_KEYS: Clause = clause!(&[PAYMENTS], hot "payments_pkey or sqlite_autoindex_payments", "m.collapse_key IN (?*)");
const OF_TYPE: Clause = clause! {&[PAYMENTS], hot "events_of_app", "
    e.app_id = ? AND e.event_type = ? AND e.seq IN (
        SELECT seq FROM (SELECT n.seq FROM events n WHERE n.app_id = ? ORDER BY n.seq DESC LIMIT {MAX_COUNTED}) x
        UNION ALL
        SELECT seq FROM (SELECT n.seq FROM events n WHERE n.event_type = ? ORDER BY n.seq DESC LIMIT {MAX_COUNTED}) y
    )
"};

const COUNTED: Sql = statement! {"
    SELECT COUNT(*) AS value FROM (SELECT 1 FROM events WHERE {{which}} LIMIT {MAX_COUNTED}) x
"};
const COUNTED_OF_APP: Clause = clause!(&[COUNTED], hot "events_of_app", "app_id = ?");
const COUNTED_OF_TYPE: Clause = clause!(&[COUNTED], hot "events_of_type", "event_type = ?");

impl Store {
    /// Returns the payments of these purchases whose events the app's integrations did not choose, newest first for
    /// each integration.
    pub async fn unchosen_payments(
        &self,
        app: AppId,
        keys: Vec<CollapseKey>,
    ) -> Result<Vec<UnchosenPayment>, Error> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let read = move |connection: &mut AnyConnection| {
            let mut all = Vec::new();
            for integration in integrations_of(connection, app)? {
                let destination = &integration.destination;
                let payments = sql(PAYMENTS.of(OF_KEYS))
                    .uncached()
                    .bind(destination.id)
                    .bind(destination.created_at);
                let rows: Vec<UnchosenRow> =
                    payments.bind_list(keys.iter().copied()).all(connection)?;
                all.extend(unchosen(&rows, destination));
            }
            Ok(all)
        };
        self.read(read).await
    }
}

/// Returns the payments that an integration did not receive, by type of event, each type counted up to a maximum. Empty
/// for other destinations.
pub fn by_type(
    connection: &mut AnyConnection,
    destination: &Destination,
) -> Result<Vec<UnchosenType>, Error> {
    let mut all = Vec::new();
    let types = payment::event_types()
        .into_iter()
        .filter(|name| destination.per_user && !destination.chose(name));
    for event_type in types {
        let payments = sql(PAYMENTS.of(OF_TYPE))
            .bind(destination.id)
            .bind(destination.created_at);
        let payments = payments.bind((
            destination.app_id,
            event_type,
            destination.app_id,
            event_type,
        ));
        let rows: Vec<UnchosenRow> = payments.all(connection)?;
        let found = unchosen(&rows, destination);
        if found.is_empty() {
            continue;
        }
        let of_app: i64 = sql(COUNTED.of(COUNTED_OF_APP))
            .bind(destination.app_id)
            .value(connection)?
            .unwrap_or(0);
        let of_type: i64 = sql(COUNTED.of(COUNTED_OF_TYPE))
            .bind(event_type)
            .value(connection)?
            .unwrap_or(0);
        let mut total = Total::default();
        found.iter().for_each(|one| total.add(one.usd));
        all.push(UnchosenType {
            event_type: event_type.to_owned(),
            payments: found.len(),
            usd: total.usd(),
            is_least: of_app.min(of_type) >= MAX_COUNTED,
            is_part: found.iter().any(|one| one.usd.is_none()),
            latest: found.into_iter().take(MAX_NAMED).collect(),
        });
    }
    Ok(all)
}

/// Returns the payments that an integration did not receive because it chose none of the events that announce them.
fn unchosen(rows: &[UnchosenRow], destination: &Destination) -> Vec<UnchosenPayment> {
    let payments = rows.chunk_by(|a, b| (a.collapse_key, a.number) == (b.collapse_key, b.number));
    let payment = |all: &[UnchosenRow]| {
        let first = all.first()?;
        let types = [Some(&first.event_type), first.other_event_type.as_ref()];
        let is_chosen = types
            .into_iter()
            .flatten()
            .any(|event_type| destination.chose(event_type));
        let wants = destination
            .filter
            .wants(first.platform_id, Environment::Production);
        let mut total = Total::default();
        let corrections = all.iter().filter_map(|row| row.correction.as_ref());
        first
            .usd
            .iter()
            .chain(corrections)
            .for_each(|usd| total.add(usd.parse().ok()));
        let is_nothing = total.usd().is_some_and(|usd| usd.is_zero());
        (first.queued == 0 && !is_chosen && wants && !is_nothing).then(|| UnchosenPayment {
            destination_id: destination.id,
            collapse_key: first.collapse_key,
            event_type: first.event_type.clone(),
            kind: first.kind,
            occurred_at: first.occurred_at,
            usd: total.usd(),
        })
    };
    payments.filter_map(payment).collect()
}
