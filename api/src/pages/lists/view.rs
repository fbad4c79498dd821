//! What the screen of a list shows. Pure.

use super::filter::FilterForm;
use super::{CellRole, List};
use crate::pages::cell::Cell;
use crate::pages::destinations::Head;
use crate::pages::frame::Frame;
use crate::pages::text::with_query;
use crate::pages::visit::Visit;
use askama::Template;
use storage::Paged;

/// What stands above a list.
pub enum ListHead {
    Title,
    /// Its title, and the lists beside it with what they are called together.
    Tabs(&'static str, Vec<Tab>),
    /// What stands above every page of a destination.
    Destination(Head),
}

/// A list beside this one, or this one.
pub struct Tab {
    pub label: &'static str,
    pub path: String,
    pub is_current: bool,
}

pub struct ColumnView {
    label: &'static str,
    is_number: bool,
}

pub struct CellView {
    label: &'static str,
    role: CellRole,
    cell: Cell,
}

#[derive(Template)]
#[template(path = "lists/page.html")]
pub struct ListPage<'a> {
    frame: &'a Frame,
    path: String,
    head: &'a ListHead,
    nouns: [&'static str; 2],
    order: &'static str,
    live: &'static str,
    form: FilterForm,
    columns: Vec<ColumnView>,
    rows: Vec<Vec<CellView>>,
    nothing: &'a (&'static str, Option<(String, &'static str)>),
    is_filtered: bool,
    /// Whether a choice is shown at once: then the form has nothing that is typed.
    is_at_once: bool,
    is_first: bool,
    older: Option<String>,
    first: String,
    all: String,
    csv: String,
}

impl<'a> ListPage<'a> {
    /// The page of these items.
    pub fn new<T>(frame: &'a Frame, visit: &Visit, list: &'a List<T>, found: &Paged<T>, form: FilterForm) -> Self {
        let chosen: Vec<(&str, String)> =
            list.filters.iter().filter_map(|one| Some((one.name, visit.query(one.name)?))).collect();
        let to = |more: (&'static str, &str)| {
            let chosen = chosen.iter().map(|(name, value)| (*name, value.as_str()));
            visit.to(&with_query(&list.path, &chosen.chain([more]).collect::<Vec<_>>()))
        };
        let row = |item: &T| {
            let cell = |column: &super::Column<T>| CellView {
                label: column.label,
                role: column.role,
                cell: (column.cell)(item, visit),
            };
            list.columns.iter().map(cell).collect()
        };
        let column = |one: &super::Column<T>| ColumnView { label: one.label, is_number: one.role == CellRole::Number };
        Self {
            frame,
            path: list.path.clone(),
            head: &list.head,
            nouns: list.nouns,
            order: list.order,
            live: list.live,
            is_at_once: form.inputs.iter().all(|input| matches!(input.kind, "select" | "box")),
            form,
            columns: list.columns.iter().map(column).collect(),
            rows: found.items.iter().map(row).collect(),
            nothing: &list.nothing,
            is_filtered: !chosen.is_empty(),
            is_first: visit.query("cursor").is_none(),
            older: found.next_cursor.as_ref().map(|cursor| to(("cursor", cursor))),
            first: to(("cursor", "")),
            all: visit.to(&list.path),
            csv: to(("as", "csv")),
        }
    }
}
