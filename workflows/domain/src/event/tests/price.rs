//! The price of a purchase, from the catalogue and the day's exchange rate.

use super::{bought, data, day, described, known, monthly, price, price_since};
use crate::catalogue::{Listing, Price, Since};
use crate::event::price::listed;
use crate::event::{DevicePrice, RecordSource};
use crate::notification::NotificationKind;
use crate::purchase::State;
use crate::verification::{EndReason, Offer, Snapshot, Verification};
use crate::{SettlingContext, decide};
use serde_json::{Value, json};

/// Returns `purchase_price`, `purchase_currency` and `price_in_usd` of a purchase.
fn prices(snapshot: Snapshot, prices: &[Price], usd_rate: Option<&str>) -> [Value; 3] {
    let listing = Listing {
        entitlements: Vec::new(),
        prices: prices.to_vec(),
    };
    let usd_rate = usd_rate.map(|rate| rate.parse().unwrap());
    let purchase = bought(snapshot);
    let data = data(RecordSource {
        listing: &listing,
        usd_rate,
        ..described(&purchase)
    });
    ["purchase_price", "purchase_currency", "price_in_usd"].map(|field| data[field].clone())
}

fn unknown() -> [Value; 3] {
    [Value::Null, Value::Null, Value::Null]
}

#[test]
fn a_price_in_dollars_is_its_own_price_in_dollars() {
    let expected = [json!("4.9900"), json!("USD"), json!("4.9900")];
    assert_eq!(
        prices(monthly(), &[price(None, "USD", "4.9900")], None),
        expected
    );
    assert_eq!(
        prices(monthly(), &[price(None, "USD", "4.9900")], Some("3")),
        expected
    );
}

#[test]
fn a_price_in_dollars_is_in_cents_too() {
    for (exact, in_usd) in [
        ("9.999999", "10.00"),
        ("0.004", "0.00"),
        ("9.985", "9.99"),
        ("9.9", "9.9"),
        ("10", "10"),
    ] {
        let expected = [json!(exact), json!("USD"), json!(in_usd)];
        assert_eq!(
            prices(monthly(), &[price(None, "USD", exact)], None),
            expected
        );
    }
}

#[test]
fn another_currency_needs_a_rate_and_is_rounded_to_cents() {
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
        assert_eq!(
            prices(monthly(), &[price(None, "EUR", local)], rate),
            expected,
            "{local} by {rate:?}"
        );
    }
}

#[test]
fn the_price_of_the_country_wins_over_the_general_price() {
    let list = [
        price(Some("DE"), "EUR", "5.99"),
        price(None, "USD", "4.99"),
        price(Some("US"), "USD", "3.99"),
        price(None, "USD", "9.99"),
    ];
    let found =
        |country: Option<&str>| listed(&list, country, None).map(|price| price.price.to_string());
    assert_eq!(found(Some("DE")).as_deref(), Some("5.99"));
    assert_eq!(found(Some("us")).as_deref(), Some("3.99"));
    assert_eq!(found(Some("FR")).as_deref(), Some("4.99"));
    assert_eq!(found(None).as_deref(), Some("4.99"));
    assert_eq!(listed(&list[..1], Some("FR"), None), None);
    assert_eq!(listed(&list[..1], None, None), None);
    assert_eq!(listed(&[], Some("DE"), None), None);
}

#[test]
fn the_country_is_the_purchases_own() {
    let list = [
        price(Some("DE"), "EUR", "5.99"),
        price(Some("US"), "USD", "3.99"),
    ];
    let german = Snapshot {
        country: Some("DE".to_owned()),
        ..monthly()
    };
    assert_eq!(
        prices(german, &list, None),
        [json!("5.99"), json!("EUR"), Value::Null]
    );
    assert_eq!(
        prices(monthly(), &list, None),
        [json!("3.99"), json!("USD"), json!("3.99")]
    );
    assert_eq!(
        prices(
            Snapshot {
                country: None,
                ..monthly()
            },
            &list,
            None
        ),
        unknown()
    );
}

