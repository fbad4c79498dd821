//! Bodies of purchases: every field that is parsed, and states from real cases.

use super::{OLD, ORDER, answered, at, error, item, read, shown, subscription, time, token};
use crate::stores::google::money::Money;
use crate::stores::google::shown::{
    CanceledBy, Cancellation, Instalments, OfferPhase, PlannedChange, PriceChange, PurchaseKind,
    PurchaseStage, Renewal, ReplacedItem, ShownItem, ShownPurchase,
};
use domain::text::decimal;
use serde_json::{Value, json};

fn euros(amount: &str) -> Money {
    Money {
        amount: decimal(amount).unwrap(),
        currency: Some("EUR".to_owned()),
    }
}

/// Returns the only item of a subscription, with these members.
fn read_item(members: Value) -> ShownItem {
    let mut shown = read(json!({ "lineItems": [item("monthly", members)] }));
    assert_eq!(shown.items.len(), 1);
    shown.items.remove(0)
}

fn product(members: Value) -> ShownPurchase {
    let base = json!({
        "kind": "androidpublisher#productPurchaseV2", "regionCode": "FR",
        "purchaseStateContext": { "purchaseState": "PURCHASED" },
        "purchaseCompletionTime": "2026-09-01T10:00:00.5Z",
        "acknowledgementState": "ACKNOWLEDGEMENT_STATE_PENDING",
    });
    let body = super::merged(base, members);
    shown(&[error(404, "purchaseTokenNotFound"), answered(200, body)])
}

#[test]
fn every_state_of_a_subscription_is_read() {
    for (name, stage, is_running) in [
        ("PENDING", PurchaseStage::Pending, false),
        ("ACTIVE", PurchaseStage::Active, true),
        ("PAUSED", PurchaseStage::Paused, false),
        ("IN_GRACE_PERIOD", PurchaseStage::Grace, true),
        ("ON_HOLD", PurchaseStage::Hold, false),
        ("CANCELED", PurchaseStage::Canceled, true),
        ("EXPIRED", PurchaseStage::Expired, false),
        (
            "PENDING_PURCHASE_CANCELED",
            PurchaseStage::PendingCanceled,
            false,
        ),
    ] {
        let shown = read(json!({ "subscriptionState": format!("SUBSCRIPTION_STATE_{name}") }));
        assert_eq!((shown.stage, shown.is_running()), (stage, is_running));
    }
}

#[test]
fn the_fields_of_a_subscription_are_read() {
    let shown = read(json!({}));
    assert_eq!((shown.at, shown.kind), (at(), PurchaseKind::Subscription));
    assert_eq!(shown.started_at, time("2026-09-01T10:00:00Z"));
    assert_eq!(shown.country.as_deref(), Some("DE"));
    assert_eq!((shown.is_acknowledged, shown.is_test), (Some(true), false));
    assert_eq!(shown.expires_at(), time("2026-10-01T10:00:00Z"));
    assert_eq!(shown.order_ids(), [ORDER]);
    let [item] = shown.items.as_slice() else {
        panic!("{:?}", shown.items);
    };
    assert_eq!(item.sku(), "premium:monthly");
    assert_eq!(item.renewal, Renewal::Automatic { is_on: true });
    assert_eq!(
        (item.phase, item.is_prorated, item.has_code),
        (None, false, false)
    );
    let bare = read(json!({
        "startTime": null, "regionCode": "germany", "acknowledgementState": "ACKNOWLEDGEMENT_STATE_UNSPECIFIED",
        "lineItems": [],
    }));
    assert_eq!(
        (bare.started_at, bare.country, bare.is_acknowledged),
        (None, None, None)
    );
    assert_eq!((bare.items.len(), bare.linked), (0, None));
}

