//! The usual purchase of a customer who is logged in: the device reports it and the store notifies it in one window. It is
//! announced once, as theirs, at the price that they paid.

use super::{KEY, SECRET_KEY, integrate};
use crate::logins::Buyer;
use domain::Environment;
use reqwest::Method;
use serde_json::{Value, json};
use system_tests::amplitude::Amplitude;
use system_tests::devices::{Device, Devices};
use system_tests::receiver::Received;
use system_tests::rvs::Receipt;
use system_tests::wait;
use system_tests::world::{SOON, Setting, World};

const SKU: &str = "com.example.gold.month";
/// More than the window, which the tests skip.
const WINDOW: i64 = 121;

/// Which comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// The device reports it, and the store notifies it when it has confirmed the claim.
    DeviceLongBefore,
    /// The device reports it, and the store notifies it at once.
    DeviceFirst,
    /// The store notifies it, and the device reports it at once.
    StoreFirst,
}

const ORDERS: [Order; 3] = [Order::DeviceLongBefore, Order::DeviceFirst, Order::StoreFirst];

/// A purchase of a customer who is logged in on a device.
struct Life {
    order: Order,
    buyer: Buyer,
    device: Device,
    external_id: String,
}

impl Life {
    fn new(number: u32, order: Order) -> Self {
        let external_id = format!("customer-{number}@shop");
        Self { order, buyer: Buyer::new(number), device: Device(number), external_id }
    }

    async fn is_reported(&self, devices: &Devices) {
        let transaction = json!({
            "kind": "purchased", "receipt_id": self.buyer.receipt_id, "app_user_id": self.buyer.app_user_id, "sku": SKU,
            "price": "8.99", "currency": "USD", "marketplace": "US",
        });
        let event = self.device.event("bought", "device.transaction", &json!({ "transaction": transaction }));
        drop(devices.report(self.device, &[event]).await.ok());
    }

    async fn happens(&self, world: &mut World, devices: &Devices) -> String {
        match self.order {
            Order::DeviceLongBefore | Order::DeviceFirst => {
                self.is_reported(devices).await;
                if self.order == Order::DeviceLongBefore {
                    world.rvs().wait_queries(&self.buyer.receipt_id, 1, SOON).await;
                }
                self.buyer.is_notified(world).await
            }
            Order::StoreFirst => {
                let message = self.buyer.is_notified(world).await;
                self.is_reported(devices).await;
                message
            }
        }
    }

    /// The bodies that the webhook received about it, each `user.*` before the record.
    fn bodies(&self, world: &World) -> Vec<Value> {
        let all = world.receiver.all().into_iter();
        all.filter(|one| one.receipt_id() == self.buyer.receipt_id).map(|one| self.without_ids(&one)).collect()
    }

    /// A body in which names and ids are the same for all purchases, and times and ids of events are left out.
    fn without_ids(&self, received: &Received) -> Value {
        let own = [
            (self.buyer.receipt_id.clone(), "RECEIPT"),
            (self.buyer.app_user_id.clone(), "BUYER"),
            (self.external_id.clone(), "CUSTOMER"),
            (self.device.id().to_string(), "DEVICE"),
        ];
        let text = received.body.to_string();
        let text = own.iter().fold(text, |text, (id, name)| text.replace(&format!("\"{id}\""), &format!("\"{name}\"")));
        let mut body: Value = serde_json::from_str(&text).expect("a body");
        for (part, fields) in [
            ("", &["id", "user_id", "created_date", "occurred_at"][..]),
            ("/attributes", &["event_id", "event_time", "occurred_at", "collapse_key", "state_digest"]),
        ] {
            let part = body.pointer_mut(part).and_then(Value::as_object_mut);
            part.into_iter().for_each(|part| part.retain(|name, _| !fields.contains(&name.as_str())));
        }
        for list in ["/active_entitlements", "/data/devices_with_access"] {
            for one in body.pointer_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                let one = one.as_object_mut().expect("an object");
                one.retain(|name, _| !["last_verified", "first_launch", "last_active"].contains(&name.as_str()));
            }
        }
        body
    }

    /// The revenue that Amplitude counts of it, by the customer that it counts it for.
    fn revenue(&self, world: &World, amplitude: &Amplitude) -> Vec<(Value, Value)> {
        let key = world.key(&self.buyer.receipt_id).to_string();
        let events = amplitude.events(KEY).into_iter().map(|one| one.event);
        let about = events.filter(|event| event["event_properties"]["collapse_key"] == key.as_str());
        about
            .filter(|event| !event["revenue"].is_null())
            .map(|event| (event["user_id"].clone(), event["revenue"].clone()))
            .collect()
    }
}

/// A subscription that was bought for money a minute ago.
fn bought() -> Receipt {
    let mut bought = Receipt::subscription(api::clock::now().plus_millis(-60_000));
    bought.environment = Environment::Production;
    bought.fields["testTransaction"] = json!(false);
    bought
}

