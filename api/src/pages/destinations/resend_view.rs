//! Views of the page that starts resends and of the page that shows their progress. This module is pure.

use super::head::{DELIVERIES, Head, RESEND, SETTINGS, Stands};
use crate::action::{Action, Input, Mistake, labelled};
use crate::change::Mistakes;
use crate::form::Sent;
use crate::frame::Frame;
use crate::parts::Sentence;
use crate::requeued::Requeued;
use crate::text::entered_instant;
use crate::visit::Visit;
use askama::Template;
use domain::event::{PURCHASE_UPDATED, Wildcards};
use storage::{Destination, Role};

/// The fields of a filter. Each step passes them on to the next.
const FIELDS: [&str; 3] = ["which", "from", "until"];
/// The name of the filter with a time range.
pub const RANGE: &str = "range";
/// Advice if there are no states to send.
const LOST_DATA_ADVICE: &str = "If the receiver lost data, resend all purchases.";

/// A selection that `POST /v1/resends` supports.
pub struct Filter {
    /// Name of the subcommand and, except for [`RANGE`], of the API's field.
    pub name: &'static str,
    title: &'static str,
    what: &'static str,
    /// When to use this selection.
    when: &'static str,
    /// Name of the checked items, singular and plural.
    unit: [&'static str; 2],
    /// Advice if the selection finds nothing to send.
    advice: &'static str,
}

static FILTERS: [Filter; 5] = [
    Filter {
        name: "failed",
        title: "Resend failed…",
        what: "All failed deliveries that did not succeed later",
        when: "Choose this after an outage or once the receiver is fixed.",
        unit: ["failed delivery", "failed deliveries"],
        advice: "To include delivered events, resend a time range.",
    },
    Filter {
        name: RANGE,
        title: "Resend a time range…",
        what: "All subscribed events recorded in a time range, including delivered ones",
        when: "Choose this if the receiver lost events from a known period.",
        unit: ["event", "events"],
        advice: "Choose a longer range, or subscribe to more events in Settings first: the range then includes them.",
    },
    Filter {
        name: "behind",
        title: "Resend latest states…",
        what: "The latest states that this destination has not acknowledged, one event for each purchase",
        when: "Choose this to let the receiver catch up without the events in between.",
        unit: ["purchase", "purchases"],
        advice: LOST_DATA_ADVICE,
    },
    Filter {
        name: "missing",
        title: "Send missing…",
        what: "The latest state of each purchase, if it was never queued for this destination",
        when: "Choose this for a new destination.",
        unit: ["purchase", "purchases"],
        advice: LOST_DATA_ADVICE,
    },
    Filter {
        name: "all",
        title: "Resend all purchases…",
        what: "The latest state of every purchase, one event for each",
        when: "Choose this if the receiver lost everything.",
        unit: ["purchase", "purchases"],
        advice: "A purchase has a state to send once it has been settled and an event has been recorded.",
    },
];

impl Filter {
    /// Returns the filter that a form names, or the first one if the name is missing or unknown.
    pub fn of(sent: &Sent) -> &'static Self {
        let [first, ..] = &FILTERS;
        FILTERS
            .iter()
            .find(|filter| sent.get("which") == Some(filter.name))
            .unwrap_or(first)
    }

    /// Returns whether the filter can find something for a destination: states require a subscription to
    /// `purchase.updated`, except that `missing` also finds profiles.
    fn suits(&self, destination: &Destination) -> bool {
        let has_states = destination.chose(PURCHASE_UPDATED);
        match self.name {
            "behind" | "all" => has_states,
            "missing" => has_states || destination.profile.is_some(),
            _ => true,
        }
    }

    /// Returns the description of the selection for a destination: one that receives no states can lack only profiles.
    fn what(&self, destination: &Destination) -> &'static str {
        let has_only_profiles = self.name == "missing" && !destination.chose(PURCHASE_UPDATED);
        if has_only_profiles {
            "Every customer profile that this destination does not have yet"
        } else {
            self.what
        }
    }

    /// Returns the selection as a sentence.
    fn describe(&self, sent: &Sent) -> String {
        let entered = |name| sent.get(name).map(entered_instant).unwrap_or_default();
        if self.name == RANGE {
            return format!(
                "Events recorded from {} until {}",
                entered("from"),
                entered("until")
            );
        }
        self.what.to_owned()
    }
}

/// Returns the path of a filter's form, which differs from those of the other filters.
pub fn form_path(path: &str, filter: &str) -> String {
    format!("{path}#{filter}")
}

#[derive(Template)]
#[template(path = "destinations/resend.html")]
pub struct ResendPage<'a> {
    frame: &'a Frame,
    head: Head,
    actions: Vec<Action>,
    missing: Option<&'static str>,
    /// Path of the page on which the destination can be subscribed to `purchase.updated`; `None` for a kind that does
    /// not usually receive it.
    settings: Option<String>,
    mistakes: Vec<Mistake>,
    detail: Option<String>,
}

