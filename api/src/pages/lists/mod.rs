//! A list of the API as a page. Its filters are derived from the query of its route, its rows from a table of columns.
//! Paging, errors in filters, and links to the same list as JSON, CSV, request and command work the same for all lists.

mod csv;
mod filter;
mod table;
#[cfg(test)]
mod tests;
mod view;

pub use filter::{Filter, FilterKind};
pub use table::{Column, Table};

use super::frame::{Frame, PageAddress, shown};
use super::text::with_query;
use super::visit::Visit;
use api::edge::Shared;
use api::error::Error;
use api::extract::{Fields, Query, checked, typed};
use api::flags;
use api::keys::Caller;
use api::shell::quoted;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use filter::{Entered, kind, property};
use serde::Serialize;
use serde_json::{Value, json};
use storage::Paged;
pub use view::ListHead;
use view::ListPage;

/// Number of items on a page.
const SHOWN: i64 = 50;

/// A list of items of type `T`.
pub struct List<T: 'static> {
    /// The path of the screen that the list belongs to.
    pub screen: &'static str,
    pub title: String,
    pub path: String,
    /// The path of the list's API route.
    pub api: &'static str,
    pub command: &'static str,
    /// Name of an item, singular and plural.
    pub nouns: [&'static str; 2],
    /// The order of the items, such as `the newest first`.
    pub order: &'static str,
    /// The kinds of changes after which the page offers to reload.
    pub live: &'static str,
    /// A query field that the visitor cannot set.
    pub fixed: Option<(&'static str, String)>,
    /// The ids of an item in the CSV file, by their API names.
    pub ids: &'static [&'static str],
    pub filters: &'static [Filter<T>],
    pub columns: &'static [Column<T>],
    /// Content above the list.
    pub head: ListHead,
    /// The sentence about an empty list, and a page to continue with.
    pub nothing: (&'static str, Option<(String, &'static str)>),
}

/// Shows a list from its API route.
///
/// # Errors
/// Those of the route, except for an invalid filter, which the page shows.
pub async fn show<Q: Fields, T: Serialize, F: Future<Output = Result<Json<Paged<T>>, Error>>>(
    list: List<T>,
    state: State<Shared>,
    visit: Visit,
    caller: Caller,
    read: impl Fn(State<Shared>, Caller, Query<Q>) -> F,
) -> Result<Response, Error> {
    let entered = Entered::of(list.filters, &visit);
    // A list about one resource needs no app: the resource belongs to one.
    let app = visit
        .app
        .filter(|_| list.fixed.is_none())
        .map(|app| ("app_id", app.to_string()));
    let sent: Vec<(&str, String)> = list
        .fixed
        .clone()
        .into_iter()
        .chain(app)
        .chain(entered.sent::<Q>())
        .collect();
    let found = |cursor: Option<String>, limit: i64| {
        let query = query(&sent, cursor, limit)
            .map(|query| read(state.clone(), caller.clone(), Query(query)));
        async { query?.await.map(|Json(found)| found) }
    };
    if visit.query("as").as_deref() == Some("csv") {
        return csv::file(&list, &visit, found).await;
    }
    let (found, wrong) = match found(visit.query("cursor"), SHOWN).await {
        Err(Error::Invalid(wrong)) if !visit.is_json => (
            Paged {
                items: Vec::new(),
                next_cursor: None,
            },
            wrong,
        ),
        found => (found?, Vec::new()),
    };
    let fields: Vec<(&str, &str)> = sent
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let place = PageAddress {
        screen: list.screen,
        title: list.title.clone(),
        api: with_query(list.api, &fields),
        // An invalid value may be anything, so it must not appear in a command that is copied into a shell.
        command: command::<Q>(list.command, if wrong.is_empty() { &fields } else { &[] }),
        ..PageAddress::default()
    };
    let frame = Frame::of(&state, &visit, place).await?;
    let form = entered.form::<Q>(&state, &visit, &found, wrong).await?;
    let status = if form.wrong.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::BAD_REQUEST
    };
    let page = ListPage::new(&frame, &visit, &list, &found, form);
    Ok((status, shown(&visit, &page, &found)?).into_response())
}

/// Returns the API query for the entered values.
fn query<Q: Fields>(
    sent: &[(&str, String)],
    cursor: Option<String>,
    limit: i64,
) -> Result<Q, Error> {
    let cursor = cursor.map(|cursor| ("cursor", Value::from(cursor)));
    let typed = sent
        .iter()
        .map(|(name, value)| (*name, typed::<Q>(name, value.clone())));
    let fields = typed.chain(cursor).chain([("limit", json!(limit))]);
    checked(
        fields
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
    )
}

/// Returns the command that lists the same items.
fn command<Q: Fields>(command: &str, fields: &[(&str, &str)]) -> String {
    let option = |(name, value): &(&str, &str)| {
        let flag = flags::of(command, name);
        match *value {
            "true" if kind(property::<Q>(name)) == "box" => format!(" --{flag}"),
            value => format!(" --{flag} {}", quoted(value)),
        }
    };
    std::iter::once(command.to_owned())
        .chain(fields.iter().map(option))
        .collect()
}
