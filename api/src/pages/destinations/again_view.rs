//! What the pages show by which something is sent again. Pure.

use super::again::Bulk;
use super::head::{DELIVERIES, Head};
use crate::error::Field;
use crate::pages::action::{Action, Input, Mistakes};
use crate::pages::form::Sent;
use crate::pages::frame::Frame;
use crate::pages::owing::Owing;
use crate::pages::parts::Sentence;
use crate::pages::text::{counted, entered_instant};
use crate::pages::visit::Visit;
use askama::Template;
use storage::Role;

/// The fields of a filter, which each step hands on.
const FILTERS: [&str; 3] = ["which", "from", "until"];

/// The forms that count.
#[derive(Template)]
#[template(path = "destinations/again.html")]
pub struct AgainPage<'a> {
    frame: &'a Frame,
    head: Head,
    actions: Vec<Action>,
    mistakes: Vec<Field>,
}

impl<'a> AgainPage<'a> {
    /// The forms for what the person may send again.
    #[must_use]
    pub fn new(frame: &'a Frame, head: Head, mistakes: Mistakes) -> Self {
        let action = |path: &str, (name, title, what): (&'static str, &'static str, &str)| {
            let which = Input::text("which", "").of("hidden").value(name);
            Action::new(head.action(path), (name, title, what), &mistakes).with(which)
        };
        let mut actions = Vec::new();
        if frame.may(Role::Support) {
            let what = "All dead deliveries, unless they arrived since.";
            actions.push(action("again", ("failed", "Count what failed", what)));
            let what = "All chosen events that were recorded in a time, also those that arrived.";
            let instant = |name, label| Input::text(name, label).of("datetime-local").required();
            let range = action("again", ("range", "Count a time range", what));
            let range = range.with(instant("from", "From (UTC)")).with(instant("until", "Until (UTC)"));
            actions.push(range);
        }
        if frame.may(Role::Operator) {
            let which = [("behind", "Those whose newest state it did not acknowledge"), ("all", "All purchases")];
            let what = "The newest state of purchases, each as one event.";
            let replay = Action::new(head.action("replay"), ("replay", "Count newest states", what), &mistakes);
            actions.push(replay.with(Input::choice(("which", "Of which purchases"), &which)));
            let what = "The newest state of each purchase that was never owed to it: what it needs to begin with.";
            actions.push(action("snapshot", ("snapshot", "Count what it never got", what)));
        }
        Self { frame, head, actions, mistakes: mistakes.fields }
    }
}

/// How far it is.
#[derive(Debug, Default)]
pub struct Progress {
    /// Number of checked events, deliveries or purchases.
    pub checked: i64,
    /// What is owed again.
    pub owing: Owing,
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
            owing: sent.get("owed").and_then(Owing::parse).unwrap_or_default(),
            next_cursor: sent.get("cursor").map(str::to_owned),
        }
    }
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It counted, and changed nothing.
    Counted,
    /// Something is left.
    Underway,
    /// All is done.
    Done,
}

/// The answer to a step.
#[derive(Template)]
#[template(path = "destinations/progress.html")]
pub struct ProgressPage<'a> {
    frame: &'a Frame,
    head: Head,
    what: Sentence,
    path: String,
    stage: Stage,
    figure: String,
    checked: String,
    is_part: bool,
    owing: Owing,
    hidden: Vec<(&'static str, String)>,
    reason: String,
    deliveries: String,
}

impl<'a> ProgressPage<'a> {
    /// The answer to a step of this run.
    #[must_use]
    pub fn new(
        (frame, visit): (&'a Frame, &Visit),
        head: Head,
        (bulk, stage): (Bulk, Stage),
        (sent, run, progress): (&Sent, String, Progress),
    ) -> Self {
        let mut hidden: Vec<(&'static str, String)> =
            FILTERS.iter().filter_map(|name| Some((*name, sent.get(name)?.to_owned()))).collect();
        hidden.extend([("confirmed", "yes".to_owned()), ("run", run)]);
        let is_part = progress.next_cursor.is_some();
        if stage == Stage::Underway {
            hidden.push(("checked", progress.checked.to_string()));
            hidden.push(("owed", progress.owing.text()));
            hidden.extend(progress.next_cursor.map(|cursor| ("cursor", cursor)));
        }
        let (name, noun) = match bulk {
            Bulk::Redelivery => ("again", "delivery"),
            Bulk::Replay => ("replay", "purchase"),
            Bulk::Snapshot => ("snapshot", "purchase"),
        };
        let checked = match (bulk, progress.checked) {
            (Bulk::Redelivery, 1) => "1 was checked".to_owned(),
            (Bulk::Redelivery, many) => format!("{many} were checked"),
            (_, many) => format!("{} checked", counted(many, noun)),
        };
        Self {
            frame,
            what: Sentence::new(&described(bulk, sent)),
            path: head.action(name),
            stage,
            figure: progress.owing.owed.to_string(),
            checked,
            is_part,
            owing: progress.owing,
            hidden,
            reason: sent.get("reason").unwrap_or_default().to_owned(),
            deliveries: head.page(DELIVERIES, visit),
            head,
        }
    }
}

/// What the filter selects, as a sentence.
fn described(bulk: Bulk, sent: &Sent) -> String {
    let entered = |name| sent.get(name).map(entered_instant).unwrap_or_default();
    match (bulk, sent.get("which")) {
        (Bulk::Redelivery, Some("range")) => {
            format!("Events that were recorded from {} until {}", entered("from"), entered("until"))
        }
        (Bulk::Redelivery, _) => "Dead deliveries, unless they arrived since".to_owned(),
        (Bulk::Replay, Some("all")) => "The newest state of every purchase".to_owned(),
        (Bulk::Replay, _) => "The newest states that it did not acknowledge".to_owned(),
        (Bulk::Snapshot, _) => "The newest state of each purchase that was never owed to it".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Progress, described};
    use crate::pages::destinations::again::Bulk;
    use crate::pages::form::Sent;

    #[test]
    fn a_step_goes_on_where_the_one_before_stopped() {
        let sent = Sent::parse(b"checked=400&owed=3.pruned-1&cursor=c&which=range&from=2026-01-31T12:00&until=x");
        let progress = Progress::before(&sent, true);
        assert_eq!((progress.checked, progress.owing.owed), (400, 3));
        assert_eq!(progress.next_cursor.as_deref(), Some("c"));
        let first = Progress::before(&sent, false);
        assert_eq!((first.checked, first.next_cursor), (0, None), "a count begins at the beginning");
        let what = described(Bulk::Redelivery, &sent);
        assert_eq!(what, "Events that were recorded from 2026-01-31T12:00:00Z until x");
    }
}
