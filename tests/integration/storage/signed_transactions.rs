//! The periods of the ledger, filled by another kind of store: one that signs its transactions, as the App Store does.
//!
//! The transactions have the form of Apple's `JWSTransactionDecodedPayload`
//! (<https://developer.apple.com/documentation/appstoreserverapi/jwstransactiondecodedpayload>). They fill the same
//! columns as the orders of Google Play. Apple's own sample models are not part of this repository; where they are
//! missing, only hand-written transactions are used.

use super::periods::{FIRST, NEXT, day, monthly};
use super::world::{Report, World, reported, story};
use domain::period::{OfferPhase, Period, PeriodRefund, RefundExtent};
use domain::stores::google::OrderState;
use domain::verification::Product;
use domain::{NotificationKind, Snapshot, StoreState, Timestamp};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// The id of the first transaction, which identifies a purchase for good, and the account that the app set.
const ORIGINAL: &str = "2000000100000001";
const ACCOUNT: &str = "7e3fb20b-4cdb-47cc-936d-99d65f608138";

fn millis(at: Timestamp) -> i64 {
    at.micros() / 1000
}

/// Returns a member of a payload that is a text.
fn text(payload: &Value, member: &str) -> Option<String> {
    payload[member].as_str().map(str::to_owned)
}

/// Returns a member of a payload that is a time.
fn time(payload: &Value, member: &str) -> Option<Timestamp> {
    payload[member].as_i64().map(Timestamp::from_millis)
}

/// Returns an amount, which a payload states in thousandths, as text.
fn amount(thousandths: &Value) -> Option<String> {
    let thousandths = thousandths.as_i64()?;
    let text = format!("{}.{:03}", thousandths / 1000, thousandths % 1000);
    Some(text.trim_end_matches('0').trim_end_matches('.').to_owned())
}

/// Returns the phase of the offer of a transaction.
fn phase(transaction: &Value) -> OfferPhase {
    let discount = transaction["offerDiscountType"].as_str();
    match (transaction["offerType"].as_i64(), discount) {
        (_, Some("FREE_TRIAL")) => OfferPhase::Trial,
        (Some(1), _) => OfferPhase::Introductory,
        (Some(_), _) => OfferPhase::Other,
        (None, _) => OfferPhase::Base,
    }
}

/// Returns how far a transaction is refunded. Of one that an upgrade replaced, the store does not show the amount.
fn refund(transaction: &Value) -> Option<PeriodRefund> {
    let Some(at) = time(transaction, "revocationDate") else {
        let is_upgraded = transaction["isUpgraded"] == true;
        let at = time(transaction, "signedDate").filter(|_| is_upgraded);
        let extent = RefundExtent::Unknown;
        return at.map(|at| PeriodRefund { at, extent });
    };
    let share = || {
        // 50000 is one half.
        let share = transaction["revocationPercentage"].as_i64()? / 100;
        Some(RefundExtent::Mille(u16::try_from(share).ok()?))
    };
    let extent = match transaction["revocationType"].as_str() {
        Some("FAMILY_REVOKE") => return None,
        Some("REFUND_PRORATED") => share().unwrap_or(RefundExtent::Unknown),
        _ => RefundExtent::Full,
    };
    Some(PeriodRefund { at, extent })
}

/// Returns the period of a transaction.
fn period(transaction: &Value) -> Period {
    let begins_at = time(transaction, "purchaseDate").expect("a date");
    let id = text(transaction, "transactionId").expect("an id");
    let refund = refund(transaction);
    let is_full = refund.is_some_and(|refund| refund.extent == RefundExtent::Full);
    let tax = amount(&transaction["advancedCommerceInfo"]["estimatedTax"]);
    let quantity = transaction["quantity"].as_u64();
    Period {
        as_of: time(transaction, "signedDate").expect("a date"),
        product: text(transaction, "productId").expect("a product"),
        plan: text(transaction, "subscriptionGroupIdentifier"),
        ends_at: time(transaction, "expiresDate"),
        phase: phase(transaction),
        price: amount(&transaction["price"]).and_then(|price| price.parse().ok()),
        currency: text(transaction, "currency"),
        tax: tax.and_then(|tax| tax.parse().ok()),
        quantity: quantity
            .and_then(|one| u32::try_from(one).ok())
            .unwrap_or(1),
        refund,
        voided_at: time(transaction, "revocationDate").filter(|_| is_full),
        ..Period::unread(&id, begins_at)
    }
}

