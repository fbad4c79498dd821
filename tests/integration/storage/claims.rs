//! Claims of devices: what is stored about them, what verifies them, and which devices have access to a purchase.

pub use super::devices::{device, uuid};
use super::world::{Report, World, new_platform, reported, secret, story};
use domain::device::claim::ClaimStatus;
use domain::device::{Content, Device, DeviceReceipt, DeviceTransaction};
use domain::verification::{Product, Term, Unit};
use domain::{
    CollapseKey, DeviceId, DevicePlace, NotificationKind, SessionId, Snapshot, Verification,
};
use serde_json::{Value, json};
use std::time::Duration;
use storage::{
    AcceptedReports, ClaimAnswer, ClaimCounts, ClaimResult, ClaimStep, Claiming, DeviceReport,
    DeviceRequest, Page, Record,
};
use tokio::time::Instant;

const CUSTOMER: &str = "customer-1";

/// Returns the start of a session on a device with these receipts.
pub fn session(number: u128, receipts: &[(&str, &str)]) -> Content {
    let receipt = |(receipt_id, app_user_id): &(&str, &str)| DeviceReceipt {
        receipt_id: (*receipt_id).to_owned(),
        app_user_id: Some((*app_user_id).to_owned()),
    };
    let receipts = Some(receipts.iter().map(receipt).collect());
    Content::SessionStart {
        session: SessionId::new(uuid(1000 + number)),
        receipts,
    }
}

pub fn transaction(receipt_id: &str, customer: &str) -> Content {
    priced(receipt_id, customer, "4.99")
}

pub fn priced(receipt_id: &str, customer: &str, dollars: &str) -> Content {
    let transaction: DeviceTransaction = serde_json::from_value(json!({
        "kind": "purchased", "receipt_id": receipt_id, "app_user_id": customer, "sku": "term", "price": dollars,
        "currency": "USD", "marketplace": "US",
    }))
    .unwrap();
    Content::Transaction(transaction)
}

/// Returns a monthly subscription that began a minute ago.
pub fn snapshot(now: domain::Timestamp) -> Snapshot {
    Snapshot {
        at: now,
        product: Product::Subscription,
        product_id: Some("parent".to_owned()),
        term_sku: Some("term".to_owned()),
        term: Some(Term {
            count: 1,
            unit: Unit::Month,
        }),
        purchased_at: Some(now.minus(Duration::from_secs(60))),
        renews_at: Some(now.plus(Duration::from_secs(30 * 86_400))),
        auto_renewing: Some(true),
        country: Some("US".to_owned()),
        ..Snapshot::default()
    }
}

impl World {
    pub fn place(&self, number: u128) -> DevicePlace {
        DevicePlace {
            platform: self.platform.id,
            device: DeviceId::new(uuid(number)),
        }
    }

    pub async fn device_claims(&self, number: u128, id: &str, content: Content) -> AcceptedReports {
        self.device_claims_as(number, (id, content), (Claiming::Stored, "192.0.2.1/32"))
            .await
    }

    pub async fn device_claims_as(
        &self,
        number: u128,
        (id, content): (&str, Content),
        (claiming, network): (Claiming, &str),
    ) -> AcceptedReports {
        let now = self.store.now().await.unwrap();
        let report = DeviceReport {
            client_id: id.to_owned(),
            time: now,
            session: None,
            content,
            signed: Vec::new(),
        };
        let request = DeviceRequest {
            platform: self.platform.id,
            device: device(number),
            secret: Some(secret(device(number).id)),
            sent_at: now,
            received_at: Instant::now(),
            reports: vec![report],
            claiming,
            network: network.to_owned(),
        };
        self.store.accept_reports(request).await.unwrap()
    }

    pub fn claim_rows(&self) -> Vec<String> {
        self.raw().texts(
            "SELECT receipt_id || ' ' || app_user_id || ' ' || status || ' ' || COALESCE(reason, '-') || ' ' || kind
                || ' ' || COALESCE(price, '-') AS value
             FROM claims ORDER BY receipt_id, device_id",
        )
    }

