//! Samples: their content, as the ingress reads it, and their purchases.

use super::super::mapping::{self, VOIDED_ORDER};
use super::super::sample::{
    SamplePurchase, TARGET, TYPES, body, mint, notification, short, store_type,
};
use super::super::simulated::LastOrder;
use super::{Certs, PACKAGE, QUEUE, at, ingress, now, platform};
use crate::stores::amazon::signer::Signer;
use crate::stores::ingress::Ingress as _;
use crate::stores::push::Push;
use crate::stores::samples::{NoSample, Samples as _};
use domain::Notification;
use protocols::stores::Mint;
use protocols::stores::google::shown::PurchaseToken;
use serde_json::{Value, json};
use storage::{Handling, NewNotification};

const ORDER: &str = "GPA.0000-0000-0000-00000";

fn minted() -> String {
    Mint::new(b"sample key").purchase_id("first")
}

/// Returns the row for a sample of this type.
fn row(store_type: &str) -> NewNotification {
    let token = minted();
    let purchase = SamplePurchase {
        token: &token,
        order: LastOrder {
            id: ORDER.to_owned(),
            is_subscription: true,
        },
    };
    let sample = notification(PACKAGE, store_type, &purchase, now());
    let body = body("1", &sample, now());
    match mapping::outcome(&platform(), &TARGET, body.as_bytes(), now()) {
        Some(Push::Accepted(row, None)) => *row,
        Some(Push::Accepted(_, Some(alarm))) => panic!("alarm: {}", alarm.kind),
        Some(Push::Declined(_, why)) => panic!("declined: {}", why.reason),
        None => panic!("without the wrapper"),
    }
}

#[test]
fn each_sample_is_read_as_its_type_of_a_test_purchase() {
    for (name, meaning) in TYPES {
        let row = row(name);
        assert_eq!(row.store_type, *name);
        assert_eq!(row.handling, Handling::Open, "{name}");
        assert_eq!(row.store_time, Some(now()));
        let read: Notification = serde_json::from_str(&row.body).expect("a notification");
        assert_eq!(read.receipt_id, minted());
        assert!(read.is_test && read.app_user_id.is_none(), "{name}");
        // Pages show the meaning too, and have fields instead of flags.
        assert!(!meaning.is_empty() && !meaning.contains("--"), "{meaning}");
    }
}

#[test]
fn the_sample_of_a_refund_names_an_order() {
    let body: Value = serde_json::from_str(&row("VOIDED_PURCHASE").body).expect("JSON");
    let expected = json!({ "order_id": ORDER, "product_type": 1, "refund_type": 1 });
    assert_eq!(body[VOIDED_ORDER], expected);
}

#[test]
fn a_type_can_be_named_in_short() {
    for (name, _) in TYPES {
        assert_eq!(store_type(name), Ok(*name));
        assert_eq!(store_type(&short(name)), Ok(*name));
    }
    assert_eq!(store_type("on-hold"), Ok("SUBSCRIPTION_ON_HOLD"));
    assert_eq!(short("VOIDED_PURCHASE"), "voided-purchase");
    assert!(store_type("auto-renewal-off").is_err());
}

#[test]
fn samples_have_the_ids_of_the_data_directory() {
    let until = at("2027-06-01T12:00:00Z");
    let signer = Signer::generate(now(), until).expect("a key");
    let pem = String::from_utf8(signer.key_pem().expect("its PEM")).expect("a text");
    let mint = mint(&pem).expect("a mint");
    let id = signer.mint().expect("a mint").purchase_id("first");
    assert!(mint.is_minted(&id));
    assert!(PurchaseToken::try_from(id).is_ok());
    assert!(super::super::sample::mint("no key").is_err());
}

#[test]
fn no_platform_follows_the_subscription_of_samples() {
    assert_ne!(TARGET.subscription, QUEUE);
    let google = ingress(&Certs::working());
    assert!(google.samples().is_some());
    assert_eq!(google.are_taken(), Err(NoSample::NotTrusted));
    let google = google.with_samples(Mint::new(b"sample key"));
    assert_eq!(google.are_taken(), Ok(()));
    assert_eq!(google.types(), TYPES);
    assert_eq!(google.type_named("paused"), Ok("SUBSCRIPTION_PAUSED"));
}
