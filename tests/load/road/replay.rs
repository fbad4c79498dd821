//! A replay of stored messages of Google Play, which Pub/Sub pushes again after a `seek`: they change nothing, and the
//! lag of new purchases is measured alone and meanwhile.

use super::phase::{self, Figures, WindowEnds};
use super::sending::{Batch, Sent, Store};
use super::subject::{Installed, Subject, Variant};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use system_tests::load::{Measured, Pace};
use system_tests::play::Choices;
use system_tests::raw::Raw;
use system_tests::wait;
use system_tests::world::World;
use tokio::time::Instant;

/// Number of messages about each purchase.
const MESSAGES_EACH: usize = 50;
/// Number of new purchases whose lag is measured, and how many begin per second.
const NEW: usize = 40;
const NEW_PER_SECOND: u32 = 4;
/// Approximate number of replayed messages whose outcomes are checked.
const SAMPLE: usize = 500;
/// Prefix of the tokens of the purchases with stored messages.
const STORED: &str = "stored";

/// The tables to which a replay adds nothing.
const TABLES: [&str; 4] = ["notifications", "events", "deliveries", "payments"];

/// Counts the notifications without an outcome, and the deliveries to come.
const OPEN: &str = "SELECT (SELECT COUNT(*) FROM notifications WHERE outcome IS NULL)
    + (SELECT COUNT(*) FROM deliveries WHERE status = 'pending') AS value";

/// The load.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Number of messages, at least.
    pub messages: usize,
    pub window: Duration,
    /// Maximum time from the end of the windows to the last webhook.
    pub patience: Duration,
}

/// What is stored and was sent about the purchases with stored messages.
#[derive(Debug, PartialEq, Eq)]
struct Ledger {
    /// Number of rows by table.
    rows: BTreeMap<&'static str, i64>,
    /// Acknowledged revisions by purchase.
    revisions: BTreeMap<String, Vec<i64>>,
}

/// The measurements.
struct Report {
    purchases: usize,
    /// The messages when they were new.
    first: Measured,
    /// The replay.
    again: Measured,
    /// New purchases without a replay.
    alone: Figures,
    /// New purchases whose windows ended during the replay.
    beside: Figures,
}

/// Stores messages, replays all of them, and prints the figures.
///
/// # Panics
/// When a message is not accepted, or the replay adds a row or a webhook.
pub async fn measure(plan: &Plan, installed: &Installed) -> Value {
    let subject = Subject::start(Variant::Settle, &with_google(installed)).await;
    let stored = plan.phase(STORED, plan.messages.div_ceil(MESSAGES_EACH));
    // All messages of a purchase arrive within one window.
    let receipts: Vec<String> = (0..stored.purchases)
        .flat_map(|number| std::iter::repeat_n(stored.receipt(number), MESSAGES_EACH))
        .collect();
    let batch = Batch::prepare(world(&subject), Store::Google, &receipts);
    let first = batch.post(Pace::Saturate).await;
    let window_ends = stored.window_ends(batch.due(&first));
    plan.wait_settled(&stored, &subject, &window_ends).await;

    let (new, prepared) = plan.new_purchases("alone", &subject);
    let sent = prepared.send(new.pace()).await;
    let mut message_ids = sent.message_ids;
    let alone_ends = new.window_ends(sent.due);
    plan.wait_settled(&new, &subject, &alone_ends).await;
    let alone = new.timed(&alone_ends, &subject.arrivals());

    let before = Ledger::of(&subject, &window_ends);
    let (new, prepared) = plan.new_purchases("beside", &subject);
    let replay = async {
        let again = batch.post(Pace::Saturate).await;
        (again, Instant::now())
    };
    let ((again, replayed_at), sent) = tokio::join!(replay, prepared.send(new.pace()));
    let Sent {
        due,
        message_ids: ids,
    } = sent;
    message_ids.extend(ids);
    let mut beside_ends = new.window_ends(due);
    plan.wait_settled(&new, &subject, &beside_ends).await;
    let after = Ledger::of(&subject, &window_ends);
    assert_eq!(after, before, "a replay changes nothing");
    beside_ends.retain(|_, end| *end <= replayed_at);
    let beside = phase::Plan {
        purchases: beside_ends.len(),
        ..new
    };
    let beside = beside.timed(&beside_ends, &subject.arrivals());

    let replayed = batch.message_ids();
    let step = (replayed.len() / SAMPLE).max(1);
    message_ids.extend(replayed.into_iter().step_by(step));
    finish(subject, message_ids).await;
    let report = Report {
        purchases: stored.purchases,
        first,
        again,
        alone,
        beside,
    };
    report.print();
    report.json()
}

