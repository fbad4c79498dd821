//! A customer with many purchases: a settling reads only those that matter, and the state covers all.

use super::world::{BEGINNING, Raw, Report, World, happened, record, reported, story};
use domain::time::DAY;
use domain::verification::{EndReason, Product};
use domain::{
    CollapseKey, Environment, NotificationKind, Outcome, SettlingContext, Snapshot, Timestamp,
    TransitionKind, UserId, Verification, decide,
};
use serde_json::Value;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use storage::{CustomerName, Error, Owner, Page, Record};

/// Number of purchases above which those without effect on the state are marked as spent.
const READ: i64 = 256;

/// Returns a record that settles a purchase's open notifications with this snapshot.
pub async fn shown(world: &World, receipt: &str, snapshot: Snapshot) -> Record {
    let loaded = world.load(world.key(receipt)).await;
    let verification = Verification::Verified(Box::new(Snapshot {
        at: loaded.now,
        ..snapshot
    }));
    let context = SettlingContext {
        policy: domain::StorePolicy::default(),
        verification: &verification,
        is_replaced: false,
        now: loaded.now,
    };
    let mut decision = decide(&loaded.purchase, &loaded.notifications, context);
    decision.outcomes = loaded
        .notifications
        .iter()
        .map(|(seq, _)| (*seq, Outcome::Settled))
        .collect();
    (decision.waits, decision.wake, decision.transitions) = (None, None, Vec::new());
    Record {
        decision,
        ..record(world.key(receipt), &loaded)
    }
}

async fn notify(world: &World, message: &str, receipt: &str, customer: &str) {
    let report = Report {
        kind: NotificationKind::Renewed,
        customer: Some(customer),
        related: None,
    };
    world
        .accept(reported(world.platform.id, message, receipt, 1_000, report))
        .await;
}

/// Settles the customer's subscription, which was paid for and ended two months ago.
pub async fn end(world: &World, receipt: &str, customer: &str) {
    notify(world, receipt, receipt, customer).await;
    let now = world.load(world.key(receipt)).await.now;
    let snapshot = Snapshot {
        product: Product::Subscription,
        product_id: Some("parent".to_owned()),
        term_sku: Some("term".to_owned()),
        purchased_at: Some(now.minus(DAY.saturating_mul(90))),
        ends_at: Some(now.minus(DAY.saturating_mul(60))),
        end_reason: Some(EndReason::Customer),
        auto_renewing: Some(false),
        ..Snapshot::default()
    };
    world.done(shown(world, receipt, snapshot).await).await;
}

/// Settles the customer's purchase of a consumable that gives no access; returns the journey in its event.
async fn buy(world: &World, receipt: &str, customer: &str) -> Value {
    notify(world, receipt, receipt, customer).await;
    let coins = Snapshot {
        product: Product::Consumable,
        product_id: Some("coins".to_owned()),
        ..Snapshot::default()
    };
    world
        .done(happened(
            shown(world, receipt, coins).await,
            &[TransitionKind::Purchased],
        ))
        .await;
    let newest = "SELECT body AS value FROM events WHERE user_revision IS NOT NULL ORDER BY seq DESC LIMIT 1";
    let body: Value = serde_json::from_str(&world.raw().texts(newest)[0]).unwrap();
    body["customer_journey_state"].clone()
}

/// Inserts copies of a purchase of the same customer.
pub fn multiply(world: &World, receipt: &str, copies: i64) {
    let (key, columns) = (
        world.key(receipt),
        "platform_id, app_id, receipt_id, app_user_id, user_id, first_user_id, revision, digest, content_digest, state,
         environment, purchase, term_sku, product_id, verify_attempts, settling, fingerprint, created_at, updated_at",
    );
    let (first, last) = (10_000_000, 10_000_000 + copies - 1);
    world.raw().run(&format!(
        "INSERT INTO purchases (collapse_key, {columns})
         WITH RECURSIVE numbers(i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM numbers WHERE i < {last})
         SELECT substr(collapse_key, 1, length(collapse_key) - 8) || CAST(i AS TEXT), {columns}
         FROM numbers, purchases WHERE collapse_key = '{key}'"
    ));
}

/// Returns the number of purchases that a settling of the customer reads.
fn counted(raw: &mut Raw, user: UserId) -> i64 {
    raw.number(&format!(
        "SELECT COUNT(*) AS value FROM purchases
         WHERE user_id = '{user}' AND (spent_at IS NULL OR spent_at <> updated_at)"
    ))
}

