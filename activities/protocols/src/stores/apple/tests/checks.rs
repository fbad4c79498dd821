//! Checks: what follows from signed facts alone, what is requested, and every class of answer.

use super::server::{
    AppStore, BUNDLE, DAY_MS, ISSUER, KEY_ID, PURCHASE, TOKEN, began, key_pem, millis, renewal,
    reply, subject, transaction, with,
};
use super::{at, now};
use crate::http::Reply;
use crate::stores::apple::response::{NO_RELEASE, WRONG_KEY};
use crate::stores::{Answer, StoreProtocol as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::store_state::StoreStatus;
use domain::{Environment, Parked, Snapshot, Verification};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
    UnparsedPublicKey,
};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use std::time::Duration;

const STATUSES: &str = "api.storekit.apple.com/inApps/v1/subscriptions/2000001";
const TRANSACTION: &str = "api.storekit.apple.com/inApps/v1/transactions/2000001";

fn shown(answer: &Answer) -> &Snapshot {
    match answer {
        Answer::Verification(Verification::Verified(shown))
        | Answer::Named(Verification::Verified(shown), _) => shown,
        other => panic!("{other:?}"),
    }
}

fn name(answer: &Answer) -> Option<&str> {
    match answer {
        Answer::Named(_, name) => Some(&name.0),
        _ => None,
    }
}

/// The answer with the state of the subscription, behind that of another one of the customer.
fn statuses(store: &AppStore, status: i64, transaction: &Value, renewal: &Value) -> Value {
    let other = json!({ "originalTransactionId": "9", "transactionId": "9" });
    let other = [
        with(transaction.clone(), &other),
        with(renewal.clone(), &other),
    ];
    json!({ "data": [{ "lastTransactions": [
        { "status": 2, "originalTransactionId": "9",
          "signedTransactionInfo": store.sign(&other[0]), "signedRenewalInfo": store.sign(&other[1]) },
        { "status": status, "originalTransactionId": PURCHASE,
          "signedTransactionInfo": store.sign(transaction), "signedRenewalInfo": store.sign(renewal) },
    ] }] })
}

fn bought(store: &AppStore) -> Value {
    let data = [
        ("signedTransactionInfo", &transaction(1)),
        ("signedRenewalInfo", &renewal()),
    ];
    store.stored(&store.notification("SUBSCRIBED", &data))
}

#[test]
fn a_signed_notification_suffices() {
    let store = AppStore::new();
    let mut subject = subject(vec![bought(&store)]);
    subject.own.credentials = None;
    let (answer, paths) = store.check(&subject, &[]);
    assert_eq!(paths, [""; 0]);
    let shown = shown(&answer);
    let state = shown.state.as_deref().expect("a state");
    assert_eq!(state.status, StoreStatus::Active);
    assert_eq!(state.cycle, Some(1));
    assert_eq!(shown.environment, Environment::Production);
    assert_eq!(shown.country.as_deref(), Some("DE"));
    let period = state.periods.first().expect("a period");
    assert_eq!(
        period.price.map(|price| price.to_string()).as_deref(),
        Some("4.99")
    );
    assert_eq!(name(&answer), Some(TOKEN));
    assert!(store.apple.has_app_ids(&subject, TOKEN));
    assert!(!store.apple.has_app_ids(&subject, "70412"));
}

#[test]
fn an_account_stands_for_a_customer_without_a_token() {
    let store = AppStore::new();
    let mut unnamed = transaction(1);
    unnamed
        .as_object_mut()
        .expect("members")
        .remove("appAccountToken");
    let data = [
        ("signedTransactionInfo", &unnamed),
        ("signedRenewalInfo", &renewal()),
    ];
    let body = store.stored(&store.notification("SUBSCRIBED", &data));
    let (answer, _) = store.check(&subject(vec![body]), &[]);
    assert_eq!(name(&answer), Some("70412"));
}

#[test]
fn a_missing_renewal_makes_settle_request_the_state() {
    let store = AppStore::new();
    let data = [("signedTransactionInfo", &transaction(1))];
    let mut body = store.stored(&store.notification("DID_RENEW", &data));
    body["signed"]["data"]
        .as_object_mut()
        .expect("data")
        .remove("status");
    let off = with(renewal(), &json!({ "autoRenewStatus": 0 }));
    let answer = reply(200, &statuses(&store, 1, &transaction(1), &off));
    let (answer, paths) = store.check(&subject(vec![body]), &[answer]);
    assert_eq!(paths, [STATUSES]);
    assert_eq!(shown(&answer).auto_renewing, Some(false));
}

#[test]
fn a_purchase_that_nothing_reported_is_read() {
    let store = AppStore::new();
    let read = reply(
        200,
        &json!({ "signedTransactionInfo": store.sign(&transaction(1)) }),
    );
    let state = reply(200, &statuses(&store, 1, &transaction(1), &renewal()));
    let (answer, paths) = store.check(&subject(Vec::new()), &[read, state]);
    assert_eq!(paths, [TRANSACTION, STATUSES]);
    assert_eq!(shown(&answer).product_id.as_deref(), Some("gold.monthly"));
}

