//! The list of events: its filters and columns. This module is pure.

use super::SCREEN;
use crate::cell::{Cell, CellPart};
use crate::customers;
use crate::lists::{Column, Filter, FilterKind, List, ListHead};
use crate::parts::{Code, Moment};
use crate::visit::Visit;
use domain::event::{choices, group, is_for_operators, recorded_types};
use serde_json::Value;
use storage::EventView;

/// The group of events about destinations: their `collapse_key` is the destination's id.
const ABOUT_DESTINATIONS: &str = "destination";
/// The group of events about alarms, which share one page.
const ABOUT_ALARMS: &str = "alarm";
/// The group of device events, which have their own list.
const OF_DEVICES: &str = "device";

pub const FILTERS: &[Filter<EventView>] = &[
    Filter::new("type", "Type", FilterKind::Of(type_choices)),
    Filter::new("platform_id", "Platform", FilterKind::Drawn),
    Filter::new("environment", "Environment", FilterKind::Drawn),
    Filter::new("from", "From (UTC)", FilterKind::Drawn),
    Filter::new("until", "Until (UTC)", FilterKind::Drawn),
    Filter::new(
        "user_id",
        "customer",
        FilterKind::Address(|one| Some(customers::path(one.app_id?, one.user_id?))),
    ),
    Filter::new("collapse_key", "purchase", FilterKind::Address(purchase)),
];

const COLUMNS: &[Column<EventView>] = &[
    Column::head("Event", |one, visit| {
        CellPart::link(
            visit.to(&format!("/ui/events/{}", one.id)),
            one.event_type.as_str(),
        )
        .into()
    }),
    Column::new("About", |one, visit| {
        let (about, path) = subject(&one.event_type, &one.collapse_key.to_string());
        let name = ["/data/product_ref_id", "/destination/name", "/alarm/about"].iter();
        let name = name
            .filter_map(|place| one.body.pointer(place)?.as_str())
            .next()
            .unwrap_or(about);
        let about = CellPart::link(visit.to(&path), name);
        let page = one
            .app_id
            .zip(one.user_id)
            .map(|(app, user)| visit.to(&customers::path(app, user)));
        let id = customer(&one.body)
            .map_or_else(|| "Customer".into(), |id| CellPart::from(Code::short(id)));
        Cell::from(about).under(
            page.map(|page| CellPart::link(page, id))
                .into_iter()
                .collect(),
        )
    }),
    Column::new("State afterwards", |one, _| state(&one.body)),
    Column::new("Environment", |one, _| {
        Cell::or(one.environment.map(|environment| environment.as_str()), "–")
    }),
    Column::new("Recorded", |one, _| one.created_at.into()),
];

/// Returns the list of events.
pub fn events(visit: &Visit) -> List<EventView> {
    List {
        screen: SCREEN.path,
        title: "Events".to_owned(),
        path: SCREEN.path.to_owned(),
        api: "/v1/events",
        command: "settle event list",
        nouns: ["event", "events"],
        order: "newest first",
        live: "events",
        fixed: None,
        ids: &["id", "collapse_key", "app_id", "user_id"],
        filters: FILTERS,
        columns: COLUMNS,
        head: ListHead::Title,
        nothing: (
            "No events yet. Events announce what changed about a purchase. The first ones follow the first \
             notification, after its window ends.",
            Some((visit.to("/ui/connect"), "see which stores are connected")),
        ),
    }
}

/// Returns the page of an event's purchase; `None` if the event is for operators.
fn purchase(one: &EventView) -> Option<String> {
    (!is_for_operators(&one.event_type)).then(|| format!("/ui/purchases/{}", one.collapse_key))
}

/// Returns the kind of an event's subject, and the path of its page.
pub fn subject(event_type: &str, key: &str) -> (&'static str, String) {
    match group(event_type) {
        ABOUT_DESTINATIONS => ("Destination", format!("/ui/destinations/{key}")),
        ABOUT_ALARMS => ("Alarm", "/ui/alarms".to_owned()),
        _ => ("Purchase", format!("/ui/purchases/{key}")),
    }
}

/// Returns the state of a purchase, customer or destination after an event.
fn state(body: &Value) -> Cell {
    let data = &body["data"];
    let price = data["purchase_price"]
        .as_str()
        .zip(data["purchase_currency"].as_str());
    let price = price.map(|(price, currency)| CellPart::from(format!("{price} {currency}")));
    let until = |at: &Value| at.as_str().and_then(|at| at.parse().ok()).map(Moment::at);
    let cell = match (
        data["is_active"].as_bool(),
        body["active_entitlements"].as_array(),
    ) {
        (Some(false), _) => Cell::from("not active"),
        (Some(true), _) => match until(&data["expires_at"]) {
            Some(until) => Cell::from("active until").and(Some(until)),
            None => "active".into(),
        },
        (None, Some(all)) if all.is_empty() => "no access".into(),
        (None, Some(all)) => {
            let names: Vec<&str> = all.iter().filter_map(|one| one["name"].as_str()).collect();
            format!("has {}", names.join(", ")).into()
        }
        (None, None) => Cell::or(
            body["state"]
                .as_str()
                .or(body.pointer("/alarm/detail").and_then(Value::as_str)),
            "–",
        ),
    };
    cell.under(price.into_iter().collect())
}

/// Returns the customer's external id from the body of an event.
fn customer(body: &Value) -> Option<&str> {
    let of_user = body
        .get("external_ids")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let own = of_user
        .filter(|id| id["key"] == "external_id")
        .find_map(|id| id["value"].as_str());
    body.pointer("/data/last_seen_external_id")
        .and_then(Value::as_str)
        .or(own)
}

/// Returns the wildcards and event types of the filter, without those of device events.
fn type_choices() -> Vec<String> {
    let wildcards = choices()
        .into_iter()
        .filter(|name| name.ends_with(".*") && group(name) != OF_DEVICES);
    wildcards
        .chain(recorded_types())
        .map(str::to_owned)
        .collect()
}
