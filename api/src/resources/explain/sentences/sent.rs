//! Sentences about deliveries: why a destination has no delivery of an event, and the result of each delivery and
//! attempt.

use super::phrases::{
    count, environments, error_beside, label, protocol, response, sentence, subscription,
};
use crate::resources::destinations::CHECKED;
use crate::resources::rates::{RateDay, rate_sentence};
use crate::resources::refunds::STATE;
use domain::event::{
    Change, PURCHASE_UPDATED, REVENUE_ADJUSTED, Wildcards, chooses, group, is_for_operators,
    is_of_all,
};
use domain::user::{PROFILE_UPDATED, TRANSFERS};
use domain::{Environment, PlatformId, Timestamp};
use serde_json::Value;
use storage::{
    Addressee, AttemptView, DeliveryStatus, DeliveryView, Destination, DestinationExplanation,
    DestinationSettings, EventFacts, HealthView, LONGEST_WAIT, PaymentFacts, Sending, Skipped,
};

/// Maximum length of a response's body in a sentence, in characters. The facts contain the whole body.
const ANSWER_CHARS: usize = 200;
/// Maximum length of a changed value in a sentence, in characters. The facts contain the whole value.
const VALUE_CHARS: usize = 80;
/// Response header in which a destination states the time of the next attempt.
const RETRY_AFTER: &str = "retry-after";

/// Why a destination has no delivery of an event.
#[derive(Debug, PartialEq, Eq)]
pub struct Unsent {
    pub code: &'static str,
    pub sentence: String,
}

/// Returns why a destination has no delivery of an event. `None` if the destination was deleted before the event was
/// recorded, and so is not mentioned.
pub fn unsent(event: &EventFacts, addressee: &Addressee) -> Option<Unsent> {
    let Addressee {
        destination,
        deleted_at,
        ..
    } = addressee;
    let created_at = &destination.created_at;
    let is_profile = event.event_type == PROFILE_UPDATED;
    let (code, why) = match event.origin {
        None if event.collapse_key.uuid() == destination.id.uuid() || event.concerned.0 == Some(destination.id) => {
            ("itself", "a destination receives no events about itself".to_owned())
        }
        _ if deleted_at.is_some_and(|at| at <= event.created_at) => return None,
        _ if *created_at > event.created_at => (
            "created_later",
            format!("the destination was created later, at {created_at}{}", after_all(event, addressee)),
        ),
        _ if is_profile && destination.profile.is_none() => {
            ("keeps_no_profiles", "profiles go only to destinations that keep user properties".to_owned())
        }
        _ if is_profile => (
            "has_this_profile",
            "it has this profile already, another event carries it, or the destination is limited to other platforms \
             or environments"
                .to_owned(),
        ),
        _ if is_of_payment(event, destination) => {
            ("follows_from_nothing", "the payment that it corrects was never sent there".to_owned())
        }
        _ => Unqueued {
            event_type: &event.event_type,
            origin: event.origin.map(|(_, platform, environment)| (platform, environment)),
            created_at: event.created_at,
        }
        .reason(addressee),
    };
    Some(Unsent {
        code,
        sentence: format!("not to {}: {why}", label(destination)),
    })
}

/// An event that was not queued for a destination that existed at the time.
pub struct Unqueued<'a> {
    pub event_type: &'a str,
    /// Platform and environment of the event; `None` if it is for operators.
    pub origin: Option<(PlatformId, Environment)>,
    pub created_at: Timestamp,
}

