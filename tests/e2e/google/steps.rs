//! The setup steps of a platform against the fake: a real query shows the rights of its account.

use super::Shop;
use reqwest::Method;
use serde_json::{Value, json};
use system_tests::play::{Fault, Resource, access};
use system_tests::wait;
use system_tests::world::SOON;

/// Returns the setup step about the account's rights.
async fn rights(shop: &Shop) -> Value {
    let path = format!("/v1/platforms/{}/steps", shop.world().play().id);
    let steps = shop.world().api.get(&path).await.ok();
    let steps = steps["items"].as_array().expect("steps");
    let step = steps
        .iter()
        .find(|step| step["title"] == "Give the account its rights");
    step.expect("a step about rights").clone()
}

/// Waits until that step has this state, while the sweep runs.
async fn wait_rights(shop: &Shop, state: &str) {
    shop.sweep_until(&format!("rights that are {state}"), async || {
        let step = rights(shop).await;
        if step["state"] == state {
            Ok(())
        } else {
            Err(step.to_string())
        }
    })
    .await;
}

/// Uploads the key file of the service account.
async fn upload(shop: &Shop) {
    let path = format!("/v1/platforms/{}", shop.world().play().id);
    let body = json!({ "store_settings": { "service_account": access::key_file() } });
    let changed = shop.world().api.call(Method::PATCH, &path, &body).await;
    drop(changed.ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_uploaded_key_is_tried_by_a_query_of_the_store() {
    let shop = Shop::open().await;
    wait_rights(&shop, "done").await;
    let first = rights(&shop).await;
    assert_eq!(first["last_seen"], "The store answered a query", "{first}");
    assert!(first["last_seen_at"].is_string(), "{first}");

    let denied = Fault::Status(403);
    shop.fake().answer(&[Resource::Voided], &denied);
    upload(&shop).await;
    wait_rights(&shop, "problem").await;
    let refused = rights(&shop).await;
    let next = refused["next"].as_str().unwrap_or_default();
    assert!(
        next.starts_with("The service account may not read purchases"),
        "{refused}"
    );

    shop.fake().answer_truly();
    upload(&shop).await;
    wait_rights(&shop, "done").await;
    shop.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_was_granted_is_tried_at_once_on_request() {
    let shop = Shop::open().await;
    wait_rights(&shop, "done").await;
    let denied = Fault::Status(403);
    shop.fake().answer(&[Resource::Voided], &denied);
    upload(&shop).await;
    wait_rights(&shop, "problem").await;

    shop.fake().answer_truly();
    let before = shop.fake().count(Resource::Voided);
    let path = format!("/v1/platforms/{}/try-access", shop.world().play().id);
    let requested = shop.world().api.post(&path, &json!({})).await;
    assert_eq!(requested.status, 204, "{requested:?}");
    wait::until(SOON, "a query", async || {
        let count = shop.fake().count(Resource::Voided);
        if count > before {
            Ok(())
        } else {
            Err(format!("{count} queries"))
        }
    })
    .await;
    wait_rights(&shop, "done").await;
    shop.finish().await;
}
