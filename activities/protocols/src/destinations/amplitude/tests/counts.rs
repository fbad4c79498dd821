//! What metrics count about rendered bodies.

use super::*;
use crate::destinations::RenderNotes;
use crate::destinations::amplitude::body::render_notes;

/// Returns the notes of rendering this event for an integration with the additional fields `more`.
fn notes(more: Value, unsent: &Unsent) -> RenderNotes {
    let destination = integration(more).0;
    render_notes(&destination, unsent, &render(&destination, unsent))
}

fn refused(more: Value, external_id: &str) -> Option<&'static str> {
    notes(more, &of(external_id)).wrong_id
}

fn of(external_id: &str) -> Unsent {
    Unsent {
        external_id: Some(external_id.to_owned()),
        ..unsent(TransitionKind::Renewed.event_type())
    }
}

#[test]
fn each_value_that_was_cut_is_counted() {
    let mut long = unsent(TransitionKind::Renewed.event_type());
    long.data["product_ref_id"] = json!("x".repeat(1025));
    long.data["purchase_country"] = json!("x".repeat(1025));
    let cut = event(&integration(json!({})).0, &long)["event_properties"]["settle_capped"]
        .as_u64()
        .unwrap();
    assert!(cut >= 2, "{cut}");
    assert_eq!(
        notes(json!({}), &long),
        RenderNotes {
            capped: cut,
            wrong_id: None
        }
    );
    assert_eq!(notes(json!({}), &of("anna@shop")), RenderNotes::default());
}

#[test]
fn events_refused_for_their_customer_id_are_counted_by_reason() {
    let ids = ["null", " Anonymous", "ab", &"x".repeat(1025), "anna@shop"];
    let expected = [
        Some("forbidden"),
        Some("forbidden"),
        Some("short"),
        Some("long"),
        None,
    ];
    assert_eq!(ids.map(|id| refused(json!({}), id)), expected);
    assert_eq!(
        ids.map(|id| refused(json!({"user_id": "user_id"}), id)),
        [None; 5],
        "that id is not sent"
    );
    let broken = Unsent {
        data: Value::Null,
        ..of("anna@shop")
    };
    assert!(matches!(
        render(&integration(json!({})).0, &broken),
        Rendered::Refuse { .. }
    ));
    assert_eq!(
        notes(json!({}), &broken),
        RenderNotes::default(),
        "its id is well"
    );
}
