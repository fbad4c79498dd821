//! Claims at a store that signs the transactions which devices hand in: only a signed transaction proves a purchase, and
//! its content is stored as a notification.

use super::claims::{device, session, snapshot, transaction};
use super::world::{Report, World, reported, secret, story};
use domain::device::Content;
use domain::device::claim::CLAIM_STORE_TYPE;
use domain::device::claim::ClaimStatus;
use domain::{NotificationKind, StoreState, Timestamp};
use serde_json::json;
use storage::{
    AcceptedReports, ClaimAnswer, ClaimResult, ClaimStep, Claiming, DeviceReport, DeviceRequest,
    NewNotification, SignedReceipt,
};
use tokio::time::Instant;

const PURCHASE: &str = "2000001";
const CUSTOMER: &str = "7e3fb20b-4cdb-47cc-936d-99d65f608138";

impl World {
    /// Turns the platform into one of a store that signs transactions, with this credential.
    fn signs(&self, credential: Option<&str>) {
        let set = "UPDATE platforms SET store = 'apple', shared_secret";
        self.raw().run(&match credential {
            Some(_) => "UPDATE platforms SET store = 'apple'".to_owned(),
            None => format!("{set} = NULL"),
        });
    }

    /// Returns a transaction of the purchase, as a device hands it in.
    fn signed(
        &self,
        message_id: &str,
        named_at: Option<Timestamp>,
        now: Timestamp,
    ) -> SignedReceipt {
        let report = Report {
            kind: NotificationKind::Unknown,
            customer: None,
            related: None,
        };
        let row = reported(
            self.platform.id,
            message_id,
            PURCHASE,
            now.micros() / 1000,
            report,
        );
        let row = NewNotification {
            store_type: CLAIM_STORE_TYPE.to_owned(),
            order_id: Some(message_id.to_owned()),
            ..row
        };
        let mut shown = snapshot(now);
        shown.state = Some(Box::new(StoreState {
            named_at,
            ..StoreState::default()
        }));
        SignedReceipt {
            notification: row.with_signed(json!({ "content": message_id })),
            snapshot: Box::new(shown),
            customer: Some(CUSTOMER.to_owned()),
        }
    }

    /// Reports an event with signed transactions.
    async fn hands_in(
        &self,
        number: u128,
        event: &str,
        content: Content,
        signed: Vec<SignedReceipt>,
    ) -> AcceptedReports {
        let now = self.store.now().await.unwrap();
        let report = DeviceReport {
            client_id: event.to_owned(),
            time: now,
            session: None,
            content,
            signed,
        };
        let request = DeviceRequest {
            platform: self.platform.id,
            device: device(number),
            secret: Some(secret(device(number).id)),
            sent_at: now,
            received_at: Instant::now(),
            reports: vec![report],
            claiming: Claiming::Stored,
            network: "192.0.2.1/32".to_owned(),
        };
        self.store.accept_reports(request).await.unwrap()
    }

    fn inbox(&self) -> Vec<String> {
        self.raw()
            .texts("SELECT message_id AS value FROM notifications ORDER BY seq")
    }
}

/// Returns the content without the customer: the store alone names it.
fn unnamed(content: Content) -> Content {
    match content {
        Content::Transaction(mut transaction) => {
            transaction.app_user_id = None;
            Content::Transaction(transaction)
        }
        Content::SessionStart { session, receipts } => {
            let receipts = receipts.map(|mut receipts| {
                receipts.iter_mut().for_each(|one| one.app_user_id = None);
                receipts
            });
            Content::SessionStart { session, receipts }
        }
        other => other,
    }
}

fn bought() -> Content {
    unnamed(transaction(PURCHASE, CUSTOMER))
}

fn answer(receipt: &SignedReceipt) -> ClaimAnswer {
    ClaimAnswer::Confirmed {
        snapshot: receipt.snapshot.clone(),
        customer: receipt.customer.clone(),
    }
}

story! {
    async fn an_id_that_nobody_signed_is_no_claim(world: World) {
        world.signs(Some("key"));
        let now = world.store.now().await.unwrap();
        let listed = unnamed(session(1, &[(PURCHASE, CUSTOMER)]));
        for (event, content) in [("bought", bought()), ("start", listed)] {
            let reports = world.hands_in(1, event, content, Vec::new()).await;
            assert_eq!((reports.accepted, reports.known.len(), reports.claims.new), (1, 0, 0), "{event}");
        }
        let mut other = world.signed("other", None, now);
        other.notification.receipt_id = "2000002".to_owned();
        world.hands_in(1, "foreign", bought(), vec![other]).await;
        assert_eq!(world.claim_rows(), [""; 0]);
    }
}

