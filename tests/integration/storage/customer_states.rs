//! The entitlements of a customer and a device: now, and as announced up to a time.

use super::environments::{buy, list, sandbox};
use super::store_credentials::another_store;
use super::world::{Report, World, happened, is_missing, record, reported, secret, story};
use domain::{
    CollapseKey, DeviceId, DevicePlace, Environment, NotificationKind, PlatformId, Timestamp,
    TransitionKind, UserId,
};
use storage::{
    AnnouncementStatus, CustomerName, CustomerStatus, Error, EventFilter, Owner, Page, Past,
    PurchaseFilter,
};
use system_tests::rows;
use uuid::Uuid;

const PRODUCTION: Environment = Environment::Production;

fn app_user(name: &str) -> CustomerName {
    CustomerName::AppUser(name.to_owned())
}

fn external(name: &str) -> CustomerName {
    CustomerName::ExternalId(name.to_owned())
}

/// Returns the names of the active entitlements; `None` if the state is unknown.
fn names(standing: &CustomerStatus) -> Option<Vec<&str>> {
    let state = standing.state.as_ref()?;
    Some(
        state
            .active_entitlements
            .iter()
            .map(|one| one.entitlement_ref_id.as_str())
            .collect(),
    )
}

fn keys(standing: &CustomerStatus) -> Vec<CollapseKey> {
    standing
        .purchases
        .iter()
        .map(|one| one.collapse_key)
        .collect()
}

async fn now(world: &World, name: CustomerName) -> CustomerStatus {
    world
        .store
        .customer_state(world.app.id, name, PRODUCTION)
        .await
        .unwrap()
}

async fn then(world: &World, name: CustomerName, at: Timestamp) -> CustomerStatus {
    let seen = Past {
        at,
        environment: PRODUCTION,
    };
    world
        .store
        .customer_state_at(world.app.id, name, seen, Page::default())
        .await
        .unwrap()
}

/// Returns when the newest event was recorded.
async fn newest(world: &World) -> Timestamp {
    world
        .store
        .events(EventFilter::default(), Page::default())
        .await
        .unwrap()
        .items[0]
        .created_at
}

/// Buys as a customer of the store; returns when the purchase was announced.
async fn bought_by(world: &World, receipt: &str, customer: &str, number: i64) -> Timestamp {
    bought_on(world, world.platform.id, receipt, customer, number).await
}

/// A customer of the platform's store buys; returns when that was announced.
async fn bought_on(
    world: &World,
    platform: PlatformId,
    receipt: &str,
    customer: &str,
    number: i64,
) -> Timestamp {
    // PostgreSQL has a clock of its own.
    if !world.is_postgres() {
        world.pass(1000);
    }
    let kind = NotificationKind::Renewed;
    let report = Report {
        kind,
        customer: Some(customer),
        related: None,
    };
    let message = format!("{receipt}-{number}");
    world
        .accept(reported(platform, &message, receipt, number * 1000, report))
        .await;
    let key = CollapseKey::of(platform, receipt);
    let settled = record(key, &world.load(key).await);
    world
        .done(happened(settled, &[TransitionKind::Purchased]))
        .await;
    newest(world).await
}

story! {
    async fn the_state_of_now_is_that_of_the_environment(world: World) {
        list(&world);
        let test = sandbox(&world).await;
        let user = UserId::anonymous(world.app.id, "amazon", "customer-1");
        let key = buy(&world, world.platform.id, "r1", 2, false).await;
        let there = buy(&world, test, "r2", 1, false).await;
        for name in [app_user("customer-1"), CustomerName::User(user)] {
            let standing = now(&world, name).await;
            assert_eq!((standing.user_id, standing.user_revision), (user, 2));
            assert_eq!((names(&standing), keys(&standing)), (Some(vec!["premium"]), vec![key]));
            assert_eq!(standing.app_user_ids, ["customer-1"]);
            let purchase = &standing.purchases[0];
            assert_eq!((purchase.state.as_deref(), purchase.is_active), (Some("active"), Some(true)));
            assert_eq!((purchase.sku.as_deref(), purchase.announced_at), (Some("term"), None));
            assert!(purchase.expires_at.is_some(), "{purchase:?}");
        }
        let sandbox = world.store.customer_state(world.app.id, app_user("customer-1"), Environment::Sandbox).await.unwrap();
        assert_eq!((names(&sandbox), keys(&sandbox)), (Some(vec!["premium"]), vec![there]));
        world.store.name_customer(world.app.id, Owner::AppUser("customer-1".to_owned()), "anna", None).await.unwrap();
        assert_eq!(now(&world, external("anna")).await.external_id.as_deref(), Some("anna"));
        let other = world.store.new_app("Other").await.unwrap();
        for (app, name) in [(world.app.id, app_user("nobody")), (other.id, CustomerName::User(user))] {
            assert!(is_missing(&world.store.customer_state(app, name, PRODUCTION).await.unwrap_err()));
        }
    }
}

