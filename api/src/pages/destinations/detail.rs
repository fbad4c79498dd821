//! What the pages of one destination show. Pure.

use super::one::Answer;
use super::view::{Sheet, test};
use crate::error::Field;
use crate::pages::action::{Action, Input, Mistakes};
use crate::pages::described::Group;
use crate::pages::frame::Frame;
use crate::pages::parts::{Badge, Code, Moment, Sentence};
use crate::pages::text::{amount, capital, delivery_status, destination_state, with_query};
use crate::pages::visit::Visit;
use crate::resources::explain::node::Node;
use crate::resources::forms::Form;
use crate::resources::series::Point;
use askama::Template;
use domain::event::types;
use serde_json::Value;
use storage::{DeliveryStatus, DeliveryView, Destination, Paged, Portrait, Role};

/// The part of the address of each tab.
const OVERVIEW: &str = "";
/// That of what was sent.
pub const DELIVERIES: &str = "/deliveries";
/// That of the settings.
const SETTINGS: &str = "/settings";
/// That of what is sent again.
pub const AGAIN: &str = "/again";
/// The name of the form of the settings among the actions of its page.
pub const SETTINGS_FORM: &str = "settings";

/// The statuses of deliveries, in the order of the filter.
const STATUSES: [DeliveryStatus; 6] = [
    DeliveryStatus::Pending,
    DeliveryStatus::Waiting,
    DeliveryStatus::Delivered,
    DeliveryStatus::Superseded,
    DeliveryStatus::Skipped,
    DeliveryStatus::Dead,
];

/// A page of the destination.
pub struct Tab {
    /// What it is called.
    pub name: &'static str,
    /// Its address.
    pub path: String,
    /// Whether it is this page.
    pub is_current: bool,
}

/// What stands above every page of a destination.
pub struct Head {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What its kind is called.
    pub kind: &'static str,
    /// Its state.
    pub state: Badge,
    /// Since when.
    pub since: Moment,
    /// Its pages; none for a deleted one.
    pub tabs: Vec<Tab>,
}

impl Head {
    /// The head of a page of this destination.
    #[must_use]
    pub fn new(visit: &Visit, destination: &Destination, current: &'static str) -> Self {
        let tab = |(name, end): (&'static str, &str)| Tab {
            name,
            path: visit.to(&format!("/ui/destinations/{}{end}", destination.id)),
            is_current: end == current,
        };
        let tabs = [("Overview", OVERVIEW), ("Deliveries", DELIVERIES), ("Settings", SETTINGS), ("Send again", AGAIN)];
        Self {
            id: destination.id.to_string(),
            name: destination.name.clone(),
            kind: super::form_of(&destination.kind).map_or("", |form| form.label),
            state: destination_state(destination.state),
            since: Moment::ago(destination.since),
            tabs: tabs.map(tab).into(),
        }
    }

    /// The address of one of its pages.
    #[must_use]
    pub fn page(&self, end: &str, visit: &Visit) -> String {
        visit.to(&format!("/ui/destinations/{}{end}", self.id))
    }

    /// Where the form of an action is sent.
    #[must_use]
    pub fn action(&self, name: &str) -> String {
        format!("/ui/destinations/{}/{name}", self.id)
    }
}

/// What was delivered and failed in a span of time.
pub struct Rate {
    label: &'static str,
    delivered: i64,
    failed: i64,
    average_ms: Option<i64>,
    longest_ms: Option<i64>,
}

impl Rate {
    /// From the points of what was delivered, of what failed, and of the times of the answers.
    #[must_use]
    pub fn new(label: &'static str, points: &[Vec<Point>]) -> Self {
        let sum = |at: usize| points.get(at).into_iter().flatten().map(|point| point.count).sum::<i64>();
        let times = points.get(2).into_iter().flatten();
        let total: i64 = times.clone().map(|point| point.average_ms.unwrap_or(0) * point.count).sum();
        Self {
            label,
            delivered: sum(0),
            failed: sum(1),
            average_ms: (sum(2) > 0).then(|| total / sum(2).max(1)),
            longest_ms: times.filter_map(|point| point.longest_ms).max(),
        }
    }
}

/// What the overview is shown from.
pub struct Detail<'a> {
    /// The facts of its explanation.
    pub portrait: &'a Portrait,
    /// The explanation.
    pub tree: &'a Node,
    /// What was delivered lately.
    pub rates: Vec<Rate>,
}

/// A fact of the head.
pub struct Fact {
    label: &'static str,
    text: String,
    moment: Option<Moment>,
}

/// A sentence of the explanation, with the deliveries that it is about.
pub struct Note {
    sentence: Sentence,
    deliveries: Vec<(Sentence, Option<String>)>,
    more: Option<(&'static str, String)>,
}

/// How it stands.
#[derive(Template)]
#[template(path = "destinations/overview.html")]
pub struct OverviewPage<'a> {
    frame: &'a Frame,
    head: Head,
    sentence: Sentence,
    facts: Vec<Fact>,
    notes: Vec<Note>,
    rates: Vec<Rate>,
    actions: Vec<Action>,
    notice: Option<&'static str>,
    tested: Option<(bool, Sentence)>,
    mistakes: Vec<Field>,
}

