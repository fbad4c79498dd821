//! Sentences about what was sent: why a destination has no delivery of an event, and the result of each delivery and
//! attempt.

use super::label;
use domain::Timestamp;
use domain::event::{Change, is_implied};
use domain::user::PROFILE_UPDATED;
use serde_json::Value;
use storage::{Addressee, AttemptView, Destination, EventFacts, HealthView, PaymentFacts, Sending, Skipped};

/// Maximum number of characters of an answer in a sentence; the facts have all of it.
const ANSWER_CHARS: usize = 200;
/// Maximum number of characters of a changed value in a sentence; the facts have all of it.
const VALUE_CHARS: usize = 80;
/// The header of an answer that explains when the next attempt follows.
const RETRY_AFTER: &str = "retry-after";

/// Why a destination has no delivery of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsent {
    /// The event is about this destination.
    Itself,
    /// It was deleted before.
    Deleted(Timestamp),
    /// It was created later.
    CreatedLater(Timestamp),
    /// It does not choose this type.
    Type,
    /// It is a profile, and the destination keeps none.
    NoProfiles,
    /// It is a profile that the destination has.
    SameProfile,
    /// It wants events of other platforms only.
    Platform,
    /// It wants events of other environments only.
    Environment,
    /// This type cannot be chosen: it follows from a payment that a destination that counts was owed before.
    Implied,
    /// It chooses this type only since a later time.
    ChosenLater(Timestamp),
    /// Nothing explains it.
    Unexplained,
}

impl Unsent {
    /// Why this destination has no delivery of this event; `None` when it was deleted before.
    pub fn of(event: &EventFacts, addressee: &Addressee) -> Option<Self> {
        let Addressee { destination, chosen_at, deleted_at, .. } = addressee;
        let is_itself = event.origin.is_none() && event.collapse_key.uuid() == destination.id.uuid();
        Some(match event.origin {
            _ if is_itself => Self::Itself,
            _ if deleted_at.is_some_and(|at| at <= event.created_at) => return None,
            _ if destination.created_at > event.created_at => Self::CreatedLater(destination.created_at),
            _ if event.event_type == PROFILE_UPDATED && destination.profile.is_none() => Self::NoProfiles,
            _ if event.event_type == PROFILE_UPDATED => Self::SameProfile,
            _ if is_implied(&event.event_type) => Self::Implied,
            _ if !destination.chose(&event.event_type) => Self::Type,
            Some((_, platform, _))
                if !destination.filter.platforms.is_empty() && !destination.filter.platforms.contains(&platform) =>
            {
                Self::Platform
            }
            Some((_, platform, environment)) if !destination.filter.wants(platform, environment) => Self::Environment,
            _ => match (chosen_at, deleted_at) {
                (Some(at), _) if *at > event.created_at => Self::ChosenLater(*at),
                (_, Some(at)) => Self::Deleted(*at),
                _ => Self::Unexplained,
            },
        })
    }

    /// The stable code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Itself => "itself",
            Self::Deleted(_) => "deleted",
            Self::CreatedLater(_) => "created_later",
            Self::Type => "type_not_chosen",
            Self::NoProfiles => "keeps_no_profiles",
            Self::SameProfile => "has_this_profile",
            Self::Platform => "filtered_by_platform",
            Self::Environment => "filtered_by_environment",
            Self::Implied => "follows_from_nothing",
            Self::ChosenLater(_) => "chosen_later",
            Self::Unexplained => "unexplained",
        }
    }

    /// The sentence.
    pub fn sentence(self, addressee: &Addressee) -> String {
        let Destination { id, events, filter, .. } = &addressee.destination;
        let why = match self {
            Self::Itself => "it is about this destination, which receives no events about itself".to_owned(),
            Self::Deleted(at) => format!("the destination was deleted at {at}"),
            Self::CreatedLater(at) => format!(
                "the destination was created later, at {at} (`settle destination snapshot {id}` sends it the earlier purchases)"
            ),
            Self::Type => format!("the destination does not choose this type (it chooses {})", events.join(", ")),
            Self::NoProfiles => "profiles go only to integrations that keep user properties".to_owned(),
            Self::SameProfile => {
                "it was owed the same profile before, another event carries it, or it is of a platform or environment that it \
                 does not want".to_owned()
            }
            Self::Platform => "the destination wants events of other platforms only".to_owned(),
            Self::Environment => {
                let wanted: Vec<_> = filter.environments.iter().map(|environment| environment.as_str()).collect();
                format!("the destination wants events of environment {} only", wanted.join(", "))
            }
            Self::Implied => {
                "it changes a payment, and is for integrations that count and were owed that payment".to_owned()
            }
            Self::ChosenLater(at) => format!("the destination chose other events then; its choice is of {at}"),
            Self::Unexplained => {
                "the reason is unknown: the delivery is missing (`settle audit` reports it too)".to_owned()
            }
        };
        format!("not to {}: {why}", label(&addressee.destination))
    }
}