story! {
    async fn customers_of_two_stores_with_one_id_are_found_by_the_store(world: World) {
        let second = another_store(&world).await;
        bought_by(&world, "r1", "u1", 1).await;
        let (amazon, proof) = ("amazon", "proof");
        let user = |store| UserId::anonymous(world.app.id, store, "u1");
        assert_eq!(now(&world, app_user("u1")).await.user_id, user(amazon), "one store has the customer");
        let at = bought_on(&world, second, "r2", "u1", 2).await;
        let of_store = |store: &str| CustomerName::of_store(Some(store.to_owned()), "u1".to_owned());
        for (store, key) in [(amazon, world.key("r1")), (proof, CollapseKey::of(second, "r2"))] {
            for standing in [now(&world, of_store(store)).await, then(&world, of_store(store), at).await] {
                assert_eq!((standing.user_id, keys(&standing)), (user(store), vec![key]));
            }
        }
        let past = Past { at, environment: PRODUCTION };
        for name in [app_user("u1"), of_store("other")] {
            let present = world.store.customer_state(world.app.id, name.clone(), PRODUCTION).await;
            let former = world.store.customer_state_at(world.app.id, name, past, Page::default()).await;
            for result in [present, former] {
                assert!(matches!(result, Err(Error::WrongStore(stores)) if stores == [amazon, proof]));
            }
        }
        let owner = |store: &str| Owner::of_store(Some(store.to_owned()), "u1".to_owned());
        for store in [amazon, proof] {
            world.store.name_customer(world.app.id, owner(store), "anna", None).await.unwrap();
        }
        assert_eq!(now(&world, app_user("u1")).await.external_id.as_deref(), Some("anna"), "one user");
    }
}

story! {
    async fn a_state_is_shown_as_it_was_announced(world: World) {
        let first = bought_by(&world, "r1", "u1", 1).await;
        list(&world);
        let second = bought_by(&world, "r1", "u1", 2).await;
        let before = then(&world, app_user("u1"), first.plus_millis(-1)).await;
        assert_eq!(before.announcement.as_ref().map(|one| one.status), Some(AnnouncementStatus::NothingAnnounced));
        assert_eq!((before.user_revision, names(&before), keys(&before)), (0, None, Vec::new()));
        for (at, revision, entitlements) in [(first, 1, Vec::new()), (second, 2, vec!["premium"])] {
            let standing = then(&world, app_user("u1"), at).await;
            assert_eq!((standing.user_revision, names(&standing)), (revision, Some(entitlements)));
            let announcement = standing.announcement.as_ref().unwrap();
            assert_eq!((announcement.status, announcement.announced_at), (AnnouncementStatus::Announced, Some(at)));
            assert_eq!(announcement.event_type.as_deref(), Some("user.subscription.purchased"));
            assert_eq!(standing.purchases.len(), 1);
            assert_eq!((standing.purchases[0].announced_at, standing.purchases[0].is_active), (Some(at), Some(true)));
        }
        let seen = Past { at: second, environment: Environment::Sandbox };
        let sandbox = world.store.customer_state_at(world.app.id, app_user("u1"), seen, Page::default()).await.unwrap();
        assert_eq!((names(&sandbox), sandbox.user_revision), (None, 0), "nothing was announced in the sandbox");
        let after = newest(&world).await.plus_millis(1);
        world.store.prune(after, 1000).await.unwrap();
        let pruned = then(&world, app_user("u1"), first).await;
        assert_eq!(pruned.announcement.as_ref().map(|one| one.status), Some(AnnouncementStatus::Pruned));
        assert_eq!((pruned.user_revision, names(&pruned)), (1, None), "when it was announced is still known");
        assert_eq!(pruned.purchases[0].is_active, None);
    }
}

