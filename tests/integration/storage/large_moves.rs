//! A customer with many purchases that give access: they are moved in one short transaction, and announced afterwards.

use super::erasure::{OWN_ID, STORE_ID, by as erasure_by, by_own_id, finish};
use super::many_purchases::{end, multiply};
use super::people::{by, device, log_in, login, place};
use super::profiling::entitlements;
use super::world::{BEGINNING, World, story};
use domain::user::{Attributes, TRANSFERRED_FROM, TRANSFERRED_TO};
use domain::{CollapseKey, Timestamp, TransferId, UserId};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use storage::{AnnouncedTransfers, CustomerKey, CustomerMove, CustomerName};

/// Two and a half batches.
const MANY: i64 = 250;

static NOW: AtomicI64 = AtomicI64::new(BEGINNING);

fn now() -> Timestamp {
    Timestamp::from_micros(NOW.load(Ordering::SeqCst))
}

impl World {
    /// Inserts a customer with `number` purchases that give access; returns the first one's key.
    async fn rich(&self, app_user_id: &str, number: i64) -> CollapseKey {
        self.rich_by(app_user_id, "r1", number).await
    }

    /// Like [`Self::rich`], with copies of this receipt.
    async fn rich_by(&self, app_user_id: &str, receipt: &str, number: i64) -> CollapseKey {
        let key = self.entitling(app_user_id, receipt).await;
        multiply(self, receipt, number - 1);
        key
    }

    /// Announces the next batch, and returns its number of purchases.
    async fn announce_once(&self) -> usize {
        let AnnouncedTransfers { number, failed } = self.store.announce_transfers().await.unwrap();
        assert!(failed.is_empty(), "{failed:?}");
        number
    }

    /// Announces all transfers, and returns the number of purchases in each batch.
    async fn announce(&self) -> Vec<usize> {
        let mut batches = Vec::new();
        loop {
            match self.announce_once().await {
                0 => return batches,
                number => batches.push(number),
            }
        }
    }

    fn purchases_of(&self, user: UserId) -> i64 {
        self.count(&format!("purchases WHERE user_id = '{user}'"))
    }

    fn events_of(&self, event_type: &str) -> i64 {
        self.count(&format!("events WHERE event_type = '{event_type}'"))
    }
}

/// Returns for each transfer, in the order of first events, the former and the new owner and the number of purchases.
fn tracks(events: &[Value]) -> Vec<(String, String, usize)> {
    let mut found: Vec<(String, String, String, usize)> = Vec::new();
    for pair in events.chunks(2) {
        let [from, to] = pair else { panic!("{pair:?}") };
        assert_eq!(
            (&from["event_type"], &to["event_type"]),
            (&json!(TRANSFERRED_FROM), &json!(TRANSFERRED_TO))
        );
        assert_eq!(from["transfer_id"], to["transfer_id"]);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        match found
            .iter_mut()
            .find(|one| one.0 == text(&from["transfer_id"]))
        {
            Some(known) => known.3 += 1,
            None => found.push((
                text(&from["transfer_id"]),
                text(&from["user_id"]),
                text(&to["user_id"]),
                1,
            )),
        }
    }
    found
        .into_iter()
        .map(|(_, from, to, number)| (from, to, number))
        .collect()
}