    pub async fn examine_claim_of(&self, number: u128, receipt_id: &str) -> ClaimStep {
        self.store
            .examine_claim(self.place(number), self.key(receipt_id))
            .await
            .unwrap()
    }

    pub async fn finish_claim(
        &self,
        number: u128,
        receipt_id: &str,
        answer: ClaimAnswer,
    ) -> ClaimResult {
        self.store
            .finish_claim(self.place(number), self.key(receipt_id), answer)
            .await
            .unwrap()
    }

    /// Accepts the store's notification of a purchase by this customer.
    pub async fn bought(&self, receipt_id: &str, customer: &str) {
        let now = self.store.now().await.unwrap();
        let report = Report {
            kind: NotificationKind::SubscriptionPurchased,
            customer: Some(customer),
            related: None,
        };
        let at_ms = now.micros() / 1000 - 50_000;
        self.accept(reported(
            self.platform.id,
            &format!("store-{receipt_id}"),
            receipt_id,
            at_ms,
            report,
        ))
        .await;
    }

    /// Settles a purchase with this answer of the store; returns the new revision.
    pub async fn verified_by(&self, key: CollapseKey, snapshot: &Snapshot) -> i64 {
        let loaded = self.load(key).await;
        let verification = Verification::Verified(Box::new(snapshot.clone()));
        self.done(Record::decided(key, &loaded, &verification))
            .await
    }

    /// Returns `data` of the newest `purchase.updated`.
    pub fn newest_data(&self, key: CollapseKey) -> Value {
        let bodies = self.raw().texts(&format!(
            "SELECT body AS value FROM events WHERE collapse_key = '{key}' AND event_type = 'purchase.updated'
             ORDER BY seq DESC LIMIT 1"
        ));
        serde_json::from_str::<Value>(&bodies[0]).unwrap()["data"].clone()
    }

    pub fn event_types(&self, key: CollapseKey) -> Vec<String> {
        self.raw().texts(&format!(
            "SELECT event_type AS value FROM events WHERE collapse_key = '{key}' ORDER BY seq"
        ))
    }

    pub async fn alarm_kinds(&self) -> Vec<String> {
        let alarms = self.store.alarms(Page::default()).await.unwrap().items;
        let mut kinds: Vec<String> = alarms.into_iter().map(|alarm| alarm.kind).collect();
        kinds.sort();
        kinds
    }
}

pub const fn counts(new: usize, dropped: usize) -> ClaimCounts {
    ClaimCounts {
        new,
        dropped,
        displaced: 0,
    }
}

story! {
    async fn a_claim_is_stored_once_and_filled_by_its_transaction(world: World) {
        let first = world.device_claims(1, "a", session(1, &[("r1", CUSTOMER), ("r2", CUSTOMER)])).await;
        assert_eq!(first.claims, counts(2, 0));
        assert_eq!(world.device_claims(1, "a", session(1, &[("r3", CUSTOMER)])).await.claims, counts(0, 0), "a repeated event");
        assert_eq!(world.device_claims(1, "b", session(2, &[("r1", CUSTOMER)])).await.claims, counts(0, 0));
        world.raw().run("UPDATE claims SET status = 'verified' WHERE receipt_id = 'r1'");
        assert_eq!(world.device_claims(1, "c", transaction("r1", CUSTOMER)).await.claims, counts(0, 0));
        world.device_claims(1, "d", session(3, &[("r1", CUSTOMER), ("r2", "customer-2")])).await;
        assert_eq!(
            world.claim_rows(),
            ["r1 customer-1 verified - purchased 4.99", "r2 customer-1 pending - present -"],
            "a verified claim is never weakened, and a pending one is not another customer's"
        );
        world.raw().run("UPDATE claims SET status = 'refused', reason = 'wrong_customer' WHERE receipt_id = 'r2'");
        assert_eq!(world.device_claims(1, "e", session(4, &[("r2", CUSTOMER)])).await.claims, counts(0, 0), "it was refused");
        assert_eq!(world.device_claims(1, "f", session(5, &[("r2", "customer-2")])).await.claims, counts(1, 0));
        assert_eq!(world.claim_rows()[1], "r2 customer-2 pending - present -");
    }
}

