//! The effects of erasing a customer on others: receivers are informed, other apps and customers are not affected, and
//! concurrent calls that name or move the customer are handled.

use super::erasure::{OWN_ID, STORE_ID, by, by_own_id, finish, left, renew, webhook};
use super::people::{log_in, place};
use super::sending::{RETRY, lease, must_send};
use super::store_credentials::another_store;
use super::world::{Raw, Report, World, happened, new_platform, record, reported, story};
use domain::user::{TRANSFERRED_FROM, USER_ERASED};
use domain::{CollapseKey, Environment, NotificationKind, TransitionKind, UserId};
use serde_json::Value;
use storage::{
    Author, CustomerKey, CustomerMove, CustomerName, ErasureStage, Error, Filter, Owner, Page,
};

fn author(reason: &str) -> Author {
    Author {
        by: OWN_ID.to_owned(),
        reason: Some(reason.to_owned()),
    }
}

/// Returns the destinations for which a `user.erased` was queued, each with the event's body.
fn informed(world: &World) -> Vec<(String, String)> {
    let rows = world.raw().texts(&format!(
        "SELECT d.destination_id || ' ' || e.body AS value FROM deliveries d JOIN events e ON e.id = d.event_id
         WHERE e.event_type = '{USER_ERASED}' ORDER BY d.seq"
    ));
    let read = |row: &String| {
        let (destination, body) = row.split_once(' ').unwrap();
        let body: Value = serde_json::from_str(body).unwrap();
        (
            destination.to_owned(),
            body["user_id"].as_str().unwrap().to_owned(),
        )
    };
    rows.iter().map(read).collect()
}

async fn name(world: &World, app_user_id: &str, external_id: &str) -> UserId {
    let owner = Owner::AppUser(app_user_id.to_owned());
    world
        .store
        .name_customer(world.app.id, owner, external_id, None)
        .await
        .unwrap()
        .user_id
}

story! {
    async fn a_webhook_for_one_environment_is_informed_too(world: World) {
        let (all, production) = (webhook(&world).await, webhook_named(&world, "production").await);
        let only = Filter { environments: vec![Environment::Production], ..Filter::default() };
        world.alter(production, move |common| common.filter = only.clone()).await;
        let elsewhere = webhook_named(&world, "another platform").await;
        let other = world.store.new_platform(new_platform(&world.app, "other")).await.unwrap();
        let only = Filter { platforms: vec![other.id], ..Filter::default() };
        world.alter(elsewhere, move |common| common.filter = only.clone()).await;
        let mut keys = [renew(&world, "r1", 1).await, renew(&world, "r2", 2).await];
        keys.sort_unstable();
        world.set_environment(keys[0], "sandbox");
        let begun = world.store.erase_customer(by(&world, CustomerName::AppUser(STORE_ID.to_owned()))).await.unwrap();
        finish(&world, &begun).await;
        let user = UserId::anonymous(world.app.id, "amazon", STORE_ID).to_string();
        let informed = informed(&world);
        let about = |to: domain::DestinationId| informed.iter().filter(|one| **one == (to.to_string(), user.clone())).count();
        assert_eq!((about(all), about(production), about(elsewhere)), (2, 1, 1), "{informed:?}");
        assert_eq!(informed.len(), 4);
        world.set_environment(keys[0], "production");
        assert_eq!(world.broken(1000).await, []);
    }
}

story! {
    async fn the_same_id_in_another_store_is_left_alone(world: World) {
        let second = another_store(&world).await;
        let here = renew(&world, "r1", 1).await;
        let report = Report { kind: NotificationKind::Renewed, customer: Some(STORE_ID), related: None };
        world.accept(reported(second, "elsewhere", "r2", 2000, report)).await;
        let there = CollapseKey::of(second, "r2");
        world.done(happened(record(there, &world.load(there).await), &[TransitionKind::Renewed])).await;
        let of_store = |store: &str| CustomerName::of_store(Some(store.to_owned()), STORE_ID.to_owned());
        let erase = async |name: CustomerName| world.store.erase_customer(by(&world, name)).await;
        let unclear = erase(CustomerName::AppUser(STORE_ID.to_owned())).await;
        assert!(matches!(unclear, Err(Error::WrongStore(stores)) if stores == ["amazon", "proof"]));

        let begun = erase(of_store("proof")).await.unwrap();
        finish(&world, &begun).await;
        let customer = |key: CollapseKey| {
            let select = format!("SELECT app_user_id AS value FROM purchases WHERE collapse_key = '{key}'");
            world.raw().texts(&select).remove(0)
        };
        assert_eq!(customer(here), STORE_ID);
        assert!(customer(there).starts_with("erased-"), "{}", customer(there));
        let state = world.store.customer_state(world.app.id, of_store("amazon"), Environment::Production);
        assert_eq!(state.await.unwrap().app_user_ids, [STORE_ID]);

        let other = erase(of_store("amazon")).await.unwrap();
        finish(&world, &other).await;
        assert_ne!(other.id, begun.id);
        for (store, report) in [("proof", begun), ("amazon", other)] {
            assert_eq!(erase(of_store(store)).await.unwrap().id, report.id, "a repeated request for {store}");
        }
        assert_eq!(left(&world, &[STORE_ID]), [""; 0]);
    }
}

