//! Sentences about a destination: its state, the events that it is subscribed to, and its pending, failed and skipped
//! deliveries.

use super::phrases::{count, environments, label, sentence, subscription};
use super::sent::not_subscribed;
use crate::resources::destinations::{CHECKED, shown_state_for_people};
use crate::resources::reached::payment;
use storage::{
    Addressee, Destination, DestinationExplanation, DestinationSettings, HealthView, ShownState,
    UnchosenPayment, UnchosenType,
};

/// Returns the sentence about the state of a destination.
pub fn destination(of: &DestinationExplanation) -> String {
    let Addressee {
        destination,
        health: HealthView { health, .. },
        deleted_at,
        ..
    } = &of.addressee;
    let reason = destination
        .reason
        .as_deref()
        .map_or_else(String::new, |reason| format!(" ({reason})"));
    let stands = if let Some(at) = deleted_at {
        format!("deleted at {at}; its deliveries stay in the ledger")
    } else if !destination.enabled {
        format!(
            "disabled since {}{reason}; its events stay pending until `settle destination enable {}`",
            destination.since, destination.id
        )
    } else if let Some(opened_at) = health.opened_at {
        let since = health.first_failure_at.unwrap_or(opened_at);
        let tried = health
            .probed_at
            .map_or_else(String::new, |at| format!("; last check at {at}"));
        format!("failing since {since}{reason}; {CHECKED}{tried}")
    } else if let Some(until) = health.paused_until.filter(|until| *until > of.now) {
        format!("pause requested until {until}{reason}")
    } else {
        let shown = shown_state_for_people(of.shown_state);
        match of.shown_state {
            ShownState::NotTried => shown.to_owned(),
            ShownState::SkipsEverything => {
                format!("{shown}; no event of the last 24 hours was sent")
            }
            ShownState::Failing => {
                let since = health.first_failure_at.unwrap_or(destination.since);
                format!("{shown} since {since}{reason}")
            }
            _ => format!("{shown} since {}{reason}", destination.since),
        }
    };
    format!("destination {}: {stands}", label(destination))
}

/// Returns the sentence about the events that a destination is subscribed to.
pub fn choice(destination: &Destination) -> String {
    let DestinationSettings { filter, rate, .. } = &destination.common;
    let platforms: Vec<String> = filter.platforms.iter().map(ToString::to_string).collect();
    sentence([
        Some(format!("subscribed to {}", subscription(destination))),
        (!platforms.is_empty()).then(|| format!(", of platform {}", platforms.join(", "))),
        (!filter.environments.is_empty())
            .then(|| format!(", of environment {}", environments(filter))),
        rate.map(|rate| format!(", at most {rate} requests a second")),
    ])
}

/// Returns the sentence about the results of a destination's latest requests; `None` before the first request.
pub fn health(HealthView { health, .. }: &HealthView) -> Option<String> {
    let failing = (health.failures > 0).then(|| {
        let since = health
            .first_failure_at
            .map_or_else(String::new, |at| format!(" since {at}"));
        let failures = count(usize::try_from(health.failures).unwrap_or(0), "failure");
        format!("{failures} in a row{since}, repeats for one purchase or device counted once")
    });
    let last = health.last_failure_at.zip(health.last_error.as_deref());
    let parts = [
        health
            .last_success_at
            .map(|at| format!("last success at {at} (accurate to one minute)")),
        failing,
        last.map(|(at, error)| format!("last failure at {at}: {error}")),
        health
            .recovered_at
            .filter(|_| health.failures == 0)
            .map(|at| format!("recovered at {at}")),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// Returns the sentence about the deliveries that are pending for a destination.
pub fn pending(of: &DestinationExplanation) -> String {
    let waiting = match of.backlog.waiting {
        0 => String::new(),
        waiting => format!(
            ", and {} for the customer's id",
            bounded(waiting, "waits", "wait")
        ),
    };
    match of.addressee.health.pending {
        0 => format!("no pending deliveries{waiting}"),
        pending => {
            format!(
                "{}{waiting}; oldest first:",
                bounded(pending, "pending delivery", "pending deliveries")
            )
        }
    }
}

/// Returns the sentence about a destination's failed deliveries. If all of them are shown and a resend would skip each
/// one, the sentence suggests no command.
pub fn failed(of: &DestinationExplanation) -> String {
    let (id, failed, shown) = (of.addressee.destination.id, of.backlog.failed, &of.failed);
    if failed == 0 {
        return "no deliveries failed for good".to_owned();
    }
    let is_all = usize::try_from(failed).is_ok_and(|failed| failed <= shown.len());
    let again = if is_all && shown.iter().all(|one| one.not_again.is_some()) {
        ", none of which can be resent".to_owned()
    } else {
        format!(" (`settle resend failed --destination {id}` resends those that can be)")
    };
    format!(
        "{}{again}; newest first:",
        bounded(
            failed,
            "delivery failed for good",
            "deliveries failed for good"
        )
    )
}

/// Returns the sentence about the deliveries that were not sent because the destination must not receive them; `None`
/// if there are none.
pub fn skipped(of: &DestinationExplanation) -> Option<String> {
    let skipped = of.backlog.skipped;
    (skipped > 0).then(|| {
        format!(
            "{}; newest first:",
            bounded(skipped, "delivery not sent", "deliveries not sent")
        )
    })
}

/// Returns the sentence about the payments that a destination did not receive because it is not subscribed to their
/// event type.
pub fn unchosen(destination: &Destination, of: &UnchosenType) -> String {
    let least = if of.is_least { "at least " } else { "" };
    let part = if of.is_least || of.is_part {
        "at least "
    } else {
        ""
    };
    let sum = of
        .usd
        .map_or_else(String::new, |usd| format!(" ({part}{usd} USD)"));
    let why = not_subscribed(destination, &of.event_type);
    format!(
        "{least}{}{sum} not sent since {}: {why}",
        count(of.payments, "payment"),
        destination.created_at
    )
}

/// Returns the sentence about one of those payments.
pub fn unchosen_payment(of: &DestinationExplanation, one: &UnchosenPayment) -> String {
    let key = one.collapse_key;
    let store_id = of
        .store_ids
        .get(&key)
        .map_or_else(String::new, |id| format!(" (store's id {id})"));
    format!("{} of purchase {key}{store_id}", payment(one))
}

/// Returns a number with its noun. Counting stops at a maximum, for which the text says "or more".
fn bounded(number: i64, one: &str, many: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        number if number >= DestinationExplanation::MAX_COUNTED => {
            format!("{number} or more {many}")
        }
        number => format!("{number} {many}"),
    }
}

/// Returns the command that sends pending deliveries; `None` if they are sent automatically at once, or if none is
/// pending.
pub fn next_step(of: &DestinationExplanation) -> Option<String> {
    let Addressee {
        destination,
        health: HealthView { health, pending },
        deleted_at,
        ..
    } = &of.addressee;
    let is_held = health.failures > 0
        || health.opened_at.is_some()
        || health.paused_until.is_some_and(|until| until > of.now);
    let can_be_sent = destination.enabled && deleted_at.is_none() && *pending > 0;
    (is_held && can_be_sent).then(|| {
        format!(
            "Next: `settle destination retry {}` sends everything pending now and prints the result",
            destination.id
        )
    })
}
