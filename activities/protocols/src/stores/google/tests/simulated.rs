//! The simulated store, which responds as Google does.

use super::{answered, at, google, subject, subscription};
use crate::stores::google::{Google, STORE, Settings};
use crate::stores::{
    Answer, CheckStep, Mint, RepairOutcome, RepairPage, RepairStep, RepairTask, Replied, Simulated,
    StoreProtocol as _, Subject,
};
use domain::{Parked, PlatformId, Verification};
use serde_json::json;
use uuid::Uuid;

const BASE: &str = "http://127.0.0.1:1/";

fn demo() -> PlatformId {
    PlatformId::new(Uuid::from_u128(1))
}

/// Returns the verification with a simulated store beside it.
fn simulating() -> Google {
    let simulated = Simulated {
        store: STORE,
        platform: demo(),
        mint: Mint::new(b"own"),
        base: BASE.parse().unwrap(),
    };
    Google::new(Settings::default(), Some(simulated))
}

fn minted(key: &[u8]) -> String {
    Mint::new(key).purchase_id("r")
}

/// Returns a purchase of the demo, whose platform has no credential.
fn of_demo(receipt_id: &str) -> Subject {
    let mut of = subject(receipt_id);
    (of.platform, of.own.credentials) = (demo(), None);
    of
}

/// Returns the URL of a check's next request; `None` if no store knows the purchase.
fn url(google: &Google, subject: &Subject, replies: &[Replied]) -> Option<String> {
    match google.next(subject, replies) {
        CheckStep::Send(request, _) => Some(request.url.to_string()),
        CheckStep::Done(answer) => {
            let unknown = Answer::Verification(Verification::Parked(Parked::UnknownReceipt));
            assert_eq!(answer, unknown);
            None
        }
    }
}

#[test]
fn only_samples_of_the_demo_reach_the_simulated_store() {
    let simulating = simulating();
    let own = minted(b"own");
    let sample = url(&simulating, &of_demo(&own), &[]).unwrap();
    assert!(sample.starts_with(BASE), "{sample}");
    for unknown in [minted(b"other"), "real".to_owned(), format!("{own}x")] {
        assert_eq!(url(&simulating, &of_demo(&unknown), &[]), None, "{unknown}");
    }
    assert_eq!(url(&simulating, &subject(&own), &[]), None);
    assert_eq!(url(&google(), &of_demo(&own), &[]), None);
    let real = url(&simulating, &subject("real"), &[]).unwrap();
    let of_google = "https://androidpublisher.googleapis.com/";
    assert!(real.starts_with(of_google), "{real}");
}

#[test]
fn every_request_about_a_sample_goes_to_the_simulated_store() {
    let (simulating, sample) = (simulating(), of_demo(&minted(b"own")));
    let mut replies = vec![answered(200, subscription(json!({ "testPurchase": {} })))];
    for part in ["/orders/", "/subscriptions/"] {
        let sent = url(&simulating, &sample, &replies).unwrap();
        assert!(sent.starts_with(BASE) && sent.contains(part), "{sent}");
        let error = json!({ "error": { "code": 404 } });
        replies.push(answered(404, error));
    }
    let answer = simulating.next(&sample, &replies);
    assert!(
        matches!(
            answer,
            CheckStep::Done(Answer::Verification(Verification::Verified(_)))
        ),
        "{answer:?}"
    );
}

#[test]
fn the_simulated_store_needs_no_credential() {
    let simulating = simulating();
    let sample = of_demo(&minted(b"own"));
    let (request, _) = simulating.token_request(&sample, at()).unwrap();
    assert_eq!(request.url.as_str(), format!("{BASE}token"));
    assert!(request.body.is_empty());
    let (request, _) = simulating.token_request(&subject("real"), at()).unwrap();
    assert_eq!(request.url.host_str(), Some("oauth2.googleapis.com"));
    assert!(!request.body.is_empty());
}

#[test]
fn nothing_of_the_demo_is_repaired() {
    let step = simulating().repair(&of_demo(""), &RepairTask::Orders(Vec::new()), &[]);
    let is_empty = |found: &RepairPage| *found == RepairPage::default();
    assert!(
        matches!(&step, RepairStep::Done(RepairOutcome::Found(found)) if is_empty(found)),
        "{step:?}"
    );
}
