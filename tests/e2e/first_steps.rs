//! A newcomer's first ten minutes: the demo with its simulated stores and catalogue, `settle destination retry`, and
//! `settle status`. Samples for a user's own app are in `samples`.

use reqwest::Method;
use serde_json::{Value, json};
use std::process::Output;
use system_tests::process::{Backend, Installation, Process};
use system_tests::receiver::Reply;
use system_tests::sns::Sns;
use system_tests::temporal::{Memory, Temporal};
use system_tests::wait;
use system_tests::world::{SOON, Setting, World};

/// `settle run` with its demo, and its Temporal server.
struct Demo {
    // Dropped first.
    process: Process,
    temporal: Temporal,
    installation: Installation,
}

/// Settings that allow no destination on this machine.
const CLOSED: [(&str, &str); 2] = [
    ("SETTLE_DESTINATIONS_ALLOWED_NETWORKS", "192.0.2.1/32"),
    ("SETTLE_DESTINATIONS_ALLOW_HTTP", "false"),
];

impl Demo {
    async fn start() -> Self {
        let temporal = Temporal::start(Memory::Volatile).await;
        let installation = Installation::new(Backend::Sqlite, &temporal.address(), &Sns::new());
        let mut process = installation.start(&["run", "--window", "1s"], &CLOSED);
        process.wait_connected().await;
        let log = process.log();
        assert!(
            !log.contains("/ui/sign-in/"),
            "what is no terminal gets no link: {log}"
        );
        Self {
            process,
            temporal,
            installation,
        }
    }

    fn call(&self, line: &[&str]) -> Output {
        self.installation.call(line)
    }

    fn answer(&self, line: &[&str]) -> Value {
        let output = self.call(&[line, &["--json"]].concat());
        let printed = String::from_utf8_lossy(&output.stdout);
        serde_json::from_str(&printed)
            .unwrap_or_else(|error| panic!("{line:?}: {error}: {output:?}"))
    }

    /// Sends a sample, waits until its purchase has this revision, and returns the purchase.
    async fn settled(&self, line: &[&str], revision: i64) -> Value {
        self.settled_with(line, "revision", &json!(revision)).await
    }

    /// Sends a sample, waits until a field of its purchase has this value, and returns the purchase.
    async fn settled_with(&self, line: &[&str], field: &str, value: &Value) -> Value {
        let sent = self.answer(&[&["sample"], line].concat());
        let key = sent["collapse_key"]
            .as_str()
            .expect("a collapse key")
            .to_owned();
        wait::until(SOON, &format!("{line:?} settled"), async || {
            let answer = self
                .installation
                .api()
                .try_get(&format!("/v1/purchases/{key}"))
                .await?;
            if answer.body[field] == *value {
                Ok(answer.body)
            } else {
                Err(format!("{answer:?}"))
            }
        })
        .await
    }
}

