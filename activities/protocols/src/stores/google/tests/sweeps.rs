//! Orders in batches, and the list of voided purchases.

use super::{ORDER, PACKAGE, TOKEN, answered, at, error, merged, order, token};
use crate::stores::google::Settings;
use crate::stores::google::batch::OrderBatches;
use crate::stores::google::request::PackageName;
use crate::stores::google::response::ReadError;
use crate::stores::google::voided::{self, VoidedPage, VoidedPurchase, VoidedReason, page};
use domain::Timestamp;
use domain::time::{DAY, HOUR};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn package() -> PackageName {
    PackageName::new(PACKAGE).unwrap()
}

#[test]
fn a_page_of_voided_purchases_is_requested() {
    let of = |since, page| {
        let (sent, bucket) =
            voided::request(&Settings::default(), &package(), since, at(), page).unwrap();
        assert_eq!(bucket.name, "orders");
        assert!(
            sent.url
                .path()
                .ends_with("/com.example.app/purchases/voidedpurchases")
        );
        sent.url.query().unwrap_or_default().to_owned()
    };
    let rest = "type=1&includeQuantityBasedPartialRefund=true&maxResults=50";
    assert_eq!(
        of(at().minus(HOUR), None),
        format!("startTime=1789996400000&{rest}")
    );
    assert_eq!(
        of(at().minus(HOUR), Some("a+b/c=")),
        format!("startTime=1789996400000&{rest}&token=a%2Bb%2Fc%3D")
    );
    // The list goes back at most 30 days, minus a margin of five minutes.
    assert_eq!(
        of(at().minus(DAY * 40), None),
        format!("startTime=1787408300000&{rest}")
    );
}

/// G29, G07: an entry names an order and a reason, but not the state of its purchase.
#[test]
fn g29_a_voided_purchase_names_its_order() {
    let entry = |members: Value| {
        let base = json!({
            "kind": "androidpublisher#voidedPurchase", "purchaseToken": TOKEN,
            "purchaseTimeMillis": "1780000000000", "voidedTimeMillis": "1785000000000",
            "orderId": format!("{ORDER}..0"), "voidedSource": 1, "voidedReason": 8,
        });
        merged(base, members)
    };
    let body = json!({
        "voidedPurchases": [
            entry(json!({})), entry(json!({ "voidedTimeMillis": null })), entry(json!({ "purchaseToken": "" })), 7,
        ],
        "tokenPagination": { "nextPageToken": "next" },
    });
    let expected = VoidedPurchase {
        token: token(TOKEN),
        order_id: Some(format!("{ORDER}..0")),
        purchased_at: Some(Timestamp::from_millis(1_780_000_000_000)),
        voided_at: Timestamp::from_millis(1_785_000_000_000),
        reason: VoidedReason::Unacknowledged,
        quantity: None,
    };
    let read = page(&answered(200, body).reply).unwrap();
    let next = Some("next".to_owned());
    assert_eq!(
        read,
        VoidedPage {
            voided: vec![expected],
            unreadable: 3,
            next
        }
    );
    let reasons = (0..=9).map(|number| {
        let body = json!({ "voidedPurchases": [entry(json!({ "voidedReason": number, "voidedQuantity": 2 }))] });
        let read = page(&answered(200, body).reply).unwrap();
        assert_eq!((read.next, read.voided[0].quantity), (None, Some(2)));
        read.voided[0].reason
    });
    let reasons: Vec<VoidedReason> = reasons.collect();
    let first = [
        VoidedReason::Other,
        VoidedReason::Remorse,
        VoidedReason::NotReceived,
    ];
    assert_eq!(reasons[..3], first);
    assert_eq!(
        reasons[7..],
        [
            VoidedReason::Chargeback,
            VoidedReason::Unacknowledged,
            VoidedReason::Unknown(9)
        ]
    );
}

#[test]
fn an_empty_page_is_the_last_one() {
    for body in [
        "{}",
        "{\"tokenPagination\": {}}",
        "{\"tokenPagination\": {\"nextPageToken\": \"\"}}",
    ] {
        let read = page(&answered(200, body).reply).unwrap();
        assert_eq!(
            (read.voided.len(), read.unreadable, read.next),
            (0, 0, None)
        );
    }
    let cut = page(&answered(200, "{\"voidedPurchases\": [{").reply);
    assert!(matches!(cut, Err(ReadError::Retry(_))), "{cut:?}");
    let expired = page(&error(400, "invalid").reply);
    assert_eq!(expired, Err(ReadError::Malformed), "the page's token");
}

