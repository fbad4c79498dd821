//! The forms of a customer's page: naming, moving, and undoing a transfer. Each is a call of the API.

use super::address::path;
use super::transfers::LOG_IN_AGAIN;
use crate::action::{Action, Input};
use crate::change::Mistakes;
use crate::text::PURCHASE_ID;
use crate::visit::Visit;
use api::resources::customers::Customer;
use api::resources::standing::product;
use api::resources::transfers::Transfer;
use api::resources::transfers::moves::called;
use domain::{AppId, UserId};
use storage::{PurchaseView, TransferCause};

/// The choice of everything that a customer has, in the form of a move.
const ALL: &str = "external_id";
/// Advice before purchases move, including that the move can be undone.
const ONE_PERSON: &str = "Make sure that both customers are the same person. You can undo a move.";
/// The field with the store's id of a purchase.
pub const STORE_PURCHASE: &str = "receipt_id";

/// Returns the form that names a customer, identified by the store's id of the customer or of a purchase; `None` if
/// neither is known.
pub fn name(
    app: AppId,
    customer: &Customer,
    purchases: &[PurchaseView],
    mistakes: &Mistakes,
) -> Option<Action> {
    let of_store = customer
        .app_user_ids
        .first()
        .map(|id| ("app_user_id", id.as_str()));
    let (field, value) = of_store.or_else(|| {
        purchases
            .first()
            .map(|one| (STORE_PURCHASE, one.receipt_id.as_str()))
    })?;
    let what = "If another customer already has this login, you see both before anything is merged. If this customer \
                already has a different login, nothing is changed.";
    let own = customer.external_id.as_deref().unwrap_or_default();
    let action = Action::new(
        path(app, customer.user_id),
        "name",
        "Set customer id",
        what,
        mistakes,
    );
    let action = action.with(Input::text(field, "").of("hidden").value(value));
    let action = action.with(
        Input::text("external_id", "Login in your app")
            .value(own)
            .required(),
    );
    Some(action.with(Input::text(
        "analytics_device_id",
        "Analytics device id (optional)",
    )))
}

/// Returns the form that moves purchases to another customer; `None` if there is nothing that the form could name.
pub fn move_to(
    app: AppId,
    customer: &Customer,
    purchases: &[PurchaseView],
    mistakes: &Mistakes,
) -> Option<Action> {
    let all = customer.external_id.iter().map(|id| {
        (
            format!("{ALL}/{id}"),
            "All of the customer's purchases".to_owned(),
        )
    });
    let of_store = customer
        .app_user_ids
        .iter()
        .map(|id| (format!("app_user_id/{id}"), format!("Store customer {id}")));
    let of_purchases = purchases.iter().map(|one| {
        (
            format!("{STORE_PURCHASE}/{}", one.receipt_id),
            format!("{}, id {}", product(one), one.receipt_id),
        )
    });
    let choices: Vec<(String, String)> = match customer.app_user_ids.is_empty() {
        true => all.chain(of_purchases).collect(),
        false => all.chain(of_store).collect(),
    };
    let choices: Vec<(&str, &str)> = choices
        .iter()
        .map(|(value, label)| (value.as_str(), label.as_str()))
        .collect();
    if choices.is_empty() {
        return None;
    }
    let loser = customer.external_id.as_deref().unwrap_or("This customer");
    let what = format!(
        "{loser} loses the access that the purchases give, and the customer with the login gets it: in settle's \
         answers at once, in your systems when they get the events. {ONE_PERSON} You see both before anything \
         moves. Transfer events announce the change of access."
    );
    let action = Action::new(
        move_path(app, customer),
        "move",
        "Move purchases",
        &what,
        mistakes,
    );
    let action = action.with(Input::choice("from", "What to move", &choices));
    Some(action.with(Input::text("external_id", "To the customer with the login").required()))
}

