//! Customers: found by any of their ids, with what they own, what they may use and what was announced of them, and why a
//! destination did not get an event. The search is a POST: an id of a customer is in no address, except that of settle.

mod naming;
mod view;
mod why;

use super::Screen;
use super::form::{Form, Sent};
use super::frame::{Frame, Place, shown};
use super::visit::Visit;
use crate::edge::{Edge, Shared};
use crate::error::Error;
use crate::extract::{Body, Ids, Query, Stored, checked};
use crate::keys::Caller;
use crate::pages::change::Refused;
use crate::resources::customer_state::{self, CustomerDetail};
use crate::resources::customers::{self, Customer};
use crate::resources::search::{self, Search};
use crate::resources::transfers;
use crate::routes::Route;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use domain::{AppId, UserId};
use serde_json::{Map, Value, json};
use storage::{App, Destination, EventFilter, EventView, FoundKind, Page, PurchaseFilter, PurchaseView, Role};
use view::{CustomerPage, SearchPage};
use why::Answers;

/// Maximum number of apps in which a customer is looked for.
const APPS: i64 = 20;
/// Maximum number of purchases and events of a customer that are shown.
const SHOWN: i64 = 50;

/// The screen.
pub const SCREEN: Screen = Screen { name: "Customers", path: "/ui/customers", icon: "customers", key: 'u', routes };

fn routes() -> Vec<Route> {
    vec![
        Route::page(Role::Read, "GET", "/ui/customers", form).summary("The search for a customer."),
        Route::page(Role::Read, "POST", "/ui/customers", find)
            .twin("POST /v1/search")
            .as_query()
            .summary("Finds a customer by an id."),
        Route::page(Role::Read, "GET", "/ui/customers/{app_id}/{user_id}", show)
            .summary("One customer, and why a destination did not get an event."),
        Route::page(Role::Support, "POST", "/ui/customers/{app_id}/{user_id}", naming::name)
            .twin("PUT /v1/apps/{app_id}/customers")
            .summary("Names a customer."),
    ]
}

/// The address of a customer.
#[must_use]
pub fn path(app: AppId, user: UserId) -> String {
    format!("/ui/customers/{app}/{user}")
}

fn place(is_answer: bool) -> Place {
    Place {
        screen: SCREEN.path,
        title: "Customers".to_owned(),
        api: "/v1/search".to_owned(),
        command: "settle customer show --help".to_owned(),
        is_answer,
    }
}

/// `GET /ui/customers`
async fn form(State(edge): State<Shared>, visit: Visit) -> Result<Response, Error> {
    let frame = Frame::of(&edge, &visit, place(false)).await?;
    shown(&visit, &SearchPage::new(&frame, (String::new(), None)), &json!({ "items": [] }))
}

/// `POST /ui/customers`
async fn find(
    State(edge): State<Shared>,
    (visit, caller): (Visit, Caller),
    (sent, wanted): (Sent, Result<Form<Search>, Error>),
) -> Result<Response, Error> {
    let q = sent.get("q").unwrap_or_default().to_owned();
    let refused = match wanted {
        Ok(Form(wanted)) => {
            let found = found(&edge, &caller, wanted).await?;
            if let [(app, user)] = found.iter().map(|(app, one)| (app.id, one.user_id)).collect::<Vec<_>>()[..] {
                return Ok(Redirect::to(&visit.to(&path(app, user))).into_response());
            }
            let frame = Frame::of(&edge, &visit, place(true)).await?;
            let items: Vec<&Customer> = found.iter().map(|(_, one)| one).collect();
            return shown(&visit, &SearchPage::new(&frame, (q, Some(&found))), &json!({ "items": items }));
        }
        Err(error) => Refused::of(error)?,
    };
    let frame = Frame::of(&edge, &visit, place(true)).await?;
    let page = SearchPage::new(&frame, (q, None)).refused(refused);
    Ok((StatusCode::BAD_REQUEST, shown(&visit, &page, &json!({ "items": [] }))?).into_response())
}

