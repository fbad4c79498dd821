//! The view of a list. This module is pure.

use super::List;
use super::filter::FilterForm;
use super::table::Table;
use crate::destinations::Head;
use crate::frame::Frame;
use crate::parts::Tabs;
use crate::text::with_query;
use crate::visit::Visit;
use askama::Template;
use storage::Paged;

/// Content above a list.
pub enum ListHead {
    Title,
    /// Title of the list, with tabs for related lists.
    Tabs(Tabs),
    /// The head of every page of a destination.
    Destination(Box<Head>),
}

#[derive(Template)]
#[template(path = "lists/page.html")]
pub struct ListPage<'a> {
    frame: &'a Frame,
    path: String,
    head: &'a ListHead,
    nouns: [&'static str; 2],
    live: &'static str,
    form: FilterForm,
    table: Option<Table>,
    nothing: &'a (&'static str, Option<(String, &'static str)>),
    is_filtered: bool,
    /// Whether a selected choice applies immediately, because the form has no text inputs.
    is_at_once: bool,
    is_first: bool,
    older: Option<String>,
    /// Notes about the results of the filters.
    notes: Vec<&'static str>,
    first: String,
    all: String,
    csv: String,
}

impl<'a> ListPage<'a> {
    /// Returns the page with these items.
    pub fn new<T>(
        frame: &'a Frame,
        visit: &Visit,
        list: &'a List<T>,
        found: &Paged<T>,
        form: FilterForm,
    ) -> Self {
        let chosen: Vec<(&str, String)> = list
            .filters
            .iter()
            .filter_map(|one| Some((one.name, visit.query(one.name)?)))
            .collect();
        let to = |more: (&'static str, &str)| {
            let chosen = chosen.iter().map(|(name, value)| (*name, value.as_str()));
            visit.to(&with_query(
                &list.path,
                &chosen.chain([more]).collect::<Vec<_>>(),
            ))
        };
        let caption = format!("{}, {}", list.title, list.order);
        let table = Table::of(&caption, list.columns, &found.items, visit);
        Self {
            frame,
            path: list.path.clone(),
            head: &list.head,
            nouns: list.nouns,
            live: list.live,
            is_at_once: form
                .inputs
                .iter()
                .all(|input| matches!(input.kind, "select" | "box")),
            form,
            table: (!found.items.is_empty()).then_some(table),
            nothing: &list.nothing,
            is_filtered: !chosen.is_empty(),
            is_first: visit.query("cursor").is_none(),
            older: found
                .next_cursor
                .as_ref()
                .map(|cursor| to(("cursor", cursor))),
            notes: list.filters.iter().filter_map(|one| one.note).collect(),
            first: to(("cursor", "")),
            all: visit.to(&list.path),
            csv: to(("as", "csv")),
        }
    }
}
