//! Samples for a user's own app: `settle run` verifies them with its simulated store, never with Amazon's, and they are
//! marked as tests everywhere.

use api::stores::amazon::sample::TOPIC_ARN;
use domain::Environment;
use reqwest::Method;
use serde_json::{Value, json};
use std::process::Output;
use system_tests::http::post_as_sns;
use system_tests::process::{Backend, Installation, Process};
use system_tests::rvs::{Receipt, Rvs, SECRET};
use system_tests::sns::{PACKAGE, Rtn, Sns, TOPIC};
use system_tests::temporal::{Memory, Temporal};
use system_tests::wait;
use system_tests::world::SOON;

const FOREIGN: &str =
    "only the `settle run` of its own data directory, without `--no-demo`, accepts a sample";

/// `settle run` with a fake of Amazon's verification, and an app whose platforms have real purchases.
struct Own {
    // Dropped first.
    process: Process,
    rvs: Rvs,
    installation: Installation,
    app: String,
    _temporal: Temporal,
}

impl Own {
    async fn start() -> Self {
        let (temporal, rvs) = (Temporal::start(Memory::Shared).await, Rvs::start().await);
        let installation = Installation::new(Backend::Sqlite, &temporal.address(), &Sns::new());
        let installation = installation.in_namespace(temporal.namespace());
        let process = launched(&installation, &rvs, &["run"]).await;
        let app = installation
            .api()
            .post("/v1/apps", &json!({ "name": "Radio" }))
            .await
            .ok();
        let app = app["id"].as_str().expect("an id").to_owned();
        let product = json!({ "name": "Gold", "entitlements": [], "prices": [{ "currency": "USD", "price": "9.99" }] });
        let path = format!("/v1/apps/{app}/products/demo.gold.monthly");
        drop(
            installation
                .api()
                .call(Method::PUT, &path, &product)
                .await
                .ok(),
        );
        Self {
            process,
            rvs,
            installation,
            app,
            _temporal: temporal,
        }
    }

    /// Kills the process, and starts another on the same data directory.
    async fn restart(&mut self, command: &[&str]) {
        self.process.kill9();
        self.process = launched(&self.installation, &self.rvs, command).await;
    }

    /// Creates a platform for real purchases; returns its id and its notification URL.
    async fn platform(&self, name: &str, more: &Value) -> (String, String) {
        let mut body = json!({
            "store": "amazon", "name": name, "package_name": PACKAGE, "window_seconds": 1, "shares_package": true,
        });
        let fields = more.as_object().expect("fields").clone();
        body.as_object_mut().expect("fields").extend(fields);
        let platform = self
            .installation
            .api()
            .post(&format!("/v1/apps/{}/platforms", self.app), &body)
            .await
            .ok();
        assert_eq!(platform["environment"], "production", "{platform}");
        let text = |name: &str| platform[name].as_str().expect("a text").to_owned();
        (text("id"), text("notification_url"))
    }

    /// Sends a sample, waits until its purchase has this revision, and returns the purchase.
    async fn settled(&self, line: &[&str], revision: i64) -> Value {
        let output = self
            .installation
            .call(&[&["sample", "--json"], line].concat());
        let sent: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{line:?}: {output:?}"));
        let path = format!(
            "/v1/purchases/{}",
            sent["collapse_key"].as_str().expect("a collapse key")
        );
        wait::until(SOON, &format!("{line:?} settled"), async || {
            let answer = self.installation.api().try_get(&path).await?;
            if answer.body["revision"] == revision {
                Ok(answer.body)
            } else {
                Err(format!("{answer:?}"))
            }
        })
        .await
    }

    /// Checks that a purchase is a verified test, and that no payment with an amount was recorded for it.
    async fn check_test(&self, purchase: &Value) {
        let data = &purchase["data"];
        assert_eq!(data["attributes"]["verified"], true, "{purchase}");
        assert_eq!(data["data"]["environment"], "sandbox", "{purchase}");
        let key = purchase["collapse_key"].as_str().expect("a key");
        let api = self.installation.api();
        let payments = api
            .all(&format!(
                "/v1/payments?app_id={}&collapse_key={key}",
                self.app
            ))
            .await;
        assert!(!payments.is_empty(), "it has a price");
        assert!(
            payments.iter().all(|one| one["environment"] == "sandbox"),
            "{payments:?}"
        );
        for event in api.all(&format!("/v1/events?collapse_key={key}")).await {
            assert!(
                !event.to_string().contains("\"is_production\":true"),
                "{event}"
            );
        }
    }
}

