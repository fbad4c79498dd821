//! Runs all cells together, in one world with one clock.

use super::cells::{Cell, PRICES, Store, Story};
use super::table::{Line, Record};
use domain::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use system_tests::amplitude::Amplitude;
use system_tests::calendar::{Calendar, Step};
use system_tests::receiver::Received;
use system_tests::rvs::Reply;
use system_tests::subscription::at;
use system_tests::wait;
use system_tests::world::{Setting, World};
use tokio::time::Instant;

/// Time at which the notifications of all cells arrive.
const NOW: &str = "2027-03-10T10:00";
const BEGIN: &str = "2027-03-01T09:00";
const MINUTE_MS: i64 = 60_000;
/// Time that a lagging store takes to show a change.
const LAG_MS: i64 = 45 * MINUTE_MS;
/// Time during which an absent store does not answer.
const ABSENCE_MS: i64 = 26 * 60 * MINUTE_MS;
/// Times at which due checks run, in minutes after the notification: the three checks for a lagging store, the end of a
/// day without an answer, the return of the absent store, and the end.
const CHECKS: [i64; 6] = [12, 66, 134, 24 * 60 + 20, 26 * 60 + 40, 55 * 60];
/// Time limit for settling hundreds of purchases with debug binaries on a busy machine.
const LONG: Duration = Duration::from_secs(400);
const KEY: &str = "5a3e07c9b1d84f62production";
const EVENTS: [&str; 12] = [
    "user.journey.trial.started",
    "user.journey.trial.converted",
    "user.journey.trial.did_not_convert",
    "user.subscription.purchased",
    "user.subscription.renewed",
    "user.subscription.renewal_in_grace_period",
    "user.subscription.in_grace_period",
    "user.subscription.cancelled",
    "user.subscription.resumed",
    "user.subscription.expired",
    "user.subscription.sku_change",
    "user.subscription.pending_sku_change",
];

/// Runs the cells, and returns the result of each with the final record of its receipts.
pub async fn live(cells: &[Cell]) -> BTreeMap<Cell, (Line, Record)> {
    let began = Instant::now();
    let mut run = Run::start(cells).await;
    run.reach().await;
    let (before, earlier) = (run.events(), run.amplitude.events(KEY).len());
    let messages = run.happen().await;
    run.settle(&messages).await;
    let first = run.events();
    for minutes in CHECKS {
        run.pass_and_settle(minutes, &messages).await;
        println!(
            "{minutes} minutes after the notifications, {:.0?} after the start",
            began.elapsed()
        );
    }
    let then = run.events();
    let mut revenue = run.revenue(&then, earlier);
    let mut lines = BTreeMap::new();
    for (cell, story) in &run.stories {
        let between = |from: &Events, to: &Events| {
            let all = |between: &Events| between.get(cell).cloned().unwrap_or_default();
            all(to).split_off(all(from).len())
        };
        let (first, then) = (between(&before, &first), between(&first, &then));
        let names =
            |events: &[(String, String)]| events.iter().map(|(name, _)| short(name)).collect();
        let revenue = revenue.remove(cell).unwrap_or_default();
        let outcome = run.outcome(&messages[cell]).await;
        let own = [cell.kind, cell.state, &cell.store.to_string()].map(str::to_owned);
        let line = Line {
            cell: own,
            first: names(&first),
            then: names(&then),
            revenue,
            outcome,
            why: String::new(),
        };
        lines.insert(*cell, (line, run.record(story)));
    }
    run.amplitude.check();
    run.calendar.world.finish().await;
    lines
}

fn short(event_type: &str) -> String {
    event_type
        .trim_start_matches("user.subscription.")
        .trim_start_matches("user.")
        .to_owned()
}

/// The type and id of each cell's events that the webhook acknowledged, in the order of arrival.
type Events = BTreeMap<Cell, Vec<(String, String)>>;

struct Run {
    calendar: Calendar,
    amplitude: Amplitude,
    stories: BTreeMap<Cell, Story>,
    now: Timestamp,
}

