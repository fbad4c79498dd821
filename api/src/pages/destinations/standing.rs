//! The state of a destination: the sentences of its explanation, its recent responses, and its actions. This module is
//! pure.

use super::head::{DELIVERIES, Head, OVERVIEW, RESEND, Stands};
use super::view::test;
use crate::action::{Action, Input, Mistake, labelled};
use crate::cell::{Cell, Fact};
use crate::change::Mistakes;
use crate::chart::{Chart, Counted};
use crate::frame::Frame;
use crate::parts::{Moment, Sentence};
use crate::text::{amount, capital, with_query};
use crate::visit::Visit;
use api::resources::destinations::Tested;
use api::resources::explain::node::Node;
use api::resources::schema;
use api::resources::series::{Point, SeriesPoints};
use askama::Template;
use domain::Timestamp;
use domain::health::State;
use protocols::destinations::shown_kind;
use serde_json::Value;
use storage::{Addressee, DestinationExplanation, HealthView, Role};

/// The results of an action, which the overview shows besides the stored data.
#[derive(Default)]
pub struct ActionResult {
    /// The errors in a form.
    pub mistakes: Mistakes,
    pub tested: Option<Tested>,
}

/// Counts of delivered and failed requests in a span of time.
pub struct Rate {
    label: &'static str,
    delivered: i64,
    failed: i64,
    average_ms: Option<i64>,
    longest_ms: Option<i64>,
}

impl Rate {
    /// Computes the counts from three series: delivered requests, failed requests, and response times.
    pub fn new(label: &'static str, series: &[SeriesPoints]) -> Self {
        let points: Vec<&Vec<Point>> = series.iter().map(|one| &one.items).collect();
        let sum = |at: usize| {
            points
                .get(at)
                .into_iter()
                .copied()
                .flatten()
                .map(|point| point.count)
                .sum::<i64>()
        };
        let times = points.get(2).into_iter().copied().flatten();
        let total: i64 = times
            .clone()
            .map(|point| point.average_ms.unwrap_or(0) * point.count)
            .sum();
        Self {
            label,
            delivered: sum(0),
            failed: sum(1),
            average_ms: (sum(2) > 0).then(|| total / sum(2).max(1)),
            longest_ms: times.filter_map(|point| point.longest_ms).max(),
        }
    }
}

/// Returns the charts of the last hour, from three series: delivered requests, failed requests, and response times.
pub fn hour(series: &[SeriesPoints]) -> Option<[Chart; 2]> {
    let [delivered, failed, latency] = series else {
        return None;
    };
    let one = |name, tone, points| Counted { name, tone, points };
    let counts = [
        one("delivered", "good", delivered),
        one("failed attempts", "bad", failed),
    ];
    let sent = Chart::counts("sent", "Events sent per minute", &counts);
    Some([sent, Chart::times("answers", "Response time", latency)])
}

/// Data of the overview.
pub struct Detail<'a> {
    pub explanation: &'a DestinationExplanation,
    pub tree: &'a Node,
    pub rates: Vec<Rate>,
    pub charts: Option<[Chart; 2]>,
}

