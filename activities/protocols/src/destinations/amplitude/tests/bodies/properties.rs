//! Properties of events and of users.

use super::*;

#[test]
fn user_properties_are_of_the_same_environment() {
    let (destination, _) = integration(json!({}));
    let mut unsent = unsent(TransitionKind::Renewed.event_type());
    unsent.user_state = json!({
        "active_entitlements": [{"entitlement_ref_id": "trial", "sku_ref_id": "tested"}],
        "customer_journey_state": {"in_trial_period": true}, "devices": [],
    });
    let sent_event = event(&destination, &unsent)["user_properties"].clone();
    assert_eq!(sent_event["namiml_active_skus"], json!(["tested"]));
    assert_eq!(sent_event["namiml_active_entitlements"], json!(["trial"]));
    assert_eq!(
        (
            &sent_event["namiml_in_trial_period"],
            &sent_event["namiml_in_grace_period"]
        ),
        (&json!(true), &json!(false))
    );
    unsent.user_state["active_skus"] = json!(["other", "tested"]);
    let skus = event(&destination, &unsent)["user_properties"]["namiml_active_skus"].clone();
    assert_eq!(
        skus,
        json!(["other", "tested"]),
        "every SKU behind an entitlement, and not one of each"
    );
    unsent.user_state = Value::Null;
    assert_eq!(
        event(&destination, &unsent).get("user_properties"),
        None,
        "what is not known wipes nothing"
    );
}

#[test]
fn a_partner_is_named_in_each_event_where_one_is_set() {
    for event_type in [TransitionKind::Renewed.event_type(), PURCHASE_UPDATED] {
        let partner = |more: Value| {
            event(&integration(more).0, &unsent(event_type))
                .get("partner_id")
                .cloned()
        };
        assert_eq!(
            (partner(json!({})), partner(json!({"partner_id": "shop"}))),
            (None, Some(json!("shop")))
        );
    }
}