story! {
    async fn claims_that_are_not_verified_are_bounded(world: World) {
        let receipts: Vec<String> = (0..25).map(|number| format!("r{number}")).collect();
        let receipts: Vec<(&str, &str)> = receipts.iter().map(|receipt| (receipt.as_str(), CUSTOMER)).collect();
        assert_eq!(world.device_claims(1, "a", session(1, &receipts)).await.claims, counts(20, 5), "of a device");
        assert_eq!(world.count("device_events"), 1, "the event is stored");
        let other = ("a", session(1, &[("other", CUSTOMER)]));
        let dropped = world.device_claims_as(2, other, (Claiming::Dropped, "192.0.2.2/32")).await;
        assert_eq!(dropped.claims, counts(0, 1), "of an address");
        assert_eq!(world.alarm_kinds().await, ["claims_dropped"; 2]);
    }
}

story! {
    async fn a_platform_without_a_secret_verifies_no_claim(world: World) {
        world.set_secret(None).await;
        world.device_claims(1, "a", session(1, &[("r1", CUSTOMER)])).await;
        assert_eq!(world.claim_rows(), ["r1 customer-1 pending no_secret present -"]);
        assert_eq!(world.alarm_kinds().await, ["claims_unverified"]);
        assert!(world.store.due_claims(world.platform.id, "", 10).await.unwrap().is_none());
        assert!(world.store.platforms_with_due_claims().await.unwrap().is_empty());
        assert!(world.store.claim_query(world.place(1), world.key("r1")).await.unwrap().is_none());
        world.set_secret(Some("new")).await;
        assert_eq!(world.store.platforms_with_due_claims().await.unwrap(), [world.platform.id]);
        let page = world.store.due_claims(world.platform.id, "", 10).await.unwrap().unwrap();
        assert_eq!(page.due, [(world.place(1), world.key("r1"))]);
    }
}

story! {
    async fn a_known_purchase_decides_a_claim_without_a_query(world: World) {
        let key = world.key("r1");
        world.bought("r1", CUSTOMER).await;
        let began = world.store.now().await.unwrap();
        world.device_claims(1, "a", session(1, &[("r1", CUSTOMER)])).await;
        assert_eq!(world.examine_claim_of(1, "r1").await, ClaimStep::Done(ClaimStatus::Pending), "it is not verified yet");
        assert_eq!(world.claim_rows(), ["r1 customer-1 pending unsettled present -"]);
        let page = world.store.due_claims(world.platform.id, "", 10).await.unwrap().unwrap();
        let check_ms = world.raw().number("SELECT due_at - created_at AS value FROM claims") / 1000;
        assert!(check_ms == 5_000 || (check_ms == 35_000 && world.is_postgres()), "examined again at an age of {check_ms} ms");
        let left = page.next_due_in.filter(|_| page.due.is_empty()).unwrap_or_default();
        world.check_left(left, check_ms, began).await;
        let shown = snapshot(world.store.now().await.unwrap());
        assert_eq!(world.verified_by(key, &shown).await, 1);
        assert_eq!(world.newest_data(key)["devices_with_access"][0]["id"], json!(uuid(1)), "its settling verifies it");
        for (number, customer) in [(2, "thief"), (3, CUSTOMER)] {
            world.device_claims(number, "a", session(1, &[("r1", customer)])).await;
        }
        assert_eq!(world.examine_claim_of(2, "r1").await, ClaimStep::Done(ClaimStatus::Refused));
        let step = world.examine_claim_of(3, "r1").await;
        assert!(matches!(step, ClaimStep::Reported(open) if open.quiet > Duration::from_secs(100)), "{step:?}");
        assert_eq!(world.examine_claim_of(3, "r1").await, ClaimStep::Done(ClaimStatus::Verified), "once");
        assert_eq!(
            world.claim_rows(),
            [
                "r1 customer-1 verified - present -",
                "r1 thief refused wrong_customer present -",
                "r1 customer-1 verified - present -"
            ]
        );
        let joined = world.users_of_devices();
        let owner = world.owners().remove(0);
        assert_eq!(joined, [owner.as_str(), "-", owner.as_str()], "the devices belong to the customer's user");
        let claims = world.store.explain_purchase(key).await.unwrap().claims;
        let claims: Vec<_> = claims.iter().map(|claim| (claim.status.as_str(), claim.reason.as_deref())).collect();
        assert_eq!(claims, [("verified", None), ("verified", None), ("refused", Some("wrong_customer"))]);
        assert_eq!(world.verified_by(key, &shown).await, 2);
        let data = world.newest_data(key);
        let devices = data["devices_with_access"].as_array().unwrap();
        assert_eq!(devices.iter().map(|one| &one["id"]).collect::<Vec<_>>(), [&json!(uuid(1)), &json!(uuid(3))]);
        assert!(devices.iter().all(|one| one["claim_type"] == "original_purchaser"), "{data}");
        assert_eq!(data["last_seen_device_id"], json!(uuid(3)));
        assert_eq!(world.verified_by(key, &shown).await, 2, "nothing changed");
    }
}

