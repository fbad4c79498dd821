//! The ledger for display: the payments of purchases or a customer, with the refunds and corrections of each.

use crate::reports::filtered::Filtered;
use crate::settling::payments::{confirmed, paid_by};
use crate::settling::unlisted;
use crate::store::Store;
use db::connection::AnyConnection;
use db::error::Error;
use db::page::{Page, Paged};
use db::sql::{Clause, Sql, clause, statement};
use db::statement::{Value, row};
use domain::payment::{EntryKind, Total, UnknownPrice};
use domain::{AppId, CollapseKey, Environment, EventId, Timestamp, UserId};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeSet;

/// Selection of payments to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PaymentSubject {
    Purchases(Vec<CollapseKey>),
    /// The purchases that a user owns now.
    User(UserId),
}

row! {
    /// A ledger entry: a payment, or a change to one.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
    #[schemars(rename = "Payment")]
    pub struct PaymentView {
        /// Id of the event that announces the entry.
        pub event_id: EventId,
        /// Key of the purchase.
        pub collapse_key: CollapseKey,
        /// Number of the paid term, from 1; negative if terms cannot be counted.
        pub number: i64,
        /// Kind of entry: a payment, or a change to the payment with this number.
        #[schemars(with = "String", extend("enum" = kinds()))]
        pub kind: EntryKind,
        /// When the payment or change occurred, by the store's clock where the store reports it.
        pub occurred_at: Timestamp,
        /// SKU that was paid for.
        pub sku: Option<String>,
        /// Price in the purchase's currency; null for a change.
        pub price: Option<String>,
        /// Currency of the price.
        pub currency: Option<String>,
        /// Tax in the price, in its currency; of a refund or its reversal, tax in what it returns, negative for a
        /// refund. Null if the store does not show it.
        pub tax: Option<String>,
        /// Country in which it was paid, as two letters of ISO 3166-1; null for a refund, and if the store does not show
        /// it for each payment.
        pub country: Option<String>,
        /// Amount in USD that the entry adds, negative for a refund; null if not known.
        pub usd: Option<String>,
        /// Day of the exchange rate that converts the amount; null if the amount is in USD, if its currency has no
        /// rate, and for entries recorded by a release before 0.1.1.
        pub rate_day: Option<String>,
        /// Whether the rate is carried forward because the amount's own day has none yet.
        pub is_rate_carried: bool,
        /// Why the amount is not known.
        #[schemars(with = "Option<String>")]
        pub unknown_because: Option<UnknownPrice>,
        /// Whether that is because the product is not in the catalogue at all.
        #[serde(skip)]
        pub is_unlisted: bool,
        /// Whether the store shows the payment, or the change, by a transaction of its own.
        #[serde(skip)]
        pub is_shown: bool,
        /// The source of the amount: `catalogue`, `device`, `store` or `report`.
        pub source: String,
        /// The store's id of the payment's transaction, or of the sales report's transaction that confirms, corrects or
        /// adds the amount; null if there is none.
        pub transaction_id: Option<String>,
        /// Whether the sales report corrects the amount. The difference is a correction in this list.
        pub is_corrected: bool,
        /// Whether the payment was real or in the store's test environment.
        pub environment: Environment,
        /// When the entry was recorded.
        pub created_at: Timestamp,
    }
}

/// Returns the names of the kinds of entries.
fn kinds() -> Vec<&'static str> {
    EntryKind::ALL.iter().map(|kind| kind.as_str()).collect()
}

