//! The demo's app and its samples.

use super::{RUN, answer, call};
use crate::cli::{log, logged, settle, stderr_of, stdout_of, wait_open};
use serde_json::Value;
use system_tests::folder::Folder;
use system_tests::world::SOON;
use system_tests::{ports, wait};

fn id(created: &Value) -> &str {
    created["id"].as_str().expect("an id")
}

#[test]
fn what_the_demo_needs_holds_for_no_other_app() {
    let folder = Folder::new("others");
    let [listen, admin] = [(); 2].map(|()| format!("127.0.0.1:{}", ports::free()));
    let line = [
        "run",
        "--data",
        "data",
        "--listen",
        &listen,
        "--admin-listen",
        &admin,
    ];
    let mut running = logged(&folder, &mut settle(&folder, &line));
    wait_open(&folder, &mut running);
    let demo = answer(&folder, &["app", "list"])["items"][0]["id"]
        .as_str()
        .expect("the demo")
        .to_owned();
    let app = id(&answer(&folder, &["app", "create", "mine"])).to_owned();
    for app in [&app, &demo] {
        for url in [
            "http://127.0.0.1:9/",
            "https://127.0.0.1:9/",
            "http://example.com/",
        ] {
            let create = [
                "destination",
                "create",
                "--app",
                app,
                "--name",
                "local",
                "--url",
                url,
            ];
            let refused = call(&folder, &create);
            assert_eq!(
                refused.status.code(),
                Some(1),
                "{url}: {}",
                stdout_of(&refused)
            );
            assert!(
                stderr_of(&refused).contains("SETTLE_DESTINATIONS_ALLOW"),
                "{}",
                stderr_of(&refused)
            );
        }
    }
    let own = answer(&folder, &["destination", "list", "--app", &demo])["items"][0].clone();
    let moved = call(
        &folder,
        &[
            "destination",
            "update",
            id(&own),
            "--url",
            "http://127.0.0.1:9/",
        ],
    );
    assert_eq!(moved.status.code(), Some(1), "{}", stdout_of(&moved));
    let create = [
        "platform",
        "create",
        "--app",
        "mine",
        "--name",
        "fire",
        "--package-name",
        "com.example.mine",
    ];
    let platform = answer(&folder, &create);
    // For other apps, the demo accepts samples only.
    let sent = call(&folder, &["sample", "--app", "mine"]);
    let printed = stdout_of(&sent);
    assert_eq!(sent.status.code(), Some(0), "{}", stderr_of(&sent));
    assert!(
        printed.contains("as a test purchase")
            && printed.contains("No destination will receive its events."),
        "{printed}"
    );
    let listed = answer(
        &folder,
        &["notification", "list", "--platform", id(&platform)],
    );
    assert_eq!(
        listed["items"].as_array().map(Vec::len),
        Some(1),
        "{listed}"
    );
    let sent = call(&folder, &["sample", "--json"]);
    assert_eq!(sent.status.code(), Some(0), "{}", stderr_of(&sent));
    assert!(
        stdout_of(&call(&folder, &["sample"]))
            .contains("Its events will go to: built-in receiver."),
        "the demo's own"
    );
}

#[test]
fn without_the_demo_there_is_no_app_and_no_sample() {
    let folder = Folder::new("no-demo");
    let mut running = logged(
        &folder,
        &mut settle(&folder, &[&RUN[..], &["--no-demo"]].concat()),
    );
    wait_open(&folder, &mut running);
    assert_eq!(
        answer(&folder, &["app", "list"])["items"],
        Value::Array(Vec::new())
    );
    assert!(
        !folder.path().join("data/sample-key.pem").exists(),
        "there is no key that anything trusts"
    );
    running.signal("INT");
    let exited = || {
        running
            .exit_status()
            .ok_or_else(|| "it still runs".to_owned())
    };
    let status = wait::until_blocking(SOON, "the end of settle", exited).expect("an end");
    assert_eq!(status.code(), Some(0), "{}", log(&folder));
    let log = log(&folder);
    let (before, _) = log.split_once("settle stopped;").expect("its last line");
    assert!(
        before.contains("settle: stopping: ")
            && before.contains("press Ctrl-C again to stop at once"),
        "{log}"
    );
}

#[test]
fn a_demo_without_a_store_gets_it_at_the_next_start() {
    let folder = Folder::new("next-store");
    let mut stores = Vec::new();
    for start in ["the first", "one with all", "one without a store"] {
        let mut running = logged(&folder, &mut settle(&folder, &RUN));
        wait_open(&folder, &mut running);
        let listed = answer(&folder, &["platform", "list", "--app", "demo"]);
        let platforms = listed["items"].as_array().expect("platforms").clone();
        let found: Vec<Value> = platforms.iter().map(|one| one["store"].clone()).collect();
        assert_eq!(found.len(), 3, "{start}: {listed}");
        let products = answer(&folder, &["product", "export", "--app", "demo"]);
        let products = products.to_string();
        assert!(
            products.contains("demo.gold.monthly"),
            "{start}: {products}"
        );
        assert!(
            products.contains("demo.gold:monthly"),
            "{start}: {products}"
        );
        assert!(
            products.contains("demo_gold_monthly"),
            "{start}: {products}"
        );
        stores.push(found);
        if start == "one with all" {
            let last = platforms.last().expect("a platform");
            let platform = ["platform", "delete", id(last)];
            let product = ["product", "delete", "demo_gold_monthly", "--app", "demo"];
            for line in [&platform[..], &product[..]] {
                let deleted = call(&folder, line);
                assert_eq!(deleted.status.code(), Some(0), "{}", stderr_of(&deleted));
            }
        }
        running.signal("INT");
        let exited = || {
            running
                .exit_status()
                .ok_or_else(|| "it still runs".to_owned())
        };
        wait::until_blocking(SOON, "the end of settle", exited).expect("an end");
    }
    assert!(stores.iter().all(|found| *found == stores[0]), "{stores:?}");
}
