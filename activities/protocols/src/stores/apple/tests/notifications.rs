//! Notifications: what is accepted, what is foreign although Apple signed it, what is stored, and the duties.

use super::now;
use super::server::{AppStore, BUNDLE, PURCHASE, millis, renewal, transaction, with};
use crate::stores::apple::jws::{self, JwsRefusal};
use crate::stores::apple::notification::{
    ExpectedApp, FOREIGN_APP, FOREIGN_BUNDLE, FOREIGN_ENVIRONMENT, FOREIGN_PART, SignedPayload,
    read,
};
use domain::time::HOUR;
use domain::{Environment, NotificationKind, PlatformId};
use serde_json::{Value, json};
use storage::DutyKind;

const EXPECTED: ExpectedApp<'_> = ExpectedApp {
    bundle_id: BUNDLE,
    apple_id: Some(123),
    environment: Environment::Production,
};

fn platform() -> PlatformId {
    PlatformId::new(uuid::Uuid::from_u128(3))
}

/// Returns a notification of a subscription after a change of its outer members, of `data`, and of its two parts.
fn changed(store: &AppStore, changes: [&Value; 4]) -> String {
    let [outer, data, bought, renews] = changes;
    let data = with(
        json!({
            "bundleId": BUNDLE, "environment": "Production", "appAppleId": 123, "status": 1,
            "signedTransactionInfo": store.sign(&with(transaction(1), bought)),
            "signedRenewalInfo": store.sign(&with(renewal(), renews)),
        }),
        data,
    );
    let all = json!({
        "notificationType": "DID_RENEW", "notificationUUID": "u", "signedDate": millis(now()), "data": data,
    });
    store.sign(&with(all, outer))
}

#[test]
fn what_is_about_another_app_or_purchase_is_foreign() {
    let store = AppStore::new();
    let none = json!({});
    let sandbox = json!({ "environment": "Sandbox" });
    let other = json!({ "bundleId": "com.example.other" });
    let refusal = |changes: [&Value; 4]| store.read(&changed(&store, changes)).refusal(&EXPECTED);
    assert_eq!(refusal([&none; 4]), None);
    assert_eq!(
        refusal([&none, &sandbox, &sandbox, &sandbox]),
        None,
        "a test purchase"
    );
    assert_eq!(
        refusal([&none, &other, &other, &none]),
        Some(FOREIGN_BUNDLE)
    );
    assert_eq!(
        refusal([&none, &json!({ "appAppleId": 9 }), &none, &none]),
        Some(FOREIGN_APP)
    );
    assert_eq!(refusal([&none, &none, &other, &none]), Some(FOREIGN_PART));
    assert_eq!(refusal([&none, &none, &sandbox, &none]), Some(FOREIGN_PART));
    let another = json!({ "originalTransactionId": "9" });
    assert_eq!(refusal([&none, &none, &none, &another]), Some(FOREIGN_PART));
    let of_sandbox = ExpectedApp {
        environment: Environment::Sandbox,
        ..EXPECTED
    };
    let signed = store.read(&changed(&store, [&none; 4]));
    assert_eq!(signed.refusal(&of_sandbox), Some(FOREIGN_ENVIRONMENT));
}

#[test]
fn a_part_that_apple_did_not_sign_refuses_all() {
    let (store, forger) = (AppStore::new(), AppStore::new());
    let forged = json!({ "signedTransactionInfo": forger.sign(&transaction(1)) });
    let none = json!({});
    let payload = changed(&store, [&none, &forged, &none, &none]);
    let read_with = |payload: &str| read(&store.chain.trusted(), jws::verify, payload, now()).err();
    assert_eq!(read_with(&payload), Some(JwsRefusal::Chain));
    for name in ["Xcode", "LocalTesting"] {
        let local = json!({ "environment": name });
        let payload = changed(&store, [&none, &local, &local, &local]);
        assert_eq!(read_with(&payload), Some(JwsRefusal::Environment), "{name}");
    }
}

#[test]
fn a_remembered_chain_needs_no_verification() {
    let store = AppStore::new();
    let chains = store.chain.trusted();
    let none = json!({});
    let payload = changed(&store, [&none; 4]);
    let known = || read(&chains, jws::verify_known, &payload, now()).err();
    assert_eq!(known(), Some(JwsRefusal::NewChain));
    assert!(read(&chains, jws::verify, &payload, now()).is_ok());
    assert_eq!(known(), None);
}

