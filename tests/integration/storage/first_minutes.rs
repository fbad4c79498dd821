//! The first minutes of a purchase: the store's notification, the device's report and the login arrive within one
//! window, in any order, and result in one revision.

use super::claims::{device, priced, session, snapshot, uuid};
use super::overlapping::{Stall, two_processes};
use super::world::{WINDOW_MS, World, secret, story};
use domain::device::claim::{ClaimReason, ClaimStatus};
use domain::{CollapseKey, Snapshot, UserId, Verification};
use serde_json::{Value, json};
use std::time::Duration;
use storage::{ClaimAnswer, ClaimStep, Login, Record, Recorded};

/// A step in the life of a purchase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Notified,
    Reported,
    /// The customer logs in on the device.
    LoggedIn,
}

use Step::{LoggedIn, Notified, Reported};

const ORDERS: [[Step; 3]; 6] = [
    [Notified, Reported, LoggedIn],
    [Notified, LoggedIn, Reported],
    [Reported, Notified, LoggedIn],
    [Reported, LoggedIn, Notified],
    [LoggedIn, Notified, Reported],
    [LoggedIn, Reported, Notified],
];
/// The seconds between two steps.
const GAPS: [i64; 4] = [0, 3, 8, 10];

/// A purchase with its customer and device.
struct Life<'w> {
    world: &'w World,
    number: u128,
    receipt: String,
    customer: String,
    key: CollapseKey,
    shown: Snapshot,
}

impl<'w> Life<'w> {
    async fn new(world: &'w World, number: u128) -> Self {
        let receipt = format!("r{number}");
        let key = world.key(&receipt);
        let shown = snapshot(world.store.now().await.unwrap());
        Self {
            world,
            number,
            receipt,
            customer: format!("customer-{number}"),
            key,
            shown,
        }
    }

    fn external_id(&self) -> String {
        format!("anna-{}", self.number)
    }

    async fn happens(&self, step: Step) -> Option<UserId> {
        let Self { world, number, .. } = self;
        match step {
            Notified => world.bought(&self.receipt, &self.customer).await,
            Reported => {
                let id = format!("transaction-{number}");
                world
                    .device_claims(*number, &id, priced(&self.receipt, &self.customer, "8.99"))
                    .await;
            }
            LoggedIn => {
                let (place, device) = (world.place(*number), device(*number));
                let (secret, external_id) = (secret(place.device), self.external_id());
                let login = Login {
                    place,
                    device,
                    secret,
                    external_id,
                    is_signed: false,
                };
                return Some(world.store.login(login).await.unwrap().user_id);
            }
        }
        None
    }

    /// Examines the due claims, like the activity; the store knows the receipt.
    async fn examine_claims(&self) {
        let page = self
            .world
            .store
            .due_claims(self.world.platform.id, "", 50)
            .await
            .unwrap()
            .unwrap();
        for (place, key) in page.due {
            if self.world.store.examine_claim(place, key).await.unwrap() == ClaimStep::Query {
                let confirmed = ClaimAnswer::Confirmed {
                    snapshot: Box::new(self.shown.clone()),
                    customer: None,
                };
                self.world
                    .store
                    .finish_claim(place, key, confirmed)
                    .await
                    .unwrap();
            }
        }
    }

    /// Lets time pass, and examines each claim when it becomes due.
    async fn pass(&self, mut millis: i64) {
        loop {
            self.examine_claims().await;
            let page = self
                .world
                .store
                .due_claims(self.world.platform.id, "", 50)
                .await
                .unwrap()
                .unwrap();
            let next = page.next_due_in.map_or(i64::MAX, |wait| {
                i64::try_from(wait.as_millis()).unwrap() + 1
            });
            if next > millis {
                self.world.pass(millis);
                self.examine_claims().await;
                return;
            }
            self.world.pass(next);
            millis -= next;
        }
    }

    /// Lets time pass until the window has ended, and settles until nothing is pending.
    async fn settles(&self) {
        loop {
            let quiet = self.world.store.load(self.key, 0, 500).await.unwrap().quiet;
            if !quiet.is_zero() {
                self.pass(i64::try_from(quiet.as_millis()).unwrap() + 1)
                    .await;
                continue;
            }
            let loaded = self.world.load(self.key).await;
            if !loaded.due && loaded.notifications.is_empty() {
                return;
            }
            let verification = Verification::Verified(Box::new(Snapshot {
                at: loaded.now,
                ..self.shown.clone()
            }));
            let record = Record::decided(self.key, &loaded, &verification);
            let recorded = self.world.store.record(record).await.unwrap();
            if matches!(recorded, Recorded::Done { .. }) {
                self.pass(1).await;
            }
        }
    }