/// Returns the form that moves a purchase to this customer, given the store's id of the purchase; `None` for a customer
/// without an external id.
pub fn bring(app: AppId, customer: &Customer, mistakes: &Mistakes) -> Option<Action> {
    let own = customer.external_id.as_deref()?;
    let what = format!(
        "All purchases of the store customer who made the purchase then belong to {own}. Whoever has them now loses \
         their access: in settle's answers at once, in your systems when they get the events. {ONE_PERSON}"
    );
    let action = Action::new(
        move_path(app, customer),
        "move",
        "Bring purchases here",
        &what,
        mistakes,
    );
    let action = action.with(Input::text("external_id", "").of("hidden").value(own));
    Some(action.with(Input::text(STORE_PURCHASE, PURCHASE_ID).required()))
}

fn move_path(app: AppId, customer: &Customer) -> String {
    format!("{}/move", path(app, customer.user_id))
}

/// Returns the form that undoes a transfer, if that is possible. `names` has the products that moved.
pub fn undo(
    visit: &Visit,
    of: UserId,
    transfer: &Transfer,
    names: &[&str],
    mistakes: &Mistakes,
) -> Option<Action> {
    let id = transfer.transfer_id;
    let what = undoing(transfer, names);
    let path = visit.to(&format!("/ui/transfers/{id}/undo?of={of}"));
    let title = format!("Undo the transfer of {}", transfer.created_at);
    let action =
        Action::new(path, format!("undo-{id}"), &title, &what, mistakes).about(&id.to_string());
    Some(action).filter(|_| is_offered(transfer))
}

/// Returns whether the page offers to undo a transfer. An undo is never undone: that would give the purchases away
/// again.
fn is_offered(transfer: &Transfer) -> bool {
    let is_undo = transfer.undoes.is_some() || transfer.cause == TransferCause::Undo;
    transfer.can_undo && transfer.undone_by.is_none() && !is_undo
}

/// Returns the effects of undoing a transfer on both customers.
fn undoing(transfer: &Transfer, names: &[&str]) -> String {
    let (winner, loser) = (called(&transfer.from), called(&transfer.to));
    let back = match names {
        [name] => format!("{name} goes back to {winner}, and {loser} loses it at once."),
        [] => format!("The purchases go back to {winner}, and {loser} loses them at once."),
        names => format!(
            "{} go back to {winner}, and {loser} loses them at once.",
            names.join(" and ")
        ),
    };
    let again = match transfer.cause {
        TransferCause::Login => {
            format!(
                "{LOG_IN_AGAIN} If {loser} logs in on that device again, the purchases move again."
            )
        }
        TransferCause::Naming | TransferCause::Admin | TransferCause::Undo => String::new(),
    };
    format!("{back}{again}")
}

#[cfg(test)]
mod tests {
    use super::{is_offered, undoing};
    use api::fixtures::transfer;
    use api::resources::transfers::Transfer;
    use domain::TransferId;
    use storage::TransferCause;
    use uuid::Uuid;

    #[test]
    fn neither_an_undo_nor_what_was_undone_is_offered_for_an_undo() {
        let moved = || transfer(TransferCause::Admin, Some("quinn@example.com"));
        let id = Some(TransferId::new(Uuid::from_u128(9)));
        assert!(is_offered(&moved()));
        for (case, one) in [
            (
                "undone",
                Transfer {
                    undone_by: id,
                    ..moved()
                },
            ),
            (
                "an undo",
                Transfer {
                    undoes: id,
                    ..moved()
                },
            ),
            ("an undo by its cause", transfer(TransferCause::Undo, None)),
            (
                "of the past",
                Transfer {
                    can_undo: false,
                    ..moved()
                },
            ),
        ] {
            assert!(!is_offered(&one), "{case}");
        }
    }

    #[test]
    fn an_undo_names_who_gets_and_who_loses_what() {
        let by_login = transfer(TransferCause::Login, Some("quinn@example.com"));
        assert_eq!(
            undoing(&by_login, &["Gold monthly"]),
            "Gold monthly goes back to quinn@example.com, and robin@example.com loses it at once. The customer must \
             log in again on the device, such as the TV. If robin@example.com logs in on that device again, the purchases move again."
        );
        assert_eq!(
            undoing(&transfer(TransferCause::Admin, None), &[]),
            "The purchases go back to the customer without a login, and robin@example.com loses them at once."
        );
    }
}