/// G08: a tester's purchase, whose acknowledgement is due within minutes.
#[test]
fn g08_a_testers_purchase_is_marked() {
    let due =
        json!({ "testPurchase": {}, "acknowledgementState": "ACKNOWLEDGEMENT_STATE_PENDING" });
    let shown = read(due);
    assert_eq!((shown.is_test, shown.is_acknowledged), (true, Some(false)));
    assert!(read(json!({ "testPurchase": {} })).is_test);
    assert!(product(json!({ "testPurchaseContext": { "fopType": "TEST" } })).is_test);
    assert!(!product(json!({})).is_test);
}

#[test]
fn personal_data_of_a_customer_is_not_read() {
    let shown = read(json!({
        "subscribeWithGoogleInfo": {
            "emailAddress": "ada@example.com", "givenName": "Ada", "familyName": "Lovelace", "profileName": "Ada L",
        },
        "canceledStateContext": { "userInitiatedCancellation": {
            "cancelTime": "2026-09-10T00:00:00Z",
            "cancelSurveyResult": { "reason": "CANCEL_SURVEY_REASON_OTHERS", "reasonUserInput": "too dear \u{fffd}" },
        } },
        "externalAccountIdentifiers": { "obfuscatedExternalAccountId": "account-7" },
    }));
    let text = format!("{shown:?}");
    for hidden in ["ada", "Ada", "Lovelace", "dear", "account-7"] {
        assert!(!text.contains(hidden), "{hidden}: {text}");
    }
}

#[test]
fn half_a_character_of_a_survey_spoils_no_answer() {
    let survey = json!({ "userInitiatedCancellation": { "cancelSurveyResult": { "reasonUserInput": "HALF" } } });
    let body = subscription(json!({ "canceledStateContext": survey })).to_string();
    let body = body.replace("HALF", "\\ud83d");
    let shown = shown(&[answered(200, body), error(404, "notFound")]);
    assert_eq!(
        shown.cancellation.map(|one| one.by),
        Some(CanceledBy::Customer)
    );
}

#[test]
fn times_have_up_to_nine_digits_of_a_second() {
    for (text, micros) in [
        ("2026-09-01T10:00:00Z", 0),
        ("2026-09-01T10:00:00.1Z", 100_000),
        ("2026-09-01T10:00:00.123456789Z", 123_456),
        ("2026-09-01T12:00:00.000000001+02:00", 0),
    ] {
        let shown = read(json!({ "startTime": text }));
        let whole = time("2026-09-01T10:00:00Z").unwrap().micros();
        assert_eq!(
            shown.started_at.map(|at| at.micros() - whole),
            Some(micros),
            "{text}"
        );
    }
}

#[test]
fn money_is_exact_and_its_parts_may_be_absent() {
    let price = |money: Value| {
        let plan = json!({ "autoRenewEnabled": true, "recurringPrice": money });
        read_item(json!({ "autoRenewingPlan": plan })).recurring_price
    };
    for (units, nanos, amount) in [
        (json!("4"), json!(990_000_000), "4.99"),
        (json!("4"), Value::Null, "4"),
        (Value::Null, json!(990_000_000), "0.99"),
        (Value::Null, Value::Null, "0"),
        (json!(12), json!(1), "12.000000001"),
        (json!("-1"), json!(-500_000_000), "-1.5"),
        (
            json!("9223372036854775807"),
            json!(999_999_999),
            "9223372036854775807.999999999",
        ),
    ] {
        let money = json!({ "currencyCode": "EUR", "units": units, "nanos": nanos });
        assert_eq!(price(money), Some(euros(amount)), "{amount}");
    }
    for currency in [json!("Euro"), json!("eur"), json!(""), Value::Null] {
        let shown = price(json!({ "currencyCode": currency, "units": "1" })).unwrap();
        assert_eq!(shown.currency, None);
    }
    assert_eq!(price(json!({ "currencyCode": "EUR" })), Some(euros("0")));
}

