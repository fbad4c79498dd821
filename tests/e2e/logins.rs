//! Logins on devices, as seen from outside: a purchase that moves to the customer who logs in, and back.

use reqwest::Method;
use serde_json::{Value, json};
use system_tests::devices::{Device, Devices};
use system_tests::rvs::Receipt;
use system_tests::sns::Rtn;
use system_tests::wait;
use system_tests::world::{SOON, Setting, World};

const PURCHASED: &str = "user.subscription.purchased";
const TRANSFERRED_FROM: &str = "user.subscription.transferred.from";
const TRANSFERRED_TO: &str = "user.subscription.transferred.to";
/// Path of the simulated receipts' product, which grants the entitlement.
const SKU: &str = "products/com.example.gold.month";

/// Starts a world with an entitlement; returns it with its devices.
pub async fn world() -> (World, Devices) {
    let events = vec!["purchase.updated".to_owned(), "user.*".to_owned()];
    let mut world = World::start(Setting {
        window_seconds: 1,
        rvs: true,
        events,
        ..Setting::default()
    })
    .await;
    world.let_sweep_help("it starts the verification of claims, and wakes what a login moved");
    let app = world.app_id.clone();
    for (path, body) in [
        ("entitlements/gold", json!({ "name": "Gold" })),
        (SKU, json!({ "entitlements": ["gold"] })),
    ] {
        drop(
            world
                .api
                .call(Method::PUT, &format!("/v1/apps/{app}/{path}"), &body)
                .await
                .ok(),
        );
    }
    let devices = Devices::of(&world).await;
    (world, devices)
}

/// Returns the receipt of a subscription that began an hour ago.
pub fn bought() -> Receipt {
    Receipt::subscription(api::clock::now().plus_millis(-3_600_000))
}

/// A store customer with one receipt.
#[derive(Debug, Clone)]
pub struct Buyer {
    pub receipt_id: String,
    pub app_user_id: String,
}

impl Buyer {
    pub fn new(number: u32) -> Self {
        Self {
            receipt_id: format!("receipt-{number}"),
            app_user_id: format!("amzn1.account.BUYER{number}"),
        }
    }

    /// Makes the store know the receipt from now on.
    pub fn buys(&self, world: &World, bought: &Receipt) {
        world.rvs().know(
            &self.receipt_id,
            Receipt {
                app_user_id: self.app_user_id.clone(),
                ..bought.clone()
            },
        );
    }

    /// Sends the store's notification; returns the message's id.
    pub async fn is_notified(&self, world: &mut World) -> String {
        let rtn = Rtn {
            app_user_id: self.app_user_id.clone(),
            ..Rtn::new("SUBSCRIPTION_PURCHASED", &self.receipt_id)
        };
        world.send_rtn(&rtn).await
    }

    pub async fn is_claimed(&self, devices: &Devices, device: Device) {
        let receipts = json!([{ "receipt_id": self.receipt_id, "app_user_id": self.app_user_id }]);
        let start = device.event(
            "start",
            "device.session.start",
            &json!({ "receipts": receipts }),
        );
        drop(devices.report(device, &[start]).await.ok());
    }
}

/// Waits until the newest update names this device and this customer; returns the update's `data`.
async fn wait_data(
    world: &World,
    buyer: &Buyer,
    device: Device,
    external_id: Option<&str>,
) -> Value {
    let key = world.key(&buyer.receipt_id).to_string();
    wait::until(
        SOON,
        &format!("{external_id:?} with {device:?}"),
        async || {
            let newest = world
                .receiver
                .about(&key)
                .pop()
                .map(|received| received.body)
                .ok_or("nothing")?;
            let data = &newest["data"];
            let is_claimed = data["devices_with_access"][0]["id"] == json!(device.id());
            let is_named = data["last_seen_external_id"] == json!(external_id);
            if is_claimed && is_named {
                Ok(data.clone())
            } else {
                Err(data.to_string())
            }
        },
    )
    .await
}