/// Entries with the same time are sorted by entry number, because a correction has the time of its payment.
const PAYMENTS: Sql = statement! {"
    SELECT CAST(m.occurred_at AS TEXT) || '_' || CAST(m.entry + 100000 AS TEXT) || m.event_id AS cursor,
        m.event_id, m.collapse_key, m.number, m.kind, m.occurred_at, m.sku, m.price, m.currency, m.tax, m.country, m.usd,
        m.rate_day, COALESCE(m.rate_day < m.priced_on, FALSE) AS is_rate_carried, m.unknown_because,
        FALSE AS is_unlisted, (m.store_transaction IS NOT NULL OR (m.source = 'store' AND m.entry = 0)) AS is_shown,
        m.source, COALESCE(m.transaction_id, m.store_transaction) AS transaction_id, FALSE AS is_corrected, m.environment, m.created_at
    FROM payments m
    WHERE (m.occurred_at, CAST(m.entry + 100000 AS TEXT) || m.event_id) < (?, ?) AND {{which}}
    ORDER BY m.occurred_at DESC, CAST(m.entry + 100000 AS TEXT) || m.event_id DESC
    LIMIT ?
"};
const OF_APP: Clause = clause!(&[PAYMENTS], "m.app_id = ?");
const OF_PURCHASES: Clause = clause!(&[PAYMENTS], hot "payments_pkey or sqlite_autoindex_payments", "m.collapse_key IN (?*)");
const OF_USER: Clause = clause! {&[PAYMENTS], hot "purchases_user", "
    m.collapse_key IN (SELECT p.collapse_key FROM purchases p WHERE p.user_id = ?)
"};

impl Store {
    /// Returns the total in USD that a user paid in an environment, less refunds; `None` if no amount is known.
    pub async fn paid_usd(
        &self,
        user: UserId,
        environment: Environment,
    ) -> Result<Option<String>, Error> {
        self.read(move |connection| {
            let mut total = Total::default();
            paid_by(connection, user, environment)?
                .into_values()
                .for_each(|paid| total.add(paid.usd()));
            Ok(total.usd().map(|usd| usd.to_string()))
        })
        .await
    }

    /// Lists the payments of purchases or of a user with their changes, newest first; only those of one app, if there
    /// is one.
    pub async fn payments(
        &self,
        app: Option<AppId>,
        subject: PaymentSubject,
        page: Page,
    ) -> Result<Paged<PaymentView>, Error> {
        let (before, rank) = page.pair_or(i64::MAX)?;
        if subject == PaymentSubject::Purchases(Vec::new()) {
            return Ok(Paged {
                items: Vec::new(),
                next_cursor: None,
            });
        }
        self.read(move |connection| {
            let list = Filtered::new(PAYMENTS, [before.into(), rank.as_str().into()]);
            let list = match subject {
                PaymentSubject::Purchases(keys) => list.and(OF_PURCHASES, Value::list(keys)),
                PaymentSubject::User(user) => list.and(OF_USER, Some(user)),
            };
            let mut payments =
                page.read(connection, list.and(OF_APP, app).statement().uncached())?;
            confirm(connection, &mut payments.items)?;
            mark_unlisted(connection, &mut payments.items)?;
            Ok(payments)
        })
        .await
    }
}

/// Adds the ids of transactions that confirm or correct amounts from other sources: of payments, of prices that were
/// added later, and of refunds inferred from an early end.
fn confirm(connection: &mut AnyConnection, payments: &mut [PaymentView]) -> Result<(), Error> {
    let is_price = |one: &PaymentView| one.kind.is_payment() || one.kind == EntryKind::Correction;
    let is_amount = |one: &PaymentView| is_price(one) || one.kind == EntryKind::Refund;
    let is_open = |one: &PaymentView| is_amount(one) && one.transaction_id.is_none();
    let open = payments
        .iter()
        .filter(|one| is_open(one))
        .map(|one| one.collapse_key);
    let known = confirmed(connection, open.collect::<BTreeSet<_>>())?;
    for one in payments.iter_mut().filter(|one| is_open(one)) {
        let reports = if is_price(one) {
            &known.prices
        } else {
            &known.refunds
        };
        if let Some(report) = reports.get(&(one.collapse_key, one.number)) {
            one.transaction_id = Some(report.transaction_id.clone());
            one.is_corrected = report.is_correction;
        }
    }
    Ok(())
}

/// Marks the amounts that are unknown because the product of the purchase is not in the catalogue.
fn mark_unlisted(
    connection: &mut AnyConnection,
    payments: &mut [PaymentView],
) -> Result<(), Error> {
    let is_open = |one: &PaymentView| one.unknown_because == Some(UnknownPrice::NotListed);
    let open: BTreeSet<CollapseKey> = payments
        .iter()
        .filter(|one| is_open(one))
        .map(|one| one.collapse_key)
        .collect();
    let unlisted = unlisted::among(connection, open)?;
    for one in payments.iter_mut().filter(|one| is_open(one)) {
        one.is_unlisted = unlisted.contains(&one.collapse_key);
    }
    Ok(())
}
