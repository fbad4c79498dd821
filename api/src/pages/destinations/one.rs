//! The pages of one destination: its state, its deliveries and its settings.

use super::detail::{SettingsPage, ViewedDestination};
use super::head::Stands;
use super::standing::{ActionResult, Detail, OverviewPage, Rate, hour};
use super::{SCREEN, known, list};
use crate::change::Mistakes;
use crate::chart::Chart;
use crate::described::{Entered, groups};
use crate::frame::{Frame, PageAddress, shown};
use crate::lists;
use crate::notice::Notice;
use crate::visit::Visit;
use api::edge::Shared;
use api::error::Error;
use api::extract::{Id, Query, Stored, checked};
use api::keys::Caller;
use api::resources::destinations;
use api::resources::explain::{self, Explained};
use api::resources::forms::of_change;
use api::resources::{deliveries, series};
use api::route::Route;
use axum::extract::State;
use axum::response::Response;
use domain::DestinationId;
use serde_json::json;
use storage::{Destination, Role, Series};

/// The time spans of the rates: name, length in minutes, and interval between points in seconds.
const SPANS: [(&str, i64, i64); 3] = [
    ("Last hour", 60, 60),
    ("Last day", 24 * 60, 3600),
    ("Last 7 days", 7 * 24 * 60, 24 * 3600),
];

pub fn routes() -> Vec<Route> {
    vec![
        Route::page(Role::Read, "GET", "/ui/destinations/{destination_id}", show)
            .summary("How a destination stands."),
        Route::page(
            Role::Read,
            "GET",
            "/ui/destinations/{destination_id}/deliveries",
            sent,
        )
        .summary("What was sent to a destination, newest first."),
        Route::page(
            Role::Read,
            "GET",
            "/ui/destinations/{destination_id}/settings",
            settings,
        )
        .summary("The settings of a destination, without secrets."),
    ]
}

/// `GET /ui/destinations/{destination_id}`
pub async fn show(
    state: State<Shared>,
    visit: Visit,
    Id(id): Id<DestinationId>,
    mistakes: Mistakes,
) -> Result<Response, Error> {
    overview(
        &state,
        &visit,
        id,
        ActionResult {
            mistakes,
            tested: None,
        },
    )
    .await
}

/// Returns the overview of a destination, including a deleted one.
///
/// # Errors
/// Fails if there is no such destination, or if the database does not respond.
pub async fn overview(
    state: &State<Shared>,
    visit: &Visit,
    id: DestinationId,
    answer: ActionResult,
) -> Result<Response, Error> {
    let State(edge) = state;
    let Explained {
        facts: explanation,
        tree,
    } = explain::of_destination(edge, id).await?;
    let (rates, charts) = rates(state, visit, id).await?;
    let place = PageAddress {
        screen: SCREEN.path,
        title: explanation.addressee.destination.name.clone(),
        api: format!("/v1/explain/destinations/{id}"),
        command: format!("settle explain destination {id}"),
        is_answer: answer.mistakes.is_answer() || answer.tested.is_some(),
    };
    let tested = answer
        .tested
        .as_ref()
        .map(|tested| Notice::tested(tested.ok, &tested.detail));
    let frame = Frame::of(edge, visit, place).await?.announcing(tested);
    let detail = Detail {
        explanation: &explanation,
        tree: &tree,
        rates,
        charts,
    };
    shown(
        visit,
        &OverviewPage::new(&frame, visit, detail, answer),
        &tree,
    )
}

/// Returns the numbers of delivered and failed requests and the response times in each span, and the charts of the
/// first span.
async fn rates(
    state: &State<Shared>,
    visit: &Visit,
    id: DestinationId,
) -> Result<(Vec<Rate>, Option<[Chart; 2]>), Error> {
    let (mut rates, mut charts) = (Vec::new(), None);
    for (label, minutes, step) in SPANS {
        let from = visit.now.plus_millis(-minutes * 60_000);
        let mut points = Vec::new();
        for what in [Series::Delivered, Series::Failed, Series::Latency] {
            let query = [
                ("what", json!(what)),
                ("destination_id", json!(id)),
                ("from", json!(from)),
                ("until", json!(visit.now)),
                ("step", json!(step)),
            ];
            let query = checked(
                query
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value))
                    .collect(),
            )?;
            points.push(
                series::list(state.clone(), visit.caller(), Query(query))
                    .await?
                    .0,
            );
        }
        charts = charts.or_else(|| hour(&points));
        rates.push(Rate::new(label, &points));
    }
    Ok((rates, charts))
}

/// `GET /ui/destinations/{destination_id}/deliveries`
async fn sent(
    state: State<Shared>,
    visit: Visit,
    caller: Caller,
    Stored(destination): Stored<Destination>,
) -> Result<Response, Error> {
    let stands = Stands::read(&state, destination.id).await?;
    lists::show(
        list::deliveries(&visit, &destination, stands),
        state,
        visit,
        caller,
        deliveries::list,
    )
    .await
}

/// `GET /ui/destinations/{destination_id}/settings`
pub async fn settings(
    state: State<Shared>,
    visit: Visit,
    stored: Stored<Destination>,
    mistakes: Mistakes,
) -> Result<Response, Error> {
    let State(edge) = &state;
    let destination = stored.0.clone();
    let shown_settings = serde_json::to_value(&destinations::show(state.clone(), stored).await?.0);
    let shown_settings = shown_settings.map_err(|_| Error::Internal)?;
    let form = of_change(&destination.kind).ok_or(Error::Internal)?;
    let entered = if mistakes.is_of("settings") {
        Entered::Sent(&mistakes.sent, &mistakes.refused.fields)
    } else {
        Entered::Stored(&shown_settings)
    };
    let groups = groups(
        &form,
        entered,
        &known(edge, destination.app_id, form.name, true).await?,
    );
    let place = PageAddress {
        screen: SCREEN.path,
        title: format!("Settings of {}", destination.name),
        api: format!("/v1/destinations/{}", destination.id),
        command: format!("settle destination show {}", destination.id),
        is_answer: mistakes.is_answer(),
    };
    let frame = Frame::of(edge, &visit, place).await?;
    let number = |name: &str| shown_settings["health"][name].as_i64().unwrap_or(0);
    let may_rotate = frame.may(Role::Operator);
    let version = if may_rotate {
        destinations::secret_version(edge, destination.id).await?
    } else {
        String::new()
    };
    let stands = Stands::read(edge, destination.id).await?;
    let pending = number("pending") + number("waiting");
    let subject = ViewedDestination {
        destination: &destination,
        stands,
        pending,
        version,
        now: visit.now,
    };
    let page = SettingsPage::new(&frame, &visit, &subject, groups, form, mistakes);
    shown(&visit, &page, &shown_settings)
}
