//! Purchases: the list, one purchase with its whole story, and the actions on it. The actions are those of the API,
//! with a reason that the page requires.

mod life;
mod view;

use super::Screen;
use super::action::Mistakes;
use super::events::resend;
use super::form::Sent;
use super::frame::{Frame, PageAddress, shown};
use super::requeued::run;
use super::text::quoted;
use super::visit::Visit;
use crate::edge::{Edge, Shared};
use crate::error::Error;
use crate::extract::{Body, Fields, Id, Query, drafted, typed};
use crate::keys::{Acting, Caller};
use crate::resources::explain::story as explained;
use crate::resources::purchases::{discard, flush, hold, release};
use crate::resources::query::Listed;
use crate::route::Route;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use domain::time::HOUR;
use domain::{CollapseKey, PlatformId};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::time::Duration;
use storage::{Page, PurchaseFilter, Role};
pub use view::PlatformChoice;
use view::{Detail, DetailPage, ListPage};

/// Number of purchases on a page.
const SHOWN: i64 = 50;
/// Maximum number of apps whose platforms are in the filter, while none is chosen.
const APPS: i64 = 20;
/// Maximum number of platforms of an app in the filter.
const PLATFORMS: i64 = 100;

pub const SCREEN: Screen = Screen { name: "Purchases", path: "/ui/purchases", icon: "purchases", key: 'p', routes };

fn routes() -> Vec<Route> {
    vec![
        Route::page(Role::Read, "GET", "/ui/purchases", list).summary("Purchases, the last settled first."),
        Route::page(Role::Read, "GET", "/ui/purchases/{collapse_key}", show).summary("One purchase with its story."),
        Route::page(Role::Support, "POST", "/ui/purchases/{collapse_key}/flush", post_flush)
            .twin("POST /v1/purchases/{collapse_key}/flush")
            .summary("Settles now."),
        Route::page(Role::Support, "POST", "/ui/purchases/{collapse_key}/hold", post_hold)
            .twin("POST /v1/purchases/{collapse_key}/hold")
            .summary("Stops settling for a while."),
        Route::page(Role::Support, "POST", "/ui/purchases/{collapse_key}/release", post_release)
            .twin("POST /v1/purchases/{collapse_key}/release")
            .summary("Ends a hold."),
        Route::page(Role::Operator, "POST", "/ui/purchases/{collapse_key}/discard", post_discard)
            .twin("POST /v1/purchases/{collapse_key}/discard")
            .summary("Ends what waits without recording it."),
        Route::page(Role::Support, "POST", "/ui/purchases/{collapse_key}/resend", post_resend)
            .twin("POST /v1/resends")
            .summary("Sends the newest state and what failed again."),
    ]
}

/// `GET /ui/purchases`
async fn list(state: State<Shared>, visit: Visit, caller: Caller) -> Result<Response, Error> {
    let State(edge) = &state;
    let chosen = Chosen::of(&visit);
    let Query(Listed { mut filter, .. }) = chosen.checked::<Listed<PurchaseFilter>>()?;
    filter.app_id = caller.app(edge, visit.app).await?;
    let platforms = platforms(edge, filter.app_id, filter.platform_id).await?;
    let found = edge.store.purchases(filter, Page { cursor: visit.query("cursor"), limit: SHOWN }).await?;
    let place = PageAddress {
        screen: SCREEN.path,
        title: "Purchases".to_owned(),
        api: chosen.address("/v1/purchases"),
        command: chosen.command(),
        ..PageAddress::default()
    };
    let frame = Frame::of(edge, &visit, place).await?;
    shown(&visit, &ListPage::new(&frame, &visit, &found, &chosen, platforms), &found)
}

