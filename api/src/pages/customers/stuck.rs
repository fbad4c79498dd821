//! The notices above all else on the page of a customer: the destinations that do not accept the customer's events,
//! since when and why, who must act, and when the next attempt is. Pure.

use crate::pages::parts::Sentence;
use crate::pages::visit::Visit;
use domain::Timestamp;
use domain::health::State;
use storage::{DeliveryStatus, DeliveryView, Destination};

/// What to know before all else.
pub struct Notice {
    pub sentence: Sentence,
    /// The name and the page of the destination that it is about.
    pub destination: Option<(String, String)>,
}

impl Notice {
    /// A notice about no destination.
    pub fn of(text: &str) -> Self {
        Self { sentence: Sentence::new(text), destination: None }
    }
}

/// A notice for each destination that does not accept the customer's events. `deliveries` has the newest one of each
/// type of event.
pub fn notices(visit: &Visit, destinations: &[Destination], deliveries: &[DeliveryView]) -> Vec<Notice> {
    let notice = |one: &Destination| {
        let sentence = sentence(one, deliveries, visit.now)?;
        let page = visit.to(&format!("/ui/destinations/{}", one.id));
        Some(Notice { sentence: Sentence::new(&sentence), destination: Some((one.name.clone(), page)) })
    };
    destinations.iter().filter_map(notice).collect()
}

/// The sentences about one destination; `None` where it accepts the customer's events.
fn sentence(destination: &Destination, deliveries: &[DeliveryView], now: Timestamp) -> Option<String> {
    let own: Vec<_> = deliveries.iter().filter(|one| one.destination_id == destination.id).collect();
    let is_held = !destination.enabled || destination.state == State::Open;
    let is_pending = |one: &&DeliveryView| {
        one.status == DeliveryStatus::Pending && (is_held || (one.attempts > 0 && one.last_error.is_some()))
    };
    let pending: Vec<_> = own.iter().copied().filter(is_pending).collect();
    let failed: Vec<_> = own.iter().copied().filter(|one| one.status == DeliveryStatus::Failed).collect();
    let all = || pending.iter().chain(&failed);
    let since = all().map(|one| one.first_tried_at.unwrap_or(one.created_at)).min()?;
    let events = match pending.len() + failed.len() {
        1 => "1 event".to_owned(),
        number => format!("{number} events"),
    };
    let why = all().filter_map(|one| one.last_error.as_deref()).next_back().or(destination.reason.as_deref());
    let why = why.map_or_else(String::new, |why| format!(": {why}"));
    let mut sentences =
        vec![format!("{} does not have {events} of this customer, since {since}{why}", destination.name)];
    if !destination.enabled {
        sentences.push("It is disabled: an operator must enable it".to_owned());
    } else {
        sentences.push("The team that runs it must act".to_owned());
    }
    if !pending.is_empty() && destination.enabled {
        let due = pending.iter().filter_map(|one| one.next_due_at).min();
        let next = match due {
            _ if destination.state == State::Open => "it is checked every 30 s".to_owned(),
            Some(at) if at > now => format!("next attempt at {at}"),
            _ => "next attempt soon".to_owned(),
        };
        sentences.push(format!("settle retries by itself; {next}"));
    }
    if !failed.is_empty() {
        let names: Vec<String> = failed.iter().map(|one| format!("`{}`", one.event_type)).collect();
        sentences.push(format!("settle does not try {} again: resend it once the cause is repaired", names.join(", ")));
    }
    Some(format!("{}.", sentences.join(". ")))
}

#[cfg(test)]
mod tests {
    use super::sentence;
    use domain::event::Wildcards;
    use domain::health::State;
    use domain::{CollapseKey, DeliveryId, DestinationId, EventId, Timestamp};
    use storage::{DeliveryStatus, DeliveryView, Destination, DestinationSettings};
    use uuid::Uuid;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000 + second * 1000)
    }

    fn backend(state: State) -> Destination {
        Destination {
            id: DestinationId::new(Uuid::nil()),
            app_id: domain::AppId::new(Uuid::nil()),
            kind: "http".to_owned(),
            common: DestinationSettings::new("Our backend"),
            wildcards: Wildcards::Everything,
            settings: serde_json::Value::default(),
            per_user: false,
            per_request: 1,
            profile: None,
            state,
            reason: None,
            since: at(0),
            created_at: at(0),
        }
    }

    fn delivery(status: DeliveryStatus, attempts: i64) -> DeliveryView {
        let is_pending = status == DeliveryStatus::Pending;
        DeliveryView {
            id: DeliveryId::new(Uuid::nil()),
            event_id: EventId::new(Uuid::nil()),
            event_type: "purchase.updated".to_owned(),
            collapse_key: CollapseKey::new(Uuid::nil()),
            destination_id: DestinationId::new(Uuid::nil()),
            revision: 1,
            n: 0,
            status,
            attempts,
            next_due_at: is_pending.then(|| at(60)),
            last_error: (attempts > 0).then(|| "the endpoint answered 500".to_owned()),
            first_tried_at: (attempts > 0).then(|| at(1)),
            finished_at: (!is_pending).then(|| at(2)),
            pruned_at: None,
            created_at: at(0),
        }
    }

    #[test]
    fn a_destination_that_refuses_events_is_a_notice() {
        let pending = delivery(DeliveryStatus::Pending, 2);
        let healthy = backend(State::Failing);
        let begin = format!("Our backend does not have 1 event of this customer, since {}: the endpoint", at(1));
        let of = |destination: &Destination, all: &[DeliveryView]| sentence(destination, all, at(10));
        let text = of(&healthy, std::slice::from_ref(&pending)).unwrap();
        let end = format!("The team that runs it must act. settle retries by itself; next attempt at {}.", at(60));
        assert!(text.starts_with(&begin) && text.ends_with(&end), "{text}");
        let two = of(&backend(State::Open), &[pending.clone(), delivery(DeliveryStatus::Pending, 0)]).unwrap();
        assert!(two.contains("2 events") && two.ends_with("by itself; it is checked every 30 s."), "{two}");
        let mut off = backend(State::Disabled);
        off.common.enabled = false;
        let text = of(&off, &[pending]).unwrap();
        assert!(text.ends_with("It is disabled: an operator must enable it."), "{text}");
    }

    #[test]
    fn what_failed_for_good_must_be_resent() {
        let failed = sentence(&backend(State::Healthy), &[delivery(DeliveryStatus::Failed, 9)], at(10)).unwrap();
        let end = "settle does not try `purchase.updated` again: resend it once the cause is repaired.";
        assert!(failed.ends_with(end) && !failed.contains("by itself"), "{failed}");
        let first = [delivery(DeliveryStatus::Pending, 0)];
        let others = [DeliveryStatus::Delivered, DeliveryStatus::Skipped, DeliveryStatus::Waiting];
        for all in others.map(|status| [delivery(status, 1)]).iter().chain([&first]) {
            assert_eq!(sentence(&backend(State::Healthy), all, at(10)), None);
        }
    }
}