story! {
    async fn a_large_move_is_done_at_once_and_announced_in_batches(world: World) {
        let to = world.keeping("analytics", Attributes::Documented).await;
        let anna = world.name("c1", "anna").await;
        let key = world.rich("c1", MANY).await;
        world.drain(key, to).await;
        let before = world.revision_of(anna);
        let moved: TransferId = world.hand_over("c1", "otto").await;
        let otto = world.owner_of(key).await;
        assert_eq!((world.purchases_of(anna), world.purchases_of(otto)), (0, MANY));
        assert_eq!((world.transfers().len(), world.revision_of(anna)), (0, before), "nothing is announced yet");
        assert_eq!(i64::try_from(world.store.transfer(moved).await.unwrap().moved.announced.len()).unwrap(), MANY);

        assert_eq!(world.announce().await, [100, 100, 50]);
        let events = world.transfers();
        let all = usize::try_from(MANY).unwrap();
        assert_eq!(tracks(&events), [(anna.to_string(), otto.to_string(), all)]);
        let held: BTreeSet<(String, Vec<&str>)> =
            events.iter().map(|one| (one["user_id"].to_string(), entitlements(one))).collect();
        assert_eq!(held, BTreeSet::from([(json!(anna).to_string(), vec![]), (json!(otto).to_string(), vec!["premium"])]));
        assert_eq!(world.events_of("purchase.updated"), MANY + 1, "each has a revision of its own, after its first one");
        let revisions = (world.revision_of(anna), world.revision_of(otto));
        assert_eq!(revisions, (before + 3, 3), "each batch is one announcement of both states");
        assert_eq!(world.raw().texts("SELECT DISTINCT causes AS value FROM events WHERE causes IS NOT NULL").len(), 1);
        assert_eq!(world.profiles(to), 2, "one of each user");
    }
}

story! {
    async fn transfers_of_a_user_are_announced_in_their_order(world: World) {
        let anna = world.name("c1", "anna").await;
        let key = world.rich("c1", MANY).await;
        let moved = world.hand_over("c1", "otto").await;
        let otto = world.owner_of(key).await;
        // Another process dies after one batch, and the move is undone before the next.
        assert_eq!(world.announce_once().await, 100);
        world.store.undo_transfer(moved, by("by mistake")).await.unwrap();
        assert_eq!(world.purchases_of(anna), MANY, "at once");
        assert_eq!(world.announce().await, [100, 50, 100, 100, 50]);
        let all = usize::try_from(MANY).unwrap();
        let (anna, otto) = (anna.to_string(), otto.to_string());
        assert_eq!(tracks(&world.transfers()), [(anna.clone(), otto.clone(), all), (otto, anna.clone(), all)]);
        let last = world.transfers().into_iter().rfind(|one| one["user_id"] == json!(anna)).unwrap();
        assert_eq!(entitlements(&last), ["premium"], "the newest state is that of now");
        let owner = "SELECT DISTINCT last_seen AS value FROM (SELECT user_id AS last_seen FROM events
             WHERE event_type = 'purchase.updated' ORDER BY seq DESC LIMIT 250) newest";
        assert_eq!(world.raw().texts(owner), [anna]);
    }
}

story! {
    async fn a_small_move_waits_for_the_events_of_a_large_one_before(world: World) {
        let anna = world.name("c1", "anna").await;
        world.rich("c1", MANY).await;
        let small = world.entitling("c2", "r2").await;
        let otto = world.name("c2", "otto").await;
        world.hand_over("c1", "otto").await;
        world.hand_over("c2", "clara").await;
        let clara = world.owner_of(small).await;
        assert_eq!((world.purchases_of(otto), world.transfers().len()), (MANY, 0));
        assert_eq!(world.announce().await, [100, 100, 50, 1]);
        let [anna, otto, clara] = [anna, otto, clara].map(|user| user.to_string());
        let all = usize::try_from(MANY).unwrap();
        assert_eq!(tracks(&world.transfers()), [(anna, otto.clone(), all), (otto, clara, 1)]);
    }
}

story! {
    async fn what_is_announced_after_an_erasure_has_no_name(world: World) {
        let anna = world.name(STORE_ID, OWN_ID).await;
        world.rich(STORE_ID, MANY).await;
        world.hand_over(STORE_ID, "otto").await;
        let begun = world.store.erase_customer(by_own_id(&world)).await.unwrap();
        let before = world.count("events");
        assert_eq!(world.announce().await, [100, 100, 50]);
        finish(&world, &begun).await;
        let after = world.raw().texts(&format!("SELECT body AS value FROM events ORDER BY seq LIMIT 10000 OFFSET {before}"));
        assert_eq!(i64::try_from(after.len()).unwrap(), 3 * MANY);
        for body in after {
            assert!(!body.contains(OWN_ID) && !body.contains(&anna.to_string()), "{body}");
        }
    }
}

