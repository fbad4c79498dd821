//! What the screens of purchases show. Pure.

use super::Chosen;
use super::life::{Stretch, line};
use crate::error::Field;
use crate::pages::action::{Action, Input, Mistakes};
use crate::pages::frame::Frame;
use crate::pages::parts::{Badge, Code, Moment, Sentence, Tone};
use crate::pages::requeued::Requeued;
use crate::pages::story::{Chapter, chapters};
use crate::pages::text::{capital, escaped, purchase_state};
use crate::pages::visit::Visit;
use crate::resources::explain::node::Node;
use crate::resources::purchases::state_for_people;
use askama::Template;
use domain::{CollapseKey, PlatformId, State};
use serde_json::Value;
use storage::{Paged, Platform, PurchaseExplanation, PurchaseView, Role, WaitingFor};

pub struct PlatformChoice {
    pub id: PlatformId,
    /// The names of its app and of itself.
    pub name: String,
    /// Whether it is the chosen one.
    pub is_current: bool,
}

pub struct Choice {
    value: &'static str,
    label: &'static str,
    is_current: bool,
}

pub struct PurchaseListRow {
    path: String,
    state: Badge,
    is_held: bool,
    product: String,
    receipt: Code,
    customer: Option<Code>,
    revision: i64,
    settled: Moment,
}

#[derive(Template)]
#[template(path = "purchases/list.html")]
pub struct ListPage<'a> {
    frame: &'a Frame,
    rows: Vec<PurchaseListRow>,
    platforms: Vec<PlatformChoice>,
    states: Vec<Choice>,
    standing: [Choice; 2],
    older: Option<String>,
    is_first: bool,
    is_filtered: bool,
    all: String,
    first: String,
}

impl<'a> ListPage<'a> {
    pub fn new(
        frame: &'a Frame,
        visit: &Visit,
        found: &Paged<PurchaseView>,
        chosen: &Chosen,
        platforms: Vec<PlatformChoice>,
    ) -> Self {
        let first = visit.to(&chosen.address("/ui/purchases"));
        let older = |cursor: &String| {
            format!("{first}{}cursor={}", if first.contains('?') { '&' } else { '?' }, escaped(cursor))
        };
        let states = State::ALL.iter().map(|state| Choice {
            value: state.as_str(),
            label: state_for_people(state.as_str()),
            is_current: chosen.get("state") == state.as_str(),
        });
        let standing = [("held", "held"), ("failing", "delivery fails")].map(|(value, label)| Choice {
            value,
            label,
            is_current: chosen.get(value) == "true",
        });
        Self {
            frame,
            rows: found.items.iter().map(|one| row(one, visit)).collect(),
            platforms,
            states: states.collect(),
            standing,
            older: found.next_cursor.as_ref().map(older),
            is_first: visit.query("cursor").is_none(),
            is_filtered: Chosen::NAMES.iter().any(|name| !chosen.get(name).is_empty()),
            all: visit.to("/ui/purchases"),
            first,
        }
    }
}

fn row(one: &PurchaseView, visit: &Visit) -> PurchaseListRow {
    PurchaseListRow {
        path: visit.to(&format!("/ui/purchases/{}", one.collapse_key)),
        state: purchase_state(&one.state),
        is_held: one.held_until.is_some_and(|until| until > visit.now),
        product: field(&one.data, "product_ref_id").unwrap_or_else(|| "product not known".to_owned()),
        receipt: Code::short(&one.receipt_id),
        customer: one.app_user_id.as_ref().map(Code::short),
        revision: one.revision,
        settled: Moment::ago(one.updated_at),
    }
}

/// A field of the record in the body of a `purchase.updated`.
fn field(body: &Value, name: &str) -> Option<String> {
    body.get("data")?.get(name)?.as_str().map(str::to_owned)
}

/// What one purchase is shown from.
pub struct Detail<'a> {
    pub key: CollapseKey,
    pub facts: &'a PurchaseExplanation,
    pub tree: &'a Node,
    pub platform: Option<&'a Platform>,
    /// The address of its runs in Temporal's own UI.
    pub temporal: Option<String>,
    /// The field with the name of the run that sends it again.
    pub run: Input,
}

pub struct Fact {
    label: &'static str,
    text: Option<String>,
    code: Option<Code>,
    moment: Option<Moment>,
    path: Option<String>,
}

#[derive(Template)]
#[template(path = "purchases/detail.html")]
pub struct DetailPage<'a> {
    frame: &'a Frame,
    state: Badge,
    product: String,
    summary: Sentence,
    is_held: bool,
    is_unverified: bool,
    facts: Vec<Fact>,
    life: Vec<Stretch>,
    chapters: Vec<Chapter>,
    has_older: bool,
    actions: Vec<Action>,
    temporal: Option<String>,
    requeued: Option<Requeued>,
    notice: Option<&'static str>,
    mistakes: Vec<Field>,
    detail: Option<String>,
}

impl<'a> DetailPage<'a> {
    pub fn new(frame: &'a Frame, visit: &Visit, detail: Detail<'_>, mistakes: Mistakes) -> Self {
        let Detail { key, facts, tree, platform, temporal, run } = detail;
        let view = facts.purchase.as_ref();
        let product = view.and_then(|view| field(&view.data, "product_ref_id"));
        let mark = visit.query("mark");
        Self {
            frame,
            state: view.map_or_else(|| Badge::new(Tone::Busy, "not settled yet"), |view| purchase_state(&view.state)),
            product: product.unwrap_or_else(|| "Purchase".to_owned()),
            summary: Sentence::new(&capital(&tree.summary)),
            is_held: is_held(facts),
            is_unverified: view.is_some_and(|view| view.standing.unverified_since.is_some()),
            facts: head(facts, platform, visit),
            life: line(facts),
            chapters: chapters(tree, mark.as_deref(), visit),
            has_older: facts.has_older,
            actions: actions(frame, run, key, facts, &mistakes),
            temporal,
            requeued: Requeued::of(visit),
            notice: visit.query("done").as_deref().and_then(notice),
            mistakes: mistakes.fields,
            detail: mistakes.detail,
        }
    }
}

