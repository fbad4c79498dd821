//! The number of waiting claims and the order of their checks: an attacker with the publishable key, who can claim
//! any receipt, cannot displace the claims of others.

use super::claims::{counts, priced, session, snapshot, transaction, uuid};
use super::world::{World, story};
use domain::device::claim::{ClaimReason, ClaimStatus};
use domain::{CollapseKey, DevicePlace};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use storage::{AcceptedReports, ClaimAnswer, ClaimCounts, ClaimResult, ClaimStep, Claiming};
use system_tests::rows;

const CUSTOMER: &str = "customer-1";
/// Maximum number of waiting claims per device and per network.
const OF_DEVICE: u128 = 20;
const OF_NETWORK: usize = 200;
const CROWD: &str = "192.0.2.1/32";

impl World {
    /// Reports these receipts by a device in this network.
    async fn reports(&self, number: u128, receipts: &[String], network: &str) -> AcceptedReports {
        let receipts: Vec<(&str, &str)> = receipts
            .iter()
            .map(|receipt| (receipt.as_str(), CUSTOMER))
            .collect();
        let start = (
            format!("start-{}", receipts.len()),
            session(number, &receipts),
        );
        self.device_claims_as(number, (&start.0, start.1), (Claiming::Stored, network))
            .await
    }

    /// Reports, by devices from this number on, as many receipts as may wait for the network. Returns the number of the
    /// next device.
    async fn crowds(&self, network: &str, first: u128) -> u128 {
        let devices = u128::try_from(OF_NETWORK).unwrap() / OF_DEVICE;
        for number in first..first + devices {
            let receipts: Vec<String> = (0..OF_DEVICE)
                .map(|index| format!("{network}-{number}-{index}"))
                .collect();
            let claims = self.reports(number, &receipts, network).await.claims;
            assert_eq!(claims, counts(receipts.len(), 0), "{network}: {number}");
            self.pass(10);
        }
        first + devices
    }

    fn waiting(&self, which: &str) -> i64 {
        self.count(&format!("claims WHERE status = 'pending' AND {which}"))
    }

    async fn examine(&self, known: &[(DevicePlace, CollapseKey)]) -> Vec<ClaimStep> {
        let mut steps = Vec::new();
        for (place, key) in known {
            steps.push(self.store.examine_claim(*place, *key).await.unwrap());
        }
        steps
    }
}

story! {
    async fn a_claim_of_a_known_purchase_is_never_dropped(world: World) {
        let key = world.key("known");
        world.bought("known", CUSTOMER).await;
        let shown = snapshot(world.store.now().await.unwrap());
        world.verified_by(key, &shown).await;
        world.bought("notified", CUSTOMER).await;
        let next = world.crowds(CROWD, 1).await;
        let of_known = |customer| ("a", session(next, &[("known", customer)]));
        let from = (Claiming::Dropped, CROWD);
        let honest = world.device_claims_as(next, of_known(CUSTOMER), from).await;
        assert_eq!((honest.claims, honest.known.len()), (counts(0, 0), 1), "it counts nowhere");
        assert!(matches!(world.examine(&honest.known).await[..], [ClaimStep::Reported(_)]));
        let thief = world.device_claims_as(next + 1, of_known("thief"), from).await;
        assert_eq!(world.examine(&thief.known).await, [ClaimStep::Done(ClaimStatus::Refused)]);
        let early = world.device_claims_as(next + 2, ("a", session(1, &[("notified", CUSTOMER)])), from).await;
        assert_eq!(world.examine(&early.known).await, [ClaimStep::Done(ClaimStatus::Pending)], "its settling decides it");
        assert_eq!(world.waiting("network <> ''"), 200, "the places of the network are those of others");
        world.verified_by(world.key("notified"), &shown).await;
        assert_eq!(world.claims_in("verified"), 2);
    }
}