async fn launched(installation: &Installation, rvs: &Rvs, command: &[&str]) -> Process {
    let mut process = installation.start(command, &[("SETTLE_AMAZON_RVS_URL", &rvs.url())]);
    process.wait_connected().await;
    process
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn check_refused(output: &Output, why: &str) {
    assert_eq!(output.status.code(), Some(1), "{}", text(output));
    assert!(text(output).contains(why), "{}", text(output));
}

#[tokio::test(flavor = "multi_thread")]
async fn samples_are_verified_tests_on_every_platform() {
    let own = Own::start().await;
    let printed = || text(&own.installation.call(&["sample", "--app", "Radio"]));
    assert!(
        printed().contains("the app has no platform yet"),
        "{}",
        printed()
    );
    let (bare, _) = own.platform("bare", &json!({})).await;
    assert!(
        printed()
            .contains("No destination will receive its events. `settle destination create --app"),
        "{}",
        printed()
    );
    let create = [
        "destination",
        "create",
        "--app",
        "Radio",
        "--name",
        "Backend",
        "--url",
        "http://127.0.0.1:9/",
    ];
    assert!(own.installation.call(&create).status.success());
    assert!(
        printed().contains("as a test purchase\nIts events will go to: Backend.\n"),
        "{}",
        printed()
    );
    let switch = |action| {
        assert!(
            own.installation
                .call(&["destination", action, "Backend"])
                .status
                .success()
        )
    };
    switch("disable");
    assert!(
        printed().contains("Its events stay pending for Backend until `settle destination enable"),
        "{}",
        printed()
    );
    switch("enable");
    let (secret, _) = own
        .platform("secret", &json!({ "shared_secret": SECRET }))
        .await;
    let (pinned, url) = own
        .platform(
            "pinned",
            &json!({ "shared_secret": SECRET, "topic_arn": TOPIC }),
        )
        .await;
    let several =
        "the app has several platforms: choose one with --platform (`bare`, `secret`, `pinned`)";
    assert!(printed().contains(several), "{}", printed());
    for platform in [&bare, &secret, &pinned] {
        let bought = own
            .settled(&["--platform", platform, "--receipt", "mine"], 1)
            .await;
        assert_eq!(
            (&bought["platform_id"], &bought["state"]),
            (&json!(platform), &json!("active")),
            "{bought}"
        );
        own.check_test(&bought).await;
        let receipt = bought["receipt_id"].as_str().expect("a receipt");
        assert!(receipt.starts_with("sample.mine."), "{bought}");
    }
    assert!(own.rvs.all().is_empty(), "Amazon gets none of them");
    let bought = Receipt {
        environment: Environment::Production,
        ..Receipt::subscription(api::clock::now())
    };
    own.rvs.know("real", bought);
    let message = Sns::new().notification(&Rtn::new("SUBSCRIPTION_PURCHASED", "real"));
    assert_eq!(
        post_as_sns(&url, &message.body)
            .await
            .expect("an answer")
            .status,
        200
    );
    let queries = own.rvs.wait_queries("real", 1, SOON).await;
    assert_eq!(
        (queries.len(), own.rvs.all().len()),
        (1, 1),
        "any other receipt goes to Amazon"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_that_this_key_did_not_make_is_refused() {
    let own = Own::start().await;
    let (platform, url) = own.platform("fire", &json!({})).await;
    let other = own.installation.folder().join("other");
    std::fs::create_dir(&other).expect("a folder");
    Sns::new().write_key(&other.join("sample-key.pem"));
    Sns::new().write_certificate(&other.join("sample-certificate.pem"));
    let other = other.display().to_string();
    check_refused(
        &own.installation
            .call(&["sample", "--platform", &platform, "--data", &other]),
        FOREIGN,
    );
    for (sns, reason) in [
        (Sns::of_samples(), "was not minted by settle sample"),
        (Sns::new(), FOREIGN),
    ] {
        let message = sns.message(
            TOPIC_ARN,
            &Rtn::new("SUBSCRIPTION_PURCHASED", "chosen").message(),
        );
        let answer = post_as_sns(&url, &message.body).await.expect("an answer");
        assert!(
            (400..500).contains(&answer.status) && answer.body.to_string().contains(reason),
            "{answer:?}"
        );
    }
    let stored = own
        .installation
        .api()
        .all(&format!("/v1/notifications?platform_id={platform}"))
        .await;
    assert!(stored.is_empty(), "{stored:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_outlives_its_run_and_is_never_sent_to_amazon() {
    let mut own = Own::start().await;
    let (platform, _) = own
        .platform("fire", &json!({ "shared_secret": SECRET }))
        .await;
    let bought = own.settled(&["--platform", &platform], 1).await;
    own.restart(&["run"]).await;
    let receipt = bought["receipt_id"].as_str().expect("a receipt");
    let line = [
        "--platform",
        &platform,
        "--receipt",
        receipt,
        "--type",
        "auto-renewal-off",
    ];
    let off = own.settled(&line, 2).await;
    assert_eq!(
        (&off["collapse_key"], &off["state"]),
        (&bought["collapse_key"], &json!("off")),
        "{off}"
    );
    own.check_test(&off).await;
    // Without the simulated store, like under `settle serve` and `settle worker`.
    own.restart(&["run", "--no-demo"]).await;
    let refused = own.installation.call(&["sample", "--platform", &platform]);
    check_refused(&refused, FOREIGN);
    assert!(
        !text(&refused).contains('{'),
        "a sentence, no JSON: {}",
        text(&refused)
    );
    let changed = json!({ "shared_secret": format!("{SECRET}2") });
    let path = format!("/v1/platforms/{platform}");
    drop(
        own.installation
            .api()
            .call(Method::PATCH, &path, &changed)
            .await
            .ok(),
    );
    wait::until(SOON, "the check after the change", async || {
        let log = own.process.log();
        if log.contains("unknown_receipt") {
            Ok(())
        } else {
            Err(log)
        }
    })
    .await;
    own.restart(&["serve"]).await;
    check_refused(
        &own.installation.call(&["sample", "--platform", &platform]),
        FOREIGN,
    );
    let path = format!(
        "/v1/purchases/{}",
        off["collapse_key"].as_str().expect("a key")
    );
    let stays = own.installation.api().get(&path).await.ok();
    assert_eq!(
        (&stays["revision"], &stays["state"]),
        (&off["revision"], &off["state"]),
        "{stays}"
    );
    own.check_test(&stays).await;
    assert!(own.rvs.all().is_empty(), "Amazon is never queried about it");
}