impl<'a> OverviewPage<'a> {
    /// The overview of a destination.
    #[must_use]
    pub fn new((frame, visit): (&'a Frame, &Visit), detail: Detail<'_>, answer: Answer) -> Self {
        let Detail { portrait, tree, rates } = detail;
        let is_deleted = portrait.addressee.deleted_at.is_some();
        let mut head = Head::new(visit, &portrait.addressee.destination, OVERVIEW);
        if is_deleted {
            head.tabs.clear();
        }
        let actions = if is_deleted { Vec::new() } else { actions(frame, portrait, &answer.mistakes) };
        Self {
            frame,
            sentence: Sentence::new(&capital(&tree.summary)),
            facts: facts(portrait),
            notes: tree.then.iter().map(|node| note(node, &head, visit)).collect(),
            rates,
            actions,
            notice: visit.query("done").as_deref().and_then(notice),
            tested: answer.tested.map(|tested| (tested.ok, Sentence::new(&capital(&tested.detail)))),
            mistakes: answer.mistakes.fields,
            head,
        }
    }
}

fn note(node: &Node, head: &Head, visit: &Visit) -> Note {
    let deliveries = node.then.iter().map(|one| {
        let id = one.facts.get("id").and_then(Value::as_str);
        let path = id.map(|id| visit.to(&format!("/ui/deliveries/{id}")));
        (Sentence::new(&one.summary), path)
    });
    let has_more = !node.then.is_empty() && !head.tabs.is_empty();
    let list = |label, status| Some((label, head.page(&with_query(DELIVERIES, &[("status", status)]), visit)));
    let more = match node.what {
        "owed" => list("All that is owed", "pending"),
        "dead" => Some(("Send again", head.page(AGAIN, visit))),
        "skipped" => list("All that was not sent", "skipped"),
        _ => None,
    };
    Note {
        sentence: Sentence::new(&capital(node.summary.trim_end_matches(':'))),
        deliveries: deliveries.collect(),
        more: more.filter(|_| has_more),
    }
}

fn facts(portrait: &Portrait) -> Vec<Fact> {
    let number = |label, number: i64| Fact { label, text: amount(number), moment: None };
    let view = &portrait.addressee.health;
    let moments = [
        ("Oldest owed", portrait.owed.first().map(|one| one.delivery.created_at)),
        ("Does not answer since", view.health.opened_at),
        ("Tried last", view.health.opened_at.and(view.health.probed_at)),
        ("Pauses until", view.health.paused_until.filter(|until| *until > portrait.now)),
        ("Last success", view.health.last_success_at),
        ("Last failure", view.health.last_failure_at),
    ];
    let numbers = [
        number("Owed", view.owed),
        number("Dead", portrait.owes.dead),
        number("Wait for a name", portrait.owes.waiting),
        number("Failures in a row", view.health.failures),
    ];
    let moment = |(label, at): (&'static str, Option<domain::Timestamp>)| {
        Some(Fact { label, text: String::new(), moment: Some(Moment::ago(at?)) })
    };
    numbers.into_iter().chain(moments.into_iter().filter_map(moment)).collect()
}

fn actions(frame: &Frame, portrait: &Portrait, mistakes: &Mistakes) -> Vec<Action> {
    let destination = &portrait.addressee.destination;
    let id = destination.id.to_string();
    let action = |name: &'static str, title, what: &str| {
        Action::new(format!("/ui/destinations/{id}/{name}"), (name, title, what), mistakes)
    };
    let mut all = Vec::new();
    if frame.may(Role::Support) {
        all.push(test(&id, mistakes).with(sample()));
        if destination.enabled {
            let what = "What is owed is sent at once: waits between attempts and a pause end.";
            all.push(action("retry", "Send what is owed now", what));
            all.push(action("probe", "Try now", "A request tests now whether it answers again."));
        }
    }
    if frame.may(Role::Operator) && destination.enabled {
        let what = "Nothing is sent any more. Purchases are still settled, and what is owed stays owed.";
        all.push(action("disable", "Disable", what));
    } else if frame.may(Role::Operator) {
        let owed = [("", "All of it"), ("true", "Of each purchase the newest state; owed user.* events are skipped")];
        let what = "It is sent to again, first what is owed.";
        all.push(action("enable", "Enable", what).with(Input::choice(("newest_only", "Send of what is owed"), &owed)));
    }
    all
}

/// The made-up event of a test, by its type.
fn sample() -> Input {
    let none = std::iter::once(("", "No event"));
    let types: Vec<_> = none.chain(types().into_iter().map(|name| (name, name))).collect();
    Input::choice(("event_type", "With a made-up event"), &types)
}

/// What was taken.
fn notice(action: &str) -> Option<&'static str> {
    match action {
        "enable" => Some("It is being enabled."),
        "disable" => Some("It is being disabled."),
        "probe" => Some("It is being tried."),
        "retry" => Some("What is owed is being sent."),
        "settings" => Some("The settings are changed."),
        "nothing" => Some("Nothing was different, so nothing was changed."),
        _ => None,
    }
}