impl Run {
    async fn start(cells: &[Cell]) -> Self {
        let amplitude = Amplitude::start().await;
        amplitude.project(KEY, "no secret");
        let variables = [
            ("SETTLE_AMPLITUDE_ALLOWED_URLS", amplitude.url()),
            ("SETTLE_AMAZON_PATIENCE", "1s".to_owned()),
            ("SETTLE_LOG", "warn".to_owned()),
        ];
        let variables = variables
            .map(|(name, value)| (name.to_owned(), value))
            .to_vec();
        let setting = Setting {
            environment: "production",
            variables,
            ..Setting::default()
        };
        let calendar = Calendar::start_with(at(BEGIN), setting).await;
        sell(&calendar.world).await;
        let body = json!({
            "kind": "amplitude", "name": "Money", "endpoint": amplitude.url(), "api_key": KEY, "events": EVENTS,
        });
        calendar.world.add(&body).await;
        let now = at(NOW);
        let stories = cells.iter().map(|cell| (*cell, cell.story(now))).collect();
        Self {
            calendar,
            amplitude,
            stories,
            now,
        }
    }

    /// Brings every purchase into its state, with a store that agrees.
    async fn reach(&mut self) {
        let mut steps: Vec<Step> = self
            .stories
            .values()
            .flat_map(|story| story.before.iter().cloned())
            .collect();
        steps.sort_by_key(|step| step.at);
        for together in steps.chunk_by(|one, next| one.at == next.at) {
            self.jump(together[0].at).await;
            let world = &mut self.calendar.world;
            together
                .iter()
                .flat_map(|step| &step.shown)
                .for_each(|shown| world.show(shown));
            let notifications = together.iter().flat_map(|step| &step.notifications);
            let messages: Vec<_> = notifications
                .map(|rtn| world.sns.notification(rtn))
                .collect();
            world.post_all(&messages).await;
            let ids: Vec<_> = messages.into_iter().map(|message| message.id).collect();
            self.quiet(ids.iter()).await;
        }
    }

    /// Sends the notifications of all cells at once, and returns their message ids.
    async fn happen(&mut self) -> BTreeMap<Cell, String> {
        self.jump(self.now).await;
        let world = &mut self.calendar.world;
        let mut messages = BTreeMap::new();
        for (cell, story) in &self.stories {
            story.unseen.iter().for_each(|shown| world.show(shown));
            for shown in &story.after {
                match cell.store {
                    Store::Behind => world.show_late(shown, || self.now.plus_millis(LAG_MS)),
                    Store::Agrees | Store::Absent => world.show(shown),
                }
            }
            if cell.store == Store::Absent {
                story
                    .receipts
                    .iter()
                    .for_each(|receipt| world.rvs().answer_about(receipt, Reply::Status(503)));
            }
            messages.insert(*cell, world.sns.notification(&story.rtn));
        }
        let all: Vec<_> = messages.values().cloned().collect();
        world.post_all(&all).await;
        messages
            .into_iter()
            .map(|(cell, message)| (cell, message.id))
            .collect()
    }

    async fn pass_and_settle(&mut self, minutes: i64, messages: &BTreeMap<Cell, String>) {
        if minutes * MINUTE_MS > ABSENCE_MS {
            let receipts = self.stories.values().flat_map(|story| &story.receipts);
            receipts.for_each(|receipt| self.calendar.world.rvs().answer_truly_about(receipt));
        }
        self.jump(self.now.plus_millis(minutes * MINUTE_MS)).await;
        self.settle(messages).await;
    }

    async fn settle(&self, messages: &BTreeMap<Cell, String>) {
        self.quiet(messages.values()).await;
    }

    /// Returns the revenue that Amplitude counted for each cell, skipping the first `earlier` events in all, in the
    /// order of arrival. Revenue of an event that the webhook does not receive is attributed to the cell of the same
    /// user.
    fn revenue(&self, cell_events: &Events, earlier: usize) -> BTreeMap<Cell, Vec<String>> {
        let of_event: BTreeMap<&str, Cell> = cell_events
            .iter()
            .flat_map(|(cell, events)| events.iter().map(|(_, id)| (id.as_str(), *cell)))
            .collect();
        let counted = self.amplitude.events(KEY);
        let person = |event: &Value| (event["user_id"].to_string(), event["device_id"].to_string());
        let by_event = |event: &Value| of_event.get(event["insert_id"].as_str()?).copied();
        let of_person: BTreeMap<_, Cell> = counted
            .iter()
            .filter_map(|one| Some((person(&one.event), by_event(&one.event)?)))
            .collect();
        let mut revenue = BTreeMap::<Cell, Vec<String>>::new();
        for one in counted
            .iter()
            .skip(earlier)
            .filter(|one| !one.event["revenue"].is_null())
        {
            let cell = by_event(&one.event).or_else(|| of_person.get(&person(&one.event)).copied());
            let cell = cell.unwrap_or_else(|| panic!("revenue of nobody: {}", one.event));
            revenue
                .entry(cell)
                .or_default()
                .push(one.event["revenue"].to_string());
        }
        revenue
    }

