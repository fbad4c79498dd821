//! Customers: found by any of their ids, with what they may use, what they bought and paid, in words that can be
//! repeated to them; what they had on a day, and why a destination did not get an event. The search is a POST, so that
//! no address contains a customer's id, except settle's.

mod erasing;
mod forms;
pub mod list;
mod merge;
mod moved;
mod moving;
pub mod paid;
mod past;
mod view;
mod warnings;
mod why;

use super::Screen;
use super::form::{Form, Sent};
use super::frame::{Frame, PageAddress, shown};
use super::lists;
use super::notice::Notice;
use super::parts::Sentence;
use super::visit::Visit;
use crate::edge::{Edge, Shared};
use crate::error::Error;
use crate::extract::{Ids, Query, checked};
use crate::keys::Caller;
use crate::pages::change::{Mistakes, Refused};
use crate::resources::customer_detail::ReadCustomer;
use crate::resources::customers::Customer;
use crate::resources::payments as resource;
use crate::resources::search::{Search, meant};
use crate::resources::transfers;
use crate::route::Route;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use domain::{AppId, CollapseKey, UserId};
use serde_json::{Map, json};
use storage::{
    App, EventFilter, EventView, FailedDelivery, FoundKind, Page, Paged, PaymentSubject,
    PaymentView, PendingDeliveries, PurchaseView, Role,
};
use view::{CustomerPage, FoundCustomers, SearchPage};
use why::Answers;

/// Maximum number of events of a customer that are shown.
const SHOWN: i64 = 50;
/// Maximum number of purchases in transfers that are shown: those of the latest transfers.
const MOVED: usize = 50;
/// Maximum number of payments of purchases that moved away: the latest ones.
const MOVED_PAYMENTS: i64 = 200;

pub const SCREEN: Screen = Screen {
    name: "Customers",
    path: "/ui/customers",
    icon: "customers",
    key: 'u',
    routes,
};

fn routes() -> Vec<Route> {
    let read = vec![
        Route::page(Role::Read, "GET", "/ui/customers", form).summary("The search for a customer."),
        Route::page(Role::Read, "POST", "/ui/customers", find)
            .twin("POST /v1/search")
            .as_query()
            .summary("Finds a customer by an id."),
        Route::page(Role::Read, "GET", "/ui/customers/{app_id}/{user_id}", show)
            .summary("One customer, and why a destination did not get an event."),
        Route::page(Role::Read, "GET", "/ui/payments", payments)
            .summary("The payments of a customer or a purchase."),
    ];
    read.into_iter().chain(forms::routes()).collect()
}

pub fn path(app: AppId, user: UserId) -> String {
    format!("/ui/customers/{app}/{user}")
}

/// Address of the search page, with the searched text.
fn place(sent: Option<&Sent>) -> PageAddress {
    let q = sent.and_then(|sent| sent.get("q")).unwrap_or("ID");
    let app = sent.and_then(|sent| sent.get("app_id")?.parse().ok());
    PageAddress {
        screen: SCREEN.path,
        title: "Customers".to_owned(),
        api: format!("POST /v1/search {}", super::search::body(q, app)),
        command: super::search::command(q, app),
        is_answer: sent.is_some(),
    }
}

/// `GET /ui/customers`
async fn form(State(edge): State<Shared>, visit: Visit) -> Result<Response, Error> {
    let frame = Frame::of(&edge, &visit, place(None)).await?;
    shown(
        &visit,
        &SearchPage::new(&frame, String::new(), None),
        &json!({ "items": [] }),
    )
}

