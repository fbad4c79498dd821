//! `settle redeliver`: sends events again. `settle destination redeliver` and `replay` share its paging.

use super::client::{Client, Refused, Remote};
use super::progress::bar;
use super::{names, table};
use crate::{clock, times};
use clap::Subcommand;
use domain::Timestamp;
use serde_json::{Map, Value, json};
use std::process::ExitCode;

/// Send again: one event, a purchase, all of a time, or everything that failed.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Of a purchase's states always the newest is sent, once; `user.*` events are sent as they were. Each gets a new
`webhook-id`. What is still pending is not queued twice, and a destination that counts (Amplitude) is never sent what it
has.
`range` and `failed` cover every app and each of its destinations, unless --app or --destination limits them.

Example:
  settle redeliver failed --destination ID --dry-run
  settle redeliver range --app ID --from 2h
Next: `settle explain event EVENT_ID` shows the result. `settle destination replay ID` sends states only.")]
pub struct Options {
    #[command(subcommand)]
    selection: Selection,
    /// Only to this destination.
    #[arg(long, value_name = "ID", global = true)]
    destination: Option<String>,
    #[command(flatten)]
    pages: Pages,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Subcommand)]
enum Selection {
    /// Send one event again.
    #[command(after_help = "\
Example:
  settle redeliver event EVENT_ID --destination ID      (or the `webhook-id` that a receiver got)
Next: `settle explain event EVENT_ID` shows the result.")]
    Event {
        /// The event's id (`id` of a `user.*` event, `attributes.event_id` of a `purchase.updated`), or that of one of
        /// its deliveries: the `webhook-id`.
        id: String,
    },
    /// Send the newest state of a purchase and all its `user.*` events again.
    #[command(after_help = "\
Example:
  settle redeliver purchase RECEIPT --destination ID
Next: `settle explain purchase RECEIPT` shows the result.")]
    Purchase {
        /// Its collapse key, or the store's receipt id.
        collapse_key: String,
    },
    /// Send again what was recorded in a time range, of every app unless --app or --destination limits it.
    #[command(after_help = "\
Example:
  settle redeliver range --app ID --from 2h --dry-run      (counts, for the last two hours)
  settle redeliver range --destination ID --from 2026-11-20T00:00:00Z --until 2026-11-21T00:00:00Z
Next: `settle destination show ID` shows what is pending for it.")]
    Range {
        /// From when: a time such as 2026-11-20T00:00:00Z, or how long ago, such as 2h or 3d.
        #[arg(long, value_parser = |text: &str| times::past(text, clock::now()))]
        from: Timestamp,
        /// Until when, exclusive, in the same form [default: now].
        #[arg(long, value_parser = |text: &str| times::past(text, clock::now()))]
        until: Option<Timestamp>,
        #[command(flatten)]
        scope: Scope,
    },
    /// Send again what failed, unless it arrived since; of every app unless --app or --destination limits it.
    #[command(after_help = "\
Example:
  settle redeliver failed --app ID --dry-run      (counts only)
  settle redeliver failed --destination ID
Next: `settle delivery list --status failed` shows what remains failed.")]
    Failed {
        #[command(flatten)]
        scope: Scope,
    },
}

/// Which app.
#[derive(Debug, clap::Args)]
struct Scope {
    /// Only events of this app. Without it and --destination: of every app.
    #[arg(long, value_name = "ID")]
    app: Option<String>,
}

/// The flags that control the pages.
#[derive(Debug, Clone, clap::Args)]
pub struct Pages {
    /// Send nothing, only count what would be sent.
    #[arg(long, global = true)]
    dry_run: bool,
    /// Which run to continue: the name that an interrupted run printed. What it sent is not sent again.
    #[arg(long, value_name = "NAME", global = true)]
    run: Option<String>,
    /// Where to continue: the cursor that an interrupted run printed.
    #[arg(long, global = true)]
    cursor: Option<String>,
}

/// Redelivers the selection, page by page.
pub async fn redeliver(options: Options) -> anyhow::Result<ExitCode> {
    let client = options.remote.client()?;
    let mut flags = String::new();
    let mut body = match &options.selection {
        Selection::Event { id } => json!({ "event_id": names::event_id(&client, id).await? }),
        Selection::Purchase { collapse_key } => {
            json!({ "collapse_key": names::collapse_key(&client, collapse_key).await? })
        }
        Selection::Range { from, until, scope } => {
            let (from, until) = (from.to_string(), until.unwrap_or_else(clock::now).to_string());
            flags = format!(" --from {from} --until {until}");
            json!({ "from": from, "until": until, "app_id": scope.app })
        }
        Selection::Failed { scope } => json!({ "failed": true, "app_id": scope.app }),
    };
    if let Some(id) = &options.destination {
        body["destination_id"] = id.as_str().into();
    }
    let is_failed = matches!(options.selection, Selection::Failed { .. });
    let bulk = Bulk {
        client: &client,
        path: "/v1/redeliveries".to_owned(),
        body,
        counted: "checked",
        unit: if is_failed { "failed deliveries checked" } else { "events checked" },
        pages: &options.pages,
        flags,
    };
    bulk.run().await
}