/// A sentence of the explanation, with the deliveries or payments that it concerns.
pub struct Note {
    sentence: Sentence,
    items: Vec<Item>,
    /// Advice for operators.
    advice: Option<Sentence>,
    more: Option<(&'static str, String)>,
}

/// A delivery or a payment, with its page.
pub struct Item {
    sentence: Sentence,
    page: Option<(&'static str, String)>,
}

/// Advice about payments whose event type the destination is not subscribed to. Resending a payment later also queues
/// its changes.
const SUBSCRIBE: &str = "An operator can subscribe to this event in Settings; then each new payment is sent. To send \
                         an earlier one, resend its event: it carries the price that was recorded first, and its \
                         corrections and refunds follow as `revenue.adjusted`.";

#[derive(Template)]
#[template(path = "destinations/overview.html")]
pub struct OverviewPage<'a> {
    frame: &'a Frame,
    head: Head,
    sentence: Sentence,
    facts: Vec<Fact>,
    notes: Vec<Note>,
    rates: Vec<Rate>,
    charts: Option<[Chart; 2]>,
    actions: Vec<Action>,
    mistakes: Vec<Mistake>,
    detail: Option<String>,
}

impl<'a> OverviewPage<'a> {
    pub fn new(frame: &'a Frame, visit: &Visit, detail: Detail<'_>, answer: ActionResult) -> Self {
        let Detail {
            explanation,
            tree,
            rates,
            charts,
        } = detail;
        let is_deleted = explanation.addressee.deleted_at.is_some();
        let mut head = Head::new(
            visit,
            &explanation.addressee.destination,
            Stands {
                shown: explanation.shown_state,
                first_failure_at: explanation.addressee.health.health.first_failure_at,
            },
            OVERVIEW,
        );
        if is_deleted {
            head.tabs = None;
            head.why = None;
        }
        let actions = if is_deleted {
            Vec::new()
        } else {
            actions(frame, visit, explanation, &answer.mistakes)
        };
        Self {
            frame,
            sentence: Sentence::new(&capital(&tree.summary)),
            facts: facts(explanation),
            notes: tree
                .then
                .iter()
                // The page shows this node as an action instead.
                .filter(|node| node.what != "next")
                .map(|node| note(node, &head, visit))
                .collect(),
            rates,
            charts,
            mistakes: labelled(&actions, answer.mistakes.refused.fields),
            actions,
            detail: answer.mistakes.refused.detail,
            head,
        }
    }
}

fn note(node: &Node, head: &Head, visit: &Visit) -> Note {
    let is_unchosen = node.what == "not_chosen";
    let item = |one: &Node| {
        let page = |label, name: &str, folder: &str| {
            let id = one.facts.get(name).and_then(Value::as_str)?;
            Some((label, visit.to(&format!("/ui/{folder}/{id}"))))
        };
        match is_unchosen {
            true => Item {
                sentence: Sentence::new(&capital(&one.summary)),
                page: page("Purchase and customer", "collapse_key", "purchases"),
            },
            false => Item {
                sentence: Sentence::new(&one.summary),
                page: page("Request and responses", "id", "deliveries"),
            },
        }
    };
    let has_more = !node.then.is_empty() && head.tabs.is_some();
    let list = |label, status| {
        Some((
            label,
            head.page(&with_query(DELIVERIES, &[("status", status)]), visit),
        ))
    };
    let more = match node.what {
        "pending" => list("All pending deliveries", "pending"),
        "failed" => Some(("Resend", head.page(RESEND, visit))),
        "skipped" => list("All deliveries not sent", "skipped"),
        "not_chosen" => Some((
            "Change the subscription in Settings",
            head.page(super::head::SETTINGS, visit),
        )),
        _ => None,
    };
    Note {
        sentence: Sentence::new(&capital(node.summary.trim_end_matches(':'))),
        items: node.then.iter().map(item).collect(),
        advice: is_unchosen.then(|| Sentence::new(SUBSCRIBE)),
        more: more.filter(|_| has_more || is_unchosen),
    }
}

fn facts(explanation: &DestinationExplanation) -> Vec<Fact> {
    let number = |label, number: i64| Fact::new(label, amount(number));
    let view = &explanation.addressee.health;
    let moments = [
        (
            "Oldest pending",
            explanation
                .pending
                .first()
                .map(|one| one.delivery.created_at),
        ),
        ("First failure", view.health.first_failure_at),
        (
            "Last attempt",
            view.health.opened_at.and(view.health.probed_at),
        ),
        (
            "Paused until",
            view.health
                .paused_until
                .filter(|until| *until > explanation.now),
        ),
        ("Last success", view.health.last_success_at),
        ("Last failure", view.health.last_failure_at),
    ];
    let waiting = Some(explanation.backlog.waiting).filter(|count| *count > 0);
    let failures = Some(view.health.failures).filter(|count| *count > 0);
    let skipped = Some(explanation.backlog.skipped).filter(|count| *count > 0);
    let unchosen: usize = explanation.unchosen.iter().map(|one| one.payments).sum();
    let unchosen = i64::try_from(unchosen).ok().filter(|count| *count > 0);
    let in_a_row =
        |count| Cell::from(amount(count)).under(vec!["repeats of one purchase count once".into()]);
    let others = [
        Some(number("Failed for good", explanation.backlog.failed)),
        skipped.map(|count| number("Not sent", count)),
        unchosen.map(|count| number("Payments not sent (not subscribed)", count)),
        waiting.map(|count| number("Waiting for login", count)),
        failures.map(|count| Fact::new("Failures in a row", in_a_row(count))),
    ];
    let moment = |(label, at): (&'static str, Option<Timestamp>)| Some(Fact::new(label, at?));
    let next = next_attempt(explanation).map(|at| Fact::new("Next attempt", Moment::until(at)));
    std::iter::once(number("Pending", view.pending))
        .chain(others.into_iter().flatten())
        .chain(next)
        .chain(moments.into_iter().filter_map(moment))
        .collect()
}

/// Returns when something is sent next, if that is known: everything pending is listed, waits for its time, and is not
/// held back.
fn next_attempt(explanation: &DestinationExplanation) -> Option<Timestamp> {
    let Addressee {
        destination,
        health,
        ..
    } = &explanation.addressee;
    let is_all =
        usize::try_from(health.pending).is_ok_and(|pending| pending <= explanation.pending.len());
    let is_paused = health
        .health
        .paused_until
        .is_some_and(|until| until > explanation.now);
    let is_held = is_paused || !destination.enabled || health.health.opened_at.is_some();
    let next = explanation
        .pending
        .iter()
        .filter_map(|one| one.delivery.next_due_at)
        .min();
    next.filter(|at| is_all && !is_held && *at > explanation.now)
}

fn actions(
    frame: &Frame,
    visit: &Visit,
    explanation: &DestinationExplanation,
    mistakes: &Mistakes,
) -> Vec<Action> {
    let Addressee {
        destination,
        health,
        ..
    } = &explanation.addressee;
    let id = destination.id.to_string();
    let notes = shown_kind(&destination.kind).test_notes(&destination.settings);
    // The form of an action that was refused is always shown, with its errors.
    let is_shown =
        |name: &str, is_of_use: bool| destination.enabled && (is_of_use || mistakes.is_of(name));
    let action = |name: &'static str, title, what: &str| {
        Action::new(
            format!("/ui/destinations/{id}/{name}"),
            name,
            title,
            what,
            mistakes,
        )
    };
    let mut all = Vec::new();
    if frame.may(Role::Support) {
        let test = test(visit, &id, &notes, mistakes);
        all.push(if notes.takes_sample {
            test.with(sample())
        } else {
            test
        });
        if is_shown("retry", health.pending > 0) {
            all.push(action(
                "retry",
                "Send pending deliveries now",
                &retried(health),
            ));
        }
        if is_shown("probe", destination.state == State::Open) {
            let what = "Checks now whether the destination responds: sends one pending delivery without waiting for \
                 the next attempt.";
            all.push(action("probe", "Try now", what));
        }
    }
    if frame.may(Role::Operator) && destination.enabled {
        let what =
            "Stops sending. Purchases are still settled, and pending deliveries stay pending.";
        all.push(action("disable", "Disable", what));
    } else if frame.may(Role::Operator) {
        let choices = [
            ("", "All pending deliveries"),
            (
                "true",
                "Only the latest state of each purchase; pending user.* events \
                 are not sent",
            ),
        ];
        let what = "Resumes sending, starting with the pending deliveries.";
        all.push(action("enable", "Enable", what).with(Input::choice(
            "newest_only",
            "What to send first",
            &choices,
        )));
    }
    all
}

/// Returns the effect of a retry now, and the results of the last attempts.
fn retried(HealthView { health, pending }: &HealthView) -> String {
    let all = match *pending {
        0 => "whatever is pending".to_owned(),
        1 => "the pending delivery".to_owned(),
        2 => "both pending deliveries".to_owned(),
        number => format!("all {} pending deliveries", amount(number)),
    };
    let failed = health.last_error.as_deref().filter(|_| health.failures > 0);
    let failed = failed.map_or_else(String::new, |error| {
        format!(" The last attempt failed: {error}.")
    });
    format!(
        "Attempts {all} now, without waiting for the next attempt or the end of a pause.{failed}"
    )
}

/// Returns the input that selects the sample event of a test, by its type.
fn sample() -> Input {
    let none = std::iter::once(("", "No event"));
    let types: Vec<_> = none
        .chain(schema::names().into_iter().map(|name| (name, name)))
        .collect();
    Input::choice("event_type", "With a sample event", &types)
}

#[cfg(test)]
mod tests {
    use super::{Rate, retried};
    use api::resources::series::{Point, SeriesPoints};
    use domain::Timestamp;
    use domain::health::Health;
    use storage::{HealthView, Series};