/// The filters that a person chose, as they stand in the address.
pub struct Chosen(Vec<(&'static str, String)>);

impl Chosen {
    /// The names of the filters, which are those of the API.
    pub const NAMES: [&'static str; 4] = ["platform_id", "state", "held", "failing"];

    fn of(visit: &Visit) -> Self {
        Self(Self::NAMES.into_iter().filter_map(|name| Some((name, visit.query(name)?))).collect())
    }

    /// What is chosen of this filter; empty for nothing.
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value)
    }

    pub fn address(&self, path: &str) -> String {
        let pairs: Vec<_> =
            self.0.iter().map(|(name, value)| format!("{name}={}", super::text::escaped(value))).collect();
        if pairs.is_empty() { path.to_owned() } else { format!("{path}?{}", pairs.join("&")) }
    }

    /// The command that lists the same.
    pub fn command(&self) -> String {
        let option = |(name, value): &(&'static str, String)| match (*name, value.as_str()) {
            ("held" | "failing", "true") => Some(format!("--{name}")),
            ("held" | "failing", _) => None,
            _ => Some(format!("--{} {}", name.trim_end_matches("_id"), quoted(value))),
        };
        let options = self.0.iter().filter_map(option);
        std::iter::once("settle purchase list".to_owned()).chain(options).collect::<Vec<_>>().join(" ")
    }

    /// The filters, checked as the API checks them.
    fn checked<T: Fields>(&self) -> Result<Query<T>, Error> {
        let typed = |(name, value): &(&str, String)| ((*name).to_owned(), typed::<T>(name, value.clone()));
        drafted::<T>(self.0.iter().map(typed).collect())?.finish().map(Query)
    }
}

/// The platforms of an app, or of all, for the filter of a list.
///
/// # Errors
/// 503 when the database does not answer.
pub async fn platforms(
    edge: &Edge,
    app: Option<domain::AppId>,
    current: Option<PlatformId>,
) -> Result<Vec<PlatformChoice>, Error> {
    let apps = match app {
        Some(app) => vec![edge.store.app(app).await?],
        None => edge.store.apps(Page { cursor: None, limit: APPS }).await?.items,
    };
    let mut choices = Vec::new();
    for app in apps {
        for platform in edge.store.platforms(app.id, Page { cursor: None, limit: PLATFORMS }).await?.items {
            choices.push(PlatformChoice {
                is_current: current == Some(platform.id),
                id: platform.id,
                name: format!("{} · {}", app.name, platform.settings.name),
            });
        }
    }
    Ok(choices)
}

/// `GET /ui/purchases/{collapse_key}`
async fn show(state: State<Shared>, visit: Visit, Id(key): Id<CollapseKey>) -> Result<Response, Error> {
    let mistakes = Mistakes::default();
    page(&state, &visit, key, mistakes).await
}

async fn page(
    State(edge): &State<Shared>,
    visit: &Visit,
    key: CollapseKey,
    mistakes: Mistakes,
) -> Result<Response, Error> {
    let facts = edge.store.explain_purchase(key).await?;
    let tree = explained::purchase(key, &facts);
    let platform = match &facts.purchase {
        Some(view) => Some(view.platform_id),
        None => facts.notifications.first().map(|one| one.view.platform_id),
    };
    let platform = match platform {
        Some(id) => edge.store.platform(id).await.ok(),
        None => None,
    };
    let place = PageAddress {
        screen: SCREEN.path,
        title: format!("Purchase {}", key.to_string().get(..8).unwrap_or_default()),
        api: format!("/v1/explain/purchases/{key}"),
        command: format!("settle explain purchase {key}"),
        is_answer: !mistakes.action.is_empty(),
    };
    let temporal = edge.pages.temporal_ui().map(|ui| {
        let query = format!("WorkflowId=\"{}\"", workflows::contract::workflow_id(key));
        format!("{ui}/workflows?query={}", super::text::escaped(&query))
    });
    let frame = Frame::of(edge, visit, place).await?;
    let run = run((edge.random)());
    let detail = Detail { key, facts: &facts, tree: &tree, platform: platform.as_ref(), temporal, run };
    shown(visit, &DetailPage::new(&frame, visit, detail, mistakes), &tree)
}

/// The fields of every action.
#[derive(Debug, Deserialize, JsonSchema)]
struct Reasoned {
    /// Why. The audit entry shows it.
    #[schemars(length(min = 1, max = 1000))]
    reason: String,
    /// For a hold: how long, in hours.
    #[schemars(range(min = 1, max = 720))]
    hours: Option<i64>,
}

impl Reasoned {
    /// The body of the call of the API that does the same.
    fn body(&self, edge: &Edge) -> Map<String, Value> {
        let until = self.hours.map(|hours| {
            let hours = u32::try_from(hours).unwrap_or(1);
            (edge.clock)().plus(HOUR.saturating_mul(hours).max(Duration::from_secs(1)))
        });
        let all = [("reason", Some(json!(self.reason))), ("until", until.map(|until| json!(until)))];
        all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }
}

/// What an action of the page is about.
struct ActionForm {
    state: State<Shared>,
    visit: Visit,
    key: CollapseKey,
    sent: Sent,
}

/// The parts of a request that each action takes.
type Parts = (State<Shared>, Visit, Sent);

impl ActionForm {
    fn new((state, visit, sent): Parts, key: CollapseKey) -> Self {
        Self { state, visit, key, sent }
    }

    /// The body of the call of the API.
    fn body<T: Fields>(&self) -> Result<Body<T>, Error> {
        let State(edge) = &self.state;
        Ok(Body(drafted(self.sent.checked::<Reasoned>()?.body(edge))?.finish()?))
    }

    /// Back at the purchase, which says what was taken, or why nothing was; the reason stays in its form.
    async fn answer<T>(self, action: &'static str, result: Result<T, Error>) -> Result<Response, Error> {
        let Self { state, visit, key, sent } = self;
        match result {
            Ok(_) => Ok(Redirect::to(&visit.to(&format!("/ui/purchases/{key}?done={action}"))).into_response()),
            Err(error) => {
                let (status, mistakes) = Mistakes::of(action, sent, error)?;
                Ok((status, page(&state, &visit, key, mistakes).await?).into_response())
            }
        }
    }
}

async fn post_flush(edge: Acting, parts: Parts, Id(key): Id<CollapseKey>) -> Result<Response, Error> {
    let wanted = ActionForm::new(parts, key);
    let result = match wanted.body() {
        Ok(body) => flush(edge, Id(key), body).await.map(drop),
        Err(error) => Err(error),
    };
    wanted.answer("flush", result).await
}

async fn post_hold(edge: Acting, parts: Parts, Id(key): Id<CollapseKey>) -> Result<Response, Error> {
    let wanted = ActionForm::new(parts, key);
    let result = match wanted.sent.checked::<Reasoned>().and_then(|reasoned| drafted(reasoned.body(&edge))) {
        Ok(draft) => hold(edge, Id(key), draft).await.map(drop),
        Err(error) => Err(error),
    };
    wanted.answer("hold", result).await
}

async fn post_release(edge: Acting, parts: Parts, Id(key): Id<CollapseKey>) -> Result<Response, Error> {
    let wanted = ActionForm::new(parts, key);
    let result = match wanted.body() {
        Ok(body) => release(edge, Id(key), body).await.map(drop),
        Err(error) => Err(error),
    };
    wanted.answer("release", result).await
}

async fn post_discard(edge: Acting, parts: Parts, Id(key): Id<CollapseKey>) -> Result<Response, Error> {
    let wanted = ActionForm::new(parts, key);
    let result = match wanted.body() {
        Ok(body) => discard(edge, Id(key), body).await.map(drop),
        Err(error) => Err(error),
    };
    wanted.answer("discard", result).await
}

async fn post_resend(edge: Acting, caller: Caller, parts: Parts, Id(key): Id<CollapseKey>) -> Result<Response, Error> {
    let wanted = ActionForm::new(parts, key);
    let selection = [("collapse_key", json!(key)), ("failed", json!(true)), ("now", json!(true))];
    let selection = selection.map(|(name, value)| (name.to_owned(), value)).into_iter().collect();
    match resend(edge, caller, &wanted.sent, selection, wanted.sent.get("destination_id")).await {
        Ok(requeued) => {
            let path = format!("/ui/purchases/{key}?pending={}", requeued.text());
            Ok(Redirect::to(&wanted.visit.to(&path)).into_response())
        }
        Err(error) => wanted.answer::<()>("resend", Err(error)).await,
    }
}

#[cfg(test)]
mod tests {
    use super::Chosen;

    #[test]
    fn the_command_lists_what_the_page_lists() {
        for (chosen, command) in [
            (vec![], "settle purchase list"),
            (
                vec![("platform_id", "p1"), ("state", "active"), ("held", "true"), ("failing", "true")],
                "settle purchase list --platform p1 --state active --held --failing",
            ),
            (vec![("held", "false")], "settle purchase list"),
        ] {
            let chosen = chosen.into_iter().map(|(name, value)| (name, value.to_owned()));
            assert_eq!(Chosen(chosen.collect()).command(), command);
        }
    }
}
