//! What a purchase cost, by the owner's list and the rate of the day.

use super::{bought, data, day, described, known, monthly, price};
use crate::catalogue::{Listing, Price};
use crate::event::Described;
use crate::event::price::{has_own_price, listed};
use crate::notification::Kind;
use crate::reading::{Reading, Snapshot};
use serde_json::{Value, json};

/// `purchase_price`, `purchase_currency` and `price_in_usd` of a purchase in this country.
fn prices(snapshot: Snapshot, prices: &[Price], usd_rate: Option<&str>) -> [Value; 3] {
    let listing = Listing { entitlements: Vec::new(), prices: prices.to_vec() };
    let usd_rate = usd_rate.map(|rate| rate.parse().unwrap());
    let purchase = bought(snapshot);
    let data = data(Described { listing: &listing, usd_rate, ..described(&purchase) });
    ["purchase_price", "purchase_currency", "price_in_usd"].map(|field| data[field].clone())
}

fn unknown() -> [Value; 3] {
    [Value::Null, Value::Null, Value::Null]
}

#[test]
fn a_price_in_dollars_is_its_own_price_in_dollars() {
    let expected = [json!("4.9900"), json!("USD"), json!("4.9900")];
    assert_eq!(prices(monthly(), &[price(None, "USD", "4.9900")], None), expected);
    assert_eq!(prices(monthly(), &[price(None, "USD", "4.9900")], Some("3")), expected);
}

#[test]
fn another_currency_needs_the_rate_of_the_day_and_is_rounded_to_cents() {
    let rows = [
        ("4.99", Some("1.1"), json!("5.49")),
        ("4.99", Some("1.25"), json!("6.24")),
        ("10.00", Some("1.0005"), json!("10.01")),
        ("10.00", Some("1.00049"), json!("10.00")),
        ("5", Some("1"), json!("5.00")),
        ("0", Some("1.1"), json!("0.00")),
        ("4.99", None, Value::Null),
        ("79228162514264337593543950335", Some("2"), Value::Null),
    ];
    for (local, rate, in_usd) in rows {
        let expected = [json!(local), json!("EUR"), in_usd];
        assert_eq!(prices(monthly(), &[price(None, "EUR", local)], rate), expected, "{local} by {rate:?}");
    }
}

#[test]
fn the_price_of_the_country_wins_over_the_price_of_everywhere_else() {
    let list = [
        price(Some("DE"), "EUR", "5.99"),
        price(None, "USD", "4.99"),
        price(Some("US"), "USD", "3.99"),
        price(None, "USD", "9.99"),
    ];
    let found = |country: Option<&str>| listed(&list, country).map(|price| price.price.to_string());
    assert_eq!(found(Some("DE")).as_deref(), Some("5.99"));
    assert_eq!(found(Some("us")).as_deref(), Some("3.99"));
    assert_eq!(found(Some("FR")).as_deref(), Some("4.99"));
    assert_eq!(found(None).as_deref(), Some("4.99"));
    assert_eq!(listed(&list[..1], Some("FR")), None);
    assert_eq!(listed(&list[..1], None), None);
    assert_eq!(listed(&[], Some("DE")), None);
}

#[test]
fn the_country_is_the_purchases_own() {
    let list = [price(Some("DE"), "EUR", "5.99"), price(Some("US"), "USD", "3.99")];
    let german = Snapshot { country: Some("DE".to_owned()), ..monthly() };
    assert_eq!(prices(german, &list, None), [json!("5.99"), json!("EUR"), Value::Null]);
    assert_eq!(prices(monthly(), &list, None), [json!("3.99"), json!("USD"), json!("3.99")]);
    assert_eq!(prices(Snapshot { country: None, ..monthly() }, &list, None), unknown());
}

#[test]
fn an_introductory_offer_has_no_listed_price() {
    let offer = Snapshot { in_intro_offer: true, ..monthly() };
    assert_eq!(prices(offer, &[price(None, "USD", "4.99")], None), unknown());
}

#[test]
fn a_trial_has_no_listed_price() {
    let trial = Snapshot { trial_ends_at: Some(day(31)), ..monthly() };
    assert_eq!(prices(trial, &[price(None, "USD", "4.99")], None), unknown());
}

#[test]
fn only_what_is_known_to_have_a_price_of_its_own_has_no_listed_one() {
    for (in_trial, in_offer, expected) in [
        (Some(true), Some(false), true),
        (Some(false), Some(true), true),
        (Some(false), Some(false), false),
        (None, None, false),
        (None, Some(true), true),
        (Some(true), None, true),
    ] {
        assert_eq!(has_own_price(in_trial, in_offer), expected, "{in_trial:?} {in_offer:?}");
    }
}

#[test]
fn a_currency_that_is_none_is_no_price() {
    for wrong in ["", "US", "DOLLAR", "U$D", "12€"] {
        assert_eq!(prices(monthly(), &[price(None, wrong, "4.99")], None), unknown(), "{wrong}");
    }
    let small = [json!("4.99"), json!("USD"), json!("4.99")];
    assert_eq!(prices(monthly(), &[price(None, "usd", "4.99")], None), small);
}

#[test]
fn nothing_listed_is_no_price_and_one_time_purchases_have_one() {
    assert_eq!(prices(monthly(), &[], Some("1")), unknown());
    let listing = Listing { entitlements: Vec::new(), prices: vec![price(None, "USD", "0.99")] };
    let consumable = known(&[Kind::ConsumablePurchased], &Reading::Unverifiable);
    assert_eq!(data(Described { listing: &listing, ..described(&consumable) })["purchase_price"], json!("0.99"));
}