impl<'a> ResendPage<'a> {
    /// Returns the forms of the selections that suit the destination; empty if the visitor may not resend.
    pub fn new(
        frame: &'a Frame,
        visit: &Visit,
        destination: &Destination,
        stands: Stands,
        mistakes: Mistakes,
    ) -> Self {
        let head = Head::new(visit, destination, stands, RESEND);
        let may = frame.may(Role::Support);
        let action = |filter: &Filter| {
            let Filter {
                name, title, when, ..
            } = *filter;
            let what = format!("{}. {when}", filter.what(destination));
            let mut action = Action::new(
                form_path(&head.action("resend"), name),
                name,
                title,
                &what,
                &mistakes,
            );
            action.path = head.action("resend");
            let action = action.with(Input::text("which", "").of("hidden").value(name));
            if name != RANGE {
                return action;
            }
            let instant = |name, label| Input::text(name, label).of("datetime-local").required();
            action
                .with(instant("from", "From (UTC)"))
                .with(instant("until", "Until (UTC)"))
        };
        let missing = "This destination is not subscribed to purchase.updated, so there is no latest state to send.";
        let actions: Vec<Action> = FILTERS
            .iter()
            .filter(|filter| may && filter.suits(destination))
            .map(action)
            .collect();
        Self {
            frame,
            mistakes: labelled(&actions, mistakes.refused.fields),
            actions,
            missing: (may && !destination.chose(PURCHASE_UPDATED)).then_some(missing),
            settings: (destination.wildcards == Wildcards::Everything)
                .then(|| head.page(SETTINGS, visit)),
            head,
            detail: mistakes.refused.detail,
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
    /// Returns the totals of the previous steps, which the form contains; zero in a dry run.
    pub fn before(sent: &Sent, is_real: bool) -> Self {
        if !is_real {
            return Self::default();
        }
        Self {
            checked: sent
                .get("checked")
                .and_then(|text| text.parse().ok())
                .unwrap_or(0),
            requeued: sent
                .get("pending")
                .and_then(Requeued::parse)
                .unwrap_or_default(),
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
    other: String,
    is_part: bool,
    requeued: Requeued,
    hidden: Vec<(&'static str, String)>,
    reason: String,
    deliveries: String,
}

/// A step of a resend run, and its result.
pub struct ResendStep<'a> {
    pub stage: Stage,
    pub sent: &'a Sent,
    pub run: String,
    pub progress: Progress,
}

impl<'a> ProgressPage<'a> {
    /// Returns the page that responds to a step.
    pub fn new(frame: &'a Frame, visit: &Visit, head: Head, step: ResendStep<'_>) -> Self {
        let ResendStep {
            stage,
            sent,
            run,
            progress,
        } = step;
        let filter = Filter::of(sent);
        let mut hidden: Vec<(&'static str, String)> = FIELDS
            .iter()
            .filter_map(|name| Some((*name, sent.get(name)?.to_owned())))
            .collect();
        hidden.extend([("confirmed", "yes".to_owned()), ("run", run)]);
        let is_part = progress.next_cursor.is_some();
        if stage == Stage::Underway {
            hidden.push(("checked", progress.checked.to_string()));
            hidden.push(("pending", progress.requeued.text()));
            hidden.extend(progress.next_cursor.map(|cursor| ("cursor", cursor)));
        }
        let [one, many] = filter.unit;
        let checked = match progress.checked {
            1 => format!("1 {one} was checked"),
            number => format!("{number} {many} were checked"),
        };
        Self {
            frame,
            what: Sentence::new(&filter.describe(sent)),
            path: head.action("resend"),
            stage,
            figure: progress.requeued.pending.to_string(),
            unit: if progress.requeued.pending == 1 {
                "delivery"
            } else {
                "deliveries"
            },
            checked,
            advice: filter.advice,
            other: head.page(RESEND, visit),
            is_part,
            requeued: progress.requeued,
            hidden,
            reason: sent.get("reason").unwrap_or_default().to_owned(),
            deliveries: head.page(DELIVERIES, visit),
            head,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Filter, Progress};
    use crate::form::Sent;

    #[test]
    fn a_step_continues_where_the_previous_one_stopped() {
        let sent = Sent::parse(
            b"checked=400&pending=3.pruned-1&cursor=c&which=range&from=2026-01-31T12:00&until=x",
        );
        let progress = Progress::before(&sent, true);
        assert_eq!((progress.checked, progress.requeued.pending), (400, 3));
        assert_eq!(progress.next_cursor.as_deref(), Some("c"));
        let first = Progress::before(&sent, false);
        assert_eq!(
            (first.checked, first.next_cursor),
            (0, None),
            "a dry run starts from zero"
        );
        let what = Filter::of(&sent).describe(&sent);
        assert_eq!(what, "Events recorded from 2026-01-31T12:00:00Z until x");
    }
}
