//! Devices of the app whose endpoint is down: they report events continuously, and repeat each report until it is
//! accepted.

use crate::plan::random;
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use system_tests::devices::{Device, Devices};
use system_tests::wait;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Number of events in a report.
const PER_REPORT: usize = 20;
/// Number of devices.
const DEVICES: u64 = 25;
/// Time limit of a report.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Pause before a report is repeated.
const PAUSE: Duration = Duration::from_millis(500);

/// The running devices.
pub struct Visitors {
    task: JoinHandle<()>,
    accepted: Arc<AtomicUsize>,
    /// Total number of events that the devices report.
    pub events: usize,
}

impl Visitors {
    /// Starts to report this number of events, evenly distributed over this time.
    pub fn start(seed: u64, devices: Devices, events: usize, time: Duration) -> Self {
        let accepted = Arc::<AtomicUsize>::default();
        let (counted, began, mut random) =
            (accepted.clone(), Instant::now(), random(seed, 200_003));
        let reports = events / PER_REPORT;
        let pause = time / u32::try_from(reports).unwrap_or(u32::MAX).max(1);
        let task = tokio::spawn(async move {
            for (number, at) in (0..reports).zip((0..).map(|number| began + pause * number)) {
                wait::pass(at.saturating_duration_since(Instant::now())).await;
                let device = Device(u32::try_from(random.below(DEVICES)).unwrap_or(0));
                let impression = |index: usize| device.impression(&format!("{number}-{index}"));
                let events: Vec<Value> = (0..PER_REPORT).map(impression).collect();
                report(&devices, device, &events).await;
                counted.fetch_add(events.len(), Ordering::Relaxed);
            }
        });
        Self {
            task,
            accepted,
            events: reports * PER_REPORT,
        }
    }

    /// Returns whether all reports were accepted.
    pub fn are_over(&self) -> bool {
        self.task.is_finished()
    }

    /// Returns the number of events in the reports that were answered 200.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }
}

impl Drop for Visitors {
    /// Aborts the devices, even if a round panics.
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Repeats a report until it is answered 200.
async fn report(devices: &Devices, device: Device, events: &[Value]) {
    while !matches!(tokio::time::timeout(TIMEOUT, devices.try_report(device, events)).await, Ok(Ok(answer)) if answer.status == 200)
    {
        wait::pass(PAUSE).await;
    }
}