    /// Returns the `attributes` of each `purchase.updated`.
    fn updates(&self) -> Vec<Value> {
        let bodies = self.world.raw().texts(&format!(
            "SELECT body AS value FROM events WHERE collapse_key = '{}' AND event_type = 'purchase.updated' ORDER BY seq",
            self.key
        ));
        bodies
            .iter()
            .map(|body| serde_json::from_str::<Value>(body).unwrap()["attributes"].clone())
            .collect()
    }

    /// Returns the type and user of each `user.*` event.
    fn users(&self) -> Vec<String> {
        self.world.raw().texts(&format!(
            "SELECT event_type || ' ' || user_id AS value FROM events WHERE collapse_key = '{}' AND event_type LIKE 'user.%'
             ORDER BY seq",
            self.key
        ))
    }

    fn ledger(&self) -> Vec<String> {
        self.world.raw().texts(&format!(
            "SELECT kind || ' ' || COALESCE(usd, '-') AS value FROM payments WHERE collapse_key = '{}' ORDER BY kind",
            self.key
        ))
    }
}

story! {
    async fn a_purchase_of_a_logged_in_customer_is_one_event_of_theirs(world: World) {
        world.sell("9.99").await;
        let mut number = 0;
        for order in ORDERS {
            for gap in GAPS {
                number += 1;
                let life = Life::new(&world, number).await;
                let mut anna = None;
                for (nth, step) in order.into_iter().enumerate() {
                    if nth > 0 {
                        life.pass(gap * 1000).await;
                    }
                    anna = life.happens(step).await.or(anna);
                }
                life.settles().await;
                life.pass(10 * WINDOW_MS).await;
                life.settles().await;
                let (what, data) = (format!("{order:?} {gap} s apart"), world.newest_data(life.key));
                assert_eq!(life.updates().len(), 1, "{what}: {:?}", life.updates());
                assert_eq!(life.users(), [format!("user.subscription.purchased {}", anna.unwrap())], "{what}");
                assert_eq!(data["last_seen_external_id"], json!(life.external_id()), "{what}");
                assert_eq!(data["devices_with_access"][0]["id"], json!(uuid(number)), "{what}");
                assert_eq!((&data["purchase_price"], &data["price_source"]), (&json!("8.99"), &json!("device")), "{what}");
                assert_eq!(life.ledger(), ["initial 8.99"], "{what}");
                assert_eq!(life.updates()[0]["coalesced"], 1, "{what}: the store notified it once");
            }
        }
        assert_eq!(world.broken(1000).await, []);
    }
}

story! {
    async fn an_answer_verifies_no_claim_of_another_customer(world: World) {
        let life = Life::new(&world, 1).await;
        life.happens(Notified).await;
        world.device_claims(2, "a", priced(&life.receipt, "thief", "0.01")).await;
        let shown = life.shown.clone();
        assert_eq!(world.verified_by(life.key, &shown).await, 1);
        assert_eq!(world.claim_rows(), ["r1 thief pending - purchased 0.01"]);
        let data = world.newest_data(life.key);
        assert_eq!((&data["devices_with_access"], &data["purchase_price"]), (&json!([]), &Value::Null));
        assert_eq!(world.users_of_devices(), ["-"]);
        life.pass(1).await;
        assert_eq!(world.claim_rows(), ["r1 thief refused wrong_customer purchased 0.01"]);
    }
}

story! {
    async fn a_claim_that_comes_after_the_load_is_verified_by_the_record(world: World) {
        let life = Life::new(&world, 1).await;
        life.happens(Notified).await;
        let loaded = world.load(life.key).await;
        life.happens(Reported).await;
        let verification = Verification::Verified(Box::new(life.shown.clone()));
        let record = Record::decided(life.key, &loaded, &verification);
        assert_eq!(world.done(record.clone()).await, 1);
        assert_eq!(world.newest_data(life.key)["devices_with_access"][0]["id"], json!(uuid(1)));
        // The same record again, like after a lost answer: a claim made in the meantime is not verified by it.
        world.device_claims(2, "late", priced(&life.receipt, &life.customer, "8.99")).await;
        assert_eq!(world.done(record).await, 1);
        let status = "SELECT status AS value FROM claims ORDER BY device_id";
        assert_eq!(world.raw().texts(status), ["verified", "pending"]);
    }
}

