//! The work in progress of an installation when it is upgraded, and how each part of it ends.

use domain::CollapseKey;
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;
use system_tests::devices::{Device, Devices};
use system_tests::http::{self, text};
use system_tests::receiver::Receiver;
use system_tests::rvs::{self, Receipt, Reply, Rvs};
use system_tests::sns::{Rtn, TOPIC};
use system_tests::wait;
use system_tests::world::{SOON, World};

const PURCHASED: &str = "user.subscription.purchased";
/// Package of the platform with verified purchases.
const VERIFIED: &str = "com.example.settle.verified";
/// The customer who logs in, and the device.
const ANNA: &str = "anna";
const DEVICE: Device = Device(7);
/// The receipt on the customer's device, about which the store does not answer yet, and its store customer.
const CLAIMED: &str = "claimed";
const CLAIMER: &str = "amzn1.account.ANNA";
/// The window of the platform with verified purchases, which is open during the upgrade.
const WINDOW: Duration = Duration::from_secs(30);
/// Number of imported purchases.
const IMPORTED: u64 = 12;

pub struct Filled {
    /// The fake that verifies the second platform's purchases.
    pub rvs: Rvs,
    /// The second platform, and the URL to which its store sends.
    platform_id: String,
    notification_url: String,
    /// An endpoint that refuses everything until [`Self::check`].
    pub refusing: Receiver,
    /// An endpoint whose only delivery is given up before the upgrade, with the id of its destination.
    failing: (Receiver, String),
    /// Message id of the notification about the purchase on hold.
    held: String,
    /// A link to sign in to the dashboard.
    link: String,
}

impl Filled {
    /// Begins all kinds of work.
    pub async fn fill(world: &mut World, rvs: Rvs) -> Self {
        rvs.trust(rvs::SECRET);
        let platform = json!({
            "store": "amazon", "name": "verified", "package_name": VERIFIED, "environment": "sandbox",
            "topic_arn": TOPIC, "window_seconds": WINDOW.as_secs(), "shared_secret": rvs::SECRET,
        });
        let platform = world
            .api
            .post(&format!("/v1/apps/{}/platforms", world.app_id), &platform)
            .await
            .ok();
        let mut refusing = Receiver::start().await;
        let events = ["purchase.updated", "user.*", "device.*"].map(str::to_owned);
        world.add_destination(&refusing, &events).await;
        refusing.refuse().await;
        let failing = failing(world).await;
        let devices = Devices::with_key(&world.api, &text(&platform, "publishable_key"));
        drop(devices.login(DEVICE, ANNA).await.ok());
        let bought = Receipt::subscription(api::clock::now().plus_millis(-3_600_000));
        rvs.know(
            CLAIMED,
            Receipt {
                app_user_id: CLAIMER.to_owned(),
                ..bought
            },
        );
        rvs.answer_about(CLAIMED, Reply::RetryAfter(10));
        let receipts = json!([{ "receipt_id": CLAIMED, "app_user_id": CLAIMER }]);
        let start = DEVICE.event(
            "start",
            "device.session.start",
            &json!({ "receipts": receipts }),
        );
        drop(
            devices
                .report(DEVICE, &[start, DEVICE.impression("impression")])
                .await
                .ok(),
        );
        let held = world.send("SUBSCRIPTION_PURCHASED", "held").await;
        drop(act(world, world.key("held"), "hold").await);
        let link = json!({ "name": "Otto", "role": "support" });
        let link = text(
            &world.api.post("/v1/sign-in-links", &link).await.ok(),
            "path",
        );
        let [platform_id, notification_url] =
            ["id", "notification_url"].map(|name| text(&platform, name));
        let filled = Self {
            rvs,
            platform_id,
            notification_url,
            refusing,
            failing,
            held,
            link,
        };
        assert_eq!(
            filled.import(world, IMPORTED / 2).await["accepted"],
            IMPORTED / 2
        );
        filled
    }