/// `POST /ui/customers`
async fn find(
    State(edge): State<Shared>,
    visit: Visit,
    caller: Caller,
    sent: Sent,
    wanted: Result<Form<Search>, Error>,
) -> Result<Response, Error> {
    let q = sent.get("q").unwrap_or_default().to_owned();
    let refused = match wanted {
        Ok(Form(wanted)) => {
            let found = found(&edge, &visit, &caller, wanted).await?;
            if let ([(app, one)], false) = (&found.all[..], found.is_beginning) {
                return Ok(Redirect::to(&visit.to(&path(app.id, one.user_id))).into_response());
            }
            let frame = Frame::of(&edge, &visit, place(Some(&sent))).await?;
            let items: Vec<&Customer> = found.all.iter().map(|(_, one)| one).collect();
            let data = json!({ "items": items });
            return shown(&visit, &SearchPage::new(&frame, q, Some(found)), &data);
        }
        Err(error) => Refused::of(error)?,
    };
    let frame = Frame::of(&edge, &visit, place(Some(&sent))).await?;
    let page = SearchPage::new(&frame, q, None).refused(refused);
    Ok((
        StatusCode::BAD_REQUEST,
        shown(&visit, &page, &json!({ "items": [] }))?,
    )
        .into_response())
}

/// The customers that an id names: by the stores' ids in the apps that the caller reaches, and by the search.
async fn found(
    edge: &Shared,
    visit: &Visit,
    caller: &Caller,
    wanted: Search,
) -> Result<FoundCustomers, Error> {
    let app = caller.app(edge, wanted.app_id).await?;
    let of_store = edge.store.customers_of_store_id(&wanted.q, app).await?;
    let mut hits = edge.store.search(&wanted.q, app).await?;
    let is_beginning = crate::resources::search::is_beginning(&hits) && of_store.is_empty();
    hits.retain(|hit| {
        hit.kind == FoundKind::Customer && (of_store.is_empty() || hit.found_by != "beginning")
    });
    let hits = hits
        .into_iter()
        .filter_map(|hit| Some((hit.app_id?, hit.id.parse().ok()?)));
    let mut users: Vec<(AppId, UserId)> = hits.collect();
    for one in of_store {
        if !users.contains(&(one.app_id, one.user_id)) {
            users.push((one.app_id, one.user_id));
        }
    }
    let mut all = Vec::new();
    for (app, user) in users {
        let found = async {
            Ok((
                edge.store.app(app).await?,
                edge.store.customer_of(app, user).await?.into(),
            ))
        };
        match found.await {
            // Its app was deleted, or it was erased in the meantime.
            Err(storage::Error::Missing { .. }) => {}
            found => all.push(found?),
        }
    }
    let meant = if all.is_empty() {
        meant(edge, &wanted.q, app).await?
    } else {
        None
    };
    Ok(FoundCustomers {
        all,
        is_beginning,
        meant: super::search::suggestion(edge, visit, meant, app).await?,
    })
}

/// What one customer is shown from.
pub struct Portrait {
    pub app: App,
    /// The customer, as the API shows one, and what that is read from.
    pub read: ReadCustomer,
    /// The pending deliveries of the customer's events about the purchases that were settled last, and those that moved.
    pub pending: Vec<PendingDeliveries>,
    /// The deliveries of such events that failed: of each type the newest.
    pub failed: Vec<FailedDelivery>,
    pub events: Paged<EventView>,
    /// The transfers, as the API shows them.
    pub transfers: Vec<transfers::Transfer>,
    /// The purchases that moved in them.
    pub moved: Vec<PurchaseView>,
    /// The payments of those that belong to another customer now, newest first.
    pub moved_payments: Vec<PaymentView>,
    /// Whether no payment of a purchase that moved away is left out.
    pub has_all_moved: bool,
}