fn is_held(facts: &PurchaseExplanation) -> bool {
    facts.purchase.as_ref().and_then(|view| view.held_until).is_some_and(|until| until > facts.now)
}

fn head(facts: &PurchaseExplanation, platform: Option<&Platform>, visit: &Visit) -> Vec<Fact> {
    let fact = |label| Fact { label, text: None, code: None, moment: None, path: None };
    let text = |label, text: String| Fact { text: Some(text), ..fact(label) };
    let code = |label, code: Code| Fact { code: Some(code), ..fact(label) };
    let moment = |label, moment: Moment| Fact { moment: Some(moment), ..fact(label) };
    let mut all = Vec::new();
    if let Some(view) = &facts.purchase {
        all.push(text("Revision", view.revision.to_string()));
        all.push(code("Receipt", Code::short(&view.receipt_id)));
        let owner = view.standing.user_id.map(|user| visit.to(&format!("/ui/customers/{}/{user}", view.app_id)));
        let customer = |label, id: &str| Fact { path: owner.clone(), ..code(label, Code::short(id)) };
        all.extend(view.app_user_id.as_ref().map(|id| customer("Customer at the store", id)));
        all.extend(field(&view.data, "last_seen_external_id").map(|id| customer("Customer", &id)));
        all.extend(
            field(&view.data, "expires_at").and_then(|at| at.parse().ok()).map(|at| moment("Expires", Moment::at(at))),
        );
        all.extend(view.standing.verified_at.map(|at| moment("Verified", Moment::ago(at))));
        all.extend(view.standing.next_wake_at.map(|at| moment("Next check", Moment::at(at))));
        all.extend(view.held_until.filter(|until| *until > facts.now).map(|at| moment("Held until", Moment::at(at))));
    } else if let Some(one) = facts.notifications.first() {
        all.push(code("Receipt", Code::short(&one.view.receipt_id)));
    }
    if let Some(platform) = platform {
        let path = Some(visit.to(&format!("/ui/connect/platforms/{}", platform.id)));
        let name = format!("{} ({})", platform.settings.name, platform.settings.environment.as_str());
        all.push(Fact { path, ..text("Platform", name) });
    }
    all
}

/// How many notifications of a purchase have no outcome yet.
struct Waits {
    /// Those that can be settled at once.
    to_settle: usize,
    to_discard: usize,
}

impl Waits {
    fn of(facts: &PurchaseExplanation) -> Self {
        let waiting: Vec<_> = facts.notifications.iter().filter_map(|one| one.view.waiting_for).collect();
        let is_of_topic = |one: &&WaitingFor| matches!(one, WaitingFor::TopicApproval);
        let is_held = |one: &&WaitingFor| matches!(one, WaitingFor::Hold);
        Self {
            to_settle: waiting.iter().filter(|one| !is_of_topic(one) && !is_held(one)).count(),
            to_discard: waiting.iter().filter(|one| !is_of_topic(one)).count(),
        }
    }
}

fn actions(
    frame: &Frame,
    run: Input,
    key: CollapseKey,
    facts: &PurchaseExplanation,
    mistakes: &Mistakes,
) -> Vec<Action> {
    let action = |name: &'static str, title, what: &str| {
        Action::new(format!("/ui/purchases/{key}/{name}"), name, title, what, mistakes)
    };
    let (waits, is_held) = (Waits::of(facts), is_held(facts));
    let mut all = Vec::new();
    if frame.may(Role::Support) {
        let active = facts.addressees.iter().filter(|one| one.deleted_at.is_none());
        let destinations = active.map(|one| (one.destination.id.to_string(), one.destination.name.clone()));
        if facts.purchase.is_some() {
            let what = "Sends the newest state (to those that choose purchase.updated) and every failed event of this \
                purchase again.";
            all.push(action("resend", "Resend", what).with(Input::destinations(destinations)).with(run));
        }
        if waits.to_settle > 0 || mistakes.action == "flush" {
            let what = "Settles what waits now instead of when its window ends. While the purchase is held, nothing is \
                settled.";
            all.push(action("flush", "Settle now", what));
        }
        if is_held {
            let what = "Ends the hold: what waits is settled when its window is over.";
            all.push(action("release", "Release", what));
        } else {
            let what = "Nothing is settled for a while. Deliveries go on.";
            let hours = [("1", "1 hour"), ("24", "1 day"), ("168", "7 days"), ("720", "30 days")];
            let hours = Input::choice("hours", "For how long", &hours).value("168");
            all.push(action("hold", "Hold", what).with(hours));
        }
    }
    if frame.may(Role::Operator) && (waits.to_discard > 0 || mistakes.action == "discard") {
        let (number, verb, they) = match waits.to_discard {
            1 => ("1 notification".to_owned(), "waits", "It is given up: it changes"),
            count => (format!("{count} notifications"), "wait", "They are given up: they change"),
        };
        let what = format!(
            "{number} {verb}. {they} no revision, and no destination ever learns of it. This cannot be taken back."
        );
        all.push(action("discard", "Discard", &what).button(format!("Discard {number}")).irrevocable());
    }
    all
}

fn notice(action: &str) -> Option<&'static str> {
    match action {
        "flush" => Some("The purchase is being settled now."),
        "hold" => Some("The purchase is being held."),
        "release" => Some("The hold is being ended."),
        "discard" => Some("What waited is being discarded."),
        _ => None,
    }
}