impl Unqueued<'_> {
    /// Returns a code and a text for why the event was not queued: the destination's settings, or the times of its
    /// changes.
    pub fn reason(&self, addressee: &Addressee) -> (&'static str, String) {
        let Addressee {
            destination,
            chosen_at,
            deleted_at,
            ..
        } = addressee;
        let filter = &destination.filter;
        if !destination.chose(self.event_type) {
            return (
                "type_not_chosen",
                not_subscribed(destination, self.event_type),
            );
        }
        if let Some((platform, environment)) = self.origin {
            if !filter.platforms.is_empty() && !filter.platforms.contains(&platform) {
                return (
                    "filtered_by_platform",
                    "the destination is limited to other platforms".to_owned(),
                );
            }
            if !filter.wants(platform, environment) {
                let environments = environments(filter);
                return (
                    "filtered_by_environment",
                    format!("the destination is limited to environment {environments}"),
                );
            }
        }
        match (chosen_at, deleted_at) {
            (Some(at), _) if *at > self.created_at => (
                "chosen_later",
                format!("not subscribed then; the subscription was changed at {at}"),
            ),
            (_, Some(at)) => ("deleted", format!("the destination was deleted at {at}")),
            _ => (
                "unexplained",
                "no reason found: the delivery is missing (`settle check` reports it too)"
                    .to_owned(),
            ),
        }
    }
}

/// Returns whether a destination receives an event together with the payment that it corrects.
fn is_of_payment(event: &EventFacts, destination: &Destination) -> bool {
    destination.per_user && event.event_type == REVENUE_ADJUSTED
}

/// Returns the command that sends an event to a destination created after the event, or why no command does.
fn after_all(
    event: &EventFacts,
    Addressee {
        destination,
        deleted_at,
        ..
    }: &Addressee,
) -> String {
    let (id, event_type) = (destination.id, event.event_type.as_str());
    let wants = |(_, platform, environment)| destination.filter.wants(platform, environment);
    if let Some(at) = deleted_at {
        format!(", and deleted at {at}")
    } else if event.origin.is_none()
        || event_type == PROFILE_UPDATED
        || is_of_payment(event, destination)
    {
        String::new()
    } else if !destination.chose(event_type) {
        format!(", and is {}", not_subscribed(destination, event_type))
    } else if !event.origin.is_some_and(wants) {
        ", and is limited to other platforms or environments".to_owned()
    } else if event_type == PURCHASE_UPDATED {
        format!(
            " (`settle resend missing --destination {id}` sends the latest state of each earlier purchase)"
        )
    } else if event.pruned_at.is_some() {
        String::new()
    } else {
        format!(
            " (`settle resend event {} --destination {id}` sends it)",
            event.id
        )
    }
}

/// Returns the sentence that a destination is not subscribed to this type: its subscriptions and, if it uses wildcards,
/// why they do not include the type.
pub fn not_subscribed(destination: &Destination, event_type: &str) -> String {
    let Destination {
        kind,
        common: DestinationSettings { events, .. },
        ..
    } = destination;
    let subscribed = format!("subscribed to {}", subscription(destination));
    let why = if !is_of_all(event_type) && events.iter().any(|choice| choice == "*") {
        let left_out = if is_for_operators(event_type) {
            "events about destinations and alarms"
        } else {
            "changes of payments"
        };
        format!("{subscribed}; `*` does not include {left_out}")
    } else if chooses(events, Wildcards::Everything, event_type) {
        format!("{subscribed}; it is not listed for {kind}, and must be chosen by name")
    } else {
        subscribed
    };
    format!("not subscribed to {event_type} ({why})")
}

pub fn event(event: &EventFacts) -> String {
    // A transfer is not reported by a store.
    let is_transfer = TRANSFERS.contains(&event.event_type.as_str());
    sentence([
        Some(format!(
            "event {} ({}), created at {}",
            event.event_type, event.id, event.created_at
        )),
        event
            .occurred_at
            .filter(|_| !is_transfer)
            .map(|at| format!(", store time {at}")),
        event
            .user_revision
            .map(|revision| format!(", user revision {revision}")),
        event.payment.as_ref().map(payment),
        event
            .pruned_at
            .map(|at| format!("; retention removed its body at {at}")),
    ])
}

