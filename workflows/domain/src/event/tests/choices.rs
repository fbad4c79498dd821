//! What destinations may choose, and what a choice means.

use crate::event::{PURCHASE_UPDATED, check_choice, chooses};
use crate::transition::What;

#[test]
fn wildcards_choose_by_prefix_and_names_choose_themselves() {
    let chosen = |choice: &str, event_type| chooses(&[choice.to_owned()], event_type);
    assert!(chosen("*", PURCHASE_UPDATED));
    assert!(chosen("user.*", "user.subscription.renewed"));
    assert!(chosen("user.subscription.*", "user.subscription.transferred.to"));
    assert!(chosen(PURCHASE_UPDATED, PURCHASE_UPDATED));
    assert!(!chosen("user.*", PURCHASE_UPDATED));
    assert!(!chosen("user.subscription.*", "user.journey.trial.started"));
    assert!(!chosen("user.subscription.renewed", "user.subscription.renewed.again"));
    assert!(!chooses(&[], PURCHASE_UPDATED));
}

#[test]
fn a_choice_of_names_that_exist_is_accepted_and_others_are_answered_with_the_list() {
    let check = |names: &[&str]| check_choice(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
    assert_eq!(check(&["*"]), Ok(()));
    assert_eq!(check(&["purchase.updated", "user.*", "device.session.start", "user.journey.trial.started"]), Ok(()));
    for wrong in ["purchase.update", "User.*", "user.subscription", "**", "", "user.pause.*"] {
        let refused = check(&["*", wrong]).unwrap_err();
        assert!(refused.starts_with(&format!("`{wrong}` is not an event type; choose from *, ")), "{refused}");
        assert!(refused.contains("user.subscription.transferred.to"), "{refused}");
    }
    assert!(check(&[]).unwrap_err().starts_with("no event is chosen"));
}

#[test]
fn everything_that_we_can_send_can_be_chosen_by_its_name() {
    for what in What::ALL {
        assert_eq!(check_choice(&[what.event_type().to_owned()]), Ok(()));
    }
    let listed = check_choice(&[]).unwrap_err();
    assert_eq!(listed.split(", ").count(), 5 + 20, "{listed}");
}
