//! Counters of rendered bodies.

use super::*;
use crate::bodies;
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// The counters of one thread.
#[derive(Default)]
struct Counters(Mutex<BTreeMap<String, Arc<AtomicU64>>>);

impl Recorder for Counters {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let labels: Vec<String> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
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

/// The counters after rendering these events for an integration with these fields.
fn counted(more: Value, unsent: &[Unsent]) -> BTreeMap<String, u64> {
    let (counters, destination) = (Counters::default(), integration(more).0);
    metrics::with_local_recorder(&counters, || {
        for one in unsent {
            let rendered = bodies::render(&destination, one);
            assert_eq!(rendered, render(&destination, one), "counting changes nothing");
        }
    });
    let counters = counters.0.into_inner().unwrap();
    counters.into_iter().map(|(name, count)| (name, count.load(Ordering::Relaxed))).collect()
}

fn of(external_id: &str) -> Unsent {
    Unsent { external_id: Some(external_id.to_owned()), ..unsent(TransitionKind::Renewed.event_type()) }
}

#[test]
fn each_value_that_was_cut_is_counted() {
    let mut long = unsent(TransitionKind::Renewed.event_type());
    long.data["product_ref_id"] = json!("x".repeat(1025));
    long.data["purchase_country"] = json!("x".repeat(1025));
    let cut = event(&integration(json!({})).0, &long)["event_properties"]["settle_capped"].as_u64().unwrap();
    assert!(cut >= 2, "{cut}");
    let counted = counted(json!({}), &[long.clone(), long, of("anna@shop")]);
    assert_eq!(counted, BTreeMap::from([("settle_capped_values_total{kind=amplitude}".to_owned(), 2 * cut)]));
}

#[test]
fn events_refused_for_their_customer_id_are_counted_by_reason() {
    let ids = [of("null"), of(" Anonymous"), of("ab"), of(&"x".repeat(1025)), of("anna@shop")];
    let name = |reason: &str| format!("settle_refused_ids_total{{kind=amplitude,reason={reason}}}");
    let expected = BTreeMap::from([(name("forbidden"), 2), (name("short"), 1), (name("long"), 1)]);
    assert_eq!(counted(json!({}), &ids), expected);
    assert_eq!(counted(json!({"user_id": "user_id"}), &ids), BTreeMap::new(), "that id is not sent");
    let broken = Unsent { data: Value::Null, ..of("anna@shop") };
    assert!(matches!(render(&integration(json!({})).0, &broken), Rendered::Refuse { .. }));
    assert_eq!(counted(json!({}), &[broken]), BTreeMap::new(), "its id is well");
}