story! {
    async fn a_claim_of_an_unknown_receipt_is_verified_by_its_settling(world: World) {
        let life = Life::new(&world, 1).await;
        life.happens(Reported).await;
        world.finish_claim(1, "r1", ClaimAnswer::Refused(ClaimReason::UnknownReceipt)).await;
        life.happens(Notified).await;
        life.settles().await;
        assert_eq!(world.claim_rows(), ["r1 customer-1 verified - purchased 8.99"]);
        assert_eq!((life.updates().len(), &world.newest_data(life.key)["devices_with_access"][0]["id"]), (1, &json!(uuid(1))));
    }
}

story! {
    async fn a_record_that_finds_its_purchase_moved_loses_no_claim(world: World) {
        let life = Life::new(&world, 1).await;
        life.happens(Notified).await;
        life.happens(Reported).await;
        let loaded = world.load(life.key).await;
        let record = Record::decided(life.key, &loaded, &Verification::Verified(Box::new(life.shown.clone())));
        // As if the record did not know of the receipt that replaced this one.
        let outdated = Record { is_replaced: true, ..record };
        assert_eq!(world.store.record(outdated).await.unwrap(), Recorded::Moved);
        assert_eq!(world.claim_rows(), ["r1 customer-1 verified - purchased 8.99"], "the answer holds");
        // Now only the claim can wake the purchase.
        world.raw().run("UPDATE notifications SET outcome = 'discarded', finished_at = 1");
        assert!(world.load(life.key).await.due);
    }
}

story! {
    async fn a_join_that_moves_the_purchase_itself_is_recorded_with_it(world: World) {
        let life = Life::new(&world, 1).await;
        life.happens(Notified).await;
        life.settles().await;
        let anna = life.happens(LoggedIn).await.unwrap();
        world.notify("renewal", &life.receipt, 5_000).await;
        life.happens(Reported).await;
        life.settles().await;
        let data = world.newest_data(life.key);
        assert_eq!(data["last_seen_external_id"], json!(life.external_id()));
        assert_eq!(data["devices_with_access"][0]["id"], json!(uuid(1)));
        assert_eq!(world.owners(), [anna.to_string()]);
        assert_eq!(life.updates().iter().map(|one| one["coalesced"].as_i64().unwrap()).sum::<i64>(), 2);
        assert_eq!(world.open_notifications(), 0);
        assert_eq!(world.broken(1000).await, []);
    }
}

story! {
    async fn a_settling_verifies_few_claims_and_leaves_the_others_due(world: World) {
        let life = Life::new(&world, 1).await;
        life.happens(Notified).await;
        for number in 1..=30 {
            world.device_claims(number, "a", priced(&life.receipt, &life.customer, "8.99")).await;
        }
        world.verified_by(life.key, &life.shown).await;
        assert_eq!(world.claims_in("verified"), 20);
        let page = world.store.due_claims(world.platform.id, "", 50).await.unwrap().unwrap();
        assert_eq!(page.due.len(), 10);
        assert_eq!(world.newest_data(life.key)["devices_with_access"][0]["id"], json!(uuid(1)), "the first one in front");
    }
}

impl Life<'_> {
    /// Claims the receipt by another device and examines the claim at once. Returns how much of the window is left.
    async fn is_shared_with(&self, number: u128, id: &str) -> Duration {
        self.world
            .device_claims(
                number,
                id,
                session(number, &[(&self.receipt, &self.customer)]),
            )
            .await;
        self.examine_claims().await;
        self.world.store.load(self.key, 0, 500).await.unwrap().quiet
    }
}