story! {
    async fn logins_names_and_claims_of_many_purchases_come_in_batches(world: World) {
        let key = world.rich("guest", MANY).await;
        let anna = world.name("hers", "anna").await;
        assert_eq!(world.name("guest", "anna").await, anna);
        assert_eq!((world.transfers().len(), world.announce().await), (0, vec![100, 100, 50]));
        let (here, there) = (place(&world, 1), place(&world, 2));
        for (place, number) in [(here, 2_usize), (there, 3)] {
            world.know(place, &device(place));
            world.claim_verified(place, "r1", "guest");
            world.store.login(login(place, &format!("customer {number}"))).await.unwrap();
            assert_eq!(world.announce().await, [100, 100, 50]);
            assert_eq!(world.transfers().len(), number * 2 * usize::try_from(MANY).unwrap());
        }
        let otto = log_in(&world.store, place(&world, 4), "otto").await.user_id;
        world.claim_known(place(&world, 4), "r1", "guest").await;
        assert_eq!((world.owner_of(key).await, world.announce().await), (otto, vec![100, 100, 50]));
    }
}

story! {
    async fn a_login_announces_no_more_at_once_for_many_owners(world: World) {
        let here = place(&world, 1);
        world.know(here, &device(here));
        for number in 1..=3 {
            let (customer, receipt) = (format!("c{number}"), format!("r{number}"));
            world.name(&customer, &format!("owner {number}")).await;
            world.rich_by(&customer, &receipt, 60).await;
            world.claim_verified(here, &receipt, &customer);
        }
        let logged_in = world.store.login(login(here, "otto")).await.unwrap();
        assert_eq!(world.purchases_of(logged_in.user_id), 3 * 60, "all are moved");
        assert_eq!(logged_in.transfers.iter().map(|one| one.is_deferred).collect::<Vec<_>>(), [false, true, true]);
        assert_eq!(world.transfers().len(), 2 * 60, "those of one owner are announced at once");
        assert_eq!(world.announce().await, [60, 60]);
        assert_eq!(world.transfers().len(), 3 * 2 * 60);
    }
}

story! {
    async fn a_transfer_that_cannot_be_announced_keeps_no_other_waiting(world: World) {
        for (customer, from, receipt) in [("c1", "anna", "r1"), ("c2", "bert", "r2")] {
            world.name(customer, from).await;
            world.rich_by(customer, receipt, MANY).await;
        }
        let broken = world.hand_over("c1", "otto").await;
        world.hand_over("c2", "clara").await;
        let key = world.key("r1");
        let purchase = world.raw().texts(&format!("SELECT purchase AS value FROM purchases WHERE collapse_key = '{key}'"));
        world.raw().run(&format!("UPDATE purchases SET purchase = '{{' WHERE collapse_key = '{key}'"));
        for number in [100, 100, 50, 0] {
            let announced = world.store.announce_transfers().await.unwrap();
            let failed: Vec<TransferId> = announced.failed.iter().map(|(id, _)| *id).collect();
            assert_eq!((announced.number, failed), (number, vec![broken]));
        }
        let purchase = purchase[0].replace('\'', "''");
        world.raw().run(&format!("UPDATE purchases SET purchase = '{purchase}' WHERE collapse_key = '{key}'"));
        assert_eq!(world.announce().await, [100, 100, 50], "it goes on once it can be read");
    }
}

/// Number of purchases of a very large move.
const TWO_THOUSAND: i64 = 2_000;
/// Maximum number of round trips of a move, and of each purchase that is announced at once.
const FEW: u64 = 75;
const EACH: u64 = 6;