story! {
    async fn an_unknown_receipt_costs_one_query(world: World) {
        let key = world.key("r1");
        world.device_claims(1, "a", transaction("r1", CUSTOMER)).await;
        assert_eq!(world.examine_claim_of(1, "r1").await, ClaimStep::Done(ClaimStatus::Pending), "the store may notify it yet");
        world.pass(6_000);
        assert_eq!(world.examine_claim_of(1, "r1").await, ClaimStep::Query);
        let query = world.store.claim_query(world.place(1), key).await.unwrap().unwrap();
        assert_eq!((query.app_user_id.as_deref(), query.receipt_id.as_str()), (Some(CUSTOMER), "r1"));
        assert!(world.load(key).await.notifications.is_empty(), "nothing of it is known before");
        let shown = snapshot(world.store.now().await.unwrap());
        let confirmed = || ClaimAnswer::Confirmed { snapshot: Box::new(shown.clone()), customer: None };
        let result = world.finish_claim(1, "r1", confirmed()).await;
        assert!(matches!(result, ClaimResult::Reported(open) if open.quiet > Duration::from_secs(100)), "{result:?}");
        assert_eq!(world.finish_claim(1, "r1", confirmed()).await, ClaimResult::NotVerified, "it is verified once");
        assert_eq!(world.count("notifications"), 1);
        assert_eq!(world.claim_rows(), ["r1 customer-1 verified - purchased 4.99"]);
        world.bought("r1", CUSTOMER).await;
        assert_eq!(world.verified_by(key, &shown).await, 1);
        assert_eq!(world.event_types(key), ["user.subscription.purchased", "purchase.updated"]);
        assert_eq!(world.newest_data(key)["devices_with_access"][0]["id"], json!(uuid(1)));
    }
}

story! {
    async fn a_refused_receipt_costs_one_query_on_any_number_of_devices(world: World) {
        use domain::device::claim::ClaimReason;
        for (number, customer) in [(1, CUSTOMER), (2, CUSTOMER), (3, "customer-2")] {
            world.device_claims(number, "a", transaction("r1", customer)).await;
        }
        world.pass(6_000);
        assert_eq!(world.examine_claim_of(1, "r1").await, ClaimStep::Query);
        world.finish_claim(1, "r1", ClaimAnswer::Refused(ClaimReason::UnknownReceipt)).await;
        assert_eq!(world.examine_claim_of(2, "r1").await, ClaimStep::Done(ClaimStatus::Refused));
        assert_eq!(world.examine_claim_of(3, "r1").await, ClaimStep::Query, "of another customer nothing is known");
        // The receipt is refused for as long as the first time, whichever devices claim it.
        world.pass(8 * 86_400_000);
        assert_eq!(world.store.forget_refused_claims(10).await.unwrap(), 2);
        world.device_claims(4, "a", transaction("r1", CUSTOMER)).await;
        world.pass(6_000);
        assert_eq!(world.examine_claim_of(4, "r1").await, ClaimStep::Query);
    }
}

