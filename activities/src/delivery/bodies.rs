//! Renders the bodies of events when storage leases their lane. The kind of the destination defines the body. Truncated
//! values and refused user ids are counted in metrics.
//!
//! If storage repeats a lease's transaction, the same truncation is counted twice.

use protocols::destinations::{RenderNotes, kind};
use storage::{Destination, Rendered, Unsent};

/// Renders an event for a destination. The body is stored, and every attempt sends the same one.
pub fn render(destination: &Destination, unsent: &Unsent) -> Rendered {
    let kind = match kind(&destination.kind) {
        Ok(kind) => kind,
        Err(unknown) => {
            return Rendered::Refuse {
                why: unknown.to_string(),
            };
        }
    };
    let rendered = kind.render(destination, unsent);
    count(
        kind.name(),
        kind.render_notes(destination, unsent, &rendered),
    );
    rendered
}

fn count(kind: &str, RenderNotes { capped, wrong_id }: RenderNotes) {
    let kind = || kind.to_owned();
    if capped > 0 {
        metrics::counter!("settle_capped_values_total", "kind" => kind()).increment(capped);
    }
    if let Some(reason) = wrong_id {
        metrics::counter!("settle_refused_ids_total", "kind" => kind(), "reason" => reason)
            .increment(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use metrics::{
        Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    };
    use std::collections::BTreeMap;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::{Arc, Mutex};

    #[derive(Default)]
    struct Counters(Mutex<BTreeMap<String, Arc<AtomicU64>>>);

    impl Recorder for Counters {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            let labels: Vec<String> = key
                .labels()
                .map(|label| format!("{}={}", label.key(), label.value()))
                .collect();
            let name = format!("{}{{{}}}", key.name(), labels.join(","));
            Counter::from_arc(self.0.lock().unwrap().entry(name).or_default().clone())
        }

        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::noop()
        }

        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }
    }

    #[test]
    fn cuts_and_refusals_are_counted_by_kind_and_reason() {
        let counters = Counters::default();
        metrics::with_local_recorder(&counters, || {
            count(
                "a",
                RenderNotes {
                    capped: 2,
                    wrong_id: None,
                },
            );
            count(
                "a",
                RenderNotes {
                    capped: 3,
                    wrong_id: Some("short"),
                },
            );
            count("b", RenderNotes::default());
        });
        let counters = counters.0.into_inner().unwrap();
        let counts = counters
            .into_iter()
            .map(|(name, count)| (name, count.load(Ordering::Relaxed)));
        let expected = [
            ("settle_capped_values_total{kind=a}", 5),
            ("settle_refused_ids_total{kind=a,reason=short}", 1),
        ];
        assert_eq!(
            counts.collect::<BTreeMap<_, _>>(),
            expected
                .map(|(name, count)| (name.to_owned(), count))
                .into()
        );
    }
}
