//! What the screens of events show. Pure.

use crate::error::Field;
use crate::pages::action::{Action, Input, Mistakes};
use crate::pages::customers;
use crate::pages::frame::Frame;
use crate::pages::parts::{Code, Moment, Sentence};
use crate::pages::purchases::PlatformChoice;
use crate::pages::requeued::Requeued;
use crate::pages::story::{Cause, Changed, Event, causes, event};
use crate::pages::text::{entered_instant, input_instant, with_query};
use crate::pages::visit::Visit;
use crate::resources::explain::node::Node;
use askama::Template;
use domain::event::{group, summary, types};
use domain::{EventId, Timestamp, UserId};
use serde_json::Value;
use storage::{Destination, EventView, Paged, Platform, Role};

/// The group of the events about destinations: their `collapse_key` is the id of the destination.
const ABOUT_DESTINATIONS: &str = "destination";

/// The filter of the list: what was entered in each field, and what is wrong with it.
pub struct Filter<'a> {
    /// The fields with what was entered; empty for nothing.
    pub entered: &'a [(&'static str, String)],
    pub wrong: &'a [Field],
}

impl Filter<'_> {
    /// What was entered in a field; empty for nothing.
    pub fn entered(&self, name: &str) -> &str {
        self.entered.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value)
    }

    /// What was entered in a field, as the API takes it.
    pub fn sent(&self, name: &str) -> String {
        let value = self.entered(name);
        if matches!(name, "from" | "until") { entered_instant(value) } else { value.to_owned() }
    }

    fn wrong(&self, name: &str) -> Option<String> {
        self.wrong.iter().find(|one| one.field == name).map(|one| one.expected.clone())
    }
}

pub struct EventListRow {
    path: String,
    name: String,
    summary: &'static str,
    id: Code,
    about: &'static str,
    about_path: String,
    customer_path: Option<String>,
    environment: &'static str,
    at: Moment,
}

pub struct Chosen {
    value: String,
    is_on: bool,
}

pub struct Instant {
    name: &'static str,
    label: &'static str,
    value: String,
    wrong: Option<String>,
}

/// A part of the filter that has no input: of what the events are, by its id in the address.
pub struct Narrow {
    name: &'static str,
    what: &'static str,
    value: String,
    id: Code,
    /// Its page, if that is known.
    path: Option<String>,
}

#[derive(Template)]
#[template(path = "events/list.html")]
pub struct ListPage<'a> {
    frame: &'a Frame,
    rows: Vec<EventListRow>,
    types: Vec<Chosen>,
    wrong_type: Option<String>,
    platforms: Vec<PlatformChoice>,
    environments: Vec<Chosen>,
    instants: [Instant; 2],
    narrow: Vec<Narrow>,
    wrong: &'a [Field],
    has_filter: bool,
    older: Option<String>,
    is_first: bool,
    first: String,
    all: String,
}

impl<'a> ListPage<'a> {
    pub fn new(
        frame: &'a Frame,
        visit: &Visit,
        found: &Paged<EventView>,
        filter: &Filter<'a>,
        platforms: Vec<PlatformChoice>,
    ) -> Self {
        let fields: Vec<(&str, &str)> = filter.entered.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let address = |cursor: &str| {
            let cursor = [("cursor", cursor)];
            visit.to(&with_query("/ui/events", &[fields.as_slice(), &cursor].concat()))
        };
        let instant = |name, label| Instant {
            name,
            label,
            value: input_instant(filter.entered(name)),
            wrong: filter.wrong(name),
        };
        let environments = ["production", "sandbox"];
        let environments =
            environments.map(|value| Chosen { value: value.to_owned(), is_on: filter.entered("environment") == value });
        let narrow = [("user_id", "customer"), ("collapse_key", "purchase")].into_iter();
        let narrow = narrow.filter(|(name, _)| !filter.entered(name).is_empty());
        Self {
            frame,
            rows: found.items.iter().map(|one| row(one, visit)).collect(),
            types: type_choices(filter.entered("type")),
            wrong_type: filter.wrong("type"),
            platforms,
            environments: environments.into(),
            instants: [instant("from", "From (UTC)"), instant("until", "Until (UTC)")],
            narrow: narrow.map(|(name, what)| narrowed(filter, visit, name, what, &found.items)).collect(),
            wrong: filter.wrong,
            has_filter: fields.iter().any(|(_, value)| !value.is_empty()),
            older: found.next_cursor.as_ref().map(|cursor| address(cursor)),
            is_first: visit.query("cursor").is_none(),
            first: address(""),
            all: visit.to("/ui/events"),
        }
    }
}

fn narrowed(filter: &Filter<'_>, visit: &Visit, name: &'static str, what: &'static str, found: &[EventView]) -> Narrow {
    let value = filter.entered(name);
    // What was found is of it: the address has no more than an id, or what is none.
    let path = found.first().and_then(|one| match name {
        "user_id" => Some(customers::path(one.app_id?, one.user_id?)),
        _ if group(&one.event_type) == ABOUT_DESTINATIONS => None,
        _ => Some(format!("/ui/purchases/{}", one.collapse_key)),
    });
    Narrow { name, what, value: value.to_owned(), id: Code::short(value), path: path.map(|path| visit.to(&path)) }
}

