//! The headline of the home page: the overall state, the largest problem first. This module is pure.

use crate::parts::Tone;
use crate::text::{amount, capital, counted, lasting};
use api::resources::health::EngineHealth;
use api::resources::overview::older;
use api::stores::name;
use domain::Timestamp;
use domain::health::State;
use storage::{DestinationOverview, DutyCounts, Overview, ShownState, SilentStore};

/// Returns the headline's tone and sentences, without the last full stop.
pub fn headline(found: &Overview, health: EngineHealth, alarms: usize) -> (Tone, String) {
    if !health.is_connected {
        let sentence = "Temporal is not connected. Notifications are stored, and will be settled when it is back";
        return (Tone::Bad, sentence.to_owned());
    }
    if health.is_without_worker {
        let sentence =
            "No worker is running. Notifications are stored, and will be settled when one is";
        return (Tone::Bad, sentence.to_owned());
    }
    let is_open = |one: &&DestinationOverview| one.destination.state == State::Open;
    let failing = those(found, |one| {
        matches!(one.destination.state, State::Open | State::Failing)
    });
    if failing.iter().any(is_open) {
        return (Tone::Bad, trouble(&failing, "failing", found.now));
    }
    if let Some(silent) = silent(found) {
        return (Tone::Warn, silent);
    }
    if health.is_sweep_late {
        let sentence =
            "No sweep has finished for five minutes. Lost work will be repaired when one does";
        return (Tone::Warn, sentence.to_owned());
    }
    if !failing.is_empty() {
        return (Tone::Warn, trouble(&failing, "failing", found.now));
    }
    let disabled = those(found, |one| {
        one.destination.state == State::Disabled && one.pending > 0
    });
    if !disabled.is_empty() {
        return (Tone::Warn, trouble(&disabled, "disabled", found.now));
    }
    if alarms > 0 {
        return (
            Tone::Warn,
            if alarms == 1 {
                "An alarm is open"
            } else {
                "Alarms are open"
            }
            .to_owned(),
        );
    }
    let processes = found.processes.as_deref().unwrap_or_default();
    if let Some(older) = older(processes) {
        return (Tone::Warn, capital(&older));
    }
    if found.last_accepted_at.is_none() {
        return (Tone::Idle, "No notifications received yet".to_owned());
    }
    if found.destinations.is_empty() {
        return (
            Tone::Idle,
            "Notifications are settled, but no destination receives the events yet".to_owned(),
        );
    }
    backlog(found)
}

/// Returns a sentence about the store that has been silent longest, on all its platforms, and what waits for it.
fn silent(found: &Overview) -> Option<String> {
    let silent = found.silent_stores.iter().filter(|one| one.is_silent());
    let SilentStore { store, since, .. } = silent.clone().next()?;
    let of_store = silent.filter(|one| one.store == *store);
    let purchases: i64 = of_store.map(|one| one.purchases).sum();
    let wait = if purchases == 1 { "waits" } else { "wait" };
    Some(format!(
        "{} has not answered since {since}; {} {wait}",
        name(store),
        counted(purchases, "purchase")
    ))
}

/// Returns the headline while nothing is failing.
fn backlog(found: &Overview) -> (Tone, String) {
    if found.failed > 0 {
        return (
            Tone::Warn,
            format!(
                "{} failed and will not be retried",
                deliveries(found.failed)
            ),
        );
    }
    if found.waiting > 0 {
        let (wait, store) = (
            if found.waiting == 1 { "waits" } else { "wait" },
            "for a response from the store",
        );
        return (
            Tone::Warn,
            format!("{} {wait} {store}", counted(found.waiting, "purchase")),
        );
    }
    if found.held > 0 {
        let are = if found.held == 1 { "is" } else { "are" };
        return (
            Tone::Warn,
            format!(
                "{} {are} held. New notifications wait",
                counted(found.held, "purchase")
            ),
        );
    }
    let skipping = those(found, |one| one.shown_state == ShownState::SkipsEverything);
    if !skipping.is_empty() {
        return (
            Tone::Warn,
            trouble(&skipping, "skipping everything", found.now),
        );
    }
    if found.pending > 0 {
        return (Tone::Busy, "Deliveries are on their way".to_owned());
    }
    (Tone::Good, "All events are delivered".to_owned())
}

fn those(
    found: &Overview,
    is_one: impl Fn(&DestinationOverview) -> bool,
) -> Vec<&DestinationOverview> {
    found
        .destinations
        .iter()
        .filter(|one| is_one(one))
        .collect()
}

