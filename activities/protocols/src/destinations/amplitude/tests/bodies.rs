//! The body of an event, and when it is not sent.

use super::*;
use crate::destinations::amplitude::properties::CAPPED;

fn why(rendered: &Rendered) -> (&'static str, &str) {
    match rendered {
        Rendered::Body(_) | Rendered::Revenue { .. } => ("body", ""),
        Rendered::Wait { why } => ("wait", why),
        Rendered::Skip { why } => ("skip", why),
        Rendered::Refuse { why } => ("refuse", why),
    }
}

/// The event with siblings and this `data`.
fn among(event_type: &str, whats: &[TransitionKind], change: impl FnOnce(&mut Value)) -> Unsent {
    let mut unsent = Unsent {
        siblings: siblings(whats),
        ..unsent(event_type)
    };
    unsent.event_id = unsent
        .siblings
        .iter()
        .find(|other| other.event_type == event_type)
        .unwrap()
        .event_id;
    change(&mut unsent.data);
    unsent
}

#[test]
fn every_event_type_has_its_identity_and_time() {
    let (destination, _) = integration(json!({}));
    for event_type in types() {
        let event = event(&destination, &unsent(event_type));
        assert_eq!(event["event_type"], json!(event_type));
        assert_eq!(event["insert_id"], json!(unsent(event_type).event_id));
        assert_eq!(event["device_id"], json!(USER));
        assert_eq!(event["user_id"], json!("anna@shop"));
        assert_eq!(event["time"], json!(1_772_366_400_000_i64));
        assert_eq!(
            event.get("user_properties").is_some(),
            event_type.starts_with("user."),
            "{event_type}"
        );
        assert!(
            event.get("ip").is_none()
                && event.get("price").is_none()
                && event.get("quantity").is_none()
        );
    }
}

#[test]
fn a_user_is_named_as_the_integration_is_set() {
    let unnamed = Unsent {
        external_id: None,
        ..unsent(TransitionKind::Renewed.event_type())
    };
    let named = unsent(TransitionKind::Renewed.event_type());
    let id =
        |more: Value, unsent: &Unsent| event(&integration(more).0, unsent).get("user_id").cloned();
    assert_eq!(id(json!({}), &named), Some(json!("anna@shop")));
    assert_eq!(id(json!({}), &unnamed), None);
    for choice in ["send", "wait", "skip"] {
        let ours = json!({"user_id": "user_id", "without_external_id": choice});
        assert_eq!(id(ours.clone(), &named), Some(json!(USER)));
        assert_eq!(id(ours, &unnamed), Some(json!(USER)));
        assert_eq!(
            id(json!({"without_external_id": choice}), &named),
            Some(json!("anna@shop"))
        );
    }
    let waits = render(
        &integration(json!({"without_external_id": "wait"})).0,
        &unnamed,
    );
    assert_eq!(why(&waits), ("wait", "the customer has no external id yet"));
    let skips = render(
        &integration(json!({"without_external_id": "skip"})).0,
        &unnamed,
    );
    assert_eq!(why(&skips), ("skip", "the customer has no external id"));
    let from = Unsent {
        event_type: domain::user::TRANSFERRED_FROM.to_owned(),
        ..unnamed
    };
    for choice in ["wait", "skip"] {
        let skips = render(
            &integration(json!({"without_external_id": choice})).0,
            &from,
        );
        assert_eq!(
            why(&skips).0,
            "skip",
            "a transfer from an anonymous user never waits"
        );
    }
}

#[test]
fn events_without_a_customer_are_skipped() {
    let (destination, _) = integration(json!({"user_id": "user_id"}));
    for event_type in [domain::event::DESTINATION_FAILING, PURCHASE_UPDATED] {
        let nobodys = Unsent {
            user_id: None,
            first_user_id: None,
            external_id: None,
            data: Value::Null,
            ..unsent(event_type)
        };
        assert_eq!(why(&render(&destination, &nobodys)).0, "skip");
    }
}

