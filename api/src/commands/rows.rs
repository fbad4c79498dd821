//! Reads the rows of an input file: CSV, or one JSON object per line.

use super::client::Refused;
use anyhow::{Context, bail};
use api::error::Error;
use api::extract::{Fields, checked};
use serde_json::{Map, Value};
use std::path::Path;
use std::sync::Arc;

/// One row: its line number, and its fields or an error.
pub struct ImportRow {
    /// The line number, from 1.
    pub line: u64,
    /// The fields of the line, or why it is invalid.
    pub fields: Result<Map<String, Value>, String>,
}

/// A file's rows and their number.
pub struct Rows {
    /// The rows in order, without empty lines.
    pub rows: Box<dyn Iterator<Item = ImportRow>>,
    /// Number of lines that are not empty, without the CSV header.
    pub count: u64,
}

/// Reads a file: CSV whose first line names these columns in any order, or JSON lines.
pub fn read(path: &Path, columns: &'static [&'static str]) -> anyhow::Result<Rows> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let text = text.trim_start_matches('\u{feff}').to_owned();
    let count = text.lines().filter(|line| !line.trim().is_empty()).count();
    let count = u64::try_from(count).unwrap_or(u64::MAX);
    if text.trim_start().starts_with('{') {
        return Ok(Rows {
            rows: Box::new(json_lines(&text).into_iter()),
            count,
        });
    }
    let bytes: Arc<[u8]> = text.into_bytes().into();
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(std::io::Cursor::new(bytes.clone()));
    let names = header(reader.records().next(), columns)?;
    let rows = reader
        .into_records()
        .map(move |record| cells(record, &names, &bytes));
    Ok(Rows {
        rows: Box::new(rows),
        count: count.saturating_sub(1),
    })
}

/// Validates a row by the API's schema. The error names each invalid field and the expected value.
pub fn check<T: Fields>(row: &Map<String, Value>) -> Result<T, String> {
    explained(checked(row.clone()))
}

/// Converts the error of a row to text.
pub fn explained<T>(checked: Result<T, Error>) -> Result<T, String> {
    checked.map_err(|error| match error {
        Error::Invalid(wrong) => {
            let parts = wrong
                .iter()
                .map(|field| format!("{}: expected {}", field.field, field.expected));
            parts.collect::<Vec<_>>().join("; ")
        }
        other => other.to_string(),
    })
}

/// Returns the API's response to rows that were sent as the list `list`. A refusal names lines instead of indices. Any
/// other error advises to run the same command again; `assurance` says why it is safe to send rows twice.
pub fn answer(
    sent: anyhow::Result<Value>,
    list: &str,
    lines: &[u64],
    assurance: &str,
) -> anyhow::Result<Value> {
    sent.map_err(|error| match error.downcast::<Refused>() {
        Ok(refused) => refused.rename(|field| in_line(field, list, lines)).into(),
        Err(error) => {
            let first = lines.first().copied().unwrap_or_default();
            error.context(format!(
                "stopped at line {first}: run the same command again to continue; {assurance}"
            ))
        }
    })
}

/// Renames a field of a row from `rates[3].usd` to `line 7: usd`; `None` if it is not such a field.
fn in_line(field: &str, list: &str, lines: &[u64]) -> Option<String> {
    let (index, field) = field
        .strip_prefix(list)?
        .strip_prefix('[')?
        .split_once(']')?;
    let line = lines.get(index.parse::<usize>().ok()?)?;
    let field = field.trim_start_matches('.');
    Some(if field.is_empty() {
        format!("line {line}")
    } else {
        format!("line {line}: {field}")
    })
}

fn json_lines(text: &str) -> Vec<ImportRow> {
    let lines = (1_u64..)
        .zip(text.lines())
        .filter(|(_, line)| !line.trim().is_empty());
    let row = |(line, text): (u64, &str)| {
        let fields = match serde_json::from_str(text) {
            Ok(Value::Object(fields)) => Ok(fields),
            Ok(_) => Err("expected a JSON object, such as {\"receipt_id\":\"…\"}".to_owned()),
            Err(error) => Err(format!("expected a JSON object ({error})")),
        };
        ImportRow { line, fields }
    };
    lines.map(row).collect()
}

/// Returns the columns named in the first line. A first line with an unknown column is refused, since it is probably
/// data without a header.
fn header(
    first: Option<Result<csv::StringRecord, csv::Error>>,
    columns: &[&str],
) -> anyhow::Result<Vec<String>> {
    let Some(first) = first else {
        return Ok(Vec::new());
    };
    let first = first.context("the first line is not valid CSV")?;
    let names: Vec<String> = first.iter().map(str::to_ascii_lowercase).collect();
    let known = columns.join(",");
    if let [only] = names.as_slice()
        && columns.len() > 1
        && only.contains([';', '\t'])
    {
        bail!(
            "the first line has only one cell, `{only}`: separate cells by commas; the first line \
             must name columns from {known}"
        );
    }
    if let Some(wrong) = names.iter().find(|name| !columns.contains(&name.as_str())) {
        bail!(
            "the first line has the unknown column `{wrong}`: use columns from {known}, in any order"
        );
    }
    Ok(names)
}

