//! Signals leave audit entries with actor and reason, whether sent by the API or by a script.

use serde_json::{Value, json};
use system_tests::http::Api;
use system_tests::wait;
use system_tests::world::{SOON, Setting, World};

/// Waits until an operation has `count` audit entries on a subject; returns the newest.
async fn wait_entries(world: &World, operation: &str, subject: &str, count: usize) -> Value {
    wait::until(SOON, operation, async || {
        let found = world
            .api
            .get(&format!(
                "/v1/audit-log?operation={operation}&subject={subject}"
            ))
            .await
            .ok();
        let entries = found["items"].as_array().cloned().unwrap_or_default();
        if entries.len() == count {
            Ok(entries[0].clone())
        } else {
            Err(format!("{count} expected: {found}"))
        }
    })
    .await
}

/// Creates a key; returns an API client that uses it, and its id.
async fn help_desk(world: &World) -> (Api, Value) {
    let key = world
        .api
        .post(
            "/v1/keys",
            &json!({ "name": "help desk", "role": "operator" }),
        )
        .await
        .ok();
    (
        world.api.with_token(key["key"].as_str().expect("a key")),
        key["id"].clone(),
    )
}

fn check(entry: &Value, world: &World, actor: &str) {
    assert_eq!(
        (&entry["actor"], &entry["app_id"]),
        (&json!(actor), &json!(world.app_id)),
        "{entry}"
    );
    assert!(
        entry["reason"]
            .as_str()
            .is_some_and(|reason| !reason.is_empty()),
        "{entry}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_leaves_one_audit_entry_with_its_author() {
    let mut world = World::start(Setting {
        window_seconds: 1,
        ..Setting::default()
    })
    .await;
    world.send("SUBSCRIPTION_PURCHASED", "acted").await;
    world.wait_acked("acted", 1).await;
    world.wait_asleep("acted").await;
    let key = world.key("acted").to_string();
    for signal in ["hold", "release", "flush", "discard"] {
        let operation = format!("purchase.{signal}");
        world.signal_by_script("acted", signal).await;
        check(
            &wait_entries(&world, &operation, &key, 1).await,
            &world,
            "me",
        );
        world
            .act(
                "acted",
                signal,
                &json!({ "by": "ann", "reason": "ticket 4711" }),
            )
            .await;
        check(
            &wait_entries(&world, &operation, &key, 2).await,
            &world,
            "ann (admin token)",
        );
    }
    world.signal_by_script("acted", "redeliver").await;
    check(
        &wait_entries(&world, "purchase.redeliver", &key, 1).await,
        &world,
        "me",
    );
    let (desk, desk_id) = help_desk(&world).await;
    for signal in ["hold", "release", "flush", "discard"] {
        let body = json!({ "by": "ann", "reason": "ticket 4712" });
        drop(
            desk.post(&format!("/v1/purchases/{key}/{signal}"), &body)
                .await
                .ok(),
        );
        let entry = wait_entries(&world, &format!("purchase.{signal}"), &key, 3).await;
        check(&entry, &world, "ann (help desk)");
        assert_eq!(entry["key_id"], desk_id, "{entry}");
    }
    let id = world.destination_id.clone();
    let again =
        json!({ "collapse_key": key, "destination_id": id, "by": "ann", "reason": "ticket 4713" });
    drop(desk.post("/v1/resends", &again).await.ok());
    let entry = wait_entries(&world, "resend", &key, 1).await;
    check(&entry, &world, "ann (help desk)");
    assert_eq!(entry["key_id"], desk_id, "{entry}");
    world.by_script("\"reason\":\"maintenance\"").await;
    let off = wait_entries(&world, "destination.update", &id, 1).await;
    check(&off, &world, "me");
    assert_eq!(
        (&off["before"]["enabled"], &off["after"]["enabled"]),
        (&json!(true), &json!(false))
    );
    world.by_script("\"reason\":\"done\"").await;
    check(
        &wait_entries(&world, "destination.update", &id, 2).await,
        &world,
        "me",
    );
    world.wait_asleep("acted").await;
    world.finish().await;
}