#[test]
fn a_payload_that_is_no_notification_is_recognized() {
    let store = AppStore::new();
    let request = json!({ "originalTransactionId": "1", "signedDate": millis(now()) });
    let payload = store.sign(&request);
    let read = read(&store.chain.trusted(), jws::verify, &payload, now());
    assert!(matches!(read, Ok(SignedPayload::Other { .. })));
}

#[test]
fn the_stored_content_has_no_certificates() {
    let store = AppStore::new();
    let none = json!({});
    let subtype = json!({ "notificationType": "SUBSCRIBED", "subtype": "INITIAL_BUY", "new": [1] });
    let payload = changed(&store, [&subtype, &none, &none, &none]);
    let signed = store.read(&payload);
    let notification = signed.notification(platform()).expect("a purchase");
    assert_eq!(notification.store_type, "SUBSCRIBED.INITIAL_BUY");
    assert_eq!(notification.kind, NotificationKind::SubscriptionPurchased);
    assert_eq!(notification.receipt_id, PURCHASE);
    let text = signed.decoded.to_string();
    assert!(!text.contains("x5c") && !text.contains("ey"), "{text}");
    assert!(text.len() < 4096, "{} bytes", text.len());
    assert_eq!(
        signed.decoded["data"]["signedTransactionInfo"]["price"],
        4990
    );
    assert_eq!(signed.decoded["new"], json!([1]));
    assert_eq!(signed.decoded["sha256"].as_str().map(str::len), Some(64));
}

#[test]
fn a_question_has_twelve_hours_from_the_first_time() {
    let store = AppStore::new();
    let question = |id: &str| {
        let data = json!({ "notificationType": "CONSUMPTION_REQUEST", "notificationUUID": id });
        let payload = changed(&store, [&data, &json!({}), &json!({}), &json!({})]);
        store.read(&payload).duty(platform(), now().plus(HOUR))
    };
    let [first, again] = ["a", "b"].map(question);
    assert_eq!(first, again);
    let duty = first.opens.expect("a duty");
    assert_eq!(duty.kind, DutyKind::RefundReview);
    assert_eq!(duty.within, HOUR * 11);
    assert!(duty.is_repeated);
    for name in ["REFUND", "REFUND_DECLINED"] {
        let data = json!({ "notificationType": name });
        let payload = changed(&store, [&data, &json!({}), &json!({}), &json!({})]);
        let change = store.read(&payload).duty(platform(), now());
        assert_eq!(change.closes, Some(duty.id), "{name}");
        assert_eq!(change.opens, None, "{name}");
    }
}

#[test]
fn a_withdrawn_consent_is_that_of_its_own_part() {
    let store = AppStore::new();
    let app = json!({
        "receiptType": "Production", "bundleId": BUNDLE, "appAppleId": 123, "appTransactionId": "70412",
        "receiptCreationDate": millis(now()),
    });
    let of = |app: &Value| {
        let payload = store.sign(&json!({
            "notificationType": "RESCIND_CONSENT", "notificationUUID": "u", "signedDate": millis(now()),
            "appData": { "signedAppTransactionInfo": store.sign(app), "bundleId": BUNDLE },
        }));
        store.read(&payload)
    };
    let signed = of(&app);
    assert_eq!(signed.refusal(&EXPECTED), None);
    assert!(signed.notification(platform()).is_none());
    let duty = signed.duty(platform(), now()).opens.expect("a duty");
    assert_eq!(duty.kind, DutyKind::ConsentWithdrawn);
    assert_eq!(duty.order_id.as_deref(), Some("70412"));
    let other = of(&with(app, &json!({ "bundleId": "com.example.other" })));
    assert_eq!(other.refusal(&EXPECTED), Some(FOREIGN_BUNDLE));
}

#[test]
fn seats_have_the_sum_of_their_tiers() {
    let store = AppStore::new();
    let seats = json!({
        "quantity": 5, "price": 4000,
        "multiSeatInfo": { "priceTiers": [{ "price": 6000, "quantity": 1 }, { "price": 3500, "quantity": 4 }] },
    });
    let none = json!({});
    let signed = store.read(&changed(&store, [&none, &none, &seats, &none]));
    let fact = signed.transaction.expect("a transaction").fact;
    assert_eq!(
        fact.price.map(|price| price.to_string()).as_deref(),
        Some("20")
    );
    assert_eq!((fact.quantity, fact.revocation), (5, None));
    let mut returned = seats;
    returned["multiSeatInfo"]["revokedSeatQuantity"] = json!(2);
    let signed = store.read(&changed(&store, [&none, &none, &returned, &none]));
    let revocation = signed.transaction.expect("a transaction").fact.revocation;
    assert!(!revocation.expect("a refund").ends_access);
}
