//! The pages of one platform's connection steps.

use super::changes_view::DeletePage;
use super::listed::Connecting;
use super::progress::{ConnectStep, Facts};
use super::sample_view::SamplePage;
use super::view::{ConsolePage, DestinationsPage, Duties, FirstPage, GuideStep, Head, TopicsPage};
use super::{SCREEN, of_app};
use crate::change::{Mistakes, texts};
use crate::form::Sent;
use crate::frame::{Frame, PageAddress, html, json, shown};
use crate::once::ShownOnce;
use crate::visit::Visit;
use api::edge::{Edge, Shared};
use api::error::Error;
use api::extract::{Query, Stored, checked};
use api::keys::Caller;
use api::resources::forms::{of_destinations, of_stores};
use api::resources::{
    apps, connections, destinations as api_destinations, duties, explain, platforms, setup,
};
use api::shell::quoted;
use axum::extract::State;
use axum::response::Response;
use domain::CollapseKey;
use serde_json::{Map, Value};
use storage::{App, Page, Paged, Platform, ShownDestination};

/// Maximum number of an app's destinations that are shown.
const DESTINATIONS: i64 = 50;

/// Maximum number of a platform's open duties that are shown.
const DUTIES: i64 = 20;

/// The parts of a request that each page needs.
pub type At = (State<Shared>, Visit, Caller);

/// A platform whose page is shown.
pub struct Connected {
    pub app: App,
    pub platform: Platform,
    /// The oldest destinations of its app.
    pub destinations: Paged<ShownDestination>,
    pub facts: Facts,
}

impl Connected {
    /// Reads the stored data about a platform.
    ///
    /// # Errors
    /// 503 if the database does not respond.
    pub async fn of(edge: &Edge, platform: Platform) -> Result<Self, Error> {
        let app = apps::one(edge, platform.app_id).await?;
        let page = Page {
            cursor: None,
            limit: DESTINATIONS,
        };
        let destinations = api_destinations::of_app(edge, app.id, page).await?;
        let mut found = connections::of_platforms(edge, vec![platform]).await?;
        let found = found.pop().ok_or(Error::Internal)?;
        let Connecting { platform, facts } = found.into();
        Ok(Self {
            app,
            platform,
            destinations,
            facts,
        })
    }

    /// Returns the head of a step's page.
    pub fn head(&self, visit: &Visit, step: ConnectStep) -> Head {
        Head::new(visit, &self.app, &self.platform, &self.facts, step)
    }

    /// Returns the address of a step's page, with the API call and the command for the same data.
    pub fn place(&self, step: ConnectStep, api: &str, command: &str) -> PageAddress {
        let id = self.platform.id;
        PageAddress {
            screen: SCREEN.path,
            title: format!("{} · {}", step.title(), self.platform.settings.name),
            api: format!("/v1/platforms/{id}{api}"),
            command: format!("settle platform {command} {id}"),
            ..PageAddress::default()
        }
    }

    /// Returns the path of one of this platform's pages.
    pub fn path(&self, visit: &Visit, rest: &str) -> String {
        of_app(
            visit,
            self.app.id,
            &format!("/ui/connect/platforms/{}{rest}", self.platform.id),
        )
    }
}

/// Returns the platform as the API shows it to the caller.
///
/// # Errors
/// 503 if the database does not respond.
pub async fn as_api((edge, _, caller): &At, platform: &Platform) -> Result<Value, Error> {
    let stored = Stored(platform.clone());
    let found = platforms::show(edge.clone(), caller.clone(), stored)
        .await?
        .0;
    serde_json::to_value(found).map_err(|_| Error::Internal)
}

/// `GET /ui/connect/platforms/{platform_id}`
pub async fn console(
    at: At,
    Stored(platform): Stored<Platform>,
    mistakes: Mistakes,
    once: ShownOnce,
) -> Result<Response, Error> {
    let (State(edge), visit, _) = &at;
    let value = as_api(&at, &platform).await?;
    let of = Connected::of(edge, platform).await?;
    let form = of_stores(&edge.known)
        .into_iter()
        .find(|form| form.name == of.platform.store);
    let setup = setup::of_platform(edge, &of.platform).await?;
    let guide = GuideStep::all(form, &setup, &value);
    let page = Page {
        cursor: None,
        limit: DUTIES,
    };
    let open = duties::of_platform(edge, of.platform.id, page).await?;
    let open = Duties::new(visit, &of, &open, (edge.clock)());
    let place = PageAddress {
        is_answer: mistakes.is_answer() || once.is_answer(),
        ..of.place(ConnectStep::Console, "", "show")
    };
    let frame = Frame::of(edge, visit, place).await?;
    let page = ConsolePage::new(&frame, visit, &of, guide, &value, &mistakes)
        .with(&edge.public_url, &once)
        .with_duties(open);
    shown(visit, &page, &value)
}