story! {
    async fn three_devices_eight_seconds_apart_are_one_revision(world: World) {
        let life = Life::new(&world, 1).await;
        life.happens(Notified).await;
        life.settles().await;
        assert_eq!(life.updates().len(), 1);
        let window = Duration::from_millis(u64::try_from(WINDOW_MS).unwrap());
        for number in 2..=4 {
            let began = world.store.now().await.unwrap();
            let quiet = life.is_shared_with(number, "start").await;
            // Each new claim restarts the window.
            world.check_left(quiet, WINDOW_MS, began).await;
            life.pass(8_000).await;
        }
        let quiet = life.is_shared_with(2, "again").await;
        assert!(quiet <= window - Duration::from_secs(8), "a repeated one does not: {quiet:?} are left");
        life.settles().await;
        let updates = life.updates();
        let counted: Vec<_> = updates.iter().map(|one| (&one["revision"], &one["coalesced"])).collect();
        assert_eq!(counted, [(&json!(1), &json!(1)), (&json!(2), &json!(0))], "claims are not the store's notifications");
        assert_eq!(world.newest_data(life.key)["devices_with_access"].as_array().unwrap().len(), 3);
        assert_eq!(life.users().len(), 1, "{:?}", life.users());
        let rows = "SELECT store_type || ' ' || outcome || ' ' || revision AS value FROM notifications ORDER BY seq";
        assert_eq!(world.raw().texts(rows)[1..], ["DEVICE_TRANSACTION settled 2"; 3]);
        life.pass(10 * WINDOW_MS).await;
        life.settles().await;
        assert_eq!(life.updates().len(), 2);
        assert_eq!(world.broken(1000).await, []);
    }
}

story! {
    async fn a_claim_that_meets_a_settling_is_announced_by_it(world: World) {
        let life = Life::new(&world, 1).await;
        life.happens(Notified).await;
        life.settles().await;
        world.device_claims(2, "first", priced(&life.receipt, &life.customer, "8.99")).await;
        life.examine_claims().await;
        world.notify("renewal", &life.receipt, 5_000).await;
        let loaded = world.load(life.key).await;
        // The claim is verified between a settling's load and its record.
        world.device_claims(3, "second", priced(&life.receipt, &life.customer, "8.99")).await;
        assert!(matches!(world.examine_claim_of(3, &life.receipt).await, ClaimStep::Reported(_)));
        let verification = Verification::Verified(Box::new(life.shown.clone()));
        let revision = world.done(Record::decided(life.key, &loaded, &verification)).await;
        assert_eq!(world.newest_data(life.key)["devices_with_access"].as_array().unwrap().len(), 2);
        assert_eq!(world.verified_by(life.key, &life.shown).await, revision, "its own window changes nothing");
        let last = world.raw().texts("SELECT outcome AS value FROM notifications ORDER BY seq DESC LIMIT 1");
        assert_eq!(last, ["no_change"]);
        assert_eq!(world.broken(1000).await, []);
    }
}

/// On PostgreSQL, with two processes: the record waits for the claim's row, which the test locks, and the examination
/// of the claim begins meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_examined_during_its_settling_is_verified_once() {
    let (world, second) = two_processes().await;
    let life = Life::new(&world, 1).await;
    life.happens(Notified).await;
    life.settles().await;
    world.notify("renewal", &life.receipt, 5_000).await;
    let loaded = world.load(life.key).await;
    life.happens(Reported).await;
    let record = Record::decided(
        life.key,
        &loaded,
        &Verification::Verified(Box::new(life.shown.clone())),
    );
    let stall = Stall::by(&world, "SELECT 1 FROM claims FOR UPDATE");
    let store = world.store.clone();
    let recording = tokio::spawn(async move { store.record(record).await.unwrap() });
    stall.wait_stalled(&world, 1).await;
    let (place, key) = (world.place(1), life.key);
    let examining = tokio::spawn(async move { second.examine_claim(place, key).await.unwrap() });
    stall.end();
    assert!(matches!(recording.await.unwrap(), Recorded::Done { .. }));
    assert_eq!(
        examining.await.unwrap(),
        ClaimStep::Done(ClaimStatus::Verified)
    );
    assert_eq!(
        world.newest_data(key)["devices_with_access"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let reported =
        "SELECT COUNT(*) AS value FROM notifications WHERE store_type = 'DEVICE_TRANSACTION'";
    assert_eq!(
        world.raw().number(reported),
        0,
        "a claim that a settling verified restarts no window"
    );
    assert_eq!(world.broken(1000).await, []);
}
