//! The owners of devices and purchases: logins, logouts, manual moves, and undoing them.

use super::profiling::entitlements;
use super::world::{World, is_missing, secret, story};
use domain::device::Device;
use domain::user::{TRANSFERRED_FROM, TRANSFERRED_TO, TRANSFERS};
use domain::{CollapseKey, DeviceId, DevicePlace, TransitionKind, UserId};
use serde_json::{Value, json};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use storage::{
    Author, CustomerKey, CustomerMove, Error, LoggedIn, Login, Owner, Store, Transfer,
    TransferCause,
};
use system_tests::random::Random;
use system_tests::rows;
use uuid::Uuid;

pub const PURCHASED: &[TransitionKind] = &[TransitionKind::Purchased];

pub fn place(world: &World, number: u128) -> DevicePlace {
    let id = Uuid::from_u128(0x2f0d_2ef6_3b3f_4b9c_8a64_0000_0000_0000 + number);
    DevicePlace {
        platform: world.platform.id,
        device: DeviceId::new(id),
    }
}

pub fn device(place: DevicePlace) -> Device {
    serde_json::from_value(json!({
        "id": place.device, "first_launch": "2026-11-01T08:00:00Z", "app_version": "3.1", "sdk_version": "web/1",
        "os": { "name": "fireos", "version": "8" },
    }))
    .unwrap()
}

pub fn login(place: DevicePlace, external_id: &str) -> Login {
    let (device, secret) = (device(place), secret(place.device));
    Login {
        place,
        device,
        secret,
        external_id: external_id.to_owned(),
        is_signed: false,
    }
}

pub async fn log_in(store: &Store, place: DevicePlace, external_id: &str) -> LoggedIn {
    for _ in 0..20 {
        match store.login(login(place, external_id)).await {
            Ok(user) => return user,
            Err(Error::Unavailable(_) | Error::Raced(_)) => {}
            Err(other) => panic!("{other}"),
        }
    }
    panic!("{external_id} cannot log in")
}

pub fn customer(world: &World, app_user_id: &str) -> UserId {
    UserId::anonymous(world.app.id, "amazon", app_user_id)
}

pub fn by(reason: &str) -> Author {
    Author {
        by: "anna".to_owned(),
        reason: Some(reason.to_owned()),
    }
}

impl World {
    /// Inserts a verified claim of a device, whose owner the device joins.
    pub fn claim_verified(&self, place: DevicePlace, receipt: &str, app_user_id: &str) {
        let DevicePlace { platform, device } = place;
        let claim = rows::claims(platform, device)
            .text("collapse_key", self.key(receipt))
            .text("receipt_id", receipt);
        self.raw()
            .run(&claim.text("app_user_id", app_user_id).sql("verified_at", 1));
    }

    /// Settles a customer's first purchase, which gives access; returns its key.
    pub async fn entitling(&self, app_user_id: &str, receipt: &str) -> CollapseKey {
        self.entitle("premium").await;
        self.happen_to(app_user_id, receipt, PURCHASED).await;
        self.key(receipt)
    }

    pub async fn owner_of(&self, key: CollapseKey) -> UserId {
        self.store
            .purchase(key)
            .await
            .unwrap()
            .standing
            .user_id
            .unwrap()
    }

    pub async fn name(&self, app_user_id: &str, external_id: &str) -> UserId {
        let owner = Owner::AppUser(app_user_id.to_owned());
        self.store
            .name_customer(self.app.id, owner, external_id, None)
            .await
            .unwrap()
            .user_id
    }

    async fn move_to(&self, customer: CustomerKey, to: &str) -> Result<Transfer, Error> {
        let wanted = CustomerMove {
            app: self.app.id,
            customer,
            to: to.to_owned(),
            author: by("ticket 1"),
        };
        self.store.move_customer(wanted).await
    }

    /// Returns the bodies of the transfers' events, in order.
    pub fn transfers(&self) -> Vec<Value> {
        let types = TRANSFERS.map(|name| format!("'{name}'")).join(", ");
        let bodies = self.raw().texts(&format!(
            "SELECT body AS value FROM events WHERE event_type IN ({types}) ORDER BY seq"
        ));
        bodies
            .iter()
            .map(|body| serde_json::from_str(body).unwrap())
            .collect()
    }
}

fn app_user(name: &str) -> CustomerKey {
    CustomerKey::Owner(Owner::AppUser(name.to_owned()))
}

