//! Reads the rows of the ledger and of sales reports.

use crate::purchases::purchase::Origin;
use crate::settings::{listing, rates};
use db::connection::AnyConnection;
use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::{Ahead, row, sql, stored};
use domain::catalogue::PriceSource;
use domain::payment::{
    self, Conversion, Day, EntryKind, LedgerEntry, RecordedPrice, Sale, SaleKind, UnknownPrice,
};
use domain::{AppId, CollapseKey, EventId, Purchase, Timestamp};
use rust_decimal::Decimal;

stored! {
    /// Source of an entry's price.
    pub enum Source {
        Catalogue = "catalogue",
        /// The device on which the purchase was made.
        Device = "device",
        /// The store, which shows that a payment was refunded.
        Store = "store",
        Report = "report",
    }
}

row! {
    pub struct EntryRow {
        pub number: i64,
        pub kind: EntryKind,
        pub occurred_at: Timestamp,
        pub usd: Option<Decimal>,
        pub unknown_because: Option<UnknownPrice>,
        transaction_id: Option<String>,
        pub store_transaction: Option<String>,
        pub amount: Option<Decimal>,
        pub tax: Option<Decimal>,
        pub sku: Option<String>,
        pub price: Option<Decimal>,
        pub currency: Option<String>,
        source: Source,
        priced_on: Option<String>,
        rate_day: Option<String>,
        pub period_start: Option<Timestamp>,
        pub quantity: Option<i64>,
    }
}

row! {
    /// A line of a sales report, and the newest rate of its currency up to its day.
    pub struct SaleRow {
        pub transaction_id: String,
        pub kind: SaleKind,
        pub sold_at: Timestamp,
        pub price: Decimal,
        pub currency: String,
        pub rate: Option<Decimal>,
        pub rate_day: Option<String>,
    }
}

row! {
    /// The events and the SKU of a payment, and the number of its entries.
    pub struct PaymentEvents {
        pub event_id: EventId,
        other_event_id: Option<EventId>,
        pub sku: Option<String>,
        pub entries: i64,
    }
}

/// The columns of an [`EntryRow`].
pub const ENTRY: &str =
    "number, kind, occurred_at, usd, unknown_because, transaction_id, store_transaction, amount, tax, sku,
        price, currency, source, priced_on, rate_day, period_start, quantity";
