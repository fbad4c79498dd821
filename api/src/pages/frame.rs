//! The frame of every page: the navigation, the search, the visitor, and links to the same data as JSON and as a
//! command.

use super::direction::readable;
use super::notice::Notice;
use super::parts::{Badge, Icon, Tone};
use super::visit::Visit;
use super::{SEEN_BY, assets};
use api::edge::Edge;
use api::error::Error;
use api::resources::apps;
use api::shell::quoted;
use askama::Template;
use axum::http::header;
use axum::response::{Html, IntoResponse, Response};
use serde::Serialize;
use storage::{App, Page, Role};

/// Maximum number of apps in the switcher.
const MAX_APPS: i64 = 200;

/// The static files of a page, for templates.
#[derive(Debug, Clone, Copy)]
pub struct Files {
    pub style: &'static str,
    pub scripts: [&'static str; 3],
    pub icons: &'static str,
}

impl Files {
    pub fn all() -> Self {
        Self {
            style: assets::path("settle.css"),
            scripts: ["htmx.min.js", "hx-sse.min.js", "settle.js"].map(assets::path),
            icons: assets::path("icons.svg"),
        }
    }
}

/// The address of a page, with the API call and the command for the same data.
#[derive(Debug, Clone, Default)]
pub struct PageAddress {
    /// The path of the page's screen; empty if it has none.
    pub screen: &'static str,
    pub title: String,
    /// The API path with the same data; `POST /path {"a": 1}` if it is not a GET without a body.
    pub api: String,
    /// The command that shows the same data.
    pub command: String,
    /// Whether the page is the response to a form, so that no address leads to it.
    pub is_answer: bool,
}

#[derive(Debug)]
pub struct Entry {
    pub name: &'static str,
    /// Address of the screen, which preserves the selected app.
    pub path: String,
    pub icon: Icon,
    /// The key that opens the screen, after `g`.
    pub key: char,
    /// Whether this page belongs to the screen.
    pub is_current: bool,
}

#[derive(Debug)]
pub struct Choice {
    pub id: String,
    pub name: String,
    /// Whether the app is selected.
    pub is_current: bool,
}

pub struct Frame {
    pub files: Files,
    pub place: PageAddress,
    pub entries: Vec<Entry>,
    /// The apps, if there is a choice.
    pub apps: Vec<Choice>,
    /// Whether there are more apps than those listed.
    pub has_more_apps: bool,
    /// The command that sends the request for the same data to the API.
    pub request: String,
    pub engine: Badge,
    pub name: String,
    pub role: Role,
    /// Result of the previous form.
    pub notice: Option<Notice>,
    pub token: String,
    /// The path of this page, for the app switcher.
    pub path: String,
    pub json: String,
    pub app: Option<String>,
    /// The selected theme; empty for the system's theme.
    pub theme: &'static str,
    /// Marks of the latest changes that the page shows.
    pub marks: String,
}

impl Frame {
    /// Returns the frame of a page.
    ///
    /// # Errors
    /// 503 if the database does not respond.
    pub async fn of(edge: &Edge, visit: &Visit, place: PageAddress) -> Result<Self, Error> {
        let (apps, has_more_apps) = switcher(edge, visit).await?;
        let apps = apps.into_iter().map(|app| Choice {
            is_current: visit.app == Some(app.id),
            id: app.id.to_string(),
            name: app.name,
        });
        let is_connected = edge.dispatch.engine().is_connected();
        let engine = if is_connected {
            Badge::new(Tone::Good, "Temporal connected")
        } else {
            Badge::new(Tone::Bad, "Temporal not connected")
        };
        let query = visit
            .uri
            .query()
            .map_or_else(String::new, |query| format!("{query}&"));
        Ok(Self {
            files: Files::all(),
            entries: entries(visit, place.screen),
            apps: apps.collect(),
            has_more_apps,
            request: request(&visit.origin, &place.api),
            engine,
            name: visit.sign_in.name.clone(),
            role: visit.sign_in.role,
            notice: Notice::of(visit),
            token: visit.token.clone(),
            // The address of a page that responds to a form shows nothing when it is opened.
            path: if place.is_answer {
                or_home(place.screen)
            } else {
                visit.uri.path()
            }
            .to_owned(),
            json: if place.is_answer {
                String::new()
            } else {
                format!("{}?{query}as=json", visit.uri.path())
            },
            place,
            app: visit.app.map(|app| app.to_string()),
            theme: visit.theme.unwrap_or_default(),
            marks: visit.marks.clone(),
        })
    }

    /// Adds a notice for this page only.
    #[must_use]
    pub fn announcing(self, notice: Option<Notice>) -> Self {
        Self {
            notice: notice.or(self.notice),
            ..self
        }
    }

