//! The simulated store: the lives of sample purchases, and the answers about them.

use super::super::sample::TYPES;
use super::super::signer::{Chain, of_samples};
use super::super::simulated::purchase::{Sent, SimulatedPurchase};
use super::super::simulated::resources::{
    HistoryFilter, NamedPurchase, PRODUCTS, TransactionName, test,
};
use super::super::simulated::{ApiError, filter};
use super::{BUNDLE, now};
use axum::response::IntoResponse as _;
use domain::time::DAY;
use domain::{CollapseKey, PlatformId, Timestamp};
use protocols::stores::Mint;
use protocols::stores::apple::chain::Chains;
use protocols::stores::apple::jws::verify;
use serde_json::{Value, json};
use uuid::Uuid;

/// A sample: its type, and its day.
type Day = (&'static str, u32);

const BOUGHT: Day = ("SUBSCRIBED.INITIAL_BUY", 0);
const DISABLED: &str = "DID_CHANGE_RENEWAL_STATUS.AUTO_RENEW_DISABLED";
const ENABLED: &str = "DID_CHANGE_RENEWAL_STATUS.AUTO_RENEW_ENABLED";
const GRACE: &str = "DID_FAIL_TO_RENEW.GRACE_PERIOD";
const RECOVERED: &str = "DID_RENEW.BILLING_RECOVERY";
const RESUBSCRIBED: &str = "SUBSCRIBED.RESUBSCRIBE";

/// What a purchase shows on a day: Apple's number of its status, whether it renews, the number of its current
/// transaction, and the day on which that one ends.
#[derive(Debug, PartialEq, Eq)]
struct Shown {
    status: i64,
    renews: bool,
    number: usize,
    until: Value,
}

fn day(number: u32) -> Timestamp {
    now().plus(DAY.saturating_mul(number))
}

fn millis(number: u32) -> Value {
    json!(day(number).micros() / 1000)
}

fn receipt_id() -> String {
    Mint::new(b"sample key").purchase_id("first")
}

/// Returns the purchase with these samples on a day.
fn on(today: u32, samples: &[Day]) -> NamedPurchase {
    let sent = samples.iter().map(|(name, number)| Sent {
        store_type: (*name).to_owned(),
        at: day(*number),
    });
    let sent: Vec<Sent> = sent.collect();
    let receipt_id = receipt_id();
    NamedPurchase {
        key: CollapseKey::of(PlatformId::new(Uuid::from_u128(1)), &receipt_id),
        receipt_id,
        bundle_id: BUNDLE.to_owned(),
        purchase: SimulatedPurchase::of(&sent, day(today)).expect("a purchase"),
        signed_at: day(today),
    }
}

/// Returns the content of the renewal information.
fn renewal(today: u32, samples: &[Day]) -> Value {
    on(today, samples).renewal().expect("a subscription")
}

fn check(today: u32, samples: &[Day], status: i64, renews: bool, number: usize, until: u32) {
    let named = on(today, samples);
    let renewal = named.renewal().expect("a subscription");
    let current = named.current();
    let shown = Shown {
        status: named.purchase.stage.number(),
        renews: renewal["autoRenewStatus"] == 1,
        number: named.purchase.number(),
        until: current["expiresDate"].clone(),
    };
    let expected = Shown {
        status,
        renews,
        number,
        until: millis(until),
    };
    assert_eq!(shown, expected, "{samples:?} on day {today}");
    let name = TransactionName {
        receipt_id: receipt_id(),
        number,
    };
    assert_eq!(current["transactionId"], name.id());
    assert_eq!(current["originalTransactionId"], receipt_id());
}

#[test]
fn a_subscription_renews_until_renewal_is_turned_off() {
    check(0, &[BOUGHT], 1, true, 0, 30);
    check(70, &[BOUGHT], 1, true, 2, 90);
    check(29, &[BOUGHT, ("DID_RENEW", 29)], 1, true, 1, 60);
    let off = [BOUGHT, (DISABLED, 5)];
    check(6, &off, 1, false, 0, 30);
    check(40, &off, 2, false, 0, 30);
    assert_eq!(renewal(6, &off).get("expirationIntent"), None);
    assert_eq!(renewal(40, &off)["expirationIntent"], 1);
    let on_again = [off.as_slice(), &[(ENABLED, 6)]].concat();
    check(40, &on_again, 1, true, 1, 60);
}

#[test]
fn a_failed_payment_is_recovered_or_ends_the_purchase() {
    let grace = [BOUGHT, (GRACE, 29)];
    check(31, &grace, 4, true, 0, 29);
    assert_eq!(renewal(31, &grace)["gracePeriodExpiresDate"], millis(45));
    assert_eq!(renewal(31, &grace)["isInBillingRetryPeriod"], true);
    check(50, &grace, 3, true, 0, 29);
    check(91, &grace, 2, false, 0, 29);
    assert_eq!(renewal(91, &grace)["expirationIntent"], 2);
    let paid = [grace.as_slice(), &[(RECOVERED, 35)]].concat();
    check(36, &paid, 1, true, 1, 59);
    let late = [grace.as_slice(), &[(RECOVERED, 70)]].concat();
    check(71, &late, 1, true, 1, 100);
    let over = [grace.as_slice(), &[("GRACE_PERIOD_EXPIRED", 40)]].concat();
    check(41, &over, 3, true, 0, 29);
    let without = [BOUGHT, ("DID_FAIL_TO_RENEW", 20)];
    check(21, &without, 3, true, 0, 20);
    let canceled = [without.as_slice(), &[(DISABLED, 25)]].concat();
    check(26, &canceled, 2, false, 0, 20);
    assert_eq!(renewal(26, &canceled)["expirationIntent"], 1);
}

#[test]
fn a_plan_changes_at_once_or_at_the_next_renewal() {
    let upgraded = [BOUGHT, ("DID_CHANGE_RENEWAL_PREF.UPGRADE", 10)];
    check(11, &upgraded, 1, true, 1, 375);
    let named = on(11, &upgraded);
    let first = named.numbered(0).expect("the first transaction");
    assert_eq!(first["isUpgraded"], true);
    assert_eq!(first.get("revocationDate"), None);
    let second = named.current();
    assert_eq!(second["productId"], "demo_gold_yearly");
    assert_eq!(second["transactionReason"], "PURCHASE");
    assert_eq!(second.get("isUpgraded"), None);

    let planned = [
        BOUGHT,
        (DISABLED, 5),
        ("DID_CHANGE_RENEWAL_PREF.DOWNGRADE", 10),
    ];
    check(11, &planned, 1, true, 0, 30);
    let shown = renewal(11, &planned);
    assert_eq!(shown["productId"], "demo_gold_monthly");
    assert_eq!(shown["autoRenewProductId"], "demo_gold_yearly");
    check(31, &planned, 1, true, 1, 395);
    let renewed = on(31, &planned).current();
    assert_eq!(renewed["transactionReason"], "RENEWAL");
    assert_eq!(renewed["price"], 99_990);
}

#[test]
fn an_expired_purchase_begins_again_as_the_same_one() {
    for (name, intent) in [("EXPIRED.VOLUNTARY", 1), ("EXPIRED.BILLING_RETRY", 2)] {
        let expired = [BOUGHT, (name, 20)];
        check(21, &expired, 2, false, 0, 20);
        assert_eq!(renewal(21, &expired)["expirationIntent"], intent);
        let later = [expired.as_slice(), &[("DID_RENEW", 25)]].concat();
        check(26, &later, 2, false, 0, 20);
        let again = [expired.as_slice(), &[(RESUBSCRIBED, 50)]].concat();
        check(51, &again, 1, true, 1, 80);
        let shown = renewal(51, &again);
        assert_eq!(shown["recentSubscriptionStartDate"], millis(50));
        let current = on(51, &again).current();
        assert_eq!(current["originalPurchaseDate"], millis(0));
    }
}

#[test]
fn a_refund_ends_the_purchase_until_it_is_taken_back() {
    let refunded = [BOUGHT, ("REFUND", 10)];
    check(11, &refunded, 5, false, 0, 30);
    let current = on(11, &refunded).current();
    assert_eq!(current["revocationDate"], millis(10));
    assert_eq!(current["revocationType"], "REFUND_FULL");
    let reversed = [refunded.as_slice(), &[("REFUND_REVERSED", 15)]].concat();
    check(16, &reversed, 1, false, 0, 30);
    assert_eq!(on(16, &reversed).current().get("revocationDate"), None);
    check(31, &reversed, 2, false, 0, 30);
    let late = [refunded.as_slice(), &[("REFUND_REVERSED", 40)]].concat();
    check(41, &late, 2, false, 0, 30);
}

#[test]
fn a_one_time_purchase_lasts_until_it_is_refunded() {
    let bought = [("ONE_TIME_CHARGE", 0)];
    let named = on(400, &bought);
    assert_eq!(named.renewal(), None);
    let shown = named.current();
    assert_eq!(shown["transactionId"], shown["originalTransactionId"]);
    assert_eq!(shown.get("expiresDate"), None);
    assert_eq!(shown.get("revocationDate"), None);
    let refunded = [bought[0], ("REFUND", 3)];
    let shown = on(4, &refunded).current();
    assert_eq!(shown["revocationDate"], millis(3));
    let reversed = [refunded.as_slice(), &[("REFUND_REVERSED", 5)]].concat();
    assert_eq!(on(6, &reversed).current().get("revocationDate"), None);
}

#[test]
fn questions_change_nothing() {
    for name in ["CONSUMPTION_REQUEST", "REFUND_DECLINED"] {
        check(11, &[BOUGHT, (name, 10)], 1, true, 0, 30);
    }
}

#[test]
fn every_first_sample_begins_a_purchase() {
    for (name, _) in TYPES {
        let named = on(1, &[(*name, 0)]);
        let current = named.current();
        let first = named.numbered(0).expect("a transaction");
        let sku = current["productId"].as_str().expect("a product");
        assert!(PRODUCTS.iter().any(|product| product.0 == sku), "{name}");
        let begin = first["purchaseDate"].as_i64();
        assert!(begin <= millis(0).as_i64(), "{name}");
        // No period is empty.
        let end = current["expiresDate"].as_i64();
        assert!(
            end.is_none() || current["purchaseDate"].as_i64() < end,
            "{name}"
        );
    }
    check(0, &[("DID_RENEW", 0)], 1, true, 1, 30);
}

fn chain() -> &'static Chain {
    of_samples().expect("a chain")
}

