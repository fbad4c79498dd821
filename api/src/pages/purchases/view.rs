//! The view of a purchase. This module is pure.

use super::life::{BarSegment, line};
use crate::action::{Action, Input, Mistake, labelled};
use crate::cell::{CellPart, Fact};
use crate::change::Mistakes;
use crate::customers::statement::table;
use crate::frame::Frame;
use crate::lists::Table;
use crate::parts::{Badge, Code, Moment, Sentence, Tone};
use crate::requeued::{Requeued, UNSENT, is_resent_alone};
use crate::story::{TimelineEntry, chapters};
use crate::text::{PURCHASE_ID, capital, purchase_state};
use crate::visit::Visit;
use api::resources::explain::node::Node;
use api::resources::standing::Standing;
use api::resources::statement::of_entries;
use api::stores::purchase_id;
use askama::Template;
use domain::CollapseKey;
use domain::event::PURCHASE_UPDATED;
use serde_json::Value;
use std::collections::BTreeMap;
use storage::{
    Addressee, DeliveryStatus, PaymentView, Platform, PurchaseExplanation, Role, WaitingFor,
};

/// Returns a field of the record in the body of a `purchase.updated`.
pub fn field<'b>(body: &'b Value, name: &str) -> Option<&'b str> {
    body.get("data")?.get(name)?.as_str()
}

/// Data of a purchase's page.
pub struct Detail<'a> {
    pub key: CollapseKey,
    pub facts: &'a PurchaseExplanation,
    pub tree: &'a Node,
    /// The customer's access, worded for support; `None` before the purchase is settled.
    pub standing: Option<Standing>,
    pub payments: &'a [PaymentView],
    pub platform: Option<&'a Platform>,
    /// The address of the purchase's runs in Temporal's UI.
    pub temporal: Option<String>,
    /// The hidden field that names the run with which the purchase is resent.
    pub run: Input,
}

#[derive(Template)]
#[template(path = "purchases/detail.html")]
pub struct DetailPage<'a> {
    frame: &'a Frame,
    state: Badge,
    product: String,
    /// The customer's access, in a sentence.
    standing: Option<Sentence>,
    /// Each destination, and what it received last.
    reached: Vec<(String, Sentence)>,
    refund: Option<&'static str>,
    payments: Option<Table>,
    summary: Sentence,
    /// Current failures that are being retried.
    failing: Vec<Sentence>,
    is_held: bool,
    is_unverified: bool,
    facts: Vec<Fact>,
    life: Vec<BarSegment>,
    chapters: Vec<TimelineEntry>,
    has_older: bool,
    actions: Vec<Action>,
    temporal: Option<String>,
    requeued: Option<Requeued>,
    mistakes: Vec<Mistake>,
    detail: Option<String>,
}

impl<'a> DetailPage<'a> {
    pub fn new(frame: &'a Frame, visit: &Visit, detail: Detail<'_>, mistakes: Mistakes) -> Self {
        let Detail {
            key,
            facts,
            tree,
            standing,
            payments,
            platform,
            temporal,
            run,
        } = detail;
        let view = facts.purchase.as_ref();
        let mark = visit.query("mark");
        let actions = actions(frame, run, key, facts, &mistakes);
        Self {
            frame,
            state: view.map_or_else(
                || Badge::new(Tone::Busy, "not settled yet"),
                |view| purchase_state(&view.state),
            ),
            product: standing
                .as_ref()
                .map_or_else(|| "Purchase".to_owned(), |known| known.product.clone()),
            standing: standing.as_ref().map(|known| Sentence::new(&known.summary)),
            reached: {
                let all = standing.iter().flat_map(|known| &known.destinations);
                all.map(|one| (one.destination.clone(), Sentence::new(&one.summary)))
                    .collect()
            },
            refund: standing
                .as_ref()
                .and_then(|known| known.refund_for_people()),
            payments: table(visit, &of_entries(payments)),
            summary: Sentence::new(&capital(&tree.summary)),
            failing: {
                let failing = tree.then.iter().filter(|node| node.what == "failing");
                failing.map(|node| Sentence::new(&node.summary)).collect()
            },
            is_held: is_held(facts),
            is_unverified: view.is_some_and(|view| view.standing.unverified_since.is_some()),
            facts: head(facts, platform, visit),
            life: line(facts),
            chapters: chapters(tree, mark.as_deref(), visit),
            has_older: facts.has_older,
            mistakes: labelled(&actions, mistakes.refused.fields),
            actions,
            temporal,
            requeued: Requeued::of(visit),
            detail: mistakes.refused.detail,
        }
    }
}

