//! Amounts: revenue, refunds and prices.

use super::*;

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
