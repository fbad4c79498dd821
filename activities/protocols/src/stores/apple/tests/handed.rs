//! Transactions that devices hand in: which prove a purchase, and what a check finds in them.

use super::server::{
    AppStore, BUNDLE, DAY_MS, PURCHASE, TOKEN, began, millis, renewal, reply, subject, transaction,
    with,
};
use super::{SigningChain, now};
use crate::stores::Answer;
use crate::stores::apple::handed::{HandedRefusal, HandedTransaction, MAX_SIGNED_BYTES, read};
use crate::stores::apple::jws::{JwsRefusal, verify};
use crate::stores::apple::notification::ExpectedApp;
use domain::stores::StorePolicy;
use domain::{
    Environment, Notification, PlatformId, Purchase, SettlingContext, Snapshot, Timestamp,
    TransitionKind, Verification, decide,
};
use serde_json::{Value, json};

const APP: ExpectedApp<'_> = ExpectedApp {
    bundle_id: BUNDLE,
    apple_id: Some(123),
    environment: Environment::Production,
};

fn platform() -> PlatformId {
    PlatformId::new(uuid::Uuid::from_u128(3))
}

fn hand_in(store: &AppStore, text: &str) -> Result<HandedTransaction, HandedRefusal> {
    read(&store.chain.trusted(), verify, text, &APP, now())
}

fn handed(store: &AppStore, transaction: &Value) -> HandedTransaction {
    match hand_in(store, &store.sign(transaction)) {
        Ok(handed) => handed,
        Err(refusal) => panic!("{refusal:?}"),
    }
}

#[test]
fn a_signed_transaction_shows_its_purchase_and_customer() {
    let store = AppStore::new();
    let handed = handed(&store, &transaction(1));
    let notification = handed.notification(platform());
    assert_eq!(notification.receipt_id, PURCHASE);
    assert_eq!(
        notification.app_user_id, None,
        "an answer names the customer"
    );
    assert_eq!(handed.customer().as_deref(), Some(TOKEN));
    let shown = handed.snapshot().expect("a snapshot");
    let begins = Timestamp::from_millis(began());
    assert_eq!(shown.purchased_at, Some(begins));
    let state = shown.state.expect("a state");
    assert_eq!(state.named_at, Some(begins));
    let stored = handed.decoded().to_string();
    assert!(
        !stored.contains("x5c") && !stored.contains("eyJ"),
        "{stored}"
    );
}

#[test]
fn what_is_handed_in_again_is_one_notification() {
    let store = AppStore::new();
    let id = |transaction: &Value| {
        handed(&store, transaction)
            .notification(platform())
            .message_id
    };
    let first = id(&transaction(1));
    let later = json!({
        "signedDate": millis(now()) - 1, "deviceVerification": "YQ==", "deviceVerificationNonce": "b",
    });
    assert_eq!(id(&with(transaction(1), &later)), first);
    let refunded = json!({ "revocationDate": millis(now()), "revocationReason": 0 });
    assert_ne!(id(&with(transaction(1), &refunded)), first);
    assert_ne!(id(&transaction(2)), first);
}

#[test]
fn only_a_transaction_of_the_app_proves_a_purchase() {
    let store = AppStore::new();
    let signed = |members: &Value| store.sign(&with(transaction(1), members));
    let stranger = SigningChain::apple();
    let jws = |refusal| HandedRefusal::Jws(refusal);
    let genuine = store.sign(&transaction(1));
    let (_, signature) = genuine.rsplit_once('.').expect("a signature");
    let other = signed(&json!({ "originalTransactionId": "9" }));
    let (content, _) = other.rsplit_once('.').expect("a content");
    for (text, expected) in [
        (PURCHASE.to_owned(), jws(JwsRefusal::Form)),
        ("a.b.c".to_owned(), jws(JwsRefusal::Form)),
        ("x".repeat(MAX_SIGNED_BYTES + 1), jws(JwsRefusal::Form)),
        (
            stranger.sign(&stranger.header(), &transaction(1)),
            jws(JwsRefusal::Chain),
        ),
        (format!("{content}.{signature}"), jws(JwsRefusal::Signature)),
        (store.sign(&renewal()), HandedRefusal::NoTransaction),
        (
            signed(&json!({ "environment": "Xcode" })),
            HandedRefusal::NoTransaction,
        ),
        (
            signed(&json!({ "bundleId": "com.example.other" })),
            HandedRefusal::ForeignBundle,
        ),
    ] {
        assert_eq!(hand_in(&store, &text).err(), Some(expected), "{text}");
    }
    let sandbox = ExpectedApp {
        environment: Environment::Sandbox,
        ..APP
    };
    let chains = store.chain.trusted();
    let refused = read(&chains, verify, &genuine, &sandbox, now()).err();
    assert_eq!(refused, Some(HandedRefusal::ForeignEnvironment));
    let test = signed(&json!({ "environment": "Sandbox" }));
    assert!(
        hand_in(&store, &test).is_ok(),
        "a test purchase in production"
    );
}