#[test]
fn a_sandbox_purchase_is_requested_at_the_sandbox_alone() {
    let store = AppStore::new();
    let sandbox = json!({ "environment": "Sandbox" });
    let [bought, renews] = [transaction(1), renewal()].map(|part| with(part, &sandbox));
    let data = [("signedTransactionInfo", &bought)];
    let body = store.stored(&store.notification("DID_RENEW", &data));
    let answer = reply(200, &statuses(&store, 1, &bought, &renews));
    let mut body = body;
    body["signed"]["data"]
        .as_object_mut()
        .expect("data")
        .remove("status");
    let (answer, paths) = store.check(&subject(vec![body]), &[answer]);
    assert_eq!(
        paths,
        ["api.storekit-sandbox.apple.com/inApps/v1/subscriptions/2000001"]
    );
    assert_eq!(shown(&answer).environment, Environment::Sandbox);
}

#[test]
fn the_history_counts_the_running_row_alone() {
    let store = AppStore::new();
    let row = began() + 60 * DAY_MS;
    let renews = with(renewal(), &json!({ "recentSubscriptionStartDate": row }));
    let data = [
        ("signedTransactionInfo", &transaction(5)),
        ("signedRenewalInfo", &renews),
    ];
    let body = store.stored(&store.notification("DID_RENEW", &data));
    let other = with(
        transaction(4),
        &json!({ "originalTransactionId": "9", "transactionId": "91" }),
    );
    let signed = |all: &[Value]| all.iter().map(|one| store.sign(one)).collect::<Vec<_>>();
    let first = json!({
        "revision": "a/b", "hasMore": true, "signedTransactions": signed(&[transaction(3), other]),
    });
    let last = json!({
        "revision": "c", "hasMore": false, "signedTransactions": signed(&[transaction(4), transaction(5)]),
    });
    let (answer, paths) = store.check(
        &subject(vec![body]),
        &[reply(200, &first), reply(200, &last)],
    );
    let since = row - 60_000;
    let page = format!(
        "api.storekit.apple.com/inApps/v2/history/2000001?productType=AUTO_RENEWABLE&startDate={since}"
    );
    assert_eq!(paths, [page.clone(), format!("{page}&revision=a%2Fb")]);
    let state = shown(&answer).state.as_deref().expect("a state");
    assert_eq!(state.cycle, Some(3));
    assert_eq!(state.periods.len(), 1, "what was paid before is not booked");
}

/// A customer with 300 transactions: other plans and what is used up, between the payments of the running row.
#[test]
fn a25_of_300_transactions_the_running_row_alone_counts() {
    let store = AppStore::new();
    let row = began() + 288 * 30 * DAY_MS;
    let renews = with(renewal(), &json!({ "recentSubscriptionStartDate": row }));
    let data = [
        ("signedTransactionInfo", &transaction(300)),
        ("signedRenewalInfo", &renews),
    ];
    let body = store.stored(&store.notification("DID_RENEW", &data));
    let listed = |number: i64| {
        let is_of_row = number % 25 == 0;
        let own = 288 + number / 25;
        let other = json!({ "originalTransactionId": "9", "transactionId": format!("9{number}") });
        let one = if is_of_row {
            transaction(own)
        } else {
            with(transaction(own), &other)
        };
        store.sign(&one)
    };
    let pages: Vec<_> = (0..15_i64)
        .map(|page| {
            let numbers = 20 * page + 1..=20 * (page + 1);
            let signed: Vec<String> = numbers.map(listed).collect();
            let body = json!({
                "revision": page.to_string(), "hasMore": page < 14, "signedTransactions": signed,
            });
            reply(200, &body)
        })
        .collect();
    let (answer, paths) = store.check(&subject(vec![body]), &pages);
    assert_eq!(paths.len(), pages.len(), "each page once");
    let state = shown(&answer).state.as_deref().expect("a state");
    assert_eq!((state.cycle, state.periods.len()), (Some(12), 1));
}

