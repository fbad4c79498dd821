//! The forms of a customer's page: naming, moving, and taking a transfer back. Each is a call of the API.

use super::merge::confirm;
use super::{path, show, show_user};
use crate::edge::Shared;
use crate::error::Error;
use crate::extract::{Id, Ids};
use crate::keys::Caller;
use crate::pages::act::{above, act, upper};
use crate::pages::action::{Action, Input};
use crate::pages::change::Mistakes;
use crate::pages::form::Sent;
use crate::pages::visit::Visit;
use crate::resources::customers::Customer;
use crate::resources::naming;
use crate::resources::transfers::{self, Transfer};
use crate::route::Route;
use axum::extract::State;
use axum::response::Response;
use domain::{AppId, TransferId, UserId};
use serde_json::{Map, Value, json};
use storage::{PurchaseView, Role};

/// The choice of everything that a customer has, in the form of a move.
const ALL: &str = "external_id";

pub fn routes() -> Vec<Route> {
    vec![
        Route::page(
            Role::Support,
            "POST",
            "/ui/customers/{app_id}/{user_id}",
            act(naming::name, confirm).body(only_as_shown).then(named_page),
        )
        .twin("PUT /v1/apps/{app_id}/customers")
        .summary("Names a customer; a merge with another one is shown first."),
        Route::page(
            Role::Support,
            "POST",
            "/ui/customers/{app_id}/{user_id}/move",
            act(transfers::move_customer, show).body(set_source).then(|visit, _| above(visit, 1)),
        )
        .twin("POST /v1/apps/{app_id}/customers/move")
        .summary("Moves purchases to another customer."),
        Route::page(
            Role::Support,
            "POST",
            "/ui/transfers/{transfer_id}/undo",
            act(transfers::undo, of_transfer).then(undone_page),
        )
        .twin("POST /v1/transfers/{transfer_id}/undo")
        .summary("Takes a transfer back."),
    ]
}

/// Merges two customers only as the preview showed it, and none without one.
fn only_as_shown(_: &Shared, _: &Visit, sent: &Sent, body: &mut Map<String, Value>) -> Result<(), Error> {
    body.insert("merge".to_owned(), sent.get("preview").is_some().into());
    Ok(())
}

/// The page of a customer that was named: that of another one, who had the name already.
fn named_page(visit: &Visit, answer: &Value) -> String {
    let user = answer["user_id"].as_str().unwrap_or_default();
    visit.to(&format!("{}/{user}?done=named", upper(visit.uri.path(), 1)))
}

/// What moves, as the API has it: `external_id/ID`, `app_user_id/ID` or `receipt_id/ID` in the form.
fn set_source(_: &Shared, _: &Visit, sent: &Sent, body: &mut Map<String, Value>) -> Result<(), Error> {
    body.remove("from");
    let (key, id) = sent.get("from").and_then(|from| from.split_once('/')).unwrap_or_default();
    body.insert("from".to_owned(), json!({ key: id }));
    Ok(())
}

/// The page from which a transfer was taken back, or that of the customer who has the purchases again.
fn undone_page(visit: &Visit, answer: &Value) -> String {
    let of = visit.query("of").or_else(|| answer["to"]["user_id"].as_str().map(str::to_owned)).unwrap_or_default();
    visit.to(&format!("/ui/customers/{}/{of}?done=undone", answer["app_id"].as_str().unwrap_or_default()))
}

/// The page from which a transfer was to be taken back, with what stands against it.
async fn of_transfer(
    State(edge): State<Shared>,
    visit: Visit,
    caller: Caller,
    Id(id): Id<TransferId>,
    mistakes: Mistakes,
) -> Result<Response, Error> {
    let transfer = edge.store.transfer(id).await?;
    let of = visit.query("of").and_then(|text| text.parse().ok()).unwrap_or(transfer.to);
    show_user(&edge, &visit, &caller, Ids(transfer.app_id, of), mistakes).await
}

/// The form that names a customer, by an id of the store or a receipt; none where neither is known.
pub fn name(app: AppId, customer: &Customer, purchases: &[PurchaseView], mistakes: &Mistakes) -> Option<Action> {
    let of_store = customer.app_user_ids.first().map(|id| ("app_user_id", id.as_str()));
    let (field, value) = of_store.or_else(|| purchases.first().map(|one| ("receipt_id", one.receipt_id.as_str())))?;
    let what = "If another customer already has this id, you see both before anything is merged. If this customer already \
                has a different id, nothing is changed.";
    let own = customer.external_id.as_deref().unwrap_or_default();
    let action = Action::new(path(app, customer.user_id), "name", "Set customer id", what, mistakes);
    let action = action.with(Input::text(field, "").of("hidden").value(value));
    let action = action.with(Input::text("external_id", "Your id (login)").value(own).required());
    Some(action.with(Input::text("analytics_device_id", "Analytics device id (optional)")))
}

/// The form that moves purchases to another customer; none where nothing can be named that moves.
pub fn move_to(app: AppId, customer: &Customer, purchases: &[PurchaseView], mistakes: &Mistakes) -> Option<Action> {
    let all =
        customer.external_id.iter().map(|id| (format!("{ALL}/{id}"), "All of the customer's purchases".to_owned()));
    let of_store = customer.app_user_ids.iter().map(|id| (format!("app_user_id/{id}"), format!("Store customer {id}")));
    let of_receipts =
        purchases.iter().map(|one| (format!("receipt_id/{}", one.receipt_id), format!("Receipt {}", one.receipt_id)));
    let choices: Vec<(String, String)> = match customer.app_user_ids.is_empty() {
        true => all.chain(of_receipts).collect(),
        false => all.chain(of_store).collect(),
    };
    let choices: Vec<(&str, &str)> = choices.iter().map(|(value, label)| (value.as_str(), label.as_str())).collect();
    if choices.is_empty() {
        return None;
    }
    let what = "The purchases will belong to the customer with the other id. An unused id creates a new customer. \
         Transfer events announce the change of access. You can undo a move.";
    let action = Action::new(format!("{}/move", path(app, customer.user_id)), "move", "Move purchases", what, mistakes);
    let action = action.with(Input::choice("from", "What to move", &choices));
    Some(action.with(Input::text("external_id", "To the customer with your id").required()))
}

/// The form that takes a transfer back, if that is possible.
pub fn undo(visit: &Visit, of: UserId, transfer: &Transfer, mistakes: &Mistakes) -> Option<Action> {
    let id = transfer.transfer_id;
    let what = "Another transfer returns its purchases to their former owner.";
    let path = visit.to(&format!("/ui/transfers/{id}/undo?of={of}"));
    let action = Action::new(path, format!("undo-{id}"), "Undo", what, mistakes).about(&id.to_string());
    Some(action).filter(|_| transfer.can_undo)
}