#[test]
fn renewal_that_is_not_shown_is_off() {
    let renewal = |members: Value| read_item(members).renewal;
    for off in [
        json!({}),
        json!({ "autoRenewEnabled": false }),
        json!({ "autoRenewEnabled": null }),
    ] {
        let shown = renewal(json!({ "autoRenewingPlan": off }));
        assert_eq!(shown, Renewal::Automatic { is_on: false });
    }
    let prepaid = json!({ "allowExtendAfterTime": "2026-09-20T00:00:00Z" });
    let shown = renewal(json!({ "autoRenewingPlan": null, "prepaidPlan": prepaid }));
    assert_eq!(
        shown,
        Renewal::Prepaid {
            from: time("2026-09-20T00:00:00Z")
        }
    );
    assert_eq!(renewal(json!({ "autoRenewingPlan": null })), Renewal::None);
}

#[test]
fn an_absent_phase_is_not_the_base_price() {
    let phase = |phase: Value| {
        let item = read_item(json!({ "offerPhase": phase }));
        (item.phase, item.is_prorated)
    };
    assert_eq!(phase(Value::Null), (None, false));
    assert_eq!(phase(json!({})), (None, false));
    assert_eq!(
        phase(json!({ "basePrice": {} })),
        (Some(OfferPhase::Base), false)
    );
    assert_eq!(
        phase(json!({ "freeTrial": {} })),
        (Some(OfferPhase::FreeTrial), false)
    );
    assert_eq!(
        phase(json!({ "introductoryPrice": {} })),
        (Some(OfferPhase::Introductory), false)
    );
    let prorated =
        |name: &str| phase(json!({ "prorationPeriod": { "originalOfferPhaseType": name } }));
    assert_eq!(prorated("FREE_TRIAL"), (Some(OfferPhase::FreeTrial), true));
    assert_eq!(
        prorated("ORIGINAL_OFFER_PHASE_TYPE_UNSPECIFIED"),
        (None, true)
    );
    assert_eq!(phase(json!({ "prorationPeriod": {} })), (None, true));
}

#[test]
fn an_end_names_who_caused_it() {
    let by = |context: Value| read(json!({ "canceledStateContext": context })).cancellation;
    let of = |by, at| Some(Cancellation { by, at });
    let customer = json!({ "userInitiatedCancellation": { "cancelTime": "2026-09-10T00:00:00Z" } });
    assert_eq!(
        by(customer),
        of(CanceledBy::Customer, time("2026-09-10T00:00:00Z"))
    );
    let empty = |name: &str| by(json!({ name: {} }));
    assert_eq!(
        empty("userInitiatedCancellation"),
        of(CanceledBy::Customer, None)
    );
    assert_eq!(
        empty("systemInitiatedCancellation"),
        of(CanceledBy::Store, None)
    );
    assert_eq!(
        empty("developerInitiatedCancellation"),
        of(CanceledBy::Developer, None)
    );
    assert_eq!(
        empty("replacementCancellation"),
        of(CanceledBy::Replacement, None)
    );
    assert_eq!(empty("anotherCancellation"), None);
}

#[test]
fn a_price_change_and_a_replaced_item_are_read() {
    let item = read_item(json!({
        "autoRenewingPlan": { "autoRenewEnabled": true, "priceChangeDetails": {
            "newPrice": { "currencyCode": "EUR", "units": "5" }, "priceChangeMode": "PRICE_INCREASE",
            "priceChangeState": "OUTSTANDING", "expectedNewPriceChargeTime": "2026-11-01T00:00:00Z",
        } },
        "itemReplacement": { "productId": "basic", "basePlanId": "yearly", "replacementMode": "CHARGE_FULL_PRICE" },
        "signupPromotion": { "vanityCode": { "promotionCode": "SUMMER" } },
        "offerDetails": { "basePlanId": "monthly", "offerId": "welcome", "offerTags": ["a"] },
    }));
    let change = PriceChange {
        price: Some(euros("5")),
        state: Some("OUTSTANDING".to_owned()),
        charged_from: time("2026-11-01T00:00:00Z"),
    };
    let replaced = ReplacedItem {
        product_id: Some("basic".to_owned()),
        plan_id: Some("yearly".to_owned()),
        mode: Some("CHARGE_FULL_PRICE".to_owned()),
    };
    assert_eq!(
        (item.price_change, item.replaced),
        (Some(change), Some(replaced))
    );
    assert_eq!(
        (item.offer_id.as_deref(), item.has_code),
        (Some("welcome"), true)
    );
}

