//! What the pages show by which something is sent again. Pure.

use super::again::Bulk;
use super::head::{AGAIN, DELIVERIES, Head, SETTINGS};
use crate::error::Field;
use crate::pages::action::{Action, Input, Mistakes};
use crate::pages::form::Sent;
use crate::pages::frame::Frame;
use crate::pages::parts::Sentence;
use crate::pages::requeued::Requeued;
use crate::pages::text::entered_instant;
use crate::pages::visit::Visit;
use askama::Template;
use domain::event::PURCHASE_UPDATED;
use storage::{Destination, Role};

/// The fields of a filter, which each step hands on.
const FILTERS: [&str; 3] = ["which", "from", "until"];

#[derive(Template)]
#[template(path = "destinations/again.html")]
pub struct AgainPage<'a> {
    frame: &'a Frame,
    head: Head,
    actions: Vec<Action>,
    missing: Option<&'static str>,
    settings: String,
    mistakes: Vec<Field>,
    detail: Option<String>,
}

impl<'a> AgainPage<'a> {
    /// The forms for what the person may send again, and the destination takes.
    #[must_use]
    pub fn new(frame: &'a Frame, visit: &Visit, destination: &Destination, mistakes: Mistakes) -> Self {
        let head = Head::new(visit, destination, AGAIN);
        let has_states = destination.chose(PURCHASE_UPDATED);
        let has_profiles = destination.profile.is_some();
        let action = |path: &str, (name, title, what): (&'static str, &'static str, &str)| {
            let which = Input::text("which", "").of("hidden").value(name);
            Action::new(head.action(path), name, title, what, &mistakes).with(which)
        };
        let mut actions = Vec::new();
        if frame.may(Role::Support) {
            let what = "All failed deliveries, unless they arrived since.";
            actions.push(action("again", ("failed", "Count what failed", what)));
            let what = "All chosen events that were recorded in a time, also those that arrived.";
            let instant = |name, label| Input::text(name, label).of("datetime-local").required();
            let range = action("again", ("range", "Count a time range", what));
            let range = range.with(instant("from", "From (UTC)")).with(instant("until", "Until (UTC)"));
            actions.push(range);
        }
        if frame.may(Role::Operator) && has_states {
            let which = [("behind", "Those whose newest state it did not acknowledge"), ("all", "All purchases")];
            let what = "The newest state of purchases, each as one event.";
            let replay = Action::new(head.action("replay"), "replay", "Count newest states", what, &mistakes);
            actions.push(replay.with(Input::choice("which", "Of which purchases", &which)));
        }
        if frame.may(Role::Operator) && (has_states || has_profiles) {
            let what = "The newest state of each purchase that was never queued for it: what it needs to begin with.";
            actions.push(action("snapshot", ("snapshot", "Count what it never got", what)));
        }
        let missing = "This destination does not choose purchase.updated, so there is no newest state to send.";
        Self {
            frame,
            actions,
            missing: (frame.may(Role::Operator) && !has_states).then_some(missing),
            settings: head.page(SETTINGS, visit),
            head,
            mistakes: mistakes.fields,
            detail: mistakes.detail,
        }
    }
}

#[derive(Debug, Default)]
pub struct Progress {
    /// Number of checked events, deliveries or purchases.
    pub checked: i64,
    pub requeued: Requeued,
    /// The cursor of the next page of the API; `None` at the end.
    pub next_cursor: Option<String>,
}

