//! The check after the measurement: every acknowledged notification is settled, and the receiver has the newest
//! revision of every purchase.

use domain::PlatformId;
use std::time::Duration;
use system_tests::wait;
use system_tests::world::World;
use tokio::time::Instant;

/// Approximate number of messages whose outcome is checked.
const SAMPLE: usize = 500;
/// Time limit for settling all purchases after the window: Temporal's dev server settles tens per second.
const DRAIN: Duration = Duration::from_secs(900);

/// Waits until everything of a platform is settled and received, and checks it.
pub async fn check(
    world: &mut World,
    platform: PlatformId,
    sent: &[String],
    purchases: usize,
    window: Duration,
) {
    let expected = purchases.min(sent.len());
    eprintln!(
        "{} acknowledged; waiting for {expected} purchases to be settled and received …",
        sent.len()
    );
    let began = Instant::now();
    wait::until(
        window + DRAIN,
        "every purchase to be received in its newest revision",
        async || {
            let received = world.receiver.revisions_by_key();
            if received.len() < expected {
                return Err(format!(
                    "{} of {expected} purchases received",
                    received.len()
                ));
            }
            let known = world
                .api
                .all(&format!("/v1/purchases?platform_id={platform}"))
                .await;
            let behind = known
                .iter()
                .filter(|purchase| {
                    let newest = purchase["collapse_key"]
                        .as_str()
                        .and_then(|key| received.get(key))
                        .and_then(|all| all.iter().max());
                    newest != purchase["revision"].as_i64().as_ref()
                })
                .count();
            if behind == 0 && known.len() == expected {
                Ok(())
            } else {
                Err(format!("{behind} of {} behind", known.len()))
            }
        },
    )
    .await;
    let step = (sent.len() / SAMPLE).max(1);
    for message_id in sent.iter().step_by(step) {
        wait::until(DRAIN, "an outcome", async || {
            let answer = world
                .api
                .try_get(&format!("/v1/notifications/{message_id}"))
                .await?;
            let outcome = &answer.body["notifications"][0]["outcome"];
            if outcome == "settled" {
                Ok(())
            } else {
                Err(format!("{message_id}: {}", answer.body))
            }
        })
        .await;
    }
    world.receiver.check();
    println!(
        "settled and received: {expected} purchases, {:.0} s after the last message",
        began.elapsed().as_secs_f64()
    );
}
