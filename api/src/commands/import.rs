//! `settle app import`: adopts purchases that were made before the platform was connected, at a limited rate.

use super::client::{Client, read_as, segment};
use super::names;
use super::progress::{Pace, bar, complain};
use super::rows::{self, ImportRow, Rows};
use super::{settings, table};
use anyhow::bail;
use api::resources::import::{self, ImportState, Imported, MAX_PURCHASES};
use api::stores;
use indicatif::ProgressBar;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

const COLUMNS: &[&str] = &["receipt_id", "app_user_id", "external_id"];

/// The file to import, and the rate.
#[derive(Debug, clap::Args)]
pub struct Import {
    /// CSV with the columns receipt_id, app_user_id (unless the store identifies a purchase by its receipt alone) and
    /// optionally external_id, or one JSON object per line. Without a file, shows the progress of this platform's imports.
    file: Option<PathBuf>,
    /// The platform's id or name.
    #[arg(long, value_name = "ID")]
    platform: String,
    /// The app in which the platform's name is looked up, by its id or name.
    #[arg(long)]
    app: Option<String>,
    /// Maximum number of new purchases per second, each of which is verified with the store.
    #[arg(long, default_value_t = 5, value_parser = |text: &str| settings::number(text, 1..=500))]
    rate: u32,
    /// Wait until all are settled.
    #[arg(long)]
    wait: bool,
}

/// The number of lines by result.
#[derive(Default)]
struct Tally {
    accepted: u64,
    known: u64,
    waiting: u64,
    wrong: u64,
}

/// An import in progress.
struct Importer<'a> {
    client: &'a Client,
    path: &'a str,
    /// The platform's store.
    store: String,
    bar: ProgressBar,
    tally: Tally,
    /// The line numbers of the purchases in the next request.
    lines: Vec<u64>,
    /// The purchases of the next request.
    purchases: Vec<Map<String, Value>>,
}