/// An event.
pub fn event(event: &EventFacts) -> String {
    let mut sentence = format!("event {} ({}), created at {}", event.event_type, event.id, event.created_at);
    if let Some(at) = event.occurred_at {
        sentence.push_str(&format!(", happened at {at} by the store"));
    }
    if let Some(revision) = event.user_revision {
        sentence.push_str(&format!(", the user's revision {revision}"));
    }
    if let Some(payment) = &event.payment {
        sentence.push_str(&self::payment(payment));
    }
    if let Some(at) = event.pruned_at {
        sentence.push_str(&format!("; its body was pruned at {at}"));
    }
    sentence
}

/// The payment of an event.
fn payment(payment: &PaymentFacts) -> String {
    let what = format!("; {} of payment {}", payment.kind, payment.number);
    let by = payment.transaction_id.as_deref().map_or_else(String::new, |id| format!(" {id}"));
    match (&payment.usd, payment.unknown_because.as_deref()) {
        (Some(usd), _) => format!("{what}: {usd} USD by the {}{by}", payment.source),
        (None, Some("product_unknown")) => format!("{what}, its price unknown: the store never showed the product"),
        (None, Some("promotion")) => format!("{what}, its price unknown: a promotion has a price of its own"),
        (None, Some("not_listed")) => {
            format!("{what}, its price unknown: the catalogue lists none (`settle product set`)")
        }
        (None, Some("no_rate")) => {
            format!("{what}, its price unknown in USD: no rate of that day (`settle app rates`)")
        }
        (None, Some("unconfirmed")) => {
            format!("{what}, its price unknown until the store shows for sure whether a promotion held for it")
        }
        (None, Some("plan_changed")) => format!("{what}, its price unknown: the plan changed since, at once"),
        (None, _) => format!("{what}, its price unknown"),
    }
}

/// The changes of a state against the one before it.
pub fn changes(all: &[Change]) -> String {
    if all.is_empty() {
        return "the record is the same as before".to_owned();
    }
    let change = |one: &Change| format!("{} {} → {}", one.field, value(&one.before), value(&one.after));
    format!("changed: {}", all.iter().map(change).collect::<Vec<_>>().join("; "))
}

/// A value as JSON, shortened.
fn value(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    if text.chars().count() <= VALUE_CHARS {
        return text;
    }
    let cut: String = text.chars().take(VALUE_CHARS).collect();
    format!("{cut}…")
}

/// A delivery.
pub fn delivery(one: &Sending, addressee: &Addressee, now: Timestamp) -> String {
    let view = &one.delivery;
    let again = if view.n > 0 { format!(", sent again ({})", nth(view.n)) } else { String::new() };
    let pruned = view.pruned_at.map_or_else(String::new, |at| format!("; its body and answers were pruned at {at}"));
    format!("to {}{again}: {}{pruned}", label(&addressee.destination), became(one, addressee, now))
}

fn became(one: &Sending, addressee: &Addressee, now: Timestamp) -> String {
    let view = &one.delivery;
    let at = view.finished_at.map_or_else(String::new, |at| format!(" at {at}"));
    let why = view.last_error.as_deref().unwrap_or("no reason was recorded");
    match view.status.as_str() {
        "delivered" => format!("delivered{at}, with attempt {}", view.attempts),
        "superseded" => superseded(one),
        "skipped" => format!("not sent: {why}"),
        "waiting" => format!("waits, and is sent as soon as the customer is named: {why}"),
        "dead" => format!("dead{at}: {why}; never tried again by itself{}", redelivery(one)),
        "pending" => owed_because(one, addressee, now),
        other => other.to_owned(),
    }
}

/// How a dead event is sent again, or why it would not be.
fn redelivery(one: &Sending) -> String {
    let why = match one.not_again {
        None => return format!(" (`settle redeliver event {}`)", one.delivery.event_id),
        Some(Skipped::AlreadyOwed) => return ", but it is owed again by now".to_owned(),
        Some(Skipped::Superseded) => "a newer state of the purchase stands for it",
        Some(Skipped::NotChosen) => "the destination does not choose it any more",
        Some(Skipped::Acknowledged) => "it, or a newer state, arrived",
        Some(Skipped::Counted) => "the destination has it, so it might be counted twice",
        Some(Skipped::MayBeCounted) => {
            "the destination may have it and would not recognize it any more, so it might be counted twice"
        }
        Some(Skipped::Pruned) => "its body was removed, for its age",
        Some(Skipped::Operators) => "it is about a destination, and is sent once",
        Some(Skipped::Deleted) => "the destination was deleted",
        Some(Skipped::Unknown) => "no event of its purchase was recorded",
    };
    format!(", nor by a redelivery: {why}")
}