async fn webhook_named(world: &World, name: &str) -> domain::DestinationId {
    let hook = world.destination(name).await;
    world
        .alter(hook.id, |common| {
            common.events = vec!["*".to_owned(), USER_ERASED.to_owned()]
        })
        .await
        .id
}

story! {
    async fn a_customer_without_purchases_is_announced_too(world: World) {
        let hook = webhook(&world).await;
        let here = place(&world, 1);
        let anna = log_in(&world.store, here, OWN_ID).await.user_id;
        let begun = world.store.erase_customer(by_own_id(&world)).await.unwrap();
        finish(&world, &begun).await;
        assert_eq!(informed(&world), [(hook.to_string(), anna.to_string())]);
        let lane = world.raw().texts("SELECT collapse_key AS value FROM deliveries").remove(0);
        let lane: CollapseKey = lane.parse().unwrap();
        let sent = must_send(&world.store, lease(lane, hook, "a")).await;
        assert!(sent.body.contains(USER_ERASED) && sent.body.contains(&anna.to_string()), "{}", sent.body);
        world.finish(&sent, storage::Verdict::Delivered).await;
        assert_eq!(world.broken(1000).await, []);
    }
}

story! {
    async fn users_who_became_the_customer_are_announced_too(world: World) {
        let hook = webhook(&world).await;
        world.happen_to("second id", "r2", &[TransitionKind::Purchased]).await;
        renew(&world, "r1", 1).await;
        let anna = name(&world, STORE_ID, OWN_ID).await;
        name(&world, "second id", OWN_ID).await;
        world.happen_to("second id", "r2", &[TransitionKind::Renewed]).await;
        world.store.erase_customer(by_own_id(&world)).await.unwrap();
        let mut about: Vec<_> = informed(&world).into_iter().filter(|(to, _)| *to == hook.to_string()).collect();
        about.sort();
        let guest = UserId::anonymous(world.app.id, "amazon", "second id");
        let mut wanted = vec![(hook.to_string(), anna.to_string()), (hook.to_string(), guest.to_string())];
        wanted.sort();
        assert_eq!(about, wanted);
    }
}

story! {
    async fn a_former_owner_of_a_store_customer_is_left_alone(world: World) {
        let key = world.entitling("shared", "r1").await;
        let otto = name(&world, "shared", "otto").await;
        world.entitling("otto's own", "r2").await;
        name(&world, "otto's own", "otto").await;
        world.happen_to("otto's own", "r2", &[TransitionKind::Renewed]).await;
        let there = place(&world, 2);
        assert_eq!(log_in(&world.store, there, "otto").await.user_id, otto);
        let here = place(&world, 1);
        world.claim_verified(here, "r1", "shared");
        let anna = log_in(&world.store, here, OWN_ID).await.user_id;
        assert_eq!((world.owner_of(key).await, otto), (anna, UserId::anonymous(world.app.id, "amazon", "shared")));
        let revision = world.revision_of(otto);
        let events = format!("SELECT COUNT(*) AS value FROM events WHERE user_id = '{otto}'");
        let events_before = world.raw().number(&events);
        let begun = world.store.erase_customer(by_own_id(&world)).await.unwrap();
        finish(&world, &begun).await;
        assert_eq!(world.revision_of(otto), revision);
        assert_eq!(world.raw().number(&events), events_before, "his events stay his");
        let devices = world.raw().texts(&format!("SELECT user_id AS value FROM devices WHERE id = '{}'", there.device));
        assert_eq!(devices, [otto.to_string()], "and his devices");
        assert_eq!(left(&world, &[OWN_ID]), [""; 0]);
        assert_eq!(world.broken(1000).await, []);
    }
}

