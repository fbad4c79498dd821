//! Warnings at the top of a customer's page: the destinations that do not accept the customer's events, since when and
//! why, who must act, and when the next attempt is. Pure.

use super::destinations::CHECKED;
use domain::event::{is_for_operators, types};
use domain::health::{ALARM_AFTER, State};
use domain::{DestinationId, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use storage::{Destination, FailedDelivery, PendingDeliveries, Repair};

/// A warning about a customer.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct CustomerWarning {
    /// Warning in sentences.
    pub summary: String,
    /// Id of the affected destination; null if the warning concerns none.
    pub destination_id: Option<DestinationId>,
    /// Name of the affected destination.
    pub destination: Option<String>,
}

impl From<String> for CustomerWarning {
    /// Returns a warning that concerns no particular destination.
    fn from(summary: String) -> Self {
        Self {
            summary,
            destination_id: None,
            destination: None,
        }
    }
}

/// Events about a customer that destinations have not received.
pub struct Undelivered {
    /// Pending deliveries of each destination.
    pub pending: Vec<PendingDeliveries>,
    /// Failed deliveries: the newest of each event type.
    pub failed: Vec<FailedDelivery>,
    /// Whether these cover all of the customer's purchases.
    pub is_all: bool,
}

impl Undelivered {
    /// Returns a warning for each destination that does not accept the customer's events.
    pub fn warnings(&self, destinations: &[Destination], now: Timestamp) -> Vec<CustomerWarning> {
        let warning = |one: &Destination| {
            let missing = Missing {
                pending: self
                    .pending
                    .iter()
                    .find(|pending| pending.destination_id == one.id),
                failed: self
                    .failed
                    .iter()
                    .filter(|failed| failed.delivery.destination_id == one.id)
                    .collect(),
                is_all: self.is_all,
            };
            let summary = missing
                .sentence(one, now)
                .or_else(|| late(one, "what changes for this customer now"))?;
            Some(CustomerWarning {
                summary,
                destination_id: Some(one.id),
                destination: Some(one.name.clone()),
            })
        };
        destinations.iter().filter_map(warning).collect()
    }
}

/// Returns sentences about the destinations that will receive a change late; `None` if all receive it immediately.
pub fn delayed(destinations: &[Destination]) -> Option<String> {
    let disabled = |one: &Destination| {
        (!one.enabled).then(|| {
            format!(
                "{} is disabled: this change reaches it when it is enabled again.",
                one.name
            )
        })
    };
    let all: Vec<String> = destinations
        .iter()
        .filter(|one| is_about_customers(one))
        .filter_map(|one| late(one, "this change").or_else(|| disabled(one)))
        .collect();
    (!all.is_empty()).then(|| all.join(" "))
}

/// Returns a sentence which states that a failing destination will receive something late. `None` if it is not failing,
/// is disabled (which is intentional), or is not subscribed to events about customers.
fn late(one: &Destination, what: &str) -> Option<String> {
    let is_failing = one.enabled && matches!(one.state, State::Failing | State::Open);
    (is_failing && is_about_customers(one)).then(|| {
        format!(
            "{} has been failing since {}: {what} reaches it when it works again. settle sends it by itself.",
            one.name, one.since
        )
    })
}

/// Returns whether a destination is subscribed to an event about customers.
fn is_about_customers(one: &Destination) -> bool {
    types()
        .into_iter()
        .any(|name| !is_for_operators(name) && one.chose(name))
}

/// Events about a customer that one destination does not have.
struct Missing<'a> {
    pending: Option<&'a PendingDeliveries>,
    /// For each type, a purchase's latest event, if its delivery failed.
    failed: Vec<&'a FailedDelivery>,
    /// Whether these cover all of the customer's purchases.
    is_all: bool,
}