story! {
    async fn the_purchases_that_count_for_nothing_are_read_no_more(world: World) {
        let user = UserId::anonymous(world.app.id, "amazon", "one");
        end(&world, "ended", "one").await;
        multiply(&world, "ended", READ);
        let journey = buy(&world, "coins-1", "one").await;
        assert_eq!(journey["former_subscriber"], true);
        assert_eq!(counted(&mut world.raw(), user), 1, "the first settling read all, and noted the others");
        for number in 2..5 {
            let again = buy(&world, &format!("coins-{number}"), "one").await;
            assert_eq!(again, journey, "one of those that were paid stays");
        }
        assert!(counted(&mut world.raw(), user) < 8);
        // A process of the previous release, which does not know the column, settles one of them.
        let before = counted(&mut world.raw(), user);
        let copy = format!("SELECT MAX(collapse_key) AS value FROM purchases WHERE user_id = '{user}' AND spent_at IS NOT NULL");
        let copy = world.raw().texts(&copy)[0].clone();
        world.raw().run(&format!("UPDATE purchases SET updated_at = updated_at + 1 WHERE collapse_key = '{copy}'"));
        assert_eq!(counted(&mut world.raw(), user), before + 1);
        // A moved purchase counts for the new owner until it is marked again.
        notify(&world, "another's", "another's", "two").await;
        world.settle(world.key("another's")).await;
        for customer in ["two", "one"] {
            let owner = Owner::AppUser(customer.to_owned());
            world.store.name_customer(world.app.id, owner, "anna", None).await.unwrap();
        }
        let name = CustomerName::ExternalId("anna".to_owned());
        let anna = world.store.customer_state(world.app.id, name, Environment::Production).await.unwrap();
        let all = READ + 1 + 4 + 1;
        assert_eq!(i64::try_from(anna.purchases.len()).unwrap(), all, "a state has all of them");
        assert_eq!(counted(&mut world.raw(), anna.user_id), all);
    }
}

story! {
    async fn what_the_previous_release_moves_counts_again(world: World) {
        let [one, two] = ["one", "two"].map(|customer| UserId::anonymous(world.app.id, "amazon", customer));
        end(&world, "ended", "one").await;
        multiply(&world, "ended", READ);
        let journey = buy(&world, "coins", "one").await;
        notify(&world, "another's", "another's", "two").await;
        world.settle(world.key("another's")).await;
        assert_eq!([one, two].map(|user| counted(&mut world.raw(), user)), [1, 1]);
        // Such a process moves a purchase whose mark is about the former owner.
        let noted = format!("SELECT MAX(collapse_key) AS value FROM purchases WHERE user_id = '{one}' AND spent_at = updated_at");
        let noted = world.raw().texts(&noted)[0].clone();
        world.raw().run(&format!("UPDATE purchases SET user_id = '{two}' WHERE collapse_key = '{noted}'"));
        assert_eq!(counted(&mut world.raw(), two), 2, "what moved counts for the new owner");
        let app = world.app.id;
        world.raw().run(&format!(
            "INSERT INTO transfers (id, app_id, from_user_id, to_user_id, cause, moved, created_at)
             VALUES ('t', '{app}', '{one}', '{two}', 'login', '{{\"customers\":[],\"announced\":[]}}', 1)"
        ));
        assert_eq!(counted(&mut world.raw(), one), READ + 1, "what stays counts again for the former owner");
        assert_eq!(buy(&world, "coins-2", "one").await, journey);
    }
}

story! {
    async fn a_state_is_returned_with_a_page_of_the_purchases(world: World) {
        end(&world, "ended", "one").await;
        multiply(&world, "ended", 1_200);
        let name = || CustomerName::AppUser("one".to_owned());
        let newest = world.store.customer_state(world.app.id, name(), Environment::Production).await.unwrap();
        assert_eq!((newest.purchases.len(), newest.next_cursor), (1000, None), "those that were settled last");
        let (mut cursor, mut keys) = (None, Vec::new());
        loop {
            let page = Page { cursor, limit: 500 };
            let found = world.store.customer_state_page(world.app.id, name(), Environment::Production, page).await;
            let found = found.unwrap();
            assert!(found.state.is_some_and(|state| state.customer_journey_state.former_subscriber));
            keys.extend(found.purchases.iter().map(|one| one.collapse_key));
            cursor = found.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        assert!(keys.len() == 1_201 && keys.is_sorted());
        let wrong = Page { cursor: Some("no key".to_owned()), limit: 500 };
        let refused = world.store.customer_state_page(world.app.id, name(), Environment::Production, wrong).await;
        assert!(matches!(refused, Err(Error::Cursor)), "{refused:?}");
    }
}

static NOW: AtomicI64 = AtomicI64::new(BEGINNING);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_settling_costs_the_same_with_a_hundred_times_the_purchases() {
    let now = || Timestamp::from_micros(NOW.load(Ordering::SeqCst));
    let (world, distance) = World::postgres_at_a_distance(now, &NOW, Duration::ZERO).await;
    let mut costs = Vec::new();
    for (customer, purchases) in [("few", 100), ("many", 10_000)] {
        let receipt = format!("{customer}-ended");
        end(&world, &receipt, customer).await;
        multiply(&world, &receipt, purchases);
        // Marked like by its settlings, a thousand at a time.
        let key: CollapseKey = world.key(&receipt);
        if purchases > READ {
            world.raw().run(&format!(
                "UPDATE purchases SET spent_at = updated_at WHERE receipt_id = '{receipt}' AND collapse_key <> '{key}'"
            ));
        }
        // The minimum of several: each of the writer's threads prepares its statements at first.
        let (mut bytes, mut trips) = (u64::MAX, u64::MAX);
        for number in 0..6 {
            let (bytes_before, trips_before) = (distance.sent(), distance.trips());
            let journey = buy(&world, &format!("{customer}-coins-{number}"), customer).await;
            assert_eq!(journey["former_subscriber"], true);
            bytes = bytes.min(distance.sent() - bytes_before);
            trips = trips.min(distance.trips() - trips_before);
        }
        eprintln!(
            "{purchases} purchases: {bytes} bytes from the server and {trips} round trips for each"
        );
        costs.push((bytes, trips));
    }
    let [(few, few_trips), (many, many_trips)] = [costs[0], costs[1]];
    assert!(many < 2 * few && many_trips <= few_trips + 2, "{costs:?}");
}
