//! Metrics that `/metrics` shows from the database. A task reads them periodically and keeps them in memory, so scrapes
//! cost the database nothing, however frequent they are.

use crate::metrics::{help, set_sweep_age};
use domain::health::State as DestinationState;
use metrics::gauge;
use std::cmp::Reverse;
use std::fmt::Write;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use storage::{Error, Figures as OfDestination, Store, chain};
use tokio::time::{Instant, sleep};

const REFRESHED_EVERY: Duration = Duration::from_secs(5);
/// Pause after a refresh, as a multiple of the refresh's duration, so that refreshes take only a small part of the
/// database's time.
const PAUSE_FACTOR: u32 = 20;
/// Maximum number of destinations with samples of their own, which have six lines each.
const MAX_SHOWN: usize = 500;

#[derive(Debug, Clone, Default)]
pub struct Figures(Arc<RwLock<ReadFigures>>);

#[derive(Debug, Default)]
struct ReadFigures {
    /// Gauges of destinations. They are not in the recorder, because destinations can be deleted but the recorder never
    /// drops a gauge.
    destinations: Arc<str>,
    /// When the figures were last read; `None` before the first read.
    read_at: Option<Instant>,
}

impl Figures {
    /// Starts the task that reads the figures until the process ends.
    pub fn watch(&self, store: Store) {
        let figures = self.clone();
        tokio::spawn(async move {
            loop {
                let began = Instant::now();
                if let Err(error) = figures.refresh(&store).await {
                    tracing::debug!(
                        error = chain(&error),
                        "the figures for metrics could not be read"
                    );
                }
                sleep(REFRESHED_EVERY.max(began.elapsed() * PAUSE_FACTOR)).await;
            }
        });
    }

    /// Reads the figures once.
    ///
    /// # Errors
    /// The database does not respond. The figures do not change.
    pub async fn refresh(&self, store: &Store) -> Result<(), Error> {
        let inbox_age = store.inbox_age().await?;
        let last_sweep = store.last_sweep().await?;
        let destinations = destinations(&store.figures().await?);
        gauge!("settle_inbox_age_seconds").set(inbox_age.map_or(0.0, |age| age.as_secs_f64()));
        set_sweep_age(&last_sweep);
        let shown = ReadFigures {
            destinations: destinations.into(),
            read_at: Some(Instant::now()),
        };
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = shown;
        Ok(())
    }

    /// Returns the destinations' gauges in the Prometheus text format, and sets the gauge of the figures' age.
    pub fn destinations(&self) -> Arc<str> {
        let shown = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(read_at) = shown.read_at {
            gauge!("settle_figures_age_seconds").set(read_at.elapsed().as_secs_f64());
        }
        shown.destinations.clone()
    }
}

/// Destination states, as named in the figures.
const STATES: [DestinationState; 4] = [
    DestinationState::Healthy,
    DestinationState::Failing,
    DestinationState::Open,
    DestinationState::Disabled,
];

/// Returns the destinations that have samples of their own, ordered by id: all of them or, if there are too many,
/// failing ones first.
fn shown(all: &[OfDestination]) -> Vec<&OfDestination> {
    let mut shown: Vec<&OfDestination> = all.iter().collect();
    if shown.len() > MAX_SHOWN {
        let urgency = |one: &OfDestination| match one.state.as_str() {
            state if state == DestinationState::Open.as_str() => 2,
            state if state == DestinationState::Failing.as_str() => 1,
            _ => 0,
        };
        shown.sort_by_key(|&one| Reverse((urgency(one), one.oldest_pending_ms, one.pending)));
        shown.truncate(MAX_SHOWN);
        shown.sort_by_key(|one| one.id);
    }
    shown
}

/// Renders the destinations' gauges: the number in each state, and the samples of those that are shown.
fn destinations(all: &[OfDestination]) -> String {
    let mut text = String::new();
    let mut family = |name: &str, samples: Vec<(String, f64)>| {
        let help = help(name);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
        for (labels, value) in samples {
            let _ = writeln!(text, "{name}{labels} {value}");
        }
    };
    #[expect(
        clippy::cast_precision_loss,
        reason = "a number of destinations, of deliveries up to a bound, or an age in \
        milliseconds: each is far below 2^52"
    )]
    let value = |number: i64| number as f64;
    let count = |state: &str| {
        i64::try_from(all.iter().filter(|one| one.state == state).count()).unwrap_or(i64::MAX)
    };
    let states = STATES.map(DestinationState::as_str);
    let counts = states.map(|state| (format!("{{state=\"{state}\"}}"), value(count(state))));
    family("settle_destinations", counts.into());
    let shown = shown(all);
    let omitted = i64::try_from(all.len() - shown.len()).unwrap_or(i64::MAX);
    family(
        "settle_destinations_omitted",
        vec![(String::new(), value(omitted))],
    );
    let state = |one: &&OfDestination| {
        let (id, present) = (one.id, one.state.clone());
        states.map(|state| {
            (
                format!("{{destination=\"{id}\",state=\"{state}\"}}"),
                f64::from(state == present),
            )
        })
    };
    family(
        "settle_destination_state",
        shown.iter().flat_map(state).collect(),
    );
    let of_each = |value_of: &dyn Fn(&OfDestination) -> f64| {
        shown
            .iter()
            .map(|&one| (format!("{{destination=\"{}\"}}", one.id), value_of(one)))
            .collect::<Vec<_>>()
    };
    family(
        "settle_destination_pending",
        of_each(&|one| value(one.pending)),
    );
    let age = of_each(&|one| value(one.oldest_pending_ms) / 1000.0);
    family("settle_destination_oldest_pending_seconds", age);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::DestinationId;

    fn one(number: usize, state: DestinationState, oldest_pending_ms: i64) -> OfDestination {
        let id = DestinationId::new(uuid::Uuid::from_u128(
            u128::try_from(number).expect("a number"),
        ));
        OfDestination {
            id,
            state: state.as_str().to_owned(),
            pending: 1,
            oldest_pending_ms,
        }
    }

    #[test]
    fn of_many_destinations_the_urgent_ones_have_samples() {
        let mut all: Vec<_> = (0..30_000)
            .map(|number| one(number, DestinationState::Healthy, 0))
            .collect();
        all[7] = one(7, DestinationState::Open, 0);
        all[8] = one(8, DestinationState::Failing, 0);
        all[29_999] = one(29_999, DestinationState::Healthy, 3_600_000);
        let text = destinations(&all);
        assert!(
            text.lines().count() < 7 * MAX_SHOWN,
            "{} lines",
            text.lines().count()
        );
        for number in [7, 8, 29_999] {
            let sample = format!(
                "settle_destination_pending{{destination=\"{}\"}} 1\n",
                all[number].id
            );
            assert!(text.contains(&sample), "{sample}");
        }
        let counts = "settle_destinations{state=\"healthy\"} 29998\nsettle_destinations{state=\"failing\"} 1\n";
        assert!(text.contains(counts) && text.contains("settle_destinations_omitted 29500\n"));
    }

    #[test]
    fn of_few_destinations_each_has_samples() {
        let all: Vec<_> = (0..MAX_SHOWN)
            .map(|number| one(number, DestinationState::Healthy, 0))
            .collect();
        let text = destinations(&all);
        assert_eq!(
            text.matches("settle_destination_oldest_pending_seconds{")
                .count(),
            MAX_SHOWN
        );
        assert!(text.contains("settle_destinations_omitted 0\n"));
    }
}