/// Returns the snapshot of a purchase with these transactions, of which the last one is the current one. Its renewal
/// information is null for a one-time purchase.
fn snapshot(transactions: &[Value], renewal: &Value) -> Snapshot {
    let periods: Vec<Period> = transactions.iter().map(period).collect();
    let current = periods.last().expect("a transaction").clone();
    let first = &transactions[0];
    let is_subscription = renewal.is_object();
    let next = text(renewal, "autoRenewProductId").filter(|next| *next != current.product);
    let in_us = first["storefront"] == "USA";
    let product = if is_subscription {
        Product::Subscription
    } else {
        Product::Consumable
    };
    Snapshot {
        at: current.as_of,
        product,
        product_id: Some(current.product.clone()),
        term_sku: Some(current.product.clone()),
        purchased_at: time(first, "originalPurchaseDate"),
        renews_at: time(renewal, "renewalDate").or(current.ends_at),
        auto_renewing: is_subscription.then(|| renewal["autoRenewStatus"] == 1),
        deferred_at: current.ends_at.filter(|_| next.is_some()),
        deferred_sku: next.clone(),
        country: in_us.then(|| "US".to_owned()),
        state: Some(Box::new(StoreState {
            skus: BTreeSet::from([current.product.clone()]),
            planned: next.map(|next| BTreeSet::from([next])),
            phase: Some(current.phase),
            transaction_id: Some(current.transaction_id.clone()),
            cycle: u64::try_from(periods.len())
                .ok()
                .filter(|_| is_subscription),
            periods,
            ..StoreState::default()
        })),
        ..Snapshot::default()
    }
}

/// Returns a signed monthly transaction: the first one is introductory. `members` add to its members or replace them.
fn transaction(number: u32, members: Value) -> Value {
    let from = day(30 * (number - 1));
    let mut signed = json!({
        "transactionId": format!("200000010000000{number}"), "originalTransactionId": ORIGINAL,
        "bundleId": "com.example.app", "productId": "gold", "subscriptionGroupIdentifier": "21000001",
        "type": "Auto-Renewable Subscription", "environment": "Production", "inAppOwnershipType": "PURCHASED",
        "purchaseDate": millis(from), "originalPurchaseDate": millis(day(0)), "expiresDate": millis(day(30 * number)),
        "signedDate": millis(from), "quantity": 1, "price": 9_990, "currency": "USD", "storefront": "USA",
        "appAccountToken": ACCOUNT,
    });
    let introductory =
        json!({ "offerType": 1, "offerDiscountType": "PAY_AS_YOU_GO", "price": 1_990 });
    let all = signed.as_object_mut().expect("an object");
    for more in [introductory, members]
        .into_iter()
        .skip(usize::from(number > 1))
    {
        all.extend(more.as_object().expect("an object").clone());
    }
    signed
}

fn renewal(number: u32) -> Value {
    json!({
        "originalTransactionId": ORIGINAL, "productId": "gold", "autoRenewProductId": "gold", "autoRenewStatus": 1,
        "renewalDate": millis(day(30 * number)), "renewalPrice": 9_990, "currency": "USD",
    })
}

/// Returns Apple's sample models: two transactions and a renewal information; `None` if they are missing.
fn models() -> Option<[Value; 3]> {
    let folder = PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../shared/fixtures/apple/models"
    ));
    if !folder.is_dir() {
        println!(
            "left out: Apple's sample models are not beside this repository (shared/fixtures/apple)"
        );
        return None;
    }
    let names = [
        "signedTransaction.json",
        "signedTransactionWithRevocation.json",
        "signedRenewalInfo.json",
    ];
    Some(names.map(|name| {
        let text = std::fs::read(folder.join(name)).expect("a model");
        serde_json::from_slice(&text).expect("JSON")
    }))
}

