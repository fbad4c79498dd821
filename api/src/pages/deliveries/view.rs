//! The view of a delivery. This module is pure.

use crate::action::{Action, Input};
use crate::change::Mistakes;
use crate::frame::Frame;
use crate::parts::{Badge, Code, Moment};
use crate::requeued::{UNSENT, is_resent_alone};
use crate::story::{Sending, sending};
use crate::text::delivery_status;
use crate::visit::Visit;
use api::resources::deliveries::SentRequest;
use api::resources::explain::node::Node;
use askama::Template;
use domain::Timestamp;
use domain::event::PURCHASE_UPDATED;
use serde_json::Value;
use storage::{DeliveryStatus, DeliveryView, Role};

/// Data of a delivery's page.
pub struct Detail<'a> {
    pub delivery: &'a DeliveryView,
    /// Time of the next attempt, if it is in the future.
    pub next_due_at: Option<Timestamp>,
    pub tree: &'a Node,
    /// Request of the delivery, if the visitor may see it.
    pub request: Option<&'a SentRequest>,
    /// The hidden field that names the run with which the event is resent.
    pub run: Input,
}

#[derive(Template)]
#[template(path = "deliveries/page.html")]
pub struct DeliveryPage<'a> {
    frame: &'a Frame,
    name: String,
    event: String,
    to: String,
    id: Code,
    status: Badge,
    sending: Option<Sending>,
    moments: Vec<(&'static str, Moment)>,
    revision: i64,
    request: Option<&'a SentRequest>,
    actions: Vec<Action>,
}

impl<'a> DeliveryPage<'a> {
    pub fn new(frame: &'a Frame, visit: &Visit, detail: &Detail<'a>) -> Self {
        let Detail {
            delivery,
            next_due_at,
            tree,
            request,
            run,
        } = detail;
        let id = delivery.id.to_string();
        let is_it = |node: &&Node| {
            node.what == "delivery"
                && node.facts.get("id").and_then(Value::as_str) == Some(id.as_str())
        };
        let moments = [
            ("Recorded", Some(delivery.created_at)),
            ("First request", delivery.first_tried_at),
            ("Next attempt", *next_due_at),
            ("Ended", delivery.finished_at),
        ];
        let event_type = delivery.event_type.as_str();
        let what = match event_type {
            PURCHASE_UPDATED => {
                "Sends the latest state of the purchase to this destination, with a new id."
            }
            _ => "Sends this event to this destination, with a new id.",
        };
        let is_unsent = delivery.status == DeliveryStatus::Skipped && is_resent_alone(event_type);
        let what = if is_unsent {
            format!("{what} {UNSENT}")
        } else {
            what.to_owned()
        };
        let path = format!("/ui/events/{}/resend", delivery.event_id);
        let to = Input::text("destination_id", "")
            .of("hidden")
            .value(&delivery.destination_id.to_string());
        let resend = Action::new(path, "resend", "Resend", &what, &Mistakes::default())
            .with(to)
            .with(run.clone());
        Self {
            frame,
            name: delivery.event_type.clone(),
            event: visit.to(&format!("/ui/events/{}", delivery.event_id)),
            to: visit.to(&format!("/ui/destinations/{}", delivery.destination_id)),
            id: Code::short(&id),
            status: delivery_status(delivery.status),
            sending: tree
                .then
                .iter()
                .find(is_it)
                .and_then(|node| sending(node, visit)),
            moments: moments
                .into_iter()
                .filter_map(|(label, at)| Some((label, Moment::at(at?))))
                .collect(),
            revision: delivery.revision,
            request: *request,
            actions: if frame.may(Role::Support) {
                vec![resend]
            } else {
                Vec::new()
            },
        }
    }
}