story! {
    async fn the_first_login_names_the_devices_own_user(world: World) {
        let here = place(&world, 1);
        let anna = log_in(&world.store, here, "anna").await;
        assert_eq!((anna.user_id, anna.transfers.len()), (UserId::of_device(here, 0), 0));
        assert_eq!(log_in(&world.store, here, "anna").await, anna, "the same again changes nothing");
        let elsewhere = log_in(&world.store, place(&world, 2), "anna").await;
        assert_eq!(elsewhere.user_id, anna.user_id);
        let nobody = world.store.logout(here, device(here), secret(here.device)).await.unwrap();
        assert_eq!(nobody, UserId::of_device(here, 1));
        assert_eq!(world.store.logout(here, device(here), secret(here.device)).await.unwrap(), nobody, "nobody is logged in any more");
        let otto = log_in(&world.store, here, "otto").await;
        assert_eq!(otto.user_id, nobody);
        let bert = log_in(&world.store, here, "bert").await;
        assert_eq!(bert.user_id, UserId::of_device(here, 2), "without a logout between them");
        let unknown = DevicePlace { platform: domain::PlatformId::new(Uuid::from_u128(7)), ..here };
        assert!(is_missing(&world.store.login(login(unknown, "anna")).await.unwrap_err()));
    }
}

story! {
    async fn a_login_that_merges_an_anonymous_user_is_announced_for_both(world: World) {
        let key = world.entitling("guest", "r1").await;
        let here = place(&world, 1);
        world.store.logout(here, device(here), secret(here.device)).await.unwrap();
        world.claim_verified(here, "r1", "guest");
        let anna = log_in(&world.store, place(&world, 2), "anna").await.user_id;
        let merged = log_in(&world.store, here, "anna").await;
        assert_eq!((merged.user_id, merged.transfers.len(), world.owner_of(key).await), (anna, 1, anna));
        let all = world.transfers();
        let users: Vec<&Value> = all.iter().map(|event| &event["user_id"]).collect();
        assert_eq!(users, [&json!(customer(&world, "guest")), &json!(anna)]);
        assert_eq!([entitlements(&all[0]), entitlements(&all[1])], [vec![], vec!["premium"]]);
        let found = world.store.customer(world.app.id, CustomerKey::ExternalId("anna".to_owned())).await.unwrap();
        assert_eq!(found.app_user_ids, ["guest"]);
        world.happen_to("guest", "r1", &[TransitionKind::Renewed]).await;
        assert_eq!(world.owner_of(key).await, anna, "the next settling finds the same owner");
    }
}

story! {
    async fn a_login_transfers_what_gives_access_by_two_events(world: World) {
        let to = world.destination("hook").await.id;
        let (key, expired) = (world.entitling("shared", "r1").await, world.key("r2"));
        world.happen_to("shared", "r2", PURCHASED).await;
        world.raw().run(&format!("UPDATE purchases SET state = 'expired', purchase = '{{}}' WHERE collapse_key = '{expired}'"));
        let other = world.entitling("her own", "r3").await;
        let anna = world.name("shared", "anna").await;
        world.name("her own", "anna").await;
        world.drain(key, to).await;
        let before = world.transfers().len();
        let here = place(&world, 1);
        world.claim_verified(here, "r1", "shared");
        let otto = log_in(&world.store, here, "otto").await;
        let [moved] = &otto.transfers[..] else { panic!("{otto:?}") };
        assert_eq!(moved.announced_keys, [key]);
        assert_eq!((world.owner_of(key).await, world.owner_of(expired).await), (otto.user_id, otto.user_id));
        assert_eq!(world.owner_of(other).await, anna, "what the device has no claim of stays");
        let events = world.transfers().split_off(before);
        let [from, to_event] = &events[..] else { panic!("{events:?}") };
        assert_eq!((&from["event_type"], &to_event["event_type"]), (&json!(TRANSFERRED_FROM), &json!(TRANSFERRED_TO)));
        assert_eq!((&from["user_id"], &to_event["user_id"]), (&json!(anna), &json!(otto.user_id)));
        assert_eq!((&from["transfer_id"], &to_event["transfer_id"]), (&json!(moved.id), &json!(moved.id)));
        assert_eq!((entitlements(from), entitlements(to_event)), (vec!["premium"], vec!["premium"]), "hers gives it too");
        assert_eq!(to_event["devices"][0]["id"], json!(here.device));
        let sent = world.drain(key, to).await;
        let types: Vec<&str> = sent.iter().map(|(kind, _)| kind.as_str()).collect();
        assert_eq!(types, [TRANSFERRED_FROM, TRANSFERRED_TO, "purchase.updated"]);
        assert_eq!(sent[2].1["data"]["last_seen_external_id"], "otto");
        assert_eq!(sent[2].1["attributes"]["revision"], 2);
        let row = world.store.transfer(moved.id).await.unwrap();
        assert_eq!((row.cause, row.from, row.to, row.author), (TransferCause::Login, anna, otto.user_id, None));
        world.happen_to("shared", "r1", &[TransitionKind::Renewed]).await;
        assert_eq!(world.owner_of(key).await, otto.user_id);
    }
}

