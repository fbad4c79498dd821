//! Samples: their content, their types, and their purchases.

use super::super::sample::{TYPES, message_id, mint, notification, short, signed_at, store_type};
use super::super::signer::{Chain, of_samples};
use super::super::simulated::purchase::{Sent, SimulatedPurchase};
use super::super::simulated::resources::NamedPurchase;
use super::{BUNDLE, at, now};
use crate::stores::amazon::signer::Signer;
use domain::{CollapseKey, PlatformId, Timestamp};
use protocols::stores::Mint;
use protocols::stores::apple::chain::Chains;
use protocols::stores::apple::jws::verify;
use serde_json::Value;
use std::collections::BTreeSet;
use uuid::Uuid;

fn chain() -> &'static Chain {
    of_samples().expect("a chain")
}

/// Returns the verified content of a signed part.
fn opened(chains: &Chains, text: &Value) -> Value {
    let text = text.as_str().expect("a text");
    let Ok(verified) = verify(chains, text, now()) else {
        panic!("not verified");
    };
    assert_eq!(verified.signed_at, now());
    Value::Object(verified.members)
}

/// Returns the content of the sample of this type, as the only one of its purchase.
fn sample(store_type: &str) -> Value {
    let receipt_id = Mint::new(b"sample key").purchase_id("first");
    let sent = Sent {
        store_type: store_type.to_owned(),
        at: now(),
    };
    let purchase = NamedPurchase {
        key: CollapseKey::of(PlatformId::new(Uuid::from_u128(1)), &receipt_id),
        receipt_id,
        bundle_id: BUNDLE.to_owned(),
        purchase: SimulatedPurchase::of(&[sent], now()).expect("a purchase"),
        signed_at: now(),
    };
    let content = notification(&purchase, store_type, message_id(now()), chain());
    content.expect("a notification")
}

#[test]
fn each_sample_shows_a_purchase_of_its_type_in_the_sandbox() {
    let chains = Chains::under(&[chain().root().to_vec()]);
    for (name, meaning) in TYPES {
        let sample = sample(name);
        let kind = sample["notificationType"].as_str().expect("a type");
        let read = match sample["subtype"].as_str() {
            Some(subtype) => format!("{kind}.{subtype}"),
            None => kind.to_owned(),
        };
        assert_eq!(read, *name);
        let id = sample["notificationUUID"].as_str().expect("an id");
        assert_eq!(signed_at(id), Some(now()));
        let data = &sample["data"];
        assert_eq!(data["bundleId"], BUNDLE);
        assert_eq!(data["environment"], "Sandbox");
        let transaction = opened(&chains, &data["signedTransactionInfo"]);
        for member in ["bundleId", "environment"] {
            assert_eq!(transaction[member], data[member], "{name}");
        }
        let is_one_time = *name == "ONE_TIME_CHARGE";
        assert_eq!(data.get("status").is_none(), is_one_time, "{name}");
        if is_one_time {
            assert_eq!(data.get("signedRenewalInfo"), None);
            assert_eq!(transaction["type"], "Non-Consumable");
        } else {
            let renewal = opened(&chains, &data["signedRenewalInfo"]);
            let same = "originalTransactionId";
            assert_eq!(renewal[same], transaction[same], "{name}");
            assert_eq!(transaction["type"], "Auto-Renewable Subscription");
        }
        // Pages show the meaning too, and have fields instead of flags.
        assert!(!meaning.is_empty() && !meaning.contains("--"), "{meaning}");
    }
}

#[test]
fn the_question_of_a_refund_names_its_reason() {
    let question = sample("CONSUMPTION_REQUEST");
    let reason = &question["data"]["consumptionRequestReason"];
    assert_eq!(reason, "UNINTENDED_PURCHASE");
}

#[test]
fn a_type_can_be_named_in_short() {
    let mut shorts = BTreeSet::new();
    for (name, _) in TYPES {
        assert_eq!(store_type(name), Ok(*name));
        assert_eq!(store_type(&name.to_lowercase()), Ok(*name));
        assert_eq!(store_type(&short(name)), Ok(*name));
        assert!(shorts.insert(short(name)), "{name}");
    }
    assert_eq!(
        store_type("grace_period"),
        Ok("DID_FAIL_TO_RENEW.GRACE_PERIOD")
    );
    assert_eq!(short("SUBSCRIBED.INITIAL_BUY"), "initial-buy");
    assert_eq!(short("EXPIRED.VOLUNTARY"), "expired-voluntary");
    assert_eq!(short("DID_FAIL_TO_RENEW"), "did-fail-to-renew");
    for other in ["", "SUBSCRIPTION_RENEWED", "TEST", "voluntary"] {
        assert!(store_type(other).is_err(), "{other}");
    }
}

#[test]
fn the_id_of_a_message_contains_its_time() {
    let time = at("2026-12-01T12:00:00.789Z");
    let ids = [message_id(time), message_id(time)];
    assert_ne!(ids[0], ids[1]);
    assert_eq!(ids.map(|id| signed_at(&id.to_string())), [Some(time); 2]);
    let earliest = Timestamp::from_millis(0);
    assert_eq!(signed_at(&message_id(earliest).to_string()), Some(earliest));
    for other in ["", "test", "5e771e00-0000-4000-8000-000000000001"] {
        assert_eq!(signed_at(other), None, "{other}");
    }
}

#[test]
fn samples_have_the_ids_of_the_data_directory() {
    let signer = Signer::generate(now(), at("2027-12-01T12:00:00Z")).expect("a key");
    let pem = String::from_utf8(signer.key_pem().expect("its PEM")).expect("a text");
    let id = signer.mint().expect("a mint").purchase_id("first");
    assert!(mint(&pem).expect("a mint").is_minted(&id));
    assert!(mint("no key").is_err());
}
