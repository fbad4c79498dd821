//! Erasing a customer who used devices: the devices' reports, claims and later state.

use super::claims::{snapshot, transaction};
use super::devices::{impression, report, start};
use super::erasure::{OWN_ID, STORE_ID, by, by_own_id, finish, integration, left, renew, webhook};
use super::people::{device, log_in, place};
use super::sending::{RETRY, lease, must_send, rendering};
use super::world::{World, record, secret, story};
use domain::device::{Content, Device, DeviceReceipt};
use domain::{DevicePlace, SessionId, Snapshot, TransitionKind, UserId};
use serde_json::{Value, json};
use storage::{
    ClaimAnswer, ClaimResult, ClaimStep, Claiming, CustomerKey, CustomerName, CustomerNames,
    DeviceReport, DeviceRequest, Lease, Owner, Rendered,
};
use tokio::time::Instant;
use uuid::Uuid;

/// The device's analytics ids: from the app's server, and from the device itself.
const OWN_DEVICE: &str = "tv-4711-of-anna";
const REPORTED_DEVICE: &str = "amplitude-device-of-anna";

fn described(place: DevicePlace) -> Device {
    Device {
        analytics_device_id: Some(REPORTED_DEVICE.to_owned()),
        ..device(place)
    }
}

fn receipt(receipt_id: &str, app_user_id: &str) -> DeviceReceipt {
    DeviceReceipt {
        receipt_id: receipt_id.to_owned(),
        app_user_id: Some(app_user_id.to_owned()),
    }
}

fn confirmed(now: domain::Timestamp) -> ClaimAnswer {
    ClaimAnswer::Confirmed {
        snapshot: Box::new(Snapshot {
            country: None,
            ..snapshot(now)
        }),
        customer: None,
    }
}

impl World {
    async fn sends(&self, device: Device, reports: Vec<DeviceReport>) {
        let (platform, received_at) = (self.platform.id, Instant::now());
        let sent_at = self.store.now().await.unwrap();
        let (secret, claiming, network) =
            (Some(secret(device.id)), Claiming::Stored, String::new());
        let request = DeviceRequest {
            platform,
            device,
            secret,
            sent_at,
            received_at,
            reports,
            claiming,
            network,
        };
        self.store.accept_reports(request).await.unwrap();
    }

    async fn call(&self, app_user_id: &str, names: impl Into<CustomerNames>) -> UserId {
        let owner = Owner::AppUser(app_user_id.to_owned());
        self.store
            .name_customer(self.app.id, owner, names, None)
            .await
            .unwrap()
            .user_id
    }

    fn user_of(&self, place: DevicePlace) -> String {
        let user = "SELECT COALESCE(user_id, '-') AS value FROM devices WHERE id";
        self.raw()
            .texts(&format!("{user} = '{}'", place.device))
            .remove(0)
    }
}

story! {
    async fn what_a_device_reported_before_its_logout_is_removed(world: World) {
        let (hook, here) = (webhook(&world).await, place(&world, 1));
        let anna = log_in(&world.store, here, OWN_ID).await.user_id;
        world.sends(described(here), vec![report("a", 0, start(1)), report("b", 5, impression())]).await;
        world.store.logout(here, described(here), secret(here.device)).await.unwrap();
        log_in(&world.store, here, "otto").await;
        world.sends(device(here), vec![report("c", 9, impression())]).await;
        assert_eq!(left(&world, &[OWN_ID]).len(), 2, "{:?}", left(&world, &[OWN_ID]));

        let begun = world.store.erase_customer(by_own_id(&world)).await.unwrap();
        let report = finish(&world, &begun).await;
        assert_eq!(report.counts["device_events"], 2);
        assert_eq!(left(&world, &[OWN_ID, REPORTED_DEVICE]), [""; 0]);
        let bodies: Vec<Value> = world.bodies(hook).await;
        let shown = |name: &str| bodies.iter().map(|body| body["data"][name].clone()).collect::<Vec<_>>();
        assert_eq!(shown("external_id"), [Value::Null, Value::Null, json!("otto")], "what is still pending");
        assert_eq!(shown("user_id")[..2], [json!(begun.user_id), json!(begun.user_id)], "and no more {anna}");
    }
}

story! {
    async fn what_devices_without_a_login_reported_is_removed(world: World) {
        world.call(STORE_ID, OWN_ID).await;
        let session = SessionId::new(Uuid::from_u128(77));
        let receipts = vec![receipt("r1", STORE_ID), receipt("r2", "somebody else")];
        let start = Content::SessionStart { session, receipts: Some(receipts) };
        world.sends(device(place(&world, 1)), vec![report("a", 0, start)]).await;
        // The claims are gone, because there were too many or they were refused long ago.
        world.raw().run("DELETE FROM claims");
        let begun = world.store.erase_customer(by_own_id(&world)).await.unwrap();
        finish(&world, &begun).await;
        assert_eq!(left(&world, &[OWN_ID, STORE_ID]), [""; 0]);
        assert_ne!(left(&world, &["somebody else"]), [""; 0]);
    }
}