/// Returns the part of a sentence about the payment of an event: its kind, its number, and its price or why that is
/// unknown.
fn payment(payment: &PaymentFacts) -> String {
    let number = payment.number;
    let what = match payment.kind.as_str() {
        "initial" => "first payment".to_owned(),
        "renewal" => format!("renewal, payment {number}"),
        "trial_conversion" => format!("first payment after the trial, payment {number}"),
        "recovery" => format!("recovered payment {number}"),
        "plan_change" => format!("first payment of another plan, payment {number}"),
        "restored" => format!("refund of payment {number} reversed"),
        adjustment => format!("{adjustment} of payment {number}"),
    };
    if let Some(usd) = &payment.usd {
        let source = match (payment.source.as_str(), payment.transaction_id.as_deref()) {
            ("catalogue", _) => "catalogue price".to_owned(),
            ("report", Some(id)) => format!("sales report, transaction {id}"),
            ("report", None) => "sales report".to_owned(),
            (STATE, Some(id)) => format!("the store, transaction {id}"),
            (STATE, None) => {
                "settle's estimate by the state that the store showed; `settle payment` shows whether a sales \
                           report has it"
                    .to_owned()
            }
            (other, _) => other.to_owned(),
        };
        let rate = payment
            .rate_day
            .as_deref()
            .map(|day| rate_sentence(day, RateDay::of(payment.is_rate_carried)));
        let rate = rate.map(|rate| format!(", {rate}")).unwrap_or_default();
        return format!("; {what}: {usd} USD ({source}{rate})");
    }
    let why = match payment.unknown_because.as_deref() {
        Some("product_unknown") => ": the store never showed the product",
        Some("promotion") => ": the promotion has its own price",
        Some("not_listed") => ": the catalogue lists none (`settle product set --help`)",
        Some("no_rate") => {
            " in USD: no exchange rate for that day or the week before it (`settle app rates --help`)"
        }
        Some("unconfirmed") if payment.source == STATE => ": the store has not shown it yet",
        Some("unconfirmed") => {
            ": a promotion may have applied, or a trial that the store never showed"
        }
        Some("plan_changed") => ": the plan has since changed immediately",
        _ => "",
    };
    format!("; {what}, price unknown{why}")
}

/// Returns the sentence about the fields that changed from the previous state to this one.
pub fn changes(all: &[Change]) -> String {
    if all.is_empty() {
        return "no field changed".to_owned();
    }
    let change = |one: &Change| {
        format!(
            "{} {} → {}",
            one.field,
            value(&one.before),
            value(&one.after)
        )
    };
    format!(
        "changed: {}",
        all.iter().map(change).collect::<Vec<_>>().join("; ")
    )
}

fn value(value: &Value) -> String {
    shortened(
        &value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned),
        VALUE_CHARS,
    )
}