#[test]
fn what_may_have_been_a_trial_has_no_price() {
    let list = [price(None, "USD", "9.99")];
    let expired = |day_of_end| Snapshot {
        at: day(40),
        renews_at: None,
        ends_at: Some(day(day_of_end)),
        end_reason: Some(EndReason::Customer),
        auto_renewing: Some(false),
        ..monthly()
    };
    assert_eq!(
        prices(expired(3), &list, None),
        unknown(),
        "it expired within its term, and was never shown running"
    );
    assert_eq!(
        prices(expired(31), &list, None),
        [json!("9.99"), json!("USD"), json!("9.99")],
        "a whole term was paid"
    );
}

#[test]
fn an_introductory_offer_has_no_listed_price() {
    let offer = Snapshot {
        in_intro_offer: true,
        ..monthly()
    };
    assert_eq!(
        prices(offer, &[price(None, "USD", "4.99")], None),
        unknown()
    );
}

#[test]
fn a_trial_has_no_listed_price() {
    let trial = Snapshot {
        trial_ends_at: Some(day(31)),
        ..monthly()
    };
    assert_eq!(
        prices(trial, &[price(None, "USD", "4.99")], None),
        unknown()
    );
}

#[test]
fn a_trial_that_expired_unpaid_never_had_a_price() {
    let trial = Snapshot {
        trial_ends_at: Some(day(31)),
        ..monthly()
    };
    let over = Snapshot {
        at: day(32),
        ends_at: Some(day(31)),
        renews_at: None,
        auto_renewing: Some(false),
        end_reason: Some(EndReason::Customer),
        ..monthly()
    };
    let paid = Snapshot {
        at: day(32),
        renews_at: Some(day(61)),
        ..monthly()
    };
    let listing = Listing {
        entitlements: Vec::new(),
        prices: vec![price(None, "USD", "9.99")],
    };
    for (next, state, expected) in [
        (over, State::Expired, Value::Null),
        (paid, State::Active, json!("9.99")),
    ] {
        let verification = Verification::Verified(Box::new(next));
        let context = SettlingContext {
            policy: crate::StorePolicy::default(),
            verification: &verification,
            is_replaced: false,
            now: day(32),
        };
        let purchase = decide(&bought(trial.clone()), &[], context).purchase;
        let data = data(RecordSource {
            listing: &listing,
            ..described(&purchase)
        });
        assert_eq!(
            (
                purchase.state(),
                &data["purchase_price"],
                &data["price_in_usd"]
            ),
            (state, &expected, &expected)
        );
    }
}

#[test]
fn no_promotion_has_a_listed_price() {
    for offer in [
        Offer::Introductory,
        Offer::LapsedCustomer,
        Offer::Retention,
        Offer::Other,
    ] {
        let promoted = Snapshot {
            offer: Some(offer),
            ..monthly()
        };
        assert_eq!(
            prices(promoted, &[price(None, "USD", "4.99")], None),
            unknown(),
            "{offer:?}"
        );
    }
}

/// Returns the price that a list with dates has for a country at a time.
fn held(list: &[Price], country: Option<&str>, at: Option<&str>) -> Option<String> {
    let at = at.map(|at| at.parse().unwrap());
    listed(list, country, at).map(|price| price.price.to_string())
}

#[test]
fn of_several_prices_the_one_counts_that_held_at_the_time() {
    let list = [
        price_since(None, "3", "2026-03-01"),
        price(None, "USD", "1"),
        price_since(None, "2", "2026-02-01T12:00:00Z"),
        price_since(Some("DE"), "9", "2026-03-01"),
    ];
    for (at, everywhere, germany) in [
        ("2020-01-01T00:00:00Z", "1", "1"),
        ("2026-02-01T11:59:59.999999Z", "1", "1"),
        ("2026-02-01T12:00:00Z", "2", "2"),
        ("2026-02-28T23:59:59Z", "2", "2"),
        ("2026-03-01T00:00:00Z", "3", "9"),
        ("2030-01-01T00:00:00Z", "3", "9"),
    ] {
        assert_eq!(
            held(&list, Some("FR"), Some(at)).as_deref(),
            Some(everywhere),
            "{at}"
        );
        assert_eq!(
            held(&list, Some("DE"), Some(at)).as_deref(),
            Some(germany),
            "{at}"
        );
    }
}

