//! Which webhook gets which event: the store's notification, the device's report, and a login or a name, in every order
//! and with any of them missing. One table, for a webhook that receives events at once and one that waits for logins;
//! all bodies are compared.

use super::logins::{Buyer, bought, world};
use Step::{LoggedIn, Named, Notified, Reported};
use domain::user::{TRANSFERRED_TO, TRANSFERS};
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use system_tests::devices::{Device, Devices};
use system_tests::receiver::{Received, Receiver};
use system_tests::wait;
use system_tests::world::{SOON, World};

/// A step in the life of a purchase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Notified,
    /// The device reports the purchase, and the store confirms the claim.
    Reported,
    /// A customer logs in on the device.
    LoggedIn,
    /// The company names the store's customer.
    Named,
}

/// The customer's name and the number of devices in a body.
type Who = (Option<&'static str>, usize);

const NOBODY: Who = (None, 0);
const DEVICE: Who = (None, 1);
const ANNA: Who = (Some("external_id"), 0);
const ANNA_ON_DEVICE: Who = (Some("external_id"), 1);

/// The steps, in order; the contents of the one `user.subscription.purchased` at a webhook that receives events at
/// once, of the one at a webhook that waits for logins, if any, and of the newest record.
type Row = (&'static [Step], Who, Option<Who>, Who);

const TABLE: [Row; 22] = [
    // Either the device or the store reports nothing.
    (&[Notified], NOBODY, None, NOBODY),
    (&[Reported], DEVICE, None, DEVICE),
    (&[Notified, Named], NOBODY, Some(ANNA), ANNA),
    (&[Named, Notified], ANNA, Some(ANNA), ANNA),
    (
        &[Reported, Named],
        DEVICE,
        Some(ANNA_ON_DEVICE),
        ANNA_ON_DEVICE,
    ),
    (
        &[Named, Reported],
        ANNA_ON_DEVICE,
        Some(ANNA_ON_DEVICE),
        ANNA_ON_DEVICE,
    ),
    (
        &[Reported, LoggedIn],
        DEVICE,
        Some(ANNA_ON_DEVICE),
        ANNA_ON_DEVICE,
    ),
    (
        &[LoggedIn, Reported],
        ANNA_ON_DEVICE,
        Some(ANNA_ON_DEVICE),
        ANNA_ON_DEVICE,
    ),
    // A login on a device without the receipt belongs to another customer.
    (&[Notified, LoggedIn], NOBODY, None, NOBODY),
    (&[LoggedIn, Notified], NOBODY, None, NOBODY),
    // All steps, with a login.
    (
        &[Notified, Reported, LoggedIn],
        NOBODY,
        Some(ANNA),
        ANNA_ON_DEVICE,
    ),
    (
        &[Notified, LoggedIn, Reported],
        NOBODY,
        Some(ANNA),
        ANNA_ON_DEVICE,
    ),
    (
        &[Reported, Notified, LoggedIn],
        DEVICE,
        Some(ANNA_ON_DEVICE),
        ANNA_ON_DEVICE,
    ),
    (
        &[Reported, LoggedIn, Notified],
        DEVICE,
        Some(ANNA_ON_DEVICE),
        ANNA_ON_DEVICE,
    ),
    (
        &[LoggedIn, Notified, Reported],
        NOBODY,
        Some(ANNA),
        ANNA_ON_DEVICE,
    ),
    (
        &[LoggedIn, Reported, Notified],
        ANNA_ON_DEVICE,
        Some(ANNA_ON_DEVICE),
        ANNA_ON_DEVICE,
    ),
    // All steps, with a name.
    (
        &[Notified, Reported, Named],
        NOBODY,
        Some(ANNA),
        ANNA_ON_DEVICE,
    ),
    (
        &[Notified, Named, Reported],
        NOBODY,
        Some(ANNA),
        ANNA_ON_DEVICE,
    ),
    (
        &[Reported, Notified, Named],
        DEVICE,
        Some(ANNA_ON_DEVICE),
        ANNA_ON_DEVICE,
    ),
    (
        &[Reported, Named, Notified],
        DEVICE,
        Some(ANNA_ON_DEVICE),
        ANNA_ON_DEVICE,
    ),
    (
        &[Named, Notified, Reported],
        ANNA,
        Some(ANNA),
        ANNA_ON_DEVICE,
    ),
    (
        &[Named, Reported, Notified],
        ANNA_ON_DEVICE,
        Some(ANNA_ON_DEVICE),
        ANNA_ON_DEVICE,
    ),
];

/// Returns whether the purchase was announced for an anonymous user before the claim showed that it belongs to the
/// customer who had logged in.
fn is_transferred(steps: &[Step]) -> bool {
    steps.ends_with(&[Reported]) && [Notified, LoggedIn].iter().all(|step| steps.contains(step))
}

struct Life {
    buyer: Buyer,
    device: Device,
    external_id: String,
    /// Message id of the notification, once it was sent.
    message: Option<String>,
}

impl Life {
    fn new(number: u32) -> Self {
        Self {
            buyer: Buyer::new(number),
            device: Device(number),
            external_id: format!("customer-{number}"),
            message: None,
        }
    }

    async fn happens(&mut self, step: Step, world: &mut World, devices: &Devices) {
        match step {
            Notified => self.message = Some(self.buyer.is_notified(world).await),
            Reported => {
                let (receipt_id, app_user_id) = (&self.buyer.receipt_id, &self.buyer.app_user_id);
                let bought = json!({
                    "kind": "purchased", "receipt_id": receipt_id, "app_user_id": app_user_id,
                    "sku": "com.example.gold.month",
                });
                let event = self.device.event(
                    "bought",
                    "device.transaction",
                    &json!({ "transaction": bought }),
                );
                drop(devices.report(self.device, &[event]).await.ok());
            }
            LoggedIn => drop(devices.login(self.device, &self.external_id).await.ok()),
            Named => {
                let name = json!({ "external_id": self.external_id, "app_user_id": self.buyer.app_user_id });
                let path = format!("/v1/apps/{}/customers", world.app_id);
                drop(world.api.call(Method::PUT, &path, &name).await.ok());
            }
        }
    }

    /// Waits until a webhook has received everything due after these steps.
    async fn wait_for(
        &self,
        world: &World,
        receiver: &Receiver,
        steps: &[Step],
        wait_for_login: bool,
    ) {
        let is_reported = steps.contains(&Reported);
        let is_named = steps.contains(&Named) || (is_reported && steps.contains(&LoggedIn));
        if !(is_reported || steps.contains(&Notified)) || (wait_for_login && !is_named) {
            return;
        }
        let key = world.key(&self.buyer.receipt_id).to_string();
        let wanted = (
            is_named.then_some(self.external_id.as_str()),
            usize::from(is_reported),
        );
        wait::until(
            SOON,
            &format!("{steps:?} of {}", self.buyer.receipt_id),
            async || {
                let newest = receiver.about(&key).pop().ok_or("no record")?;
                let found = (
                    newest.body["data"]["last_seen_external_id"].as_str(),
                    access(&newest.body),
                );
                if found == wanted {
                    Ok(())
                } else {
                    Err(format!("{found:?}"))
                }
            },
        )
        .await;
        if let Some(message) = &self.message {
            world.wait_outcome(message).await;
        }
    }

    /// Returns all requests about the purchase that a webhook received.
    fn received(&self, receiver: &Receiver) -> Vec<Received> {
        let all = receiver.all().into_iter();
        all.filter(|one| one.receipt_id() == self.buyer.receipt_id)
            .collect()
    }

    /// Returns the types of the transfer events that a webhook received.
    fn transfers(&self, receiver: &Receiver) -> Vec<String> {
        let all = self
            .received(receiver)
            .into_iter()
            .map(|one| one.event_type().to_owned());
        all.filter(|name| TRANSFERS.contains(&name.as_str()))
            .collect()
    }

    /// Returns the customer and device in the only other `user.*` event that a webhook received.
    fn bought_by(&self, receiver: &Receiver, bodies: &mut Bodies) -> Option<Who> {
        let all = self.received(receiver);
        let is_of_user = |one: &&Received| {
            one.event_type().starts_with("user.") && !TRANSFERS.contains(&one.event_type())
        };
        let events: Vec<&Received> = all.iter().filter(is_of_user).collect();
        let [event] = events[..] else {
            assert!(events.is_empty(), "{events:?}");
            return None;
        };
        assert_eq!(event.event_type(), "user.subscription.purchased");
        let names = event.body["external_ids"].as_array().expect("names");
        let own = names.iter().find(|name| name["key"] == "external_id");
        assert!(
            own.is_none_or(|own| own["value"] == self.external_id.as_str()),
            "{own:?}"
        );
        let who = (
            own.map(|_| "external_id"),
            event.body["devices"].as_array().map_or(0, Vec::len),
        );
        bodies.compare(who, &self.without_ids(&event.body));
        Some(who)
    }

    /// Returns the customer and device in the newest record that a webhook received.
    fn owner(&self, receiver: &Receiver, bodies: &mut Bodies) -> Who {
        let records = self
            .received(receiver)
            .into_iter()
            .filter(|one| !one.collapse_key().is_empty());
        let newest = records
            .max_by_key(Received::revision)
            .expect("a record")
            .body;
        let name = newest["data"]["last_seen_external_id"].as_str();
        assert!(name.is_none_or(|name| name == self.external_id), "{name:?}");
        let who = (name.map(|_| "external_id"), access(&newest));
        bodies.compare(who, &self.without_ids(&newest));
        who
    }

    /// Returns a body in which names and ids are the same for all purchases, without counters and times.
    fn without_ids(&self, body: &Value) -> Value {
        let text = body.to_string();
        let own = [
            (self.buyer.receipt_id.clone(), "RECEIPT"),
            (self.buyer.app_user_id.clone(), "BUYER"),
            (self.external_id.clone(), "CUSTOMER"),
            (self.device.id().to_string(), "DEVICE"),
        ];
        let text = own.iter().fold(text, |text, (id, name)| {
            text.replace(&format!("\"{id}\""), &format!("\"{name}\""))
        });
        let mut body: Value = serde_json::from_str(&text).expect("a body");
        for field in [
            "id",
            "user_id",
            "created_date",
            "user_revision",
            "occurred_at",
        ] {
            drop(body.as_object_mut().expect("a body").remove(field));
        }
        let counted = [
            "event_id",
            "event_time",
            "occurred_at",
            "collapse_key",
            "revision",
            "previous_acked_revision",
            "state_digest",
            "coalesced",
            "subscription_id",
        ];
        if let Some(attributes) = body.get_mut("attributes").and_then(Value::as_object_mut) {
            for field in counted {
                attributes.remove(field).expect(field);
            }
        }
        for list in ["/active_entitlements", "/data/devices_with_access"] {
            for one in body
                .pointer_mut(list)
                .and_then(Value::as_array_mut)
                .into_iter()
                .flatten()
            {
                for field in ["last_verified", "first_launch", "last_active"] {
                    drop(one.as_object_mut().expect("an object").remove(field));
                }
            }
        }
        body
    }
}

/// Returns the number of devices with access in a record.
fn access(body: &Value) -> usize {
    body["data"]["devices_with_access"]
        .as_array()
        .map_or(0, Vec::len)
}

/// The first body for each name and device; all others must be equal to it.
#[derive(Default)]
struct Bodies(BTreeMap<Who, Value>);

impl Bodies {
    fn compare(&mut self, who: Who, body: &Value) {
        let first = self.0.entry(who).or_insert_with(|| body.clone());
        assert_eq!(first, body, "{who:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_order_of_store_claim_and_login_gives_one_record() {
    let (mut world, devices) = world().await;
    let patient = Receiver::start().await;
    let events = ["purchase.updated".to_owned(), "user.*".to_owned()];
    let id = world.add_destination(&patient, &events).await;
    let patch = json!({ "without_external_id": "wait" });
    drop(
        world
            .api
            .call(Method::PATCH, &format!("/v1/destinations/{id}"), &patch)
            .await
            .ok(),
    );
    let bought = bought();
    let mut lives: Vec<Life> = (1..).take(TABLE.len()).map(Life::new).collect();
    for life in &lives {
        life.buyer.buys(&world, &bought);
    }
    for round in 0..3 {
        for (life, (steps, ..)) in lives.iter_mut().zip(TABLE) {
            if let Some(step) = steps.get(round) {
                life.happens(*step, &mut world, &devices).await;
            }
        }
        for (life, (steps, ..)) in lives.iter().zip(TABLE) {
            let steps = steps.get(..=round).unwrap_or(steps);
            life.wait_for(&world, &world.receiver, steps, false).await;
            life.wait_for(&world, &patient, steps, true).await;
        }
    }
    let (mut events, mut records) = (Bodies::default(), Bodies::default());
    let found = lives.iter().zip(TABLE).map(|(life, (steps, ..))| {
        let at_once = life
            .bought_by(&world.receiver, &mut events)
            .unwrap_or_else(|| panic!("{steps:?}: no event"));
        let later = life.bought_by(&patient, &mut events);
        assert_eq!(
            life.transfers(&world.receiver),
            if is_transferred(steps) {
                TRANSFERS.to_vec()
            } else {
                vec![]
            },
            "{steps:?}"
        );
        assert_eq!(
            life.transfers(&patient)
                .contains(&TRANSFERRED_TO.to_owned()),
            is_transferred(steps),
            "{steps:?}"
        );
        (
            steps,
            at_once,
            later,
            life.owner(&world.receiver, &mut records),
        )
    });
    let found: Vec<Row> = found.collect();
    assert!(
        found == TABLE,
        "found:\n{}",
        found
            .iter()
            .map(|row| format!("{row:?}\n"))
            .collect::<String>()
    );
    // Except for its owner and devices, the purchase is the same.
    let mut plain = records.0.into_values().map(|mut body| {
        let data = body["data"].as_object_mut().expect("a record");
        for field in [
            "devices_with_access",
            "last_seen_device_id",
            "last_seen_external_id",
        ] {
            data.remove(field).expect(field);
        }
        body
    });
    let first = plain.next().expect("a record");
    plain.for_each(|one| assert_eq!(one, first));
    patient.check();
    world.finish().await;
}
