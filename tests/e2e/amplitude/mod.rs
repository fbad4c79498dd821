//! Amplitude: every event is counted once, for the right user and with the latest state, whatever Amplitude answers;
//! keys appear in no log, history or answer.

mod alarms;
mod chaos;
mod charges;
mod claimed;
mod events;
mod killed;
mod minutes;
mod money;
mod order;
mod outage;
mod owners;
mod people;
mod profiles;
mod settings;
mod skew;
mod story;

use crate::secrets::{self, Secret};
use domain::Timestamp;
use domain::event::{PURCHASE_UPDATED, REVENUE_ADJUSTED};
use domain::user::TRANSFERS;
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use system_tests::amplitude::{Amplitude, Counted, Exchange};
use system_tests::calendar::{Calendar, Step};
use system_tests::receiver::Received;
use system_tests::sns::Rtn;
use system_tests::subscription::{Subscription, at};
use system_tests::wait;
use system_tests::world::{SOON, Setting, World};
use tokio::time::Instant;

/// API key of the project for real purchases.
pub const KEY: &str = "7d1e90c4b5f2a8e36c0d51c9production";
/// API key of the project for test purchases.
pub const SANDBOX_KEY: &str = "2b8c66f07e5d49a1b3e8d40fsandbox";
/// Secret key of both projects.
pub const SECRET_KEY: &str = "c0ffee5eb7a94d21f36a8b9esecret";

/// Initial time of the clock.
const START: &str = "2027-01-31T10:00";
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
/// Time without a request before the clock may be moved.
const QUIET: Duration = Duration::from_millis(200);

/// How long Temporal must be idle after the clock was moved, so that no request is in flight: longer than the time
/// between two signals of a process to a destination.
const CHECK: Duration = Duration::from_secs(2);
/// Maximum number of times that the clock is moved for one condition.
const MAX_SKIPS: usize = 200;

/// A world with a clock that the test moves, a fake Amplitude, and an integration with it.
pub struct Analysts {
    calendar: Calendar,
    amplitude: Amplitude,
    /// Destination id of the integration.
    id: String,
}

impl Analysts {
    /// Starts everything with this log level, and the clock at [`START`]. The integration subscribes to these events.
    async fn start(log: &str, events: &[&str]) -> Self {
        let amplitude = Amplitude::start().await;
        for key in [KEY, SANDBOX_KEY] {
            amplitude.project(key, SECRET_KEY);
        }
        let variables = [
            ("SETTLE_AMPLITUDE_ALLOWED_URLS", amplitude.url()),
            ("SETTLE_LOG", log.to_owned()),
        ];
        let variables = variables
            .map(|(name, value)| (name.to_owned(), value))
            .to_vec();
        let setting = Setting {
            environment: "production",
            variables,
            ..Setting::default()
        };
        let calendar = Calendar::start_with(at(START), setting).await;
        amplitude.set(calendar.now());
        let id = integrate(&calendar.world, &amplitude, &json!({ "events": events })).await;
        let own = Self {
            calendar,
            amplitude,
            id,
        };
        own.sell("gold.monthly", "gold", "9.99").await;
        own.sell("platinum.monthly", "platinum", "19.99").await;
        own
    }

    const fn world(&self) -> &World {
        &self.calendar.world
    }

    fn now(&self) -> Timestamp {
        self.calendar.now()
    }

    /// Adds a product to the catalogue.
    async fn sell(&self, sku: &str, entitlement: &str, usd: &str) {
        put(
            self.world(),
            &format!("entitlements/{entitlement}"),
            &json!({ "name": entitlement }),
        )
        .await;
        let product = json!({ "entitlements": [entitlement], "prices": [{ "currency": "USD", "price": usd }] });
        put(self.world(), &format!("products/{sku}"), &product).await;
    }

    /// Gives a user of the store this external id.
    async fn name(&self, app_user_id: &str, external_id: &str) {
        let body = json!({ "external_id": external_id, "app_user_id": app_user_id });
        put(self.world(), "customers", &body).await;
    }

    /// Makes Amazon show these subscriptions and send their notifications now, and waits until they are settled.
    async fn happen(&mut self, happened: Vec<(Subscription, Vec<Rtn>)>) {
        let at = self.now();
        let steps = happened.into_iter().map(|(shown, notifications)| Step {
            at,
            shown: vec![shown],
            notifications,
        });
        self.live(steps.collect()).await;
    }