#[test]
fn ids_that_amplitude_refuses_are_refused_and_not_repeated() {
    let forbidden = [
        "anonymous",
        "nil",
        "none",
        "null",
        "n/a",
        "na",
        "undefined",
        "unknown",
        "",
        "00000000-0000-0000-0000-000000000000",
        "{}",
        "lmy47d",
        "0",
        "-1",
        " NULL\t",
        "Anonymous",
        "N/A",
    ];
    let render = |more: Value, id: &str| {
        let unsent = Unsent {
            external_id: Some(id.to_owned()),
            ..unsent(TransitionKind::Expired.event_type())
        };
        render(&integration(more).0, &unsent)
    };
    let nobody = "the customer's external id is one that Amplitude rejects because it identifies nobody: set the \
         integration to identify customers by settle's own id (`--user-id user_id`), then resend";
    for id in forbidden {
        assert_eq!(
            why(&render(json!({"min_id_length": 1}), id)),
            ("refuse", nobody),
            "{id}"
        );
    }
    let short = "the customer's external id is shorter than the `min_id_length` of 5: lower it (`--min-id-length`) if \
         the project accepts such ids, or set the integration to identify customers by settle's own id (`--user-id \
         user_id`), then resend";
    assert_eq!(why(&render(json!({}), "4711")), ("refuse", short));
    assert_eq!(why(&render(json!({}), "äöüß")), ("refuse", short));
    assert_eq!(why(&render(json!({}), "47110")), ("body", ""));
    assert_eq!(
        why(&render(json!({"min_id_length": 4}), "4711")),
        ("body", "")
    );
    assert_eq!(
        why(&render(json!({"min_id_length": 36}), &"x".repeat(35))).0,
        "refuse"
    );
    assert_eq!(why(&render(json!({}), &"x".repeat(1025))).0, "refuse");
    assert_eq!(
        why(&render(json!({"user_id": "user_id"}), "0")),
        ("body", "")
    );
}

#[test]
fn sandbox_and_production_go_to_separate_projects() {
    let production = unsent(TransitionKind::Renewed.event_type());
    let sandbox = Unsent {
        environment: Environment::Sandbox,
        ..production.clone()
    };
    let both = integration(json!({})).0;
    let frozen = |unsent: &Unsent| serde_json::from_str::<Value>(&body(&both, unsent)).unwrap();
    for (unsent, is_sandbox, environment) in [
        (&production, false, "production"),
        (&sandbox, true, "sandbox"),
    ] {
        assert_eq!(frozen(unsent)["sandbox"], json!(is_sandbox));
        assert_eq!(
            frozen(unsent)["event"]["event_properties"]["environment"],
            json!(environment)
        );
    }
    let no_sandbox = integration(json!({"sandbox_api_key": null})).0;
    assert_eq!(why(&render(&no_sandbox, &production)).0, "body");
    let expected = "test purchase; no Sandbox API Key is set";
    assert_eq!(why(&render(&no_sandbox, &sandbox)), ("skip", expected));
    let only_sandbox = integration(json!({"api_key": null})).0;
    let expected = "production purchase; no API Key is set";
    assert_eq!(why(&render(&only_sandbox, &production)), ("skip", expected));
    assert_eq!(why(&render(&only_sandbox, &sandbox)).0, "body");
}

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
fn the_device_id_is_the_purchases_first_user() {
    let guest = UserId::new(uuid!("0c8f6a4e-52b4-4c4c-9d1c-1b2f3a4d5e6f"));
    let joined = Unsent {
        first_user_id: Some(guest),
        ..unsent(TransitionKind::Renewed.event_type())
    };
    for (more, user) in [
        (json!({}), json!("anna@shop")),
        (json!({"user_id": "user_id"}), json!(USER)),
    ] {
        let event = event(&integration(more).0, &joined);
        assert_eq!(
            (&event["device_id"], &event["user_id"]),
            (&json!(guest), &user)
        );
    }
}