impl Missing<'_> {
    /// Returns the sentences about one destination; `None` if it accepts the customer's events.
    fn sentence(&self, destination: &Destination, now: Timestamp) -> Option<String> {
        let is_held = !destination.enabled || destination.state == State::Open;
        let pending = self.pending.filter(|one| is_held || one.failing > 0);
        let failed_at = self.failed.iter().map(|one| one.recorded_at);
        let since = pending
            .map(|one| one.since)
            .into_iter()
            .chain(failed_at)
            .min()?;
        let why = self
            .failed
            .iter()
            .filter_map(|one| one.delivery.last_error.as_deref())
            .next_back();
        let why = pending
            .and_then(|one| one.error.as_deref())
            .or(why)
            .or(destination.reason.as_deref());
        let why = why.map_or_else(String::new, |why| format!(": {why}"));
        let events = self.events(pending);
        let mut sentences = vec![format!(
            "{} does not have {events} of this customer, since {since}{why}",
            destination.name
        )];
        let stands = match self.repair(destination, pending, now) {
            _ if !destination.enabled => Some("It is disabled: an operator must enable it"),
            Some(Repair::InSettle) => Some("An operator must check the settings"),
            Some(Repair::AtDestination) => Some("The team that runs it must act"),
            None => (destination.state == State::Healthy).then_some("It is healthy now"),
        };
        sentences.extend(stands.map(str::to_owned));
        if let Some(pending) = pending.filter(|_| destination.enabled) {
            sentences.push(match pending.next_due_at {
                _ if destination.state == State::Open => CHECKED.to_owned(),
                at if at > now => format!("settle retries by itself; next attempt at {at}"),
                _ => "settle retries by itself; next attempt soon".to_owned(),
            });
        }
        if !self.failed.is_empty() {
            let names = self
                .failed
                .iter()
                .map(|one| format!("`{}`", one.delivery.event_type));
            let names: BTreeSet<String> = names.collect();
            let names = names.into_iter().collect::<Vec<_>>().join(", ");
            sentences.push(format!(
                "settle does not try {names} again: resend it once the cause is repaired"
            ));
        }
        Some(format!("{}.", sentences.join(". ")))
    }

    /// Returns who must act if waiting does not help: the next attempt would fail in the same way, or the destination
    /// has been failing for a while.
    fn repair(
        &self,
        destination: &Destination,
        pending: Option<&PendingDeliveries>,
        now: Timestamp,
    ) -> Option<Repair> {
        let is_failing = match destination.state {
            State::Healthy => false,
            State::Failing => {
                !self.failed.is_empty() || now.since(destination.since) >= ALARM_AFTER
            }
            State::Open | State::Disabled => true,
        };
        pending
            .and_then(|one| one.repair)
            .or(is_failing.then_some(Repair::AtDestination))
    }

    /// Returns the number of events with its noun; a lower bound if not all are counted.
    fn events(&self, pending: Option<&PendingDeliveries>) -> String {
        let pending = pending
            .and_then(|one| usize::try_from(one.events).ok())
            .unwrap_or_default();
        let least = if self.is_all && self.failed.is_empty() {
            ""
        } else {
            "at least "
        };
        match pending + self.failed.len() {
            1 => format!("{least}1 event"),
            number => format!("{least}{number} events"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Missing, delayed};
    use domain::health::State;
    use domain::{CollapseKey, DeliveryId, DestinationId, EventId, Timestamp};
    use storage::{
        DeliveryStatus, DeliveryView, Destination, DestinationSettings, FailedDelivery,
        PendingDeliveries, Repair, fixtures,
    };
    use uuid::Uuid;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000 + second * 1000)
    }

    fn backend(state: State) -> Destination {
        let common = DestinationSettings::new("Our backend");
        Destination {
            common,
            state,
            ..fixtures::destination("http", serde_json::Value::default())
        }
    }

    fn pending(events: i64, failing: i64) -> PendingDeliveries {
        PendingDeliveries {
            destination_id: DestinationId::new(Uuid::nil()),
            events,
            failing,
            since: at(1),
            next_due_at: at(60),
            error: (failing > 0).then(|| "the endpoint answered 500".to_owned()),
            repair: None,
        }
    }

    fn failed() -> FailedDelivery {
        let delivery = DeliveryView {
            id: DeliveryId::new(Uuid::nil()),
            event_id: EventId::new(Uuid::nil()),
            event_type: "purchase.updated".to_owned(),
            collapse_key: CollapseKey::new(Uuid::nil()),
            destination_id: DestinationId::new(Uuid::nil()),
            revision: 1,
            n: 0,
            status: DeliveryStatus::Failed,
            attempts: 9,
            next_due_at: None,
            last_error: Some("the endpoint answered 404".to_owned()),
            first_tried_at: Some(at(1)),
            finished_at: Some(at(2)),
            pruned_at: None,
            created_at: at(1),
        };
        FailedDelivery {
            delivery,
            recorded_at: at(0),
        }
    }

    fn sentence(destination: &Destination, pending: Option<&PendingDeliveries>) -> Option<String> {
        Missing {
            pending,
            failed: Vec::new(),
            is_all: true,
        }
        .sentence(destination, at(10))
    }

    #[test]
    fn a_destination_that_refuses_events_is_a_warning() {
        let failing = backend(State::Failing);
        let text = sentence(&failing, Some(&pending(5, 1))).unwrap();
        let begin = format!(
            "Our backend does not have 5 events of this customer, since {}: the endpoint",
            at(1)
        );
        let end = format!(
            "The team that runs it must act. settle retries by itself; next attempt at {}.",
            at(60)
        );
        assert!(text.starts_with(&begin) && text.ends_with(&end), "{text}");
        let untried = sentence(&backend(State::Open), Some(&pending(1, 0))).unwrap();
        assert!(
            untried.contains(" 1 event ")
                && untried
                    .ends_with("act. settle checks it every 30 s and sends what waits by itself."),
            "{untried}"
        );
        let mut off = backend(State::Disabled);
        off.common.enabled = false;
        let text = sentence(&off, Some(&pending(1, 1))).unwrap();
        assert!(
            text.ends_with("It is disabled: an operator must enable it."),
            "{text}"
        );
        let some = Missing {
            pending: Some(&pending(5, 1)),
            failed: Vec::new(),
            is_all: false,
        };
        assert!(
            some.sentence(&failing, at(10))
                .unwrap()
                .contains("does not have at least 5 events")
        );
        for none in [None, Some(&pending(1, 0))] {
            assert_eq!(
                sentence(&backend(State::Healthy), none),
                None,
                "nothing was refused"
            );
        }
    }

    #[test]
    fn what_failed_for_good_must_be_resent() {
        let (one, waiting) = (failed(), pending(2, 1));
        let text = |state: State, pending| {
            let missing = Missing {
                pending,
                failed: vec![&one, &one],
                is_all: true,
            };
            missing.sentence(&backend(state), at(10)).unwrap()
        };
        let healthy = text(State::Healthy, None);
        let begin = format!(
            "Our backend does not have at least 2 events of this customer, since {}: the",
            at(0)
        );
        let end = "It is healthy now. settle does not try `purchase.updated` again: resend it once the cause is repaired.";
        assert!(
            healthy.starts_with(&begin) && healthy.ends_with(end),
            "{healthy}"
        );
        let failing = text(State::Failing, None);
        assert!(
            failing.contains("The team that runs it must act") && !failing.contains("by itself"),
            "{failing}"
        );
        let both = text(State::Healthy, Some(&waiting));
        assert!(
            both.contains("at least 4 events")
                && both.contains("It is healthy now. settle retries"),
            "{both}"
        );
    }

    #[test]
    fn one_transient_failure_needs_no_team() {
        let since = |state, seconds: i64| Destination {
            since: at(10 - seconds),
            ..backend(state)
        };
        let text = |destination: &Destination, pending: &PendingDeliveries| {
            sentence(destination, Some(pending)).unwrap()
        };
        let (act, one) = ("The team that runs it must act", pending(1, 1));
        let first = text(&since(State::Failing, 299), &one);
        let end = format!(
            "the endpoint answered 500. settle retries by itself; next attempt at {}.",
            at(60)
        );
        assert!(first.ends_with(&end), "{first}");
        let lasting = PendingDeliveries {
            repair: Some(Repair::AtDestination),
            ..pending(1, 1)
        };
        for (destination, pending) in [
            (since(State::Failing, 300), &one),
            (since(State::Open, 1), &one),
            (since(State::Failing, 1), &lasting),
            (since(State::Healthy, 1), &lasting),
        ] {
            let text = text(&destination, pending);
            assert!(text.contains(act), "{text}");
        }
        let healthy = text(&since(State::Healthy, 1), &one);
        assert!(
            healthy.contains("It is healthy now. settle retries by itself")
                && !healthy.contains(act),
            "{healthy}"
        );
    }

    #[test]
    fn a_wrong_setting_is_for_an_operator() {
        let wrong = PendingDeliveries {
            repair: Some(Repair::InSettle),
            ..pending(1, 1)
        };
        for state in [State::Healthy, State::Failing, State::Open] {
            let text = sentence(&backend(state), Some(&wrong)).unwrap();
            let is_for_operator = text.contains(". An operator must check the settings. settle ");
            assert!(
                is_for_operator && !text.contains("team") && !text.contains("healthy"),
                "{text}"
            );
        }
    }

    #[test]
    fn a_destination_that_learns_of_a_move_later_is_named() {
        let of = |name: &str, state: State| {
            let common = DestinationSettings::new(name);
            Destination {
                common,
                state,
                ..fixtures::destination("http", serde_json::Value::default())
            }
        };
        let mut off = of("CRM", State::Disabled);
        off.common.enabled = false;
        assert_eq!(delayed(&[of("Slack", State::Healthy)]), None);
        let failing = of("Backend", State::Failing);
        let alarms = Destination {
            common: DestinationSettings {
                events: vec!["alarm.*".to_owned()],
                ..failing.common.clone()
            },
            ..failing.clone()
        };
        assert_eq!(delayed(&[alarms]), None, "it gets nothing about customers");
        let text = format!(
            "Backend has been failing since {}: this change reaches it when it works again. settle sends it by itself. \
             CRM is disabled: this change reaches it when it is enabled again.",
            failing.since
        );
        assert_eq!(
            delayed(&[failing, of("Slack", State::Healthy), off]),
            Some(text)
        );
    }
}
