//! The first minutes of purchases: notifications, devices' reports, logins and names a few seconds apart, on a clock
//! that the test moves. Each purchase has its own product, entitlement, devices and customers.

use super::{KEY, SECRET_KEY, START, integrate, put};
use crate::logins::Buyer;
use domain::Environment;
use futures::StreamExt as _;
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use system_tests::amplitude::{Amplitude, Profile};
use system_tests::calendar::Calendar;
use system_tests::devices::{Device, Devices};
use system_tests::receiver::Received;
use system_tests::rvs::Receipt;
use system_tests::sns::Rtn;
use system_tests::subscription::at;
use system_tests::wait;
use system_tests::world::{SOON, Setting, World};
use uuid::Uuid;

/// A time longer than the window, in seconds.
pub const WINDOW: i64 = 121;

/// Number of purchases that are settled concurrently.
const AT_ONCE: usize = 8;

/// How long a claim waits for the store's own notification.
const QUERIED_AFTER: Duration = Duration::from_secs(5);
/// Fields that differ between two purchases with the same history.
const VARYING: [&str; 8] = [
    "created_date",
    "occurred_at",
    "event_time",
    "collapse_key",
    "state_digest",
    "last_verified",
    "first_launch",
    "last_active",
];

/// A step in the life of a purchase. Devices and customers are numbers, 0 or 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Notified,
    Reported(usize),
    /// This customer logs in on this device.
    LoggedIn(usize, usize),
    /// The customer logs out on this device.
    LoggedOut(usize),
    /// The company names the store's customer as this one.
    Named(usize),
    /// The company names the store's customer as this one, and gives a device id from its own analytics.
    Introduced(usize),
    /// All windows end, and their events arrive.
    Settled,
}

#[derive(Debug, Clone)]
pub struct Life {
    /// The steps and their times after the beginning.
    pub steps: Vec<(Duration, Step)>,
    number: u32,
    buyer: Buyer,
    devices: [Device; 2],
    customers: [String; 2],
}

impl Life {
    pub fn new(number: u32, steps: Vec<(Duration, Step)>) -> Self {
        let customers = ["anna", "otto"].map(|name| format!("{name}-{number}@shop"));
        let devices = [Device(2 * number), Device(2 * number + 1)];
        Self {
            steps,
            number,
            buyer: Buyer::new(number),
            devices,
            customers,
        }
    }

    pub fn receipt_id(&self) -> &str {
        &self.buyer.receipt_id
    }

    /// Returns the purchase with this number, by the store customer of another purchase.
    pub fn of_buyer(number: u32, steps: Vec<(Duration, Step)>, other: &Self) -> Self {
        let mut life = Self::new(number, steps);
        life.buyer.app_user_id.clone_from(&other.buyer.app_user_id);
        life
    }

    /// Returns the body of the company's request that names the store's customer, optionally with a device id from its
    /// own analytics.
    pub fn naming(&self, external_id: &str, analytics_device_id: Option<&str>) -> Value {
        let mut naming =
            json!({ "external_id": external_id, "app_user_id": self.buyer.app_user_id });
        if let Some(id) = analytics_device_id {
            naming["analytics_device_id"] = json!(id);
        }
        naming
    }

    /// Returns the external id of a customer.
    pub fn customer(&self, customer: usize) -> &str {
        &self.customers[customer]
    }

    pub fn entitlement(&self) -> String {
        format!("gold-{}", self.number)
    }

    fn sku(&self) -> String {
        format!("gold-{}.month", self.number)
    }

    /// Returns the number of devices that report the purchase.
    pub fn reports(&self) -> usize {
        let reported = self.steps.iter().filter_map(|(_, step)| match step {
            Step::Reported(device) => Some(device),
            _ => None,
        });
        reported.collect::<BTreeSet<_>>().len()
    }

    /// Returns whether, by this time, only devices have reported the purchase, and so long ago that the store is
    /// queried about their claims. A claim of a purchase that the store has notified waits for the end of the window.
    fn is_queried_by(&self, time: Duration) -> bool {
        let has = |wanted: fn(&Step) -> bool, by| {
            self.steps
                .iter()
                .any(|(at, step)| *at <= by && wanted(step))
        };
        let is_old = time
            .checked_sub(QUERIED_AFTER)
            .is_some_and(|by| has(|step| matches!(step, Step::Reported(_)), by));
        is_old && !has(|step| *step == Step::Notified, time)
    }

    /// Returns the webhook's bodies about the purchase, each `user.*` before its record.
    pub fn bodies(&self, world: &World) -> Vec<Value> {
        let all = world.receiver.all().into_iter();
        all.filter(|one| one.receipt_id() == self.receipt_id())
            .map(|one| self.without_ids(&one))
            .collect()
    }