story! {
    async fn a_body_in_a_lane_of_another_customer_is_rendered_anew(world: World) {
        let to = world.destination("hook").await.id;
        let key = world.entitling("shared", "r1").await;
        name(&world, "shared", OWN_ID).await;
        world.drain(key, to).await;
        let here = place(&world, 1);
        world.claim_verified(here, "r1", "shared");
        let otto = log_in(&world.store, here, "otto").await.user_id;
        let former = async || {
            let transfers = world.store.transfers(otto).await.unwrap();
            let [one] = transfers.as_slice() else { panic!("{transfers:?}") };
            (one.from_external_id.clone(), one.is_from_erased)
        };
        assert_eq!(former().await, (Some(OWN_ID.to_owned()), false));
        let frozen = must_send(&world.store, lease(key, to, "frozen")).await;
        assert!(frozen.body.contains(TRANSFERRED_FROM) && frozen.body.contains(OWN_ID), "{}", frozen.body);
        world.finish(&frozen, RETRY).await;
        let begun = world.store.erase_customer(by_own_id(&world)).await.unwrap();
        finish(&world, &begun).await;
        assert_eq!(left(&world, &[OWN_ID]), [""; 0]);
        assert!(left(&world, &["otto"]).len() > 1);
        assert_eq!(former().await, (None, true), "no customer who never had a login");
    }
}

story! {
    async fn tombstones_do_not_leave_in_transfers(world: World) {
        let key = world.entitling(STORE_ID, "r1").await;
        let begun = world.store.erase_customer(by(&world, CustomerName::AppUser(STORE_ID.to_owned()))).await.unwrap();
        finish(&world, &begun).await;
        let customer = CustomerKey::Owner(Owner::Receipt("r1".to_owned()));
        let wanted = CustomerMove { app: world.app.id, customer, to: "otto".to_owned(), author: author("ticket 1") };
        world.store.move_customer(wanted).await.unwrap();
        let moved = format!("SELECT body AS value FROM events WHERE event_type = '{TRANSFERRED_FROM}'");
        let moved = world.raw().texts(&moved);
        assert_eq!(moved.len(), 1);
        assert!(!moved[0].contains("erased-"), "{}", moved[0]);
        assert_eq!(world.owner_of(key).await.to_string(), world.raw().texts("SELECT id AS value FROM users WHERE external_id = 'otto'")[0]);
    }
}

story! {
    async fn texts_of_people_that_name_the_customer_are_dropped(world: World) {
        let key = world.entitling(STORE_ID, "r1").await;
        let other = world.entitling("another", "r2").await;
        name(&world, STORE_ID, OWN_ID).await;
        let customer = CustomerKey::Owner(Owner::AppUser("another".to_owned()));
        let wanted = CustomerMove { app: world.app.id, customer, to: OWN_ID.to_owned(), author: author("of anna") };
        world.store.move_customer(wanted).await.unwrap();
        let until = world.store.now().await.unwrap().plus_millis(3_600_000);
        world.store.hold(key, until, OWN_ID, &format!("{STORE_ID} is odd")).await.unwrap();
        world.store.hold(other, until, "support", "ticket 3").await.unwrap();
        let begun = world.store.erase_customer(by_own_id(&world)).await.unwrap();
        finish(&world, &begun).await;
        assert_eq!(left(&world, &[OWN_ID, STORE_ID]), [""; 0]);
        assert!(left(&world, &["ticket 3"]).len() == 1 && left(&world, &["of anna"]).len() == 1);
    }
}