    async fn jump(&mut self, to: Timestamp) {
        self.calendar.jump(to).await;
        self.amplitude.set(self.calendar.now());
    }

    /// Waits until no window or run is open and nothing is pending. Notifications may still wait for the store.
    async fn quiet(&self, messages: impl Iterator<Item = &String>) {
        let world = &self.calendar.world;
        for id in messages {
            wait::until(
                LONG,
                &format!("the end of the window of {id}"),
                async || {
                    let answer = world
                        .api
                        .try_get(&format!("/v1/notifications/{id}"))
                        .await?;
                    let all = answer.body["notifications"]
                        .as_array()
                        .cloned()
                        .unwrap_or_default();
                    let waits =
                        |one: &&Value| one["outcome"].is_null() && one["waiting_for"] == "window";
                    if all.is_empty() || all.iter().any(|one| waits(&one)) {
                        Err(format!("{answer:?}"))
                    } else {
                        Ok(())
                    }
                },
            )
            .await;
        }
        wait::until(LONG, "no open run", async || {
            let open = world
                .temporal
                .list("WorkflowType = 'purchase' AND ExecutionStatus = 'Running'")
                .await;
            if open.is_empty() {
                Ok(())
            } else {
                Err(format!("{} open", open.len()))
            }
        })
        .await;
        wait::until(LONG, "nothing pending", async || {
            let pending = world.api.all("/v1/deliveries?status=pending").await;
            if pending.is_empty() {
                Ok(())
            } else {
                Err(format!("{} pending", pending.len()))
            }
        })
        .await;
    }

    fn events(&self) -> Events {
        let of: BTreeMap<&str, Cell> = self
            .stories
            .iter()
            .flat_map(|(cell, story)| story.receipts.iter().map(|id| (id.as_str(), *cell)))
            .collect();
        let mut cell_events = Events::new();
        for one in self.calendar.world.receiver.all() {
            let Some(cell) = of.get(one.receipt_id()).filter(|_| one.is_acked()) else {
                continue;
            };
            if one.event_type().starts_with("user.") {
                let event = (one.event_type().to_owned(), one.event_id().to_owned());
                cell_events.entry(*cell).or_default().push(event);
            }
        }
        cell_events
    }

    async fn outcome(&self, message_id: &str) -> String {
        let answer = self
            .calendar
            .world
            .api
            .get(&format!("/v1/notifications/{message_id}"))
            .await
            .ok();
        let outcome = |one: &Value| one["outcome"].as_str().unwrap_or("none").to_owned();
        let all: BTreeSet<String> = answer["notifications"]
            .as_array()
            .into_iter()
            .flatten()
            .map(outcome)
            .collect();
        all.into_iter().collect::<Vec<_>>().join("+")
    }

    /// Returns the newest record of each of the cell's receipts, with numbers in place of receipt ids.
    fn record(&self, story: &Story) -> Record {
        let world = &self.calendar.world;
        let newest = |id: &String| {
            let all = world.receiver.about(&world.key(id).to_string());
            let newest = all
                .into_iter()
                .filter(Received::is_acked)
                .max_by_key(Received::revision);
            let mut text = newest
                .map(|one| one.body["data"].to_string())
                .unwrap_or_else(|| "null".to_owned());
            // In reverse order, because a later receipt id contains the first one.
            for (number, id) in story.receipts.iter().enumerate().rev() {
                text = text.replace(id.as_str(), &format!("[receipt {number}]"));
            }
            serde_json::from_str(&text).expect("a record")
        };
        story.receipts.iter().map(newest).collect()
    }
}

async fn sell(world: &World) {
    let put = async |path: &str, body: Value| {
        let _: Value = world
            .api
            .call(
                Method::PUT,
                &format!("/v1/apps/{}/{path}", world.app_id),
                &body,
            )
            .await
            .ok();
    };
    for (sku, usd) in PRICES {
        put(&format!("entitlements/{sku}"), json!({ "name": sku })).await;
        let prices = json!([{ "currency": "USD", "price": usd }]);
        put(
            &format!("products/{sku}"),
            json!({ "entitlements": [sku], "prices": prices }),
        )
        .await;
    }
}