/// Returns the verified content of a signed part.
fn opened(text: &Value) -> Value {
    let chains = Chains::under(&[chain().root().to_vec()]);
    let verified = verify(&chains, text.as_str().expect("a text"), day(2000));
    let Ok(verified) = verified else {
        panic!("not verified");
    };
    Value::Object(verified.members)
}

#[test]
fn the_statuses_show_the_newest_transaction_of_the_group() {
    let named = on(70, &[BOUGHT]);
    let answer = named.statuses(chain()).expect("an answer");
    assert_eq!(answer["bundleId"], BUNDLE);
    assert_eq!(answer["environment"], "Sandbox");
    let shown = &answer["data"][0]["lastTransactions"][0];
    assert_eq!(shown["status"], 1);
    assert_eq!(shown["originalTransactionId"], receipt_id());
    assert_eq!(opened(&shown["signedTransactionInfo"]), named.current());
    let renewal = named.renewal().expect("a subscription");
    assert_eq!(opened(&shown["signedRenewalInfo"]), renewal);
    let one_time = on(1, &[("ONE_TIME_CHARGE", 0)]).statuses(chain());
    assert_eq!(one_time.expect("an answer")["data"], json!([]));
}

/// Returns the numbers of the transactions on a page of the history, and the answer.
fn page(named: &NamedPurchase, query: &str) -> (Vec<usize>, Value) {
    let uri = format!("/?{query}").parse().expect("a URI");
    let answer = named.history(chain(), &filter(&uri)).expect("an answer");
    let signed = answer["signedTransactions"].as_array().expect("a list");
    let ids = signed
        .iter()
        .map(|text| opened(text)["transactionId"].clone());
    let names = ids.map(|id| TransactionName::parse(id.as_str().expect("an id")));
    (names.map(|name| name.number).collect(), answer)
}