/// Returns the sentences about failing destinations, with what is pending for them.
fn trouble(all: &[&DestinationOverview], what: &str, now: Timestamp) -> String {
    let stand = match all {
        [one] => match one.first_failure_at.filter(|_| what == "failing") {
            Some(first) => format!(
                "{} has been {what} for {}",
                one.destination.name,
                lasting(now.since(first))
            ),
            None => format!("{} is {what}", one.destination.name),
        },
        all => format!("{} destinations are {what}", all.len()),
    };
    match all.iter().map(|one| one.pending).sum::<i64>() {
        0 => stand,
        1 => format!("{stand}. 1 delivery is pending"),
        pending => format!("{stand}. {} are pending", deliveries(pending)),
    }
}

/// Returns the line below the headline.
pub fn waiting(found: &Overview) -> String {
    let pending = if found.pending == 0 {
        "No deliveries".to_owned()
    } else {
        deliveries(found.pending)
    };
    let windows = if found.windows == 0 {
        "no purchases".to_owned()
    } else {
        counted(found.windows, "purchase")
    };
    let duties = found.duties.map_or_else(String::new, duties);
    format!("{pending} pending, {windows} waiting to settle.{duties}")
}

/// Returns the sentence about open duties to stores, after a space.
fn duties(counts: DutyCounts) -> String {
    let open = match counts.open {
        1 => "1 duty to a store is open".to_owned(),
        open => format!("{} duties to stores are open", amount(open)),
    };
    let overdue = match counts.overdue {
        0 => String::new(),
        overdue => format!(", {} past the deadline", amount(overdue)),
    };
    format!(" {open}{overdue}: see the platforms under Connect.")
}

