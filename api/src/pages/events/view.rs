//! The view of an event. This module is pure.

use super::list::subject;
use crate::action::{Action, Input, Mistake, labelled};
use crate::cell::{CellPart, Fact};
use crate::change::Mistakes;
use crate::changed::Changed;
use crate::customers;
use crate::frame::Frame;
use crate::parts::{Code, Moment, Sentence};
use crate::requeued::{Requeued, UNSENT, is_resent_alone};
use crate::story::{Cause, Event, causes, event};
use crate::text::with_query;
use crate::visit::Visit;
use api::resources::explain::node::Node;
use askama::Template;
use domain::event::{PURCHASE_UPDATED, summary};
use domain::{EventId, Timestamp, UserId};
use serde_json::Value;
use storage::{Destination, Platform, Role};

/// Data of an event's page.
pub struct Detail<'a> {
    pub id: EventId,
    pub tree: &'a Node,
    /// Body of the event; null after pruning.
    pub body: &'a Value,
    pub is_of_device: bool,
    pub destinations: &'a [Destination],
    /// The platform of the event's purchase or device.
    pub platform: Option<&'a Platform>,
    /// The hidden field that names the run with which the event is resent.
    pub run: Input,
}

#[derive(Template)]
#[template(path = "events/detail.html")]
pub struct EventPage<'a> {
    frame: &'a Frame,
    name: String,
    id: Code,
    summary: &'static str,
    about: Option<(&'static str, String)>,
    facts: Vec<Fact>,
    event: Event,
    changes: Vec<Changed>,
    because: Option<Sentence>,
    causes: Vec<Cause>,
    body: Option<String>,
    actions: Vec<Action>,
    requeued: Option<Requeued>,
    mistakes: Vec<Mistake>,
    detail: Option<String>,
}

impl<'a> EventPage<'a> {
    pub fn new(frame: &'a Frame, visit: &Visit, detail: &Detail<'_>, mistakes: Mistakes) -> Self {
        let tree = detail.tree;
        let (event, changes) = event(tree, visit);
        let (because, causes) = causes(tree, visit);
        let about = text(tree, "collapse_key").map(|key| {
            let (about, path) = subject(&event.name, key);
            let mark = with_query(&path, &[("mark", &detail.id.to_string())]);
            (about, visit.to(&mark))
        });
        let actions = actions(frame, detail, &mistakes);
        Self {
            frame,
            id: Code::short(detail.id),
            summary: summary(&event.name),
            name: event.name.clone(),
            about,
            facts: facts(detail, visit),
            event,
            changes,
            because,
            causes,
            body: (!detail.body.is_null())
                .then(|| serde_json::to_string_pretty(detail.body).unwrap_or_default()),
            mistakes: labelled(&actions, mistakes.refused.fields),
            actions,
            requeued: Requeued::of(visit),
            detail: mistakes.refused.detail,
        }
    }
}

fn actions(frame: &Frame, detail: &Detail<'_>, mistakes: &Mistakes) -> Vec<Action> {
    if detail.is_of_device || !frame.may(Role::Support) {
        return Vec::new();
    }
    let destinations = detail
        .destinations
        .iter()
        .map(|one| (one.id.to_string(), one.name.clone()));
    let event_type = text(detail.tree, "type").unwrap_or_default();
    let what = match event_type {
        PURCHASE_UPDATED => {
            "Sends the latest state of the purchase, to one destination or to all subscribed ones."
        }
        _ => "Sends this event to one destination or to all subscribed ones.",
    };
    let is_unsent = is_resent_alone(event_type) && detail.tree.then.iter().any(is_left_out);
    let what = if is_unsent {
        format!("{what} {UNSENT}")
    } else {
        what.to_owned()
    };
    let path = format!("/ui/events/{}/resend", detail.id);
    let action = Action::new(path, "resend", "Resend", &what, mistakes);
    vec![
        action
            .with(Input::destinations(destinations))
            .with(detail.run.clone()),
    ]
}

/// Returns whether a node is about a destination whose settings exclude the event.
fn is_left_out(node: &Node) -> bool {
    let fact = |name| text(node, name).unwrap_or_default();
    match node.what {
        "delivery" => fact("status") == "skipped",
        "not_sent" => {
            let why = fact("why");
            why.starts_with("filtered_by_") || ["type_not_chosen", "chosen_later"].contains(&why)
        }
        _ => false,
    }
}

fn facts(Detail { tree, platform, .. }: &Detail<'_>, visit: &Visit) -> Vec<Fact> {
    let code = |name: &str| text(tree, name).map(Code::short);
    let moment = |label, name: &str| {
        let at = text(tree, name).and_then(|at| at.parse::<Timestamp>().ok());
        at.map(|at| Fact::new(label, Moment::at(at)))
    };
    let customer = platform.and_then(|one| {
        let user: UserId = text(tree, "user_id")?.parse().ok()?;
        Some(visit.to(&customers::path(one.app_id, user)))
    });
    let revision = tree.facts.get("revision").and_then(Value::as_i64);
    let place = |one: &&Platform| {
        format!(
            "{} ({})",
            one.settings.name,
            one.settings.environment.as_str()
        )
    };
    let all = [
        moment("Recorded", "created_at"),
        moment("Happened", "occurred_at"),
        revision.map(|revision| Fact::new("Purchase revision", revision)),
        code("user_id").map(|id| Fact::new("Customer", CellPart::linked(customer, id))),
        code("device_id").map(|id| Fact::new("Device", id)),
        platform
            .as_ref()
            .map(|one| Fact::new("Platform", place(one))),
    ];
    all.into_iter().flatten().collect()
}

fn text<'n>(node: &'n Node, name: &str) -> Option<&'n str> {
    node.facts.get(name).and_then(Value::as_str)
}