story! {
    async fn a_customer_is_the_user_of_that_time(world: World) {
        list(&world);
        let anna = world.store.name_customer(world.app.id, Owner::AppUser("u1".to_owned()), "anna", None).await.unwrap().user_id;
        let former = UserId::anonymous(world.app.id, "amazon", "u2");
        let first = bought_by(&world, "r2", "u2", 1).await;
        if !world.is_postgres() {
            world.pass(1);
        }
        world.store.name_customer(world.app.id, Owner::AppUser("u2".to_owned()), "anna", None).await.unwrap();
        let second = bought_by(&world, "r2", "u2", 2).await;
        let key = world.key("r2");
        for (at, user) in [(first, former), (second, anna)] {
            let standing = then(&world, app_user("u2"), at).await;
            assert_eq!((standing.user_id, names(&standing)), (user, Some(vec!["premium"])));
            assert_eq!(keys(&standing), [key]);
        }
        let standing = then(&world, external("anna"), first).await;
        assert_eq!((standing.user_id, names(&standing), keys(&standing)), (anna, None, Vec::new()), "not hers yet");
        let standing = then(&world, CustomerName::User(former), second).await;
        assert_eq!(keys(&standing), [], "the purchase is another user's by then");
        let purchases = world.store.purchases(PurchaseFilter::default(), Page::default()).await.unwrap().items;
        assert_eq!(purchases[0].standing.user_id, Some(anna));
        for (at, moves) in [(first, 1), (second, 0)] {
            let standing = then(&world, app_user("u2"), at).await;
            assert_eq!(standing.moved_since.len(), moves, "after {at}");
        }
    }
}

fn place(world: &World, number: u128) -> DevicePlace {
    DevicePlace {
        platform: world.platform.id,
        device: DeviceId::new(Uuid::from_u128(number)),
    }
}

/// Inserts a device of a user.
fn device(world: &World, place: DevicePlace, user: Option<UserId>, is_signed: &str) {
    let device =
        rows::device(place.platform, place.device).text("secret_hash", secret(place.device).hex());
    let device = device.sql("is_signed", is_signed);
    world
        .raw()
        .run(&user.map_or(device.clone(), |user| device.text("user_id", user)));
}

/// Inserts the claim of a receipt.
fn claim(world: &World, place: DevicePlace, receipt: &str, status: &str) {
    let claim = rows::claims(place.platform, place.device).text("collapse_key", world.key(receipt));
    world.raw().run(
        &claim
            .text("receipt_id", receipt)
            .text("app_user_id", "u1")
            .text("status", status),
    );
}

story! {
    async fn a_device_may_use_what_it_proved(world: World) {
        list(&world);
        let user = UserId::anonymous(world.app.id, "amazon", "customer-1");
        buy(&world, world.platform.id, "r1", 1, false).await;
        let test = sandbox(&world).await;
        let entitlements = async |place: DevicePlace| {
            let access = world.store.device_access(world.app.id, place, secret(place.device)).await.unwrap();
            let names = access.entitlements.iter().map(|one| one.entitlement_ref_id.clone()).collect::<Vec<_>>();
            (access.device_user_id, names)
        };
        let nothing = Vec::<String>::new;
        let unknown = place(&world, 1);
        assert_eq!(entitlements(unknown).await, (UserId::of_device(unknown, 0), nothing()));
        let (pending, refused, verified) = (place(&world, 2), place(&world, 3), place(&world, 4));
        for (place, status) in [(pending, "pending"), (refused, "refused"), (verified, "verified")] {
            device(&world, place, None, "FALSE");
            claim(&world, place, "r1", status);
        }
        for place in [pending, refused] {
            assert_eq!(entitlements(place).await, (UserId::of_device(place, 0), nothing()));
        }
        assert_eq!(entitlements(verified).await, (UserId::of_device(verified, 0), vec!["premium".to_owned()]));
        let (unsigned, signed) = (place(&world, 5), place(&world, 6));
        device(&world, unsigned, Some(user), "FALSE");
        device(&world, signed, Some(user), "TRUE");
        assert_eq!(entitlements(unsigned).await, (UserId::of_device(unsigned, 0), nothing()), "the login alone proves nothing");
        assert_eq!(entitlements(signed).await, (UserId::of_device(signed, 0), vec!["premium".to_owned()]));
        let there = DevicePlace { platform: test, ..signed };
        device(&world, there, Some(user), "TRUE");
        assert_eq!(entitlements(there).await.1, nothing(), "nothing is shared between the environments");
        let devices = now(&world, CustomerName::User(user)).await.state.unwrap().devices;
        assert_eq!(devices.len(), 3);
    }
}
