//! A list as a CSV file for spreadsheets.

use super::List;
use crate::visit::Visit;
use api::error::Error;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use storage::Paged;

/// Maximum number of rows of a file.
const MAX_ROWS: usize = 10_000;
/// Size in bytes after which a file ends.
const MAX_BYTES: usize = 8 << 20;
/// Maximum number of reads for a file: with a filter that matches few rows, many reads may be needed.
const MAX_READS: usize = 40;
/// Number of rows per read.
const READ: i64 = 500;
/// The byte order mark by which spreadsheets recognize UTF-8.
const MARK: &str = "\u{feff}";

/// Returns the rows of a list: their ids, then the columns of the page. If the file is cut off, its last row says so.
///
/// # Errors
/// Fails if a filter is invalid, or if the database does not respond.
pub async fn file<T: Serialize, F: Future<Output = Result<Paged<T>, Error>>>(
    list: &List<T>,
    visit: &Visit,
    read: impl Fn(Option<String>, i64) -> F,
) -> Result<Response, Error> {
    let mut writer = csv::Writer::from_writer(MARK.as_bytes().to_vec());
    let names = list
        .ids
        .iter()
        .copied()
        .chain(list.columns.iter().map(|column| column.label));
    writer.write_record(names).map_err(|_| Error::Internal)?;
    let (mut cursor, mut rows, mut bytes) = (None, 0, 0);
    for _ in 0..MAX_READS {
        let found = read(cursor, READ).await?;
        rows += found.items.len();
        for item in found.items {
            let fields = serde_json::to_value(&item).map_err(|_| Error::Internal)?;
            let ids = list
                .ids
                .iter()
                .map(|name| fields[*name].as_str().unwrap_or_default().to_owned());
            let cells = list
                .columns
                .iter()
                .map(|column| (column.cell)(&item, visit).plain());
            let row: Vec<String> = ids.chain(cells).map(|text| harmless(&text)).collect();
            bytes += row.iter().map(String::len).sum::<usize>();
            writer.write_record(row).map_err(|_| Error::Internal)?;
        }
        cursor = found.next_cursor;
        if cursor.is_none() || rows >= MAX_ROWS || bytes >= MAX_BYTES {
            break;
        }
    }
    if cursor.is_some() {
        let end =
            "The file ends here, but there may be more rows. Narrow the filter, or use the API.";
        let row = (0..list.ids.len() + list.columns.len()).map(|at| if at == 0 { end } else { "" });
        writer.write_record(row).map_err(|_| Error::Internal)?;
    }
    let file = writer.into_inner().map_err(|_| Error::Internal)?;
    let name = list.path.rsplit('/').next().unwrap_or_default();
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()),
        (
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"{name}.csv\""),
        ),
    ];
    Ok((headers, file).into_response())
}

/// Returns a text of which no spreadsheet interprets any part as a formula, whatever separates its cells
/// (<https://owasp.org/www-community/attacks/CSV_Injection>). Full-width signs begin formulas in East Asian
/// spreadsheets.
pub fn harmless(text: &str) -> String {
    let (mut harmless, mut begins) = (String::with_capacity(text.len() + 1), true);
    for letter in text.chars() {
        if begins
            && matches!(
                letter,
                '=' | '+' | '-' | '@' | '＝' | '＋' | '－' | '＠' | '\t' | '\r' | '\n'
            )
        {
            harmless.push('\'');
        }
        harmless.push(letter);
        begins = matches!(letter, ';' | ',' | '\t' | '\r' | '\n' | '"') || begins && letter == ' ';
    }
    harmless
}
