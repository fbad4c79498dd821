//! A key rotation: before it, during its overlap and afterwards, every event arrives that notifications alone can
//! cause.

use domain::Timestamp;
use serde_json::json;
use std::collections::BTreeSet;
use std::path::Path;
use system_tests::clock::Clock;
use system_tests::leases::Leases;
use system_tests::sns::Rtn;
use system_tests::wait;
use system_tests::world::{SOON, Setting, World};

const HOUR_MS: i64 = 3_600_000;
const OVERLAP_HOURS: i64 = 24;
/// Window in seconds: long enough for all notifications of a receipt to arrive within it.
const WINDOW_SECONDS: u64 = 3;

/// Types of the notifications in the life of a receipt.
const TEXTS: [&str; 8] = [
    "SUBSCRIPTION_PURCHASED",
    "SUBSCRIPTION_CONVERTED_FREE_TRIAL_TO_PAID",
    "SUBSCRIPTION_MODIFIED_DEFERRED",
    "SUBSCRIPTION_AUTO_RENEWAL_OFF",
    "SUBSCRIPTION_AUTO_RENEWAL_ON",
    "SUBSCRIPTION_IN_GRACE_PERIOD",
    "SUBSCRIPTION_OUT_OF_GRACE_PERIOD",
    "SUBSCRIPTION_CANCELLED",
];
/// Type of the notification about a receipt that replaces another one.
const CHANGED: &str = "SUBSCRIPTION_MODIFIED_IMMEDIATE";
/// Events caused by these notifications. `trial.did_not_convert` is missing: it needs a store that can be queried.
pub const EVENTS: [&str; 12] = [
    "purchase.updated",
    "user.journey.trial.converted",
    "user.journey.trial.started",
    "user.subscription.cancelled",
    "user.subscription.expired",
    "user.subscription.in_grace_period",
    "user.subscription.pending_sku_change",
    "user.subscription.purchased",
    "user.subscription.renewal_in_grace_period",
    "user.subscription.renewed",
    "user.subscription.resumed",
    "user.subscription.sku_change",
];

/// All settings of a destination's signature.
pub const SIGNATURES: [&str; 3] = ["v1", "v1,v1a", "v1a"];

/// Sends every event before, during and after the overlap of a rotation, signed as `signature`, and stores the received
/// requests in the folder.
pub async fn live(folder: &Path, signature: &'static str) {
    let clock = Clock::new(api::clock::now());
    let events = vec!["purchase.updated".to_owned(), "user.*".to_owned()];
    let variables = vec![("FAILPOINTS".to_owned(), clock.fail_point())];
    let setting = Setting {
        window_seconds: WINDOW_SECONDS,
        events,
        variables,
        signature,
        ..Setting::default()
    };
    let mut world = World::start(setting).await;
    world.let_sweep_help("its clock is moved, and the times in Temporal do not move with it");
    world.receiver.keep_in(folder);
    world.receiver.ignore_time();
    send_all(&mut world, "é-before", clock.now()).await;
    let before = world.receiver.count();
    let path = format!("/v1/destinations/{}/rotate-secret", world.destination_id);
    let rotated = world
        .api
        .post(&path, &json!({ "overlap_hours": OVERLAP_HOURS }))
        .await
        .ok();
    world.receiver.trust_shown(&rotated);
    send_all(&mut world, "é-overlap", clock.now()).await;
    let overlap = world.receiver.count();
    let later = clock.now().plus_millis((OVERLAP_HOURS + 1) * HOUR_MS);
    Leases::of(&mut world)
        .between_requests(&mut world, || clock.now(), || clock.set(later))
        .await;
    send_all(&mut world, "é-after", clock.now()).await;
    for (place, request) in world.receiver.all().iter().enumerate() {
        let signed = request.headers["webhook-signature"]
            .to_str()
            .expect("a signature");
        let found: Vec<&str> = signed
            .split(' ')
            .filter_map(|one| Some(one.split_once(',')?.0))
            .collect();
        let times = if (before..overlap).contains(&place) {
            2
        } else {
            1
        };
        let expected: Vec<&str> = signature
            .split(',')
            .flat_map(|version| [version].repeat(times))
            .collect();
        assert_eq!(
            found, expected,
            "one signature for each key that signs: {request:?}"
        );
    }
    world.finish().await;
}

/// Sends all notifications of a receipt and of one that replaces it, and waits until all their events have arrived.
async fn send_all(world: &mut World, receipt_id: &str, now: Timestamp) {
    let own = format!("amzn1.account.{receipt_id}");
    for (kind, hours) in TEXTS.into_iter().zip(-10..) {
        let at = now.plus_millis(hours * HOUR_MS);
        send(
            world,
            &Rtn {
                at,
                app_user_id: own.clone(),
                ..Rtn::new(kind, receipt_id)
            },
        )
        .await;
    }
    let next = format!("{receipt_id}-next");
    let cancelled_receipt_id = Some(format!("{receipt_id}-other"));
    send(
        world,
        &Rtn {
            cancelled_receipt_id,
            app_user_id: own,
            at: now,
            ..Rtn::new(CHANGED, &next)
        },
    )
    .await;
    wait::until(
        SOON,
        &format!("every event about {receipt_id}"),
        async || {
            let received = world.receiver.all();
            let about = received
                .iter()
                .filter(|one| one.is_acked() && one.receipt_id().starts_with(receipt_id));
            let types: BTreeSet<&str> = about.map(|one| one.event_type()).collect();
            if types == BTreeSet::from(EVENTS) {
                Ok(())
            } else {
                Err(format!("{types:?}"))
            }
        },
    )
    .await;
    wait_quiet(world).await;
}

async fn send(world: &mut World, rtn: &Rtn) {
    let message = world.sns.notification(rtn);
    world.post_until_accepted(&message).await;
}

/// Waits until every delivery has ended, so that no request is signed after the next key change.
async fn wait_quiet(world: &World) {
    wait::until(SOON, "the end of all deliveries", async || {
        let open = world
            .temporal
            .list("WorkflowType = 'purchase' AND ExecutionStatus = 'Running'")
            .await;
        if open.is_empty() {
            Ok(())
        } else {
            Err(format!("{} runs are open", open.len()))
        }
    })
    .await;
}