    #[test]
    fn a_retry_shows_what_it_tries_and_the_last_error() {
        let mut view = HealthView {
            health: Health::default(),
            pending: 2,
        };
        let what = "Attempts both pending deliveries now, without waiting for the next attempt or the end of a pause.";
        assert_eq!(retried(&view), what);
        view.health.last_error = Some("the endpoint answered 500".to_owned());
        assert_eq!(retried(&view), what, "it recovered since");
        view.health.failures = 1;
        assert_eq!(
            retried(&view),
            format!("{what} The last attempt failed: the endpoint answered 500.")
        );
        view.pending = 3;
        assert!(retried(&view).starts_with("Attempts all 3 pending deliveries now"));
    }

    #[test]
    fn an_average_counts_each_answer_once() {
        let point = |count, average_ms| Point {
            at: Timestamp::from_micros(0),
            count,
            average_ms,
            longest_ms: average_ms.map(|average| average * 2),
        };
        let series = |items| SeriesPoints {
            what: Series::Latency,
            step: 60,
            items,
        };
        let points = [
            vec![point(3, None), point(1, None)],
            Vec::new(),
            vec![point(3, Some(10)), point(1, Some(50))],
        ];
        let rate = Rate::new("Last hour", &points.map(series));
        assert_eq!(
            (
                rate.delivered,
                rate.failed,
                rate.average_ms,
                rate.longest_ms
            ),
            (4, 0, Some(20), Some(100))
        );
        let none = Rate::new(
            "Last hour",
            &[Vec::new(), Vec::new(), vec![point(0, None)]].map(series),
        );
        assert_eq!(
            (none.delivered, none.average_ms, none.longest_ms),
            (0, None, None)
        );
    }
}