    /// Returns whether the visitor's role includes this one.
    pub fn may(&self, role: Role) -> bool {
        self.role >= role
    }
}

/// Returns the apps of the switcher, and whether there are more. A session of one app has only that one; any other has
/// the oldest apps and the selected one.
async fn switcher(edge: &Edge, visit: &Visit) -> Result<(Vec<App>, bool), Error> {
    let one = async |id| match apps::one(edge, id).await {
        Err(Error::Missing(_)) => Ok(None),
        found => found.map(Some),
    };
    if let Some(own) = visit.sign_in.app_id {
        return Ok((one(own).await?.into_iter().collect(), false));
    }
    let page = Page {
        cursor: None,
        limit: MAX_APPS,
    };
    let found = apps::reached(edge, None, page).await?;
    let (mut apps, has_more) = (found.items, found.next_cursor.is_some());
    if let Some(chosen) = visit
        .app
        .filter(|chosen| has_more && apps.iter().all(|app| app.id != *chosen))
    {
        apps.extend(one(chosen).await?);
    }
    Ok((apps, has_more))
}

/// Returns the command that sends a request to the API at `origin`; without an origin, at `$SETTLE_URL`.
fn request(origin: &str, api: &str) -> String {
    let (method, rest) = match api.split_once(' ') {
        Some((method, rest)) => (format!("-X {method} "), rest),
        None => (String::new(), api),
    };
    let (path, body) = rest.split_once(' ').unwrap_or((rest, ""));
    let body = match body {
        "" => String::new(),
        body => format!(" -H 'Content-Type: application/json' -d {}", quoted(body)),
    };
    let marks = [
        ('\'', "%27"),
        ('"', "%22"),
        ('$', "%24"),
        ('`', "%60"),
        ('\\', "%5C"),
    ];
    let path = marks.iter().fold(path.to_owned(), |path, (mark, escaped)| {
        path.replace(*mark, escaped)
    });
    // A shell expands variables only between double quotes.
    let address = match origin {
        "" => format!("\"$SETTLE_URL{path}\""),
        origin => format!("'{origin}{path}'"),
    };
    format!("curl {method}-H \"Authorization: Bearer $SETTLE_ADMIN_TOKEN\" {address}{body}")
}

fn or_home(screen: &'static str) -> &'static str {
    if screen.is_empty() { "/ui/" } else { screen }
}

fn entries(visit: &Visit, current: &str) -> Vec<Entry> {
    let entry = |screen: &super::Screen| Entry {
        name: screen.name,
        path: visit.to(screen.path),
        icon: Icon::new(screen.icon),
        key: screen.key,
        is_current: screen.path == current,
    };
    let seen = SEEN_BY
        .iter()
        .filter(|(_, least)| visit.sign_in.role >= *least);
    seen.map(|(screen, _)| entry(screen)).collect()
}

/// Returns a page, or its data as JSON if the visit requests that.
///
/// # Errors
/// Fails if the page cannot be rendered.
pub fn shown(
    visit: &Visit,
    page: &impl Template,
    data: &impl Serialize,
) -> Result<Response, Error> {
    if visit.is_json {
        json(data)
    } else {
        html(page)
    }
}

/// Returns the data of a page as JSON.
///
/// # Errors
/// Fails if the data cannot be serialized.
pub fn json(data: &impl Serialize) -> Result<Response, Error> {
    let text = serde_json::to_string_pretty(data).map_err(|_| Error::Internal)?;
    Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response())
}

/// Returns a page as HTML.
///
/// # Errors
/// Fails if the page cannot be rendered.
pub fn html(page: &impl Template) -> Result<Response, Error> {
    page.render()
        .map(|text| Html(readable(text)).into_response())
        .map_err(|error| {
            tracing::error!(%error, "a page could not be rendered");
            Error::Internal
        })
}

#[cfg(test)]
mod tests {
    use super::request;

    #[test]
    fn a_request_of_the_api_is_a_command_that_runs() {
        let head = "-H \"Authorization: Bearer $SETTLE_ADMIN_TOKEN\"";
        for (origin, api, command) in [
            (
                "",
                "/v1/apps",
                format!("curl {head} \"$SETTLE_URL/v1/apps\""),
            ),
            (
                "https://a.example",
                "/v1/apps?a=b&c=d",
                format!("curl {head} 'https://a.example/v1/apps?a=b&c=d'"),
            ),
            (
                "https://a.example",
                "POST /v1/search {\"q\":\"it's\"}",
                format!(
                    "curl -X POST {head} 'https://a.example/v1/search' -H 'Content-Type: application/json' \
                     -d '{{\"q\":\"it'\\''s\"}}'"
                ),
            ),
        ] {
            assert_eq!(request(origin, api), command);
        }
    }
}
