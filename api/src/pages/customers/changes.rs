//! The changes made by the forms of a customer's page. Each is a call of the API; a merge or a move is previewed first.

use super::address::PATH;
use super::forms::STORE_PURCHASE;
use super::page::show_user;
use super::{merge, moving};
use crate::act::{above, act, upper};
use crate::change::Mistakes;
use crate::form::Sent;
use crate::visit::Visit;
use api::edge::Shared;
use api::error::Error;
use api::extract::{Id, Ids};
use api::resources::{naming, transfers};
use api::route::Route;
use axum::Json;
use axum::extract::State;
use axum::response::Response;
use domain::TransferId;
use serde_json::{Map, Value, json};
use storage::Role;

pub fn routes() -> Vec<Route> {
    vec![
        Route::page(
            Role::Support,
            "POST",
            "/ui/customers/{app_id}/{user_id}",
            act(naming::name, merge::confirm)
                .body(only_as_shown)
                .then(named_page),
        )
        .twin("PUT /v1/apps/{app_id}/customers")
        .summary("Names a customer; a merge with another one is shown first."),
        Route::page(
            Role::Support,
            "POST",
            "/ui/customers/{app_id}/{user_id}/move",
            act(transfers::move_customer, moving::confirm)
                .body(set_source)
                .then(|visit, answer| above(visit, 1) + other_case(answer)),
        )
        .twin("POST /v1/apps/{app_id}/customers/move")
        .summary("Moves purchases to another customer; the move is shown first."),
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

/// Merges two customers only as the preview showed it, and never without a preview.
fn only_as_shown(
    _: &Shared,
    _: &Visit,
    sent: &Sent,
    body: &mut Map<String, Value>,
) -> Result<(), Error> {
    body.insert("merge".to_owned(), sent.get("preview").is_some().into());
    Ok(())
}

/// Returns the end of the notice's name if another customer's id differs only by case; empty otherwise.
fn other_case(answer: &Value) -> &'static str {
    if answer["warnings"].is_array() {
        "-other-case"
    } else {
        ""
    }
}

/// Returns the customer's page after naming. If the naming merged two customers, this is the page of the customer who
/// already had the id.
fn named_page(visit: &Visit, answer: &Value) -> String {
    let user = answer["user_id"].as_str().unwrap_or_default();
    visit.to(&format!(
        "{}/{user}?done=named{}",
        upper(visit.uri.path(), 1),
        other_case(answer)
    ))
}

/// Sets the customer to move, in the API's form, and allows only what the preview showed.
fn set_source(
    _: &Shared,
    _: &Visit,
    sent: &Sent,
    body: &mut Map<String, Value>,
) -> Result<(), Error> {
    body.remove("from");
    body.remove(STORE_PURCHASE);
    let Some((key, id)) = moving::source(sent) else {
        return Err(Error::invalid(
            STORE_PURCHASE,
            "the store's id of the purchase",
        ));
    };
    body.insert("from".to_owned(), json!({ key: id }));
    moving::only_as_shown(sent, body);
    Ok(())
}

/// Returns the page on which a transfer was undone, or else the page of the customer who has the purchases again.
fn undone_page(visit: &Visit, answer: &Value) -> String {
    let of = visit
        .query("of")
        .or_else(|| answer["to"]["user_id"].as_str().map(str::to_owned))
        .unwrap_or_default();
    visit.to(&format!(
        "{PATH}/{}/{of}?done=undone",
        answer["app_id"].as_str().unwrap_or_default()
    ))
}

/// Returns the page on which a transfer should have been undone, with the error.
async fn of_transfer(
    State(edge): State<Shared>,
    visit: Visit,
    Id(id): Id<TransferId>,
    mistakes: Mistakes,
) -> Result<Response, Error> {
    let Json(transfer) = transfers::show(State(edge.clone()), Id(id)).await?;
    let of = visit
        .query("of")
        .and_then(|text| text.parse().ok())
        .unwrap_or(transfer.to.user_id);
    show_user(&edge, &visit, Ids(transfer.app_id, of), mistakes).await
}
