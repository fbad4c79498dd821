//! `settle app rates`: imports exchange rates from a file.

use super::client::{Client, segment};
use super::progress::{bar, complain};
use super::{names, rows, table};
use api::clock;
use api::resources::rates::NewRate;
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use std::process::ExitCode;

const COLUMNS: &[&str] = &["day", "currency", "usd"];
/// Maximum number of rates in one request.
const BATCH: usize = 1000;

/// The file of the rates, and their app.
#[derive(Debug, clap::Args)]
pub struct Rates {
    /// CSV with the columns day, currency and usd, or one JSON object per line.
    file: PathBuf,
    /// The app's id or name.
    #[arg(long, value_name = "ID")]
    app: String,
}

/// Sends the rates. A line with an error is reported and skipped.
pub async fn rates(client: &Client, options: &Rates) -> anyhow::Result<ExitCode> {
    let path = format!(
        "/v1/apps/{}/rates",
        segment(&names::app_id(client, &options.app).await?)
    );
    let rows = rows::read(&options.file, COLUMNS)?;
    let bar = bar("rates read", Some(rows.count));
    let (mut batch, mut lines, mut stored, mut wrong) = (Vec::new(), Vec::new(), 0_usize, 0_u64);
    for row in rows.rows {
        let checked = row.fields.and_then(|fields| rate(&fields).map(|()| fields));
        match checked {
            Ok(fields) => {
                batch.push(Value::Object(fields));
                lines.push(row.line);
            }
            Err(why) => {
                wrong += 1;
                complain(&bar, &format!("line {}: {why}", row.line));
            }
        }
        bar.inc(1);
        if batch.len() == BATCH {
            stored += put(client, &path, &mut batch, &mut lines).await?;
        }
    }
    stored += put(client, &path, &mut batch, &mut lines).await?;
    bar.finish_and_clear();
    table::answer(client, &json!({ "rates": stored, "wrong": wrong }));
    Ok(if wrong > 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Validates a rate as the API does.
fn rate(fields: &Map<String, Value>) -> Result<(), String> {
    let mistakes = rows::check::<NewRate>(fields)?.mistakes(clock::now());
    let mistakes: Vec<_> = mistakes
        .into_iter()
        .map(|(field, expected)| format!("{field}: expected {expected}"))
        .collect();
    if mistakes.is_empty() {
        Ok(())
    } else {
        Err(mistakes.join("; "))
    }
}

async fn put(
    client: &Client,
    path: &str,
    batch: &mut Vec<Value>,
    lines: &mut Vec<u64>,
) -> anyhow::Result<usize> {
    if batch.is_empty() {
        return Ok(0);
    }
    let (rates, lines) = (std::mem::take(batch), std::mem::take(lines));
    let count = rates.len();
    let sent = client.put(path, &json!({ "rates": rates })).await;
    rows::answer(sent, "rates", &lines, "repeating rates is harmless")?;
    Ok(count)
}