/// Returns the `user.*` events of a purchase in the order of arrival: type, the customer's id at that time, and the
/// user.
fn user_events(world: &World, buyer: &Buyer) -> Vec<Value> {
    let is_about = |body: &Value| {
        let ids = body["external_ids"].as_array().into_iter().flatten();
        ids.into_iter()
            .any(|id| id["key"] == "receipt_id" && id["value"] == buyer.receipt_id.as_str())
    };
    let bodies = world
        .receiver
        .all()
        .into_iter()
        .map(|received| received.body);
    bodies
        .filter(|body| {
            body["event_type"]
                .as_str()
                .is_some_and(|kind| kind.starts_with("user."))
        })
        .filter(is_about)
        .collect()
}

fn external_id(body: &Value) -> Option<&str> {
    let ids = body["external_ids"].as_array()?;
    ids.iter().find(|id| id["key"] == "external_id")?["value"].as_str()
}

/// Checks that the explanation of each event of the transfer, and of its undo, names both customers and the cause.
async fn check_explained(world: &World, transfer: &str) {
    let mut sentences = Vec::new();
    for event in world
        .api
        .all(&format!("/v1/events?type={TRANSFERRED_TO}"))
        .await
    {
        let id = event["id"].as_str().expect("an id");
        let explained = world
            .api
            .get(&format!("/v1/explain/events/{id}"))
            .await
            .ok();
        let nodes = explained["then"].as_array().expect("nodes").clone();
        let node = nodes
            .iter()
            .find(|node| node["what"] == "transfer")
            .expect("a transfer");
        assert!(
            nodes.iter().all(|node| node["what"] != "notifications"),
            "{explained}"
        );
        sentences.push(node["summary"].as_str().expect("a sentence").to_owned());
    }
    sentences.sort_by_key(|sentence| sentence.contains("by mistake"));
    let [login, undo] = &sentences[..] else {
        panic!("{sentences:?}")
    };
    assert!(
        login.starts_with(&format!(
            "transfer {transfer} from anna to otto: the customer logged in"
        )) && login.contains("undone since by transfer"),
        "{login}"
    );
    let of_undo = format!("from otto to anna: transfer {transfer} was undone by ");
    assert!(
        undo.contains(&of_undo) && undo.ends_with(" (by mistake)"),
        "{undo}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purchase_moves_to_the_customer_who_logs_in() {
    let (mut world, devices) = world().await;
    let (buyer, device) = (Buyer::new(1), Device(1));
    buyer.buys(&world, &bought());
    let message = buyer.is_notified(&mut world).await;
    world.wait_outcome(&message).await;
    buyer.is_claimed(&devices, device).await;
    wait_data(&world, &buyer, device, None).await;
    drop(devices.login(device, "anna").await.ok());
    wait_data(&world, &buyer, device, Some("anna")).await;
    drop(devices.logout(device).await.ok());
    drop(devices.login(device, "otto").await.ok());
    wait_data(&world, &buyer, device, Some("otto")).await;
    let events = user_events(&world, &buyer);
    let seen: Vec<(&str, Option<&str>, &Value)> = events
        .iter()
        .map(|body| {
            (
                body["event_type"].as_str().unwrap(),
                external_id(body),
                &body["user_id"],
            )
        })
        .collect();
    let [
        (PURCHASED, _, anna),
        from,
        (TRANSFERRED_TO, Some("otto"), otto),
    ] = seen[..]
    else {
        panic!("{seen:?}")
    };
    assert_eq!(
        from,
        (TRANSFERRED_FROM, Some("anna"), anna),
        "the anonymous user of the purchase got the name"
    );
    assert_ne!(anna, otto);
    assert_eq!(events[1]["transfer_id"], events[2]["transfer_id"]);
    let active = |body: &Value| body["active_entitlements"].as_array().map(Vec::len);
    assert_eq!((active(&events[1]), active(&events[2])), (Some(0), Some(1)));
    let transfer = events[1]["transfer_id"].as_str().expect("a transfer");
    let undo = format!("/v1/transfers/{transfer}/undo");
    drop(
        world
            .api
            .post(&undo, &json!({ "reason": "by mistake" }))
            .await
            .ok(),
    );
    wait_data(&world, &buyer, device, Some("anna")).await;
    let back: Vec<Value> = user_events(&world, &buyer)[3..]
        .iter()
        .map(|body| body["user_id"].clone())
        .collect();
    assert_eq!(back, [otto.clone(), anna.clone()]);
    check_explained(&world, transfer).await;
    world.finish().await;
}
