//! The body of an event, and the cases in which it is not sent.

mod identity;
mod properties;
mod revenue;

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

/// Returns an event with siblings of these kinds, after `change` is applied to its `data`.
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
    let expected = "test purchase; no Sandbox API Key is set (`--sandbox-api-key`)";
    assert_eq!(why(&render(&no_sandbox, &sandbox)), ("skip", expected));
    let only_sandbox = integration(json!({"api_key": null})).0;
    let expected = "production purchase; no API Key is set (`--api-key`)";
    assert_eq!(why(&render(&only_sandbox, &production)), ("skip", expected));
    assert_eq!(why(&render(&only_sandbox, &sandbox)).0, "body");
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
fn settings_that_cannot_be_read_send_nothing() {
    let (mut destination, _) = integration(json!({}));
    destination.settings = json!({"min_id_length": "many"});
    assert_eq!(
        why(&render(&destination, &unsent(PURCHASE_UPDATED))).0,
        "refuse"
    );
}
