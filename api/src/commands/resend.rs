//! `settle resend`: sends a selection again, page by page.

use super::client::{Client, Refused, Remote, read_as, segment};
use super::names::{self, Text};
use super::progress::bar;
use super::table;
use anyhow::ensure;
use api::{clock, times};
use clap::Subcommand;
use domain::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::ExitCode;
use storage::Skipped;

/// Resend an event, a purchase, a time range, what failed, or the latest states that a destination lacks.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Only a purchase's latest state is sent, once; `user.*` events are sent unchanged. Each delivery has a new `webhook-id`.
Pending deliveries are not queued twice, and an analytics project never gets an event that it already has.
`range` and `failed` cover every app and destination unless --app or --destination limits them. `behind`, `missing` and
`all` send only states, to one destination. The destination's rate and concurrency apply:
`settle destination update ID --rate 20 --concurrency 4`.

Example:
  settle resend failed --destination ID --dry-run
  settle resend range --app ID --from 2h
  settle resend missing --destination ID
Next: `settle explain event EVENT_ID` shows the result. `settle destination retry ID` sends what is pending now.")]
pub struct Options {
    #[command(subcommand)]
    selection: Selection,
    #[command(flatten)]
    pages: Pages,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Subcommand)]
enum Selection {
    /// Resend one event.
    #[command(after_help = "\
Example:
  settle resend event EVENT_ID --destination ID      (or the `webhook-id` that a receiver got)
Next: `settle explain event EVENT_ID` shows the result.")]
    Event {
        /// The event's id (`id` of a `user.*` event, `attributes.event_id` of a `purchase.updated`), or a delivery's
        /// `webhook-id`.
        id: String,
        #[command(flatten)]
        to: To,
    },
    /// Resend the latest state of a purchase and all its `user.*` events.
    #[command(after_help = "\
Example:
  settle resend purchase ID --destination ID
  settle resend purchase ID --failed --now --reason \"they are back\"
Next: `settle explain purchase ID` shows the result.")]
    Purchase {
        /// The collapse key, or the store's id of the purchase.
        collapse_key: String,
        /// Resend only those `user.*` events that failed.
        #[arg(long)]
        failed: bool,
        #[command(flatten)]
        to: To,
    },
    /// Resend what was recorded in a time range, in every app unless --app or --destination limits it.
    #[command(after_help = "\
Example:
  settle resend range --app ID --from 2h --dry-run      (only counts the last two hours)
  settle resend range --destination ID --from 2026-11-20T00:00:00Z --until 2026-11-21T00:00:00Z
Next: `settle destination show ID` shows what is pending for it.")]
    Range {
        /// Start: a time such as 2026-11-20T00:00:00Z, a day, `yesterday`, or how long ago, such as 2h or 3d.
        #[arg(long, value_parser = |text: &str| times::past(text, clock::now()))]
        from: Timestamp,
        /// End (exclusive), in the same form [default: now].
        #[arg(long, value_parser = |text: &str| times::past(text, clock::now()))]
        until: Option<Timestamp>,
        #[command(flatten)]
        scope: Scope,
    },
    /// Resend what failed and has not arrived since, in every app unless --app or --destination limits it.
    #[command(after_help = "\
Example:
  settle resend failed --app ID --dry-run      (only counts)
  settle resend failed --destination ID
Next: `settle delivery list --status failed` shows what still failed.")]
    Failed {
        #[command(flatten)]
        scope: Scope,
    },
    /// Send the latest states that the destination has not acknowledged.
    #[command(after_help = "\
Example:
  settle resend behind --destination ID --dry-run      (only counts)
  settle resend behind --destination ID
Next: `settle destination show ID` shows what is still pending.")]
    Behind(One),
    /// Send the latest states and profiles that were never queued for a destination, such as a new one.
    ///
    /// Running it again sends nothing twice.
    #[command(after_help = "\
Example:
  settle resend missing --destination ID --dry-run      (only counts)
  settle resend missing --destination ID
Next: `settle destination show ID` shows what is still pending. `settle resend behind --destination ID` sends states that
it has not acknowledged.")]
    Missing(One),
    /// Send the latest state of every purchase, for a receiver that lost its table.
    #[command(after_help = "\
Example:
  settle resend all --destination ID
Next: `settle destination show ID` shows what is still pending.")]
    All(One),
}

