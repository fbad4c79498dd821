//! The user, the type and the time of an event.

use super::*;

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