#[test]
fn a_dated_list_has_no_price_before_it_or_at_an_unknown_time() {
    let list = [
        price_since(None, "3", "2026-03-01"),
        price_since(None, "4", "2026-04-01"),
    ];
    assert_eq!(held(&list, None, Some("2026-02-28T23:59:59Z")), None);
    assert_eq!(held(&list, None, None), None);
    let mixed = [
        price(None, "USD", "1"),
        price_since(Some("DE"), "9", "2026-03-01"),
    ];
    assert_eq!(
        (
            held(&mixed, Some("DE"), None),
            held(&mixed, Some("FR"), None).as_deref()
        ),
        (None, Some("1"))
    );
}

#[test]
fn a_date_is_written_as_it_was_read() {
    for (read, written) in [
        ("2026-03-01", "2026-03-01"),
        ("2026-03-01T00:00:00Z", "2026-03-01"),
        ("2026-03-01T01:00:00+01:00", "2026-03-01"),
        ("2026-03-01T12:30:00Z", "2026-03-01T12:30:00.000000Z"),
    ] {
        let price: Price =
            serde_json::from_value(json!({"currency": "USD", "price": "1", "since": read}))
                .unwrap();
        assert_eq!(
            serde_json::to_value(price).unwrap()["since"],
            json!(written)
        );
    }
    for wrong in [
        "",
        "2026",
        "2026-13-01",
        "2026-02-30",
        "01.03.2026",
        "2026-03-01T12:30",
        "yesterday",
    ] {
        assert!(wrong.parse::<Since>().is_err(), "{wrong}");
    }
    let undated: Price = serde_json::from_value(json!({"currency": "USD", "price": "1"})).unwrap();
    assert_eq!(serde_json::to_value(undated).unwrap().get("since"), None);
}

#[test]
fn a_currency_that_is_none_is_no_price() {
    for wrong in ["", "US", "DOLLAR", "U$D", "12€"] {
        assert_eq!(
            prices(monthly(), &[price(None, wrong, "4.99")], None),
            unknown(),
            "{wrong}"
        );
    }
    let small = [json!("4.99"), json!("USD"), json!("4.99")];
    assert_eq!(
        prices(monthly(), &[price(None, "usd", "4.99")], None),
        small
    );
}

#[test]
fn nothing_listed_is_no_price_and_one_time_purchases_have_one() {
    assert_eq!(prices(monthly(), &[], Some("1")), unknown());
    let listing = Listing {
        entitlements: Vec::new(),
        prices: vec![price(None, "USD", "0.99")],
    };
    let consumable = known(
        &[NotificationKind::ConsumablePurchased],
        &Verification::Unverifiable,
    );
    assert_eq!(
        data(RecordSource {
            listing: &listing,
            ..described(&consumable)
        })["purchase_price"],
        json!("0.99")
    );
}

/// Returns the price, currency, price in USD and source of a purchase whose device reported this price. The catalogue
/// has prices of 4 to 10 USD and 5 EUR. The store shows the United States.
fn of_device(price_of: &str, currency: &str, marketplace: Option<&str>) -> [Value; 4] {
    of_device_in(Some("US"), price_of, currency, marketplace)
}