    /// Completes all work, during or after the upgrade, and checks the results.
    pub async fn check(&mut self, world: &mut World) {
        let answer = self.import(world, IMPORTED).await;
        let before = answer["known"]
            .as_u64()
            .zip(answer["waiting"].as_u64())
            .map(|(settled, waiting)| settled + waiting);
        assert_eq!(
            (&answer["accepted"], before),
            (&json!(IMPORTED / 2), Some(IMPORTED / 2)),
            "{answer}"
        );
        let held = world
            .api
            .get(&format!("/v1/notifications/{}", self.held))
            .await
            .ok();
        assert_eq!(
            (
                &held["notifications"][0]["outcome"],
                &held["notifications"][0]["waiting_for"]
            ),
            (&Value::Null, &json!("hold")),
            "{held}"
        );
        drop(act(world, world.key("held"), "release").await);
        world.wait_acked("held", 1).await;
        self.refusing.accept().await;
        let id = &self.failing.1;
        let again = json!({ "failed": true, "destination_id": id, "now": true, "reason": "its endpoint is mended" });
        drop(world.api.post("/v1/resends", &again).await.ok());
        world
            .wait_delivery(id, "given-up", PURCHASED, "delivered")
            .await;
        let link = format!("{}{}", world.installation.url(), self.link);
        let shown = http::send_raw(Method::GET, &link, &[], Vec::new())
            .await
            .map(|answer| answer.status);
        assert_eq!(shown, Ok(200), "a link to sign in");
        self.check_claim(world).await;
        let import = format!("/v1/platforms/{}/import", self.platform_id);
        wait::until(SOON, "the end of the import", async || {
            let state = world.api.get(&import).await.ok();
            if state["settled"] == IMPORTED {
                Ok(())
            } else {
                Err(state.to_string())
            }
        })
        .await;
    }

    /// Checks the requests at the endpoints other than the world's, once nothing is pending.
    pub fn check_received(&self) {
        for receiver in [&self.refusing, &self.failing.0] {
            receiver.check();
            receiver
                .check_no_duplicates()
                .unwrap_or_else(|broken| panic!("{broken}"));
        }
    }

    /// Makes the store answer about the device's receipt and notify the purchase, and checks the claim.
    async fn check_claim(&self, world: &mut World) {
        self.rvs.answer_truly_about(CLAIMED);
        let rtn = Rtn::new("SUBSCRIPTION_PURCHASED", CLAIMED);
        let rtn = Rtn {
            app_user_id: CLAIMER.to_owned(),
            package_name: VERIFIED.to_owned(),
            ..rtn
        };
        let message = world.sns.notification(&rtn);
        let posted = world
            .post_at(&self.notification_url, &message)
            .await
            .map(|answer| answer.status);
        assert_eq!(posted, Ok(200), "the notification of the claimed purchase");
        let platform_id = self.platform_id.parse().expect("a platform id");
        let key = CollapseKey::of(platform_id, CLAIMED).to_string();
        wait::until(SOON, "the claimed purchase", async || {
            let newest = world
                .receiver
                .about(&key)
                .pop()
                .map(|received| received.body)
                .ok_or("nothing")?;
            let data = &newest["data"];
            let is_named = data["last_seen_external_id"] == ANNA;
            let is_claimed = data["devices_with_access"][0]["id"] == json!(DEVICE.id());
            if is_named && is_claimed {
                Ok(())
            } else {
                Err(data.to_string())
            }
        })
        .await;
    }

    /// Imports the first `count` purchases of the list.
    async fn import(&self, world: &World, count: u64) -> Value {
        let bought = Receipt::subscription(api::clock::now().plus_millis(-3_600_000));
        let mut purchases = Vec::new();
        for number in 0..count {
            let (receipt_id, app_user_id) = (
                format!("imported-{number}"),
                format!("amzn1.account.IMPORTED{number}"),
            );
            self.rvs.know(
                &receipt_id,
                Receipt {
                    app_user_id: app_user_id.clone(),
                    ..bought.clone()
                },
            );
            purchases.push(json!({ "receipt_id": receipt_id, "app_user_id": app_user_id }));
        }
        let path = format!("/v1/platforms/{}/import", self.platform_id);
        world
            .api
            .post(&path, &json!({ "purchases": purchases }))
            .await
            .ok()
    }
}

/// Adds a destination whose first delivery fails permanently, and whose endpoint then answers.
async fn failing(world: &mut World) -> (Receiver, String) {
    let mut receiver = Receiver::start().await;
    receiver.refuse().await;
    let fields = json!({
        "kind": "webhook", "name": "given up", "url": receiver.url(), "events": [PURCHASED], "schedule": [1],
    });
    let created = world.create_destination(&fields).await;
    receiver.trust_shown(&created);
    let id = text(&created, "id");
    world.send("SUBSCRIPTION_PURCHASED", "given-up").await;
    world
        .wait_delivery(&id, "given-up", PURCHASED, "failed")
        .await;
    receiver.accept().await;
    (receiver, id)
}

/// Requests an action on a purchase as an operator, and returns the answer.
pub async fn act(world: &World, key: CollapseKey, action: &str) -> Value {
    let path = format!("/v1/purchases/{key}/{action}");
    world
        .api
        .call(Method::POST, &path, &json!({ "reason": "an upgrade" }))
        .await
        .ok()
}