/// Destination of the resend.
#[derive(Debug, clap::Args)]
struct To {
    /// Only to this destination, by its id or name.
    #[arg(long, value_name = "ID")]
    destination: Option<String>,
}

/// Destination or app of the resend.
#[derive(Debug, clap::Args)]
struct Scope {
    #[command(flatten)]
    to: To,
    /// Only events of this app, or the app in which --destination is a name. Without both: every app.
    #[arg(long, value_name = "ID")]
    app: Option<String>,
}

/// The one destination.
#[derive(Debug, clap::Args)]
struct One {
    /// The destination's id or name.
    #[arg(long, value_name = "ID")]
    destination: String,
}

/// The flags of every selection.
#[derive(Debug, Clone, clap::Args)]
struct Pages {
    /// Send pending deliveries of the selection now: ends back-offs and `Retry-After` and, unless one event or purchase
    /// is selected, any pause.
    #[arg(long, global = true)]
    now: bool,
    /// Send nothing; only count what would be sent.
    #[arg(long, global = true)]
    dry_run: bool,
    /// The reason, for the audit log.
    #[arg(long, global = true)]
    reason: Option<String>,
    /// Continue an interrupted run by the name that it printed. What it sent is not sent twice.
    #[arg(long, value_name = "NAME", global = true)]
    run: Option<String>,
    /// The cursor at which to continue, as the interrupted run printed it.
    #[arg(long, global = true)]
    cursor: Option<String>,
}

/// Resends the selection, page by page, and prints the result.
pub async fn resend(options: Options) -> anyhow::Result<ExitCode> {
    let Options {
        mut selection,
        pages,
        remote,
    } = options;
    if let Selection::Range { until, .. } = &mut selection {
        *until = Some(until.unwrap_or_else(clock::now));
    }
    let client = remote.client()?;
    let mut body = selection.body(&client).await?;
    let run = pages
        .run
        .clone()
        .unwrap_or_else(|| clock::random_uuid().to_string());
    (body["now"], body["dry_run"]) = (pages.now.into(), pages.dry_run.into());
    (body["run"], body["reason"]) = (run.as_str().into(), json!(pages.reason));
    let (bar, mut done, mut cursor) = (
        bar(selection.unit(), None),
        Done::default(),
        pages.cursor.clone(),
    );
    loop {
        body["cursor"] = json!(cursor);
        let answer = client.post("/v1/resends", &body).await;
        let answer = answer.map_err(|error| {
            let is_first = cursor == pages.cursor;
            if pages.dry_run || (is_first && error.is::<Refused>()) {
                return error.context("nothing was sent");
            }
            // A page without a response may have been processed; the same run does not send it twice.
            let cursor = cursor.as_deref().map(|cursor| format!(" --cursor {cursor}")).unwrap_or_default();
            let flags = selection.flags();
            error.context(format!(
                "interrupted: to continue without sending anything twice, add --run {run}{cursor}{flags}"
            ))
        })?;
        let page: ResentPage = read_as(&answer)?;
        cursor = page.next_cursor.clone();
        done.add(page);
        bar.set_position(done.checked);
        if cursor.is_none() {
            bar.finish_and_clear();
            return Ok(done.answer(&client, pages.dry_run));
        }
    }
}

impl Selection {
    /// Returns the fields of the request for this selection.
    async fn body(&self, client: &Client) -> anyhow::Result<Value> {
        let (mut body, to, app) = match self {
            Self::Event { id, to } => (
                json!({ "event_id": names::event_id(client, id).await? }),
                to.destination.as_deref(),
                None,
            ),
            Self::Purchase {
                collapse_key,
                failed,
                to,
            } => {
                let key = names::collapse_key(client, collapse_key).await?;
                (
                    json!({ "collapse_key": key, "failed": failed }),
                    to.destination.as_deref(),
                    None,
                )
            }
            Self::Range {
                from,
                until,
                scope: Scope { to, app },
            } => (
                json!({ "from": from, "until": until }),
                to.destination.as_deref(),
                app.as_deref(),
            ),
            Self::Failed {
                scope: Scope { to, app },
            } => (
                json!({ "failed": true }),
                to.destination.as_deref(),
                app.as_deref(),
            ),
            Self::Behind(to) => (
                json!({ "behind": true }),
                Some(to.destination.as_str()),
                None,
            ),
            Self::Missing(to) => (
                json!({ "missing": true }),
                Some(to.destination.as_str()),
                None,
            ),
            Self::All(to) => (json!({ "all": true }), Some(to.destination.as_str()), None),
        };
        let app = match app {
            Some(app) => Some(names::app_id(client, app).await?),
            None => None,
        };
        match to {
            Some(to) => {
                body["destination_id"] = destination_id(client, to, app.as_deref()).await?.into()
            }
            None => body["app_id"] = json!(app),
        }
        Ok(body)
    }

