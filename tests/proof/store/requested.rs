//! A test notification that the store sends on request: declined, accepted, and arrived.

use super::{Proof, Shared, check, in_days, shown, start};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use system_tests::process::Backend;
use system_tests::wait;
use system_tests::world::SOON;

/// Accepts a request for a test, except the first one.
pub(super) async fn test(
    State(shared): State<Shared>,
    headers: HeaderMap,
) -> Result<Json<Value>, StatusCode> {
    let mut shown = shown(&shared);
    check(&headers, &mut shown)?;
    shown.tests += 1;
    if shown.tests == 1 {
        return Err(StatusCode::CONFLICT);
    }
    Ok(Json(json!({ "test": shown.tests })))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_of_the_store_is_requested_and_arrives() {
    let shared = Shared::default();
    let world = start(Backend::Sqlite, &shared).await;
    let proof = Proof::new(&world).await;
    let request = async || {
        let path = format!("/v1/platforms/{}/test", proof.id);
        world.api.post(&path, &json!({})).await.status
    };
    let step = async |what: &str, state: &str, last: &str| {
        let path = format!("/v1/platforms/{}/steps", proof.id);
        wait::until(SOON, what, async || {
            let step = world.api.try_get(&path).await?.body["items"][0].clone();
            if (&step["state"], &step["last_seen"]) == (&json!(state), &json!(last)) {
                Ok(step)
            } else {
                Err(step.to_string())
            }
        })
        .await
    };
    assert_eq!(request().await, 202);
    let last = "The store sends no test notification";
    let declined = step("a declined request", "problem", last).await;
    assert_eq!(
        declined["next"],
        "The proof store has no URL: enter it there."
    );

    assert_eq!(request().await, 202);
    let last = "A test notification was requested, and has not arrived yet";
    step("an accepted request", "open", last).await;
    assert_eq!(shown(&shared).tests, 2);
    assert_eq!(proof.send("TEST", in_days(0), "genuine").await, 204);
    step("the test", "done", "A test notification was accepted").await;
    world.finish().await;
}