/// Like [`of_device`], with the country that the store shows.
fn of_device_in(
    country: Option<&str>,
    price_of: &str,
    currency: &str,
    marketplace: Option<&str>,
) -> [Value; 4] {
    let prices = vec![
        price(None, "USD", "4.00"),
        price(Some("CA"), "USD", "10.00"),
        price(Some("DE"), "EUR", "5.00"),
    ];
    let listing = Listing {
        entitlements: Vec::new(),
        prices,
    };
    let purchase = bought(Snapshot {
        country: country.map(str::to_owned),
        ..monthly()
    });
    let reported = DevicePrice {
        sku: "gold_monthly".to_owned(),
        price: price_of.parse().unwrap(),
        currency: currency.to_owned(),
        marketplace: marketplace.map(str::to_owned),
    };
    let usd_rate = Some("1.1".parse().unwrap());
    let source = RecordSource {
        listing: &listing,
        usd_rate,
        device_price: Some(&reported),
        ..described(&purchase)
    };
    let data = data(source);
    [
        "purchase_price",
        "purchase_currency",
        "price_in_usd",
        "price_source",
    ]
    .map(|field| data[field].clone())
}

#[test]
fn the_price_of_a_device_counts_within_the_catalogues_bounds() {
    let device = |price: &str| [json!(price), json!("USD"), json!(price), json!("device")];
    let nothing = [Value::Null, Value::Null, Value::Null, Value::Null];
    for plausible in ["2.00", "4.99", "15.00"] {
        assert_eq!(of_device(plausible, "USD", Some("US")), device(plausible));
    }
    for forged in ["1.99", "15.01", "99999999999999999999999999.99"] {
        assert_eq!(of_device(forged, "USD", Some("US")), nothing, "{forged}");
    }
    let euros = [json!("6.00"), json!("EUR"), json!("6.60"), json!("device")];
    for (country, marketplace) in [
        (Some("DE"), None),
        (Some("DE"), Some("US")),
        (None, Some("DE")),
    ] {
        assert_eq!(
            of_device_in(country, "6.00", "EUR", marketplace),
            euros,
            "{country:?} {marketplace:?}"
        );
    }
}

#[test]
fn a_price_that_cannot_be_compared_leaves_the_catalogues() {
    let listed = [
        json!("4.00"),
        json!("USD"),
        json!("4.00"),
        json!("catalogue"),
    ];
    assert_eq!(
        of_device("5.00", "EUR", Some("US")),
        listed,
        "the marketplace sells in dollars"
    );
    assert_eq!(
        of_device("5.00", "EUR", Some("DE")),
        listed,
        "the device chooses no other country than the store shows"
    );
    assert_eq!(
        of_device("5.00", "EUR", None),
        listed,
        "the customer's country is the United States"
    );
    assert_eq!(
        of_device("500", "JPY", Some("JP")),
        listed,
        "the catalogue has no price to compare it with"
    );
    assert_eq!(
        of_device("0", "USD", Some("US")),
        listed,
        "nothing was paid at that moment"
    );
}

#[test]
fn a_device_prices_no_trial_promotion_or_other_plan() {
    let listing = Listing {
        entitlements: Vec::new(),
        prices: vec![price(None, "USD", "4.00")],
    };
    let reported = |sku: &str| DevicePrice {
        sku: sku.to_owned(),
        price: "5.00".parse().unwrap(),
        currency: "USD".to_owned(),
        marketplace: None,
    };
    let shown = |snapshot: Snapshot, sku: &str| {
        let (purchase, reported) = (bought(snapshot), reported(sku));
        let source = RecordSource {
            listing: &listing,
            device_price: Some(&reported),
            ..described(&purchase)
        };
        data(source)["purchase_price"].clone()
    };
    assert_eq!(shown(monthly(), "gold_monthly"), json!("5.00"));
    assert_eq!(
        shown(monthly(), "gold"),
        json!("5.00"),
        "the parent's SKU names the product too"
    );
    assert_eq!(shown(monthly(), "silver_monthly"), json!("4.00"));
    assert_eq!(
        shown(
            Snapshot {
                trial_ends_at: Some(day(31)),
                ..monthly()
            },
            "gold_monthly"
        ),
        Value::Null
    );
    assert_eq!(
        shown(
            Snapshot {
                offer: Some(Offer::Retention),
                ..monthly()
            },
            "gold_monthly"
        ),
        Value::Null
    );
}
