//! What the added store signs in its notifications: checks need neither a request nor a credential for it.

use super::{CUSTOMER, PACKAGE, PURCHASE, Proof, Shared, in_days, shown, start};
use serde_json::{Value, json};
use system_tests::decoded;
use system_tests::process::Backend;
use system_tests::wait;
use system_tests::world::SOON;

impl Proof {
    /// Sends a message with what the store signed about the purchase.
    async fn send_signed(&self, happened: &str, at_ms: i64, signed: &Value) {
        let body = json!({
            "id": format!("{PURCHASE}-{happened}-{at_ms}"), "package": PACKAGE, "purchase": PURCHASE,
            "happened": happened, "at_ms": at_ms, "signed": signed,
        });
        assert_eq!(self.post(&body, "genuine").await, 204);
    }
}

/// Returns what the store signs about the purchase.
fn signed(signed_ms: i64, expired_ms: Option<i64>) -> Value {
    json!({
        "signed_ms": signed_ms,
        "purchase": {
            "order": "order-1", "customer": CUSTOMER, "sku": "monthly", "began_ms": 1_700_000_000_000_i64,
            "expired_ms": expired_ms,
        },
        "order": { "country": "DE", "paid_until_ms": in_days(20) },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_store_signed_settles_without_a_credential() {
    let shared = Shared::default();
    let world = start(Backend::Sqlite, &shared).await;
    let proof = Proof::with(&world, &json!({})).await;
    let bought = signed(in_days(0), None);
    proof
        .send_signed("BOUGHT", 1_700_000_000_000, &bought)
        .await;
    let active = proof.wait_state("active").await;
    assert_eq!(active["app_user_id"], CUSTOMER);
    let over = signed(in_days(0), Some(in_days(-1)));
    proof.send_signed("ENDED", in_days(-1), &over).await;
    proof.wait_state("expired").await;
    let requests = {
        let shown = shown(&shared);
        (shown.issued, shown.refused, shown.orders)
    };
    assert_eq!(requests, (0, 0, 0));
    for (name, history) in &decoded::histories(&world).await {
        let history = String::from_utf8_lossy(history);
        assert!(!history.contains(CUSTOMER), "the customer is in {name}");
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_store_signed_settles_after_a_refused_credential() {
    let shared = Shared::default();
    let mut world = start(Backend::Sqlite, &shared).await;
    world.let_sweep_help("a refused credential rechecks the platform's purchases");
    let proof = Proof::with(&world, &json!({ "shared_secret": "refused" })).await;
    assert_eq!(
        proof.send("BOUGHT", 1_700_000_000_000, "genuine").await,
        204
    );
    let path = format!("/v1/platforms/{}", proof.id);
    wait::until(SOON, "the refusal", async || {
        let platform = world.api.try_get(&path).await?.body;
        let is_refused = platform["verification"]["state"] == "refused";
        is_refused.then_some(()).ok_or(platform.to_string())
    })
    .await;
    let over = signed(in_days(0), Some(in_days(-1)));
    proof.send_signed("ENDED", in_days(-1), &over).await;
    let expired = proof.wait_state("expired").await;
    assert_eq!(expired["app_user_id"], CUSTOMER);
    assert_eq!(shown(&shared).orders, 0);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_names_the_fact_that_a_duplicate_repeats() {
    let shared = Shared::default();
    let world = start(Backend::Sqlite, &shared).await;
    let proof = Proof::with(&world, &json!({})).await;
    // Two payments at one time, and another message about the first one.
    for (id, fact, is_duplicate) in [
        ("message-1", "payment-1", false),
        ("message-2", "payment-2", false),
        ("message-3", "payment-1", true),
    ] {
        let body = json!({
            "id": id, "package": PACKAGE, "purchase": PURCHASE, "happened": "PAID", "at_ms": 1_700_000_000_000_i64,
            "fact": fact, "signed": signed(in_days(0), None),
        });
        assert_eq!(proof.post(&body, "genuine").await, 204);
        let path = format!("/v1/notifications/{id}");
        let stored = world.api.get(&path).await.ok();
        let outcome = &stored["notifications"][0]["outcome"];
        assert_eq!(outcome == "duplicate", is_duplicate, "{stored}");
    }
    proof.wait_state("active").await;
    world.finish().await;
}
