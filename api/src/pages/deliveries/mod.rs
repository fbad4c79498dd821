//! The page of one delivery: its request and its responses. The form that resends its event is that of the event.

mod view;

use super::frame::{Frame, PageAddress, shown};
use super::requeued::run;
use super::visit::Visit;
use api::edge::Shared;
use api::error::Error;
use api::extract::Id;
use api::resources::deliveries;
use api::resources::explain::{self, Explained, held_back};
use api::route::Route;
use axum::extract::State;
use axum::response::Response;
use domain::DeliveryId;
use storage::{Addressee, Role};
use view::{DeliveryPage, Detail};

pub fn routes() -> Vec<Route> {
    vec![
        Route::page(Role::Read, "GET", "/ui/deliveries/{delivery_id}", show)
            .summary("One delivery with its request and its answers."),
    ]
}

/// `GET /ui/deliveries/{delivery_id}`
async fn show(
    state: State<Shared>,
    visit: Visit,
    Id(id): Id<DeliveryId>,
) -> Result<Response, Error> {
    let State(edge) = &state;
    let delivery = deliveries::show(state.clone(), Id(id)).await?.0;
    let Explained { facts, tree } = explain::of_event(edge, delivery.event_id).await?;
    let is_own = |one: &&Addressee| one.destination.id == delivery.destination_id;
    let is_held = facts
        .addressees
        .iter()
        .find(is_own)
        .is_some_and(|one| held_back(one, visit.now).is_some());
    let next_due_at = delivery
        .next_due_at
        .filter(|due| !is_held && *due > visit.now);
    // The body contains customer data, so it is shown only to roles that can read it through the API.
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
        ..PageAddress::default()
    };
    let frame = Frame::of(edge, &visit, place).await?;
    let (request, run) = (request.as_ref(), run((edge.random)()));
    let detail = Detail {
        delivery: &delivery,
        next_due_at,
        tree: &tree,
        request,
        run,
    };
    shown(
        &visit,
        &DeliveryPage::new(&frame, &visit, &detail),
        &delivery,
    )
}