#[test]
fn the_time_is_the_stores_or_the_recording_time() {
    let (destination, _) = integration(json!({}));
    let time_of = |occurred_at| {
        event(
            &destination,
            &Unsent {
                occurred_at,
                ..unsent(TransitionKind::Expired.event_type())
            },
        )["time"]
            .clone()
    };
    let recorded = json!(1_772_539_200_000_i64);
    assert_eq!(
        time_of(Some(HAPPENED.plus_millis(7))),
        json!(1_772_366_400_007_i64)
    );
    assert_eq!(time_of(None), recorded);
    assert_eq!(time_of(Some(time("1970-01-01T00:00:00Z"))), recorded);
    assert_eq!(time_of(Some(time("2999-01-01T00:00:00Z"))), recorded);
}

#[test]
fn event_ids_order_events_of_the_same_time() {
    let (destination, _) = integration(json!({}));
    let whats = [
        TransitionKind::TrialConverted,
        TransitionKind::Renewed,
        TransitionKind::PlanChanged,
    ];
    let number = |event_type: &str| {
        event(&destination, &among(event_type, &whats, |_| ()))["event_id"].clone()
    };
    assert_eq!(
        whats.map(|what| number(what.event_type())),
        [json!(201), json!(202), json!(203)]
    );
    assert_eq!(
        event(&destination, &unsent(PURCHASE_UPDATED))["event_id"],
        json!(299)
    );
    let late = Unsent {
        revision: i64::MAX,
        ..unsent(PURCHASE_UPDATED)
    };
    assert_eq!(event(&destination, &late)["event_id"], json!(i32::MAX));
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
fn an_events_revenue_is_its_ledger_entry() {
    let (destination, _) = integration(json!({}));
    for (kind, usd, revenue_type) in [
        (EntryKind::Initial, "5.43", "initial"),
        (EntryKind::Renewal, "5.43", "renewal"),
        (EntryKind::Recovery, "5.43", "renewal"),
        (EntryKind::TrialConversion, "5.43", "trial_conversion"),
        (EntryKind::PlanChange, "5.43", "plan_change"),
        (EntryKind::Refund, "-5.43", "refund"),
        (EntryKind::Restored, "5.43", "correction"),
        (EntryKind::Correction, "-0.50", "correction"),
    ] {
        let unsent = Unsent {
            earned: Some(earned(kind, Some(usd))),
            ..unsent(TransitionKind::Renewed.event_type())
        };
        let event = event(&destination, &unsent);
        let amount: f64 = usd.parse().unwrap();
        assert_eq!(
            (&event["revenue"], &event["revenueType"]),
            (&json!(amount), &json!(revenue_type)),
            "{kind:?}"
        );
        assert_eq!(
            (&event["currency"], &event["productId"]),
            (&json!("USD"), &json!("gold_monthly"))
        );
        assert!(
            event["event_properties"]
                .get("revenue_unknown_because")
                .is_none()
        );
        let rendered = render(&destination, &unsent);
        assert!(
            matches!(&rendered, Rendered::Revenue { usd: amount, .. } if amount == usd),
            "{rendered:?}"
        );
    }
}

#[test]
fn an_unknown_price_carries_its_reason() {
    let (destination, _) = integration(json!({}));
    let because = |earned: Earned| {
        let event = event(
            &destination,
            &Unsent {
                earned: Some(earned),
                ..unsent(TransitionKind::Renewed.event_type())
            },
        );
        assert!(event.get("revenue").is_none());
        event["event_properties"]
            .get("revenue_unknown_because")
            .cloned()
    };
    assert_eq!(
        because(earned(EntryKind::Renewal, None)),
        Some(json!("not_listed"))
    );
    let elsewhere = Earned {
        is_elsewhere: true,
        ..earned(EntryKind::Renewal, None)
    };
    assert_eq!(
        because(elsewhere),
        None,
        "the event that carries the payment has the reason"
    );
    assert_eq!(
        because(Earned {
            is_elsewhere: true,
            ..earned(EntryKind::Renewal, Some("5.43"))
        }),
        None
    );
}

#[test]
fn a_refund_is_a_separate_event_about_the_payment() {
    let (destination, _) = integration(json!({}));
    let body = json!({ "kind": "refund", "usd": "-5.43", "payment_event_id": event_id("user.subscription.renewed", 0) });
    let refund = Unsent {
        body,
        user_revision: None,
        user_state: Value::Null,
        earned: Some(earned(EntryKind::Refund, Some("-5.43"))),
        ..unsent(REVENUE_ADJUSTED)
    };
    let sent_event = event(&destination, &refund);
    assert_eq!(
        (&sent_event["event_type"], &sent_event["revenue"]),
        (&json!("revenue.adjusted"), &json!(-5.43))
    );
    let about = &sent_event["event_properties"];
    assert_eq!(about["adjustment"], json!("refund"));
    assert_eq!(
        about["payment_insert_id"],
        json!(event_id("user.subscription.renewed", 0))
    );
    assert_eq!(
        (&sent_event["user_id"], &sent_event["device_id"]),
        (&json!("anna@shop"), &json!(USER))
    );
    assert!(
        sent_event.get("user_properties").is_none(),
        "it carries no state of the user"
    );
    let not_counted_because = Earned {
        not_counted_because: Some("the payment's delivery failed here"),
        ..earned(EntryKind::Refund, Some("-5.43"))
    };
    let not_counted_because = Unsent {
        earned: Some(not_counted_because),
        ..refund
    };
    assert_eq!(
        why(&render(&destination, &not_counted_because)),
        ("skip", "the payment's delivery failed here")
    );
}

#[test]
fn pruned_data_is_not_guessed() {
    let (destination, _) = integration(json!({}));
    for data in [Value::Null, json!("gone")] {
        let unsent = Unsent {
            data,
            ..unsent(TransitionKind::Renewed.event_type())
        };
        assert_eq!(
            why(&render(&destination, &unsent)),
            ("refuse", "the data of the purchase was not stored")
        );
    }
}

#[test]
fn an_event_without_a_price_has_no_revenue() {
    let (destination, _) = integration(json!({}));
    let amounts = [
        None,
        Some("0"),
        Some("0.00"),
        Some("free"),
        Some("inf"),
        Some("NaN"),
    ];
    let free = amounts.map(|usd| Some(earned(EntryKind::Renewal, usd)));
    for earned in free.into_iter().chain([None]) {
        let unsent = Unsent {
            earned: earned.clone(),
            ..unsent(TransitionKind::Renewed.event_type())
        };
        let event = event(&destination, &unsent);
        for name in ["revenue", "revenueType", "productId", "currency"] {
            assert!(event.get(name).is_none(), "{earned:?}: {name}");
        }
    }
}

#[test]
fn local_prices_are_numbers_beside_their_currency() {
    let (destination, _) = integration(json!({}));
    let event = event(&destination, &unsent(TransitionKind::Expired.event_type()));
    let about = &event["event_properties"];
    assert_eq!(
        (&about["purchase_price"], &about["purchase_currency"]),
        (&json!(4.99), &json!("EUR"))
    );
    assert_eq!(about["price_in_usd"], json!(5.43));
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
    // Each takes 36 characters, two quotes and a comma.
    assert_eq!((skus.len(), &skus[25]), (26, &json!(format!("{:036}", 25))));
    assert_eq!(event["event_properties"][CAPPED], json!(1 + 74));
}

#[test]
fn settings_that_cannot_be_read_send_nothing() {
    let (mut destination, _) = integration(json!({}));
    destination.settings = json!({"min_id_length": "many"});
    assert_eq!(
        why(&render(&destination, &unsent(PURCHASE_UPDATED))).0,
        "refuse"
    );
}

/// Every text and list that is longer than Amplitude keeps.
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