story! {
    async fn a_signed_transaction_verifies_its_claim_at_once(world: World) {
        world.signs(None);
        let now = world.store.now().await.unwrap();
        let receipt = world.signed("signed/1", Some(now), now);
        let reports = world.hands_in(1, "bought", bought(), vec![receipt.clone()]).await;
        let key = world.key(PURCHASE);
        assert_eq!(reports.known, [(world.place(1), key)]);
        assert_eq!(reports.notified.len(), 1);
        assert_eq!(reports.claims.new, 0, "it waits for no query");
        assert!(world.claim_rows()[0].contains("pending -"), "{:?}", world.claim_rows());
        let verified = world.finish_claim(1, PURCHASE, answer(&receipt)).await;
        assert!(matches!(verified, ClaimResult::Reported(_)), "{verified:?}");
        assert_eq!(world.claim_rows(), [format!("{PURCHASE} {CUSTOMER} verified - purchased 4.99")]);
        let [content, claim] = &world.inbox()[..] else { panic!("two rows") };
        assert_eq!(content, "signed/1");
        assert!(claim.starts_with("device/"), "{claim}");

        // Another device hands in the same.
        let again = world.hands_in(2, "start", unnamed(session(2, &[(PURCHASE, CUSTOMER)])), vec![receipt.clone()]).await;
        assert_eq!((again.known.len(), again.notified.len()), (1, 0));
        assert!(matches!(world.finish_claim(2, PURCHASE, answer(&receipt)).await, ClaimResult::Reported(_)));
        let count = |text: &str| world.inbox().iter().filter(|id| id.starts_with(text)).count();
        assert_eq!((count("signed/"), count("device/")), (1, 2));

        // A later period on a device whose claim is verified.
        let renewed = world.signed("signed/2", Some(now), now);
        let later = world.hands_in(1, "later", unnamed(session(3, &[(PURCHASE, CUSTOMER)])), vec![renewed]).await;
        assert_eq!((later.known.len(), later.notified.len()), (0, 1));
        assert_eq!(world.broken(1000).await, []);
    }
}

story! {
    async fn an_undecided_signed_claim_is_never_queried(world: World) {
        world.signs(Some("key"));
        let now = world.store.now().await.unwrap();
        let receipt = world.signed("signed/1", Some(now), now);
        world.hands_in(1, "bought", bought(), vec![receipt.clone()]).await;
        world.pass(60_000);
        let step = world.examine_claim_of(1, PURCHASE).await;
        assert_eq!(step, ClaimStep::Done(ClaimStatus::Pending), "its notification is open");
        world.raw().run("UPDATE notifications SET outcome = 'discarded', finished_at = accepted_at");
        world.pass(60_000);
        let step = world.examine_claim_of(1, PURCHASE).await;
        assert_eq!(step, ClaimStep::Done(ClaimStatus::Pending), "an id proves nothing");
        // The device hands it in again.
        let reports = world.hands_in(1, "start", unnamed(session(1, &[(PURCHASE, CUSTOMER)])), vec![receipt.clone()]).await;
        assert_eq!(reports.known, [(world.place(1), world.key(PURCHASE))]);
        let verified = world.finish_claim(1, PURCHASE, answer(&receipt)).await;
        assert!(matches!(verified, ClaimResult::Reported(_)), "{verified:?}");
    }
}

story! {
    async fn an_old_transaction_names_no_customer_of_a_known_purchase(world: World) {
        world.signs(Some("key"));
        let now = world.store.now().await.unwrap();
        world.bought(PURCHASE, "later").await;
        let key = world.key(PURCHASE);
        let mut shown = snapshot(now);
        shown.state = Some(Box::new(StoreState { named_at: Some(now), ..StoreState::default() }));
        world.verified_by(key, &shown).await;
        world.raw().run("UPDATE purchases SET app_user_id = 'later'");
        let earlier = now.minus(std::time::Duration::from_secs(3600));
        for (device, named_at, customer) in [(1, Some(earlier), "later"), (2, None, "later"), (3, Some(now), CUSTOMER)] {
            let receipt = world.signed(&format!("signed/{device}"), named_at, now);
            world.hands_in(device, "bought", bought(), vec![receipt.clone()]).await;
            world.finish_claim(device, PURCHASE, answer(&receipt)).await;
            let place = world.place(device).device;
            let named = world.raw().texts(&format!("SELECT app_user_id AS value FROM claims WHERE device_id = '{place}'"));
            assert_eq!(named, [customer], "{named_at:?}");
        }
    }
}