#[test]
fn the_history_has_pages_of_twenty() {
    let named = on(30 * 44 + 1, &[BOUGHT]);
    let (numbers, answer) = page(&named, "");
    assert_eq!(numbers, (0..20).collect::<Vec<_>>());
    assert_eq!(
        (&answer["hasMore"], &answer["revision"]),
        (&json!(true), &json!("20"))
    );
    let (numbers, answer) = page(&named, "revision=40&sort=ASCENDING");
    assert_eq!(numbers, (40..45).collect::<Vec<_>>());
    assert_eq!(
        (&answer["hasMore"], &answer["revision"]),
        (&json!(false), &json!("45"))
    );
    let (numbers, _) = page(&named, "revision=40&sort=DESCENDING");
    assert_eq!(numbers, [4, 3, 2, 1, 0]);
    let from = millis(30 * 43);
    let (numbers, _) = page(
        &named,
        &format!("startDate={from}&productType=AUTO_RENEWABLE"),
    );
    assert_eq!(numbers, [43, 44]);
    let (numbers, _) = page(&named, &format!("endDate={}", millis(30)));
    assert_eq!(numbers, [0]);
    let (numbers, _) = page(&named, "productType=CONSUMABLE&productType=NON_CONSUMABLE");
    assert_eq!(numbers, [0; 0]);
}