impl Progress {
    /// How far the steps before this one were.
    #[must_use]
    pub fn before(sent: &Sent, is_real: bool) -> Self {
        if !is_real {
            return Self::default();
        }
        Self {
            checked: sent.get("checked").and_then(|text| text.parse().ok()).unwrap_or(0),
            requeued: sent.get("pending").and_then(Requeued::parse).unwrap_or_default(),
            next_cursor: sent.get("cursor").map(str::to_owned),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Counted,
    Underway,
    Done,
}

#[derive(Template)]
#[template(path = "destinations/progress.html")]
pub struct ProgressPage<'a> {
    frame: &'a Frame,
    head: Head,
    what: Sentence,
    path: String,
    stage: Stage,
    figure: String,
    unit: &'static str,
    checked: String,
    advice: &'static str,
    again: String,
    is_part: bool,
    requeued: Requeued,
    hidden: Vec<(&'static str, String)>,
    reason: String,
    deliveries: String,
}

/// A step of a run, and what it came to.
pub struct Step<'a> {
    pub bulk: Bulk,
    pub stage: Stage,
    pub sent: &'a Sent,
    pub run: String,
    pub progress: Progress,
}

impl<'a> ProgressPage<'a> {
    /// The answer to a step of this run.
    #[must_use]
    pub fn new(frame: &'a Frame, visit: &Visit, head: Head, step: Step<'_>) -> Self {
        let Step { bulk, stage, sent, run, progress } = step;
        let mut hidden: Vec<(&'static str, String)> =
            FILTERS.iter().filter_map(|name| Some((*name, sent.get(name)?.to_owned()))).collect();
        hidden.extend([("confirmed", "yes".to_owned()), ("run", run)]);
        let is_part = progress.next_cursor.is_some();
        if stage == Stage::Underway {
            hidden.push(("checked", progress.checked.to_string()));
            hidden.push(("pending", progress.requeued.text()));
            hidden.extend(progress.next_cursor.map(|cursor| ("cursor", cursor)));
        }
        let name = match bulk {
            Bulk::Redelivery => "again",
            Bulk::Replay => "replay",
            Bulk::Snapshot => "snapshot",
        };
        let (one, many, advice) = checked_items(bulk, sent);
        let checked = match progress.checked {
            1 => format!("1 {one} was checked"),
            number => format!("{number} {many} were checked"),
        };
        Self {
            frame,
            what: Sentence::new(&described(bulk, sent)),
            path: head.action(name),
            stage,
            figure: progress.requeued.pending.to_string(),
            unit: if progress.requeued.pending == 1 { "delivery" } else { "deliveries" },
            checked,
            advice,
            again: head.page(AGAIN, visit),
            is_part,
            requeued: progress.requeued,
            hidden,
            reason: sent.get("reason").unwrap_or_default().to_owned(),
            deliveries: head.page(DELIVERIES, visit),
            head,
        }
    }
}

/// What is checked, one and several, and what to do where none of it is sent.
fn checked_items(bulk: Bulk, sent: &Sent) -> (&'static str, &'static str, &'static str) {
    let all = "If its receiver lost what it got, count the newest states of all purchases.";
    match (bulk, sent.get("which")) {
        (Bulk::Redelivery, Some("range")) => (
            "event",
            "events",
            "Count a longer time, or choose more events in its settings: those are sent from then on.",
        ),
        (Bulk::Redelivery, _) => {
            ("failed delivery", "failed deliveries", "To send what arrived too, count a time range.")
        }
        (Bulk::Replay, Some("all")) => (
            "purchase",
            "purchases",
            "A purchase has a state to send once it was settled and an event of it was recorded.",
        ),
        (Bulk::Replay | Bulk::Snapshot, _) => ("purchase", "purchases", all),
    }
}

/// What the filter selects, as a sentence.
fn described(bulk: Bulk, sent: &Sent) -> String {
    let entered = |name| sent.get(name).map(entered_instant).unwrap_or_default();
    match (bulk, sent.get("which")) {
        (Bulk::Redelivery, Some("range")) => {
            format!("Events that were recorded from {} until {}", entered("from"), entered("until"))
        }
        (Bulk::Redelivery, _) => "Failed deliveries, unless they arrived since".to_owned(),
        (Bulk::Replay, Some("all")) => "The newest state of every purchase".to_owned(),
        (Bulk::Replay, _) => "The newest states that it did not acknowledge".to_owned(),
        (Bulk::Snapshot, _) => "The newest state of each purchase that was never queued for it".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Progress, described};
    use crate::pages::destinations::again::Bulk;
    use crate::pages::form::Sent;

    #[test]
    fn a_step_goes_on_where_the_one_before_stopped() {
        let sent = Sent::parse(b"checked=400&pending=3.pruned-1&cursor=c&which=range&from=2026-01-31T12:00&until=x");
        let progress = Progress::before(&sent, true);
        assert_eq!((progress.checked, progress.requeued.pending), (400, 3));
        assert_eq!(progress.next_cursor.as_deref(), Some("c"));
        let first = Progress::before(&sent, false);
        assert_eq!((first.checked, first.next_cursor), (0, None), "a count begins at the beginning");
        let what = described(Bulk::Redelivery, &sent);
        assert_eq!(what, "Events that were recorded from 2026-01-31T12:00:00Z until x");
    }
}