fn shortened(text: &str, max_chars: usize) -> String {
    match text.char_indices().nth(max_chars) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

pub fn delivery(one: &Sending, addressee: &Addressee, now: Timestamp) -> String {
    let view = &one.delivery;
    let again = if view.n > 0 {
        format!(", sent again ({})", nth(view.n))
    } else {
        String::new()
    };
    let pruned = view.pruned_at.map_or_else(String::new, |at| {
        format!("; retention removed its attempts at {at}")
    });
    format!(
        "to {}{again}: {}{pruned}",
        label(&addressee.destination),
        delivery_state(one, addressee, now)
    )
}

/// Returns the sentence about a delivery in the explanation of its destination.
pub fn delivery_of(of: &DestinationExplanation, one: &Sending) -> String {
    let DeliveryView {
        event_type,
        event_id,
        collapse_key,
        ..
    } = &one.delivery;
    let store_id = of
        .store_ids
        .get(collapse_key)
        .map_or_else(String::new, |id| format!(" (store's id {id})"));
    let about = match group(event_type) {
        "alarm" => String::new(),
        "destination" => format!(" about destination {collapse_key}"),
        _ => format!(" of purchase {collapse_key}{store_id}"),
    };
    let state = delivery_state(one, &of.addressee, of.now);
    format!("{event_type} {event_id}{about}: {state}")
}

/// Returns the state of a delivery, with the reason.
fn delivery_state(one: &Sending, addressee: &Addressee, now: Timestamp) -> String {
    let view = &one.delivery;
    let at = view
        .finished_at
        .map_or_else(String::new, |at| format!(" at {at}"));
    let why = view
        .last_error
        .as_deref()
        .unwrap_or("no reason was recorded");
    match view.status {
        DeliveryStatus::Delivered => format!("delivered{at}, attempt {}", view.attempts),
        DeliveryStatus::Superseded => superseded(one),
        DeliveryStatus::Skipped => format!("not sent: {why}"),
        DeliveryStatus::Waiting => {
            let until = view.created_at.plus(LONGEST_WAIT);
            format!(
                "waiting for the customer's id until {until}, and will be sent as soon as it is set: {why}"
            )
        }
        DeliveryStatus::Failed => format!("failed{at}: {why}. Not retried{}", resend(one)),
        DeliveryStatus::Pending => pending_because(one, addressee, now),
    }
}

/// Returns the command that sends a failed event again, or why a resend would skip it.
fn resend(one: &Sending) -> String {
    match one.not_again {
        None => {
            let DeliveryView {
                event_id,
                destination_id,
                ..
            } = &one.delivery;
            format!(
                "; resend it with `settle resend event {event_id} --destination {destination_id}`"
            )
        }
        Some(Skipped::AlreadyPending) => ", but queued again since".to_owned(),
        Some(why) => format!(", and cannot be resent: {}", why.text()),
    }
}

/// Returns the sentence about a superseded delivery, with the state of its successor.
fn superseded(one: &Sending) -> String {
    let Some(successor) = &one.successor else {
        let is_profile = one.delivery.event_type == PROFILE_UPDATED;
        let why = one.delivery.last_error.as_deref().filter(|_| is_profile);
        return why.map_or_else(
            || "superseded by a newer revision".to_owned(),
            |why| format!("superseded: {why}"),
        );
    };
    let at = successor
        .finished_at
        .map_or_else(String::new, |at| format!(" at {at}"));
    let became = match successor.status {
        DeliveryStatus::Delivered => format!("which was delivered{at}"),
        DeliveryStatus::Failed => format!("which failed{at}"),
        DeliveryStatus::Skipped => "which was not sent".to_owned(),
        DeliveryStatus::Waiting => "which waits for the customer's id".to_owned(),
        DeliveryStatus::Pending | DeliveryStatus::Superseded => "which is pending".to_owned(),
    };
    format!("superseded by revision {}, {became}", successor.revision)
}

/// Returns why nothing is sent to a destination now: it is disabled or paused, or its breaker is open. `None` if
/// deliveries can be sent.
pub fn held_back(addressee: &Addressee, now: Timestamp) -> Option<String> {
    let Addressee {
        destination,
        health: HealthView { health, .. },
        ..
    } = addressee;
    let reason = destination
        .reason
        .as_deref()
        .map_or_else(String::new, |reason| format!(" ({reason})"));
    if !destination.enabled {
        return Some(format!(
            "pending: the destination has been disabled since {}{reason}",
            destination.since
        ));
    }
    if let Some(opened_at) = health.opened_at {
        let since = health.first_failure_at.unwrap_or(opened_at);
        return Some(format!(
            "pending: the destination has been failing since {since}{reason}; {CHECKED}"
        ));
    }
    let until = health.paused_until.filter(|until| *until > now)?;
    Some(format!(
        "pending: the destination requested a pause until {until}"
    ))
}

/// Returns why a pending delivery has not been sent yet: the destination is disabled or paused, its breaker is open, or
/// the delivery waits for its back-off.
fn pending_because(one: &Sending, addressee: &Addressee, now: Timestamp) -> String {
    if let Some(why) = held_back(addressee, now) {
        return why;
    }
    if one
        .attempts
        .last()
        .is_some_and(|last| last.finished_at.is_none())
    {
        return "pending: being sent now".to_owned();
    }
    let view = &one.delivery;
    let last = one.attempts.last();
    let (status, protocol) = (
        last.and_then(|last| last.status),
        last.map_or("HTTP", |last| protocol(&last.headers)),
    );
    let next = match view.next_due_at {
        Some(at) if at <= now => format!("after the event before it, due since {at}"),
        Some(at) => format!("at {at}"),
        None => return "pending".to_owned(),
    };
    match view.attempts {
        0 => {
            let why = view
                .last_error
                .as_deref()
                .map_or_else(String::new, |why| format!(": {why}"));
            format!("pending. First attempt {next}{why}")
        }
        failed => {
            let why = response(protocol, status, view.last_error.as_deref())
                .map_or_else(String::new, |why| format!(" ({why})"));
            format!(
                "pending. {} failed{why}. Next attempt {next}",
                attempts(failed)
            )
        }
    }
}

/// Returns the sentence about a delivery's attempts that are not shown; `None` if all are.
pub fn earlier_attempts(one: &Sending) -> Option<String> {
    let shown = i64::try_from(one.attempts.len()).unwrap_or(i64::MAX);
    let left_out = one.delivery.attempts.saturating_sub(shown);
    let id = one.delivery.id;
    (left_out > 0 && shown > 0 && one.delivery.pruned_at.is_none())
        .then(|| format!("{left_out} earlier attempts: `settle delivery attempts {id}`"))
}

pub fn attempt(attempt: &AttemptView) -> String {
    let by = match attempt.mode.as_str() {
        "probe" => " (check)",
        "drain" => " (backlog)",
        _ => "",
    };
    let retry_after = attempt
        .headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case(RETRY_AFTER));
    let response = attempt
        .response
        .as_deref()
        .map(str::trim)
        .filter(|text| !text.is_empty());
    sentence([
        Some(format!(
            "attempt {}{by} at {}: {}",
            attempt.number,
            attempt.started_at,
            result(attempt)
        )),
        Some(
            retry_after
                .map(|(name, value)| format!("; {name}: {value}"))
                .collect(),
        ),
        response.map(|response| format!("; response: {}", one_line(response))),
    ])
}