/// `GET /ui/connect/platforms/{platform_id}/topics`
pub async fn topics(
    at: At,
    Stored(platform): Stored<Platform>,
    mistakes: Mistakes,
) -> Result<Response, Error> {
    let (State(edge), visit, _) = &at;
    let of = Connected::of(edge, platform).await?;
    let place = PageAddress {
        is_answer: mistakes.is_answer(),
        ..of.place(ConnectStep::Topic, "/topics", "topics")
    };
    let frame = Frame::of(edge, visit, place).await?;
    let topics = edge.topics(&of.platform.store);
    let account = |arn: &str| topics.and_then(|topics| topics.account(arn));
    let page = TopicsPage::new(&frame, visit, &of, &account, &mistakes);
    shown(
        visit,
        &page,
        &Paged {
            items: of.facts.progress.topics.clone(),
            next_cursor: None,
        },
    )
}

/// `GET /ui/connect/platforms/{platform_id}/sample`
pub async fn sample(
    at: At,
    Stored(platform): Stored<Platform>,
    mistakes: Mistakes,
) -> Result<Response, Error> {
    let (State(edge), visit, _) = &at;
    if visit.is_json {
        return json(&as_api(&at, &platform).await?);
    }
    let of = Connected::of(edge, platform).await?;
    let place = PageAddress {
        is_answer: mistakes.is_answer(),
        ..place_of_sample(&of, &mistakes.sent)
    };
    let frame = Frame::of(edge, visit, place).await?;
    let sent = visit
        .query("sent")
        .and_then(|key| key.parse::<CollapseKey>().ok());
    let why = edge.samples(&of.platform).err().map(|why| why.to_string());
    html(
        &SamplePage::new(&frame, visit, &of, edge.sample_types(&of.platform), why)
            .with(sent, &mistakes),
    )
}

/// Returns the address of the sample page, with the command and the request for the sample as entered.
fn place_of_sample(of: &Connected, sent: &Sent) -> PageAddress {
    let mut command = format!("settle sample --platform {}", of.platform.id);
    for (field, option) in [
        ("type", "--type"),
        ("receipt_id", "--receipt"),
        ("app_user_id", "--user"),
    ] {
        command.extend(
            sent.get(field)
                .map(|value| format!(" {option} {}", quoted(value))),
        );
    }
    let body = texts(sent, &["type", "receipt_id", "app_user_id"]);
    let api = format!(
        "POST /v1/platforms/{}/sample {}",
        of.platform.id,
        Value::Object(body)
    );
    PageAddress {
        command,
        api,
        ..of.place(ConnectStep::Sample, "", "")
    }
}

/// `GET /ui/connect/platforms/{platform_id}/destinations`
pub async fn destinations(
    (State(edge), visit, _): At,
    Stored(platform): Stored<Platform>,
) -> Result<Response, Error> {
    let of = Connected::of(&edge, platform).await?;
    if visit.is_json {
        let first = Query(checked(Map::new())?);
        return json(
            &api_destinations::list(State(edge), Stored(of.app), first)
                .await?
                .0,
        );
    }
    let place = PageAddress {
        api: format!("/v1/apps/{}/destinations", of.app.id),
        command: format!("settle destination list --app {}", of.app.id),
        ..of.place(ConnectStep::Destination, "", "")
    };
    let frame = Frame::of(&edge, &visit, place).await?;
    html(&DestinationsPage::new(
        &frame,
        &visit,
        &of,
        &of_destinations(),
    ))
}

/// `GET /ui/connect/platforms/{platform_id}/first`
pub async fn first(
    (State(edge), visit, _): At,
    Stored(platform): Stored<Platform>,
) -> Result<Response, Error> {
    let of = Connected::of(&edge, platform).await?;
    let newest = connections::newest(&edge, of.platform.id).await?;
    let (api, command) = match &newest {
        Some((key, _)) => (
            format!("/v1/explain/purchases/{key}"),
            format!("settle explain purchase {key}"),
        ),
        None => (
            format!("/v1/notifications?platform_id={}", of.platform.id),
            format!("settle notification list --platform {}", of.platform.id),
        ),
    };
    let place = PageAddress {
        api,
        command,
        ..of.place(ConnectStep::First, "", "")
    };
    let frame = Frame::of(&edge, &visit, place).await?;
    let page = FirstPage::new(&frame, &visit, &of, newest.as_ref());
    match &newest {
        Some((key, facts)) => shown(&visit, &page, &explain::story::purchase(*key, facts)),
        None => shown(
            &visit,
            &page,
            &Paged::<Value> {
                items: Vec::new(),
                next_cursor: None,
            },
        ),
    }
}

/// `GET /ui/connect/platforms/{platform_id}/delete`
pub async fn deletion(
    at: At,
    Stored(platform): Stored<Platform>,
    mistakes: Mistakes,
) -> Result<Response, Error> {
    let (State(edge), visit, _) = &at;
    let of = Connected::of(edge, platform).await?;
    let place = PageAddress {
        title: format!("Delete {}", of.platform.settings.name),
        is_answer: true,
        ..of.place(ConnectStep::Platform, "", "delete")
    };
    let frame = Frame::of(edge, visit, place).await?;
    html(&DeletePage::new(&frame, visit, &of, &mistakes))
}