/// Settles a purchase by what a check of these bodies shows; returns it with its transitions.
fn settled(
    before: &Purchase,
    notifications: &[(i64, Notification)],
    shown: Snapshot,
) -> (Purchase, Vec<TransitionKind>) {
    let verification = Verification::Verified(Box::new(shown));
    let context = SettlingContext {
        policy: StorePolicy::of("apple").expect("a policy"),
        verification: &verification,
        is_replaced: false,
        now: now(),
    };
    let decision = decide(before, notifications, context);
    let kinds = decision.transitions.iter().map(|one| one.kind);
    (decision.purchase, kinds.collect())
}

fn checked(answer: Answer) -> Snapshot {
    match answer {
        Answer::Verification(Verification::Verified(shown))
        | Answer::Named(Verification::Verified(shown), _) => *shown,
        other => panic!("{other:?}"),
    }
}

/// Case A14: Apple never reported the change from the monthly to the yearly plan.
#[test]
fn a14_a_device_shows_an_upgrade_that_was_not_reported() {
    let store = AppStore::new();
    let data = [
        ("signedTransactionInfo", &transaction(1)),
        ("signedRenewalInfo", &renewal()),
    ];
    let bought = store.notification("SUBSCRIBED", &data);
    let first = store.read(&bought).notification(platform());
    let reported = first
        .map(|first| (1, first))
        .into_iter()
        .collect::<Vec<_>>();
    let (answer, _) = store.check(&subject(vec![store.stored(&bought)]), &[]);
    let (monthly, _) = settled(&Purchase::default(), &reported, checked(answer));

    let upgraded_at = began() + 20 * DAY_MS;
    let yearly = json!({
        "transactionId": "20000019", "productId": "gold.yearly", "purchaseDate": upgraded_at,
        "expiresDate": upgraded_at + 365 * DAY_MS, "transactionReason": "PURCHASE", "price": 39_990,
    });
    let yearly = with(transaction(1), &yearly);
    let renews = json!({
        "productId": "gold.yearly", "autoRenewProductId": "gold.yearly", "renewalDate": upgraded_at + 365 * DAY_MS,
    });
    let statuses = json!({ "data": [{ "lastTransactions": [{
        "status": 1, "originalTransactionId": PURCHASE, "signedTransactionInfo": store.sign(&yearly),
        "signedRenewalInfo": store.sign(&with(renewal(), &renews)),
    }] }] });
    let handed = handed(&store, &yearly);
    let body = json!({ storage::SIGNED: handed.decoded() });
    let mut known = subject(vec![body]);
    known.known = Some(Box::new(monthly.clone()));
    let (answer, _) = store.check(&known, &[reply(200, &statuses)]);
    let handed_in = [(2, handed.notification(platform()))];
    let (after, transitions) = settled(&monthly, &handed_in, checked(answer));
    assert_eq!(transitions, [TransitionKind::PlanChanged]);

    // The wake an hour later finds the same.
    let mut woken = subject(Vec::new());
    woken.known = Some(Box::new(after.clone()));
    let (answer, _) = store.check(&woken, &[reply(200, &statuses)]);
    let (_, transitions) = settled(&after, &[], checked(answer));
    assert_eq!(transitions, []);
}