fn is_held(facts: &PurchaseExplanation) -> bool {
    facts
        .purchase
        .as_ref()
        .and_then(|view| view.held_until)
        .is_some_and(|until| until > facts.now)
}

fn head(facts: &PurchaseExplanation, platform: Option<&Platform>, visit: &Visit) -> Vec<Fact> {
    let mut all = Vec::new();
    let id_label = platform.and_then(|one| purchase_id(&one.store));
    let id = |id: &str| Fact::new(id_label.unwrap_or(PURCHASE_ID), Code::short(id));
    if let Some(view) = &facts.purchase {
        all.push(id(&view.receipt_id));
        all.extend(
            field(&view.data, "product_ref_id").map(|sku| Fact::new("SKU", Code::short(sku))),
        );
        let owner = view
            .standing
            .user_id
            .map(|user| visit.to(&format!("/ui/customers/{}/{user}", view.app_id)));
        let customer =
            |label, id: &str| Fact::new(label, CellPart::linked(owner.clone(), Code::short(id)));
        all.extend(
            view.app_user_id
                .as_ref()
                .map(|id| customer("Customer at the store", id)),
        );
        all.extend(field(&view.data, "last_seen_external_id").map(|id| customer("Customer", id)));
        let expires = field(&view.data, "expires_at").and_then(|at| at.parse().ok());
        all.extend(expires.map(|at| Fact::new("Expires", Moment::at(at))));
        all.extend(
            view.standing
                .verified_at
                .map(|at| Fact::new("Verified", at)),
        );
        all.extend(
            view.standing
                .next_wake_at
                .map(|at| Fact::new("Next check", Moment::at(at))),
        );
        let held = view.held_until.filter(|until| *until > facts.now);
        all.extend(held.map(|at| Fact::new("Held until", Moment::at(at))));
        let of_hold = |text: &Option<String>| text.clone().filter(|_| held.is_some());
        all.extend(of_hold(&view.held_by).map(|by| Fact::new("Held by", by)));
        all.extend(
            of_hold(&view.held_reason).map(|reason| Fact::new("Reason of the hold", reason)),
        );
        all.push(Fact::new("Revision", view.revision));
    } else if let Some(one) = facts.notifications.first() {
        all.push(id(&one.view.receipt_id));
    }
    if let Some(platform) = platform {
        let path = visit.to(&format!("/ui/connect/platforms/{}", platform.id));
        let name = format!(
            "{} ({})",
            platform.settings.name,
            platform.settings.environment.as_str()
        );
        all.push(Fact::new("Platform", CellPart::link(path, name)));
    }
    all
}

/// Numbers of notifications of a purchase that have no outcome yet.
struct Waits {
    /// Number of notifications that can be settled immediately.
    to_settle: usize,
    to_discard: usize,
}