    /// Executes these steps at their times.
    async fn live(&mut self, steps: Vec<Step>) {
        self.calendar.live(steps).await;
        self.amplitude.set(self.now());
    }

    /// Buys a monthly subscription now.
    async fn buy(&mut self, receipt_id: &str, app_user_id: &str) -> Subscription {
        let (new, notifications) = Subscription::begin(receipt_id, app_user_id, self.now(), None);
        self.happen(vec![(new.clone(), notifications)]).await;
        new
    }

    /// Moves all clocks and timers forward by this time, between two requests.
    async fn skip(&mut self, time: Duration) {
        let id = self.id.clone();
        self.calendar.skip(time, &[&id]).await;
        self.amplitude.set(self.now());
    }

    /// Moves the time forward in steps until nothing is pending for the integration.
    async fn drain(&mut self, step: Duration) {
        let id = self.id.clone();
        self.drain_of(&id, step).await;
    }

    /// Like [`Self::drain`], for any integration.
    async fn drain_of(&mut self, id: &str, step: Duration) {
        for _ in 0..MAX_SKIPS {
            let before = self.quiet().await;
            if deliveries(self.world(), id, "pending").await.is_empty() {
                return;
            }
            self.skip(step).await;
            // Without a request, nothing was due yet.
            let _: bool = self.has_requested(before).await;
        }
        let pending = deliveries(self.world(), id, "pending").await;
        panic!("still pending after {MAX_SKIPS} times {step:?}: {pending:#?}");
    }

    /// Moves the time forward by `time`, and then in steps of half a minute until a request arrives.
    async fn skip_to_a_request(&mut self, time: Duration) {
        let before = self.quiet().await;
        self.skip(time).await;
        for _ in 0..MAX_SKIPS {
            if self.has_requested(before).await {
                self.quiet().await;
                return;
            }
            self.skip(MINUTE / 2).await;
        }
        panic!("no request in {MAX_SKIPS} half minutes after {time:?}");
    }

    /// Waits for a request after the first `before` ones. Returns `false` if none has arrived and Temporal has been
    /// idle for [`CHECK`]: then none will arrive before the clock is moved.
    async fn has_requested(&self, before: usize) -> bool {
        self.before_rest("another request", async || {
            let count = self.amplitude.requests().len();
            if count > before {
                Ok(())
            } else {
                Err(count.to_string())
            }
        })
        .await
    }

    /// Waits until `check` returns `Ok`. Returns `false` if Temporal has been idle for [`CHECK`] before that.
    async fn before_rest(&self, what: &str, check: impl AsyncFn() -> Result<(), String>) -> bool {
        let mut rests_since = None;
        wait::until(
            SOON,
            &format!("{what}, or nothing to do in Temporal"),
            async || {
                let Err(seen) = check().await else {
                    return Ok(true);
                };
                let Ok(()) = self
                    .world()
                    .temporal
                    .rest()
                    .await
                    .inspect_err(|_| rests_since = None)
                else {
                    return Err(seen);
                };
                let since: &mut Instant = rests_since.get_or_insert_with(Instant::now);
                if since.elapsed() < CHECK {
                    Err(seen)
                } else {
                    Ok(false)
                }
            },
        )
        .await
    }

    /// Waits until no request is open and none has arrived for [`QUIET`]; returns the number of requests.
    async fn quiet(&self) -> usize {
        let mut last = (0, Instant::now());
        wait::until(SOON, "no request for a while", async || {
            let requests = self.amplitude.requests();
            let is_busy = requests.iter().any(|exchange| exchange.closed_at.is_none());
            if is_busy || requests.len() != last.0 {
                last = (requests.len(), Instant::now());
            }
            if last.1.elapsed() >= QUIET {
                Ok(last.0)
            } else {
                Err(format!("{} requests", last.0))
            }
        })
        .await
    }

    /// Returns the `user.*` events that the webhook, which subscribes to all, has acknowledged, without those of
    /// transfers: Amplitude must have received them too.
    fn events_sent(&self) -> Vec<Received> {
        let is_of_user =
            |event_type: &str| event_type.starts_with("user.") && !TRANSFERS.contains(&event_type);
        let is_wanted = |one: &Received| one.is_acked() && is_of_user(one.event_type());
        self.world()
            .receiver
            .all()
            .into_iter()
            .filter(is_wanted)
            .collect()
    }