story! {
    async fn a_repeated_login_takes_nothing_back(world: World) {
        let key = world.entitling("shared", "r1").await;
        let here = place(&world, 1);
        world.claim_verified(here, "r1", "shared");
        let anna = world.name("shared", "anna").await;
        let otto = log_in(&world.store, here, "otto").await;
        let [moved] = &otto.transfers[..] else { panic!("{otto:?}") };
        world.store.undo_transfer(moved.id, by("ticket 2")).await.unwrap();
        for _ in 0..2 {
            let again = log_in(&world.store, here, "otto").await;
            assert_eq!((again.user_id, again.transfers.len()), (otto.user_id, 0));
            assert_eq!(world.owner_of(key).await, anna, "the app logs in at each start");
        }
        world.store.logout(here, device(here), secret(here.device)).await.unwrap();
        assert_eq!(log_in(&world.store, here, "otto").await.transfers.len(), 1, "a login after a logout is a new one");
    }
}

story! {
    async fn what_moved_gives_nothing_where_the_former_customer_is(world: World) {
        let key = world.entitling("shared", "r1").await;
        let (here, there) = (place(&world, 1), place(&world, 2));
        let names = async |place: DevicePlace| {
            let access = world.store.device_access(world.app.id, place, secret(place.device)).await.unwrap();
            access.entitlements.len()
        };
        for place in [here, there] {
            world.claim_verified(place, "r1", "shared");
        }
        log_in(&world.store, here, "anna").await;
        assert_eq!(names(here).await, 1);
        let otto = log_in(&world.store, there, "otto").await.user_id;
        assert_eq!((world.owner_of(key).await, names(there).await, names(here).await), (otto, 1, 0));
        world.store.logout(here, device(here), secret(here.device)).await.unwrap();
        assert_eq!(names(here).await, 1, "the store's customer is still the same on this device");
    }
}

story! {
    async fn a_logout_of_an_unknown_device_stores_nothing(world: World) {
        let here = place(&world, 1);
        assert_eq!(world.store.logout(here, device(here), secret(here.device)).await.unwrap(), UserId::of_device(here, 0));
        assert_eq!(world.count("devices"), 0);
    }
}

story! {
    async fn without_a_verified_claim_a_login_moves_nothing(world: World) {
        let key = world.entitling("shared", "r1").await;
        let anna = world.name("shared", "anna").await;
        let here = place(&world, 1);
        world.claim_verified(here, "r1", "shared");
        for status in ["pending", "refused"] {
            world.raw().run(&format!("UPDATE claims SET status = '{status}'"));
            let thief = log_in(&world.store, here, "thief").await;
            assert_eq!((thief.transfers.len(), world.owner_of(key).await), (0, anna), "{status}");
        }
    }
}