#[test]
fn each_value_of_a_transaction_has_a_place_in_its_period() {
    let trial = json!({ "offerType": 1, "offerDiscountType": "FREE_TRIAL", "price": 0 });
    let win_back = json!({ "offerType": 4, "offerDiscountType": "PAY_UP_FRONT" });
    let yen = json!({ "price": 300_000, "currency": "JPY", "storefront": "JPN", "quantity": 2 });
    for (members, price, expected) in [
        (trial, "0", OfferPhase::Trial),
        (win_back, "9.99", OfferPhase::Other),
        (yen, "300", OfferPhase::Base),
    ] {
        let found = period(&transaction(2, members));
        assert_eq!((found.price, found.phase), (price.parse().ok(), expected));
    }
    let found = period(&transaction(1, json!({ "quantity": 3 })));
    assert_eq!(
        (&*found.transaction_id, &*found.product),
        (ORIGINAL, "gold")
    );
    assert_eq!(found.plan.as_deref(), Some("21000001"));
    assert_eq!((found.begins_at, found.ends_at), (day(0), Some(day(30))));
    assert_eq!(found.price, "1.99".parse().ok());
    assert_eq!(
        (found.currency.as_deref(), found.quantity),
        (Some("USD"), 3)
    );
    assert_eq!(
        (found.phase, found.refund),
        (OfferPhase::Introductory, None)
    );
    let at = day(40);
    for (members, extent) in [
        (json!({}), RefundExtent::Full),
        (
            json!({ "revocationType": "REFUND_FULL" }),
            RefundExtent::Full,
        ),
        (
            json!({ "revocationType": "REFUND_PRORATED", "revocationPercentage": 33_300 }),
            RefundExtent::Mille(333),
        ),
        (
            json!({ "revocationType": "REFUND_PRORATED" }),
            RefundExtent::Unknown,
        ),
    ] {
        let mut revoked = transaction(2, members);
        revoked["revocationDate"] = json!(millis(at));
        assert_eq!(period(&revoked).refund, Some(PeriodRefund { at, extent }));
    }
    let upgraded = period(&transaction(2, json!({ "isUpgraded": true })));
    let extent = RefundExtent::Unknown;
    assert_eq!(
        upgraded.refund,
        Some(PeriodRefund {
            at: day(30),
            extent
        })
    );
    let family = json!({ "revocationType": "FAMILY_REVOKE", "revocationDate": millis(at) });
    assert_eq!(period(&transaction(2, family)).refund, None);
}

impl World {
    /// Returns how many entries of a token's ledger have a value in each of these columns.
    fn filled(&self, token: &str) -> Vec<(&'static str, i64)> {
        let columns = [
            "store_transaction",
            "amount",
            "price",
            "currency",
            "usd",
            "period_start",
            "period_end",
            "quantity",
        ];
        let key = self.key(token);
        let count = |column: &'static str| {
            let rows = format!("payments WHERE collapse_key = '{key}' AND {column} IS NOT NULL");
            (column, self.count(&rows))
        };
        columns.map(count).to_vec()
    }
}

story! {
    async fn transactions_and_orders_fill_the_same_columns(world: World) {
        // The orders.
        world.settle_answer("order", &monthly(1), FIRST).await;
        world.settle_answer("order", &monthly(3), NEXT).await;
        let mut part = monthly(3);
        part.at = day(63);
        let last = &mut part.orders[2];
        (last.state, last.refunded) = (OrderState::PartiallyRefunded, "2.00".parse().ok());
        last.refunded_at = Some(day(62));
        world.settle_answer("order", &part, &[]).await;

        // The transactions of one chain, whose first one identifies the purchase.
        let report = Report {
            kind: NotificationKind::SubscriptionPurchased,
            customer: Some(ACCOUNT),
            related: None,
        };
        let first = [transaction(1, json!({}))];
        world.accept(reported(world.platform.id, "signed", ORIGINAL, millis(day(0)), report)).await;
        world.settle_token(ORIGINAL, snapshot(&first, &renewal(1)), &[]).await;
        let accounts = format!("SELECT app_user_id AS value FROM purchases WHERE receipt_id = '{ORIGINAL}'");
        assert_eq!(world.raw().texts(&accounts), [ACCOUNT]);
        let mut chain = [1, 2, 3].map(|number| transaction(number, json!({})));
        world.settle_token(ORIGINAL, snapshot(&chain, &renewal(3)), NEXT).await;
        let refund = json!({
            "revocationDate": millis(day(62)), "revocationType": "REFUND_PRORATED", "revocationPercentage": 40_000,
            "signedDate": millis(day(63)),
        });
        chain[2] = transaction(3, refund);
        for _ in 0..2 {
            world.settle_token(ORIGINAL, snapshot(&chain, &renewal(3)), &[]).await;
        }
        let expected = ["1 initial 1.99 store", "2 renewal 9.99 store", "3 renewal 9.99 store", "3 refund -4.00 store"];
        assert_eq!(world.ledger(ORIGINAL), expected);
        assert_eq!(world.filled(ORIGINAL), world.filled("order"));
        assert_eq!(world.broken(1000).await, []);
    }
}

