//! Sales reports of the Developer Console and the Reporting API: one month's transactions as CSV.
//!
//! This module is pure. Columns are found by name; the names differ between reports in case, spaces and brackets
//! (`Sales Price`, `Sales Price (Marketplace Currency)`), and columns that are not in [`COLUMNS`] are ignored. Source:
//! <https://developer.amazon.com/docs/reports-promo/sales-reports.html>. A summary report from 2017 or earlier lists no
//! transactions, and is refused because required columns are missing.

use domain::Timestamp;
use domain::payment::SaleKind;
use domain::text::decimal;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use std::fmt;
use storage::NewSale;

/// Columns that are read. All except the last are required.
pub const COLUMNS: [&str; 8] = [
    "Transaction Id",
    "Transaction Time",
    "Transaction Type",
    "Vendor SKU",
    "Receipt ID",
    "Marketplace Currency",
    "Sales Price",
    "In-App Subscription Status",
];
const REQUIRED: usize = 7;
/// Maximum length of a SKU or id, in bytes.
const MAX_BYTES: usize = 1000;
/// Time zones that reports use, with their offset from UTC in minutes.
const ZONES: [(&str, i32); 22] = [
    ("UTC", 0),
    ("GMT", 0),
    ("Z", 0),
    ("WET", 0),
    ("BST", 60),
    ("WEST", 60),
    ("CET", 60),
    ("CEST", 120),
    ("IST", 330),
    ("JST", 540),
    ("AEST", 600),
    ("AEDT", 660),
    ("BRT", -180),
    ("BRST", -120),
    ("EST", -300),
    ("EDT", -240),
    ("CST", -360),
    ("CDT", -300),
    ("MST", -420),
    ("MDT", -360),
    ("PST", -480),
    ("PDT", -420),
];

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Transactions, each with its line number, from 1.
    pub sales: Vec<(u64, NewSale)>,
    /// Number of lines for free trials, in which nothing was paid.
    pub trials: u64,
    /// Number of lines without a receipt: sales of the app itself, not of products in it.
    pub without_receipt: u64,
}

/// An error in a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    pub line: u64,
    /// Name of the column; empty if the error concerns the whole line.
    pub column: &'static str,
    pub expected: String,
}

impl fmt::Display for Wrong {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.column {
            "" => write!(formatter, "line {}: expected {}", self.line, self.expected),
            column => write!(
                formatter,
                "line {}, column `{column}`: expected {}",
                self.line, self.expected
            ),
        }
    }
}

/// Parses a report.
///
/// # Errors
/// Every error in the report, by line and column. A report with an invalid line is refused as a whole.
pub fn read(bytes: &[u8]) -> Result<Report, Vec<Wrong>> {
    let whole = |expected: &str| {
        vec![Wrong {
            line: 1,
            column: "",
            expected: expected.to_owned(),
        }]
    };
    if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(&[0x1f, 0x8b]) {
        return Err(whole("CSV, but the file is compressed: unpack it first"));
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|_| whole("CSV in UTF-8, but the file is in another encoding"))?;
    let text = text.trim_start_matches('\u{feff}');
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let mut records = reader.records();
    let places = match records.next() {
        Some(Ok(header)) => places(&header)?,
        Some(Err(error)) => return Err(whole(&format!("CSV ({error})"))),
        None => {
            return Err(whole(
                "a line with the names of the columns, but the file is empty",
            ));
        }
    };
    let ends: Vec<usize> = text.match_indices('\n').map(|(at, _)| at).collect();
    let line_of = |position: Option<&csv::Position>| {
        position.map_or(0, |position| line(text, &ends, position))
    };
    let (mut report, mut wrong) = (Report::default(), Vec::new());
    for record in records {
        match record {
            Ok(record) if record.iter().all(str::is_empty) => {}
            Ok(record) => {
                let line = line_of(record.position());
                Cells {
                    record: &record,
                    places: &places,
                    line,
                    wrong: &mut wrong,
                }
                .take(&mut report);
            }
            Err(error) => {
                let line = line_of(error.position());
                wrong.push(Wrong {
                    line,
                    column: "",
                    expected: format!("CSV ({error})"),
                });
            }
        }
    }
    if wrong.is_empty() {
        Ok(report)
    } else {
        Err(wrong)
    }
}