    /// Waits until a project has counted the webhook's `user.*` events, each once and under the same id, and returns
    /// their number. `purchase.updated` is not compared, because different ones are superseded for each destination.
    async fn same_events(&self, key: &str) -> usize {
        self.same_events_but(key, &BTreeSet::new()).await
    }

    /// Like [`Self::same_events`], but each of the failed events may be counted or not.
    async fn same_events_but(&self, key: &str, failed: &BTreeSet<String>) -> usize {
        wait::until(
            SOON,
            "the same events in the webhook and in Amplitude",
            async || {
                let sent_ids: BTreeSet<String> = self
                    .events_sent()
                    .iter()
                    .map(|one| one.event_id().to_owned())
                    .collect();
                let events = self.amplitude.events(key);
                let (mut all, mut of_users) = (BTreeSet::new(), BTreeSet::new());
                for Counted { event, .. } in events {
                    let id = text(&event["insert_id"]);
                    // Corrections of payments are sent to integrations only.
                    if event["event_type"] != PURCHASE_UPDATED
                        && event["event_type"] != REVENUE_ADJUSTED
                    {
                        of_users.insert(id.clone());
                    }
                    assert!(all.insert(id), "counted twice: {event}");
                }
                let is_odd = |id: &&String| {
                    !of_users.contains(*id) && !failed.contains(*id) || !sent_ids.contains(*id)
                };
                let odd: Vec<_> = sent_ids.union(&of_users).filter(is_odd).collect();
                if odd.is_empty() {
                    Ok(of_users.len())
                } else {
                    Err(format!("not in both: {odd:?}"))
                }
            },
        )
        .await
    }

    /// Checks that each user's profile shows the latest state received by the webhook. Returns the number of profiles.
    fn newest_profiles(&self, key: &str) -> usize {
        self.newest_profiles_but(key, &BTreeSet::new())
    }

    /// Like [`Self::newest_profiles`], but without the users whose newest event is one of these failed events.
    fn newest_profiles_but(&self, key: &str, failed: &BTreeSet<String>) -> usize {
        let mut newest = BTreeMap::<String, Received>::new();
        for one in self.events_sent() {
            let (user, revision) = (
                text(&one.body["user_id"]),
                one.body["user_revision"].as_i64(),
            );
            let known = newest.entry(user).or_insert_with(|| one.clone());
            if known.body["user_revision"].as_i64() < revision {
                *known = one;
            }
        }
        // Merged users have one profile, which shows the state sent last.
        let mut profiles = BTreeMap::new();
        for (user, state) in newest {
            let Some(profile) = self.amplitude.profile(key, &user) else {
                assert!(failed.contains(state.event_id()), "{user} is not known");
                continue;
            };
            let (_, last) = profiles
                .entry(profile.device_ids.clone())
                .or_insert_with(|| (profile, state.clone()));
            if last.began < state.began {
                *last = state;
            }
        }
        profiles.retain(|_, (_, state)| !failed.contains(state.event_id()));
        for (profile, state) in profiles.values() {
            assert_eq!(
                profile.properties,
                attributes(&state.body),
                "the newest state, sent by {state:?}"
            );
        }
        profiles.len()
    }

    /// Finishes the world, and checks that no request broke a rule and that no key appears in plain text.
    async fn finish(self) {
        self.amplitude.check();
        secrets_stay(&self).await;
        self.calendar.world.finish().await;
    }
}

/// Creates an integration with both keys in the world's app, and returns its id. `more` adds fields; null removes a
/// field.
async fn integrate(world: &World, amplitude: &Amplitude, more: &Value) -> String {
    let mut body = json!({
        "kind": "amplitude", "name": "Analytics", "endpoint": amplitude.url(),
        "api_key": KEY, "secret_key": SECRET_KEY, "sandbox_api_key": SANDBOX_KEY,
    });
    for (name, value) in more.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    if let Some(fields) = body.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    let created = world.create_destination(&body).await;
    for key in [KEY, SANDBOX_KEY, SECRET_KEY] {
        assert!(
            !created.to_string().contains(key),
            "a key of others is not echoed: {created}"
        );
    }
    text(&created["id"])
}