/// Returns the installation with Google Play, and with room for the connections of two generators.
fn with_google(installed: &Installed) -> Installed {
    let mut variables = installed.variables.clone();
    let connections = ["SETTLE_CONNECTIONS_PER_ADDRESS", "1024"].map(str::to_owned);
    variables.push(connections.into());
    Installed {
        variables,
        play: Some(Choices::default()),
        ..installed.clone()
    }
}

fn world(subject: &Subject) -> &World {
    subject.world().expect("settle")
}

/// Checks that no event was sent twice and that these messages have an outcome, and stops everything.
async fn finish(mut subject: Subject, message_ids: Vec<String>) {
    if let Subject::Settle(world) = &mut subject {
        if let Err(twice) = world.receiver.check_no_duplicates() {
            panic!("{twice}");
        }
        world.expect_outcomes(message_ids);
    }
    subject.finish().await;
}

impl Plan {
    fn phase(&self, name: &str, purchases: usize) -> phase::Plan {
        phase::Plan {
            name: name.to_owned(),
            store: Store::Google,
            purchases,
            notifications: MESSAGES_EACH,
            per_second: None,
            window: self.window,
            patience: self.patience,
        }
    }

    /// Returns new purchases with one notification each, which is prepared.
    fn new_purchases(&self, name: &str, subject: &Subject) -> (phase::Plan, Batch) {
        let new = phase::Plan {
            notifications: 1,
            per_second: Some(NEW_PER_SECOND),
            ..self.phase(name, NEW)
        };
        let batch = Batch::prepare(world(subject), Store::Google, &new.receipts());
        (new, batch)
    }

    /// Waits until each of these purchases has its webhook and nothing is open, also of other purchases.
    async fn wait_settled(&self, sent: &phase::Plan, subject: &Subject, window_ends: &WindowEnds) {
        let missing = sent.wait(subject, window_ends).await;
        assert_eq!(missing, 0, "{}: purchases without a webhook", sent.name);
        let mut raw = Raw::of(&world(subject).installation.stored_in());
        wait::until(
            self.patience,
            "all outcomes and deliveries",
            async || match raw.number(OPEN) {
                0 => Ok(()),
                open => Err(format!("{open} are open")),
            },
        )
        .await;
    }
}

impl Ledger {
    /// Returns what there is about the purchases with stored messages.
    fn of(subject: &Subject, purchases: &WindowEnds) -> Self {
        let settle = world(subject);
        let mut raw = Raw::of(&settle.installation.stored_in());
        let stored =
            format!("SELECT collapse_key FROM purchases WHERE receipt_id LIKE '{STORED}-%'");
        let mut count = |table: &str| {
            raw.number(&format!(
                "SELECT COUNT(*) AS value FROM {table} WHERE collapse_key IN ({stored})"
            ))
        };
        let rows = TABLES.map(|table| (table, count(table)));
        let mut revisions = settle.receiver.revisions_by_key();
        revisions.retain(|key, _| purchases.contains_key(key));
        Self {
            rows: BTreeMap::from(rows),
            revisions,
        }
    }
}

impl Report {
    fn print(&self) {
        let messages = self.again.acknowledged().len();
        println!(
            "\nreplay of {messages} messages about {} purchases:",
            self.purchases
        );
        println!(
            "{:<20}{:>12}{:>10}{:>10}{:>10}",
            "messages", "answered/s", "p50 ms", "p99 ms", "worst ms"
        );
        for (name, measured) in [("new", &self.first), ("replayed", &self.again)] {
            let [p50, p99, worst] = [0.5, 0.99, 1.0].map(|part| measured.latency_ms(part));
            println!(
                "{name:<20}{:>12.0}{p50:>10.1}{p99:>10.1}{worst:>10.1}",
                measured.rate()
            );
        }
        println!(
            "{:<20}{:>12}{:>10}{:>10}",
            "lag, new purchases", "purchases", "p50 ms", "p99 ms"
        );
        for (name, figures) in [("alone", &self.alone), ("during the replay", &self.beside)] {
            let (p50, p99) = figures.lag_ms;
            println!("{name:<20}{:>12}{p50:>10.0}{p99:>10.0}", figures.purchases);
        }
    }

    fn json(&self) -> Value {
        let answers = |measured: &Measured| {
            let [p50, p99] = [0.5, 0.99].map(|part| measured.latency_ms(part));
            json!({ "per_second": measured.rate(), "p50_ms": p50, "p99_ms": p99 })
        };
        let lags = |figures: &Figures| {
            let (p50, p99) = figures.lag_ms;
            json!({ "purchases": figures.purchases, "lag_p50_ms": p50, "lag_p99_ms": p99 })
        };
        json!({
            "messages": self.again.acknowledged().len(), "purchases": self.purchases,
            "new": answers(&self.first), "replayed": answers(&self.again),
            "new_purchases_alone": lags(&self.alone), "new_purchases_during": lags(&self.beside),
        })
    }
}