/// Returns the line number of a record, from 1. The parser's position can be before the end of the previous line and
/// before empty lines, so line breaks are skipped.
fn line(text: &str, ends: &[usize], position: &csv::Position) -> u64 {
    let start = usize::try_from(position.byte()).unwrap_or(usize::MAX);
    let rest = text.as_bytes().get(start..).unwrap_or_default();
    let skipped = rest
        .iter()
        .take_while(|byte| matches!(byte, b'\r' | b'\n'))
        .count();
    let begun = ends.partition_point(|end| *end < start.saturating_add(skipped));
    u64::try_from(begun).unwrap_or(u64::MAX).saturating_add(1)
}

/// Writes transactions as a report, with a header line.
pub fn write<'s>(sales: impl Iterator<Item = &'s NewSale>) -> Vec<u8> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    // Writing to memory cannot fail, and all lines have the same number of cells.
    let _ = writer.write_record(COLUMNS);
    for sale in sales {
        let time = sale.at.to_string();
        let kind = sale.kind.as_str();
        let (id, sku, receipt) = (&sale.transaction_id, &sale.sku, &sale.receipt_id);
        let _ = writer.write_record([
            id,
            time.as_str(),
            kind,
            sku,
            receipt,
            &sale.currency,
            &sale.price,
            "",
        ]);
    }
    writer.into_inner().unwrap_or_default()
}

/// Returns the index of each of [`COLUMNS`] in the report; `None` if the optional column is absent.
fn places(header: &csv::StringRecord) -> Result<[Option<usize>; COLUMNS.len()], Vec<Wrong>> {
    let names: Vec<String> = header.iter().map(plain).collect();
    let places = COLUMNS.map(|column| {
        let column = plain(column);
        let exact = names.iter().position(|name| *name == column);
        exact.or_else(|| names.iter().position(|name| name.starts_with(&column)))
    });
    let lacking = COLUMNS
        .iter()
        .zip(&places)
        .take(REQUIRED)
        .filter(|(_, place)| place.is_none());
    let lacking: Vec<Wrong> = lacking
        .map(|(column, _)| {
            let expected =
                "a column of this name in the first line: a transactional sales report has it"
                    .to_owned();
            Wrong {
                line: 1,
                column,
                expected,
            }
        })
        .collect();
    if lacking.is_empty() {
        Ok(places)
    } else {
        Err(lacking)
    }
}

/// Returns a column's name in lower case, without spaces and punctuation.
fn plain(name: &str) -> String {
    name.chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|letter| letter.to_ascii_lowercase())
        .collect()
}

struct Cells<'a> {
    record: &'a csv::StringRecord,
    places: &'a [Option<usize>; COLUMNS.len()],
    line: u64,
    wrong: &'a mut Vec<Wrong>,
}