#[test]
fn errors_differ_by_their_number() {
    let store = AppStore::new();
    let read = |status, code: i64| {
        let body = json!({ "errorCode": code, "errorMessage": "secret text" });
        store.check(&subject(Vec::new()), &[reply(status, &body)]).0
    };
    let unknown = Answer::Verification(Verification::Parked(Parked::UnknownReceipt));
    assert_eq!(read(404, 4_040_010), unknown);
    assert_eq!(read(400, 4_000_006), unknown);
    for code in [4_040_002, 4_040_004, 4_040_006, 5_000_001] {
        let status = if code < 5_000_000 { 404 } else { 500 };
        let Answer::Retry(retry) = read(status, code) else {
            panic!("{code}");
        };
        assert_eq!(
            (retry.class, retry.is_strange),
            ("server_error", false),
            "{code}"
        );
        assert!(!retry.why.contains("secret"), "{code}");
    }
    let Answer::Retry(retry) = read(404, 4_049_999) else {
        panic!("an unknown number");
    };
    assert!(retry.is_strange);
    let refused = |body: &str, environment| {
        let mut subject = subject(Vec::new());
        subject.environment = environment;
        let reply = Reply::Answer {
            status: 401,
            retry_after: None,
            headers: Vec::new(),
            body: body.to_owned(),
        };
        match store.check(&subject, &[reply]).0 {
            Answer::Refused(refusal) => refusal.why,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refused("", Environment::Production), NO_RELEASE);
    assert_eq!(
        refused("Unauthenticated", Environment::Production),
        WRONG_KEY
    );
    assert_eq!(refused("", Environment::Sandbox), WRONG_KEY);
}

#[test]
fn a_throttled_check_waits_until_apple_s_instant() {
    let store = AppStore::new();
    let until = |retry_after: &str| {
        let reply = Reply::Answer {
            status: 429,
            retry_after: Some(retry_after.to_owned()),
            headers: Vec::new(),
            body: json!({ "errorCode": 4_290_000 }).to_string(),
        };
        match store.check(&subject(Vec::new()), &[reply]).0 {
            Answer::Retry(retry) => (retry.is_throttled, retry.retry_after),
            other => panic!("{other:?}"),
        }
    };
    let later = |ms: i64| (millis(now()) + ms).to_string();
    assert_eq!(until(&later(90_000)), (true, Some(Duration::from_secs(90))));
    assert_eq!(until(&later(-1)), (true, None));
    assert_eq!(
        until(&later(30 * DAY_MS)),
        (true, Some(Duration::from_secs(3600)))
    );
    assert_eq!(
        until("120"),
        (true, None),
        "in seconds it would be long past"
    );
}

#[test]
fn an_answer_that_apple_did_not_sign_changes_nothing() {
    let (store, forger) = (AppStore::new(), AppStore::new());
    let forged = json!({ "signedTransactionInfo": forger.sign(&transaction(1)) });
    let (answer, _) = store.check(&subject(Vec::new()), &[reply(200, &forged)]);
    let Answer::Retry(retry) = answer else {
        panic!("{answer:?}");
    };
    assert!(retry.is_strange);
    let foreign = with(transaction(1), &json!({ "bundleId": "com.example.other" }));
    let foreign = json!({ "signedTransactionInfo": store.sign(&foreign) });
    let (answer, _) = store.check(&subject(Vec::new()), &[reply(200, &foreign)]);
    let unknown = Answer::Verification(Verification::Parked(Parked::UnknownReceipt));
    assert_eq!(answer, unknown);
    let cut = Reply::Answer {
        status: 200,
        retry_after: None,
        headers: Vec::new(),
        body: "{\"signedTransactionInfo\": \"ey".to_owned(),
    };
    let (answer, _) = store.check(&subject(Vec::new()), &[cut]);
    assert!(matches!(answer, Answer::Retry(_)), "{answer:?}");
}

#[test]
fn the_token_names_the_key_the_issuer_and_the_app() {
    let store = AppStore::new();
    let mut subject = subject(Vec::new());
    let pem = key_pem();
    subject.own.credentials = Some(json!({ "private_key": pem }).to_string().into());
    let token = store
        .apple
        .own_token(&subject, now())
        .expect("a token of its own");
    let token = token.expect("a token");
    let text = token.token.expose_secret();
    let (signed, signature) = text.rsplit_once('.').expect("three parts");
    let (header, claims) = signed.split_once('.').expect("three parts");
    let json_of = |part: &str| -> Value {
        let bytes = URL_SAFE_NO_PAD.decode(part).expect("base64url");
        serde_json::from_slice(&bytes).expect("JSON")
    };
    assert_eq!(
        json_of(header),
        json!({ "alg": "ES256", "kid": KEY_ID, "typ": "JWT" })
    );
    let second = now().micros() / 1_000_000;
    assert_eq!(
        json_of(claims),
        json!({
            "iss": ISSUER, "iat": second, "exp": second + 1200, "aud": "appstoreconnect-v1", "bid": BUNDLE,
        })
    );
    let encoded: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let der = base64::engine::general_purpose::STANDARD
        .decode(encoded)
        .expect("DER");
    let pair =
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der, &SystemRandom::new());
    let pair = pair.expect("a key");
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.public_key().as_ref());
    let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
    key.verify(signed.as_bytes(), &signature)
        .expect("a valid signature");
    subject.own.credentials = Some(json!({ "private_key": "secret" }).to_string().into());
    let refused = store.apple.own_token(&subject, at("2026-11-30T12:00:00Z"));
    assert!(matches!(refused, Some(Err(Answer::Refused(_)))));
}

#[test]
fn a_sample_is_never_requested_from_apple() {
    let store = AppStore::new();
    let mut subject = subject(Vec::new());
    subject.receipt_id = "sample.x.mark".to_owned();
    let (answer, paths) = store.check(&subject, &[]);
    assert_eq!(answer, Answer::Verification(Verification::Unverifiable));
    assert_eq!(paths, [""; 0]);
}