fn deliveries(number: i64) -> String {
    if number == 1 {
        "1 delivery".to_owned()
    } else {
        format!("{} deliveries", amount(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use storage::{NamedDestination, RunningProcess};

    const WELL: EngineHealth = EngineHealth {
        is_connected: true,
        is_without_worker: false,
        is_sweep_late: false,
    };

    fn overview(destinations: Vec<DestinationOverview>) -> Overview {
        Overview {
            now: Timestamp::from_millis(600_000),
            last_accepted_at: Some(Timestamp::from_micros(0)),
            windows: 0,
            next_windows: Vec::new(),
            held: 0,
            waiting: 0,
            silent_stores: Vec::new(),
            pending: 0,
            oldest_pending_at: None,
            failed: 0,
            destinations,
            duties: None,
            processes: None,
        }
    }

    fn destination(state: State, pending: i64) -> DestinationOverview {
        let id = domain::DestinationId::new(uuid::Uuid::nil());
        let destination = NamedDestination {
            id,
            app_id: domain::AppId::new(uuid::Uuid::nil()),
            kind: "kind".to_owned(),
            name: "billing".to_owned(),
            state,
            since: Timestamp::from_micros(0),
            created_at: Timestamp::from_micros(0),
            reason: None,
        };
        DestinationOverview {
            destination,
            shown_state: ShownState::Healthy,
            pending,
            oldest_pending_at: None,
            failed: 0,
            last_success_at: None,
            first_failure_at: matches!(state, State::Failing | State::Open)
                .then(|| Timestamp::from_micros(0)),
            last_failure_at: None,
            last_error: None,
        }
    }

    #[test]
    fn what_matters_most_is_the_headline() {
        let of = |found: &Overview, health| headline(found, health, 0).0;
        let here = || vec![destination(State::Healthy, 0)];
        let changed = |change: fn(&mut Overview)| {
            let mut found = overview(here());
            change(&mut found);
            of(&found, WELL)
        };
        assert_eq!(of(&overview(here()), WELL), Tone::Good);
        assert_eq!(
            of(&overview(Vec::new()), WELL),
            Tone::Idle,
            "no destination receives anything"
        );
        assert_eq!(changed(|found| found.pending = 1), Tone::Busy);
        assert_eq!(
            changed(|found| {
                found.failed = 1;
                found.pending = 1;
            }),
            Tone::Warn
        );
        assert_eq!(
            headline(&overview(here()), WELL, 1).0,
            Tone::Warn,
            "an alarm is open"
        );
        let older = |found: &mut Overview| {
            found.processes = Some(vec![RunningProcess {
                role: "worker".to_owned(),
                version: "0.1.1".to_owned(),
                host: "a".to_owned(),
                pid: Some(7),
                seen_at: Timestamp::from_micros(0),
                is_older: true,
            }]);
        };
        assert_eq!(changed(older), Tone::Warn, "an older process runs");
        assert_eq!(changed(|found| found.held = 1), Tone::Warn);
        assert_eq!(changed(|found| found.waiting = 2), Tone::Warn);
        assert_eq!(changed(|found| found.last_accepted_at = None), Tone::Idle);
        assert_eq!(
            of(
                &overview(Vec::new()),
                EngineHealth {
                    is_connected: false,
                    ..WELL
                }
            ),
            Tone::Bad
        );
        assert_eq!(
            of(
                &overview(Vec::new()),
                EngineHealth {
                    is_without_worker: true,
                    ..WELL
                }
            ),
            Tone::Bad
        );
        assert_eq!(
            of(
                &overview(Vec::new()),
                EngineHealth {
                    is_sweep_late: true,
                    ..WELL
                }
            ),
            Tone::Warn
        );
        assert_eq!(
            of(&overview(vec![destination(State::Disabled, 0)]), WELL),
            Tone::Good
        );
        assert_eq!(
            of(&overview(vec![destination(State::Disabled, 1)]), WELL),
            Tone::Warn
        );
    }

    #[test]
    fn a_store_that_does_not_answer_is_named_with_what_waits() {
        let of = |store: &str, purchases| SilentStore {
            platform_id: domain::PlatformId::new(uuid::Uuid::nil()),
            platform: "Fire TV".to_owned(),
            store: store.to_owned(),
            since: Timestamp::from_micros(0),
            purchases,
            because: None,
            next_at: None,
            answered_at: None,
        };
        for (silent_stores, sentence) in [
            (
                vec![of("shop", 1)],
                "shop has not answered since 1970-01-01T00:00:00.000000Z; 1 purchase waits",
            ),
            (
                vec![of("shop", 3), of("other", 1), of("shop", 5)],
                "shop has not answered since 1970-01-01T00:00:00.000000Z; 8 purchases wait",
            ),
        ] {
            let found = Overview {
                silent_stores,
                waiting: 8,
                ..overview(vec![destination(State::Healthy, 0)])
            };
            assert_eq!(headline(&found, WELL, 1), (Tone::Warn, sentence.to_owned()));
        }
        let answering = SilentStore {
            answered_at: Some(Timestamp::from_micros(1)),
            ..of("shop", 1)
        };
        let found = Overview {
            silent_stores: vec![answering],
            waiting: 1,
            ..overview(vec![destination(State::Healthy, 0)])
        };
        let sentence = "1 purchase waits for a response from the store";
        assert_eq!(headline(&found, WELL, 0), (Tone::Warn, sentence.to_owned()));
    }

    #[test]
    fn destinations_in_trouble_are_counted_or_named() {
        let skipping = DestinationOverview {
            shown_state: ShownState::SkipsEverything,
            ..destination(State::Healthy, 0)
        };
        let (open, failing) = (
            || destination(State::Open, 10),
            || destination(State::Failing, 1),
        );
        for (all, tone, sentence) in [
            (
                vec![failing()],
                Tone::Warn,
                "billing has been failing for 10 minutes. 1 delivery is pending",
            ),
            (
                vec![failing(), open()],
                Tone::Bad,
                "2 destinations are failing. 11 deliveries are pending",
            ),
            (
                vec![destination(State::Disabled, 2)],
                Tone::Warn,
                "billing is disabled. 2 deliveries are pending",
            ),
            (vec![skipping], Tone::Warn, "billing is skipping everything"),
        ] {
            assert_eq!(
                headline(&overview(all), WELL, 0),
                (tone, sentence.to_owned())
            );
        }
    }

    #[test]
    fn the_line_below_counts_deliveries_and_purchases() {
        let found = Overview {
            pending: 11,
            ..overview(Vec::new())
        };
        assert_eq!(
            waiting(&found),
            "11 deliveries pending, no purchases waiting to settle."
        );
        let found = Overview {
            windows: 1,
            ..overview(Vec::new())
        };
        assert_eq!(
            waiting(&found),
            "No deliveries pending, 1 purchase waiting to settle."
        );
    }

    #[test]
    fn the_line_below_counts_open_duties_to_stores() {
        for (open, overdue, sentence) in [
            (1, 0, "1 duty to a store is open"),
            (3, 1, "3 duties to stores are open, 1 past the deadline"),
        ] {
            let found = Overview {
                duties: Some(DutyCounts { open, overdue }),
                ..overview(Vec::new())
            };
            let line = waiting(&found);
            let end = format!("settle. {sentence}: see the platforms under Connect.");
            assert!(line.ends_with(&end), "{line}");
        }
    }
}