#[test]
fn the_refunds_are_those_of_the_purchase_alone() {
    let refunded = on(41, &[BOUGHT, ("REFUND", 40)]);
    let answer = refunded.refunds(chain(), &HistoryFilter::default());
    let answer = answer.expect("an answer");
    let signed = answer["signedTransactions"].as_array().expect("a list");
    let [signed] = signed.as_slice() else {
        panic!("one refund: {answer}");
    };
    let name = TransactionName {
        receipt_id: receipt_id(),
        number: 1,
    };
    assert_eq!(opened(signed)["transactionId"], name.id());
}

#[test]
fn a_transaction_is_known_by_its_id() {
    for number in [0, 1, 25, 999_999_999] {
        let name = TransactionName {
            receipt_id: receipt_id(),
            number,
        };
        assert_eq!(TransactionName::parse(&name.id()), name);
    }
    for other in ["", "a", "a.b", "a.0", "a.", "a.-1", "a.1234567890"] {
        let name = TransactionName::parse(other);
        assert_eq!((name.receipt_id.as_str(), name.number), (other, 0));
    }
}

#[test]
fn errors_have_the_numbers_and_status_codes_of_apple() {
    let status = |error: ApiError| error.into_response().status().as_u16();
    assert_eq!(status(ApiError::UnknownTransaction), 404);
    assert_eq!(status(ApiError::UnknownTest), 404);
    assert_eq!(status(ApiError::Unavailable), 500);
}

#[test]
fn a_test_notification_is_about_no_purchase() {
    let token = Uuid::from_u128(7);
    let expected = json!({
        "notificationType": "TEST", "notificationUUID": token, "version": "2.0",
        "signedDate": millis(0), "data": { "environment": "Sandbox", "bundleId": BUNDLE },
    });
    assert_eq!(test(token, BUNDLE, now()), expected);
}

#[test]
fn each_customer_has_one_account_token() {
    let named = on(1, &[BOUGHT]);
    let (transaction, renewal) = (named.current(), named.renewal().expect("a subscription"));
    for member in ["appAccountToken", "appTransactionId"] {
        assert_eq!(transaction[member], renewal[member]);
    }
    let token = transaction["appAccountToken"].as_str().expect("a token");
    assert!(Uuid::parse_str(token).is_ok());
}