impl Demo {
    /// Checks that a sample sent through the API is accepted, settled and counted, and leaves an audit entry.
    async fn sends_samples_itself(&self, bought: &Value) {
        let (api, platform) = (
            self.installation.api(),
            bought["platform_id"].as_str().expect("an id"),
        );
        let wrong = api
            .call(
                Method::POST,
                &format!("/v1/platforms/{platform}/sample"),
                &json!({ "type": "paused" }),
            )
            .await;
        assert_eq!(wrong.status, 400, "{wrong:?}");
        let body = json!({ "type": "purchased", "receipt_id": "r2" });
        let sent = api
            .call(
                Method::POST,
                &format!("/v1/platforms/{platform}/sample"),
                &body,
            )
            .await;
        assert_eq!(
            (sent.status, &sent.body["type"]),
            (202, &json!("SUBSCRIPTION_PURCHASED")),
            "{sent:?}"
        );
        let key = sent.body["collapse_key"]
            .as_str()
            .expect("a key")
            .to_owned();
        wait::until(SOON, "the sample is settled and counted", async || {
            let purchase = api.try_get(&format!("/v1/purchases/{key}")).await?;
            let arrivals = api
                .try_get(&format!("/v1/platforms/{platform}/arrivals"))
                .await?;
            let accepted = api.try_get("/v1/series?what=accepted").await?;
            let delivered = api.try_get("/v1/series?what=delivered").await?;
            let sum = |series: &Value| {
                series["items"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(|one| one["count"].as_i64())
                    .sum::<i64>()
            };
            let is_counted = sum(&accepted.body) == 2 && sum(&delivered.body) > 3;
            let is_here = purchase.body["revision"] == 1 && arrivals.body["accepted"]["count"] == 2;
            if is_counted && is_here {
                Ok(())
            } else {
                Err(format!(
                    "{purchase:?} {arrivals:?} {accepted:?} {delivered:?}"
                ))
            }
        })
        .await;
        let audit_log = api
            .try_get("/v1/audit-log?operation=platform.sample")
            .await
            .expect("the audit log");
        assert_eq!(
            audit_log.body["items"][0]["subject"], *platform,
            "{audit_log:?}"
        );
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demo_sample_is_verified_and_complete() {
    let demo = Demo::start().await;
    let bought = demo.settled(&["--receipt", "r1"], 1).await;
    let data = &bought["data"]["data"];
    assert_eq!(data["product_ref_id"], "demo.gold.monthly", "{bought}");
    for field in ["purchase_price", "expires_at", "environment"] {
        assert!(!data[field].is_null(), "`{field}` is null: {bought}");
    }
    assert_eq!(
        data["environment"], "sandbox",
        "what is simulated is a test: {bought}"
    );
    assert_eq!(
        (&data["is_active"], &data["is_auto_renewable"]),
        (&json!(true), &json!(true)),
        "{bought}"
    );
    assert_eq!(
        data["entitlements"][0]["entitlement_ref_id"], "gold",
        "{bought}"
    );
    assert_eq!(bought["data"]["attributes"]["verified"], true, "{bought}");
    demo.sends_samples_itself(&bought).await;
    let off = demo
        .settled(&["--receipt", "r1", "--type", "auto-renewal-off"], 2)
        .await;
    assert_eq!(
        (&off["state"], &off["data"]["data"]["is_auto_renewable"]),
        (&json!("off"), &json!(false)),
        "{off}"
    );
    let events = demo.answer(&["event", "list", "--limit", "1"]);
    let event = demo.answer(&[
        "event",
        "show",
        events["items"][0]["id"].as_str().expect("an id"),
    ]);
    assert_eq!(event, events["items"][0], "one event with its body");
    let listed = text(&demo.call(&[
        "purchase",
        "list",
        "--receipt",
        bought["receipt_id"].as_str().expect("a receipt"),
    ]));
    assert!(listed.contains("active, renewal off"), "{listed}");
    let none = text(&demo.call(&["purchase", "list", "--receipt", "nobodys"]));
    assert_eq!(none, "No matching purchases.\n");
    let received = || async {
        let log = demo.process.log();
        if log.contains("purchase.updated") {
            Ok(())
        } else {
            Err(log)
        }
    };
    wait::until(SOON, "the event at the demo's receiver", received).await;
    let log = demo.process.log();
    let address = demo.temporal.address();
    assert!(
        log.contains(&format!(
            "Temporal     {address}  (`temporal --address {address} workflow list`)"
        )),
        "{log}"
    );
    assert!(log.contains("simulated store"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_store_of_the_demo_has_whole_lives() {
    let demo = Demo::start().await;
    let listed = demo.answer(&["platform", "list", "--app", "demo"]);
    let platforms = listed["items"].as_array().expect("platforms").iter();
    let stores: Vec<&Value> = platforms.map(|one| &one["store"]).collect();
    assert_eq!(
        json!(stores),
        json!(["amazon", "google", "apple"]),
        "{listed}"
    );
    let after = async |receipt: &str, kind: &str, state: &str| {
        let line = ["--store", "google", "--receipt", receipt, "--type", kind];
        let shown = demo.settled_with(&line, "state", &json!(state)).await;
        let of_purchase = &shown["data"];
        assert_eq!(
            of_purchase["attributes"]["verified"], true,
            "{kind}: {shown}"
        );
        assert_eq!(of_purchase["data"]["environment"], "sandbox", "{shown}");
        shown
    };
    let bought = after("g1", "purchased", "active").await;
    let data = &bought["data"]["data"];
    assert_eq!(data["product_ref_id"], "demo.gold:monthly", "{bought}");
    assert_eq!(
        data["entitlements"][0]["entitlement_ref_id"], "gold",
        "{bought}"
    );
    for (kind, state) in [
        ("in-grace-period", "grace"),
        ("renewed", "active"),
        ("on-hold", "account_hold"),
        ("recovered", "active"),
        ("paused", "paused"),
        ("recovered", "active"),
        ("canceled", "off"),
        ("restarted", "active"),
        ("voided-purchase", "revoked"),
    ] {
        after("g1", kind, state).await;
    }
    after("g2", "purchased", "active").await;
    after("g2", "expired", "expired").await;
    after("g3", "purchased", "active").await;
    after("g3", "revoked", "revoked").await;
    let once = after("g4", "one-time-product-purchased", "active").await;
    let data = &once["data"]["data"];
    assert_eq!(data["product_ref_id"], "demo.gold.lifetime", "{once}");
    after("g4", "voided-purchase", "revoked").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_third_store_of_the_demo_has_whole_lives() {
    let demo = Demo::start().await;
    let after = async |receipt: &str, kind: &str, state: &str| {
        let line = ["--store", "apple", "--receipt", receipt, "--type", kind];
        let shown = demo.settled_with(&line, "state", &json!(state)).await;
        let of_purchase = &shown["data"];
        assert_eq!(
            of_purchase["attributes"]["verified"], true,
            "{kind}: {shown}"
        );
        assert_eq!(of_purchase["data"]["environment"], "sandbox", "{shown}");
        shown
    };
    let bought = after("a1", "initial-buy", "active").await;
    let data = &bought["data"]["data"];
    assert_eq!(data["product_ref_id"], "demo_gold_monthly", "{bought}");
    assert_eq!(
        data["entitlements"][0]["entitlement_ref_id"], "gold",
        "{bought}"
    );
    for (kind, state) in [
        ("grace-period", "grace"),
        ("did-renew-billing-recovery", "active"),
        ("auto-renew-disabled", "off"),
        ("auto-renew-enabled", "active"),
        ("upgrade", "active"),
        ("refund", "revoked"),
        ("refund-reversed", "off"),
        ("auto-renew-enabled", "active"),
        ("did-fail-to-renew", "account_hold"),
        ("expired-billing-retry", "expired"),
        ("resubscribe", "active"),
    ] {
        after("a1", kind, state).await;
    }
    let once = after("a2", "one-time-charge", "active").await;
    let data = &once["data"]["data"];
    assert_eq!(data["product_ref_id"], "demo_gold_lifetime", "{once}");
    after("a2", "refund", "revoked").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_sends_exactly_what_is_pending_at_once() {
    let mut world = World::start(Setting {
        window_seconds: 1,
        ..Setting::default()
    })
    .await;
    let path = format!("/v1/destinations/{}", world.destination_id);
    drop(
        world
            .api
            .call(Method::PATCH, &path, &json!({ "schedule": [3600, 3600] }))
            .await
            .ok(),
    );
    world.send("SUBSCRIPTION_PURCHASED", "arrived").await;
    world.wait_acked("arrived", 1).await;
    world.receiver.answer(Reply::Status(500));
    world.send("SUBSCRIPTION_PURCHASED", "late").await;
    world.wait_received("late", 1).await;
    wait::until(SOON, "a failed attempt", async || {
        let late = world.deliveries("late").await;
        if late
            .iter()
            .any(|one| one["attempts"] == 1 && one["status"] == "pending")
        {
            Ok(())
        } else {
            Err(format!("{late:?}"))
        }
    })
    .await;
    let id = world.destination_id.clone();
    let again = world.installation.call(&["destination", "retry", &id]);
    assert_eq!(
        again.status.code(),
        Some(1),
        "it fails again: {}",
        text(&again)
    );
    assert!(
        text(&again).contains("1 delivery is pending; sending now.\nIt failed again: "),
        "{}",
        text(&again)
    );
    world.receiver.answer(Reply::Status(200));
    let sent = world
        .installation
        .call(&["destination", "retry", &id, "--reason", "they are back"]);
    assert_eq!(
        text(&sent),
        "1 delivery is pending; sending now.\nAll deliveries arrived.\n"
    );
    world.wait_acked("late", 1).await;
    assert_eq!(
        world.receiver.about(&world.key("late").to_string()).len(),
        3,
        "each attempt once"
    );
    assert_eq!(
        world
            .receiver
            .about(&world.key("arrived").to_string())
            .len(),
        1,
        "what arrived is not sent again"
    );
    let nothing = world.installation.call(&["destination", "retry", &id]);
    assert_eq!(text(&nothing), "Nothing is pending.\n");
    for receipt in ["arrived", "late"] {
        world.wait_asleep(receipt).await;
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_breaker_is_an_alarm_and_in_the_status() {
    let mut world = World::start(Setting {
        window_seconds: 1,
        ..Setting::default()
    })
    .await;
    let status = world.installation.call(&["status"]);
    let printed = text(&status);
    assert_eq!(status.status.code(), Some(0), "{printed}");
    for part in [
        "accepts notifications",
        "Temporal      connected",
        "no event sent yet",
        "nothing pending",
        "none in the last",
    ] {
        assert!(printed.contains(part), "`{part}` is missing: {printed}");
    }
    world.receiver.answer(Reply::Status(503));
    for number in 0..12 {
        world
            .send("SUBSCRIPTION_PURCHASED", &format!("r{number}"))
            .await;
    }
    let id = world.destination_id.clone();
    world.wait_state(&id, "open").await;
    let status = world.installation.call(&["status"]);
    let printed = text(&status);
    assert_eq!(status.status.code(), Some(1), "{printed}");
    for part in [
        "1 with an open breaker",
        "destination_failing",
        &format!("`settle destination retry {id}`"),
        "Alarms        1 in",
    ] {
        assert!(printed.contains(part), "`{part}` is missing: {printed}");
    }
    let json = world.installation.call(&["status", "--json"]);
    let data: Value = serde_json::from_slice(&json.stdout).expect("JSON");
    let all = data["destinations"].as_array().expect("destinations");
    let state = all
        .iter()
        .find(|one| one["id"] == id.as_str())
        .map(|one| &one["state"]);
    assert_eq!(
        (&data["ok"], state),
        (&json!(false), Some(&json!("open"))),
        "{data}"
    );
    world.receiver.answer(Reply::Status(200));
    let sent = world.installation.call(&["destination", "retry", &id]);
    assert!(
        text(&sent).contains("pending; sending now."),
        "{}",
        text(&sent)
    );
    world.wait_state(&id, "healthy").await;
    for number in 0..12 {
        world.wait_acked(&format!("r{number}"), 1).await;
        world.wait_asleep(&format!("r{number}")).await;
    }
    assert_eq!(world.installation.call(&["status"]).status.code(), Some(0));
    let open = world.api.all("/v1/alarms?open=true").await;
    assert!(open.is_empty(), "the recovery closed the alarm: {open:?}");
    world.finish().await;
}