    /// Returns the name of the checked items, for the progress bar.
    const fn unit(&self) -> &'static str {
        match self {
            Self::Event { .. } | Self::Purchase { .. } | Self::Range { .. } => "events checked",
            Self::Failed { .. } => "failed deliveries checked",
            Self::Behind(_) | Self::Missing(_) | Self::All(_) => "purchases checked",
        }
    }

    /// Returns the flags that a continued run needs because the selection depends on the time.
    fn flags(&self) -> String {
        match self {
            Self::Range {
                from,
                until: Some(until),
                ..
            } => format!(" --from {from} --until {until}"),
            _ => String::new(),
        }
    }
}

/// Returns the id of a destination, given its id or its name in this app. An id from another app is refused, because
/// the API limits a resend to an app or to a destination, never to both.
async fn destination_id(client: &Client, text: &str, app: Option<&str>) -> anyhow::Result<String> {
    let id = names::id_of(client, "destination_id", Text { text, app }).await?;
    // A name was already looked up in the app; an id was not.
    if let Some(app) = app.filter(|_| id == text) {
        let path = format!("/v1/destinations/{}", segment(&id));
        ensure!(
            names::app_of(client, &path).await? == app,
            "the destination `{id}` is not one of the app `{app}`; nothing was sent"
        );
    }
    Ok(id)
}

/// The response to one page. Its reasons are texts, because another version may have more than [`storage::Skipped`].
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ResentPage {
    checked: u64,
    pending: u64,
    skipped: BTreeMap<String, u64>,
    next_cursor: Option<String>,
}

/// The totals of the pages so far.
#[derive(Debug, Default)]
struct Done {
    checked: u64,
    pending: u64,
    skipped: BTreeMap<String, u64>,
}

impl Done {
    fn add(&mut self, page: ResentPage) {
        self.checked += page.checked;
        self.pending += page.pending;
        for (why, count) in page.skipped {
            *self.skipped.entry(why).or_default() += count;
        }
    }

    /// Prints the result as sentences, or as JSON.
    fn answer(&self, client: &Client, is_dry: bool) -> ExitCode {
        if client.json {
            let answer = json!({ "checked": self.checked, "pending": self.pending, "skipped": self.skipped });
            return table::answer(client, &answer);
        }
        let sent = match (self.pending == 1, is_dry) {
            (true, false) => "delivery queued",
            (false, false) => "deliveries queued",
            (true, true) => "delivery would be queued",
            (false, true) => "deliveries would be queued",
        };
        table::line(&format!(
            "{} {sent}; {} checked.",
            self.pending, self.checked
        ));
        for (why, count) in &self.skipped {
            table::line(&format!("  {count} skipped: {}", reason(why)));
        }
        ExitCode::SUCCESS
    }
}

/// Returns the text for one of the API's reason codes; for a newer server's unknown code, the code itself.
fn reason(code: &str) -> &str {
    match Skipped::named(code) {
        Some(reason) => reason.text(),
        None => code,
    }
}

#[cfg(test)]
mod tests {
    use super::{Done, read_as, reason};
    use serde_json::json;
    use storage::Skipped;

    #[test]
    fn pages_add_up() {
        let mut done = Done::default();
        for _ in 0..2 {
            let page = json!({"pending": 3, "skipped": {"already_pending": 1, "pruned": 2}});
            done.add(read_as(&page).expect("a page"));
        }
        assert_eq!(done.pending, 6);
        assert_eq!(
            json!(done.skipped),
            json!({"already_pending": 2, "pruned": 4})
        );
    }

    #[test]
    fn a_reason_is_a_text_and_an_unknown_one_its_code() {
        assert_eq!(reason("pruned"), Skipped::Pruned.text());
        let has_alarms = reason("operators").contains("for operators");
        assert!(has_alarms, "alarms have such events too");
        assert_eq!(reason("of_a_later_release"), "of_a_later_release");
    }
}