fn cells(
    record: Result<csv::StringRecord, csv::Error>,
    names: &[String],
    file: &[u8],
) -> ImportRow {
    let record = match record {
        Ok(record) => record,
        Err(error) => {
            let line = error
                .position()
                .map_or(0, |position| line_of(position, file));
            return ImportRow {
                line,
                fields: Err(format!("expected CSV ({error})")),
            };
        }
    };
    let line = record
        .position()
        .map_or(0, |position| line_of(position, file));
    if record.len() > names.len() {
        let why = format!(
            "expected at most {} cells ({}), not {}",
            names.len(),
            names.join(", "),
            record.len()
        );
        return ImportRow {
            line,
            fields: Err(why),
        };
    }
    let cells = names
        .iter()
        .zip(record.iter())
        .filter(|(_, cell)| !cell.is_empty());
    let fields = cells
        .map(|(name, cell)| (name.clone(), Value::from(cell)))
        .collect();
    ImportRow {
        line,
        fields: Ok(fields),
    }
}

/// Returns the line number of a record. The parser's position precedes any empty lines before the record.
fn line_of(position: &csv::Position, file: &[u8]) -> u64 {
    let start = usize::try_from(position.byte()).unwrap_or(usize::MAX);
    let rest = file.get(start..).unwrap_or_default();
    let ends = rest
        .iter()
        .take_while(|byte| matches!(byte, b'\r' | b'\n'))
        .filter(|byte| **byte == b'\n')
        .count();
    position.line() + u64::try_from(ends).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{Rows, answer, check, header, in_line, read};
    use api::resources::rates::NewRate;

    fn rows(text: &str) -> Rows {
        let name = format!(
            "settle-rows-{}-{}",
            std::process::id(),
            api::clock::random_uuid()
        );
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        let rows = read(&path, &["day", "currency", "usd"]).unwrap();
        std::fs::remove_file(&path).unwrap();
        rows
    }

    fn read_all(text: &str) -> Vec<(u64, Result<String, String>)> {
        let usd = |fields| {
            check::<NewRate>(&fields)
                .map(|rate| format!("{} {} {}", rate.day, rate.currency, rate.usd.normalize()))
        };
        rows(text)
            .rows
            .map(|row| (row.line, row.fields.and_then(usd)))
            .collect()
    }

    #[test]
    fn csv_with_columns_in_any_order_equals_json_lines() {
        let expected = [
            (2, Ok("2026-01-31 EUR 1.08".to_owned())),
            (3, Ok("2026-02-01 EUR 1.1".to_owned())),
        ];
        assert_eq!(
            read_all("usd,day,currency\n1.08,2026-01-31,EUR\n1.10, 2026-02-01 ,EUR\n"),
            expected
        );
        let apart =
            read_all("day,currency,usd\n2026-01-31,EUR,1.08\r\n\r\n\r\n2026-02-01,EUR,1.1\n");
        assert_eq!(
            apart.iter().map(|(line, _)| *line).collect::<Vec<_>>(),
            [2, 5]
        );
        let json = "\n{\"day\":\"2026-01-31\",\"currency\":\"EUR\",\"usd\":\"1.08\"}\n\
            {\"day\":\"2026-02-01\",\"currency\":\"EUR\",\"usd\":\"1.10\"}\n";
        assert_eq!(read_all(json), expected);
        assert_eq!(
            rows("day,currency,usd\n2026-01-31,EUR,1\n\n2026-02-01,EUR,1\n").count,
            2
        );
    }

    #[test]
    fn a_file_whose_first_line_names_no_columns_is_refused() {
        for (text, part) in [
            ("2026-01-31,EUR,1.08", "unknown column `2026-01-31`"),
            (
                "date,currency,usd\n2026-01-31,EUR,1",
                "unknown column `date`",
            ),
            (
                "day;currency;usd\n2026-01-31;EUR;1",
                "separate cells by commas",
            ),
        ] {
            let first = text
                .lines()
                .next()
                .map(|line| csv::StringRecord::from(line.split(',').collect::<Vec<_>>()));
            let why = header(first.map(Ok), &["day", "currency", "usd"])
                .unwrap_err()
                .to_string();
            assert!(
                why.contains(part) && why.contains("day,currency,usd"),
                "{why}"
            );
        }
    }

    #[test]
    fn a_bad_line_is_named_and_the_others_are_read() {
        let all = read_all(
            "day,currency,usd\n2026-02-30,EUR,1\n2026-02-01,euro,0\n2026-02-01,EUR\n1,2,3,4\n2026-02-01,EUR,2",
        );
        let wrong = |at: usize| all[at].1.clone().unwrap_err();
        assert!(
            wrong(0).starts_with("day: expected a day such as 2026-01-31"),
            "{}",
            wrong(0)
        );
        assert!(
            wrong(1).contains("currency: expected") && wrong(1).contains("usd: expected"),
            "{}",
            wrong(1)
        );
        assert!(wrong(2).contains("usd: expected a decimal"), "{}", wrong(2));
        assert!(wrong(3).contains("at most 3 cells"), "{}", wrong(3));
        assert_eq!((all[4].0, all[4].1.as_deref()), (6, Ok("2026-02-01 EUR 2")));
    }

    #[test]
    fn a_refused_row_is_named_by_its_line() {
        let line = |field| in_line(field, "rates", &[2, 5]);
        assert_eq!(line("rates[1].usd").as_deref(), Some("line 5: usd"));
        assert_eq!(line("rates[0]").as_deref(), Some("line 2"));
        for other in ["rates", "rates[2].usd", "rates[x].usd", "reason"] {
            assert_eq!(line(other), None, "{other}");
        }
    }

    #[test]
    fn a_temporary_error_advises_to_repeat_the_command() {
        let error = answer(
            Err(anyhow::anyhow!("no response")),
            "rates",
            &[7],
            "it is harmless",
        )
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "stopped at line 7: run the same command again to continue; it is harmless"
        );
    }
}
