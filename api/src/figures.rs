//! The figures of the database that `/metrics` shows. They are kept in memory and read again by a task: a scrape costs
//! the database nothing, however many there are.

use crate::metrics::{help, set_sweep_age};
use domain::health::State as DestinationState;
use metrics::gauge;
use std::fmt::Write;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use storage::{Error, Figures as OfDestination, Store, chain};
use tokio::time::{Instant, sleep};

const REFRESHED_EVERY: Duration = Duration::from_secs(5);
/// The pause after a refreshment, as a multiple of its duration: it uses a small part of the database.
const PAUSE_FACTOR: u32 = 20;

#[derive(Debug, Clone, Default)]
pub struct Figures(Arc<RwLock<ReadFigures>>);

#[derive(Debug, Default)]
struct ReadFigures {
    /// The gauges of destinations. They are not in the recorder, because it never drops a gauge, and destinations can be
    /// deleted.
    destinations: Arc<str>,
    /// `None` before the first.
    read_at: Option<Instant>,
}

impl Figures {
    /// Reads the figures again and again, as long as the process runs.
    pub fn watch(&self, store: Store) {
        let figures = self.clone();
        tokio::spawn(async move {
            loop {
                let began = Instant::now();
                if let Err(error) = figures.refresh(&store).await {
                    tracing::debug!(error = chain(&error), "the figures for metrics could not be read");
                }
                sleep(REFRESHED_EVERY.max(began.elapsed() * PAUSE_FACTOR)).await;
            }
        });
    }

    /// Reads the figures now.
    ///
    /// # Errors
    /// The database does not answer. The figures stay as they were.
    pub async fn refresh(&self, store: &Store) -> Result<(), Error> {
        let inbox_age = store.inbox_age().await?;
        let last_sweep = store.last_sweep().await?;
        let destinations = destinations(&store.figures().await?);
        gauge!("settle_inbox_age_seconds").set(inbox_age.map_or(0.0, |age| age.as_secs_f64()));
        set_sweep_age(&last_sweep);
        let shown = ReadFigures { destinations: destinations.into(), read_at: Some(Instant::now()) };
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = shown;
        Ok(())
    }

    /// The gauges of destinations in the Prometheus text format. Sets the gauge of the age of all figures.
    pub fn destinations(&self) -> Arc<str> {
        let shown = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(read_at) = shown.read_at {
            gauge!("settle_figures_age_seconds").set(read_at.elapsed().as_secs_f64());
        }
        shown.destinations.clone()
    }
}

/// Renders the gauges of all destinations.
fn destinations(all: &[OfDestination]) -> String {
    let states =
        [DestinationState::Healthy, DestinationState::Failing, DestinationState::Open, DestinationState::Disabled]
            .map(DestinationState::as_str);
    let mut text = String::new();
    let mut family = |name: &str, samples: Vec<(String, f64)>| {
        let help = help(name);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
        for (labels, value) in samples {
            let _ = writeln!(text, "{name}{{destination={labels}}} {value}");
        }
    };
    let state = |one: &OfDestination| states.map(|is| (format!("\"{}\",state=\"{is}\"", one.id), one.state == is));
    let state = all.iter().flat_map(state).map(|(labels, is)| (labels, f64::from(is))).collect();
    family("settle_destination_state", state);
    #[expect(clippy::cast_precision_loss, reason = "a bounded number of deliveries")]
    let pending = all.iter().map(|one| (format!("\"{}\"", one.id), one.pending as f64)).collect();
    family("settle_destination_pending", pending);
    #[expect(clippy::cast_precision_loss, reason = "an age in milliseconds is far below 2^52")]
    let age = all.iter().map(|one| (format!("\"{}\"", one.id), one.oldest_pending_ms as f64 / 1000.0)).collect();
    family("settle_destination_oldest_pending_seconds", age);
    text
}