/// The customers that an id names: by the search, and by the stores' ids in the apps that the caller reaches.
async fn found(edge: &Shared, caller: &Caller, wanted: Search) -> Result<Vec<(App, Customer)>, Error> {
    let (q, app) = (wanted.q.trim().to_owned(), caller.app(edge, wanted.app_id).await?);
    let hits = search::find(State(edge.clone()), caller.clone(), Body(wanted)).await?.0.items;
    let mut all: Vec<(App, Customer)> = Vec::new();
    for hit in hits.into_iter().filter(|hit| hit.kind == FoundKind::Customer) {
        if let (Some(app), Ok(user)) = (hit.app_id, hit.id.parse::<UserId>()) {
            all.push((edge.store.app(app).await?, edge.store.customer_of(app, user).await?.into()));
        }
    }
    let apps = match app {
        Some(app) => vec![edge.store.app(app).await?],
        None => edge.store.apps(Page { cursor: None, limit: APPS }).await?.items,
    };
    for app in apps {
        for name in ["app_user_id", "receipt_id"] {
            let Ok(query) = checked([(name.to_owned(), Value::from(q.clone()))].into_iter().collect()) else {
                continue;
            };
            let known = match customers::show(State(edge.clone()), Stored(app.clone()), Query(query)).await {
                Err(Error::Missing(_)) => continue,
                known => known?.0,
            };
            if all.iter().all(|(_, one)| one.user_id != known.user_id) {
                all.push((app.clone(), known));
            }
        }
    }
    Ok(all)
}

/// What one customer is shown from.
pub struct Portrait {
    /// The app.
    pub app: App,
    /// The customer, as the API shows one.
    pub detail: CustomerDetail,
    /// The purchases, the last settled first.
    pub purchases: Vec<PurchaseView>,
    /// The newest events.
    pub events: Vec<EventView>,
    /// The transfers, as the API shows them.
    pub transfers: Vec<transfers::Transfer>,
    /// The destinations of the app.
    pub destinations: Vec<Destination>,
}

impl Portrait {
    /// Reads what is stored of a customer.
    ///
    /// # Errors
    /// 404 when the app has no such customer.
    pub async fn of(edge: &Shared, caller: &Caller, (app, user): (AppId, UserId)) -> Result<Self, Error> {
        let Json(detail) = customer_state::detail(State(edge.clone()), Ids(app, user)).await?;
        let page = || Page { cursor: None, limit: SHOWN };
        let owned = PurchaseFilter { app_id: Some(app), user_id: Some(user), ..PurchaseFilter::default() };
        let about = EventFilter { app_id: Some(app), user_id: Some(user), ..EventFilter::default() };
        let query = Query(checked(Map::from_iter([("user_id".to_owned(), json!(user))]))?);
        let Json(transfers) = transfers::list(State(edge.clone()), caller.clone(), query).await?;
        Ok(Self {
            app: edge.store.app(app).await?,
            detail,
            purchases: edge.store.purchases(owned, page()).await?.items,
            events: edge.store.events(about, page()).await?.items,
            transfers: transfers.items,
            destinations: edge.store.destinations(app, page()).await?.items,
        })
    }
}

/// `GET /ui/customers/{app_id}/{user_id}`
async fn show(
    State(edge): State<Shared>,
    (visit, caller): (Visit, Caller),
    Ids(app, user): Ids<AppId, UserId>,
) -> Result<Response, Error> {
    page(&edge, (&visit, &caller), ((app, user), (&Sent::default(), &Refused::default()))).await
}

/// What was sent in the form of the page, and why that changed nothing.
type Tried<'a> = (&'a Sent, &'a Refused);

async fn page(
    edge: &Shared,
    (visit, caller): (&Visit, &Caller),
    ((app, user), tried): ((AppId, UserId), Tried<'_>),
) -> Result<Response, Error> {
    let portrait = Portrait::of(edge, caller, (app, user)).await?;
    let answers = answers(edge, visit, &portrait).await?;
    let place = Place {
        screen: SCREEN.path,
        title: "Customer".to_owned(),
        api: format!("/v1/apps/{app}/customers/{user}"),
        command: format!("settle customer show --app {app} --user-id {user}"),
        is_answer: tried.0.get(super::form::TOKEN).is_some(),
    };
    let frame = Frame::of(edge, visit, place).await?;
    let page = CustomerPage::new((&frame, visit), &portrait, answers).with(tried);
    shown(visit, &page, &portrait.detail)
}

/// Why a destination did not get events of a type about the customer, if that is wanted.
async fn answers(edge: &Edge, visit: &Visit, portrait: &Portrait) -> Result<Option<Answers>, Error> {
    let Some(wanted) = visit.query("destination_id") else { return Ok(None) };
    let found = portrait.destinations.iter().find(|one| one.id.to_string() == wanted);
    let Some(destination) = found else { return Ok(None) };
    let event_type = visit.query("type").unwrap_or_default();
    why::answers(edge, portrait, (destination, &event_type)).await.map(Some)
}