story! {
    async fn what_was_only_present_is_adopted_and_announces_nothing(world: World) {
        let key = world.key("r1");
        world.device_claims(1, "a", session(1, &[("r1", CUSTOMER)])).await;
        let now = world.store.now().await.unwrap();
        let long_ago = Some(now.minus(Duration::from_secs(86_400)));
        let shown = Snapshot { purchased_at: long_ago, ..snapshot(now) };
        world.finish_claim(1, "r1", ClaimAnswer::Confirmed { snapshot: Box::new(shown.clone()), customer: None }).await;
        assert_eq!(world.verified_by(key, &shown).await, 1);
        assert_eq!(world.event_types(key), ["purchase.updated"]);
        assert_eq!(world.newest_data(key)["devices_with_access"][0]["claim_type"], "original_purchaser");
    }
}

story! {
    async fn a_receipt_that_the_store_learns_later_is_taken_up_again(world: World) {
        use domain::device::claim::ClaimReason;
        world.device_claims(1, "a", transaction("r1", CUSTOMER)).await;
        world.device_claims(2, "a", transaction("r2", CUSTOMER)).await;
        let unknown = || ClaimAnswer::Refused(ClaimReason::UnknownReceipt);
        assert_eq!(world.finish_claim(1, "r1", unknown()).await, ClaimResult::NotVerified);
        assert_eq!(world.finish_claim(2, "r2", unknown()).await, ClaimResult::NotVerified);
        world.bought("r1", CUSTOMER).await;
        let shown = snapshot(world.store.now().await.unwrap());
        world.verified_by(world.key("r1"), &shown).await;
        assert_eq!(
            world.claim_rows(),
            ["r1 customer-1 verified - purchased 4.99", "r2 customer-1 refused unknown_receipt purchased 4.99"]
        );
        assert_eq!(world.store.forget_refused_claims(10).await.unwrap(), 0);
        world.pass(8 * 86_400_000);
        assert_eq!(world.store.forget_refused_claims(10).await.unwrap(), 1);
        assert_eq!(world.claim_rows().len(), 1);
    }
}

story! {
    async fn a_claim_is_abandoned_after_two_days(world: World) {
        world.device_claims(1, "a", transaction("r1", CUSTOMER)).await;
        let unanswered = || ClaimAnswer::Unanswered(Duration::from_secs(600));
        let began = world.store.now().await.unwrap();
        world.finish_claim(1, "r1", unanswered()).await;
        assert_eq!(world.claim_rows(), ["r1 customer-1 pending unanswered purchased 4.99"]);
        let page = world.store.due_claims(world.platform.id, "", 10).await.unwrap().unwrap();
        world.check_left(page.next_due_in.unwrap(), 600_000, began).await;
        world.pass(2 * 86_400_000 + 1000);
        world.finish_claim(1, "r1", unanswered()).await;
        assert_eq!(world.claim_rows(), ["r1 customer-1 refused given_up purchased 4.99"]);
    }
}