/// Replies to batches as Google does: one id that is not in `known` fails its whole batch. Returns the number of
/// requests.
fn answer_all(batches: &mut OrderBatches, known: &BTreeSet<String>) -> usize {
    let mut requests = 0;
    while let Some((sent, _)) = batches.request(&Settings::default(), &package()) {
        requests += 1;
        assert!(
            sent.url
                .path()
                .ends_with("/com.example.app/orders:batchGet")
        );
        let ids: Vec<String> = sent
            .url
            .query_pairs()
            .map(|(_, id)| id.into_owned())
            .collect();
        assert!(!ids.is_empty() && ids.len() <= 16);
        let reply = if ids.iter().all(|id| known.contains(id)) {
            let orders: Vec<Value> = ids.iter().map(|id| order(id, json!({}))).collect();
            answered(200, json!({ "orders": orders }))
        } else {
            error(404, "notFound")
        };
        batches.read(&reply.reply).unwrap();
    }
    assert!(batches.is_done());
    requests
}

fn ids(numbers: impl IntoIterator<Item = usize>) -> impl Iterator<Item = String> {
    numbers.into_iter().map(|number| format!("GPA.{number}"))
}

fn found(batches: &OrderBatches) -> BTreeSet<String> {
    batches.found.iter().map(|order| order.id.clone()).collect()
}

#[test]
fn orders_are_read_in_batches() {
    let all: BTreeSet<String> = ids(0..40).collect();
    let mut batches = OrderBatches::new(ids(0..40).chain(ids(0..40)));
    assert_eq!(answer_all(&mut batches, &all), 3);
    assert_eq!(found(&batches), all);
    assert_eq!(answer_all(&mut OrderBatches::new(Vec::new()), &all), 0);
}

#[test]
fn one_bad_id_costs_few_requests() {
    let known: BTreeSet<String> = ids(0..15).collect();
    let mut batches = OrderBatches::new(ids(0..16).chain(["a b".to_owned()]));
    assert!(
        answer_all(&mut batches, &known) <= 9,
        "two for each halving"
    );
    assert_eq!(found(&batches), known);
    assert_eq!(batches.unknown, ["a b", "GPA.15"]);
}

#[test]
fn a_failure_leaves_a_batch_as_it_is() {
    let mut batches = OrderBatches::new(ids(0..20));
    let before = batches.clone();
    for replied in [
        answered(503, ""),
        answered(429, ""),
        error(403, "forbidden"),
        answered(404, "<html>"),
    ] {
        assert!(batches.read(&replied.reply).is_err());
        assert_eq!(batches, before);
    }
}

#[test]
fn an_order_that_cannot_be_read_is_set_apart() {
    let mut batches = OrderBatches::new(ids(0..2));
    batches
        .read(&answered(200, "{\"orders\": [{").reply)
        .unwrap();
    assert!(!batches.is_done());
    let strange = order("GPA.0", json!({ "createTime": "yesterday" }));
    batches
        .read(&answered(200, json!({ "orders": [strange] })).reply)
        .unwrap();
    batches
        .read(
            &answered(
                200,
                json!({ "orders": [order("GPA.1", json!({})), order("GPA.7", json!({}))] }),
            )
            .reply,
        )
        .unwrap();
    assert!(batches.is_done());
    assert_eq!((batches.unreadable.len(), batches.unknown.len()), (1, 0));
    assert_eq!(found(&batches), ids([1]).collect());
}

proptest! {
    #[test]
    fn every_order_is_found_or_unknown(all in prop::collection::btree_set(0..200_usize, 0..60), bad in prop::collection::btree_set(0..200_usize, 0..20)) {
        let known: BTreeSet<String> = ids(all.difference(&bad).copied()).collect();
        let mut batches = OrderBatches::new(ids(all.iter().copied()));
        let requests = answer_all(&mut batches, &known);
        prop_assert_eq!(found(&batches), known);
        let unknown: BTreeSet<String> = batches.unknown.iter().cloned().collect();
        prop_assert_eq!(unknown, ids(all.intersection(&bad).copied()).collect());
        prop_assert!(requests <= 4 + 2 * all.len());
    }
}
