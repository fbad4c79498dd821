//! The simulated store, which responds as Amazon does.

use super::{OWN, at, platform, receipt};
use crate::http::Reply;
use crate::stores::amazon::{Amazon, STORE, Settings};
use crate::stores::{Answer, CheckStep, Mint, Replied, Simulated, StoreProtocol as _, Subject};
use domain::{Environment, Parked, Verification};
use serde_json::json;

const DEMO: u128 = 1;

/// Returns a purchase on this platform.
fn subject(number: u128, receipt_id: &str) -> Subject {
    Subject {
        platform: platform(number),
        receipt_id: receipt_id.to_owned(),
        ..receipt(Environment::Production)
    }
}

/// Returns Amazon's verification with a simulated store beside it.
fn simulating() -> Amazon {
    let simulated = Simulated {
        store: STORE,
        platform: platform(DEMO),
        mint: Mint::new(b"own"),
        base: "http://127.0.0.1:1/".parse().unwrap(),
    };
    Amazon::new(Settings::default(), Some(simulated))
}

#[test]
fn a_simulated_store_serves_its_platform_and_minted_receipts() {
    let (with, without) = (simulating(), Amazon::new(Settings::default(), None));
    let minted = Mint::new(b"own").purchase_id("r");
    let is_simulated = |number, id: &str| {
        assert!(without.simulated(&subject(number, id)).is_none());
        with.simulated(&subject(number, id)).is_some()
    };
    assert!(is_simulated(DEMO, "r") && is_simulated(OWN, &minted) && !is_simulated(OWN, "r"));
    assert!(!is_simulated(OWN, &Mint::new(b"other").purchase_id("r")));
}

#[test]
fn a_sample_is_a_test_and_never_sent_to_the_store() {
    let store = simulating();
    let minted = subject(OWN, &Mint::new(b"own").purchase_id("r"));
    let request = store.request(&minted).unwrap();
    let prefix = format!(
        "http://127.0.0.1:1/sandbox/version/1.0/verifyReceiptId/developer/{}/",
        platform(OWN)
    );
    assert!(
        request.url.as_str().starts_with(&prefix),
        "without the secret: {}",
        request.url
    );
    let body = json!({ "receiptId": minted.receipt_id, "productId": "p" }).to_string();
    let reply = Reply::Answer {
        status: 200,
        retry_after: None,
        headers: Vec::new(),
        body,
    };
    match store.next(&minted, &[Replied { reply, at: at() }]) {
        CheckStep::Done(Answer::Verification(Verification::Verified(shown))) => {
            assert_eq!(shown.environment, Environment::Sandbox)
        }
        other => panic!("{other:?}"),
    }
    let unknown = Answer::Verification(Verification::Parked(Parked::UnknownReceipt));
    let unsimulated = Amazon::new(Settings::default(), None);
    for of in [minted, subject(OWN, &Mint::new(b"other").purchase_id("r"))] {
        assert_eq!(unsimulated.request(&of).err(), Some(unknown.clone()));
    }
}