story! {
    async fn a_move_by_a_person_is_announced_and_can_be_taken_back_once(world: World) {
        let key = world.entitling("c1", "r1").await;
        let wrong = world.name("c1", "anna").await;
        let moved = world.move_to(app_user("c1"), "otto").await.unwrap();
        assert_eq!((moved.cause, moved.from, moved.author.clone()), (TransferCause::Admin, wrong, Some(by("ticket 1"))));
        assert_eq!((world.owner_of(key).await, moved.to_external_id.as_deref()), (moved.to, Some("otto")));
        let again = world.move_to(app_user("c1"), "otto").await.unwrap_err();
        assert!(again.to_string().contains("already belongs to `otto`"), "{again}");
        let back = world.store.undo_transfer(moved.id, by("by mistake")).await.unwrap();
        assert_eq!((back.cause, back.undoes, world.owner_of(key).await), (TransferCause::Undo, Some(moved.id), wrong));
        assert_eq!(world.store.transfer(moved.id).await.unwrap().undone_by, Some(back.id));
        let twice = world.store.undo_transfer(moved.id, by("by mistake")).await.unwrap_err();
        assert!(twice.to_string().contains("undone by"), "{twice}");
        let all = world.transfers();
        let users: Vec<&Value> = all.iter().map(|event| &event["user_id"]).collect();
        assert_eq!(users, [&json!(wrong), &json!(moved.to), &json!(moved.to), &json!(wrong)]);
        let held: Vec<_> = all.iter().map(|event| entitlements(event).len()).collect();
        assert_eq!(held, [0, 1, 0, 1], "each event shows its user after the whole move");
        assert!(is_missing(&world.move_to(app_user("nobody"), "otto").await.unwrap_err()));
        let listed: Vec<_> = world.store.transfers(wrong).await.unwrap().iter().map(|one| one.id).collect();
        assert_eq!(BTreeSet::from_iter(listed), BTreeSet::from([moved.id, back.id]));
    }
}

story! {
    async fn a_transfer_whose_customer_moved_on_is_not_taken_back(world: World) {
        world.entitling("c1", "r1").await;
        world.name("c1", "anna").await;
        let first = world.move_to(app_user("c1"), "otto").await.unwrap();
        world.move_to(CustomerKey::ExternalId("otto".to_owned()), "bert").await.unwrap();
        let refused = world.store.undo_transfer(first.id, by("late")).await.unwrap_err();
        assert!(refused.to_string().contains("has since moved again"), "{refused}");
    }
}

story! {
    async fn a_join_by_a_name_is_announced_for_both_users(world: World) {
        let key = world.entitling("guest", "r1").await;
        let anna = world.name("anna's", "anna").await;
        assert_eq!(world.name("guest", "anna").await, anna);
        let all = world.transfers();
        let users: Vec<&Value> = all.iter().map(|event| &event["user_id"]).collect();
        assert_eq!(users, [&json!(customer(&world, "guest")), &json!(anna)]);
        assert_eq!(world.owner_of(key).await, anna);
    }
}

/// Checks repeatedly until the logins have finished: the purchases of a store customer have one owner and, from their
/// first move on, exactly one user has the entitlement according to the users' newest events.
async fn watch(world: &World, are_finished: &Cell<bool>) -> u32 {
    let mut checks = 0;
    while !are_finished.get() {
        let owners = world
            .raw()
            .number("SELECT COUNT(DISTINCT user_id) AS value FROM purchases");
        let mut held = BTreeMap::new();
        for event in world.transfers() {
            held.insert(event["user_id"].to_string(), entitlements(&event).len());
        }
        assert_eq!(owners, 1, "the purchases of one customer of the store");
        assert!(
            held.is_empty() || held.values().sum::<usize>() == 1,
            "{held:?}"
        );
        checks += 1;
        tokio::task::yield_now().await;
    }
    checks
}

story! {
    async fn logins_at_once_give_each_entitlement_to_one_user(world: World) {
        let second = world.second_process().await;
        let mut keys = Vec::new();
        for number in 0..3 {
            keys.push(world.entitling("shared", &format!("r{number}")).await);
            for device in 0..3 {
                world.claim_verified(place(&world, device), &format!("r{number}"), "shared");
            }
        }
        let seed = Random::seed(13);
        let (mut random, are_finished) = (Random::new(seed), Cell::new(false));
        let logins = async {
            for round in 0..12 {
                // One name on two devices, two names on one device, or two independent logins.
                let mut draw = || (place(&world, random.below(3).into()), format!("customer {}", random.below(3)));
                let ((here, one), (there, other)) = (draw(), draw());
                for place in BTreeSet::from([here, there]) {
                    world.store.logout(place, device(place), secret(place.device)).await.unwrap();
                }
                let both = tokio::join!(log_in(&world.store, here, &one), log_in(&second, there, &other));
                let owner = world.owner_of(keys[0]).await;
                assert!([both.0.user_id, both.1.user_id].contains(&owner), "seed {seed}, round {round}: {both:?}");
            }
            are_finished.set(true);
        };
        let ((), checks) = tokio::join!(logins, watch(&world, &are_finished));
        assert!(checks > 12, "it was checked {checks} times");
    }
}