story! {
    async fn ten_thousand_sessions_make_no_revision(world: World) {
        let key = world.key("r1");
        world.bought("r1", CUSTOMER).await;
        let shown = snapshot(world.store.now().await.unwrap());
        world.verified_by(key, &shown).await;
        world.device_claims(1, "a", session(1, &[("r1", CUSTOMER)])).await;
        world.device_claims(2, "a", session(1, &[("r1", CUSTOMER)])).await;
        assert!(matches!(world.examine_claim_of(2, "r1").await, ClaimStep::Reported(_)));
        world.pass(10);
        assert!(matches!(world.examine_claim_of(1, "r1").await, ClaimStep::Reported(_)));
        assert_eq!(world.verified_by(key, &shown).await, 2);
        let before = world.newest_data(key);
        let named: Vec<&Value> =
            before["devices_with_access"].as_array().unwrap().iter().map(|device| &device["id"]).collect();
        assert_eq!(named, [&json!(uuid(2)), &json!(uuid(1))], "in the order of their verification");
        for round in 0..20_u128 {
            let now = world.store.now().await.unwrap();
            let reports = (0..500_u128).map(|number| DeviceReport {
                client_id: format!("s{round}-{number}"),
                time: now,
                session: None,
                content: session(10_000 + round * 500 + number, &[("r1", CUSTOMER)]),
                signed: Vec::new(),
            });
            let request = DeviceRequest {
                platform: world.platform.id,
                device: device(1),
                secret: Some(secret(device(1).id)),
                sent_at: now,
                received_at: Instant::now(),
                reports: reports.collect(),
                claiming: Claiming::Stored,
                network: String::new(),
            };
            assert_eq!(world.store.accept_reports(request).await.unwrap().accepted, 500);
            world.pass(1_000);
            assert_eq!(world.verified_by(key, &shown).await, 2, "no session makes a revision");
        }
        let later = Snapshot { country: Some("FR".to_owned()), ..shown };
        assert_eq!(world.verified_by(key, &later).await, 3);
        let after = world.newest_data(key);
        assert_ne!(after["devices_with_access"][1]["last_active"], before["devices_with_access"][1]["last_active"]);
        assert_eq!(after["last_seen_device_id"], json!(uuid(1)), "it travels with the next revision");
        let digest = world.raw().texts("SELECT digest AS value FROM purchases");
        assert_eq!(digest[0], domain::event::state_digest(&after), "the announced digest is that of the whole record");
    }
}

story! {
    async fn a_device_has_the_dates_of_registration_and_last_session(world: World) {
        let key = world.key("r1");
        let shown = snapshot(world.store.now().await.unwrap());
        world.bought("r1", CUSTOMER).await;
        // Each revision has another country, and the device reports another first launch.
        let revise = async |country: &str, id: &str, content: Content| {
            let now = world.store.now().await.unwrap();
            let session = match &content {
                Content::SessionStart { session, .. } | Content::SessionEnd { session } => Some(*session),
                Content::Impression(_) | Content::Transaction(_) => None,
            };
            let first_launch = format!("20{:02}-01-01T00:00:00Z", id.len()).parse().unwrap();
            let request = DeviceRequest {
                platform: world.platform.id,
                device: Device { first_launch, ..device(1) },
                secret: Some(secret(device(1).id)),
                sent_at: now,
                received_at: Instant::now(),
                reports: vec![DeviceReport { client_id: id.to_owned(), time: now, session, content, signed: Vec::new() }],
                claiming: Claiming::Stored,
                network: String::new(),
            };
            world.store.accept_reports(request).await.unwrap();
            world.pass(60_000);
            world.verified_by(key, &Snapshot { country: Some(country.to_owned()), ..shown.clone() }).await;
            let data = world.newest_data(key);
            assert_eq!(data["last_seen_device_id"], json!(uuid(1)));
            let device = data["devices_with_access"][0].clone();
            (device["first_launch"].clone(), device["last_active"].clone())
        };
        let time = |of: &str| json!(domain::Timestamp::from_micros(world.raw().number(&format!("SELECT {of}"))));
        let end = Content::SessionEnd { session: SessionId::new(uuid(1001)) };
        let open = revise("US", "a", session(1, &[("r1", CUSTOMER)])).await;
        let registered = time("created_at AS value FROM devices");
        assert_eq!(open, (registered.clone(), registered.clone()), "its session is open since just before that");
        let closed = revise("DE", "bb", end).await;
        assert_eq!(closed, (registered.clone(), time("closed_at AS value FROM device_sessions")), "its session has ended");
        assert!(closed.1.as_str() > open.1.as_str(), "{open:?} {closed:?}");
        assert_eq!(revise("FR", "ccc", session(2, &[])).await, closed, "another one is open");
    }
}