/// A move needs only a few statements, whatever the number of purchases, so that no other change has to wait long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_of_two_thousand_purchases_takes_few_round_trips() {
    let (world, distance) = World::postgres_at_a_distance(now, &NOW, Duration::ZERO).await;
    let anna = world.name("c1", "anna").await;
    let key = world.rich("c1", TWO_THOUSAND).await;
    let mut trips = Vec::new();
    let mut counted = |name, before: u64| {
        trips.push((name, distance.trips() - before));
    };
    let before = distance.trips();
    let moved = world.hand_over("c1", "otto").await;
    counted("move", before);
    let before = distance.trips();
    world.announce_once().await;
    counted("batch", before);
    let before = distance.trips();
    world
        .store
        .undo_transfer(moved, by("by mistake"))
        .await
        .unwrap();
    counted("undo", before);
    assert_eq!(
        (world.owner_of(key).await, world.purchases_of(anna)),
        (anna, TWO_THOUSAND)
    );
    let before = distance.trips();
    let erase = erasure_by(&world, CustomerName::ExternalId("anna".to_owned()));
    world.store.erase_customer(erase).await.unwrap();
    counted("erase", before);
    eprintln!("round trips: {trips:?}");
    assert_eq!(world.purchases_of(anna), 0, "they are an anonymous user's");
    for (name, trips) in trips.into_iter().filter(|(name, _)| *name != "batch") {
        assert!(trips <= FEW, "{name} takes {trips} round trips");
    }
}

/// Moving expired purchases, which most purchases of a long-standing customer are, also needs few statements.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_of_many_expired_purchases_takes_few_round_trips() {
    let (world, distance) = World::postgres_at_a_distance(now, &NOW, Duration::ZERO).await;
    let (anna, otto) = (
        world.name("c1", "anna").await,
        world.name("c2", "otto").await,
    );
    end(&world, "ended", "c1").await;
    multiply(&world, "ended", TWO_THOUSAND - 11);
    world.rich("c1", 10).await;
    world.raw().run(&format!(
        "INSERT INTO store_users (app_id, store, app_user_id, user_id)
         WITH RECURSIVE numbers(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < 200)
         SELECT '{}', 'amazon', 'more-' || CAST(i AS TEXT), '{anna}' FROM numbers",
        world.app.id
    ));
    let mut trips = Vec::new();
    let mut counted = |name, before: u64| {
        trips.push((name, distance.trips() - before));
    };
    let before = distance.trips();
    let customer = CustomerKey::ExternalId("anna".to_owned());
    let wanted = CustomerMove {
        app: world.app.id,
        customer,
        to: "otto".to_owned(),
        author: by("ticket 1"),
    };
    let moved = world.store.move_customer(wanted).await.unwrap();
    counted("move", before);
    assert_eq!(
        (world.purchases_of(otto), moved.moved.announced.len()),
        (TWO_THOUSAND, 10)
    );
    assert_eq!(moved.moved.customers.len(), 201);
    let before = distance.trips();
    world
        .store
        .undo_transfer(moved.id, by("by mistake"))
        .await
        .unwrap();
    counted("undo", before);
    assert_eq!(world.purchases_of(anna), TWO_THOUSAND);
    // Nothing was ever announced about the anonymous user.
    let transfers = world.transfers().len();
    end(&world, "guest's", "guest").await;
    multiply(&world, "guest's", TWO_THOUSAND - 1);
    let before = distance.trips();
    assert_eq!(world.name("guest", "otto").await, otto);
    counted("name", before);
    assert_eq!(
        (world.purchases_of(otto), world.transfers().len()),
        (TWO_THOUSAND, transfers)
    );
    eprintln!("round trips: {trips:?}");
    for (name, trips) in trips {
        let announced = if name == "name" { 0 } else { 10 };
        assert!(
            trips <= FEW + EACH * announced,
            "{name} takes {trips} round trips"
        );
    }
}
