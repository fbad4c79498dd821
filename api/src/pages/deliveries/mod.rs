//! One delivery: what is sent, what was answered, and sending its event again.

mod view;

use super::action::Mistakes;
use super::events::{resend, this_event};
use super::form::Sent;
use super::frame::{Frame, PageAddress, shown};
use super::requeued::run;
use super::visit::Visit;
use crate::edge::Shared;
use crate::error::Error;
use crate::extract::Id;
use crate::keys::{Acting, Caller};
use crate::resources::deliveries;
use crate::resources::explain::story as explained;
use crate::route::Route;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use domain::DeliveryId;
use storage::Role;
use view::{DeliveryPage, Detail};

pub fn routes() -> Vec<Route> {
    vec![
        Route::page(Role::Read, "GET", "/ui/deliveries/{delivery_id}", show)
            .summary("One delivery with its request and its answers."),
        Route::page(Role::Support, "POST", "/ui/deliveries/{delivery_id}/resend", post_resend)
            .twin("POST /v1/resends")
            .summary("Sends its event again, to its destination."),
    ]
}

/// `GET /ui/deliveries/{delivery_id}`
async fn show(state: State<Shared>, visit: Visit, Id(id): Id<DeliveryId>) -> Result<Response, Error> {
    page(&state, &visit, id, Mistakes::default()).await
}

async fn page(state: &State<Shared>, visit: &Visit, id: DeliveryId, mistakes: Mistakes) -> Result<Response, Error> {
    let State(edge) = state;
    let delivery = edge.store.delivery(id).await?;
    let tree = explained::event(&edge.store.explain_event(delivery.event_id).await?);
    // Its body is about a customer: whoever may not see it by the API does not see it here.
    let request = if visit.sign_in.role >= Role::Support {
        Some(deliveries::request(state.clone(), Id(id)).await?.0)
    } else {
        None
    };
    let place = PageAddress {
        screen: super::destinations::SCREEN.path,
        title: format!("Delivery {}", id.to_string().get(..8).unwrap_or_default()),
        api: format!("/v1/deliveries/{id}"),
        command: format!("settle delivery attempts {id}"),
        is_answer: !mistakes.action.is_empty(),
    };
    let frame = Frame::of(edge, visit, place).await?;
    let detail = Detail { delivery: &delivery, tree: &tree, request: request.as_ref(), run: run((edge.random)()) };
    shown(visit, &DeliveryPage::new(&frame, visit, &detail, mistakes), &delivery)
}

/// `POST /ui/deliveries/{delivery_id}/resend`
async fn post_resend(
    edge: Acting,
    caller: Caller,
    state: State<Shared>,
    visit: Visit,
    sent: Sent,
    Id(id): Id<DeliveryId>,
) -> Result<Response, Error> {
    let delivery = state.0.store.delivery(id).await?;
    let to = delivery.destination_id.to_string();
    match resend(edge, caller, &sent, this_event(delivery.event_id), Some(&to)).await {
        Ok(requeued) => {
            let path = format!("/ui/events/{}?pending={}", delivery.event_id, requeued.text());
            Ok(Redirect::to(&visit.to(&path)).into_response())
        }
        Err(error) => {
            let (status, mistakes) = Mistakes::of("resend", sent, error)?;
            Ok((status, page(&state, &visit, id, mistakes).await?).into_response())
        }
    }
}