    /// Returns a body in which names and ids are the same for all purchases, without times and event ids.
    fn without_ids(&self, received: &Received) -> Value {
        let own = [
            (self.buyer.receipt_id.clone(), "RECEIPT"),
            (self.buyer.app_user_id.clone(), "BUYER"),
            (self.customers[0].clone(), "CUSTOMER"),
            (self.devices[0].id().to_string(), "DEVICE"),
            (self.entitlement(), "ENTITLEMENT"),
            (self.sku(), "SKU"),
        ];
        let text = received.body.to_string();
        let text = own.iter().fold(text, |text, (id, name)| {
            text.replace(&format!("\"{id}\""), &format!("\"{name}\""))
        });
        let mut body = serde_json::from_str(&text).expect("a body");
        leave_out(&mut body);
        body
    }
}

/// Removes the values that differ between two runs: settle's own times, and values computed from ids.
fn leave_out(part: &mut Value) {
    match part {
        Value::Object(fields) => {
            fields.retain(|name, _| !VARYING.contains(&name.as_str()));
            fields.values_mut().for_each(leave_out);
        }
        Value::Array(items) => items.iter_mut().for_each(leave_out),
        Value::String(text) if text.parse::<Uuid>().is_ok() => "UUID".clone_into(text),
        _ => {}
    }
}

/// A world with devices and Amplitude, with a clock that the test moves.
pub struct Minutes {
    pub calendar: Calendar,
    pub amplitude: Amplitude,
    devices: Devices,
}

impl Minutes {
    /// Starts the world, with the products of these lives in the catalogue and their receipts known to the store.
    pub async fn start(lives: &[Life]) -> Self {
        let amplitude = Amplitude::start().await;
        amplitude.project(KEY, SECRET_KEY);
        let urls = ("SETTLE_AMPLITUDE_ALLOWED_URLS".to_owned(), amplitude.url());
        let events = vec!["purchase.updated".to_owned(), "user.*".to_owned()];
        let setting = Setting {
            environment: "production",
            events,
            variables: vec![urls],
            ..Setting::default()
        };
        let calendar = Calendar::begin(at(START), setting).await;
        let devices = Devices::of(&calendar.world).await;
        let own = Self {
            calendar,
            amplitude,
            devices,
        };
        own.amplitude.set(own.calendar.now());
        // Without `purchase.updated`, which every change of a name would cause.
        let setting = json!({ "sandbox_api_key": Value::Null, "user_id": "external_id", "events": ["user.*"] });
        integrate(own.world(), &own.amplitude, &setting).await;
        let mut bought = Receipt::subscription(at(START).plus_millis(-60_000));
        bought.environment = Environment::Production;
        bought.fields["testTransaction"] = json!(false);
        for life in lives {
            let (entitlement, sku) = (life.entitlement(), life.sku());
            put(
                own.world(),
                &format!("entitlements/{entitlement}"),
                &json!({ "name": entitlement }),
            )
            .await;
            let product = json!({ "entitlements": [entitlement], "prices": [{ "currency": "USD", "price": "9.99" }] });
            put(own.world(), &format!("products/{sku}"), &product).await;
            bought.fields["termSku"] = json!(sku);
            life.buyer.buys(own.world(), &bought);
        }
        own
    }

    pub const fn world(&self) -> &World {
        &self.calendar.world
    }

    /// Executes all steps of these lives at their times.
    pub async fn live(&mut self, lives: &[Life]) {
        let times: BTreeSet<Duration> = lives
            .iter()
            .flat_map(|life| &life.steps)
            .map(|(at, _)| *at)
            .collect();
        let mut now = Duration::ZERO;
        for time in times {
            self.calendar.skip(time.saturating_sub(now), &[]).await;
            self.amplitude.set(self.calendar.now());
            now = time;
            for life in lives.iter().filter(|life| life.is_queried_by(time)) {
                self.world()
                    .rvs()
                    .wait_queries(life.receipt_id(), 1, SOON)
                    .await;
            }
            for life in lives {
                for (_, step) in life.steps.iter().filter(|(at, _)| *at == time) {
                    self.happens(life, *step).await;
                }
            }
        }
    }

