//! Tests how the alarms that jobs raise are counted.

use super::{Job, JobKind, Work, Write, passing, thread};
use crate::alarm::{About, NewAlarm};
use crate::error::Error;
use crate::statement::sql;
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// The counters, by name and labels.
#[derive(Default)]
struct Counters(Mutex<BTreeMap<String, Arc<AtomicU64>>>);

impl Recorder for Counters {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let labels = key.labels().map(|label| label.value()).collect::<Vec<_>>();
        let name = format!("{} {}", key.name(), labels.join(","));
        Counter::from_arc(self.0.lock().unwrap().entry(name).or_default().clone())
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

/// Returns a job that raises an alarm, and fails `failures` times afterwards.
fn raising(kind: &'static str, mut failures: u32, error: Error) -> Box<dyn Job> {
    let work = move |write: &mut Write<'_>| {
        write.raise(NewAlarm {
            about: About::All,
            kind,
            detail: "something is wrong",
        })?;
        if failures > 0 {
            failures -= 1;
            return Err(error.clone());
        }
        Ok(())
    };
    Box::new(Work {
        kind: JobKind::Other,
        order: None,
        work,
        result: None,
        reply: None,
        call: None,
    })
}

#[test]
fn an_alarm_is_counted_once_it_is_committed() {
    let (mut thread, path) = thread("alarms");
    let table = "CREATE TABLE alarms (id TEXT, at BIGINT, last_at BIGINT, times BIGINT, platform_id TEXT,
        destination_id TEXT, app_id TEXT, kind TEXT, detail TEXT, acknowledged_at BIGINT, acknowledged_by TEXT, note TEXT)";
    let key = "CREATE UNIQUE INDEX once ON alarms (kind, detail, COALESCE(platform_id, destination_id, ''))";
    let connection = thread.connection.as_mut().unwrap();
    for statement in [
        table,
        key,
        "CREATE TABLE platforms (id TEXT, app_id TEXT)",
        "CREATE TABLE destinations (id TEXT, app_id TEXT)",
    ] {
        sql(statement).run(connection).unwrap();
    }
    let counters = Counters::default();
    metrics::with_local_recorder(&counters, || {
        let (first, again) = (raising("one", 0, passing()), raising("one", 2, passing()));
        thread.commit_group(&mut [first, again]);
        thread.commit_group(&mut [raising("refused", 99, Error::Missing { what: "row" })]);
    });
    let counts = counters.0.into_inner().unwrap();
    let counts = counts
        .into_iter()
        .map(|(name, count)| (name, count.load(Ordering::Relaxed)));
    assert_eq!(
        counts.collect::<Vec<_>>(),
        [("settle_alarms_total one".to_owned(), 2)]
    );
    drop(std::fs::remove_file(path));
}