/// Error of an attempt that could not connect.
const NOT_CONNECTED: &str = "no connection could be made";

fn result(attempt: &AttemptView) -> String {
    let Some(_) = attempt.finished_at else {
        return "being sent now".to_owned();
    };
    let ms = attempt.latency_ms;
    let error = error_beside(attempt.status, attempt.error.as_deref());
    let error = error.map_or_else(String::new, |error| format!(": {error}"));
    match attempt.status {
        Some(status) => format!(
            "{} {status} after {ms} ms{error}",
            protocol(&attempt.headers)
        ),
        None if attempt.error.as_deref() == Some(NOT_CONNECTED) => {
            format!("not connected after {ms} ms")
        }
        None => format!("no response after {ms} ms{error}"),
    }
}

fn one_line(text: &str) -> String {
    shortened(
        &text.split_whitespace().collect::<Vec<_>>().join(" "),
        ANSWER_CHARS,
    )
}

/// Returns a number of attempts with its noun: `1 attempt`, `2 attempts`.
pub fn attempts(number: i64) -> String {
    count(usize::try_from(number).unwrap_or(0), "attempt")
}

fn nth(n: i64) -> String {
    let number = n.saturating_add(1);
    let ending = match number % 10 {
        1 if number % 100 != 11 => "st",
        2 if number % 100 != 12 => "nd",
        3 if number % 100 != 13 => "rd",
        _ => "th",
    };
    format!("the {number}{ending} time")
}
