//! End-to-end tests: signed messages in, verified webhooks out, with a real Temporal Server; processes, Temporal and
//! receivers are killed on the way.

mod admin;
mod amplitude;
mod burst;
mod cancelled;
mod catalogue;
mod cost;
mod destinations;
mod durable;
mod faults;
mod first_steps;
mod fleet;
mod healing;
mod kills;
mod lanes;
mod lives;
mod max_wait;
mod metrics;
mod namespaces;
mod operators;
mod recovery;
mod restored;
mod scripts;
mod search;
mod secrets;
mod storm;
mod sweep;
mod verification;
mod windows;
mod year;