story! {
    async fn the_quantity_of_a_transaction_is_paid_and_returned(world: World) {
        let pieces = json!({
            "type": "Consumable", "productId": "coins", "subscriptionGroupIdentifier": null, "expiresDate": null,
            "offerType": null, "offerDiscountType": null, "quantity": 3, "price": 2_970,
        });
        let mut bought = [transaction(1, pieces)];
        let kinds = [NotificationKind::ConsumablePurchased];
        world.settle_token(ORIGINAL, snapshot(&bought, &Value::Null), &kinds).await;
        assert_eq!(world.ledger(ORIGINAL), ["1 initial 2.97 store"]);
        assert_eq!(world.raw().number("SELECT quantity AS value FROM payments"), 3);
        bought[0]["revocationDate"] = json!(millis(day(2)));
        bought[0]["revocationType"] = json!("REFUND_FULL");
        bought[0]["signedDate"] = json!(millis(day(2)));
        for _ in 0..2 {
            world.settle_token(ORIGINAL, snapshot(&bought, &Value::Null), &[]).await;
            assert_eq!(world.ledger(ORIGINAL), ["1 initial 2.97 store", "1 refund -2.97 store"]);
        }
    }
}

story! {
    async fn the_store_s_own_sample_models_fill_the_ledger(world: World) {
        let Some([whole, prorated, renewal]) = models() else { return };
        let at = |millis: i64| Timestamp::from_millis(millis);
        let half = RefundExtent::Mille(500);
        for (sample, extent, tax) in [(&whole, RefundExtent::Full, Some("1.5")), (&prorated, half, None)] {
            let found = period(sample);
            assert_eq!((&*found.transaction_id, &*found.product), ("23456", "com.example.product"));
            assert_eq!(found.plan.as_deref(), Some("55555"));
            assert_eq!((found.begins_at, found.ends_at), (at(1_698_148_900_000), Some(at(1_698_149_000_000))));
            assert_eq!((found.price, found.currency.as_deref()), ("10.99".parse().ok(), Some("USD")));
            assert_eq!((found.phase, found.quantity), (OfferPhase::Introductory, 1));
            let refunded_at = at(1_698_148_950_000);
            assert_eq!(found.refund, Some(PeriodRefund { at: refunded_at, extent }));
            assert_eq!(found.tax, tax.and_then(|tax| tax.parse().ok()));
        }
        let token = text(&prorated, "originalTransactionId").expect("an id");
        let shown = snapshot(&[prorated], &renewal);
        assert_eq!(shown.deferred_sku.as_deref(), Some("com.example.product.2"));
        let booked = "SELECT kind || ' ' || store_transaction AS value FROM payments ORDER BY entry";
        for kinds in [FIRST, &FIRST[..0]] {
            world.settle_token(&token, shown.clone(), kinds).await;
            assert_eq!(world.raw().texts(booked), ["initial 23456", "refund 23456"]);
        }
        let amounts = world.raw().texts("SELECT amount AS value FROM payments ORDER BY entry");
        let amounts: Vec<f64> = amounts.iter().map(|one| one.parse().unwrap()).collect();
        let expected = [10.99, -5.495];
        assert!(amounts.iter().zip(expected).all(|(amount, one)| (amount - one).abs() < 0.000_1), "{amounts:?}");
    }
}
