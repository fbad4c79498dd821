//! The list of deliveries to one destination. This module is pure.

use super::SCREEN;
use super::head::{DELIVERIES, Head, RESEND, Stands};
use crate::cell::{Cell, CellPart};
use crate::lists::{Column, Filter, FilterKind, List, ListHead};
use crate::parts::{Code, Moment, Sentence};
use crate::text::delivery_status;
use crate::visit::Visit;
use storage::{DeliveryStatus, DeliveryView, Destination};

pub const FILTERS: &[Filter<DeliveryView>] =
    &[Filter::new("status", "Status", FilterKind::Shown(status))];

const COLUMNS: &[Column<DeliveryView>] = &[
    Column::head("Event", |one, visit| {
        CellPart::link(
            visit.to(&format!("/ui/deliveries/{}", one.id)),
            one.event_type.as_str(),
        )
        .into()
    }),
    Column::new("Status", |one, _| delivery_status(one.status).into()),
    Column::new("Id", |one, _| Code::short(one.id).into()),
    Column::number("Attempts", |one, _| one.attempts.into()),
    Column::new("Last error", |one, _| match &one.last_error {
        Some(error) => Cell::below(Sentence::new(error)),
        None => Cell::none(),
    }),
    Column::new("When", |one, visit| {
        // A time in the past is not shown: the attempt is running, or the destination is being probed instead.
        let next = one
            .next_due_at
            .filter(|due| one.status == DeliveryStatus::Pending && *due > visit.now);
        let next = next.map(|due| vec!["next".into(), Moment::until(due).into()]);
        Cell::from(one.finished_at.unwrap_or(one.created_at)).under(next.unwrap_or_default())
    }),
];

/// Returns the displayed name of a status.
fn status(status: &str) -> String {
    let known = serde_json::from_value(status.into()).map(delivery_status);
    known.map_or_else(|_| status.to_owned(), |badge| badge.label().to_owned())
}

/// Returns the list of deliveries to a destination.
pub fn deliveries(visit: &Visit, destination: &Destination, stands: Stands) -> List<DeliveryView> {
    let head = Head::new(visit, destination, stands, DELIVERIES);
    List {
        screen: SCREEN.path,
        title: format!("Deliveries to {}", destination.name),
        path: format!("/ui/destinations/{}{DELIVERIES}", destination.id),
        api: "/v1/deliveries",
        command: "settle delivery list",
        nouns: ["delivery", "deliveries"],
        order: "newest first",
        live: "deliveries",
        fixed: Some(("destination_id", destination.id.to_string())),
        ids: &["id", "event_id", "collapse_key", "destination_id"],
        filters: FILTERS,
        columns: COLUMNS,
        nothing: (
            "No deliveries yet. The destination receives the subscribed events recorded from now on.",
            Some((head.page(RESEND, visit), "send it earlier events")),
        ),
        head: ListHead::Destination(Box::new(head)),
    }
}
