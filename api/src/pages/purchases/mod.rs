//! Purchases: the list, one purchase with its timeline, and the actions on it. The actions are those of the API, with a
//! reason that the dashboard requires.

mod life;
pub mod list;
mod view;

use super::Screen;
use super::act::{act, upper};
use super::change::Mistakes;
use super::form::Sent;
use super::frame::{Frame, PageAddress, shown};
use super::lists;
use super::requeued::{address, resent_page, run};
use super::visit::Visit;
use api::edge::Shared;
use api::error::Error;
use api::extract::Id;
use api::keys::Caller;
use api::resources::explain::Explained;
use api::resources::purchases::{self as resources, ReadPurchase, discard, flush, hold, release};
use api::resources::resends;
use api::route::Route;
use axum::extract::State;
use axum::response::Response;
use domain::CollapseKey;
use domain::time::HOUR;
use serde_json::{Map, Value, json};
use storage::Role;
use view::{Detail, DetailPage};

pub const SCREEN: Screen = Screen {
    name: "Purchases",
    path: "/ui/purchases",
    icon: "purchases",
    key: 'p',
    routes,
};

fn routes() -> Vec<Route> {
    vec![
        Route::page(Role::Read, "GET", "/ui/purchases", list)
            .summary("Purchases, the last settled first."),
        Route::page(Role::Read, "GET", "/ui/purchases/{collapse_key}", show)
            .summary("One purchase with its story."),
        Route::page(
            Role::Support,
            "POST",
            "/ui/purchases/{collapse_key}/flush",
            act(flush, show),
        )
        .twin("POST /v1/purchases/{collapse_key}/flush")
        .summary("Settles now."),
        Route::page(
            Role::Support,
            "POST",
            "/ui/purchases/{collapse_key}/hold",
            act(hold, show).body(set_end),
        )
        .twin("POST /v1/purchases/{collapse_key}/hold")
        .summary("Stops settling for a while."),
        Route::page(
            Role::Support,
            "POST",
            "/ui/purchases/{collapse_key}/release",
            act(release, show),
        )
        .twin("POST /v1/purchases/{collapse_key}/release")
        .summary("Ends a hold."),
        Route::page(
            Role::Operator,
            "POST",
            "/ui/purchases/{collapse_key}/discard",
            act(discard, show),
        )
        .twin("POST /v1/purchases/{collapse_key}/discard")
        .summary("Ends what waits without recording it."),
        Route::page(
            Role::Support,
            "POST",
            "/ui/purchases/{collapse_key}/resend",
            act(resends::create, show).body(select).then(resent_page),
        )
        .twin("POST /v1/resends")
        .summary("Sends the latest state and what failed again."),
    ]
}

/// `GET /ui/purchases`
async fn list(state: State<Shared>, visit: Visit, caller: Caller) -> Result<Response, Error> {
    lists::show(
        list::purchases(&visit),
        state,
        visit,
        caller,
        resources::list,
    )
    .await
}

/// `GET /ui/purchases/{collapse_key}`
async fn show(
    State(edge): State<Shared>,
    visit: Visit,
    Id(key): Id<CollapseKey>,
    mistakes: Mistakes,
) -> Result<Response, Error> {
    let ReadPurchase {
        explained: Explained { facts, tree },
        standing,
        payments,
        platform,
    } = ReadPurchase::of(&edge, key).await?;
    let place = PageAddress {
        screen: SCREEN.path,
        title: format!("Purchase {}", key.to_string().get(..8).unwrap_or_default()),
        api: format!("/v1/explain/purchases/{key}"),
        command: format!("settle explain purchase {key}"),
        is_answer: mistakes.is_answer(),
    };
    let temporal = edge.pages.temporal_ui().map(|ui| {
        let query = format!("WorkflowId=\"{}\"", workflows::contract::workflow_id(key));
        format!("{ui}/workflows?query={}", super::text::escaped(&query))
    });
    let frame = Frame::of(&edge, &visit, place).await?;
    let run = run((edge.random)());
    let (platform, payments) = (platform.as_ref(), payments.as_slice());
    let detail = Detail {
        key,
        facts: &facts,
        tree: &tree,
        standing,
        payments,
        platform,
        temporal,
        run,
    };
    shown(
        &visit,
        &DetailPage::new(&frame, &visit, detail, mistakes),
        &tree,
    )
}

/// Sets the end of a hold from the selected duration in hours. Without one, the API's default applies.
fn set_end(
    edge: &Shared,
    _: &Visit,
    sent: &Sent,
    body: &mut Map<String, Value>,
) -> Result<(), Error> {
    body.remove("hours");
    let Some(hours) = sent.get("hours") else {
        return Ok(());
    };
    let hours = hours.parse().ok().filter(|hours| (1..=720).contains(hours));
    let hours: u32 =
        hours.ok_or_else(|| Error::invalid("hours", "a whole number from 1 to 720"))?;
    body.insert(
        "until".to_owned(),
        json!((edge.clock)().plus(HOUR.saturating_mul(hours))),
    );
    Ok(())
}

/// Selects the latest state of the purchase, and its failed events.
fn select(
    _: &Shared,
    visit: &Visit,
    sent: &Sent,
    body: &mut Map<String, Value>,
) -> Result<(), Error> {
    let key = upper(visit.uri.path(), 1).rsplit('/').next();
    let selected = [
        ("collapse_key", json!(key)),
        ("failed", json!(true)),
        ("now", json!(true)),
    ];
    body.extend(selected.map(|(name, value)| (name.to_owned(), value)));
    address(sent, body)
}