/// Returns the documented user properties, from the body of a `user.*` event.
fn attributes(body: &Value) -> Value {
    let of = |name: &str| {
        let all = body["active_entitlements"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|one| one[name].as_str());
        let mut seen = Vec::new();
        all.for_each(|one| {
            if !seen.contains(&one) {
                seen.push(one);
            }
        });
        json!(seen)
    };
    let journey = &body["customer_journey_state"];
    json!({
        "namiml_active_entitlements": of("entitlement_ref_id"),
        "namiml_active_skus": body["active_skus"],
        "namiml_device_ids": [],
        "namiml_device_platforms": [],
        "namiml_former_subscriber": journey["former_subscriber"],
        "namiml_in_grace_period": journey["in_grace_period"],
        "namiml_in_trial_period": journey["in_trial_period"],
        "namiml_in_intro_offer_period": journey["in_intro_offer_period"],
    })
}

async fn put(world: &World, path: &str, body: &Value) {
    let _: Value = world
        .api
        .call(
            Method::PUT,
            &format!("/v1/apps/{}/{path}", world.app_id),
            body,
        )
        .await
        .ok();
}

/// Returns the deliveries to a destination with this status.
async fn deliveries(world: &World, destination_id: &str, status: &str) -> Vec<Value> {
    world
        .api
        .all(&format!(
            "/v1/deliveries?status={status}&destination_id={destination_id}"
        ))
        .await
}

/// Returns the ids of the events whose deliveries to a destination failed.
async fn failed_events(world: &World, destination_id: &str) -> BTreeSet<String> {
    deliveries(world, destination_id, "failed")
        .await
        .iter()
        .map(|one| text(&one["event_id"]))
        .collect()
}

/// Returns the requests with an event of this type.
fn requests_with(amplitude: &Amplitude, event_type: &str) -> Vec<Exchange> {
    let is_wanted = |exchange: &Exchange| {
        exchange
            .events()
            .iter()
            .any(|event| event["event_type"] == event_type)
    };
    amplitude.requests().into_iter().filter(is_wanted).collect()
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("not a text: {value}"))
        .to_owned()
}

/// Checks that no key appears in plain text in a log, a history, the database or an answer of the API.
async fn secrets_stay(own: &Analysts) {
    let world = own.world();
    let keys: Vec<Secret> = vec![
        ("the API key", KEY.to_owned()),
        ("the API key of the sandbox", SANDBOX_KEY.to_owned()),
        ("the secret key", SECRET_KEY.to_owned()),
        (
            "the API key of the project for money",
            settings::MONEY_KEY.to_owned(),
        ),
        ("a wrong key", settings::WRONG_KEY.to_owned()),
    ];
    secrets::absent(&keys, &system_tests::decoded::histories(world).await);
    let logs = secrets::files(world.installation.folder(), ".log");
    secrets::present("attempted a delivery", &logs);
    secrets::absent(&keys, &logs);
    let all = secrets::files(world.installation.folder(), "");
    secrets::absent(
        &keys,
        &all.into_iter()
            .filter(|(name, _)| name.contains("settle.sqlite"))
            .collect::<Vec<_>>(),
    );
    secrets::absent(&keys, &answers(world).await);
}

/// Returns all of the API's answers about the app's destinations, their deliveries and attempts, the metrics and the
/// alarms.
async fn answers(world: &World) -> Vec<secrets::Place> {
    let mut found = Vec::new();
    let mut keep =
        |path: String, answer: &Value| found.push((path, answer.to_string().into_bytes()));
    for path in ["/metrics", "/v1/alarms"] {
        keep(path.to_owned(), &world.api.get(path).await.body);
    }
    for one in world
        .api
        .all(&format!("/v1/apps/{}/destinations", world.app_id))
        .await
    {
        let path = format!("/v1/destinations/{}", text(&one["id"]));
        keep(path.clone(), &world.api.get(&path).await.body);
        for delivery in world
            .api
            .all(&format!(
                "/v1/deliveries?destination_id={}",
                text(&one["id"])
            ))
            .await
        {
            let path = format!("/v1/deliveries/{}/attempts", text(&delivery["id"]));
            keep(path.clone(), &world.api.get(&path).await.body);
            keep(format!("the delivery {path}"), &delivery);
        }
    }
    found
}
