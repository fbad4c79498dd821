//! Profiles, which carry a changed state without an event, and the attributes besides the documented ones.

use super::*;
use domain::user::{Attributes, PROFILE_UPDATED};

/// Returns the user's attributes besides the documented ones.
fn known() -> Value {
    json!({
        "will_renew": true, "expires_at": "2026-04-01T12:00:00.000000Z", "subscription_state": "active", "renewals": 1,
        "first_purchase_at": "2026-02-01T12:00:00.000000Z", "ltv_usd": "10.86",
    })
}

fn profile(user_profile: Value) -> Unsent {
    let state = user_body(PROFILE_UPDATED);
    Unsent {
        data: Value::Null,
        occurred_at: None,
        body: state.clone(),
        user_state: state,
        user_profile,
        ..unsent(PROFILE_UPDATED)
    }
}

/// Returns the event of a changed profile, without settle's version.
fn shown(destination: &Destination) -> String {
    without_version(&serde_json::to_string_pretty(&event(destination, &profile(known()))).unwrap())
}

#[test]
fn a_changed_profile_is_an_identify_event() {
    let (destination, _) = integration(json!({}));
    insta::assert_snapshot!("identify_documented", shown(&destination));
    let (extended, _) = integration(json!({ "user_properties": "extended" }));
    insta::assert_snapshot!("identify_extended", shown(&extended));
    assert_eq!(
        (destination.profile, extended.profile),
        (Some(Attributes::Documented), Some(Attributes::Extended))
    );
}

#[test]
fn an_attribute_that_became_unknown_is_unset() {
    let (extended, _) = integration(json!({ "user_properties": "extended", "prefix": "shop_" }));
    let unknown =
        json!({ "will_renew": null, "renewals": 0, "ltv_usd": null, "subscription_state": "none" });
    let properties = event(&extended, &profile(unknown))["user_properties"].clone();
    assert_eq!(
        properties["$unset"],
        json!({ "shop_will_renew": "-", "shop_ltv_usd": "-" })
    );
    let set = properties["$set"].as_object().unwrap();
    assert_eq!(
        (set.get("shop_renewals"), set.get("shop_ltv_usd")),
        (Some(&json!(0)), None)
    );
    assert_eq!(
        properties.as_object().unwrap().len(),
        2,
        "operations are not mixed with plain values"
    );
}

#[test]
fn an_event_carries_the_integrations_attributes() {
    let renewed = Unsent {
        user_profile: known(),
        ..unsent(TransitionKind::Renewed.event_type())
    };
    let (documented, _) = integration(json!({}));
    let (extended, _) = integration(json!({ "user_properties": "extended" }));
    let properties =
        |destination: &Destination| event(destination, &renewed)["user_properties"].clone();
    let (eight, fourteen) = (properties(&documented), properties(&extended));
    assert_eq!(
        (
            eight.as_object().unwrap().len(),
            fourteen.as_object().unwrap().len()
        ),
        (8, 14)
    );
    assert_eq!(
        (&fourteen["namiml_ltv_usd"], &fourteen["namiml_renewals"]),
        (&json!(10.86), &json!(1))
    );
    let unknown = Unsent {
        user_profile: json!({ "will_renew": null }),
        ..renewed.clone()
    };
    assert_eq!(
        event(&extended, &unknown)["user_properties"],
        eight,
        "what is not known is left out"
    );
}

#[test]
fn a_profile_without_an_external_id_does_not_wait() {
    let nobody = Unsent {
        external_id: None,
        ..profile(known())
    };
    let rendered = |setting: &str| {
        render(
            &integration(json!({ "without_external_id": setting })).0,
            &nobody,
        )
    };
    assert!(matches!(rendered("send"), Rendered::Body(_)));
    for setting in ["wait", "skip"] {
        assert!(
            matches!(rendered(setting), Rendered::Skip { .. }),
            "{setting}"
        );
    }
    let moved = Unsent {
        user_state: Value::Null,
        ..profile(Value::Null)
    };
    let rendered = render(&integration(json!({})).0, &moved);
    assert!(
        matches!(&rendered, Rendered::Skip { why } if why.contains("another environment")),
        "{rendered:?}"
    );
}