impl Waits {
    fn of(facts: &PurchaseExplanation) -> Self {
        let waiting: Vec<_> = facts
            .notifications
            .iter()
            .filter_map(|one| one.view.waiting_for)
            .collect();
        let is_of_topic = |one: &&WaitingFor| matches!(one, WaitingFor::TopicApproval);
        let is_held = |one: &&WaitingFor| matches!(one, WaitingFor::Hold);
        Self {
            to_settle: waiting
                .iter()
                .filter(|one| !is_of_topic(one) && !is_held(one))
                .count(),
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
        Action::new(
            format!("/ui/purchases/{key}/{name}"),
            name,
            title,
            what,
            mistakes,
        )
    };
    let (waits, is_held) = (Waits::of(facts), is_held(facts));
    let mut all = Vec::new();
    if frame.may(Role::Support) {
        let active = facts
            .addressees
            .iter()
            .filter(|one| one.deleted_at.is_none());
        let destinations =
            active.map(|one| (one.destination.id.to_string(), one.destination.name.clone()));
        if facts.purchase.is_some() {
            all.push(
                action("resend", "Resend", &resent(facts))
                    .with(Input::destinations(destinations))
                    .with(run),
            );
        }
        if waits.to_settle > 0 || mistakes.is_of("flush") {
            let what = "Settles the waiting notifications now instead of at the end of the window. A held purchase is not \
                settled.";
            all.push(action("flush", "Settle now", what));
        }
        if is_held {
            let what =
                "Ends the hold. Waiting notifications are settled at the end of their window.";
            all.push(action("release", "Release", what));
        } else {
            let what = "Stores new notifications without settling them, for example while you fix a problem. They \
                are settled when the hold ends. Deliveries continue.";
            let hours = [
                ("1", "1 hour"),
                ("24", "1 day"),
                ("168", "7 days"),
                ("720", "30 days"),
            ];
            let hours = Input::choice("hours", "For how long", &hours).value("168");
            all.push(action("hold", "Hold", what).with(hours));
        }
    }
    if frame.may(Role::Operator) && (waits.to_discard > 0 || mistakes.is_of("discard")) {
        let (number, what) = match waits.to_discard {
            1 => (
                "1 notification".to_owned(),
                "Discards the waiting notification. Nothing is sent about it.",
            ),
            count => (
                format!("{count} notifications"),
                "Discards all waiting notifications. Nothing is sent about them.",
            ),
        };
        let what = format!("{what} This cannot be undone.");
        all.push(
            action("discard", "Discard", &what)
                .button(format!("Discard {number}"))
                .irrevocable(),
        );
    }
    all
}

/// Returns which events a resend of the purchase sends.
fn resent(facts: &PurchaseExplanation) -> String {
    let mut failed: BTreeMap<&str, usize> = BTreeMap::new();
    for one in facts
        .events
        .iter()
        .filter(|one| one.event.event_type != PURCHASE_UPDATED)
    {
        if one
            .sendings
            .iter()
            .any(|sending| sending.delivery.status == DeliveryStatus::Failed)
        {
            *failed.entry(&one.event.event_type).or_default() += 1;
        }
    }
    let names: Vec<String> = failed
        .into_iter()
        .map(|(name, number)| format!("{number} {name}"))
        .collect();
    let pending = pending(facts);
    let others = match (names.is_empty(), facts.has_older) {
        (true, false) if pending.is_some() || has_unsent(facts) => String::new(),
        (true, false) => " No other event has failed.".to_owned(),
        (true, true) => " Older events that failed are sent too.".to_owned(),
        (false, false) => format!(" Failed events are sent too: {}.", names.join(", ")),
        (false, true) => format!(
            " Failed events are sent too: {}, and older ones.",
            names.join(", ")
        ),
    };
    let pending = pending.map_or_else(String::new, |sentence| format!("{sentence} "));
    let unsent = if has_unsent(facts) {
        format!(" {UNSENT}")
    } else {
        String::new()
    };
    format!(
        "{pending}Sends purchase.updated with the latest state to the destination that you choose, or to all subscribed ones.{others}{unsent}"
    )
}

/// Returns whether an event that can only be resent by itself was not sent to a destination: it was skipped, or the
/// destination is not subscribed to its type.
fn has_unsent(facts: &PurchaseExplanation) -> bool {
    let active = || {
        facts
            .addressees
            .iter()
            .filter(|one| one.deleted_at.is_none())
    };
    facts
        .events
        .iter()
        .filter(|one| is_resent_alone(&one.event.event_type))
        .any(|one| {
            let event_type = &one.event.event_type;
            let deliveries = || one.sendings.iter().map(|sending| &sending.delivery);
            let is_unsent = |to: &Addressee| {
                let mut own = deliveries()
                    .filter(|delivery| delivery.destination_id == to.destination.id)
                    .peekable();
                let is_left_out = own.peek().is_none() && !to.destination.chose(event_type);
                is_left_out || own.any(|delivery| delivery.status == DeliveryStatus::Skipped)
            };
            active().any(is_unsent)
        })
}

/// Returns a note that deliveries are pending, for which a resend does not help; `None` if there are none.
fn pending(facts: &PurchaseExplanation) -> Option<String> {
    let all = facts
        .events
        .iter()
        .flat_map(|one| &one.sendings)
        .map(|one| &one.delivery);
    let pending: Vec<_> = all
        .filter(|one| one.status == DeliveryStatus::Pending)
        .collect();
    let are = match pending.len() {
        0 => return None,
        1 => "1 delivery is".to_owned(),
        number => format!("{number} deliveries are"),
    };
    let is_free =
        |one: &Addressee| one.destination.enabled && one.health.health.opened_at.is_none();
    let free: Vec<_> = facts
        .addressees
        .iter()
        .filter(|one| is_free(one))
        .map(|one| one.destination.id)
        .collect();
    let due = pending
        .iter()
        .filter(|one| free.contains(&one.destination_id))
        .filter_map(|one| one.next_due_at);
    let next = due.filter(|at| *at > facts.now).min();
    let next = next.map_or_else(String::new, |at| format!(", the next attempt is at {at}"));
    Some(format!("{are} pending{next}: resending is not needed."))
}
