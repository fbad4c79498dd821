//! Sentences on why an event was not sent to a destination.

use super::{HOOK, ID, at, event, hook, id};
use crate::resources::explain::sentences::{self, unsent};
use domain::Environment;
use domain::event::Wildcards;
use storage::{Addressee, Concerned, Destination, EventFacts, UnchosenType};

#[test]
fn a_missing_delivery_has_a_reason() {
    let reason = |addressee: &Addressee| unsent(&event(), addressee).map(|why| why.code);
    assert_eq!(reason(&hook()), Some("unexplained"));
    let created_later = Addressee {
        destination: Destination {
            created_at: at(11),
            ..hook().destination
        },
        ..hook()
    };
    assert_eq!(reason(&created_later), Some("created_later"));
    let mut other = hook();
    other.destination.common.events = vec!["purchase.updated".to_owned()];
    assert_eq!(reason(&other), Some("type_not_chosen"));
    let mut other = hook();
    other.destination.common.filter.platforms =
        vec!["00000000-0000-4000-8000-000000000002".parse().unwrap()];
    assert_eq!(reason(&other), Some("filtered_by_platform"));
    let mut other = hook();
    other.destination.common.filter.environments = vec![Environment::Sandbox];
    assert_eq!(reason(&other), Some("filtered_by_environment"));
    assert_eq!(
        reason(&Addressee {
            chosen_at: Some(at(11)),
            ..hook()
        }),
        Some("chosen_later")
    );
    assert_eq!(
        reason(&Addressee {
            deleted_at: Some(at(9)),
            ..hook()
        }),
        None,
        "it was deleted before"
    );
    assert_eq!(
        reason(&Addressee {
            deleted_at: Some(at(11)),
            ..hook()
        }),
        Some("deleted")
    );
    let about = EventFacts {
        origin: None,
        collapse_key: id(),
        ..event()
    };
    assert_eq!(unsent(&about, &hook()).map(|why| why.code), Some("itself"));
    let alarm = EventFacts {
        event_type: "alarm.opened".to_owned(),
        origin: None,
        ..event()
    };
    assert_eq!(
        unsent(&alarm, &hook()).map(|why| why.code),
        Some("type_not_chosen")
    );
    let about = EventFacts {
        concerned: Concerned(Some(id())),
        ..alarm
    };
    assert_eq!(unsent(&about, &hook()).map(|why| why.code), Some("itself"));
}

#[test]
fn why_not_is_a_sentence() {
    let sentence = |addressee: &Addressee| unsent(&event(), addressee).expect("a reason").sentence;
    let mut addressee = hook();
    addressee.destination.common.events =
        vec!["purchase.updated".to_owned(), "device.*".to_owned()];
    assert_eq!(
        sentence(&addressee),
        format!(
            "not to {HOOK}: not subscribed to user.subscription.renewed (subscribed to purchase.updated, device.*)"
        )
    );
    // For a kind with listed wildcards, they include only the documented types.
    addressee.destination.wildcards = Wildcards::Listed;
    (
        addressee.destination.common.events,
        addressee.destination.kind,
    ) = (vec!["*".to_owned()], "k".to_owned());
    let state = EventFacts {
        event_type: "purchase.updated".to_owned(),
        ..event()
    };
    let text = unsent(&state, &addressee).expect("a reason").sentence;
    assert!(
        text.ends_with(
            "not subscribed to purchase.updated (subscribed to the 13 events of its form; it is not listed for k, and must be \
             chosen by name)"
        ),
        "{text}"
    );
    let about = EventFacts {
        event_type: "destination.failing".to_owned(),
        ..event()
    };
    let text = unsent(&about, &addressee).expect("a reason").sentence;
    assert!(
        text.ends_with("(subscribed to the 13 events of its form; `*` does not include events about destinations and alarms)"),
        "{text}"
    );
    assert!(sentence(&hook()).contains("settle check"));
    let correction = EventFacts {
        event_type: "revenue.adjusted".to_owned(),
        ..event()
    };
    let mut addressee = hook();
    let texts = [false, true].map(|counts| {
        addressee.destination.per_user = counts;
        unsent(&correction, &addressee).expect("a reason").sentence
    });
    assert!(
        texts[0].ends_with("`*` does not include changes of payments)"),
        "{}",
        texts[0]
    );
    assert!(
        texts[1].ends_with("the payment that it corrects was never sent there"),
        "{}",
        texts[1]
    );
}

#[test]
fn a_later_destination_gets_the_command_that_sends_it() {
    let after = |event: &EventFacts, change: &dyn Fn(&mut Addressee)| {
        let mut addressee = hook();
        addressee.destination.created_at = at(11);
        change(&mut addressee);
        let text = unsent(event, &addressee).expect("a reason").sentence;
        let start = format!(
            "not to {HOOK}: the destination was created later, at 2027-01-15T08:00:11.000000Z"
        );
        text.strip_prefix(&start)
            .unwrap_or_else(|| panic!("{text}"))
            .to_owned()
    };
    let state = EventFacts {
        event_type: "purchase.updated".to_owned(),
        ..event()
    };
    let missing = after(&state, &|_| {});
    assert!(
        missing.starts_with(&format!(
            " (`settle resend missing --destination {ID}` sends"
        )),
        "{missing}"
    );
    let one = after(&event(), &|_| {});
    assert_eq!(
        one,
        format!(" (`settle resend event {ID} --destination {ID}` sends it)")
    );
    let deleted = after(&state, &|addressee| addressee.deleted_at = Some(at(12)));
    assert_eq!(deleted, ", and deleted at 2027-01-15T08:00:12.000000Z");
    let other = after(&state, &|addressee| {
        addressee.destination.common.events = vec!["user.*".to_owned()]
    });
    assert_eq!(
        other,
        ", and is not subscribed to purchase.updated (subscribed to user.*)"
    );
    let filtered = after(&event(), &|addressee| {
        addressee.destination.common.filter.environments = vec![Environment::Sandbox]
    });
    assert_eq!(
        filtered,
        ", and is limited to other platforms or environments"
    );
    let pruned = EventFacts {
        pruned_at: Some(at(20)),
        ..event()
    };
    assert_eq!(after(&pruned, &|_| {}), "");
}

#[test]
fn payments_that_are_not_chosen_are_counted_with_their_sum() {
    let destination = hook().destination;
    let destination = Destination {
        wildcards: Wildcards::Listed,
        ..destination
    };
    let event_type = "user.subscription.sku_change".to_owned();
    let usd = "89.99".parse().ok();
    let one = UnchosenType {
        event_type,
        payments: 1,
        usd,
        is_least: false,
        is_part: false,
        latest: Vec::new(),
    };
    let why = "not sent since 2027-01-15T08:00:00.000000Z: not subscribed to user.subscription.sku_change (subscribed to";
    let of = |one: &UnchosenType| sentences::unchosen(&destination, one);
    assert!(
        of(&one).starts_with(&format!("1 payment (89.99 USD) {why}")),
        "{}",
        of(&one)
    );
    let part = UnchosenType {
        payments: 2,
        is_part: true,
        ..one.clone()
    };
    assert!(
        of(&part).starts_with(&format!("2 payments (at least 89.99 USD) {why}")),
        "{}",
        of(&part)
    );
    let least = UnchosenType {
        payments: 1000,
        is_least: true,
        usd: None,
        ..one
    };
    assert!(
        of(&least).starts_with(&format!("at least 1000 payments {why}")),
        "{}",
        of(&least)
    );
}