fn superseded(one: &Sending) -> String {
    let Some(successor) = &one.successor else {
        let is_profile = one.delivery.event_type == PROFILE_UPDATED;
        let why = one.delivery.last_error.as_deref().filter(|_| is_profile);
        return why.map_or_else(|| "superseded by a newer revision".to_owned(), |why| format!("superseded: {why}"));
    };
    let at = successor.finished_at.map_or_else(String::new, |at| format!(" at {at}"));
    let became = match successor.status.as_str() {
        "delivered" => format!("which was delivered{at}"),
        "dead" => format!("which died{at}"),
        "skipped" => "which was not sent".to_owned(),
        "waiting" => "which waits for the customer's name".to_owned(),
        _ => "which is owed".to_owned(),
    };
    format!("superseded by revision {}, {became}", successor.revision)
}

/// Why a delivery is not sent yet: the destination as a whole, or its own back-off.
fn owed_because(one: &Sending, addressee: &Addressee, now: Timestamp) -> String {
    let Addressee { destination, health: HealthView { health, .. }, .. } = addressee;
    let reason = destination.reason.as_deref().map_or_else(String::new, |reason| format!(" ({reason})"));
    if !destination.enabled {
        return format!("owed: the destination is disabled since {}{reason}", destination.since);
    }
    if let Some(since) = health.opened_at {
        return format!("owed: the destination does not answer since {since}, and is tried every 30 s{reason}");
    }
    if let Some(until) = health.paused_until.filter(|until| *until > now) {
        return format!("owed: the destination requested a pause until {until}");
    }
    if one.attempts.last().is_some_and(|last| last.finished_at.is_none()) {
        return "owed, and being sent at this moment unless its worker died".to_owned();
    }
    let view = &one.delivery;
    let error = view.last_error.as_deref().map_or_else(String::new, |error| format!("; the last time: {error}"));
    match (view.next_due_at, view.attempts) {
        (Some(at), 0) if at <= now => format!("owed, and sent as soon as its lane is free; due since {at}"),
        (Some(at), 0) => {
            let why = view.last_error.as_deref().map_or_else(String::new, |why| format!(": {why}"));
            format!("owed, due at {at}{why}")
        }
        (Some(at), tried) if at <= now => {
            format!("owed, tried {}, and tried again as soon as its lane is free; due since {at}{error}", times(tried))
        }
        (Some(at), tried) => format!("owed, tried {}, tried again at {at}{error}", times(tried)),
        (None, _) => "owed".to_owned(),
    }
}

/// The attempts of a delivery that are not shown.
pub fn earlier_attempts(one: &Sending) -> Option<String> {
    let shown = i64::try_from(one.attempts.len()).unwrap_or(i64::MAX);
    let left_out = one.delivery.attempts.saturating_sub(shown);
    let id = one.delivery.id;
    (left_out > 0 && shown > 0)
        .then(|| format!("{left_out} earlier attempts are not shown here: `settle delivery attempts {id}`"))
}

/// An attempt.
pub fn attempt(attempt: &AttemptView) -> String {
    let by = match attempt.mode.as_str() {
        "probe" => ", to see whether it answers again",
        "drain" => ", with what was owed",
        _ => "",
    };
    let mut sentence = format!("attempt {} at {}{by}: {}", attempt.number, attempt.started_at, answer(attempt));
    for (name, value) in &attempt.headers {
        if name.eq_ignore_ascii_case(RETRY_AFTER) {
            sentence.push_str(&format!("; {name}: {value}"));
        }
    }
    if let Some(response) = attempt.response.as_deref().map(str::trim).filter(|text| !text.is_empty()) {
        sentence.push_str(&format!("; its answer: {}", one_line(response)));
    }
    if let Some(at) = attempt.next_due_at {
        sentence.push_str(&format!("; the next was due at {at}"));
    }
    sentence
}

fn answer(attempt: &AttemptView) -> String {
    let Some(_) = attempt.finished_at else {
        return "in flight, or its worker died before it recorded the result".to_owned();
    };
    let ms = attempt.latency_ms;
    match (attempt.status, attempt.error.as_deref()) {
        (Some(status), None) => format!("answered {status} after {ms} ms"),
        (Some(status), Some(error)) => format!("answered {status} after {ms} ms ({}): {error}", attempt.class),
        (None, Some(error)) => format!("no answer after {ms} ms ({}): {error}", attempt.class),
        (None, None) => format!("no answer after {ms} ms ({})", attempt.class),
    }
}

fn one_line(text: &str) -> String {
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut shown: String = line.chars().take(ANSWER_CHARS).collect();
    if shown.len() < line.len() {
        shown.push('…');
    }
    shown
}

fn times(number: i64) -> String {
    if number == 1 { "once".to_owned() } else { format!("{number} times") }
}

fn nth(n: i64) -> String {
    match n {
        1 => "the 2nd time".to_owned(),
        2 => "the 3rd time".to_owned(),
        n => format!("time {}", n.saturating_add(1)),
    }
}
