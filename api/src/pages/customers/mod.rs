//! Customers: the search by any of their ids; their access, purchases and payments, worded so that support can repeat
//! it to them; their access on a past day, and why a destination did not receive an event. The search is a POST, so
//! that no address contains any customer id but settle's.

mod address;
mod changes;
mod day;
mod environment;
mod find;
mod forms;
pub mod list;
mod merge;
mod moving;
mod page;
mod record;
pub mod statement;
mod transfers;
mod view;

pub use address::path;

use super::Screen;
use super::lists;
use super::visit::Visit;
use api::edge::Shared;
use api::error::Error;
use api::keys::Caller;
use api::resources::payments as resource;
use api::route::Route;
use axum::extract::State;
use axum::response::Response;
use storage::Role;

pub const SCREEN: Screen = Screen {
    name: "Customers",
    path: address::PATH,
    icon: "customers",
    key: 'u',
    routes,
};

fn routes() -> Vec<Route> {
    let read = vec![
        Route::page(Role::Read, "GET", "/ui/customers", find::form)
            .summary("The search for a customer."),
        Route::page(Role::Read, "POST", "/ui/customers", find::find)
            .twin("POST /v1/search")
            .as_query()
            .summary("Finds a customer by an id."),
        Route::page(
            Role::Read,
            "GET",
            "/ui/customers/{app_id}/{user_id}",
            page::show,
        )
        .summary("One customer, and why a destination did not get an event."),
        Route::page(Role::Read, "GET", "/ui/payments", payments)
            .summary("The payments of a customer or a purchase."),
    ];
    read.into_iter().chain(changes::routes()).collect()
}

/// `GET /ui/payments`
async fn payments(state: State<Shared>, visit: Visit, caller: Caller) -> Result<Response, Error> {
    lists::show(list::payments(&visit), state, visit, caller, resource::list).await
}