#[test]
fn one_time_purchases_and_their_pieces_are_read() {
    let shown = product(
        json!({ "productLineItem": [{ "productId": "coins", "productOfferDetails": {
        "offerId": "sale", "purchaseOptionId": "buy", "quantity": 3, "refundableQuantity": 2,
        "consumptionState": "CONSUMPTION_STATE_CONSUMED",
    } }] }),
    );
    assert_eq!(
        (shown.kind, shown.stage),
        (PurchaseKind::OneTime, PurchaseStage::Active)
    );
    assert_eq!(shown.started_at, time("2026-09-01T10:00:00.5Z"));
    assert_eq!(
        (shown.is_acknowledged, shown.expires_at()),
        (Some(false), None)
    );
    let item = &shown.items[0];
    assert_eq!(
        (item.sku().as_str(), item.is_consumed),
        ("coins:buy", Some(true))
    );
    let state = |name: &str| {
        let context = json!({ "purchaseState": name });
        product(json!({ "purchaseStateContext": context })).stage
    };
    assert_eq!(state("PENDING"), PurchaseStage::Pending);
    assert_eq!(state("CANCELLED"), PurchaseStage::Voided);
}

/// G33: one of three pieces is left.
#[test]
fn g33_the_pieces_that_are_not_refunded_are_shown() {
    let details = json!({ "quantity": 3, "refundableQuantity": 1 });
    let item = json!({ "productId": "coins", "productOfferDetails": details });
    let shown = product(json!({ "productLineItem": [item] }));
    let item = &shown.items[0];
    assert_eq!(
        (item.quantity, item.unrefunded_quantity),
        (Some(3), Some(1))
    );
}

/// G03: the old and the new token of a plan change.
#[test]
fn g03_a_change_of_plan_is_a_replacement_and_a_link() {
    let old = read(json!({
        "subscriptionState": "SUBSCRIPTION_STATE_EXPIRED", "canceledStateContext": { "replacementCancellation": {} },
    }));
    let by = old.cancellation.map(|one| one.by);
    assert_eq!(
        (old.stage, by),
        (PurchaseStage::Expired, Some(CanceledBy::Replacement))
    );
    assert_eq!(
        read(json!({ "linkedPurchaseToken": OLD })).linked,
        Some(token(OLD))
    );
}

/// G10: pending, and paid two days later.
#[test]
fn g10_a_pending_purchase_has_no_access_and_no_order() {
    let shown = read(json!({
        "subscriptionState": "SUBSCRIPTION_STATE_PENDING", "startTime": null, "lineItems": [{ "productId": "premium" }],
    }));
    assert_eq!(
        (shown.stage, shown.is_running()),
        (PurchaseStage::Pending, false)
    );
    assert_eq!((shown.started_at, shown.order_ids()), (None, Vec::new()));
}

/// G13: a downgrade that takes effect later.
#[test]
fn g13_the_item_of_a_later_plan_is_not_paid() {
    let old = item(
        "gold",
        json!({ "deferredItemReplacement": { "productId": "basic" } }),
    );
    let new = json!({ "productId": "basic", "offerDetails": { "basePlanId": "silver" }, "autoRenewingPlan": {} });
    let shown = read(json!({ "lineItems": [new, old], "linkedPurchaseToken": OLD }));
    let [new, old] = shown.items.as_slice() else {
        panic!("{:?}", shown.items);
    };
    assert_eq!(
        (new.order_id.as_deref(), old.order_id.as_deref()),
        (None, Some(ORDER))
    );
    let product_id = Some("basic".to_owned());
    assert_eq!(old.planned, Some(PlannedChange::Replacement { product_id }));
    assert_eq!(
        (new.planned.as_ref(), shown.order_ids()),
        (None, vec![ORDER])
    );
}