story! {
    async fn a_network_has_a_share_of_the_places(world: World) {
        let next = world.crowds(CROWD, 1).await;
        let one = |name: &str| [name.to_owned()];
        assert_eq!(world.reports(next, &one("more"), CROWD).await.claims, counts(0, 1));
        assert_eq!(world.alarm_kinds().await, ["claims_dropped"]);
        assert_eq!(world.reports(next + 1, &one("other"), "2001:db8:1::/48").await.claims, counts(1, 0));
        let networks = world.raw().texts("SELECT DISTINCT network AS value FROM claims");
        assert!(networks.iter().all(|network| network.len() == 40 && !network.contains('.')), "hashes: {networks:?}");
        assert_eq!(networks.len(), 2);
        world.finish_claim(1, &format!("{CROWD}-1-0"), ClaimAnswer::Refused(ClaimReason::UnknownReceipt)).await;
        assert_eq!(world.reports(next + 2, &one("again"), CROWD).await.claims, counts(1, 0), "one was decided");
        assert_eq!(world.waiting("TRUE"), 201);
    }
}

impl World {
    /// Fills the platform's places except those of one network: 98 other networks have a hundred claims each.
    fn fill(&self) {
        let claims = rows::claims(self.platform.id, uuid(9999))
            .numbered(0, 9799)
            .sql("collapse_key", "'k' || i");
        let claims = claims
            .sql("receipt_id", "'k' || i")
            .text("app_user_id", "x")
            .text("status", "pending");
        self.raw().run(
            &claims
                .text("kind", "present")
                .sql("network", "'n' || (i % 98)"),
        );
    }
}

story! {
    async fn the_newest_claim_of_the_fullest_network_gives_way(world: World) {
        world.fill();
        let next = world.crowds(CROWD, 1).await;
        assert_eq!(world.waiting("TRUE"), 10_000);
        let newest = next - 1;
        let came = world.device_claims_as(next, ("a", priced("fresh", CUSTOMER, "4.99")), (Claiming::Stored, "new")).await;
        assert_eq!(came.claims, ClaimCounts { new: 1, dropped: 0, displaced: 1 });
        assert_eq!((world.waiting("TRUE"), world.waiting("network LIKE 'n%'")), (10_000, 9_800));
        assert_eq!(world.alarm_kinds().await, ["claims_dropped"]);
        let refused = "SELECT device_id || ' ' || reason AS value FROM claims WHERE status = 'refused'";
        assert_eq!(world.raw().texts(refused), [format!("{} displaced", uuid(newest))]);
        let gone = world.raw().texts("SELECT receipt_id AS value FROM claims WHERE status = 'refused'").remove(0);
        // This network has more claims than any other, so none is displaced for it.
        let again = world.reports(newest, &[gone.clone(), "other".to_owned()], CROWD).await;
        assert_eq!(again.claims, counts(0, 2));
        world.pass(2_000);
        world.finish_claim(next, "fresh", ClaimAnswer::Refused(ClaimReason::Invalid)).await;
        // Another process counts anew.
        let other = world.second_process().await;
        let world = World { store: other, ..world };
        let again = world.device_claims_as(newest, ("b", priced(&gone, CUSTOMER, "4.99")), (Claiming::Stored, CROWD)).await;
        assert_eq!(again.claims, counts(1, 0), "there is a place");
        let row = format!("{gone} customer-1 pending - purchased 4.99");
        assert!(world.claim_rows().contains(&row), "it waits again");
    }
}

story! {
    async fn an_answer_of_the_store_verifies_a_claim_that_gave_way(world: World) {
        world.reports(1, &["r1".to_owned()], CROWD).await;
        world.raw().run("UPDATE claims SET status = 'refused', reason = 'displaced'");
        world.device_claims(2, "a", session(1, &[("r1", CUSTOMER)])).await;
        world.pass(6_000);
        assert_eq!(world.examine_claim_of(2, "r1").await, ClaimStep::Query, "the store did not refuse it");
        world.bought("r1", CUSTOMER).await;
        let shown = snapshot(world.store.now().await.unwrap());
        world.verified_by(world.key("r1"), &shown).await;
        assert_eq!(world.claim_rows(), ["r1 customer-1 verified - present -"; 2]);
        assert_eq!(world.count("claims WHERE network <> ''"), 0);
    }
}