story! {
    async fn a_device_is_never_active_before_it_registered(world: World) {
        let key = world.key("r1");
        world.bought("r1", CUSTOMER).await;
        world.device_claims(1, "a", session(1, &[("r1", CUSTOMER)])).await;
        // What the device's first request reports happened before the request arrived.
        world.raw().run("UPDATE device_sessions SET last_event_at = last_event_at - 1000000");
        world.verified_by(key, &snapshot(world.store.now().await.unwrap())).await;
        let device = &world.newest_data(key)["devices_with_access"][0];
        assert!(device["last_active"].is_string() && device["first_launch"] == device["last_active"], "{device}");
    }
}

story! {
    async fn a_signed_device_of_the_user_shares_the_purchase(world: World) {
        let key = world.key("r1");
        world.bought("r1", CUSTOMER).await;
        let shown = snapshot(world.store.now().await.unwrap());
        world.verified_by(key, &shown).await;
        let mut other = new_platform(&world.app, "tv");
        other.settings.name = "tv".to_owned();
        let other = world.store.new_platform(other).await.unwrap();
        world.device_claims(1, "a", session(1, &[])).await;
        world.device_claims(2, "a", session(1, &[])).await;
        let user = world.owners().remove(0);
        world.raw().run(&format!("UPDATE devices SET user_id = '{user}'"));
        world.raw().run(&format!(
            "UPDATE devices SET is_signed = TRUE, platform_id = '{}' WHERE id = '{}'", other.id, uuid(2)
        ));
        assert_eq!(world.verified_by(key, &shown).await, 2);
        let devices = world.newest_data(key)["devices_with_access"].clone();
        assert_eq!(devices.as_array().unwrap().len(), 1, "a device without a signed login has no access: {devices}");
        assert_eq!((&devices[0]["id"], &devices[0]["claim_type"]), (&json!(uuid(2)), &json!("cross_platform_shared")));
    }
}

impl World {
    /// Reports a purchase at this price by a device, and confirms it by the store; returns the price, its source, and
    /// the ledger entry.
    async fn pay(&self, receipt_id: &str, dollars: &str) -> (Value, Value, String) {
        self.device_claims(1, receipt_id, priced(receipt_id, CUSTOMER, dollars))
            .await;
        let shown = snapshot(self.store.now().await.unwrap());
        self.finish_claim(
            1,
            receipt_id,
            ClaimAnswer::Confirmed {
                snapshot: Box::new(shown.clone()),
                customer: None,
            },
        )
        .await;
        let key = self.key(receipt_id);
        self.verified_by(key, &shown).await;
        let data = self.newest_data(key);
        let entry = self.raw().texts(&format!(
            "SELECT kind || ' ' || COALESCE(usd, '-') || ' ' || COALESCE(unknown_because, '-') || ' ' || source AS value
             FROM payments WHERE collapse_key = '{key}'"
        ));
        (
            data["purchase_price"].clone(),
            data["price_source"].clone(),
            entry.join(", "),
        )
    }
}

story! {
    async fn a_price_of_a_device_is_earned_and_a_forged_one_is_not(world: World) {
        world.sell("5.00").await;
        let paid = world.pay("r1", "4.99").await;
        assert_eq!(paid, (json!("4.99"), json!("device"), "initial 4.99 - device".to_owned()));
        assert!(world.alarm_kinds().await.is_empty());
        let forged = world.pay("r2", "4999.00").await;
        assert_eq!(forged, (Value::Null, Value::Null, "initial - implausible catalogue".to_owned()));
        assert_eq!(world.alarm_kinds().await, ["device_price"]);
        world.device_claims(2, "later", priced("r1", CUSTOMER, "2.60")).await;
        assert!(matches!(world.examine_claim_of(2, "r1").await, ClaimStep::Reported(_)));
        let shown = snapshot(world.store.now().await.unwrap());
        world.verified_by(world.key("r1"), &shown).await;
        assert_eq!(world.newest_data(world.key("r1"))["purchase_price"], "4.99", "the first verified claim stays");
        assert_eq!(world.count("payments"), 2);
    }
}