/// G14: an add-on that ends with its period.
#[test]
fn g14_an_add_on_that_goes_has_an_end_of_its_own() {
    let main = item("monthly", json!({}));
    let extra = json!({
        "productId": "sports", "expiryTime": "2026-09-20T00:00:00Z", "deferredItemRemoval": {},
        "latestSuccessfulOrderId": ORDER, "autoRenewingPlan": {}, "offerDetails": { "basePlanId": "monthly" },
    });
    let shown = read(json!({ "lineItems": [main, extra] }));
    assert_eq!(shown.items[0].planned, None);
    assert_eq!(shown.items[1].planned, Some(PlannedChange::Removal));
    let ends: Vec<_> = shown.items.iter().map(|item| item.expires_at).collect();
    assert_eq!(
        ends,
        [time("2026-10-01T10:00:00Z"), time("2026-09-20T00:00:00Z")]
    );
}

/// G15: a payment is 20 hours late, without any notification.
#[test]
fn g15_a_past_date_ends_no_access_while_it_is_active() {
    let shown = read(
        json!({ "lineItems": [item("monthly", json!({ "expiryTime": "2020-01-01T00:00:00Z" }))] }),
    );
    assert!(shown.is_running());
    assert!(shown.expires_at() < Some(shown.at));
}

/// G22: a hold, shown by the response to the check after a notification of grace.
#[test]
fn g22_the_answer_and_not_the_notification_shows_a_hold() {
    for (state, context, is_running) in [
        ("ON_HOLD", "onHoldStateContext", false),
        ("IN_GRACE_PERIOD", "inGracePeriodStateContext", true),
    ] {
        let shown = read(json!({
            "subscriptionState": format!("SUBSCRIPTION_STATE_{state}"),
            context: { "renewalDeclined": { "pendingOrderId": "GPA.1234-5678-9012-12345..0" } },
        }));
        assert_eq!(shown.is_running(), is_running);
        assert_eq!(
            shown.unpaid_order.as_deref(),
            Some("GPA.1234-5678-9012-12345..0")
        );
        assert_eq!(shown.order_ids(), [ORDER], "the unpaid order is no payment");
    }
}

/// G16, G18: a recovery, whichever notification announces it.
#[test]
fn g18_a_recovery_has_its_own_dates_and_a_new_order() {
    let renewed = format!("{ORDER}..0");
    let held = read(json!({ "subscriptionState": "SUBSCRIPTION_STATE_ON_HOLD" }));
    let paid = json!({ "expiryTime": "2026-12-15T10:00:00Z", "latestSuccessfulOrderId": renewed });
    let back = read(json!({ "lineItems": [item("monthly", paid)] }));
    assert_eq!((held.is_running(), held.order_ids()), (false, vec![ORDER]));
    assert_eq!(
        (back.is_running(), back.order_ids()),
        (true, vec![renewed.as_str()])
    );
    assert_eq!(back.expires_at(), time("2026-12-15T10:00:00Z"));
}

/// G39: cancelled in month 5 of 12.
#[test]
fn g39_a_commitment_that_ends_later_is_shown() {
    let details = |members: Value| {
        let base =
            json!({ "initialCommittedPaymentsCount": 12, "remainingCommittedPaymentsCount": 7 });
        let plan =
            json!({ "autoRenewEnabled": true, "installmentDetails": super::merged(base, members) });
        read_item(json!({ "autoRenewingPlan": plan })).instalments
    };
    let of = |is_ending| {
        let remaining = Some(7);
        Some(Instalments {
            remaining,
            is_ending,
        })
    };
    assert_eq!(details(json!({})), of(false));
    assert_eq!(details(json!({ "pendingCancellation": {} })), of(true));
}

#[test]
fn a_pause_shows_its_planned_end() {
    let shown = read(json!({
        "subscriptionState": "SUBSCRIPTION_STATE_PAUSED",
        "pausedStateContext": { "autoResumeTime": "2026-12-01T00:00:00Z" },
    }));
    assert_eq!(shown.resumes_at, time("2026-12-01T00:00:00Z"));
}
