//! Sentences about a destination: its state, its choice of events, what is owed to it and what is dead.

use super::{count, label};
use domain::Timestamp;
use storage::{Addressee, Destination, HealthView, Portrait};

/// The state of a destination.
pub fn destination(portrait: &Portrait, now: Timestamp) -> String {
    let Addressee { destination, health: HealthView { health, .. }, deleted_at, .. } = &portrait.addressee;
    let reason = destination.reason.as_deref().map_or_else(String::new, |reason| format!(" ({reason})"));
    let stands = if let Some(at) = deleted_at {
        format!("deleted at {at}; its deliveries stay in the ledger")
    } else if !destination.enabled {
        format!(
            "disabled since {}{reason}; the chosen events stay owed (`settle destination enable {}`)",
            destination.since, destination.id
        )
    } else if let Some(since) = health.opened_at {
        let tried = health.probed_at.map_or_else(String::new, |at| format!(", last at {at}"));
        format!("it does not answer since {since}{reason}; it is tried every 30 s{tried}")
    } else if let Some(until) = health.paused_until.filter(|until| *until > now) {
        format!("it requested a pause until {until}{reason}")
    } else {
        format!("{} since {}{reason}", destination.state.as_str(), destination.since)
    };
    format!("destination {}: {stands}", label(destination))
}

/// The events that a destination chooses.
pub fn choice(destination: &Destination) -> String {
    let mut sentence = format!("it chooses {}", destination.events.join(", "));
    if !destination.filter.platforms.is_empty() {
        let platforms: Vec<String> = destination.filter.platforms.iter().map(ToString::to_string).collect();
        sentence.push_str(&format!(", of platform {}", platforms.join(", ")));
    }
    if !destination.filter.environments.is_empty() {
        let wanted: Vec<_> = destination.filter.environments.iter().map(|environment| environment.as_str()).collect();
        sentence.push_str(&format!(", of environment {}", wanted.join(", ")));
    }
    if let Some(rate) = destination.rate {
        sentence.push_str(&format!(", at most {rate} requests a second"));
    }
    sentence
}

/// The latest results of its requests.
pub fn health(HealthView { health, .. }: &HealthView) -> Option<String> {
    let mut parts = Vec::new();
    if let Some(at) = health.last_success_at {
        parts.push(format!("it last answered with success at {at}"));
    }
    if health.failures > 0 {
        let since = health.first_failure_at.map_or_else(String::new, |at| format!(" since {at}"));
        parts.push(format!("{} in a row{since}", count(usize::try_from(health.failures).unwrap_or(0), "failure")));
    }
    if let (Some(at), Some(error)) = (health.last_failure_at, health.last_error.as_deref()) {
        parts.push(format!("the last failure was at {at}: {error}"));
    }
    if let Some(at) = health.recovered_at {
        parts.push(format!("it recovered at {at}"));
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// What is owed to a destination.
pub fn owed(portrait: &Portrait) -> String {
    let waiting = match portrait.owes.waiting {
        0 => String::new(),
        waiting => format!(", and {} for a customer's name", bounded(waiting, "waits", "wait")),
    };
    match portrait.addressee.health.owed {
        0 => format!("nothing is owed to it{waiting}"),
        owed => format!("{} owed to it{waiting}; the oldest:", bounded(owed, "delivery is", "deliveries are")),
    }
}

/// The dead deliveries of a destination. Not all of them may be sent again: when all are shown, it is known whether any
/// may.
pub fn dead(portrait: &Portrait) -> String {
    let (id, dead, shown) = (portrait.addressee.destination.id, portrait.owes.dead, &portrait.dead);
    if dead == 0 {
        return "nothing is dead".to_owned();
    }
    let is_all = usize::try_from(dead).is_ok_and(|dead| dead <= shown.len());
    let again = if is_all && shown.iter().all(|one| one.not_again.is_some()) {
        ", and none of it would be sent again".to_owned()
    } else {
        format!(" (`settle redeliver failed --destination {id}` sends again what may be)")
    };
    format!("{} dead{again}; the newest:", bounded(dead, "delivery is", "deliveries are"))
}

fn bounded(number: i64, one: &str, many: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        number if number >= Portrait::MOST_COUNTED => format!("{number} or more {many}"),
        number => format!("{number} {many}"),
    }
}