/// Imports the file, if there is one, and prints the progress of the platform's imports.
pub async fn import(client: &Client, options: &Import) -> anyhow::Result<ExitCode> {
    let platform = names::id_in(
        client,
        "platform_id",
        &options.platform,
        options.app.as_deref(),
    )
    .await?;
    let platform = format!("/v1/platforms/{}", segment(&platform));
    let path = format!("{platform}/import");
    let tally = match &options.file {
        Some(file) => {
            let platform: VerifiedPlatform = read_as(&client.get(&platform, &[]).await?)?;
            check_verification(&platform)?;
            let (rows, bar) = rows_of(file)?;
            let importer = Importer {
                client,
                path: &path,
                store: platform.store,
                bar,
                tally: Tally::default(),
                lines: Vec::new(),
                purchases: Vec::new(),
            };
            Some(importer.send_all(rows, options.rate).await?)
        }
        None => None,
    };
    let mut state = client.get(&path, &[]).await?;
    if options.wait {
        state = wait(client, &path).await?;
    }
    let mut answer = json!({ "purchases": state });
    if let Some(tally) = &tally {
        answer["accepted"] = json!(tally.accepted);
        answer["known"] = json!(tally.known + tally.waiting);
        answer["wrong"] = json!(tally.wrong);
    }
    table::answer(client, &answer);
    if !client.json && !options.wait && waiting(&state)? != 0 {
        table::line(
            "They will be settled after the platform's window; the same command without a file shows the progress.",
        );
    }
    let has_failed = tally.is_some_and(|tally| tally.wrong > 0);
    Ok(if has_failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// A platform with the state of its verification.
#[derive(Debug, Deserialize)]
struct VerifiedPlatform {
    id: String,
    store: String,
    verification: VerificationState,
}

/// The state of a verification, even if this version does not know it.
#[derive(Debug, Deserialize)]
struct VerificationState {
    state: String,
}

/// Refuses an import if the platform has no credentials for its store, and warns if the store refused them: only the
/// store knows the dates and the state of an adopted purchase. Without the store, every purchase would be settled
/// without a change, and a later import would skip it as known.
fn check_verification(platform: &VerifiedPlatform) -> anyhow::Result<()> {
    let state = &platform.verification.state;
    let flags = stores::credential_flags(&platform.store)
        .map(|flags| format!(" {flags}"))
        .unwrap_or_default();
    let next = format!(
        "set them with `settle platform update {}{flags}`",
        platform.id
    );
    match state.as_str() {
        "on" => {}
        "off" => bail!("nothing was imported: this platform has no credentials; {next}"),
        _ => eprintln!(
            "Warning: the store refuses this platform's credentials (verification is `{state}`), so these purchases cannot \
             be verified: {next}."
        ),
    }
    Ok(())
}

/// Returns the rows of the file, and the progress bar of their import.
fn rows_of(file: &Path) -> anyhow::Result<(Rows, ProgressBar)> {
    let rows = rows::read(file, COLUMNS)?;
    let bar = bar("importing", Some(rows.count));
    Ok((rows, bar))
}

impl Importer<'_> {
    async fn send_all(mut self, rows: Rows, rate: u32) -> anyhow::Result<Tally> {
        let size = usize::try_from(rate)
            .unwrap_or(MAX_PURCHASES)
            .clamp(1, MAX_PURCHASES);
        let mut pace = Pace::new(rate);
        for row in rows.rows {
            self.take(row);
            if self.lines.len() == size {
                pace.did(self.send().await?).await;
            }
        }
        self.send().await?;
        self.bar.finish_and_clear();
        Ok(self.tally)
    }

    fn take(&mut self, row: ImportRow) {
        let checked = row.fields.and_then(|fields| {
            rows::explained(import::check(fields.clone(), &self.store)).map(|()| fields)
        });
        match checked {
            Ok(fields) => {
                self.lines.push(row.line);
                self.purchases.push(fields);
            }
            Err(why) => {
                self.tally.wrong += 1;
                self.bar.inc(1);
                complain(&self.bar, &format!("line {}: {why}", row.line));
            }
        }
    }

    /// Sends the collected purchases. Returns how many of them were new.
    async fn send(&mut self) -> anyhow::Result<u64> {
        if self.lines.is_empty() {
            return Ok(0);
        }
        let (lines, purchases) = (
            std::mem::take(&mut self.lines),
            std::mem::take(&mut self.purchases),
        );
        let sent = self
            .client
            .post(self.path, &json!({ "purchases": purchases }))
            .await;
        let answer = rows::answer(sent, "purchases", &lines, "known purchases are skipped")?;
        let answer: Imported = read_as(&answer)?;
        let accepted = u64::try_from(answer.accepted).unwrap_or(u64::MAX);
        self.tally.accepted += accepted;
        self.tally.known += answer.known.unsigned_abs();
        self.tally.waiting += answer.waiting.unsigned_abs();
        for unnamed in &answer.unnamed {
            let place = unnamed.field.strip_prefix("purchases[");
            let line = place
                .and_then(|place| place.split(']').next()?.parse::<usize>().ok())
                .and_then(|at| lines.get(at));
            let line = line.copied().unwrap_or_default();
            let why = table::shown(&unnamed.detail);
            self.tally.wrong += 1;
            complain(
                &self.bar,
                &format!(
                    "line {line}: external_id: the purchase was imported, but its customer was not identified: {why}"
                ),
            );
        }
        self.bar.inc(u64::try_from(lines.len()).unwrap_or_default());
        Ok(accepted)
    }
}

/// Returns the number of imported purchases that are not settled yet.
fn waiting(state: &Value) -> anyhow::Result<u64> {
    let ImportState { waiting, .. } = read_as(state)?;
    Ok(waiting.unsigned_abs())
}

/// Waits until all imported purchases are settled.
async fn wait(client: &Client, path: &str) -> anyhow::Result<Value> {
    let mut shown = None;
    loop {
        let state = client.get(path, &[]).await?;
        let waiting = waiting(&state)?;
        // Outcomes that this version does not know are included.
        let all = state
            .as_object()
            .into_iter()
            .flatten()
            .filter_map(|(_, count)| count.as_u64())
            .sum();
        let bar = shown.get_or_insert_with(|| bar("verified", Some(all)));
        bar.set_length(all);
        bar.set_position(all - waiting);
        if waiting == 0 {
            bar.finish_and_clear();
            return Ok(state);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