const ENTRIES: Sql = statement! {"
    SELECT {ENTRY}
    FROM payments
    WHERE collapse_key = ?
    ORDER BY number, entry
"};

/// Returns the ledger of a purchase, as it is stored: the entries of each payment in their order.
fn entries(connection: &mut AnyConnection, key: CollapseKey) -> Result<Vec<EntryRow>, Error> {
    sql(ENTRIES).bind(key).all(connection)
}

/// The ledger of a purchase, and the lines of sales reports about it. Both are fetched later.
pub struct Ledger {
    pub entries: Ahead<'static, EntryRow>,
    pub sales: Ahead<'static, SaleRow>,
}

/// Begins to read the ledger of a purchase of this origin, and the lines of sales reports about it.
pub fn ledger_ahead(
    connection: &mut AnyConnection,
    key: CollapseKey,
    origin: &Origin,
) -> Result<Ledger, Error> {
    let entries = sql(ENTRIES).bind(key).ahead(connection)?;
    Ok(Ledger {
        entries,
        sales: sales_ahead(connection, origin.app_id, &origin.receipt_id)?,
    })
}

/// Returns the ledger of a purchase, as `domain` needs it: the entries of each payment in their order.
pub fn ledger_entries(
    connection: &mut AnyConnection,
    key: CollapseKey,
) -> Result<Vec<LedgerEntry>, Error> {
    Ok(entries(connection, key)?
        .into_iter()
        .map(EntryRow::into_entry)
        .collect())
}

/// The columns of a [`SaleRow`].
pub const SALE: &str = "s.transaction_id, s.kind, s.sold_at, s.price, s.currency,
        (SELECT r.usd FROM rates r WHERE r.app_id = s.app_id AND r.currency = s.currency AND r.day <= s.day
            ORDER BY r.day DESC LIMIT 1) AS rate,
        (SELECT r.day FROM rates r WHERE r.app_id = s.app_id AND r.currency = s.currency AND r.day <= s.day
            ORDER BY r.day DESC LIMIT 1) AS rate_day";
const SALES_OF_STORE_ID: Sql = statement! {hot "sales_receipt", "
    SELECT {SALE}
    FROM sales s
    WHERE s.app_id = ? AND s.receipt_id = ?
    ORDER BY s.sold_at, s.transaction_id, s.kind
"};

/// Returns the lines of sales reports about a purchase.
pub fn sales_of(
    connection: &mut AnyConnection,
    app: AppId,
    receipt_id: &str,
) -> Result<Vec<Sale>, Error> {
    let rows = sales_ahead(connection, app, receipt_id)?.all(connection)?;
    rows.into_iter().map(SaleRow::sale).collect()
}

/// Like [`sales_of`], but the rows are fetched later.
fn sales_ahead(
    connection: &mut AnyConnection,
    app: AppId,
    receipt_id: &str,
) -> Result<Ahead<'static, SaleRow>, Error> {
    sql(SALES_OF_STORE_ID)
        .bind(app)
        .bind(receipt_id.to_owned())
        .ahead(connection)
}

const FIND_PAYMENT_EVENTS: Sql = statement! {"
    SELECT event_id, other_event_id, sku,
        (SELECT COUNT(*) FROM payments m WHERE m.collapse_key = p.collapse_key
        AND m.number = p.number) AS entries
    FROM payments p
    WHERE collapse_key = ? AND number = ? AND entry = 0
"};

/// Returns the events and the SKU of the payment with this number.
pub fn payment_events(
    connection: &mut AnyConnection,
    key: CollapseKey,
    number: i64,
) -> Result<PaymentEvents, Error> {
    let carrier: Option<PaymentEvents> = sql(FIND_PAYMENT_EVENTS)
        .bind(key)
        .bind(number)
        .first(connection)?;
    carrier.ok_or_else(|| Error::corrupt("an adjustment changes no payment"))
}

impl PaymentEvents {
    /// Returns the events that announce the payment.
    pub fn events(&self) -> Vec<EventId> {
        std::iter::once(self.event_id)
            .chain(self.other_event_id)
            .collect()
    }
}

impl EntryRow {
    /// Returns the price that was recorded with the payment; `None` for an entry that changes a payment, or without a
    /// price.
    pub fn recorded_price(&self) -> Option<RecordedPrice> {
        let source = match self.source {
            Source::Catalogue => PriceSource::Catalogue,
            Source::Device => PriceSource::Device,
            Source::Store => PriceSource::Store,
            Source::Report => PriceSource::Report,
        };
        let (price, currency) = self
            .price
            .zip(self.currency.clone())
            .filter(|_| self.kind.is_payment())?;
        Some(RecordedPrice {
            sku: self.sku.clone(),
            price,
            currency,
            usd: self.usd,
            source,
        })
    }

    /// Returns the entry as `domain` needs it.
    pub fn into_entry(self) -> LedgerEntry {
        LedgerEntry {
            number: self.number,
            kind: self.kind,
            at: self.occurred_at,
            usd: self.usd,
            is_by_rate: self.kind == EntryKind::Correction
                && self.transaction_id.is_none()
                && self.rate_day.is_some(),
            transaction_id: self.transaction_id,
        }
    }

    /// Returns the price of a payment of this purchase that an exchange rate converts, if it has one. Release 0.1.0
    /// stored no day: for its payments that had no rate, the day is that on which the purchase began.
    pub fn foreign_price(&self, purchase: &Purchase) -> Result<Option<ForeignPrice>, Error> {
        let stored = self.priced_on.as_deref().map(rates::day).transpose()?;
        let known = self.price.zip(self.currency.clone());
        let known = known.filter(|_| self.kind.is_payment() && self.transaction_id.is_none());
        Ok(known.and_then(|(price, currency)| {
            let is_without =
                self.usd.is_none() && self.unknown_because == Some(UnknownPrice::NoRate);
            let on = stored
                .or_else(|| listing::priced_on(purchase, &currency).filter(|_| is_without))?;
            Some(ForeignPrice {
                number: self.number,
                price,
                currency,
                on,
                is_dated: stored.is_some(),
            })
        }))
    }
}

/// The price of a payment in another currency than USD, from the catalogue or a device, and the day whose rate converts
/// it.
pub struct ForeignPrice {
    pub number: i64,
    pub price: Decimal,
    pub currency: String,
    pub on: Day,
    /// Whether the day is stored.
    pub is_dated: bool,
}

impl SaleRow {
    /// Returns the line as `domain` needs it, with its amount in USD.
    pub fn sale(self) -> Result<Sale, Error> {
        let newest = self.rate_day.as_deref().zip(self.rate);
        let newest = newest.map(|(day, usd)| rates::rate(day, usd)).transpose()?;
        let conversion = Conversion::on(Day::of(self.sold_at), newest);
        Ok(Sale {
            usd: payment::usd(
                self.price,
                &self.currency,
                conversion.map(|found| found.rate.usd),
            ),
            conversion,
            transaction_id: self.transaction_id,
            kind: self.kind,
            at: self.sold_at,
            price: self.price,
            currency: self.currency,
        })
    }
}