story! {
    async fn other_apps_and_longer_names_are_left_alone(world: World) {
        // Not only digits: replacement names are hexadecimal, and could end with them.
        let store_id = "4z";
        let app = world.store.new_app("Other").await.unwrap();
        let elsewhere = world.store.new_platform(new_platform(&app, "elsewhere")).await.unwrap().id;
        let notification = |platform, message, receipt, customer| {
            let report = Report { kind: NotificationKind::Renewed, customer: Some(customer), related: None };
            reported(platform, message, receipt, 1000, report)
        };
        world.accept(notification(elsewhere, "m1", "r1", store_id)).await;
        world.accept(notification(world.platform.id, "m2", "r2", store_id)).await;
        world.accept(notification(world.platform.id, "m3", "r3", "u-4z")).await;
        name(&world, store_id, "anna").await;
        name(&world, "u-4z", "anna").await;
        let here = world.platform.id;
        for (platform, detail) in [
            (Some(here), "customer 4z is odd"),
            (Some(here), "after 14z3 failures"),
            (Some(elsewhere), "customer 4z is odd"),
            (None, "anna is odd"),
            (None, "annabel is odd"),
        ] {
            world.store.alarm(platform, "odd", detail).await.unwrap();
        }
        let begun = world.store.erase_customer(by(&world, CustomerName::ExternalId("anna".to_owned()))).await.unwrap();
        let open = "SELECT receipt_id || ' ' || CASE WHEN app_user_id LIKE 'erased-%' AND body NOT LIKE '%4z\"%'
            THEN 'erased' ELSE app_user_id END AS value FROM notifications ORDER BY receipt_id";
        assert_eq!(world.raw().texts(open), ["r1 4z", "r2 erased", "r3 erased"]);
        finish(&world, &begun).await;
        let alarms = world.store.alarms(Page::default()).await.unwrap().items;
        let mut alarms: Vec<_> = alarms.iter().map(|alarm| (alarm.platform_id, alarm.detail.as_str())).collect();
        alarms.sort();
        let removed = "the text was removed: it named a customer who is erased";
        let mut wanted = [
            (Some(here), removed),
            (Some(here), "after 14z3 failures"),
            (Some(elsewhere), "customer 4z is odd"),
            (None, removed),
            (None, "annabel is odd"),
        ];
        wanted.sort();
        assert_eq!(alarms, wanted);
    }
}

/// Begins a transaction that locks a user, and returns its connection; `None` on SQLite.
fn lock_user(world: &World, user: UserId) -> Option<Raw> {
    let mut raw = world.raw();
    if !world.is_postgres() {
        return None;
    }
    raw.run(&format!(
        "BEGIN; SELECT 1 FROM users WHERE id = '{user}' FOR UPDATE"
    ));
    Some(raw)
}

/// Checks an erasure by this name that waits for the lock of one of the two users while a login makes the guest the
/// customer: it then erases everything that belongs to the customer by that time; on PostgreSQL only.
async fn merge_meanwhile(world: &World, by_name: CustomerName, is_guest_locked: bool) {
    renew(world, "r1", 1).await;
    let anna = name(world, STORE_ID, OWN_ID).await;
    world
        .happen_to("the guest", "r2", &[TransitionKind::Purchased])
        .await;
    let guest = UserId::anonymous(world.app.id, "amazon", "the guest");
    let Some(mut raw) = lock_user(world, if is_guest_locked { guest } else { anna }) else {
        return;
    };
    let (store, erase) = (world.second_process().await, by(world, by_name));
    let erasure = tokio::spawn(async move { store.erase_customer(erase).await });
    world.wait_for_locks(1).await;
    raw.run(&format!(
        "UPDATE store_users SET user_id = '{anna}' WHERE user_id = '{guest}';
         UPDATE purchases SET user_id = '{anna}' WHERE user_id = '{guest}'; COMMIT"
    ));
    let begun = erasure.await.unwrap().unwrap();
    assert_eq!(
        (begun.counts["store_users"], begun.counts["purchases"]),
        (2, 2)
    );
    finish(world, &begun).await;
    assert_eq!(left(world, &[STORE_ID, OWN_ID, "the guest"]), [""; 0]);
    assert_eq!(world.broken(1000).await, []);
}

story! {
    async fn a_merge_into_the_customer_at_the_same_moment_is_seen(world: World) {
        merge_meanwhile(&world, CustomerName::ExternalId(OWN_ID.to_owned()), false).await;
    }
}

story! {
    async fn a_merge_of_the_customer_at_the_same_moment_is_seen(world: World) {
        merge_meanwhile(&world, CustomerName::AppUser("the guest".to_owned()), true).await;
    }
}

story! {
    async fn what_waits_to_be_sent_comes_first(world: World) {
        renew(&world, "r1", 1).await;
        webhook(&world).await;
        let begun = world.store.erase_customer(by(&world, CustomerName::AppUser(STORE_ID.to_owned()))).await.unwrap();
        let mut seen = vec![begun.stage];
        while world.store.continue_erasure(1000).await.unwrap() {
            seen.push(world.store.erasure(world.app.id, begun.id).await.unwrap().stage);
        }
        assert!(seen.is_sorted() && seen.last() == Some(&ErasureStage::Done), "{seen:?}");
        let sent = seen.iter().position(|stage| *stage == ErasureStage::DeviceEvents);
        let rest = seen.iter().position(|stage| *stage == ErasureStage::Notifications);
        assert!(sent < rest, "what waits to be sent comes first");
    }
}