/// A bulk request that the API answers page by page.
pub struct Bulk<'a> {
    /// The client of the service.
    pub client: &'a Client,
    /// The path of the request.
    pub path: String,
    /// The body of the request, without the cursor.
    pub body: Value,
    /// The field of the answer with the number of checked items.
    pub counted: &'static str,
    /// The unit of that number, for the progress bar.
    pub unit: &'static str,
    /// How to go through the pages.
    pub pages: &'a Pages,
    /// Further flags that are needed to continue; empty, or with a leading space.
    pub flags: String,
}

/// The sum of the pages until now.
#[derive(Debug, Default)]
struct Done {
    checked: u64,
    pending: u64,
    skipped: Map<String, Value>,
}

impl Bulk<'_> {
    /// Requests all pages and prints their result.
    pub async fn run(mut self) -> anyhow::Result<ExitCode> {
        let (bar, mut done) = (bar(self.unit, None), Done::default());
        let run = self.pages.run.clone().unwrap_or_else(|| clock::random_uuid().to_string());
        self.body["dry_run"] = self.pages.dry_run.into();
        self.body["run"] = run.as_str().into();
        let mut cursor = self.pages.cursor.clone();
        loop {
            self.body["cursor"] = json!(cursor);
            let answer = self.client.post(&self.path, &self.body).await;
            let answer = answer.map_err(|error| {
                let hint = self.hint(&error, &run, cursor.as_deref());
                error.context(hint)
            })?;
            let count = answer[self.counted].as_u64().unwrap_or_default();
            done.checked += count;
            bar.inc(count);
            done.add(&answer);
            cursor = answer["next_cursor"].as_str().map(str::to_owned);
            if cursor.is_none() {
                bar.finish_and_clear();
                return Ok(self.answer(&done));
            }
        }
    }

    /// What to do after an error. A page without an answer may have been carried out; the same run does not send it
    /// twice.
    fn hint(&self, error: &anyhow::Error, run: &str, cursor: Option<&str>) -> String {
        let is_first = cursor == self.pages.cursor.as_deref();
        if self.pages.dry_run || (is_first && error.is::<Refused>()) {
            return "nothing was sent".to_owned();
        }
        let cursor = cursor.map(|cursor| format!(" --cursor {cursor}")).unwrap_or_default();
        format!("interrupted: continue with --run {run}{cursor}{}, which sends nothing twice", self.flags)
    }

    /// Prints the result as sentences, or as JSON.
    fn answer(&self, done: &Done) -> ExitCode {
        if self.client.json {
            let answer = json!({ self.counted: done.checked, "pending": done.pending, "skipped": done.skipped });
            return table::answer(self.client, &answer);
        }
        let sent = match (done.pending == 1, self.pages.dry_run) {
            (true, false) => "delivery is sent",
            (false, false) => "deliveries are sent",
            (true, true) => "delivery would be sent",
            (false, true) => "deliveries would be sent",
        };
        table::line(&format!("{} {sent}; {} checked.", done.pending, done.checked));
        for (why, count) in &done.skipped {
            table::line(&format!("  {count} not: {}", reason(why)));
        }
        ExitCode::SUCCESS
    }
}

impl Done {
    fn add(&mut self, answer: &Value) {
        self.pending += answer["pending"].as_u64().unwrap_or_default();
        for (why, count) in answer["skipped"].as_object().into_iter().flatten() {
            let before = self.skipped.get(why).and_then(Value::as_u64).unwrap_or_default();
            self.skipped.insert(why.clone(), json!(before + count.as_u64().unwrap_or_default()));
        }
    }
}

/// The sentence for a reason code of the API.
fn reason(why: &str) -> &str {
    match why {
        "superseded" => "a newer state of the same purchase stands for them",
        "not_chosen" => "the destination does not choose them",
        "already_pending" => "they are pending already",
        "acknowledged" => "they, or a newer state, arrived",
        "counted" => "the destination has them, and would count them twice",
        "may_be_counted" => "the destination may have them, and would not recognize them any more",
        "pruned" => "their bodies were removed, for their age",
        "operators" => "they are about a destination, and are sent once",
        "deleted" => "the destination was deleted",
        "unknown" => "no event of such purchases was recorded",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::{Done, reason};
    use serde_json::json;

    #[test]
    fn pages_add_up() {
        let mut done = Done::default();
        for _ in 0..2 {
            done.add(&json!({"pending": 3, "skipped": {"already_pending": 1, "pruned": 2}}));
        }
        assert_eq!(done.pending, 6);
        assert_eq!(json!(done.skipped), json!({"already_pending": 2, "pruned": 4}));
    }

    #[test]
    fn every_reason_is_a_sentence() {
        use storage::Skipped::{
            Acknowledged, AlreadyPending, Counted, Deleted, MayBeCounted, NotChosen, Operators, Pruned, Superseded,
            Unknown,
        };
        let all = [
            Superseded,
            NotChosen,
            AlreadyPending,
            Acknowledged,
            Counted,
            MayBeCounted,
            Pruned,
            Operators,
            Deleted,
            Unknown,
        ];
        for one in all {
            let code = json!(one);
            let code = code.as_str().unwrap();
            assert_ne!(reason(code), code);
        }
    }
}