#[test]
fn the_prefix_of_user_properties_is_a_setting() {
    let (destination, _) = integration(json!({"prefix": "shop_"}));
    let event = event(
        &destination,
        &unsent(TransitionKind::GraceBegan.event_type()),
    );
    let names: Vec<_> = event["user_properties"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    let attributes = [
        "active_entitlements",
        "active_skus",
        "device_ids",
        "device_platforms",
        "former_subscriber",
        "in_grace_period",
        "in_intro_offer_period",
        "in_trial_period",
    ];
    assert_eq!(names, attributes.map(|name| format!("shop_{name}")));
    assert_eq!(
        event["user_properties"]["shop_in_grace_period"],
        json!(true)
    );
}

#[test]
fn an_unknown_country_is_not_guessed() {
    let (destination, _) = integration(json!({}));
    let mut unsent = unsent(TransitionKind::Renewed.event_type());
    assert_eq!(event(&destination, &unsent)["country"], json!("DE"));
    unsent.data["purchase_country"] = Value::Null;
    let event = event(&destination, &unsent);
    assert_eq!(
        (
            event.get("country"),
            event["event_properties"].get("purchase_country")
        ),
        (None, None)
    );
}

#[test]
fn added_webhook_fields_are_properties_unless_null() {
    let (destination, _) = integration(json!({}));
    let added = [
        "expiration_reason",
        "offer_type",
        "pending_at",
        "pending_sku_ref_id",
        "previous_sku_ref_id",
        "price_source",
        "product_type",
    ];
    for event_type in [PURCHASE_UPDATED, TransitionKind::Renewed.event_type()] {
        let mut unsent = unsent(event_type);
        let about = event(&destination, &unsent)["event_properties"].clone();
        assert_eq!(about["occurred_at"], json!(HAPPENED), "{event_type}");
        assert_eq!(about["environment"], json!("production"), "{event_type}");
        for name in added {
            assert_eq!(about[name], data()[name], "{event_type}: {name}");
            assert!(about[name].is_string(), "{event_type}: {name}");
            unsent.data[name] = Value::Null;
        }
        let place = if event_type == PURCHASE_UPDATED {
            "/attributes/occurred_at"
        } else {
            "/occurred_at"
        };
        *unsent.body.pointer_mut(place).unwrap() = Value::Null;
        let silent = event(&destination, &unsent)["event_properties"].clone();
        for name in added.into_iter().chain(["occurred_at"]) {
            assert_eq!(silent.get(name), None, "{event_type}: {name}");
        }
    }
}

#[test]
fn values_too_long_for_amplitude_are_cut_and_counted() {
    let (destination, _) = integration(json!({}));
    let mut unsent = unsent(TransitionKind::Expired.event_type());
    assert!(
        event(&destination, &unsent)["event_properties"]
            .get(CAPPED)
            .is_none()
    );
    unsent.data["product_ref_id"] = json!("é".repeat(1025));
    let skus: Vec<_> = (0..100).map(|n| format!("{n:036}")).collect();
    unsent.user_state["active_skus"] = json!(skus);
    let event = event(&destination, &unsent);
    assert_eq!(event["event_properties"]["sku"], json!("é".repeat(1024)));
    let skus = event["user_properties"]["namiml_active_skus"]
        .as_array()
        .unwrap();
    // Each id takes 36 characters, two quotes and a comma.
    assert_eq!((skus.len(), &skus[25]), (26, &json!(format!("{:036}", 25))));
    assert_eq!(event["event_properties"][CAPPED], json!(1 + 74));
}

/// Collects every text and list that is longer than Amplitude accepts.
fn too_long(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) if text.encode_utf16().count() > 1024 => found.push(text.clone()),
        Value::Array(list)
            if list.iter().all(Value::is_string)
                && value.to_string().encode_utf16().count() > 1024 =>
        {
            found.push(value.to_string());
        }
        Value::Array(list) => list.iter().for_each(|value| too_long(value, found)),
        Value::Object(fields) => fields.values().for_each(|value| too_long(value, found)),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn caps_hold_for_any_input_and_ten_events_fit_into_a_request(
        sku in "\\PC{0,40}|[\\x00-\\x20]{20,40}", times in 1_usize..60, refs in proptest::collection::vec("\\PC{0,120}", 0..20),
        id in proptest::option::of("\\PC{0,40}"), what in 0..TransitionKind::ALL.len(),
    ) {
        let (destination, secret) = integration(json!({"min_id_length": 1}));
        let mut unsent = unsent(TransitionKind::ALL[what].event_type());
        unsent.external_id = id;
        for field in ["product_ref_id", "expires_at", "purchase_country", "revoked_at", "purchase_currency"] {
            unsent.data[field] = json!(sku.repeat(times));
        }
        unsent.data["entitlements"] = json!(refs.iter().map(|id| json!({"entitlement_ref_id": id})).collect::<Vec<_>>());
        unsent.user_state["active_entitlements"] =
            json!(refs.iter().map(|id| json!({"entitlement_ref_id": id, "sku_ref_id": id})).collect::<Vec<_>>());
        let rendered = render(&destination, &unsent);
        prop_assert_eq!(&rendered, &render(&destination, &unsent));
        if let Rendered::Body(body) | Rendered::Revenue { body, .. } = rendered {
            let frozen: Value = serde_json::from_str(&body).unwrap();
            let mut found = Vec::new();
            too_long(&frozen, &mut found);
            prop_assert_eq!(found, Vec::<String>::new());
            let is_cut = sku.encode_utf16().count() * times > 1024;
            prop_assert!(!is_cut || frozen["event"]["event_properties"][CAPPED].as_u64() > Some(0));
            prop_assert_eq!(&frozen["event"]["insert_id"], &json!(unsent.event_id));
            let config = config::ready(&destination, &secret, &allowed()).unwrap();
            let attempts = vec![attempt(&unsent, body); 10];
            let request = crate::destinations::amplitude::request::request(&config, &attempts).unwrap();
            prop_assert!(request.body.len() < 1_000_000);
        }
    }
}
