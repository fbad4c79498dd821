//! Compares the revenue that was sent to each integration with the ledger, in pages of purchases. An integration is a
//! destination that gets requests user by user and counts revenue.
//!
//! One statement reads the entries of a page together with their deliveries, so that both are from the same moment.
//! Another statement reads the revenue that was sent without an entry in the ledger.

use crate::events::status::DeliveryStatus;
use crate::reports::choosers::{self, Chooser};
use crate::store::Store;
use db::connection::AnyConnection;
use db::error::Error;
use db::page::{Page, Paged};
use db::sql::{Clause, Sql, clause, statement};
use db::statement::{row, sql};
use domain::{AppId, CollapseKey, DestinationId, Environment, EventId, PlatformId, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashSet};

/// Which part of the ledger is compared.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct RevenueFilter {
    /// Only revenue of this app.
    pub app_id: Option<AppId>,
    /// Only revenue of this month (UTC).
    #[schemars(extend("format" = "month"))]
    pub month: Option<String>,
}

/// A destination that counts revenue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Integration {
    /// Id of the destination.
    pub id: DestinationId,
    /// Id of the destination's app.
    pub app_id: AppId,
    /// Name of the destination.
    pub name: String,
}

/// A ledger entry compared with one integration, or revenue that was sent without an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RevenueLine {
    /// Id of the integration.
    pub destination_id: DestinationId,
    /// Month (UTC) of the entry, such as `2026-01`.
    pub month: String,
    /// Whether the revenue is real or from the store's sandbox.
    pub environment: Environment,
    /// SKU that was paid for.
    pub sku: Option<String>,
    /// Key of the purchase.
    pub collapse_key: CollapseKey,
    /// Id of the event that announces the entry.
    pub event_id: EventId,
    /// Kind of entry; null for revenue without an entry.
    pub kind: Option<String>,
    /// Amount in the ledger, in USD; null if not known.
    pub ledger: Option<String>,
    /// Amount in the sent body, in USD, by delivery status: `delivered`, `pending` or `failed`.
    pub sent: BTreeMap<&'static str, String>,
    /// Why the sent revenue differs from the ledger; null if it does not.
    pub differs: Option<Differs>,
}

/// Why the revenue sent to an integration differs from the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Differs {
    /// The price is not known, so no revenue is sent.
    PriceUnknown,
    /// The integration is not subscribed to the event, or its filter excludes the platform or environment.
    NotChosen,
    /// The integration was created after the event, or had another subscription then.
    CreatedLater,
    /// The delivery is pending.
    Pending,
    /// The delivery waits for the customer's external id.
    WaitingForName,
    /// The delivery failed.
    Failed,
    /// The delivery was skipped, for example because the integration has no API key for the environment.
    Skipped,
    /// The entry changes a payment that was never queued for the integration.
    PaymentNotQueued,
    /// Unexplained: the sent amount differs from the ledger.
    Unequal,
    /// Unexplained: there is no delivery.
    Missing,
    /// Unexplained: revenue was sent without a ledger entry.
    NotInLedger,
}

impl Differs {
    /// Whether the difference is expected: it results from the integration's subscription or the status of the
    /// delivery.
    pub const fn is_explained(self) -> bool {
        !matches!(self, Self::Unequal | Self::Missing | Self::NotInLedger)
    }
}

/// Comparison of sent revenue with the ledger, for one page of purchases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RevenueCheck {
    /// Number of purchases checked.
    pub purchases: i64,
    /// Integrations of the purchases' apps.
    pub integrations: Vec<Integration>,
    /// One line for each ledger entry at each integration, and for revenue without an entry.
    pub lines: Vec<RevenueLine>,
    /// Number of unexplained differences.
    pub unexplained: usize,
    /// Cursor of the next page; null on the last page.
    pub next_cursor: Option<String>,
}

row! {
    struct RevenueKey {
        collapse_key: CollapseKey,
        app_id: AppId,
    }
}