    async fn happens(&mut self, life: &Life, step: Step) {
        match step {
            Step::Notified => {
                let (at, app_user_id) = (self.calendar.now(), life.buyer.app_user_id.clone());
                let rtn = Rtn {
                    at,
                    app_user_id,
                    ..Rtn::new("SUBSCRIPTION_PURCHASED", life.receipt_id())
                };
                drop(self.calendar.world.send_rtn(&rtn).await);
            }
            Step::Reported(device) => {
                let transaction = json!({
                    "kind": "purchased", "receipt_id": life.receipt_id(), "app_user_id": life.buyer.app_user_id,
                    "sku": life.sku(), "price": "8.99", "currency": "USD", "marketplace": "US",
                });
                let device = life.devices[device];
                let event = device.event(
                    "bought",
                    "device.transaction",
                    &json!({ "transaction": transaction }),
                );
                drop(self.devices.report(device, &[event]).await.ok());
            }
            Step::LoggedIn(device, customer) => {
                drop(
                    self.devices
                        .login(life.devices[device], life.customer(customer))
                        .await
                        .ok(),
                );
            }
            Step::LoggedOut(device) => drop(self.devices.logout(life.devices[device]).await.ok()),
            Step::Named(customer) => self.name(&life.naming(life.customer(customer), None)).await,
            Step::Introduced(customer) => {
                let own = format!("own-{}-{customer}", life.number);
                self.name(&life.naming(life.customer(customer), Some(&own)))
                    .await;
            }
            Step::Settled => {
                self.settle(life).await;
                self.drain().await;
            }
        }
    }

    pub async fn name(&self, naming: &Value) {
        let path = format!("/v1/apps/{}/customers", self.world().app_id);
        let answer = self.world().api.call(Method::PUT, &path, naming).await;
        // The store's customer may have another name by now.
        assert!([200, 409].contains(&answer.status), "{answer:?}");
    }

    /// Skips windows until each notification and claim of a purchase has its outcome.
    async fn settle(&self, life: &Life) {
        let (world, workflow) = (self.world(), self.world().workflow(life.receipt_id()));
        let path = format!(
            "/v1/purchases/{}/notifications",
            world.key(life.receipt_id())
        );
        wait::until(
            SOON,
            &format!("the outcomes of {}", life.receipt_id()),
            async || {
                let answer = world.api.try_get(&path).await?;
                let all = answer.body["items"].as_array().cloned().unwrap_or_default();
                if !all.is_empty() && all.iter().all(|one| !one["outcome"].is_null()) {
                    return Ok(());
                }
                world.temporal.skip_timer(&workflow, WINDOW).await;
                Err(format!("{answer:?}"))
            },
        )
        .await;
    }

    /// Waits until the claims of all these purchases are verified, and each notification and claim has its outcome.
    pub async fn settle_all(&self, lives: &[Life]) {
        let settled = futures::stream::iter(lives).for_each_concurrent(AT_ONCE, async |life| {
            self.settle(life).await;
            // A remaining claim becomes a notification when it is verified.
            self.wait_verified(life).await;
            self.settle(life).await;
        });
        settled.await;
    }

    async fn wait_verified(&self, life: &Life) {
        let path = format!(
            "/v1/explain/purchases/{}",
            self.world().key(life.receipt_id())
        );
        wait::until(
            SOON,
            &format!("verified claims of {}", life.receipt_id()),
            async || {
                let explained = self.world().api.try_get(&path).await?.body.to_string();
                let verified = explained
                    .matches("reported this purchase (purchased): the store confirmed it")
                    .count();
                if verified == life.reports() {
                    Ok(())
                } else {
                    Err(explained)
                }
            },
        )
        .await;
    }

    /// Waits until nothing is pending for any destination.
    pub async fn drain(&self) {
        wait::until(SOON, "the end of all deliveries", async || {
            let pending = self
                .world()
                .api
                .try_get("/v1/deliveries?status=pending")
                .await?
                .body;
            if pending["items"].as_array().is_some_and(Vec::is_empty) {
                Ok(())
            } else {
                Err(pending.to_string())
            }
        })
        .await;
    }

    /// Returns the profiles in Amplitude who have the entitlement of a purchase.
    pub fn persons(&self, life: &Life) -> Vec<Profile> {
        let mut all = self.amplitude.profiles(KEY);
        let wanted = json!(life.entitlement());
        all.retain(|one| {
            one.properties["namiml_active_entitlements"]
                .as_array()
                .is_some_and(|names| names.contains(&wanted))
        });
        all
    }

    /// Returns the revenue of a purchase that Amplitude counts, each amount with its customer.
    pub fn revenue(&self, life: &Life) -> Vec<(Value, Value)> {
        let key = self.world().key(life.receipt_id()).to_string();
        let events = self.amplitude.events(KEY).into_iter().map(|one| one.event);
        let about =
            events.filter(|event| event["event_properties"]["collapse_key"] == key.as_str());
        about
            .filter(|event| !event["revenue"].is_null())
            .map(|event| (event["user_id"].clone(), event["revenue"].clone()))
            .collect()
    }

    /// Finishes the world, and checks that no request to Amplitude broke a rule.
    pub async fn finish(self) {
        self.amplitude.check();
        self.calendar.world.finish().await;
    }
}