async fn world(amplitude: &Amplitude, variables: &[(&str, &str)]) -> (World, Devices) {
    let urls = ("SETTLE_AMPLITUDE_ALLOWED_URLS".to_owned(), amplitude.url());
    let more = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let setting = Setting {
        rvs: true,
        environment: "production",
        events: vec!["purchase.updated".to_owned(), "user.*".to_owned()],
        variables: std::iter::once(urls).chain(more).collect(),
        ..Setting::default()
    };
    let mut world = World::start(setting).await;
    world.let_sweep_help(
        "it starts the verification of claims that become due later, and wakes what a killed worker left",
    );
    let product = json!({ "entitlements": ["gold"], "prices": [{ "currency": "USD", "price": "9.99" }] });
    for (path, body) in [("entitlements/gold", json!({ "name": "Gold" })), (&format!("products/{SKU}"), product)] {
        drop(world.api.call(Method::PUT, &format!("/v1/apps/{}/{path}", world.app_id), &body).await.ok());
    }
    let devices = Devices::of(&world).await;
    (world, devices)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_usual_purchase_is_one_event_of_its_customer_and_price() {
    let amplitude = Amplitude::start().await;
    amplitude.project(KEY, SECRET_KEY);
    amplitude.set(api::clock::now());
    let (mut world, devices) = world(&amplitude, &[]).await;
    integrate(&world, &amplitude, &json!({ "sandbox_api_key": Value::Null, "user_id": "external_id" })).await;
    let bought = bought();
    let lives: Vec<Life> = (1..).zip(ORDERS).map(|(number, order)| Life::new(number, order)).collect();
    let mut messages = Vec::new();
    for life in &lives {
        life.buyer.buys(&world, &bought);
        drop(devices.login(life.device, &life.external_id).await.ok());
        messages.push(life.happens(&mut world, &devices).await);
    }
    for (life, message) in lives.iter().zip(&messages) {
        world.settle(&life.buyer.receipt_id, message).await;
    }
    for life in &lives {
        wait::until(SOON, &format!("revenue of {}", life.buyer.receipt_id), async || {
            let counted = life.revenue(&world, &amplitude);
            if counted.is_empty() { Err("none".to_owned()) } else { Ok(()) }
        })
        .await;
    }
    wait::until(SOON, "an event and a record of each", async || {
        let counts: Vec<usize> = lives.iter().map(|life| life.bodies(&world).len()).collect();
        if counts.iter().all(|count| *count >= 2) { Ok(()) } else { Err(format!("{counts:?} bodies")) }
    })
    .await;
    // A claim that was left over would become a notification of its own when it is verified, and make another revision.
    for life in &lives {
        let key = world.key(&life.buyer.receipt_id);
        let path = format!("/v1/explain/purchases/{key}");
        wait::until(SOON, "a verified claim", async || {
            let explained = world.api.get(&path).await.ok().to_string();
            if explained.contains("claims it as purchased: verified") { Ok(()) } else { Err(explained) }
        })
        .await;
        let notifications = world.api.all(&format!("/v1/purchases/{key}/notifications")).await;
        assert!(notifications.iter().all(|one| !one["outcome"].is_null()), "{notifications:?}");
    }
    let counts: Vec<usize> = lives.iter().map(|life| life.bodies(&world).len()).collect();
    assert_eq!(counts, [2; 3], "one revision each");
    let first = lives[0].bodies(&world);
    let (user, record) = (&first[0], &first[1]);
    assert_eq!(user["event_type"], "user.subscription.purchased");
    assert!(user["external_ids"].as_array().unwrap().iter().any(|id| id["value"] == "CUSTOMER"), "{user}");
    let data = &record["data"];
    assert_eq!((&data["last_seen_external_id"], &data["last_seen_device_id"]), (&json!("CUSTOMER"), &json!("DEVICE")));
    assert_eq!((&data["purchase_price"], &data["price_source"]), (&json!("8.99"), &json!("device")));
    assert_eq!((&record["attributes"]["revision"], &record["attributes"]["coalesced"]), (&json!(1), &json!(1)));
    for life in &lives {
        assert_eq!(life.bodies(&world), first, "{:?}", life.order);
        let counted = [(json!(life.external_id), json!(8.99))];
        assert_eq!(life.revenue(&world, &amplitude), counted, "{:?}", life.order);
    }
    let audit = world.api.get("/v1/audit/revenue?limit=500").await.ok();
    let lines = audit["lines"].as_array().expect("lines");
    let booked: Vec<String> = lines.iter().map(|line| line["ledger"].to_string().replace('"', "")).collect();
    assert_eq!((booked, &audit["unexplained"]), (vec!["8.99".to_owned(); 3], &json!(0)), "{audit}");
    amplitude.check();
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_at_a_commit_announces_its_claims_once() {
    let amplitude = Amplitude::start().await;
    for point in ["record.before_commit=1*return", "record.after_commit=1*return"] {
        let (mut world, devices) = world(&amplitude, &[("FAILPOINTS", point)]).await;
        let life = Life::new(1, Order::StoreFirst);
        life.buyer.buys(&world, &bought());
        drop(devices.login(life.device, &life.external_id).await.ok());
        let message = life.happens(&mut world, &devices).await;
        world.pass(&life.buyer.receipt_id, WINDOW).await;
        world.worker().wait_end().await;
        world.start_with(&[("FAILPOINTS", "")]).await;
        world.wait_outcome(&message).await;
        let bodies = wait::until(SOON, point, async || {
            let bodies = life.bodies(&world);
            if bodies.len() == 2 { Ok(bodies) } else { Err(format!("{} bodies", bodies.len())) }
        })
        .await;
        assert_eq!(bodies[1]["attributes"]["revision"], 1, "{point}");
        assert_eq!(bodies[1]["data"]["last_seen_external_id"], "CUSTOMER", "{point}");
        assert_eq!(bodies[1]["data"]["devices_with_access"].as_array().map(Vec::len), Some(1), "{point}");
        world.finish().await;
    }
}
