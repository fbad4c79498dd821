//! Delivery at a scale that takes minutes: an outage with thousands of events, a hanging destination, limits across
//! processes, random schedules of faults, thousands of device events. `.ci/run` calls this test by name: `cargo test
//! --workspace --test trust -- --nocapture --test-threads=1`.

mod chance;
mod devices;
mod forbidden;
mod hanging;
mod limits;
mod outage;
mod pace;
mod revisions;