/// A delivery in the list.
pub struct Row {
    path: String,
    name: String,
    id: Code,
    status: Badge,
    attempts: i64,
    error: Option<Sentence>,
    at: Moment,
    due: Option<Moment>,
}

/// A status in the filter.
pub struct Chosen {
    value: &'static str,
    label: Badge,
    is_on: bool,
}

/// What was sent.
#[derive(Template)]
#[template(path = "destinations/deliveries.html")]
pub struct DeliveriesPage<'a> {
    frame: &'a Frame,
    head: Head,
    rows: Vec<Row>,
    statuses: Vec<Chosen>,
    has_filter: bool,
    older: Option<String>,
    all: String,
    again: String,
}

impl<'a> DeliveriesPage<'a> {
    /// The list of these deliveries.
    #[must_use]
    pub fn new((frame, visit): (&'a Frame, &Visit), head: Head, (found, status): (&Paged<DeliveryView>, &str)) -> Self {
        let path = format!("/ui/destinations/{}{DELIVERIES}", head.id);
        let older = |cursor: &String| visit.to(&with_query(&path, &[("status", status), ("cursor", cursor)]));
        let chosen = |one: DeliveryStatus| Chosen {
            value: one.as_str(),
            label: delivery_status(one),
            is_on: one.as_str() == status,
        };
        Self {
            frame,
            rows: found.items.iter().map(|one| row(one, visit)).collect(),
            statuses: STATUSES.map(chosen).into(),
            has_filter: !status.is_empty(),
            older: found.next_cursor.as_ref().map(older),
            all: visit.to(&path),
            again: head.page(AGAIN, visit),
            head,
        }
    }
}

fn row(one: &DeliveryView, visit: &Visit) -> Row {
    Row {
        path: visit.to(&format!("/ui/deliveries/{}", one.id)),
        name: one.event_type.clone(),
        id: Code::short(one.id),
        status: delivery_status(one.status),
        attempts: one.attempts,
        error: one.last_error.as_deref().map(Sentence::new),
        at: Moment::ago(one.finished_at.unwrap_or(one.created_at)),
        due: one.next_due_at.filter(|_| one.status == DeliveryStatus::Pending).map(Moment::until),
    }
}

/// The settings.
#[derive(Template)]
#[template(path = "destinations/settings.html")]
pub struct SettingsPage<'a> {
    frame: &'a Frame,
    head: Head,
    sheet: Sheet,
    groups: Vec<Group>,
    mistakes: Vec<Field>,
    is_form_wrong: bool,
    may_change: bool,
    actions: Vec<Action>,
    notice: Option<&'static str>,
}

impl<'a> SettingsPage<'a> {
    /// The settings of a destination.
    #[must_use]
    pub fn new(
        (frame, visit): (&'a Frame, &Visit),
        destination: &Destination,
        (groups, form): (Vec<Group>, Form),
        mistakes: Mistakes,
    ) -> Self {
        let is_form_wrong = mistakes.action == SETTINGS_FORM;
        let reason = mistakes.sent.get("reason").filter(|_| is_form_wrong).unwrap_or_default().to_owned();
        let may_change = frame.may(Role::Operator);
        let signs = form.guide.iter().any(|step| step.copy.is_some());
        Self {
            frame,
            head: Head::new(visit, destination, SETTINGS),
            groups,
            actions: if may_change { finals(destination, signs, &mistakes) } else { Vec::new() },
            is_form_wrong,
            may_change,
            notice: visit.query("done").as_deref().and_then(notice),
            mistakes: mistakes.fields.clone(),
            sheet: Sheet {
                groups: Vec::new(),
                form,
                path: format!("/ui/destinations/{}/settings", destination.id),
                reason,
                mistakes: if is_form_wrong { mistakes.fields } else { Vec::new() },
            },
        }
    }
}

/// What replaces its secret, if its requests are signed, and what deletes it.
fn finals(destination: &Destination, signs: bool, mistakes: &Mistakes) -> Vec<Action> {
    let action = |name: &'static str, title, what: &str| {
        Action::new(format!("/ui/destinations/{}/{name}", destination.id), (name, title, what), mistakes)
    };
    let hours = [("24", "1 day"), ("0", "not at all"), ("1", "1 hour"), ("48", "2 days"), ("168", "7 days")];
    let rotate = action(
        "rotate-secret",
        "New secret",
        "A new secret is made and shown once. Until the old one ends, requests carry a signature of each.",
    );
    let rotate = rotate
        .with(Input::choice(("overlap_hours", "How long the old one signs too"), &hours))
        .with(Input::text("secret", "Secret (empty: a new one is made)").of("password"));
    let delete = action("delete", "Delete", "Nothing is sent to it any more. What was sent stays in the ledger.");
    let delete = delete.with(Input::text("name", "Its name, to confirm").required()).irrevocable();
    signs.then_some(rotate).into_iter().chain([delete]).collect()
}
