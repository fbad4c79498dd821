use super::{Record, latest_end, together};
use domain::State;

fn record(fields: serde_json::Value) -> Record {
    serde_json::from_value(fields).unwrap()
}

#[test]
fn a_product_is_what_it_gives_and_how_long() {
    let gold = serde_json::json!([{ "name": "Gold" }]);
    for (fields, product) in [
        (
            serde_json::json!({ "entitlements": gold, "current_term_length": "P1M" }),
            "Gold monthly",
        ),
        (
            serde_json::json!({ "entitlements": gold, "current_term_length": "P2Y" }),
            "Gold",
        ),
        (
            serde_json::json!({ "product_ref_id": "gold.monthly", "current_term_length": "P1M" }),
            "gold.monthly",
        ),
        (serde_json::json!({}), "Product not known"),
    ] {
        assert_eq!(record(fields).product(), product);
    }
}

#[test]
fn a_plan_is_replaced_only_if_the_record_names_the_former_one() {
    let year = serde_json::json!({ "product_ref_id": "gold.year" });
    assert_eq!(
        record(year.clone()).replaced(),
        None,
        "it was bought beside another one"
    );
    let mut changed = year;
    changed["previous_sku_ref_id"] = "gold.month".into();
    assert_eq!(
        record(changed).replaced().as_deref(),
        Some("Replaced `gold.month` with `gold.year`")
    );
}

#[test]
fn every_state_is_a_sentence_with_what_is_known() {
    let now = "2026-12-02T00:00:00Z".parse().unwrap();
    let known = record(serde_json::json!({
        "expires_at": "2026-12-23T10:00:00Z", "canceled_at": "2026-12-01T00:00:00Z", "expiration_reason": "customer",
    }));
    for (state, sentence) in [
        (State::Unknown, None),
        (State::Active, Some("Next charge: 2026-12-23T10:00:00")),
        (State::Off, Some("Renewal off since 2026-12-01T00:00:00")),
        (State::Expired, Some("Ended 2026-12-23T10:00:00")),
    ] {
        let runs = known.runs(state, now);
        let begin = sentence.map(|part| {
            runs.as_deref()
                .and_then(|text| text.get(..part.len()))
                .unwrap_or_default()
        });
        assert_eq!(
            (runs.is_some(), begin),
            (sentence.is_some(), sentence),
            "{runs:?}"
        );
    }
    assert!(
        known
            .runs(State::Off, now)
            .unwrap()
            .contains(": no further charge. Paid until 2026-12-23T10:00:00")
    );
    let expired = known.runs(State::Expired, now).unwrap();
    assert!(
        expired.contains(", because the customer switched renewal off on 2026-12-01T00:00:00"),
        "{expired}"
    );
    assert_eq!(
        record(serde_json::json!({}))
            .runs(State::Active, now)
            .unwrap(),
        "It does not expire"
    );
    for state in State::ALL {
        let text = record(serde_json::json!({}))
            .runs(*state, now)
            .unwrap_or_default();
        assert!(!text.contains("  ") && !text.ends_with(' '), "{text:?}");
    }
}

#[test]
fn subscriptions_of_one_entitlement_that_renew_are_a_sentence() {
    let renews = |term: &str, end: &str| {
        let gold = serde_json::json!([{ "name": "Gold" }]);
        record(
            serde_json::json!({ "entitlements": gold, "current_term_length": term, "expires_at": end }),
        )
    };
    let (month, year) = (
        renews("P1M", "2026-12-03T16:20:00Z"),
        renews("P1Y", "2027-11-10T08:05:00Z"),
    );
    let (other, week) = (
        record(serde_json::json!({})),
        renews("P1W", "2026-12-01T00:00:00Z"),
    );
    let two = together(&[month, other, year], "Gold").unwrap();
    assert!(two.starts_with(
        "Two subscriptions are active at the same time, and both will renew: Gold monthly on "
    ));
    assert!(
        two.contains(" and Gold yearly on 2027-11-10T08:05:00"),
        "{two}"
    );
    assert_eq!(
        (together(&[week], "Gold"), together(&[], "Gold")),
        (None, None)
    );
    let of = |account: &str| Record {
        app_user_id: Some(account.to_owned()),
        ..renews("P1M", "2026-12-03T16:20:00Z")
    };
    let [same, apart] = ["a", "b"].map(|other| together(&[of("a"), of(other)], "Gold").unwrap());
    assert!(same.ends_with(", at the store."), "{same}");
    let end = ". They were bought by two different store accounts. Only the customer can switch renewal off, at the \
               store, with the account that bought it.";
    assert!(apart.ends_with(end), "{apart}");
    let three = [(); 3].map(|()| renews("P1M", "2026-12-03T16:20:00Z"));
    assert!(
        together(&three, "Gold")
            .unwrap()
            .starts_with("3 subscriptions are active at the same time, and all ")
    );
}

#[test]
fn an_end_of_access_is_a_sentence_with_its_time() {
    let ends = serde_json::json!({ "entitlements": [{ "name": "Gold" }], "expires_at": "2026-10-15T18:30:00Z" });
    let (_, sentence) = record(ends.clone()).end(State::Expired).unwrap();
    assert!(
        sentence.starts_with("Gold ended 2026-10-15T18:30:00"),
        "{sentence}"
    );
    assert!(record(ends).end(State::Active).is_none());
    let coins = record(serde_json::json!({ "expires_at": "2026-10-15T18:30:00Z" }));
    assert!(
        coins.end(State::Expired).is_none(),
        "without an entitlement it gave no access"
    );
}

#[test]
fn an_end_is_the_reason_only_if_every_purchase_is_over() {
    let gold = |end: Option<&str>| {
        record(serde_json::json!({ "entitlements": [{ "name": "Gold" }], "expires_at": end }))
    };
    let old = || (gold(Some("2025-10-15T18:30:00Z")), State::Expired);
    let of_type = |product_type: &str| record(serde_json::json!({ "product_type": product_type }));
    for (other, is_reason) in [
        ((gold(Some("2024-01-01T00:00:00Z")), State::Revoked), false),
        ((gold(Some("2024-01-01T00:00:00Z")), State::Expired), true),
        ((gold(None), State::Expired), false),
        ((gold(None), State::Replaced), true),
        ((of_type("consumable"), State::Active), true),
        ((of_type("consumable"), State::Unknown), false),
        ((of_type("subscription"), State::Active), false),
        ((of_type("entitlement"), State::Active), false),
        ((of_type("subscription"), State::Expired), true),
    ] {
        let row = format!("{other:?}");
        let end = latest_end(&[other, old()]);
        let is_old =
            end.is_some_and(|sentence| sentence.starts_with("Gold ended 2025-10-15T18:30:00"));
        assert_eq!(is_old, is_reason, "{row}");
    }
    assert_eq!(latest_end(&[]), None);
}

#[test]
fn a_test_purchase_has_no_price() {
    let fields = |environment: &str| {
        record(serde_json::json!({
            "environment": environment, "not_before": "2026-11-03T00:00:00Z", "purchase_price": "9.99",
            "purchase_currency": "USD",
        }))
    };
    assert!(
        fields("production")
            .bought()
            .unwrap()
            .ends_with(" for 9.99 USD")
    );
    assert!(fields("sandbox").bought().unwrap().ends_with("Z"));
}