row! {
    /// A ledger entry, joined with one of its deliveries, if there is one.
    struct EntryRow {
        collapse_key: CollapseKey,
        number: i64,
        entry: i64,
        app_id: AppId,
        kind: String,
        event_id: EventId,
        event_type: String,
        other_event_type: Option<String>,
        occurred_at: Timestamp,
        created_at: Timestamp,
        sku: Option<String>,
        usd: Option<String>,
        platform_id: PlatformId,
        environment: Environment,
        destination_id: Option<DestinationId>,
        status: Option<DeliveryStatus>,
        revenue: Option<String>,
    }
}

row! {
    /// A delivery with revenue whose event has no entry in the ledger.
    struct StrayRow {
        collapse_key: CollapseKey,
        event_id: EventId,
        destination_id: DestinationId,
        status: DeliveryStatus,
        environment: Option<Environment>,
        revenue: String,
        at: Timestamp,
        sku: Option<String>,
    }
}

/// The integrations for which a payment was queued, and those to which it was delivered.
#[derive(Default)]
struct Paid {
    queued: HashSet<DestinationId>,
    delivered: HashSet<DestinationId>,
}

const ENTRIES: Sql = statement! {"
    SELECT p.collapse_key, p.number, p.entry, p.app_id, p.kind, p.event_id, e.event_type,
        o.event_type AS other_event_type, p.occurred_at, p.created_at, p.sku, p.usd, c.platform_id,
        p.environment, d.destination_id, d.status, d.revenue
    FROM payments p
    JOIN purchases c ON c.collapse_key = p.collapse_key
    JOIN events e ON e.id = p.event_id
    LEFT JOIN events o ON o.id = p.other_event_id
    LEFT JOIN deliveries d ON (d.event_id = p.event_id OR d.event_id = p.other_event_id)
    WHERE {{which}}
    ORDER BY p.collapse_key, p.number, p.entry, d.seq
"};
/// The purchases of a page over all apps are all those between two keys; the purchases of one app are scattered among
/// others.
const ENTRIES_BETWEEN: Clause = clause!(&[ENTRIES], "p.collapse_key > ? AND p.collapse_key <= ?");
const ENTRIES_OF: Clause =
    clause!(&[ENTRIES], hot "payments_pkey or sqlite_autoindex_payments", "p.collapse_key IN (?*)");

const STRAYS: Sql = statement! {"
    SELECT d.collapse_key, d.event_id, d.destination_id, d.status, d.environment, d.revenue,
        COALESCE(e.occurred_at, e.created_at) AS at, c.term_sku AS sku
    FROM deliveries d
    JOIN events e ON e.id = d.event_id
    LEFT JOIN purchases c ON c.collapse_key = d.collapse_key
    WHERE d.revenue IS NOT NULL AND {{which}}
        AND NOT EXISTS (SELECT 1 FROM payments p WHERE p.event_id = d.event_id)
        AND NOT EXISTS (SELECT 1 FROM payments p WHERE p.other_event_id = d.event_id)
    ORDER BY d.seq
"};
const STRAYS_BETWEEN: Clause = clause!(&[STRAYS], "d.collapse_key > ? AND d.collapse_key <= ?");
const STRAYS_OF: Clause = clause!(&[STRAYS], hot "deliveries_of_key", "d.collapse_key IN (?*)");

const KEYS_OF_APP: Sql = statement! {hot "purchases_app", "
    SELECT collapse_key AS cursor, collapse_key, app_id
    FROM purchases
    WHERE app_id = ? AND collapse_key > ?
    ORDER BY collapse_key
    LIMIT ?
"};

const KEYS: Sql = statement! {"
    SELECT collapse_key AS cursor, collapse_key, app_id
    FROM purchases
    WHERE collapse_key > ?
    ORDER BY collapse_key
    LIMIT ?
"};

impl Store {
    /// Compares the ledger with the revenue that was sent to each integration, for a page of purchases.
    pub async fn check_revenue(
        &self,
        filter: RevenueFilter,
        page: Page,
    ) -> Result<RevenueCheck, Error> {
        self.read(move |connection| {
            let after = page.cursor.clone().unwrap_or_default();
            let keys = match filter.app_id {
                Some(app) => sql(KEYS_OF_APP).bind(app).bind(after.as_str()),
                None => sql(KEYS).bind(after.as_str()),
            };
            let Paged::<RevenueKey> {
                items: keys,
                next_cursor,
            } = page.read(connection, keys)?;
            let mut integrations = BTreeMap::new();
            for row in &keys {
                if let Entry::Vacant(place) = integrations.entry(row.app_id) {
                    place.insert(integrations_of(connection, row.app_id)?);
                }
            }
            let mut lines = Vec::new();
            if let Some(last) = keys.last() {
                let read = |list: Sql, between: Clause, of: Clause| match filter.app_id {
                    Some(_) => sql(list.of(of))
                        .uncached()
                        .bind_list(keys.iter().map(|row| row.collapse_key)),
                    None => sql(list.of(between))
                        .bind(after.as_str())
                        .bind(last.collapse_key),
                };
                let entries: Vec<EntryRow> =
                    read(ENTRIES, ENTRIES_BETWEEN, ENTRIES_OF).all(connection)?;
                lines.extend(compare(&integrations, &entries));
                let strays: Vec<StrayRow> =
                    read(STRAYS, STRAYS_BETWEEN, STRAYS_OF).all(connection)?;
                let is_known = |id| {
                    integrations
                        .values()
                        .flatten()
                        .any(|one| one.destination.id == id)
                };
                lines.extend(
                    strays
                        .into_iter()
                        .filter(|stray| is_known(stray.destination_id))
                        .map(StrayRow::line),
                );
            }
            lines.retain(|line| {
                filter
                    .month
                    .as_ref()
                    .is_none_or(|month| *month == line.month)
            });
            let integrations =
                integrations
                    .into_values()
                    .flatten()
                    .map(|Chooser { destination, .. }| Integration {
                        id: destination.id,
                        app_id: destination.app_id,
                        name: destination.common.name,
                    });
            let purchases = i64::try_from(keys.len()).unwrap_or(i64::MAX);
            let is_unexplained =
                |line: &&RevenueLine| line.differs.is_some_and(|differs| !differs.is_explained());
            let unexplained = lines.iter().filter(is_unexplained).count();
            Ok(RevenueCheck {
                purchases,
                integrations: integrations.collect(),
                lines,
                unexplained,
                next_cursor,
            })
        })
        .await
    }
}

/// Returns the integrations of an app, with the times of their current subscriptions.
pub fn integrations_of(connection: &mut AnyConnection, app: AppId) -> Result<Vec<Chooser>, Error> {
    let mut all = choosers::of_app(connection, app)?;
    all.retain(|one| one.destination.per_user && one.deleted_at.is_none());
    Ok(all)
}

/// Compares each entry and its deliveries with the integrations of its app.
fn compare(integrations: &BTreeMap<AppId, Vec<Chooser>>, rows: &[EntryRow]) -> Vec<RevenueLine> {
    let (mut lines, mut paid) = (Vec::new(), Paid::default());
    for entry in rows
        .chunk_by(|a, b| (a.collapse_key, a.number, a.entry) == (b.collapse_key, b.number, b.entry))
    {
        let Some(first) = entry.first() else { continue };
        if first.entry == 0 {
            let by = |row: &EntryRow| row.destination_id;
            paid = Paid {
                queued: entry.iter().filter_map(by).collect(),
                delivered: entry
                    .iter()
                    .filter(|row| row.is(DeliveryStatus::Delivered))
                    .filter_map(by)
                    .collect(),
            };
        }
        let of_app = integrations
            .get(&first.app_id)
            .map(Vec::as_slice)
            .unwrap_or_default();
        lines.extend(
            of_app
                .iter()
                .filter_map(|chooser| line(chooser, entry, &paid)),
        );
    }
    lines
}

/// Compares an entry with an integration. `paid` are the deliveries of the payment that the entry is or changes.
fn line(chooser: &Chooser, entry: &[EntryRow], paid: &Paid) -> Option<RevenueLine> {
    let first = entry.first()?;
    let id = chooser.destination.id;
    let own: Vec<&EntryRow> = entry
        .iter()
        .filter(|row| row.destination_id == Some(id))
        .collect();
    let mut sent: BTreeMap<&'static str, String> = BTreeMap::new();
    // Of several deliveries of one event, the integration accepted at most one: the delivered one, or else the last.
    let with_revenue = || own.iter().filter(|row| row.revenue.is_some());
    let compared = with_revenue()
        .find(|row| row.is(DeliveryStatus::Delivered))
        .or_else(|| with_revenue().next_back());
    if let Some((row, revenue)) = compared.and_then(|row| Some((row, row.revenue.clone()?))) {
        sent.insert(status_name(row.status), revenue);
    }
    let ledger = first.usd.clone();
    let differs = match compared {
        Some(row) if row.revenue != ledger => Some(Differs::Unequal),
        Some(row) if row.is(DeliveryStatus::Delivered) => None,
        Some(row) => Some(row.unfinished()),
        None if own.is_empty() => without_delivery(chooser, first, paid),
        None if ledger.is_none() => Some(Differs::PriceUnknown),
        None if first.is_nothing() => None,
        None => Some(own.last().map_or(Differs::Missing, |row| row.unfinished())),
    };
    // The change was skipped because the payment was not delivered at that time, but it has been delivered since.
    let is_counted = first.entry > 0 && paid.delivered.contains(&id);
    let differs = differs.map(|why| {
        if why == Differs::Skipped && is_counted {
            Differs::Unequal
        } else {
            why
        }
    });
    Some(RevenueLine {
        destination_id: id,
        month: month(first.occurred_at),
        environment: first.environment,
        sku: first.sku.clone(),
        collapse_key: first.collapse_key,
        event_id: first.event_id,
        kind: Some(first.kind.clone()),
        ledger,
        sent,
        differs,
    })
}

/// Returns why there is no delivery of an entry; `None` if there should be none.
fn without_delivery(chooser: &Chooser, entry: &EntryRow, paid: &Paid) -> Option<Differs> {
    let Chooser { destination, .. } = chooser;
    let chooses = [Some(&entry.event_type), entry.other_event_type.as_ref()]
        .into_iter()
        .flatten()
        .any(|event_type| destination.chose(event_type));
    if entry.is_nothing() {
        entry.usd.is_none().then_some(Differs::PriceUnknown)
    } else if entry.entry > 0 {
        Some(if paid.queued.contains(&destination.id) {
            Differs::Missing
        } else {
            Differs::PaymentNotQueued
        })
    } else if entry.created_at < chooser.known_from() {
        Some(Differs::CreatedLater)
    } else if chooses
        && destination
            .filter
            .wants(entry.platform_id, entry.environment)
    {
        Some(Differs::Missing)
    } else {
        Some(Differs::NotChosen)
    }
}

impl EntryRow {
    fn is(&self, status: DeliveryStatus) -> bool {
        self.status == Some(status)
    }

    /// Whether the entry's amount is 0 or unknown.
    fn is_nothing(&self) -> bool {
        self.usd
            .as_deref()
            .is_none_or(|usd| !usd.bytes().any(|digit| matches!(digit, b'1'..=b'9')))
    }

    /// Returns why the entry was not delivered, from the status of its delivery.
    fn unfinished(&self) -> Differs {
        match self.status {
            Some(DeliveryStatus::Pending) => Differs::Pending,
            Some(DeliveryStatus::Waiting) => Differs::WaitingForName,
            Some(DeliveryStatus::Failed) => Differs::Failed,
            Some(DeliveryStatus::Skipped) => Differs::Skipped,
            // It was delivered without the ledger's amount.
            _ => Differs::Unequal,
        }
    }
}

impl StrayRow {
    fn line(self) -> RevenueLine {
        RevenueLine {
            destination_id: self.destination_id,
            month: month(self.at),
            environment: self.environment.unwrap_or(Environment::Production),
            sku: self.sku,
            collapse_key: self.collapse_key,
            event_id: self.event_id,
            kind: None,
            ledger: None,
            sent: BTreeMap::from([(status_name(Some(self.status)), self.revenue)]),
            differs: Some(Differs::NotInLedger),
        }
    }
}

/// Returns the key of an amount in [`RevenueLine::sent`], from the status of its delivery.
const fn status_name(status: Option<DeliveryStatus>) -> &'static str {
    match status {
        Some(DeliveryStatus::Delivered) => "delivered",
        Some(DeliveryStatus::Failed) => "failed",
        _ => "pending",
    }
}

fn month(at: Timestamp) -> String {
    at.to_string().chars().take("2026-01".len()).collect()
}
