//! A database that is restored from a backup while a run is open: lost events are announced again under other ids, and
//! the run ends.

use serde_json::json;
use std::collections::BTreeSet;
use system_tests::backup::Backup;
use system_tests::receiver::Reply;
use system_tests::sns::Rtn;
use system_tests::wait;
use system_tests::world::{SOON, Setting, World};
use workflows::contract;

const RECEIPT: &str = "restored";

/// Waits until an attempt has failed and the run waits for the next one.
async fn wait_backing_off(world: &World) {
    let workflow = world.workflow(RECEIPT);
    wait::until(SOON, "a delivery that backs off", async || {
        let pending = world.temporal.pending_activities(&workflow).await;
        let is_waiting = pending
            .iter()
            .any(|one| one.attempt >= 2 && one.last_failure.is_some());
        if is_waiting {
            Ok(())
        } else {
            Err(format!("{pending:?}"))
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_backup_uses_no_id_for_two_bodies() {
    let mut world = World::start(Setting {
        window_seconds: 1,
        ..Setting::default()
    })
    .await;
    world.send("SUBSCRIPTION_PURCHASED", RECEIPT).await;
    world.wait_acked(RECEIPT, 1).await;
    world.wait_asleep(RECEIPT).await;
    world.kill9();
    let backup = Backup::of(&world.installation);
    world.restart().await;

    // Revision 2, which the backup lacks. It was sent, and the run that retries it is open.
    world.receiver.answer(Reply::Status(500));
    // The store reports it as later than the renewal below, so that it changes the state both before and after the
    // restore.
    let lost = world
        .sns
        .notification(&Rtn::new("SUBSCRIPTION_AUTO_RENEWAL_OFF", RECEIPT).later(600_000));
    assert_eq!(world.post(&lost).await.expect("an answer").status, 200);
    wait_backing_off(&world).await;
    world.kill9();
    backup.restore(&world.installation).expect("restored files");
    let raised = world.installation.call(&["migrate", "--raise-epoch"]);
    let printed = String::from_utf8_lossy(&raised.stdout);
    assert!(
        raised.status.success() && printed.contains("Raised the epoch from 1 to "),
        "{raised:?}"
    );
    world.receiver.answer(Reply::Status(200));
    world.restart().await;
    // Read from the list, which queries no run: a worker that has just started answers queries before it handles
    // pending signals.
    let restored = world
        .api
        .all(&format!("/v1/purchases?receipt_id={RECEIPT}"))
        .await;
    assert_eq!(
        restored
            .iter()
            .map(|one| &one["revision"])
            .collect::<Vec<_>>(),
        [1],
        "the backup"
    );

    // The open run has a delivery that `deliver` no longer finds.
    let now = json!({ "by": "tests", "reason": "it is restored" });
    let workflow = world.workflow(RECEIPT);
    world
        .temporal
        .signal(&workflow, contract::CANCEL_BACKOFF, &now)
        .await
        .expect("an open run");
    world.wait_asleep(RECEIPT).await;

    // Another revision 2, and the lost notification, once it is sent again.
    world.send("SUBSCRIPTION_RENEWED", RECEIPT).await;
    world.wait_acked(RECEIPT, 2).await;
    assert_eq!(world.post(&lost).await.expect("an answer").status, 200);
    world.wait_acked(RECEIPT, 3).await;
    let received = world.receiver.about(&world.key(RECEIPT).to_string());
    let second = received.iter().filter(|one| one.revision() == 2);
    let (ids, bodies): (BTreeSet<_>, BTreeSet<_>) =
        second.map(|one| (&one.webhook_id, &one.raw)).unzip();
    assert_eq!((ids.len(), bodies.len()), (2, 2), "{received:?}");
    world.finish().await;
}
