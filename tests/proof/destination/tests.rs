//! A destination of the added kind: created on the command line and served by real processes on both databases, with
//! the same lanes, address rules, attempts, redaction and explanations as any other.

use crate::server::Server;
use crate::variables;
use axum::http::Method;
use serde_json::{Value, json};
use system_tests::process::{Backend, Variable};
use system_tests::world::{Setting, World};

const TOKEN: &str = "token-of-the-line-51d7";
const UPDATED: &str = "purchase.updated";
/// An address in a private network, which no destination may have.
const PRIVATE: &str = "line://10.1.2.3:9000";

/// Creates a destination at an address on the command line, and returns the command's JSON.
fn create(world: &World, address: &str) -> Value {
    std::fs::write(world.installation.folder().join("password.txt"), TOKEN).expect("a file");
    let line = [
        "destination create --kind line --name bus --password @password.txt --event purchase.updated --schedule 1s,1h --json",
        &format!("--app {} --address {address}", world.app_id),
    ];
    let arguments: Vec<&str> = line.iter().flat_map(|part| part.split(' ')).collect();
    let variables = variables();
    let variables: Vec<Variable<'_>> = variables
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let output = world.installation.call_with(&arguments, &variables);
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// Moves a destination to another address, and returns the destination as shown by the API.
async fn change(world: &World, path: &str, address: &str) -> Value {
    let body = json!({ "address": address });
    world.api.call(Method::PATCH, path, &body).await.ok()
}

/// Returns the class, status and answer of each attempt at a delivery.
async fn attempts(world: &World, delivery: &Value) -> Vec<[Value; 3]> {
    let id = delivery["id"].as_str().expect("an id");
    let path = format!("/v1/deliveries/{id}/attempts");
    let all = world.api.all(&path).await;
    let shown = |one: &Value| ["class", "status", "response"].map(|field| one[field].clone());
    all.iter().map(shown).collect()
}

/// Returns the explanation of a delivery's event.
async fn explained(world: &World, delivery: &Value) -> String {
    let event = delivery["event_id"].as_str().expect("an id");
    let path = format!("/v1/explain/events/{event}");
    world.api.get(&path).await.ok().to_string()
}

async fn story(backend: Backend) {
    let server = Server::start().await;
    let mut world = World::start(Setting {
        backend,
        window_seconds: 1,
        variables: variables(),
        ..Setting::default()
    })
    .await;
    let created = create(&world, &server.address());
    let id = created["id"].as_str().expect("an id").to_owned();
    assert_eq!(created["address"], server.address());
    let path = format!("/v1/destinations/{id}");
    let tested = world
        .api
        .post(&format!("{path}/test"), &json!({}))
        .await
        .ok();
    assert_eq!(
        (&tested["ok"], &tested["detail"]),
        (&json!(true), &json!("taken"))
    );

    server.answer_next(&format!("503 not now, {TOKEN}"));
    world.send("SUBSCRIPTION_PURCHASED", "repeated").await;
    let delivery = world
        .wait_delivery(&id, "repeated", UPDATED, "delivered")
        .await;
    let lines = server.lines();
    assert_eq!(lines.len(), 3, "a test, and the same line twice: {lines:?}");
    assert_eq!(lines[1], lines[2]);
    let beginning = format!("{TOKEN} {} {{", delivery["id"].as_str().expect("an id"));
    assert!(lines[1].starts_with(&beginning), "{lines:?}");
    let refused = [
        json!("server_error"),
        json!(503),
        json!("not now, [redacted]"),
    ];
    let taken = [json!("success"), json!(200), json!("taken")];
    assert_eq!(attempts(&world, &delivery).await, [refused, taken]);

    // No attempt reaches a private address.
    let moved = change(&world, &path, PRIVATE).await;
    assert_eq!(moved["address"], PRIVATE);
    world.send("SUBSCRIPTION_PURCHASED", "guarded").await;
    world.wait_back_off("guarded").await;
    let delivery = world
        .wait_delivery(&id, "guarded", UPDATED, "pending")
        .await;
    let first = attempts(&world, &delivery).await.into_iter().next();
    let forbidden = [json!("forbidden_address"), Value::Null, Value::Null];
    assert_eq!(first, Some(forbidden));
    let explained = explained(&world, &delivery).await;
    assert!(
        explained.contains("destinations.allowed_networks"),
        "{explained}"
    );
    assert_eq!(server.lines().len(), 3);

    change(&world, &path, &server.address()).await;
    let retried = world.installation.call(&["destination", "retry", &id]);
    assert!(retried.status.success(), "{retried:?}");
    world
        .wait_delivery(&id, "guarded", UPDATED, "delivered")
        .await;
    assert_eq!(server.lines().len(), 4);
    let shown = world.api.get(&path).await.ok().to_string();
    assert!(!shown.contains(TOKEN) && !world.installation.logs().contains(TOKEN));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_added_kind_is_delivered_to_by_one_process_on_sqlite() {
    story(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_added_kind_is_delivered_to_by_a_worker_on_postgresql() {
    story(Backend::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_added_kind_is_in_the_forms_and_in_the_document() {
    let world = World::start(Setting {
        variables: variables(),
        ..Setting::default()
    })
    .await;
    let kinds = world.api.get("/v1/destinations/kinds").await.ok();
    let names: Vec<&Value> = kinds["items"]
        .as_array()
        .expect("forms")
        .iter()
        .map(|one| &one["name"])
        .collect();
    assert_eq!(names, ["webhook", "amplitude", "email", "line"]);
    let document = world.api.get("/openapi.json").await.ok();
    let schema = &document["components"]["schemas"]["NewLine"];
    assert_eq!(schema["properties"]["address"]["x-rule"], "With a port.");
    assert_eq!(schema["properties"]["password"]["writeOnly"], true);
    world.finish().await;
}