/// The types and their groups; also what the address has and no list, such as several types.
fn type_choices(entered: &str) -> Vec<Chosen> {
    let types = types();
    let prefix = |name: &str| name.match_indices('.').map(|(at, _)| format!("{}.", &name[..at])).collect::<Vec<_>>();
    let mut groups: Vec<String> = types.iter().flat_map(|name| prefix(name)).collect();
    groups.sort();
    groups.dedup();
    groups.retain(|group| types.iter().filter(|name| name.starts_with(group.as_str())).count() > 1);
    let groups = groups.into_iter().map(|group| format!("{group}*"));
    let mut all: Vec<String> = groups.chain(types.iter().map(|name| (*name).to_owned())).collect();
    if !entered.is_empty() && !all.iter().any(|name| name == entered) {
        all.insert(0, entered.to_owned());
    }
    all.into_iter().map(|value| Chosen { is_on: value == entered, value }).collect()
}

fn row(one: &EventView, visit: &Visit) -> EventListRow {
    let (about, screen) = subject(&one.event_type);
    EventListRow {
        path: visit.to(&format!("/ui/events/{}", one.id)),
        name: one.event_type.clone(),
        summary: summary(&one.event_type),
        id: Code::short(one.id),
        about,
        about_path: visit.to(&format!("/ui/{screen}/{}", one.collapse_key)),
        customer_path: one.app_id.zip(one.user_id).map(|(app, user)| visit.to(&customers::path(app, user))),
        environment: one.environment.map_or("", |environment| environment.as_str()),
        at: Moment::ago(one.created_at),
    }
}

/// What an event is about, and the screen of that.
fn subject(event_type: &str) -> (&'static str, &'static str) {
    if group(event_type) == ABOUT_DESTINATIONS { ("Destination", "destinations") } else { ("Purchase", "purchases") }
}

/// What one event is shown from.
pub struct Detail<'a> {
    pub id: EventId,
    pub tree: &'a Node,
    /// Its body; null when it was removed because of its age.
    pub body: &'a Value,
    pub is_of_device: bool,
    pub destinations: &'a [Destination],
    /// The platform of its purchase, or of its device.
    pub platform: Option<&'a Platform>,
    /// The field with the name of the run that sends it again.
    pub run: Input,
}

pub struct Fact {
    label: &'static str,
    text: String,
    code: Option<Code>,
    /// The page of what the code names.
    path: Option<String>,
    moment: Option<Moment>,
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
    mistakes: Vec<Field>,
    detail: Option<String>,
}

impl<'a> EventPage<'a> {
    pub fn new(frame: &'a Frame, visit: &Visit, detail: &Detail<'_>, mistakes: Mistakes) -> Self {
        let tree = detail.tree;
        let (event, changes) = event(tree, visit);
        let (because, causes) = causes(tree, visit);
        let about = text(tree, "collapse_key").map(|key| {
            let (about, screen) = subject(&event.name);
            let mark = with_query(&format!("/ui/{screen}/{key}"), &[("mark", &detail.id.to_string())]);
            (about, visit.to(&mark))
        });
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
            body: (!detail.body.is_null()).then(|| serde_json::to_string_pretty(detail.body).unwrap_or_default()),
            actions: actions(frame, detail, &mistakes),
            requeued: Requeued::of(visit),
            mistakes: mistakes.fields,
            detail: mistakes.detail,
        }
    }
}

fn actions(frame: &Frame, detail: &Detail<'_>, mistakes: &Mistakes) -> Vec<Action> {
    if detail.is_of_device || !frame.may(Role::Support) {
        return Vec::new();
    }
    let destinations = detail.destinations.iter().map(|one| (one.id.to_string(), one.name.clone()));
    let what = "It is sent again, to one destination or to all that choose it; of a purchase's states the newest.";
    let path = format!("/ui/events/{}/resend", detail.id);
    let action = Action::new(path, "resend", "Resend", what, mistakes);
    vec![action.with(Input::destinations(destinations)).with(detail.run.clone())]
}

fn facts(Detail { tree, platform, .. }: &Detail<'_>, visit: &Visit) -> Vec<Fact> {
    let plain = |label, text: String| Fact { label, text, code: None, path: None, moment: None };
    let code = |label, name: &str| {
        let code = text(tree, name).map(Code::short);
        code.map(|code| Fact { label, text: String::new(), code: Some(code), path: None, moment: None })
    };
    let moment = |label, name: &str| {
        let at = text(tree, name).and_then(|at| at.parse::<Timestamp>().ok());
        at.map(|at| Fact { label, text: String::new(), code: None, path: None, moment: Some(Moment::at(at)) })
    };
    let customer = platform.and_then(|one| {
        let user: UserId = text(tree, "user_id")?.parse().ok()?;
        Some(visit.to(&customers::path(one.app_id, user)))
    });
    let revision = tree.facts.get("revision").and_then(Value::as_i64);
    let all = [
        moment("Recorded", "created_at"),
        moment("Happened", "occurred_at"),
        revision.map(|revision| plain("Revision of the purchase", revision.to_string())),
        code("Customer", "user_id").map(|fact| Fact { path: customer, ..fact }),
        code("Device", "device_id"),
        platform.map(|one| plain("Platform", format!("{} ({})", one.settings.name, one.settings.environment.as_str()))),
    ];
    all.into_iter().flatten().collect()
}

fn text<'n>(node: &'n Node, name: &str) -> Option<&'n str> {
    node.facts.get(name).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::type_choices;

    #[test]
    fn groups_of_types_are_choices_and_several_types_stay_chosen() {
        let all = type_choices("");
        let names: Vec<&str> = all.iter().map(|one| one.value.as_str()).collect();
        for name in ["user.*", "user.subscription.*", "user.journey.*", "purchase.updated"] {
            assert!(names.contains(&name), "{name}: {names:?}");
        }
        assert!(!names.contains(&"purchase.*"), "a group of one: {names:?}");
        assert!(all.iter().all(|one| !one.is_on));
        let several = type_choices("user.*,purchase.updated");
        assert_eq!((several[0].value.as_str(), several[0].is_on), ("user.*,purchase.updated", true));
    }
}
