//! The speed at which this machine delivers without a limit at the time of a test: the control for an expected rate,
//! which a busy machine may not reach.

use super::revisions::RevisionWriter;
use reqwest::Method;
use serde_json::json;
use std::time::Duration;
use system_tests::wait;
use system_tests::world::World;
use tokio::time::Instant;

/// Prefix of the receipt ids.
const NAME: &str = "control-";
const PURCHASES: usize = 200;
const ENOUGH: Duration = Duration::from_secs(600);

/// Returns the requests per second of the world's own destination while [`PURCHASES`] purchases are pending for it and
/// it has no rate. Each round of a test uses new purchases.
pub async fn unlimited(world: &World, round: usize) -> f64 {
    let name = format!("{NAME}{round}-");
    let path = format!("/v1/destinations/{}", world.destination_id);
    let change = async |body: serde_json::Value| {
        drop(world.api.call(Method::PATCH, &path, &body).await.ok())
    };
    let (before, known) = (
        world.receiver.count(),
        world.receiver.revisions_by_key().len(),
    );
    change(json!({ "enabled": false, "rate": null })).await;
    let receipts: Vec<String> = (0..PURCHASES)
        .map(|number| format!("{name}{number}"))
        .collect();
    RevisionWriter::of(world).await.write(&receipts, 1).await;
    change(json!({ "enabled": true })).await;
    wait::until(ENOUGH, "everything pending for the control", async || {
        // The requests are only copied when there are enough of them.
        if world.receiver.count() < before + PURCHASES {
            return Err("too few requests".to_owned());
        }
        let purchases = world.receiver.revisions_by_key().len() - known;
        if purchases >= PURCHASES {
            Ok(())
        } else {
            Err(format!("{purchases} purchases"))
        }
    })
    .await;
    let received = world.receiver.all();
    let times: Vec<Instant> = received
        .iter()
        .filter(|one| one.receipt_id().starts_with(&name))
        .map(|one| one.began)
        .collect();
    let per_second = per_second(&times);
    println!("control: {per_second:.1} requests a second without a limit");
    per_second
}

/// Returns the requests per second between the first and the last of these sorted times.
pub fn per_second(times: &[Instant]) -> f64 {
    let [first, .., last] = times else { return 0.0 };
    (times.len() - 1) as f64 / (*last - *first).as_secs_f64()
}

/// Checks that the requests at these sorted times never exceeded a rate that began at `began`. Requests sent in time
/// may arrive together on a busy machine without failing the test.
pub fn check_never_ahead(times: &[Instant], rate: usize, began: Instant) {
    /// One for the beginning, one for the rounding of a slot, and one for a probe, which needs no slot.
    const MORE: f64 = 3.0;
    for (number, time) in (1_u32..).zip(times) {
        let allowed = (*time - began).as_secs_f64() * rate as f64 + MORE;
        assert!(
            f64::from(number) <= allowed,
            "{number} requests {:?} after the beginning",
            *time - began
        );
    }
}