story! {
    async fn the_ids_in_amplitude_are_removed(world: World) {
        let (numbers, here) = (integration(&world).await, place(&world, 1));
        let names = CustomerNames { external_id: OWN_ID.to_owned(), analytics_device_id: Some(OWN_DEVICE.to_owned()) };
        world.call(STORE_ID, names).await;
        log_in(&world.store, here, OWN_ID).await;
        world.sends(described(here), vec![report("a", 0, start(1))]).await;
        world.happen_to(STORE_ID, "r1", &[TransitionKind::Purchased]).await;
        let key = world.key("r1");
        let render = || rendering(|unsent| Rendered::Body(format!("{} {:?}", unsent.body, unsent.analytics_device_id)));
        let sent = must_send(&world.store, Lease { render: render(), ..lease(key, numbers, "a") }).await;
        assert!(sent.body.contains(OWN_DEVICE), "{}", sent.body);
        world.finish(&sent, RETRY).await;
        assert_eq!(left(&world, &[OWN_DEVICE, REPORTED_DEVICE]).len(), 5);

        let begun = world.store.erase_customer(by_own_id(&world)).await.unwrap();
        finish(&world, &begun).await;
        assert_eq!(left(&world, &[OWN_DEVICE, REPORTED_DEVICE, OWN_ID]), [""; 0]);
        world.pass(5_001);
        let again = must_send(&world.store, Lease { render: render(), ..lease(key, numbers, "b") }).await;
        assert!(again.body.ends_with(" None") && !again.body.contains(OWN_ID), "{}", again.body);
    }
}

/// Takes steps until the erasure reaches this stage.
async fn proceed(world: &World, begun: &storage::Erasure, until: storage::ErasureStage) {
    for _ in 0..100 {
        let report = world.store.erasure(world.app.id, begun.id).await.unwrap();
        if report.stage >= until {
            return;
        }
        world.store.continue_erasure(10).await.unwrap();
    }
    panic!("it does not reach {until:?}");
}

story! {
    async fn a_pending_claim_names_nobody_again(world: World) {
        use storage::ErasureStage::{Destinations, Events};
        for (number, until) in [(1_u128, Events), (2, Destinations)] {
            let (here, receipt) = (place(&world, number), format!("r{number}"));
            let store_id = format!("{STORE_ID}-{number}");
            let own_id = format!("{OWN_ID}-{number}");
            world.call(&store_id, &own_id).await;
            world.sends(device(here), vec![report("a", 0, transaction(&receipt, &store_id))]).await;
            world.pass(6_000);
            let key = world.key(&receipt);
            assert_eq!(world.store.examine_claim(here, key).await.unwrap(), ClaimStep::Query);
            let begun = world.store.erase_customer(by(&world, CustomerName::ExternalId(own_id.clone()))).await.unwrap();
            proceed(&world, &begun, until).await;
            let query = world.store.claim_query(here, key).await.unwrap().unwrap();
            assert_eq!(query.app_user_id.as_ref(), Some(&store_id), "the store is queried by its own id");
            let answer = confirmed(world.store.now().await.unwrap());
            let result = world.store.finish_claim(here, key, answer).await.unwrap();
            assert!(matches!(result, ClaimResult::Reported(_)), "{until:?}: {result:?}");
            assert_eq!(world.user_of(here), begun.user_id.to_string(), "{until:?}");
            let owners = world.raw().texts("SELECT app_user_id AS value FROM store_users");
            assert!(owners.iter().all(|one| one.starts_with("erased-")), "{until:?}: {owners:?}");
            finish(&world, &begun).await;
            assert_eq!(left(&world, &[&store_id, &own_id]), [""; 0], "{until:?}");
            let settled = record(key, &world.load(key).await);
            world.done(settled).await;
            assert_eq!(world.owner_of(key).await, begun.user_id);
        }
        assert_eq!(world.broken(1000).await, []);
    }
}

story! {
    async fn a_known_purchase_of_an_erased_customer_decides_a_claim(world: World) {
        let key = renew(&world, "r1", 1).await;
        let here = place(&world, 1);
        world.sends(device(here), vec![report("a", 0, transaction("r1", STORE_ID))]).await;
        world.store.erase_customer(by(&world, CustomerName::AppUser(STORE_ID.to_owned()))).await.unwrap();
        let step = world.store.examine_claim(here, key).await.unwrap();
        assert!(matches!(step, ClaimStep::Reported(_)), "{step:?}");
        let named = format!(
            "SELECT COUNT(*) AS value FROM notifications
             WHERE store_type = 'DEVICE_TRANSACTION' AND (app_user_id IS NOT NULL OR body LIKE '%{STORE_ID}%')"
        );
        assert_eq!(world.raw().number(&named), 0);
    }
}

story! {
    async fn a_login_while_names_are_removed_stays(world: World) {
        let (here, other) = (place(&world, 1), place(&world, 2));
        let anna = log_in(&world.store, here, OWN_ID).await.user_id;
        world.claim_verified(here, "r1", STORE_ID);
        let key = renew(&world, "r1", 1).await;
        log_in(&world.store, other, OWN_ID).await;
        world.store.logout(other, device(other), secret(other.device)).await.unwrap();
        log_in(&world.store, other, OWN_ID).await;

        let begun = world.store.erase_customer(by_own_id(&world)).await.unwrap();
        assert_eq!(begun.counts["devices"], 2, "at once");
        assert_eq!((world.user_of(here), world.user_of(other)), (begun.user_id.to_string(), begun.user_id.to_string()));
        let bert = log_in(&world.store, here, "bert").await.user_id;
        assert_ne!(bert, anna, "the former user is not named again");
        let revision = world.revision_of(bert);
        finish(&world, &begun).await;
        assert_eq!(world.user_of(here), bert.to_string(), "the login stays");
        let found = world.store.customer(world.app.id, CustomerKey::ExternalId("bert".to_owned())).await.unwrap();
        assert_eq!(found.user_id, bert);
        assert_eq!(world.revision_of(bert), revision);
        assert_eq!(world.store.purchase(key).await.unwrap().standing.user_id, Some(world.owner_of(key).await));
        assert_eq!(left(&world, &[OWN_ID]), [""; 0]);
        assert_eq!(world.broken(1000).await, []);
    }
}