impl Cells<'_> {
    fn take(mut self, report: &mut Report) {
        if self.cell(7).eq_ignore_ascii_case("trial") || self.is_free_charge() {
            report.trials += 1;
            return;
        }
        if self.cell(4).is_empty() {
            report.without_receipt += 1;
            return;
        }
        let before = self.wrong.len();
        let sale = NewSale {
            transaction_id: self.text(0),
            at: self.time(1),
            kind: self.kind(2),
            sku: self.text(3),
            receipt_id: self.text(4),
            currency: self.currency(5),
            price: self.price(6),
        };
        if self.wrong.len() == before {
            report.sales.push((self.line, sale));
        }
    }

    /// Returns whether this is a charge of zero, which is a trial. The column that marks trials may be absent.
    fn is_free_charge(&self) -> bool {
        let is_free = decimal(self.cell(6)).is_some_and(|price| price.is_zero());
        is_free && self.cell(2).parse() == Ok(SaleKind::Charge)
    }

    fn cell(&self, column: usize) -> &str {
        self.places
            .get(column)
            .copied()
            .flatten()
            .and_then(|place| self.record.get(place))
            .unwrap_or_default()
    }

    fn note(&mut self, column: usize, expected: String) {
        let column = COLUMNS.get(column).copied().unwrap_or_default();
        self.wrong.push(Wrong {
            line: self.line,
            column,
            expected,
        });
    }

    fn text(&mut self, column: usize) -> String {
        let text = self.cell(column).to_owned();
        if text.len() > MAX_BYTES || !domain::text::is_plain(&text, MAX_BYTES) {
            self.note(
                column,
                format!("text of 1 to {MAX_BYTES} bytes without control characters"),
            );
        }
        text
    }

    fn kind(&mut self, column: usize) -> SaleKind {
        let text = self.cell(column).to_owned();
        text.parse().unwrap_or_else(|expected: String| {
            self.note(column, format!("{expected}, but it is `{text}`"));
            SaleKind::Charge
        })
    }

    /// Returns the price without its sign: some reports have negative refunds, but the transaction's type already marks
    /// a refund.
    fn price(&mut self, column: usize) -> String {
        let text = self.cell(column).to_owned();
        match decimal(&text) {
            Some(price) => price.abs().to_string(),
            None => {
                self.note(
                    column,
                    format!("a decimal such as 9.99, but it is `{text}`"),
                );
                String::new()
            }
        }
    }

    fn currency(&mut self, column: usize) -> String {
        let text = self.cell(column).to_ascii_uppercase();
        if text.len() != 3 || !text.bytes().all(|byte| byte.is_ascii_uppercase()) {
            self.note(
                column,
                format!("three letters of ISO 4217, such as EUR, but it is `{text}`"),
            );
        }
        text
    }

    fn time(&mut self, column: usize) -> Timestamp {
        let text = self.cell(column).to_owned();
        time(&text).unwrap_or_else(|| {
            self.note(
                column,
                format!("a time such as `2026-01-31 12:00:00 UTC`, but it is `{text}`"),
            );
            Timestamp::default()
        })
    }
}

/// Parses RFC 3339, or a date and a time of day followed by the name of a time zone; UTC if there is none.
fn time(text: &str) -> Option<Timestamp> {
    if let Ok(time) = text.parse() {
        return Some(time);
    }
    let is_zone = |zone: &str| zone.bytes().all(|byte| byte.is_ascii_alphabetic());
    let (time, zone) = match text.rsplit_once(' ') {
        Some((time, zone))
            if !zone.is_empty()
                && is_zone(zone)
                && !zone.eq_ignore_ascii_case("AM")
                && !zone.eq_ignore_ascii_case("PM") =>
        {
            (time, zone)
        }
        _ => (text, "UTC"),
    };
    let (_, minutes) = ZONES
        .into_iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(zone))?;
    let local = civil(time)?;
    let offset = Offset::from_seconds(minutes * 60).ok()?;
    let instant = local.to_zoned(TimeZone::fixed(offset)).ok()?.timestamp();
    Some(Timestamp::from_micros(instant.as_microsecond()))
}

fn civil(text: &str) -> Option<DateTime> {
    if let Ok(local) = text.parse() {
        return Some(local);
    }
    let forms = [
        "%m/%d/%Y %H:%M:%S",
        "%m/%d/%Y %I:%M:%S %p",
        "%m/%d/%Y %H:%M",
        "%m/%d/%Y",
    ];
    forms.iter().find_map(|form| {
        DateTime::strptime(form, text).ok().or_else(|| {
            jiff::civil::Date::strptime(form, text)
                .ok()
                .map(|day| day.at(0, 0, 0, 0))
        })
    })
}