story! {
    async fn the_networks_take_turns(world: World) {
        let sizes: BTreeMap<&str, u32> = BTreeMap::from([("a", 6), ("b", 2), ("c", 1)]);
        let mut network_of = BTreeMap::new();
        for (number, (network, size)) in (1..).zip(&sizes) {
            for index in 0..*size {
                let receipt = format!("{network}{index}");
                network_of.insert(world.key(&receipt), *network);
                let start = session(number, &[(&receipt, CUSTOMER)]);
                world.device_claims_as(number, (&receipt, start), (Claiming::Stored, network)).await;
                world.pass(10);
            }
        }
        let (mut last, mut order) = (String::new(), Vec::new());
        while order.len() < network_of.len() {
            let page = world.store.due_claims(world.platform.id, &last, 2).await.unwrap().unwrap();
            for (place, key) in page.due {
                let refused = ClaimAnswer::Refused(ClaimReason::UnknownReceipt);
                world.store.finish_claim(place, key, refused).await.unwrap();
                order.push(key);
            }
            last = page.network;
        }
        let turns: Vec<&str> = order.iter().map(|key| network_of[key]).collect();
        assert_eq!(turns[..3].iter().copied().collect::<BTreeSet<_>>(), BTreeSet::from(["a", "b", "c"]), "{turns:?}");
        assert_eq!(turns[3..5].iter().copied().collect::<BTreeSet<_>>(), BTreeSet::from(["a", "b"]), "{turns:?}");
        let of_a: Vec<&CollapseKey> = order.iter().filter(|key| network_of[*key] == "a").collect();
        let oldest: Vec<CollapseKey> = (0..6).map(|index| world.key(&format!("a{index}"))).collect();
        assert_eq!(of_a, oldest.iter().collect::<Vec<_>>(), "the oldest first");
    }
}

story! {
    async fn a_claim_that_the_database_refuses_stays_pending(world: World) {
        use storage::ClaimAnswer::{Confirmed, Unanswered};
        world.device_claims(1, "a", transaction("r1", CUSTOMER)).await;
        let (place, key, platform) = (world.place(1), world.key("r1"), world.platform.id);
        let stored = || {
            let row = "SELECT status || ' ' || COALESCE(reason, '-') || ' ' || attempts AS value FROM claims";
            world.raw().texts(row).remove(0)
        };
        // The wait is between one and five minutes, even after the two days for which a store may not answer.
        for (passed_ms, wait_ms) in [(0, 60_000), (1_200_000, 300_000), (3 * 86_400_000, 300_000)] {
            world.pass(passed_ms);
            let began = world.store.now().await.unwrap();
            world.store.note_claim_failure(place, key, "a constraint forbids\0it").await.unwrap();
            let page = world.store.due_claims(platform, "", 10).await.unwrap().unwrap();
            world.check_left(page.next_due_in.unwrap(), wait_ms, began).await;
            assert_eq!((page.due, stored()), (vec![], "pending - 0".to_owned()), "the store is not at fault");
        }
        let explained = world.store.explain_purchase(key).await.unwrap();
        assert_eq!((explained.platform_id, explained.purchase), (platform, None), "nothing but the claim is known");
        assert!(explained.claims[0].failure.as_deref().unwrap().starts_with("a constraint forbids"));
        world.finish_claim(1, "r1", Unanswered(Duration::ZERO)).await;
        assert_eq!(stored(), "pending unanswered 1", "its two days begin when the database takes it");
        assert_eq!(world.store.explain_purchase(key).await.unwrap().claims[0].failure, None);
        let shown = snapshot(world.store.now().await.unwrap());
        assert!(matches!(world.finish_claim(1, "r1", Confirmed { snapshot: Box::new(shown), customer: None }).await, ClaimResult::Reported(_)));
    }
}
