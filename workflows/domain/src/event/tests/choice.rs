//! The events to which destinations can subscribe, and what each choice includes.

use crate::event::choice::{ABOUT_ALARMS, ABOUT_DESTINATIONS};
use crate::event::{
    ALARM_OPENED, DESTINATION_FAILING, PURCHASE_UPDATED, REVENUE_ADJUSTED, Wildcards, check_choice,
    chooses, is_for_operators,
};
use crate::transition::TransitionKind;
use crate::user::USER_ERASED;

#[test]
fn wildcards_choose_by_prefix_and_names_choose_themselves() {
    let chosen =
        |choice: &str, event_type| chooses(&[choice.to_owned()], Wildcards::Everything, event_type);
    assert!(chosen("*", PURCHASE_UPDATED));
    assert!(chosen("user.*", "user.subscription.renewed"));
    assert!(chosen(
        "user.subscription.*",
        "user.subscription.transferred.to"
    ));
    assert!(chosen(PURCHASE_UPDATED, PURCHASE_UPDATED));
    assert!(!chosen("user.*", PURCHASE_UPDATED));
    assert!(!chosen("user.subscription.*", "user.journey.trial.started"));
    assert!(!chosen(
        "user.subscription.renewed",
        "user.subscription.renewed.again"
    ));
    assert!(!chooses(&[], Wildcards::Everything, PURCHASE_UPDATED));
    assert!(
        !chosen("*", DESTINATION_FAILING),
        "what is for operators is chosen by its own wildcard"
    );
    assert!(chosen("destination.*", DESTINATION_FAILING));
    assert!(
        chosen("alarm.*", ALARM_OPENED)
            && !chosen("*", ALARM_OPENED)
            && !chosen("destination.*", ALARM_OPENED)
    );
}

#[test]
fn a_change_of_a_payment_never_comes_uninvited() {
    for wildcards in [Wildcards::Everything, Wildcards::Listed] {
        let chosen = |choice: &str| chooses(&[choice.to_owned()], wildcards, REVENUE_ADJUSTED);
        assert!(chosen(REVENUE_ADJUSTED) && !chosen("*") && !chosen("user.*"));
        assert_eq!(chosen("revenue.*"), wildcards == Wildcards::Everything);
    }
    assert_eq!(
        check_choice(&["revenue.*".to_owned(), REVENUE_ADJUSTED.to_owned()]),
        Ok(())
    );
}

#[test]
fn the_event_of_an_erased_user_is_chosen_by_its_name_alone() {
    for wildcards in [Wildcards::Everything, Wildcards::Listed] {
        let chosen = |choice: &str| chooses(&[choice.to_owned()], wildcards, USER_ERASED);
        assert!(chosen(USER_ERASED) && !chosen("*") && !chosen("user.*"));
    }
    assert_eq!(check_choice(&[USER_ERASED.to_owned()]), Ok(()));
}

#[test]
fn only_events_about_destinations_and_alarms_are_for_operators() {
    assert!(is_for_operators(DESTINATION_FAILING) && is_for_operators(ALARM_OPENED));
    assert!(!is_for_operators(PURCHASE_UPDATED));
    assert!(
        TransitionKind::ALL
            .iter()
            .all(|what| !is_for_operators(what.event_type()))
    );
}

#[test]
fn listed_wildcards_stand_for_what_the_documented_form_lists() {
    let chosen =
        |choice: &str, event_type| chooses(&[choice.to_owned()], Wildcards::Listed, event_type);
    assert!(chosen("user.*", "user.subscription.renewed"));
    assert!(chosen("*", "device.transaction"));
    assert!(!chosen("user.*", "user.subscription.sku_change"));
    assert!(!chosen("*", PURCHASE_UPDATED));
    assert!(chosen(
        "user.subscription.sku_change",
        "user.subscription.sku_change"
    ));
    assert!(chosen(PURCHASE_UPDATED, PURCHASE_UPDATED));
    let of_users = TransitionKind::ALL
        .iter()
        .filter(|what| chosen("user.*", what.event_type()))
        .count();
    assert_eq!(of_users, 11);
}

#[test]
fn an_unknown_event_name_is_answered_with_the_list() {
    let check = |names: &[&str]| {
        check_choice(
            &names
                .iter()
                .map(|name| (*name).to_owned())
                .collect::<Vec<_>>(),
        )
    };
    assert_eq!(check(&["*"]), Ok(()));
    assert_eq!(
        check(&[
            "purchase.updated",
            "user.*",
            "device.session.start",
            "user.journey.trial.started"
        ]),
        Ok(())
    );
    for wrong in [
        "purchase.update",
        "User.*",
        "user.subscription",
        "**",
        "",
        "user.pause.*",
    ] {
        let refused = check(&["*", wrong]).unwrap_err();
        assert!(
            refused.starts_with(&format!("`{wrong}` is not an event type; choose from *, ")),
            "{refused}"
        );
        assert!(
            refused.contains("user.subscription.transferred.to"),
            "{refused}"
        );
    }
    assert!(check(&[]).unwrap_err().starts_with("at least one event"));
}

#[test]
fn everything_that_we_can_send_can_be_chosen_by_its_name() {
    let of_users = TransitionKind::ALL.iter().map(|what| what.event_type());
    for event_type in of_users.chain(ABOUT_DESTINATIONS).chain(ABOUT_ALARMS) {
        assert_eq!(check_choice(&[event_type.to_owned()]), Ok(()));
    }
    let listed = check_choice(&["none".to_owned()]).unwrap_err();
    assert_eq!(listed.split(", ").count(), 8 + 28, "{listed}");
}