impl Portrait {
    /// Reads what is stored of a customer.
    ///
    /// # Errors
    /// 404 when the app has no such customer.
    pub async fn of(
        edge: &Shared,
        caller: &Caller,
        app: AppId,
        user: UserId,
    ) -> Result<Self, Error> {
        let read = ReadCustomer::of(edge, app, user).await?;
        let about = EventFilter {
            app_id: Some(app),
            user_id: Some(user),
            ..EventFilter::default()
        };
        let query = Query(checked(Map::from_iter([(
            "user_id".to_owned(),
            json!(user),
        )]))?);
        let Json(transfers) = transfers::list(State(edge.clone()), caller.clone(), query).await?;
        let mut keys = moved::keys(&transfers.items);
        keys.truncate(MOVED);
        let moved = edge.store.purchases_of(keys).await?;
        let is_own = |key: &CollapseKey| {
            read.detail
                .purchases
                .iter()
                .any(|one| one.collapse_key == *key)
        };
        let (away, is_whole) = moved::away(&transfers.items, is_own, MOVED);
        let page = Page {
            cursor: None,
            limit: MOVED_PAYMENTS,
        };
        let moved_payments = edge
            .store
            .payments(Some(app), PaymentSubject::Purchases(away), page)
            .await?;
        let mut about_purchases: Vec<CollapseKey> = read
            .purchases
            .items
            .iter()
            .map(|one| one.collapse_key)
            .collect();
        about_purchases.extend(moved.iter().map(|one| one.collapse_key));
        about_purchases.sort_unstable();
        about_purchases.dedup();
        let failed = edge
            .store
            .newest_deliveries(about_purchases.clone())
            .await?;
        Ok(Self {
            app: edge.store.app(app).await?,
            pending: edge.store.pending_deliveries(user, about_purchases).await?,
            failed: edge.store.failed_deliveries(user, failed).await?,
            read,
            events: edge
                .store
                .events(
                    about,
                    Page {
                        cursor: None,
                        limit: SHOWN,
                    },
                )
                .await?,
            transfers: transfers.items,
            moved,
            has_all_moved: is_whole && moved_payments.next_cursor.is_none(),
            moved_payments: moved_payments.items,
        })
    }

    pub fn user(&self) -> UserId {
        self.read.detail.customer.user_id
    }
}

/// `GET /ui/payments`
async fn payments(state: State<Shared>, visit: Visit, caller: Caller) -> Result<Response, Error> {
    lists::show(list::payments(&visit), state, visit, caller, resource::list).await
}

/// `GET /ui/customers/{app_id}/{user_id}`
async fn show(
    State(edge): State<Shared>,
    visit: Visit,
    caller: Caller,
    of: Ids<AppId, UserId>,
    mistakes: Mistakes,
) -> Result<Response, Error> {
    show_user(&edge, &visit, &caller, of, mistakes).await
}

/// The page of a customer, with what was wrong in one of its forms.
async fn show_user(
    edge: &Shared,
    visit: &Visit,
    caller: &Caller,
    Ids(app, user): Ids<AppId, UserId>,
    mistakes: Mistakes,
) -> Result<Response, Error> {
    let portrait = Portrait::of(edge, caller, app, user).await?;
    let answers = answers(edge, visit, &portrait).await?;
    let past = past::of(edge, visit, &portrait).await?;
    let place = PageAddress {
        screen: SCREEN.path,
        title: "Customer".to_owned(),
        api: format!("/v1/apps/{app}/customers/{user}"),
        command: format!("settle customer show --app {app} --user-id {user}"),
        is_answer: mistakes.is_answer(),
    };
    let undone = || moved::undone(&portrait.transfers, visit.now).map(Notice::good);
    let undone = Notice::is_of(visit, "undone").then(undone).flatten();
    let late = ["move", "move-other-case", "undone"]
        .iter()
        .any(|done| Notice::is_of(visit, done));
    let late = forms::late(&portrait.read.destinations).filter(|_| late);
    let mut frame = Frame::of(edge, visit, place).await?.announcing(undone);
    frame.notice = frame.notice.map(|notice| Notice {
        detail: late.as_deref().map(Sentence::new),
        ..notice
    });
    let page = CustomerPage::new(&frame, visit, &portrait, answers)
        .seen(past)
        .with(visit, &portrait, &mistakes);
    shown(visit, &page, &portrait.read.detail)
}

/// Why a destination did not get events of a type about the customer, if that is wanted.
async fn answers(
    edge: &Edge,
    visit: &Visit,
    portrait: &Portrait,
) -> Result<Option<Answers>, Error> {
    let Some(wanted) = visit.query("destination_id") else {
        return Ok(None);
    };
    let found = portrait
        .read
        .destinations
        .iter()
        .find(|one| one.id.to_string() == wanted);
    let Some(destination) = found else {
        return Ok(None);
    };
    let event_type = visit.query("type").unwrap_or_default();
    why::answers(edge, portrait, destination, &event_type)
        .await
        .map(Some)
}
